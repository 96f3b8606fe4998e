"""Short runs of the scripts in tests/reliability, and proof that each of them finds a fault."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from fasthash.index import _index_file as index_file
from fasthash.index import _storage as storage
from fasthash.index._snapshot import Snapshot
from reliability import damage, kills, threads

FUZZ = pathlib.Path(__file__).parent / "reliability" / "fuzz.py"

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked child; no fork here")
saves_models = pytest.mark.skipif(
    importlib.util.find_spec("safetensors") is None,
    reason="damages model files; safetensors is not installed",
)
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


@forks
def test_kills_leave_a_whole_index():
    figures = kills.run(12)
    assert figures["kills"] == 12


@forks
def test_kills_find_an_index_written_in_place(monkeypatch):
    monkeypatch.setattr(index_file, "replacing", lambda path: open(path, "wb"))
    with pytest.raises((AssertionError, ValueError)):
        kills.run(40)


@saves_models
def test_damaged_files_are_refused_or_read_as_they_were():
    figures = damage.run(400, seed=1, limit_memory=False)
    assert figures["refused"] > 200


@saves_models
def test_damage_finds_a_reader_that_does_not_check(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(index_file.zlib, "crc32", lambda data, start=0: 0)
    with pytest.raises(AssertionError, match="was not noticed"):
        damage.run(2000, seed=1, limit_memory=False)


def test_answers_of_threads_are_of_a_state_there_was():
    figures = threads.run(4, n_searchers=4)
    assert figures["changes"] > 20 and figures["answers"] > 50


def test_threads_find_a_state_that_changes(monkeypatch):
    """Flags changed where they are, a little at a time, instead of a new state."""
    unchanged = storage._without

    def in_place(state, in_base, in_recent):
        if state.live is None or np.any(in_recent >= 0):
            return unchanged(state, in_base, in_recent)
        n_live = state.n_live
        for row in in_base[in_base >= 0]:
            state.live[row] = False
            n_live -= 1
        return Snapshot(state.base, state.live, n_live, state.recent, state.next_id)

    monkeypatch.setattr(storage, "_without", in_place)
    with pytest.raises((AssertionError, ValueError, IndexError)):
        threads.run(20, n_searchers=4, kinds=["scan"])


@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="fuzzing needs atheris, not installed"
)
@pytest.mark.parametrize("target", ["index", "model", "faiss", "changes"])
def test_fuzzing_finds_nothing_in_a_moment(target, tmp_path):
    done = subprocess.run(
        [sys.executable, FUZZ, target, "--seconds", "3"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Done" in done.stderr
