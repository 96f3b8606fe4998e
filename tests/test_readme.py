"""The README keeps its word: two commands, code that runs, no foreign package recommended."""

import pathlib
import re

import pytest

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


# Pages whose code needs a compiler, or files and models of its own.
NEED_MORE = {"calling-from-c.md", "clsr.md", "files.md"}


def test_the_python_of_the_pages_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pages = sorted(README.parent.glob("docs/*.md"))
    assert pages
    for page in pages:
        names = {}
        blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
        for block in blocks if page.name not in NEED_MORE else []:
            exec(compile(block, str(page), "exec"), names)


def test_nobody_is_told_to_install_somebody_elses_package():
    for page in [README, *README.parent.glob("docs/*.md"), *README.parent.glob("fasthash/*.py")]:
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"""pip install (-\S+ )*["']?fasthash(?![-\w])""", text), page
