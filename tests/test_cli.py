"""The command line as a user runs it: real processes, their output and their exit status."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

import fasthash as fh
from fasthash import cli


def fasthash(*arguments, cwd, **environment):
    program = pathlib.Path(sys.executable).parent / "fasthash"
    return subprocess.run(
        [program, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=170,
        env={**os.environ, "PYTHONUTF8": "1", **environment},
    )


def test_the_package_runs_as_a_module(tmp_path):
    command = [sys.executable, "-m", "fasthash", "info", "none"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.returncode == 1 and done.stderr.startswith("fasthash: none: No such file")


def test_info(tmp_path):
    done = fasthash("info", cwd=tmp_path, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    assert f"fasthash {fh.__version__}" in done.stdout
    assert re.search(rf"instruction set used +{fh.simd_level()}", done.stdout)
    assert re.search(r"threads +1 of \d+ cores", done.stdout)
    assert "OpenMP" in done.stdout


def test_info_shows_a_forced_level(tmp_path):
    done = fasthash("info", cwd=tmp_path, FASTHASH_SIMD="scalar")
    assert re.search(r"instruction set used +scalar", done.stdout)


def test_demo(tmp_path):
    done = fasthash(
        *(
            "demo",
            "--bits",
            "16",
            "32",
            "--seeds",
            "2",
            "--query",
            "fruit",
            "--query",
            "<b>cat</b>",
        ),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if "±" in line]
    assert [row[0] for row in rows[1:]] == ["16", "32"]
    for row in rows[1:]:
        means = [float(cell) for cell in row[1:] if re.fullmatch(r"0\.\d{3}", cell)]
        amsh, baseline, chance = means[0:4:2], means[4:8:2], means[8]
        assert min(amsh) > max(baseline) > chance
    # A bar is for terminals, and not for files and pipes.
    assert done.stderr == ""
    page = (tmp_path / "fasthash-demo.html").read_text(encoding="utf-8")
    assert "“fruit”" in page and "&lt;b&gt;cat&lt;/b&gt;" in page and "<b>cat" not in page
    assert page.count('<span class="glyph"') == 24 and "url(data:image/webp;base64," in page
    assert "<svg" in page and "AMSH(" in page
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", page), "the page loads something"


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["demo", "--query", "xqzzv"], 1, "xqzzv"),
        (["demo", "--output", "no/such/folder.html"], 2, "no folder no"),
        (["demo", "--bits", "0"], 2, "not at least 1"),
        (["demo", "--seeds", "many"], 2, "is not a whole number"),
        ([], 2, "required"),
        (["indexes"], 2, "invalid choice"),
    ],
)
def test_errors_are_short(tmp_path, arguments, status, message):
    done = fasthash(*arguments, cwd=tmp_path)
    assert done.returncode == status
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    if status == 1:
        assert len(done.stderr.strip().splitlines()) == 1
        assert done.stderr.startswith("fasthash: ")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_extra_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert cli.main(["demo"]) == 1
    assert "pip install 'fasthash-retrieval[demo]'" in capsys.readouterr().err
