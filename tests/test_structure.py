"""The tree keeps its shape: imports run downwards without a circle, and files stay short."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
PACKAGE = PROJECT / "fasthash"
ARCHITECTURE = PROJECT / "docs" / "architecture.md"

pytestmark = pytest.mark.skipif(not ARCHITECTURE.exists(), reason="needs the source tree")

# What people read a line at a time. Results are written by a program.
READ = {".py", ".pyi", ".pyx", ".pxd", ".c", ".h", ".md", ".sh", ".js", ".css", ".html"}
LONG = {"benchmarks/RESULTS.md", "benchmarks/RESULTS-avx512.md"}
MOST_LINES = 500

CYTHON_IMPORT = re.compile(r"^\s*from\s+(\.*)([\w.]*)\s+c?import\s", re.MULTILINE)


def modules():
    """Every module of the package, by the path of its name; a package is its ``__init__``."""
    found = {}
    for path in sorted([*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.pyx")]):
        name = path.relative_to(PROJECT).with_suffix("").parts
        found[name[:-1] if name[-1] == "__init__" else name] = path
    return found


def asked_for(path):
    """(dots, module, names) of every import in a file, those within functions too."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".pyx":
        for dots, module in CYTHON_IMPORT.findall(text):
            yield len(dots), module, ["*"]
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            yield node.level, node.module or "", [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                package, _, module = alias.name.rpartition(".")
                yield 0, package or module, [module]


def imports(name, path, known):
    """The modules of the package that a module imports."""
    package = name if path.name == "__init__.py" else name[:-1]
    for dots, module, names in asked_for(path):
        base = package[: len(package) - dots + 1] if dots else ()
        target = (*base, *(part for part in module.split(".") if part))
        if target[:1] != ("fasthash",):
            continue
        # The package itself defines its version only, and every module may ask for that.
        names = [other for other in names if (target, other) != (("fasthash",), "__version__")]
        # A name is a module, or defined in the one it is imported from.
        inner = [(*target, other) for other in names if (*target, other) in known]
        yield from inner
        if len(inner) < len(names) and target in known:
            yield target


@pytest.fixture(scope="module")
def graph():
    known = modules()
    return {name: set(imports(name, path, known)) for name, path in known.items()}


def layers():
    """The layers that docs/architecture.md draws, the highest first: sets of names."""
    text = ARCHITECTURE.read_text(encoding="utf-8")
    return [set(layer.split(", ")) for layer in re.findall(r"^ *│ (.*?) *│$", text, re.MULTILINE)]


def upward(graph, height):
    """Imports that do not lead to a lower layer, or into the same folder."""
    return [
        f"{'.'.join(name)} imports {'.'.join(other)}"
        for name, others in graph.items()
        for other in others
        if len(name) > 1
        and (len(other) < 2 or name[1] != other[1])
        and (len(other) < 2 or height[name[1]] <= height[other[1]])
    ]


def test_every_module_has_a_layer(graph):
    drawn = [name for layer in layers() for name in layer]
    assert len(drawn) == len(set(drawn))
    assert set(drawn) == {name[1] for name in graph if len(name) > 1}


def test_imports_run_downwards(graph):
    height = {name: -at for at, layer in enumerate(layers()) for name in layer}
    assert upward(graph, height) == []
    # The check sees an import that runs up.
    wrong = {**graph, ("fasthash", "codes"): {("fasthash", "hamming")}}
    assert upward(wrong, height) == ["fasthash.codes imports fasthash.hamming"]


def test_imports_have_no_circle(graph):
    list(TopologicalSorter(graph).static_order())


def test_imports_are_found(graph):
    """Of modules, of names in them, within functions, and in Cython."""
    at = ("fasthash", "_core")
    assert (*at, "pieces") in graph[(*at, "scan")]
    assert ("fasthash", "_kernels", "distances") in graph[(*at, "scan")]
    assert ("fasthash", "models", "_saving") in graph[("fasthash", "loading")]
    assert ("fasthash", "_kernels", "tiles") in graph[("fasthash", "_kernels", "search")]


def test_no_file_is_long():
    folders = ("fasthash", "tests", "benchmarks", "tools", "docs", ".ci")
    lengths = {
        path.relative_to(PROJECT).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for folder in folders
        for path in (PROJECT / folder).rglob("*")
        if path.suffix in READ
    }
    assert len(lengths) > 200
    assert [name for name, n in lengths.items() if n > MOST_LINES and name not in LONG] == []


def test_the_library_does_not_speak_the_options_of_the_command_line():
    """An option means nothing to a caller from Python: the commands add such hints themselves."""
    library = [p for p in PACKAGE.rglob("*.py") if p.parent.name != "commands" and p.stem != "cli"]
    found = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}: {node.value}"
        for path in library
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and "\n" not in node.value
        and re.search(r"(?<![\w-])(?<!var\()--[a-z]", node.value)
    ]
    assert not found
