"""What commands read from standard input and write while they run, by the installed program."""

import json
import os
import shlex
import subprocess

import numpy as np
import pytest

import fasthash as fh
from command_line import PROGRAM
from fasthash.commands.search import _codes_of_lines
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
        _, ids = index.search(model.encode(x[i : i + 1].astype(float), "text"), 2)
        assert (answer["query"], answer["ids"]) == (i, ids[0].tolist())
    process.stdin.write("no list\n")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err == "fasthash: query 4 of standard input is no list of features: 'no list'\n"


def test_codes_of_standard_input(emoji, capsys):
    codes = np.load("image-codes.npy")[:2]
    lines = "\n".join(code.tobytes().hex() for code in codes) + "\n\nff"
    done = subprocess.run(
        [PROGRAM, "search", "emoji.index", "--codes", "-", "-k", "1", "--json"],
        input=lines, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(answer["distances"] == [0] for answer in answers)
    assert done.returncode == 1 and "no code of 64 bits, 16 hexadecimal digits: 'ff'" in done.stderr


def test_a_code_of_standard_input_has_no_spaces():
    code = _codes_of_lines(0, [b' "00ff"\n'], 16)
    assert code.tolist() == [[0, 255]]
    with pytest.raises(ValueError, match="query 1 of standard input is no code of 16 bits"):
        _codes_of_lines(0, [b"00 ff"], 16)


def test_a_reader_that_goes_away_is_no_error_to_shout_about(emoji):
    done = subprocess.run(
        f"{PROGRAM} search emoji.index --codes image-codes.npy | head -1",
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
