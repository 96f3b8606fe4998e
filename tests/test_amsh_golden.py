"""AMSH against the authors' own program, step by step.

`data/amsh_author_steps.npz` holds intermediate results of the authors' published MATLAB program on
a small synthetic, unpaired problem at 16 bits: the features X and Y, the labels LX and LY, the
latents V it started from, and V, B, E (margins) and P after sweeps 1, 2 and 15, then the hash
functions F.
"""

import pathlib

import numpy as np
import pytest

import fasthash as fh
from fasthash._core.labels import check_labels
from fasthash._core.workers import Workers
from fasthash.models.amsh._code_parts import CodePart, LabelRows
from fasthash.models.amsh._codes import Weights, start_codes, sweep
from reference import discrete as reference

LAM = BETA = 1e-3
ETA = 1.0
SWEEPS = (1, 2, 15)


@pytest.fixture(scope="module")
def golden():
    with np.load(pathlib.Path(__file__).parent / "data" / "amsh_author_steps.npz") as file:
        return {name: file[name] for name in file.files}


def assert_same_steps(golden, sweep, targets, p, v, b):
    labels = [golden["LX"], golden["LY"]]
    margins = np.where(labels[0] == 1, targets[0] - 1, -targets[0])
    np.testing.assert_allclose(margins, golden[f"E1_{sweep}"], rtol=0, atol=1e-7)
    np.testing.assert_allclose(p[0], golden[f"P1_{sweep}"], rtol=0, atol=1e-7)
    for m in (0, 1):
        np.testing.assert_allclose(v[m], golden[f"V{m + 1}_{sweep}"], rtol=0, atol=1e-7)
        np.testing.assert_array_equal(b[m], golden[f"B{m + 1}_{sweep}"])


def test_the_reference_repeats_every_sweep(golden):
    labels = [golden["LX"].astype(float), golden["LY"].astype(float)]
    targets = labels
    v = [golden["V1_0"], golden["V2_0"]]
    b = [reference.sign(x) for x in v]
    for done in range(1, 16):
        targets, p, v, b = reference.sweep(labels, targets, v, b, LAM, BETA, ETA)
        if done in SWEEPS:
            assert_same_steps(golden, done, targets, p, v, b)
    for m, x in enumerate((golden["X"], golden["Y"])):
        f = reference.hash_function(x, b[m], 0.01, 15)
        np.testing.assert_allclose(f, golden[f"F{m + 1}"], rtol=0, atol=1e-7)


def test_the_sweeps_repeat_every_sweep(golden):
    given = check_labels({"X": golden["LX"], "Y": golden["LY"]}, {"X": 260, "Y": 220})
    weights, rng = Weights(LAM, BETA, ETA), np.random.RandomState(0)
    with Workers(2) as workers:
        modalities = [
            start_codes([CodePart(0, LabelRows.of(y), golden[f"V{m}_0"].copy())], workers)
            for m, y in enumerate(given.values(), 1)
        ]
        for done in range(1, 16):
            sweep(modalities, weights, rng, workers)
            if done in SWEEPS:
                v, p = [m.v for m in modalities], [m.p for m in modalities]
                b = [np.where(fh.unpack(m.packed, 16), 1, -1) for m in modalities]
                targets = [
                    reference.label_target(y.toarray(), m.v @ m.p)
                    for y, m in zip(given.values(), modalities, strict=True)
                ]
                assert_same_steps(golden, done, targets, p, v, b)


@pytest.mark.parametrize("n_sweeps", SWEEPS)
def test_the_estimator_repeats_codes_and_hash_functions(golden, n_sweeps):
    start = {"image": golden["V1_0"], "text": golden["V2_0"]}
    parameters = {"n_anchors": None, "lam": LAM, "beta": BETA, "init": start, "tol": 0}
    model = fh.AMSH(n_bits=16, n_sweeps=n_sweeps, **parameters)
    model.fit(
        {"image": golden["X"], "text": golden["Y"]},
        labels={"image": golden["LX"], "text": golden["LY"]},
    )
    for m, name in enumerate(("image", "text"), 1):
        bits = fh.unpack(model.codes_[name], 16)
        np.testing.assert_array_equal(bits, golden[f"B{m}_{n_sweeps}"] > 0)
        if n_sweeps == 15:
            projection = model.projections_[name]
            np.testing.assert_allclose(projection, golden[f"F{m}"], rtol=0, atol=1e-7)
