"""Files are written whole or not at all: by one function, which all that writes goes through."""

import ast
import pathlib

import pytest

import fasthash
from fasthash._core.files import replacing

PACKAGE = pathlib.Path(fasthash.__file__).parent

# Methods that write to a path, or move what was written there.
WRITING = {"write_text", "write_bytes", "tofile", "savetxt", "symlink_to", "replace_file"}


def writes(call):
    """Whether a call writes to a file by its path."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    of = getattr(getattr(call.func, "value", None), "id", "")
    # Members of an archive go to the file of the archive.
    if name == "open" and of not in {"os", "archive"}:
        modes = [*call.args[1:2], *(k.value for k in call.keywords if k.arg == "mode")]
        return any(isinstance(m, ast.Constant) and set(str(m.value)) & set("wxa+") for m in modes)
    if of == "os" and name in {"replace", "rename", "renames"}:
        return True
    if name in {"save", "savez", "savez_compressed", "save_file"} and of in {"np", "torch"}:
        # These take an open file, which is one that `replacing` gave, or add to a path's name.
        target = call.args[1 if of == "torch" else 0]
        return not (isinstance(target, ast.Name) and target.id == "file")
    return name in WRITING


def test_every_file_is_written_by_one_function():
    found = {
        f"{path.relative_to(PACKAGE).as_posix()}:{node.lineno}"
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and writes(node)
    }
    assert {place.rpartition(":")[0] for place in found} == {"_core/files.py"}, found


@pytest.mark.parametrize("synced", [True, False])
def test_what_fails_half_way_leaves_the_old_file_alone(tmp_path, synced):
    path = tmp_path / "x"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), replacing(path, synced=synced) as file:
        file.write(b"new")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    with replacing(path, synced=synced) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    from test_clsr_training import fit, make_clips

    views, pairs = make_clips(n=60)
    path = tmp_path / "run.pt"
    fit(views, pairs, checkpoint=path, parameters={"n_epochs": 1})
    before = path.read_bytes()

    def fail(state, file):
        file.write(b"half")
        raise OSError("the disk is full")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="the disk is full"):
        fit(views, pairs, checkpoint=path, parameters={"n_epochs": 1})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
