"""Commands with ``--cluster``: the same answers as without, from the installed program."""

import json
import pathlib

import numpy as np
import pytest

import fasthash as fh
from command_line import result, run
from fasthash._core.cluster import Cluster

dask = pytest.importorskip("dask", reason="needs Dask, of the extra `distributed`")
pytest.importorskip("distributed", reason="needs Dask, of the extra `distributed`")


@pytest.fixture
def address(client):
    return client.scheduler.address


@pytest.fixture
def fits(monkeypatch):
    """The fits on workers so far."""
    begun, enter = [], Cluster.__enter__
    monkeypatch.setattr(Cluster, "__enter__", lambda self: begun.append(self) or enter(self))
    return begun


def test_encode_build_and_search(capsys, emoji, address):
    features = "--model emoji.model --modality image --features emoji/emoji.npz:I_tr"
    run(capsys, f"encode {features} --output one.npy")
    run(capsys, f"encode {features} --output many.npy --cluster {address}")
    np.testing.assert_array_equal(np.load("many.npy"), np.load("one.npy"))

    run(capsys, "index build one.index --codes one.npy --model emoji.model")
    for number, items in enumerate((features, "--codes one.npy --model emoji.model")):
        folder = f"shards{number}"
        built = result(capsys, f"index build {folder} {items} --cluster {address}")
        assert built["kind"] == "ShardedIndex" and len(built["shards"]) == 2
        assert built["n"] == len(np.load("one.npy"))
        assert built["model"] == fh.load("emoji.model").fingerprint()
        for how in (
            "--codes one.npy --rows 0:5",
            f"{features} --rows 0:5 --ties",
            "--radius 9 --codes one.npy --rows 0:3",
        ):
            found = run(capsys, f"--json search {folder} {how} --cluster {address}")[0]
            expected = run(capsys, f"--json search one.index {how}")[0]
            assert found and found == expected


@pytest.mark.parametrize(
    "method",
    [
        "AMSH --labels emoji/emoji.npz:L_tr --set n_anchors=20 n_sweeps=2",
        "RREH --set n_anchors=20 n_sweeps=1",
    ],
)
def test_fit(capsys, emoji, address, fits, method):
    """The workers have two parts, so the codes are as good, but not the same."""
    sources = "image=emoji/emoji.npz:I_tr text=emoji/emoji.npz:T_tr"
    fit = f"fit --method {method} --features {sources} --bits 16 --output"
    one = result(capsys, f"{fit} one.model")
    assert not fits
    many = result(capsys, f"{fit} many.model --cluster {address}")
    assert fits
    assert many["samples"] == one["samples"] and many["parameters"] == one["parameters"]
    a, b = (fh.load(f"{name}.model").codes_ for name in ("one", "many"))
    labels = np.load("emoji/emoji.npz")["L_tr"]
    scores = [fh.mean_average_precision(c["text"], c["image"], labels, labels) for c in (a, b)]
    assert scores[1] == pytest.approx(scores[0], abs=0.03)


PARTS = {"train": "tr", "test": "te", "database": "tr"}


def named(*options):
    """The options that name the arrays of the emoji one by one."""
    words = " ".join(
        f"--{option} image={{0}}:I_{part} text={{0}}:T_{part} --{option}-labels {{0}}:L_{part}"
        for option, part in PARTS.items()
        if option in options
    )
    return words.format("emoji/emoji.npz")


@pytest.mark.parametrize(
    ("options", "more"),
    [
        (
            ("train", "test", "database"),
            "--methods AMSH --bits 8 16 --seeds 1 --set AMSH.n_anchors=20 AMSH.n_sweeps=2",
        ),
        # Each seed draws its own queries and pairs.
        (
            ("train",),
            "--methods CCAITQ --bits 8 --seeds 2 --set CCAITQ.n_iterations=5 "
            "--pairs missing --share 0.5 --metrics ndcg@5 --ties database",
        ),
    ],
)
def test_evaluate_methods(capsys, emoji, address, fits, options, more):
    """Workers fit them to two parts, so the scores are as high, but not the same."""
    one = result(capsys, f"evaluate {named(*options)} {more}")
    assert not fits
    many = result(capsys, f"evaluate {named(*options)} {more} --cluster {address}")
    assert fits
    assert many["settings"] == one["settings"]
    for ours, theirs in zip(many["scores"], one["scores"], strict=True):
        assert ours.pop("value") == pytest.approx(theirs.pop("value"), abs=0.04)
        assert ours == theirs


def test_evaluate(capsys, emoji, address):
    samples = f"{named(*PARTS)} --models emoji.model"
    score = f"evaluate {samples} --metrics map map@R precision@9 recall@50"
    one, many = (result(capsys, f"{score}{more}") for more in ("", f" --cluster {address}"))
    assert len(one["scores"]) == 8
    assert many["scores"] == one["scores"]
    for wrong in ("--metrics ndcg@5", "--ties database"):
        refused = run(capsys, f"evaluate {samples} {wrong} --cluster {address}", status=1)[1]
        assert "not measured on a cluster: map, precision@N and recall@N" in refused


def test_columns_of_as_many_samples_as_features(capsys, emoji, address):
    """The workers read a square matrix as this process does."""
    x = fh.datasets.load_emoji().features["image"]
    np.save("square.npy", x[: x.shape[1]])
    features = "--model emoji.model --modality image --features square.npy --columns"
    run(capsys, f"encode {features} --output one.npy")
    run(capsys, f"encode {features} --output many.npy --cluster {address}")
    np.testing.assert_array_equal(np.load("many.npy"), np.load("one.npy"))


def test_a_cluster_on_this_machine(capsys, emoji):
    """The processes of ``--cluster local`` end with the command."""
    # The processes of the other tests are not made as those of users are.
    with dask.config.set({"distributed.worker.multiprocessing-method": "spawn"}):
        built = result(capsys, "index build shards --codes image-codes.npy --cluster local")
    assert sum(built["shards"]) == built["n"] == len(np.load("image-codes.npy"))
    manifest = json.loads(pathlib.Path("shards/manifest.json").read_text())
    assert manifest["sizes"] == built["shards"]


def test_what_does_not_go_with_a_cluster_is_refused(capsys, emoji, address):
    encode = "encode --model emoji.model --modality image --learned --output y.npy"
    for command, message in (
        ("index build x --codes image-codes.npy --partitions", "--partitions goes with an index"),
        (
            "index build x --bits 9 --model emoji.model --modality image "
            "--features emoji/emoji.npz:I_tr",
            "--bits is 9, and the model",
        ),
        ("search emoji.index --codes image-codes.npy", "is not a folder"),
        ("search x --fuse y --codes image-codes.npy", "--fuse goes with index files"),
        (encode, "--cluster goes with --model and --features"),
        ("evaluate --data emoji/emoji.npz", "--cluster goes with --train, because"),
        ("evaluate --data emoji/emoji.npz --models emoji.model", "--cluster goes with --database"),
        (
            "evaluate --train a=x b=y --methods AMSH DCH",
            "DCH is fitted in one process, AMSH, CCAITQ and RREH are",
        ),
        ("fit --data emoji/emoji.npz --output x.model", "as in image=emoji/emoji.npz:NAME"),
        (
            "fit --method CMFH --features a=image-codes.npy --output x.model",
            "CMFH is fitted in one process, AMSH, CCAITQ and RREH are",
        ),
    ):
        assert message in run(capsys, f"{command} --cluster {address}", status=1)[1], command
