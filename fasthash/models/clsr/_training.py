"""CLSR's training loop in PyTorch: networks, steps, validation, the best epoch, checkpoints.

`train` runs it. Every epoch has its own random seed. So a checkpoint needs only the weights and the
optimiser's moments to continue with the next epoch.
"""

from __future__ import annotations

import copy
import math
import pickle
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..._core.files import replacing
from ..._core.pieces import cut
from ...metrics.pairs import expected_recall
from ._latent_maps import (
    DenseHead,
    Head,
    ModuleHead,
    Reconstruction,
    latents_of,
    reconstructions,
)
from ._losses import (
    adaptive_temperature,
    neighbourhood_consistency,
    paired_contrast,
    semantic_teaching,
    unit_rows,
)
from ._problem import RECALL_RANKS, EpochRecord, Problem
from ._settings import Settings

__all__ = ["Trained", "choose_device", "seed_of", "train"]

# The learning rate rises during this share of all steps.
_WARM_UP = 0.05
# Gradients are clipped to this norm.
_MOST_GRADIENT = 2.0
_TEMPERATURE_BOUNDS = (0.01, 0.3)
_DECODER_WIDTH = 512
_EVALUATED_ROWS = 8192
_FORMAT = 1


@dataclass(frozen=True)
class Trained:
    """
    The result of the training.

    Attributes
    ----------
    heads : tuple of Head
        The heads of both modalities after the best epoch, or after the last one if there is no
        validation.
    reconstructions : tuple of Reconstruction or None
        For each modality, what is appended to the latents of the head.
    history : list of EpochRecord
    best_epoch : int
    """

    heads: tuple[Head, Head]
    reconstructions: tuple[Reconstruction | None, Reconstruction | None]
    history: list[EpochRecord]
    best_epoch: int


@dataclass
class _Progress:
    """The epochs so far, and the weights of the best one."""

    history: list[EpochRecord]
    best_epoch: int = 0
    best: dict[str, Tensor] = field(default_factory=dict)


class _Networks(nn.Module):
    """Both heads, and the decoders from the latents of each modality to the other's targets."""

    def __init__(self, problem: Problem, settings: Settings, encoders: Mapping[str, Any]) -> None:
        super().__init__()
        for name, encoder in encoders.items():
            if not isinstance(encoder, nn.Module):
                raise TypeError(
                    f"encoders[{name!r}] must be a torch.nn.Module, got {type(encoder).__name__}"
                )
        self.heads = nn.ModuleList(
            copy.deepcopy(encoders[name]) if name in encoders else _head(x.shape[1], settings)
            for name, x in zip(problem.names, problem.x, strict=True)
        )
        self.decoders = nn.ModuleList()
        if settings.reconstruction > 0:
            self.decoders.extend(
                nn.Sequential(
                    nn.Linear(settings.n_latent, _DECODER_WIDTH),
                    nn.ReLU(),
                    nn.Linear(_DECODER_WIDTH, y.shape[1]),
                )
                for y in problem.targets
            )


def choose_device(device: str) -> str:
    """Replace "auto" by a device, and refuse a device that does not exist."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f'device={device!r} cannot be used: {str(error).splitlines()[0]}; pass device="cpu" or '
            '"auto"'
        ) from None
    return device


def seed_of(checkpoint: Path) -> int:
    """Read the seed of the fit that wrote a checkpoint."""
    return _read(checkpoint, "cpu")["seed"]


def train(
    problem: Problem,
    settings: Settings,
    encoders: Mapping[str, Any],
    seed: int,
    device: str,
    n_threads: int,
    report: Callable[[EpochRecord], None],
    checkpoint: Path | None = None,
    fingerprint: str = "",
    resume: bool = False,
) -> Trained:
    """
    Train to the last epoch, or until validation has not improved for `settings.patience` epochs.

    Parameters
    ----------
    problem : Problem
    settings : Settings
    encoders : mapping of str to torch.nn.Module
        Used instead of built-in heads; they are copied.
    seed : int
    device : str
        The result of `choose_device`.
    n_threads : int
    report : callable
        Called with the record of every epoch, after the checkpoint is written.
    checkpoint : Path, optional
        Written after every epoch.
    fingerprint : str
        Digest of the data; a checkpoint of other data is refused.
    resume : bool
        Continue from the checkpoint.

    Returns
    -------
    Trained

    Raises
    ------
    ValueError
        If the checkpoint belongs to another fit, or the loss is no longer finite.
    """
    threads_before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        # The state of the caller's random generators does not change.
        with torch.random.fork_rng(devices=_devices(device)):
            run = _Run(problem, settings, encoders, seed, device)
            if resume and checkpoint is not None:
                run.load(checkpoint, fingerprint)
            while not run.finished:
                record = run.epoch()
                if checkpoint is not None:
                    run.save(checkpoint, fingerprint)
                report(record)
            return run.result()
    finally:
        torch.set_num_threads(threads_before)


class _Run:
    """A training: networks, optimiser and data on their device, and the epochs so far."""

    def __init__(
        self,
        problem: Problem,
        settings: Settings,
        encoders: Mapping[str, Any],
        seed: int,
        device: str,
    ) -> None:
        self.problem, self.settings, self.encoders = problem, settings, encoders
        self.seed, self.device = seed, device
        torch.manual_seed(self._seed_of(0))
        self.networks = _Networks(problem, settings, encoders).to(device)
        self._check_heads()
        self.optimiser = torch.optim.AdamW(
            self.networks.parameters(),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
        )
        self.progress = _Progress([])
        self.x = [torch.from_numpy(x).to(device) for x in problem.x]
        self.targets = [unit_rows(torch.from_numpy(y).to(device)) for y in problem.targets]
        self.meaning = torch.from_numpy(problem.meaning).to(device)
        self.duplicates = [
            None if ids is None else torch.from_numpy(ids).to(device) for ids in problem.duplicates
        ]
        # Batches have nearly the same size: a small last batch would have few negatives.
        self.n_batches = max(1, round(len(problem.items) / settings.batch_size))
        self.half = device.startswith("cuda") and torch.cuda.is_bf16_supported()

    @property
    def finished(self) -> bool:
        done, patience = len(self.progress.history), self.settings.patience
        if done >= self.settings.n_epochs:
            return True
        if patience is None or self.problem.validation is None:
            return False
        return done - self.progress.best_epoch >= patience

    def epoch(self) -> EpochRecord:
        """Train on all items, each with a random partner; validate; keep the best weights."""
        number = len(self.progress.history) + 1
        torch.manual_seed(self._seed_of(number))
        self.networks.train()
        totals: dict[str, float] = {}
        batches = self._batches()
        for i, (items, partners) in enumerate(batches):
            self._set_learning_rate((number - 1) * len(batches) + i, len(batches))
            parts = self._step(items, partners)
            for name, value in parts.items():
                totals[name] = totals.get(name, 0.0) + value / len(batches)
        if not math.isfinite(totals["loss"]):
            raise ValueError(
                f"the loss is {totals['loss']} in epoch {number}: lower learning_rate="
                f"{self.settings.learning_rate}, or raise temperature={self.settings.temperature}"
            )
        loss, temperature = totals.pop("loss"), totals.pop("temperature")
        record = EpochRecord(
            number, self.settings.n_epochs, loss, totals, temperature, self._validate()
        )
        best = self.progress.best_epoch
        if not record.recall or not best or record.recall_sum > self._sum_of(best):
            self.progress.best_epoch, self.progress.best = number, self._weights()
        self.progress.history.append(record)
        return record

    def result(self) -> Trained:
        self.networks.load_state_dict(self.progress.best)
        self.networks.eval()
        first, second = (
            ModuleHead(head) if name in self.encoders else _as_arrays(head)
            for name, head in zip(self.problem.names, self.networks.heads, strict=True)
        )
        appended = self._reconstructions_of(
            [_as_arrays(decoder) for decoder in self.networks.decoders]
        )
        history, best_epoch = self.progress.history, self.progress.best_epoch
        return Trained((first, second), appended, history, best_epoch)

    def save(self, path: Path, fingerprint: str) -> None:
        """Write the checkpoint whole or not at all."""
        state = {
            "format": _FORMAT,
            "fingerprint": fingerprint,
            "settings": asdict(self.settings),
            "seed": self.seed,
            "networks": self.networks.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "best_epoch": self.progress.best_epoch,
            "best": self.progress.best,
            "history": [record.to_plain() for record in self.progress.history],
        }
        with replacing(path) as file:
            torch.save(state, file)

    def load(self, path: Path, fingerprint: str) -> None:
        state = _read(path, self.device)
        found = {**state["settings"], "seed": state["seed"], "data": state["fingerprint"]}
        asked = {**asdict(self.settings), "seed": self.seed, "data": fingerprint}
        different = [name for name, value in asked.items() if found.get(name) != value]
        if different:
            raise ValueError(
                f"resume=True, but {path} is the checkpoint of another fit, which differs in "
                f"{', '.join(different)}: pass the same, or fit anew without resume"
            )
        self.networks.load_state_dict(state["networks"])
        self.optimiser.load_state_dict(state["optimiser"])
        history = [EpochRecord.from_plain(record) for record in state["history"]]
        self.progress = _Progress(history, state["best_epoch"], state["best"])

    def _seed_of(self, epoch: int) -> int:
        return int(np.random.SeedSequence([self.seed, epoch]).generate_state(1, np.uint64)[0] >> 1)

    def _set_learning_rate(self, step: int, n_batches: int) -> None:
        """Set the rate: a linear rise, then half a cosine down to zero at the last step."""
        n_steps = self.settings.n_epochs * n_batches
        n_rising = max(1, round(_WARM_UP * n_steps))
        if step < n_rising:
            share = (step + 1) / n_rising
        else:
            share = (1 + math.cos(math.pi * (step - n_rising) / max(1, n_steps - n_rising))) / 2
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.learning_rate * share

    def _batches(self) -> list[tuple[Tensor, Tensor]]:
        """Shuffle the items and draw a partner of each; return their rows in batches."""
        items = self.problem.items
        starts = torch.from_numpy(items.starts)
        order = torch.randperm(len(items))
        counts = (starts[1:] - starts[:-1])[order]
        chosen = starts[:-1][order] + (torch.rand(len(items)) * counts).long()
        rows = torch.from_numpy(items.rows)[order].to(self.device)
        partners = torch.from_numpy(items.partners)[chosen].to(self.device)
        return list(
            zip(
                rows.tensor_split(self.n_batches),
                partners.tensor_split(self.n_batches),
                strict=True,
            )
        )

    def _step(self, items: Tensor, partners: Tensor) -> dict[str, float]:
        settings = self.settings
        rows = (items, partners) if self.problem.items.one == 0 else (partners, items)
        with torch.autocast(self.device.split(":")[0], torch.bfloat16, enabled=self.half):
            u, v = (
                unit_rows(head(x[r]).float())
                for head, x, r in zip(self.networks.heads, self.x, rows, strict=True)
            )
            decoded = [
                unit_rows(decode(latents).float())
                for decode, latents in zip(self.networks.decoders, (v, u), strict=False)
            ]
        same = self._same(rows)
        temperature = adaptive_temperature(
            u, v, settings.temperature, settings.temperature_slope, _TEMPERATURE_BOUNDS
        )
        parts = {"contrast": paired_contrast(u, v, temperature, same)}
        loss = parts["contrast"]
        if settings.consistency > 0:
            parts["consistency"] = neighbourhood_consistency(u, v, temperature, same)
            loss = loss + settings.consistency * parts["consistency"]
        if settings.semantic > 0:
            meaning = self.meaning[rows[self.problem.teacher]]
            taught = [
                semantic_teaching(x, meaning, temperature, settings.semantic_temperature, same)
                for x in (u, v)
            ]
            parts["semantic"] = (taught[0] + taught[1]) / 2
            loss = loss + settings.semantic * parts["semantic"]
        if decoded:
            nearness = [
                paired_contrast(made, y[r], temperature, same)
                for made, y, r in zip(decoded, self.targets, rows, strict=True)
            ]
            parts["reconstruction"] = (nearness[0] + nearness[1]) / 2
            loss = loss + settings.reconstruction * parts["reconstruction"]
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.networks.parameters(), _MOST_GRADIENT)
        self.optimiser.step()
        values = {"loss": loss, "temperature": temperature, **parts}
        return {name: value.item() for name, value in values.items()}

    def _same(self, rows: tuple[Tensor, Tensor]) -> Tensor | None:
        """Mark the items of a batch that have equal rows in a modality: they are no negatives."""
        numbers = [ids[r] for ids, r in zip(self.duplicates, rows, strict=True) if ids is not None]
        equal = [n[:, None] == n[None, :] for n in numbers]
        return None if not equal else equal[0] if len(equal) == 1 else equal[0] | equal[1]

    def _validate(self) -> dict[tuple[str, str], dict[int, float]]:
        if self.problem.validation is None:
            return {}
        x, pairs = self.problem.validation
        self.networks.eval()
        appended = self._reconstructions_of(
            [ModuleHead(decoder) for decoder in self.networks.decoders]
        )
        latents = [
            self._latents(ModuleHead(head), x, reconstruction)
            for head, x, reconstruction in zip(self.networks.heads, x, appended, strict=True)
        ]
        recall = {}
        for query, target in ((0, 1), (1, 0)):
            recall[self.problem.names[query], self.problem.names[target]] = expected_recall(
                latents[query], latents[target], pairs[:, [query, target]], RECALL_RANKS
            )
        return recall

    def _reconstructions_of(
        self, decoders: list[Head]
    ) -> tuple[Reconstruction | None, Reconstruction | None]:
        return reconstructions(self.problem, decoders, self.settings.reconstruction_in_latents)

    @staticmethod
    def _latents(
        head: Head, x: NDArray[np.float32], reconstruction: Reconstruction | None
    ) -> NDArray[np.float32]:
        blocks = cut(len(x), most=_EVALUATED_ROWS)
        return np.vstack([latents_of(x[rows], head, reconstruction) for rows in blocks])

    def _sum_of(self, epoch: int) -> float:
        return self.progress.history[epoch - 1].recall_sum

    def _weights(self) -> dict[str, Tensor]:
        return {name: x.detach().clone() for name, x in self.networks.state_dict().items()}

    def _check_heads(self) -> None:
        """Refuse encoders whose output has another width than ``n_latent``."""
        self.networks.eval()
        for name, head, x in zip(
            self.problem.names, self.networks.heads, self.problem.x, strict=True
        ):
            with torch.no_grad():
                found = tuple(head(torch.from_numpy(x[:2]).to(self.device)).shape)
            expected = (len(x[:2]), self.settings.n_latent)
            if found != expected:
                raise ValueError(
                    f"encoders[{name!r}] returns shape {found} for {len(x[:2])} rows, but n_latent="
                    f"{self.settings.n_latent} needs {expected}"
                )


def _read(path: Path, device: str) -> dict[str, Any]:
    try:
        if not zipfile.is_zipfile(path):
            raise RuntimeError("it is not what torch.save writes")
        state = torch.load(path, map_location=device, weights_only=True)
    except (pickle.UnpicklingError, RuntimeError) as error:
        raise ValueError(f"{path} is no checkpoint: {str(error).splitlines()[0]}") from None
    if not isinstance(state, dict) or state.get("format") != _FORMAT:
        raise ValueError(f"{path} is no checkpoint of CLSR that this version can read")
    return state


def _head(n_in: int, settings: Settings) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in settings.hidden:
        layers += [nn.Linear(n_in, width), nn.ReLU(), nn.Dropout(settings.dropout)]
        n_in = width
    return nn.Sequential(*layers, nn.Linear(n_in, settings.n_latent))


def _as_arrays(head: nn.Module) -> DenseHead:
    return DenseHead(
        tuple(
            (layer.weight.detach().cpu().numpy().T.copy(), layer.bias.detach().cpu().numpy().copy())
            for layer in head.modules()
            if isinstance(layer, nn.Linear)
        )
    )


def _devices(device: str) -> list[int]:
    if not device.startswith("cuda"):
        return []
    return [torch.device(device).index or torch.cuda.current_device()]
