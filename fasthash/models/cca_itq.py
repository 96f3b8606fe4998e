"""`CCAITQ`: the classic unsupervised baseline, canonical correlations and a learned rotation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from .._core.features import centring_map
from .._core.rows import Rows
from .._core.runtime import resolve_threads
from .._core.validation import check_count, check_modalities, check_number, check_pairs
from ._canonical import canonical_directions
from ._rotation import quantising_rotation
from .base import CrossModalHasher, encode_rows

__all__ = ["CCAITQ"]


class CCAITQ(CrossModalHasher):
    """
    Canonical correlation analysis followed by iterative quantisation.

    Projects paired modalities on their canonical directions, scaled by their correlations, and
    turns all by the one Procrustes rotation that brings them nearest to ±1. Uses pairs and no
    labels; samples without a partner get codes, but nothing is learned from them.

    Parameters
    ----------
    n_bits : int, default 64
        Length of the codes.
    n_components : int, optional
        Number of canonical directions; by default ``n_bits``, or the smallest number of features of
        a modality where that is less. Fewer directions than bits are laid out over all bits.
    ridge : float, default 1e-2
        Added to the diagonal of each covariance, as a share of its mean; greater than 0. Many
        features for few samples want more: the emoji demo does best with 30.
    n_iterations : int, default 50
        Steps of the rotation.
    random_state : int, RandomState instance or None, default None
        Seeds the first rotation.

    Attributes
    ----------
    codes_, projections_, feature_maps_, modalities_, n_features_in_
        As in `CrossModalHasher`.
    correlations_ : ndarray of float64, shape (n_components,)
        Canonical correlations, descending; of more than two modalities, means over the others.

    Notes
    -----
    O(n · d² + d³) for the correlations, n pairs of d features in all; O(n · n_bits²) per step of
    the rotation. The features of the pairs are held twice, as given and centred; those of other
    samples a block at a time.

    References
    ----------
    Gong, Lazebnik, Gordo, Perronnin, "Iterative Quantization: A Procrustean Approach to Learning
    Binary Codes for Large-Scale Image Retrieval", IEEE Transactions on Pattern Analysis and Machine
    Intelligence 35(12), 2013. One rotation for all modalities, and more bits than directions, are
    ours; without the scale by correlations, retrieval on the sets of docs/rreh.md is far worse.

    Examples
    --------
    >>> import numpy as np
    >>> import fasthash as fh
    >>> rng = np.random.default_rng(0)
    >>> shared = rng.standard_normal((300, 8))
    >>> features = {
    ...     "image": shared @ rng.standard_normal((8, 20)),
    ...     "text": shared @ rng.standard_normal((8, 10)),
    ... }
    >>> model = fh.CCAITQ(n_bits=8, random_state=0).fit(features)
    >>> bool((model.codes_["image"] == model.codes_["text"]).mean() > 0.9)
    True
    """

    _learned = (*CrossModalHasher._learned, "correlations_")

    def __init__(
        self,
        n_bits: int = 64,
        *,
        n_components: int | None = None,
        ridge: float = 1e-2,
        n_iterations: int = 50,
        random_state: Any = None,
    ) -> None:
        self.n_bits = n_bits
        self.n_components = n_components
        self.ridge = ridge
        self.n_iterations = n_iterations
        self.random_state = random_state

    def fit(self, features: Mapping[str, ArrayLike], pairs: ArrayLike | None = None) -> CCAITQ:
        """
        Learn the projections from pairs, and compute the codes of all samples.

        Parameters
        ----------
        features : mapping of str to array_like, each of shape (n_samples, n_features)
            Two or more modalities; with `pairs` the number of samples may differ.
        pairs : array_like of int, shape (n_pairs, n_modalities), optional
            Which rows belong together, a column per modality in the order of `features`; at least
            two pairs, no row in two of them. Means, correlations and rotation are those of a fit to
            the pairs alone. Default: row i belongs to row i.

        Returns
        -------
        CCAITQ
            The model itself.

        Raises
        ------
        TypeError, ValueError
            If parameters, features or pairs are unsuitable; the model is then unchanged.
        """
        n_bits = check_count(self.n_bits, "n_bits")
        if self.n_components is not None:
            check_count(self.n_components, "n_components")
        check_number(self.ridge, "ridge", positive=True)
        check_count(self.n_iterations, "n_iterations")
        rows = check_modalities(features)
        x = self._read_pairs(rows, pairs)
        rng = check_random_state(self.random_state)

        feature_maps = {name: centring_map(values) for name, values in x.items()}
        centred = [feature_maps[name].transform(values) for name, values in x.items()]
        ridges = [
            self.ridge * np.einsum("ij,ij->", c, c, dtype=np.float64) / c.size for c in centred
        ]
        n_components = min(self.n_components or n_bits, n_bits, *(c.shape[1] for c in centred))
        directions, correlations = canonical_directions(centred, ridges, n_components)
        directions = [d * correlations for d in directions]
        scores = np.vstack([c @ d for c, d in zip(centred, directions, strict=True)])
        rotation = quantising_rotation(scores, self.n_iterations, rng, n_bits)

        projections = {name: d @ rotation for name, d in zip(x, directions, strict=True)}
        n_threads = resolve_threads(None)
        codes = {
            name: encode_rows(rows[name], feature_maps[name], projections[name], n_threads)
            for name in rows
        }
        self._set_fitted(rows, feature_maps, projections, codes, correlations_=correlations)
        return self

    def _read_pairs(
        self, rows: dict[str, Rows], pairs: ArrayLike | None
    ) -> dict[str, NDArray[Any]]:
        """Features of the pairs: row i of one modality belongs to row i of the other."""
        pairs = check_pairs(pairs, {name: len(read) for name, read in rows.items()})
        x = {}
        for column, (name, read) in enumerate(rows.items()):
            x[name] = (
                read.read(slice(0, len(read))) if pairs is None else read.take(pairs[:, column])
            )
            if (x[name] == x[name][:1]).all():
                raise ValueError(
                    f"features[{name!r}] has the same row in all pairs: there is no correlation to "
                    "learn from; pass pairs that differ"
                )
        return x
