"""``fasthash fit``: fit a model to feature files, and save it."""

from __future__ import annotations

import argparse
import time
from typing import Any

from . import arguments, inputs
from .clusters import add_cluster, check_fits_on_cluster, placing
from .outputs import OutputFile, add_force
from .printing import Printer

__all__ = ["declare", "run"]


def declare(commands: Any) -> None:
    """Describe the command and its options."""
    fit = arguments.add_command(
        commands,
        "fit",
        "learn codes from feature files",
        "Fit a model to features of two or more modalities, and save it. A source is PATH or "
        "PATH:NAME, and names an array in a .npy, .npz, .mat, HDF5, Parquet, Arrow or CSV file.",
        "fasthash fit --method AMSH --data emoji/emoji.npz --bits 64 --output emoji.model",
    )
    add_samples(fit)
    fit.add_argument(
        "--method",
        choices=inputs.METHODS,
        default="AMSH",
        help="AMSH, DCH and SCM learn from labels, the others from pairs alone (default: AMSH)",
    )
    fit.add_argument(
        "--bits", type=arguments.positive, default=64, help="length of the codes (default: 64)"
    )
    arguments.add_seed(fit, "all random numbers")
    arguments.add_parameters(fit, "NAME=VALUE", "the method", "n_anchors=500")
    fit.add_argument("--output", type=OutputFile("model"), help="the model file to write")
    fit.add_argument(
        "--updatable",
        action="store_true",
        help="also write what AMSH.partial_fit needs in Python, which makes the file of an AMSH "
        "model several times as large",
    )
    add_force(fit)
    add_cluster(fit, "read --features and fit --method AMSH, CCAITQ or RREH")
    arguments.add_config(fit)
    fit.set_defaults(run=run)


def add_samples(command: argparse.ArgumentParser) -> None:
    """Add the options that name the training samples."""
    samples = command.add_argument_group("training samples")
    samples.add_argument(
        "--data",
        metavar="FILE",
        help="a file with arrays such as I_tr, T_tr, L_tr, or XAll, YAll, LAll",
    )
    samples.add_argument(
        "--features",
        type=arguments.named_source,
        nargs="+",
        metavar="MODALITY=SOURCE",
        help="features by modality, as in image=feats.mat:I_tr text=text.npy",
    )
    samples.add_argument(
        "--labels",
        nargs="+",
        metavar="SOURCE",
        help="labels of all modalities, or MODALITY=SOURCE for each: class names, numbers or "
        "0/1 columns",
    )
    arguments.add_pairs(samples)
    arguments.add_columns(samples)


def run(options: argparse.Namespace, printer: Printer) -> None:
    """Fit and save a model, and print a summary."""
    from ..experiments import fit_model, learns_from

    began = time.perf_counter()
    if options.output is None:
        raise ValueError("--output is missing: name the model file to write")
    inputs.check_can_save()
    if options.cluster is not None:
        check_fits_on_cluster([options.method], "features", options)
    parameters = inputs.check_parameters(options.method, dict(options.set))
    model = inputs.method_of(options.method)(
        n_bits=options.bits, random_state=options.seed, **parameters
    )
    if options.labels and not learns_from(model, "labels"):
        raise ValueError(f"--labels: {options.method} learns only from pairs; leave it out")
    if options.pairs and not learns_from(model, "pairs"):
        raise ValueError(f"--pairs: {options.method} learns only from labels; leave it out")
    features, labels, pairs = inputs.read_samples(options, printer)
    if labels is None and learns_from(model, "labels"):
        missing = (
            "--labels is missing"
            if options.data is None
            else f"{options.data} has no labels, such as L_tr"
        )
        raise ValueError(
            f"{missing}: {options.method} learns from labels; RREH, CCAITQ and CLSR learn from "
            "pairs alone"
        )
    counts = {name: int(x.shape[0]) for name, x in features.items()}
    if pairs is None and len(set(counts.values())) > 1 and learns_from(model, "pairs"):
        raise ValueError(
            f"--pairs is missing: without it row i belongs to row i, and there are {counts} rows"
        )
    with printer.progress() as progress, placing(options.cluster) as place:
        given = place(options.features, features, options.columns)
        fit_model(model, given, labels=labels, pairs=pairs, callback=progress)
    model.save(options.output, updatable=options.updatable)

    seconds = time.perf_counter() - began
    shapes = {name: [int(length) for length in x.shape] for name, x in features.items()}
    learned = ", ".join(f"{n} {name} samples of {d} features" for name, (n, d) in shapes.items())
    printer.result(
        f"{options.output}: {options.method}, {options.bits} bits, learned from {learned}; "
        f"{seconds:.1f} s",
        {
            "output": str(options.output),
            "method": options.method,
            "n_bits": options.bits,
            "seed": options.seed,
            "parameters": parameters,
            "samples": shapes,
            "seconds": round(seconds, 3),
        },
    )
