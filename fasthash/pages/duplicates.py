"""The page of groups of near-duplicates: their names and pictures, in one HTML file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from . import html as page
from .pictures import embedded

__all__ = ["Group", "duplicates_page"]

# Number of items of a group that are shown.
_MOST_ITEMS = 24


@dataclass(frozen=True)
class Group:
    """
    Codes that are near-duplicates of each other.

    Attributes
    ----------
    representative : int
        The row that stands for the group.
    rows : list of int
        All rows of the group, ascending.
    distances : list of int
        The distance of each row to the representative.
    """

    representative: int
    rows: list[int]
    distances: list[int]


def duplicates_page(
    groups: Iterable[Group],
    names: Sequence[str] | None,
    pictures: Path | None,
    settings: Mapping[str, object],
) -> str:
    """
    Render the page.

    Parameters
    ----------
    groups : iterable of Group
        The groups to show.
    names : sequence of str, optional
        The name of each row; by default, its number.
    pictures : Path, optional
        The folder of the files that are named. A file that is missing or is no picture is not
        shown.
    settings : mapping of str to object
        How the groups were found, shown at the top.

    Returns
    -------
    str
        A complete HTML document that loads no other files.
    """
    parts = [
        "<h1>Groups of near-duplicates</h1>\n",
        page.table(None, [(name, str(value)) for name, value in settings.items()]),
        "<p>The number below a name is the distance to the representative of the group, in bits. "
        "The representative comes first; the others have a dashed frame.</p>\n",
    ]
    for group in groups:
        # The representative comes first, the others by distance.
        shown = sorted(
            (row != group.representative, distance, row)
            for distance, row in zip(group.distances, group.rows, strict=True)
        )[:_MOST_ITEMS]
        items = "".join(_item(*item, names, pictures) for item in shown)
        left = len(group.rows) - len(shown)
        more = f"<p>and {left} more</p>\n" if left else ""
        parts.append(f'<h2>{len(group.rows)} items</h2>\n<ul class="grid">{items}</ul>\n{more}')
    return page.document("fasthash duplicates", "".join(parts))


def _item(
    is_other: bool, distance: int, row: int, names: Sequence[str] | None, pictures: Path | None
) -> str:
    name = str(row) if names is None else names[row]
    picture = ""
    if pictures is not None and (pictures / name).is_file():
        picture = embedded(pictures / name)
    kind = ' class="other"' if is_other else ""
    return f"<li{kind}>{picture}{escape(name)}<b>{distance}</b></li>"
