"""What the README says is what the published results hold."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pandas as pd
import yaml

from harness.plan import make_plan
from harness.recipe import load_recipe
from reports.writeup.render import results_table

ROOT = Path(__file__).parent.parent


def table_below(heading: str) -> list[list[str]]:
    """The rows of the table in a section of the README."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition(heading)[2].partition("\n## ")[0]
    return [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")][2:]


def test_the_results_table_is_the_studys() -> None:
    facts = json.loads((ROOT / "reports/published/study/facts.json").read_text(encoding="utf-8"))
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Results")[2].partition("\n## ")[0]
    assert [line for line in section.splitlines() if line.startswith("|")] == results_table(facts)


def test_how_far_linear_goes_is_the_published_leaderboard() -> None:
    rows = pd.read_csv(ROOT / "reports/published/linear/leaderboard.csv").set_index("probe")
    lines = table_below("## How far linear goes")
    assert {line[0] for line in lines} == set(rows.index)
    for probe, cc, share, auc, sauc, nss, kld in lines:
        row = rows.loc[probe]
        assert cc == f"{row.cc:.3f} [{row.cc_ci_low:.3f}, {row.cc_ci_high:.3f}]"
        assert share == f"{row.share_cc * 100:.0f}"
        assert (auc, sauc) == (f"{row.auc:.3f}", f"{row.sauc:.3f}")
        assert (nss, kld) == (f"{row.nss:.2f}", f"{row.kld:.2f}")


def test_how_linear_was_made_tells_every_recipe_as_it_was_scored() -> None:
    """Per row of the page the file that it names: CC and NSS, linear and behind the link to three powers."""
    folder = ROOT / "reports/published/linear"
    text = (folder / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[[^]]+\]\(([^)]+\.csv)\)[^|]*\|(.*)\|$", text, flags=re.MULTILINE)
    assert {file for file, _ in rows} == {
        *(f"earlier/{path.name}" for path in (folder / "earlier").iterdir()),
        "leaderboard.csv",
    }
    for file, told in rows:
        scored = pd.read_csv(folder / file).set_index("probe")
        probes = [probe for probe in scored.index if re.match("ridge.*-standardised", probe)]
        for variant in ("root", "blur"):  # of two with the same power the one with more of them
            probes = [
                p for p in probes if variant in p or not any(variant in q and _link(q) == _link(p) for q in probes)
            ]
        by_link = {_link(probe): f"{scored.cc[probe]:.3f}, {scored.nss[probe]:.2f}" for probe in probes}
        assert [cell.strip() for cell in told.split("|")] == [
            by_link.get(link, "") for link in ("", "1.25", "1.5", "2")
        ]


def _link(probe: str) -> str:
    """The power of a probe's link by its name; empty for a linear one."""
    found = re.search(r"-(?:softplus|rectified)(?:-([0-9.]+))?$", probe)
    return (found[1] or "1.5") if found else ""


def test_how_far_linear_goes_is_told_of_the_recipe_as_it_is() -> None:
    """Published numbers and text are of the same layers and sizes as `salprobe run linear` reads."""
    recipe = yaml.safe_load((ROOT / "experiments/linear.yaml").read_text(encoding="utf-8"))
    ((name, layers),) = recipe["layers"][0].items()
    rows = pd.read_csv(ROOT / "reports/published/linear/leaderboard.csv").query("backbone != 'none'")
    scales = "+".join(f"{scale:g}" for scale in recipe["backbones"][0]["scales"])
    assert set(rows.layers) == {name}
    assert set(rows.backbone) == {f"resnet50@{scales}+mirror+stride{recipe['backbones'][0]['stride']}"}
    numbers = {21: "twenty-one", 23: "twenty-three", 4: "four", 5: "five"}
    said = f"{numbers[len(layers)]} layers of ResNet-50 at {numbers[scales.count('+') + 1]} sizes of each image"
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert said in readme
    assert recipe["input"] == {"test_scales": [1, 1.13]}
    assert "Held-out images are seen at 1.13 times each size, too" in readme


def test_the_original_studys_table_is_the_published_leaderboard() -> None:
    published = pd.read_csv(ROOT / "reports/published/original/leaderboard.csv")
    rows = published[published.weights != "random"].set_index("probe")
    lines = table_below("## The original study")
    assert [line[0] for line in lines] == ["centre", "pooled-sgd-sigmoid-mse", "pooled-ridge", "ridge", "observers"]
    for probe, cc, auc, auc_map, mse in lines:
        row = rows.loc[probe]
        assert (cc, auc, auc_map) == (f"{row.cc:.3f}", f"{row.auc:.3f}", f"{row.auc_map:.3f}")
        assert mse == f"{row.mse:.4f}"


def test_what_the_original_study_s_auc_makes_of_ten_salicon_images() -> None:
    rows = pd.read_csv(ROOT / "reports/published/original/salicon/leaderboard.csv").set_index("probe")
    section = " ".join((ROOT / "README.md").read_text(encoding="utf-8").partition("## The original study")[2].split())
    for probe, verb in (("centre", "goes from"), ("observers", "from")):
        assert f"`{probe}` {verb} {rows.auc[probe]:.3f} to {rows.auc_map[probe]:.3f}" in section
    pooled = rows[rows.weights != "random"].cc["pooled-sgd-sigmoid-mse"]
    assert f"({pooled:.3f}, the centre {rows.cc['centre']:.3f})" in section


def test_every_command_of_the_readme_exists() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = set(re.findall(r"^    salprobe (data )?([\w-]+)", text, flags=re.MULTILINE))
    assert {"run", "ui", "report", "list", "doctor", "score", "export"} <= {command for _, command in commands}
    for group, command in commands:
        source = (ROOT / ("harness/data_cli.py" if group else "harness/cli.py")).read_text(encoding="utf-8")
        assert f'@app.command("{command}")' in source
    for target in re.findall(r"^    make (\w+)", text, flags=re.MULTILINE):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


def test_osie_as_its_repository_has_it_fits_the_recipes_of_osie() -> None:
    """800x600 there, 640x480 in the recipes: the same input and the same positions."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    ((dataset, scale, grid),) = re.findall(
        r"^    --set '(dataset=\{.*\})' --set (input\.scale=\S+) --set (grid=\S+)$", text, flags=re.MULTILINE
    )
    ((osie_scale, osie_grid),) = re.findall(r"`osie` with `(input\.scale=\S+)` and `(grid=\S+)`", text)
    for recipe, settings in (("linear", (scale, grid)), ("osie", (osie_scale, osie_grid))):
        ours, theirs = load_recipe(recipe), make_plan(load_recipe(recipe, [dataset, *settings])).recipe
        assert theirs.dataset.name == "osie"
        assert (theirs.input.scale * 800, 800 / theirs.grid) == (ours.input.scale * 640, 640 / ours.grid)
    mat, ours = load_recipe("osie-mat"), load_recipe("osie")
    assert (mat.input.scale * 800, 800 / mat.grid) == (ours.input.scale * 640, 640 / ours.grid)


def test_the_costs_are_the_published_benchmarks() -> None:
    entries = json.loads((ROOT / "reports/published/benchmarks.json").read_text(encoding="utf-8"))
    value = {entry["name"]: f"{entry['value']:.2f}" for entry in entries}
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert f"take {value['matrix_over_forward_ridge']} times the bare forward pass on one core" in text
    assert f"({value['matrix_over_forward_ridge_bf16']} where the network runs in bf16" in text
    sgd, bf16 = value["matrix_over_forward_sgd"], value["matrix_over_forward_sgd_bf16"]
    assert f"with two SGD losses of five epochs {sgd} ({bf16});" in text
    assert f"Logging takes {value['mlflow_logging_s_per_cell']} s a cell" in text


def test_the_citation_is_of_this_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (cited["title"], cited["version"], cited["license"]) == (
        project["name"],
        project["version"],
        project["license"],
    )
    assert f"> {project['name']} {project['version']} (" in (ROOT / "README.md").read_text(encoding="utf-8")
