"""Random dtypes, containers and defects of features, given to every model.

A model gives what it gives for the plain float array, or an error that begins with the name of the
argument (transformers for one kind of features have scikit-learn's own words for most of them).
There is no third outcome, and what was given is unchanged.
"""

import copy
import functools

import numpy as np
import pytest
from estimators import CROSS_MODAL, SINGLE, fit, make, make_model
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

DTYPES = [
    *("bool", "int8", "int64", "uint8", "uint64", "float16", "float32", "float64"),
    *("longdouble", ">f8", ">i2"),
]


def pandas():
    return pytest.importorskip("pandas")


def polars():
    return pytest.importorskip("polars")


def native(x):
    """Other packages know the byte order of the machine, and floats of 32 and 64 bits."""
    is_other_float = x.dtype.kind == "f" and x.dtype != np.float32
    return x.astype(np.float64 if is_other_float else x.dtype.newbyteorder("="))


def as_read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


def as_nullable(x):
    return pandas().DataFrame(native(x)).convert_dtypes()


def as_sparse_frame(x):
    return pandas().DataFrame(native(x)).astype(pandas().SparseDtype(float, 0))


def as_polars(x):
    return polars().DataFrame({str(i): column for i, column in enumerate(native(x).T)})


def as_csr_with_zeros(x):
    """Zeros that are stored, and places that are given twice."""
    x = native(x)
    rows, columns = np.indices(x.shape).reshape(2, -1)
    nothing = np.zeros(x.size, x.dtype)
    data = np.concatenate([x.ravel(), nothing])
    indices = np.concatenate([columns, columns])
    order = np.argsort(np.concatenate([rows, rows]), kind="stable")
    indptr = np.arange(len(x) + 1) * 2 * x.shape[1]
    return sparse.csr_array((data[order], indices[order], indptr), x.shape)


def of_sparse(kind):
    return lambda x: getattr(sparse, kind)(native(x))


class SlicedByRows:
    """As h5py and zarr: a shape, a dtype, and slices of rows."""

    def __init__(self, x):
        self.kept, self.shape, self.dtype = x, x.shape, x.dtype

    def __getitem__(self, rows):
        assert isinstance(rows, slice), "read by blocks of rows only"
        return self.kept[rows]

    def __array__(self, dtype=None, copy=None):
        """For what scikit-learn reads."""
        return self.kept.astype(dtype or self.dtype)


CONTAINERS = {
    "array": lambda x: x,
    "list": lambda x: x.tolist(),
    "list of arrays": list,
    "tuples": lambda x: tuple(map(tuple, x)),
    "fortran": np.asfortranarray,
    "read-only": as_read_only,
    "every other row": lambda x: np.repeat(x, 2, axis=0)[::2],
    "every other column": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "backwards": lambda x: x[::-1].copy()[::-1],
    "masked": np.ma.array,
    "sliced by rows": SlicedByRows,
    "tensor": lambda x: pytest.importorskip("torch").tensor(native(x)),
    "pandas": lambda x: pandas().DataFrame(native(x)),
    "pandas, nullable": as_nullable,
    "pandas, sparse": lambda x: as_sparse_frame(x),
    "polars": as_polars,
    "csr": of_sparse("csr_array"),
    "csc": of_sparse("csc_matrix"),
    "coo": of_sparse("coo_array"),
    "csr with zeros": as_csr_with_zeros,
}


def numbers(x, dtype):
    """Values of the dtype, some of them other than 0, and what float array they stand for."""
    x = np.round(3 * x) if np.dtype(dtype).kind in "iu" else x
    x = np.abs(x) if np.dtype(dtype).kind == "u" else x
    x = (x != 0).astype(dtype) if dtype == "bool" else x.astype(dtype)
    return x, x if dtype == "float32" else x.astype(np.float64)


DEFECTS = {
    "NaN": lambda x: put(x.astype(float), np.nan),
    "infinity": lambda x: put(x.astype(np.float32), np.inf),
    "minus infinity": lambda x: put(x.astype(np.float16), -np.inf),
    "squares past float64": lambda x: put(x.astype(float), 1e160),
    "squares past float32": lambda x: put(x.astype(np.float32), -1e32),
    "sparse squares past float64": lambda x: sparse.csr_array(put(x.astype(float), -1e160)),
    "too large for float64": lambda x: put(x.astype(object), 10**400),
    "objects": lambda x: x.astype(object),
    "missing object": lambda x: put(x.astype(object), None),
    "text": lambda x: x.astype(str),
    "complex": lambda x: x.astype(complex),
    "dates": lambda x: np.abs(x).astype(int).astype("M8[D]"),
    "one dimension": lambda x: x[0],
    "no dimension": lambda x: x[0, 0],
    "three dimensions": lambda x: x[None],
    "no rows": lambda x: x[:0],
    "no columns": lambda x: x[:, :0],
    "one column more": lambda x: x[:, [0, *range(x.shape[1])]],
    "one column less": lambda x: x[:, 1:],
    "records": lambda x: np.zeros(len(x), [("a", float), ("b", float)]),
    "ragged": lambda x: [*x.tolist()[:-1], [1.0]],
    "list with None": lambda x: [*x.tolist()[:-1], [None] * x.shape[1]],
    "list with text": lambda x: [*x.tolist()[:-1], ["a"] * x.shape[1]],
    "masked value": lambda x: np.ma.array(x, mask=x == x[0, 0]),
    "sparse NaN": lambda x: sparse.csr_array(put(x.astype(float), np.nan)),
    "sparse complex": lambda x: sparse.csr_array(x.astype(complex)),
    "tensor NaN": lambda x: pytest.importorskip("torch").tensor(put(x.astype(float), np.nan)),
    "pandas text": lambda x: pandas().DataFrame(x.astype(str)),
    "pandas missing": lambda x: pandas().DataFrame(put(x.astype(float), np.nan)),
    "pandas nullable missing": lambda x: (
        pandas().DataFrame(put(x.astype(float), np.nan)).convert_dtypes()
    ),
    "pandas categories": lambda x: pandas().DataFrame(x.astype(str)).astype("category"),
    "polars missing": lambda x: as_polars(x).with_columns(
        polars().when(polars().col("0") >= 0).then(polars().col("0")).alias("0")
    ),
    "polars text": lambda x: polars().DataFrame({str(i): list("a" * len(x)) for i in range(5)}),
    "mapping": lambda x: {"a": x},
    "generator": lambda x: (row for row in x),
    "None": lambda x: None,
    "text itself": lambda x: "image.npy",
    "number": lambda x: 3,
}


def put(x, value):
    x[len(x) // 2, -1] = value
    return x


def same(a, b):
    """Whether what a caller holds is as it was."""
    if sparse.issparse(a):
        parts = [name for name in ("data", "indices", "indptr", "row", "col") if hasattr(a, name)]
        return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in parts)
    if isinstance(a, SlicedByRows):
        return np.array_equal(a.kept, b.kept)
    if hasattr(a, "equals"):
        return a.equals(b)
    return np.array_equal(np.asarray(a), np.asarray(b))


@functools.cache
def plain(method, dtype):
    """(features, labels, fitted model, codes) of the plain float arrays."""
    x, y = make(60)
    features = {name: numbers(values, dtype)[1] for name, values in x.items()}
    model = fitted(method, features, y)
    return features, y, model, codes_of(model, features)


def fitted(method, features, y):
    if method in SINGLE:
        return SINGLE[method](n_bits=8, random_state=0).fit(features["image"])
    return fit(make_model(method), features, y)


def codes_of(model, features):
    if not hasattr(model, "codes_"):
        return model.transform(features["image"])
    return model.encode(features["text"], "text")


METHODS = pytest.mark.parametrize("method", [*CROSS_MODAL, *SINGLE])


@METHODS
@given(dtype=st.sampled_from(DTYPES), image=st.sampled_from(sorted(CONTAINERS)), data=st.data())
@settings(max_examples=40)
# Rounding to integers makes rows of zeros.
@pytest.mark.filterwarnings("ignore:.*hold only zeros")
def test_features_in_any_container_give_the_codes_of_the_plain_array(method, dtype, image, data):
    if method == "CLSR":
        # Training a network takes long: some dtypes and containers are enough.
        dtype = data.draw(st.sampled_from(["float32", "float64", "int8"]))
    _, y, _, codes = plain(method, dtype)
    containers = {"image": image, "text": data.draw(st.sampled_from(sorted(CONTAINERS)))}
    x, _ = make(60)
    held = {
        name: CONTAINERS[containers[name]](numbers(values, dtype)[0]) for name, values in x.items()
    }
    before = copy.deepcopy(held)
    if "pandas, nullable" in containers.values() and method in CROSS_MODAL:
        # Numpy makes Python objects of them, and those are refused.
        with pytest.raises(
            TypeError, match=r"features\['(image|text)'\] .* got dtype object: pass"
        ):
            fitted(method, held, y)
        return
    ours = fitted(method, held, y)
    found = codes_of(ours, held)
    assert all(same(held[name], before[name]) for name in held)
    np.testing.assert_array_equal(found, codes)


@METHODS
@given(defect=st.sampled_from(sorted(DEFECTS)), in_fit=st.booleans(), swapped=st.booleans())
@settings(max_examples=60)
@pytest.mark.filterwarnings("ignore:X has (column|feature) names")
def test_features_that_are_none_are_refused_by_name(method, defect, in_fit, swapped):
    features, y, model, _ = plain(method, "float64")
    name = "image" if method in SINGLE or swapped else "text"
    if method in SINGLE and defect == "objects":
        # Numbers all the same, for scikit-learn.
        return
    # A fit learns any number of columns.
    in_fit = in_fit and defect not in ("one column more", "one column less")
    spoilt = DEFECTS[defect](features[name].copy())
    before = None if defect == "generator" else copy.deepcopy(spoilt)
    with pytest.raises((TypeError, ValueError)) as caught:
        if in_fit:
            fitted(method, {**features, name: spoilt}, y)
        elif method in SINGLE:
            model.transform(spoilt)
        else:
            model.encode(spoilt, name)
    message = str(caught.value)
    if method in CROSS_MODAL:
        argument = f"features['{name}']" if in_fit else "X"
        assert message.startswith(argument), message
        assert len(message) > len(argument) + 8 and message[-1] not in ":,;"
    # Compared as text, because NaN differs from itself.
    assert before is None or repr(spoilt) == repr(before)
