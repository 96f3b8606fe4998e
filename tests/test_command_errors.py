"""What commands refuse, in one line that says what to do."""

import pathlib

import numpy as np
import pytest
from scipy import sparse

from command_line import run

pytest.importorskip("safetensors", reason="models are saved with safetensors")


ERRORS = [
    ("fit --output m", 1, "pass either --data FILE"),
    ("fit --data emoji/emoji.npz", 1, "--output is missing"),
    ("fit --data none.mat --output m", 1, "none.mat: No such file"),
    ("fit --data empty.npy --output m", 1, "empty.npy is empty"),
    ("fit --data unlabelled.npz --output m", 1, "unlabelled.npz has no labels, such as L_tr"),
    (
        "fit --method RREH --features a=emoji/emoji.npz:I_tr b=emoji/emoji.npz:T_te --output m",
        1,
        "--pairs is missing: without it row i belongs to row i, and there are {'a': 1437",
    ),
    ("fit --data emoji/emoji.npz --output no/m", 2, "there is no folder no"),
    ("fit --data emoji/emoji.npz --output m --set n_ankers=3", 1, "it has beta, eta"),
    ("fit --data emoji/emoji.npz --output m --set n_bits=3", 1, "use --bits"),
    ("fit --data emoji/emoji.npz --output m --set width=-1", 1, "width must be finite"),
    ("fit --data emoji/emoji.npz --output m --labels y.npy", 1, "--labels goes with --features"),
    ("fit --data emoji/emoji.npz --output m --pairs y.npy", 1, "AMSH learns only from labels"),
    ("fit --features image=emoji/emoji.npz:I_tr --output m", 1, "--labels is missing"),
    ("fit --features emoji/emoji.npz --output m", 2, "not of the form modality=path"),
    ("fit --features a=emoji/emoji.npz:X b=emoji/emoji.npz --output m", 1, "no array 'X'"),
    (
        "fit --features a=emoji/emoji.npz:I_tr a=emoji/emoji.npz:T_tr --output m",
        1,
        "names a modality twice",
    ),
    (
        "fit --features a=emoji/emoji.npz:I_tr b=emoji/emoji.npz:T_tr --labels a=y.npy --output m",
        1,
        "one for each of a, b",
    ),
    ("encode --model emoji.index --modality image --learned --output c", 1, "holds an index"),
    (
        "encode --model emoji.model --learned --output c",
        1,
        "--modality is missing: say whether the features are those of image or text",
    ),
    ("encode --model emoji.model --modality image --output c", 1, "--features SOURCE or --learned"),
    (
        "encode --model emoji.model --modality image --features emoji/emoji.npz:T_te --output c",
        1,
        "has shape (469, 192), and the model takes 256 features of image",
    ),
    (
        "encode --model emoji.model --modality image --features emoji/emoji.npz:I_te --columns "
        "--output c",
        1,
        "has shape (469, 256): with --columns its rows are features",
    ),
    ("index build i.index --codes emoji/emoji.npz:I_tr", 1, "packed codes are uint8"),
    ("index build i.index", 1, "pass either --codes"),
    (
        "encode --model emoji.model --modality sound --learned --output c",
        1,
        "encodes image or text",
    ),
    ("fit --data image-codes.npy --output m", 1, "each as MODALITY=FILE or MODALITY=FILE:NAME"),
    (
        "fit --data emoji/emoji.npz --set n_anchors=x --output m",
        1,
        "n_anchors must be an integer, 'auto' or None, got 'x'",
    ),
    ("encode --model emoji.model --modality image --learned --output c.csv", 1, "not end in .csv"),
    ("search emoji.index --codes wide.npy", 1, "holds codes of 128 bits, and codes of 64 bits"),
    ("index add emoji.index --codes wide.npy", 1, "holds codes of 128 bits, and codes of 64 bits"),
    ("index info emoji.model", 1, "holds a model"),
    ("index info image-codes.npy", 1, "holds neither an index nor a model"),
    ("search none.index --codes image-codes.npy", 1, "none.index"),
    ("search emoji.index --codes image-codes.npy --rows 2000:", 1, "image-codes.npy has 1437 rows"),
    ("search emoji.index --codes image-codes.npy --rows 3", 2, "START:STOP"),
    ("search emoji.index --codes image-codes.npy -k 2 --radius 2", 2, "not allowed with"),
    ("search emoji.index --features emoji/emoji.npz:T_te", 1, "--model is missing"),
    ("evaluate --data emoji/emoji.npz --metrics mapp", 1, "map@N"),
    ("evaluate --data unlabelled.npz --models emoji.model", 1, "the test samples have no labels"),
    (
        "report --data emoji/emoji.npz --models emoji.model --names emoji/test.csv:name",
        1,
        "--names has 469 rows, and there are 1437 samples in the database",
    ),
    (
        "report --data emoji/emoji.npz --models emoji.model --query-pictures emoji/train.csv:name",
        1,
        "--query-pictures has 1437 rows, and there are 469 queries",
    ),
    ("evaluate --data emoji/emoji.npz --set n_anchors=3", 1, "AMSH.n_anchors"),
    ("evaluate --data emoji/emoji.npz --methods AMSH --models m", 1, "either --methods"),
    ("evaluate --data emoji/emoji.npz --pairs keep --share 2", 1, "ratio must be at most 1"),
    ("info none", 1, "none"),
    ("fitt", 2, "invalid choice"),
    (
        "fit --data emoji/emoji.npz --bit 16",
        2,
        "fit: unknown arguments --bit 16: did you mean --bits?",
    ),
    ("index", 2, "fasthash index: the following arguments are required: command"),
    ("index build i --codes c --row=3", 2, "fasthash index build: unknown arguments --row=3 (fast"),
    ("search emoji.index --codes c --radius 3.5", 2, "--radius: '3.5' is not a whole number"),
    ("search emoji.index --codes c -k x", 2, "-k: 'x' is not a whole number"),
    ("search emoji.index --codes c --recall x", 2, "--recall: 'x' is not a number"),
    ("evaluate --data emoji/emoji.npz --against SCM", 1, "are compared, AMSH, got SCM"),
    (
        "evaluate --train a=emoji/emoji.npz:I_tr b=emoji/emoji.npz:T_tr",
        1,
        "the samples have no labels, which decide what is relevant: add an array such as LAll",
    ),
    ("fit --features a=sparse.npz b=sparse.npz --labels y.npy --output m", 1, "scipy.sparse.load"),
    (
        "recall --features emoji/labels.txt",
        1,
        "numbers is needed: write the numbers to a .npy file",
    ),
]


@pytest.mark.parametrize(("command", "status", "message"), ERRORS, ids=[e[0] for e in ERRORS])
def test_errors_take_one_line(emoji, capsys, command, status, message):
    pathlib.Path("empty.npy").touch()
    with np.load("emoji/emoji.npz") as arrays:
        np.save("wide.npy", np.zeros((2, 16), np.uint8))
        np.savez("unlabelled.npz", **{name: arrays[name] for name in arrays if name[0] != "L"})
    sparse.save_npz("sparse.npz", sparse.eye_array(4).tocsr())
    before = sorted(emoji.iterdir())
    out, err = run(capsys, command, status)
    assert message in err and err.startswith("fasthash")
    assert err.count("\n") == 1 and out == ""
    assert sorted(emoji.iterdir()) == before


def test_a_missing_id_or_module_says_what_to_do(emoji, capsys):
    np.save("own.npy", np.zeros((2, 16), np.uint8))
    run(capsys, "index build own.index --codes own.npy")
    _, err = run(capsys, "index remove own.index --id 9999", status=1)
    assert "ids holds 9999" in err and "--ignore-missing removes the others" in err
    pytest.importorskip("uvicorn", reason="the extra 'serve' is not installed")
    command = "serve --index emoji.index --model emoji.model --words none:f --port 0"
    _, err = run(capsys, command, status=1)
    assert "No module named 'none'; MODULE:FUNCTION is looked for in the current folder" in err


def test_debug_shows_where(emoji, capsys):
    _, err = run(capsys, "--debug info none", status=1)
    assert err.startswith("Traceback") and "FileNotFoundError" in err


def test_a_fault_says_its_kind(emoji, capsys, monkeypatch):
    from fasthash.commands import inputs

    def fail(path):
        raise KeyError("oh")

    monkeypatch.setattr(inputs, "load_model", fail)
    _, err = run(capsys, "info emoji.model", status=1)
    assert err == "fasthash: KeyError: 'oh' (--debug shows where)\n"


def test_a_missing_safetensors_is_named_before_the_work(emoji, capsys, monkeypatch):
    from fasthash.commands import inputs

    monkeypatch.setattr(inputs, "find_spec", lambda name: None)
    for command in (
        "fit --data emoji/emoji.npz --output m",
        "encode --method itq --features emoji/emoji.npz:I_tr --save-model m --output c.npy",
    ):
        _, err = run(capsys, command, status=1)
        assert "pip install 'fasthash-retrieval[models]'" in err
    assert not pathlib.Path("c.npy").exists()
