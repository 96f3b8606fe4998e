"""The API on an application: answers are the library's, and what is wrong is refused as it says."""

import concurrent.futures
import json

import numpy as np
import pytest

import fasthash as fh

pytest.importorskip("starlette", reason="the extra 'serve' is not installed")
pytest.importorskip("httpx2", reason="httpx2 asks the application")

from starlette.testclient import TestClient

from fasthash.serving.app import application
from fasthash.serving.collection import Collection, Length, Words
from fasthash.serving.gallery import Gallery, Labels
from fasthash.serving.limits import Limits, TokenBuckets
from fasthash.serving.schema import code_pattern

N, N_FEATURES = 300, 6
ATTACK = '<script>alert("1")</script>'


class Model:
    """Signs of projections, for two modalities, and nothing learned."""

    def __init__(self, n_bits):
        rng = np.random.default_rng(n_bits)
        self.projections = {name: rng.standard_normal((N_FEATURES, n_bits)) for name in "ab"}

    def project(self, x, modality):
        return x @ self.projections[modality]

    def encode(self, x, modality):
        return fh.pack(self.project(x, modality))


def features_of(texts):
    if texts[0] == "fail":
        raise RuntimeError("a fault of the function")
    if "?" in texts[0]:
        raise ValueError("no word is known")
    return np.array([np.resize([ord(c) for c in text], N_FEATURES) - 100.0 for text in texts])


@pytest.fixture(scope="module")
def samples():
    return np.random.default_rng(0).standard_normal((N, N_FEATURES))


@pytest.fixture(scope="module")
def collection(samples):
    """Codes of 20 and 64 bits, ids 0 to 299 without 7, labels even, odd, third."""
    numbers = np.arange(N)
    labels = np.stack([numbers % 2 == 0, numbers % 2 == 1, numbers % 3 == 0, numbers < 0], axis=1)
    names = [f"sample {i}" for i in range(N - 1)]
    names[3] = ATTACK
    gallery = Gallery(names, Labels(labels, ["even", "odd", "third", "none"]))
    lengths = []
    for n_bits in (20, 64):
        model = Model(n_bits)
        index = fh.HammingIndex(n_bits)
        index.add(model.encode(samples, "a"))
        index.remove([7])
        lengths.append(Length(index, model.project, {"a": N_FEATURES, "b": N_FEATURES}))
    return Collection("test", gallery, lengths, Words(features_of, "b"))


@pytest.fixture(scope="module")
def client(collection):
    with TestClient(application(collection, Limits(rate=0)), raise_server_exceptions=False) as one:
        yield one


def found(response):
    assert response.status_code == 200, response.text
    answers = response.json()["answers"]
    return [one["distance"] for one in answers], [one["id"] for one in answers]


def expected(samples, query, n_bits, modality, k, keep=None):
    """What `topk` finds among all but 7."""
    model = Model(n_bits)
    mask = np.arange(N) != 7
    if keep is not None:
        mask &= keep
    code = model.encode(np.atleast_2d(query), modality)
    distances, ids = fh.topk(code, model.encode(samples, "a"), k, filter=mask)
    is_found = ids[0] >= 0
    return distances[0][is_found].tolist(), ids[0][is_found].tolist()


def expected_by_weights(samples, query, n_bits, modality, k, keep=True):
    """What `topk_weighted` finds among all but 7: distances, ids, scores."""
    model = Model(n_bits)
    codes = model.encode(samples, "a")
    weights = model.project(np.atleast_2d(query), modality)
    mask = (np.arange(N) != 7) & keep
    scores, ids = fh.topk_weighted(weights, codes, min(k, mask.sum()), filter=mask)
    distances = fh.distances(fh.pack(weights), codes[ids[0]])[0]
    return distances.tolist(), ids[0].tolist(), scores[0].tolist()


def expected_by_distance(samples, query, n_bits, modality, k):
    """What `topk` finds, equal distances by score."""
    every = zip(*expected_by_weights(samples, query, n_bits, modality, N - 1), strict=True)
    ranked = sorted(every, key=lambda one: (one[0], -one[2], one[1]))[:k]
    return [one[0] for one in ranked], [one[1] for one in ranked]


def found_by_weights(response):
    answer = response.json()
    assert answer["order"] == "weights"
    return *found(response), [one["score"] for one in answer["answers"]]


@pytest.mark.parametrize("n_bits", [20, 64])
def test_every_way_of_asking_finds_what_topk_finds(client, samples, n_bits):
    scope = {"bits": n_bits, "k": 15}
    words = features_of(["two words"])
    params = {"q": "two words", "order": "distance", **scope}
    assert found(client.get("/api/search", params=params)) == expected_by_distance(
        samples, words, n_bits, "b", 15
    )
    body = {"modality": "a", "features": samples[7].tolist(), "order": "distance", **scope}
    answer = expected_by_distance(samples, samples[7], n_bits, "a", 15)
    assert found(client.post("/api/search/features", json=body)) == answer
    # Of a code, and of the code of an item, no scores are known.
    answer = expected(samples, samples[7], n_bits, "a", 15)
    code = Model(n_bits).encode(samples[7:8], "a")[0].tobytes().hex()
    assert found(client.post("/api/search/code", json={"code": code, **scope})) == answer
    assert found(client.get("/api/items/8/neighbours", params=scope)) == expected(
        samples, samples[8], n_bits, "a", 15
    )


@pytest.mark.parametrize("n_bits", [20, 64])
def test_queries_that_are_projected_are_sorted_by_score(client, samples, n_bits):
    scope = {"bits": n_bits, "k": 15}
    words = client.get("/api/search", params={"q": "two words", **scope})
    assert found_by_weights(words) == expected_by_weights(
        samples, features_of(["two words"]), n_bits, "b", 15
    )
    body = {"modality": "a", "features": samples[7].tolist(), "order": "weights", **scope}
    answer = found_by_weights(client.post("/api/search/features", json=body))
    assert answer == expected_by_weights(samples, samples[7], n_bits, "a", 15)
    distances, _, scores = answer
    assert scores == sorted(scores, reverse=True) and distances != sorted(distances)


def test_scores_sort_what_filter_and_radius_leave(client, samples):
    """The radius is that of Hamming distances, also where scores would prefer other items."""
    third = np.arange(N) % 3 == 0
    body = {"modality": "a", "features": samples[9].tolist(), "bits": 20, "filter": "third"}
    near = np.zeros(N, bool)
    near[[i for d, i in zip(*expected(samples, samples[9], 20, "a", N), strict=True) if d <= 6]] = 1
    for k, radius in ((1, 6), (3, 6), (200, 6), (200, 20)):
        response = client.post("/api/search/features", json={**body, "k": k, "radius": radius})
        keep = third & near if radius == 6 else third
        answer = expected_by_weights(samples, samples[9], 20, "a", k, keep)
        assert found_by_weights(response) == answer
    far = {"modality": "b", "features": [1e-9] * N_FEATURES, "radius": 0}
    assert found_by_weights(client.post("/api/search/features", json=far)) == ([], [], [])


def test_codes_have_no_scores(client):
    for response in (
        client.get("/api/items/8/neighbours"),
        client.post("/api/search/code", json={"code": "00" * 8}),
    ):
        answer = response.json()
        assert answer["order"] == "distance" and len(answer["answers"]) == 24
        assert all(one["score"] is None for one in answer["answers"])
    says = "order must be distance, got 'weights'. Only the code of the query is known"
    post = client.post("/api/search/code", json={"code": "00" * 8, "order": "weights"})
    for response in (post, client.get("/api/items/8/neighbours?order=weights")):
        assert response.status_code == 400 and says in response.json()["error"]


def test_items_with_weights_are_sorted_by_score(samples):
    lengths = []
    for n_bits in (20, 64):
        weights = Model(n_bits).project(samples, "a")
        index = fh.HammingIndex(n_bits)
        index.add(fh.pack(weights))
        index.remove([7])
        lengths.append(Length(index, item_weights=weights))
    with TestClient(application(Collection("x", Gallery(), lengths))) as client:
        response = client.get("/api/items/8/neighbours?k=9&bits=20")
        *answer, scores = found_by_weights(response)
        *right, right_scores = expected_by_weights(samples, samples[8], 20, "a", 9)
        # One sample is projected with other sums than all samples together.
        assert answer == right and scores == pytest.approx(right_scores, rel=1e-9)
        response = client.get("/api/items/8/neighbours?k=9&bits=20&order=distance")
        assert found(response) == expected_by_distance(samples, samples[8], 20, "a", 9)


def test_filters_narrow_what_is_found(client, samples):
    third = np.arange(N) % 3 == 0
    params = {"filter": "third", "k": 200, "bits": 20}
    distances, ids = expected(samples, samples[9], 20, "a", 200, third)
    assert found(client.get("/api/items/9/neighbours", params=params)) == (distances, ids)
    assert len(ids) == 100
    near = [(d, i) for d, i in zip(distances, ids, strict=True) if d <= 6]
    response = client.get("/api/items/9/neighbours", params={**params, "radius": 6})
    assert list(zip(*found(response), strict=True)) == near and 0 < len(near) < 100


def test_bits_have_a_default(client, samples):
    assert client.get("/api/items/8/neighbours").json()["bits"] == 64
    code = Model(64).encode(samples[:1], "a")[0].tobytes().hex()
    assert client.post("/api/search/code", json={"code": code}).json()["bits"] == 64


def test_items_are_listed_described_and_found_by_name(client):
    assert client.get("/api/items/8").json() == {
        "id": 8, "name": "sample 8", "labels": ["even"], "has_picture": False, "has_sound": False
    }  # fmt: skip
    assert client.get("/api/items/299").json()["name"] == "item 299"
    page = client.get("/api/items", params={"start": 5, "k": 4}).json()
    assert page["n_items"] == 299 and [one["id"] for one in page["items"]] == [5, 6, 8, 9]
    named = client.get("/api/items", params={"contains": "29 SAMPLE", "filter": "odd"}).json()
    assert [one["id"] for one in named["items"]] == [29, 129, 229, 291, 293, 295, 297]
    assert client.get("/api/items", params={"contains": "item"}).json()["n_items"] == 0
    assert client.get("/api/items", params={"contains": "sample 98"}).json()["n_items"] == 3
    labels = client.get("/api/labels").json()["labels"]
    assert labels == [
        {"name": "even", "n_items": 150},
        {"name": "odd", "n_items": 149},
        {"name": "third", "n_items": 100},
    ]
    info = client.get("/api/info").json()
    assert info["bits"] == [20, 64] and info["by_words"] and info["n_items"] == 299


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/api/search", 400, "q is missing"),
        ("/api/search?q=", 400, "q must be text of 1 to 200"),
        ("/api/search?q=" + "a" * 201, 400, "q must be"),
        ("/api/search?q=" + "a" * 17000, 414, "16384"),
        ("/api/search?q=a&k=0", 400, "k must be an integer from 1 to 200, got 0"),
        ("/api/search?q=a&k=1e2", 400, "k must be"),
        ("/api/search?q=a&k=" + "9" * 4000, 400, "k must be"),
        ("/api/search?q=a&bits=63", 400, "bits must be one of 20, 64"),
        ("/api/search?q=a&order=id", 400, "order must be one of weights, distance"),
        ("/api/search?q=a&radius=-1", 400, "radius must be"),
        ("/api/search?q=a&radius=65", 400, "radius must be"),
        ("/api/search?q=a&filter=none", 404, "no label 'none'"),
        ("/api/search?q=a&q=b", 400, "given twice"),
        ("/api/search?q=a&limit=3", 400, "'limit' is unknown here: known are q, k, bits"),
        ("/api/search?q=%3F", 422, "no word is known"),
        ("/api/search?q=fail", 500, "log"),
        ("/api/items/7", 404, "no item 7"),
        ("/api/items/300/neighbours", 404, "no item 300"),
        ("/api/items/x", 400, "id must be an integer"),
        ("/api/items/-1", 400, "id must be"),
        ("/api/items/9007199254740993", 400, "id must be"),
        ("/api/items/8/picture", 404, "no picture"),
        ("/api/", 404, "Not Found"),
        ("/api/info/", 404, "Not Found"),
    ],
)
def test_questions_that_are_wrong(client, path, status, says):
    response = client.get(path)
    assert (response.status_code, response.headers["content-type"]) == (status, "application/json")
    assert says in response.json()["error"]


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"", 400, "not valid JSON"),
        (b"{", 400, "not valid JSON"),
        (b"\xff", 400, "not valid JSON"),
        (b"[" * 50_000, 400, "not valid JSON"),
        (b"[1]", 400, "a JSON object is needed"),
        (b'{"modality": "a", "modality": "b"}', 400, "a parameter is given twice"),
        (b"{}", 400, "modality is missing"),
        ({"modality": "c"}, 400, "modality must be one of a, b"),
        ({"modality": ["a"]}, 400, "modality must be one of a, b"),
        ({"modality": "a"}, 400, "features is missing"),
        ({"modality": "a", "features": [0] * 5}, 400, "a list of 6 numbers, got a list of 5"),
        ({"modality": "a", "features": [0] * 5 + [True]}, 400, "features[5] must be a number"),
        ({"modality": "a", "features": [0] * 5 + ["1"]}, 400, "features[5] must be a number"),
        ({"modality": "a", "features": [0] * 5 + [10**400]}, 400, "features[5] must be"),
        (b'{"modality": "a", "features": [0, 0, 0, 0, 0, NaN]}', 400, "not valid JSON"),
        (b'{"modality": "a", "features": [0, 0, 0, 0, 0, 1e999]}', 400, "features[5] must be"),
        ({"modality": "a", "features": [0] * 6, "k": 1.5}, 400, "k must be"),
        ({"modality": "a", "features": [0] * 6}, 422, "all features are zero"),
        ({"modality": "a", "features": [0] * 6, "order": 1}, 400, "order must be"),
        ({"modality": "a", "features": [0] * 6, "x": 1}, 400, "'x' is unknown here"),
        ({"modality": "a", "features": [0] * 6, "filter": "?"}, 404, "no label"),
        (b" " * 70_000, 413, "more than 65536 bytes"),
    ],
)
def test_bodies_that_are_wrong(collection, body, status, says):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"content-type": "application/json; charset=utf-8"}
    limits = Limits(rate=0, body_bytes=1 << 16)
    with TestClient(application(collection, limits)) as client:
        response = client.post("/api/search/features", content=content, headers=headers)
        assert response.status_code == status and says in response.json()["error"]
        if status == 413:
            # The same without a length that is announced.
            parts = iter([content[:40_000], content[40_000:]])
            assert client.post(
                "/api/search/features", content=parts, headers=headers
            ).status_code == 413  # fmt: skip


@pytest.mark.parametrize("code", ["", "00" * 7, "0g" * 8, "00" * 9, "00 " * 8, "00" * 8 + "\n", 7])
def test_codes_that_are_wrong(client, code):
    response = client.post("/api/search/code", json={"code": code})
    assert response.status_code == 400 and "code must be text like" in response.json()["error"]


def test_padding_bits_must_be_zero(client):
    post = client.post("/api/search/code", json={"code": "fffff1", "bits": 20})
    assert post.status_code == 400
    post = client.post("/api/search/code", json={"code": "fffff0", "bits": 20})
    assert post.status_code == 200
    assert code_pattern(20) == "^[0-9a-f]{5}0$" and code_pattern(13) == "^[0-9a-f]{3}[08]$"


def test_methods_and_types_that_are_wrong(client):
    for method, path, allowed in (
        ("POST", "/api/search", "GET"),
        ("GET", "/api/search/code", "POST"),
        ("DELETE", "/api/items/8", "GET"),
        ("PUT", "/", "GET"),
    ):
        response = client.request(method, path)
        assert response.status_code == 405 and allowed in response.headers["allow"]
    response = client.post("/api/search/code", content=b"{}", headers={"content-type": "text/json"})
    assert response.status_code == 415
    assert client.post("/api/search/code", data={"code": "00"}).status_code == 415


def test_one_client_asks_too_often_and_others_do_not(collection):
    app = application(collection, Limits(rate=0.01, burst=3))
    one, other = (TestClient(app, client=(address, 1)) for address in ("10.0.0.1", "10.0.0.2"))
    assert [one.get("/api/info").status_code for _ in range(5)] == [200, 200, 200, 429, 429]
    refused = one.get("/api/info")
    assert 90 <= int(refused.headers["retry-after"]) <= 100 and "wait" in refused.json()["error"]
    assert other.get("/api/info").status_code == 200


def test_buckets_fill_again_and_are_forgotten():
    now = 0.0
    buckets = TokenBuckets(rate=2, burst=3, clock=lambda: now)
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    now = 0.5
    assert [buckets.take("a") for _ in range(2)] == [0, 0.5]
    now = 1e6
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    for i in range(20_000):
        buckets.take(str(i))
    assert len(buckets) == 10_000


def test_only_known_hosts_are_answered(collection):
    app = application(collection, hosts=["127.0.0.1", "[::1]", "localhost"])
    for host, status in (
        ("127.0.0.1:8000", 200),
        ("localhost", 200),
        ("[::1]:8000", 200),
        ("attacker.example", 400),
        ("127.0.0.1.attacker.example", 400),
    ):
        response = TestClient(app, base_url="http://localhost").get(
            "/api/info", headers={"host": host}
        )
        assert response.status_code == status, host


def test_every_answer_keeps_the_browser_on_a_leash(client):
    for path in ("/", "/search.js", "/api/info", "/api/items/x", "/nothing", "/api/search?q=fail"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff", path
        assert headers["content-security-policy"].startswith("default-src 'none'"), path
        assert "unsafe" not in headers["content-security-policy"]
    page = client.get("/").text
    assert "://" not in page and "style=" not in page and "onclick" not in page


def test_texts_of_others_are_data(client):
    response = client.get("/api/items/3")
    assert response.json()["name"] == ATTACK
    assert response.headers["content-type"] == "application/json"
    assert ATTACK not in client.get("/").text


def test_only_what_can_be_done_is_described(client, collection):
    paths = client.get("/openapi.json").json()["paths"]
    assert "/api/search" in paths and "/api/search/features" in paths
    plain = Collection("plain", Gallery(), [Length(collection._lengths[20].index)])
    with TestClient(application(plain)) as other:
        paths = other.get("/openapi.json").json()["paths"]
        assert set(paths) == {
            "/api/info", "/api/labels", "/api/items", "/api/items/{id}", "/api/items/{id}/picture",
            "/api/items/{id}/neighbours", "/api/search/code", "/api/search/codes",
        }  # fmt: skip
        assert other.get("/api/search?q=a").status_code == 404
        assert other.get("/api/items?filter=even").status_code == 400
        assert other.get("/api/labels").json() == {"labels": []}


def test_lengths_must_fit_together(collection):
    one, other = fh.HammingIndex(8), fh.HammingIndex(16)
    one.add(np.zeros((2, 1), np.uint8))
    other.add(np.zeros((3, 2), np.uint8))
    for lengths, words, says in (
        ([], None, "no index"),
        ([Length(one), Length(one)], None, "same length"),
        ([Length(one), Length(other)], None, "different ids"),
        ([Length(one)], Words(features_of, "b"), "no model that encodes 'b'"),
    ):
        with pytest.raises(ValueError, match=says):
            Collection("x", Gallery(), lengths, words)


def test_threads_that_ask_at_once_get_their_own_answers(client, samples):
    def ask(i):
        return found(client.get(f"/api/items/{i}/neighbours?k=5&bits=64"))

    asked = [i for i in range(100) if i != 7]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, asked))
    assert answers == [expected(samples, samples[i], 64, "a", 5) for i in asked]
