"""``fasthash evaluate --partners``: how often saved models find the partner of a query.

The test samples of one modality are queries, and those of the other are the database. A model that
has latents (CLSR) is scored by its codes and by its latents.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from ..datasets.readers import read_numbers
from . import arguments, inputs
from .outputs import write_json
from .printing import Printer, format_table

__all__ = ["add_partners", "score_partners"]


def add_partners(group: Any) -> None:
    """Add the options of this module."""
    group.add_argument(
        "--partners",
        type=arguments.positive,
        nargs="+",
        metavar="K",
        help="with --models and --test of two modalities, without labels: the share of queries "
        "that find their partner among the first K test samples of the other modality",
    )
    group.add_argument(
        "--test-pairs",
        metavar="SOURCE",
        help="with --partners, row numbers of --test that belong together, a column per modality; "
        "a row may have several partners (default: row i belongs to row i)",
    )


def score_partners(options: argparse.Namespace, printer: Printer) -> None:
    """
    Score models, and print a table.

    Raises
    ------
    OSError, ValueError, ImportError
        If options do not go together, or a file cannot be read or does not fit.
    """
    from ..metrics import retrieval_scores

    began = time.perf_counter()
    if not options.models or options.test is None or options.data or options.train:
        raise ValueError("--partners goes with --models and --test, as in image=FILE text=FILE")
    sources = inputs.named("--test", options.test)
    if len(sources) != 2:
        raise ValueError(f"--partners needs --test of two modalities, got {', '.join(sources)}")
    x = {name: read_numbers(source) for name, source in sources.items()}
    pairs = None if options.test_pairs is None else inputs.read_pairs(options.test_pairs, printer)
    found: list[dict[str, Any]] = []
    for path in options.models:
        model = inputs.load_model(path)
        for name in x:
            inputs.check_modality(model, name)
        kinds = {"codes": {name: inputs.encode(model, name, v) for name, v in x.items()}}
        if inputs.has_latents(model):
            kinds["latents"] = {name: model.transform(v, name) for name, v in x.items()}
        for kind, samples in kinds.items():
            scores = retrieval_scores(samples, pairs, ranks=sorted(set(options.partners)))
            for (query, target), score in scores.items():
                found.append(
                    {
                        "model": Path(path).name,
                        "compared": kind,
                        "query": query,
                        "database": target,
                        "recall": {str(k): float(r) for k, r in score.recall.items()},
                        "median_rank": float(score.median_rank),
                    }
                )
    content = {
        "samples": {name: int(v.shape[0]) for name, v in x.items()},
        "scores": found,
        "seconds": round(time.perf_counter() - began, 3),
    }
    if options.output is not None:
        write_json(options.output, content)
    if printer.as_json:
        print(json.dumps(content))
        return
    ranks = list(found[0]["recall"])
    table = [["model", "compared", "direction", *(f"R@{k}" for k in ranks), "median rank"]]
    for one in found:
        cells = [f"{one['recall'][k]:.3f}" for k in ranks]
        direction = f"{one['query']}→{one['database']}"
        table.append([one["model"], one["compared"], direction, *cells, f"{one['median_rank']:g}"])
    printer.note("share of queries that find their partner; equal distances in any order")
    print(format_table(table))
