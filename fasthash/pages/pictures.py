"""Pictures in pages: their format by their first bytes, never by their name; embedded in HTML."""

from __future__ import annotations

import base64
import io
from importlib.util import find_spec
from pathlib import Path

__all__ = ["EmbeddedPictures", "data_uri", "media_type"]

# A picture of more bytes is made smaller.
_MOST_PICTURE_BYTES = 1 << 13

# All pictures of a page together.
_MOST_BYTES = 900_000

# Width and height of a picture that is made smaller; pages show it at about two thirds of that.
_THUMBNAIL = (96, 96)


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

    def embed(self, path: Path | None) -> str:
        """
        Return a picture as a data URI, or "" without a picture that a page can show.

        Parameters
        ----------
        path : Path or None

        Raises
        ------
        OSError
            If the file cannot be read.
        """
        if path is None:
            return ""
        content = path.read_bytes()
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
