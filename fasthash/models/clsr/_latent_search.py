"""`LatentSearch`: latents of new samples, and searches by codes that latents put in order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..._core.rows import Rows
from ..._core.runtime import resolve_threads
from ..._core.validation import check_count, check_flag
from ...reranking import rerank
from .._encoding import visit_rows
from .._progress import Callback, Progress, Report
from .._projected_search import Database, check_database, search_by_projections
from ..base import CrossModalHasher
from ._latent_maps import LatentMap

__all__ = ["LatentSearch"]


class LatentSearch(CrossModalHasher):
    """Base of `CLSR`: what a fitted model computes with latents; its feature maps make them."""

    feature_maps_: Mapping[str, LatentMap]

    def transform(
        self,
        X: ArrayLike,
        modality: str,
        *,
        n_threads: int | None = None,
        callback: Callback | None = None,
        verbose: bool = False,
    ) -> NDArray[np.float32]:
        """
        Compute the latents of samples of one modality.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_features)
            Raw features, with the columns of the fit.
        modality : str
            The modality of the samples.
        n_threads : int, optional
            Number of threads, as in `fasthash.topk`.
        callback : callable, optional
            Called as ``callback("transform", done, total)`` while samples are transformed.
        verbose : bool, default False
            Show progress on standard error.

        Returns
        -------
        ndarray of float32, shape (n_samples, n_latents)
            Rows of unit length: the inner product of two rows is their cosine. They hold the
            latents of the head, the reconstructed features of both modalities, and the canonical
            variates.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the model has not been fitted.
        ValueError
            If the modality is unknown, the columns differ from those of the fit in number, name or
            order, or a value is not finite.

        See Also
        --------
        encode : Signs of these latents, as packed codes.
        """
        x = self._read_samples(X, modality)
        with Progress(callback, verbose) as report:
            return self._latents(x, modality, resolve_threads(n_threads), report, "transform")

    def search(
        self,
        X: ArrayLike,
        modality: str,
        database: Database,
        k: int,
        *,
        latents: ArrayLike | None = None,
        n_candidates: int = 50,
        weights: bool = True,
        filter: Any = None,
        n_threads: int | None = None,
        callback: Callback | None = None,
        verbose: bool = False,
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """
        Find the most similar items of a database: by codes, or candidates sorted by latents.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_features)
            Raw features of the queries.
        modality : str
            The modality of the queries.
        database : array_like of uint8, shape (n, ceil(n_bits / 8)), or an index
            Codes by `encode`, usually of the other modality; or an index that holds them.
        k : int
            How many items to return for each query.
        latents : array_like, shape (n, width), optional
            Latents by `transform` of the database; row i belongs to row or id i. With them, the
            codes find candidates, and the latents sort these. May be memory-mapped, because only
            candidates are read.
        n_candidates : int, default 50
            Number of candidates that are sorted by latents; at least k are.
        weights : bool, default True
            Whether codes are compared with the projections of the queries, as in
            `fasthash.topk_weighted`, or by Hamming distance.
        filter : optional
            Which codes may be found: rows, as in `fasthash.topk`, or ids of an index.
        n_threads : int, optional
            Number of threads, as in `fasthash.topk`.
        callback : callable, optional
            Called as ``callback("project", done, total)`` while queries are projected.
        verbose : bool, default False
            Show progress on standard error, as bars if tqdm is installed.

        Returns
        -------
        similarities, scores or distances : ndarray, shape (n_samples, k)
            With latents: cosines as float32, descending; NaN where missing. Without: scores or
            distances, as in `RREH.search`.
        ids : ndarray of int64, shape (n_samples, k)
            Rows of the database, or ids of the index, ascending among equals; -1 where missing.

        Raises
        ------
        sklearn.exceptions.NotFittedError, TypeError, ValueError
            As in `transform`, and if codes and latents do not fit each other or the model.

        See Also
        --------
        fasthash.rerank : The second stage alone.
        """
        options: dict[str, Any] = {"n_threads": n_threads, "callback": callback, "verbose": verbose}
        if latents is None:
            options |= {"weights": weights, "filter": filter}
            return super().search(X, modality, database, k, **options)
        check_flag(weights, "weights")
        k, n_candidates = check_count(k, "k"), check_count(n_candidates, "n_candidates")
        x = self._read_samples(X, modality)
        codes = check_database(database, self.projections_[modality].shape[1], self.fingerprint)
        shape = np.shape(latents)
        if isinstance(codes, np.ndarray) and shape[:1] != (len(codes),):
            raise ValueError(
                f"latents must have a row for each of the {len(codes)} codes, got shape {shape}"
            )
        with Progress(callback, verbose) as report:
            asked = self._latents(x, modality, resolve_threads(n_threads), report, "project")
        _, candidates = search_by_projections(
            self.feature_maps_[modality].before_projection(asked)
            @ self.projections_[modality].astype(x.dtype),
            *(codes, max(k, n_candidates)),
            weights=weights,
            filter=filter,
            n_threads=n_threads,
        )
        return rerank(asked, latents, candidates, k, metric="inner")

    def _latents(
        self, x: Rows, modality: str, n_threads: int, report: Report, stage: str
    ) -> NDArray[np.float32]:
        feature_map = self.feature_maps_[modality]
        latents = np.empty((len(x), feature_map.n_latents), np.float32)

        def visit(block: slice) -> None:
            latents[block] = feature_map.latents(x.read(block))

        visit_rows(visit, x, feature_map.n_latents, n_threads, report, stage)
        return latents
