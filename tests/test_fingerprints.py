"""A model has a fingerprint, files of its codes hold it, and commands do not mix two models."""

import json
import pathlib
import zipfile

import numpy as np
import pytest
from sklearn.base import clone

import fasthash as fh
from command_line import result, run
from fasthash.index._index_file import HEADER_BYTES, read_index

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 8))
VIEWS = {"image": X, "text": X[:, :5] + RNG.standard_normal((60, 5))}
LABELS = {name: np.arange(60) % 3 for name in VIEWS}


def fitted(name, x=None):
    views = VIEWS if x is None else {"image": x, "text": VIEWS["text"]}
    if name == "AMSH":
        return fh.AMSH(6, n_anchors=10, random_state=0).fit(views, LABELS)
    if name == "RREH":
        return fh.RREH(6, n_anchors=10, random_state=0).fit(views)
    if name == "CCAITQ":
        return fh.CCAITQ(6, preprocessing="whiten", random_state=0).fit(views)
    if name == "CLSR":
        pytest.importorskip("torch", reason="CLSR is trained with PyTorch")
        return fh.CLSR(6, n_latent=8, hidden=(8,), n_epochs=1, random_state=0).fit(views)
    return getattr(fh, name)(6, random_state=0).fit(views["image"])


@pytest.mark.parametrize("name", ["AMSH", "RREH", "CCAITQ", "CLSR", "ITQ", "RandomHyperplanes"])
def test_fingerprints_say_what_encodes(tmp_path, name):
    pytest.importorskip("safetensors", reason="models are saved with safetensors")
    model = fitted(name)
    made = model.fingerprint()
    assert made.startswith(f"{name}-6-") and len(made) == len(name) + 3 + 16
    model.save(tmp_path / "m")
    assert fh.load(tmp_path / "m").fingerprint() == made
    assert fitted(name).fingerprint() == made
    if name == "RandomHyperplanes":
        return
    assert fitted(name, X + np.eye(60, 8)).fingerprint() != made
    # A change of one parameter of the hash functions, however small, is another model.
    projection = getattr(model, "projections_", {}).get("text", getattr(model, "projection_", None))
    projection[0, 0] = np.nextafter(projection[0, 0], 9)
    assert model.fingerprint() != made


def test_a_model_without_a_fit_has_none():
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError):
        clone(fitted("ITQ")).fingerprint()


@pytest.mark.parametrize("kind", [fh.HammingIndex, fh.MultiIndexHash])
def test_an_index_file_holds_the_fingerprint(tmp_path, kind):
    path = tmp_path / "some.index"
    index = kind(16)
    index.add(np.arange(20, dtype=np.uint8).reshape(10, 2))
    index.save(path)
    # As every file before: no name, and no word of it in the description.
    assert fh.load(path).model is None and b"model" not in path.read_bytes()[:HEADER_BYTES]
    index.model = "ITQ-16-ä" + "0" * 16
    for tables in (False, True):
        index.save(path, tables=tables)
        for mmap in (False, True):
            assert fh.load(path, mmap=mmap).model == index.model
    index.model = 3
    with pytest.raises(TypeError, match=r"model\.fingerprint\(\), or None, got int"):
        index.save(path)
    index.model = "x" * 5000
    with pytest.raises(ValueError, match="too many"):
        index.save(path)


def test_a_fingerprint_that_is_no_text_is_damage(tmp_path):
    from fasthash.index import _index_file

    path = tmp_path / "some.index"
    index = fh.HammingIndex(8)
    index.model = "abc"
    index.save(path)
    content = path.read_bytes()
    start = _index_file._PREAMBLE.size
    n = int.from_bytes(content[24:28], "little")
    description = {**json.loads(content[start : start + n]), "model": 7}
    header = _index_file._header(json.dumps(description).encode(), len(content), version=1)
    path.write_bytes(header + content[HEADER_BYTES:])
    with pytest.raises(ValueError, match="a value of a wrong type"):
        read_index(path, use_mmap=False)


@pytest.fixture
def folder(tmp_path, monkeypatch, capsys):
    """Two models of one length, and for the first an index."""
    pytest.importorskip("safetensors", reason="models are saved with safetensors")
    monkeypatch.chdir(tmp_path)
    np.savez("x.npz", image=VIEWS["image"], text=VIEWS["text"])
    np.savez("y.npz", image=VIEWS["image"] ** 3, text=VIEWS["text"])
    for name in "xy":
        views = f"--features image={name}.npz:image text={name}.npz:text"
        run(capsys, f"fit --method CCAITQ --bits 6 {views} --output {name}.model")
    run(capsys, f"index build some.index {ENCODED}")
    return tmp_path


ENCODED = "--model x.model --modality image --features x.npz:image"
OF_Y = ENCODED.replace("x.model", "y.model")


def test_commands_refuse_another_model_of_the_same_length(folder, capsys):
    made = fh.load("x.model").fingerprint()
    assert result(capsys, "index info some.index")["model"] == made
    assert made in run(capsys, "index info some.index")[0]
    for command in ("search some.index -k 1", "index add some.index"):
        run(capsys, f"{command} {ENCODED}")
        _, err = run(capsys, f"{command} {OF_Y}", status=1)
        assert f"some.index holds codes of the model {made}, and y.model belongs to" in err
        run(capsys, f"{command} {OF_Y} --any-model")
        # This option replaces files, in other commands.
        assert "--force" in run(capsys, f"{command} {OF_Y} --force", status=2)[1]
    # The index now holds codes of two models, and is no longer said to be of one.
    assert result(capsys, "index info some.index")["model"] is None


def test_a_model_fitted_again_is_another_model(folder, capsys):
    views = "--features image=y.npz:image text=y.npz:text"
    run(capsys, f"fit --method CCAITQ --bits 6 {views} --output x.model --force")
    _, err = run(capsys, f"search some.index {ENCODED}", status=1)
    assert "x.model belongs to" in err


def test_serve_refuses_another_model(folder, capsys):
    pytest.importorskip("uvicorn", reason="serve needs uvicorn")
    _, err = run(capsys, "serve --index some.index --model y.model --port 0", status=1)
    assert "y.model belongs to" in err


def test_files_of_codes_say_their_model(folder, capsys):
    made = fh.load("x.model").fingerprint()
    run(capsys, f"encode {ENCODED} --output c.npz")
    run(capsys, f"encode {ENCODED} --output c.npy")
    with np.load("c.npz") as arrays:
        np.testing.assert_array_equal(arrays["codes"], np.load("c.npy"))
    assert zipfile.ZipFile("c.npz").testzip() is None
    said = result(capsys, "index build npz.index --codes c.npz")
    assert (said["model"], said["n_bits"]) == (made, 6)
    assert result(capsys, "index build npy.index --codes c.npy --bits 6")["model"] is None
    # A .npy file has no place for it; the user may say it.
    said = result(capsys, "index build npy.index --codes c.npy --model x.model --force")
    assert (said["model"], said["n_bits"]) == (made, 6)
    run(capsys, f"encode {OF_Y} --output y-codes.npz")
    for command in ("search some.index", "index add some.index"):
        _, err = run(capsys, f"{command} --codes y-codes.npz", status=1)
        assert "y-codes.npz belongs to" in err
    _, err = run(capsys, "index build z.index --codes c.npz --model y.model --bits 6", status=1)
    assert "name the model that made the codes" in err and not pathlib.Path("z.index").exists()
    for source in ("--codes c.npz", ENCODED):
        _, err = run(capsys, f"index build z.index {source} --bits 7", status=1)
        assert f"--bits is 7, and the model {made} makes codes of 6 bits" in err
    assert not pathlib.Path("z.index").exists()


def test_codes_of_other_lengths_in_equal_bytes_are_refused(folder, capsys):
    run(capsys, f"encode {ENCODED} --output c.npz")
    run(capsys, f"encode {ENCODED} --output c.npy")
    run(capsys, "index build eight.index --codes c.npy")
    for items in (ENCODED, "--codes c.npz"):
        for command in (
            "index add eight.index",
            "search eight.index",
            "search eight.index --any-model",
        ):
            _, err = run(capsys, f"{command} {items}", status=1)
            assert "makes codes of 6 bits, and eight.index holds codes of 8" in err
    assert result(capsys, "index info eight.index")["n"] == 60


def test_a_modality_may_have_any_name(folder, capsys):
    """These two names are parameters of numpy.savez."""
    views = "--features file=x.npz:image allow_pickle=x.npz:text"
    run(capsys, f"encode --method rreh --bits 6 {views} --output r.npz")
    with np.load("r.npz") as arrays:
        assert {name: arrays[name].dtype for name in arrays} == {
            "file": np.uint8,
            "allow_pickle": np.uint8,
        }


def test_pairs_and_signs_say_what_made_them(folder, capsys):
    views = "--features image=x.npz:image text=x.npz:text"
    command = f"encode --method rreh --bits 6 {views} --save-model r.model --output r.npz"
    run(capsys, command)
    made = fh.load("r.model").fingerprint()
    assert result(capsys, "index build r.index --codes r.npz:image")["model"] == made
    run(capsys, "encode --method sign --features x.npz:image --output s.npz")
    assert result(capsys, "index build s.index --codes s.npz")["model"] == "sign-8"
    run(capsys, "search s.index --signs --features x.npz:image")
    run(capsys, "encode --method itq --features x.npz:image --bits 8 --save-model i --output i.npz")
    assert (
        "holds codes of the model sign-8"
        in run(capsys, "search s.index --model i --features x.npz:image", status=1)[1]
    )
    run(capsys, "index build i.index --codes i.npz")
    assert (
        "--signs belongs to sign-8"
        in run(capsys, "search i.index --signs --features x.npz:image", status=1)[1]
    )
