"""The contract of a probe: parameters -> Trainer; a Trainer is fed batches and ends by returning a Readout."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar, dataclass_transform

import torch
from torch import Tensor

from harness._plugin import Registering, registering, subclass_check
from harness.readout import Readout
from harness.registry import Registry
from harness.types import Batch, LayerSpec

if TYPE_CHECKING:
    from jaxtyping import Float

C = TypeVar("C", bound="Consumer")
Bound = Literal["floor", "ceiling"]


class Consumer(ABC):
    """Something that is fed the batches of a training pass."""

    collective: ClassVar[bool] = False
    """It talks to the other processes while it is fed: an error in it ends the whole run."""

    @property
    def in_step(self) -> bool:
        """Whether it does so in the present pass: all processes then save their states at the same turns."""
        return self.collective

    def settle(self, turn: int) -> None:  # noqa: B027 - most consumers talk to nobody
        """Do what is due before that turn and waits for the other processes; all call it at the same turns."""

    @abstractmethod
    def update(self, batch: Batch) -> None:
        """Take one batch of training images. Must not change it."""

    def end_pass(self) -> bool:
        """Called after each pass over the training images; True asks for another pass."""
        return False

    def sums(self) -> Sequence[MutableMapping[Any, Tensor]]:
        """What it has summed over the images of the pass that just ended, as mappings of tensors.

        With several processes each sees some of the images: before `end_pass` these tensors are added up over all
        processes, in place. A mapping may lack what this process saw no image of; the missing entry is then made.

        They are also what is saved of it, now and then in the middle of a pass too, unless it has a `state`.
        """
        raise NotImplementedError

    def state(self) -> dict[str, Any] | None:
        """All that `restore` goes on from: tensors and plain values in dicts and lists; None: `sums` are all of it.

        Asked for between two batches, and at the end of a pass before `end_pass`.
        """
        return None

    def restore(self, state: Mapping[str, Any]) -> None:
        """Be as the consumer was that gave this `state`; `end_pass` was called as often as then."""
        raise NotImplementedError

    def expected_bytes(self) -> int:
        """Memory it will hold at its peak, for the estimate that is printed before a run; 0 if negligible."""
        return 0


class Trainer(Consumer):
    """One cell being trained. All state between calls lives here (or in shared consumers it asked for)."""

    def update(self, batch: Batch) -> None:
        """Take one batch; a trainer that only reads shared statistics has nothing to do here."""

    def sums(self) -> Sequence[MutableMapping[Any, Tensor]]:
        """Nothing, for a trainer that does not look at batches itself."""
        if type(self).update is not Trainer.update:
            raise NotImplementedError
        return ()

    def solving_bytes(self) -> int:
        """Memory that `readout` takes beside what is held already, for the same estimate."""
        return 0

    @abstractmethod
    def readout(self) -> Readout | Callable[[Batch], Tensor]:
        """The result, after the last pass; a bare callable from a batch to maps (b, h, w) is scored but not saved."""


@dataclass(frozen=True)
class Context:
    """What a probe may know before the first batch: the layers it reads, sizes, seeds, where to compute."""

    layers: tuple[LayerSpec, ...]
    """The cell's layers, shallow to deep; empty for probes without a network."""
    n_images: int
    """Training images of a pass."""
    n_folds: int
    """Folds of whole images, for choosing parameters on training images only; `Batch.folds` numbers them."""
    seed: int
    """Derived from all that the cell's readout depends on: everything random is drawn from it."""
    device: torch.device
    _shared: MutableMapping[Hashable, Consumer]
    _uses: Callable[[Hashable], None] = lambda _: None
    centre_prior: Callable[[], Float[Tensor, "30 40"]] = lambda: torch.ones(30, 40)
    """The training images' pooled gaze in relative coordinates, blurred, mean 1; needs no pass."""

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The names of the cell's layers."""
        return tuple(layer.name for layer in self.layers)

    def shared(self, key: Hashable, make: Callable[[], C]) -> C:
        """Work that several cells of one backbone need once (streamed statistics, an optimiser for many heads).

        The first trainer to ask for `key` makes the consumer; it is then fed every batch once, before the trainers.
        Ask from `Probe.trainer`, before the first batch.
        """
        if key not in self._shared:
            self._shared[key] = make()
        self._uses(key)
        return self._shared[key]  # type: ignore[return-value]


class Probe(ABC):
    """A strategy. A subclass's annotated fields are its recipe parameters; a list in the recipe becomes a sweep."""

    name: ClassVar[str] = "?"
    reads: ClassVar[Literal["layers", "gaze"]] = "layers"
    """"layers": a cell for every layer set of every backbone. "gaze": no network, a cell for each dataset."""
    bound: ClassVar[Bound | None] = None
    """Whether its scores are the floor or the ceiling of what there is to explain; a run's first of each counts."""
    peeks: ClassVar[bool] = False
    """Whether it predicts from held-out gaze by design: a ceiling, a known answer. No model does."""
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    @property
    def label(self) -> str:
        """The name in tables; a probe whose parameters change what it is (a loss) adds them here."""
        return self.name

    @property
    def revision(self) -> int:
        """Raised when the same parameters come to other numbers, so that finished cells are not taken for new ones."""
        return 1

    @property
    def stands_in(self) -> bool:
        """Whether it is a bound only where the recipe has no other probe of this bound."""
        return False

    @classmethod
    def sweep(cls, parameters: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
        """What one entry of a recipe, its lists already swept, stands for: by default itself."""
        return [parameters]

    def skip(self, layers: tuple[LayerSpec, ...]) -> str | None:
        """A reason why this probe cannot read these layers (the cell is then a reported row), or None."""
        return None

    def passes(self) -> int:
        """How many passes over the training images it expects to ask for; for the plan and the feature cache."""
        return 1

    @abstractmethod
    def trainer(self, context: Context) -> Trainer:
        """A fresh trainer for one cell."""


PROBES: Registry[type[Probe]] = Registry("probe", "salprobe.probes", subclass_check(Probe))


@dataclass_transform(frozen_default=True, kw_only_default=True)
def probe(name: str) -> Registering:
    """Decorator: annotated fields become parameters, and the probe is registered under `name`.

    Takes a class derived from Probe, a class with `fit(features, density)`, or a function of that form, whose
    keyword-only parameters become the fields (see harness.plain).
    """
    return registering(PROBES, name, _as_probe)


def _as_probe(plugin: Any) -> Any:
    from harness.plain import probe_from_class, probe_from_function

    if not isinstance(plugin, type):
        return probe_from_function(plugin)
    return probe_from_class(plugin) if not issubclass(plugin, Probe) and hasattr(plugin, "fit") else plugin
