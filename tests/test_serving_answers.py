"""What the API says about its answers: ties, the meaning of distances, words that are not known."""

import numpy as np
import pytest

import fasthash as fh
from fasthash.metrics import DistanceScale

pytest.importorskip("starlette", reason="the extra 'serve' is not installed")
pytest.importorskip("httpx2", reason="httpx2 asks the application")

from starlette.testclient import TestClient

from fasthash.serving.app import application
from fasthash.serving.collection import Collection, Files, Length, Words
from fasthash.serving.gallery import Gallery, Labels
from fasthash.serving.limits import Limits

N, N_BITS = 400, 8
PROJECTIONS = np.random.default_rng(1).standard_normal((5, N_BITS))
# Weights of few values, so that codes that differ can have equal scores.
WEIGHTS = np.array([[1.0, 1.0, -1.0, 2.0, 1.0, -2.0, 1.0, 1.0]])
SCALE = DistanceScale(
    np.array([9, 5, 2, 0, 0, 0, 0, 0, 0]), np.array([0, 1, 3, 8, 20, 20, 8, 3, 1])
)
KNOWN = {"cat": 0, "dog": 1, "rain": 2}


def features_of(texts):
    found = [KNOWN[word] for word in texts[0].split() if word in KNOWN]
    if not found:
        raise ValueError("no word is known")
    return np.eye(5)[found].sum(axis=0)[None]


def unknown(text):
    return {word: ["cat"][: "ca" in word] for word in text.split() if word not in KNOWN}


@pytest.fixture(scope="module")
def codes():
    # Four of the bits are always the same: many codes are equal.
    bits = np.random.default_rng(0).integers(0, 2, (N, N_BITS))
    bits[:, ::2] = 1
    return np.packbits(bits, axis=1).astype(np.uint8)


@pytest.fixture(scope="module")
def client(codes):
    index = fh.HammingIndex(N_BITS)
    index.add(codes)
    length = Length(
        index,
        lambda x, modality: WEIGHTS if modality == "fixed" else x @ PROJECTIONS,
        {"text": 5, "fixed": 5},
        scales={"text": SCALE},
    )
    gallery = Gallery([], Labels(np.arange(N) % 2, ["even", "odd"]))
    collection = Collection("test", gallery, [length], Words(features_of, "text", unknown))
    with TestClient(application(collection, Limits(rate=0))) as one:
        yield one


@pytest.mark.parametrize("order", ["weights", "distance"])
@pytest.mark.parametrize("scope", [{}, {"filter": "odd"}, {"radius": 3}, {"k": 1}, {"k": 200}])
def test_ties_count_the_items_that_have_the_same_value(client, codes, order, scope):
    body = {"modality": "fixed", "features": [1] * 5, "order": order, **scope}
    answers = client.post("/api/search/features", json=body).json()["answers"]
    bits = 2 * fh.unpack(codes, N_BITS).astype(float) - 1
    distances = fh.distances(fh.pack(WEIGHTS), codes)[0]
    allowed = np.arange(N) % 2 == 1 if "filter" in scope else np.ones(N, bool)
    scores = (bits @ WEIGHTS[0]).round(6)
    allowed &= distances <= scope.get("radius", N_BITS)
    # Equal distances are sorted by score.
    values = scores if order == "weights" else scores + 1000 * distances
    counts = [int((values[allowed] == values[one["id"]]).sum()) for one in answers]
    assert [one["ties"] for one in answers] == counts
    assert max(counts) > scope.get("k", 10) or scope.get("k") == 200


def test_distances_are_named_by_the_scale(client):
    answer = client.get("/api/search", params={"q": "dog", "k": 200}).json()
    assert answer["close"] == SCALE.close == 2
    for one in answer["answers"]:
        assert one["band"] == ("same", "close", "close", *["far"] * 6)[one["distance"]]
        assert one["nearness"] == SCALE.nearness(one["distance"])
    assert answer["weak"] is (min(one["distance"] for one in answer["answers"]) > 2)


def test_answers_are_weak_if_all_are_far(client):
    for q in KNOWN:
        answer = client.get("/api/search", params={"q": q, "k": 1, "order": "distance"}).json()
        assert answer["weak"] is (answer["answers"][0]["distance"] > SCALE.close)
    nothing = client.get("/api/search", params={"q": "dog", "radius": 0, "filter": "odd"}).json()
    assert nothing["weak"] is (not nothing["answers"])


def test_nothing_is_said_of_distances_whose_scale_is_unknown(client):
    for answer in (
        client.post("/api/search/code", json={"code": "00"}).json(),
        client.get("/api/items/3/neighbours").json(),
    ):
        assert answer["close"] is None and answer["weak"] is None
        assert {one["band"] for one in answer["answers"]} == {None}
        assert {one["nearness"] for one in answer["answers"]} == {None}
        assert answer["unknown_words"] == []


def test_unknown_words_are_named_with_known_ones(client):
    answer = client.get("/api/search", params={"q": "dog cart qwertzy"}).json()
    assert answer["unknown_words"] == [
        {"word": "cart", "suggestions": ["cat"]},
        {"word": "qwertzy", "suggestions": []},
    ]
    alone = client.get("/api/search", params={"q": "dog"}).json()
    assert alone["unknown_words"] == [] and alone["answers"] == answer["answers"]


def test_a_query_without_a_known_word_is_refused_with_suggestions(client):
    response = client.get("/api/search", params={"q": "cart"})
    assert response.status_code == 422
    assert response.json() == {
        "error": "no word is known",
        "unknown_words": [{"word": "cart", "suggestions": ["cat"]}],
    }


def test_an_item_that_is_the_query_is_no_near_answer():
    index = fh.HammingIndex(N_BITS)
    index.add(np.array([[0x00], [0xF0], [0xFF]], np.uint8))
    collection = Collection("test", Gallery(), [Length(index, scales={"": SCALE})])
    with TestClient(application(collection)) as client:
        answer = client.get("/api/items/0/neighbours").json()
        assert [one["band"] for one in answer["answers"]] == ["same", "far", "far"]
        assert answer["weak"] is True
        assert client.post("/api/search/code", json={"code": "00"}).json()["weak"] is False


def test_the_limit_of_an_integer_is_told_exactly(client):
    refused = client.get(f"/api/items/{2**53}/neighbours")
    assert refused.status_code == 400
    assert f"id must be an integer from 0 to {2**53 - 1}, got" in refused.json()["error"]


def test_the_path_of_a_file_that_was_sent_is_not_told():
    def refuse(paths):
        raise OSError(f"cannot identify {paths[0]}")

    index = fh.HammingIndex(N_BITS)
    index.add(np.zeros((3, 1), np.uint8))
    length = Length(index, lambda x, modality: x @ PROJECTIONS, {"image": 5})
    collection = Collection("test", Gallery(), [length], files=[Files(refuse, "image")])
    with TestClient(application(collection)) as client:
        sent = client.post("/api/search/file?modality=image", content=b"GIF89a")
    assert sent.status_code == 422
    assert sent.json() == {"error": "the file cannot be used: cannot identify file.gif"}


# Two words of the model's are in texts, "red" and "guitar" are in texts alone, and item 3 has none.
TEXTS = [("red cat", "guitar", "dog guitar", "")[i % 4] + f" number{i}" * (i % 4 != 3)
         for i in range(N)]  # fmt: skip


@pytest.fixture(scope="module")
def with_texts(codes):
    index = fh.HammingIndex(N_BITS)
    index.add(codes)
    length = Length(index, lambda x, modality: x @ PROJECTIONS, {"text": 5}, scales={"text": SCALE})
    collection = Collection(
        *("test", Gallery([]), [length], Words(features_of, "text", unknown)), texts=TEXTS
    )
    with TestClient(application(collection, Limits(rate=0))) as one:
        yield one


@pytest.mark.parametrize("q", ["red dog", "dog", "cat number40", "rain"])
def test_a_text_is_compared_with_codes_and_with_words(with_texts, codes, q):
    answer = with_texts.get("/api/search", params={"q": q, "k": 30}).json()
    words = fh.words.WordCodes(TEXTS)
    weights = {"codes": features_of([q]) @ PROJECTIONS}
    database = {"codes": codes}
    if q != "rain":
        weights["words"], database["words"] = words.project([q]), words.encode(TEXTS)
        scores, ids = fh.topk_fused(None, database, 30, weights=weights)
    else:
        scores, ids = fh.topk_weighted(weights["codes"], codes, 30)
    assert [one["id"] for one in answer["answers"]] == ids[0].tolist()
    assert [one["score"] for one in answer["answers"]] == pytest.approx(scores[0])
    for one in answer["answers"]:
        text = TEXTS[one["id"]].split()
        assert one["matched_words"] == [word for word in q.split() if word in text]
    alone = with_texts.get("/api/search", params={"q": q, "k": 30, "compare": "codes"}).json()
    scores, ids = fh.topk_weighted(weights["codes"], codes, 30)
    assert [one["id"] for one in alone["answers"]] == ids[0].tolist()


def test_a_text_that_only_items_know_finds_the_items_that_have_it(with_texts):
    answer = with_texts.get("/api/search", params={"q": "guitars", "k": 200}).json()
    found = [one["id"] for one in answer["answers"]]
    assert len(found) > 150 and all(i % 4 in (1, 2) for i in found)
    assert {one["distance"] for one in answer["answers"]} == {None}
    assert {one["band"] for one in answer["answers"]} == {None} and answer["weak"] is None
    assert answer["unknown_words"] == []
    only = with_texts.get("/api/search", params={"q": "number5 zebra"}).json()
    assert [one["id"] for one in only["answers"]] == [5]
    assert only["unknown_words"] == [{"word": "zebra", "suggestions": []}]
    codes = with_texts.get("/api/search", params={"q": "dog guitar", "compare": "codes"}).json()
    assert codes["unknown_words"] == [{"word": "guitar", "suggestions": []}]
    for scope in ({"order": "distance"}, {"radius": 3}, {"compare": "codes"}):
        response = with_texts.get("/api/search", params={"q": "guitar", **scope})
        assert response.status_code == 422
    nobody = with_texts.get("/api/search", params={"q": "gitar"})
    assert nobody.status_code == 422
    assert nobody.json()["unknown_words"] == [{"word": "gitar", "suggestions": ["guitar"]}]


def test_equal_distances_are_sorted_by_words(with_texts):
    params = {"q": "dog", "order": "distance", "k": 100}
    answers = with_texts.get("/api/search", params=params).json()["answers"]
    keys = [(one["distance"], -one["score"], one["id"]) for one in answers]
    assert keys == sorted(keys)
    nearest = [one["matched_words"] for one in answers if one["distance"] == keys[0][0]]
    n_matched = sum(map(bool, nearest))
    assert 0 < n_matched < len(nearest)
    assert sum(map(bool, nearest[: 2 * n_matched])) > n_matched / 2


def test_an_answer_with_a_word_of_the_query_is_not_weak(with_texts):
    answer = with_texts.get("/api/search", params={"q": "dog", "k": 1}).json()
    assert answer["answers"][0]["matched_words"] == ["dog"] and answer["weak"] is False
