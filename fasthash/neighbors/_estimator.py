"""`HammingNeighbors`: neighbours of packed codes with the methods that scikit-learn expects."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data

from .._core.runtime import resolve_threads
from .._core.validation import check_choice, check_count, check_flag, check_number
from ..codes import check_codes
from ._graphs import number_type
from ._searches import HammingSearch, JaccardSearch, Nearest, Within

__all__ = ["HammingNeighbors"]

_METRICS = ("hamming", "jaccard")
_MODES = ("distance", "connectivity")


class HammingNeighbors(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """
    Find neighbours among packed codes, exactly, with the methods of scikit-learn.

    It replaces `sklearn.neighbors.NearestNeighbors`, `KNeighborsTransformer` and
    `RadiusNeighborsTransformer` for packed codes. In a pipeline it makes the sparse graph that
    DBSCAN, HDBSCAN, t-SNE and others take with ``metric="precomputed"``.

    Parameters
    ----------
    n_neighbors : int, default 5
        Number of neighbours, for `kneighbors`, and for `transform` if there is no `radius`.
    radius : float, optional
        Largest distance of a neighbour, inclusive. If it is given, `transform` makes a graph of all
        neighbours within it, and otherwise a graph of `n_neighbors`.
    metric : {"hamming", "jaccard"}, default "hamming"
        "hamming": the number of bits that differ; scikit-learn divides it by the number of bits,
        and this class does not. "jaccard": 1 minus the number of bits set in both codes, divided by
        the number set in at least one; chemists call this the Tanimoto distance. Two codes without
        a bit set are at distance 0.
    mode : {"distance", "connectivity"}, default "distance"
        Whether `transform` stores distances or ones.
    n_threads : int, optional
        Number of threads, as in `fasthash.topk`.

    Attributes
    ----------
    n_samples_fit_ : int
        Number of codes in the fit.
    n_features_in_ : int
        Number of bytes of a code.
    feature_names_in_ : ndarray of str, shape (n_bytes,)
        Names of the columns, if the fit was given a data frame.

    See Also
    --------
    HammingIndex : Codes with ids that can be added and removed.
    fasthash.topk : The k nearest codes, without an object.

    Notes
    -----
    With "hamming", a `HammingIndex` searches. It uses multi-index hashing where that is faster than
    a scan. All pairs of codes of the fit within a radius are found together, as by `pairs_within`.
    With "jaccard", the codes are sorted by the number of bits set, and a query compares
    only those codes whose number of bits allows a distance that is small enough. Both metrics hold
    a copy of the codes. Distances are float64, and equal distances are in the order of rows.

    Examples
    --------
    >>> import fasthash as fh
    >>> from fasthash.neighbors import HammingNeighbors
    >>> codes = fh.codes.from_hex(["ff00", "ff01", "00ff"])
    >>> HammingNeighbors(n_neighbors=1).fit(codes).kneighbors()
    (array([[ 1.],
           [ 1.],
           [15.]]), array([[1],
           [0],
           [1]]))

    Groups of codes with at most 2 different bits:

    >>> from sklearn.cluster import DBSCAN
    >>> from sklearn.pipeline import make_pipeline
    >>> dbscan = DBSCAN(eps=2, min_samples=2, metric="precomputed")
    >>> make_pipeline(HammingNeighbors(radius=2), dbscan).fit_predict(codes)
    array([ 0,  0, -1])
    """

    def __init__(
        self,
        *,
        n_neighbors: int = 5,
        radius: float | None = None,
        metric: str = "hamming",
        mode: str = "distance",
        n_threads: int | None = None,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.radius = radius
        self.metric = metric
        self.mode = mode
        self.n_threads = n_threads

    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """
        Hold the codes among which neighbours are found.

        Parameters
        ----------
        X : array_like of uint8, shape (n_samples, n_bytes)
            Packed codes, as made by `pack`.
        y : object, optional
            Ignored; scikit-learn passes it.

        Returns
        -------
        HammingNeighbors
            The estimator itself.

        Raises
        ------
        TypeError, ValueError
            If a parameter is unsuitable, or X holds no packed codes.

        See Also
        --------
        kneighbors : The nearest codes.
        """
        check_count(self.n_neighbors, "n_neighbors")
        if self.radius is not None:
            check_number(self.radius, "radius")
        check_choice(self.metric, "metric", _METRICS)
        check_choice(self.mode, "mode", _MODES)
        resolve_threads(self.n_threads)
        codes = check_codes(X, "X")
        if len(codes) == 0:
            raise ValueError(f"X has 0 sample(s) of shape {codes.shape}: at least one is needed")
        # Stores the number and names of the columns; X itself has been checked before.
        validate_data(self, X, skip_check_array=True)
        make = HammingSearch if self.metric == "hamming" else JaccardSearch
        self._search: HammingSearch | JaccardSearch = make(codes)
        self.n_samples_fit_ = len(codes)
        return self

    def kneighbors(
        self,
        X: ArrayLike | None = None,
        *,
        n_neighbors: int | None = None,
        return_distance: bool = True,
    ) -> Any:
        """
        Find the nearest codes.

        Parameters
        ----------
        X : array_like of uint8, shape (n_queries, n_bytes), optional
            Packed codes of the queries; by default the codes of the fit, each of which leaves
            itself out, but not its equals.
        n_neighbors : int, optional
            Number of neighbours, by default that of the constructor.
        return_distance : bool, default True
            Whether distances are returned as well.

        Returns
        -------
        distances : ndarray of float64, shape (n_queries, n_neighbors)
            Ascending. Only with ``return_distance=True``.
        rows : ndarray of int64, shape (n_queries, n_neighbors)
            Row numbers of the codes of the fit, ascending among equal distances.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator has not been fitted.
        TypeError, ValueError
            If X holds no packed codes, or they differ in width from those of the fit, or there are
            fewer codes than `n_neighbors`.

        See Also
        --------
        radius_neighbors : All codes within a radius.
        kneighbors_graph : The same as a sparse matrix.
        """
        is_wanted = check_flag(return_distance, "return_distance")
        distances, rows = self._nearest(X, n_neighbors)
        return (distances, rows) if is_wanted else rows

    def radius_neighbors(
        self,
        X: ArrayLike | None = None,
        *,
        radius: float | None = None,
        return_distance: bool = True,
        sort_results: bool = True,
    ) -> Any:
        """
        Find all codes within a radius.

        Parameters
        ----------
        X : array_like of uint8, shape (n_queries, n_bytes), optional
            Packed codes of the queries, as in `kneighbors`.
        radius : float, optional
            Largest distance, inclusive; by default that of the constructor.
        return_distance : bool, default True
            Whether distances are returned as well.
        sort_results : bool, default True
            Has no effect, because the neighbours are always sorted. Callers of scikit-learn pass
            it.

        Returns
        -------
        distances : ndarray of object, shape (n_queries,)
            An array of float64 for each query, ascending. Only with ``return_distance=True``.
        rows : ndarray of object, shape (n_queries,)
            An array of int64 for each query: row numbers of the codes of the fit, ascending among
            equal distances.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator has not been fitted.
        TypeError, ValueError
            If X holds no packed codes, or they differ in width from those of the fit, or there is
            no radius.

        See Also
        --------
        kneighbors : The nearest codes.
        radius_neighbors_graph : The same as a sparse matrix, which takes less time and memory.
        """
        is_wanted = check_flag(return_distance, "return_distance")
        check_flag(sort_results, "sort_results")
        limits, distances, rows = self._within(X, radius)
        lists = _in_lists(rows, limits)
        return (_in_lists(distances, limits), lists) if is_wanted else lists

    def kneighbors_graph(
        self,
        X: ArrayLike | None = None,
        *,
        n_neighbors: int | None = None,
        mode: str = "connectivity",
    ) -> csr_array:
        """
        Make a sparse matrix of the nearest codes.

        Parameters
        ----------
        X : array_like of uint8, shape (n_queries, n_bytes), optional
            Packed codes of the queries, as in `kneighbors`.
        n_neighbors : int, optional
            Number of neighbours, by default that of the constructor.
        mode : {"connectivity", "distance"}, default "connectivity"
            Whether ones or distances are stored. A distance of 0 is stored, too.

        Returns
        -------
        scipy.sparse.csr_array of float64, shape (n_queries, n_samples_fit_)
            `n_neighbors` values in each row, by ascending distance.

        Raises
        ------
        sklearn.exceptions.NotFittedError, TypeError, ValueError
            As in `kneighbors`, and if the mode is unknown.

        See Also
        --------
        radius_neighbors_graph : A matrix of all codes within a radius.
        """
        check_choice(mode, "mode", _MODES)
        distances, rows = self._nearest(X, n_neighbors)
        limits = np.arange(len(rows) + 1) * rows.shape[1]
        return self._graph(limits, distances.reshape(-1), rows.reshape(-1), mode)

    def radius_neighbors_graph(
        self,
        X: ArrayLike | None = None,
        *,
        radius: float | None = None,
        mode: str = "connectivity",
        sort_results: bool = True,
    ) -> csr_array:
        """
        Make a sparse matrix of all codes within a radius.

        Parameters
        ----------
        X : array_like of uint8, shape (n_queries, n_bytes), optional
            Packed codes of the queries, as in `kneighbors`.
        radius : float, optional
            Largest distance, inclusive; by default that of the constructor.
        mode : {"connectivity", "distance"}, default "connectivity"
            Whether ones or distances are stored. A distance of 0 is stored, too.
        sort_results : bool, default True
            Has no effect, as in `radius_neighbors`.

        Returns
        -------
        scipy.sparse.csr_array of float64, shape (n_queries, n_samples_fit_)
            The values of a row are by ascending distance.

        Raises
        ------
        sklearn.exceptions.NotFittedError, TypeError, ValueError
            As in `radius_neighbors`, and if the mode is unknown.

        See Also
        --------
        kneighbors_graph : A matrix of the nearest codes.
        """
        check_choice(mode, "mode", _MODES)
        check_flag(sort_results, "sort_results")
        return self._graph(*self._within(X, radius), mode)

    def transform(self, X: ArrayLike) -> csr_array:
        """
        Make the sparse graph of neighbours, for algorithms that take one.

        Parameters
        ----------
        X : array_like of uint8, shape (n_queries, n_bytes)
            Packed codes. A code of the fit finds itself, too.

        Returns
        -------
        scipy.sparse.csr_array of float64, shape (n_queries, n_samples_fit_)
            With a `radius`, all codes within it. Otherwise the nearest codes, `n_neighbors` with
            ``mode="connectivity"`` and one more with ``mode="distance"``, as scikit-learn does,
            because a code of the fit counts itself.

        Raises
        ------
        sklearn.exceptions.NotFittedError, TypeError, ValueError
            As in `kneighbors_graph`.

        See Also
        --------
        fit_transform : The graph of the codes of the fit.
        """
        check_is_fitted(self)
        if self.radius is not None:
            return self.radius_neighbors_graph(X, mode=self.mode)
        return self.kneighbors_graph(X, n_neighbors=self._n_in_graph, mode=self.mode)

    def fit_transform(self, X: ArrayLike, y: Any = None) -> csr_array:
        """
        Fit, and make the graph of the codes of the fit; the diagonal is always stored.

        Parameters
        ----------
        X : array_like of uint8, shape (n_samples, n_bytes)
            Packed codes.
        y : object, optional
            Ignored; scikit-learn passes it.

        Returns
        -------
        scipy.sparse.csr_array of float64, shape (n_samples, n_samples)
            As ``fit(X).transform(X)``, except that a code always finds itself. In `transform`, a
            code with more equals than neighbours may find only those.

        Raises
        ------
        TypeError, ValueError
            As in `fit` and `kneighbors_graph`.

        See Also
        --------
        transform : The graph of other codes.
        """
        self.fit(X, y)
        if self.radius is not None:
            return self._graph(*self._within(None, None, keeps_own=True), self.mode)
        n = check_count(self._n_in_graph, "n_neighbors")
        own = np.arange(self.n_samples_fit_)[:, None]
        distances, rows = np.zeros(own.shape), own
        if n > 1:
            others = self._nearest(None, n - 1)
            distances, rows = np.hstack([distances, others[0]]), np.hstack([own, others[1]])
        limits = np.arange(len(rows) + 1) * n
        return self._graph(limits, distances.reshape(-1), rows.reshape(-1), self.mode)

    @property
    def _n_in_graph(self) -> int:
        return self.n_neighbors + (self.mode == "distance")

    @property
    def _n_features_out(self) -> int:
        """Number of columns of a graph, for ``get_feature_names_out``."""
        return self.n_samples_fit_

    def _nearest(self, X: ArrayLike | None, n_neighbors: int | None) -> Nearest:
        check_is_fitted(self)
        k = check_count(self.n_neighbors if n_neighbors is None else n_neighbors, "n_neighbors")
        queries = self._queries(X)
        n = self.n_samples_fit_ - (queries is None)
        if k > n:
            others = " other than the query" if queries is None else ""
            raise ValueError(f"n_neighbors={k} is more than the {n} codes{others}: ask for fewer")
        return self._search.nearest(queries, k, resolve_threads(self.n_threads))

    def _within(self, X: ArrayLike | None, radius: float | None, keeps_own: bool = False) -> Within:
        """Search for X; if X is None, `keeps_own` says whether a code finds itself."""
        check_is_fitted(self)
        radius = self.radius if radius is None else radius
        if radius is None:
            raise ValueError("radius is None here and in the constructor: pass one of the two")
        radius, queries = check_number(radius, "radius"), self._queries(X)
        n_threads = resolve_threads(self.n_threads)
        if queries is None:
            return self._search.within_itself(radius, keeps_own, n_threads)
        return self._search.within(queries, radius, n_threads)

    def _queries(self, X: ArrayLike | None) -> NDArray[np.uint8] | None:
        """Check the codes of queries; None stands for the codes of the fit."""
        if X is None:
            return None
        queries = check_codes(X, "X")
        # Compares the number and names of the columns with those of the fit.
        validate_data(self, X, reset=False, skip_check_array=True)
        return queries

    def _graph(
        self,
        limits: NDArray[np.int64],
        distances: NDArray[np.float64],
        rows: NDArray[np.int64],
        mode: str,
    ) -> csr_array:
        values = distances if mode == "distance" else np.ones(len(rows))
        number = number_type(max(len(rows), self.n_samples_fit_))
        matrix = values, rows.astype(number), limits.astype(number)
        return csr_array(matrix, shape=(len(limits) - 1, self.n_samples_fit_))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        # A graph is float64, whatever the codes are.
        tags.transformer_tags.preserves_dtype = []
        return tags


def _in_lists(values: NDArray[Any], limits: NDArray[np.int64]) -> NDArray[np.object_]:
    """Cut values into an array for each query."""
    lists = np.empty(len(limits) - 1, object)
    # One by one, because numpy would make a matrix of lists of equal length.
    for query, (start, end) in enumerate(pairwise(limits.tolist())):
        lists[query] = values[start:end]
    return lists
