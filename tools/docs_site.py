"""A hook of mkdocs: every page lies in the site where a link of the repository expects it.

Pages link to each other, and to source files, by their places in the repository. Here each file of
the site gets its place in the repository as its name, so such links need no change, and a link that
leads nowhere is an error. In the addresses of the site, the folder ``docs/`` is left out.

A page that would load anything from another server is an error too, and so is a public name that no
page of the reference shows.
"""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path
from typing import Any

import griffe
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

PROJECT = Path(__file__).resolve().parents[1]
# What the site shows beside docs/.
OUTSIDE = [
    "benchmarks/README.md",
    "benchmarks/RESULTS.md",
    "benchmarks/RESULTS-avx512.md",
    "CHANGELOG.md",
    "CITATION.cff",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "fasthash/datasets/EMOJI_LICENSES.md",
    "fasthash/include/fasthash.h",
    "fasthash/pages/templates/icon.svg",
]
SEE_ALSO = re.compile(r"(?P<heading>See Also\n-+\n)(?P<items>(?:.+\n?)+)")
# Where the methods of a private base class are shown.
SHOWN_AS = {
    "CodeIndex": "HammingIndex",
    "HeldCodes": "HammingIndex",
    "LatentSearch": "CLSR",
    "LinearTransformer": "ITQ",
    "SavedModel": "CrossModalHasher",
    "SearchedCodes": "HammingIndex",
    "ShardedCodes": "ShardedIndex",
}
ANCHOR = re.compile(r'id="(fasthash[\w.]+)"')
LOADED = re.compile(
    r"<(?:script|img|iframe|source|link)\b[^>]*?\b(?:src|href)=[\"']?((?:https?:)?//[^\s\"'>]+)"
)


def on_files(files: Files, config: Any) -> Files:
    """Name every file by its place in the repository."""
    placed = Files([])
    for file in files:
        if file.src_dir == config.docs_dir:
            file = _placed(f"docs/{file.src_uri}", file.dest_uri, config)
        placed.append(file)
    for name in OUTSIDE:
        address = name if not name.endswith(".md") else None
        placed.append(_placed(name, address, config))
    return placed


def on_post_page(output: str, page: Any, config: Any) -> str:
    """Refuse a page that loads something from elsewhere."""
    if loaded := LOADED.findall(output):
        raise PluginError(f"{page.file.src_uri} loads {', '.join(loaded)} from another server")
    return output


def on_post_build(config: Any) -> None:
    """Refuse a site that lacks a public name."""
    shown: set[str] = set()
    for page in Path(config.site_dir).rglob("*.html"):
        shown |= set(ANCHOR.findall(page.read_text(encoding="utf-8")))
    # What a public module offers too, such as `fasthash.AMSH` of `fasthash.models`, is shown there.
    module_names = {name.rpartition(".")[2] for name in shown if name.count(".") == 2}
    missing = sorted(
        name
        for name in _public_names() - shown
        if name.count(".") > 1 or name.removeprefix("fasthash.") not in module_names
    )
    if missing:
        raise PluginError(f"no page of the reference shows {', '.join(missing)}")


@functools.cache
def _public_names() -> set[str]:
    """What `__all__` of the package and of its public modules lists, read without an import."""
    package = PROJECT / "fasthash"
    names = set()
    for name in _listed_names(package / "__init__.pyi") - {"__version__"}:
        if (package / name).is_dir():
            module = package / name / "__init__.py"
        else:
            module = package / f"{name}.py"
        if module.is_file():
            names |= {f"fasthash.{name}.{each}" for each in _listed_names(module)}
        else:
            names.add(f"fasthash.{name}")
    return names


def _listed_names(module: Path) -> set[str]:
    for node in ast.parse(module.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    raise PluginError(f"{module} has no __all__")


def _placed(name: str, address: str | None, config: Any) -> File:
    return File(name, str(PROJECT), config.site_dir, config.use_directory_urls, dest_uri=address)


class Reference(griffe.Extension):
    """Make docstrings fit for pages: modules are introduced there, and siblings become links."""

    def on_module(self, *, mod: griffe.Module, **kwargs: Any) -> None:
        mod.docstring = None

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            scope = SHOWN_AS.get(obj.parent.name, obj.parent.name) if obj.parent else ""
            obj.docstring.value = SEE_ALSO.sub(
                lambda section: _listed(section, scope), obj.docstring.value
            )


def _listed(section: re.Match[str], scope: str) -> str:
    """A list of links in place of numpydoc's lines ``name : what it is``; methods of one class."""
    anchors = {name.rpartition(".")[2]: name for name in sorted(_public_names())}
    items = re.sub(r"\n\s+", " ", section["items"].strip("\n"))

    def link(item: re.Match[str]) -> str:
        # The page leaves out the modules of a name; a class begins with a capital letter.
        name = re.sub(r"^fasthash\.(?:[a-z]+\.)?", "", item[1])
        first, _, rest = name.partition(".")
        if first in anchors:
            target = anchors[first] + (rest and f".{rest}")
        else:
            target = f"{anchors.get(scope, 'fasthash')}.{name}"
        return f'- <autoref identifier="{target}" optional><code>{name}</code></autoref> '

    links = re.sub(r"^([\w.]+)(?: : )?", link, items, flags=re.MULTILINE)
    return f"{section['heading']}{links}\n"
