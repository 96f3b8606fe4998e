"""Commands with ``--cluster``: the same answers as without, from the installed program."""

import json
import pathlib

import numpy as np
import pytest

import fasthash as fh
from command_line import result, run

pytest.importorskip("distributed", reason="needs Dask, of the extra `distributed`")


@pytest.fixture
def address(client):
    return client.scheduler.address


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
    ):
        assert message in run(capsys, f"{command} --cluster {address}", status=1)[1], command
