"""Format times and ratios for the cells of tables."""

from __future__ import annotations

from ._timing import Ratio

__all__ = ["ratio_cell", "time_cell"]


def ratio_cell(ratio: Ratio | None, unit: str = "×") -> str:
    """
    Format a ratio as its median with the quartiles in brackets; a dash stands for None.

    Examples
    --------
    >>> ratio_cell(Ratio(0.5, 0.25, 12.34)), ratio_cell(Ratio(0.5, 0.25, 0.75), "%")
    ('0.50× (0.25–12.3)', '50 % (25–75)')
    """
    if ratio is None:
        return "–"
    if unit == "%":
        return f"{100 * ratio.median:.0f} % ({100 * ratio.low:.0f}–{100 * ratio.high:.0f})"
    return f"{_figure(ratio.median)}{unit} ({_figure(ratio.low)}–{_figure(ratio.high)})"


def _figure(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def time_cell(seconds: float) -> str:
    """
    Format a time, in the unit that suits it.

    Examples
    --------
    >>> time_cell(0.0123)
    '12.3 ms'
    """
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"
