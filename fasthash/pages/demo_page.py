"""The demonstration's page: one HTML file with everything in it, readable in light and dark."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from ..datasets import EmojiDataset
from . import html as page
from .demo import DIRECTIONS, RANKED_BY, Answer, Fitted

__all__ = ["demo_page"]


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
        Source of the thumbnails and names.
    table : sequence of rows of str
        The scores as printed; the first row is the header.
    curves_of : sequence of Fitted
        Models of one code length, whose precision-recall curves are drawn.
    answers : sequence of Answer
        Text queries and the glyphs found.
    settings : mapping of str to object
        Settings of the measurement, shown at the end of the page.

    Returns
    -------
    str
        A complete HTML document that loads no other files.
    """
    header, *rows = table
    found = "".join(_answer(data, answer) for answer in answers)
    made_with = page.table(None, [(name, str(value)) for name, value in settings.items()])
    n_bits = curves_of[0].n_bits
    body = f"""<h1>Emoji across image and text</h1>
<p>Glyphs and their names get binary codes in one Hamming space. AMSH learns them from labels
(Unicode group and subgroup) without knowing which glyph belongs to which name; CCA-ITQ learns from
the pairs, without labels.</p>
<h2>Words to glyphs, {n_bits} bits</h2>
<p>{RANKED_BY} Below each glyph are its name, its score, and the Hamming distance between its code
and that of the words.</p>
{found}
<h2>Mean average precision</h2>
<p>Queries are unseen samples of one modality. The database is the training samples of the other
modality. An item is relevant if it has the same Unicode group. Ties count in expectation.</p>
{page.table(header, rows)}
<h2>Precision and recall within a Hamming radius, {n_bits} bits</h2>
<p>One marker per radius. A query that finds nothing within a radius is left out of the
precision.</p>
{_curves(curves_of)}
<h2>Settings</h2>
{made_with}
<p>Images: Noto Emoji by Google. Names and keywords: Unicode CLDR, by way of emojibase.</p>"""
    return page.document("fasthash demo: emoji across image and text", body)


def _answer(data: EmojiDataset, answer: Answer) -> str:
    items = []
    for row, score, distance in zip(answer.rows, answer.scores, answer.distances, strict=True):
        picture = base64.b64encode(data.thumbnail(row)).decode()
        name = escape(data.names[row])
        items.append(
            f'<li><img alt="" src="data:{data.thumbnail_media_type};base64,{picture}">{name}'
            f"<b>{score:.4g}, {distance}</b></li>"
        )
    return f'<h3>“{escape(answer.query)}”</h3>\n<ul class="grid">{"".join(items)}</ul>\n'


def _curves(curves_of: Sequence[Fitted]) -> str:
    def draw(axes: Any) -> None:
        pairs = [(fitted, direction) for fitted in curves_of for direction in DIRECTIONS]
        looks = page.DASHES_AND_MARKERS[: len(pairs)]
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
        axes.legend(framealpha=0, loc="lower left")

    return page.chart(draw, "precision over recall, a curve for each method and direction")
