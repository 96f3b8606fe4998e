"""The terms of CLSR's loss, each a function of tensors; ``_training`` weights and adds them.

Row i of one tensor belongs to row i of the other. `same` marks further rows that belong together
but are not a pair of this batch. They are left out of every denominator (their logits are −∞ before
the log-sum-exp), so that no gradient makes them less similar. This module needs PyTorch.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = [
    "adaptive_temperature",
    "neighbourhood_consistency",
    "paired_contrast",
    "semantic_teaching",
    "unit_rows",
]


def unit_rows(x: Tensor) -> Tensor:
    """Divide rows by their lengths; a zero row stays zero."""
    return functional.normalize(x, dim=1)


def paired_contrast(
    a: Tensor, b: Tensor, temperature: float | Tensor, same: Tensor | None = None
) -> Tensor:
    """
    InfoNCE in both directions: every row should find its partner among the other rows.

    Two terms of the loss have this form: the contrast of latents with latents, and the
    reconstruction, which contrasts decoded features with the features of the other modality.

    Parameters
    ----------
    a, b : tensor, shape (n, k)
        Rows of unit length; row i of one belongs to row i of the other.
    temperature : float or tensor, shape ()
    same : tensor of bool, shape (n, n), optional
        True where the rows i and j ≠ i are no negatives of each other; symmetric.

    Returns
    -------
    tensor, shape ()
        Mean cross-entropy of the softmax over cosines / temperature, over rows and columns.
    """
    logits = a @ b.T / temperature
    if same is not None:
        logits = logits.masked_fill(_off_diagonal(same), -torch.inf)
    own = torch.arange(len(a), device=a.device)
    return (functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)) / 2


def neighbourhood_consistency(
    a: Tensor, b: Tensor, temperature: float | Tensor, same: Tensor | None = None
) -> Tensor:
    """
    Symmetric KL divergence of the neighbourhoods that the samples have within each modality.

    A sample's neighbourhood is the softmax over the cosines with the other samples of its modality.

    Parameters
    ----------
    a, b, temperature, same
        As in `paired_contrast`.

    Returns
    -------
    tensor, shape ()
        ½ [KL(P_a ‖ P_b) + KL(P_b ‖ P_a)], mean over samples; gradients go to both.
    """
    log_a, log_b = (_log_neighbourhood(x, temperature, same) for x in (a, b))
    # Where a sample is left out, both are −∞, and their difference is NaN.
    left_out = torch.isinf(log_a)
    difference = (log_a - log_b).masked_fill(left_out, 0)
    p_a, p_b = log_a.exp(), log_b.exp()
    return ((p_a - p_b) * difference).sum(dim=1).mean() / 2


def semantic_teaching(
    x: Tensor,
    meaning: Tensor,
    temperature: float | Tensor,
    teacher_temperature: float,
    same: Tensor | None = None,
) -> Tensor:
    """
    Cross-entropy of the neighbourhoods of latents with those of the teacher's features.

    Parameters
    ----------
    x : tensor, shape (n, k)
        Latents of unit length.
    meaning : tensor, shape (n, d)
        The teacher's features, centred and of unit length: their cosines say how similar two
        samples are.
    temperature : float or tensor, shape ()
        Temperature of the neighbourhoods of the latents.
    teacher_temperature : float
        Temperature of the teacher's neighbourhoods, which get no gradient.
    same : tensor of bool, shape (n, n), optional
        As in `paired_contrast`.

    Returns
    -------
    tensor, shape ()
        Mean over samples.
    """
    with torch.no_grad():
        taught = _log_neighbourhood(meaning, teacher_temperature, same).exp()
    log_p = _log_neighbourhood(x, temperature, same)
    return -(taught * log_p.masked_fill(torch.isinf(log_p), 0)).sum(dim=1).mean()


def adaptive_temperature(
    a: Tensor, b: Tensor, temperature: float, slope: float, bounds: tuple[float, float]
) -> Tensor:
    """
    Compute the temperature τ0 (1 + α A), limited to bounds, where A is the alignment of a batch.

    Parameters
    ----------
    a, b : tensor, shape (n, k)
        Rows of unit length that belong together. A is the mean of their cosines; it gets no
        gradient.
    temperature : float
        τ0.
    slope : float
        α. If it is 0, the temperature is always τ0.
    bounds : (float, float)
        Smallest and largest temperature.

    Returns
    -------
    tensor, shape ()
    """
    with torch.no_grad():
        alignment = (a * b).sum(dim=1).mean()
        return (temperature * (1 + slope * alignment)).clamp(*bounds)


def _log_neighbourhood(x: Tensor, temperature: float | Tensor, same: Tensor | None) -> Tensor:
    """Compute the log-softmax over the other rows; −∞ for the row itself and rows in `same`."""
    left_out = torch.eye(len(x), dtype=torch.bool, device=x.device)
    if same is not None:
        left_out = left_out | same
    logits = (x @ x.T / temperature).masked_fill(left_out, -torch.inf)
    # If a row has no other rows, there is no softmax; with any finite values its gradient is zero.
    logits = logits.masked_fill(left_out.all(dim=1, keepdim=True), 0)
    return torch.log_softmax(logits, dim=1).masked_fill(left_out, -torch.inf)


def _off_diagonal(same: Tensor) -> Tensor:
    return same & ~torch.eye(len(same), dtype=torch.bool, device=same.device)
