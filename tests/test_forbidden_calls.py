"""No code from data: what ruff's S rules (eval, exec, pickle, shells, yaml.load, ...) do not see."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("harness", "probes", "backbones", "reports", "experiments")
FILES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
MODULES = {"joblib", "cloudpickle", "dill", "shelve", "marshal", "jsonpickle", "code", "runpy", "xmlrpc"}
"""Whatever they read may run."""
PICKLE = {"UnpicklingError", "PicklingError", "dumps"}
"""What may be used of pickle: its errors, and writing, by which a plugin's result is tried."""
LOADERS = {"torch.load", "torch.hub.load", "torch.hub.load_state_dict_from_url", "torch.jit.load"}
EXCUSE = re.compile(r"# noqa: (S\d+(?:, S\d+)*)(?: - (.+))?$", re.MULTILINE)


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Every call by what stands before its bracket."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def said(call: ast.Call, keyword: str) -> object:
    """The constant that a call is given for that keyword."""
    found = next((k.value for k in call.keywords if k.arg == keyword), None)
    return found.value if isinstance(found, ast.Constant) else None


def forbidden(source: str) -> Iterator[str]:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (f"import {a.name}" for a in node.names if a.name.partition(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom):
            module = (node.module or "").partition(".")[0]
            yield from (f"from {module}" for _ in [0] if module in MODULES)
            yield from (f"pickle.{a.name}" for a in node.names if module == "pickle" and a.name not in PICKLE)
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "pickle" and node.attr not in PICKLE:
            yield f"pickle.{node.attr}"
    for name, call in calls(tree):
        keywords = {keyword.arg for keyword in call.keywords}
        if name in LOADERS and said(call, "weights_only") is not True:
            yield f"{name} without weights_only=True"
        if name in ("np.load", "numpy.load", "np.lib.format.read_array") and said(call, "allow_pickle") is not False:
            yield f"{name} without allow_pickle=False"
        if said(call, "allow_pickle") is True or said(call, "trust_remote_code") is True:
            yield f"{name} that trusts what it reads"
        if name.endswith("read_pickle") or name in ("yaml.load_all", "yaml.unsafe_load", "yaml.full_load"):
            yield name
        if name.endswith(("pyfunc.save_model", "pyfunc.log_model")) and "python_model" in keywords:
            yield f"{name} of a pickled model"
        if name.endswith((".extractall", ".extract", "unpack_archive")):
            yield f"{name}: members of an archive may lead anywhere; read them"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_nothing_that_is_read_is_run(file: Path) -> None:
    assert list(forbidden(file.read_text(encoding="utf-8"))) == []


def test_an_exception_from_ruffs_rules_says_why() -> None:
    """And there are few: eval, pickle, shells and the like are never among them."""
    excused = [found for file in FILES for found in EXCUSE.findall(file.read_text(encoding="utf-8"))]
    assert sorted(rule for rule, _ in excused) == ["S104", "S310", "S506", "S704"]
    assert all(why for _, why in excused)


@pytest.mark.parametrize(
    "line",
    [
        "torch.load(f)",
        "torch.load(f, weights_only=False)",
        "np.load(f)",
        "np.load(f, allow_pickle=True)",
        "import joblib",
        "from joblib import load",
        "pickle.loads(data)",
        "from pickle import Unpickler",
        "pd.read_pickle(f)",
        "mlflow.pyfunc.save_model(p, python_model=m)",
        "tarfile.open(f).extractall(p)",
        "yaml.unsafe_load(t)",
        "AutoModel.from_pretrained(n, trust_remote_code=True)",
    ],
)
def test_the_search_finds_it(line: str) -> None:
    assert list(forbidden(line))
