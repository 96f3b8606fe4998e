"""The search page in a real browser: typed, picked, filtered, by keys, wide and narrow, dark."""

import os
import pathlib
import urllib.parse

import numpy as np
import pytest

import fasthash as fh

pytest.importorskip("uvicorn", reason="the extra 'serve' is not installed")

from browser import chromium, overflows
from serving_process import serving

# Where screenshots are kept to be looked at; by default with the test's other files.
SHOTS = os.environ.get("FASTHASH_SCREENSHOTS")


@pytest.fixture(scope="module")
def emoji_url(tmp_path_factory):
    with serving("--port", 0, cwd=tmp_path_factory.mktemp("serve")) as (url, *_):
        yield url


def wait(page, condition):
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(page, 20).until(condition)


def find(page, selector):
    return page.find_elements("css selector", selector)


def said(page, text):
    """Wait until the page says a text in its status."""
    return wait(page, lambda p: text in texts(p, "#status")[0])


def texts(page, selector):
    """All at one moment: the page may draw its answers anew between two questions."""
    script = "return [...document.querySelectorAll(arguments[0])].map((one) => one.innerText)"
    return page.execute_script(script, selector)


def names(page):
    return texts(page, "#grid button > span:first-of-type")


def distances(page):
    return [int(text.split()[1]) for text in texts(page, ".distance")]


def scores(page):
    return [float(text.removeprefix("score ")) for text in texts(page, ".score")]


def titles(page):
    script = "return [...document.querySelectorAll('#grid button')].map((one) => one.title)"
    return page.execute_script(script)


def pick(page, selector, value):
    from selenium.webdriver.support.ui import Select

    Select(find(page, selector)[0]).select_by_value(value)


def shot(page, tmp_path, name):
    path = pathlib.Path(SHOTS or tmp_path) / f"{name}.png"
    assert page.save_screenshot(str(path))
    # A page that is blank takes a few kilobytes.
    assert path.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("width", "scheme"), [(1200, "light"), (380, "light"), (1200, "dark"), (380, "dark")]
)
def test_words_are_typed_and_answers_filtered(emoji_url, tmp_path, width, scheme):
    with chromium(width, scheme=scheme) as page:
        page.get(emoji_url)
        said(page, "24 of 1906 items: pick one")
        shot(page, tmp_path, f"first-{width}-{scheme}")
        # A pause after a space: what is typed next must not run into the word.
        find(page, "#words")[0].send_keys("happy ")
        said(page, "24 for “happy”, 64 bits")
        find(page, "#words")[0].send_keys("dog")
        said(page, "24 for “happy dog”, 64 bits")
        assert not overflows(page)
        drawn = "return [...document.images].slice(0, 4).every((one) => one.naturalWidth > 0)"
        wait(page, lambda p: p.execute_script(drawn))
        assert texts(page, "#order")[0].startswith("The results are sorted by score, highest first")
        assert scores(page) == sorted(scores(page), reverse=True) and len(scores(page)) == 24
        shot(page, tmp_path, f"words-{width}-{scheme}")

        find(page, "#radius")[0].send_keys("2\t")
        wait(page, lambda p: 0 < len(distances(p)) < 24 and max(distances(p)) <= 2)
        pick(page, "#filter", "food-drink")
        find(page, "#radius")[0].clear()
        find(page, "#radius")[0].send_keys("64\t")
        wait(page, lambda p: len(titles(p)) == 24 and all("food-drink" in t for t in titles(p)))
        assert min(distances(page)) > 2
        pick(page, "#bits", "16")
        said(page, "24 for “happy dog”, 16 bits")
        assert max(distances(page)) <= 16
        dark = page.execute_script("return matchMedia('(prefers-color-scheme: dark)').matches")
        assert dark == (scheme == "dark")


def test_items_are_picked_with_the_keyboard_and_back_goes_back(emoji_url, tmp_path):
    from selenium.webdriver.common.keys import Keys

    with chromium(1200) as page:
        page.get(emoji_url)
        said(page, "pick one")
        page.switch_to.active_element.send_keys("/")
        assert page.switch_to.active_element.get_attribute("id") == "words"
        page.switch_to.active_element.send_keys("grapes", Keys.ENTER)
        said(page, "for “grapes”")
        first = find(page, "#grid button")[0]
        name = names(page)[0]
        page.execute_script("arguments[0].focus()", first)
        page.switch_to.active_element.send_keys(Keys.ENTER)
        said(page, f"like “{name}”")
        assert "item=" in page.current_url
        focused = page.execute_script("return document.activeElement.innerText")
        assert focused.splitlines()[0] in names(page)
        page.execute_script("document.querySelector('details').open = true")
        shot(page, tmp_path, "item-1200-light")
        page.back()
        said(page, "for “grapes”")


def test_words_are_only_ever_text(emoji_url):
    attack = "dog <img src=x onerror=alert(1)>"
    with chromium(1200) as page:
        page.get(f"{emoji_url}/?q={urllib.parse.quote(attack)}")
        said(page, f"for “{attack}”")
        assert find(page, "#status *") == []
        find(page, "#words")[0].clear()
        find(page, "#words")[0].send_keys("<xqzzv>")
        said(page, "no word of the text '<xqzzv>' is known")
        assert find(page, "#status *") == [] and find(page, "#grid li") == []
        # The browser itself notes the status 422, and nothing else.
        logged = page.get_log("browser")
        assert logged and all("422" in one["message"] for one in logged)


def test_a_gallery_of_ones_own(tmp_path):
    """An index without a model, names that are markup: found by names, picked, shown as text."""
    rng = np.random.default_rng(0)
    codes = fh.pack(rng.standard_normal((50, 32)))
    index = fh.HammingIndex(32)
    index.add(codes)
    index.save(tmp_path / "own.index")
    attack = "<script>alert(1)</script><b onmouseover=alert(2)>bold</b>"
    captions = [f"caption {i}" for i in range(49)] + [attack]
    (tmp_path / "captions.txt").write_text("\n".join(captions), encoding="utf-8")
    arguments = ("--index", "own.index", "--names", "captions.txt", "--port", 0)
    with serving(*arguments, cwd=tmp_path) as (url, *_), chromium(380) as page:
        page.get(url)
        said(page, "24 of 50 items")
        shot(page, tmp_path, "captions-380-light")
        find(page, "#more")[0].click()
        said(page, "48 of 50 items")
        find(page, "#words")[0].send_keys("bold")
        said(page, "1 of 1 items with “bold” in their names")
        assert names(page) == [attack]
        assert find(page, "#grid b, #grid script") == [] and not overflows(page)
        find(page, "#grid button")[0].click()
        said(page, "like “<script>")
        _, ids = fh.topk(codes[49:], codes, 24)
        assert names(page) == [captions[i] for i in ids[0]]
        assert texts(page, "#order") == ["The results are sorted by distance, smallest first."]
        assert texts(page, ".distance")[0] == "distance 0 of 32 bits" and scores(page) == []
        assert find(page, "#filter-field")[0].is_displayed() is False
