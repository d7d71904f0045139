"""Every error a user can cause, with the exit code that the command line gives it."""

from __future__ import annotations

import errno

INTERRUPTED = 130
"""The exit code of a command that SIGINT stopped, as shells have it: 128 + the signal's number."""

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""What the system says where nothing more can be written, whatever the file."""


class SalprobeError(Exception):
    """Base of all declared errors: what is wrong, where, and what to do."""

    exit_code = 1


class RecipeError(SalprobeError):
    """A recipe (or an override of it) is not valid; names the key."""

    exit_code = 2


class UnknownNameError(RecipeError):
    """A probe, backbone, dataset, metric or recipe of that name is not registered."""


class PluginError(SalprobeError):
    """A plugin could not be loaded or breaks its contract; names the plugin."""

    exit_code = 2


class DataError(SalprobeError):
    """Stimuli or annotations cannot be used; names the file and the id."""

    exit_code = 3


class WeightsError(SalprobeError):
    """Pretrained weights cannot be had, or are not what they claim to be."""

    exit_code = 4


class DeviceMemoryError(SalprobeError):
    """Not even one image fits into the device's memory; names the size."""

    exit_code = 8


class ProcessesError(SalprobeError):
    """The processes of a run do not find each other, or one of them is gone."""

    exit_code = 9


class BusyError(SalprobeError):
    """Another run is writing into the results folder; names its process."""

    exit_code = 10


class MetricInputError(SalprobeError, ValueError):
    """A metric was given maps of the wrong shape, type or content."""

    exit_code = 5


class TrackingError(SalprobeError):
    """MLflow could not be written; results on disk are complete."""

    exit_code = 6


class ResultsError(SalprobeError):
    """A results folder is missing, incomplete or not readable."""

    exit_code = 7


class UnwritableError(ResultsError, OSError):
    """A file cannot be written (a full disk, a folder that is read-only); names the file."""

    def __init__(self, message: str, errno: int | None = None, strerror: str | None = None) -> None:
        super().__init__(message)
        self.errno, self.strerror = errno, strerror

    def __str__(self) -> str:
        return str(self.args[0])

    def __reduce__(self) -> tuple[type[UnwritableError], tuple[str, int | None, str | None]]:
        """It must survive the way to other processes."""
        return type(self), (str(self), self.errno, self.strerror)


class CellTimeoutError(SalprobeError):
    """A cell took longer than the recipe's `cell_timeout_s`: it fails, the others go on."""


class ContractError(SalprobeError, AssertionError):
    """A plugin does not keep its contract; lists every check that failed and what to do."""

    exit_code = 2
