"""``fasthash duplicates``: groups printed, written and shown, against the library; refusals."""

import base64
import csv
import json
import os

import numpy as np
import pytest

import fasthash as fh
from command_line import result, run
from fasthash.codes import to_hex
from fasthash.datasets.readers import read_texts
from strategies import random_codes

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_hashes(n=60):
    """A table of names and hashes; rows 0, 5 and 9 are near to each other, and so are 3 and 4."""
    codes = random_codes(n, 64)
    codes[5], codes[9] = codes[0], codes[0]
    codes[5, 0] ^= 0b11
    codes[9, 7] ^= 0b1
    codes[4] = codes[3]
    with open("hashes.csv", "w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["file", "phash"])
        lines.writerows((f"p{i}.png", x) for i, x in enumerate(to_hex(codes)))
    return codes


def test_groups_are_those_of_the_library(folder, capsys):
    codes = write_hashes()
    out, err = run(capsys, "--json duplicates hashes.csv:phash --radius 3 --names hashes.csv:file")
    lines = [json.loads(line) for line in out.splitlines()]
    assert lines == [
        {
            **{"group": 0, "representative": 0, "rows": [0, 5, 9], "distances": [0, 2, 1]},
            "names": ["p0.png", "p5.png", "p9.png"],
        },
        {
            **{"group": 1, "representative": 3, "rows": [3, 4], "distances": [0, 0]},
            "names": ["p3.png", "p4.png"],
        },
    ]
    labels, _ = fh.duplicate_groups(codes, 3)
    assert (np.bincount(labels) > 1).sum() == 2
    assert "60 codes of 64 bits: 5 of them in 2 groups" in err and "3 would go" in err
    out, _ = run(capsys, "--quiet duplicates hashes.csv:phash --radius 3 --max-diameter 3")
    assert out.splitlines()[:4] == ["group 0  3 codes", "*    0  0", "     2  5", "     1  9"]
    np.save("codes.npy", codes)
    medoid = "--json duplicates codes.npy --radius 3 --representative medoid"
    assert json.loads(run(capsys, medoid)[0].splitlines()[0])["representative"] == 0
    equal = "--json --quiet duplicates codes.npy --radius 0"
    assert json.loads(run(capsys, equal)[0])["rows"] == [3, 4]


def test_no_duplicates_are_no_error(folder, capsys):
    np.save("codes.npy", random_codes(20, 64))
    out, err = run(capsys, "duplicates codes.npy --radius 0")
    assert out == "" and "0 of them in 0 groups" in err


def test_a_table_and_a_page_are_written(folder, capsys):
    write_hashes()
    os.mkdir("pictures")
    for row in (0, 3, 5):
        (folder / "pictures" / f"p{row}.png").write_bytes(PNG)
    said = result(
        capsys,
        "duplicates hashes.csv:phash --radius 3 --names hashes.csv:file --output groups.csv "
        "--page page.html --pictures pictures",
    )
    assert said == {"codes": 60, "bits": 64, "groups": 2, "in_groups": 5}
    with open("groups.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["group"], row["name"], row["distance"]) for row in rows] == [
        *(("0", "p0.png", "0"), ("0", "p5.png", "2"), ("0", "p9.png", "1")),
        *(("1", "p3.png", "0"), ("1", "p4.png", "0")),
    ]
    page = (folder / "page.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64") == 3 and "p9.png" in page and "http" not in page


def test_a_page_holds_no_file_from_outside_of_the_folder(folder, capsys):
    codes = np.zeros((2, 8), np.uint8)
    np.save("codes.npy", codes)
    os.mkdir("pictures")
    (folder / "pictures" / "a.png").write_bytes(PNG)
    (folder / "secret.png").write_bytes(PNG)
    command = "duplicates codes.npy --radius 0 --page page.html --names n.txt --pictures pictures"
    (folder / "pictures" / "b.png").symlink_to(folder / "secret.png")
    for name, message in (
        ("../secret.png", "is not in"),
        (str(folder / "secret.png"), "is not in"),
        ("b.png", "a symbolic link leads from the file 'b.png' out of"),
    ):
        (folder / "n.txt").write_text(f"a.png\n{name}\n")
        _, err = run(capsys, command, status=1)
        assert message in err and "copy it there" in err
        assert not (folder / "page.html").exists()
    (folder / "n.txt").write_text("a.png\nnone/a.png\n")
    run(capsys, command)
    assert (folder / "page.html").read_text(encoding="utf-8").count("data:image/png;base64") == 1


def test_a_tsv_file_has_tabs_and_a_page_says_a_diameter_of_zero(folder, capsys):
    write_hashes()
    equal = "duplicates hashes.csv:phash --radius 0 --max-diameter 0"
    run(capsys, f"{equal} --output groups.tsv --page page.html")
    assert read_texts("groups.tsv:row").tolist() == ["3", "4"]
    assert "<td>0</td>" in (folder / "page.html").read_text(encoding="utf-8").split("diameter")[1]


def test_what_is_refused(folder, capsys):
    write_hashes()
    before = (folder / "hashes.csv").read_bytes()
    for options, message in (
        ("--output hashes.csv --force", "--output hashes.csv is the file of"),
        ("--names hashes.csv:file --max-diameter 2", "--max-diameter 2 is less than --radius 3"),
        ("--pictures .", "--pictures goes with --page and --names"),
        ("--format jsonl --output groups.csv", "--format is for groups that are printed"),
        ("--page p.html --names hashes.csv:file --pictures none", "there is no folder none"),
    ):
        _, err = run(capsys, f"duplicates hashes.csv:phash --radius 3 {options}", status=1)
        assert message in err
    np.save("names.npy", np.arange(5))
    _, err = run(capsys, "duplicates hashes.csv:phash --radius 3 --names names.npy", status=1)
    assert "--names has 5 rows, and hashes.csv:phash has 60 codes" in err
    _, err = run(capsys, "duplicates hashes.csv:phash", status=2)
    assert "--radius" in err
    assert (folder / "hashes.csv").read_bytes() == before
