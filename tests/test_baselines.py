"""The baselines against their papers' formulas with whole matrices, and what they refuse."""

import tracemalloc

import numpy as np
import pytest
from scipy import sparse

import fasthash as fh
from fasthash.models import CMFH, CVH, DCH, SCM
from reference import baselines as reference

N, BITS = 90, 6


@pytest.fixture
def problem():
    """Two paired modalities with three classes; centred samples as columns for the reference."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, N)
    x = {
        name: rng.standard_normal((3, d))[y] + rng.standard_normal((N, d))
        for name, d in (("image", 9), ("text", 7))
    }
    return x, y, [(values - values.mean(axis=0)).T for values in x.values()]


def bits(codes):
    return fh.unpack(codes, BITS)


def test_cvh_is_the_generalised_eigenproblem(problem):
    x, _, views = problem
    model = CVH(BITS, ridge=0.1).fit(x)
    ridges = tuple(0.1 * np.mean(view**2) for view in views)
    expected = reference.cvh(*views, ridges, BITS)
    for projection, other in zip(model.projections_.values(), expected, strict=True):
        cosines = np.sum(projection * other, axis=0)
        cosines /= np.linalg.norm(projection, axis=0) * np.linalg.norm(other, axis=0)
        np.testing.assert_allclose(np.abs(cosines), 1, atol=1e-8)


@pytest.mark.parametrize("several", [False, True])
def test_scm_follows_the_residues(problem, several):
    x, y, views = problem
    rng = np.random.default_rng(1)
    labels = {name: np.eye(3, dtype=int)[y] for name in x}
    if several:
        labels = {name: one | (rng.random(one.shape) < 0.3) for name, one in labels.items()}
    # The two modalities need not have the same samples.
    x["text"], labels["text"] = x["text"][:70], labels["text"][:70]
    views[1] = (x["text"] - x["text"].mean(axis=0)).T
    model = SCM(BITS, ridge=0.5).fit(x, labels)
    ridges = tuple(0.5 * np.sum(view**2) / len(view) for view in views)
    given = tuple(one.T.astype(float) for one in labels.values())
    expected = reference.scm(*views, given, ridges, BITS)
    products = [reference.sgn(v.T @ w) for v, w in zip(views, expected, strict=True)]
    ours = [np.where(bits(codes), 1.0, -1.0) for codes in model.codes_.values()]
    for k in range(BITS):
        # A pair of projections may have both signs turned.
        np.testing.assert_array_equal(
            np.outer(ours[0][:, k], ours[1][:, k]), np.outer(products[0][:, k], products[1][:, k])
        )


def test_cmfh_alternates_the_closed_forms(problem):
    x, _, views = problem
    options = {"mu": 3.0, "gamma": 0.2, "n_iterations": 12}
    model = CMFH(BITS, random_state=0, **options).fit(x)
    scaled = [view * np.sqrt(N / np.sum(view**2)) for view in views]
    start = np.random.RandomState(0).standard_normal((N, BITS)).T
    v, p, objective = reference.cmfh(scaled, start, *options.values())
    np.testing.assert_allclose(model.objective_, objective, rtol=1e-9)
    assert (np.diff(model.objective_) <= 1e-9).all()
    np.testing.assert_array_equal(bits(model.codes_["image"]), (v >= v.mean(axis=1)[:, None]).T)
    for name, one, view, own in zip(x, p, scaled, views, strict=True):
        scale = np.sqrt(np.sum(view**2) / np.sum(own**2))
        np.testing.assert_allclose(model.projections_[name], scale * one.T, rtol=1e-7, atol=1e-9)


def test_dch_updates_bit_by_bit(problem):
    x, y, views = problem
    options = {"mu": 0.3, "lam": 0.7, "n_sweeps": 4}
    model = DCH(BITS, kernel="linear", ridge=0.2, random_state=0, **options)
    model.fit(x, dict.fromkeys(x, y))
    ridges = [0.2 * np.sum(view**2) / len(view) for view in views]
    start = reference.sgn(np.random.RandomState(0).standard_normal((N, BITS))).T
    b, f, objective = reference.dch(
        views, np.eye(3)[y].T, start, options["mu"], options["lam"], ridges, options["n_sweeps"]
    )
    np.testing.assert_array_equal(bits(model.codes_["image"]), (b > 0).T)
    np.testing.assert_allclose(model.objective_, objective, rtol=1e-9)
    for name, one in zip(x, f, strict=True):
        np.testing.assert_allclose(model.projections_[name], one, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_a_dch_bit_that_all_samples_share_is_1_and_other_samples_share_it(problem, dtype, kernel):
    x, y, _ = problem
    # Features of this size are means and products with rounding errors.
    x = {name: (1e3 + values).astype(dtype) for name, values in x.items()}
    n_shared = 0
    for seed in range(12):
        model = DCH(BITS, kernel=kernel, n_anchors=20, random_state=seed)
        codes = bits(model.fit(x, dict.fromkeys(x, y)).codes_["image"])
        shared = (codes == codes[0]).all(axis=0)
        n_shared += shared.sum()
        assert codes[:, shared].all()
        for name in x:
            assert bits(model.encode(x[name], name))[:, shared].all()
            assert not model.projections_[name][:, shared].any()
    assert n_shared


@pytest.mark.parametrize("method", [CMFH, DCH])
def test_rows_in_no_pair_are_encoded_and_partners_share_a_code(problem, method):
    x, y, _ = problem
    pairs = np.column_stack([np.arange(0, 80, 2), np.arange(1, 81, 2)])
    labels = {"image": np.repeat(y[:45], 2), "text": np.repeat(y[:45], 2)}
    arguments = (labels,) if method is DCH else ()
    model = method(BITS, random_state=0).fit(x, *arguments, pairs=pairs)
    codes = model.codes_
    np.testing.assert_array_equal(codes["image"][pairs[:, 0]], codes["text"][pairs[:, 1]])
    left = np.setdiff1d(np.arange(N), pairs[:, 0])
    np.testing.assert_array_equal(codes["image"][left], model.encode(x["image"][left], "image"))


@pytest.mark.parametrize("n_iterations", [1, 2])
def test_blocks_change_nothing(problem, n_iterations):
    from fasthash._core.pieces import smaller_pieces

    x, y, _ = problem
    for model, labels in (
        (fh.CCAITQ(BITS, random_state=0), None),
        (CVH(BITS), None),
        (CMFH(BITS, n_iterations=n_iterations, random_state=0), None),
        (SCM(BITS), y),
        (DCH(BITS, n_sweeps=n_iterations, n_anchors=20, random_state=0), y),
    ):
        arguments = () if labels is None else (dict.fromkeys(x, labels),)
        whole = model.fit(x, *arguments).projections_
        with smaller_pieces(150):
            again = model.fit(x, *arguments).projections_
        for name in x:
            np.testing.assert_allclose(again[name], whole[name], rtol=1e-6, atol=1e-9)


def test_models_know_what_their_distances_mean(problem):
    x, y, _ = problem
    labels = dict.fromkeys(x, y)
    for model in (CVH(BITS).fit(x), CMFH(BITS, random_state=0).fit(x)):
        scale = model.distance_scales_["image"]["text"]
        assert (scale.relevant.sum(), scale.other.sum()) == (N, N * (N - 1))
    for method in (SCM, DCH):
        scale = method(BITS, random_state=0).fit(x, labels).distance_scales_["image"]["text"]
        n_related = np.sum(np.bincount(y) ** 2)
        assert (scale.relevant.sum(), scale.other.sum()) == (n_related, N**2 - n_related)
        # The labels are those of the distances.
        distances = np.arange(BITS + 1)
        near, far = (np.average(distances, weights=w) for w in (scale.relevant, scale.other))
        assert near < far


@pytest.mark.parametrize("method", [SCM, DCH])
def test_a_class_for_every_sample_makes_no_dense_matrix_of_labels(method):
    """4,000 x 4,000 labels would be 128 MB dense."""
    x = np.random.default_rng(0).standard_normal((4000, 8))
    features = {"image": x, "text": x[:, ::-1]}
    tracemalloc.start()
    try:
        method(4, random_state=0).fit(features, dict.fromkeys(features, np.arange(4000)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 80e6


def test_what_is_refused(problem):
    x, y, _ = problem
    labels = dict.fromkeys(x, y)
    with pytest.raises(ValueError, match="n_bits=8, but there are 7 canonical directions"):
        CVH(8).fit(x)
    with pytest.raises(ValueError, match="SCM learns from 2 modalities, got"):
        SCM(4).fit({**x, "c": x["image"]}, {**labels, "c": y})
    with pytest.raises(ValueError, match=r"labels\['text'\] of pair \d+ are not those"):
        DCH(4).fit(x, {**labels, "text": np.roll(y, 1)})
    with pytest.raises(ValueError, match=r"labels\['image'\] has \d+ classes, and none of them"):
        SCM(4).fit(x, {**labels, "text": y + 100})
    with pytest.raises(ValueError, match="kernel must be one of"):
        DCH(4, kernel="cubic").fit(x, labels)
    with pytest.raises(ValueError, match=r"n_bits=6, but 5 pairs have 4 canonical directions"):
        CVH(6).fit({name: values[:5] for name, values in x.items()})
    few = sparse.csr_array((N, 3))
    full = sparse.csr_array(np.tile([0, 1, 0], (N, 1)))
    for method in (SCM, DCH):
        for same in (np.zeros(N, int), full):
            with pytest.raises(ValueError, match="are the same for all samples to learn from"):
                method(4).fit(x, dict.fromkeys(x, same))
        with pytest.raises(ValueError, match=f"are all empty: {method.__name__} learns from"):
            method(4).fit(x, dict.fromkeys(x, few))
    constant = {**x, "text": np.ones_like(x["text"])}
    for model, arguments in ((CVH(4), ()), (CMFH(4), ()), (SCM(4), (labels,)), (DCH(4), (labels,))):
        with pytest.raises(ValueError, match="the same row for all samples to learn from"):
            model.fit(constant, *arguments)
