"""Docstrings of public names have all sections that numpydoc knows; `test_examples` runs them."""

import dataclasses
import importlib
import inspect

import pytest
from test_public import CALLABLES, MODULES

validate = pytest.importorskip(
    "numpydoc.validate", reason="numpydoc, of the extra `test`, reads the docstrings"
).validate

# A summary may say everything: ES01 asks for a second paragraph.
NEVER = {"ES01"}
# The example of a class shows its methods.
NOT_OF_METHODS = {"EX01"}
# Functions return these objects, and users do not construct them: "Attributes" describes them.
NOT_OF_RESULTS = {"PR01"}
# Names that have no sibling to see also.
WITHOUT_SIBLING = {
    "fasthash.datasets.EmojiDataset.text_features",
    "fasthash.datasets.EmojiDataset.thumbnail",
    "fasthash.experiments.Metric.parse",
    "fasthash.get_include",
}


def public_names():
    """name -> function, method or class; a class that two modules offer is there once."""
    classes = {
        f"{module}.{name}": thing
        for module in MODULES
        for name, thing in vars(importlib.import_module(module)).items()
        if inspect.isclass(thing) and name in importlib.import_module(module).__all__
    }
    found = {}
    for name, thing in sorted({**CALLABLES, **classes}.items()):
        owner = getattr(thing, "__self__", None)
        found.setdefault((getattr(thing, "__func__", thing), owner), name)
    return {name: thing for (thing, _), name in found.items()}


NAMES = public_names()


@pytest.mark.parametrize("name", NAMES)
def test_docstrings_are_complete(name):
    thing = NAMES[name]
    allowed = set(NEVER)
    if name.removesuffix(f".{thing.__name__}") not in MODULES:
        allowed |= NOT_OF_METHODS
    if dataclasses.is_dataclass(thing) and "Attributes" in thing.__doc__:
        allowed |= NOT_OF_RESULTS
    if name in WITHOUT_SIBLING:
        allowed.add("SA01")
    faults = {code: text for code, text in validate(name)["errors"] if code not in allowed}
    assert not faults


def test_functions_methods_classes_and_results_are_read():
    assert {
        "fasthash.topk",
        "fasthash.HammingIndex.search",
        "fasthash.AMSH",
        "fasthash.RREH.fit",
        "fasthash.experiments.Summary",
        "fasthash.models.select_by_pairs",
    } <= set(NAMES)
    assert "fasthash.models.AMSH" not in NAMES and len(NAMES) > 90


@pytest.mark.parametrize("name", sorted(WITHOUT_SIBLING))
def test_exceptions_are_needed(name):
    assert "SA01" in dict(validate(name)["errors"])
