"""``fasthash bench``: what it measures, answers that are wrong, peers that are missing."""

import json
import sys

import numpy as np
import pytest

from fasthash import cli
from fasthash.commands import bench
from fasthash.experiments import speed as measurements

pytestmark = pytest.mark.skipif(
    not hasattr(np, "bitwise_count"), reason="numpy counts bits from version 2 on"
)


def run(capsys, command, status=0):
    capsys.readouterr()
    found = cli.main(command.split())
    printed = capsys.readouterr()
    assert found == status, printed.err
    return printed


def test_tasks_are_those_that_can_be_measured():
    assert tuple(measurements.TASKS) == bench.TASKS


def test_everything_is_measured(capsys):
    said = json.loads(run(capsys, "bench --quick --repeats 1 --json").out)
    assert (said["quick"], said["repeats"], said["numpy"]) == (True, 1, np.__version__)
    rows = said["table"]
    assert list(dict.fromkeys(row["task"] for row in rows)) == list(bench.TASKS)
    for row in rows:
        assert row["seconds"] > 0 and row["over_numpy"]["median"] > 0
        assert (row["over_limit"] is not None) == (row["limit"] != "")
    assert {row["limit"] for row in rows} == {"", "read", "products"}
    with_faiss = {row["task"] for row in rows if row["over_faiss"] is not None}
    assert with_faiss == ({"top-k", "multi-index"} if said["faiss"] else set())


def test_a_table_with_and_without_faiss(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    printed = run(capsys, "bench --quick --repeats 1 --tasks multi-index rank")
    assert [line.split()[0] for line in printed.out.splitlines()] == [
        "task",
        "multi-index",
        "rank",
        "rank",
    ]
    assert "one thread" in printed.err
    assert run(capsys, "bench --quick --repeats 1 --tasks rank --quiet").err == ""


@pytest.mark.parametrize("task", ["top-k", "within", "multi-index"])
def test_wrong_answers_are_not_timed(capsys, monkeypatch, task):
    def wrong(call):
        def search(*arguments, **options):
            *rest, distances, ids = call(*arguments, **options)
            return *rest, distances + 1, ids

        return search

    for owner, name in (
        (measurements, "topk"),
        (measurements, "within"),
        (measurements.MultiIndexHash, "search"),
    ):
        monkeypatch.setattr(owner, name, wrong(getattr(owner, name)))
    printed = run(capsys, f"bench --quick --repeats 1 --tasks {task}", status=1)
    assert "distances differ between fasthash and its peer" in printed.err and printed.out == ""


def test_an_old_numpy_is_named(capsys, monkeypatch):
    monkeypatch.delattr(np, "bitwise_count")
    err = run(capsys, "bench --quick", status=1).err
    assert "pip install 'numpy>=2'" in err and err.count("\n") == 1
