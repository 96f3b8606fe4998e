"""CLSR: what it learns, its parts at work, latents and codes, inputs of any kind."""

import itertools
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import fasthash as fh
from clips import NO_PARTS, assert_same_model, fit, make_clips, recall_sum
from fasthash.models.clsr import _codes, _settings

torch = pytest.importorskip("torch", reason="CLSR trains with PyTorch: pip install '.[clsr]'")


def test_it_finds_clips_by_captions_it_has_not_seen():
    model = fit(*make_clips())
    views, pairs = make_clips(n=100, seed=1)
    # A random order gives about 100 · 2 · (.01 + .05 + .10), a little more from text.
    assert recall_sum(model, views, pairs) > 350
    codes = {name: model.encode(x, name) for name, x in views.items()}
    assert fh.retrieval_scores(codes, pairs)["text", "audio"].recall[10] > 0.6


def test_latents_have_unit_length_and_codes_are_their_centred_signs():
    views, pairs = make_clips()
    model = fit(views, pairs, parameters={"reconstruction_in_latents": 0, "variates_in_latents": 0})
    for name, x in views.items():
        latents = model.transform(x, name)
        assert latents.dtype == np.float32 and latents.shape == (len(x), 32)
        np.testing.assert_allclose(np.linalg.norm(latents, axis=1), 1, rtol=1e-5)
        np.testing.assert_allclose(latents.mean(axis=0), model.feature_maps_[name].mean, atol=1e-6)
        centred = latents - model.feature_maps_[name].mean
        clear = np.abs(centred) > 1e-6
        bits = fh.unpack(model.encode(x, name), 32)
        np.testing.assert_array_equal(bits[clear], (centred >= 0)[clear])
        np.testing.assert_array_equal(model.codes_[name], model.encode(x, name))


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def canonical_variates(views, pairs, model):
    """Ridge canonical correlation analysis by a singular value decomposition, written down."""
    x = {
        name: model.feature_maps_[name].preprocessing.transform(values)
        for name, values in views.items()
    }
    paired = {name: x[name][rows] for name, rows in zip(x, pairs.T, strict=True)}
    means = {name: values.mean(axis=0) for name, values in paired.items()}
    whitening = {}
    for name, values in paired.items():
        covariance = np.cov(values, rowvar=False, bias=True)
        ridge = np.trace(covariance) / len(covariance)
        vectors, scales, _ = np.linalg.svd(covariance + ridge * np.eye(len(covariance)))
        whitening[name] = vectors / np.sqrt(scales) @ vectors.T
    a, b = ((paired[name] - means[name]) @ whitening[name] for name in x)
    left, correlations, right = np.linalg.svd(a.T @ b / len(a), full_matrices=False)
    return {
        name: unit((x[name] - means[name]) @ whitening[name] @ vectors * correlations)
        for name, vectors in zip(x, (left, right.T), strict=True)
    }


def test_validation_chooses_what_is_appended():
    """With few noisy items, what validation chooses finds more than what nobody chose."""
    train, held_out, test = (
        make_clips(n=n, seed=s, noise=1.5) for s, n in enumerate((60, 300, 300))
    )
    fixed = {"reconstruction_in_latents": 0, "variates_in_latents": 0, "n_epochs": 3}
    models = [
        fit(*train, validation=held_out, parameters=parameters)
        for parameters in (fixed, {"n_epochs": 3})
    ]
    assert models[1].feature_maps_["text"].variates is not None
    for samples in (held_out, test):
        assert recall_sum(models[1], *samples) > recall_sum(models[0], *samples) + 5


def test_with_many_items_signs_of_the_heads_latents_may_be_the_codes(monkeypatch):
    monkeypatch.setattr(_settings, "_FEW_ITEMS", 100)
    train, held_out = make_clips(n=150), make_clips(n=100, seed=1)
    parameters = {"variates_in_latents": 0, "reconstruction_in_latents": 1}
    for share, is_sign in ((0.0, True), (1e9, False)):
        monkeypatch.setattr(_codes, "_SHARE_OF_SIGNS", share)
        model = fit(*train, validation=held_out, parameters=parameters)
        projection = model.projections_["text"]
        if is_sign:
            np.testing.assert_array_equal(projection, np.eye(44, 32))
        else:
            assert projection[32:44].any()
    # Without validation nothing says that signs are as good.
    assert fit(*train, parameters=parameters).projections_["text"][32:].any()


def test_codes_of_weighted_components_have_more_bits_for_strong_directions(monkeypatch):
    train, held_out = make_clips(n=150), make_clips(n=100, seed=1)
    parameters = {"variates_in_latents": 0, "reconstruction_in_latents": 1}
    tried = []

    def recalls(latents, projection, pairs):
        """The second codes that are tried find everything, the others nothing."""
        tried.append(projection)
        return np.full(100, float(len(tried) == 2))

    monkeypatch.setattr(_codes, "_recalls", recalls)
    model = fit(*train, validation=held_out, parameters=parameters)
    # An orthonormal projection has singular values of 1.
    np.testing.assert_allclose(np.linalg.svd(tried[0])[1], np.ones(32), rtol=1e-6)
    x = np.vstack(
        [
            model.transform(values[: len(train[0]["audio"])], name) - model.feature_maps_[name].mean
            for name, values in train[0].items()
        ]
    )
    weighted = np.linalg.svd(model.projections_["text"])[1]
    assert weighted[0] > 1.3 * weighted[-1]
    # Along the strong directions the projections are longer than those of an orthonormal map.
    strong, weak = (np.linalg.svd(x.T @ x)[0][:, i] for i in (0, 31))
    lengths = [np.linalg.norm(d @ model.projections_["text"]) for d in (strong, weak)]
    assert lengths[0] > 1.2 * lengths[1]
    # Without validation nothing says that they gain.
    projection = fit(*train, parameters=parameters).projections_["text"]
    np.testing.assert_allclose(np.linalg.svd(projection)[1], np.ones(32), rtol=1e-6)


def test_a_gain_of_codes_is_taken_if_it_exceeds_two_standard_errors_over_items():
    rng = np.random.default_rng(0)
    before, noise = rng.random(100), rng.standard_normal(100)
    noise = (noise - noise.mean()) / noise.std(ddof=1)
    # The standard error of 100 gains with a standard deviation of 1 is .1.
    assert _codes._gains(before, before + noise + 0.21)
    assert not _codes._gains(before, before + noise + 0.19)
    assert not _codes._gains(before, before - noise - 0.21)
    assert not _codes._gains(before, before)
    assert not _codes._gains(before[:1], before[:1] + 1)


@pytest.mark.parametrize("one", [0, 1])
def test_recalls_of_codes_are_those_of_items_with_all_their_partners(one):
    rng = np.random.default_rng(one)
    starts = np.array([0, 1, 4, 9, 11, 12])
    owner = np.repeat(rng.permutation(7)[:5], np.diff(starts))
    # Some of the 7 items and 14 partners are in no pair.
    pairs = np.column_stack([owner, rng.permutation(14)[:12]])[rng.permutation(12)]
    latents = [rng.standard_normal((n, 6)).astype(np.float32) for n in (7, 14)]
    projection = rng.standard_normal((6, 5))
    sides = [one, 1 - one]
    ours = _codes._recalls([latents[i] for i in sides], projection, pairs[:, sides])
    codes = [fh.pack(x @ projection.astype(np.float32)) for x in latents]
    scores = fh.retrieval_scores(
        dict(zip("ab", codes, strict=True)), pairs, ranks=(1, 5, 10), ties="expected"
    )
    assert len(ours) == 5
    expected = sum(sum(of.recall.values()) for of in scores.values())
    np.testing.assert_allclose(ours.mean(), expected, rtol=1e-12)
    for i, item in enumerate(np.unique(owner)):
        own = pairs[pairs[:, 0] == item]
        # What the partners of other items find does not count.
        alone = {
            "a": fh.retrieval_scores(
                {"a": codes[0][[item]], "b": codes[1]}, own * [0, 1], ranks=(1, 5, 10)
            )["a", "b"],
            "b": fh.retrieval_scores(
                {"a": codes[0], "b": codes[1][own[:, 1]]},
                np.column_stack([own[:, 0], np.arange(len(own))]),
                ranks=(1, 5, 10),
            )["b", "a"],
        }
        found = [sum(of.recall.values()) for of in alone.values()]
        np.testing.assert_allclose(ours[i], found[0] + found[1] * len(own) * 5 / 12, rtol=1e-12)


@pytest.mark.parametrize(("weight", "share"), [(0.25, 0), (2, 0), (0.5, 2)])
def test_cosines_of_latents_weigh_the_heads_with_what_is_appended(weight, share):
    views, pairs = make_clips(n=80)
    parameters = {"reconstruction_in_latents": weight, "variates_in_latents": share}
    model = fit(views, pairs, parameters=parameters)
    scaled, heads, decoded, variates = {}, {}, {}, {}
    for name, x in views.items():
        feature_map = model.feature_maps_[name]
        scaled[name] = feature_map.preprocessing.transform(x)[:, :6]
        heads[name] = unit(feature_map.head(feature_map.preprocessing.transform(x)))
        decoded[name] = unit(feature_map.reconstruction.decoder(heads[name]))
        variates[name] = canonical_variates(views, pairs, model)[name] if share else heads[name]
    targets = {name: unit(x - x.mean(axis=0)) for name, x in scaled.items()}
    expected = (
        heads["audio"] @ heads["text"].T
        + weight * targets["audio"] @ decoded["text"].T
        + weight * decoded["audio"] @ targets["text"].T
        + share * variates["audio"] @ variates["text"].T
    ) / (1 + 2 * weight + share)
    audio, text = (model.transform(views[name], name) for name in ("audio", "text"))
    assert audio.shape == (80, 32 + 6 + 6 + (15 if share else 0))
    np.testing.assert_allclose(audio @ text.T, expected, atol=1e-4)
    for latents in (audio, text):
        np.testing.assert_allclose(np.linalg.norm(latents, axis=1), 1, rtol=1e-5)


def test_reconstruction_in_the_latents_finds_more_with_few_items():
    train, validated = make_clips(n=60, noise=1.0), make_clips(n=200, seed=1, noise=1.0)
    without, with_it = (
        fit(*train, parameters={"reconstruction_in_latents": weight, "n_epochs": 20})
        for weight in (0, 1)
    )
    assert recall_sum(with_it, *validated) > recall_sum(without, *validated)


@pytest.mark.parametrize("n_bits", [1, 9, 31])
def test_fewer_bits_than_latents(n_bits):
    views, pairs = make_clips()
    model = fit(views, pairs, parameters={"n_bits": n_bits})
    projection = model.projections_["text"]
    np.testing.assert_allclose(projection.T @ projection, np.eye(n_bits), atol=1e-10)
    assert model.codes_["audio"].shape == (240, (n_bits + 7) // 8)


def test_shorter_codes_lose_less_than_cut_ones():
    train, pairs = make_clips()
    views, test_pairs = make_clips(n=100, seed=1)
    short = fit(train, pairs, parameters={"n_bits": 8})
    full = fit(train, pairs)

    def recall(codes):
        return fh.retrieval_scores(codes, test_pairs)["text", "audio"].recall[10]

    ours = recall({name: short.encode(x, name) for name, x in views.items()})
    assert ours > recall({name: full.encode(x, name)[:, :1] for name, x in views.items()})


def test_search_in_two_stages_is_one_call():
    model = fit(*make_clips())
    views, _ = make_clips(n=100, seed=1)
    codes, latents = (f(views["audio"], "audio") for f in (model.encode, model.transform))
    similarities, ids = model.search(
        views["text"], "text", codes, k=5, latents=latents, n_candidates=100
    )
    cosines = model.transform(views["text"], "text") @ latents.T
    np.testing.assert_allclose(
        similarities, -np.sort(-cosines, axis=1)[:, :5], rtol=1e-4, atol=1e-5
    )
    assert (np.take_along_axis(cosines, ids, axis=1) - similarities).max() < 1e-5


def test_a_search_in_two_stages_computes_the_latents_of_a_query_once(monkeypatch):
    model = fit(*make_clips())
    views, _ = make_clips(n=100, seed=1)
    codes, latents = (f(views["audio"], "audio") for f in (model.encode, model.transform))
    asked = model.project(views["text"], "text"), model.transform(views["text"], "text")
    _, candidates = fh.topk_weighted(asked[0], codes, 20)
    expected = fh.rerank(asked[1], latents, candidates, 5, metric="inner")
    head, n_rows = type(model.feature_maps_["text"].head), []
    call = head.__call__
    monkeypatch.setattr(head, "__call__", lambda self, x: n_rows.append(len(x)) or call(self, x))
    appended = model.feature_maps_["text"].reconstruction, model.feature_maps_["text"].variates
    found = model.search(views["text"], "text", codes, 5, latents=latents, n_candidates=20)
    assert sum(n_rows) == len(views["text"]) * (1 + sum(one is not None for one in appended))
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 0}, "k must be at least 1"),
        ({"n_candidates": 0}, "n_candidates must be at least 1"),
        ({"database": np.zeros((3, 1), np.uint8)}, "database has codes of 1 bytes"),
        ({"latents": np.zeros((2, 3))}, "a row for each of the 3 codes, got shape"),
        ({"latents": np.zeros((3, 1))}, "queries has .* columns and vectors has 1"),
    ],
)
def test_what_a_search_in_two_stages_refuses(change, message):
    model = fit(*make_clips())
    views, _ = make_clips(n=3, seed=1)
    arguments = {
        "database": model.encode(views["audio"], "audio"),
        "latents": model.transform(views["audio"], "audio"),
        "k": 1,
    }
    with pytest.raises(ValueError, match=message):
        model.search(views["text"], "text", **{**arguments, **change})


PARTS = {
    "consistency": {"consistency": 0.3},
    "semantic": {"semantic": 0.03},
    "reconstruction": {"reconstruction": 1.0},
}


@pytest.mark.parametrize("on", [c for n in range(4) for c in itertools.combinations(PARTS, n)])
def test_parts_are_switched_on_their_own(on):
    views, pairs = make_clips(n=60)
    weights = {**NO_PARTS, **{k: v for part in on for k, v in PARTS[part].items()}}
    record = fit(views, pairs, parameters={**weights, "n_epochs": 1}).history_[0]
    assert set(record.parts) == {"contrast", *on}
    weighted = sum(weights.get(name, 1.0) * value for name, value in record.parts.items())
    assert record.loss == pytest.approx(weighted, rel=1e-5)


def neighbourhoods(latents, temperature=0.1):
    logits = latents @ latents.T / temperature
    np.fill_diagonal(logits, -np.inf)
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True) + 1e-12


def test_consistency_makes_neighbourhoods_alike_within_the_modalities():
    views, pairs = make_clips(n_captions=1)
    views["text"] = views["text"][np.argsort(pairs[:, 0])]
    divergence = {}
    for weight in (0.0, 3.0):
        model = fit(views, None, parameters={**NO_PARTS, "consistency": weight})
        a, t = (neighbourhoods(model.transform(x, name)) for name, x in views.items())
        divergence[weight] = ((a - t) * np.log(a / t)).sum(axis=1).mean() / 2
    assert divergence[3.0] < 0.8 * divergence[0.0]


def test_the_teacher_separates_within_each_modality():
    """Latents of a kind of sound stay nearer to each other than to the rest, in both modalities."""
    rng = np.random.default_rng(0)
    kind = np.arange(240) % 4
    own = rng.standard_normal((240, 6))
    kinds = 1.5 * np.random.default_rng(9).standard_normal((4, 10))[kind]
    text = np.hstack([kinds, own @ rng.standard_normal((6, 6))])
    views = {"audio": own @ rng.standard_normal((6, 20)), "text": text}
    views["audio"] += 0.3 * kinds @ rng.standard_normal((10, 20))
    separability = {}
    same = (kind[:, None] == kind) & ~np.eye(240, dtype=bool)
    for weight in (0.0, 1.0):
        model = fit(views, None, parameters={**NO_PARTS, "semantic": weight})
        for name, x in views.items():
            latents = model.transform(x, name)
            cosines = latents @ latents.T
            separability[name, weight] = (
                cosines[same].mean() - cosines[kind[:, None] != kind].mean()
            )
    for name in views:
        assert separability[name, 1.0] > separability[name, 0.0] + 0.05


def test_reconstruction_errors_fall():
    history = fit(*make_clips(), parameters={"n_epochs": 10}).history_
    errors = [record.parts["reconstruction"] for record in history]
    assert errors[-1] < 0.7 * errors[0]


@pytest.mark.parametrize("slope", [-0.5, 0.5])
def test_the_temperature_follows_alignment(slope):
    views, pairs = make_clips()
    history = fit(views, pairs, parameters={"temperature_slope": slope}).history_
    temperatures = [record.temperature for record in history]
    assert all(0.01 <= t <= 0.3 for t in temperatures)
    # Pairs align as training goes on.
    assert np.sign(temperatures[-1] - temperatures[0]) == np.sign(slope)
    bounded = fit(views, pairs, parameters={"temperature_slope": 100 * slope}).history_
    assert bounded[-1].temperature == pytest.approx(0.3 if slope > 0 else 0.01)
    fixed = fit(views, pairs).history_
    assert {round(record.temperature, 6) for record in fixed} == {0.1}


def test_rows_repeat_on_either_side():
    views, pairs = make_clips()
    turned = {"text": views["text"], "audio": views["audio"]}
    model = fit(turned, pairs[:, ::-1], parameters={"teacher": "text"})
    assert recall_sum(model, turned, pairs[:, ::-1]) > 300


def test_rows_in_no_pair_get_codes_and_teach_nothing():
    views, pairs = make_clips(n=80)
    more = {name: np.vstack([x, 100 + x[:7]]) for name, x in views.items()}
    a, b = fit(views, pairs), fit(more, pairs)
    for name, x in views.items():
        assert len(b.codes_[name]) == len(x) + 7
        np.testing.assert_array_equal(b.codes_[name][: len(x)], a.codes_[name])


def test_equal_captions_are_no_negatives():
    """Two kinds of sound with one caption each: clips of a kind must not be driven apart."""
    rng = np.random.default_rng(0)
    kind = np.arange(200) % 2
    text = np.eye(2)[kind]
    audio = np.hstack([3 * text, 0.1 * rng.standard_normal((200, 4))])
    of_heads = {"reconstruction_in_latents": 0}
    model = fit({"audio": audio, "text": text}, None, parameters=of_heads)
    latents = model.transform(audio, "audio")
    cosines = latents @ latents.T
    assert cosines[kind[:, None] == kind].mean() > 0.8
    assert np.isfinite(model.history_[-1].loss)


def test_inputs_of_any_kind_are_never_changed(tmp_path):
    views, pairs = make_clips(n=60)
    before = {name: x.copy() for name, x in views.items()}
    single = {name: x.astype(np.float32) for name, x in views.items()}
    np.save(tmp_path / "audio.npy", single["audio"])
    mapped = {**single, "audio": np.load(tmp_path / "audio.npy", mmap_mode="r")}
    for x in (*views.values(), *single.values(), pairs):
        x.setflags(write=False)
    fit(views, pairs)
    assert_same_model(fit(single, pairs), fit(mapped, pairs))
    for name, x in before.items():
        np.testing.assert_array_equal(views[name], x)


@pytest.mark.parametrize("preprocessing", ["whiten", "centre", {"text": "none"}])
def test_preprocessing(preprocessing):
    views, pairs = make_clips(n=80)
    views["audio"][:, 3] = 7.0
    with pytest.warns(UserWarning, match=r"hold one value in all 80 rows \(3\)"):
        model = fit(views, pairs, parameters={"preprocessing": preprocessing})
    assert np.isfinite(model.history_[-1].loss)
    for name, x in views.items():
        mapped = model.feature_maps_[name].preprocessing.transform(x)
        kind = preprocessing
        if kind == "centre":
            np.testing.assert_allclose(mapped.mean(axis=0), 0, atol=1e-4)
            np.testing.assert_allclose(mapped.std(axis=0).mean(), 1, rtol=1e-4)
        elif preprocessing == {"text": "none"} and name == "text":
            np.testing.assert_allclose(mapped, x, rtol=1e-6)
        else:
            covariance = np.cov(mapped, rowvar=False)
            np.testing.assert_allclose(covariance - np.diag(np.diag(covariance)), 0, atol=1e-4)
            assert (np.diag(covariance) < 1.02).all()


def make_encoder(n_in=15, n_out=32):
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(n_in, 24), torch.nn.Tanh(), torch.nn.Linear(24, n_out)
    )


def test_a_module_of_the_caller():
    views, pairs = make_clips()
    encoder = make_encoder()
    before = [p.detach().clone() for p in encoder.parameters()]
    model = fit(views, pairs, parameters={"encoders": {"text": encoder}})
    for mine, old in zip(encoder.parameters(), before, strict=True):
        torch.testing.assert_close(mine.detach(), old)
    assert recall_sum(model, *make_clips(n=100, seed=1)) > 300
    np.testing.assert_array_equal(model.encode(views["text"], "text"), model.codes_["text"])
    again = fit(views, pairs, parameters={"encoders": {"text": encoder}})
    np.testing.assert_array_equal(again.codes_["text"], model.codes_["text"])
    with pytest.raises(ValueError, match=r"encoders\['text'\] returns shape \(2, 31\)"):
        fit(views, pairs, parameters={"encoders": {"text": make_encoder(n_out=31)}})


def test_a_fitted_model_needs_no_pytorch(tmp_path):
    import pickle

    views, pairs = make_clips(n=60)
    model = fit(views, pairs)
    (tmp_path / "model.pickle").write_bytes(pickle.dumps(model))
    np.save(tmp_path / "text.npy", views["text"])
    program = f"""
        import pickle, sys
        import numpy as np

        class Missing:
            def find_spec(name, path, target=None):
                if name.partition(".")[0] == "torch":
                    raise ModuleNotFoundError(name, name=name)

        sys.meta_path.insert(0, Missing)
        model = pickle.load(open({str(tmp_path / "model.pickle")!r}, "rb"))
        text = np.load({str(tmp_path / "text.npy")!r})
        np.save({str(tmp_path / "codes.npy")!r}, model.encode(text, "text"))
        try:
            model.fit({{"audio": text, "text": text}})
        except ImportError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True
    )
    assert 'pip install "fasthash-retrieval[clsr]"' in done.stdout
    np.testing.assert_array_equal(np.load(tmp_path / "codes.npy"), model.codes_["text"])


def test_importing_does_not_load_pytorch():
    program = (
        "import sys, fasthash.models, fasthash; fasthash.CLSR(); print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
