"""Columns that are kept on disk: the same dataset, found again, made anew where they are not whole."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.data import _gaze_source, salicon
from harness.data._kept_columns import file_digest
from harness.progress import Silent
from tests.harness.data.roots import read, two_images, write_root


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every file is large enough to be kept."""
    monkeypatch.setenv("SALPROBE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(_gaze_source, "KEPT_FROM", 0)
    return tmp_path / "cache" / "gaze"


def kept(cache: Path) -> list[Path]:
    return [folder for folder in cache.iterdir() if folder.name != "digests"]


def test_a_second_read_parses_nothing_and_gives_the_same(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_root(tmp_path, two_images())
    first = read(tmp_path)
    assert len(kept(cache)) == 1
    monkeypatch.setattr(_gaze_source, "load_index", None)
    second = read(tmp_path)
    assert second.digest == first.digest
    assert not second.row.flags.owndata
    assert not second.row.flags.writeable


def test_bad_images_are_named_from_kept_columns_too(tmp_path: Path) -> None:
    document = two_images()
    document["annotations"][0]["fixations"] = [[13, 4], [1, 1]]
    document["annotations"].append({"id": 9, "image_id": 77, "worker_id": 1, "fixations": [[1, 1]]})
    write_root(tmp_path, document)
    texts = []
    for _ in range(2):
        dataset = read(tmp_path, on_bad="skip")
        assert dataset.ids.tolist() == [3]
        texts.append([skipped.reason for skipped in dataset.skipped])
    assert texts[0] == texts[1]
    assert "annotation 1 has the point [13, 4], outside" in texts[0][0]
    assert "annotation 9 is for it" in texts[0][1]


def test_a_changed_file_is_another_one(tmp_path: Path, cache: Path) -> None:
    document = two_images()
    file = write_root(tmp_path, document)
    before = read(tmp_path)
    document["annotations"][1]["fixations"] = [[2, 4]]
    file.write_text(json.dumps(document))
    after = read(tmp_path)
    assert before.digest != after.digest
    assert len(kept(cache)) == 2


def _truncate(folder: Path) -> None:
    os.truncate(folder / "row.npy", 140)


def _other_version(folder: Path) -> None:
    about = json.loads((folder / "about.json").read_text())
    (folder / "about.json").write_text(json.dumps({**about, "version": 0}))


def _no_list(folder: Path) -> None:
    (folder / "about.json").unlink()


def _objects(folder: Path) -> None:
    size = (folder / "row.npy").stat().st_size
    np.save(folder / "row.npy", np.array([{}], dtype=object))
    about = json.loads((folder / "about.json").read_text())
    about["bytes"]["row"] = (folder / "row.npy").stat().st_size
    assert size
    (folder / "about.json").write_text(json.dumps(about))


@pytest.mark.parametrize("spoil", [_truncate, _other_version, _no_list, _objects])
def test_columns_that_are_not_whole_are_made_again(tmp_path: Path, cache: Path, spoil: Any) -> None:
    write_root(tmp_path, two_images())
    digest = read(tmp_path).digest
    spoil(kept(cache)[0])
    assert read(tmp_path).digest == digest
    assert read(tmp_path).digest == digest
    assert [folder.name[0] for folder in kept(cache)] != ["."]


def test_a_digest_is_computed_once_a_change(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"one")
    first = file_digest(file, tmp_path / "digests")
    assert file_digest(file, tmp_path / "digests") == first
    facts = file.stat()
    file.write_bytes(b"two")
    os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns + 1))
    assert file_digest(file, tmp_path / "digests") != first


def test_a_folder_that_cannot_be_written_costs_only_the_keeping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    write_root(tmp_path, two_images())
    monkeypatch.setattr(_gaze_source, "save_columns", full)
    assert len(read(tmp_path)) == 2


def test_parsing_is_shown(tmp_path: Path) -> None:
    class Told(Silent):
        names: list[str] = []  # noqa: RUF012

        def phase(self, name: str, total: int, unit: str = "images"):  # type: ignore[no-untyped-def]
            self.names.append(name)
            return super().phase(name, total, unit)

    write_root(tmp_path, two_images())
    reader = salicon.Salicon(root=str(tmp_path), edition="custom", points="mouse")
    told = Told()
    reader.prepare("train", told)
    reader.prepare("train", told)
    assert told.names == ["parsing fixations_train2014.json"]


def test_a_small_file_is_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_root(tmp_path, two_images())
    monkeypatch.setattr(_gaze_source, "KEPT_FROM", 10**9)
    parsed: list[Path] = []
    plain = _gaze_source.load_index

    def counted(file: Path, bar: Any) -> Any:
        parsed.append(file)
        return plain(file, bar)

    monkeypatch.setattr(_gaze_source, "load_index", counted)
    reader = salicon.Salicon(root=str(tmp_path), edition="custom", points="mouse")
    reader.prepare("train", Silent())
    reader.read("train")
    assert len(parsed) == 1
