"""The sweeps of `RREH`: each step minimises one objective over one group of variables, exactly.

X are scaled features, φ mapped features, b codes of ±1, and z latents. The weight w is 1 for a row
of a pair and ω_m for an unpaired row. S z_A is the combination of the anchors' latents that the
relations S of a row give. The objective is

    J = Σ_m Σ_rows w (α ‖x - z U_m‖² + ρ ‖b - φ W_m‖²)
      + Σ_m Σ_unpaired ω_m (μ ‖z - S z_A‖² + θ ‖b - z R‖²) + θ Σ_pairs ‖b - z R‖²
      + Σ_m (α ν n_pairs ‖U_m‖² + ρ ℓ_m ‖W_m‖²),   R Rᵀ = I

A pair has one latent and one code for all its rows. A sweep updates these groups in turn, each to
the minimiser of J given the others: the bases U, the hash functions W, the latents of unpaired
rows, the latents of pairs, the rotation R, and the codes. It reads the features three times, block
by block on threads. It holds latents and codes, n · (n_components + n_bits) numbers, and of the
features only the first mapped blocks.

Source: the objective of RREH has these parts: a common subspace, one representation per pair,
embedded relations to anchors, and discrete codes. How they are combined here, and the weights ω,
are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy import linalg
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from ..._core.features import MappedRows
from ..._core.pieces import cut
from ..._core.workers import Workers, add_up
from ...codes import pack_signs
from .._rotation import quantising_rotation
from ._start import Settings, View

__all__ = ["RrehFit"]

# Memory for mapped features of all modalities together, which then need not be mapped again.
_KEPT_BYTES = 1 << 28

# Steps of the search for the first rotation, and the number of pairs that it uses.
_START_STEPS = 50
_START_PAIRS = 16384


class RrehFit:
    """
    The state of a fit between two updates.

    Parameters
    ----------
    views : list of View
    anchors : ndarray of int64
        The pairs that are anchors.
    settings : Settings
    random_state : RandomState
        Draws the first rotation.
    workers : Workers

    Attributes
    ----------
    latents : ndarray, shape (n_latents, n_components)
        z of the pairs, then of the unpaired rows of each modality.
    signs : ndarray of int8, shape (n_latents, n_bits)
        b.
    bases : list of ndarray of float64, shape (n_components, d)
        U per modality.
    projections : list of ndarray of float64, shape (n_out, n_bits)
        Hash functions per modality, T W.
    rotation : ndarray of float64, shape (n_components, n_bits)
        R.
    ridges : list of float
        ℓ per modality.
    """

    def __init__(
        self,
        views: list[View],
        anchors: NDArray[np.int64],
        settings: Settings,
        random_state: np.random.RandomState,
        workers: Workers,
    ) -> None:
        self.views, self.anchors = views, anchors
        self._settings, self._workers = settings, workers
        self._n_pairs = views[0].n_pairs
        ends = self._n_pairs + np.cumsum([view.n_unpaired for view in views])
        self._unpaired_rows = [
            slice(int(end) - view.n_unpaired, int(end))
            for view, end in zip(views, ends, strict=True)
        ]
        kept = _KEPT_BYTES // len(views)
        self._mapped = [MappedRows(view.rows, view.feature_map, kept) for view in views]
        self._compute_grams()
        self._start(random_state)
        self._add_up()

    def sweep(self) -> float:
        """Update every group of variables once; return the objective after it."""
        self.update_bases()
        self.update_hash_functions()
        self.update_unpaired_latents()
        self.update_paired_latents()
        self.update_rotation()
        self.update_codes()
        return self.objective()

    def codes(self) -> dict[str, NDArray[np.uint8]]:
        """Return the packed codes of all rows, per modality."""
        packed = pack_signs(self.signs)
        return {view.name: packed[view.latent_rows] for view in self.views}

    def _compute_grams(self) -> None:
        """Compute what is the same in all sweeps: φᵀwφ + ℓI, factored; SᵀwS and eigenvectors."""
        self.ridges, self._grams, self._factors, self._relation_grams = [], [], [], []
        for view, mapped in zip(self.views, self._mapped, strict=True):
            gram, relations = self._grams_of(view, mapped)
            ridge = self._settings.ridge * np.trace(gram) / len(gram)
            gram.flat[:: len(gram) + 1] += ridge
            self.ridges.append(ridge)
            self._grams.append(gram)
            self._factors.append(cho_factor(gram))
            self._relation_grams.append(relations)
        total = self._settings.mu * add_up(self._relation_grams)
        self._anchor_values, self._anchor_vectors = linalg.eigh((total + total.T) / 2)

    def _grams_of(self, view: View, mapped: MappedRows) -> list[NDArray[np.float64]]:
        basis = view.basis.astype(view.rows.dtype)

        def add(rows: slice) -> list[Any]:
            # T is applied before the sum: the rounding of large sums would be larger than small
            # eigenvalues.
            features, weights = mapped[rows] @ basis, view.row_weights(rows)
            gram = (features.T @ (weights[:, None] * features)).astype(np.float64)
            unpaired = weights * (view.latent_rows[rows] >= self._n_pairs)
            return [gram, view.relations.gram(rows, unpaired)]

        return self._total(view, add)

    def _start(self, random_state: np.random.RandomState) -> None:
        """Compute first latents from the variates, a rotation for those of pairs, and codes."""
        n_pairs, n_bits = self._n_pairs, self._settings.n_bits
        dtype = np.result_type(*(view.rows.dtype for view in self.views))
        n_latents = n_pairs + sum(view.n_unpaired for view in self.views)
        self.latents = np.zeros((n_latents, self.views[0].variates.shape[1]), dtype)
        for view in self.views:
            paired = view.latent_rows < n_pairs
            self.latents[view.latent_rows[paired]] += view.variates[paired]
        pairs = self.latents[:n_pairs]
        norm = linalg.norm(pairs)
        pairs *= np.sqrt(n_pairs * n_bits) / norm if norm > 0 else 1.0
        few = pairs[:: -(-n_pairs // _START_PAIRS)]
        self.rotation = quantising_rotation(few, _START_STEPS, random_state, n_bits)
        for view in self.views:
            self._start_unpaired(view, self.latents[self.anchors])
        self.signs = np.empty((n_latents, n_bits), np.int8)
        for rows in cut(n_latents, n_bits):
            self.signs[rows] = _signs(self.latents[rows] @ self.rotation.astype(dtype))

    def _start_unpaired(self, view: View, at_anchors: NDArray[np.floating]) -> None:
        def start(rows: slice) -> None:
            latent_rows = view.latent_rows[rows]
            unpaired = latent_rows >= self._n_pairs
            self.latents[latent_rows[unpaired]] = view.relations.times(rows, at_anchors)[unpaired]

        self._visit(view, start)

    def _add_up(self) -> None:
        """Compute the sums over rows that U, W and the objective need."""
        z, n_pairs = self.latents, self._n_pairs
        self._pair_gram = _product(z[:n_pairs], z[:n_pairs])
        self._unpaired_grams = [
            view.weight * _product(z[rows], z[rows])
            for view, rows in zip(self.views, self._unpaired_rows, strict=True)
        ]
        self._sums = [
            self._sums_of(view, mapped)
            for view, mapped in zip(self.views, self._mapped, strict=True)
        ]

    def _sums_of(self, view: View, mapped: MappedRows) -> list[Any]:
        """Compute Σ w zᵀx, Σ w φᵀb before T is applied, and Σ w ‖x‖²."""

        def add(rows: slice) -> list[Any]:
            x, latent_rows = view.read(rows), view.latent_rows[rows]
            weights = view.row_weights(rows)
            weighted = weights[:, None] * x
            return [
                (self.latents[latent_rows].T @ weighted).astype(np.float64),
                (mapped[rows].T @ (weights[:, None] * self.signs[latent_rows])).astype(np.float64),
                np.einsum("ij,ij->", weighted, x, dtype=np.float64),
            ]

        return self._total(view, add)

    def update_bases(self) -> None:
        """Set U = (Σ w zᵀz + ν n_pairs I)⁻¹ Σ w zᵀx."""
        self.bases = []
        for (latent_x, _, _), unpaired in zip(self._sums, self._unpaired_grams, strict=True):
            gram = self._pair_gram + unpaired
            gram.flat[:: len(gram) + 1] += self._settings.nu * self._n_pairs
            self.bases.append(linalg.solve(gram, latent_x))

    def update_hash_functions(self) -> None:
        """Set W = (Σ w φᵀφ + ℓI)⁻¹ Σ w φᵀb."""
        self.hash_weights = [
            cho_solve(factor, view.basis.T @ mapped_codes)
            for view, factor, (_, mapped_codes, _) in zip(
                self.views, self._factors, self._sums, strict=True
            )
        ]
        self.projections = [
            view.basis @ weights
            for view, weights in zip(self.views, self.hash_weights, strict=True)
        ]

    def update_unpaired_latents(self) -> None:
        """Set z = (α x Uᵀ + μ S z_A + θ b Rᵀ)(α U Uᵀ + (μ + θ) I)⁻¹."""
        at_anchors = self.latents[self.anchors]
        from_codes = (self._settings.theta * self.rotation.T).astype(self.latents.dtype)
        # The same pass computes C of the pairs: α Σ_m x U_mᵀ + θ b Rᵀ.
        self._pair_right = self.signs[: self._n_pairs] @ from_codes
        self._anchor_terms = [
            self._update_unpaired(view, basis, at_anchors, from_codes)
            for view, basis in zip(self.views, self.bases, strict=True)
        ]

    def _update_unpaired(
        self,
        view: View,
        basis: NDArray[np.float64],
        at_anchors: NDArray[np.floating],
        from_codes: NDArray[np.floating],
    ) -> NDArray[np.float64]:
        """Update the latents of unpaired rows; return their term for the anchors, Σ ω Sᵀz."""
        s, dtype = self._settings, self.latents.dtype
        left = s.alpha * basis @ basis.T
        left.flat[:: len(left) + 1] += s.mu + s.theta
        inverse = linalg.inv(left).astype(dtype)
        from_features = (s.alpha * basis.T).astype(dtype)

        def update(rows: slice) -> list[Any]:
            latent_rows = view.latent_rows[rows]
            unpaired = latent_rows >= self._n_pairs
            right = view.read(rows) @ from_features
            self._pair_right[latent_rows[~unpaired]] += right[~unpaired]
            right += s.mu * view.relations.times(rows, at_anchors)
            right += self.signs[latent_rows] @ from_codes
            z = right @ inverse
            self.latents[latent_rows[unpaired]] = z[unpaired]
            z[~unpaired] = 0
            return [view.relations.transposed_times(rows, z)]

        return view.weight * self._total(view, update)[0]

    def update_paired_latents(self) -> None:
        """
        Solve z G = C for pairs, and z_A G + H z_A = C_A + μ Σ ω Sᵀz for anchors.

        Here H = μ Σ ω SᵀS.
        """
        s, dtype = self._settings, self.latents.dtype
        gram = s.alpha * add_up(basis @ basis.T for basis in self.bases)
        gram.flat[:: len(gram) + 1] += s.theta
        values, vectors = linalg.eigh(gram)
        right = self._pair_right[self.anchors] + s.mu * add_up(self._anchor_terms)
        rotated = self._anchor_vectors.T @ right @ vectors
        rotated /= self._anchor_values[:, None] + values
        self.latents[: self._n_pairs] = self._pair_right @ linalg.inv(gram).astype(dtype)
        self.latents[self.anchors] = self._anchor_vectors @ rotated @ vectors.T

    def update_rotation(self) -> None:
        """Set R from the thin singular value decomposition of Σ w zᵀb."""
        total = self._latents_by_codes(slice(0, self._n_pairs))
        for view, rows in zip(self.views, self._unpaired_rows, strict=True):
            total += view.weight * self._latents_by_codes(rows)
        left, _, right = linalg.svd(total, full_matrices=False)
        self.rotation = left @ right

    def update_codes(self) -> None:
        """Set b = sign(θ z R + ρ φ W); for a pair, φ W is the sum over its rows."""
        rotated = (self._settings.theta * self.rotation).astype(self.latents.dtype)
        scores = self.latents[: self._n_pairs] @ rotated
        for view, mapped, projection in zip(
            self.views, self._mapped, self.projections, strict=True
        ):
            self._update_codes_of(view, mapped, projection, rotated, scores)
        self.signs[: self._n_pairs] = _signs(scores)
        self._add_up()

    def _update_codes_of(
        self,
        view: View,
        mapped: MappedRows,
        projection: NDArray[np.float64],
        rotated: NDArray[np.floating],
        scores: NDArray[np.floating],
    ) -> None:
        """Update the codes of unpaired rows; add the scores of paired rows to `scores`."""
        scaled = (self._settings.rho * projection).astype(view.rows.dtype)

        def update(rows: slice) -> None:
            latent_rows = view.latent_rows[rows]
            unpaired = latent_rows >= self._n_pairs
            found = mapped[rows] @ scaled
            scores[latent_rows[~unpaired]] += found[~unpaired]
            own = latent_rows[unpaired]
            self.signs[own] = _signs(found[unpaired] + self.latents[own] @ rotated)

        self._visit(view, update)

    def objective(self) -> float:
        """Compute J after `update_codes`, from sums over the rows."""
        s = self._settings
        total = s.theta * self._quantisation(slice(0, self._n_pairs), self._pair_gram)
        for i in range(len(self.views)):
            reconstruction, hashing, relation, quantisation = self._parts(i)
            total += s.alpha * reconstruction + s.rho * hashing
            total += s.mu * relation + s.theta * quantisation
        return float(total)

    def _parts(self, i: int) -> tuple[float, float, float, float]:
        """Compute the terms of one modality: features, hash functions, relations, codes."""
        view, n_pairs, n_bits = self.views[i], self._n_pairs, self._settings.n_bits
        latent_x, mapped_codes, squared_x = self._sums[i]
        basis, weights, unpaired = self.bases[i], self.hash_weights[i], self._unpaired_grams[i]
        at_anchors = self.latents[self.anchors].astype(np.float64)
        reconstruction = (
            squared_x
            - 2 * np.sum(latent_x * basis)
            + np.sum((self._pair_gram + unpaired) * (basis @ basis.T))
            + self._settings.nu * n_pairs * np.sum(basis**2)
        )
        hashing = (
            n_bits * (n_pairs + view.weight * view.n_unpaired)
            - 2 * np.sum((view.basis.T @ mapped_codes) * weights)
            + np.sum(weights * (self._grams[i] @ weights))
        )
        relation = (
            np.trace(unpaired)
            - 2 * np.sum(self._anchor_terms[i] * at_anchors)
            + np.sum(at_anchors * (self._relation_grams[i] @ at_anchors))
        )
        if view.weight == 0:
            return reconstruction, hashing, relation, 0.0
        quantisation = self._quantisation(self._unpaired_rows[i], unpaired / view.weight)
        return reconstruction, hashing, relation, view.weight * quantisation

    def _quantisation(self, rows: slice, gram: NDArray[np.float64]) -> float:
        """Compute Σ ‖b - z R‖², where ‖z R‖ = ‖z‖ because R Rᵀ = I."""
        cross = np.sum(self._latents_by_codes(rows) * self.rotation)
        return (rows.stop - rows.start) * self._settings.n_bits + np.trace(gram) - 2 * cross

    def _latents_by_codes(self, rows: slice) -> NDArray[np.float64]:
        return _product(self.latents[rows], self.signs[rows])

    def _visit(self, view: View, function: Callable[[slice], None]) -> None:
        """Call a function with every block of a modality."""

        def visit(blocks: Sequence[slice]) -> None:
            for rows in blocks:
                function(rows)

        for _ in self._workers.map(visit, view.blocks):
            pass

    def _total(self, view: View, function: Callable[[slice], list[Any]]) -> list[Any]:
        """Call a function with every block; add up its lists entry by entry, in order of rows."""

        def visit(blocks: Sequence[slice]) -> list[Any]:
            return _add(function(rows) for rows in blocks)

        return _add(self._workers.map(visit, view.blocks))


def _signs(scores: NDArray[np.floating]) -> NDArray[np.int8]:
    return np.where(scores >= 0, np.int8(1), np.int8(-1))


def _product(a: NDArray[np.floating], b: NDArray[Any]) -> NDArray[np.float64]:
    """Compute AᵀB; the sum over blocks of rows is in float64."""
    total = np.zeros((a.shape[1], b.shape[1]))
    for rows in cut(len(a), b.shape[1]):
        total += a[rows].T @ b[rows].astype(a.dtype, copy=False)
    return total


def _add(terms: Iterable[list[Any]]) -> list[Any]:
    """Add lists entry by entry."""
    total: list[Any] = []
    for term in terms:
        total = [a + b for a, b in zip(total, term, strict=True)] if total else term
    return total
