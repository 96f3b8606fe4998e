"""Does the installed fasthash work on this machine? For wheels, where no source tree helps out.

    python tools/check_installed.py

From an empty directory of its own: imports every module, starts every instruction-set level this
machine has, fits and searches as the README does, and runs the kernels' tests, which walk all
levels. Needs pytest, hypothesis, Cython and setuptools.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
KERNEL_TESTS = [
    "test_codes",
    "test_hamming",
    "test_asymmetric",
    "test_jaccard",
    "test_pairs_within",
    "test_many_queries",
    "test_filters",
    "test_metrics",
    "test_multi_index",
    "test_discrete_kernels",
    "test_reconstruct_kernels",
    "test_runtime",
    "test_c_interface",
]


def check_import() -> None:
    import fasthash

    package = Path(fasthash.__file__).resolve().parent
    places = {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")}
    if package.parent not in places:
        raise SystemExit(f"fasthash comes from {package}, not from an installed wheel")
    for module in pkgutil.walk_packages([str(package)], "fasthash."):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            # Some modules need an extra that is not installed here.
            if error.name is None or error.name.split(".")[0] == "fasthash":
                raise
            print(f"{module.name} is left out: it needs {error.name}")
    version = sys.version.split()[0]
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        if sys._is_gil_enabled():
            raise SystemExit("importing fasthash has switched the GIL on")
        version += " free-threaded"
    print(f"fasthash {fasthash.__version__} imports on Python {version}", flush=True)


def check_levels() -> None:
    import fasthash

    for level in fasthash.simd_levels():
        code = "import fasthash as fh; print(fh.topk(fh.pack([[1.0]]), fh.pack([[1.0]]), 1))"
        environment = {**os.environ, "FASTHASH_SIMD": level}
        subprocess.run(
            [sys.executable, "-c", code], check=True, env=environment, stdout=subprocess.DEVNULL
        )
        print(f"level {level} answers", flush=True)


def check_fit() -> None:
    import fasthash as fh
    from fasthash.datasets import load_emoji

    emoji = load_emoji()
    train, test = emoji.train, emoji.test
    features = {name: x[train] for name, x in emoji.features.items()}
    labels = dict.fromkeys(features, emoji.groups[train])
    model = fh.AMSH(n_bits=16, random_state=0).fit(features, labels=labels)
    queries = model.encode(emoji.features["text"][test], "text")
    score = fh.mean_average_precision(
        queries, model.codes_["image"], emoji.groups[test], emoji.groups[train], ties="expected"
    )
    if score < 0.8:
        raise SystemExit(f"the demo's model reaches a mean average precision of only {score:.3f}")
    print(f"the demo's model finds images for texts: mean average precision {score:.3f}")


def main() -> int:
    tests = [PROJECT / "tests" / f"{name}.py" for name in KERNEL_TESTS]
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider"]
    command += ["--rootdir", PROJECT, "-c", PROJECT / "pyproject.toml", *tests]
    with tempfile.TemporaryDirectory() as empty:
        os.chdir(empty)
        check_import()
        check_levels()
        check_fit()
        failed = subprocess.run(command).returncode
        # Windows deletes no folder that somebody works in.
        os.chdir(PROJECT)
    return failed


if __name__ == "__main__":
    sys.exit(main())
