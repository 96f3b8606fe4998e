"""The README keeps its word: two commands, code that runs, no foreign package recommended."""

import csv
import pathlib
import re

import numpy as np
import pytest
from scipy.io import wavfile

README = pathlib.Path(__file__).parents[1] / "README.md"


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
    assert names["score"] > 0.87


def run_blocks(page, **names):
    """Run a page's Python from top to bottom, where it stands, with these names to start from."""
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert blocks, f"{page} has no Python to run"
    for block in blocks:
        exec(compile(block, str(page), "exec"), names)
    return names


def pages_with_python():
    pages = [README, README.with_name("CONTRIBUTING.md"), *README.parent.glob("docs/*.md")]
    return {page.name for page in pages if page.exists() and "```python" in page.read_text("utf-8")}


def test_the_python_of_every_page_is_run():
    # The page on C, whose Python is a setup.py and what uses it, runs in test_c_interface.py.
    assert pages_with_python() == {
        "README.md", "calling-from-c.md", "clsr.md", "files.md", "serving.md"
    }  # fmt: skip


def test_the_python_on_serving_runs():
    names = run_blocks(README.parent / "docs" / "serving.md")
    assert names["features"](["dog"]).shape == (1, 192)


def test_the_python_on_files_runs(tmp_path, monkeypatch):
    pytest.importorskip("safetensors", reason="models are saved with safetensors")
    pytest.importorskip("pyarrow", reason="the page shows a column of Arrow")
    monkeypatch.chdir(tmp_path)
    names = run_blocks(README.parent / "docs" / "files.md")
    codes = names["index"].codes
    expected = np.vstack([codes, codes, codes, names["signed"].view(np.uint8) ^ 128])
    np.testing.assert_array_equal(names["other"].codes, expected)
    assert names["model"].transform(np.eye(256)).shape == (256, 16)


def test_the_python_on_clips_runs(tmp_path, monkeypatch, capfd):
    pytest.importorskip("torch", reason="CLSR trains with PyTorch")
    monkeypatch.chdir(tmp_path)
    write_clips(tmp_path / "clips")
    names = run_blocks(README.parent / "docs" / "clsr.md")
    printed = capfd.readouterr()
    assert len(set(re.findall(r"'(\d+\.wav)'", printed.out))) == 10
    assert "R@1/5/10" in printed.err
    # Captions that name the pitch find sounds near it.
    text = names["encoder"].transform(["pitch2 about4", "pitch9 about19"])
    _, ids = names["model"].search(text, "text", names["codes"], names["latents"], k=10)
    low, high = ids.mean(axis=1)
    assert low < 45 < 75 < high


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


def test_nobody_is_told_to_install_somebody_elses_package():
    for page in [README, *README.parent.glob("docs/*.md"), *README.parent.glob("fasthash/*.py")]:
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"""pip install (-\S+ )*["']?fasthash(?![-\w])""", text), page
