"""The API with a recall, and with several queries in one request: the answers are the library's."""

import numpy as np
import pytest

import fasthash as fh

pytest.importorskip("starlette", reason="the extra 'serve' is not installed")
pytest.importorskip("httpx2", reason="httpx2 asks the application")

from starlette.testclient import TestClient

from fasthash.index import _filtered_lists
from fasthash.serving.app import application
from fasthash.serving.collection import Collection, Length
from fasthash.serving.gallery import Gallery, Labels
from fasthash.serving.limits import Limits

pytestmark = pytest.mark.usefixtures("lists_answer")

N, N_BITS, N_FEATURES = 6000, 128, 16
PROJECTIONS = np.random.default_rng(0).standard_normal((N_FEATURES, N_BITS))


def near_features(n, seed):
    """Features near one of 100 centres."""
    centres = np.random.default_rng(7).standard_normal((100, N_FEATURES))
    rng = np.random.default_rng(seed)
    return centres[rng.integers(0, 100, n)] + 0.3 * rng.standard_normal((n, N_FEATURES))


@pytest.fixture(scope="module")
def index():
    made = fh.HammingIndex(N_BITS)
    made.add(fh.pack(near_features(N, 1) @ PROJECTIONS))
    made.partition(n_lists=150)
    return made


@pytest.fixture(scope="module")
def x():
    return near_features(100, 2)


@pytest.fixture(scope="module")
def client(index):
    length = Length(index, lambda x, modality: x @ PROJECTIONS, {"": N_FEATURES})
    collection = Collection("test", Gallery([], Labels(np.arange(N) % 2)), [length])
    with TestClient(application(collection, Limits(rate=0))) as one:
        yield one


def hexes(x):
    return [code.tobytes().hex() for code in fh.pack(x @ PROJECTIONS)]


def asked(client, path, **body):
    response = client.post(path, json=body)
    assert response.status_code == 200, response.text
    return response.json()


def ids_of(answer):
    return [one["id"] for one in answer["answers"]]


def test_a_search_with_a_recall_is_that_of_the_index(client, index, x):
    answer = asked(client, "/api/search/code", code=hexes(x)[0], k=10, recall=0.9)
    assert (answer["recall"], answer["exact"]) == (0.9, False)
    expected = index.search(fh.pack(x[:1] @ PROJECTIONS), 10, recall=0.9)
    assert ids_of(answer) == expected[1][0].tolist()
    assert [one["distance"] for one in answer["answers"]] == expected[0][0].tolist()
    assert {one["ties"] for one in answer["answers"]} == {None}
    near = client.get("/api/items/5/neighbours?k=3&recall=.9").json()
    assert near["recall"] == 0.9 and not near["exact"] and near["answers"][0]["id"] == 5


def test_a_filter_is_calibrated_when_its_searches_have_paid_for_it(index, x, monkeypatch):
    monkeypatch.setattr(_filtered_lists, "_CALIBRATION_SECONDS", 0)
    collection = Collection("test", Gallery([], Labels(np.arange(N) % 2)), [Length(index)])
    body = {"codes": hexes(x), "k": 5, "recall": 0.8, "filter": "1"}
    with TestClient(application(collection, Limits(rate=0))) as one:
        answers = [asked(one, "/api/search/codes", **body)["searches"] for _ in range(50)]
    assert answers[0][0]["exact"] and not answers[-1][0]["exact"]
    assert all(item["id"] % 2 for answer in answers[-1] for item in answer["answers"])
    exact = [set(ids_of(answer)) for answer in answers[0]]
    kept = [len(a & set(ids_of(b))) / 5 for a, b in zip(exact, answers[-1], strict=True)]
    assert np.mean(kept) > 0.75


@pytest.mark.parametrize("body", [{}, {"recall": 1}, {"recall": 0.9, "filter": "1"}])
def test_what_is_exact_says_so(client, index, x, body):
    answer = asked(client, "/api/search/code", code=hexes(x)[1], k=20, **body)
    assert answer["exact"] and answer["recall"] == body.get("recall")
    allowed = index.ids[index.ids % 2 == 1] if "filter" in body else None
    expected = index.search(fh.pack(x[1:2] @ PROJECTIONS), 20, filter=allowed)[1]
    assert ids_of(answer) == expected[0].tolist()


def test_an_index_without_lists_is_searched_exactly(x):
    index = fh.HammingIndex(N_BITS)
    index.add(fh.pack(x @ PROJECTIONS))
    collection = Collection("few", Gallery(), [Length(index)])
    with TestClient(application(collection, Limits(rate=0))) as one:
        answer = asked(one, "/api/search/code", code=hexes(x)[0], k=3, recall=0.5)
    assert answer["exact"] and answer["recall"] == 0.5


def test_answers_within_a_recall_are_sorted_by_distance_and_score(client, index, x):
    body = {"features": x[0].tolist(), "k": 10, "order": "distance", "recall": 0.9}
    answer = asked(client, "/api/search/features", **body)
    code = fh.pack(x[:1] @ PROJECTIONS)
    found = index.search(code, 10, recall=0.9)[1][0]
    assert set(ids_of(answer)) == set(found.tolist())
    order = [(one["distance"], -one["score"], one["id"]) for one in answer["answers"]]
    assert order == sorted(order)
    near = asked(client, "/api/search/features", **body, radius=order[4][0])
    assert near["answers"] == [one for one in answer["answers"] if one["distance"] <= order[4][0]]


@pytest.mark.parametrize("recall", [None, 0.9])
@pytest.mark.parametrize("order", ["weights", "distance"])
def test_several_queries_are_answered_as_each_alone(client, x, order, recall):
    scope = {"k": 7, "order": order}
    if recall is None:
        scope["filter"] = "0"
    elif order == "distance":
        scope["recall"] = recall
    rows = x[:20].tolist()
    several = asked(client, "/api/search/rows", rows=rows, **scope)["searches"]
    alone = [asked(client, "/api/search/features", features=row, **scope) for row in rows]
    scores = [
        [one.pop("score") for answer in answers for one in answer["answers"]]
        for answers in (several, alone)
    ]
    # A product of one row adds up in another order than that of several.
    assert scores[0] == pytest.approx(scores[1], rel=1e-9)
    assert several == alone
    assert {answer["exact"] for answer in several} == {"recall" not in scope}
    if order == "distance":
        codes = hexes(x[:20])
        several = asked(client, "/api/search/codes", codes=codes, **scope)["searches"]
        assert several == [asked(client, "/api/search/code", code=one, **scope) for one in codes]


def test_ties_of_several_queries_are_counted_as_of_each_alone():
    codes = np.repeat(np.arange(6, dtype=np.uint8)[:, None], [1, 2, 40, 3, 1, 1], axis=0)
    index = fh.HammingIndex(8)
    index.add(codes)
    collection = Collection("ties", Gallery(), [Length(index)])
    with TestClient(application(collection, Limits(rate=0))) as one:
        body = {"codes": ["00", "02", "03", "ff"], "k": 2}
        answers = asked(one, "/api/search/codes", **body)["searches"]
    assert [[each["ties"] for each in answer["answers"]] for answer in answers] == [
        [1, 43], [40, 40], [3, 3], [4, 4],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("code", {"code": "00" * 16, "recall": 0.97}, 400, "recall must be one of 0.5, 0.8, 0.9"),
        ("code", {"code": "00" * 16, "recall": 0}, 400, "recall must be one of"),
        ("code", {"code": "00" * 16, "recall": "0.9"}, 400, "recall must be one of"),
        ("features", {"features": [1] * 16, "recall": 0.9}, 422, "goes with order=distance"),
        ("codes", {"codes": []}, 400, "codes must be a list of 1 to 100 texts, got a list of 0"),
        ("codes", {"codes": ["00" * 16] * 101}, 400, "got a list of 101"),
        ("codes", {"codes": ["00"]}, 400, "codes[0] must be text like"),
        ("rows", {"rows": [[1] * 16, [1] * 15]}, 400, "rows[1] must be a list of 16 numbers"),
        ("rows", {"rows": [[1] * 16, [0] * 16]}, 422, "all features of row 1 are zero"),
        ("rows", {"rows": 5}, 400, "rows must be a list of 1 to 100 lists, got 5"),
    ],
)
def test_what_is_wrong_is_refused(client, path, body, status, says):
    response = client.post(f"/api/search/{path}", json=body)
    assert response.status_code == status and says in response.json()["error"]


@pytest.mark.parametrize("has_weights", [True, False])
def test_the_description_lists_the_refusal_of_a_recall_with_weights(index, has_weights):
    weights = near_features(N, 1) @ PROJECTIONS if has_weights else None
    collection = Collection("items", Gallery(), [Length(index, item_weights=weights)])
    with TestClient(application(collection, Limits(rate=0))) as one:
        status = one.get("/api/items/5/neighbours?k=3&recall=.9").status_code
        described = one.get("/openapi.json").json()["paths"]["/api/items/{id}/neighbours"]["get"]
    assert status == (422 if has_weights else 200)
    assert ("422" in described["responses"]) == has_weights


@pytest.mark.parametrize("recall", ["", ".", "high", "1e-1", "nan", "0.91"])
def test_recalls_of_addresses_that_are_wrong(client, recall):
    response = client.get("/api/items/5/neighbours", params={"recall": recall})
    assert response.status_code == 400 and "recall must be one of" in response.json()["error"]


def test_an_index_that_only_searches_exactly_has_no_recall():
    index = fh.MultiIndexHash(64)
    index.add(np.zeros((3, 8), np.uint8))
    with TestClient(application(Collection("exact", Gallery(), [Length(index)]))) as one:
        assert "recall is unknown" in one.get("/api/items/0/neighbours?recall=.9").text.replace(
            "'", ""
        )
