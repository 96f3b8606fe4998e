"""The demo's page: one file that answers typed words as the library does, in a real browser."""

import re

import numpy as np
import pytest

import fasthash as fh
from browser import accessibility_faults, chromium, overflows
from fasthash import cli
from fasthash.datasets import load_emoji
from fasthash.datasets.emoji import read_archive
from fasthash.pages import demo

pytest.importorskip("matplotlib", reason="charts are drawn by matplotlib")

ATTACK = "dog <script>alert(1)</script>"


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    file = tmp_path_factory.mktemp("demo") / "demo.html"
    command = ["--quiet", "demo", "--bits", "64", "--seeds", "1", "--output", str(file)]
    assert cli.main([*command, "--query", "happy face", "--query", ATTACK]) == 0
    return file


def wait(page, condition):
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(page, 20).until(condition)


def open_page(page, file):
    page.get(file.as_uri())
    wait(page, lambda p: p.find_elements("css selector", "#results li"))


def texts(page, selector):
    script = "return [...document.querySelectorAll(arguments[0])].map((one) => one.innerText)"
    return page.execute_script(script, selector)


def type_words(page, text):
    field = page.find_element("id", "words")
    field.clear()
    field.send_keys(text)


def test_the_page_is_one_small_file(page_file):
    page = page_file.read_text(encoding="utf-8")
    assert len(page) < 1_500_000
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", page)
    assert "&lt;script&gt;alert(1)" in page and "<script>alert" not in page


def test_typed_words_find_what_python_finds(page_file):
    """All rows and distances of random words, names of glyphs, other forms and accents."""
    data = load_emoji()
    model = demo.fit_lengths(data, [64], seed=0)[64]
    words = sorted({word for name in data.names for word in name.lower().split()})
    rng = np.random.default_rng(0)
    queries = [" ".join(rng.choice(words, rng.integers(1, 6))) for _ in range(250)]
    queries += [
        *data.names[::20],
        "Straße dogs",
        "Côte d'Ivoire!",
        "running parties",
        "dog dog cat",
    ]
    queries = [
        text for text in queries if set(text.lower().split()) - set(data.unknown_words(text))
    ]
    x = data.text_features(queries)
    codes = model.encode(x, "text")
    # Signs that depend on rounding would be another matter; there are none.
    np.testing.assert_array_equal(codes, model.encode(x.astype(np.float64), "text"))
    gallery = model.encode(data.features["image"], "image")
    distances, rows = fh.topk(codes, gallery, len(data))
    with chromium(1200) as page:
        open_page(page, page_file)
        ask = (
            "return arguments[0].map((q) => fasthash.search(q, 50).map((o) => [o.row, o.distance]))"
        )
        found = np.array(page.execute_script(ask, queries))
        assert len(found) > 300
        np.testing.assert_array_equal(found[:, :, 0], rows[:, :50])
        np.testing.assert_array_equal(found[:, :, 1], distances[:, :50])
        unknown = [*queries, "electrik gitar", "ÇA VA ?", "日本 dog", "x_y 12th"]
        # Hindi, and letters that become capitals when they are decomposed.
        unknown += ["\u0939\u093f\u0928\u094d\u0926\u0940", "\U0001d400\U0001d431q \u2121"]
        ask = "return arguments[0].map((q) => [...new Set(fasthash.unknown(q))])"
        assert page.execute_script(ask, unknown) == [list(data.unknown_words(q)) for q in unknown]
        # A suggestion replaces whole words, whatever their case and accents are.
        type_words(page, "El\u00e9ctrik electrikxyz dog")
        ask = "return [...document.querySelectorAll('#unknown button')].map((o) => o.innerText)"
        wait(page, lambda p: "electric" in p.execute_script(ask))
        buttons = page.find_elements("css selector", "#unknown button")
        next(one for one in buttons if one.text == "electric").click()
        assert page.find_element("id", "words").get_property("value") == "electric electrikxyz dog"


def test_anchors_are_the_stored_features():
    """The page makes the features of anchors from texts: the stored ones are made in this way."""
    data = load_emoji()
    texts = [
        " ".join((name, *words)) for name, words in zip(data.names, data.keywords, strict=True)
    ]
    made = data.text_features(texts).astype(np.float16)
    np.testing.assert_array_equal(made, read_archive()["text"])


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 390], ids=["desktop", "phone"])
def test_chromium_shows_it_without_a_fault(page_file, tmp_path, width, scheme):
    with chromium(width, scheme=scheme) as page:
        open_page(page, page_file)
        assert not overflows(page) and accessibility_faults(page) == []
        type_words(page, "electrik red frut")
        wait(page, lambda p: "electric" in texts(p, "#unknown button"))
        said = texts(page, "#unknown p")
        assert [one.split("”")[0] for one in said] == ["Not known: “electrik", "Not known: “frut"]
        assert not overflows(page) and accessibility_faults(page) == []
        next(
            one for one in page.find_elements("css selector", "#unknown button")
            if one.text == "fruit"
        ).click()  # fmt: skip
        wait(page, lambda p: len(texts(p, "#unknown p")) == 1)
        assert page.find_element("id", "words").get_attribute("value") == "electrik red fruit"
        page.find_elements("css selector", "[data-q]")[1].click()
        wait(page, lambda p: texts(p, "#unknown")[0].startswith("Not known: “script”"))
        assert page.find_element("id", "words").get_attribute("value") == ATTACK
        type_words(page, "qqqqq")
        wait(page, lambda p: "No word is known" in texts(p, "#status")[0])
        assert texts(page, "#results li") == []
        assert page.save_screenshot(str(tmp_path / "page.png"))
    assert (tmp_path / "page.png").stat().st_size > 10_000
