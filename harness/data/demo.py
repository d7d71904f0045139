"""The embedded default: generated scenes and simulated gaze, in the SALICON layout. Synthetic, and labelled so.

Scenes (`_scenes`): a textured background and 3 to 9 objects, of which one or two differ from the others by colour,
orientation or size; some objects and some (blurred) backgrounds are parts of scikit-learn's two photographs.

Gaze (`_observers`): 15 observers; observer o makes 1 + Poisson(9) fixations on an image, each drawn from

    p_o(x)  ~  [ e / A  +  (1 - e) sum_k w_ok N(x; mu_k, Sigma_k) ]  exp(-|D (x - c)|^2 / 2)

with mu_k and Sigma_k the place and extent (0.45 of the half axes, rotated) of object k, c the image's centre,
D = diag(1 / 0.2 H, 1 / 0.2 W), A the image's area, e = 0.2, and w_ok ~ s_k exp(0.5 z_ok) the share of object k:
z_ok standard normal is what observers differ by, and s_k is the object's saliency, its contrast with the others,

    s_k = (0.15 + mean_j [hue difference + orientation difference + log-area difference]_kj + 0.4 [k is a photograph])^2

Every image depends on (seed, split, index) alone. Files are made once and kept in the cache.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.data._gaze_source import ANNOTATIONS
from harness.data._observer_choice import ObserverChoice
from harness.data._observers import watch
from harness.data._scenes import compose, load_photos
from harness.data._textures import Pixels
from harness.data.dataset import Dataset, DatasetReader, Split, dataset
from harness.data.salicon import Salicon
from harness.data.source import Source
from harness.errors import RecipeError
from harness.paths import cache_folder
from harness.types import Points, Size

VERSION = 1
"""Of everything that is drawn; a change makes a new folder in the cache."""
_SMALLEST = 64
_log = logging.getLogger(__name__)


@dataset("demo")
class Demo(DatasetReader):
    """Generated scenes with simulated gaze: `train` and `test` images of `height` x `width`, drawn from `seed`."""

    source = Source(
        citation="none: generated scenes, simulated gaze",
        licence="MIT, as this project; parts of two photographs of scikit-learn's sample images (CC BY) are in them",
        home="made on this machine",
        obtain="nothing: it is drawn when it is first read",
    )

    train: int = 96
    test: int = 32
    seed: int = 0
    height: int = 480
    width: int = 640
    observers: ObserverChoice | None = None
    """{only: [...]} or {without: [...]} of the people 1 to 15."""

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn; raises RecipeError."""
        if min(self.train, self.test) < 1 or self.seed < 0:
            raise RecipeError("dataset demo: train and test must be at least 1, seed at least 0")
        if min(self.height, self.width) < _SMALLEST:
            raise RecipeError(f"dataset demo: height and width must be at least {_SMALLEST} pixels")

    @property
    def label(self) -> str:
        """Never without the word."""
        return "demo (synthetic)"

    def read(self, split: Split) -> Dataset:
        """That split, generated first if it is not in the cache."""
        folder = str(self._folder())
        read = Salicon(root=folder, edition="custom", points="fixations", observers=self.observers).read(split)
        return replace(read, name=self.name, edition="synthetic", points_kind="simulated", synthetic=True)

    def _folder(self) -> Path:
        parameters = json.dumps(_drawn(self), sort_keys=True).encode()
        parent = cache_folder("datasets")
        folder = parent / f"demo-v{VERSION}-{hashlib.sha256(parameters).hexdigest()[:12]}"
        if not folder.is_dir():
            _build(self, folder)
        return folder


def _drawn(demo: Demo) -> dict[str, int]:
    """The parameters that change what is drawn."""
    return {name: value for name, value in asdict(demo).items() if name != "observers"}


def _build(demo: Demo, folder: Path) -> None:
    """Write beside the target and rename: who looks sees all or nothing, and of two builders the first one wins."""
    _log.info("drawing %d synthetic scenes into %s (once)", demo.train + demo.test, folder)
    building = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        _write(demo, building)
        building.chmod(0o755)
        building.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _write(demo: Demo, folder: Path) -> None:
    photos = load_photos()
    (folder / "images").mkdir()
    size = (demo.height, demo.width)
    first_id = 1
    for split, n in (("train", demo.train), ("test", demo.test)):
        images, annotations = [], []
        for index in range(n):
            id = first_id + index
            name = f"demo_{split}_{id:06d}.jpg"
            points = _scene(folder / "images" / name, (demo.seed, split == "test", index), size, photos)
            images.append({"id": id, "file_name": name, "height": size[0], "width": size[1]})
            annotations += _annotations(id, points)
        document = {
            "info": {"description": "synthetic scenes with simulated gaze", "parameters": _drawn(demo)},
            "images": images,
            "annotations": annotations,
        }
        (folder / ANNOTATIONS[split]).write_text(json.dumps(document))  # type: ignore[index]
        first_id += n


def _scene(file: Path, key: tuple[int, ...], size: Size, photos: tuple[Pixels, ...]) -> Points:
    """Draw and save one scene; returns the gaze on it."""
    from PIL import Image

    scene_rng, gaze_rng = np.random.default_rng(key).spawn(2)
    scene = compose(scene_rng, size, photos)
    Image.fromarray(scene.pixels).save(file, quality=92)
    return watch(gaze_rng, size, scene.things)


def _annotations(image_id: int, points: Points) -> list[dict[str, Any]]:
    """One record an observer; [row, col], 1-based."""
    pairs = np.stack([points.row, points.col], axis=1) + 1
    return [
        {
            "id": 1000 * image_id + int(observer),
            "image_id": image_id,
            "worker_id": int(observer) + 1,
            "fixations": pairs[points.observer == observer].tolist(),
        }
        for observer in np.unique(points.observer)
    ]
