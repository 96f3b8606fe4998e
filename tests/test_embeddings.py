"""Embeddings: neighbours by cosine against numpy, codes, re-ranking, and the commands."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fasthash as fh
from fasthash import cli
from fasthash._core.pieces import smaller_pieces
from fasthash.datasets import read_layout
from fasthash.embeddings import codes_of_signs, nearest
from fasthash.experiments import recall_of_codes

RNG = np.random.default_rng(0)
X, Q = RNG.standard_normal((300, 24)), RNG.standard_normal((11, 24))


def cosines(q, x):
    lengths = np.linalg.norm(q, axis=1)[:, None] * np.linalg.norm(x, axis=1)
    return np.divide(q @ x.T, lengths, out=np.zeros(lengths.shape), where=lengths > 0)


@pytest.mark.filterwarnings("ignore:.*hold only zeros")
@pytest.mark.parametrize("block", [1, 70, 1 << 22])
def test_nearest_is_what_sorting_gives(block):
    # Equal vectors have equal cosines; rows of zeros have none.
    x = np.vstack([X, X[:50], np.zeros((2, 24))])
    expected = np.argsort(-cosines(Q, x).round(12), axis=1, kind="stable")
    told = []
    with smaller_pieces(block * len(Q)):
        found = nearest(Q, x, 30, callback=lambda *step: told.append(step))
    ties_aside = np.take_along_axis(cosines(Q, x), found, axis=1)
    np.testing.assert_allclose(
        ties_aside, np.take_along_axis(cosines(Q, x), expected[:, :30], axis=1)
    )
    assert all(len(set(row)) == 30 for row in found.tolist())
    assert told[-1] == ("float search", 352, 352) and len(told) == -(-352 // block)


@given(st.integers(1, 24))
def test_signs_of_the_first_features(n_bits):
    np.testing.assert_array_equal(codes_of_signs(X, n_bits=n_bits), fh.pack(X[:, :n_bits]))


def test_recall_is_counted_against_the_nearest():
    lines = recall_of_codes(X, Q, n_bits=[16, 24], k=5, candidates=[40, 300])
    assert [(line.method, line.n_bits, line.candidates, line.weights) for line in lines] == [
        (method, n_bits, *search)
        for method in ("sign", "itq")
        for n_bits in (16, 24)
        for search in ((5, False), (5, True), (40, False), (300, False))
    ]
    # Who fetches everything finds everything.
    assert all(line.value == 1 for line in lines if line.candidates == 300)
    wanted = np.argsort(-cosines(Q, X), axis=1)[:, :5]
    of_signs = [line for line in lines if (line.method, line.n_bits) == ("sign", 24)]
    found = fh.topk(fh.pack(Q), fh.pack(X), 5)[1], fh.topk_weighted(Q, fh.pack(X), 5)[1]
    for line, ids in zip(of_signs, found, strict=False):
        hits = [len(set(a) & set(b)) for a, b in zip(ids.tolist(), wanted.tolist(), strict=True)]
        assert line.value == np.mean(hits) / 5


def test_recall_within_and_across_modalities():
    x = {"image": X, "text": X + 0.1, "sound": X[:, :20]}
    q = {"image": Q, "sound": Q[:, :20]}
    lines = recall_of_codes(x, q, methods=["itq", "rreh"], n_bits=[16], k=5, candidates=[5, 400])
    directions = [(line.query, line.database) for line in lines if line.candidates == 400]
    # Features as many in both: within a modality, and between images and texts.
    assert directions == [("image", "image"), ("image", "text"), ("sound", "sound")] * 2
    assert all(line.value == 1 for line in lines if line.candidates == 400)
    wanted = nearest(Q, X + 0.1, 5)
    for method, codes in (
        ("itq", lambda m: (m.transform(Q), m.transform(X + 0.1))),
        ("rreh", lambda m: (m.encode(Q, "image"), m.codes_["text"])),
    ):
        model = getattr(fh, method.upper())(16, random_state=0)
        model.fit(X + 0.1 if method == "itq" else x)
        _, ids = fh.topk(*codes(model), 5)
        hits = [len(set(a) & set(b)) for a, b in zip(ids.tolist(), wanted.tolist(), strict=True)]
        assert [
            line.value
            for line in lines
            if (line.method, line.database, line.candidates) == (method, "text", 5)
            and not line.weights
        ] == [np.mean(hits) / 5]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nearest(Q, X, 301), "k is 301, and there are 300"),
        (lambda: nearest(Q[:, :3], X, 1), "queries have 3 columns, and vectors have 24"),
        (lambda: recall_of_codes(X, Q, n_bits=[8, 25], methods=["sign"]), "there are 24 features"),
        (lambda: codes_of_signs(X, n_bits=25), "x has 24 features only"),
        (lambda: recall_of_codes(X, Q, n_bits=[8], methods=["pq"]), "methods must be one of"),
        (lambda: recall_of_codes(X, Q, n_bits=[8], methods=["rreh"]), "one kind of embeddings"),
        (lambda: recall_of_codes({"a": X}, {"a": Q}, n_bits=[8], methods=["rreh"]), "got only a:"),
        (lambda: recall_of_codes({"a": X}, {"b": Q}, n_bits=[8]), r"modalities \['b'\]"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def run(capsys, command, status=0):
    capsys.readouterr()
    assert cli.main(command.split()) == status
    return capsys.readouterr()


def test_the_output_of_a_relu_is_centred(tmp_path, monkeypatch, capsys):
    """Non-negative vectors: refused without centre, and better than nothing with it."""
    monkeypatch.chdir(tmp_path)
    x, q = (np.maximum(0, a).astype(np.float32) for a in (X, Q))
    mean = x.mean(axis=0, dtype=np.float64)
    codes = codes_of_signs(x, centre=True)
    np.testing.assert_array_equal(codes, np.packbits(x >= mean.astype(np.float32), axis=1))
    np.testing.assert_array_equal(codes_of_signs(x, centre=mean), codes)
    first = codes_of_signs(q, centre=mean, n_bits=10)
    np.testing.assert_array_equal(first, fh.pack(q - mean.astype(np.float32))[:, :2] & [255, 192])
    options = {"n_bits": [24], "methods": ["sign"]}
    for refused in (lambda: codes_of_signs(x), lambda: recall_of_codes(x, q, **options)):
        with pytest.raises(ValueError, match=r"nothing below 0.*with centre="):
            refused()
    found = recall_of_codes(x, q, **options, centre=True)
    assert found[0].value > 0.2 and found[1].weights and found[1].value > found[0].value

    np.save("x.npy", x)
    np.save("q.npy", q)
    run(capsys, "encode --method sign --features x.npy --centre x.npy --output codes.npz")
    np.testing.assert_array_equal(np.load("codes.npz")["codes"], codes)
    run(capsys, "index build signs.index --codes codes.npz --bits 24")
    search = "search signs.index --features q.npy --signs -k 3 --json"
    for weights in ("", " --no-weights"):
        lines = run(capsys, f"{search} --centre x.npy{weights}").out.splitlines()
        ids = [json.loads(line)["ids"] for line in lines]
        projections = q - mean.astype(np.float32)
        expected = (
            fh.topk(fh.pack(projections), codes, 3)
            if weights
            else fh.topk_weighted(projections, codes, 3)
        )
        np.testing.assert_array_equal(ids, expected[1])
    # Queries less other means are not comparable with these codes.
    for other in ("", " --centre q.npy"):
        assert "codes of the model sign-24-" in run(capsys, f"{search}{other}", status=1).err
    assert "share" in run(capsys, "recall --features x.npy --methods sign --centre").err
    for command, message in (
        ("search signs.index --features q.npy --model m --centre x.npy", "goes with --signs"),
        ("encode --method itq --features x.npy --centre x.npy --output i.npy", "--method sign"),
        ("encode --model m --features x.npy --centre x.npy --output i.npy", "goes with --method"),
    ):
        assert message in run(capsys, command, status=1).err
    for wrong in (mean[:3], [["a"]], np.full(24, np.nan)):
        with pytest.raises(ValueError, match=r"centre( must|\[0\] is not finite)"):
            codes_of_signs(x, centre=wrong)


def test_codes_an_index_and_a_search_in_the_order_of_cosines(tmp_path, monkeypatch, capsys):
    pytest.importorskip("safetensors", reason="models are saved with safetensors")
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", X)
    np.save("q.npy", Q)
    run(capsys, "encode --method sign --features x.npy --output codes.npy")
    np.testing.assert_array_equal(np.load("codes.npy"), fh.pack(X))
    run(capsys, "index build signs.index --codes codes.npy --bits 24")
    search = "search signs.index --features q.npy --signs --rerank x.npy -k 4 --json"
    lines = run(capsys, f"{search} --candidates 300").out.splitlines()
    answers = [json.loads(line) for line in lines]
    assert [answer["ids"] for answer in answers] == nearest(Q, X, 4).tolist()
    apart = fh.distances(fh.pack(Q), fh.pack(X))
    for answer in answers:
        assert answer["distances"] == apart[answer["query"], answer["ids"]].tolist()
    np.save("some.npy", np.arange(7))
    lines = run(capsys, f"{search} --filter some.npy").out.splitlines()
    assert [json.loads(line)["ids"] for line in lines] == nearest(Q, X[:7], 4).tolist()

    run(capsys, "encode --method itq --features x.npy --bits 16 --save-model m --output itq.npy")
    np.testing.assert_array_equal(np.load("itq.npy"), fh.ITQ(16, random_state=0).fit_transform(X))
    run(capsys, "encode --model m --features q.npy --output q-codes.npy")
    np.testing.assert_array_equal(np.load("q-codes.npy"), fh.load("m").transform(Q))

    run(capsys, "index build itq.index --codes itq.npy --bits 16")
    model = fh.load("m")
    for command, weights, codes in (
        ("signs.index --signs", Q, fh.pack(X)),
        ("itq.index --model m", model.project(Q), model.transform(X)),
    ):
        command = f"search {command} --features q.npy -k 4"
        answers = [json.loads(line) for line in run(capsys, f"{command} --json").out.splitlines()]
        scores, ids = fh.topk_weighted(weights, codes, 4)
        assert [answer["ids"] for answer in answers] == ids.tolist()
        assert [answer["scores"] for answer in answers] == scores.tolist()
        apart = fh.distances(fh.pack(weights), codes)
        for answer in answers:
            assert answer["distances"] == apart[answer["query"], answer["ids"]].tolist()
        printed = run(capsys, command)
        assert "ranked by weights" in printed.err
        first = printed.out.splitlines()[1].split()
        assert first == [str(apart[0, ids[0, 0]]), f"{scores[0, 0]:.4g}", str(ids[0, 0])]

    for command, message in (
        ("search signs.index --codes codes.npy --weights", "--weights goes with --features"),
        ("search signs.index --features q.npy --signs --weights --radius 1", "--weights goes with"),
        ("encode --method sign --features x.npy --save-model n --output c", "signs need no model"),
        ("encode --method itq --model m --features x.npy --output c", "--model does not go with"),
        ("encode --model m --bits 4 --features x.npy --output c", "goes with --method"),
        ("search signs.index --codes codes.npy --rerank x.npy", "--rerank goes with --features"),
        ("search signs.index --features q.npy --signs --candidates 3", "goes with --rerank"),
        ("search signs.index --features q.npy --signs --model m", "--signs need no --model"),
    ):
        assert message in run(capsys, command, status=1).err


def test_codes_of_pairs(tmp_path, monkeypatch, capsys):
    """The emoji in plain files: RREH as the library fits it, learned codes found across."""
    pytest.importorskip("safetensors", reason="models are saved with safetensors")
    monkeypatch.chdir(tmp_path)
    run(capsys, "demo --files emoji")
    pairs = np.random.default_rng(0).permutation(1437)[:500, None].repeat(2, axis=1)
    np.save("pairs.npy", pairs)
    sources = "--features image=emoji/emoji.npz:I_tr text=emoji/emoji.npz:T_tr"
    said = json.loads(
        run(
            capsys,
            f"--json encode --method rreh {sources} --pairs pairs.npy --bits 32 --seed 4 "
            "--save-model m --output codes.npz",
        ).out
    )
    assert said == {"output": "codes.npz", "n": {"image": 1437, "text": 1437}, "n_bits": 32}
    train = read_layout("emoji/emoji.npz")["train"].features
    model = fh.RREH(32, random_state=4).fit(train, pairs)
    with np.load("codes.npz") as codes:
        assert set(codes) == {"image", "text"}
        for name in codes:
            np.testing.assert_array_equal(codes[name], model.codes_[name])
    run(capsys, "index build i.index --codes codes.npz:image")
    test = "--modality text --features emoji/emoji.npz:T_te"
    out = run(capsys, f"search i.index --model m {test} --rows :9 -k 3 --json").out
    queries = read_layout("emoji/emoji.npz")["test"].features["text"][:9]
    _, ids = model.search(queries, "text", model.codes_["image"], 3)
    assert [json.loads(line)["ids"] for line in out.splitlines()] == ids.tolist()

    one = "emoji/emoji.npz:I_tr"
    for command, message in (
        (f"encode --method rreh --features {one} --output c.npz", "two modalities"),
        (f"encode --method rreh --features image={one} --output c.npz", "two modalities"),
        (f"encode --method rreh --features {one} {one} --output c.npz", "not of the form"),
        (f"encode --method rreh {sources} --output c.npy", "need a .npz file"),
        (f"encode --method itq {sources} --output c.npy", "one source at a time, got 2"),
        (f"encode --method sign --features {one} --pairs pairs.npy --output c", "goes with"),
        ("encode --method sign --output c.npy", "--features is missing"),
        (f"recall --features {one} --methods rreh", "two modalities"),
        (f"recall {sources} --pairs pairs.npy", "--queries is missing"),
        (f"recall {sources} --queries x=emoji/emoji.npz:I_te", "has the modalities x"),
        ("recall --pairs pairs.npy", "--pairs goes with --features"),
    ):
        err = run(capsys, command, status=1).err
        assert message in err and err.count("\n") == 1


def test_recall_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", X)
    np.save("q.npy", Q)
    said = json.loads(
        run(
            capsys, "--json recall --features x.npy --queries q.npy --bits 16 -k 5 --candidates 40"
        ).out
    )
    expected = recall_of_codes(X, Q, n_bits=[16], k=5, candidates=[40])
    assert [line["value"] for line in said["table"]] == [line.value for line in expected]
    said = json.loads(run(capsys, "--json recall --features x.npy").out)
    assert (said["n"], said["n_queries"]) == (270, 30)
    assert {line["n_bits"] for line in said["table"]} == {24}
    np.save("columns.npy", X.T)
    turned = run(capsys, "--json recall --features columns.npy --columns").out
    assert json.loads(turned) == said
    # More candidates than there are vectors, twice.
    out = run(capsys, "recall --features x.npy --candidates 700 700 5000").out
    assert out.splitlines()[0].split("  ")[-4:] == [
        *("by codes", "by weights", "best of 700", "best of 5000")
    ]
    out = run(capsys, "recall --methods sign rreh --bits 64 --candidates 50").out
    assert out.split()[:3] == ["search", "method", "bits"] and "best of 50" in out
    rows = [line.split()[:2] for line in out.splitlines()[1:]]
    assert rows == [[f"{name}→{name}", m] for name in ("image", "text") for m in ("sign", "rreh")]
