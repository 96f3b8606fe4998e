"""Is one commit slower than another? The pytest-benchmark suite on both, in turn, on this machine.

    python benchmarks/compare.py BASE [HEAD]     exit status 1 where HEAD is slower than it may be

Both commits are built with this Python's packages and take turns, a process each, on one thread and
one instruction-set level; the suite is the one that lies beside this file. A benchmark's ratio is
the median over rounds of HEAD's fastest time over BASE's. What exceeds the limit is measured again,
with more rounds, and fails only if it does so again. Needs Cython, setuptools, the extra `bench`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
SUITE = "bench_hamming.py"
ROUNDS, ROUNDS_AGAIN = 3, 7
# Seconds pytest-benchmark spends on one benchmark in one round.
SECONDS = 0.25


class Revision:
    """A commit, built in a folder of its own."""

    def __init__(self, commit: str, folder: Path) -> None:
        self.commit = git("rev-parse", "--verify", f"{commit}^{{commit}}")
        say(f"building {commit}, {self.commit[:10]}: a minute or two")
        self.site = folder / "site"
        source = folder / "source"
        source.mkdir(parents=True)
        archive = subprocess.run(
            ["git", "-C", HERE.parent, "archive", self.commit], check=True, capture_output=True
        ).stdout
        subprocess.run(["tar", "x", "-C", source], input=archive, check=True)
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        subprocess.run(
            [*install, "--no-build-isolation", "--target", self.site, source], check=True
        )
        # What measures is the same for both, and beside this file.
        measures = Path("fasthash", "experiments")
        (self.site / measures).mkdir(exist_ok=True)
        for name in ("_random_codes.py", "_timing.py"):
            shutil.copy(HERE.parent / measures / name, self.site / measures)

    def run(self, level: str, keywords: str) -> dict[str, float]:
        """Least seconds of every benchmark of the suite."""
        environment = {
            **os.environ,
            "PYTHONPATH": str(self.site),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "FASTHASH_SIMD": level,
        }
        where = [sys.executable, "-c", "import fasthash; print(fasthash.__file__)"]
        done = subprocess.run(
            where, env=environment, cwd=self.site, check=True, capture_output=True, text=True
        )
        assert Path(done.stdout.strip()).is_relative_to(self.site), done.stdout
        result = self.site / "result.json"
        result.unlink(missing_ok=True)
        command = [sys.executable, "-m", "pytest", "-q", "--import-mode=importlib", "-p"]
        command += ["no:cacheprovider", SUITE, "-k", keywords, f"--benchmark-json={result}"]
        command += [f"--benchmark-max-time={SECONDS}", "--benchmark-warmup=on"]
        done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True)
        if not result.exists():
            raise SystemExit(f"the suite did not run on {self.commit}:\n{done.stdout}{done.stderr}")
        found = json.loads(result.read_text())["benchmarks"]
        return {benchmark["name"]: benchmark["stats"]["min"] for benchmark in found}


def say(text: str) -> None:
    """Print progress."""
    print(text, file=sys.stderr, flush=True)


def git(*arguments: str) -> str:
    command = ["git", "-C", str(HERE), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def ratios(
    base: Revision, head: Revision, level: str, rounds: int, keywords: str
) -> dict[str, float]:
    """HEAD's time over BASE's for every benchmark that both have run."""
    measured: dict[str, list[float]] = {}
    began = time.perf_counter()
    for number in range(rounds):
        # Who goes first changes, so that neither always follows the other's heat.
        order = [base, head] if number % 2 == 0 else [head, base]
        seconds = {}
        for at, revision in enumerate(order, 1):
            seconds[revision.site] = revision.run(level, keywords)
            n_done = 2 * number + at
            left = (time.perf_counter() - began) / n_done * (2 * rounds - n_done) / 60
            say(
                f"round {number + 1} of {rounds}, {revision.commit[:10]}: "
                f"{len(seconds[revision.site])} benchmarks; about {left:.1f} minutes left"
            )
        theirs, ours = seconds[base.site], seconds[head.site]
        for name in theirs.keys() & ours.keys():
            measured.setdefault(name, []).append(ours[name] / theirs[name])
        for name in ours.keys() - theirs.keys():
            say(f"{name} is new: nothing to compare it with")
    return {name: median(values) for name, values in sorted(measured.items())}


def fastest_level() -> str:
    import fasthash

    return fasthash.simd_levels()[-1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base", help="commit to compare with, for example main")
    parser.add_argument("head", nargs="?", default="HEAD", help="commit to judge (default: HEAD)")
    parser.add_argument("--limit", type=float, default=1.25, help="largest ratio (default: 1.25)")
    parser.add_argument("--level", default=None, help="instruction set (default: the fastest)")
    parser.add_argument("-k", default="", help="only benchmarks that pytest's -k would choose")
    options = parser.parse_args()
    level = options.level or fastest_level()
    keywords = "fasthash" + (f" and ({options.k})" if options.k else "")
    with tempfile.TemporaryDirectory() as folder:
        base = Revision(options.base, Path(folder, "base"))
        head = Revision(options.head, Path(folder, "head"))
        found = ratios(base, head, level, ROUNDS, keywords)
        if not found:
            raise SystemExit("no benchmark ran on both commits")
        suspects = [name for name, ratio in found.items() if ratio > options.limit]
        again: dict[str, float] = {}
        if suspects:
            say(f"again, with {ROUNDS_AGAIN} rounds: {', '.join(suspects)}")
            tests = " or ".join(sorted({name.partition("[")[0] for name in suspects}))
            again = ratios(base, head, level, ROUNDS_AGAIN, f"fasthash and ({tests})")
    slower = []
    print(f"time of {head.commit[:10]} over that of {base.commit[:10]}, level {level}")
    for name, ratio in found.items():
        confirmed = name in suspects and again[name] > options.limit
        note = f"  again {again[name]:.2f}" if name in suspects else ""
        print(f"{ratio:6.2f}  {name}{note}{'  TOO SLOW' if confirmed else ''}")
        slower += [name] if confirmed else []
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
