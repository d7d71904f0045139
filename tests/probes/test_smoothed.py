"""The learned blur and prior against the plain way: every fold's ridge, scipy's Gaussian filter, one least squares."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from harness.normal_equations import NormalEquations, ridge_path
from harness.readout import LinearReadout, SmoothedReadout
from harness.readout_files import load_readout, save_readout
from probes.smoothed import RASTER, Smoothed
from tests.probes.plain import FOLDS, positions, stream, taught

SIGMAS = (0.0, 0.8, 1.5)
ALPHA = 0.1


def plain_ridge(batches: list, alpha: float) -> tuple[NDArray[np.float64], float]:  # type: ignore[type-arg]
    x, y = (torch.from_numpy(a) for a in positions(batches))
    statistics = NormalEquations(x.T @ x, (x.T @ y)[:, None], x.sum(0), y.sum()[None], y.square().sum()[None], len(y))
    (found,) = ridge_path(statistics, (alpha,))
    assert found is not None
    return found.weights[:, 0].numpy(), found.bias.item()


def prior_of(batches: list) -> NDArray[np.float64]:  # type: ignore[type-arg]
    return torch.cat([batch.target(RASTER) for batch in batches]).double().mean(0).numpy()


def averaged(prior: NDArray[np.float64], grid: tuple[int, int]) -> NDArray[np.float64]:
    return prior.reshape(grid[0], RASTER[0] // grid[0], grid[1], RASTER[1] // grid[1]).mean(axis=(1, 3))


def test_equals_the_plain_computation() -> None:
    batches = stream()  # one fold a batch
    readout = taught(Smoothed(alphas=(ALPHA,), sigmas=SIGMAS), batches)
    assert isinstance(readout, SmoothedReadout)
    errors, fits = [], []
    for sigma in SIGMAS:
        columns, targets = [], []
        for fold in range(FOLDS):
            rest = [batches[other] for other in range(FOLDS) if other != fold]
            weights, bias = plain_ridge(rest, ALPHA)
            x, y = positions([batches[fold]])
            maps = (x @ weights + bias).reshape(-1, *batches[fold].grid)
            soft = [gaussian_filter(m, sigma, mode="reflect", truncate=4.0) if sigma else m for m in maps]
            prior = averaged(prior_of(rest), (6, 8))
            columns.append(
                np.stack([np.ones(len(y)), np.stack(soft).ravel(), np.tile(prior.ravel(), len(maps))], axis=1)
            )
            targets.append(y)
        design, goal = np.concatenate(columns), np.concatenate(targets)
        fit, *_ = np.linalg.lstsq(design, goal, rcond=None)
        errors.append(np.mean((design @ fit - goal) ** 2))
        fits.append(fit)
    best = int(np.argmin(errors))
    assert readout.sigma == SIGMAS[best]
    np.testing.assert_allclose(readout.info["sigma_error"], errors, rtol=1e-4)
    np.testing.assert_allclose(
        [readout.info["gain"], readout.info["prior_weight"]], fits[best][1:], rtol=1e-2, atol=1e-3
    )
    weights, _ = plain_ridge(batches, ALPHA)
    ours = torch.cat([readout.weights["fine"], readout.weights["coarse"]]).numpy()
    np.testing.assert_allclose(ours, fits[best][1] * weights, rtol=1e-2, atol=1e-4)


def test_a_blur_of_nothing_and_no_prior_is_the_plain_linear_readout() -> None:
    (batch, *_) = stream()
    random = torch.Generator().manual_seed(0)
    weights = {name: torch.randn(x.shape[1], generator=random) for name, x in batch.features.items()}
    plain = LinearReadout(weights, 0.5)
    same = SmoothedReadout(weights, 0.5, sigma=0.0, prior=torch.zeros(3, 4))
    torch.testing.assert_close(same(batch), plain(batch))
    blurred = SmoothedReadout(weights, 0.5, sigma=1.2, prior=torch.ones(3, 4))(batch)
    expected = np.stack([gaussian_filter(m, 1.2, mode="reflect", truncate=4.0) for m in plain(batch).double().numpy()])
    np.testing.assert_allclose(blurred, expected + 1, rtol=1e-4, atol=1e-4)


def test_it_survives_the_disk_and_its_parts_are_its_map(tmp_path: Path) -> None:
    batches = stream()
    readout = taught(Smoothed(), batches)
    assert isinstance(readout, SmoothedReadout)
    save_readout(readout, tmp_path)
    again = load_readout(tmp_path)
    for batch in batches:
        torch.testing.assert_close(again(batch), readout(batch))
        total = torch.stack(list(readout.parts(batch).values())).sum(0) + readout.bias
        torch.testing.assert_close(total, readout(batch), rtol=1e-4, atol=1e-5)
    assert set(readout.parts(batches[0])) == {"fine", "coarse", "prior"}


def test_labels_and_mistakes() -> None:
    assert Smoothed(target="standardised").label == "smoothed-standardised"
    assert Smoothed().passes() == 2
    with pytest.raises(ValueError, match="from 0 on"):
        Smoothed(sigmas=(-1.0,))
