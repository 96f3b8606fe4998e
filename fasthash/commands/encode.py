"""``fasthash encode``: packed codes of features, by a saved model."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..datasets.readers import read_numbers
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
        "--method",
        choices=("sign", "itq"),
        help="code embeddings without a model: their signs, or ITQ, which is fitted to them",
    )
    encode.add_argument(
        "--bits",
        type=arguments.positive,
        help="with --method, the length of the codes (default: a bit for every feature)",
    )
    encode.add_argument(
        "--seed", type=arguments.whole, default=0, help="of --method itq (default: 0)"
    )
    encode.add_argument(
        "--save-model",
        type=arguments.output_file,
        metavar="FILE",
        help="write the model of --method itq, which queries are then encoded with",
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
    if options.method is not None:
        _encode_embeddings(options, printer)
        return
    if options.save_model is not None or options.bits is not None:
        raise ValueError("--bits and --save-model go with --method")
    if options.model is None:
        raise ValueError(
            "--model is missing: name a file that 'fasthash fit' has written, or pass --method"
        )
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
    _write(options, codes, inputs.n_bits_of(model), printer)


def _encode_embeddings(options: argparse.Namespace, printer: Printer) -> None:
    """Signs of embeddings, or codes by an ITQ that is fitted to them."""
    for option in ("model", "modality", "learned"):
        if getattr(options, option):
            raise ValueError(f"--{option} does not go with --method")
    if options.features is None:
        raise ValueError("--features is missing: name the embeddings")
    x = read_numbers(options.features)
    x = x.T if options.columns else x
    n_bits = options.bits or int(x.shape[1])
    if options.method == "sign":
        from ..embeddings import codes_of_signs

        if options.save_model is not None:
            raise ValueError("--save-model: signs need no model; code queries in the same way")
        codes = codes_of_signs(x, n_bits)
    else:
        from ..models import ITQ

        model = ITQ(n_bits, random_state=options.seed).fit(np.asarray(x))
        codes = model.transform(np.asarray(x))
        if options.save_model is not None:
            model.save(options.save_model)
    _write(options, codes, n_bits, printer)


def _write(
    options: argparse.Namespace, codes: NDArray[np.uint8], n_bits: int, printer: Printer
) -> None:
    from ..files import replacing

    with replacing(options.output) as file:
        np.save(file, codes, allow_pickle=False)
    printer.result(
        f"{options.output}: {len(codes)} codes of {n_bits} bits",
        {"output": str(options.output), "n": len(codes), "n_bits": n_bits},
    )
