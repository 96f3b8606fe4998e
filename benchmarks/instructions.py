"""Instructions of the inner kernels per code, counted by callgrind: the same on every machine.

    python benchmarks/instructions.py             compares them with the recorded figures
    python benchmarks/instructions.py --record    writes them to instructions.json

The kernels are compiled by one version of one compiler, ziglang's Clang, so that only their source
can change a figure. Needs valgrind, and `pip install --group instructions`. valgrind knows no
AVX-512: the portable level and AVX2 are measured.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
SIMD = HERE.parent / "fasthash" / "_kernels" / "simd"
RECORD = HERE / "instructions.json"

LEVELS = ("scalar", "avx2")
KERNELS = {
    "prepare": (2, 4),
    "distances": (1, 2, 4, 16),
    "scan": (1, 2, 4, 16),
    "scan_rows": (2, 4, 16),
    "lay_out_planes": (1, 4),
    "scan_planes": (1, 4, 16),
    "list_relevant": (1, 2),
}
# The portable level has no bit planes.
WITHOUT = {"scalar": ("lay_out_planes", "scan_planes"), "avx2": ()}
CODES = 4096
COMPILER = "0.17.1"


class MissingToolError(RuntimeError):
    """Something that counts or compiles is not installed."""


def build(folder: Path) -> Path:
    """The program that runs one kernel."""
    header = Path("/usr/include/valgrind/callgrind.h")
    if shutil.which("valgrind") is None or not header.exists():
        raise MissingToolError("valgrind with its headers (Debian: valgrind)")
    if importlib.util.find_spec("ziglang") is None:
        raise MissingToolError(f"ziglang {COMPILER} (pip install --group instructions)")
    if importlib.metadata.version("ziglang") != COMPILER:
        raise MissingToolError(f"ziglang {COMPILER}: the figures belong to this version")
    # The one header alone: the rest of the system's would not fit the compiler's own.
    headers = folder / "include" / "valgrind"
    headers.mkdir(parents=True)
    for name in ("callgrind.h", "valgrind.h"):
        shutil.copy(header.parent / name, headers)
    program = folder / "instructions"
    command = [sys.executable, "-m", "ziglang", "cc", "-target", "x86_64-linux-musl", "-std=c11"]
    command += ["-mcpu=x86_64", "-O3", "-I", str(SIMD), "-I", str(headers.parent)]
    sources = [HERE / "instructions.c", *sorted(SIMD.glob("*.c"))]
    subprocess.run([*command, *map(str, sources), "-o", str(program)], check=True)
    return program


def count(program: Path, level: str, kernel: str, n_words: int) -> float:
    """Instructions per code."""
    command = ["valgrind", "--tool=callgrind", "--instr-atstart=no"]
    command += ["--callgrind-out-file=/dev/null", str(program), level, kernel, str(n_words)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = re.search(r"Collected : (\d+)", done.stderr)
    assert found is not None, done.stderr
    return int(found.group(1)) / CODES


def measure() -> dict[str, float]:
    """Instructions per code of every level, kernel and width."""
    with tempfile.TemporaryDirectory() as folder:
        program = build(Path(folder))
        return {
            f"{level} {kernel} {64 * n_words}": round(count(program, level, kernel, n_words), 3)
            for level in LEVELS
            for kernel, widths in KERNELS.items()
            if kernel not in WITHOUT[level]
            for n_words in widths
        }


def recorded() -> dict[str, float]:
    """The figures to compare with."""
    figures: dict[str, float] = json.loads(RECORD.read_text())
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true", help="write the figures down")
    options = parser.parse_args()
    figures = measure()
    if options.record:
        RECORD.write_text(json.dumps(figures, indent=1) + "\n")
    before = recorded()
    for name, instructions in figures.items():
        print(f"{instructions:9.3f}  {before.get(name, float('nan')):9.3f} recorded  {name} bits")


if __name__ == "__main__":
    main()
