"""What ``fasthash search`` says of its answers: bands, ties, cosines; search by several codes."""

import json

import numpy as np
import pytest

import fasthash as fh
from fasthash import cli

pytest.importorskip("safetensors", reason="models are saved with safetensors")

N = 300


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model of two modalities, an index of each, features of queries, and codes of few bits."""
    folder = tmp_path_factory.mktemp("search")
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, N)
    shared = np.eye(4)[y] + 0.4 * rng.standard_normal((N, 4))
    features = {
        "image": shared @ rng.standard_normal((4, 12)),
        "text": shared @ rng.standard_normal((4, 8)),
    }
    model = fh.AMSH(16, random_state=0).fit(features, labels={"image": y, "text": y})
    model.save(folder / "m.model")
    for name, codes in model.codes_.items():
        index = fh.HammingIndex(16)
        index.add(codes, ids=np.arange(N) * 3)
        index.model = model.fingerprint()
        index.save(folder / f"{name}.index")
    np.save(folder / "text.npy", features["text"])
    np.save(folder / "codes.npy", model.encode(features["text"][:20], "text"))
    return folder


FEATURES = "--model m.model --modality text --features text.npy --rows :20"


@pytest.fixture(autouse=True)
def inside(folder, monkeypatch):
    monkeypatch.chdir(folder)


def search(capsys, options, status=0):
    """(lines of JSON, or what was printed; standard error)"""
    assert cli.main(["search", *options.split()]) == status
    printed = capsys.readouterr()
    if "--json" in options:
        return [json.loads(line) for line in printed.out.splitlines()], printed.err
    return printed.out, printed.err


def test_distances_are_named_by_the_scale_of_the_model(capsys):
    lines, _ = search(capsys, f"image.index {FEATURES} -k 200 --json")
    scale = fh.load("m.model").distance_scales_["text"]["image"]
    for line in lines:
        assert line["bands"] == [scale.band(distance) for distance in line["distances"]]
        assert line["weak"] is (min(line["distances"]) > scale.close)
    assert {band for line in lines for band in line["bands"]} == {"same", "close", "far"}
    out, err = search(capsys, f"image.index {FEATURES} -k 200")
    assert f"distances up to {scale.close} are close" in err and "what it means" in err
    first = out.splitlines()[1].split()
    assert int(first[0]) == lines[0]["distances"][0] and first[1] == lines[0]["bands"][0]


def test_a_query_without_a_close_answer_is_weak(capsys):
    line = search(capsys, f"image.index {FEATURES} -k 1 --json")[0][0]
    far = [i * 3 for i in range(N) if i * 3 not in line["ids"]]
    distances = fh.distances(
        np.load("codes.npy")[:1], fh.load("image.index").reconstruct(np.array(far))
    )[0]
    close = fh.load("m.model").distance_scales_["text"]["image"].close
    np.save("far.npy", np.array(far)[distances > close])
    out, _ = search(capsys, f"image.index {FEATURES.replace(':20', ':1')} -k 3 --filter far.npy")
    assert out.startswith("query 0  (weak: no answer is close)\n") and out.count(" far ") == 3


@pytest.mark.parametrize("queries", [FEATURES, f"{FEATURES} --no-weights", "--codes codes.npy"])
def test_ties_are_counted(capsys, queries):
    lines, _ = search(capsys, f"image.index {queries} -k 5 --ties --json")
    plain, _ = search(capsys, f"image.index {queries} -k 5 --json")
    everything, _ = search(capsys, f"image.index {queries} -k {N} --json")
    key = "scores" if "--no-weights" not in queries and "--features" in queries else "distances"
    for line, same, every in zip(lines, plain, everything, strict=True):
        assert line["ids"] == same["ids"] and line[key] == same[key]
        assert line["ties"] == [every[key].count(value) for value in line[key]]
    assert max(max(line["ties"]) for line in lines) > 5
    out, err = search(capsys, f"image.index {queries} -k 5 --ties")
    assert "number of items that cannot be told apart" in err
    assert str(lines[0]["ties"][0]) in out.splitlines()[1].split()


def test_ties_within_a_radius(capsys):
    lines, _ = search(capsys, "image.index --codes codes.npy --radius 5 --ties --json")
    for line in lines:
        assert line.get("ties", []) == [line["distances"].count(d) for d in line["distances"]]


def test_rerank_shows_the_similarities_that_it_sorts_by(capsys):
    x = np.load("text.npy")
    vectors = np.zeros((3 * N, x.shape[1]))
    vectors[::3] = x
    np.save("vectors.npy", vectors)
    lines, _ = search(capsys, f"text.index {FEATURES} --rerank vectors.npy -k 4 --json")
    for row, line in enumerate(lines):
        found = vectors[line["ids"]]
        cosines = found @ x[row] / np.linalg.norm(found, axis=1) / np.linalg.norm(x[row])
        np.testing.assert_allclose(line["similarities"], cosines, atol=1e-6)
        assert line["similarities"] == sorted(line["similarities"], reverse=True)
    out, err = search(capsys, f"text.index {FEATURES} --rerank vectors.npy -k 4")
    assert "ranked by similarity" in err and "cosine similarity" in err
    assert out.splitlines()[1].split()[-2] == f"{lines[0]['similarities'][0]:.3f}"


@pytest.mark.parametrize("factors", [None, (1, 3)])
def test_several_codes_are_compared(capsys, factors):
    model = fh.load("m.model")
    given = "" if factors is None else " --factors 1 3"
    one, other = factors or (1, 1)
    by_name = {"image": one, "text": other}
    codes = np.load("codes.npy")
    distances, rows = fh.topk_fused(
        {"image": codes, "text": codes}, model.codes_, 7, factors=by_name
    )
    for queries in ("--codes codes.npy", f"{FEATURES} --no-weights"):
        options = f"image.index {queries} --fuse text.index{given} -k 7 --json"
        lines, _ = search(capsys, options)
        assert [line["ids"] for line in lines] == (3 * rows).tolist()
        assert [line["distances"] for line in lines] == distances.tolist()
        assert "scores" not in lines[0] and "bands" not in lines[0]
    weights = model.project(np.load("text.npy")[:20], "text")
    scores, rows = fh.topk_fused(
        None, model.codes_, 7, weights={"image": weights, "text": weights}, factors=by_name
    )
    lines, _ = search(capsys, f"image.index {FEATURES} --fuse text.index{given} -k 7 --json")
    assert [line["ids"] for line in lines] == (3 * rows).tolist()
    np.testing.assert_allclose([line["scores"] for line in lines], scores)
    np.save("some.npy", np.arange(0, 90, 3))
    filtered = f"image.index {FEATURES} --fuse text.index -k 7 --json --filter some.npy"
    assert all(id_ < 90 for line in search(capsys, filtered)[0] for id_ in line["ids"])


def test_what_does_not_go_together_is_refused(capsys):
    index = fh.HammingIndex(16)
    index.add(np.zeros((3, 2), np.uint8))
    index.save("three.index")
    wide = fh.HammingIndex(24)
    wide.add(np.zeros((3, 3), np.uint8))
    wide.save("wide.index")
    for options, message in (
        ("--fuse text.index --radius 3", "--fuse goes with -k, and not with --radius"),
        ("--fuse text.index --factors 1", "--factors: one for each index, 2 in all, got 1"),
        ("--factors 1 2", "--factors goes with --fuse"),
        ("--fuse text.index --factors 1 32", "--factors must be from 1 to 31, got 32"),
        ("--fuse three.index --any-model", "three.index and image.index hold different ids"),
        ("--fuse wide.index", "codes of 24 bits, and image.index of 16"),
    ):
        _, err = search(capsys, f"image.index --codes codes.npy {options}", status=1)
        assert message in err, err
    _, err = search(capsys, f"text.index {FEATURES} --rerank text.npy --ties", status=1)
    assert "--ties goes with" in err


TEXTS = ("a red apple", "a green apple", "the night train", "electric guitar", "")


@pytest.fixture
def named(folder):
    """Names of the items, of which every third id is one, and a function for words."""
    texts = [TEXTS[i % 5] + f" number{i}" * (i % 5 != 4) for i in range(3 * N)]
    (folder / "names.csv").write_text("name\n" + "\n".join(f'"{text}"' for text in texts) + "\n")
    (folder / "few_words.py").write_text(
        "import numpy as np\n"
        "class Encoder:\n"
        "    def __call__(self, texts):\n"
        "        if not {'apple', 'train'} & set(texts[0].split()):\n"
        "            raise ValueError('no word is known')\n"
        "        return np.load('text.npy')[:1]\n"
        "    def unknown_words(self, text):\n"
        "        return {w: [] for w in text.split() if w not in ('apple', 'train')}\n"
        "encode = Encoder()\n"
    )
    return texts


def ask(capsys, *arguments, status=0):
    """As `search`, for arguments with spaces."""
    assert cli.main(["search", "image.index", *arguments]) == status
    printed = capsys.readouterr()
    return printed.out, printed.err


def test_a_text_is_compared_with_the_words_of_names(named, capsys):
    given = ("--names", "names.csv:name", "-k", "4")
    out, err = ask(capsys, "--text", "guitars number3", "red aple", *given, "--json")
    first, second = map(json.loads, out.splitlines())
    assert first["names"][0] == named[first["ids"][0]] == "electric guitar number3"
    assert first["matched_words"][0] == ["guitars", "number3"]
    assert all(words for words in first["matched_words"]) and "distances" not in first
    assert second["unknown_words"] == {"aple": ["apple"]} and first["unknown_words"] == {}
    assert "'aple' is not known, and was left out: did you mean apple?" in err
    out, err = ask(capsys, "--text", "night zebra", *given)
    assert out.startswith("query 0  night zebra\n") and out.count("the night train") == 4
    assert "the columns are score," in err and "'zebra' is not known, and was left out\n" in err


def test_a_text_without_a_known_word_has_no_answers_and_the_others_have(named, capsys):
    given = ("--names", "names.csv:name", "-k", "1")
    out, err = ask(capsys, "--text", "zebra", "night", *given, "--json", status=3)
    assert [json.loads(line)["query"] for line in out.splitlines()] == [1]
    assert "query 0: no word of the text 'zebra' is in the text of an item\n" in err
    assert err.count("zebra") == 1
    _, err = ask(capsys, "--text", "aple", *given, status=3)
    assert "'aple' is in the text of an item: did you mean apple?\n" in err


def test_a_text_is_compared_with_codes_too(named, capsys):
    model = fh.load("m.model")
    given = ("--model", "m.model", "--words", "few_words:encode", "--names", "names.csv:name")
    out, _ = ask(capsys, "--text", "green apple", *given, "-k", "9", "--json")
    line = json.loads(out)
    texts = named[::3]
    words = fh.words.WordCodes(texts)
    weights = {
        "model": model.project(np.load("text.npy")[:1], "text"),
        "words": words.project(["green apple"]),
    }
    codes = {"model": model.codes_["image"], "words": words.encode(texts)}
    scores, rows = fh.topk_fused(None, codes, 9, weights=weights)
    assert line["ids"] == (3 * rows[0]).tolist()
    np.testing.assert_allclose(line["scores"], scores[0])
    scale = model.distance_scales_["text"]["image"]
    assert line["bands"] == [scale.band(distance) for distance in line["distances"]]
    is_near = any(band != "far" for band in line["bands"])
    assert line["weak"] is not (is_near or any(line["matched_words"]))
    # The names know "green", and the function does not.
    assert line["unknown_words"] == {}


BY_NAMES = ("--text", "a", "--names", "names.csv:name")


def test_what_does_not_go_with_texts_is_refused(named, capsys):
    for options, message in (
        (["--text", "a"], "--text needs --names"),
        (["--text", "a", "--names", "names.csv:name", "--codes", "codes.npy"], "with --codes"),
        (["--text", "a", "--names", "names.csv:name", "--model", "m.model"], "--words and --model"),
        (["--text", "a", "--names", "names.csv:name", "--filter", "codes.npy"], "with --filter"),
        (["--words", "few_words:encode", "--codes", "codes.npy"], "--words goes with --text"),
        ([*BY_NAMES, "--rows", "0:1"], "--text does not go with --rows"),
        ([*BY_NAMES, "--read-as", "hex"], "--text does not go with --read-as"),
        ([*BY_NAMES, "--candidates", "5"], "--text does not go with --candidates"),
        ([*BY_NAMES, "--centre", "c.npy"], "--text does not go with --centre"),
        ([*BY_NAMES, "--columns"], "--text does not go with --columns"),
        ([*BY_NAMES, "--radius", "3"], "--radius with --text needs --words and --model"),
        ([*BY_NAMES, "--modality", "text"], "--modality with --text needs --words and --model"),
    ):
        _, err = ask(capsys, *options, status=1)
        assert message in err, err


def test_names_do_not_control_the_terminal(capsys, folder):
    names = ["fine \u2764\ufe0f", "two\nlines", "red\x1b[31m", "\u202egnp.evil"] * N
    (folder / "rude.csv").write_text(
        "name\n" + "\n".join(f'"{name}"' for name in names) + "\n", encoding="utf-8"
    )
    options = "image.index --codes codes.npy --names rude.csv:name --query-names rude.csv:name"
    out, _ = search(capsys, f"{options} --rows :4 -k 40")
    assert out.count("\n") == 4 * 41
    assert "two lines" in out and "fine \u2764\ufe0f" in out and "gnp.evil" in out
    assert not {"\x1b", "\u202e"} & set(out)
    lines, _ = search(capsys, f"{options} --rows :4 -k 40 --json")
    assert {name for line in lines for name in line["names"]} == set(names)


def test_a_long_text_is_cut_in_messages(named, capsys):
    _, err = ask(capsys, "--text", 5000 * "zx", "--names", "names.csv:name", status=3)
    assert 0 < len(err) < 1000 and "\u2026" in err
