"""Which model made codes: files say it by a fingerprint, and codes of two models are not compared.

An index file holds the fingerprint in its description, and a .npz file of codes in the comment of
the archive. A .npy file and a column of hashes have no place for it.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core.files import identify, replacing
from ..datasets.readers import split_source
from . import inputs
from .arguments import Options

__all__ = [
    "add_any_model",
    "check_same_model",
    "fingerprint_of_codes",
    "fingerprint_of_signs",
    "length_in",
    "write_archive",
]

_COMMENT = b"fasthash: codes of "


def add_any_model(options: Options) -> None:
    """Add the option that permits codes of another model than that of the index."""
    options.add_argument(
        "--any-model",
        action="store_true",
        help="accept another model than the one that made the codes of the index",
    )


def check_same_model(
    path: str | os.PathLike[str], index: Any, found: str | None, source: str, any_model: bool
) -> None:
    """
    Check that codes have the length of an index, and are of its model, as far as both are known.

    Parameters
    ----------
    path : path
        Of the index.
    index : HammingIndex or MultiIndexHash
    found : str or None
        Fingerprint of what makes or made the other codes.
    source : str
        The file of that model, or of these codes.
    any_model : bool
        Whether another model of the same length is accepted.

    Raises
    ------
    ValueError
        If the lengths or the models differ.
    """
    n_bits = _length_of(found)
    if n_bits not in (None, index.n_bits):
        # They may fill the same number of bytes.
        raise ValueError(
            f"{source} makes codes of {n_bits} bits, and {path} holds codes of {index.n_bits}"
        )
    if any_model or found is None or index.model in (None, found):
        return
    raise ValueError(
        f"{path} holds codes of the model {index.model}, and {source} belongs to {found}: "
        "distances between codes of two models mean nothing, so use the first model, or build the "
        "index again with the other (--any-model accepts both)"
    )


def fingerprint_of_signs(n_bits: int, of_means: str | None = None) -> str:
    """Name the rule that makes codes of the signs of embeddings, less their means if given."""
    return f"sign-{n_bits}" + ("" if of_means is None else f"-{of_means}")


def fingerprint_of_codes(source: str, model_path: str | None, n_bytes: int) -> str | None:
    """
    Return the fingerprint of codes: that of the model if there is one, or what the file says.

    Raises
    ------
    OSError, ValueError, ImportError
        If a file cannot be read, or the codes are not of this model.
    """
    held = _fingerprint_in(source)
    if model_path is None:
        return held
    model = inputs.load_model(model_path)
    found: str = model.fingerprint()
    if (inputs.n_bits_of(model) + 7) // 8 != n_bytes or held not in (None, found):
        raise ValueError(
            f"{source} holds codes of {held or f'{n_bytes} bytes'}, and {model_path} is the model "
            f"{found}: name the model that made the codes"
        )
    return found


def length_in(fingerprint: str | None, n_bytes: int) -> int | None:
    """Return the length of codes that a fingerprint says, if it fits their bytes."""
    n_bits = _length_of(fingerprint)
    return n_bits if n_bits is not None and (n_bits + 7) // 8 == n_bytes else None


def _length_of(fingerprint: str | None) -> int | None:
    text = (fingerprint or "").partition("-")[2].partition("-")[0]
    return int(text) if text.isdecimal() and len(text) < 10 else None


def _fingerprint_in(source: str) -> str | None:
    path, _ = split_source(source)
    if source == "-" or identify(path) != "npz":
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            comment = archive.comment
    except zipfile.BadZipFile:
        # Who reads the codes says what is wrong.
        return None
    if not comment.startswith(_COMMENT):
        return None
    return comment.removeprefix(_COMMENT).decode(errors="replace")


def write_archive(path: Path, codes: Mapping[str, NDArray[np.uint8]], fingerprint: str) -> None:
    """Write codes by name to a .npz file that says which model made them."""
    # By zipfile, because numpy.savez takes no array of the name "file".
    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in codes.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
        archive.comment = _COMMENT + fingerprint.encode()
