"""Inputs that are odd, too few, too long or too deep: read rightly, or refused with a sentence."""

import json
import pathlib

import numpy as np
import pytest

import fasthash as fh
from command_line import result, run
from fasthash import cli
from fasthash.commands import serve
from fasthash.commands.printing import Printer

RNG = np.random.default_rng(0)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An index of 30 codes, and tables of text in several forms."""
    monkeypatch.chdir(tmp_path)
    codes = RNG.integers(0, 256, (30, 4), dtype=np.uint8)
    np.save("codes.npy", codes)
    index = fh.HammingIndex(32)
    index.add(codes)
    index.save("some.index")
    pathlib.Path("latin.csv").write_bytes("name,label\nM\xfcller,1\n".encode("latin-1"))
    pathlib.Path("semicolons.csv").write_text('name;label\n"a, b";1\nc;2\n')
    pathlib.Path("mixed.csv").write_text("na,me;label\na;1\n")
    pathlib.Path("commas.csv").write_text("a;b\n1,5;2,5\n")
    pathlib.Path("long.csv").write_text(f"name,label\n{'x' * 2_000_000},1\nb,2\n")
    pathlib.Path("few.txt").write_text("\n".join(map(str, range(7))))
    pathlib.Path("deep.json").write_text("[" * 100_000)
    pathlib.Path("deep.toml").write_text(f"a = {'[' * 100_000}")
    pathlib.Path("labels.csv").write_text("group,subgroup\n" + "a,b\n" * 30)
    return tmp_path


def test_more_neighbours_than_codes_are_all_codes(folder, capsys):
    out, _ = run(capsys, "search some.index --codes codes.npy --rows :1 -k 99999999999 --json")
    answer = json.loads(out)
    assert sorted(answer["ids"]) == list(range(30))
    x = "--features x.npy --signs --rerank x.npy"
    np.save("x.npy", RNG.standard_normal((30, 32)))
    out, _ = run(capsys, f"search some.index {x} --rows :1 -k 99999999999 --json")
    assert sorted(json.loads(out)["ids"]) == list(range(30))


def test_tables_in_other_forms_are_read_or_refused(folder, capsys):
    assert (
        "latin.csv cannot be read as csv: line 2 holds bytes that are not UTF-8"
        in run(capsys, "info latin.csv", status=1)[1]
    )
    held = result(capsys, "info semicolons.csv")["arrays"]
    assert held == {
        "name": {"shape": [2], "dtype": "text"},
        "label": {"shape": [2], "dtype": "int64"},
    }
    assert (
        "1 columns, and the first line has 2, separated by commas"
        in run(capsys, "info mixed.csv", status=1)[1]
    )
    _, err = run(capsys, "encode --method sign --features commas.csv --output c.npy", status=1)
    assert "holds '1,5', which is not a number" in err and "with digits and a decimal point" in err
    assert result(capsys, "info long.csv")["arrays"]["name"]["shape"] == [2]


@pytest.mark.parametrize("kind", ["json", "toml"])
def test_deep_configuration_is_refused(folder, capsys, kind):
    _, err = run(capsys, f"fit --config deep.{kind} --output m", status=1)
    assert err == f"fasthash: deep.{kind} is not valid {kind.upper()}: it is nested too deeply\n"


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("twice.json", '{"bits": 8, "bits": 16}', "not valid JSON: it gives 'bits' twice"),
        ("twice.json", '{"set": {"tol": 1, "tol": 2}}', "it gives 'tol' twice"),
        ("twice.json", '{"n_threads": 1, "n-threads": 2}', "gives --n-threads twice"),
        ("twice.toml", "n-threads = 1\nn_threads = 2", "gives --n-threads twice"),
        ("twice.toml", "bits = 1\nbits = 2", "not valid TOML"),
    ],
)
def test_a_configuration_that_gives_an_option_twice_is_refused(folder, capsys, name, text, says):
    pathlib.Path(name).write_text(text)
    assert says in run(capsys, f"fit --config {name} --output m", status=1)[1]


def test_few_names_are_noticed(folder, capsys):
    command = "search some.index --codes codes.npy --rows :1 -k 1 --names few.txt"
    _, err = run(capsys, command)
    assert err == (
        "--names has 7 rows, and the ids go up to 29: row i belongs to id i, so 23 items have "
        "none\n"
        "ranked by Hamming distance; the columns are Hamming distance and id\n"
    )
    assert run(capsys, f"--quiet {command}")[1] == ""
    options = "--names few.txt --labels few.txt"
    parsed = cli._parse(f"serve --index some.index {options}".split())
    serve._collection(parsed, Printer())
    err = capsys.readouterr().err
    assert "--names has 7 rows" in err and "--labels has 7 rows" in err


def test_two_columns_of_labels_are_refused(folder, capsys):
    pytest.importorskip("uvicorn", reason="serve needs uvicorn")
    labels = "--labels labels.csv:group labels.csv:subgroup"
    _, err = run(capsys, f"serve --index some.index {labels} --port 0", status=1)
    assert "names two columns of labels.csv" in err and "0/1 columns" in err
    np.savez("x.npz", a=RNG.standard_normal((30, 5)), b=RNG.standard_normal((30, 5)))
    _, err = run(capsys, f"fit --features a=x.npz:a b=x.npz:b {labels} --output m", status=1)
    assert "one source if they are a matrix of 0/1 columns" in err


def test_queries_are_drawn_if_there_are_none(folder, capsys):
    """As from a file of XAll, YAll and LAll."""
    y = np.arange(60) % 3
    x = {name: RNG.standard_normal((60, 5)) + y[:, None] for name in ("image", "text")}
    np.savez("all.npz", XAll=x["image"], YAll=x["text"], LAll=y)
    options = "--methods CCAITQ --bits 4 --seeds 2 --test-share 0.2"
    train = "--train image=all.npz:XAll text=all.npz:YAll --train-labels all.npz:LAll"
    drawn = result(capsys, f"evaluate {train} {options}")["scores"]
    assert drawn == result(capsys, f"evaluate --data all.npz {options}")["scores"]
    for more, message in (
        ("--models m", "--test is missing: saved models are scored on queries"),
        ("--test-labels all.npz:LAll", "--test-labels goes with --test"),
        ("--methods CCAITQ --bits 4 --test-share 1.5", "--test-share must be more than 0 and less"),
    ):
        assert message in run(capsys, f"evaluate {train} {more}", status=1)[1]


@pytest.mark.parametrize(("kind", "start"), [("picture", b"\x89PNG\r\n\x1a\n"), ("sound", b"fLaC")])
def test_files_that_cannot_be_read_are_noticed(folder, capsys, kind, start):
    """Such as those of a folder that is a link to elsewhere."""
    names = ["1.file", "link/0.file", "other/text.file"]
    for name in ("elsewhere/0.file", "shown/1.file", "shown/other/text.file"):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"text" if path.stem == "text" else start)
    (folder / "shown" / "link").symlink_to(folder / "elsewhere")
    # A link to the folder itself is no matter.
    (folder / "way").symlink_to(folder / "shown")
    pathlib.Path("names.txt").write_text("\n".join(names))
    for place in ("shown", "way"):
        pathlib.Path(place, "names.txt").write_text("\n".join(names))
        options = cli._parse(["serve", "--index", "some.index", f"--{kind}s", f"{place}/names.txt"])
        serve._gallery(options, np.arange(3), Printer())
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 2, lines
        for line, name in zip(lines, names[1:], strict=True):
            assert f"the {kind} {name!r} cannot be read" in line
            assert "a symbolic link on its path leads out" in line
