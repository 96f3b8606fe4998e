"""Files whose arrays have the names of the literature."""

import numpy as np
import pytest
from scipy.io import savemat

from fasthash.datasets import read_layout

RNG = np.random.default_rng(0)
IMAGE, TEXT = RNG.random((12, 5)), RNG.random((12, 4))
CLASSES = np.arange(12) % 3 + 1
COLUMNS = np.eye(3, dtype=np.uint8)[CLASSES - 1]

NAMES = {
    "I_tr": ("I_tr", "T_tr", "L_tr", "I_te", "T_te", "L_te"),
    "XTrain": ("XTrain", "YTrain", "LTrain", "XTest", "YTest", "LTest"),
    "trainL": ("I_train", "T_train", "trainL", "I_test", "T_test", "testL"),
}


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("transposed", [False, True], ids=["rows", "columns"])
@pytest.mark.parametrize("labels", [CLASSES[:, None], CLASSES[None], COLUMNS], ids=str)
def test_train_and_test(tmp_path, names, transposed, labels):
    is_columns = labels is COLUMNS
    arrays = {}
    for part, rows in ((names[:3], slice(0, 9)), (names[3:], slice(9, 12))):
        x, t = IMAGE[rows], TEXT[rows]
        y = labels[rows] if is_columns else labels.reshape(-1)[rows].reshape(-1, 1)
        if labels.shape[0] == 1:
            y = y.T
        turn = transposed and is_columns
        arrays |= dict(zip(part, (x.T if transposed else x, t, y.T if turn else y), strict=True))
    savemat(tmp_path / "wiki.mat", arrays)
    parts = read_layout(tmp_path / "wiki.mat")
    assert set(parts) == {"train", "test"}
    train, test = parts["train"], parts["test"]
    assert list(train.features) == ["image", "text"]
    np.testing.assert_array_equal(train.features["image"], IMAGE[:9])
    np.testing.assert_array_equal(test.features["image"], IMAGE[9:])
    np.testing.assert_array_equal(test.features["text"], TEXT[9:])
    np.testing.assert_array_equal(train.labels, COLUMNS[:9] if is_columns else CLASSES[:9])


def test_all_and_database(tmp_path):
    np.savez(tmp_path / "all.npz", XAll=IMAGE, YAll=TEXT.T, LAll=COLUMNS, param=np.ones(3))
    (part,) = read_layout(tmp_path / "all.npz").values()
    assert repr(part) == "Part(12 samples, features {image: 5, text: 4}, labels (12, 3))"
    np.testing.assert_array_equal(part.features["text"], TEXT)
    np.savez(tmp_path / "db.npz", I_db=IMAGE, T_db=TEXT, I_tr=IMAGE[:6], T_tr=TEXT[:6])
    parts = read_layout(tmp_path / "db.npz")
    assert {name: len(part) for name, part in parts.items()} == {"database": 12, "train": 6}
    assert parts["train"].labels is None


def test_hdf5_stays_in_the_file(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "all.h5", "w") as file:
        file["XAll"], file["YAll"], file["LAll"] = IMAGE, TEXT.T, COLUMNS
    part = read_layout(tmp_path / "all.h5")["all"]
    assert not isinstance(part.features["text"], np.ndarray)
    np.testing.assert_array_equal(part.features["text"][3:5], TEXT[3:5])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": IMAGE}, r"no arrays with names such as I_tr.* it holds a \(12, 5\) float64"),
        ({"I_tr": IMAGE, "T_tr": TEXT[:7]}, r"no common number of samples: I_tr \(12, 5\)"),
        ({"I_tr": IMAGE, "XTrain": IMAGE}, "two arrays for image of train, I_tr and XTrain"),
        ({"I_tr": IMAGE, "I_te": TEXT, "L_tr": CLASSES}, "numbers of image features differ"),
        ({"I_tr": CLASSES, "T_tr": TEXT}, "features must be matrices"),
        ({"L_tr": CLASSES}, "no arrays with names"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        read_layout(tmp_path / "x.npz")
