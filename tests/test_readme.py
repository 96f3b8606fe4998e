"""README and pages keep their word: two commands, code that runs, no foreign package."""

import csv
import pathlib
import re

import numpy as np
import pytest
from scipy.io import wavfile

from command_line import run

README = pathlib.Path(__file__).parents[1] / "README.md"
DOCS = README.parent / "docs"


@pytest.fixture(scope="module")
def readme():
    return README.read_text(encoding="utf-8")


def test_it_opens_with_two_commands(readme):
    first_block = re.search(r"```\n(.*?)```", readme, re.DOTALL).group(1)
    setup = 'python3 -m venv .venv && .venv/bin/pip install ".[{}]" && .venv/bin/{}'
    assert first_block.splitlines() == [
        setup.format("demo", "fasthash demo"),
        setup.format("test", "pytest"),
    ]


def test_its_python_runs(readme, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    blocks = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    assert len(blocks) >= 2
    for block in blocks:
        exec(compile(block, str(README), "exec"), names)
    assert names["score"] == pytest.approx(0.90, abs=0.01)


def run_blocks(page, **names):
    """Run a page's Python from top to bottom, where it stands, with these names to start from."""
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert blocks, f"{page} has no Python to run"
    for block in blocks:
        exec(compile(block, str(page), "exec"), names)
    return names


def pages_with_python():
    pages = [README.with_name("CONTRIBUTING.md"), *DOCS.glob("**/*.md")]
    return {page for page in pages if page.exists() and "```python" in page.read_text("utf-8")}


# What a page needs that not every installation has.
NEEDS = {
    "files.md": ["safetensors", "pyarrow"],
    "sounds-and-captions.md": ["torch"],
    "duplicates.md": ["PIL", "imagehash"],
    "distributed.md": ["dask.array", "distributed"],
    "sharded-index.md": ["dask.array", "distributed", "pyarrow", "safetensors"],
}


@pytest.fixture
def run_page(tmp_path, monkeypatch):
    def run(name):
        for module in NEEDS.get(pathlib.Path(name).name, []):
            pytest.importorskip(module, reason=f"{name} needs {module}")
        monkeypatch.chdir(tmp_path)
        return run_blocks(DOCS / name)

    return run


def test_the_python_of_every_page_is_run():
    # The page on C, whose Python is a setup.py and what uses it, runs in test_c_interface.py, and
    # the tutorial on photos, whose Python is files, in test_photos_tutorial.py.
    here = pathlib.Path(__file__).read_text(encoding="utf-8")
    run = set(re.findall(r'run_page\("([^"]+)"\)', here)) | {
        "calling-from-c.md",
        "tutorials/photos-and-captions.md",
    }
    assert {page.relative_to(DOCS).as_posix() for page in pages_with_python()} == run


def test_the_tour_runs(run_page):
    names = run_page("index.md")
    assert all("face" in name for name in names["names"])
    assert 0.88 < names["score"] < 0.92
    assert len(names["first"]) >= 1


def test_the_tutorial_on_embeddings_runs(run_page):
    names = run_page("tutorials/embeddings-to-codes.md")
    assert names["by_codes"] == pytest.approx(0.714, abs=0.01)
    assert names["with_weights"] == pytest.approx(0.742, abs=0.01)
    assert names["in_two_stages"] == pytest.approx(0.967, abs=0.005)
    assert names["signs"].shape == (1437, 24)


def test_the_tutorial_on_sounds_runs(run_page, tmp_path, capfd):
    write_clips(tmp_path / "clips")
    names = run_page("tutorials/sounds-and-captions.md")
    printed = capfd.readouterr()
    assert len(set(re.findall(r"'(\d+\.wav)'", printed.out))) == 10
    assert "R@1/5/10" in printed.err
    assert names["found"] > 0.5
    # Captions that name the pitch find sounds near it.
    text = names["encoder"].transform(["pitch2 about4", "pitch9 about19"])
    _, ids = names["model"].search(text, "text", names["codes"], k=10, latents=names["latents"])
    low, high = ids.mean(axis=1)
    assert low < 45 < 75 < high


def test_the_tutorial_on_sharded_indexes_runs(run_page):
    names = run_page("tutorials/sharded-index.md")
    assert names["served"].shard_sizes == [477, 477, 476, 476]
    assert sorted(path.name for path in pathlib.Path("codes").iterdir()) == [
        f"{part}.parquet" for part in range(4)
    ]
    emoji = names["emoji"]
    order = [row for part in range(4) for row in range(part, len(emoji.names), 4)]
    assert any("heart" in emoji.names[order[i]] for i in names["ids"][0])
    assert names["score"] > 0.8


def test_the_page_on_sharded_indexes_runs(run_page):
    names = run_page("reference/distributed.md")
    assert names["ids"].shape == (5, 10) and (names["distances"][:, 0] == 0).all()


def test_the_tutorial_on_duplicates_runs(run_page, capsys):
    names = run_page("tutorials/duplicates.md")
    assert len(names["representatives"]) == pytest.approx(761, abs=10)
    found, n_mixed = names["measure"](names["labels"])
    assert all(found[kind] > 0.95 for kind in ("smaller", "darker", "paler", "jpeg"))
    assert found["shifted"] < 0.1 and n_mixed < 12
    run(
        capsys,
        "duplicates hashes.csv:phash --radius 24 --names hashes.csv:file --page p.html "
        "--pictures pictures",
    )
    assert "data:image/png" in pathlib.Path("p.html").read_text(encoding="utf-8")


def test_the_page_on_amsh_runs(run_page):
    assert run_page("amsh.md")["ids"].shape == (1, 5)


def test_the_page_on_rreh_runs(run_page):
    names = run_page("rreh.md")
    assert len(names["split"].pairs) == 144
    assert names["ids"].shape == (469, 10)


def test_the_page_on_baselines_runs(run_page):
    names = run_page("baselines.md")
    assert names["ids"][:, 0].tolist() == [0, 1, 2]
    emoji = names["emoji"]
    groups = [emoji.group_names[emoji.groups[emoji.train][row]] for row in names["birds"][0]]
    assert groups.count("animals-nature") > 2


def test_the_page_on_measures_runs(run_page, capsys):
    found = run_page("metrics.md")["found"]
    assert found.low < found.difference < found.high and found.n_queries == 469
    assert "from" in capsys.readouterr().out


def test_the_page_on_neighbours_runs(run_page):
    assert run_page("reference/neighbors.md")["labels"].shape == (1000,)


def test_the_python_on_serving_runs(run_page):
    names = run_page("serving.md")
    assert names["features"](["dog"]).shape == (1, 192)


def test_the_python_on_files_runs(run_page):
    names = run_page("files.md")
    codes = names["index"].codes
    expected = np.vstack([codes, codes, codes, names["signed"].view(np.uint8) ^ 128])
    np.testing.assert_array_equal(names["other"].codes, expected)
    assert names["model"].transform(np.eye(256)).shape == (256, 16)


def write_clips(folder):
    """Tones from low to high with captions, which tell of the pitch and of what is not there."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    time = np.arange(3200) / 16_000
    with open(folder / "captions.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "caption"])
        for i in range(120):
            pitch = 100 * 2 ** (i / 20)
            tone = np.sin(2 * np.pi * pitch * time) + 0.1 * rng.standard_normal(len(time))
            wavfile.write(folder / f"{i:03}.wav", 16_000, tone.astype(np.float32))
            for _ in range(2):
                words = [
                    f"pitch{i // 10}",
                    f"about{i // 5}",
                    *(f"word{k}" for k in rng.integers(150, size=4)),
                ]
                table.writerow([f"{i:03}.wav", "a plucked string, " + " ".join(words)])


def told_to_install(text):
    """The first thing that each `pip install` in a text installs, also where strings are joined."""
    joined = re.sub(r"""["'][ \t]*\n[ \t]*f?["']""", "", text)
    return re.findall(r"pip install (?:-\S+ )*\\?[\"']?([\w.-]+)", joined)


def test_nobody_is_told_to_install_somebody_elses_package():
    assert told_to_install('"pip install -U "\n    \'"fasthash[models]"\'') == ["fasthash"]
    root = README.parent
    pages = [*root.glob("*.md"), *root.glob("docs/**/*.md"), *root.glob("benchmarks/*.md")]
    sources = [*root.glob("fasthash/**/*.py"), *root.glob("fasthash/serving/*.*")]
    told = {page: told_to_install(page.read_text(encoding="utf-8")) for page in [*pages, *sources]}
    assert len(told) > 100
    # Each of these names our package at least once; some break the line before the name.
    for name in ("audio.py", "commands/serve.py", "models/_saving.py", "models/clsr/estimator.py"):
        assert "fasthash-retrieval" in told[root / "fasthash" / name], name
    assert sum(names.count("fasthash-retrieval") for names in told.values()) >= 15
    for page, names in told.items():
        assert "fasthash" not in names, page


def test_the_filter_of_the_page_on_indexes_finds_even_ids_only(run_page):
    names = run_page("reference/indexes.md")
    assert names["ids"].shape == (5, 10) and (names["ids"] % 2 == 0).all()


def test_the_page_on_weighted_queries_runs(run_page):
    names = run_page("weighted-queries.md")
    assert names["rows"].tolist() == names["ids"].tolist()
    assert (names["ids"][:, 0] == [0, 1, 2]).all()
    codes = names["fh"].pack([[-1.0, -1, 1, 1], [1, 1, 1, 1]])
    scores, _ = names["fh"].topk_weighted([[0.1, -2.0, 0.9, 1.2]], codes, 2)
    np.testing.assert_allclose(scores, [[4.0, 0.2]], atol=0.05)
    assert names["kept"] >= 0.93


def test_the_page_on_a_recall_keeps_it(run_page):
    names = run_page("approximate-search.md")
    index, queries = names["index"], names["queries"]
    for options in ({}, {"filter": names["some"]}):
        exact = index.search(queries, k=10, **options)[1]
        found = index.search(queries, k=10, recall=0.95, **options)[1]
        shares = [np.isin(a, b).mean() for a, b in zip(exact, found, strict=True)]
        assert np.mean(shares) >= 0.94
    assert names["calibration"].lower >= 0.95


def test_the_page_on_several_codes_runs(run_page):
    names = run_page("several-codes.md")
    assert names["rows"].tolist() == names["ids"].tolist()
    assert (names["ids"][:, 0] == [0, 1, 2]).all()
