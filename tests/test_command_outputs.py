"""No command replaces an input, a file of another kind, or a file at all without --force."""

import argparse
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from command_line import run
from fasthash import cli
from fasthash.commands.outputs import OutputFile

pytest.importorskip("safetensors", reason="models are saved with safetensors")

PAIRS = "--features a=pairs.npz:a b=pairs.npz:b"
WRITERS = {
    "encode": ("encode --method sign --features e.npy --output {}", "--features"),
    "encode-pairs": (f"encode --method rreh --bits 8 {PAIRS} --output {{}}", "--features"),
    "save-model": (
        "encode --method itq --bits 8 --features e.npy --save-model {} --output c.npy",
        "--features",
    ),
    "fit": (f"fit --method CCAITQ --bits 4 {PAIRS} --output {{}}", "--features"),
    "index": ("index build {} --codes codes.npy", "--codes"),
    "evaluate": (
        "evaluate --data data.npz --methods CCAITQ --bits 4 --seeds 1 --output {}",
        "--data",
    ),
    "report": ("report --data data.npz --models m.model --output {}", "--models"),
    "duplicates": ("duplicates codes.npy --radius 0 --output {}", "SOURCE"),
}
# Of each writer: the name of what it writes, and of one input.
NAMES = {
    "encode": ("x.npy", "e.npy"),
    "encode-pairs": ("x.npz", "pairs.npz"),
    "save-model": ("x.model", "e.npy"),
    "fit": ("x.model", "pairs.npz"),
    "index": ("x.index", "codes.npy"),
    "evaluate": ("x.json", "data.npz"),
    "report": ("x.html", "m.model"),
    "duplicates": ("x.csv", "codes.npy"),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    import fasthash as fh

    folder = tmp_path_factory.mktemp("outputs")
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((30, 8)), rng.integers(0, 3, 30)
    np.save(folder / "e.npy", x)
    np.save(folder / "codes.npy", rng.integers(0, 256, (30, 3), dtype=np.uint8))
    np.savez(folder / "pairs.npz", a=x, b=x[:, :6] + y[:, None])
    arrays = {f"{k}_{part}": v for k, v in (("I", x), ("T", x), ("L", y)) for part in ("tr", "te")}
    np.savez(folder / "data.npz", **arrays)
    fh.CCAITQ(4, random_state=0).fit({"image": x, "text": x}).save(folder / "m.model")
    (folder / "table.csv").write_text("name,label\nx,1\n")
    (folder / "notes").write_text("mine")
    return folder


@pytest.fixture
def folder(made, tmp_path, monkeypatch):
    for path in made.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder):
    return {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def refuses(capsys, folder, command, message):
    before = contents(folder)
    _, err = run(capsys, command, status=1)
    assert message in err and err.count("\n") == 1
    assert contents(folder) == before


def needs(name):
    if name == "report":
        pytest.importorskip("matplotlib", reason="the report needs matplotlib")


def test_a_link_into_a_missing_folder_is_refused(folder, capsys):
    np.save("few.npy", np.zeros((2, 8), np.uint8))
    os.symlink(folder / "missing" / "a.index", "a.index")
    _, err = run(capsys, "index build a.index --codes few.npy --bits 64", status=2)
    assert "there is no folder" in err and "missing" in err
    assert not os.path.exists("missing")


@pytest.mark.parametrize("name", WRITERS)
def test_an_input_is_never_replaced(folder, capsys, name):
    needs(name)
    command, option = WRITERS[name]
    given = NAMES[name][1]
    os.symlink(given, "link")
    os.link(given, "hard")
    for spelling in (given, f"./{given}", "link", "hard", str(folder / given)):
        refuses(capsys, folder, f"{command.format(spelling)} --force", f"is the file of {option}")


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_of_another_kind_is_never_replaced(folder, capsys, name):
    needs(name)
    command, _ = WRITERS[name]
    suffix = pathlib.Path(NAMES[name][0]).suffix
    others = {"codes.npy": "array", "m.model": "model", "table.csv": "table", "notes": "no known"}
    for other, kind in others.items():
        if other not in command and not other.endswith(suffix):
            refuses(capsys, folder, f"{command.format(other)} --force", kind)


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_of_the_same_kind_needs_force(folder, capsys, name):
    needs(name)
    command, written = WRITERS[name][0], NAMES[name][0]
    run(capsys, command.format(written))
    pathlib.Path("c.npy").unlink(missing_ok=True)
    refuses(capsys, folder, command.format(written), "pass --force to replace it")
    run(capsys, f"{command.format(written)} --force")
    # An empty file holds nothing that could be lost.
    pathlib.Path(written).write_bytes(b"")
    pathlib.Path("c.npy").unlink(missing_ok=True)
    run(capsys, command.format(written))
    assert pathlib.Path(written).stat().st_size


def test_a_text_has_a_name_by_which_it_is_known_again(folder, capsys):
    for name, wrong in (("evaluate", "x.csv"), ("report", "x.txt")):
        needs(name)
        suffix = pathlib.Path(NAMES[name][0]).suffix
        refuses(capsys, folder, WRITERS[name][0].format(wrong), f"a name that ends in {suffix}")
    refuses(capsys, folder, "duplicates codes.npy --radius 0 --output x", "that ends in .csv")
    for suffix in (".csv", ".TSV", ".txt", ".mat"):
        command = f"encode --method sign --features e.npy --output x{suffix}"
        refuses(capsys, folder, command, f"x{suffix} would be a .npy array: its name must not end")


def test_two_outputs_are_two_files(folder, capsys):
    command = "encode --method itq --bits 8 --features e.npy --save-model x --output ./x"
    refuses(capsys, folder, command, "is the file of --save-model")


def test_the_demo_replaces_no_files_of_the_user(folder, capsys):
    pathlib.Path("train.csv").write_text("mine\n")
    refuses(capsys, folder, "demo --files .", "train.csv exists")
    pathlib.Path("train.csv").unlink()
    pathlib.Path("pictures").mkdir()
    pathlib.Path("pictures/0.png").write_bytes(b"\xff\xd8\xff jpeg")
    refuses(capsys, folder, "demo --files . --force", "0.png exists and is of no known format")
    for option in ("--query cat", "--bits 32", "--seeds 2", "--output page.html"):
        name = option.split()[0]
        refuses(capsys, folder, f"demo --files new {option}", f"{name} goes with the page")
    assert not pathlib.Path("new").exists()


def test_devices_are_not_replaced(folder, capsys):
    if os.name == "nt":
        pytest.skip("Windows has no FIFOs")
    os.mkfifo("fifo")
    command = WRITERS["encode"][0].format("fifo")
    assert "no file that can be replaced" in run(capsys, f"{command} --force", status=1)[1]


def test_a_model_is_no_other_safetensors_file(folder, capsys):
    from safetensors.numpy import save_file

    save_file({"weight": np.zeros(3)}, "weights")
    command = WRITERS["fit"][0].format("weights")
    refuses(capsys, folder, f"{command} --force", "safetensors file, which is no model of fasthash")


def test_every_command_that_writes_can_be_forced():
    """And says so: `check_outputs` asks for the option."""
    parsers, found = [cli._parser()], set()
    while parsers:
        parser = parsers.pop()
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                parsers += action.choices.values()
            if isinstance(action.type, OutputFile):
                found.add(parser.prog)
                assert "--force" in parser._option_string_actions
    assert found == {
        f"fasthash {name}"
        for name in ("demo", "duplicates", "encode", "evaluate", "fit", "index build", "report")
    }


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
from fasthash.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(os.name == "nt", reason="needs limits of a process")
@pytest.mark.parametrize("name", ["encode", "encode-pairs", "fit", "index", "evaluate"])
def test_a_file_that_cannot_be_written_whole_is_named(folder, name):
    """A process that may write 100 bytes to a file, like one whose disk is full."""
    command, written = WRITERS[name][0], NAMES[name][0]
    before = contents(folder)
    arguments = ["--quiet", *command.format(written).split()]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *arguments], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"fasthash: {written}: File too large\n"
    pathlib.Path("x.index.lock").unlink(missing_ok=True)
    assert contents(folder) == before
