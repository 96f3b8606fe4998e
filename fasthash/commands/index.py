"""``fasthash index``: build, change, describe and check an index file."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import arguments, inputs
from .clusters import absolute, add_cluster, connected, rows_by_workers
from .codes import add_codes, read_codes
from .encode import add_encoding, lazy_codes
from .fingerprints import add_any_model, check_same_model, fingerprint_of_codes, length_in
from .locking import add_wait, locked
from .outputs import OutputFile, add_force, check_output
from .printing import Printer

__all__ = ["declare", "describe_file", "load_index"]


# Recalls that `index build --partitions` calibrates for ten answers. Others are calibrated by each
# search with them.
_CALIBRATED = (0.95, 0.99)


def declare(commands: Any) -> None:
    """Describe the command, its own commands and their options."""
    parser = commands.add_parser(
        "index",
        help="build, change and check an index of codes",
        description="Build an index of codes, add to it, remove from it, describe and check it.",
        epilog="example: fasthash index build emoji.index --codes image-codes.npz",
    )
    arguments.add_common(parser)
    own = parser.add_subparsers(required=True, metavar="command", dest="what")

    build = arguments.add_command(
        own,
        "build",
        "make an index of codes, or of features",
        "Make an index file of codes, or of features and the model that encodes them.",
        "fasthash index build emoji.index --codes image-codes.npz",
    )
    build.add_argument("index", metavar="INDEX", type=OutputFile("index"), help="the index file")
    _add_items(build)
    build.add_argument(
        "--bits",
        type=arguments.positive,
        help="length of the codes (default: that of the model if it is known, or 8 bits per byte); "
        "needed for hashes that are integers",
    )
    add_force(build)
    build.add_argument(
        "--tables",
        action="store_true",
        help="also store the tables of multi-index hashing, so that searches use them from the "
        "first on; of use for 32,768 codes or more whose neighbours are near; the file gets two "
        "to four times as large",
    )
    build.add_argument(
        "--partitions",
        action="store_true",
        help="also store lists of the codes, for 'fasthash search --recall'; of use for some "
        "100,000 codes or more; the file gets larger by four bytes per code",
    )
    add_wait(build)
    add_cluster(
        build,
        "read, encode and hold the items; INDEX is then a new folder, with a file for each shard; "
        "work",
    )
    build.set_defaults(run=_build)

    add = arguments.add_command(
        own,
        "add",
        "add codes to an index",
        "Add codes, or features that a model encodes, to an index file. If it holds tables or "
        "partitions, they are made again; partitions are also calibrated again.",
        "fasthash index add emoji.index --model emoji.model --modality image "
        "--features emoji/emoji.npz:I_te",
    )
    _add_index(add)
    _add_items(add)
    add.add_argument(
        "--replace",
        action="store_true",
        help="replace the codes of ids that the index holds already",
    )
    add_any_model(add)
    add_wait(add)
    add.set_defaults(run=_add)

    remove = arguments.add_command(
        own,
        "remove",
        "remove codes from an index",
        "Remove codes from an index file by their ids. If it holds tables or partitions, they are "
        "made again; partitions are also calibrated again.",
        "fasthash index remove emoji.index --id 1437 1438",
    )
    _add_index(remove)
    which = remove.add_mutually_exclusive_group(required=True)
    which.add_argument("--id", type=arguments.whole, nargs="+", help="ids to remove")
    which.add_argument("--ids", metavar="SOURCE", help="an array of ids to remove")
    remove.add_argument(
        "--ignore-missing", action="store_true", help="ignore ids that the index does not hold"
    )
    add_wait(remove)
    remove.set_defaults(run=_remove)

    info = arguments.add_command(
        own,
        "info",
        "describe an index",
        "Show what an index file holds.",
        "fasthash index info emoji.index",
    )
    _add_index(info)
    info.set_defaults(run=_info)

    verify = arguments.add_command(
        own,
        "verify",
        "check an index against its checksums",
        "Read all of an index file and check it against its checksums.",
        "fasthash index verify emoji.index",
    )
    _add_index(verify)
    verify.set_defaults(run=_verify)


def load_index(path: str | os.PathLike[str], *, mmap: bool) -> Any:
    """
    Load an index.

    Raises
    ------
    OSError, ValueError
        In the cases of `fasthash.load`, and if the file holds a model.
    """
    from ..index._code_index import CodeIndex
    from ..loading import load

    index = load(path, mmap=mmap)
    if not isinstance(index, CodeIndex):
        raise ValueError(
            f"{path} holds a model, and an index is needed: 'fasthash index build' makes one"
        )
    return index


def describe_index(path: str | os.PathLike[str], index: Any) -> tuple[str, dict[str, Any]]:
    """Describe an index by one line of text, and by content for JSON."""
    n = len(index)
    n_bytes = os.path.getsize(path)
    has_lists = _has_lists(index)
    kept = " and ".join(["tables"] * index._has_tables + ["partitions"] * has_lists)
    span = f", ids {index.ids[0]} to {index.ids[-1]}" if n else ""
    return (
        f"{path}: {type(index).__name__}, {n} codes of {index.n_bits} bits{span}; "
        f"{n_bytes:,} bytes{f' with {kept}' if kept else ''}",
        {
            "path": str(path),
            "kind": type(index).__name__,
            "n": n,
            "n_bits": index.n_bits,
            "smallest_id": int(index.ids[0]) if n else None,
            "largest_id": int(index.ids[-1]) if n else None,
            "bytes": n_bytes,
            "tables": index._has_tables,
            "partitions": has_lists,
            "model": index.model,
        },
    )


def _has_lists(index: Any) -> bool:
    from ..index import HammingIndex

    return isinstance(index, HammingIndex) and index._has_lists and len(index) > 0


def describe_file(path: str | os.PathLike[str]) -> tuple[str, dict[str, Any]]:
    """Describe an index file as `describe_index` does, and by the model that made the codes."""
    index = load_index(path, mmap=True)
    text, content = describe_index(path, index)
    return f"{text}\n  model: {index.model or 'not known'}", content


def _add_index(command: argparse.ArgumentParser) -> None:
    command.add_argument("index", metavar="INDEX", type=Path, help="the index file")


def _add_items(command: argparse.ArgumentParser) -> None:
    add_codes(command, "what to add")
    add_encoding(command)
    command.add_argument(
        "--ids",
        metavar="SOURCE",
        help="ids of the codes, integers from 0 (default: the next numbers)",
    )


def _read_items(
    options: argparse.Namespace, n_bits: int | None, printer: Printer
) -> tuple[NDArray[np.uint8], int, str | None]:
    """Read codes, or encode features: the codes, their length in bits, and what made them."""
    if (options.codes is None) == (options.features is None):
        raise ValueError("pass either --codes SOURCE, or --model FILE and --features SOURCE")
    if options.codes is not None:
        codes, length = read_codes(options.codes, n_bits, options.read_as)
        made_by = fingerprint_of_codes(options.codes, options.model, codes.shape[1])
        return codes, length_in(made_by, codes.shape[1]) or n_bits or length, made_by
    if options.read_as is not None:
        raise ValueError("--read-as goes with --codes")
    if options.model is None:
        raise ValueError("--model is missing: --features are encoded by a model")
    model = inputs.load_model(options.model)
    modality = inputs.check_modality(model, options.modality)
    x = inputs.read_model_features(options.features, model, modality, printer, options.columns)
    codes = inputs.encode(model, modality, x, printer)
    return codes, inputs.n_bits_of(model), model.fingerprint()


def _read_ids(options: argparse.Namespace) -> NDArray[Any] | None:
    return None if options.ids is None else inputs.read_ids(options.ids)


def _build(options: argparse.Namespace, printer: Printer) -> None:
    from ..index import HammingIndex

    if options.cluster is not None:
        _build_shards(options, printer)
        return
    codes, n_bits, made_by = _read_items(options, options.bits, printer)
    _check_bits(options, n_bits, made_by)
    index = HammingIndex(n_bits)
    index.add(codes, ids=_read_ids(options))
    index.model = made_by
    if options.partitions:
        index.partition()
        for recall in _CALIBRATED:
            index.calibrate(recall=recall)
    with locked(options.index, options.wait, printer):
        # Another process may have written the file meanwhile.
        check_output(options.index, "index", options.force)
        index.save(options.index, tables=options.tables, partitions=options.partitions)
    printer.result(*describe_index(options.index, index))


def _build_shards(options: argparse.Namespace, printer: Printer) -> None:
    """Make a folder of shards; the workers of a cluster read and encode the items."""
    from ..distributed import ShardedIndex

    if options.partitions:
        raise ValueError("--partitions goes with an index file: leave it or --cluster out")
    with connected(options.cluster) as client:
        if options.codes is not None:
            codes, n_bits, made_by = _read_items(options, options.bits, printer)
            source = absolute(options.codes)
            read = partial(_codes_again, source, options.bits, options.read_as)
            lazy = rows_by_workers(client, codes, read)
        else:
            lazy, n_bits, made_by = lazy_codes(options, client, printer)
        _check_bits(options, n_bits, made_by)
        index = ShardedIndex(n_bits, client=client)
        index.add(lazy, ids=_read_ids(options))
        index.model = made_by
        index.save(options.index, tables=options.tables)
        sizes = index.shard_sizes
    printer.result(
        f"{options.index}: {sum(sizes)} codes of {n_bits} bits in {len(sizes)} shards",
        {
            "path": str(options.index),
            "kind": "ShardedIndex",
            "n": sum(sizes),
            "n_bits": n_bits,
            "shards": sizes,
            "model": made_by,
        },
    )


def _check_bits(options: argparse.Namespace, n_bits: int, made_by: str | None) -> None:
    if options.bits not in (None, n_bits):
        raise ValueError(
            f"--bits is {options.bits}, and the model {made_by} makes codes of {n_bits} bits: "
            "leave --bits out"
        )


def _codes_again(source: str, n_bits: int | None, read_as: str | None) -> NDArray[np.uint8]:
    return read_codes(source, n_bits, read_as)[0]


@contextlib.contextmanager
def _changing(options: argparse.Namespace, printer: Printer) -> Iterator[Any]:
    """Load the index, and save it at the end; no other command changes the file meanwhile."""
    with locked(options.index, options.wait, printer):
        index = load_index(options.index, mmap=False)
        has_tables, has_lists = index._has_tables, _has_lists(index)
        calibrated = list(index.calibration_) if has_lists else []
        yield index
        has_lists = has_lists and len(index) > 0
        if has_lists:
            # Each search would calibrate again if the file did not say how.
            index.compact()
            for k, recall in calibrated:
                index.calibrate(k=k, recall=recall)
        index.save(options.index, tables=has_tables, partitions=has_lists)


def _add(options: argparse.Namespace, printer: Printer) -> None:
    # Others may change the index while the items are read; only its length is needed for that.
    n_bits = load_index(options.index, mmap=True).n_bits
    codes, _, made_by = _read_items(options, n_bits, printer)
    ids = _read_ids(options)
    source = options.model or options.codes
    with _changing(options, printer) as index:
        check_same_model(options.index, index, made_by, source, options.any_model)
        if len(index) == 0:
            index.model = made_by
        elif made_by is not None and made_by != index.model:
            # The codes of the index are then not those of one known model.
            index.model = None
        index.add(codes, ids=ids, replace=options.replace)
    printer.result(*describe_index(options.index, index))


def _remove(options: argparse.Namespace, printer: Printer) -> None:
    load_index(options.index, mmap=True)
    ids = np.array(options.id) if options.ids is None else inputs.read_ids(options.ids)
    with _changing(options, printer) as index:
        try:
            n_removed = index.remove(ids, missing="ignore" if options.ignore_missing else "raise")
        except ValueError as error:
            raise ValueError(f"{error}: --ignore-missing removes the others") from None
    printer.note(f"{n_removed} removed")
    text, content = describe_index(options.index, index)
    printer.result(text, {**content, "removed": n_removed})


def _info(options: argparse.Namespace, printer: Printer) -> None:
    printer.result(*describe_file(options.index))


def _verify(options: argparse.Namespace, printer: Printer) -> None:
    index = load_index(options.index, mmap=True)
    index.verify()
    text, content = describe_index(options.index, index)
    printer.result(f"{text}; all checksums match", {**content, "verified": True})
