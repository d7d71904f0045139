"""The pooled ridge against scikit-learn on pooled features."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.preprocessing import StandardScaler

from harness import Context
from probes.pooled import Pooled
from tests.harness.batches import LAYERS, random_batch

CPU = torch.device("cpu")


def test_pooled_ridge_equals_scikit_learn() -> None:
    context = Context(LAYERS, n_images=12, n_folds=3, seed=0, device=CPU, _shared={})
    trainer = Pooled(raster=(3, 4), alphas=(0.1,)).trainer(context)
    batches = [random_batch(range(0, 5)), random_batch(range(5, 12))]
    (shared,) = context._shared.values()
    for batch in batches:
        shared.update(batch)
    readout = trainer.readout()

    x = np.concatenate([np.concatenate([b.features[n].mean((2, 3)) for n in ("fine", "coarse")], 1) for b in batches])
    y = np.concatenate([b.target((3, 4)).flatten(1) for b in batches])
    scaler = StandardScaler().fit(x.astype(np.float64))
    theirs = SklearnRidge(alpha=0.1 * len(x)).fit(scaler.transform(x.astype(np.float64)), y)
    expected = theirs.predict(scaler.transform(x.astype(np.float64))).reshape(-1, 3, 4)
    found = torch.cat([readout(batch) for batch in batches])
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-5)
