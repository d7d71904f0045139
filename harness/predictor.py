"""A finished cell that predicts: an image in, its saliency map out, by the road of the run that trained it."""

from __future__ import annotations

import dataclasses
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch

from harness._backbone import BACKBONES
from harness._probe import PROBES
from harness.blame import is_about_memory
from harness.data.images import resize_image
from harness.density import sigma_for
from harness.errors import ResultsError, SalprobeError, UnknownNameError, WeightsError
from harness.evaluation import stimulus_maps
from harness.extraction import Extractor, no_room
from harness.identity import SCORING_VERSION
from harness.readout import Readout
from harness.readout_files import READOUT, TENSORS, load_readout
from harness.results import CELL
from harness.stream import StreamSettings
from harness.types import Batch, LayerSpec, Points, Size

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8
    from numpy import ndarray
    from torch import Tensor

    from harness._backbone import LoadedBackbone

log = logging.getLogger("salprobe")
FILES = (CELL, READOUT, TENSORS)
"""All that a cell needs to predict, beside its network's weights."""
_NOBODY = Points(*(np.zeros(0, np.int32) for _ in range(3)))


@dataclass(frozen=True, eq=False)
class Predictor:
    """One readout with the network that it reads, on a device."""

    key: str
    label: str
    readout: Readout
    settings: StreamSettings
    device: torch.device
    extractor: Extractor | None
    """None for readouts that read no network."""
    trained_on: tuple[Size, Size] | None = None
    """The smallest and the largest height and width among the training stimuli, where the cell says so."""

    @classmethod
    def load(cls, folder: Path, device: torch.device) -> Self:
        """From a cell's folder or a copy of its FILES.

        Raises ResultsError where they are missing, not readable, or predict from held-out gaze; WeightsError where the
        network's weights cannot be had or are not those of the run.
        """
        about = read_about(folder)
        try:
            label, resolved = str(about["label"]), about["resolved"]
            readout = saved_readout(folder).to(device)
            settings = _settings(resolved)
            layers = tuple(LayerSpec(**layer) for layer in resolved["layers"])
            loaded = _network(about, device)
            sizes = about.get("training_sizes")
            trained_on = ((sizes[0][0], sizes[0][1]), (sizes[1][0], sizes[1][1])) if sizes else None
            key = str(about["cell_key"])
        except (LookupError, TypeError, ValueError) as error:
            raise ResultsError(f"{folder / CELL} is not what a run writes: {error!r}") from error
        if resolved.get("scoring_version") != SCORING_VERSION:
            log.warning("%s was made by another version of salprobe: maps may differ from those it scored", label)
        extractor = None if loaded is None else Extractor(loaded, layers, settings, device)
        return cls(key, label, readout, settings, device, extractor, trained_on)

    def map(self, image: UInt8[ndarray, "*b h w 3"]) -> Float[ndarray, "*b h w"]:
        """Saliency at the image's own resolution, float32; several images of one size are predicted one by one.

        Raises ValueError for anything but RGB bytes, DeviceMemoryError for an image too large for the device.
        """
        pixels = np.asarray(image)
        if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4) or pixels.shape[-1] != 3 or 0 in pixels.shape[-3:-1]:
            raise ValueError(
                f"an image is (height, width, 3) RGB bytes, several are (images, height, width, 3); "
                f"got {pixels.shape} of {pixels.dtype}"
            )
        if pixels.ndim == 3:
            return self._one(pixels)
        # one by one: what shares its batch could move a map's last digits
        return np.stack([self._one(one) for one in pixels]) if len(pixels) else np.zeros(pixels.shape[:3], np.float32)

    @torch.inference_mode()
    def _one(self, image: UInt8[ndarray, "h w 3"]) -> Float[ndarray, "h w"]:
        size: Size = (image.shape[0], image.shape[1])
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
        try:
            batch = self._batch(size, self._features(pixels, size))
            found: Float[ndarray, "h w"] = stimulus_maps(self.readout(batch), batch)[0].cpu().contiguous().numpy()
        except (RuntimeError, MemoryError) as error:
            if not is_about_memory(error):
                raise
            raise no_room(self.device, size, "shrink it, or use another device") from error
        return found

    def _features(self, pixels: UInt8[Tensor, "3 h w"], size: Size) -> dict[str, Tensor]:
        if self.extractor is None:
            return {}
        resized = resize_image(pixels, self.extractor.input_size(size))
        return self.extractor.features(resized[None].to(self.device), size)

    def _batch(self, size: Size, features: dict[str, Tensor]) -> Batch:
        return Batch(
            ids=(0,),
            size=size,
            grid=self.settings.grid_for(size),
            points=(_NOBODY,),
            features=features,
            folds=(0,),
            sigma=sigma_for(size[0]),
            device=self.device,
            turns=(0,),
        )


def is_cell(folder: Path) -> bool:
    """Whether a folder holds all that a Predictor needs."""
    return all((folder / name).is_file() for name in FILES)


def read_about(folder: Path) -> dict[str, Any]:
    """What the cell in a folder is; raises ResultsError."""
    try:
        about = json.loads((folder / CELL).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ResultsError(
            f"no readable {CELL} in {folder} ({error}); a cell's folder is results/RECIPE/cells/KEY"
        ) from error
    if not isinstance(about, dict):
        raise ResultsError(f"{folder / CELL} is not what a run writes")
    return about


def saved_readout(folder: Path) -> Readout:
    """A cell's readout; raises ResultsError for one that is not there or predicts from the held-out people's gaze."""
    about = read_about(folder)
    label, probe = about.get("label"), about.get("resolved", {}).get("probe", {}).get("name", "")
    try:
        PROBES.get(probe)  # it may define a kind of readout of its own
    except UnknownNameError:
        log.debug("the probe %r is not installed; its readout may be of a known kind all the same", probe)
    readout = load_readout(folder)
    if type(readout).scored_against is not Readout.scored_against:
        raise ResultsError(
            f"{label} predicts from the held-out people's own gaze and is scored against the rest of it: "
            "its maps are no model's predictions, and scored against everybody they would look too good"
        )
    return readout


def _settings(resolved: dict[str, Any]) -> StreamSettings:
    size, grid = resolved["input"]["size"], resolved["grid"]
    return StreamSettings(
        scale=float(resolved["input"]["scale"]),
        size=None if size is None else (int(size[0]), int(size[1])),
        scales=tuple(map(float, resolved["input"].get("test_scales", (1.0,)))),
        grid=grid if isinstance(grid, int) else (int(grid[0]), int(grid[1])),
        precision=resolved["precision"] or "fp32",
        batch_size=1,
    )


def _network(about: dict[str, Any], device: torch.device) -> LoadedBackbone | None:
    """The network with the weights of the run; None for a cell without one."""
    entry, resolved = about["network"], about["resolved"]
    if entry is None:
        return None
    from harness.plan import build
    from harness.recipe import Entry

    recorded = resolved["weights"]
    asked = build(BACKBONES, Entry(**entry), f"{about['label']}: network")
    loaded = asked.load(device)
    if loaded.weights.sha256 != recorded["sha256"]:
        loaded = _by_resolved_name(asked, recorded, device) or loaded
    if loaded.weights.sha256 != recorded["sha256"]:
        raise WeightsError(
            f"{about['label']} reads a network with the weights {recorded['name']} ({recorded['source']}, sha256 "
            f"{recorded['sha256'][:12]}); here `weights: {entry.get('weights')}` is {loaded.weights.name} "
            f"({loaded.weights.source}, sha256 {loaded.weights.sha256[:12]}): get the former, its maps would be "
            "meaningless with others"
        )
    now = json.loads(json.dumps(dataclasses.asdict(loaded.preprocessing)))
    if any(now.get(name) != value for name, value in resolved["preprocessing"].items()):
        raise ResultsError(
            f"{about['label']}: the backbone plugin {entry['name']} prepares images otherwise than in the run "
            f"({now} instead of {resolved['preprocessing']}); install the version that the run used"
        )
    return loaded


def _by_resolved_name(asked: Any, recorded: dict[str, Any], device: torch.device) -> LoadedBackbone | None:
    """What the weights resolved to in the run, asked for by that name: `imagenet` depends on the machine."""
    try:
        named = dataclasses.replace(asked, weights=recorded["name"])
        found = named.find_weights()
        return named.load(device) if found is not None and found.sha256 == recorded["sha256"] else None
    except (SalprobeError, TypeError, ValueError):
        return None
