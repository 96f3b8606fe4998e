"""The demonstration's page: one HTML file, which answers typed words without a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..datasets import EmojiDataset
from .charts import chart, draw_curves
from .demo import DIRECTIONS, RANKED_BY, Answer, Fitted
from .demo_search import SPRITE_COLUMNS, packed_search, sprite
from .templates import render, script

__all__ = ["demo_page"]

# Bytes of the codes and the pictures together, so that the page has less than 1.5 MB.
_MOST_BYTES = 1_380_000


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
    search = packed_search(data, curves_of[0].model)
    return render(
        "demo.html",
        n_bits=curves_of[0].n_bits,
        ranked_by=RANKED_BY,
        n_glyphs=len(data),
        columns=SPRITE_COLUMNS,
        sprite=sprite(data, _MOST_BYTES - len(search)),
        search=search,
        script=script("demo.js"),
        answers=[_answer(data, answer) for answer in answers],
        table=table,
        charts=[_curves(curves_of, direction) for direction in DIRECTIONS],
        settings=settings,
    )


def _answer(data: EmojiDataset, answer: Answer) -> dict[str, Any]:
    found = zip(answer.rows.tolist(), answer.scores, answer.distances, strict=True)
    cards = [
        {
            "row": row,
            "name": data.names[row],
            "apart": f"score {score:.4g}, distance {distance}",
        }
        for row, score, distance in found
    ]
    return {"query": answer.query, "cards": cards}


def _curves(curves_of: Sequence[Fitted], direction: tuple[str, str]) -> dict[str, Any]:
    def draw(axes: Any) -> None:
        curves = []
        for fitted in curves_of:
            precision, recall = fitted.curves[direction]
            curves.append((fitted.method, recall, precision))
        draw_curves(axes, curves)
        axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02))

    caption = " to ".join(direction)
    return {"caption": caption, "svg": chart(draw, f"precision over recall, {caption}")}
