"""The folder of files to which a sharded index is saved.

A folder holds a file for each shard, as `HammingIndex.save` writes it, and ``manifest.json``, which
names them. The manifest is written last. So a folder without it is incomplete, and is refused.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .._core.files import replacing

__all__ = ["Manifest", "check_new_folder", "file_name", "read_manifest", "write_manifest"]

_NAME = "manifest.json"
_FORMAT = "fasthash shards 1"
# The names of the files of shards.
_FILES = "shard-*.index"


@dataclass(frozen=True)
class Manifest:
    """
    What a folder holds.

    Attributes
    ----------
    parameters : dict
        Arguments of the constructor of the index.
    next_id : int
    model : str or None
        Fingerprint of the model that made the codes.
    sizes : list of int
        The number of codes of each file, in the order of their names.
    """

    parameters: dict[str, Any]
    next_id: int
    model: str | None
    sizes: list[int]


def file_name(place: int) -> str:
    """The name of the file of a shard."""
    return _FILES.replace("*", f"{place:05d}")


def check_new_folder(folder: str | os.PathLike[str]) -> Path:
    """
    Check that a folder does not exist yet, or is empty.

    Raises
    ------
    FileExistsError
        If it has files: a running index may read them.
    """
    path = Path(folder).absolute()
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise FileExistsError(
            f"{folder} exists and is not an empty folder: name a new folder, because workers may "
            "still read the files of an old one"
        )
    return path


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """
    Write the manifest of a folder whose files are all there.

    The folder was empty before, so its temporary files are of workers that were killed meanwhile;
    these files are removed.

    Raises
    ------
    OSError
        If this process does not see the files that workers have written.
    """
    for place in range(len(manifest.sizes)):
        if not (folder / file_name(place)).is_file():
            raise FileNotFoundError(
                f"{folder / file_name(place)} is not there, though a worker has written it: name a "
                "folder of a file system that this process and all workers share"
            )
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f".{_FILES}.*.tmp"):
        left.unlink(missing_ok=True)
    with replacing(folder / _NAME) as file:
        file.write(json.dumps({"format": _FORMAT, **asdict(manifest)}, indent=1).encode())


def read_manifest(folder: str | os.PathLike[str]) -> Manifest:
    """
    Read the manifest of a folder.

    Raises
    ------
    OSError
        If there is no folder, or it has no manifest.
    ValueError
        If the manifest is damaged, or is of another version.
    """
    path = Path(folder) / _NAME
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"{folder} is not a folder: name one that ShardedIndex.save wrote")
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} has no {_NAME}: it is not a sharded index, or its writer was interrupted"
        )
    try:
        content = json.loads(path.read_bytes())
        version = content.pop("format")
        if version != _FORMAT:
            raise ValueError(
                f"{path} has the format {version!r}, and this version of fasthash reads {_FORMAT!r}"
            )
        manifest = Manifest(**content)
        numbers = [manifest.next_id, *manifest.sizes]
        is_sound = all(type(x) is int and x >= 0 for x in numbers)
        if not is_sound or not isinstance(manifest.model, str | None):
            raise ValueError(f"{path} is damaged: it holds a value of a wrong type")
    except (TypeError, KeyError, AttributeError, json.JSONDecodeError, UnicodeDecodeError):
        raise ValueError(f"{path} is damaged: it is not the manifest of a sharded index") from None
    return manifest
