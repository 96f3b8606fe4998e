"""Processes killed by SIGKILL while they write files: the old file is there, or the new one.

A forked child kills itself at a chosen moment of writing, which no handler sees. Every function and
command that writes a file is tried at every moment.
"""

import io
import itertools
import os
import re
import signal

import numpy as np
import pytest

import fasthash as fh
from fasthash import cli
from fasthash._core import files

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked child; no fork here"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]

MOMENTS = ["first byte", "half", "before sync", "before rename", "after rename"]


def data(version):
    """Two modalities, labels and pairs that learn different codes in every version."""
    rng = np.random.default_rng(version)
    y = rng.integers(0, 3, 60)
    return {name: rng.standard_normal((60, d)) + y[:, None] for name, d in (("a", 12), ("b", 9))}, y


def save_index(path, version):
    index = fh.HammingIndex(64)
    index.add(np.random.default_rng(version).integers(0, 256, (3000, 8), np.uint8))
    index.save(path)


def save_tables(path, version):
    index = fh.MultiIndexHash(64)
    index.add(np.random.default_rng(version).integers(0, 256, (3000, 8), np.uint8))
    index.save(path, tables=True)


def save_model(path, version):
    pytest.importorskip("safetensors")
    fh.CCAITQ(8, random_state=0).fit(data(version)[0], n_threads=1).save(path)


def save_faiss(path, version):
    codes = np.random.default_rng(version).integers(0, 256, (3000, 8), np.uint8)
    fh.interchange.write_faiss(path, codes, ids=np.arange(3000))


def save_checkpoint(path, version):
    torch = pytest.importorskip("torch")
    # The threads of a parent are not those of a fork.
    torch.set_num_threads(1)
    model = fh.CLSR(n_bits=8, n_latent=8, hidden=(8,), n_epochs=1, random_state=version)
    model.fit(data(version)[0], n_threads=1, checkpoint=path)


def command(*arguments):
    """Run a command that may replace the file of the version before."""
    assert cli.main(["--quiet", *map(str, arguments), "--force"]) == 0


def given_files(path, version):
    """The features, codes and models that commands read, written once in a folder beside."""
    folder = path.parent.parent / "given"
    made = folder / f"{version}.npz"
    if not made.exists():
        folder.mkdir(exist_ok=True)
        x, y = data(version)
        labels = (y[:, None] == np.arange(3)).astype(np.uint8)
        model = fh.CCAITQ(8, random_state=0).fit(x, n_threads=1)
        model.save(folder / f"{version}.model")
        np.savez(
            made, I_tr=x["a"], T_tr=x["b"], L_tr=labels, I_te=x["a"], T_te=x["b"], L_te=labels,
            codes=model.codes_["a"],
        )  # fmt: skip
        images = fh.CCAITQ(8, random_state=0).fit({"image": x["a"], "text": x["b"]}, n_threads=1)
        images.save(folder / f"{version}-image.model")
    return folder, made


def encode(path, version):
    _, made = given_files(path, version)
    command("encode", "--method", "sign", "--features", f"{made}:I_tr", "--output", path)


def encode_pairs(path, version):
    _, made = given_files(path, version)
    features = f"a={made}:I_tr", f"b={made}:T_tr"
    command("encode", "--method", "rreh", "--bits", 8, "--features", *features, "--output", path)


def fit(path, version):
    _, made = given_files(path, version)
    command("fit", "--method", "CCAITQ", "--bits", 8, "--data", made, "--output", path)


def build(path, version):
    _, made = given_files(path, version)
    command("index", "build", path, "--codes", f"{made}:codes")


def score(path, version, *, name):
    folder, made = given_files(path, version)
    model = folder / f"{version}-image.model"
    command(name, "--models", model, "--data", made, "--output", path)


def evaluate(path, version):
    score(path, version, name="evaluate")


def report(path, version):
    pytest.importorskip("matplotlib")
    score(path, version, name="report")


WRITERS = {
    "x.index": save_index,
    "tables.index": save_tables,
    "x.model": save_model,
    "x.faiss": save_faiss,
    "x.checkpoint": save_checkpoint,
    "codes.npy": encode,
    "codes.npz": encode_pairs,
    "fitted.model": fit,
    "built.index": build,
    "scores.json": evaluate,
    "report.html": report,
}


def read(path):
    """Whatever the file is, read as a whole."""
    if path.suffix in (".index", ".model"):
        return fh.load(path)
    if path.suffix == ".faiss":
        return fh.interchange.read_faiss(path)
    if path.suffix == ".npy":
        return np.load(path)
    content = path.read_bytes()
    ends = {".json": b"}", ".html": b"</html>"}
    assert content.rstrip().endswith(ends.get(path.suffix, b""))
    return content


class KillingFile(io.FileIO):
    """A file whose process is killed when so many bytes have been written."""

    left = 1

    def write(self, content):
        content = memoryview(content).cast("B")
        written = super().write(content[: KillingFile.left])
        KillingFile.left -= written
        if KillingFile.left <= 0:
            kill()
        return written


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def arm(moment, size):
    """Have this process killed at a moment of the write that it has begun."""
    sync, replace = files.sync, os.replace
    KillingFile.left = 1 if moment == "first byte" else size // 2
    # What writes past Python's file objects is killed here.
    files.sync = lambda file: sync(file) if "rename" in moment else kill()

    def replaced(*paths):
        if moment == "before rename":
            kill()
        replace(*paths)
        kill()

    os.replace = replaced


def opened_to_be_killed(moment, size, path, mode):
    """
    Open a file in a forked child, which writes to it and is killed at this moment.

    Only the child gets the file; the parent gets None, when the child is dead.
    """
    child = os.fork()
    if child == 0:
        arm(moment, size)
        if moment in ("first byte", "half"):
            return io.BufferedWriter(KillingFile(path, mode), 512)
        return open(path, mode)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, moment
    return None


def write_with_killed_children(write, path, size, before_kill, after_kill, moments=MOMENTS):
    """
    Write a file. Where it is opened, children go on instead, one after the other, and are killed.

    What leads to the file, such as a fit, happens once for all of them.
    """
    parent, n_killed = os.getpid(), 0

    def opened(temporary, mode):
        nonlocal n_killed
        if mode == "rb" or n_killed or os.path.dirname(temporary) != str(path.parent):
            return open(temporary, mode)
        for moment, has_old in itertools.product(moments, [True, False]):
            before_kill(has_old)
            file = opened_to_be_killed(moment, size, temporary, mode)
            if file is not None:
                return file
            n_killed += 1
            after_kill(moment, has_old)
        return open(temporary, mode)

    with pytest.MonkeyPatch.context() as patch:
        # A name of the module stands before the one that is built in.
        patch.setattr(files, "open", opened, raising=False)
        try:
            write(path, 1)
        finally:
            # A child that nothing has killed must not go on with the tests.
            if os.getpid() != parent:
                os._exit(9)
    assert n_killed == 2 * len(moments)


@pytest.mark.parametrize("name", WRITERS)
def test_a_killed_writer_leaves_the_old_file_or_the_new_one(tmp_path, name):
    folder = tmp_path / "written"
    folder.mkdir()
    path, write = folder / name, WRITERS[name]
    write(path, 0)
    before = path.read_bytes()
    left = set()

    def before_kill(has_old):
        path.unlink(missing_ok=True)
        if has_old:
            path.write_bytes(before)

    def after_kill(moment, has_old):
        if moment == "after rename":
            assert path.read_bytes() != before
            read(path)
        elif has_old:
            assert path.read_bytes() == before
        else:
            assert not path.exists()
        # At worst a file with a name of its own, as the documentation says.
        beside = set(os.listdir(folder)) - {name, f"{name}.lock"}
        assert len(beside) == (moment != "after rename")
        for one in beside:
            assert re.fullmatch(rf"\.{re.escape(name)}\.[0-9a-f]{{16}}\.tmp", one)
            (folder / one).unlink()
        left.update(beside)

    write_with_killed_children(write, path, len(before), before_kill, after_kill)
    # The versions differ, so that one is not taken for the other.
    assert path.read_bytes() != before
    read(path)
    # A lock file stays.
    assert set(os.listdir(folder)) - {f"{name}.lock"} == {name}
    # The next write is not disturbed by what a killed one left.
    for one in left:
        (folder / one).write_bytes(b"left")
    write(path, 0)
    read(path)
    assert {one.name for one in folder.iterdir() if one.read_bytes() == b"left"} == left
    assert set(os.listdir(folder)) - {f"{name}.lock"} == {name, *left}


def test_a_writer_in_place_is_found(tmp_path, monkeypatch):
    from fasthash.index import _index_file as index_file

    path = tmp_path / "x.index"
    save_index(path, 0)
    before = path.read_bytes()
    monkeypatch.setattr(index_file, "replacing", lambda path: files.open(path, "wb"))

    def before_kill(has_old):
        path.write_bytes(before)

    def after_kill(moment, has_old):
        assert path.read_bytes() != before
        with pytest.raises(ValueError, match=r"x\.index holds neither an index nor"):
            read(path)

    write_with_killed_children(save_index, path, len(before), before_kill, after_kill, ["half"])
