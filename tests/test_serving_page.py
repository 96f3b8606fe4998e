"""The search page in a real browser: typed, picked, filtered, by keys, wide and narrow, dark."""

import os
import pathlib
import urllib.parse

import numpy as np
import pytest
from scipy.io import wavfile

import fasthash as fh
from fasthash.audio import sound_features

pytest.importorskip("uvicorn", reason="the extra 'serve' is not installed")

from browser import accessibility_faults, chromium, overflows
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
    return texts(page, "#results .card .name")


def distances(page):
    far = texts(page, "#results .apart")
    return [0 if text == "same code" else int(text.split()[0]) for text in far]


def labels(page):
    return texts(page, "#results .tags")


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
        said(page, "24 of 1,906 items")
        assert not find(page, "#filter")[0].is_displayed(), "filters are folded away"
        # A pause after a space: what is typed next must not run into the word.
        find(page, "#words")[0].send_keys("happy ")
        said(page, "24 items for “happy”, 64 bits")
        find(page, "#words")[0].send_keys("dog")
        said(page, "24 items for “happy dog”, 64 bits")
        assert not overflows(page)
        drawn = "return [...document.images].slice(0, 4).every((one) => one.naturalWidth > 0)"
        wait(page, lambda p: p.execute_script(drawn))
        assert accessibility_faults(page) == []
        shot(page, tmp_path, f"words-{width}-{scheme}")

        find(page, "#filters summary")[0].click()
        find(page, "#radius")[0].send_keys("2\t")
        wait(page, lambda p: 0 < len(distances(p)) < 24 and max(distances(p)) <= 2)
        pick(page, "#filter", "food-drink")
        find(page, "#radius")[0].clear()
        find(page, "#radius")[0].send_keys("64\t")
        wait(page, lambda p: labels(p) == ["food-drink"] * 24)
        assert min(distances(page)) > 2
        pick(page, "#order", "distance")
        wait(page, lambda p: distances(p) == sorted(distances(p)))
        pick(page, "#bits", "16")
        said(page, "24 items for “happy dog”, 16 bits")
        assert max(distances(page)) <= 16
        assert texts(page, "#active") == ["food-drink, bits: 16, distance up to 64"]
        assert accessibility_faults(page) == [] and not overflows(page)
        dark = page.execute_script("return matchMedia('(prefers-color-scheme: dark)').matches")
        assert dark == (scheme == "dark")


def test_items_are_picked_with_the_keyboard_and_back_goes_back(emoji_url, tmp_path):
    from selenium.webdriver.common.keys import Keys

    def press(key):
        page.switch_to.active_element.send_keys(key)

    with chromium(1200) as page:
        page.get(emoji_url)
        said(page, "1,906 items")
        press("/")
        assert page.switch_to.active_element.get_attribute("id") == "words"
        press("grapes")
        press(Keys.ENTER)
        said(page, "for “grapes”")
        all_ids = [card.get_attribute("data-id") for card in find(page, ".card > button")]
        page.execute_script("arguments[0].focus()", find(page, ".card > button")[0])
        at = []
        for key in (Keys.ARROW_RIGHT, Keys.ARROW_DOWN, Keys.ARROW_UP, Keys.END, Keys.HOME):
            press(key)
            focused = page.switch_to.active_element.get_attribute("data-id")
            at.append(all_ids.index(focused))
        # How many cards are in a row depends on the groups of items that tie.
        assert at[0] == 1 and at[1] > 1 and at[2:] == [1, len(all_ids) - 1, 0]
        press(Keys.ENTER)
        assert texts(page, "#detail h2") == names(page)[:1]
        press(Keys.ARROW_RIGHT)
        assert texts(page, "#detail h2") == names(page)[1:2]
        assert accessibility_faults(page) == []
        shot(page, tmp_path, "detail-1200-light")
        press(Keys.ESCAPE)
        assert page.switch_to.active_element.get_attribute("data-id") == all_ids[1]
        press(Keys.ENTER)
        name = texts(page, "#detail h2")[0]
        press(Keys.ENTER)  # the focus is on "More like this"
        said(page, f"23 items like “{name}”")
        assert f"item={all_ids[1]}" in page.current_url
        assert texts(page, "#asked .name") == [name] and name not in names(page)
        assert accessibility_faults(page) == []
        shot(page, tmp_path, "item-1200-light")
        page.back()
        said(page, "for “grapes”")
        assert not find(page, "#asked")[0].is_displayed()


def test_what_is_not_found_is_explained_and_something_offered(emoji_url):
    with chromium(1200) as page:
        page.get(f"{emoji_url}/?q=El%C3%A9ctrik+dog")
        said(page, "for “Eléctrik dog”")
        wait(page, lambda p: "electric" in texts(p, "#note .chip"))
        assert texts(page, "#note")[0].startswith("Not known: “electrik”.")
        next(one for one in find(page, "#note .chip") if one.text == "electric").click()
        said(page, "for “electric dog”")
        page.get(f"{emoji_url}/?q=dog&radius=0")
        said(page, "Nothing found for “dog”")
        wait(page, lambda p: texts(p, "#note .chip"))
        offer = texts(page, "#note .chip")[0]
        find(page, "#note .chip")[0].click()
        wait(page, distances)
        assert offer == f"Show items up to distance {min(distances(page))}"
        find(page, "#examples .chip")[1].click()
        said(page, "for “rain”")
        # Items that tie are a group; by the codes of the glyphs alone, many do.
        page.get(f"{emoji_url}/?q=rain&compare=codes")
        said(page, "for “rain”")
        wait(page, lambda p: texts(p, ".group"))
        n = len(names(page))
        groups = texts(page, ".group")
        assert any("Their order says nothing." in one for one in groups)
        assert n == 24 and accessibility_faults(page) == []
        find(page, "#surprise")[0].click()
        said(page, "items like “")


def test_words_are_only_ever_text(emoji_url):
    attack = "dog <img src=x onerror=alert(1)>"
    with chromium(1200) as page:
        page.get(f"{emoji_url}/?q={urllib.parse.quote(attack)}")
        said(page, f"for “{attack}”")
        assert find(page, "#status *:not(bdi)") == []
        find(page, "#words")[0].clear()
        find(page, "#words")[0].send_keys("<xqzzv>")
        said(page, "no word of the text '<xqzzv>' is known")
        assert find(page, "#status *") == [] and find(page, "#results li") == []
        # The browser itself notes the status 422, and nothing else.
        logged = page.get_log("browser")
        assert logged and all("422" in one["message"] for one in logged)


# Characters that turn the direction of what follows, a long name, and markup.
ATTACKS = (
    "\u202egnp.tac\u202d and \u2067more",
    "x" * 3000,
    "<script>alert(1)</script><b onmouseover=alert(2)>bold</b>",
)


def write_sound(path, pitch):
    wave = np.sin(np.arange(8000) * pitch / 8000 * 2 * np.pi) * 20_000
    wave += np.random.default_rng(pitch).normal(0, 500, 8000)
    wavfile.write(path, 8000, wave.astype(np.int16))


@pytest.mark.parametrize("width", [1200, 380])
def test_a_gallery_of_ones_own(tmp_path, width):
    """An index without a model, names that attack: found by names, picked, shown as text."""
    rng = np.random.default_rng(0)
    codes = fh.pack(rng.standard_normal((50, 32)))
    index = fh.HammingIndex(32)
    index.add(codes)
    index.save(tmp_path / "own.index")
    captions = [f"caption {i}" for i in range(47)] + list(ATTACKS)
    (tmp_path / "captions.txt").write_text("\n".join(captions), encoding="utf-8")
    arguments = ("--index", "own.index", "--names", "captions.txt", "--port", 0)
    with serving(*arguments, cwd=tmp_path) as (url, *_), chromium(width) as page:
        page.get(url)
        said(page, "24 of 50 items")
        find(page, "#more")[0].click()
        said(page, "48 of 50 items")
        assert not overflows(page) and accessibility_faults(page) == []
        shot(page, tmp_path, f"captions-{width}-light")
        find(page, "#words")[0].send_keys("bold")
        said(page, "1 of 1 item with “bold” in the name")
        assert names(page) == [ATTACKS[2]]
        assert find(page, "#results b, #results script") == [] and not overflows(page)
        find(page, ".card > button")[0].click()
        find(page, "#detail .main")[0].click()
        said(page, "like “<script>")
        _, ids = fh.topk(codes[49:], codes, 24)
        assert names(page) == [captions[i] for i in ids[0] if i != 49]
        assert not find(page, "#order-field")[0].is_displayed()
        # Without lists, a recall would save no time.
        assert not find(page, "#recall-field")[0].is_displayed()
        assert not find(page, "#filter")[0].is_displayed()
        page.get(f"{url}/?item=48")
        said(page, "23 items like “xxx")
        assert len(texts(page, "#status")[0]) < 200
        assert not overflows(page) and find(page, "#asked")[0].size["height"] < 250
        find(page, "#words")[0].send_keys("caption qqq")
        said(page, "Nothing found with “caption qqq”")
        wait(page, lambda p: texts(p, "#note .chip") == ["caption", "qqq", "Show all items"])


@pytest.mark.parametrize("width", [1200, 380])
def test_a_recall_is_chosen_where_answers_are_sorted_by_distance(tmp_path, width):
    rng = np.random.default_rng(0)
    centres = rng.random((60, 128)) < 0.5
    bits = centres[rng.integers(0, 60, 6000)] ^ (rng.random((6000, 128)) < 0.12)
    index = fh.HammingIndex(128)
    index.add(np.packbits(bits, axis=1))
    index.partition(n_lists=100)
    index.save(tmp_path / "own.index", partitions=True)
    (tmp_path / "names.txt").write_text("\n".join(f"item {i}" for i in range(6000)))
    arguments = ("--index", "own.index", "--names", "names.txt", "--port", 0)
    with serving(*arguments, cwd=tmp_path) as (url, *_), chromium(width) as page:
        page.get(url)
        said(page, "24 of 6,000 items")
        assert not find(page, "#recall-field")[0].is_displayed()
        page.get(f"{url}/?item=7")
        said(page, "23 items like “item 7”")
        assert find(page, "#recall-field")[0].is_displayed()
        assert texts(page, "#recall option") == [
            *("all of the nearest", "99 % of them", "95 % of them", "90 % of them"),
        ]
        asked = (
            "return performance.getEntriesByType('resource').map((one) => one.name)"
            ".filter((name) => name.includes('/neighbours')).at(-1)"
        )
        assert "recall" not in page.execute_script(asked)
        pick(page, "#recall", "0.9")
        wait(page, lambda p: "recall=0.9" in p.execute_script(asked))
        wait(page, lambda p: not find(p, "#results.busy"))
        said(page, "like “item 7”")
        assert "recall=0.9" in page.current_url and texts(page, "#active") == [""]
        assert not overflows(page) and accessibility_faults(page) == []
        pick(page, "#recall", "1")
        wait(page, lambda p: "recall" not in p.execute_script(asked))


@pytest.mark.parametrize("width", [1200, 380])
def test_sounds_are_played_and_searched_by_a_file(tmp_path, width):
    """A folder of sounds, and the function of the package that makes their features."""
    (tmp_path / "clips").mkdir()
    for i in range(12):
        write_sound(tmp_path / "clips" / f"tone{i:02}.wav", 300 + 150 * i)
    write_sound(tmp_path / "new.wav", 910)
    files = sorted((tmp_path / "clips").iterdir())
    model = fh.ITQ(n_bits=16, random_state=0).fit(sound_features(files))
    model.save(tmp_path / "m.model")
    index = fh.HammingIndex(16)
    index.add(model.transform(sound_features(files)))
    index.save(tmp_path / "clips.index")
    arguments = (
        "--index clips.index --model m.model --sounds clips "
        "--features fasthash.audio:sound_features --port 0"
    ).split()
    with serving(*arguments, cwd=tmp_path) as (url, *_), chromium(width) as page:
        page.get(url)
        said(page, "12 of 12 items")
        length = "return document.querySelector('.card audio').duration"
        page.execute_script("document.querySelector('.card audio').load()")
        page.execute_script("document.querySelector('.card audio').preload = 'auto'")
        assert wait(page, lambda p: p.execute_script(length)) == 1.0
        find(page, "#file")[0].send_keys(str(tmp_path / "new.wav"))
        said(page, "12 items like “new.wav”")
        near = model.search(sound_features([tmp_path / "new.wav"]), index, k=12)[1][0]
        assert names(page) == [files[i].stem for i in near]
        assert "Items like your file" in texts(page, "#asked")[0]
        assert not overflows(page) and accessibility_faults(page) == []
        shot(page, tmp_path, f"sounds-{width}")
        (tmp_path / "no.png").write_text("no picture")
        find(page, "#file")[0].send_keys(str(tmp_path / "no.png"))
        said(page, "the file is not a PNG")
        logged = page.get_log("browser")
        assert logged and all("422" in one["message"] for one in logged)
