"""Pictures in pages: files of one folder; their format by their first bytes; embedded in HTML."""

from __future__ import annotations

import base64
import io
import os
import stat
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

__all__ = ["MOST_FILE_BYTES", "EmbeddedPictures", "PictureFiles", "data_uri", "media_type"]

# A server sends no picture or sound that is larger.
MOST_FILE_BYTES = 1 << 24

# A picture of more bytes is made smaller.
_MOST_PICTURE_BYTES = 1 << 13

# All pictures of a page together.
_MOST_BYTES = 900_000

# Width and height of a picture that is made smaller; pages show it at about two thirds of that.
_THUMBNAIL = (96, 96)


class PictureFiles:
    """
    Pictures in files of one folder, without access to any other file.

    Pages are published, and a list of names may come from a stranger. So the paths of the files are
    checked when the list is given, and again when a file is read, because somebody may have added
    symbolic links in the meantime.

    Parameters
    ----------
    folder : path
        The folder.
    files : sequence of str
        Path of the picture of each item, relative to the folder; "" for an item without a picture.

    Attributes
    ----------
    folder : path
        The folder, without symbolic links.
    files : list of str
        The paths, as given.

    Raises
    ------
    ValueError
        If a path leads out of the folder.
    """

    def __init__(self, folder: str | os.PathLike[str], files: Sequence[str]) -> None:
        self.folder = Path(folder).resolve()
        self.files = list(files)
        inside = os.path.join(self.folder, "")
        for name in filter(None, self.files):
            # Only the text of the path is checked here: to resolve a million links takes too long.
            path = os.path.normpath(os.path.join(self.folder, name))
            if "\0" in name or not path.startswith(inside):
                raise ValueError(
                    f"the file {name!r} is not in {self.folder}, and files from elsewhere are not "
                    "shown: copy it there, and change its name in the list"
                )

    def __contains__(self, item: int) -> bool:
        return item < len(self.files) and bool(self.files[item])

    def read(self, item: int) -> bytes | None:
        """
        Read a picture for a client, who is told no reason.

        Parameters
        ----------
        item : int

        Returns
        -------
        bytes or None
            Content of the file. None if the item has no picture, or if the file cannot be read or
            is too large.
        """
        try:
            return self.content(item, MOST_FILE_BYTES) or None
        except (OSError, ValueError):
            return None

    def content(self, item: int, most: int | None = None) -> bytes:
        """
        Read a picture.

        Parameters
        ----------
        item : int
        most : int, optional
            Largest number of bytes.

        Returns
        -------
        bytes
            Content of the file; empty if the item has no picture.

        Raises
        ------
        OSError
            If the file cannot be read.
        ValueError
            If its path leads out of the folder, or it is not a regular file, or is too large.
        """
        if item not in self:
            return b""
        name = self.files[item]
        path = os.path.realpath(self.folder / name, strict=True)
        if not path.startswith(os.path.join(self.folder, "")):
            raise ValueError(
                f"a symbolic link leads from the file {name!r} out of {self.folder}, and files "
                "from elsewhere are not shown: copy it there"
            )
        with open(path, "rb", opener=_open_file) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ValueError(f"the file {name!r} in {self.folder} is not a regular file")
            if most is not None and status.st_size > most:
                raise ValueError(
                    f"the file {name!r} in {self.folder} has {status.st_size} bytes, and at most "
                    f"{most} are read"
                )
            return file.read(-1 if most is None else most)


def _open_file(path: str, flags: int) -> int:
    """Open a file, but no link that was created after the check; wait for no pipe."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))


class EmbeddedPictures:
    """
    The pictures of one page, each of which becomes a data URI.

    A large picture is made smaller if Pillow is installed. When the pictures of a page have 900 kB
    together, further ones are left out.

    Attributes
    ----------
    n_left_out : int
        Number of pictures that were left out because of their size.
    """

    def __init__(self) -> None:
        self.n_left_out = 0
        self._n_bytes = 0

    def embed(self, content: bytes) -> str:
        """Return a picture as a data URI, or "" for content that is no picture of a page."""
        kind = media_type(content)
        if kind is None:
            return ""
        if len(content) > _MOST_PICTURE_BYTES:
            kind, content = _thumbnail(kind, content)
            if not content:
                return ""
        uri = data_uri(kind, content)
        if self._n_bytes + len(uri) > _MOST_BYTES:
            self.n_left_out += 1
            return ""
        self._n_bytes += len(uri)
        return uri


def data_uri(kind: str, content: bytes) -> str:
    """Return a data URI of a media type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _thumbnail(kind: str, content: bytes) -> tuple[str, bytes]:
    """Make a small JPEG file; return nothing if the picture is damaged, or it without Pillow."""
    if find_spec("PIL") is None:
        return kind, content
    from PIL import Image, ImageOps

    file = io.BytesIO()
    try:
        with Image.open(io.BytesIO(content)) as picture:
            # Cameras store a picture as the sensor lay, and which side is up. The copy loses that.
            upright = ImageOps.exif_transpose(picture)
            upright.thumbnail(_THUMBNAIL)
            shown = upright.convert("RGBA")
            paper = Image.new("RGBA", shown.size, "white")
            Image.alpha_composite(paper, shown).convert("RGB").save(file, "JPEG", quality=80)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return kind, b""
    return "image/jpeg", file.getvalue()


def media_type(content: bytes) -> str | None:
    """
    Return the media type of a picture that every browser can show, or None for other content.

    SVG is excluded, because it can contain programs.

    Examples
    --------
    >>> media_type(b"GIF89a...")
    'image/gif'
    >>> media_type(b"<svg onload='...'>") is None
    True
    """
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if content.startswith(b"GIF8"):
        return "image/gif"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return None
