"""Charts as inline SVG, drawn by matplotlib in the colours of the page.

Curves differ by dashes and markers as well as by colour. A chart is as wide as a phone; a page
shows several of them side by side where there is room.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["TEXT_COLOUR", "chart", "draw_curves"]

# Width and height in inches. On a phone, text of a chart is then about 13 pixels high.
_SIZE = (3.7, 2.8)

# Matplotlib writes these colours, and the page replaces them by its own.
TEXT_COLOUR = "#010203"
_CURVE_COLOURS = tuple(f"#01020{4 + i}" for i in range(6))

_DASHES_AND_MARKERS = (("-", "o"), ("--", "s"), ("-.", "^"), (":", "D"), ("-", "x"), ("--", "v"))

# Largest number of marks on a curve, and of characters of its name.
_MOST_MARKS = 24
_MOST_CHARACTERS = 40


def draw_curves(axes: Any, curves: Sequence[tuple[str, ArrayLike, ArrayLike]]) -> None:
    """
    Draw curves that differ in colour, dashes and markers, with a legend below if there are several.

    Parameters
    ----------
    axes : matplotlib axes
    curves : sequence of (name, x, y)
    """
    names: list[str] = []
    for i, (name, x, y) in enumerate(curves):
        dash, marker = _DASHES_AND_MARKERS[i % len(_DASHES_AND_MARKERS)]
        names.append(name if len(name) <= _MOST_CHARACTERS else name[: _MOST_CHARACTERS - 1] + "…")
        axes.plot(
            x,
            y,
            color=_CURVE_COLOURS[i % len(_CURVE_COLOURS)],
            linestyle=dash,
            marker=marker,
            markersize=3.5,
            markevery=max(1, len(list(x)) // _MOST_MARKS),  # type: ignore[arg-type]
        )
    if len(curves) > 1:
        numbers = [str(i) for i in range(len(names))]
        legend = axes.figure.legend(
            axes.lines, numbers, loc="outside lower center", ncols=2, frameon=False
        )
        # Matplotlib leaves out curves whose names begin with an underscore when it makes a legend.
        for text, name in zip(legend.get_texts(), names, strict=True):
            text.set_text(name)


def chart(draw: Callable[[Any], None], description: str) -> Markup:
    """
    Draw a chart as inline SVG.

    Parameters
    ----------
    draw : callable
        Called with matplotlib axes, on which it draws.
    description : str
        Description of the chart for screen readers. Two charts of a page need different ones.

    Returns
    -------
    Markup
        SVG, which is the same in every run.
    """
    from markupsafe import Markup, escape
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    style: dict[Any, Any] = {
        name: TEXT_COLOUR for name in ("text.color", "axes.labelcolor", "axes.edgecolor")
    }
    style |= dict.fromkeys(
        ("xtick.color", "ytick.color", "hatch.color", "patch.edgecolor"), TEXT_COLOUR
    )
    # Names of models and modalities are not formulas, even if they contain dollar signs.
    style["text.parse_math"] = False
    # The salt makes the names in the SVG the same in every run. Each chart has its own salt, so
    # that the names of different charts on a page differ.
    style |= {"svg.fonttype": "none", "svg.hashsalt": f"fasthash {description}"}
    with rc_context(style):
        figure = Figure(figsize=_SIZE, layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :].replace(TEXT_COLOUR, "currentColor")
    for i, colour in enumerate(_CURVE_COLOURS):
        svg = svg.replace(colour, f"var(--curve-{i})")
    return Markup(svg.replace("<svg ", f'<svg role="img" aria-label="{escape(description)}" ', 1))
