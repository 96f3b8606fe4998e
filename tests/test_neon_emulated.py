"""The instruction-set levels by themselves, in C: this machine's, and others emulated.

`simd/check_level.c` compares a level with plain bit counting. The kernels' sources are those of the
repository this file lies in, not of the installed package.
"""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fasthash as fh

PROGRAM = Path(__file__).parent / "simd" / "check_level.c"
KERNELS = PROGRAM.parents[2] / "fasthash" / "_kernels" / "simd"
EMULATED = PROGRAM.parent / "emulated"
WARNINGS = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
SANITIZERS = ["-fsanitize=undefined,address", "-fno-sanitize-recover=all"]
X86_LEVELS = ["scalar", "avx2", "avx512bw", "avx512"]
# What the names of the files of these levels begin with.
X86_FAMILIES = ["avx2", "avx512"]
TRAPS = ["-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"]

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="the guard pages are POSIX's"),
    pytest.mark.skipif(
        not (KERNELS / "simd.h").exists(), reason=f"no C sources of the kernels in {KERNELS}"
    ),
]


def run(*command):
    environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, env=environment
    )


def compiled(program, compiler, *flags, levels=None):
    """
    Compile the program with every level.

    Files of levels that are not among `levels` are linked and never run, so they are compiled as
    fast as the compiler can.
    """
    objects = []
    for source in [PROGRAM, *sorted(KERNELS.glob("*.c"))]:
        objects.append(program.with_name(f"{source.stem}.o"))
        family = source.stem.partition("_")[0]
        is_linked_only = (
            levels is not None
            and family in X86_FAMILIES
            and not any(level.startswith(family) for level in levels)
        )
        how = ["-O1"] if is_linked_only else flags
        built = run(compiler, *how, *WARNINGS, "-I", KERNELS, "-c", source, "-o", objects[-1])
        assert built.returncode == 0, built.stderr
    built = run(compiler, *flags, *objects, "-o", program)
    assert built.returncode == 0, built.stderr
    return program


def levels_checked_by(*command):
    done = run(*command)
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout.split()


@pytest.fixture(scope="module")
def compiler():
    path = shutil.which("cc")
    if path is None:
        pytest.skip("no C compiler called cc")
    return path


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="compiles the levels of x86"
)
def test_x86_levels_that_this_machine_may_lack(compiler, tmp_path):
    """Their instructions in plain C, by SIMDe: what is tested does not depend on the processor."""
    has_simde = tmp_path / "simde.c"
    has_simde.write_text("#include <simde/x86/avx512.h>\n")
    if run(compiler, "-fsyntax-only", has_simde).returncode != 0:
        pytest.skip("missing SIMDe's headers (Debian: libsimde-dev)")
    levels = [path for path in sorted(KERNELS.glob("*.c")) if path.name != "dispatch.c"]
    program = tmp_path / "check"
    sources = [PROGRAM, EMULATED / "every_level.c", *levels]
    # SIMDe's registers are passed as a processor without AVX would: GCC remarks on it.
    flags = ["-O1", "-msse4.2", "-std=gnu11", "-Wall", "-Werror", "-Wno-psabi", "-DFH_EMULATED"]
    built = run(compiler, *flags, "-I", EMULATED, "-I", KERNELS, *sources, "-o", program)
    assert built.returncode == 0, built.stderr
    # The other levels are checked on the processor itself, by the tests below.
    lacking = [level for level in X86_LEVELS if level not in fh.simd_levels()] or X86_LEVELS
    assert levels_checked_by(program, *lacking) == lacking


def sanitizers(compiler, folder):
    """The sanitizers' flags, where programs built with them run."""
    source, program = folder / "empty.c", folder / "empty"
    source.write_text("int main(void) { return 0; }\n")
    built = run(compiler, *SANITIZERS, source, "-o", program)
    return SANITIZERS if built.returncode == 0 and run(program).returncode == 0 else []


def test_levels_of_this_machine(compiler, tmp_path):
    flags = sanitizers(compiler, tmp_path)
    program = compiled(tmp_path / "check", compiler, "-O1", "-g1", *flags, levels=fh.simd_levels())
    assert levels_checked_by(program) == list(fh.simd_levels())


def test_levels_of_this_machine_as_they_are_built(compiler, tmp_path):
    """Optimised as setup.py does, without sanitizers: what they slow down, they also keep apart."""
    program = compiled(tmp_path / "check", compiler, "-O3", levels=fh.simd_levels())
    assert levels_checked_by(program) == list(fh.simd_levels())


@pytest.mark.skipif(
    platform.machine() in ("aarch64", "arm64"), reason="NEON is a level of this machine"
)
def test_neon_under_an_emulator(tmp_path):
    cross_compiler = shutil.which("aarch64-linux-gnu-gcc")
    emulator = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
    missing = [
        name
        for name, path in [
            ("aarch64-linux-gnu-gcc (Debian: gcc-aarch64-linux-gnu)", cross_compiler),
            ("qemu-aarch64 (Debian: qemu-user)", emulator),
        ]
        if path is None
    ]
    if missing:
        pytest.skip(f"missing {' and '.join(missing)}")
    program = compiled(tmp_path / "check", cross_compiler, "-static", "-O3", *TRAPS)
    assert levels_checked_by(emulator, program) == ["scalar", "neon"]
