"""CLSR on the command line: fit, latents in a file, search in two stages, recall of partners."""

import json

import numpy as np
import pytest

import fasthash as fh
from clips import make_clips
from command_line import result, run

pytest.importorskip("torch", reason="CLSR trains with PyTorch: pip install '.[clsr]'")
pytest.importorskip("safetensors", reason="models are saved with safetensors")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clsr")
    views, pairs = make_clips(n=60)
    for name, x in views.items():
        np.save(folder / f"{name}.npy", x)
    np.savetxt(folder / "pairs.csv", pairs, "%d", ",", header="audio,text", comments="")
    model = fh.CLSR(16, n_latent=16, hidden=(24,), n_epochs=2, n_targets=6, random_state=0)
    model.fit(views, pairs).save(folder / "m.model")
    return folder


@pytest.fixture(autouse=True)
def inside(folder, monkeypatch):
    monkeypatch.chdir(folder)


def test_latents_in_a_file_sort_the_candidates(capsys):
    model, views = fh.load("m.model"), {n: np.load(f"{n}.npy") for n in ("audio", "text")}
    run(
        capsys,
        "encode --model m.model --modality audio --features audio.npy --output audio.npz "
        "--latents latents.npy",
    )
    latents = np.load("latents.npy")
    np.testing.assert_array_equal(latents, model.transform(views["audio"], "audio"))
    run(capsys, "index build audio.index --codes audio.npz --force")
    search = "search audio.index --model m.model --modality text --features text.npy -k 3 --json"
    out, _ = run(capsys, f"{search} --rerank latents.npy --candidates 20")
    found = [json.loads(line) for line in out.splitlines()]
    similarities, ids = model.search(
        *(views["text"], "text", model.encode(views["audio"], "audio"), 3),
        **{"latents": latents, "n_candidates": 20, "weights": False},
    )
    assert [one["ids"] for one in found] == ids.tolist()
    np.testing.assert_allclose(
        [one["similarities"] for one in found], similarities, rtol=1e-4, atol=1e-5
    )
    _, err = run(capsys, f"{search} --rerank audio.npy", status=1)
    assert "make them with 'fasthash encode --latents'" in err


def test_latents_are_refused_where_there_are_none(capsys):
    fh.RandomHyperplanes(8).fit(np.load("audio.npy")).save("h.model")
    for command, message in (
        ("--model h.model --features audio.npy", "makes codes only, CLSR makes latents"),
        ("--model m.model --modality audio --learned", "--latents goes with --features"),
        ("--method sign --features audio.npy", "--latents does not go with --method"),
    ):
        _, err = run(capsys, f"encode {command} --output c.npy --latents l.npy", status=1)
        assert message in err


def test_recall_of_partners_by_codes_and_by_latents(capsys):
    test = "evaluate --models m.model --test audio=audio.npy text=text.npy --test-pairs pairs.csv"
    scores = result(capsys, f"{test} --partners 1 10")["scores"]
    model, pairs = fh.load("m.model"), np.loadtxt("pairs.csv", int, delimiter=",", skiprows=1)
    views = {name: np.load(f"{name}.npy") for name in ("audio", "text")}
    for kind, function in (("codes", model.encode), ("latents", model.transform)):
        expected = fh.retrieval_scores(
            {name: function(x, name) for name, x in views.items()}, pairs, ranks=[1, 10]
        )
        ours = [one for one in scores if one["compared"] == kind]
        assert len(ours) == 2
        for one in ours:
            score = expected[one["query"], one["database"]]
            assert one["recall"] == {"1": score.recall[1], "10": score.recall[10]}
    out, _ = run(capsys, f"{test} --partners 1 10")
    assert "R@10" in out and "latents" in out and "text→audio" in out
    for command, message in (
        ("evaluate --partners 1 --models m.model", "--partners goes with --models and --test"),
        ("evaluate --partners 1 --models m.model --test audio=audio.npy", "of two modalities"),
        ("evaluate --test-pairs pairs.csv --data x.npz", "--test-pairs goes with --partners"),
    ):
        _, err = run(capsys, command, status=1)
        assert message in err


def test_samples_without_a_partner_may_stand_among_the_pairs(capsys, tmp_path):
    lines = ["image,text", *(f"{i},{i}" for i in range(20)), "20,", ",20", "21, "]
    (tmp_path / "p.csv").write_text("\n".join(lines) + "\n")
    np.save(tmp_path / "p.npy", np.array([[i, i] for i in range(20)] + [[20, np.nan]]))
    rng = np.random.default_rng(0)
    shared = rng.standard_normal((40, 3))
    features = {
        name: shared @ rng.standard_normal((3, d)) for name, d in (("image", 6), ("text", 5))
    }
    for name, x in features.items():
        np.save(tmp_path / f"{name}.npy", x)
    sources = " ".join(f"{name}={tmp_path / name}.npy" for name in features)
    pairs = np.repeat(np.arange(20)[:, None], 2, axis=1)
    expected = fh.RREH(8, random_state=0).fit(features, pairs).fingerprint()
    for source, n in (("p.csv", "3 of 23"), ("p.npy", "1 of 21")):
        _, err = run(
            capsys,
            f"fit --method RREH --bits 8 --features {sources} --pairs {tmp_path / source} "
            f"--output {tmp_path / 'r.model'} --force",
        )
        assert f"{n} rows" in err and "have no partner; RREH learns from these" in err
        assert fh.load(tmp_path / "r.model").fingerprint() == expected
    (tmp_path / "p.csv").write_text("image,text\n1,\n,2\n")
    _, err = run(
        capsys,
        f"fit --method RREH --features {sources} --pairs {tmp_path / 'p.csv'} "
        f"--output {tmp_path / 'q.model'}",
        status=1,
    )
    assert "has no row with a partner" in err
