"""Draws docs/figures/speed.svg from the table "Other peers" of benchmarks/RESULTS.md.

    python tools/draw_speed.py

A test compares the committed figure with what this draws, so the two cannot differ.
"""

from __future__ import annotations

import math
import re
from html import escape
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
FIGURE = PROJECT / "docs" / "figures" / "speed.svg"
ROW = re.compile(r"\| (\d+) \| (.+?) \| ([^|]+) \| ([\d.]+)× \(")

WIDTH, LEFT, RIGHT, ROW_HEIGHT, TOP = 760, 250, 150, 26, 62
COLOURS = {64: "#2457c5", 256: "#7a9be8"}


def read_peers(results: str) -> list[tuple[int, str, str, str]]:
    """Return (bits, peer, its time per query, how many times that of fasthash) of every row."""
    section = results.split("\n## Other peers\n", 1)[1].split("\n## ", 1)[0]
    rows = [
        (int(bits), peer.replace("`", ""), time.strip(), ratio)
        for bits, peer, time, ratio in ROW.findall(section)
    ]
    if not rows:
        raise ValueError("the section on other peers has no figures")
    return rows


def draw(results: str) -> str:
    """Return the figure as SVG: bars on a logarithmic axis, one for each peer and width."""
    rows = read_peers(results)
    peers = list(dict.fromkeys(peer for _, peer, _, _ in rows))
    widths = sorted({bits for bits, *_ in rows})
    ratios = {(bits, peer): (time, ratio) for bits, peer, time, ratio in rows}
    longest = max(float(ratio) for *_, ratio in rows)
    height = TOP + len(peers) * (ROW_HEIGHT * len(widths) + 12) + 8
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="13">',
        "<title>Time of other programs as a multiple of fasthash's time</title>",
        f'<rect width="{WIDTH}" height="{height}" rx="6" fill="#ffffff"/>',
        '<text x="16" y="26" font-size="15" font-weight="bold" fill="#1b1b1b">Time per query, as a '
        "multiple of fasthash’s</text>",
        '<text x="16" y="46" fill="#555555">The 10 nearest of 100,000 codes, one thread each, '
        "logarithmic scale</text>",
    ]
    for i, bits in enumerate(widths):
        x = WIDTH - 170 + 80 * i
        out.append(f'<rect x="{x}" y="15" width="12" height="12" fill="{COLOURS[bits]}"/>')
        out.append(f'<text x="{x + 17}" y="26" fill="#1b1b1b">{bits} bits</text>')
    y = TOP
    for peer in peers:
        middle = y + ROW_HEIGHT * len(widths) / 2
        name, _, rest = peer.partition(" ")
        out.append(
            f'<text x="{LEFT - 12}" y="{middle - 2:g}" text-anchor="end" font-weight="bold" '
            f'fill="#1b1b1b">{escape(name)}</text>'
        )
        out.append(
            f'<text x="{LEFT - 12}" y="{middle + 13:g}" text-anchor="end" font-size="11" '
            f'fill="#555555">{escape(rest)}</text>'
        )
        for bits in widths:
            if (bits, peer) in ratios:
                time, ratio = ratios[bits, peer]
                length = (WIDTH - LEFT - RIGHT) * math.log(float(ratio)) / math.log(longest)
                out.append(
                    f'<rect x="{LEFT}" y="{y + 3}" width="{length:.1f}" height="{ROW_HEIGHT - 6}" '
                    f'fill="{COLOURS[bits]}"/>'
                )
                out.append(
                    f'<text x="{LEFT + length + 7:.1f}" y="{y + 17}" fill="#1b1b1b">{ratio}× '
                    f'<tspan fill="#555555">({escape(time)})</tspan></text>'
                )
            y += ROW_HEIGHT
        y += 12
    return "\n".join([*out, "</svg>", ""])


if __name__ == "__main__":
    results = (PROJECT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    FIGURE.write_text(draw(results), encoding="utf-8")
