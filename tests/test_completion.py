"""Scripts for shells, in the shells: commands, options, choices and files are completed."""

import os
import pathlib
import re
import select
import shutil
import subprocess

import pytest

from fasthash import cli
from fasthash.commands import completion

pytest.importorskip("shtab", reason="completion scripts need shtab")

# What is typed, of which the last word is completed, and what may follow; None where many may.
ASKED = [
    (["e"], {"encode", "evaluate"}),
    (["index", ""], {"build", "add", "remove", "info", "verify"}),
    (["encode", "--method", ""], {"sign", "itq", "rreh"}),
    (["index", "build", "--co"], {"--codes", "--columns"}),
    (["evaluate", "--methods", "AMSH", "CC"], {"CCAITQ"}),
    (["search", "emo"], {"emoji.index"}),
    (["encode", "--features", "emo"], {"emoji.index"}),
    (["demo", "--files", "fol"], {"folder"}),
]

ASK_BASH = """
source "$1"; shift
COMP_WORDS=(fasthash "$@"); COMP_CWORD=$#
complete -p fasthash > /dev/null || exit 1
_shtab_fasthash fasthash "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch, capsys):
    """A folder with the scripts, a file and a folder to be completed."""
    monkeypatch.chdir(tmp_path)
    for shell in completion.SHELLS:
        assert cli.main(["completion", shell]) == 0
        pathlib.Path(f"script.{shell}").write_text(capsys.readouterr().out, encoding="utf-8")
    pathlib.Path("emoji.index").touch()
    pathlib.Path("folder").mkdir()
    return tmp_path


def ask(shell, *arguments):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    environment = {"PATH": os.environ["PATH"], "HOME": str(pathlib.Path.cwd()), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        [shell, *arguments], env=environment, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize(("words", "expected"), ASKED, ids=[" ".join(words) for words, _ in ASKED])
def test_bash(folder, words, expected):
    found = ask("bash", "--norc", "-c", ASK_BASH, "bash", "script.bash", *words)
    assert set(found) == expected


@pytest.mark.parametrize(("words", "expected"), ASKED, ids=[" ".join(words) for words, _ in ASKED])
def test_fish(folder, words, expected):
    if len(words) == 4:
        pytest.skip("shtab completes the first of several values only in fish")
    found = ask("fish", "-c", f"source script.fish; complete -C 'fasthash {' '.join(words)}'")
    assert {line.split("\t")[0].rstrip("/") for line in found} == expected


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo-terminal")
def test_zsh(folder):
    """Completes only for somebody who types: in a terminal, one candidate at the press of a key."""
    import pty

    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed")
    pathlib.Path("script.zsh").rename("_fasthash")
    master, terminal = pty.openpty()
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "TERM": "xterm"}
    zsh = subprocess.Popen(
        ["zsh", "-f", "-i"], stdin=terminal, stdout=terminal, stderr=terminal, env=environment
    )
    os.close(terminal)
    try:
        os.write(
            master, b"fpath=($PWD $fpath); autoload -Uz compinit; compinit -u -D; print rea''dy\n"
        )
        read_until(master, b"ready")
        for typed, completed in ((b"fasthash enc", b"encode "), (b"--meth", b"--method ")):
            os.write(master, typed + b"\t")
            read_until(master, completed)
    finally:
        zsh.kill()
        zsh.wait()
        os.close(master)


def read_until(terminal, expected):
    """What is drawn letter by letter, and in colours, comes without them."""
    shown = b""
    while expected not in re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]|\x08", b"", shown):
        ready, _, _ = select.select([terminal], [], [], 30)
        assert ready, shown
        shown += os.read(terminal, 4096)


def test_a_missing_shtab_is_named(capsys, monkeypatch):
    monkeypatch.setattr(completion, "find_spec", lambda name: None)
    assert cli.main(["completion", "bash"]) == 1
    err = capsys.readouterr().err
    assert "pip install 'fasthash-retrieval[completion]'" in err and err.count("\n") == 1
