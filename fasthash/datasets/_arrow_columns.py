"""Columns of Parquet and Arrow files as arrays; a column of lists is a matrix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._found_arrays import FoundArray, RefusedArrayError, import_package

__all__ = ["in_arrow", "in_parquet"]


def in_parquet(path: str) -> dict[str, FoundArray]:
    """Find the columns of a Parquet file; a column is read when it is asked for."""
    import_package("pyarrow", path)
    from pyarrow import parquet

    file = parquet.ParquetFile(path)
    n = file.metadata.num_rows

    def column(name: str) -> Any:
        return parquet.read_table(path, columns=[name]).column(0)

    return _columns(path, file.schema_arrow, n, column)


def in_arrow(path: str) -> dict[str, FoundArray]:
    """Find the columns of an Arrow (Feather) file, which is mapped."""
    import_package("pyarrow", path)
    from pyarrow import feather

    # Uncompressed columns stay in the file.
    table = feather.read_table(path, memory_map=True)
    return _columns(path, table.schema, table.num_rows, table.column)


def _columns(path: str, schema: Any, n: int, column: Callable[[str], Any]) -> dict[str, FoundArray]:
    from pyarrow import types

    found = {}
    shape: tuple[int, ...]
    for field in schema:
        kind = field.type
        if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
            if not _is_number(kind.value_type):
                continue
            # How long the lists are is told by the first, where the type does not tell.
            width = kind.list_size if types.is_fixed_size_list(kind) else -1
            shape = (n, width) if width >= 0 else (n, _width_of(column(field.name)))
            dtype = str(kind.value_type)
        elif _is_number(kind):
            shape, dtype = (n,), str(kind)
        elif types.is_string(kind) or types.is_large_string(kind) or types.is_dictionary(kind):
            shape, dtype = (n,), "text"
        else:
            continue
        found[field.name] = FoundArray(shape, dtype, _column_reader(path, field.name, column))
    return found


def _is_number(kind: Any) -> bool:
    from pyarrow import types

    return types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)


def _width_of(chunked: Any) -> int:
    return len(chunked[0]) if len(chunked) and chunked[0].is_valid else 0


def _column_reader(
    path: str, name: str, column: Callable[[str], Any]
) -> Callable[[], NDArray[Any]]:
    from pyarrow import types

    def read() -> NDArray[Any]:
        chunked = column(name)
        if chunked.null_count:
            raise RefusedArrayError(
                f"{path}:{name} lacks {chunked.null_count} of {len(chunked)} values: fill them in, "
                "or drop these rows"
            )
        # One chunk is not copied by this.
        array = chunked.combine_chunks()
        array = array.chunk(0) if hasattr(array, "chunk") and array.num_chunks == 1 else array
        if types.is_nested(array.type):
            return _list_matrix(path, name, array)
        values = array.to_numpy(zero_copy_only=False)
        return values.astype(np.str_) if values.dtype == object else values

    return read


def _list_matrix(path: str, name: str, array: Any) -> NDArray[Any]:
    flat = array.flatten()
    if flat.null_count:
        raise RefusedArrayError(
            f"{path}:{name} lacks {flat.null_count} of its numbers: fill them in"
        )
    values = flat.to_numpy(zero_copy_only=False)
    n = len(array)
    width = len(values) // max(n, 1)
    lengths = array.value_lengths().to_numpy(zero_copy_only=False) if n else np.zeros(0)
    wrong = np.flatnonzero(lengths != width)
    if len(wrong):
        raise RefusedArrayError(
            f"{path}:{name} is no matrix: row {wrong[0]} has {lengths[wrong[0]]} numbers, and the "
            f"mean is {len(values) / n:g}"
        )
    return values.reshape(n, width)
