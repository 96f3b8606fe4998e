"""The report: what it says against the library, nothing loaded or unescaped, drawn by Chromium."""

import html
import pathlib
import re

import numpy as np
import pytest

import fasthash as fh
from browser import accessibility_faults, chromium, overflows
from fasthash import cli
from fasthash.datasets import read_layout
from fasthash.pages.charts import chart, draw_curves
from fasthash.pages.report import _label_name

pytest.importorskip("matplotlib", reason="charts are drawn by matplotlib")
pytest.importorskip("safetensors", reason="models are saved with safetensors")


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A folder with a report on two models, and the report."""
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for command in (
            "demo --files emoji",
            "fit --data emoji/emoji.npz --bits 16 --set n_anchors=200 --output amsh",
            "fit --method CCAITQ --data emoji/emoji.npz --bits 24 --output <b>cca",
        ):
            assert cli.main(["--quiet", *command.split()]) == 0
        lines = (folder / "emoji/test.csv").read_text(encoding="utf-8").split("\n")
        lines[1] = "<script>alert(1)</script>," + lines[1].split(",", 1)[1]
        (folder / "emoji/test.csv").write_text("\n".join(lines), encoding="utf-8")
        command = (
            "report --data emoji/emoji.npz --models amsh <b>cca --names emoji/train.csv:name "
            "--pictures emoji/train.csv:picture --query-names emoji/test.csv:name --examples 40 "
            "--query-pictures emoji/test.csv:picture --label-names emoji/labels.txt --output r.html"
        )
        assert cli.main(["--quiet", *command.split()]) == 0
    return folder, (folder / "r.html").read_text(encoding="utf-8")


def test_scores_are_those_of_the_library(report):
    folder, page = report
    parts = read_layout(folder / "emoji/emoji.npz")
    model = fh.load(folder / "<b>cca")
    codes = model.encode(parts["test"].features["text"], "text")
    labels = parts["test"].labels, parts["train"].labels
    score = fh.mean_average_precision(codes, model.codes_["image"], *labels, ties="expected")
    cells = [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>.*?</tr>", page)]
    row = next(row for row in cells if row and row[0] == "&lt;b&gt;cca")
    assert row[1] == "24" and row[3] == f"{score:.3f}"
    assert ["flags", "68"] in [row[:2] for row in cells]


def test_models_are_compared_query_by_query(report):
    folder, page = report
    parts = read_layout(folder / "emoji/emoji.npz")
    scores = []
    for name in ("<b>cca", "amsh"):
        model = fh.load(folder / name)
        codes = model.encode(parts["test"].features["text"], "text")
        problem = codes, model.codes_["image"], parts["test"].labels, parts["train"].labels
        scores.append(fh.average_precision(*problem))
    found = fh.metrics.compare_paired(*scores)
    cell = f"{found.difference:+.3f} ({found.low:+.3f} to {found.high:+.3f})"
    assert f"<td>{cell}</td>" in page and "Difference from amsh" in page


def test_what_is_relevant_is_marked(report):
    folder, page = report
    parts = read_layout(folder / "emoji/emoji.npz")
    model = fh.load(folder / "amsh")
    rows = np.linspace(0, len(parts["test"].labels) - 1, 40).astype(int)
    codes = model.encode(parts["test"].features["image"][rows], "image")
    _, ids = fh.topk(codes, model.codes_["text"], 10)
    shared = (parts["test"].labels[rows, None] & parts["train"].labels[ids]).any(axis=2)
    section = page.split("<summary>image to text</summary>")[1].split("</details>")[0]
    marks = np.array(["other" in item for item in re.findall(r"<li[^>]*>", section)])
    np.testing.assert_array_equal(marks.reshape(shared.shape), ~shared)


def test_nothing_is_loaded_and_nothing_unescaped(report):
    _, page = report
    assert len(page) < 1_500_000
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", page)
    assert "<script" not in page and "&lt;script&gt;alert(1)" in page and "<b>cca" not in page
    # Two directions: precision by recall and by rank, distances; and two charts of each database.
    assert page.count("<svg") == 2 + 2 + 2 + 4
    names = re.findall(r' id="([^"]+)"', page)
    used = set(re.findall(r"url\(#([^)]+)\)|href=\"#([^\"]+)\"", page))
    assert {a or b for a, b in used} <= set(names)
    for term in (
        "precision over recall",
        "AMSH(beta=0.01, ",
        "seeds",
        "time to score and draw",
        fh.__version__,
    ):
        assert term in html.unescape(page)


def test_without_captions_and_with_class_numbers(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    x = np.eye(3)[y] + 0.1 * rng.random((60, 3))
    np.savez("a.npz", I_tr=x[:40], T_tr=x[:40], L_tr=y[:40], I_te=x[40:], T_te=x[40:], L_te=y[40:])
    for command in ("fit --data a.npz --bits 8 --output m", "report --data a.npz --models m"):
        assert cli.main(command.split()) == 0, capsys.readouterr().err
    assert "<td>2</td>" in (tmp_path / "fasthash-report.html").read_text(encoding="utf-8")
    # Pictures are those of any modality that is no text.
    pathlib.Path("dot.gif").write_bytes(b"GIF89a dot")
    pathlib.Path("dots.txt").write_text("dot.gif\n" * 20)
    command = (
        "fit --features photo=a.npz:I_tr text=a.npz:T_tr --labels a.npz:L_tr --bits 8 --output p",
        "report --train photo=a.npz:I_tr text=a.npz:T_tr --train-labels a.npz:L_tr "
        "--test photo=a.npz:I_te text=a.npz:T_te --test-labels a.npz:L_te --models p --examples 3 "
        "--query-pictures dots.txt --output p.html",
    )
    for one in command:
        assert cli.main(one.split()) == 0, capsys.readouterr().err
    page = (tmp_path / "p.html").read_text(encoding="utf-8")
    assert [part.count("<img") for part in page.split("<details")[1:]] == [3, 0]
    pathlib.Path("out.txt").write_text(f"../{tmp_path.name}/dot.gif\n../dot.gif\n" * 10)
    refused = command[1].replace("dots.txt", "out.txt").replace("p.html", "q.html")
    assert cli.main(refused.split()) == 1
    assert "the file '../dot.gif' is not in" in capsys.readouterr().err
    assert cli.main("report --data a.npz --models m m --output q.html".split()) == 1
    assert "names m twice" in capsys.readouterr().err
    np.savez("b.npz", I_tr=x[:9], T_tr=x[:9], L_tr=y[:9], I_te=x[40:], T_te=x[40:], L_te=y[40:])
    assert cli.main("report --data b.npz --models m --output q.html".split()) == 1
    assert "has learned from 40 image samples, and there are 9" in capsys.readouterr().err


def test_three_modalities_have_a_chart_for_each_direction(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    np.save("y.npy", y)
    for name in ("image", "text", "audio"):
        np.save(f"{name}.npy", np.eye(3)[y] + 0.1 * rng.random((90, 3)))
    views = "image=image.npy text=text.npy audio=audio.npy"
    for command in (
        f"fit --features {views} --labels y.npy --bits 8 --output a$b$",
        f"report --train {views} --train-labels y.npy --test {views} --test-labels y.npy "
        "--models a$b$ --examples 1 --output r.html",
    ):
        assert cli.main(command.split()) == 0, capsys.readouterr().err
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", page)
    directions = re.findall(r"<summary>(.*?)</summary>", page)
    assert len(set(directions)) == 6 and captions[:18] == 3 * directions
    assert captions[18:] == [f"codes of {x}" for x in ("text", "audio", "image") for _ in range(2)]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1000, 380], ids=["desktop", "phone"])
def test_chromium_draws_it_without_an_error(report, tmp_path, width, scheme):
    folder, _ = report
    with chromium(width, 2000, scheme) as page:
        page.get((folder / "r.html").as_uri())
        assert not overflows(page)
        assert accessibility_faults(page) == []
        assert all(chart.size["width"] > 300 for chart in page.find_elements("tag name", "svg"))
        drawn = "return [...document.images].every((one) => one.naturalWidth > 0)"
        assert page.execute_script(drawn) and page.find_elements("tag name", "img")
        assert page.save_screenshot(str(tmp_path / "page.png"))
    # A page that is blank takes a few kilobytes.
    assert (tmp_path / "page.png").stat().st_size > 30_000


def test_each_curve_has_its_name_in_the_legend():
    pytest.importorskip("matplotlib", reason="charts are drawn by matplotlib")
    names = ["_first", "<b>$2", "50 " * 30]
    svg = chart(lambda axes: draw_curves(axes, [(name, [0, 1], [0, 1]) for name in names]), "many")
    written = [html.unescape(one) for one in re.findall(r"<text[^>]*>([^<]*)</text>", svg)]
    assert {"_first", "<b>$2"} <= set(written)
    assert any(len(one) == 40 and one.endswith("…") for one in written)


def test_a_negative_label_is_not_the_last_one():
    assert [_label_name(label, ["a", "b"]) for label in (0, 1, -1, 2)] == ["a", "b", "-1", "2"]
