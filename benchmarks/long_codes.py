"""Sets of long codes, with queries that are not in them: made codes, and codes of real sentences.

    apt-get -o Acquire::Languages=en -o Dir::State::Lists=LISTS update
    /usr/lib/apt/apt-helper cat-file LISTS/*bookworm_main_i18n_Translation-en* > Translation-en
    python benchmarks/long_codes.py Translation-en sentences.npy

The last command writes a vector for each different sentence of the descriptions of Debian's
packages: TF-IDF of words and pairs of words, reduced to 1,024 components by singular value
decomposition. `section_partitions.py` reads the file from the folder `--data`.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import fasthash as fh
from report import Context

__all__ = ["CodeSet", "code_sets", "made_codes", "sentence_codes"]

N_TOPICS, GROUP = 1000, 20

# Groups that are made at a time.
_GROUPS = 2000

# Sentences from which ITQ learns.
_LEARNED_FROM = 20_000

# Kinds of made codes: the noise within a group. The 10th neighbour is at 32 and at 69 of 256 bits.
NOISE = {"made, near": 0.5, "made, noisier": 1.5}


@dataclass(frozen=True)
class CodeSet:
    """Codes, and queries that are not among them; a file about them is called `key`."""

    name: str
    n_bits: int
    database: NDArray[np.uint8]
    queries: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.database)

    @property
    def key(self) -> str:
        words = re.sub(r"[^a-z]+", "-", self.name.lower())
        return f"{words}-{self.n_bits}-{len(self)}"


def code_sets(
    context: Context,
    made: Sequence[tuple[str, int]],
    n: int,
    of_sentences: Sequence[tuple[str, int]],
    n_queries: int,
    seed: int = 0,
) -> Iterator[CodeSet]:
    """
    Make one set after the other: n made codes, or a fiftieth of them in a quick run.

    `made` and `of_sentences` have kinds and numbers of bits. There are codes of sentences if the
    folder of data has their vectors.
    """
    for name, n_bits in made:
        n_made = n // 50 if context.quick else n
        yield CodeSet(name, n_bits, *made_codes(n_made, n_queries, n_bits, NOISE[name], seed))
    file = context.file("sentences.npy")
    if file is None:
        context.progress("no codes of sentences: --data names no folder with sentences.npy")
        return
    vectors = np.load(file).astype(np.float32)
    for method, n_bits in of_sentences:
        codes = sentence_codes(vectors, n_queries, n_bits, method, seed)
        yield CodeSet(f"sentences, {method}", n_bits, *codes)


def made_codes(
    n: int, n_queries: int, n_bits: int, noise: float, seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """
    Return (database, queries): signs of made vectors, which lie in groups of 20 within topics.

    A topic, the way from a topic to a group, and `noise` times the way from a group to a vector are
    normally distributed with the same variance. A query is one more vector of a group.
    """
    rng = np.random.default_rng([seed, n, n_bits])
    topics = rng.standard_normal((N_TOPICS, n_bits), dtype=np.float32)
    n_groups = n // GROUP
    asked = np.sort(rng.integers(0, n_groups, n_queries))
    codes, queries = [], []
    for start in range(0, n_groups, _GROUPS):
        m = min(_GROUPS, n_groups - start)
        groups = topics[rng.integers(0, N_TOPICS, m)]
        groups += rng.standard_normal((m, n_bits), dtype=np.float32)
        codes.append(_signs(rng, np.repeat(groups, GROUP, axis=0), noise))
        own = asked[(asked >= start) & (asked < start + m)] - start
        queries.append(_signs(rng, groups[own], noise))
    return rng.permutation(np.concatenate(codes)), rng.permutation(np.concatenate(queries))


def _signs(
    rng: np.random.Generator, groups: NDArray[np.float32], noise: float
) -> NDArray[np.uint8]:
    away = rng.standard_normal(groups.shape, dtype=np.float32)
    away *= noise
    away += groups
    return fh.pack(away)


def sentence_codes(
    vectors: NDArray[np.float32], n_queries: int, n_bits: int, method: str, seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return (database, queries): codes by "ITQ", or "signs" of random projections."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(vectors))
    queries, held = rows[:n_queries], rows[n_queries:]
    if method == "ITQ":
        model = fh.ITQ(n_bits=n_bits, random_state=seed)
    else:
        model = fh.RandomHyperplanes(n_bits=n_bits, random_state=seed)
    model.fit(vectors[held[:_LEARNED_FROM]])
    return model.transform(vectors[held]), model.transform(vectors[queries])


def read_sentences(text: str) -> list[str]:
    """Every different sentence of 3 to 60 words of the descriptions, in lower case."""
    paragraphs = re.findall(r"(?m)^Description-en: (.*\n(?: .*\n)*)", text)
    found: dict[str, None] = {}
    for paragraph in paragraphs:
        for part in re.split(r"\n \.\n|\n *[*+o-] ", paragraph.replace("\n", "\n .\n", 1)):
            for sentence in re.split(r"(?<=[.!?:;])\s+", part):
                words = re.findall(r"[a-z]{2,}", sentence.lower())
                if 3 <= len(words) <= 60:
                    found[" ".join(words)] = None
    return list(found)


def vectors_of(sentences: list[str], n_components: int) -> NDArray[np.float32]:
    """TF-IDF of words and pairs of words, reduced by singular value decomposition."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.utils.extmath import randomized_svd

    tfidf = TfidfVectorizer(ngram_range=(1, 2), min_df=5, sublinear_tf=True, dtype=np.float32)
    matrix = tfidf.fit_transform(sentences)
    u, s, _ = randomized_svd(matrix, n_components, n_oversamples=16, n_iter=1, random_state=0)
    vectors = (u * s).astype(np.float32)
    # A sentence of rare words alone has no vector.
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors[lengths[:, 0] > 0.02] / lengths[lengths[:, 0] > 0.02]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("translation", type=Path, help="Debian's Translation-en, as text")
    parser.add_argument("output", type=Path, help=".npy file for the vectors")
    parser.add_argument("--components", type=int, default=1024)
    options = parser.parse_args()
    sentences = read_sentences(options.translation.read_text())
    print(f"{len(sentences):,} sentences", flush=True)
    np.save(options.output, vectors_of(sentences, options.components).astype(np.float16))


if __name__ == "__main__":
    main()
