"""The page of groups of near-duplicates: their names and pictures, in one HTML file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .pictures import EmbeddedPictures, PictureFiles
from .templates import render

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
    found: str,
    groups: Iterable[Group],
    names: Sequence[str] | None,
    pictures: PictureFiles | None,
    settings: Mapping[str, object],
) -> str:
    """
    Render the page.

    Parameters
    ----------
    found : str
        What was found, in a sentence.
    groups : iterable of Group
        The groups to show.
    names : sequence of str, optional
        The name of each row; by default, its number.
    pictures : PictureFiles, optional
        The picture of each row. A file that is missing or is no picture is not shown.
    settings : mapping of str to object
        How the groups were found, shown at the end.

    Returns
    -------
    str
        A complete HTML document that loads no other files.

    Raises
    ------
    OSError, ValueError
        If a picture cannot be read, as `PictureFiles.content` says, and is not missing.
    """
    pictures_of_page = EmbeddedPictures()

    def shown(group: Group) -> dict[str, Any]:
        # The representative comes first, the others by distance.
        order = sorted(
            (row != group.representative, distance, row)
            for distance, row in zip(group.distances, group.rows, strict=True)
        )[:_MOST_ITEMS]
        items = []
        for is_other, distance, row in order:
            name = str(row) if names is None else names[row]
            uri = pictures_of_page.embed(_content(pictures, row))
            items.append({"name": name, "picture": uri, "distance": distance, "is_other": is_other})
        return {"n_items": len(group.rows), "cards": items, "n_left": len(group.rows) - len(items)}

    return render(
        "duplicates.html",
        found=found,
        groups=[shown(group) for group in groups],
        settings=settings,
        n_left_out=pictures_of_page.n_left_out,
    )


def _content(pictures: PictureFiles | None, row: int) -> bytes:
    """Read a picture; nothing if there is no such file."""
    try:
        return b"" if pictures is None else pictures.content(row)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return b""
