"""How AMSH bears wrong and unequal labels: `python benchmarks/label_noise.py [wiki.npz]`.

Mean average precision at 64 bits of queries by `encode`, image → text / text → image, ties in
expectation, mean ± standard deviation over seeds. The database is coded in two ways: by the labels
of its samples (`codes_`), and by their features (`encode`). Answers are judged by the true labels.
Scores are means over classes of the queries' scores.

- noise: a share of the training samples gets another class at random, in each modality on its own.
- imbalance: classes are thinned so that their sizes fall off geometrically; the smallest keeps one
  sample in ten.
"""

from __future__ import annotations

import argparse

import numpy as np
from threadpoolctl import threadpool_limits

import fasthash as fh
from accuracy import load


def with_noise(labels, share, rng):
    """Labels of which a share is replaced by another class."""
    classes = labels.argmax(axis=1)
    n_classes = labels.shape[1]
    wrong = rng.random(len(classes)) < share
    shifts = rng.integers(1, n_classes, len(classes))
    return np.where(wrong, (classes + shifts) % n_classes, classes)


def thinned(classes, rng):
    """Rows that are left when class sizes fall off geometrically, to a tenth."""
    n_classes = classes.max() + 1
    kept = []
    for place, c in enumerate(rng.permutation(n_classes)):
        rows = np.flatnonzero(classes == c)
        n_kept = max(2, round(len(rows) * 10 ** (-place / (n_classes - 1))))
        kept.append(rng.permutation(rows)[:n_kept])
    return np.sort(np.concatenate(kept))


def scores_of(model, test, test_classes, train, train_classes):
    """(database coded by labels, and by features) by (image → text, text → image)."""
    names = list(test)
    found = []
    for coded in (model.codes_, {name: model.encode(train[name], name) for name in names}):
        for query, target in (names, names[::-1]):
            values = fh.average_precision(
                model.encode(test[query], query), coded[target], test_classes, train_classes
            )
            classes = np.unique(test_classes)
            found.append(np.mean([np.nanmean(values[test_classes == c]) for c in classes]))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="?", help="default: the emoji")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    print("| labels | database by labels | database by features |\n|---|---|---|")
    cases = {"as they are": 0.0, "10 % wrong": 0.1, "20 % wrong": 0.2, "40 % wrong": 0.4}
    for name, share in (*cases.items(), ("unequal classes", None)):
        table = []
        for seed in range(options.seeds):
            rng = np.random.default_rng(seed)
            train, labels, test, test_labels = load(options.data, False, seed)
            true = labels.argmax(axis=1)
            if share is None:
                rows = thinned(true, rng)
                train = {m: x[rows] for m, x in train.items()}
                true = true[rows]
                given = dict.fromkeys(train, true)
            else:
                given = {m: with_noise(labels, share, rng) for m in train}
            model = fh.AMSH(64, random_state=seed).fit(train, given)
            table.append(scores_of(model, test, test_labels.argmax(axis=1), train, true))
        cells = [
            f"{m:.3f} ± {s:.3f}"
            for m, s in zip(np.mean(table, axis=0), np.std(table, axis=0), strict=True)
        ]
        print(f"| {name} | {cells[0]}, {cells[1]} | {cells[2]}, {cells[3]} |", flush=True)


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
