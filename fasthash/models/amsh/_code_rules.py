"""Codes of new samples from their labels, for `AMSH.partial_fit`; what was learned stays fixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..._core.pieces import cut
from ..._kernels import discrete as kernels
from ._code_parts import LabelRows
from ._codes import ModalityState, Weights, Whitening

__all__ = ["CodeRule", "code_rules"]


@dataclass(frozen=True)
class CodeRule:
    """
    Compute the code of a new sample from its labels, while all that was learned stays fixed.

    Attributes
    ----------
    p : ndarray of float64, shape (r, c)
        Label map.
    z_votes, b_votes : ndarray of float64, shape (c, r)
        For each label, the row that it adds to z of a sample, and the row that it adds to the sums
        whose signs are the code of a sample.
    eta : float
    whitening : Whitening
    """

    p: NDArray[np.float64]
    z_votes: NDArray[np.float64]
    b_votes: NDArray[np.float64]
    eta: float
    whitening: Whitening

    def codes(self, labels: LabelRows, n_sweeps: int) -> NDArray[np.uint8]:
        """
        Compute codes of new samples by updating their targets, latents and codes in turn.

        Returns
        -------
        ndarray of uint8, shape (n, ceil(r / 8))
        """
        n, r = len(labels), len(self.p)
        origin = self.whitening.mean @ self.whitening.matrix
        label_rows = self.z_votes @ self.whitening.matrix
        packed = np.empty((n, (r + 7) // 8), np.uint8)
        for rows in cut(n, r):
            own = labels.of_rows(rows)
            code = packed[rows]
            v, whitened = np.zeros((2, len(code), r))
            kernels.update_codes(v, *own, self.b_votes, self.eta, code)
            for _ in range(n_sweeps):
                target = v @ self.p
                kernels.label_target(target, *own)
                np.matmul(target, self.p.T, out=v)
                kernels.add_codes(v, code, self.eta)
                np.matmul(v, self.whitening.matrix, out=whitened)
                kernels.add_label_rows(whitened, origin, *own, label_rows, v)
                kernels.update_codes(v, *own, self.b_votes, self.eta, code)
        return packed


def code_rules(modalities: Sequence[ModalityState], weights: Weights) -> list[CodeRule]:
    """Make the rules of all modalities after their last sweep."""
    rules = []
    for m in modalities:
        r = m.r
        assert m.whitening is not None
        others = sum(other.v_votes for other in modalities if other is not m)
        rules.append(
            CodeRule(
                p=m.p,
                z_votes=weights.lam * r * m.b_votes + weights.beta * r * others,
                b_votes=weights.lam * r * m.v_votes,
                eta=weights.eta,
                whitening=m.whitening,
            )
        )
    return rules
