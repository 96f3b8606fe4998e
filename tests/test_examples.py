"""Every example in a public docstring runs, and gives what it says."""

import doctest
import importlib
import pkgutil

import numpy as np
import pytest

import fasthash

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(fasthash.__path__, "fasthash.")
    if "._kernels" not in module.name
)


# What examples import that not every installation has.
NEEDS = {
    "fasthash.distributed.evaluation": "distributed",
    "fasthash.distributed.reading": "dask.array",
    "fasthash.distributed.sharded_index": "distributed",
    "fasthash.interchange": "pyarrow",
    "fasthash.models.clsr": "torch",
    "fasthash.models.clsr._losses": "torch",
    "fasthash.models.clsr._training": "torch",
}


@pytest.mark.parametrize("module", MODULES)
def test_docstring_examples(module):
    if module in NEEDS:
        pytest.importorskip(NEEDS[module], reason=f"the examples need {NEEDS[module]}")
    with np.printoptions(legacy=False):
        failures, _ = doctest.testmod(importlib.import_module(module), verbose=False)
    assert failures == 0


@pytest.mark.parametrize("name", sorted(set(fasthash.__all__) - {"__version__"}))
def test_every_public_name_has_an_example(name):
    thing = getattr(fasthash, name)
    if isinstance(thing, type(fasthash)):
        return
    assert ">>>" in thing.__doc__, f"{name} has no example"
