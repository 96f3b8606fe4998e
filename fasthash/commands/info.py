"""``fasthash info``: describe this installation, or the content of files."""

from __future__ import annotations

import argparse
import sys
from typing import Any

import numpy as np

from .. import __version__
from .._core.files import identify
from ..datasets._file_formats import find_arrays
from . import arguments, inputs
from .printing import Printer

__all__ = ["declare", "run"]


def declare(commands: Any) -> None:
    """Describe the command and its options."""
    info = arguments.add_command(
        commands,
        "info",
        "describe this installation, or the content of files",
        "Show the version, instruction sets, threads and OpenMP of this installation; or the "
        "content of files: the arrays of a data file, a model, or an index.",
        "fasthash info emoji/emoji.npz",
    )
    info.add_argument("file", nargs="*", metavar="FILE", help="a data file, a model or an index")
    info.set_defaults(run=run)


def run(options: argparse.Namespace, printer: Printer) -> None:
    """Describe the installation, or each file."""
    if not options.file:
        _installation(printer)
    for path in options.file:
        printer.result(*_describe(path))


def _describe(path: str) -> tuple[str, dict[str, Any]]:
    kind = identify(path)
    if kind == "index":
        from .index import describe_file

        return describe_file(path)
    if kind == "model":
        return _describe_model(path)
    if kind == "faiss":
        return _describe_faiss(path)
    arrays = find_arrays(path)
    lines = [f"{path}: {len(arrays)} array{'s' * (len(arrays) != 1)}"]
    content = {}
    for name, array in arrays.items():
        refusal = f"  not read: {array.refusal}" if array.refusal else ""
        lines.append(f"  {name or 'array'}  {array.shape}  {array.dtype}{refusal}")
        content[name] = {"shape": list(array.shape), "dtype": array.dtype}
        if refusal:
            content[name]["refusal"] = array.refusal
    return "\n".join(lines), {"path": path, "arrays": content}


def _describe_faiss(path: str) -> tuple[str, dict[str, Any]]:
    from ..interchange import read_faiss

    codes, ids = read_faiss(path)
    described = "with ids" if ids is not None else "without ids"
    return (
        f"{path}: a binary index of faiss, {len(codes)} codes of {8 * codes.shape[1]} bits, "
        f"{described}",
        {"path": path, "n": len(codes), "n_bits": 8 * codes.shape[1], "ids": ids is not None},
    )


def _describe_model(path: str) -> tuple[str, dict[str, Any]]:
    model = inputs.load_model(path)
    n_features = model.n_features_in_
    if not isinstance(n_features, dict):
        n_features = {"features": n_features}
    n_samples = {name: len(codes) for name, codes in getattr(model, "codes_", {}).items()}
    parameters = {name: _plain(value) for name, value in model.get_params(deep=False).items()}
    lines = [f"{path}: {type(model).__name__}, codes of {inputs.n_bits_of(model)} bits"]
    for name, width in n_features.items():
        learned = f", learned from {n_samples[name]} samples" if name in n_samples else ""
        lines.append(f"  {name}: {width} features{learned}")
    lines += [f"  {name} = {value}" for name, value in parameters.items()]
    return "\n".join(lines), {
        "path": path,
        "method": type(model).__name__,
        "n_bits": inputs.n_bits_of(model),
        "n_features": n_features,
        "n_samples": n_samples,
        "parameters": parameters,
    }


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _installation(printer: Printer) -> None:
    from .._core import runtime

    openmp = runtime.openmp_version()
    levels, level = list(runtime.simd_levels()), runtime.simd_level()
    n_threads, n_cores = runtime.resolve_threads(None), runtime.n_cores()
    python = sys.version.split()[0]
    if openmp == 0:
        described = "none: fasthash was built without it, and its kernels run on one thread"
    else:
        described = f"{_openmp_runtime()}, specification {openmp}"
    printer.result(
        "\n".join(
            [
                f"fasthash {__version__}, Python {python}, numpy {np.__version__}",
                f"instruction sets found  {', '.join(levels)}",
                f"instruction set used    {level}",
                f"threads                 {n_threads} of {n_cores} cores",
                f"OpenMP                  {described}",
            ]
        ),
        {
            "fasthash": __version__,
            "python": python,
            "numpy": np.__version__,
            "instruction_sets": levels,
            "instruction_set": level,
            "threads": n_threads,
            "cores": n_cores,
            "openmp": openmp or None,
        },
    )


def _openmp_runtime() -> str:
    from threadpoolctl import threadpool_info

    found = [entry for entry in threadpool_info() if entry["user_api"] == "openmp"]
    return ", ".join(f"{entry['prefix']} ({entry['filepath']})" for entry in found) or "unknown"
