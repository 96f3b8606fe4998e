"""Metrics against programs that others wrote: trec_eval and scikit-learn."""

import numpy as np
import pytest

import fasthash as fh
from fasthash import metrics
from strategies import all_distances, random_codes

pytrec_eval = pytest.importorskip("pytrec_eval", reason="needs pytrec-eval-terrier")


@pytest.fixture(scope="module")
def problem():
    """64 bits, 300 codes with up to six labels, 40 queries."""
    rng = np.random.default_rng(0)
    labels = rng.random((340, 6)) < 0.3
    # Items with common labels have similar codes.
    codes = random_codes(340, 64)
    codes[:, :4] = np.packbits(labels.astype(np.uint8), axis=1) ^ (codes[:, :4] & 0x29)
    return codes[:40], codes[40:], labels[:40], labels[40:]


@pytest.fixture(scope="module")
def of_trec(problem):
    queries, codes, query_labels, labels = problem
    shared = query_labels.astype(int) @ labels.T.astype(int)
    distances = all_distances(queries, codes)
    # Equal distances in the order of the rows; trec_eval sorts them by name.
    scores = -(distances * len(codes) + np.arange(len(codes)))
    relevance = {
        f"{q}": {f"{i}": int(g) for i, g in enumerate(row)} for q, row in enumerate(shared)
    }
    run = {f"{q}": {f"{i}": float(s) for i, s in enumerate(row)} for q, row in enumerate(scores)}
    measures = {"map", "map_cut.5,20", "ndcg", "ndcg_cut.5,20", "Rprec", "P.5,20", "recall.5,20"}
    return pytrec_eval.RelevanceEvaluator(relevance, measures).evaluate(run)


def test_trec_eval_computes_the_same(problem, of_trec):
    has_relevant = np.flatnonzero((problem[2].astype(int) @ problem[3].T).any(axis=1))
    n = len(problem[1])
    of_ranks = {"ranks": [5, 20, n], "ties": "database", "per_query": True}
    ndcg = metrics.ndcg_at(*problem, gain="linear", **of_ranks)
    precision, recall = fh.precision_at(*problem, **of_ranks), fh.recall_at(*problem, **of_ranks)
    ours = {
        "map": fh.average_precision(*problem, ties="database"),
        "Rprec": metrics.r_precision(*problem, ties="database", per_query=True),
        "ndcg": ndcg[:, 2],
    }
    for column, k in enumerate((5, 20)):
        ours[f"ndcg_cut_{k}"] = ndcg[:, column]
        ours[f"P_{k}"] = precision[:, column]
        ours[f"recall_{k}"] = recall[:, column]
        ours[f"map_cut_{k}"] = fh.average_precision(
            *problem, at=k, ties="database", normalize="all_relevant"
        )
    for name, values in ours.items():
        theirs = [of_trec[f"{q}"][name] for q in has_relevant]
        np.testing.assert_allclose(values[has_relevant], theirs, rtol=1e-12, err_msg=name)


def test_trec_eval_agrees_when_items_leave_themselves_out(problem):
    _, codes, _, labels = problem
    n = len(codes)
    shared = labels.astype(int) @ labels.T.astype(int)
    distances = all_distances(codes, codes)
    scores = -(distances * n + np.arange(n))
    others = [[j for j in range(n) if j != i] for i in range(n)]
    relevance = {f"{i}": {f"{j}": int(shared[i, j] > 0) for j in others[i]} for i in range(n)}
    run = {f"{i}": {f"{j}": float(scores[i, j]) for j in others[i]} for i in range(n)}
    theirs = pytrec_eval.RelevanceEvaluator(relevance, {"success.1,5,10", "map"}).evaluate(run)
    asked = [theirs[query] for query, row in relevance.items() if any(row.values())]
    ours = fh.retrieval_scores(
        {"a": codes, "b": codes},
        labels={"a": labels, "b": labels},
        at=None,
        ties="database",
        exclude_self=True,
    )["a", "b"]
    assert ours.n_queries == len(asked)
    assert ours.mean_average_precision == pytest.approx(np.mean([one["map"] for one in asked]))
    assert ours.recall == pytest.approx(
        {k: np.mean([one[f"success_{k}"] for one in asked]) for k in (1, 5, 10)}
    )


def test_scikit_learn_has_the_same_mean_over_ties(problem):
    from sklearn.metrics import ndcg_score

    queries, codes, query_labels, labels = problem
    shared = query_labels.astype(int) @ labels.T.astype(int)
    rows = np.flatnonzero(shared.any(axis=1))
    distances = all_distances(queries, codes) // 4
    assert len(np.unique(distances)) < 20
    for gain, gains in (("linear", shared), ("exponential", 2**shared - 1)):
        for k in (1, 5, 50, len(codes)):
            theirs = ndcg_score(gains[rows], -distances[rows].astype(float), k=k)
            # Codes whose Hamming distances are these: d ones of 17 bits, for one query at a time.
            ours = [
                metrics.ndcg_at(
                    np.zeros((1, 3), np.uint8),
                    np.packbits(np.arange(24) < distances[q][:, None], axis=1),
                    query_labels[q : q + 1],
                    labels,
                    ranks=k,
                    gain=gain,
                )[0]
                for q in rows
            ]
            assert np.mean(ours) == pytest.approx(theirs, rel=1e-12)
