"""A page that reports how well models rank, and shows statistics of their codes."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..datasets import Part
from ..hamming import topk
from ..metrics import average_precision, compare_paired, precision_at, precision_recall_curve
from ..metrics._relevance import check_problem
from ..metrics.statistics import (
    average_precision_by_label,
    bit_correlations,
    bit_means,
    distances_by_relevance,
)
from ..models import CrossModalHasher
from . import html as page
from .pictures import embedded

__all__ = ["Caption", "Ranking", "rank_all", "report_page"]

# Number of labels in the table by label; those with the most queries are listed.
_MOST_LABELS = 40

# Number of marks on a curve of precision at ranks, evenly spaced on a logarithmic scale.
_N_RANKS = 24


@dataclass(frozen=True)
class Caption:
    """
    The text and the picture that represent a sample.

    Attributes
    ----------
    text : str
    picture : Path or None
        A PNG, JPEG or GIF file.
    """

    text: str
    picture: Path | None = None


@dataclass(frozen=True, eq=False)
class Ranking:
    """
    Codes of a model in one direction: queries of one modality, a database of another.

    Attributes
    ----------
    model : str
        Name of the model.
    n_bits : int
    query, target : str
        Modalities.
    query_codes, codes : ndarray of uint8
    query_labels, labels : labels
    """

    model: str
    n_bits: int
    query: str
    target: str
    query_codes: NDArray[np.uint8]
    codes: NDArray[np.uint8]
    query_labels: Any
    labels: Any

    @property
    def problem(self) -> tuple[Any, Any, Any, Any]:
        """The four arguments of the functions of `fasthash.metrics`."""
        return self.query_codes, self.codes, self.query_labels, self.labels

    @property
    def direction(self) -> str:
        return f"{self.query} to {self.target}"


def rank_all(
    models: Mapping[str, CrossModalHasher], test: Part, database: Part | Mapping[str, Any]
) -> list[Ranking]:
    """
    Encode the queries and the database with every model, in all directions.

    Parameters
    ----------
    models : mapping of str to CrossModalHasher
        Fitted models by name.
    test : Part
        The queries.
    database : Part or mapping of str to labels
        The database, in the form of `fasthash.experiments.score_model`.

    Returns
    -------
    list of Ranking
        One for each model and direction.
    """
    rankings = []
    for called, model in models.items():
        names = [name for name in model.modalities_ if name in test.features]
        queries = {name: model.encode(test.features[name], name) for name in names}
        if isinstance(database, Part):
            codes = {name: model.encode(database.features[name], name) for name in names}
            labels = dict.fromkeys(names, database.labels)
        else:
            codes, labels = model.codes_, dict(database)
        n_bits = int(model.projections_[names[0]].shape[1])
        for query, target in itertools.permutations(names, 2):
            rankings.append(
                Ranking(
                    called,
                    n_bits,
                    query,
                    target,
                    queries[query],
                    codes[target],
                    test.labels,
                    labels[target],
                )
            )
    return rankings


def report_page(
    rankings: Sequence[Ranking],
    settings: Mapping[str, object],
    *,
    label_names: Sequence[str] | None = None,
    query_captions: Sequence[Caption] | None = None,
    captions: Sequence[Caption] | None = None,
    n_examples: int = 6,
    callback: Callable[[str, int, int], None] | None = None,
) -> str:
    """
    Render the report.

    Parameters
    ----------
    rankings : sequence of Ranking
        Rankings of one or more models. All are compared, and the first model is shown in detail.
    settings : mapping of str to object
        Settings of the measurement, shown at the end of the page.
    label_names : sequence of str, optional
        Names of the classes, by number.
    query_captions, captions : sequence of Caption, optional
        Captions of the queries and of the database, by row.
    n_examples : int, default 6
        Number of queries that are shown with their answers, evenly spaced among all queries.
    callback : callable, optional
        Called as ``callback(stage, done, total)`` after each section.

    Returns
    -------
    str
        A complete HTML document that loads no other files.

    Raises
    ------
    TypeError, ValueError
        If codes and labels do not fit together.
    """
    began = time.perf_counter()
    first = [one for one in rankings if one.model == rankings[0].model]
    sections: list[Callable[[], str]] = [
        lambda: _scores(rankings),
        lambda: _precision_recall(rankings),
        lambda: _precision_at_ranks(rankings),
        lambda: _by_label(first, label_names),
        lambda: "".join(_distances(one) for one in first),
        lambda: _bits(first),
        lambda: "".join(_examples(one, query_captions, captions, n_examples) for one in first),
        lambda: (
            "<h2>Settings</h2>\n"
            + page.table(
                None,
                [
                    *((name, str(value)) for name, value in settings.items()),
                    ("time to score and draw", f"{time.perf_counter() - began:.1f} s"),
                ],
            )
        ),
    ]
    body = [
        f"<h1>Retrieval with {escape(', '.join(dict.fromkeys(r.model for r in rankings)))}</h1>"
    ]
    for done, section in enumerate(sections, 1):
        body.append(section())
        if callback is not None:
            callback("report", done, len(sections))
    return page.document("fasthash report", "\n".join(body))


def _scores(rankings: Sequence[Ranking]) -> str:
    directions = list(dict.fromkeys(one.direction for one in rankings))
    rows: dict[tuple[str, int], dict[str, str]] = {}
    of_first: dict[str, NDArray[np.float64]] = {}
    less_first: dict[str, dict[str, str]] = {}
    for one in rankings:
        scores = average_precision(*one.problem, ties="expected")
        if one.model == rankings[0].model:
            of_first[one.direction] = scores
        elif one.direction in of_first and (~np.isnan(scores)).sum() > 1:
            found = compare_paired(scores, of_first[one.direction])
            less_first.setdefault(one.model, {})[one.direction] = (
                f"{found.difference:+.3f} ({found.low:+.3f} to {found.high:+.3f})"
            )
        mean = "none relevant" if np.isnan(scores).all() else f"{np.nanmean(scores):.3f}"
        rows.setdefault((one.model, one.n_bits), {})[one.direction] = mean
    cells = [
        [model, str(n_bits), *(found.get(direction, "") for direction in directions)]
        for (model, n_bits), found in rows.items()
    ]
    n_queries, n = len(rankings[0].query_codes), len(rankings[0].codes)
    return (
        "<h2>Mean average precision</h2>\n"
        f"<p>{n_queries} queries, {n} codes in the database. An item is relevant if it shares a "
        "label with the query. Ties count in expectation. Queries without relevant items are left "
        "out.</p>\n"
        + page.table(["model", "bits", *directions], cells)
        + _less_first(rankings[0].model, directions, less_first)
    )


def _less_first(first: str, directions: Sequence[str], found: dict[str, dict[str, str]]) -> str:
    """Make a table of the differences from the first model, if there are other models."""
    if not found:
        return ""
    cells = [
        [model, *(of_model.get(direction, "") for direction in directions)]
        for model, of_model in found.items()
    ]
    return (
        f"<p>Difference from {escape(first)}, and its 95 % interval by a paired bootstrap over the "
        "queries. It says nothing about the random numbers of a fit.</p>\n"
        + page.table(["model", *directions], cells)
    )


def _precision_recall(rankings: Sequence[Ranking]) -> str:
    def draw(axes: Any) -> None:
        for one, (dash, marker) in zip(rankings, itertools.cycle(page.DASHES_AND_MARKERS)):
            precision, recall, _ = precision_recall_curve(
                *one.problem, n_bits=one.n_bits, nothing_retrieved="skip"
            )
            axes.plot(recall, precision, dash, marker=marker, markersize=3.5, label=_called(one))
        axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1))
        axes.legend(framealpha=0)

    return (
        "<h2>Precision and recall within a Hamming radius</h2>\n<p>One marker per radius. A query "
        "that finds nothing within a radius is left out of the precision.</p>\n"
        + page.chart(draw, "precision over recall, a curve for each model and direction")
    )


def _precision_at_ranks(rankings: Sequence[Ranking]) -> str:
    def draw(axes: Any) -> None:
        for one, (dash, marker) in zip(rankings, itertools.cycle(page.DASHES_AND_MARKERS)):
            ranks = np.unique(np.geomspace(1, len(one.codes), _N_RANKS).astype(int))
            precision = precision_at(*one.problem, ranks=ranks, ties="expected")
            axes.plot(ranks, precision, dash, marker=marker, markersize=3.5, label=_called(one))
        axes.set(xlabel="N", ylabel="precision@N", xscale="log", ylim=(0, 1))
        axes.legend(framealpha=0)

    return "<h2>Precision among the first N</h2>\n" + page.chart(
        draw, "precision among the first N, a curve for each model and direction"
    )


def _by_label(rankings: Sequence[Ranking], label_names: Sequence[str] | None) -> str:
    columns: list[NDArray[np.float64]] = []
    names: NDArray[Any] = np.empty(0)
    counts: NDArray[Any] = np.empty(0)
    for one in rankings:
        scores = average_precision(*one.problem, ties="expected")
        names, counts, means = average_precision_by_label(scores, one.query_labels)
        columns.append(means)
    order = np.argsort(-counts, kind="stable")[:_MOST_LABELS]
    rows = [
        [
            _label_name(names[i], label_names),
            str(counts[i]),
            *("none" if np.isnan(means[i]) else f"{means[i]:.3f}" for means in columns),
        ]
        for i in order
    ]
    left_out = (
        f" The table shows the {len(order)} labels with the most queries, of {len(names)}."
        if len(order) < len(names)
        else ""
    )
    return (
        "<h2>By label</h2>\n<p>Mean average precision of the queries that have a label, by "
        f"{escape(rankings[0].model)}.{left_out}</p>\n"
        + page.table(["label", "queries", *(one.direction for one in rankings)], rows)
    )


def _label_name(label: Any, label_names: Sequence[str] | None) -> str:
    is_number = not isinstance(label, str)
    if label_names is not None and is_number and label < len(label_names):
        return str(label_names[label])
    return str(label)


def _distances(one: Ranking) -> str:
    relevant, other = distances_by_relevance(*one.problem, n_bits=one.n_bits)

    def draw(axes: Any) -> None:
        radii = np.arange(one.n_bits + 1)
        for counts, label, look in (
            (relevant, "relevant", {"hatch": "////", "fill": False}),
            (other, "others", {"fill": False, "linestyle": "--"}),
        ):
            share = counts / max(int(counts.sum()), 1)
            axes.stairs(share, np.append(radii, one.n_bits + 1) - 0.5, label=label, **look)
        axes.set(xlabel="Hamming distance", ylabel="share of the pairs")
        axes.legend(framealpha=0)

    title = f"Distances, {one.direction}"
    return (
        f"<h2>{escape(title)}</h2>\n<p>Distances of queries to relevant items (hatched) and to all "
        "other items (dashed): less overlap is better.</p>\n"
        + page.chart(draw, f"histograms of Hamming distances, {one.direction}", 2.6)
    )


def _bits(rankings: Sequence[Ranking]) -> str:
    parts = [
        "<h2>Bits</h2>\n<p>A bit carries most information if it is 1 in half of the codes, and if "
        "it is not correlated with other bits.</p>\n"
    ]
    for one in rankings:
        means, correlations = (
            bit_means(one.codes, one.n_bits),
            bit_correlations(one.codes, one.n_bits),
        )
        apart = np.abs(correlations[np.triu_indices(one.n_bits, 1)])

        def draw_means(axes: Any, means: NDArray[Any] = means) -> None:
            axes.stem(np.arange(len(means)), means, basefmt=" ", bottom=0.5)
            axes.set(xlabel="bit", ylabel="share of ones", ylim=(0, 1))

        def draw_apart(axes: Any, apart: NDArray[Any] = apart) -> None:
            axes.hist(apart, bins=np.linspace(0, 1, 26), fill=False, hatch="////")
            axes.set(xlabel="absolute correlation of two bits", ylabel="pairs of bits", xlim=(0, 1))

        parts.append(f"<h3>Database of {escape(one.target)} codes</h3>\n")
        parts.append(page.chart(draw_means, f"share of ones of every bit, {one.target}", 2.2))
        if len(apart):
            constant = int(((means == 0) | (means == 1)).sum())
            different = len(np.unique(one.codes, axis=0))
            parts.append(
                f"<p>{different} different codes of {len(one.codes)}; {constant} bits never change;"
                f" mean absolute correlation {apart.mean():.3f}.</p>\n"
            )
            parts.append(
                page.chart(draw_apart, f"absolute correlations of bits, {one.target}", 2.2)
            )
    return "".join(parts)


def _examples(
    one: Ranking,
    query_captions: Sequence[Caption] | None,
    captions: Sequence[Caption] | None,
    n_examples: int,
) -> str:
    if n_examples < 1:
        return ""
    n = len(one.query_codes)
    rows = np.unique(np.linspace(0, n - 1, min(n_examples, n)).astype(int))
    distances, ids = topk(one.query_codes[rows], one.codes, min(10, len(one.codes)))
    parts = [
        f"<h2>Examples, {escape(one.direction)}</h2>\n<p>Nearest first, with the Hamming distance. "
        "Answers that are not relevant have a dashed frame and no background.</p>\n"
    ]
    for row, found, apart in zip(rows.tolist(), ids, distances, strict=True):
        # The labels of the query and of its answers decide which answers are relevant.
        labels = _rows_of(one.query_labels, [row]), _rows_of(one.labels, found)
        both = check_problem(one.query_codes[[row]], one.codes[found], *labels, n_threads=1)
        is_relevant = ((both.database_labels @ both.query_labels.T).toarray() > 0)[:, 0].tolist()
        items = "".join(
            _item(captions, int(id_), str(distance), is_good)
            for id_, distance, is_good in zip(found, apart, is_relevant, strict=True)
        )
        title = f"query {row}"
        picture = ""
        if query_captions is not None and row < len(query_captions):
            title = query_captions[row].text
            # The picture of a text query would reveal the item that belongs to it.
            picture = "" if one.query == "text" else _picture(query_captions[row])
        parts.append(f'<h3>{picture} {escape(title)}</h3>\n<ul class="grid">{items}</ul>\n')
    return "".join(parts)


def _rows_of(labels: Any, rows: Any) -> Any:
    return labels[rows] if hasattr(labels, "shape") else np.asarray(labels)[rows]


def _item(captions: Sequence[Caption] | None, row: int, distance: str, is_relevant: bool) -> str:
    caption = captions[row] if captions is not None and row < len(captions) else Caption(str(row))
    kind = "" if is_relevant else ' class="other"'
    return f"<li{kind}>{_picture(caption)}{escape(caption.text)}<b>{distance}</b></li>"


def _picture(caption: Caption) -> str:
    return "" if caption.picture is None else embedded(caption.picture)


def _called(one: Ranking) -> str:
    return f"{one.model}, {one.direction}"
