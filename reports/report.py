"""`salprobe report`: one page, the leaderboard as files, every figure as SVG and PNG."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from harness.files import replace
from harness.results import CELLS, RECIPE
from reports._board import label
from reports.answer import answer, comparability, head_to_head
from reports.figures import KINDS, draw, save, style
from reports.gallery import Gallery, gallery
from reports.leaderboard import write_leaderboard
from reports.page import Facts, Page, Section, render
from reports.provenance import facts, machine
from reports.study import Study, read_studies
from reports.table import table

PAGE, FIGURES = "index.html", "figures"


def write_report(folders: Sequence[Path], out: Path, by: str | None = None) -> list[Path]:
    """Write the report of these runs into `out`, ranked by `by` or else the recipe's metric; raises ResultsError."""
    studies = read_studies(folders, by)
    written = write_leaderboard({study.name: study.board for study in studies}, out)
    runs = []
    for study in studies:
        pictures = out / FIGURES / study.name if len(studies) > 1 else out / FIGURES
        made, files = gallery(study, pictures)
        runs.append(_facts(study, made))
        written += files
    with style():
        sections = [Section(kind.name, kind.title, list(draw(kind, studies)), kind.without) for kind in KINDS]
        for section in sections:
            written += [path for _, drawn in section.figures for path in save(drawn, out / FIGURES)]
        text = render(_page(studies, runs, sections))
    replace(out / PAGE, text.encode(errors="backslashreplace"))  # names of folders are not always text
    return [out / PAGE, *written]


def _page(studies: Sequence[Study], runs: list[Facts], sections: list[Section]) -> Page:
    datasets = " and ".join(dict.fromkeys(study.board.dataset for study in studies))
    recipes = " and ".join(dict.fromkeys(study.board.recipe for study in studies))
    doubts = comparability(studies)
    duels = [] if doubts else list(head_to_head(studies))
    return Page(f"{recipes} on {datasets}", studies[0].by, runs, doubts, duels, table(studies), sections)


def _facts(study: Study, pictures: Gallery) -> Facts:
    board = study.board
    return Facts(
        study.name,
        board.recipe,
        board.dataset,
        study.synthetic,
        _cells(study),
        answer(study),
        [(label(row), row["status"], row["error"] or "no reason given") for row in board.others],
        board.warnings,
        list(_provenance(study)),
        f"salprobe run results/{study.name}/{RECIPE}; salprobe report results/{study.name}",
        _yaml(study),
        pictures,
    )


def _cells(study: Study) -> str:
    counts = Counter(row["status"] for row in [*study.board.finished, *study.board.others])
    images = max((row["n_images"] for row in study.board.finished), default=0)
    train = study.about.get("dataset", {}).get("train", {}).get("images")
    trained = f"{train} training and " if train else ""
    return f"{', '.join(f'{n} cells {status}' for status, n in counts.items())}; {trained}{images} held-out images"


def _provenance(study: Study) -> Iterator[tuple[str, str]]:
    yield from facts(study.board).items()
    if words := machine(study.about):
        yield "machine", words
    if written := _written(study):
        yield "results written", written


def _written(study: Study) -> str:
    seconds = (study.board.folder / CELLS).stat().st_mtime
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _yaml(study: Study) -> str:
    try:
        return (study.board.folder / RECIPE).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""
