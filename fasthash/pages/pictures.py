"""Pictures in pages: their format by their first bytes, never by their name; embedded in HTML."""

from __future__ import annotations

import base64
import io
from importlib.util import find_spec
from pathlib import Path

__all__ = ["embedded", "media_type"]

# A picture of more bytes is made smaller, or left out.
_MOST_PICTURE_BYTES = 1 << 18

# Width and height of a picture that is made smaller; pages show it at half of that.
_THUMBNAIL = (96, 96)


def embedded(path: Path) -> str:
    """
    Embed a picture in HTML, or return "" if a page cannot show it.

    A large picture is made smaller if Pillow is installed; otherwise it is not shown.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    content = path.read_bytes()
    kind = media_type(content)
    if kind is None:
        return ""
    if len(content) > _MOST_PICTURE_BYTES:
        kind, content = "image/png", _thumbnail(content)
        if not content:
            return ""
    return f'<img alt="" src="data:{kind};base64,{base64.b64encode(content).decode()}">'


def _thumbnail(content: bytes) -> bytes:
    """Make a small PNG file; return nothing if the picture is damaged or Pillow is missing."""
    if find_spec("PIL") is None:
        return b""
    from PIL import Image, ImageOps

    file = io.BytesIO()
    try:
        with Image.open(io.BytesIO(content)) as picture:
            # Cameras store a picture as the sensor lay, and which side is up. PNG would lose that.
            upright = ImageOps.exif_transpose(picture)
            upright.thumbnail(_THUMBNAIL)
            upright.convert("RGB").save(file, "PNG")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return b""
    return file.getvalue()


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
