"""The commands: their examples, what they compute against the library, streams, errors."""

import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import urllib.request

import numpy as np
import pytest

import fasthash as fh
from fasthash import cli, models
from fasthash._core.pieces import smaller_pieces
from fasthash.commands.inputs import METHODS
from fasthash.datasets import read_layout
from serving_process import serving

pytest.importorskip("safetensors", reason="models are saved with safetensors")

PROGRAM = pathlib.Path(sys.executable).parent / "fasthash"


@pytest.fixture(scope="module")
def emoji_folder(tmp_path_factory):
    """A folder with the emoji as plain files, a model and an index of its image codes."""
    folder = tmp_path_factory.mktemp("emoji")
    before = pathlib.Path.cwd()
    os.chdir(folder)
    try:
        for command in (
            "demo --files emoji",
            "fit --data emoji/emoji.npz --set n_anchors=200 --output emoji.model",
            "encode --model emoji.model --modality image --learned --output image-codes.npy",
            "index build emoji.index --codes image-codes.npy",
        ):
            assert cli.main(["--quiet", *command.split()]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def emoji(emoji_folder, tmp_path, monkeypatch):
    """A folder of its own with what `emoji_folder` has."""
    for path in emoji_folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    # What is changed in place is copied.
    for name in ("emoji.index", "image-codes.npy", "emoji.model"):
        (tmp_path / name).unlink()
        (tmp_path / name).write_bytes((emoji_folder / name).read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys, command, status=0):
    """What a command prints on standard output and on standard error."""
    capsys.readouterr()
    try:
        found = cli.main(shlex.split(command))
    except SystemExit as stopped:
        found = stopped.code
    printed = capsys.readouterr()
    assert found == status, printed.err
    return printed.out, printed.err


def result(capsys, command):
    return json.loads(run(capsys, f"--json {command}")[0])


def examples():
    """The example of every command's help, in the order in which the commands are declared."""
    found, parsers = [], [cli._parser()]
    while parsers:
        parser = parsers.pop(0)
        for action in parser._actions:
            if hasattr(action, "choices") and isinstance(action.choices, dict):
                parsers[:0] = action.choices.values()
        assert parser.epilog and parser.epilog.startswith("example: "), parser.prog
        found.append(parser.epilog.removeprefix("example: "))
    return list(dict.fromkeys(found))


def test_examples_of_all_helps_run(tmp_path, monkeypatch, capsys):
    for package in ("matplotlib", "tqdm", "shtab", "uvicorn"):
        pytest.importorskip(package, reason=f"an example needs {package}")
    monkeypatch.chdir(tmp_path)
    run(capsys, "demo --files emoji")
    for example in examples():
        program, command, *options = shlex.split(example)
        assert program == "fasthash"
        if command == "serve":
            with (
                serving(*options, cwd=tmp_path) as (url, *_),
                urllib.request.urlopen(url, timeout=60) as response,
            ):
                assert response.status == 200
        else:
            run(capsys, shlex.join([command, *options]))


def test_methods_are_those_of_the_library():
    several = [
        name
        for name in models.__all__
        if isinstance(getattr(models, name), type)
        and issubclass(getattr(models, name), models.CrossModalHasher)
        and name != "CrossModalHasher"
    ]
    assert sorted(METHODS) == sorted(several)


@pytest.mark.parametrize("method", METHODS)
def test_fit_and_encode_give_what_the_library_gives(emoji, capsys, method):
    command = f"fit --method {method} --data emoji/emoji.npz --bits 16 --seed 3 --output m"
    parameters = {}
    if method == "CLSR":
        pytest.importorskip("torch", reason="CLSR is trained with PyTorch")
        parameters = {"n_epochs": 2, "device": "cpu"}
        command += " --set n_epochs=2 device=cpu"
    said = result(capsys, command)
    assert said["samples"] == {"image": [1437, 256], "text": [1437, 192]}
    parts = read_layout("emoji/emoji.npz")
    train, test = parts["train"], parts["test"]
    model = getattr(fh, method)(16, random_state=3, **parameters)
    if method == "AMSH":
        model.fit(train.features, dict.fromkeys(train.features, train.labels))
    else:
        model.fit(train.features)
    run(capsys, "encode --model m --modality text --features emoji/emoji.npz:T_te --output c.npy")
    np.testing.assert_array_equal(np.load("c.npy"), model.encode(test.features["text"], "text"))
    run(capsys, "encode --model m --modality image --learned --output c.npy")
    np.testing.assert_array_equal(np.load("c.npy"), model.codes_["image"])


def test_files_named_one_by_one_in_any_form(emoji, capsys):
    """Columns as samples, labels of each modality, pairs as a float matrix: the same model."""
    train = read_layout("emoji/emoji.npz")["train"]
    np.save("image.npy", np.asarray(train.features["image"]).T)
    np.savez("text.npz", t=train.features["text"], y=train.labels)
    run(capsys, "fit --data emoji/emoji.npz --bits 16 --set n_anchors=200 --output one")
    _, err = run(
        capsys,
        "fit --features image=image.npy text=text.npz:t --labels image=text.npz:y text=text.npz:y "
        "--bits 16 --set n_anchors=200 --output two",
    )
    assert "image: samples are columns, 1437" in err
    for name in ("image", "text"):
        np.testing.assert_array_equal(fh.load("one").codes_[name], fh.load("two").codes_[name])
    np.savetxt(
        "pairs.csv", np.argwhere(np.eye(60)), header="image,text", comments="", delimiter=","
    )
    np.save("text.npy", np.asarray(train.features["text"]).T)
    run(
        capsys,
        "fit --method CCAITQ --features image=image.npy text=text.npy --columns --bits 8 "
        "--pairs pairs.csv --output three",
    )
    pairs = np.argwhere(np.eye(60))
    model = fh.CCAITQ(8, random_state=0).fit(train.features, pairs=pairs)
    np.testing.assert_array_equal(fh.load("three").codes_["text"], model.codes_["text"])


def test_every_method_tells_how_far_it_is(emoji):
    from fasthash.experiments import fit_model

    train = read_layout("emoji/emoji.npz")["train"]
    labels = dict.fromkeys(train.features, train.labels)
    told = {}
    for method in METHODS:
        parameters = {"n_epochs": 1, "device": "cpu"} if method == "CLSR" else {}
        if method == "CLSR":
            pytest.importorskip("torch", reason="CLSR is trained with PyTorch")
        steps = told.setdefault(method, [])
        model = getattr(fh, method)(16, random_state=0, **parameters)
        fit_model(model, train.features, labels, None, lambda *step, kept=steps: kept.append(step))
        encoding = []
        with smaller_pieces(1 << 16):
            model.encode(
                train.features["text"], "text", 1, lambda *step, e=encoding: e.append(step)
            )
        assert len(encoding) > 1 and encoding[-1] == ("encode", 1437, 1437)
        assert encoding == sorted(encoding)
    assert told["CCAITQ"] == []
    for method in set(METHODS) - {"CCAITQ"}:
        assert all(0 <= done <= total for _, done, total in told[method]) and told[method]


@pytest.mark.parametrize("kind", ["toml", "json"])
def test_config_files_and_what_overrides_them(emoji, capsys, kind):
    said = {
        "method": "RREH",
        "bits": 16,
        "features": {"image": "emoji/emoji.npz:I_tr", "text": "emoji/emoji.npz:T_tr"},
        "set": {"n_anchors": 50, "unpaired": False, "reliability": "none"},
        "output": "m",
        "quiet": True,
    }
    path = pathlib.Path(f"fit.{kind}")
    if kind == "json":
        path.write_text(json.dumps(said))
    else:
        lines = [
            f"{key} = {json.dumps(value)}" for key, value in said.items() if type(value) is not dict
        ]
        for key in ("features", "set"):
            lines += [f"[{key}]", *(f"{k} = {json.dumps(v)}" for k, v in said[key].items())]
        path.write_text("\n".join(lines))
    run(capsys, f"fit --config {path} --bits 24 --set n_anchors=40")
    model = fh.load("m")
    assert (model.n_bits, model.n_anchors, model.unpaired, model.reliability) == (
        24,
        40,
        False,
        None,
    )
    path.write_text('{"bitz": 3}' if kind == "json" else "bitz = 3")
    assert "--bitz" in run(capsys, f"fit --config {path}", status=2)[1]
    path.write_text("[[[")
    assert f"fit.{kind} is no {kind.upper()}" in run(capsys, f"fit --config {path}", status=1)[1]


def test_search_gives_what_the_library_gives(emoji, capsys):
    model, index = fh.load("emoji.model"), fh.load("emoji.index")
    test = read_layout("emoji/emoji.npz")["test"]
    codes = model.encode(test.features["text"], "text")
    np.save("q.npy", codes)
    distances, ids = index.search(codes[5:9], 4)
    by_features = "--model emoji.model --modality text --features emoji/emoji.npz:T_te"
    for source in ("--codes q.npy", by_features):
        out, _ = run(capsys, f"search emoji.index {source} --rows 5:9 -k 4 --json")
        lines = [json.loads(line) for line in out.splitlines()]
        assert [line["query"] for line in lines] == [5, 6, 7, 8]
        assert [line["ids"] for line in lines] == ids.tolist()
        assert [line["distances"] for line in lines] == distances.tolist()
    np.save("some.npy", np.arange(100, 200))
    limits, distances, ids = index.within(codes, 6, filter=np.arange(100, 200))
    out, _ = run(capsys, "search emoji.index --codes q.npy --radius 6 --filter some.npy --json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert [id_ for line in lines for id_ in line["ids"]] == ids.tolist()
    assert [len(line["ids"]) for line in lines] == np.diff(limits).tolist()
    out, _ = run(
        capsys, "search emoji.index --codes q.npy --rows :1 -k 1 --names emoji/train.csv:glyph"
    )
    assert re.fullmatch(r"query 0\n +\d+  \d+  \S+\n", out)


def test_index_is_changed_as_told(emoji, capsys):
    codes = np.load("image-codes.npy")
    np.save("ids.npy", np.arange(len(codes)) * 10)
    said = result(capsys, "index build new.index --codes image-codes.npy --ids ids.npy --bits 64")
    assert (said["n"], said["largest_id"]) == (len(codes), 10 * (len(codes) - 1))
    assert "exists" in run(capsys, "index build new.index --codes image-codes.npy", status=1)[1]
    assert (
        "already"
        in run(capsys, "index add new.index --codes image-codes.npy --ids ids.npy", status=1)[1]
    )
    result(capsys, "index add new.index --codes image-codes.npy --ids ids.npy --replace")
    said = result(capsys, "index remove new.index --ids ids.npy")
    assert (said["removed"], said["n"], said["smallest_id"]) == (len(codes), 0, None)
    assert "does not hold" in run(capsys, "index remove new.index --id 7", status=1)[1]
    assert result(capsys, "index remove new.index --id 7 --ignore-missing")["removed"] == 0
    assert result(capsys, "index verify emoji.index")["verified"]
    content = bytearray(pathlib.Path("emoji.index").read_bytes())
    content[5000] ^= 1
    pathlib.Path("emoji.index").write_bytes(content)
    assert "damaged" in run(capsys, "index verify emoji.index", status=1)[1]


def test_evaluate_gives_what_the_library_gives(emoji, capsys):
    command = (
        "evaluate --data emoji/emoji.npz --methods CCAITQ AMSH --bits 8 16 --seeds 2 "
        "--set AMSH.n_anchors=100 CCAITQ.ridge=1.0 --metrics map map@20 recall@50 --output all.json"
    )
    said = result(capsys, command)
    assert json.loads(pathlib.Path("all.json").read_text()) == said
    assert len(said["scores"]) == 2 * 2 * 2 * 2 * 3
    parts = read_layout("emoji/emoji.npz")
    train, test = parts["train"], parts["test"]
    labels = dict.fromkeys(train.features, train.labels)
    model = fh.AMSH(16, n_anchors=100, random_state=1).fit(train.features, labels)
    problem = (
        model.encode(test.features["text"], "text"),
        model.codes_["image"],
        test.labels,
        train.labels,
    )
    expected = {
        "map": fh.mean_average_precision(*problem, ties="expected"),
        "map@20": fh.mean_average_precision(*problem, at=20, ties="expected"),
        "recall@50": fh.recall_at(*problem, ranks=[50], ties="expected")[0],
    }
    found = {
        score["metric"]: score["value"]
        for score in said["scores"]
        if (score["method"], score["n_bits"], score["seed"], score["query"])
        == ("AMSH", 16, 1, "text")
    }
    assert found == pytest.approx(expected)
    line = next(line for line in said["table"] if line["metric"] == "map")
    values = [
        score["value"]
        for score in said["scores"]
        if all(score[key] == line[key] for key in ("method", "n_bits", "query", "metric"))
    ]
    assert (line["mean"], line["std"], line["n"]) == (np.mean(values), np.std(values), 2)
    out, _ = run(capsys, command)
    assert len(out.splitlines()) == 5 and out.count("±") == 4 * 2 * 3
    # One seed has no spread.
    out, err = run(capsys, f"{command} --seeds 1")
    assert len(out.splitlines()) == 5 and "±" not in out + err


def test_evaluate_a_saved_model_and_other_databases(emoji, capsys):
    saved = result(capsys, "evaluate --data emoji/emoji.npz --models emoji.model")["scores"]
    fitted = result(
        capsys,
        "evaluate --data emoji/emoji.npz --bits 64 --seeds 1 --set AMSH.n_anchors=200",
    )["scores"]
    assert [score["value"] for score in saved] == [score["value"] for score in fitted]
    samples = (
        "--train image=emoji/emoji.npz:I_tr text=emoji/emoji.npz:T_tr "
        "--train-labels emoji/emoji.npz:L_tr "
        "--test image=emoji/emoji.npz:I_te text=emoji/emoji.npz:T_te "
        "--test-labels emoji/emoji.npz:L_te "
    )
    again = result(capsys, f"evaluate {samples} --models emoji.model")["scores"]
    assert again == saved
    database = samples.replace("--test", "--database")
    other = result(capsys, f"evaluate {samples} {database.split('L_tr ')[1]} --models emoji.model")
    assert other["settings"]["samples"]["database"] == 469
    assert other["scores"] != saved


def test_evaluate_without_a_split_and_with_few_pairs(emoji, capsys):
    train = read_layout("emoji/emoji.npz")["train"]
    np.savez(
        "all.npz", XAll=train.features["image"], YAll=train.features["text"], LAll=train.labels
    )
    command = "evaluate --data all.npz --methods CCAITQ --bits 16 --seeds 2 --test-share 0.2"
    full = {s["seed"]: s["value"] for s in result(capsys, command)["scores"]}
    few = {
        s["seed"]: s["value"]
        for s in result(capsys, f"{command} --pairs missing --share 0.05")["scores"]
    }
    assert full[0] != full[1]
    assert all(few[seed] < full[seed] for seed in full)


def test_queries_of_standard_input_are_answered_as_they_come(emoji):
    test = read_layout("emoji/emoji.npz")["test"]
    index, model = fh.load("emoji.index"), fh.load("emoji.model")
    x = np.asarray(test.features["text"][:3])
    process = subprocess.Popen(
        [PROGRAM, *shlex.split("search emoji.index --model emoji.model --modality text -k 2 "
                               "--features - --format jsonl")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    for i, row in enumerate(x.tolist()):
        process.stdin.write(json.dumps(row) + "\n")
        process.stdin.flush()
        # Blocks for ever unless the answer comes before the end of the input.
        answer = json.loads(process.stdout.readline())
        _, ids = index.search(model.encode(x[i : i + 1].astype(float), "text"), 2)
        assert (answer["query"], answer["ids"]) == (i, ids[0].tolist())
    process.stdin.write("no list\n")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err == "fasthash: query 4 of standard input is no list of features: 'no list'\n"


def test_codes_of_standard_input(emoji, capsys):
    codes = np.load("image-codes.npy")[:2]
    lines = "\n".join(code.tobytes().hex() for code in codes) + "\n\nff"
    done = subprocess.run(
        [PROGRAM, "search", "emoji.index", "--codes", "-", "-k", "1", "--json"],
        input=lines, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(answer["distances"] == [0] for answer in answers)
    assert done.returncode == 1 and "no code of 64 bits, 16 hexadecimal digits: 'ff'" in done.stderr


def test_a_reader_that_goes_away_is_no_error_to_shout_about(emoji):
    done = subprocess.run(
        f"{PROGRAM} search emoji.index --codes image-codes.npy | head -1",
        shell=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("query 0\n", "")


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo-terminal")
def test_progress_is_shown_on_a_terminal_only(emoji):
    import pty
    import termios

    pytest.importorskip("tqdm", reason="progress bars are drawn by tqdm")
    command = "fit --data emoji/emoji.npz --bits 32 --output m".split()
    for quiet in (False, True):
        master, terminal = pty.openpty()
        termios.tcsetwinsize(terminal, (24, 80))
        process = subprocess.Popen(
            [PROGRAM, *command, *["--quiet"] * quiet], stdout=subprocess.PIPE, stderr=terminal
        )
        os.close(terminal)
        shown = b""
        while True:
            try:
                piece = os.read(master, 4096)
            except OSError:
                break
            if not piece:
                break
            shown += piece
        os.close(master)
        assert process.wait(60) == 0
        process.stdout.close()
        # The first step is always drawn, later ones a tenth of a second apart.
        assert (b"features" in shown and b"%" in shown) is not quiet
        assert not quiet or shown == b""


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
    ("fit --data emoji/emoji.npz --output m --pairs y.npy", 1, "AMSH learns from labels alone"),
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
    ("encode --model emoji.model --learned --output c", 1, "one of image, text, got none"),
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
    ("index info emoji.model", 1, "holds a model"),
    ("index info image-codes.npy", 1, "no file of fasthash"),
    ("search none.index --codes image-codes.npy", 1, "none.index"),
    ("search emoji.index --codes image-codes.npy --rows 2000:", 1, "among the 1437 of image-codes"),
    ("search emoji.index --codes image-codes.npy --rows 3", 2, "START:STOP"),
    ("search emoji.index --codes image-codes.npy -k 2 --radius 2", 2, "not allowed with"),
    ("search emoji.index --features emoji/emoji.npz:T_te", 1, "--model is missing"),
    ("evaluate --data emoji/emoji.npz --metrics mapp", 1, "map@N"),
    ("evaluate --data unlabelled.npz --models emoji.model", 1, "the test samples have no labels"),
    (
        "report --data emoji/emoji.npz --models emoji.model --names emoji/test.csv:name",
        1,
        "--names has 469 rows, and there are 1437 samples that are searched",
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
]


@pytest.mark.parametrize(("command", "status", "message"), ERRORS, ids=[e[0] for e in ERRORS])
def test_errors_take_one_line(emoji, capsys, command, status, message):
    pathlib.Path("empty.npy").touch()
    with np.load("emoji/emoji.npz") as arrays:
        np.savez("unlabelled.npz", **{name: arrays[name] for name in arrays if name[0] != "L"})
    before = sorted(emoji.iterdir())
    out, err = run(capsys, command, status)
    assert message in err and err.startswith("fasthash")
    assert err.count("\n") == 1 and out == ""
    assert sorted(emoji.iterdir()) == before


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
