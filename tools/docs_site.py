"""A hook of mkdocs: the site is the repository's Markdown, with its links as they work on a shelf.

The pages refer to each other, and to files beside them, by their place in the repository. So the
site is built from a copy that has the same places: README.md is the first page, and a link that
leads nowhere is an error.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
PAGES = [
    "README.md",
    "docs/*.md",
    "benchmarks/*.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
]
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)")


def on_config(config: Any) -> Any:
    folder = Path(tempfile.mkdtemp(prefix="fasthash-docs-"))
    pages = [page for pattern in PAGES for page in sorted(PROJECT.glob(pattern))]
    linked = {
        (page.parent / target).resolve()
        for page in pages
        for target in LINK.findall(page.read_text(encoding="utf-8"))
    }
    for path in {*pages, *(path for path in linked if path.is_file())}:
        place = folder / path.relative_to(PROJECT)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    config.docs_dir = str(folder)
    config.nav = [{_title(page): str(page.relative_to(PROJECT))} for page in pages]
    return config


def on_post_build(config: Any) -> None:
    shutil.rmtree(config.docs_dir)


def _title(page: Path) -> str:
    first = next(line for line in page.read_text(encoding="utf-8").splitlines() if line)
    return first.lstrip("# ")
