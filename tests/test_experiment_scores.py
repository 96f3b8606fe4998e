"""Metrics by name, and differences of methods over seeds."""

import numpy as np
import pytest

import fasthash as fh
from fasthash import metrics
from fasthash.experiments import Metric, Score, differences
from strategies import random_codes

NAMES = {
    "map": lambda p: fh.mean_average_precision(*p),
    "map@20": lambda p: fh.mean_average_precision(*p, at=20),
    "map@R": lambda p: fh.mean_average_precision(*p, at="n_relevant"),
    "map@H2": lambda p: fh.mean_average_precision(*p, radius=2),
    "wap": lambda p: metrics.weighted_average_precision(*p),
    "wap@H0": lambda p: metrics.weighted_average_precision(*p, radius=0),
    "precision@7": lambda p: fh.precision_at(*p, ranks=7)[0],
    "recall@7": lambda p: fh.recall_at(*p, ranks=7)[0],
    "ndcg@7": lambda p: metrics.ndcg_at(*p, ranks=7)[0],
    "acg@7": lambda p: metrics.acg_at(*p, ranks=7)[0],
    "r-precision": lambda p: metrics.r_precision(*p),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_metric_by_name_is_the_function(name):
    rng = np.random.default_rng(0)
    codes, labels = random_codes(90, 10), rng.random((90, 4)) < 0.3
    problem = codes[:20], codes[20:], labels[:20], labels[20:]
    metric = Metric.parse(name)
    assert str(metric) == name
    assert metric.measure(*problem) == pytest.approx(NAMES[name](problem), rel=1e-12)
    assert metric.measure_queries(*problem).shape == (20,)
    alone = metric.measure_queries(codes, codes, labels, labels, exclude_self=True)
    rest = np.arange(1, 90)
    first = metric.measure_queries(codes[:1], codes[rest], labels[:1], labels[rest])
    assert alone[0] == pytest.approx(first[0], rel=1e-12, nan_ok=True)


@pytest.mark.parametrize(
    "name", ["MAP", "map@0", "map@", "precision", "ndcg@R", "acg@H2", "r-precision@5", "recall@H2"]
)
def test_what_is_no_metric(name):
    with pytest.raises(ValueError, match=r"a metric must be .*, got '"):
        Metric.parse(name)


def test_seeds_are_averaged_or_their_queries_joined():
    rng = np.random.default_rng(0)
    drawn = rng.random((2, 2, 40))
    scores = [
        Score(method, 8, seed, "a", "b", "map", x.mean(), x)
        for method, of_seeds in zip("AB", drawn, strict=True)
        for seed, x in enumerate(of_seeds)
    ]
    (same,) = differences(scores, against="B")
    (joined,) = differences(scores, against="B", same_queries=False)
    assert (same.comparison.n_queries, joined.comparison.n_queries) == (40, 80)
    assert same.comparison == metrics.compare_paired(*drawn.mean(axis=1))
    assert joined.comparison == metrics.compare_paired(*drawn.reshape(2, 80))
    assert (same.method, same.against) == ("A", "B")
    with pytest.raises(ValueError, match="against must be one of the methods, got 'C'"):
        differences(scores, against="C")
    # Seeds are paired by their numbers, in any order of the scores.
    for same_queries, one in ((True, same), (False, joined)):
        assert differences(scores[:2] + scores[:1:-1], against="B", same_queries=same_queries) == [
            one
        ]
    with pytest.raises(ValueError, match=r"A has the seeds \[0, 1\], and B has \[0\]"):
        differences(scores[:3], against="B")
    with pytest.raises(ValueError, match="two scores of A for 8 bits, a → b, map and seed 0"):
        differences([*scores, scores[0]], against="B")
    with pytest.raises(ValueError, match="no values by query"):
        differences([Score("A", 8, 0, "a", "b", "map", 0.5)], against="A")
