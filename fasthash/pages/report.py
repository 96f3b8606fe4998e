"""A page that reports how well models rank, and shows statistics of their codes."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core.kept import KeptProperty
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
from .charts import TEXT_COLOUR, chart, draw_curves
from .pictures import EmbeddedPictures, PictureFiles
from .templates import render

__all__ = ["Captions", "Ranking", "rank_all", "report_page"]

# Number of labels in the table by label; those with the most queries are listed.
_MOST_LABELS = 40

# Number of points of a curve of precision at ranks, evenly spaced on a logarithmic scale.
_N_RANKS = 24


@dataclass(frozen=True)
class Captions:
    """
    The texts and pictures that represent samples, by row.

    Attributes
    ----------
    texts : sequence of str
    pictures : PictureFiles, optional
        PNG, JPEG, GIF or WebP files.
    """

    texts: Sequence[str]
    pictures: PictureFiles | None = None


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

    @KeptProperty
    def average_precisions(self) -> NDArray[np.float64]:
        """The average precision of each query, NaN without a relevant item."""
        return average_precision(*self.problem, ties="expected")

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
    query_captions: Captions | None = None,
    captions: Captions | None = None,
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
    query_captions, captions : Captions, optional
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
    pictures = EmbeddedPictures()
    sections: dict[str, Callable[[], Any]] = {
        "examples": lambda: [
            _examples(one, query_captions, captions, n_examples, pictures)
            for one in first
            if n_examples > 0
        ],
        "scores": lambda: _scores(rankings),
        "precision_recall": lambda: _by_direction(
            rankings, "precision over recall", _draw_precision_recall
        ),
        "precision_at_ranks": lambda: _by_direction(
            rankings, "precision among the first N", _draw_precision_at_ranks
        ),
        "by_label": lambda: _by_label(first, label_names),
        "distances": lambda: [_distances(one) for one in first],
        "bits": lambda: _bits(first),
    }
    content: dict[str, Any] = {}
    for done, (name, section) in enumerate(sections.items(), 1):
        content[name] = section()
        if callback is not None:
            callback("report", done, len(sections))
    seconds = f"{time.perf_counter() - began:.1f} s"
    return render(
        "report.html",
        models=list(dict.fromkeys(one.model for one in rankings)),
        n_queries=len(rankings[0].query_codes),
        n_codes=len(rankings[0].codes),
        settings={**settings, "time to score and draw": seconds},
        n_left_out=pictures.n_left_out,
        **content,
    )


def _scores(rankings: Sequence[Ranking]) -> dict[str, Any]:
    directions = list(dict.fromkeys(one.direction for one in rankings))
    rows: dict[tuple[str, int], dict[str, str]] = {}
    of_first: dict[str, NDArray[np.float64]] = {}
    less_first: dict[str, dict[str, str]] = {}
    for one in rankings:
        scores = one.average_precisions
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
        [model, n_bits, *(found.get(direction, "") for direction in directions)]
        for (model, n_bits), found in rows.items()
    ]
    differences = [
        [model, *(of_model.get(direction, "") for direction in directions)]
        for model, of_model in less_first.items()
    ]
    return {
        "header": ["model", "bits", *directions],
        "rows": cells,
        "differences_header": ["model", *directions],
        "differences": differences,
    }


def _by_direction(
    rankings: Sequence[Ranking], shows: str, draw: Callable[[Sequence[Ranking], Any], None]
) -> list[dict[str, Any]]:
    """Draw a chart for each direction, with a curve for each model."""
    groups: dict[str, list[Ranking]] = {}
    for one in rankings:
        groups.setdefault(one.direction, []).append(one)
    return [_figure(direction, shows, partial(draw, group)) for direction, group in groups.items()]


def _figure(caption: str, shows: str, draw: Callable[[Any], None]) -> dict[str, Any]:
    return {"caption": caption, "svg": chart(draw, f"{shows}, {caption}")}


def _draw_precision_recall(group: Sequence[Ranking], axes: Any) -> None:
    curves = []
    for one in group:
        precision, recall, _ = precision_recall_curve(
            *one.problem, n_bits=one.n_bits, nothing_retrieved="skip"
        )
        curves.append((one.model, recall, precision))
    draw_curves(axes, curves)
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02))


def _draw_precision_at_ranks(group: Sequence[Ranking], axes: Any) -> None:
    curves = []
    for one in group:
        ranks = np.unique(np.geomspace(1, len(one.codes), _N_RANKS).astype(int))
        curves.append((one.model, ranks, precision_at(*one.problem, ranks=ranks, ties="expected")))
    draw_curves(axes, curves)
    axes.set(xlabel="N", ylabel="precision@N", xscale="log", ylim=(0, 1.02))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.set_minor_formatter("")


def _by_label(rankings: Sequence[Ranking], label_names: Sequence[str] | None) -> dict[str, Any]:
    columns: list[NDArray[np.float64]] = []
    names: NDArray[Any] = np.empty(0)
    counts: NDArray[Any] = np.empty(0)
    for one in rankings:
        names, counts, means = average_precision_by_label(one.average_precisions, one.query_labels)
        columns.append(means)
    order = np.argsort(-counts, kind="stable")[:_MOST_LABELS]
    rows = [
        [
            _label_name(names[i], label_names),
            counts[i],
            *("none" if np.isnan(means[i]) else f"{means[i]:.3f}" for means in columns),
        ]
        for i in order
    ]
    header = ["label", "queries", *(one.direction for one in rankings)]
    return {"header": header, "rows": rows, "n_left_out": len(names) - len(order)}


def _label_name(label: Any, label_names: Sequence[str] | None) -> str:
    is_number = not isinstance(label, str)
    if label_names is not None and is_number and 0 <= label < len(label_names):
        return str(label_names[label])
    return str(label)


def _distances(one: Ranking) -> dict[str, Any]:
    relevant, other = distances_by_relevance(*one.problem, n_bits=one.n_bits)

    def draw(axes: Any) -> None:
        edges = np.arange(one.n_bits + 2) - 0.5
        for counts, label, look in (
            (relevant, "relevant", {"fill": True, "alpha": 0.45, "color": TEXT_COLOUR}),
            (other, "others", {"fill": False, "linestyle": "--"}),
        ):
            axes.stairs(counts / max(int(counts.sum()), 1), edges, label=label, **look)
        axes.set(xlabel="Hamming distance", ylabel="share of the pairs")
        axes.figure.legend(loc="outside lower center", ncols=2, frameon=False)

    return _figure(one.direction, "histograms of Hamming distances", draw)


def _bits(rankings: Sequence[Ranking]) -> dict[str, Any]:
    """Statistics of the codes of each database; several directions may share one."""
    charts, rows = [], []
    for one in {one.target: one for one in rankings}.values():
        means = bit_means(one.codes, one.n_bits)
        correlations = bit_correlations(one.codes, one.n_bits)
        apart = np.abs(correlations[np.triu_indices(one.n_bits, 1)])

        def draw_means(axes: Any, means: NDArray[Any] = means) -> None:
            edges = np.arange(len(means) + 1) - 0.5
            axes.stairs(means, edges, baseline=0.5, fill=True, alpha=0.45, color=TEXT_COLOUR)
            axes.set(xlabel="bit", ylabel="share of ones", ylim=(0, 1))

        def draw_apart(axes: Any, apart: NDArray[Any] = apart) -> None:
            counts, edges = np.histogram(apart, bins=np.linspace(0, 1, 26))
            axes.stairs(counts, edges, fill=True, alpha=0.45, color=TEXT_COLOUR)
            axes.set(xlabel="absolute correlation of two bits", ylabel="pairs of bits", xlim=(0, 1))

        charts.append(_figure(f"codes of {one.target}", "share of ones of every bit", draw_means))
        if len(apart):
            charts.append(
                _figure(f"codes of {one.target}", "absolute correlations of bits", draw_apart)
            )
        rows.append(
            [
                one.target,
                len(one.codes),
                len(np.unique(one.codes, axis=0)),
                int(((means == 0) | (means == 1)).sum()),
                f"{apart.mean():.3f}" if len(apart) else "",
            ]
        )
    header = ["codes of", "codes", "different", "bits that never change", "mean correlation"]
    return {"charts": charts, "header": header, "rows": rows}


def _examples(
    one: Ranking,
    query_captions: Captions | None,
    captions: Captions | None,
    n_examples: int,
    pictures: EmbeddedPictures,
) -> dict[str, Any]:
    n = len(one.query_codes)
    rows = np.unique(np.linspace(0, n - 1, min(n_examples, n)).astype(int))
    distances, ids = topk(one.query_codes[rows], one.codes, min(10, len(one.codes)))
    queries = []
    for row, found, apart in zip(rows.tolist(), ids, distances, strict=True):
        # The labels of the query and of its answers decide which answers are relevant.
        labels = _rows_of(one.query_labels, [row]), _rows_of(one.labels, found)
        both = check_problem(one.query_codes[[row]], one.codes[found], *labels, n_threads=1)
        is_relevant = ((both.database_labels @ both.query_labels.T).toarray() > 0)[:, 0].tolist()
        cards = []
        for id_, distance, is_good in zip(found.tolist(), apart, is_relevant, strict=True):
            cards.append(
                {
                    "name": _text(captions, id_, str(id_)),
                    "picture": pictures.embed(_picture(captions, id_)),
                    "distance": distance,
                    "is_relevant": is_good,
                }
            )
        # The picture of a text query would reveal the item that belongs to it.
        uri = "" if one.query == "text" else pictures.embed(_picture(query_captions, row))
        title = _text(query_captions, row, f"query {row}")
        queries.append({"title": title, "picture": uri, "cards": cards})
    return {"name": one.direction, "queries": queries}


def _rows_of(labels: Any, rows: Any) -> Any:
    return labels[rows] if hasattr(labels, "shape") else np.asarray(labels)[rows]


def _text(captions: Captions | None, row: int, otherwise: str) -> str:
    """Return the text of a row, or another one if it has none."""
    if captions is None or row >= len(captions.texts):
        return otherwise
    return captions.texts[row]


def _picture(captions: Captions | None, row: int) -> bytes:
    """Read the picture of a row; nothing if it has none."""
    if captions is None or captions.pictures is None:
        return b""
    return captions.pictures.content(row)
