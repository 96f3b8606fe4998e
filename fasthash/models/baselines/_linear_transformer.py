"""`LinearTransformer`: what `ITQ` and `RandomHyperplanes` share: codes, projections, searches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags, check_array
from sklearn.utils.validation import check_is_fitted, validate_data

from ..._core.arrays import is_dask_array, is_masked, is_sparse
from ..._core.cluster import client_for
from ..._core.cluster_rows import ClusterRows
from ..._core.features import FeatureMap
from ..._core.rows import Rows
from ..._core.runtime import resolve_threads
from ..._core.suspicious_columns import warn_of_columns
from ..._core.validation import check_count, check_flag, check_rows
from .._columns import column_names
from .._encoding import encode_rows, project_rows
from .._partitions import by_partitions
from .._progress import Callback, Progress
from .._projected_search import Database, check_database, search_by_projections
from .._saving import SavedModel, check_shape

__all__ = ["LinearTransformer"]

# scikit-learn keeps these dtypes, and converts other numbers to float64.
_DTYPES: tuple[Any, ...] = (np.float64, np.float32)

# The fit multiplies float32 values in float64. Only projections are computed in float32.
_LARGEST_SINGLE = 1e30


class LinearTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, SavedModel):
    """Base of the transformers whose bits are signs of centred features times `projection_`."""

    _learned: ClassVar[tuple[str, ...]] = (
        "mean_",
        "projection_",
        "n_features_in_",
        "feature_names_in_",
    )
    _encoding: ClassVar[tuple[str, ...]] = ("mean_", "projection_")

    def transform(
        self,
        X: ArrayLike,
        *,
        n_threads: int | None = None,
        callback: Callback | None = None,
        verbose: bool = False,
    ) -> NDArray[np.uint8]:
        """
        Compute packed codes.

        Parameters
        ----------
        X : array_like or scipy sparse matrix, shape (n_samples, n_features)
            Features, with the columns of the fit. A Dask array is encoded partition by partition,
            when the result is computed.
        n_threads : int, optional
            Number of threads, as in `fasthash.topk`.
        callback : callable, optional
            Called as ``callback("transform", done, total)`` while samples are transformed.
        verbose : bool, default False
            Show progress on standard error, as bars if tqdm is installed.

        Returns
        -------
        ndarray of uint8, shape (n_samples, ceil(n_bits / 8))
            Packed codes. After `set_output` it may be a data frame with a column per byte.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the model has not been fitted.
        TypeError, ValueError
            If X is not a matrix of finite real numbers, or its columns differ from those of the fit
            in number, name or order.

        See Also
        --------
        fit : Learn the projection.

        Notes
        -----
        Costs O(n_samples · n_features · n_bits). In addition to the codes, a block of centred
        features per thread is held. float32 features are projected in float32, others in float64.
        """
        if is_dask_array(X):
            return self._by_partitions("transform", X, np.uint8, n_threads)
        x = self._read_samples(X)
        with Progress(callback, verbose) as report:
            return encode_rows(
                *(x, FeatureMap(self.mean_), self.projection_),
                *(resolve_threads(n_threads), report, "transform"),
            )

    def project(
        self,
        X: ArrayLike,
        *,
        n_threads: int | None = None,
        callback: Callback | None = None,
        verbose: bool = False,
    ) -> NDArray[np.floating]:
        """
        Compute the projections whose signs are the bits of the codes.

        Parameters
        ----------
        X : array_like or scipy sparse matrix, shape (n_samples, n_features)
            Features, as in `transform`.
        n_threads : int, optional
            Number of threads, as in `fasthash.topk`.
        callback : callable, optional
            Called as ``callback("project", done, total)`` while samples are projected.
        verbose : bool, default False
            Show progress on standard error, as bars if tqdm is installed.

        Returns
        -------
        ndarray of float32 or float64, shape (n_samples, n_bits)
            A bit is 1 where the projection is >= 0. Projections are weights for
            `fasthash.topk_weighted` and the ``weights`` of an index. They are float32 if X is, else
            float64.

        Raises
        ------
        sklearn.exceptions.NotFittedError, TypeError, ValueError
            As in `transform`.

        See Also
        --------
        transform : The packed signs.
        search : Project queries and search a database with them.
        """
        if is_dask_array(X):
            dtype = np.float32 if X.dtype == np.float32 else np.float64
            return self._by_partitions("project", X, dtype, n_threads)
        x = self._read_samples(X)
        with Progress(callback, verbose) as report:
            return project_rows(
                *(x, FeatureMap(self.mean_), self.projection_),
                *(resolve_threads(n_threads), report),
            )

    def search(
        self,
        X: ArrayLike,
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
        Find the codes of a database that are nearest to samples.

        Parameters
        ----------
        X : array_like or scipy sparse matrix, shape (n_samples, n_features)
            Features of the queries, as in `transform`.
        database : array_like of uint8, shape (n, ceil(n_bits / 8)), or an index
            Codes by `transform`; or a `HammingIndex` or `MultiIndexHash` that holds them.
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
            As in `transform`, and if the database does not hold codes of the model's length, k is
            less than 1, or the filter does not fit.

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
        >>> X = np.random.default_rng(0).standard_normal((300, 20))
        >>> model = fh.ITQ(n_bits=16, random_state=0)
        >>> codes = model.fit_transform(X)
        >>> scores, rows = model.search(X[:2], codes, k=1)
        >>> rows
        array([[0],
               [1]])
        """
        check_flag(weights, "weights")
        check_is_fitted(self)
        codes = check_database(database, self.projection_.shape[1], self.fingerprint)
        k = check_count(k, "k")
        projections = self.project(X, n_threads=n_threads, callback=callback, verbose=verbose)
        return search_by_projections(
            projections, codes, k, weights=weights, filter=filter, n_threads=n_threads
        )

    def _by_partitions(self, method: str, X: Any, dtype: Any, n_threads: int | None) -> Any:
        """Encode or project a Dask array, when the result is computed."""
        check_is_fitted(self)
        n_columns = self._n_features_out if method == "transform" else self.projection_.shape[1]
        return by_partitions(
            self, method, X, self.n_features_in_, n_columns, dtype, n_threads=n_threads
        )

    def _read_samples(self, X: ArrayLike) -> Rows:
        """Check samples of a fitted model."""
        check_is_fitted(self)
        return _rows_of(X, partial(validate_data, self, reset=False))

    @property
    def _n_features_out(self) -> int:
        """Number of bytes of a code, for ``get_feature_names_out``."""
        return (self.projection_.shape[1] + 7) // 8

    def _read(self, X: ArrayLike, minimum: int) -> Rows:
        """Check the samples of a fit."""
        client = client_for({"X": X})
        if client is None:
            options = {"ensure_min_samples": minimum, "estimator": self, "input_name": "X"}
            rows = _rows_of(X, partial(check_array, **options))
            rows.names = column_names(X, "X")
        else:
            rows = ClusterRows(client, X, "X", _LARGEST_SINGLE)
            if len(rows) < minimum:
                raise ValueError(f"X has {len(rows)} sample: a minimum of {minimum} is required")
        warn_of_columns(
            *(rows, "X"),
            "scale the columns first, for example with sklearn.preprocessing.StandardScaler",
        )
        return rows

    def _set_learned_state(self, learned: dict[str, Any]) -> None:
        n_features = learned["n_features_in_"]
        check_shape(learned["mean_"], "mean_", (n_features,))
        check_shape(learned["projection_"], "projection_", (n_features, None))
        if "feature_names_in_" in learned:
            check_shape(learned["feature_names_in_"], "feature_names_in_", (n_features,), object)
        super()._set_learned_state(learned)

    def _set_fitted(
        self, X: ArrayLike, feature_map: FeatureMap, projection: NDArray[np.float64]
    ) -> None:
        """Store the result of a fit, all at once; X is the argument of the fit."""
        # Stores the number and names of the features; X itself has been checked before.
        validate_data(self, X, skip_check_array=True)
        self.mean_ = feature_map.mean
        self.projection_ = projection

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        # Codes are bytes, whatever the features were.
        tags.transformer_tags.preserves_dtype = []
        tags.input_tags.sparse = True
        return tags


def _rows_of(X: Any, check: Callable[..., Any]) -> Rows:
    """
    Check samples as scikit-learn does, and refuse some that it would convert without an error.

    Raises
    ------
    TypeError, ValueError
        If the samples are masked, are text or dates, are integers too large for a float, or `check`
        refuses them.
    """
    if isinstance(X, Mapping) and not is_sparse(X):
        raise TypeError(
            f"X must be an array, got {type(X).__name__}: this method takes features of one kind"
        )
    if is_masked(X):
        raise ValueError("X has masked values: fill them or drop their rows")
    dtype = _dtype_if_no_numbers(X)
    if dtype is not None:
        raise TypeError(
            f"X must hold real numbers, got dtype {dtype}: pass X.astype(float) if all values are "
            "numbers"
        )
    try:
        x = check(X, dtype=_DTYPES, accept_sparse="csr")
        return check_rows(x, "X", largest_single=_LARGEST_SINGLE)
    except OverflowError as error:
        raise ValueError(f"X holds a number that does not fit in float64: {error}") from None


def _dtype_if_no_numbers(X: Any) -> Any:
    """Return the dtype of text, dates, and objects that are text; None for everything else."""
    values = X
    if hasattr(X, "columns") and hasattr(X, "dtypes"):
        # One row shows the dtype of a data frame; only objects may have several types.
        values = np.asarray(X[:1])
        values = np.asarray(X) if values.dtype == object else values
    elif isinstance(X, list | tuple):
        try:
            values = np.asarray(X)
        except ValueError:
            # Rows differ in length; scikit-learn raises the error.
            return None
    if not isinstance(values, np.ndarray):
        return None
    is_text = values.dtype == object and any(isinstance(v, str | bytes) for v in values.flat)
    return values.dtype if is_text or values.dtype.kind in "USTmM" else None
