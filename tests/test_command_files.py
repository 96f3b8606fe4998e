"""Random small files of every format, whole and damaged, given to commands.

A command ends with 0 and the answer that numpy gives, or with another number and one sentence. It
never ends with a traceback, nor with an error of a class that nobody meant to raise.
"""

import contextlib
import functools
import io
import json
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.io import savemat

import fasthash as fh
from fasthash import cli

N_BYTES = 3


def run(*arguments):
    """(status, standard output, standard error) of a command."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = cli.main(["--quiet", *map(str, arguments)])
        except SystemExit as stopped:
            status = stopped.code
    return status, out.getvalue(), err.getvalue()


def check_refusal(status, err):
    """One sentence, and none for a bug."""
    lines = err.strip().splitlines()
    assert status in (1, 2), (status, err)
    assert len(lines) == 1 and lines[0].startswith("fasthash"), err
    assert "--debug shows where" not in err, err
    assert len(lines[0]) > 20 and lines[0][-1] not in ":,;", err


# --- files ----------------------------------------------------------------------------------------


def write_hdf5(path, x):
    with pytest.importorskip("h5py").File(path, "w") as file:
        file["x"] = x


def arrow_table(x):
    pa = pytest.importorskip("pyarrow")
    return pa.table({f"c{i}": np.ascontiguousarray(column) for i, column in enumerate(x.T)})


def write_lists(path, x):
    pa = pytest.importorskip("pyarrow")
    values = pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), x.shape[1])
    pytest.importorskip("pyarrow.parquet").write_table(pa.table({"x": values}), path)


def write_text(path, x, separator):
    np.savetxt(path, x, "%d" if x.dtype.kind in "iub" else "%.17g", separator)


WRITERS = {
    "x.npy": lambda path, x: np.save(path, x),
    "fortran.npy": lambda path, x: np.save(path, np.asfortranarray(x)),
    "x.npz": lambda path, x: np.savez(path, x=x),
    "compressed.npz": lambda path, x: np.savez_compressed(path, x=x),
    "x.mat": lambda path, x: savemat(path, {"x": x}),
    "compressed.mat": lambda path, x: savemat(path, {"x": x}, do_compression=True),
    "v4.mat": lambda path, x: savemat(path, {"x": x.astype(float)}, format="4"),
    "sparse.mat": lambda path, x: savemat(path, {"x": sparse.csc_matrix(x.astype(float))}),
    "x.h5": write_hdf5,
    "x.parquet": lambda path, x: pytest.importorskip("pyarrow.parquet").write_table(
        arrow_table(x), path
    ),
    "lists.parquet": write_lists,
    "x.feather": lambda path, x: pytest.importorskip("pyarrow.feather").write_feather(
        arrow_table(x), path
    ),
    "x.csv": lambda path, x: write_text(path, x, ","),
    "x.tsv": lambda path, x: write_text(path, x, "\t"),
    "x.txt": lambda path, x: write_text(path, x, " "),
}
DTYPES = ["uint8", "int8", "int32", "uint16", "int64", "float16", "float32", "float64", "bool"]


@st.composite
def matrices(draw):
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = draw(st.sampled_from([(5, N_BYTES), (1, N_BYTES), (4, 8), (7, 1), (30, 24), (0, 3)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    low, high = (0, 256) if dtype.kind == "u" else (-100, 100)
    values = rng.integers(low, high, shape)
    if dtype.kind == "f":
        values = values + rng.random(shape)
        spoilt = draw(st.sampled_from([None, None, np.nan, np.inf]))
        if spoilt is not None and values.size:
            values.flat[-1] = spoilt
    return values.astype(dtype)


@st.composite
def damages(draw):
    """What happens to the bytes of a file: mostly nothing."""
    kind = draw(st.sampled_from(["none", "none", "cut", "flip", "noise", "empty", "more"]))
    where, seed = draw(st.floats(0, 1)), draw(st.integers(0, 2**32))

    def damage(content):
        rng, place = np.random.default_rng(seed), int(where * (len(content) - 1))
        if kind == "cut":
            return content[:place]
        if kind == "flip":
            byte = bytes([content[place] ^ (1 << seed % 8)]) if content else b""
            return content[:place] + byte + content[place + 1 :]
        if kind == "noise":
            return content[:place] + rng.bytes(40) + content[place + 40 :]
        return {"empty": b"", "more": content + rng.bytes(30)}.get(kind, content)

    return kind, damage


files = st.tuples(st.sampled_from(sorted(WRITERS)), matrices(), damages())


@contextlib.contextmanager
def written(file):
    """(path, what it holds, whether it is whole) of a file in a folder of its own."""
    name, values, (kind, damage) = file
    # Windows deletes no file that is mapped.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder) / name
        try:
            WRITERS[name](path, values)
        except Exception:
            # No such array in this format: not ours to judge.
            WRITERS["x.npy"](path, values)
        content = path.read_bytes()
        path.write_bytes(damage(content))
        yield path, values, kind == "none"


# --- commands -------------------------------------------------------------------------------------


@given(file=files)
@settings(max_examples=150)
def test_info(file):
    with written(file) as (path, values, is_whole):
        status, out, err = run("--json", "info", path)
        if status:
            check_refusal(status, err)
            assert not is_whole or values.size == 0 or path.name != "x.npy"
        elif is_whole and path.name in ("x.npy", "x.npz", "x.h5"):
            held = json.loads(out)
            assert str(list(values.shape)) in json.dumps(held)


@given(file=files)
@settings(max_examples=150)
def test_index_build_and_search(file):
    with written(file) as (path, values, is_whole):
        index_path = path.with_name("made.index")
        status, _, err = run("index", "build", index_path, "--codes", path)
        if status:
            check_refusal(status, err)
            assert not index_path.exists(), "a command that fails leaves no file"
            assert (
                not is_whole
                or values.dtype != np.uint8
                or path.name != "x.npy"
                or (values.size == 0 or values.max() <= 1)
            )
            return
        index = fh.load(index_path)
        if is_whole:
            # Bytes with a sign are bytes less 128.
            signed = 128 if values.dtype == np.int8 else 0
            np.testing.assert_array_equal(index.codes, values.astype(int) + signed)
        status, out, err = run("--json", "search", index_path, "--codes", path, "-k", "2")
        if status:
            check_refusal(status, err)
            return
        lines = [json.loads(line) for line in out.splitlines()]
        expected = index.search(index.codes, 2)[1]
        found = [line["ids"] for line in lines]
        assert found == [[i for i in row if i >= 0] for row in expected.tolist()]


@given(file=files, method=st.sampled_from(["sign", "itq"]))
@settings(max_examples=150)
def test_encode_without_a_model(file, method):
    with written(file) as (path, values, is_whole):
        made = path.with_name("made.npy")
        status, _, err = run("encode", "--method", method, "--features", path, "--output", made)
        if status:
            check_refusal(status, err)
            assert not made.exists(), "a command that fails leaves no file"
            return
        codes = np.load(made)
        assert codes.dtype == np.uint8
        if is_whole and method == "sign":
            bits = values if values.dtype == bool else values.astype(float) >= 0
            np.testing.assert_array_equal(codes, np.packbits(bits, axis=1))


@functools.cache
def folder_with_a_model():
    """A folder with a fitted model, an index and data to evaluate, removed at the end."""
    pytest.importorskip("safetensors", reason="models are saved with safetensors")
    folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 40)
    x = {name: rng.standard_normal((40, d)) + y[:, None] for name, d in (("a", 24), ("b", 8))}
    model = fh.CCAITQ(n_bits=8, random_state=0).fit(x)
    path = Path(folder.name)
    model.save(path / "m.model")
    index = fh.HammingIndex(8)
    index.add(model.encode(x["b"], "b"))
    index.save(path / "i.index")
    np.savez(path / "data.npz", a=x["a"], b=x["b"], y=y)
    return folder, path, model


@given(file=files)
@settings(max_examples=100)
def test_search_and_encode_with_a_model(file):
    _, folder, model = folder_with_a_model()
    with written(file) as (path, values, is_whole):
        made = path.with_name("made.npy")
        options = ("--model", folder / "m.model", "--modality", "a", "--features", path)
        fits = values.ndim == 2 and values.shape[1] == 24 and values.shape[0]
        status, _, err = run("encode", *options, "--output", made)
        if status:
            check_refusal(status, err)
            assert not made.exists()
        elif is_whole:
            assert fits
            np.testing.assert_array_equal(np.load(made), model.encode(values, "a"))
        status, out, err = run("--json", "search", folder / "i.index", *options, "-k", "3")
        if status:
            check_refusal(status, err)
        elif is_whole:
            expected = model.search(values, "a", fh.load(folder / "i.index"), 3)[1]
            lines = [json.loads(line) for line in out.splitlines()]
            assert [line["ids"] for line in lines] == expected.tolist()


@given(
    file=files,
    role=st.sampled_from(["--train", "--test", "--train-labels", "--test-labels", "--database"]),
)
@settings(max_examples=60)
def test_evaluate(file, role):
    _, folder, _ = folder_with_a_model()
    data = folder / "data.npz"
    given_options = {
        "--train": [f"a={data}:a", f"b={data}:b"],
        "--train-labels": [f"{data}:y"],
        "--test": [f"a={data}:a", f"b={data}:b"],
        "--test-labels": [f"{data}:y"],
    }
    with written(file) as (path, _, _):
        if role.endswith("labels"):
            given_options[role] = [path]
        else:
            given_options[role] = [f"a={path}", f"b={data}:b"]
        if role == "--database":
            given_options["--database-labels"] = [f"{data}:y"]
        options = [part for name, values in given_options.items() for part in (name, *values)]
        status, out, err = run(
            *("--json", "evaluate", "--methods", "CCAITQ", "--bits", "4", "--seeds", "1", *options)
        )
        if status:
            check_refusal(status, err)
        else:
            # Scores are numbers from 0 to 1; NaN is no JSON.
            def refuse(name):
                raise AssertionError(f"{name} in {out}")

            json.loads(out, parse_constant=refuse)


@given(content=st.binary(max_size=300), name=st.sampled_from([*WRITERS, "x.index", "x", "x.pt"]))
@settings(max_examples=150)
def test_any_bytes(content, name):
    _, folder, _ = folder_with_a_model()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as made:
        path = Path(made) / name
        path.write_bytes(content)
        for command in (
            ("info", path),
            ("index", "info", path),
            ("index", "build", Path(made) / "made.index", "--codes", path),
            ("search", path, "--codes", folder / "data.npz:y"),
            ("search", folder / "i.index", "--codes", path),
            ("encode", "--method", "sign", "--features", path, "--output", Path(made) / "c.npy"),
            ("encode", "--model", path, "--learned", "--modality", "a", "--output", f"{made}/c"),
        ):
            status, _, err = run(*command)
            if status:
                check_refusal(status, err)


def test_the_folder_is_as_it_was():
    """What the commands above wrote, they wrote beside their files."""
    _, folder, _ = folder_with_a_model()
    assert sorted(os.listdir(folder)) == ["data.npz", "i.index", "m.model"]
