"""Read columns of Parquet and Arrow files as arrays; a column of lists or bytes is a matrix."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._found_arrays import FoundArray, RefusedArrayError, as_strings, import_package, refused

__all__ = ["in_arrow", "in_arrow_stream", "in_parquet"]

# What the user can do with a column whose type is not read, by the name of the type.
_REMEDIES = {
    "decimal": "cast it to float64",
    "timestamp": "cast it to int64, or to text",
    "date": "cast it to int32 or int64, or to text",
    "time": "cast it to int32 or int64, or to text",
    "duration": "cast it to int64",
    "struct": "make a column of each of its fields",
    "list": "make a column of lists of numbers, all of one length, or 0/1 columns of labels",
    "dictionary": "cast it to the type of its values",
    "null": "it has no values at all: drop it",
}


def in_parquet(path: str) -> dict[str, FoundArray]:
    """Find the columns of a Parquet file. A column is read only when it is needed."""
    import_package("pyarrow", path)
    from pyarrow import parquet

    file = parquet.ParquetFile(path)

    def column(position: int) -> Any:
        # Only the top-level name selects a column: the path of a nested field looks the same.
        name = file.schema_arrow.names[position]
        return file.read(columns=[name], use_pandas_metadata=False).column(name)

    return _columns(path, file.schema_arrow, file.metadata.num_rows, column)


def in_arrow(path: str) -> dict[str, FoundArray]:
    """Find the columns of an Arrow (Feather) file, which is memory-mapped."""
    import_package("pyarrow", path)
    from pyarrow import feather

    # Uncompressed columns stay in the file.
    table = feather.read_table(path, memory_map=True)
    return _columns(path, table.schema, table.num_rows, table.column)


def in_arrow_stream(path: str) -> dict[str, FoundArray]:
    """Find the columns of an Arrow stream, which is memory-mapped and scanned to its end."""
    pyarrow = import_package("pyarrow", path)
    with pyarrow.memory_map(path) as source, pyarrow.ipc.open_stream(source) as stream:
        table = stream.read_all()
    return _columns(path, table.schema, table.num_rows, table.column)


def _columns(path: str, schema: Any, n: int, column: Callable[[int], Any]) -> dict[str, FoundArray]:
    index = (schema.pandas_metadata or {}).get("index_columns", [])
    found: dict[str, FoundArray] = {}
    for position, field in enumerate(schema):
        if field.name in found:
            raise ValueError(f"it names a column twice: {field.name}")
        name, kind = f"{path}:{field.name}", _without_dictionary(field.type)
        width: int | None = None
        if _is(kind, "integer", "floating", "boolean"):
            dtype = _numpy_name(kind)
        elif _is(kind, "string", "large_string", "string_view"):
            dtype = "text"
        elif _is_bytes(kind) or (_is_list(kind) and _is_number(kind.value_type)):
            dtype = "uint8" if _is_bytes(kind) else _numpy_name(kind.value_type)
            width = _width(kind, partial(column, position))
        else:
            found[field.name] = refused(name, (n,), str(kind), _why_refused(field.type))
            continue
        found[field.name] = FoundArray(
            (n,) if width is None else (n, width),
            dtype,
            _reader(name, partial(column, position)),
            index=field.name in index,
        )
    return found


def _is(kind: Any, *names: str) -> bool:
    """Tell whether an Arrow type is one of the named ones. Older pyarrow lacks some of them."""
    from pyarrow import types

    return any(getattr(types, f"is_{name}", lambda _: False)(kind) for name in names)


def _is_number(kind: Any) -> bool:
    return _is(kind, "integer", "floating", "boolean")


def _is_list(kind: Any) -> bool:
    return _is(kind, "list", "large_list", "fixed_size_list", "list_view", "large_list_view")


def _is_bytes(kind: Any) -> bool:
    return _is(kind, "binary", "large_binary", "binary_view", "fixed_size_binary")


def _without_dictionary(kind: Any) -> Any:
    return kind.value_type if _is(kind, "dictionary") else kind


def _numpy_name(kind: Any) -> str:
    return np.dtype(kind.to_pandas_dtype()).name


def _why_refused(kind: Any) -> str:
    name = str(kind)
    outer = name.partition("<")[0]
    remedies = (remedy for part, remedy in _REMEDIES.items() if part in outer)
    remedy = next(remedies, "cast it to numbers or text")
    return f"is a column of the type {name}, which is not read: {remedy}"


def _width(kind: Any, column: Callable[[], Any]) -> int:
    """Return the length of lists or bytes, from the type or else from the first value."""
    if _is(kind, "fixed_size_list"):
        return int(kind.list_size)
    if _is(kind, "fixed_size_binary"):
        return int(kind.byte_width)
    values = column()
    first = values[0].as_py() if len(values) else None
    return 0 if first is None else len(first)


def _reader(name: str, column: Callable[[], Any]) -> Callable[[], NDArray[Any]]:
    def read() -> NDArray[Any]:
        chunked = column()
        if _is(chunked.type, "dictionary"):
            chunked = _decoded(chunked)
        if chunked.null_count:
            raise RefusedArrayError(
                f"{name} lacks {chunked.null_count} of {len(chunked)} values: fill them in, or "
                "drop their rows"
            )
        if _is_list(chunked.type):
            return _list_matrix(name, _one_array(chunked))
        if _is_bytes(chunked.type):
            return _byte_matrix(name, chunked)
        if _is_number(chunked.type):
            return _one_array(chunked).to_numpy(zero_copy_only=False)
        return as_strings(chunked.to_pylist(), name)

    return read


def _decoded(chunked: Any) -> Any:
    """Replace the indices of a dictionary column by their values, which may be null."""
    import pyarrow

    kind = chunked.type.value_type
    # Arrow's "take" does not support view types.
    kind = pyarrow.large_string() if _is(kind, "string_view") else kind
    kind = pyarrow.large_binary() if _is(kind, "binary_view") else kind
    return pyarrow.chunked_array(
        [chunk.dictionary.cast(kind).take(chunk.indices) for chunk in chunked.chunks], kind
    )


def _one_array(chunked: Any) -> Any:
    """Join the chunks of a column. A single chunk is not copied."""
    array = chunked.chunk(0) if chunked.num_chunks == 1 else chunked.combine_chunks()
    return array.chunk(0) if hasattr(array, "chunk") else array


def _list_matrix(name: str, array: Any) -> NDArray[Any]:
    if _is(array.type, "list_view", "large_list_view"):
        import pyarrow

        # List views may overlap, and their order is arbitrary.
        array = array.cast(pyarrow.large_list(array.type.value_type))
    flat = array.flatten()
    if flat.null_count:
        raise RefusedArrayError(f"{name} lacks {flat.null_count} of its numbers: fill them in")
    values = flat.to_numpy(zero_copy_only=False)
    n = len(array)
    if _is(array.type, "fixed_size_list"):
        return values.reshape(n, array.type.list_size)
    lengths = array.value_lengths().to_numpy(zero_copy_only=False)
    return values.reshape(n, _common_length(name, lengths, "numbers"))


def _byte_matrix(name: str, chunked: Any) -> NDArray[np.uint8]:
    parts = chunked.to_pylist()
    lengths = np.fromiter(map(len, parts), np.int64, len(parts))
    width = _common_length(name, lengths, "bytes")
    return np.frombuffer(b"".join(parts), np.uint8).reshape(len(parts), width)


def _common_length(name: str, lengths: NDArray[Any], of: str) -> int:
    wrong = np.flatnonzero(lengths != lengths[:1])
    if len(wrong):
        row = wrong[0]
        hint = "; cast it to text if it is text" if of == "bytes" else ""
        raise RefusedArrayError(
            f"{name} is not a matrix: row {row} has {lengths[row]} {of}, and row 0 has "
            f"{lengths[0]}{hint}"
        )
    return int(lengths[0]) if len(lengths) else 0
