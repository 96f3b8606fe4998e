"""Pages of one HTML file with everything in it: the frame, tables, and charts as inline SVG.

A page loads no other files, uses the light or dark theme that the reader prefers, and fits a phone.
Curves in charts differ by dashes and markers, so that no colours are needed.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

__all__ = ["DASHES_AND_MARKERS", "chart", "document", "table"]

DASHES_AND_MARKERS = (("-", "o"), ("--", "s"), ("-.", "^"), (":", "D"), ("-", "x"), ("--", "v"))

# Width in inches. With this width, text on a phone has about its normal size.
_WIDTH = 5.2

# Matplotlib writes this colour, and the page replaces it by the colour of its text.
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
    Assemble a page.

    Parameters
    ----------
    title : str
        Title of the window. It is escaped here.
    body : str
        HTML of the body.

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
    """Render a table as HTML. Cells are escaped."""
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
        Called with matplotlib axes, on which it draws.
    description : str
        Description of the chart for screen readers.
    height : float, default 3.4
        Height in inches; the width is 5.2 inches.

    Returns
    -------
    str
        HTML, which is the same in every run.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    style: dict[Any, str] = {
        name: _TEXT_COLOUR for name in ("text.color", "axes.labelcolor", "axes.edgecolor")
    }
    style |= dict.fromkeys(
        ("xtick.color", "ytick.color", "hatch.color", "patch.edgecolor"), _TEXT_COLOUR
    )
    # The salt makes the names in the SVG the same in every run. Each chart has its own salt, so
    # that the names of different charts on a page differ.
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
