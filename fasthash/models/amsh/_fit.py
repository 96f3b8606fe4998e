"""One fit of AMSH from features to hash functions, for one code length or several.

The stages are feature maps, codes (length by length) and hash functions (modality by modality, all
lengths at once). Each sweep stores its result by one assignment. So an interrupted fit can continue
from the last complete sweep, and gives the same result as without the interruption.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy import linalg
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from ..._core.cluster import map_rows
from ..._core.features import FeatureMap, MappedRows, centring_map, rbf_map
from ..._core.rows import Rows
from ..._core.workers import Executor, Workers
from .._preprocessing import Preprocessing
from .._progress import Report
from .._saving import check_shape
from . import _codes as amsh_codes
from ._code_parts import draw_part
from ._code_rules import CodeRule, code_rules
from ._codes import ModalityState
from ._hash_functions import (
    Hashing,
    Regression,
    SweepRule,
    feature_gram,
    first_sweep,
    next_sweep,
)
from ._settings import Settings

__all__ = ["AmshFit", "LearnedCodes", "PartialFitState", "interrupted_fit"]

# Memory for mapped features, which then need not be mapped again in every sweep.
_KEPT_BYTES = 1 << 29

# Number of samples from which means and the first hash functions are estimated.
_SAMPLE_ROWS = 16384

# Codes have converged if a sweep changes at most this share of their bits, times the tolerance.
_CONVERGED_SHARE = 1e-2


@dataclass(frozen=True)
class LearnedCodes:
    """
    The result of the first step for one code length.

    Attributes
    ----------
    packed : dict of str to ndarray of uint8
        Packed codes per modality.
    rules : dict of str to CodeRule
        Per modality, the rule that computes codes of new samples from their labels.
    objective : list of float
        The objective after every sweep.
    """

    packed: dict[str, NDArray[np.uint8]]
    rules: dict[str, CodeRule]
    objective: list[float]


@dataclass(frozen=True)
class _CodesInProgress:
    """The state of the first step for one code length, between two sweeps."""

    n_bits: int
    modalities: list[ModalityState]
    objective: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class PartialFitState:
    """What `partial_fit` needs per modality: the rule for codes, the regression for F, and XᵀX."""

    rule: CodeRule
    regression: Regression
    gram: NDArray[np.float64]

    def check(self, n_out: int, n_bits: int, n_classes: int) -> None:
        """
        Check the shapes of all parts, which may come from a file.

        Raises
        ------
        ValueError
            If a shape does not fit; kernels trust the shapes.
        """
        rule, regression = self.rule, self.regression
        check_shape(rule.p, "p", (n_bits, n_classes))
        for votes in (rule.z_votes, rule.b_votes):
            check_shape(votes, "votes", (n_classes, n_bits))
        check_shape(rule.whitening.mean, "mean", (n_bits,))
        check_shape(rule.whitening.matrix, "matrix", (n_bits, n_bits))
        check_shape(regression.projection, "projection", (n_out, n_bits))
        check_shape(regression.moments, "moments", (n_out, n_bits))
        check_shape(self.gram, "gram", (n_out, n_out))
        if not isinstance(rule.eta, float):
            raise ValueError("eta must be a number")


class AmshFit:
    """
    The state of a fit.

    Parameters
    ----------
    settings : Settings
    labels : dict of str to LabelRows, or to `ClusterLabels`
    classes : ndarray or int
        The classes of the columns of the labels, or their number.
    shapes : dict of str to (shape, dtype)
        Shape and dtype of the features of each modality.
    preprocessing : dict of str to Preprocessing
        For each modality that has one. The features that `run` gets are preprocessed already.
    random_state : int, RandomState or None
        As the estimator got it.

    Attributes
    ----------
    feature_maps : dict of str to FeatureMap
    learned : dict of int to LearnedCodes
        Codes per code length.
    hashing : dict of str to Hashing
        Hash functions per modality.
    """

    def __init__(
        self,
        settings: Settings,
        labels: dict[str, Any],
        classes: NDArray[Any] | int,
        shapes: dict[str, Any],
        preprocessing: dict[str, Preprocessing],
        random_state: Any,
    ) -> None:
        self.settings, self.labels = settings, labels
        self.classes, self.shapes = classes, shapes
        self.preprocessing = preprocessing
        self._given_random_state = random_state
        self._random_state = check_random_state(random_state)
        self._samples: dict[str, NDArray[np.int64] | None] = {}
        self._grams: dict[str, NDArray[np.float64]] = {}
        # States of the generator before each modality's draws, and after the last.
        self._random_states: dict[str | None, Any] = {}
        self._in_progress: _CodesInProgress | None = None
        self.feature_maps: dict[str, FeatureMap] = {}
        self.learned: dict[int, LearnedCodes] = {}
        self.hashing: dict[str, Hashing] = {}

    def run(self, x: dict[str, Rows], executor: Executor, report: Report) -> None:
        """Run all stages that are not complete."""
        with executor as workers:
            for name in x:
                if name not in self.feature_maps:
                    self._map_features(name, x[name], workers)
                    report("features", len(self.feature_maps), len(x))
            self._random_states.setdefault(None, self._random_state.get_state())
            for n_bits in self.settings.lengths:
                if n_bits not in self.learned:
                    self._learn_codes(n_bits, x, workers, report)
            for name in x:
                if name not in self.hashing or not self.hashing[name].finished:
                    self._learn_hash_functions(name, x[name], workers, report)

    def matches(self, other: AmshFit) -> bool:
        """Tell whether another fit was asked for with the same parameters, shapes and labels."""
        return (
            self.settings.is_equal(other.settings)
            and self.shapes == other.shapes
            and np.array_equal(self.classes, other.classes)
            and all(self.labels[name].is_equal(other.labels[name]) for name in self.labels)
        )

    def states(self, place: int) -> dict[str, PartialFitState]:
        """Return what `partial_fit` needs for the model of one code length, per modality."""
        rules = self.learned[self.settings.lengths[place]].rules
        return {
            name: PartialFitState(rules[name], hashing.regressions[place], hashing.gram)
            for name, hashing in self.hashing.items()
        }

    def _map_features(self, name: str, x: Rows, workers: Executor) -> None:
        n_anchors = self.settings.n_anchors[name]
        anchors = sample = None
        self._restore_random_state(name)
        if n_anchors is not None:
            anchors = x.take(np.sort(self._random_state.permutation(len(x))[:n_anchors]))
        if len(x) > _SAMPLE_ROWS:
            sample = np.sort(self._random_state.permutation(len(x))[:_SAMPLE_ROWS])
        rows = x if sample is None else x.subset(sample)
        if anchors is None:
            feature_map = centring_map(rows)
        else:
            feature_map = rbf_map(rows, anchors, self.settings.width, workers)
        self._samples[name], self.feature_maps[name] = sample, feature_map

    def _restore_random_state(self, moment: str | None) -> None:
        """Restore the state of the generator at this moment, or record it the first time."""
        if moment in self._random_states:
            self._random_state.set_state(self._random_states[moment])
        else:
            self._random_states[moment] = self._random_state.get_state()

    def _learn_codes(
        self, n_bits: int, x: dict[str, Rows], workers: Executor, report: Report
    ) -> None:
        settings = self.settings
        stage = "codes" if len(settings.lengths) == 1 else f"codes of {n_bits} bits"
        if self._in_progress is None or self._in_progress.n_bits != n_bits:
            # Every length starts from the same random state as a fit of only this length.
            self._restore_random_state(None)
            dtype = np.result_type(*(rows.dtype for rows in x.values()))
            starts = [self._start(name, n_bits, dtype, x[name], workers) for name in x]
            self._in_progress = _CodesInProgress(
                n_bits, [amsh_codes.start_codes(parts, workers) for parts in starts]
            )
        modalities, objective = self._in_progress.modalities, self._in_progress.objective

        def sweep() -> None:
            objective.append(
                amsh_codes.sweep(modalities, settings.weights, self._random_state, workers)
            )

        while not self._has_converged(self._in_progress):
            workers.finish(sweep)
            report(stage, len(objective), settings.n_sweeps)
        self.learned[n_bits] = LearnedCodes(
            {
                name: workers.rows_of(m.parts, "packed")
                for name, m in zip(x, modalities, strict=True)
            },
            dict(zip(x, code_rules(modalities, settings.weights), strict=True)),
            objective,
        )
        self._in_progress = None

    def _has_converged(self, codes: _CodesInProgress) -> bool:
        """Whether all sweeps are done, or the last one changed so few bits that none is needed."""
        settings, n_done = self.settings, len(codes.objective)
        n_values = sum(m.n * m.r for m in codes.modalities)
        n_changed = sum(m.n_changed for m in codes.modalities)
        few = settings.tol > 0 and n_changed <= _CONVERGED_SHARE * settings.tol * n_values
        return n_done >= settings.n_sweeps or (n_done > 0 and few)

    def _start(self, name: str, n_bits: int, dtype: Any, x: Rows, workers: Executor) -> list[Any]:
        """Make parts with initial latents: given, random, or components of mapped features."""
        parts = self.labels[name].parts()
        if isinstance(self.settings.init, dict):
            parts[0].v = np.array(self.settings.init[name], dtype, order="C")
            return parts
        if self.settings.init == "random":
            seed = self._random_state.randint(2**32, size=4, dtype=np.uint32)
            workers.change(draw_part, parts, seed, n_bits, dtype)
        else:
            parts[0].v = self._principal_components(name, n_bits, dtype, x, workers.local)
        amsh_codes.orthogonalise(parts, self._random_state, workers)
        return parts

    def _principal_components(
        self, name: str, n_bits: int, dtype: Any, x: Rows, workers: Workers
    ) -> NDArray[np.floating]:
        """Project on the first principal components; columns beyond the rank are zero."""
        mapped = self._mapped(name, x)
        if name not in self._grams:
            self._grams[name] = feature_gram(mapped, workers)
        n_found = min(n_bits, mapped.n_columns)
        _, vectors = linalg.eigh(self._grams[name])
        components = vectors[:, ::-1][:, :n_found].astype(x.dtype)
        scores = np.zeros((len(x), n_bits), dtype)

        def project(blocks: Any) -> None:
            for rows in blocks:
                scores[rows, :n_found] = mapped[rows] @ components

        for _ in workers.map(project, mapped.blocks):
            pass
        return scores

    def _learn_hash_functions(self, name: str, x: Rows, workers: Executor, report: Report) -> None:
        settings = self.settings
        mapped = self._mapped(name, x)
        codes = [self.learned[n_bits].packed[name] for n_bits in settings.lengths]
        rule = SweepRule(settings.ridge, settings.n_sweeps, settings.tol)

        def progress(sweep: int) -> Callable[[int], None]:
            return lambda done: report(f"hash functions of {name}, {sweep}", done, len(x))

        if name not in self.hashing:
            starts: list[Any] = list(settings.lengths)
            if self._samples[name] is not None and not mapped.keeps_all() and settings.tol > 0:
                starts = self._start_from_sample(name, x, codes, rule, workers)
            gram = self._grams.get(name)
            self.hashing[name] = first_sweep(
                mapped, codes, starts, gram, rule, workers, progress(1)
            )
        while not self.hashing[name].finished:
            sweep = self.hashing[name].n_sweeps + 1
            self.hashing[name] = next_sweep(
                mapped, codes, self.hashing[name], rule, workers, progress(sweep)
            )

    def _start_from_sample(
        self, name: str, x: Rows, codes: list[NDArray[Any]], rule: SweepRule, workers: Executor
    ) -> list[NDArray[np.float64]]:
        """Learn hash functions from a sample of the rows: close to those of all rows."""
        sample = self._samples[name]
        assert sample is not None
        few = self._mapped(name, x.subset(sample))
        few_codes = [packed[sample] for packed in codes]
        starts = list(self.settings.lengths)
        hashing = first_sweep(few, few_codes, starts, None, rule, workers)
        while not hashing.finished:
            hashing = next_sweep(few, few_codes, hashing, rule, workers)
        return [regression.projection for regression in hashing.regressions]

    def _mapped(self, name: str, x: Rows) -> MappedRows:
        return map_rows(x, self.feature_maps[name], _KEPT_BYTES)


def interrupted_fit(unfinished: AmshFit | None, asked: AmshFit) -> AmshFit:
    """
    Return the fit that was interrupted, to continue it.

    Raises
    ------
    ValueError
        If there is none, or it was asked for with other parameters, features or labels, or with
        another random state.
    """
    if unfinished is None:
        raise ValueError("resume=True, but no fit of this model was interrupted")
    if not unfinished.matches(asked):
        raise ValueError(
            "resume=True, but parameters, features or labels are not those of the fit that was "
            "interrupted: pass the same, or fit anew without resume"
        )
    # The generator of the interrupted fit goes on, so another one would have no effect.
    before, now = unfinished._given_random_state, asked._given_random_state
    if before != now:
        raise ValueError(
            f"resume=True, but random_state is {now!r}, and that of the fit that was interrupted "
            f"is {before!r}: pass the same, or fit anew without resume"
        )
    return unfinished
