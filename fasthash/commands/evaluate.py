"""``fasthash evaluate``: score methods for several code lengths and seeds in one table."""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import arguments, inputs
from .clusters import add_cluster, check_fits_on_cluster, placing
from .outputs import OutputFile, add_force, write_json
from .partners import add_partners, score_partners
from .printing import Printer, format_table

if TYPE_CHECKING:
    from ..datasets import Part
    from ..experiments import Difference, Score, Summary
    from ..metrics import PairedComparison

__all__ = ["add_samples", "declare", "load_models", "read_parts", "run"]


def declare(commands: Any) -> None:
    """Describe the command and its options."""
    evaluate = arguments.add_command(
        commands,
        "evaluate",
        "score methods or models on held-out queries",
        "Fit methods for several code lengths and seeds, or load saved models, and score them. "
        "Queries are the test samples of one modality. The database is the codes learned for the "
        "training samples of another modality. An item is relevant if it shares a label with the "
        "query.",
        "fasthash evaluate --data emoji/emoji.npz --methods AMSH CCAITQ --bits 16 32 --seeds 2",
    )
    add_samples(evaluate)
    what = evaluate.add_argument_group("what is scored")
    what.add_argument(
        "--test-share",
        type=float,
        default=0.1,
        metavar="SHARE",
        help="share of test samples, drawn at random for each seed, if the data have no split, "
        "such as XAll, or --train without --test (default: 0.1)",
    )
    what.add_argument(
        "--methods", nargs="+", choices=inputs.METHODS, help="methods to fit (default: AMSH)"
    )
    what.add_argument("--models", nargs="+", metavar="FILE", help="saved models instead")
    what.add_argument(
        "--bits",
        type=arguments.positive,
        nargs="+",
        default=[16, 32, 64],
        help="code lengths (default: 16 32 64)",
    )
    what.add_argument(
        "--seeds",
        type=arguments.positive,
        default=3,
        help="number of runs, with seeds from 0, for mean and standard deviation (default: 3)",
    )
    arguments.add_parameters(what, "METHOD.NAME=VALUE", "the methods", "AMSH.n_anchors=500")
    what.add_argument(
        "--pairs",
        choices=("all", "keep", "missing"),
        default="all",
        help="which pairs are known to methods that learn from pairs: all of them; or the share "
        "--share, while the other samples are kept unpaired (keep) or lack one modality (missing) "
        "(default: all)",
    )
    what.add_argument(
        "--share", type=float, default=0.1, help="share of the pairs that are known (default: 0.1)"
    )
    what.add_argument(
        "--metrics",
        nargs="+",
        default=["map"],
        help="what to measure: map, map@N, map@R, map@H2 (within Hamming radius 2), precision@N, "
        "recall@N, r-precision; for several labels ndcg@N, acg@N, wap; see docs/metrics.md "
        "(default: map)",
    )
    what.add_argument(
        "--ties",
        choices=("expected", "database"),
        default="expected",
        help="how equal distances count, see docs/metrics.md (default: expected)",
    )
    what.add_argument(
        "--against",
        metavar="METHOD",
        help="also compare the others with this method or model file: the mean difference, and its "
        "95%% interval by a paired bootstrap over queries",
    )
    add_partners(evaluate.add_argument_group("partners"))
    evaluate.add_argument(
        "--output", type=OutputFile("json"), help="write every score to this JSON file as well"
    )
    add_force(evaluate)
    add_cluster(
        evaluate,
        "read --train and fit --methods AMSH, CCAITQ or RREH, or read, encode and rank "
        "--database with --models,",
    )
    arguments.add_config(evaluate)
    evaluate.set_defaults(run=run)


def add_samples(command: argparse.ArgumentParser) -> None:
    """Add the options that name samples to learn from, to query with and to search."""
    samples = command.add_argument_group("samples")
    samples.add_argument(
        "--data",
        metavar="FILE",
        help="a file with arrays such as I_tr, T_tr, L_tr, I_te, T_te, L_te, or XAll, YAll, LAll",
    )
    for part in ("train", "test", "database"):
        samples.add_argument(
            f"--{part}",
            type=arguments.named_source,
            nargs="+",
            metavar="MODALITY=SOURCE",
            help={
                "train": "features to learn from; row i of one modality belongs to row i of others",
                "test": "features of the queries",
                "database": "features of the database (default: the training samples)",
            }[part],
        )
        samples.add_argument(f"--{part}-labels", metavar="SOURCE", help=f"labels of --{part}")


def run(options: argparse.Namespace, printer: Printer) -> None:
    """Fit models or load them, score them, and print one table."""
    from ..experiments import Metric, differences, summarise

    if options.partners is not None:
        score_partners(options, printer)
        return
    if options.test_pairs is not None:
        raise ValueError("--test-pairs goes with --partners")
    began = time.perf_counter()
    metrics = [Metric.parse(text) for text in options.metrics]
    if options.models and options.methods:
        raise ValueError("pass either --methods to fit, or --models with saved models")
    methods = [] if options.models else options.methods or ["AMSH"]
    if options.cluster is not None:
        check_fits_on_cluster(methods, "train" if methods else "database", options)
    parameters = _parameters_by_method(methods, options.set)
    names = methods or [Path(path).name for path in options.models]
    if options.against is not None and options.against not in names:
        raise ValueError(
            f"--against must be one of the methods or models that are compared, "
            f"{', '.join(names)}, got {options.against}"
        )
    if options.against is not None and len(set(names)) < 2:
        raise ValueError(f"--against {options.against}: there is no other to compare with it")
    parts = read_parts(options, printer)
    if methods:
        _check_that_labels_are_given(parts)
    with printer.progress() as progress, placing(options.cluster) as place:
        if options.models:
            scores = _score_models(options, parts, metrics, place)
        else:
            scores = _compare(options, parameters, parts, metrics, place, progress)
    summaries = summarise(scores)
    compared = []
    if options.against is not None:
        # A random split has other queries for each seed.
        compared = differences(scores, against=options.against, same_queries="all" not in parts)
    content = {
        "settings": {
            "samples": {name: len(part) for name, part in parts.items()},
            "parameters": parameters,
            "seeds": None if options.models else list(range(options.seeds)),
            "pairs": options.pairs if options.pairs == "all" else [options.pairs, options.share],
            "ties": options.ties,
        },
        "scores": [_without_queries(score) for score in scores],
        "table": [dataclasses.asdict(summary) for summary in summaries],
        "differences": [dataclasses.asdict(one) for one in compared],
        "seconds": round(time.perf_counter() - began, 3),
    }
    if options.output is not None:
        write_json(options.output, content)
    if printer.as_json:
        print(json.dumps(content))
        return
    # A single seed has no standard deviation.
    has_spread = not options.models and options.seeds > 1
    printer.note(
        _numbers_of_samples(parts, options.test_share)
        + (f"; mean ± standard deviation of {options.seeds} seeds" if has_spread else "")
        + f"; ties: {options.ties}"
    )
    print(format_table(_table((one, _summary_cell(one, has_spread)) for one in summaries)))
    if compared:
        printer.note(f"less {options.against}; 95 % interval by a paired bootstrap over queries")
        print(format_table(_table((one, _difference_cell(one.comparison)) for one in compared)))
    elif options.against is not None:
        printer.note(f"no other model has codes as long as {options.against}: nothing is compared")


def _without_queries(score: Score) -> dict[str, Any]:
    fields = dataclasses.asdict(score)
    del fields["by_query"]
    return fields


def _parameters_by_method(
    methods: list[str], settings: list[tuple[str, Any]]
) -> dict[str, dict[str, Any]]:
    parameters: dict[str, dict[str, Any]] = {method: {} for method in methods}
    for name, value in settings:
        method, dot, own = name.partition(".")
        if not dot or method not in parameters:
            raise ValueError(
                f"--set {name}: name the method of the parameter, as in "
                f"{methods[0] if methods else 'AMSH'}.{own or name}=…; the methods are "
                f"{', '.join(methods) or 'none'}"
            )
        parameters[method][own] = value
    return {name: inputs.check_parameters(name, given) for name, given in parameters.items()}


def read_parts(options: argparse.Namespace, printer: Printer) -> dict[str, Part]:
    """
    Read samples by part: "train", "test" and perhaps "database", or "all" if methods are fitted.

    Raises
    ------
    OSError, ValueError, ImportError
        If a file cannot be read, or a part is missing.
    """
    if (options.data is None) == (options.train is None):
        raise ValueError("pass either --data FILE, or --train and --test with labels for each")
    if options.data is None:
        if options.test is None:
            return {"all": _part_to_split(options, printer)}
        parts = {}
        for part in ("train", "test", "database"):
            sources = getattr(options, part)
            if sources is not None:
                labels = getattr(options, f"{part}_labels")
                parts[part] = inputs.read_part(f"--{part}", sources, labels, printer)
    else:
        parts = inputs.read_data(options.data)
    if "train" in parts and "test" in parts:
        return parts
    if set(parts) == {"all"} and not options.models:
        return parts
    raise ValueError(
        f"{options.data} has {' and '.join(parts)} samples, and train and test are needed"
    )


def _check_that_labels_are_given(parts: dict[str, Part]) -> None:
    for name, part in parts.items():
        if part.labels is None:
            array = {"test": "L_te", "all": "LAll"}.get(name, "L_tr")
            option = "--train-labels" if name == "all" else f"--{name}-labels"
            samples = "the samples" if name == "all" else f"the {name} samples"
            raise ValueError(
                f"{samples} have no labels, which decide what is relevant: add an array such as "
                f"{array} to --data, or use {option}"
            )


def _numbers_of_samples(parts: dict[str, Part], test_share: float) -> str:
    if "all" in parts:
        return (
            f"{len(parts['all'])} samples, of which each seed draws the share {test_share:g} to "
            "test with"
        )
    return ", ".join(f"{len(part)} {name} samples" for name, part in parts.items())


def _part_to_split(options: argparse.Namespace, printer: Printer) -> Part:
    """Read the samples of --train, from which each seed draws queries because --test is missing."""
    if options.models:
        raise ValueError("--test is missing: saved models are scored on queries they have not seen")
    for option in ("test_labels", "database", "database_labels"):
        if getattr(options, option) is not None:
            raise ValueError(f"--{option.replace('_', '-')} goes with --test")
    return inputs.read_part("--train", options.train, options.train_labels, printer)


def _compare(
    options: argparse.Namespace,
    parameters: dict[str, dict[str, Any]],
    parts: dict[str, Part],
    metrics: list[Any],
    place: Callable[..., dict[str, Any]],
    progress: Any,
) -> list[Score]:
    from ..experiments import compare

    models = {name: inputs.method_of(name)(**given) for name, given in parameters.items()}
    sources = {"train": options.train, "all": options.train, "database": options.database}
    placed = {
        name: dataclasses.replace(part, features=place(sources[name], part.features))
        for name, part in parts.items()
        if name in sources
    }
    scores = []
    # Each seed has its own random split.
    for seed in range(options.seeds) if "all" in parts else [None]:
        train, test = _split(parts, placed, options.test_share, seed)
        scores += compare(
            models,
            train,
            test,
            n_bits=options.bits,
            seeds=range(options.seeds) if seed is None else [seed],
            metrics=metrics,
            database=placed.get("database"),
            pairs=options.pairs,
            share=options.share,
            ties=options.ties,
            callback=progress,
        )
    return scores


def _split(
    parts: dict[str, Part], placed: dict[str, Part], share: float, seed: int | None
) -> tuple[Part, Part]:
    """Return training samples, where models are fitted, and test samples, in this process."""
    if seed is None:
        return placed["train"], parts["test"]
    if not 0 < share < 1:
        raise ValueError(f"--test-share must be more than 0 and less than 1, got {share}")
    from .._core.validation import take_rows
    from ..datasets import Part, validation_split

    learned, held_out = validation_split(len(parts["all"]), share, random_state=seed)
    train, test = (
        Part(
            {name: take_rows(x, name, rows) for name, x in part.features.items()},
            None if part.labels is None else part.labels[rows],
        )
        for part, rows in ((placed["all"], learned), (parts["all"], held_out))
    )
    return train, test


def load_models(
    paths: list[str], parts: dict[str, Part]
) -> tuple[dict[str, Any], Part | dict[str, Any]]:
    """
    Load models, by their file names, and return them with the database that they search.

    Raises
    ------
    OSError, ValueError, ImportError
        If a file cannot be read, holds no model of several modalities, or does not fit the samples.
    """
    database: Any = parts.get("database")
    searched = "train" if database is None else "database"
    _check_that_labels_are_given({"test": parts["test"], searched: parts[searched]})
    models = {}
    for path in paths:
        model = inputs.load_model(path)
        if not hasattr(model, "modalities_"):
            raise ValueError(f"{path} holds {type(model).__name__}, which knows one modality only")
        if Path(path).name in models:
            raise ValueError(f"--models names {Path(path).name} twice: rename one of them")
        models[Path(path).name] = model
        missing = set(model.modalities_) - set(parts["test"].features)
        if len(model.modalities_) - len(missing) < 2:
            raise ValueError(
                f"{path} knows {', '.join(model.modalities_)}, and test has "
                f"{', '.join(parts['test'].features)}: two of them are needed"
            )
        for name in model.modalities_ if database is None else ():
            if len(model.codes_[name]) != len(parts["train"]):
                raise ValueError(
                    f"{path} has learned from {len(model.codes_[name])} {name} samples, and there "
                    f"are {len(parts['train'])} training samples: pass --database to search others"
                )
    if database is None:
        names = {name for model in models.values() for name in model.modalities_}
        return models, dict.fromkeys(sorted(names), parts["train"].labels)
    return models, database


def _score_models(
    options: argparse.Namespace,
    parts: dict[str, Part],
    metrics: list[Any],
    place: Callable[..., dict[str, Any]],
) -> list[Score]:
    from ..datasets import Part
    from ..experiments import Score, score_model

    models, searched = load_models(options.models, parts)
    if isinstance(searched, Part):
        searched = dataclasses.replace(
            searched, features=place(options.database, searched.features)
        )
    return [
        Score(called, inputs.n_bits_of(model), None, *found)
        for called, model in models.items()
        for found in score_model(model, parts["test"], searched, metrics, ties=options.ties)
    ]


def _table(cells: Iterable[tuple[Summary | Difference, str]]) -> list[list[str]]:
    """Make one row for each method and length, with one column for each direction and metric."""
    rows: dict[tuple[str, int], dict[tuple[str, str, str], str]] = {}
    for one, cell in cells:
        row = rows.setdefault((one.method, one.n_bits), {})
        row[one.query, one.database, one.metric] = cell
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    return [
        ["method", "bits", *(f"{query}→{target} {m}" for query, target, m in columns)],
        *(
            [method, str(n_bits), *(row.get(column, "") for column in columns)]
            for (method, n_bits), row in sorted(rows.items(), key=lambda row: row[0][0])
        ),
    ]


def _summary_cell(summary: Summary, has_spread: bool) -> str:
    return f"{summary.mean:.3f} ± {summary.std:.3f}" if has_spread else f"{summary.mean:.3f}"


def _difference_cell(found: PairedComparison) -> str:
    return f"{found.difference:+.3f} ({found.low:+.3f} to {found.high:+.3f})"
