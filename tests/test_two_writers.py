"""Commands that change one index file at once: each waits for the other, and nothing is lost."""

import os
import subprocess

import filelock
import numpy as np
import pytest

import fasthash as fh
from command_line import PROGRAM, run


@pytest.fixture
def folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for i in range(4):
        np.save(f"{i}.npy", rng.integers(0, 256, (200, 8), dtype=np.uint8))
    run(capsys, "index build some.index --codes 0.npy")
    return tmp_path


def started(*arguments):
    return subprocess.Popen(
        [PROGRAM, "index", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_writers_at_once_lose_nothing(folder):
    """Every process has read its options before the first may change the file."""
    os.symlink("some.index", "link")
    with filelock.FileLock("some.index.lock"):
        processes = [
            started("add", name, "--codes", f"{i}.npy")
            for i, name in ((1, "some.index"), (2, "link"), (3, str(folder / "some.index")))
        ]
        processes.append(started("remove", "some.index", "--id", "0", "7"))
        for process in processes:
            assert "is being changed by process" in process.stderr.readline()
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert "codes of 64 bits" in out
    index = fh.load("some.index")
    assert len(index) == 800 - 2
    held = {code.tobytes() for code in index.codes}
    for i in range(1, 4):
        assert held.issuperset(code.tobytes() for code in np.load(f"{i}.npy"))


def test_a_writer_gives_up(folder, capsys):
    before = (folder / "some.index").read_bytes()
    with filelock.FileLock("some.index.lock"):
        for command in (
            "index add some.index --codes 1.npy",
            "index remove some.index --id 0",
            "index build some.index --codes 1.npy --force",
        ):
            _, err = run(capsys, f"{command} --wait 0", status=1)
            waiting, given_up = err.splitlines()
            assert waiting.startswith("some.index is being changed by process")
            assert f"process {os.getpid()}, since " in given_up
            assert "after 0 s: try again later" in given_up
    assert (folder / "some.index").read_bytes() == before


def test_two_builds_at_once_write_one_index(folder):
    with filelock.FileLock("new.index.lock"):
        processes = [started("build", "new.index", "--codes", f"{i}.npy") for i in range(2)]
        for process in processes:
            assert "is being changed by another process" in process.stderr.readline()
    ended = [process.communicate(timeout=60) for process in processes]
    assert sorted(process.returncode for process in processes) == [0, 1]
    assert sum("new.index exists" in err for _, err in ended) == 1


def test_a_lock_file_of_another_program_stays_as_it_is(folder, capsys):
    (folder / "some.index.lock").write_text("notes of another program")
    run(capsys, "index add some.index --codes 1.npy")
    assert (folder / "some.index.lock").read_text() == "notes of another program"
