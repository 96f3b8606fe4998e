"""Recognise the format of a picture by its first bytes, never by its name."""

from __future__ import annotations

__all__ = ["media_type"]


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
