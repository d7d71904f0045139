"""The pooled ridge against scikit-learn on pooled features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.preprocessing import StandardScaler

from harness import Context, Trainer
from harness.cells import Cell
from harness.grid import resize
from harness.identity import identity
from harness.metrics import mse
from harness.plan import make_plan
from harness.readout_files import load_readout, save_readout
from harness.recipe import load_recipe
from probes.pooled import Pooled
from tests.harness.batches import LAYERS, SIZE, random_batch

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


ORIGINAL = Pooled(
    solver="sgd", loss="sigmoid-mse", raster=(6, 8), standardise=False, epochs=3, images_per_step=5, learning_rate=0.01
)


def trained(probe: Pooled) -> tuple[Trainer, list]:
    context = Context(LAYERS, n_images=12, n_folds=3, seed=0, device=CPU, _shared={})
    trainer = probe.trainer(context)
    batches = [random_batch(range(0, 5)), random_batch(range(5, 12))]
    (shared,) = context._shared.values()
    again = True
    while again:
        for batch in batches:
            shared.update(batch)
        again = shared.end_pass()
    return trainer, batches


def test_the_original_probe_equals_a_linear_layer_with_a_sigmoid(tmp_path: Path) -> None:
    trainer, batches = trained(ORIGINAL)
    x = torch.cat([torch.cat([b.features[n].mean((2, 3)) for n in ("fine", "coarse")], 1) for b in batches]).double()
    density = torch.cat([b.target((6, 8)) for b in batches]).double()
    goal = (density / density.amax((1, 2), keepdim=True)).flatten(1)
    layer = torch.nn.Linear(10, 48, dtype=torch.float64)
    for parameter in layer.parameters():
        torch.nn.init.zeros_(parameter)
    optimiser = torch.optim.Adam(layer.parameters())
    for step in range(9):
        rows = slice(5 * (step % 3), 5 * (step % 3) + 5)
        optimiser.param_groups[0]["lr"] = 0.01 * 0.5 * (1 + np.cos(np.pi * step / 9))
        optimiser.zero_grad()
        ((layer(x[rows]).sigmoid() - goal[rows]) ** 2).mean(1).sum().div(5).backward()
        optimiser.step()
    readout = trainer.readout()
    expected = layer(x).sigmoid().view(-1, 6, 8).detach().float()
    found = torch.cat([readout(batch) for batch in batches])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    save_readout(readout, tmp_path)
    assert torch.equal(load_readout(tmp_path)(batches[0]), readout(batches[0]))


def test_its_error_hardly_depends_on_where_it_is_taken() -> None:
    """The original study took it on its raster, the harness takes it at the stimulus' resolution."""
    batch, raster = random_batch(range(5)), (24, 32)
    maps = resize(torch.rand(5, 6, 8, generator=torch.Generator().manual_seed(0)), raster)
    on_raster = mse(maps, batch.target(raster))
    at_stimulus = mse(resize(maps, SIZE), batch.density)
    torch.testing.assert_close(at_stimulus, on_raster, rtol=0.02, atol=0)


def resolved(probe: Pooled) -> dict:
    recipe = load_recipe("quickstart", ["dataset.train=2", "dataset.test=1", "dataset.height=64", "dataset.width=64"])
    data = make_plan(recipe).reader.read("test")
    cell = Cell("demo", "none", "none", "none", LAYERS, probe.label, probe, seed=0)
    return identity(cell, recipe, data, data, None, ())["probe"]


def test_keys_of_earlier_cells_do_not_change_and_those_of_the_original_probe_say_it_all() -> None:
    assert "standardise" not in resolved(Pooled(solver="sgd"))
    assert resolved(ORIGINAL)["standardise"] is False


def test_the_packaged_recipe_is_the_original_probe() -> None:
    plan = make_plan(load_recipe("original", ["dataset.root=nowhere"]))
    cells = [cell for cell in plan.cells if cell.probe_label == "pooled-sgd-sigmoid-mse"]
    assert [(cell.backbone, cell.weights, cell.layer_set) for cell in cells] == [
        ("resnet50-unnormalised", "imagenet", "layer4"),
        ("resnet50-unnormalised", "random", "layer4"),
    ]
    assert cells[0].probe == Pooled(
        solver="sgd",
        loss="sigmoid-mse",
        raster=(64, 64),
        standardise=False,
        learning_rate=1e-4,
        epochs=10,
        images_per_step=32,
    )
    assert plan.recipe.input.size == (256, 256)
    assert {"auc_map", "mse"} < {metric.name for metric in plan.metrics}


def test_a_loss_that_nothing_descends_on_is_refused() -> None:
    with pytest.raises(ValueError, match="loss is of solver: sgd"):
        Pooled(loss="kl")
