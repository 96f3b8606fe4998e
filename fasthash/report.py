"""The demonstration's page: one HTML file with everything in it, readable in light and dark."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from .datasets import EmojiDataset
from .demo import DIRECTIONS, Answer, Fitted

__all__ = ["demo_page"]

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
.grid img { width: 48px; height: 48px; display: block; margin: 0 auto .25rem; }
.grid b { display: block; font-weight: normal; opacity: .7; }
svg { width: 100%; max-width: 46rem; height: auto; }
"""


def demo_page(
    data: EmojiDataset,
    table: Sequence[Sequence[str]],
    curves_of: Sequence[Fitted],
    answers: Sequence[Answer],
    settings: Mapping[str, object],
) -> str:
    """
    Render the page.

    Parameters
    ----------
    data : EmojiDataset
        Where thumbnails and names come from.
    table : sequence of rows of str
        The scores as printed; the first row is the header.
    curves_of : sequence of Fitted
        Models of one code length, whose precision-recall curves are drawn.
    answers : sequence of Answer
        Text queries and the glyphs found.
    settings : mapping of str to object
        What the figures were made with.

    Returns
    -------
    str
        A complete HTML document that loads nothing from elsewhere.
    """
    header, *rows = table
    figures = "".join(_row(row, "td") for row in rows)
    found = "".join(_answer(data, answer) for answer in answers)
    made_with = "".join(_row((name, str(value)), "td") for name, value in settings.items())
    n_bits = curves_of[0].n_bits
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>fasthash demo: emoji across image and text</title>
<style>{_STYLE}</style>
<h1>Emoji across image and text</h1>
<p>Glyphs and their names get binary codes in one Hamming space. AMSH learns them from labels
(Unicode group and subgroup) without knowing which glyph belongs to which name; CCA-ITQ learns from
the pairs, without labels.</p>
<h2>Words to glyphs, {n_bits} bits</h2>
<p>Below each glyph: its name and the Hamming distance of its code to that of the words.</p>
{found}
<h2>Mean average precision</h2>
<p>Queries are unseen samples of one modality, the database is the training samples of the other,
relevant is what has the same Unicode group. Ties count in expectation.</p>
<table>{_row(header, "th")}{figures}</table>
<h2>Precision and recall within a Hamming radius, {n_bits} bits</h2>
<p>One marker per radius. A query that finds nothing within a radius is left out of the
precision.</p>
{_curves(curves_of)}
<h2>Settings</h2>
<table>{made_with}</table>
<p>Images: Noto Emoji by Google. Names and keywords: Unicode CLDR, by way of emojibase.</p>
</html>
"""


def _row(cells: Sequence[str], tag: str) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>\n"


def _answer(data: EmojiDataset, answer: Answer) -> str:
    items = []
    for row, distance in zip(answer.rows, answer.distances, strict=True):
        picture = base64.b64encode(data.thumbnail(row)).decode()
        name = escape(data.names[row])
        items.append(
            f'<li><img alt="" src="data:{data.thumbnail_media_type};base64,{picture}">{name}'
            f"<b>{distance}</b></li>"
        )
    return f'<h3>“{escape(answer.query)}”</h3>\n<ul class="grid">{"".join(items)}</ul>\n'


def _curves(curves_of: Sequence[Fitted]) -> str:
    """Inline SVG; every curve has its own dash and marker, so that colour is not needed."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    style: dict[Any, str] = {
        name: _TEXT_COLOUR for name in ("text.color", "axes.labelcolor", "axes.edgecolor")
    }
    style |= {name: _TEXT_COLOUR for name in ("xtick.color", "ytick.color")}
    # The salt makes the file the same in every run.
    with rc_context({**style, "svg.fonttype": "none", "svg.hashsalt": "fasthash"}):
        figure = Figure(figsize=(7, 4.2), layout="constrained")
        axes = figure.add_subplot()
        looks = (("-", "o"), ("--", "s"), ("-.", "^"), (":", "D"))
        pairs = [(fitted, direction) for fitted in curves_of for direction in DIRECTIONS]
        for (dash, marker), (fitted, direction) in zip(looks, pairs, strict=True):
            precision, recall = fitted.curves[direction]
            axes.plot(
                recall,
                precision,
                linestyle=dash,
                marker=marker,
                markersize=3.5,
                label=f"{fitted.method}, {direction[0]} to {direction[1]}",
            )
        axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1))
        axes.grid(alpha=0.3)
        axes.legend(framealpha=0, loc="lower left")
        page = io.StringIO()
        figure.savefig(page, format="svg", transparent=True, metadata={"Date": None})
    svg = page.getvalue()
    return svg[svg.index("<svg") :].replace(_TEXT_COLOUR, "currentColor")
