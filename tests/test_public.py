"""The contract of the public names: one list of them, and options that are keywords everywhere."""

import ast
import dataclasses
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fasthash as fh

PACKAGE = Path(fh.__file__).parent
PROJECT = Path(__file__).parent.parent
MODULES = ["fasthash", *(f"fasthash.{name}" for name in fh._PUBLIC_MODULES)]

# What may be positional: the data that a call is about, `k`, `radius`, and the few numbers that say
# what the data are. Whatever changes how a call works is a keyword.
POSITIONAL = {
    "self",
    *("X", "a", "b", "candidates", "codes", "column", "database", "database_codes", "distance"),
    "distances",
    *(
        "database_labels",
        "features",
        "hashes",
        "i",
        "ids",
        "labels",
        "latents",
        "method",
        "modality",
        "model",
    ),
    *("models", "pairs", "path", "paths", "queries", "query_codes", "query_labels", "samples"),
    *("scores", "source", "test", "text", "texts", "train", "values", "vectors"),
    *("weights", "x", "y"),
    *("argument", "metrics"),
    *("k", "radius"),
    *("n", "n_bits", "rate", "ratio", "share"),
}
# Data and parameters of estimators that may be left out.
OPTIONAL = {"X", "labels", "n_bits", "pairs", "y"}
# Where weights may take the place of queries, as keywords, queries and the k after them are
# optional.
OPTIONAL_BESIDE_WEIGHTS = {"queries", "k"}


def public_callables():
    """(name, function or method) of everything public; classes by their constructors too."""
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        for name in module.__all__:
            thing = getattr(module, name)
            called = f"{module_name}.{name}"
            if inspect.isclass(thing):
                # The fields of a result are positional, because no caller makes one.
                if not dataclasses.is_dataclass(thing):
                    yield called, thing
                for method_name, method in inspect.getmembers(thing, inspect.isroutine):
                    is_ours = (getattr(method, "__module__", None) or "").startswith("fasthash")
                    if is_ours and callable(method) and not method_name.startswith("_"):
                        yield f"{called}.{method_name}", method
            elif callable(thing):
                yield called, thing


CALLABLES = dict(public_callables())


@pytest.mark.parametrize("name", sorted(CALLABLES))
def test_only_data_and_k_or_radius_may_be_positional(name):
    parameters = inspect.signature(CALLABLES[name]).parameters
    optional = OPTIONAL | OPTIONAL_BESIDE_WEIGHTS if "weights" in parameters else OPTIONAL
    for parameter in parameters.values():
        if parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_KEYWORD):
            continue
        assert parameter.kind is parameter.POSITIONAL_OR_KEYWORD, parameter
        assert parameter.name in POSITIONAL, f"{parameter.name} must be a keyword: put * before it"
        if parameter.default is not parameter.empty:
            assert parameter.name in optional, f"{parameter.name} has a default: put * before it"


def test_the_walk_meets_functions_methods_and_constructors():
    assert {
        "fasthash.topk",
        "fasthash.HammingIndex",
        "fasthash.HammingIndex.search",
        "fasthash.AMSH.encode",
        "fasthash.metrics.bit_means",
        "fasthash.embeddings.nearest",
    } <= set(CALLABLES)
    assert len(CALLABLES) > 90


def test_n_threads_filter_and_ties_are_spelt_alike():
    """One name per idea: no call has another word for one of these."""
    for name, function in CALLABLES.items():
        parameters = set(inspect.signature(function).parameters)
        assert not parameters & {"mask", "among", "where", "subset", "n_jobs", "threads"}, name
        ties = inspect.signature(function).parameters.get("ties")
        assert ties is None or ties.default == "expected", name


def test_the_stub_and_the_module_list_the_same_names():
    stub = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8"))
    listed, imported = [], set()
    for node in stub.body:
        if isinstance(node, ast.ImportFrom):
            imported |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign):
            assert [target.id for target in node.targets] == ["__all__"]
            listed = ast.literal_eval(node.value)
    assert len(listed) == len(set(listed)) and len(fh.__all__) == len(set(fh.__all__))
    assert set(listed) == set(fh.__all__) == imported | {"__version__"}


def test_what_the_stub_imports_is_what_the_module_hands_out():
    stub = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8"))
    for node in stub.body:
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(f".{node.module or ''}", "fasthash")
            for alias in node.names:
                assert getattr(fh, alias.name) is getattr(module, alias.name), alias.name


@pytest.mark.parametrize("name", fh._PUBLIC_MODULES)
def test_public_modules_are_attributes(name):
    """In a fresh process, where nothing has imported the module before."""
    call = f"import fasthash as fh; print(fh.{name}.__name__)"
    printed = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True)
    assert printed.stdout.strip() == f"fasthash.{name}", printed.stderr


def test_python_suggests_the_name_for_a_misspelt_one():
    call = "import fasthash as fh; fh.top_k"
    printed = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True)
    assert printed.stderr.strip().endswith("no attribute 'top_k'. Did you mean: 'topk'?")


def test_the_import_is_cheap():
    """No part of the package that needs scipy or scikit-learn, and no metadata of installations."""
    call = (
        "import sys, fasthash; assert not {'scipy', 'sklearn', 'importlib.metadata'} & "
        "set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", call], check=True)


def test_comparisons_of_arrays_load_nothing_of_clusters():
    call = (
        "import sys, fasthash.experiments; "
        "assert not {'dask', 'distributed', 'fasthash.distributed'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", call], check=True)


def test_the_version_is_said_once():
    citation = PROJECT / "CITATION.cff"
    if not citation.exists():
        pytest.skip("needs the source tree")
    said = re.search(r"^version: (\S+)$", citation.read_text(encoding="utf-8"), re.MULTILINE)
    assert said[1] == fh.__version__
    assert 'version = "' not in (PROJECT / "pyproject.toml").read_text().split("[project.")[0]
