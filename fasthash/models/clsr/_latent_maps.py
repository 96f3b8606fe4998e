"""From raw features to latents that two modalities share.

`LatentMap` is what a fitted CLSR has per modality: preprocessing, a head, and what is appended to
its latents, the `Reconstruction`. A head is either `DenseHead`, layers as numpy arrays, which need
no PyTorch any more, or `ModuleHead`, a module that the caller brought.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..._core.features import unit_rows
from .._preprocessing import Preprocessing, check_preprocessing
from .._saving import check_shape
from ..single_view import ITQ
from ._problem import Problem

__all__ = [
    "DenseHead",
    "Head",
    "LatentMap",
    "ModuleHead",
    "Reconstruction",
    "check_latent_map",
    "latents_of",
    "make_latent_maps",
    "reconstructions",
]

# So many items of each modality turn the components of shorter codes.
_ITQ_ROWS = 16384
_ITQ_ITERATIONS = 50


class Head(Protocol):
    """What turns preprocessed features into latents, before they get unit length."""

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
    A module of the caller, in evaluation mode on the device where it is.

    Attributes
    ----------
    module : torch.nn.Module
    """

    module: Any

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        import torch

        where = next(self.module.parameters(), torch.empty(0)).device
        # Per call: whether gradients are wanted is a matter of the thread.
        with torch.inference_mode():
            return self.module(torch.from_numpy(x).to(where)).float().cpu().numpy()


@dataclass(frozen=True)
class Reconstruction:
    """
    What is appended to the latents of a head: features of the sample, and decoded features.

    Cosines of latents of two modalities are then (u·v + w (x·x̂ + ŷ·y)) / (1 + 2 w): how near the
    head's latents u and v are, and how near what is decoded of either comes to the features of the
    other, all of unit length.

    Attributes
    ----------
    decoder : Head
        From the head's latents, of unit length, to features of the other modality.
    mean : ndarray of float64, shape (n_targets,)
        Of the sample's own preprocessed features, the first ones, that the other's decoder aims at.
    weight : float
        w.
    own_first : bool
        Whether own features stand before decoded ones; the other modality has it the other way.
    """

    decoder: Head
    mean: NDArray[np.float64]
    weight: float
    own_first: bool

    def append_reconstruction(
        self, latents: NDArray[np.float32], x: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """The head's latents of preprocessed rows x, and the reconstruction; of unit length."""
        own = unit_rows(x[:, : len(self.mean)] - self.mean.astype(np.float32))
        decoded = unit_rows(self.decoder(latents))
        parts = (own, decoded) if self.own_first else (decoded, own)
        share = np.float32(np.sqrt(self.weight))
        out = np.hstack([latents, *(share * part for part in parts)])
        out /= np.float32(np.sqrt(1 + 2 * self.weight))
        return out


@dataclass(frozen=True)
class LatentMap:
    """
    Raw features to latents, and to centred latents, which codes are linear in.

    Attributes
    ----------
    preprocessing : Preprocessing
    head : Head
    reconstruction : Reconstruction or None
    mean : ndarray of float64, shape (n_out,)
        Of the training samples' latents.
    """

    preprocessing: Preprocessing
    head: Head
    reconstruction: Reconstruction | None
    mean: NDArray[np.float64]

    @property
    def n_out(self) -> int:
        """Number of latents."""
        return len(self.mean)

    def latents(self, x: NDArray[np.floating]) -> NDArray[np.float32]:
        """Map a block of validated rows to latents of unit length."""
        return latents_of(
            self.preprocessing.transform(x, np.float32), self.head, self.reconstruction
        )

    def transform(self, x: NDArray[np.floating]) -> NDArray[np.float32]:
        """Map a block of validated rows to latents less their mean."""
        return self.latents(x) - self.mean.astype(np.float32)


def latents_of(
    x: NDArray[np.float32], head: Head, reconstruction: Reconstruction | None
) -> NDArray[np.float32]:
    """Latents of preprocessed rows, of unit length."""
    latents = unit_rows(head(x))
    return latents if reconstruction is None else reconstruction.append_reconstruction(latents, x)


def reconstructions(
    problem: Problem, decoders: Sequence[Head], weight: float
) -> tuple[Reconstruction | None, Reconstruction | None]:
    """
    What is appended to the latents of each modality.

    Parameters
    ----------
    problem : Problem
    decoders : sequence of Head
        Per modality the one that makes its features of the other's latents; empty for none.
    weight : float
        0 for none.
    """
    if weight == 0 or not decoders:
        return None, None
    first, second = problem.target_means
    return (
        Reconstruction(decoders[1], first, weight, own_first=True),
        Reconstruction(decoders[0], second, weight, own_first=False),
    )


def make_latent_maps(
    problem: Problem,
    preprocessing: dict[str, Preprocessing],
    heads: Sequence[Head],
    appended: Sequence[Reconstruction | None],
    n_bits: int,
    random_state: np.random.RandomState,
) -> tuple[dict[str, LatentMap], dict[str, NDArray[np.float64]]]:
    """
    Centre the latents of the training rows, and find what makes bits of them.

    Returns
    -------
    latent_maps : dict of str to LatentMap
    projections : dict of str to ndarray of float64, shape (n_out, n_bits)
        The identity where there are as many bits as latents; else principal components of both
        modalities together, turned by iterative quantisation.
    """
    latent_maps, centred = {}, []
    items = problem.items
    for i, name in enumerate(problem.names):
        # Per item one row of each modality, so that both weigh the same.
        chosen = items.rows if i == items.one else items.partners[items.starts[:-1]]
        latents = latents_of(problem.x[i], heads[i], appended[i])
        mean = latents.mean(axis=0, dtype=np.float64)
        latent_maps[name] = LatentMap(preprocessing[name], heads[i], appended[i], mean)
        centred.append(latents[chosen[:_ITQ_ROWS]] - mean.astype(np.float32))
    if n_bits == centred[0].shape[1]:
        projection = np.eye(n_bits)
    else:
        itq = ITQ(n_bits, n_iterations=_ITQ_ITERATIONS, random_state=random_state)
        projection = itq.fit(np.vstack(centred)).projection_
    return latent_maps, dict.fromkeys(problem.names, projection)


def check_latent_map(latent_map: Any, n_features: Any, n_out: int) -> None:
    """
    Refuse what does not map n_features to n_out by layers, as a file may say.

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
            raise ValueError(f"{n_own} features should be reconstructed, there are {width}")
        found += n_own + _check_layers(reconstruction.decoder, found)
    check_shape(latent_map.mean, "mean of latents", (n_out,))
    if found != n_out:
        raise ValueError(f"the layers end with {found} latents, there are {n_out}")


def _check_layers(head: DenseHead, width: int) -> int:
    """The width that layers end with which take rows of this width."""
    for weight, bias in head.layers:
        n_out = check_shape(weight, "weight", (width, None), np.float32).shape[1]
        check_shape(bias, "bias", (n_out,), np.float32)
        width = n_out
    return width
