"""What a probe must keep."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness._probe import PROBES, Probe
from harness.readout_files import load_readout, save_readout
from harness.snapshots import Snapshots
from harness.testing._checks import (
    TOLERANCE,
    Check,
    FailedError,
    SkippedError,
    configured,
    cuda,
    difference,
    raise_failures,
    require,
    run_checks,
)
from harness.testing._documented import require_documented
from harness.testing._processes import job_for, train_in_processes
from harness.testing._synthetic import IMAGES, StoppedError, Trained, joined, maps_of, stream, train
from harness.training_state import cells_in
from harness.types import Points


@dataclass
class ProbeCase:
    """A configured probe on the synthetic world; what several checks need is made once."""

    probe: Probe

    @cached_property
    def trained(self) -> Trained:
        """In the usual way."""
        return train(self.probe, stream())

    @cached_property
    def maps(self) -> Tensor:
        """On the held-out images."""
        return joined(maps_of(self.trained.readout, stream("test")))

    def again(self, **how: Any) -> Tensor:
        """The held-out maps after training in another way."""
        return joined(maps_of(train(self.probe, stream(**how)).readout, stream("test")))


def documented_parameters(case: ProbeCase) -> None:
    """It says what it is and what its parameters do."""
    require_documented(type(case.probe))


def trains_and_predicts(case: ProbeCase) -> None:
    """It ends with a readout whose maps are (b, h, w), floating point, on the batch's device."""
    readout = case.trained.readout
    for batch in stream("test").batches():
        with torch.inference_mode():
            maps = readout(batch)
        good = maps.dim() == 3 and len(maps) == len(batch) and maps.is_floating_point()
        require(
            good and maps.device.type == batch.device.type,
            f"maps are {tuple(maps.shape)} {maps.dtype} on {maps.device} for {len(batch)} images on {batch.device}: "
            "return (b, h, w), floating point, on the batch's device",
        )


def declared_passes(case: ProbeCase) -> None:
    """It asks for as many passes as it said."""
    asked, said = case.trained.passes, case.probe.passes()
    require(asked == said, f"passes() says {said} but {asked} were asked for: the plan and the cache go by passes()")


def same_result_again(case: ProbeCase) -> None:
    """Two trainings with one seed end in the same maps."""
    words = "two trainings with the same seed differ: draw everything random from context.seed"
    require(difference(case.maps, case.again()) <= 1e-6, words)


def any_batch_size(case: ProbeCase) -> None:
    """How many images come at once changes rounding only."""
    for size in (1, IMAGES["train"]):
        far = difference(case.maps, case.again(batch_size=size))
        words = f"with batches of {size} instead of 4 maps change by {far:.1%} of their range: "
        require(far <= TOLERANCE, words + "sum over images, or cut mini-batches by batch.turns, not by batches")


def any_batch_order(case: ProbeCase) -> None:
    """In which order batches come changes rounding only."""
    if case.probe.passes() > 1:
        raise SkippedError("trains in several passes, whose order is part of it")
    far = difference(case.maps, case.again(backwards=True))
    words = f"with batches in another order maps change by {far:.1%} of their range: "
    require(far <= TOLERANCE, words + "keep sums over images, not what the last batch was")


def inputs_left_alone(case: ProbeCase) -> None:
    """Batches are as they were after it has seen them."""
    images = stream("test")
    maps_of(case.trained.readout, images)
    changed = [*case.trained.changed, *images.changed]
    words = f"changes {', '.join(changed)} of the batch, which other cells read: work on a copy"
    require(not changed, words)


def finite_on_constant_features(case: ProbeCase) -> None:
    """A channel with one value everywhere does no harm."""
    _require_finite(case, "constant", "a channel that never changes")


def finite_on_dead_features(case: ProbeCase) -> None:
    """A layer of zeros does no harm."""
    _require_finite(case, "dead", "a layer of zeros")


def _require_finite(case: ProbeCase, kind: Any, what: str) -> None:
    readout = train(case.probe, stream(kind=kind)).readout
    maps = joined(maps_of(readout, stream("test", kind=kind)))
    words = f"{what} ends in maps that are not finite: guard the division by a standard deviation of 0"
    require(bool(maps.isfinite().all()), words)


def every_image_alone(case: ProbeCase) -> None:
    """An image's map does not depend on what else is in the batch."""
    alone = joined(maps_of(case.trained.readout, stream("test", batch_size=1)))
    far = difference(case.maps, alone)
    words = f"alone in its batch an image's map changes by {far:.1%}: compute nothing over the batch's images"
    require(far <= TOLERANCE, words)


def predicts_without_learning(case: ProbeCase) -> None:
    """Predicting changes nothing: the same images give the same maps afterwards."""
    _ = case.maps
    later = joined(maps_of(case.trained.readout, stream("test")))
    require(difference(case.maps, later) <= 1e-6, "maps of the same images change from call to call: keep no state")


def no_held_out_gaze(case: ProbeCase) -> None:
    """The canary: with other gaze and other ids on the held-out images, maps stay what they were."""
    if case.probe.peeks:
        raise SkippedError("predicts from held-out gaze by design")
    readout = case.trained.readout
    for batch in stream("test").batches():
        planted = replace(batch, points=tuple(map(_canary, batch.ids)), ids=tuple(id_ + 10**6 for id_ in batch.ids))
        with torch.inference_mode():
            before, after = readout(batch), readout(planted)
        words = "maps change with the gaze they are scored against: a readout may look at batch.features only"
        require(difference(before, after) <= 1e-6, words)


def _canary(image: int) -> Points:
    """Gaze that nobody has."""
    rng = np.random.default_rng([3, image])
    row, col = rng.integers(0, 48, (2, 7)).astype(np.int32)
    return Points(row, col, np.zeros(7, np.int32))


def saved_and_loaded(case: ProbeCase) -> None:
    """What is read back from files predicts the same."""
    readout = case.trained.readout
    if not readout.saved:
        raise SkippedError("a bare callable cannot be saved; return a LinearReadout and it can")
    with tempfile.TemporaryDirectory() as folder:
        save_readout(readout, Path(folder))
        loaded = load_readout(Path(folder))
    far = difference(case.maps, joined(maps_of(loaded, stream("test"))))
    words = f"the readout read back predicts other maps (by {far:.1%}): put all it needs into state() and from_state()"
    require(far <= 1e-5, words)


def goes_on_where_it_was_stopped(case: ProbeCase) -> None:
    """Stopped in the middle of any of its passes and gone on with from what was kept, it ends in the same maps."""
    per_pass = len(list(stream().batches(epoch=0)))
    for number in range(case.probe.passes()):
        with tempfile.TemporaryDirectory() as folder:
            work = Snapshots(Path(folder), {"cells": []}, every_s=0)
            with suppress(StoppedError):
                train(case.probe, stream(stop_after=number * per_pass + per_pass // 2), work)
            if not cells_in(work):
                raise SkippedError("it has no sums() and no state(): when a run goes on, its cells begin anew")
            far = difference(case.maps, joined(maps_of(train(case.probe, stream(), work).readout, stream("test"))))
        words = f"stopped in pass {number + 1} and gone on with, maps change by {far:.1%} of their range: "
        require(far <= 1e-6, words + "sums() (or state()) must hold all that update() has gathered in a pass so far")


def works_on_cuda(case: ProbeCase) -> None:
    """On a GPU it ends in the same maps."""
    device = cuda()
    readout = train(case.probe, stream(device=device)).readout
    far = difference(case.maps, joined(maps_of(readout, stream("test", device=device))))
    require(far <= 10 * TOLERANCE, f"on the GPU maps change by {far:.1%} of their range")


def two_processes(case: ProbeCase) -> None:
    """Two processes, each with half of the images, end in the maps of one."""
    require_same(case, train_in_processes([job_for(case.probe)])[0])


def require_same(case: ProbeCase, found: Tensor | str) -> None:
    """Compare with what two processes found: maps, or an error."""
    if isinstance(found, str):
        raise FailedError(f"with two processes: {found}")
    far = difference(case.maps, found)
    words = f"two processes change maps by {far:.1%} of their range: sums() must name all that update() sums up"
    require(far <= TOLERANCE, words)


PROBE_CHECKS: tuple[Callable[[ProbeCase], None], ...] = (
    documented_parameters,
    trains_and_predicts,
    declared_passes,
    same_result_again,
    any_batch_size,
    any_batch_order,
    inputs_left_alone,
    finite_on_constant_features,
    finite_on_dead_features,
    every_image_alone,
    predicts_without_learning,
    no_held_out_gaze,
    saved_and_loaded,
    goes_on_where_it_was_stopped,
    works_on_cuda,
)


def examine_probe(probe: str | type[Probe] | Probe, *, processes: bool = True, **parameters: Any) -> list[Check]:
    """Every check of a probe by name, class or configured; `processes=False` leaves out the two processes (seconds)."""
    case = ProbeCase(configured(PROBES, probe, parameters))
    return run_checks(case, [*PROBE_CHECKS, *([two_processes] if processes else [])])


def check_probe(probe: str | type[Probe] | Probe, *, processes: bool = True, **parameters: Any) -> list[Check]:
    """The same; raises ContractError for a probe that breaks its contract."""
    name = probe if isinstance(probe, str) else probe.name
    return raise_failures("probe", name, examine_probe(probe, processes=processes, **parameters))
