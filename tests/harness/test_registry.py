"""Names, near matches, duplicates, broken plugins."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from harness import registry as registry_module
from harness.errors import PluginError, UnknownNameError
from harness.registry import Registry


class One:
    pass


class Two:
    pass


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry[type]:
    points = [
        EntryPoint("broken", "no_such_module_anywhere:Thing", "test.group"),
        EntryPoint("ordered", "collections:OrderedDict", "test.group"),
    ]
    monkeypatch.setattr(registry_module, "entry_points", lambda group: points if group == "test.group" else [])
    return Registry("gadget", "test.group")


def test_unknown_name_suggests_near_matches(registry: Registry[type]) -> None:
    registry.register("ridge", One)
    with pytest.raises(UnknownNameError, match="no gadget is called 'rigde'; did you mean ridge"):
        registry.get("rigde")
    with pytest.raises(UnknownNameError, match="there are: broken, ordered, ridge"):
        registry.get("qqqq")


def test_entry_points_are_loaded_only_when_asked_for(registry: Registry[type]) -> None:
    assert registry.names() == ["broken", "ordered"]  # nothing was imported
    assert registry.get("ordered").__name__ == "OrderedDict"
    with pytest.raises(PluginError, match=r"gadget 'broken' of .* \(no_such_module_anywhere:Thing\) failed to load"):
        registry.get("broken")


def test_two_plugins_of_one_name_are_refused(registry: Registry[type]) -> None:
    registry.register("a", One)
    registry.register("a", One)  # the same again is fine: a decorator and an entry point may both name it
    with pytest.raises(PluginError, match="two gadgets are called 'a'"):
        registry.register("a", Two)
    with pytest.raises(PluginError, match="two gadgets are called 'ordered'"):
        registry.register("ordered", Two)


def test_a_plugin_that_breaks_the_contract_is_refused() -> None:
    picky: Registry[object] = Registry("gadget", "no.group", lambda plugin: "must be a class")
    with pytest.raises(PluginError, match="must be a class"):
        picky.register("x", object())


def test_every_builtin_can_be_loaded() -> None:
    from harness._backbone import BACKBONES
    from harness._probe import PROBES
    from harness.data.dataset import DATASETS
    from harness.metric_registry import METRICS

    assert {"ridge", "sgd", "pooled", "centre", "uniform", "observers"} <= set(PROBES.names())
    for found in (PROBES, BACKBONES, DATASETS, METRICS):
        for name in found.names():
            assert found.get(name).name == name
            assert found.origin(name) == "salience-probe"
