"""Searches that count ties: the answers are those of a full sort, and memory has a limit."""

import numpy as np
import pytest

import fasthash as fh
from fasthash.index import _ties
from fasthash.index._ties import search_with_ties
from strategies import random_codes


@pytest.mark.parametrize("n_bits", [1, 4, 8, 24])
@pytest.mark.parametrize("k", [1, 3, 200, 600])
def test_all_ties_are_found_with_few_answers_at_a_time(monkeypatch, n_bits, k):
    monkeypatch.setattr(_ties, "_MOST_ANSWERS", 2000)
    codes, queries = random_codes(500, n_bits, 1), random_codes(40, n_bits, 2)
    index = fh.HammingIndex(n_bits)
    index.add(codes)
    sizes = []

    def search(some, n):
        sizes.append(len(some) * n)
        assert len(some) == 1 or sizes[-1] <= 2000
        return index.search(queries[some], n)

    found = list(search_with_ties(search, len(queries), k))
    assert len(found) == len(queries)
    for query, (distances, ids, ties) in zip(queries, found, strict=True):
        far = fh.distances(query[None], codes)[0]
        order = np.lexsort((np.arange(500), far))
        n = int((far <= far[order[min(k, 500) - 1]]).sum())
        np.testing.assert_array_equal(ids, order[:n])
        np.testing.assert_array_equal(distances, far[order[:n]])
        assert ties == [int((far == distance).sum()) for distance in distances]


def test_without_queries_or_codes():
    index = fh.HammingIndex(8)
    queries = random_codes(2, 8, 1)
    assert list(search_with_ties(lambda some, n: index.search(queries[some], n), 0, 3)) == []
    for distances, ids, ties in search_with_ties(
        lambda some, n: index.search(queries[some], n), 2, 3
    ):
        assert len(distances) == len(ids) == len(ties) == 0
