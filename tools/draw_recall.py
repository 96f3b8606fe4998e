"""Draws docs/figures/recall-time.svg from "Long codes at a recall" of RESULTS-avx512.md.

    python tools/draw_recall.py

A test compares the committed figure with what this draws, so the two cannot differ.
"""

from __future__ import annotations

import math
import re
from html import escape
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
RESULTS = PROJECT / "benchmarks" / "RESULTS-avx512.md"
FIGURE = PROJECT / "docs" / "figures" / "recall-time.svg"

# The codes of each panel: name, bits.
PANELS = (("made, near", 256), ("sentences, ITQ", 256))
# Recalls on the axis, which shows what is missing to 1, logarithmically.
RECALLS = (0.8, 0.9, 0.95, 0.99, 0.999)

WIDTH, HEIGHT, LEFT, GAP, TOP, BOTTOM = 900, 420, 62, 70, 66, 92
COLOURS = {
    "fasthash": "#2457c5",
    "faiss IVF, 1,024 lists": "#d0762a",
    "faiss IVF, 4,096 lists": "#e5b04c",
    "faiss HNSW": "#5a9a55",
    "usearch HNSW": "#8a63b0",
    "faiss MultiHash": "#9a9a9a",
}

# (recall, microseconds per query in a batch)
Point = tuple[float, float]


def read_curves(results: str) -> dict[tuple[str, int, str], list[Point]]:
    """Return the curve of every (codes, bits, method)."""
    section = results.split("\n## Long codes at a recall\n", 1)[1].split("\n## ", 1)[0]
    table = section.split("| method |", 1)[1]
    curves = {}
    for line in table.splitlines()[2:]:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) != 7:
            break
        points = re.findall(r"([\d.]+): ([\d.e+]+) / ", cells[6])
        curve = [(float(recall), float(time)) for recall, time in points]
        curves[cells[0], int(cells[1]), cells[3]] = curve
    return curves


def draw(results: str) -> str:
    """Return the figure as SVG: for each kind of codes, time over recall of every method."""
    curves = read_curves(results)
    width = (WIDTH - LEFT - GAP - 20) / 2
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="13">',
        "<title>Time per query over recall</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="6" fill="#ffffff"/>',
        '<text x="16" y="26" font-size="15" font-weight="bold" fill="#1b1b1b">Time per query in a '
        "batch over recall@10, one thread; both axes are logarithmic</text>",
    ]
    shown = [curve for (name, bits, _), curve in curves.items() if (name, bits) in PANELS and curve]
    times = [time for curve in shown for recall, time in curve if recall >= RECALLS[0]]
    low = 10 ** math.floor(math.log10(min(times)))
    high = 10 ** math.ceil(math.log10(max(times)))
    for i, (name, bits) in enumerate(PANELS):
        panel = {m: c for (n, b, m), c in curves.items() if (n, b) == (name, bits)}
        out += _panel(f"{name}, {bits} bits", panel, LEFT + i * (width + GAP), width, low, high)
    for i, (method, colour) in enumerate(COLOURS.items()):
        x, y = 62 + 280 * (i % 3), HEIGHT - 38 + 20 * (i // 3)
        out.append(f'<rect x="{x}" y="{y}" width="18" height="4" fill="{colour}"/>')
        out.append(f'<text x="{x + 25}" y="{y + 7}" fill="#1b1b1b">{escape(method)}</text>')
    return "\n".join([*out, "</svg>", ""])


def _panel(
    title: str,
    curves: dict[str, list[Point]],
    left: float,
    width: float,
    low: float,
    high: float,
) -> list[str]:
    bottom = HEIGHT - BOTTOM
    ends = [-math.log10(1 - recall) for recall in (RECALLS[0], RECALLS[-1])]

    def x_of(recall: float) -> float:
        place = -math.log10(max(1 - recall, 1 - RECALLS[-1]))
        return left + width * (place - ends[0]) / (ends[1] - ends[0])

    def y_of(time: float) -> float:
        share = math.log(time / low) / math.log(high / low)
        return bottom - (bottom - TOP) * share

    out = [f'<text x="{left}" y="{TOP - 14}" fill="#1b1b1b">{escape(title)}</text>']
    for recall in RECALLS:
        x = x_of(recall)
        out.append(f'<path d="M{x:.1f} {TOP}V{bottom}" stroke="#e4e4e4"/>')
        out.append(
            f'<text x="{x:.1f}" y="{bottom + 17}" text-anchor="middle" fill="#555555">'
            f"{recall:g}</text>"
        )
    for power in range(round(math.log10(low)), round(math.log10(high)) + 1):
        y = y_of(10**power)
        label = f"{10**power:g} µs" if power < 3 else f"{10 ** (power - 3):g} ms"
        out.append(f'<path d="M{left} {y:.1f}H{left + width:.1f}" stroke="#e4e4e4"/>')
        out.append(
            f'<text x="{left - 7}" y="{y + 4:.1f}" text-anchor="end" fill="#555555">{label}</text>'
        )
    exact = curves.get("fasthash, exact")
    if exact:
        y = y_of(exact[0][1])
        out.append(
            f'<path d="M{left} {y:.1f}H{left + width:.1f}" stroke="{COLOURS["fasthash"]}" '
            'stroke-dasharray="5 4"/>'
        )
        out.append(
            f'<text x="{left + 5}" y="{y + 13:.1f}" fill="{COLOURS["fasthash"]}">fasthash, exact'
            "</text>"
        )
    for method, colour in COLOURS.items():
        points = [point for point in curves.get(method, []) if point[0] >= RECALLS[0]]
        places = [f"{x_of(recall):.1f} {y_of(time):.1f}" for recall, time in points]
        if places:
            path = "M" + "L".join(places)
            out.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for place in places:
            x, y = place.split()
            out.append(f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>')
    return out


if __name__ == "__main__":
    FIGURE.write_text(draw(RESULTS.read_text(encoding="utf-8")), encoding="utf-8")
