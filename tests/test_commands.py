"""The commands: their examples, what they compute against the library."""

import json
import pathlib
import re
import shlex
import urllib.request

import numpy as np
import pytest

import fasthash as fh
from command_line import result, run
from fasthash import cli, models
from fasthash._core.pieces import smaller_pieces
from fasthash.commands.inputs import METHODS
from fasthash.datasets import read_layout
from fasthash.experiments import learns_from
from fasthash.index import _filtered_lists, _list_search
from fasthash.index._filters import PreparedFilter
from fasthash.metrics._ties import RULES_FOR_RANKINGS
from serving_process import serving
from strategies import random_codes

pytest.importorskip("safetensors", reason="models are saved with safetensors")


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


def test_the_help_of_fit_names_the_methods_that_learn_from_labels(capsys):
    with pytest.raises(SystemExit):
        cli.main(["fit", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    *first, last = (name for name in METHODS if learns_from(getattr(models, name), "labels"))
    assert f"{', '.join(first)} and {last} learn from labels" in said


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
    model = getattr(fh.models, method)(16, random_state=3, **parameters)
    if learns_from(model, "labels"):
        model.fit(train.features, dict.fromkeys(train.features, train.labels))
    else:
        model.fit(train.features)
    run(capsys, "encode --model m --modality text --features emoji/emoji.npz:T_te --output c.npy")
    np.testing.assert_array_equal(np.load("c.npy"), model.encode(test.features["text"], "text"))
    run(capsys, "encode --model m --modality image --learned --output c.npy --force")
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
        model = getattr(fh.models, method)(16, random_state=0, **parameters)
        fit_model(
            model,
            train.features,
            labels=labels,
            callback=lambda *step, kept=steps: kept.append(step),
        )
        encoding = []
        with smaller_pieces(1 << 16):
            model.encode(
                train.features["text"],
                "text",
                n_threads=1,
                callback=lambda *step, e=encoding: e.append(step),
            )
        assert len(encoding) > 1 and encoding[-1] == ("encode", 1437, 1437)
        assert encoding == sorted(encoding)
    for method in METHODS:
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
    assert (
        f"fit.{kind} is not valid {kind.upper()}"
        in run(capsys, f"fit --config {path}", status=1)[1]
    )


def test_search_gives_what_the_library_gives(emoji, capsys):
    model, index = fh.load("emoji.model"), fh.load("emoji.index")
    test = read_layout("emoji/emoji.npz")["test"]
    codes = model.encode(test.features["text"], "text")
    np.save("q.npy", codes)
    distances, ids = index.search(codes[5:9], 4)
    by_features = "--model emoji.model --modality text --features emoji/emoji.npz:T_te"
    for source in ("--codes q.npy", f"{by_features} --no-weights"):
        out, _ = run(capsys, f"search emoji.index {source} --rows 5:9 -k 4 --json")
        lines = [json.loads(line) for line in out.splitlines()]
        assert [line["query"] for line in lines] == [5, 6, 7, 8]
        assert [line["ids"] for line in lines] == ids.tolist()
        assert [line["distances"] for line in lines] == distances.tolist()
        assert "scores" not in lines[0]
    scores, ids = model.search(test.features["text"][5:9], "text", index, 4)
    out, _ = run(capsys, f"search emoji.index {by_features} --rows 5:9 -k 4 --json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["ids"] for line in lines] == ids.tolist()
    assert [line["scores"] for line in lines] == scores.tolist()
    for line, code in zip(lines, codes[5:9], strict=True):
        assert (
            line["distances"]
            == fh.distances(code[None], index.reconstruct(line["ids"])).tolist()[0]
        )
    limits, _, ids = index.within(codes[5:9], 2)
    out, _ = run(capsys, f"search emoji.index {by_features} --rows 5:9 --radius 2 --json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert [id_ for line in lines for id_ in line["ids"]] == ids.tolist()
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


def test_partitions_in_an_index_file_stay_in_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("codes.npy", random_codes(3000, 64))
    assert not result(capsys, "index build some.index --codes codes.npy")["partitions"]
    said = result(capsys, "index build some.index --codes codes.npy --force --partitions")
    assert said["partitions"] and not said["tables"]
    assert "bytes with partitions" in run(capsys, "index info some.index")[0]
    for change in ("remove some.index --id 7", "add some.index --codes codes.npy"):
        assert result(capsys, f"index {change}")["partitions"]
        # Otherwise each search with one of these recalls would calibrate.
        assert list(fh.load("some.index").calibration_) == [(10, 0.95), (10, 0.99)]
    search = "search some.index --codes codes.npy --rows 0:5 -k 3 --format jsonl"
    exact = run(capsys, search)[0]
    assert run(capsys, f"{search} --recall 1")[0] == exact
    # It goes with everything, because it is exact.
    for other in ("--ties", "--radius 20"):
        both = search.replace("-k 3", "") if "radius" in other else search
        assert run(capsys, f"{both} {other} --recall 1")[0] == run(capsys, f"{both} {other}")[0]
    assert len(run(capsys, f"{search} --recall .9")[0].splitlines()) == 5
    assert "not above 0" in run(capsys, f"{search} --recall 1.5", status=2)[1]
    assert "--ties goes with an exact" in run(capsys, f"{search} --recall .9 --ties", status=1)[1]
    search = "search some.index --codes codes.npy --radius 3 --recall .9"
    assert "--recall goes with -k" in run(capsys, search, status=1)[1]


def test_a_filter_is_calibrated_if_the_queries_pay_for_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_list_search, "_is_faster", lambda seconds, exact: True)
    prepared, indexes = [], []

    def prepare(index, ids):
        # A filter forgets what is calibrated together with the index.
        indexes.append(index)
        prepared.append(PreparedFilter(index._storage, ids))
        return prepared[-1]

    monkeypatch.setattr(fh.HammingIndex, "prepare_filter", prepare)
    codes = random_codes(6000, 64)
    codes[:, 2:] //= 64
    np.save("codes.npy", codes)
    np.save("half.npy", np.arange(3000))
    result(capsys, "index build some.index --codes codes.npy --partitions")
    search = "search some.index --codes codes.npy -k 3 --format jsonl --filter half.npy"
    exact = run(capsys, search)[0]
    assert run(capsys, f"{search} --recall .8 --rows 0:50")[0] == "".join(
        exact.splitlines(keepends=True)[:50]
    )
    assert prepared[0].calibration_ == {}
    monkeypatch.setattr(_filtered_lists, "_CALIBRATION_SECONDS", -1)
    found = [
        json.loads(line)["ids"] for line in run(capsys, f"{search} --recall .8")[0].splitlines()
    ]
    assert list(prepared[1].calibration_) == [(3, 0.8)]
    assert max(map(max, found)) < 3000
    assert len(prepared) == 2, "without a recall, nothing is prepared"


def test_tables_in_an_index_file_stay_in_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("codes.npy", random_codes(40_000, 64))
    result(capsys, "index build some.index --codes codes.npy")
    assert not result(capsys, "index info some.index")["tables"]
    said = result(capsys, "index build some.index --codes codes.npy --force --tables")
    assert said["tables"] and said["bytes"] > 40_000 * 40
    assert "bytes with tables" in run(capsys, "index info some.index")[0]
    assert result(capsys, "index remove some.index --id 7")["tables"]
    assert result(capsys, "index add some.index --codes codes.npy")["n"] == 79_999
    assert result(capsys, "index info some.index")["tables"]
    assert result(capsys, "index verify some.index")["verified"]


def test_evaluate_offers_the_rules_for_ties_that_its_measures_have():
    command = cli._parser()._subparsers._group_actions[0].choices["evaluate"]
    (ties,) = (action for action in command._actions if action.dest == "ties")
    assert ties.choices == RULES_FOR_RANKINGS


def test_evaluate_gives_what_the_library_gives(emoji, capsys):
    command = (
        "evaluate --data emoji/emoji.npz --methods CCAITQ AMSH --bits 8 16 --seeds 2 "
        "--set AMSH.n_anchors=100 CCAITQ.ridge=1.0 --metrics map map@20 recall@50 "
        "--output all.json --force"
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


def test_evaluate_compares_methods_query_by_query(emoji, capsys):
    command = (
        "evaluate --data emoji/emoji.npz --methods AMSH CCAITQ --bits 16 --seeds 2 "
        "--set AMSH.n_anchors=100 --metrics map@H2 ndcg@10 map@R r-precision --against CCAITQ"
    )
    said = result(capsys, command)
    means = {(s["method"], s["query"], s["metric"]): s["mean"] for s in said["table"]}
    assert len(said["differences"]) == 2 * 4
    for one in said["differences"]:
        found, key = one["comparison"], (one["query"], one["metric"])
        assert found["difference"] == pytest.approx(means["AMSH", *key] - means["CCAITQ", *key])
        assert found["low"] < found["difference"] < found["high"] and found["n_queries"] == 469
    assert {one["metric"] for one in said["differences"]} == {
        *("map@H2", "ndcg@10", "map@R", "r-precision")
    }
    out, _ = run(capsys, command)
    assert out.splitlines()[-1].split()[:2] == ["AMSH", "16"] and out.count(" to ") == 8
    err = run(capsys, f"{command} --against RREH", status=1)[1]
    assert "that are compared, AMSH, CCAITQ, got RREH" in err
    alone = command.replace("AMSH CCAITQ", "CCAITQ").replace("--set AMSH.n_anchors=100", "")
    assert "no other to compare with" in run(capsys, alone, status=1)[1]


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
