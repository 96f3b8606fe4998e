"""Merge the answers or sums of many parts, so that no process receives many of them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import Any

from .pieces import cut

__all__ = ["MOST_ANSWERS", "in_groups", "merged_on_workers", "total_of"]

# Largest number of answers that one process merges. If there are more, groups of this size are
# merged first: on a cluster by workers, so that every process receives a bounded number of answers.
MOST_ANSWERS = 16


def in_groups(answers: Sequence[Any], merge: Callable[[list[Any]], Any]) -> list[Any]:
    """Merge groups of answers, until at most `MOST_ANSWERS` are left; return these."""
    answers = list(answers)
    while len(answers) > MOST_ANSWERS:
        answers = [merge(answers[some]) for some in cut(len(answers), most=MOST_ANSWERS)]
    return answers


def merged_on_workers(
    client: Any, answers: Sequence[Any], merge: Callable[[list[Any]], Any], is_large: bool = False
) -> Any:
    """
    Merge answers that are futures, and return the result.

    Workers merge if there are many answers. If each is large, one of them makes the result, so that
    only this comes to the client, through the scheduler.
    """
    call = partial(_merge, merge)
    left = in_groups(answers, lambda some: client.submit(call, *some, pure=False))
    if is_large and len(left) > 1:
        return client.submit(call, *left, pure=False).result()
    return merge(client.gather(left))


def total_of(results: Sequence[Any]) -> Any:
    """
    Add up the results of parts in their order: numbers, arrays, or tuples of these.

    One result is returned as it is, also if it cannot be added. A total of None is None.
    """
    if len(results) > 1 and isinstance(results[0], tuple):
        return tuple(total_of(some) for some in zip(*results, strict=True))
    return None if results[0] is None else reduce(operator.add, results)


def _merge(merge: Callable[[list[Any]], Any], *answers: Any) -> Any:
    return merge(list(answers))
