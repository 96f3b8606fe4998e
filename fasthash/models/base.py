"""Base of all models of several modalities: features in, packed codes out, as scikit-learn does it.

To add an estimator, inherit from `CrossModalHasher`, whose docstring says what ``fit`` must do, and
add its name to ``_names.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from .._core.arrays import is_dask_array
from .._core.cluster_rows import ClusterRows
from .._core.features import BlockMap, FeatureMap, JoinedMap
from .._core.rows import Rows
from .._core.runtime import resolve_threads
from .._core.validation import (
    check_choice,
    check_count,
    check_flag,
    check_modalities,
    check_rows,
)
from ..codes import check_codes
from ..metrics import DistanceScale
from ._columns import check_columns, column_names
from ._encoding import encode_rows, project_rows
from ._partitions import by_partitions
from ._preprocessing import PreprocessedMap, Preprocessing, check_preprocessing
from ._progress import Callback, Progress, ignore
from ._projected_search import Database, check_database, search_by_projections
from ._saving import SavedModel, check_shape
from ._scales import Related, learn_scales

__all__ = ["CrossModalHasher"]


class CrossModalHasher(SavedModel):
    """
    Base of the models whose hash functions are linear in mapped features.

    The ``fit`` of a subclass ends with a call of `_set_fitted`; before that call the model is
    unchanged. If a subclass learns further attributes that are to be saved, it adds their names to
    `_learned`, see `SavedModel`.

    Attributes
    ----------
    modalities_ : tuple of str
        Names of the modalities, in the order of the fit.
    n_features_in_ : dict of str to int
        Number of raw features per modality.
    feature_names_in_ : dict of str to ndarray of str as objects, shape (n_features,)
        Column names of the modalities that were given as data frames (pandas, polars and others).
        The attribute is missing if none was. Later data frames must have the same columns.
    feature_maps_ : dict of str to FeatureMap
        For each modality, the map from raw features to those in which the hash functions are
        linear.
    projections_ : dict of str to ndarray of float64, shape (n_out, n_bits)
        The hash functions: a bit is 1 where the mapped features times its column are >= 0.
    codes_ : dict of str to ndarray of uint8, shape (n_samples, ceil(n_bits / 8))
        Packed codes of the training samples.
    distance_scales_ : dict of str to dict of str to DistanceScale
        What Hamming distances mean, by the modality of the queries and that of the database:
        distances counted on at most 1,000 training samples of each, which the hash functions encode
        as queries, while the database has their codes in `codes_`. The attribute is missing in a
        model from a file of an earlier version.

    See Also
    --------
    AMSH : Learns from labels.
    RREH : Learns from pairs and from samples without a partner.
    CLSR : Learns from pairs with neural networks.
    CCAITQ : The baseline that learns from pairs.

    Examples
    --------
    >>> import fasthash as fh
    >>> isinstance(fh.RREH(n_bits=16), fh.models.CrossModalHasher)
    True
    """

    _learned: ClassVar[tuple[str, ...]] = (
        "modalities_",
        "n_features_in_",
        "feature_names_in_",
        "feature_maps_",
        "projections_",
        "codes_",
        "distance_scales_",
    )
    _encoding: ClassVar[tuple[str, ...]] = ("feature_maps_", "projections_")
    _parts: ClassVar[tuple[type[Any], ...]] = (
        DistanceScale,
        FeatureMap,
        JoinedMap,
        Preprocessing,
        PreprocessedMap,
    )

    # Whether Dask arrays are fitted by the workers of a cluster, and not by this process.
    _fits_on_cluster: ClassVar[bool] = False
    # Whether `fit` needs labels.
    _needs_labels: ClassVar[bool] = False

    feature_maps_: Mapping[str, BlockMap]

    def encode(
        self,
        X: ArrayLike,
        modality: str,
        *,
        n_threads: int | None = None,
        callback: Callback | None = None,
        verbose: bool = False,
    ) -> NDArray[np.uint8]:
        """
        Compute the packed codes of samples of one modality.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_features)
            Raw features, with the columns of the fit: an array, a memory-mapped array, a data
            frame, a scipy sparse matrix, or anything with ``shape`` and ``dtype`` that can be
            sliced by rows. A Dask array is encoded partition by partition, when the result is
            computed.
        modality : str
            The modality of the samples.
        n_threads : int, optional
            Number of threads, as in `fasthash.topk`.
        callback : callable, optional
            Called as ``callback("encode", done, total)`` while samples are encoded.
        verbose : bool, default False
            Show progress on standard error, as bars if tqdm is installed.

        Returns
        -------
        ndarray or dask.array.Array of uint8, shape (n_samples, ceil(n_bits / 8))
            Packed codes.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the model has not been fitted.
        TypeError
            If X does not hold real numbers.
        ValueError
            If the modality is unknown, the columns differ from those of the fit in number, name or
            order, or a value is not finite.

        Warns
        -----
        UserWarning
            If X has column names and the features of the fit had none, or the other way round.

        See Also
        --------
        fasthash.topk : Search among codes.
        fasthash.HammingIndex : Hold and search codes with ids.

        Notes
        -----
        Costs O(n_samples · n_anchors · (n_features + n_bits)). In addition to the codes, a block of
        features per thread is held. float32 features are mapped in float32, others in float64.
        """
        if is_dask_array(X):
            return self._by_partitions("encode", X, modality, np.uint8, n_threads)
        x = self._read_samples(X, modality)
        with Progress(callback, verbose) as report:
            return encode_rows(
                x,
                self.feature_maps_[modality],
                self.projections_[modality],
                resolve_threads(n_threads),
                report,
            )

    def project(
        self,
        X: ArrayLike,
        modality: str,
        *,
        n_threads: int | None = None,
        callback: Callback | None = None,
        verbose: bool = False,
    ) -> NDArray[np.floating]:
        """
        Compute the projections of samples of one modality, whose signs are the bits of their codes.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_features)
            Raw features, as in `encode`.
        modality : str
            The modality of the samples.
        n_threads : int, optional
            Number of threads, as in `fasthash.topk`.
        callback : callable, optional
            Called as ``callback("project", done, total)`` while samples are projected.
        verbose : bool, default False
            Show progress on standard error, as bars if tqdm is installed.

        Returns
        -------
        ndarray of float32 or float64, shape (n_samples, n_bits)
            A bit is 1 where the projection is >= 0. The smaller a projection, the less its bit says
            about the sample. So projections are weights for `fasthash.topk_weighted` and the
            ``weights`` of an index. `RREH` and `CCAITQ` replace their sizes by the square roots,
            which are better weights. They are float32 if X is, else float64.

        Raises
        ------
        sklearn.exceptions.NotFittedError, TypeError, ValueError
            As in `encode`.

        Warns
        -----
        UserWarning
            As in `encode`.

        See Also
        --------
        encode : The packed signs.
        search : Project queries and search a database with them.

        Notes
        -----
        Costs as much as `encode`, but holds a number for each bit instead of the bit.
        """
        if is_dask_array(X):
            dtype = np.float32 if X.dtype == np.float32 else np.float64
            return self._by_partitions("project", X, modality, dtype, n_threads)
        x = self._read_samples(X, modality)
        with Progress(callback, verbose) as report:
            projections = project_rows(
                x,
                self.feature_maps_[modality],
                self.projections_[modality],
                resolve_threads(n_threads),
                report,
            )
        return self._as_weights(projections)

    def search(
        self,
        X: ArrayLike,
        modality: str,
        database: Database,
        k: int,
        *,
        weights: bool = True,
        filter: Any = None,
        n_threads: int | None = None,
        callback: Callback | None = None,
        verbose: bool = False,
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """
        Find the codes of a database that are nearest to samples of one modality.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_features)
            Raw features of the queries, as in `encode`.
        modality : str
            The modality of the queries.
        database : array_like of uint8, shape (n, ceil(n_bits / 8)), or an index
            Codes by `encode`, usually of another modality; or a `HammingIndex` or `MultiIndexHash`
            that holds them.
        k : int
            How many codes to return for each query; may exceed the number of codes.
        weights : bool, default True
            Whether the projections of the queries are weights of the bits, as in `topk_weighted`.
            Otherwise queries are encoded and compared by Hamming distance.
        filter : optional
            Which codes may be found: rows, as in `fasthash.topk`, or, of an index, ids, as in its
            ``search``.
        n_threads : int, optional
            Number of threads, as in `fasthash.topk`.
        callback : callable, optional
            Called as ``callback("project", done, total)`` while queries are projected.
        verbose : bool, default False
            Show progress on standard error, as bars if tqdm is installed.

        Returns
        -------
        scores or distances : ndarray of float64 or int32, shape (n_samples, k)
            With weights: scores, descending; NaN where missing. Else Hamming distances, ascending;
            -1 where missing.
        ids : ndarray of int64, shape (n_samples, k)
            Rows of the database, or ids of the index; ascending among equal scores or distances; -1
            where missing.

        Raises
        ------
        sklearn.exceptions.NotFittedError, TypeError, ValueError
            As in `encode`, and if the database does not hold codes of the model's length, k is less
            than 1, or the filter does not fit.

        Warns
        -----
        UserWarning
            As in `encode`.

        See Also
        --------
        project : The weights.
        fasthash.topk_weighted : The search with weights.

        Notes
        -----
        A search with weights compares all codes that the filter allows. docs/weighted-queries.md
        shows what weights gain, by method.

        Examples
        --------
        >>> import numpy as np
        >>> import fasthash as fh
        >>> x = np.random.default_rng(0).standard_normal((100, 8))
        >>> model = fh.CCAITQ(n_bits=8, random_state=0).fit({"image": x, "text": x[:, ::-1]})
        >>> scores, rows = model.search(x[:3, ::-1], "text", model.codes_["image"], k=5)
        >>> scores.shape, rows.dtype
        ((3, 5), dtype('int64'))
        """
        check_flag(weights, "weights")
        self._check_modality(modality)
        codes = check_database(database, self.projections_[modality].shape[1], self.fingerprint)
        k = check_count(k, "k")
        projections = self.project(
            X, modality, n_threads=n_threads, callback=callback, verbose=verbose
        )
        return search_by_projections(
            projections, codes, k, weights=weights, filter=filter, n_threads=n_threads
        )

    def __sklearn_tags__(self) -> Tags:
        """
        Declare that features are mappings of modalities, for which scikit-learn's checks are not
        made.
        """
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.dict = True
        tags.input_tags.sparse = True
        tags.target_tags.required = self._needs_labels
        tags._skip_test = True
        return tags

    def _by_partitions(
        self, method: str, X: Any, modality: str, dtype: Any, n_threads: int | None
    ) -> Any:
        """Encode or project a Dask array, when the result is computed."""
        self._check_modality(modality)
        n_bits = self.projections_[modality].shape[1]
        n_columns = (n_bits + 7) // 8 if method == "encode" else n_bits
        options = {"modality": modality, "n_threads": n_threads}
        n_features = self.n_features_in_[modality]
        return by_partitions(self, method, X, n_features, n_columns, dtype, **options)

    def _as_weights(self, projections: NDArray[np.floating]) -> NDArray[np.floating]:
        """Change projections, but not their signs, so that they are good weights; in place."""
        return projections

    def _read_samples(self, X: Any, modality: str) -> Rows:
        """Check samples of one modality of a fitted model."""
        self._check_modality(modality)
        check_columns(X, "X", self._names_of(modality))
        return check_rows(X, "X", self.n_features_in_[modality])

    def _names_of(self, modality: str) -> NDArray[Any] | None:
        return getattr(self, "feature_names_in_", {}).get(modality)

    def _check_modality(self, modality: str) -> None:
        check_is_fitted(self, "projections_")
        check_choice(modality, "modality", self.modalities_)

    def _set_learned_state(self, learned: dict[str, Any]) -> None:
        for name in learned["modalities_"]:
            n_features = learned["n_features_in_"][name]
            projection = learned["projections_"][name]
            n_bits = check_shape(projection, f"projections_[{name!r}]", (None, None)).shape[1]
            self._check_feature_map(learned["feature_maps_"][name], n_features, len(projection))
            check_codes(learned["codes_"][name], f"codes_[{name!r}]", n_bits)
            for scale in learned.get("distance_scales_", {}).get(name, {}).values():
                if not isinstance(scale, DistanceScale) or scale.n_bits != n_bits:
                    raise ValueError(f"distance_scales_[{name!r}] is of no scale of {n_bits} bits")
        for name, columns in learned.get("feature_names_in_", {}).items():
            n_features = learned["n_features_in_"][name]
            check_shape(columns, f"feature_names_in_[{name!r}]", (n_features,), object)
        super()._set_learned_state(learned)

    @staticmethod
    def _check_feature_map(feature_map: Any, n_features: Any, n_out: int) -> None:
        """Refuse a feature map from a file if it does not map n_features to n_out."""
        check_feature_map(feature_map, n_features, n_out)

    def _set_fitted(
        self,
        features: dict[str, Rows],
        feature_maps: Mapping[str, BlockMap],
        projections: dict[str, NDArray[Any]],
        codes: dict[str, NDArray[Any]],
        related: Related,
        **learned: Any,
    ) -> None:
        """Store the result of a fit, all at once; `learned` has further attributes."""

        def encode(name: str, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
            x = features[name].subset(rows)
            return encode_rows(x, feature_maps[name], projections[name], 1, ignore)

        n_bits = next(iter(projections.values())).shape[1]
        self.distance_scales_ = learn_scales(related, encode, codes, n_bits)
        self.modalities_ = tuple(features)
        self.n_features_in_ = {name: x.shape[1] for name, x in features.items()}
        names = {name: x.names for name, x in features.items() if x.names is not None}
        if names:
            self.feature_names_in_ = names
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        self.feature_maps_ = feature_maps
        self.projections_ = projections
        self.codes_ = codes
        for name, value in learned.items():
            setattr(self, name, value)


def read_modalities(features: Any, minimum: int = 2, client: Any = None) -> dict[str, Rows]:
    """
    Check a mapping of modality names to features, and keep the names of their columns.

    With a client of a cluster, features are Dask arrays, and become `ClusterRows`.

    Raises
    ------
    TypeError, ValueError
        If it is not such a mapping, or features are refused.
    """
    if client is not None:
        return check_modalities(features, minimum, partial(ClusterRows, client))
    rows = check_modalities(features, minimum)
    for name, x in rows.items():
        x.names = column_names(features[name], f"features[{name!r}]")
    return rows


def check_feature_map(feature_map: Any, n_features: Any, n_out: int) -> None:
    """
    Refuse a feature map if it does not map n_features to n_out; it may come from a damaged file.

    Raises
    ------
    ValueError
        If it does not.
    """
    if isinstance(feature_map, PreprocessedMap):
        n_features = check_preprocessing(feature_map.preprocessing, n_features)
        feature_map = feature_map.feature_map
    if isinstance(feature_map, JoinedMap) and isinstance(feature_map.maps, tuple):
        for few in feature_map.maps:
            if not isinstance(few, FeatureMap):
                raise ValueError("feature_maps_ holds no feature map")
            check_feature_map(few, n_features, few.n_out)
        if feature_map.n_out != n_out:
            raise ValueError("feature_maps_ and projections_ do not fit together")
        return
    if not isinstance(feature_map, FeatureMap):
        raise ValueError("feature_maps_ holds no feature map")
    check_shape(feature_map.mean, "mean", (n_out,))
    if feature_map.anchors is None:
        fits = n_features == n_out
    else:
        dtype = np.float32 if feature_map.anchors.dtype == np.float32 else np.float64
        check_shape(feature_map.anchors, "anchors", (n_out, n_features), dtype)
        fits = isinstance(feature_map.width, float) and feature_map.width > 0
    if not fits:
        raise ValueError("feature_maps_ and n_features_in_ do not fit together")
