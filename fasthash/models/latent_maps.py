"""From raw features to latents that two modalities share: preprocessing, a head, unit length.

`LatentMap` is what a fitted CLSR has per modality. Its head is either `DenseHead`, layers as numpy
arrays, which need no PyTorch any more, or `ModuleHead`, a module that the caller brought.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .clsr_inputs import Preprocessing
from .clsr_problem import Problem
from .saving import check_shape
from .single_view import ITQ

__all__ = [
    "DenseHead",
    "Head",
    "LatentMap",
    "ModuleHead",
    "check_latent_map",
    "make_latent_maps",
    "unit_latents",
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
class LatentMap:
    """
    Raw features to latents, and to centred latents, which codes are linear in.

    Attributes
    ----------
    preprocessing : Preprocessing
    head : Head
    mean : ndarray of float64, shape (n_latent,)
        Of the training samples' latents.
    """

    preprocessing: Preprocessing
    head: Head
    mean: NDArray[np.float64]

    @property
    def n_out(self) -> int:
        """Number of latents."""
        return len(self.mean)

    def latents(self, x: NDArray[np.floating]) -> NDArray[np.float32]:
        """Map a block of validated rows to latents of unit length."""
        return unit_latents(self.head, self.preprocessing.transform(x))

    def transform(self, x: NDArray[np.floating]) -> NDArray[np.float32]:
        """Map a block of validated rows to latents less their mean."""
        return self.latents(x) - self.mean.astype(np.float32)


def unit_latents(head: Head, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Latents of preprocessed rows, of unit length; a zero row stays zero."""
    out = head(x)
    lengths = np.linalg.norm(out, axis=1, keepdims=True)
    return np.divide(out, np.maximum(lengths, np.finfo(np.float32).tiny))


def make_latent_maps(
    problem: Problem,
    preprocessing: dict[str, Preprocessing],
    heads: Sequence[Head],
    n_bits: int,
    random_state: np.random.RandomState,
) -> tuple[dict[str, LatentMap], dict[str, NDArray[np.float64]]]:
    """
    Centre the latents of the training rows, and find what makes bits of them.

    Returns
    -------
    latent_maps : dict of str to LatentMap
    projections : dict of str to ndarray of float64, shape (n_latent, n_bits)
        The identity where there are as many bits as latents; else principal components of both
        modalities together, turned by iterative quantisation.
    """
    latent_maps, centred = {}, []
    items = problem.items
    for i, (name, head, x) in enumerate(zip(problem.names, heads, problem.x, strict=True)):
        # Per item one row of each modality, so that both weigh the same.
        chosen = items.rows if i == items.one else items.partners[items.starts[:-1]]
        latents = unit_latents(head, x)
        mean = latents.mean(axis=0, dtype=np.float64)
        latent_maps[name] = LatentMap(preprocessing[name], head, mean)
        centred.append(latents[chosen[:_ITQ_ROWS]] - mean.astype(np.float32))
    if n_bits == centred[0].shape[1]:
        projection = np.eye(n_bits)
    else:
        itq = ITQ(n_bits, n_iterations=_ITQ_ITERATIONS, random_state=random_state)
        projection = itq.fit(np.vstack(centred)).projection_
    return latent_maps, dict.fromkeys(problem.names, projection)


def check_latent_map(latent_map: Any, n_features: Any, n_latent: int) -> None:
    """
    Refuse what does not map n_features to n_latent by layers, as a file may say.

    Raises
    ------
    ValueError
        If it does not.
    """
    if not (
        isinstance(latent_map, LatentMap)
        and isinstance(latent_map.preprocessing, Preprocessing)
        and isinstance(latent_map.head, DenseHead)
    ):
        raise ValueError("feature_maps_ holds no latent map")
    preprocessing = latent_map.preprocessing
    check_shape(preprocessing.mean, "mean", (n_features,))
    check_shape(preprocessing.scale, "scale", (n_features,))
    width = n_features
    if preprocessing.components is not None:
        width = check_shape(preprocessing.components, "components", (n_features, None)).shape[1]
    for weight, bias in latent_map.head.layers:
        n_out = check_shape(weight, "weight", (width, None), np.float32).shape[1]
        check_shape(bias, "bias", (n_out,), np.float32)
        width = n_out
    check_shape(latent_map.mean, "mean of latents", (n_latent,))
    if width != n_latent:
        raise ValueError(f"the layers end with {width} latents, there are {n_latent}")
