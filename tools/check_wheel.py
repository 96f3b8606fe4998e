"""Proves what can be proved of a release on this machine, step by step; ends at the first failure.

    pip install --group release
    python tools/check_wheel.py                         everything, some ten minutes
    python tools/check_wheel.py --python PATH           on this interpreter too
    python tools/check_wheel.py --steps build,contents  some steps; --help lists them
    python tools/check_wheel.py --complete              fail where something cannot be checked

The wheel is built from the source distribution, repaired, audited, and tested from an empty
directory on every CPython from 3.11 on that lies on the PATH or under pyenv. What could not be
checked, for want of a tool or a Python, is listed at the end.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
SIMD = PROJECT / "fasthash" / "_kernels" / "simd"

# The stack of a thread under musl is 128 KiB; no function may take more than a quarter of it.
FRAME_BYTES = 32768

# Everything a wheel holds beside its metadata and the libraries it carries.
MODULES = [
    path.relative_to(PROJECT / "fasthash").with_suffix("").as_posix()
    for path in sorted((PROJECT / "fasthash").rglob("*.pyx"))
]
COMPILED = [*MODULES, "_kernels/_cyutility"]
REQUIRED = [
    "fasthash/__init__.py",
    "fasthash/__init__.pyi",
    "fasthash/py.typed",
    "fasthash/c_api.pxd",
    "fasthash/include/fasthash.h",
    "fasthash/datasets/emoji.npz",
    "fasthash/datasets/EMOJI_LICENSES.md",
    *(
        path.relative_to(PROJECT).as_posix()
        for path in sorted((PROJECT / "fasthash/pages/templates").iterdir())
    ),
    *(f"fasthash/{module}.pyi" for module in MODULES),
]
ALLOWED = re.compile(
    r"fasthash/[\w/]+(\.py|\.pyi|\.abi3\.so|\.cpython-\w+-[\w-]+\.so)"
    + "".join(f"|{re.escape(name)}" for name in REQUIRED)
    + r"|fasthash_retrieval[\w.-]*\.(libs|dist-info)/.*"
)

# What tools/check_installed.py needs beside the wheel.
TEST_PACKAGES = ["pytest", "hypothesis", "Cython", "setuptools"]

# The oldest Python is tested with the oldest packages that pyproject.toml allows.
OLDEST = "3.11"

# "t" is any free-threaded one.
EXPECTED_PYTHONS = ["3.11", "3.12", "3.13", "3.14", "t"]

TARGETS = [
    "x86_64-windows-gnu",
    "aarch64-windows-gnu",
    "x86_64-macos",
    "aarch64-macos",
    "x86_64-linux-musl",
    "aarch64-linux-musl",
]


def say(text: str) -> None:
    print(text, flush=True)


def oldest_packages() -> list[str]:
    """The library's dependencies, each at the version from which on it is allowed."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    return [f"{need.replace('>=', '==')}.*" for need in project["project"]["dependencies"]]


def run(*command: object, cwd: Path = PROJECT, **environment: str) -> str:
    """Output of a command that must succeed."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, "NO_COLOR": "1", "TERM": "dumb", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != 0:
        end = "\n".join(done.stdout.splitlines()[-60:])
        raise SystemExit(f"{' '.join(map(str, command))}\n{end}\nfailed with {done.returncode}")
    return done.stdout


def module(name: str) -> list[object]:
    return [sys.executable, "-m", name]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def facts_of(python: Path) -> tuple[str, bool]:
    """The version of an interpreter, and whether it is free-threaded."""
    ask = "import sys, sysconfig, json; print(json.dumps([sys.version.split()[0], "
    ask += "bool(sysconfig.get_config_var('Py_GIL_DISABLED'))]))"
    version, free_threaded = json.loads(run(python, "-c", ask))
    return version, free_threaded


def only(folder: Path, pattern: str) -> Path:
    found = list(folder.glob(pattern))
    if len(found) != 1:
        raise SystemExit(f"{folder} should hold one {pattern}, it holds {found}")
    return found[0]


class Check:
    """The steps, and where they leave what they make."""

    def __init__(self, work: Path, pythons: list[Path]) -> None:
        self.work, self.pythons = work, pythons
        self.left_out: list[str] = []
        self.date = run("git", "log", "-1", "--format=%ct").strip()
        for name in ("sdist", "built", "wheel"):
            (work / name).mkdir()

    def build_wheel(self, python: object, folder: Path) -> Path:
        """From the source distribution, with a warning for a large stack frame an error."""
        folder.mkdir(exist_ok=True)
        wheel = [python, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder]
        # musl's threads have small stacks.
        flags = f"-g0 -Werror=frame-larger-than={FRAME_BYTES}"
        run(*wheel, only(self.work / "sdist", "*.tar.gz"), SOURCE_DATE_EPOCH=self.date,
            CFLAGS=flags)  # fmt: skip
        return only(folder, "*.whl")

    def build(self) -> None:
        """A source distribution and a wheel from it, twice each: the same bytes."""
        again = self.work / "again"
        for folder in (self.work / "sdist", again):
            run(*module("build"), "--sdist", "--outdir", folder, SOURCE_DATE_EPOCH=self.date)
        sdist = only(self.work / "sdist", "*.tar.gz")
        if digest(sdist) != digest(only(again, "*.tar.gz")):
            raise SystemExit("two source distributions of the same files differ")
        wheel = self.build_wheel(sys.executable, self.work / "built")
        if digest(wheel) != digest(self.build_wheel(sys.executable, again)):
            raise SystemExit("two wheels from the same source distribution differ")
        say(f"{sdist.name} and {wheel.name}: built twice, the same bytes")

    def repair(self) -> None:
        """The OpenMP runtime goes into the wheel."""
        built = only(self.work / "built", "*.whl")
        tools = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        run(*module("auditwheel"), "repair", "-w", self.work / "wheel", built, PATH=tools)
        wheel = only(self.work / "wheel", "*.whl")
        names = zipfile.ZipFile(wheel).namelist()
        carried = [name for name in names if re.search(r"\.libs/.", name)]
        if not any("omp" in name for name in carried):
            raise SystemExit(f"{wheel.name} carries no OpenMP runtime: {carried}")
        say(f"{wheel.name} carries {', '.join(Path(name).name for name in carried)}")

    def contents(self) -> None:
        """Nothing is missing from the wheel and nothing has strayed into it."""
        wheel = only(self.work / "wheel", "*.whl")
        names = [name for name in zipfile.ZipFile(wheel).namelist() if not name.endswith("/")]
        missing = [name for name in REQUIRED if name not in names]
        missing += [
            f"{name}.*.so" for name in COMPILED
            if not any(re.fullmatch(rf"fasthash/{name}\.[\w.-]+\.so", other) for other in names)
        ]  # fmt: skip
        for licence in ("LICENSE", "EMOJI_LICENSES.md"):
            if not any(re.search(rf"\.dist-info/licenses/.*{licence}", name) for name in names):
                missing.append(f"licenses/{licence}")
        stray = [name for name in names if not ALLOWED.fullmatch(name)]
        if missing or stray:
            raise SystemExit(f"{wheel.name}: missing {missing}, stray {stray}")
        say(f"{wheel.name}: {len(names)} files, none missing, none stray")

    def audit(self) -> None:
        """Stable ABI, metadata, and that the source distribution holds what git tracks."""
        sdist, wheel = only(self.work / "sdist", "*.tar.gz"), only(self.work / "wheel", "*.whl")
        run(*module("abi3audit"), "--strict", wheel)
        say(f"abi3audit: {wheel.name} keeps to the stable ABI")
        say(run(*module("twine"), "check", "--strict", sdist, wheel).strip())
        run(*module("check_sdist"), "--inject-junk")
        say("check-sdist: the source distribution holds what it should")

    def test(self) -> None:
        """The kernels' tests, a fit and every level, from an empty directory, on every CPython."""
        found = set()
        for python in self.pythons:
            version, free_threaded = facts_of(python)
            found.add("t" if free_threaded else version.rpartition(".")[0])
            name = f"{version}{'t' if free_threaded else ''}"
            place = self.work / f"python-{name}"
            run(python, "-m", "venv", place)
            own = place / "bin" / "python"
            wheel = only(self.work / "wheel", "*.whl")
            if free_threaded:
                run(own, "-m", "pip", "install", "--quiet", "--upgrade", "pip")
                wheel = self.build_wheel(own, self.work / f"built-{name}")
            packages = TEST_PACKAGES
            if version.startswith(f"{OLDEST}.") and not free_threaded:
                packages = [*packages, *oldest_packages()]
            # Nothing here may need a compiler.
            run(own, "-m", "pip", "install", "--quiet", "--only-binary=:all:", *packages, wheel)
            say(f"Python {name}, {', '.join(packages)}, {wheel.name}")
            output = run(own, PROJECT / "tools" / "check_installed.py")
            say("    " + output.strip().replace("\n", "\n    "))
        for version in EXPECTED_PYTHONS:
            if version not in found:
                kind = "free-threaded CPython" if version == "t" else f"CPython {version}"
                self.left_out.append(f"tests on {kind}: none is here")

    def demo(self) -> None:
        """The wheel, the newest Python and no compiler: the demo runs."""
        place = self.work / "demo"
        ordinary = [python for python in self.pythons if not facts_of(python)[1]]
        newest = max(ordinary, key=lambda python: [int(x) for x in facts_of(python)[0].split(".")])
        run(newest, "-m", "venv", place)
        wheel = only(self.work / "wheel", "*.whl")
        # A build would fail for want of a compiler.
        nothing = {"CC": "/bin/false", "CXX": "/bin/false"}
        run(place / "bin" / "pip", "install", "--quiet", f"{wheel}[demo]", **nothing)
        output = run(place / "bin" / "fasthash", "demo", cwd=place, PATH=str(place / "bin"))
        # Without the bars that show how far it is.
        shown = [line for line in output.splitlines() if "%|" not in line]
        say("\n".join(f"    {line}" for line in [run(newest, "--version").strip(), *shown]))

    def emulate(self) -> None:
        """The NEON level, cross-compiled and run under an emulator."""
        python = self.work / f"python-{sys.version.split()[0]}" / "bin" / "python"
        if not python.exists():
            raise SystemExit("emulate needs the environment that the step test makes")
        output = run(
            *(python, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider"),
            *("--rootdir", PROJECT, "-c", PROJECT / "pyproject.toml"),
            PROJECT / "tests" / "test_neon_emulated.py",
            cwd=self.work,
        )
        say("    " + output.strip().replace("\n", "\n    "))
        self.left_out += re.findall(r"^SKIPPED \S+ (.*)$", output, re.MULTILINE)

    def cross(self) -> None:
        """The C kernels for Windows, macOS and musl, warnings as errors."""
        flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
        flags += ["-Wno-unused-function", "-fopenmp-simd", f"-Wframe-larger-than={FRAME_BYTES}"]
        # Those of single rows are templates that others include once per floating type.
        headers = [
            header
            for header in sorted((PROJECT / "fasthash" / "_kernels").glob("*.h"))
            if not header.stem.endswith("_rows")
        ]
        headers += [PROJECT / "fasthash" / "include" / "fasthash.h"]
        alone = []
        for header in headers:
            alone.append(self.work / f"{header.stem}_alone.c")
            alone[-1].write_text(f'#include "{header}"\nint present;\n')
        for target in TARGETS:
            for source in [*sorted(SIMD.glob("*.c")), *alone]:
                out = self.work / "cross.o"
                run(*module("ziglang"), "cc", "-target", target, *flags, "-I", SIMD.parent, "-I",
                    SIMD, "-c", source, "-o", out)  # fmt: skip
            say(f"{target}: the kernels' C compiles without a warning")


STEPS: dict[str, Callable[[Check], None]] = {
    "build": Check.build,
    "repair": Check.repair,
    "contents": Check.contents,
    "audit": Check.audit,
    "test": Check.test,
    "demo": Check.demo,
    "emulate": Check.emulate,
    "cross": Check.cross,
}


def found_pythons() -> list[Path]:
    """Every CPython from 3.11 on, once, on the PATH or under pyenv; this one first."""
    names = [f"python3.{minor}{kind}" for minor in range(11, 20) for kind in ("", "t")]
    candidates = [Path(path) for name in names if (path := shutil.which(name))]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates += sorted(pyenv.glob("versions/*/bin/python"))
    ask = "import sys; v = sys.version_info; "
    ask += "print(sys.implementation.name, v >= (3, 11), v.releaselevel, sys.base_prefix)"
    found = {Path(sys.base_prefix): Path(sys.executable)}
    for path in candidates:
        done = subprocess.run([path, "-c", ask], capture_output=True, text=True)
        name, recent, level, prefix = (done.stdout.split(maxsplit=3) + [""] * 4)[:4]
        if (name, recent, level) == ("cpython", "True", "final"):
            found.setdefault(Path(prefix.strip()), path)
    return list(found.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", action="append", type=Path, default=[], metavar="PATH")
    parser.add_argument("--steps", default=",".join(STEPS), help=f"of {','.join(STEPS)}")
    parser.add_argument(
        "--complete", action="store_true", help="fail where something cannot be checked here"
    )
    options = parser.parse_args()
    if unknown := set(options.steps.split(",")) - set(STEPS):
        parser.error(f"--steps knows {', '.join(STEPS)}, not {', '.join(sorted(unknown))}")
    if sys.platform != "linux":
        raise SystemExit("this checks Linux wheels; other systems are checked where they are built")
    with tempfile.TemporaryDirectory() as folder:
        check = Check(Path(folder), found_pythons() + options.python)
        for name in options.steps.split(","):
            say(f"--- {name}: {STEPS[name].__doc__.splitlines()[0]}")
            started = time.monotonic()
            STEPS[name](check)
            say(f"    {name} took {time.monotonic() - started:.0f} s")
        for what in check.left_out:
            say(f"NOT CHECKED: {what}")
        if check.left_out and options.complete:
            raise SystemExit("--complete: not all of it could be checked")


if __name__ == "__main__":
    main()
