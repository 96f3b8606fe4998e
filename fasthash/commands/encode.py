"""``fasthash encode``: packed codes of features, by a saved model."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from . import arguments, inputs
from .printing import Printer

__all__ = ["add_encoding", "declare", "run"]


def declare(commands: Any) -> None:
    """Describe the command and its options."""
    encode = arguments.add_command(
        commands,
        "encode",
        "compute the codes of features",
        "Compute packed codes of features with a saved model, or take those it learned for its "
        "training samples, and write them as a .npy file of uint8.",
        "fasthash encode --model emoji.model --modality image --learned --output image-codes.npy",
    )
    add_encoding(encode)
    encode.add_argument(
        "--learned", action="store_true", help="the codes learned for the training samples"
    )
    encode.add_argument(
        "--output", type=arguments.output_file, required=True, help="the .npy file to write"
    )
    encode.set_defaults(run=run)


def add_encoding(command: argparse.ArgumentParser) -> None:
    """Add the options that name features and the model that encodes them."""
    command.add_argument("--model", metavar="FILE", help="a model that 'fasthash fit' has written")
    command.add_argument("--modality", help="which modality of the model the features are of")
    command.add_argument(
        "--features", metavar="SOURCE", help="what to encode, such as feats.mat:I_te"
    )
    command.add_argument(
        "--columns", action="store_true", help="samples are the columns of --features"
    )


def run(options: argparse.Namespace, printer: Printer) -> None:
    """Encode, and write the codes."""
    from ..files import replacing

    if options.model is None:
        raise ValueError("--model is missing: name a file that 'fasthash fit' has written")
    if (options.features is None) != options.learned:
        raise ValueError("pass either --features SOURCE or --learned")
    model = inputs.load_model(options.model)
    modality = inputs.check_modality(model, options.modality)
    if options.learned:
        if modality is None:
            raise ValueError(f"--learned: {type(model).__name__} keeps no codes: use --features")
        codes = model.codes_[modality]
    else:
        x = inputs.read_model_features(options.features, model, modality, printer, options.columns)
        codes = inputs.encode(model, modality, x)
    with replacing(options.output) as file:
        np.save(file, codes, allow_pickle=False)
    n_bits = inputs.n_bits_of(model)
    printer.result(
        f"{options.output}: {len(codes)} codes of {n_bits} bits",
        {"output": str(options.output), "n": len(codes), "n_bits": n_bits},
    )
