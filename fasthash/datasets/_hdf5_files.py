"""Read the datasets of HDF5 files; in .mat files of version 7.3 rows and columns are swapped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ._found_arrays import (
    FoundArray,
    RefusedArrayError,
    SlicedRows,
    as_strings,
    import_package,
    name_of,
    refused,
    why_refused,
)
from ._matlab_files import WHY_REFUSED, array_of_cell, strip_blanks

__all__ = ["in_hdf5"]


def in_hdf5(path: str) -> dict[str, FoundArray]:
    """Find the datasets of a file and of its groups. Links to other files are not opened."""
    h5py = import_package("h5py", path)
    file = h5py.File(path, "r")
    found = {}
    for name, item in _items(h5py, file, ()):
        source = f"{path}:{name}"
        if item is None:
            why = "is a link, which is not followed: name the dataset it points to"
            found[name] = refused(source, (), "link", why)
        elif "MATLAB_sparse" in item.attrs:
            found[name] = _matlab_sparse(item)
        elif isinstance(item, h5py.Dataset):
            found[name] = _dataset(h5py, source, item)
        else:
            found[name] = refused(source, (), "type", "is a type and not an array")
    return found


def _items(h5py: Any, group: Any, above: tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
    """Yield the names and datasets below a group, and None for a link that is not a hard link."""
    for key in group:
        if not above and key in ("#refs#", "#subsystem#"):
            continue
        if not isinstance(group.get(key, getlink=True), h5py.HardLink):
            yield key, None
            continue
        item = group[key]
        if not isinstance(item, h5py.Group) or "MATLAB_sparse" in item.attrs:
            yield key, item
        elif item not in above:
            for name, below in _items(h5py, item, (*above, group)):
                yield f"{key}/{name}", below


def _dataset(h5py: Any, name: str, dataset: Any) -> FoundArray:
    kind = dataset.attrs.get("MATLAB_class")
    if dataset.shape is None:
        return refused(name, (), "nothing", "is empty: it has neither shape nor values")
    if dataset.is_virtual or dataset.external:
        why = "lies in other files, which are not opened: copy it into this file"
        return refused(name, dataset.shape, name_of(dataset.dtype), why)
    if kind is not None:
        return _matlab_variable(name, dataset, bytes(kind).decode(errors="replace"))
    if h5py.check_string_dtype(dataset.dtype) is not None:

        def texts() -> Any:
            strings = np.asarray(dataset.asstr()[()], object)
            return as_strings(strings.ravel().tolist(), name).reshape(strings.shape)

        return FoundArray(dataset.shape, "text", texts)
    if h5py.check_ref_dtype(dataset.dtype) is not None:
        why = "holds HDF5 references instead of values: save the values"
        return refused(name, dataset.shape, "references", why)
    if h5py.check_vlen_dtype(dataset.dtype) is not None:
        why = "holds rows of different lengths: save a matrix, or 0/1 columns of labels"
        return refused(name, dataset.shape, "lists", why)
    why = why_refused(dataset.dtype)
    if why:
        return refused(name, dataset.shape, name_of(dataset.dtype), why)
    read = (lambda: SlicedRows(dataset)) if dataset.ndim == 2 else (lambda: np.asarray(dataset[()]))
    return FoundArray(dataset.shape, name_of(dataset.dtype), read)


def _matlab_variable(name: str, dataset: Any, kind: str) -> FoundArray:
    """Describe a MATLAB variable. Its first axis is the last axis in the file."""
    shape = _matlab_shape(dataset)
    if kind in ("cell", "char"):
        read = _matlab_reader(name, dataset)
        return FoundArray(shape[:-1] if kind == "char" else shape, _TEXT.get(kind, kind), read)
    why = WHY_REFUSED.get(kind, "") or why_refused(dataset.dtype)
    if dataset.dtype.hasobject and kind not in WHY_REFUSED:
        why = WHY_REFUSED["opaque"]
    if why:
        return refused(name, shape, kind, why)
    if dataset.attrs.get("MATLAB_empty"):
        return FoundArray(shape, dataset.dtype.name, lambda: np.empty(shape))
    if dataset.ndim == 2:
        rows = SlicedRows(dataset, transposed=True)
        return FoundArray(shape, dataset.dtype.name, lambda: rows)
    return FoundArray(shape, dataset.dtype.name, lambda: dataset[()].T)


_TEXT = {"char": "text"}


def _matlab_shape(dataset: Any) -> tuple[int, ...]:
    if dataset.attrs.get("MATLAB_empty"):
        return tuple(int(length) for length in dataset[()])
    return tuple(dataset.shape[::-1])


def _matlab_reader(name: str, dataset: Any) -> Callable[[], Any]:
    def read() -> Any:
        value = _matlab_value(name, dataset)
        return as_strings([value], name) if isinstance(value, str) else value

    return read


def _matlab_value(name: str, item: Any) -> Any:
    """Return a text or an array of texts or numbers; raise an error for anything else."""
    kind = bytes(item.attrs.get("MATLAB_class", b"unknown")).decode(errors="replace")
    if kind in WHY_REFUSED or not hasattr(item, "dtype"):
        why = WHY_REFUSED.get(kind, WHY_REFUSED["unknown"])
        raise RefusedArrayError(f"{name}: its content {why}")
    shape = _matlab_shape(item)
    is_empty = bool(item.attrs.get("MATLAB_empty"))
    if kind == "cell":
        references = [] if is_empty else item[()].ravel()
        values = [_matlab_value(name, item.file[one]) for one in references]
        return array_of_cell(name, shape, values)
    if kind != "char":
        return np.empty(shape) if is_empty else item[()].T
    if is_empty:
        return ""
    # A column in the file is a row of text, encoded as UTF-16.
    rows = [row.astype("<u2").tobytes().decode("utf-16-le") for row in item[()].T]
    return rows[0] if len(rows) == 1 else strip_blanks(name, rows)


def _matlab_sparse(group: Any) -> FoundArray:
    shape = (int(group.attrs["MATLAB_sparse"]), len(group["jc"]) - 1)

    def read() -> Any:
        from scipy.sparse import csc_array

        if "data" not in group:
            return csc_array(shape)
        return csc_array((group["data"][()], group["ir"][()], group["jc"][()]), shape)

    return FoundArray(shape, "sparse", read)
