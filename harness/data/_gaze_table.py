"""A table of gaze, a row a point, in columns: CSV, TSV or Parquet, by its ending."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.data.dataset import Split
from harness.errors import DataError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

MUST = ("image", "observer", "x", "y")
_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_BYTES = re.compile("[\udc80-\udcff]")
"""What is left of bytes that are not UTF-8."""
_TEXTS = ("image", "observer", "split")
_NO_NUMBER = ("", "NA", "N/A", "n/a", "NaN", "nan", "-NaN", "-nan", "NULL", "null", "None", "<NA>", "#N/A", "#NA")
_SPLITS: dict[str, Split] = {"train": "train", "test": "test", "val": "test"}


@dataclass(frozen=True, eq=False)
class GazeTable:
    """The rows of a table, in its order; coordinates as they are written, empty ones nan."""

    image: NDArray[np.object_]
    point: NDArray[np.bool_]
    """False for a row without observer, x and y: it says that the image has no gaze."""
    observer: NDArray[np.object_]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    t: NDArray[np.float64] | None
    id: NDArray[np.int64] | None
    split: NDArray[np.object_] | None


def read_gaze_table(file: Path) -> GazeTable:
    """The table; raises DataError naming the file, the column and the row that is wrong."""
    import pandas as pd

    try:
        if file.suffix.lower() in _SEPARATORS:
            frame = _read_csv(file, _SEPARATORS[file.suffix.lower()])
        else:
            frame = pd.read_parquet(file)
    except (OSError, ValueError, ImportError) as error:
        raise DataError(f"{file}: cannot be read as a table: {error}") from error
    frame.columns = [_plain(name) for name in frame.columns]
    if missing := [name for name in MUST if name not in frame.columns]:
        there = ", ".join(map(str, frame.columns))
        raise DataError(f"{file}: has no column {missing[0]}; it needs {', '.join(MUST)} and has {there}")
    nobody = frame[["observer", "x", "y"]].isna().all(axis=1)
    return GazeTable(
        image=_texts(frame, "image", file),
        point=~nobody.to_numpy(dtype=np.bool_),
        observer=_texts(frame.assign(observer=frame["observer"].astype(object).mask(nobody, "")), "observer", file),
        x=_numbers(frame, "x", file),
        y=_numbers(frame, "y", file),
        t=_numbers(frame, "t", file) if "t" in frame else None,
        id=_ids(frame, file) if "id" in frame else None,
        split=_splits(frame, file) if "split" in frame else None,
    )


def _read_csv(file: Path, separator: str) -> pd.DataFrame:
    """Texts as they are written: a person may be called NA, and 007 is not 7."""
    import pandas as pd

    bytes_are_kept: Any = {"encoding": "utf-8-sig", "encoding_errors": "surrogateescape"}
    names = pd.read_csv(file, sep=separator, nrows=0, **bytes_are_kept).columns
    texts = [name for name in names if _plain(name) in _TEXTS]
    empty = {name: [""] if name in texts else _NO_NUMBER for name in names}
    frame: pd.DataFrame = pd.read_csv(
        file,
        sep=separator,
        dtype=dict.fromkeys(texts, object),  # str of pandas holds UTF-8 alone
        keep_default_na=False,
        na_values=empty,
        **bytes_are_kept,
    )
    return frame


def _plain(name: object) -> str:
    return str(name).strip().lower()


def _texts(frame: pd.DataFrame, name: str, file: Path) -> NDArray[np.object_]:
    column = frame[name]
    if column.isna().any():
        raise DataError(f"{file}: {_row(column.isna())} has no {name}")
    texts = [str(value) for value in column]
    if name != "image" and _BYTES.search("".join(texts)):  # the name of a file need not be text
        row = _row([bool(_BYTES.search(text)) for text in texts])
        raise DataError(f"{file}: {row}: {name} is not UTF-8; save the table as UTF-8")
    return np.array(texts, dtype=object)


def _numbers(frame: pd.DataFrame, name: str, file: Path) -> NDArray[np.float64]:
    import pandas as pd

    numbers = pd.to_numeric(frame[name], errors="coerce")
    if (wrong := numbers.isna() & frame[name].notna()).any():
        given = frame[name][wrong].iloc[0]
        raise DataError(f"{file}: {_row(wrong)}: {name} must be a number, found {given!r}")
    return numbers.to_numpy(dtype=np.float64, na_value=np.nan)


def _ids(frame: pd.DataFrame, file: Path) -> NDArray[np.int64]:
    numbers = _numbers(frame, "id", file)
    whole = np.isfinite(numbers) & (numbers == np.floor(numbers)) & (np.abs(numbers) < 2**53)
    if not whole.all():
        raise DataError(f"{file}: {_row(~whole)}: id must be a whole number")
    return numbers.astype(np.int64)


def _splits(frame: pd.DataFrame, file: Path) -> NDArray[np.object_]:
    words = _texts(frame, "split", file)
    known = np.isin(words.astype(str), [*_SPLITS])
    if not known.all():
        raise DataError(f"{file}: {_row(~known)}: split must be train or test, found {words[~known][0]!r}")
    return np.array([_SPLITS[word] for word in words], dtype=object)


def _row(wrong: Any) -> str:
    """The first wrong row as people count them: the first below the header is 1."""
    return f"row {int(np.argmax(np.asarray(wrong))) + 1}"
