"""What commands read from standard input and write while they run, by the installed program."""

import json
import os
import shlex
import subprocess

import numpy as np
import pytest

import fasthash as fh
from command_line import PROGRAM
from fasthash.commands.streams import code_of_line
from fasthash.datasets import read_layout

pytest.importorskip("safetensors", reason="models are saved with safetensors")


def test_queries_of_standard_input_are_answered_as_they_come(emoji):
    test = read_layout("emoji/emoji.npz")["test"]
    index, model = fh.load("emoji.index"), fh.load("emoji.model")
    x = np.asarray(test.features["text"][:3])
    process = subprocess.Popen(
        [PROGRAM, *shlex.split("search emoji.index --model emoji.model --modality text -k 2 "
                               "--features - --format jsonl")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    for i, row in enumerate(x.tolist()):
        process.stdin.write(json.dumps(row) + "\n")
        process.stdin.flush()
        # Blocks for ever unless the answer comes before the end of the input.
        answer = json.loads(process.stdout.readline())
        _, ids = model.search(x[i : i + 1].astype(float), "text", index, 2)
        assert (answer["query"], answer["ids"]) == (i, ids[0].tolist())
    process.stdin.write("\nno list\n" + json.dumps(x[0].tolist()))
    out, err = process.communicate(timeout=60)
    # The line is reported, and the one after it has the number that it has without the bad one.
    assert json.loads(out)["query"] == 4
    assert process.returncode == 3
    assert err == "fasthash: line 5 of standard input: no list of features: 'no list'\n"


BAD_FEATURES = [
    "[1, 2]",
    "[]",
    "[[1, 2, 3]]",
    '["1", "2", "3"]',
    "[true, 2, 3]",
    "[NaN, 2, 3]",
    "[1e999, 2, 3]",
    f"[1{'0' * 400}, 2, 3]",
    "[" * 100_000,
    "\xff",
    "x" * 3_000_000,
]


def test_every_bad_line_is_reported_and_the_others_are_answered(tmp_path):
    index = fh.HammingIndex(3)
    index.add(fh.pack([[1.0, -1, 1], [-1.0, -1, 1]]))
    index.save(tmp_path / "i")
    good = "[0.5, -2, 3]"
    lines = [good, *(line for bad in BAD_FEATURES for line in (bad, good))]
    done = subprocess.run(
        [PROGRAM, "--quiet", *"search i --signs --features - -k 1 --json --no-weights".split()],
        input="\n".join(lines).encode("latin-1"), cwd=tmp_path, capture_output=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert answers == [
        {"query": i, "ids": [0], "distances": [0]} for i, line in enumerate(lines) if line == good
    ]
    reported = done.stderr.decode().splitlines()
    assert [int(line.split()[2]) for line in reported] == [
        i for i, line in enumerate(lines, 1) if line != good
    ]
    assert all(len(line) < 300 for line in reported)


def test_codes_of_standard_input(emoji, capsys):
    codes = np.load("image-codes.npy")[:2]
    lines = "\n".join(code.tobytes().hex() for code in codes) + "\n\nff"
    done = subprocess.run(
        [PROGRAM, "search", "emoji.index", "--codes", "-", "-k", "1", "--json"],
        input=lines, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(answer["distances"] == [0] for answer in answers)
    assert (done.returncode, done.stderr) == (
        3,
        "fasthash: line 4 of standard input: no code of 64 bits, 16 hexadecimal digits: 'ff'\n",
    )


def test_a_code_of_standard_input_has_no_spaces():
    assert code_of_line(b' "00ff"\n', 16).tolist() == [0, 255]
    with pytest.raises(ValueError, match="no code of 16 bits"):
        code_of_line(b"00 ff", 16)


def test_a_code_of_standard_input_has_no_padding_bits(tmp_path):
    index = fh.HammingIndex(12)
    index.add(fh.pack(np.ones((1, 12))))
    index.save(tmp_path / "i")
    done = subprocess.run(
        [PROGRAM, *"search i --codes - -k 1 --json".split()],
        input="fff0\nffff\nff00\n", cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(one["query"], one["distances"]) for one in answers] == [(0, [0]), (2, [4])]
    assert done.returncode == 3
    assert "line 2 of standard input: no code of 12 bits: its last 4 bits must be" in done.stderr


def test_a_reader_that_goes_away_is_no_error_to_shout_about(emoji):
    done = subprocess.run(
        f"{PROGRAM} search emoji.index --quiet --codes image-codes.npy | head -1",
        shell=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("query 0\n", "")


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo-terminal")
def test_progress_is_shown_on_a_terminal_only(emoji):
    import pty
    import termios

    pytest.importorskip("tqdm", reason="progress bars are drawn by tqdm")
    command = "fit --data emoji/emoji.npz --bits 8 --set n_anchors=50 --output m --force".split()
    for quiet in (False, True):
        master, terminal = pty.openpty()
        termios.tcsetwinsize(terminal, (24, 80))
        process = subprocess.Popen(
            [PROGRAM, *command, *["--quiet"] * quiet], stdout=subprocess.PIPE, stderr=terminal
        )
        os.close(terminal)
        shown = b""
        while True:
            try:
                piece = os.read(master, 4096)
            except OSError:
                break
            if not piece:
                break
            shown += piece
        os.close(master)
        assert process.wait(60) == 0
        process.stdout.close()
        # The first step is always drawn, later ones a tenth of a second apart.
        assert (b"features" in shown and b"%" in shown) is not quiet
        assert not quiet or shown == b""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full to write to")
@pytest.mark.parametrize("arguments", ["--help", "fit --help", "--version"])
def test_help_that_cannot_be_written_is_an_error(arguments):
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [PROGRAM, *arguments.split()], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 1 and done.stderr.startswith("fasthash: ")
    assert "No space left" in done.stderr and len(done.stderr.splitlines()) == 1
