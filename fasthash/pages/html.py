"""Pages of one HTML file with everything in it: the frame, tables, and charts as inline SVG.

A page loads nothing from elsewhere, follows the reader's choice of light or dark, fits a phone, and
its charts tell curves apart by dashes and markers, so that colour is not needed.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

__all__ = ["DASHES_AND_MARKERS", "chart", "document", "table"]

DASHES_AND_MARKERS = (("-", "o"), ("--", "s"), ("-.", "^"), (":", "D"), ("-", "x"), ("--", "v"))

# In inches: on a phone, text has about its own size.
_WIDTH = 5.2

# Matplotlib writes this colour, the page replaces it by the colour of its text.
_TEXT_COLOUR = "#010203"

_STYLE = """
:root { color-scheme: light dark; --line: #8886; --soft: #8882; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2 { line-height: 1.2; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { padding: .25rem .8rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child { text-align: left; }
.grid { display: flex; flex-wrap: wrap; gap: .5rem; padding: 0; list-style: none; }
.grid li { width: 6.2rem; padding: .5rem; background: var(--soft); border-radius: .5rem;
           text-align: center; font-size: .75rem; line-height: 1.25; overflow-wrap: anywhere; }
.grid img { width: 48px; height: 48px; object-fit: contain; display: block;
            margin: 0 auto .25rem; }
.grid b { display: block; font-weight: normal; opacity: .7; }
.grid .other { background: none; outline: 1px dashed var(--line); }
svg { width: 100%; max-width: 40rem; height: auto; }
"""


def document(title: str, body: str) -> str:
    """
    Put a page together.

    Parameters
    ----------
    title : str
        Of the window; escaped.
    body : str
        HTML.

    Returns
    -------
    str
        A complete HTML document.
    """
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
{body}
</html>
"""


def table(header: Sequence[str] | None, rows: Sequence[Sequence[str]]) -> str:
    """Render a table; cells are escaped."""
    head = "" if header is None else _row(header, "th")
    return f"<table>{head}{''.join(_row(row, 'td') for row in rows)}</table>\n"


def _row(cells: Sequence[str], tag: str) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>\n"


def chart(draw: Callable[[Any], None], description: str, height: float = 3.4) -> str:
    """
    Draw a chart as inline SVG.

    Parameters
    ----------
    draw : callable
        Called with matplotlib axes.
    description : str
        What it shows, for readers that do not see it.
    height : float
        In inches, of a width of 5.2.

    Returns
    -------
    str
        HTML; the same in every run.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    style: dict[Any, str] = {
        name: _TEXT_COLOUR for name in ("text.color", "axes.labelcolor", "axes.edgecolor")
    }
    style |= dict.fromkeys(
        ("xtick.color", "ytick.color", "hatch.color", "patch.edgecolor"), _TEXT_COLOUR
    )
    # The salt makes the file the same in every run; another one for each chart keeps the names
    # within the file apart.
    salt = f"fasthash {description}"
    with rc_context({**style, "svg.fonttype": "none", "svg.hashsalt": salt}):
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        axes.grid(alpha=0.3)
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :].replace(_TEXT_COLOUR, "currentColor")
    label = escape(description, quote=True)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
