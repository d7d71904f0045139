"""A dataset in one picture: its centre bias, how many points its images have, and a few images with their gaze."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from harness.data._summary import centre_bias
from harness.data.dataset import Dataset, Split
from harness.data.images import BadImageError, read_image
from harness.density import points_to_grid, sigma_for
from harness.pictures import INK, WARNING, fitted, map_picture, overlay

if TYPE_CHECKING:
    from jaxtyping import Float
    from matplotlib.axes import Axes
    from numpy import ndarray

EXAMPLES = 4
SIDE = 480
"""Pixels on the longer side of a stimulus as it is drawn."""
MASS = (0.25, 0.5, 0.75)
"""Shares of all points that the centre bias' contours enclose."""
BINS = 36
NAMES: dict[Split, str] = {"train": "training", "test": "held-out"}
COLOURS: dict[Split, str] = {"train": "#4c78a8", "test": "#e08214"}
_INCHES, _ROW, _HEAD, _DPI = 12.0, 3.1, 3.6, 110


def draw_dataset(title: str, subtitle: str, datasets: Sequence[Dataset], path: Path) -> None:
    """Write the picture as a PNG; only the few images that it shows are decoded."""
    shown = examples(datasets)
    title_height = 1.1
    height = title_height + _HEAD + _ROW * len(shown)
    figure = Figure(figsize=(_INCHES, height), dpi=_DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 1, height_ratios=[title_height + _HEAD, _ROW * len(shown)])
    head, body = figure.add_subfigure(grid[0]), figure.add_subfigure(grid[1])
    synthetic = any(dataset.synthetic for dataset in datasets)
    warning = "\nsynthetic images and gaze: not a measurement of people" * synthetic
    text = f"{title}\n{subtitle}{warning}".replace("$", r"\$")
    head.suptitle(text, fontsize=13, color=WARNING if synthetic else INK)
    left, right = head.subplots(1, 2, width_ratios=[1.0, 1.0])
    _draw_centre_bias(left, datasets)
    _draw_counts(right, datasets)
    for axes, (dataset, index) in zip(body.subplots(len(shown), 3, squeeze=False), shown, strict=True):
        _draw_example(axes, dataset, index)
    with path.open("wb") as file:
        figure.savefig(file, format="png")


def examples(datasets: Sequence[Dataset], n: int = EXAMPLES) -> list[tuple[Dataset, int]]:
    """(split, index) of a few images, evenly spread over all splits together."""
    every = [(dataset, index) for dataset in datasets for index in range(len(dataset))]
    n = min(n, len(every))
    return [every[(2 * i + 1) * len(every) // (2 * n)] for i in range(n)]


def _draw_centre_bias(axes: Axes, datasets: Sequence[Dataset]) -> None:
    bias = centre_bias(datasets)
    axes.imshow(bias, cmap="inferno")
    height, width = bias.shape
    levels, labels = _levels(bias)
    if levels:
        lines = axes.contour(bias, levels=levels, colors="white", linewidths=1)
        axes.clabel(lines, fmt=dict(zip(levels, labels, strict=True)), fontsize=8)
    axes.axhline((height - 1) / 2, color="white", linewidth=0.4, alpha=0.6)
    axes.axvline((width - 1) / 2, color="white", linewidth=0.4, alpha=0.6)
    axes.set(xticks=[], yticks=[])
    images = sum(map(len, datasets))
    axes.set_title(f"centre bias: mean density of {images:,} images; lines enclose shares of it", fontsize=10)


def _levels(bias: Float[ndarray, "h w"]) -> tuple[list[float], list[str]]:
    """Ascending levels whose superlevel sets hold the shares MASS; none where two of them are the same."""
    ordered = np.sort(bias.ravel())[::-1]
    within = np.cumsum(ordered)
    last = len(ordered) - 1
    found = {float(ordered[min(int(np.searchsorted(within, mass)), last)]): f"{mass:.0%}" for mass in MASS}
    levels = sorted(level for level in found if bias.min() < level < bias.max())
    return levels, [found[level] for level in levels]


def _draw_counts(axes: Axes, datasets: Sequence[Dataset]) -> None:
    counts = [np.diff(dataset.offset) for dataset in datasets]
    top = max(int(count.max()) for count in counts)
    low = min(int(count.min()) for count in counts)
    width = -(-(top - low + 1) // BINS)  # a whole number of counts in every bin, or the histogram looks like a comb
    bins = np.arange(low, top + width + 1, width) - 0.5
    axes.hist(
        counts,
        bins=bins.tolist(),
        stacked=True,
        color=[COLOURS[dataset.split] for dataset in datasets],
        label=[f"{NAMES[dataset.split]} images" for dataset in datasets],
    )
    axes.set_title(f"{datasets[0].points_kind} points of an image", fontsize=10)
    axes.set_xlabel("points")
    axes.set_ylabel("images")
    axes.spines[["top", "right"]].set_visible(False)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(top=1.2 * axes.get_ylim()[1])  # the legend stands above the bars
    axes.legend(frameon=False, fontsize=9, loc="upper right", ncols=2)


def _draw_example(axes: Sequence[Axes], dataset: Dataset, index: int) -> None:
    for one in axes:
        one.set(xticks=[], yticks=[])
        one.spines[:].set_visible(False)
    points, size, file = dataset.points(index), dataset.size(index), dataset.files[index]
    axes[0].set_title(f"{_shortened(file.name)} ({NAMES[dataset.split]}), {size[0]}x{size[1]}", fontsize=9)
    try:
        image = fitted(Image.fromarray(read_image(file, int(dataset.ids[index])).permute(1, 2, 0).numpy()), SIDE)
    except BadImageError as error:
        axes[0].text(0.5, 0.5, error.reason, ha="center", va="center", wrap=True, transform=axes[0].transAxes)
        return
    axes[0].imshow(image)
    extent = (-0.5, size[1] - 0.5, size[0] - 0.5, -0.5)
    people = np.unique(points.observer)
    axes[1].imshow(np.asarray(image.convert("L")), cmap="gray", vmin=-60, vmax=400, extent=extent)
    if len(points):
        few = len(points) < 1000
        axes[1].scatter(
            points.col,
            points.row,
            s=22 if few else 3,
            c=np.searchsorted(people, points.observer),
            cmap="turbo",
            alpha=0.9 if few else 0.5,
            linewidths=0.5 if few else 0,
            edgecolors="white",
        )
    axes[1].set_xlim(extent[:2])
    axes[1].set_ylim(extent[2:])
    axes[1].set_title(f"{len(points):,} points, a colour an observer ({len(people)})", fontsize=9)
    axes[2].imshow(_density_over(image, dataset, index))
    axes[2].set_title(f"density (blurred by {sigma_for(size[0]):.3g} px)", fontsize=9)


def _shortened(name: str, n: int = 34) -> str:
    """The name without its middle where it is long, so that it stays above its picture; nothing is markup in it."""
    short = name if len(name) <= n else f"{name[: n // 2 - 1]}…{name[-n // 2 :]}"
    return "".join(c if c.isprintable() else "?" for c in short).replace("$", r"\$")


def _density_over(image: Image.Image, dataset: Dataset, index: int) -> Image.Image:
    points, size = dataset.points(index), dataset.size(index)
    grid = (max(1, image.height // 2), max(1, image.width // 2))
    density = points_to_grid(points.row, points.col, size, sigma_for(size[0]), grid).numpy()
    return overlay(image, map_picture(density, image.size))
