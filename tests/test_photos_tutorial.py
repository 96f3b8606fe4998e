"""docs/tutorials/photos-and-captions.md, followed in an empty folder, up to the page."""

import os
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

from browser import accessibility_faults, chromium, overflows
from serving_process import PROGRAM, serving

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "tutorials" / "photos-and-captions.md"

# The tests import the installed package, and so must not look into the folder of a script.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}

pytest.importorskip("PIL", reason="the tutorial installs Pillow")
pytest.importorskip("safetensors", reason="models are saved with safetensors")
pytest.importorskip("uvicorn", reason="the extra 'serve' is not installed")


def run(command, folder):
    """What a command prints; it must end well, without a warning."""
    done = subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, capture_output=True, encoding="utf-8", timeout=120
    )
    assert done.returncode == 0 and "arning" not in done.stderr, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """The folder in which the page was followed, and the command that serves."""
    folder = tmp_path_factory.mktemp("tutorial")
    text = PAGE.read_text(encoding="utf-8")
    for name, code in re.findall(r"```python\n# (\w+\.py)\n(.*?)```", text, re.DOTALL):
        (folder / name).write_text(code, encoding="utf-8")
    assert text.count("```python") == len(list(folder.iterdir())) == 3
    served = None
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        for part in block.split("$ ")[1:]:
            command, _, printed = part.partition("\n")
            program, *arguments = shlex.split(command)
            if program == "pip":
                continue  # what the page installs is installed for the tests
            if arguments[0] == "serve":
                served = arguments[1:], printed
                continue
            start = [PROGRAM] if program == "fasthash" else [sys.executable]
            done = run([*start, *arguments], folder)
            assert printed == "" or done == printed
    return folder, served


def test_the_page_is_served_and_answers(followed, tmp_path):
    folder, (arguments, printed) = followed
    with serving(*arguments, "--port", 0, cwd=folder) as (url, _, said), chromium(1200) as page:
        assert said.splitlines()[0] == printed.splitlines()[0]
        page.get(f"{url}/?q=red+apple")
        first = "return document.querySelector('#results .name')?.innerText"
        wait(page, lambda p: p.execute_script(first) == "red apple")
        assert accessibility_faults(page) == [] and not overflows(page)
        # A picture of the folder, dropped on the page, finds itself.
        page.find_element("id", "file").send_keys(str(folder / "photos/pictures/0.png"))
        wait(page, lambda p: p.execute_script(first) == "grinning face")
        assert page.save_screenshot(str(tmp_path / "page.png"))


def wait(page, condition):
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(page, 20).until(condition)


def test_the_index_is_used_from_python(followed):
    folder, _ = followed
    assert "face" in run([sys.executable, "use.py"], folder)
