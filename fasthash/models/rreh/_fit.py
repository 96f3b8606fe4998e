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

from typing import Any

import numpy as np
from numpy import linalg
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from ..._core.workers import Executor, add_up
from .._rotation import quantising_rotation
from . import _fit_parts as part_functions
from ._fit_parts import fit_part
from ._start import Settings
from ._views import View, in_order

__all__ = ["RrehFit"]

# Memory for mapped features of all modalities together, which then need not be mapped again.
_KEPT_BYTES = 1 << 28

# Ridge of the hash functions where none is given: with fewer pairs than anchors, and with more.
_RIDGE_OF_FEW, _RIDGE = 0.1, 0.02

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
    workers : Executor

    Attributes
    ----------
    latents : ndarray, shape (n_latents, n_components)
        z; of each part, first of its pairs, then of its unpaired rows of each modality.
    signs : ndarray of int8, shape (n_latents, n_bits)
        b, in the same order.
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
        workers: Executor,
    ) -> None:
        self.views, self.anchors = views, anchors
        self._settings, self._workers = settings, workers
        self._n_pairs = views[0].n_pairs
        self._dtype = np.result_type(*(view.rows.dtype for view in views))
        parts = workers.beside([view.parts for view in views])
        kept = workers.share(_KEPT_BYTES, parts) // len(views)
        self._parts = workers.made(fit_part, parts, kept, self._dtype)
        self._compute_grams()
        self._start(random_state)

    @property
    def latents(self) -> Any:
        """z; on a cluster, a `ClusterArray`."""
        return self._workers.rows_of(self._parts, "latents")

    @property
    def signs(self) -> Any:
        """b; on a cluster, a `ClusterArray`."""
        return self._workers.rows_of(self._parts, "signs")

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
        found = self._workers.run(part_functions.codes, self._parts)
        codes = {}
        for i, view in enumerate(self.views):
            codes[view.name] = np.empty((len(view.rows), found[0][i].shape[1]), np.uint8)
            for rows, own in zip(view.part_rows, found, strict=True):
                codes[view.name][rows] = own[i]
        return codes

    def _compute_grams(self) -> None:
        """Compute what is the same in all sweeps: φᵀwφ + ℓI, factored; SᵀwS and eigenvectors."""
        self.ridges, self._grams, self._factors, self._relation_grams = [], [], [], []
        share = self._settings.ridge
        if share is None:
            share = _RIDGE_OF_FEW if self._n_pairs < self._settings.n_anchors else _RIDGE
        for gram, relations in self._workers.total(
            part_functions.grams, self._parts, is_large=True
        ):
            ridge = share * np.trace(gram) / len(gram)
            gram.flat[:: len(gram) + 1] += ridge
            self.ridges.append(ridge)
            self._grams.append(gram)
            self._factors.append(cho_factor(gram))
            self._relation_grams.append(relations)
        total = self._settings.mu * add_up(self._relation_grams)
        self._anchor_values, self._anchor_vectors = linalg.eigh((total + total.T) / 2)

    def _start(self, random_state: np.random.RandomState) -> None:
        """Compute first latents from the variates, a rotation for those of pairs, and codes."""
        n_pairs, n_bits, workers = self._n_pairs, self._settings.n_bits, self._workers
        norm = linalg.norm(workers.run(part_functions.norm_of_pairs, self._parts))
        factor = np.sqrt(n_pairs * n_bits) / norm if norm > 0 else 1.0
        workers.change(part_functions.scale_pairs, self._parts, factor)
        step = -(-n_pairs // _START_PAIRS)
        few = np.concatenate(workers.run(part_functions.some_pairs, self._parts, step))
        self.rotation = quantising_rotation(few, _START_STEPS, random_state, n_bits)
        found = workers.run(part_functions.latents_at_anchors, self._parts)
        self._at_anchors = in_order(found, len(self.anchors))
        grams, self._sums = workers.change(
            part_functions.start_rest, self._parts, self._at_anchors, self.rotation
        )
        self._set_latent_grams(*grams)

    def _set_latent_grams(self, pairs: NDArray[Any], *unpaired: NDArray[Any]) -> None:
        """Keep zᵀz of the pairs, and Σ w zᵀz of the unpaired rows of each modality."""
        self._pair_gram = pairs
        self._unpaired_grams = [
            view.weight * gram for view, gram in zip(self.views, unpaired, strict=True)
        ]

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
        s, dtype = self._settings, self._dtype
        from_codes = (s.theta * self.rotation.T).astype(dtype)
        maps = []
        for basis in self.bases:
            left = s.alpha * basis @ basis.T
            left.flat[:: len(left) + 1] += s.mu + s.theta
            maps.append(((s.alpha * basis.T).astype(dtype), linalg.inv(left).astype(dtype)))
        terms = self._workers.change(
            part_functions.update_unpaired_latents,
            *(self._parts, self._at_anchors, from_codes, s.mu, maps),
        )
        self._anchor_terms = [
            view.weight * term for view, term in zip(self.views, terms, strict=True)
        ]

    def update_paired_latents(self) -> None:
        """
        Solve z G = C for pairs, and z_A G + H z_A = C_A + μ Σ ω Sᵀz for anchors.

        Here H = μ Σ ω SᵀS.
        """
        s = self._settings
        gram = s.alpha * add_up(basis @ basis.T for basis in self.bases)
        gram.flat[:: len(gram) + 1] += s.theta
        values, vectors = linalg.eigh(gram)
        found = self._workers.run(part_functions.right_at_anchors, self._parts)
        right = in_order(found, len(self.anchors)) + s.mu * add_up(self._anchor_terms)
        rotated = self._anchor_vectors.T @ right @ vectors
        rotated /= self._anchor_values[:, None] + values
        self._at_anchors = (self._anchor_vectors @ rotated @ vectors.T).astype(self._dtype)
        grams, self._latents_by_codes = self._workers.change(
            part_functions.update_paired_latents,
            *(self._parts, linalg.inv(gram).astype(self._dtype), self._at_anchors),
        )
        self._set_latent_grams(*grams)

    def update_rotation(self) -> None:
        """Set R from the thin singular value decomposition of Σ w zᵀb."""
        pairs, *unpaired = self._latents_by_codes
        weighted = (view.weight * own for view, own in zip(self.views, unpaired, strict=True))
        left, _, right = linalg.svd(add_up([pairs, *weighted]), full_matrices=False)
        self.rotation = left @ right

    def update_codes(self) -> None:
        """Set b = sign(θ z R + ρ φ W); for a pair, φ W is the sum over its rows."""
        rotated = (self._settings.theta * self.rotation).astype(self._dtype)
        scaled = [
            (self._settings.rho * projection).astype(view.rows.dtype)
            for view, projection in zip(self.views, self.projections, strict=True)
        ]
        self._sums, self._latents_by_codes = self._workers.change(
            part_functions.update_codes, self._parts, rotated, scaled
        )

    def objective(self) -> float:
        """Compute J after `update_codes`, from sums over the rows."""
        s = self._settings
        at_anchors = self._at_anchors.astype(np.float64)
        cross, *unpaired = self._latents_by_codes
        total = s.theta * self._quantisation(self._n_pairs, self._pair_gram, cross)
        for i, own in enumerate(unpaired):
            reconstruction, hashing, relation, quantisation = self._terms(i, at_anchors, own)
            total += s.alpha * reconstruction + s.rho * hashing
            total += s.mu * relation + s.theta * quantisation
        return float(total)

    def _terms(
        self, i: int, at_anchors: NDArray[np.float64], cross: NDArray[np.float64]
    ) -> tuple[float, float, float, float]:
        """Compute the terms of one modality: features, hash functions, relations, codes."""
        view, n_pairs, n_bits = self.views[i], self._n_pairs, self._settings.n_bits
        latent_x, mapped_codes, squared_x = self._sums[i]
        basis, weights, unpaired = self.bases[i], self.hash_weights[i], self._unpaired_grams[i]
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
        quantisation = self._quantisation(view.n_unpaired, unpaired / view.weight, cross)
        return reconstruction, hashing, relation, view.weight * quantisation

    def _quantisation(self, n: int, gram: NDArray[np.float64], cross: NDArray[np.float64]) -> float:
        """Compute Σ ‖b - z R‖² from zᵀz and zᵀb, where ‖z R‖ = ‖z‖ because R Rᵀ = I."""
        return n * self._settings.n_bits + np.trace(gram) - 2 * np.sum(cross * self.rotation)
