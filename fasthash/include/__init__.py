"""The folder of ``fasthash.h``, which other packages compile with; see docs/calling-from-c.md."""

from __future__ import annotations

from pathlib import Path

__all__ = ["get_include"]


def get_include() -> str:
    """
    Return the folder of ``fasthash.h``, for the ``include_dirs`` of an extension.

    Returns
    -------
    str
        An absolute path. Cython finds ``fasthash/c_api.pxd`` without help.

    Examples
    --------
    >>> import os
    >>> import fasthash as fh
    >>> os.listdir(fh.get_include()).count("fasthash.h")
    1
    """
    return str(Path(__file__).parent)
