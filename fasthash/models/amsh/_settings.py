"""Checks of the parameters of `AMSH`, and of the data that it is to learn from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..._core.labels import check_common_classes
from ..._core.rows import Rows
from ..._core.suspicious import without_warnings
from ..._core.validation import check_choice, check_count, check_number, check_rows
from ._codes import Weights

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["Settings", "check_parameters", "check_problem", "check_updatable", "settings_for"]

# The paper's number of anchors.
_AUTO_ANCHORS = 1500


@dataclass(frozen=True)
class Settings:
    """The parameters of `AMSH` that a fit needs, with numbers of anchors resolved."""

    lengths: tuple[int, ...]
    n_anchors: dict[str, int | None]
    n_sweeps: int
    tol: float
    weights: Weights
    ridge: float
    width: float
    init: str | dict[str, NDArray[Any]]
    preprocessing: dict[str, str]

    def is_equal(self, other: Settings) -> bool:
        """Tell whether all parameters are equal; initial latents are compared by value."""
        if isinstance(self.init, dict) and isinstance(other.init, dict):
            same = self.init.keys() == other.init.keys() and all(
                np.array_equal(v, other.init[name]) for name, v in self.init.items()
            )
            return same and replace(self, init="") == replace(other, init="")
        return type(self.init) is type(other.init) and self == other


def check_parameters(model: Any) -> None:
    """
    Check the parameters of a model.

    Raises
    ------
    TypeError, ValueError
        If a parameter has a wrong type or value.
    """
    check_count(model.n_sweeps, "n_sweeps")
    for name in ("tol", "lam", "beta", "eta"):
        check_number(getattr(model, name), name)
    check_number(model.ridge, "ridge", positive=True)
    check_number(model.width, "width", positive=True)
    if isinstance(model.n_anchors, str) and model.n_anchors != "auto":
        raise ValueError(f"n_anchors must be an integer, 'auto' or None, got {model.n_anchors!r}")
    if not isinstance(model.n_anchors, str | None):
        check_count(model.n_anchors, "n_anchors")
    if not isinstance(model.init, Mapping):
        check_choice(model.init, "init", ["random", "pca"])


def check_problem(
    model: Any, x: dict[str, Rows], labels: dict[str, csr_array], n_bits: int
) -> None:
    """
    Check that codes can be learned from the data, before anything is computed.

    Raises
    ------
    ValueError
        If there are too few classes or samples, or the initial latents do not fit.
    """
    n_classes = next(iter(labels.values())).shape[1]
    if n_classes < 2:
        raise ValueError(
            f"labels have {n_classes} class: with fewer than two every sample would get the "
            "same code"
        )
    for name, rows in x.items():
        if len(rows) <= n_bits:
            raise ValueError(
                f"features[{name!r}] has {len(rows)} samples: n_bits={n_bits} needs more "
                "samples than bits"
            )
        if rows.is_constant():
            raise ValueError(
                f"features[{name!r}] has the same row for all samples: there is nothing to "
                "tell them apart by"
            )
        if not isinstance(model.n_anchors, str | None) and model.n_anchors > len(rows):
            raise ValueError(
                f"n_anchors={model.n_anchors}, but features[{name!r}] has only {len(rows)} "
                'samples to draw anchors from: lower it, or pass n_anchors="auto"'
            )
        if labels[name].nnz == 0:
            raise ValueError(f"labels[{name!r}] are all empty: AMSH learns from labels")
    check_common_classes(labels)
    if isinstance(model.init, Mapping):
        for name, rows in x.items():
            shape = np.shape(model.init[name]) if name in model.init else None
            if shape != (len(rows), n_bits):
                raise ValueError(
                    f"init[{name!r}] must have shape {(len(rows), n_bits)}, got {shape}"
                )
            with without_warnings():
                check_rows(model.init[name], f"init[{name!r}]")


def check_updatable(model: Any) -> None:
    """
    Check that a fitted model can learn from more samples.

    Raises
    ------
    ValueError
        If it was read from a file that does not hold what this needs.
    """
    if not hasattr(model, "_states"):
        raise ValueError(
            "this model was saved with updatable=False, so it cannot learn from more samples: fit "
            "it again, or read a file that was saved with updatable=True"
        )


def settings_for(
    model: Any, x: dict[str, Rows], lengths: tuple[int, ...], kinds: dict[str, str]
) -> Settings:
    """
    Make the settings of a fit.

    Parameters
    ----------
    model : AMSH
        With checked parameters.
    x : dict of str to Rows
        The features; "auto" depends on their numbers of rows.
    lengths : tuple of int
        Code lengths to learn.
    kinds : dict of str to str
        The preprocessing of every modality.
    """
    init: str | dict[str, NDArray[Any]]
    if isinstance(model.init, Mapping):
        init = {name: np.asarray(model.init[name]) for name in x}
    else:
        init = model.init
    return Settings(
        lengths=lengths,
        n_anchors={name: _n_anchors_of(model, len(rows)) for name, rows in x.items()},
        n_sweeps=model.n_sweeps,
        tol=model.tol,
        weights=Weights(model.lam, model.beta, model.eta),
        ridge=model.ridge,
        width=model.width,
        init=init,
        preprocessing=kinds,
    )


def _n_anchors_of(model: Any, n_samples: int) -> int | None:
    if model.n_anchors is None:
        return None
    if model.n_anchors == "auto":
        return min(_AUTO_ANCHORS, n_samples)
    return int(model.n_anchors)
