"""Maps from raw features to latents that two modalities share.

A fitted CLSR has one `LatentMap` for each modality: preprocessing, a head, and the `Reconstruction`
and the `CanonicalVariates` that are appended to the latents of the head. A head is either a
`DenseHead`, whose layers are numpy arrays and need no PyTorch, or a `ModuleHead`, a module that the
caller passed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..._core.features import unit_rows
from .._preprocessing import Preprocessing, check_preprocessing
from .._saving import LEFT_OUT_IF_NONE, check_shape
from ._problem import Problem
from ._refinement import Refinement, check_refinement

__all__ = [
    "CanonicalVariates",
    "DenseHead",
    "Head",
    "LatentMap",
    "ModuleHead",
    "Reconstruction",
    "check_latent_map",
    "latents_of",
    "reconstructions",
    "with_constant",
]


class Head(Protocol):
    """A map from preprocessed features to latents, before they are scaled to unit length."""

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map rows, shape (n, n_preprocessed), to shape (n, n_latent)."""


@dataclass(frozen=True)
class DenseHead:
    """
    Linear layers with rectifiers between them.

    Attributes
    ----------
    layers : sequence of (ndarray, ndarray), both float32
        Weights of shape (n_in, n_out) and biases of shape (n_out,).
    """

    layers: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]]

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        last = len(self.layers) - 1
        for i, (weight, bias) in enumerate(self.layers):
            x = x @ weight
            x += bias
            if i < last:
                np.maximum(x, 0, out=x)
        return x


@dataclass(frozen=True)
class ModuleHead:
    """
    A module of the caller, in evaluation mode; it runs on the device that holds it.

    Attributes
    ----------
    module : torch.nn.Module
    """

    module: Any

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        import torch

        where = next(self.module.parameters(), torch.empty(0)).device
        # Set in each call, because PyTorch keeps this mode per thread.
        with torch.inference_mode():
            return self.module(torch.from_numpy(x).to(where)).float().cpu().numpy()


@dataclass(frozen=True)
class Reconstruction:
    """
    Appends to the latents of a head the features of the sample, and its decoded features.

    The cosine of latents of two modalities is then (u·v + w (x·x̂ + ŷ·y)) / (1 + 2 w). u and v are
    the latents of the heads; x and y are the features; x̂ and ŷ are decoded from the latents of the
    other modality. All have unit length. So the cosine says how similar the latents are, and how
    similar the decoded features are to the features of the other sample.

    Attributes
    ----------
    decoder : Head
        From the head's latents, of unit length, to features of the other modality.
    mean : ndarray of float64, shape (n_targets,)
        Mean of the first preprocessed features of this modality: those that the decoder of the
        other modality learns to reconstruct.
    weight : float
        w.
    own_first : bool
        Whether own features come before decoded ones. In the other modality the order is reversed,
        so that own features are multiplied with decoded ones.
    """

    decoder: Head
    mean: NDArray[np.float64]
    weight: float
    own_first: bool

    def append_reconstruction(
        self, latents: NDArray[np.float32], x: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Append the reconstruction to the latents of preprocessed rows x; of unit length."""
        out = np.hstack([latents, np.float32(np.sqrt(self.weight)) * self.vectors(latents, x)])
        out /= np.float32(np.sqrt(1 + 2 * self.weight))
        return out

    def vectors(self, latents: NDArray[np.float32], x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the features and the decoded features, each of unit length, side by side."""
        own = unit_rows(x[:, : len(self.mean)] - self.mean.astype(np.float32))
        decoded = unit_rows(self.decoder(latents))
        return np.hstack([own, decoded] if self.own_first else [decoded, own])


@dataclass(frozen=True)
class CanonicalVariates:
    """
    Appends the canonical variates of the sample to latents of unit length.

    The cosine of two samples is then (cos + c a·b) / (1 + c), where cos is the cosine without them,
    and a and b are the variates, of unit length.

    Attributes
    ----------
    head : DenseHead
        One linear layer, from preprocessed features to variates.
    weight : float
        c.
    """

    head: DenseHead
    weight: float

    def append(self, latents: NDArray[np.float32], x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Append the variates to the latents of preprocessed rows x; of unit length."""
        variates = np.float32(np.sqrt(self.weight)) * unit_rows(self.head(x))
        out = np.hstack([latents, variates])
        out /= np.float32(np.sqrt(1 + self.weight))
        return out


@dataclass(frozen=True)
class LatentMap:
    """
    A map from raw features to latents, and to centred latents, of which codes are linear functions.

    Attributes
    ----------
    preprocessing : Preprocessing
    head : Head
    reconstruction : Reconstruction or None
    mean : ndarray of float64, shape (n_latents,)
        Mean of the latents of the training samples.
    variates : CanonicalVariates or None
    has_constant : True or None
        Whether a column of ones follows the centred latents. The last row of the projection then
        holds an offset for each bit.
    refinement : Refinement or None
        Computes the projections, with the signs of refined bits, which take the place of the
        centred latents.
    """

    preprocessing: Preprocessing
    head: Head
    reconstruction: Reconstruction | None
    mean: NDArray[np.float64]
    # Older files do not have these.
    variates: CanonicalVariates | None = field(default=None, metadata=LEFT_OUT_IF_NONE)
    has_constant: bool | None = field(default=None, metadata=LEFT_OUT_IF_NONE)
    refinement: Refinement | None = field(default=None, metadata=LEFT_OUT_IF_NONE)

    @property
    def n_latents(self) -> int:
        """Number of latents of a sample."""
        return len(self.mean)

    @property
    def n_out(self) -> int:
        """Number of columns of `transform`."""
        if self.refinement is not None:
            return self.refinement.directions.shape[1]
        return self.n_latents + bool(self.has_constant)

    def latents(self, x: NDArray[np.floating]) -> NDArray[np.float32]:
        """Map a block of validated rows to latents of unit length."""
        return latents_of(
            self.preprocessing.transform(x, np.float32),
            *(self.head, self.reconstruction, self.variates),
        )

    def transform(self, x: NDArray[np.floating]) -> NDArray[np.float32]:
        """Map a block of validated rows to what the projection is applied to."""
        return self.before_projection(self.latents(x))

    def before_projection(self, latents: NDArray[np.float32]) -> NDArray[np.float32]:
        """Centre latents, and append the constant, or refine their projections, if so."""
        latents = latents - self.mean.astype(np.float32)
        if self.refinement is not None:
            return self.refinement.project(latents)
        return with_constant(latents) if self.has_constant else latents


def with_constant(latents: NDArray[np.float32]) -> NDArray[np.float32]:
    """Append a column of ones."""
    return np.hstack([latents, np.ones((len(latents), 1), np.float32)])


def latents_of(
    x: NDArray[np.float32],
    head: Head,
    reconstruction: Reconstruction | None,
    variates: CanonicalVariates | None = None,
) -> NDArray[np.float32]:
    """Map preprocessed rows to latents of unit length."""
    latents = unit_rows(head(x))
    if reconstruction is not None:
        latents = reconstruction.append_reconstruction(latents, x)
    return latents if variates is None else variates.append(latents, x)


def reconstructions(
    problem: Problem, decoders: Sequence[Head], weight: float
) -> tuple[Reconstruction | None, Reconstruction | None]:
    """
    Make the reconstruction of each modality.

    Parameters
    ----------
    problem : Problem
    decoders : sequence of Head
        For each modality, the decoder from the other modality's latents to its features. May be
        empty; then there is no reconstruction.
    weight : float
        If it is 0, there is no reconstruction.
    """
    if weight == 0 or not decoders:
        return None, None
    first, second = problem.target_means
    return (
        Reconstruction(decoders[1], first, weight, own_first=True),
        Reconstruction(decoders[0], second, weight, own_first=False),
    )


def check_latent_map(latent_map: Any, n_features: Any, n_out: int) -> None:
    """
    Check that a latent map from a file maps n_features to n_out with layers.

    Raises
    ------
    ValueError
        If it does not.
    """
    if not (isinstance(latent_map, LatentMap) and isinstance(latent_map.head, DenseHead)):
        raise ValueError("feature_maps_ holds no latent map")
    width = check_preprocessing(latent_map.preprocessing, n_features)
    found = _check_layers(latent_map.head, width)
    reconstruction = latent_map.reconstruction
    if reconstruction is not None:
        if not (
            isinstance(reconstruction, Reconstruction)
            and isinstance(reconstruction.decoder, DenseHead)
            and isinstance(reconstruction.weight, float)
            and 0 < reconstruction.weight < np.inf
            and isinstance(reconstruction.own_first, bool)
        ):
            raise ValueError("the reconstruction is damaged")
        n_own = len(check_shape(reconstruction.mean, "mean of targets", (None,)))
        if n_own > width:
            raise ValueError(f"{n_own} features should be reconstructed, but there are {width}")
        found += n_own + _check_layers(reconstruction.decoder, found)
    variates = latent_map.variates
    if variates is not None:
        if not (
            isinstance(variates, CanonicalVariates)
            and isinstance(variates.head, DenseHead)
            and isinstance(variates.weight, float)
            and 0 < variates.weight < np.inf
        ):
            raise ValueError("the canonical variates are damaged")
        found += _check_layers(variates.head, width)
    if latent_map.has_constant not in (None, True):
        raise ValueError(
            f"has_constant is {latent_map.has_constant!r}, and must be true if it is there"
        )
    n_latents = n_out - bool(latent_map.has_constant)
    if latent_map.refinement is not None:
        if latent_map.has_constant:
            raise ValueError("refined projections have no constant")
        n_latents = check_refinement(latent_map.refinement, n_out)
    check_shape(latent_map.mean, "mean of latents", (n_latents,))
    if found != n_latents:
        raise ValueError(f"the layers end with {found} latents, but there must be {n_latents}")


def _check_layers(head: DenseHead, width: int) -> int:
    """Check the shapes of layers whose input has this width; return the width of the output."""
    for weight, bias in head.layers:
        n_out = check_shape(weight, "weight", (width, None), np.float32).shape[1]
        check_shape(bias, "bias", (n_out,), np.float32)
        width = n_out
    return width
