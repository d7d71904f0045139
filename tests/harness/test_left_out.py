"""Images that a run left out are named wherever its numbers are."""

from __future__ import annotations

from pathlib import Path

from harness.data.dataset import Skipped
from harness.finished_run import read_run
from harness.left_out import left_out_words, lost_words
from harness.plan import make_plan
from harness.progress import Silent
from harness.recipe import parse_recipe
from harness.run import run
from harness.tracking.record import tags
from reports._board import read_board
from tests.harness.data.roots import annotation, image, write_root


def test_the_first_are_named_and_the_others_counted() -> None:
    images = [{"id": i, "split": "train", "file": f"{i}.jpg", "reason": "is broken"} for i in range(5)]
    assert left_out_words({}) == left_out_words({"skipped": []}) == lost_words([], "test") == ""
    assert left_out_words({"skipped": images[:1]}) == "1 image of the dataset left out: 0 (train): is broken"
    assert left_out_words({"skipped": images}) == (
        "5 images of the dataset left out: 0 (train): is broken; 1 (train): is broken; 2 (train): is broken; and 2 more"
    )
    del images[0]["split"]  # as results of earlier versions have it
    assert left_out_words({"skipped": images[:1]}) == "1 image of the dataset left out: 0: is broken"
    lost = [Skipped("a", "a.png", "is gone"), Skipped(2, "b.png", "is gone")]
    assert lost_words(lost, "test") == "2 images of the test split left out: a: is gone; 2: is gone"


def test_an_unreadable_image_is_named_in_tables_reports_and_mlflow(tmp_path: Path) -> None:
    for split, ids in (("train", range(1, 7)), ("test", range(11, 15))):
        gaze = [annotation(10 * id_ + w, id_, [[id_ % 10 + 1, 5], [3, 4]], w) for id_ in ids for w in (1, 2)]
        write_root(tmp_path, {"images": [image(id_) for id_ in ids], "annotations": gaze}, split=split)
    (tmp_path / "images/13.jpg").write_bytes(b"no JPEG")
    data = {"reader": "salicon", "root": str(tmp_path), "edition": "custom", "points": "eye", "on_bad": "skip"}
    recipe = {"name": "hurt", "dataset": data, "probes": ["centre"], "folds": 2, "pictures": 0}
    folder = run(make_plan(parse_recipe(recipe)), tmp_path / "out", Silent()).folder
    ((whose, words),) = read_board(folder).warnings
    assert whose == "every cell"
    assert words.startswith("1 image of the dataset left out: 13 (test): ")
    ended = read_run(folder)
    assert ended.results[0].n_images == 3
    assert words in tags(ended.record, ended.results[0])["warnings"]
