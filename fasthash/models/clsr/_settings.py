"""Checks of the parameters of `CLSR`, and the values that "auto" stands for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..._core.validation import check_choice, check_count, check_number

__all__ = ["Settings", "check_parameters", "has_few_items", "settings_for"]

# With fewer items than this, a head overfits unless dropout and reconstruction are stronger.
_FEW_ITEMS = 2000


@dataclass(frozen=True)
class Settings:
    """The parameters of `CLSR` that training needs; every "auto" is replaced by a value."""

    n_latent: int
    hidden: tuple[int, ...]
    dropout: float
    temperature: float
    temperature_slope: float
    consistency: float
    semantic: float
    semantic_temperature: float
    reconstruction: float
    reconstruction_in_latents: float
    n_epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    patience: int | None


def check_parameters(model: Any) -> None:
    """
    Check the parameters of a model.

    Raises
    ------
    TypeError, ValueError
        If a parameter has a wrong type or value.
    """
    for name in ("n_bits", "n_latent", "n_targets"):
        check_count(getattr(model, name), name)
    check_count(model.batch_size, "batch_size", 2)
    if model.n_bits > model.n_latent:
        raise ValueError(
            f"n_bits={model.n_bits} is more than n_latent={model.n_latent}: take fewer bits, or "
            "raise n_latent"
        )
    for width in model.hidden:
        check_count(width, "hidden")
    for name in ("temperature", "semantic_temperature", "learning_rate"):
        check_number(getattr(model, name), name, positive=True)
    for name in ("consistency", "semantic", "weight_decay"):
        check_number(getattr(model, name), name)
    check_number(abs(model.temperature_slope), "temperature_slope")
    for name in (
        "dropout",
        "reconstruction",
        "reconstruction_in_latents",
        "variates_in_latents",
        "n_epochs",
    ):
        value = getattr(model, name)
        if isinstance(value, str):
            check_choice(value, name, ["auto"])
        elif name == "n_epochs":
            check_count(value, name)
        elif check_number(value, name) >= 1 and name == "dropout":
            raise ValueError(f"dropout must be less than 1, got {value!r}")
    if model.patience is not None:
        check_count(model.patience, "patience")


def has_few_items(n_items: int) -> bool:
    """Whether a number of training items is small, so that "auto" stands for other values."""
    return n_items < _FEW_ITEMS


def settings_for(model: Any, n_items: int) -> Settings:
    """
    Make the settings of a fit.

    Parameters
    ----------
    model : CLSR
        With checked parameters.
    n_items : int
        Number of training items; the values for "auto" depend on it.
    """
    few = has_few_items(n_items)

    def resolve(value: Any, with_few: float, with_many: float) -> Any:
        return (with_few if few else with_many) if value == "auto" else value

    return Settings(
        n_latent=model.n_latent,
        hidden=tuple(model.hidden),
        dropout=resolve(model.dropout, 0.5, 0.2),
        temperature=model.temperature,
        temperature_slope=model.temperature_slope,
        consistency=model.consistency,
        semantic=model.semantic,
        semantic_temperature=model.semantic_temperature,
        reconstruction=resolve(model.reconstruction, 3.0, 1.0),
        reconstruction_in_latents=float(resolve(model.reconstruction_in_latents, 1.0, 0.25)),
        n_epochs=resolve(model.n_epochs, 40, 20),
        batch_size=model.batch_size,
        learning_rate=model.learning_rate,
        weight_decay=model.weight_decay,
        patience=model.patience,
    )
