"""The contract of every model: named modalities in, packed codes out, scikit-learn's manners."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from ..codes import pack
from ..features import FeatureMap, blocks_of_rows
from ..validation import check_features

__all__ = ["CrossModalHasher"]


class CrossModalHasher(BaseEstimator):
    """
    Base of the models whose hash functions are linear in mapped features.

    A subclass's ``fit`` ends by calling `_set_fitted`; until then nothing of the model has changed.

    Attributes
    ----------
    modalities_ : tuple of str
        Names of the modalities, in the order of the fit.
    n_features_in_ : dict of str to int
        Number of raw features per modality.
    feature_maps_ : dict of str to FeatureMap
        Raw features to the features the hash functions are linear in.
    projections_ : dict of str to ndarray of float64, shape (n_out, n_bits)
        The hash functions: bit 1 where the mapped features times a column are >= 0.
    codes_ : dict of str to ndarray of uint8, shape (n_samples, ceil(n_bits / 8))
        Packed codes of the training samples.
    """

    def encode(self, X: ArrayLike, modality: str) -> NDArray[np.uint8]:
        """
        Compute the packed codes of samples of one modality.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_features)
            Raw features, as in the fit.
        modality : str
            Which modality they belong to.

        Returns
        -------
        ndarray of uint8, shape (n_samples, ceil(n_bits / 8))

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the model has not been fitted.
        ValueError
            If the modality is unknown, the number of features differs from the fit's, or a value is
            not finite.
        """
        check_is_fitted(self, "projections_")
        if modality not in self.projections_:
            raise ValueError(
                f"modality must be one of {', '.join(map(repr, self.modalities_))}, "
                f"got {modality!r}"
            )
        x = check_features(X, "X", self.n_features_in_[modality])
        feature_map, projection = self.feature_maps_[modality], self.projections_[modality]
        codes = np.empty((len(x), (projection.shape[1] + 7) // 8), np.uint8)
        for rows in blocks_of_rows(len(x), feature_map.n_out):
            codes[rows] = pack(feature_map.transform(x[rows]) @ projection)
        return codes

    def _set_fitted(
        self,
        features: dict[str, NDArray],
        feature_maps: dict[str, FeatureMap],
        projections: dict[str, NDArray],
        codes: dict[str, NDArray],
        **learned: Any,
    ) -> None:
        """Store what a fit learned, all at once; `learned` are further attributes."""
        self.modalities_ = tuple(features)
        self.n_features_in_ = {name: x.shape[1] for name, x in features.items()}
        self.feature_maps_ = feature_maps
        self.projections_ = projections
        self.codes_ = codes
        for name, value in learned.items():
            setattr(self, name, value)
