"""A hook of mkdocs: every page lies in the site where a link of the repository expects it.

Pages link to each other, and to source files, by their places in the repository. Here each file of
the site gets its place in the repository as its name, so such links need no change, and a link that
leads nowhere is an error. In the addresses of the site, the folder ``docs/`` is left out.

A page that would load anything from another server is an error too.
"""

from __future__ import annotations

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
    "CHANGELOG.md",
    "CITATION.cff",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "fasthash/datasets/EMOJI_LICENSES.md",
    "fasthash/include/fasthash.h",
    "fasthash/serving/icon.svg",
]
SEE_ALSO = re.compile(r"(?P<heading>See Also\n-+\n)(?P<items>(?:.+\n?)+)")
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


def _placed(name: str, address: str | None, config: Any) -> File:
    return File(name, str(PROJECT), config.site_dir, config.use_directory_urls, dest_uri=address)


class Reference(griffe.Extension):
    """Make docstrings fit for pages: modules are introduced there, and siblings become links."""

    def on_module(self, *, mod: griffe.Module, **kwargs: Any) -> None:
        mod.docstring = None

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = SEE_ALSO.sub(_listed, obj.docstring.value)


def _listed(section: re.Match[str]) -> str:
    """A list of links in the place of numpydoc's lines ``name : what it is``."""
    items = re.sub(r"\n\s+", " ", section["items"].strip("\n"))
    return (
        section["heading"]
        + re.sub(
            r"^(?:fasthash\.)?([\w.]+)(?: : )?",
            r'- <autoref identifier="fasthash.\1" optional><code>\1</code></autoref> ',
            items,
            flags=re.MULTILINE,
        )
        + "\n"
    )
