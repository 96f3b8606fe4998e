"""Which machine and which versions a table was measured on."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

import fasthash as fh
from fasthash._core.runtime import n_cores
from fasthash._kernels import tiles as kernels
from limits import NoCompilerError, compiler_command, last_level_cache_bytes

PEERS = ("faiss-cpu", "numkong", "scipy", "scikit-learn", "usearch")


def describe() -> list[tuple[str, str]]:
    """Facts for the head of the report."""
    facts = [
        ("Date", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")),
        ("Processor", processor()),
        ("Cores available", str(n_cores())),
        ("Last-level cache", f"{last_level_cache_bytes() / 2**20:.0f} MiB as reported"),
        ("Instruction-set level", f"{fh.simd_level()} of {', '.join(fh.simd_levels())}"),
        ("Operating system", f"{platform.system()} {platform.release()}"),
        ("Compiler of the probe", compiler()),
        ("Python", platform.python_version()),
        ("fasthash", fh.__version__),
        ("numpy", np.__version__),
        *((name, installed(name)) for name in PEERS),
    ]
    if hasattr(os, "getloadavg"):
        facts.append(("Load before the run", f"{os.getloadavg()[0]:.1f}"))
    return facts


def processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def compiler() -> str:
    try:
        command = [*compiler_command(), "--version"]
    except NoCompilerError:
        return "none"
    return subprocess.run(command, capture_output=True, text=True).stdout.splitlines()[0]


def installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


@contextmanager
def level(name: str) -> Iterator[None]:
    """Hold fasthash at one instruction-set level, as FASTHASH_SIMD would for a whole process."""
    before = kernels.level_in_use()
    kernels.use_level(name)
    try:
        yield
    finally:
        kernels.use_level(before)


# What faiss calls the instruction sets of our levels.
_FAISS_LEVELS = {"avx2": "SIMDLevel_AVX2", "avx512bw": "SIMDLevel_AVX512"}


@contextmanager
def faiss_level(name: str) -> Iterator[bool]:
    """Hold faiss at the instruction set of one of our levels; whether it can be held there."""
    try:
        import faiss
    except ModuleNotFoundError:
        yield False
        return
    wanted = getattr(faiss, _FAISS_LEVELS.get(name, ""), None)
    config = getattr(faiss, "SIMDConfig", None)
    if wanted is None or config is None or not config.is_simd_level_available(wanted):
        yield False
        return
    before = config.get_level()
    config.set_level(wanted)
    try:
        yield True
    finally:
        config.set_level(before)
