"""``fasthash encode``: compute packed codes of features, with a model or without one."""

from __future__ import annotations

import argparse
import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core.files import replacing
from .._core.validation import check_rows
from ..datasets.readers import read_numbers
from ..embeddings import METHODS, codes_of_signs
from . import arguments, inputs
from .clusters import add_cluster, connected, features_by_workers
from .fingerprints import fingerprint_of_signs, write_archive
from .outputs import OutputFile, add_force
from .printing import Printer

__all__ = ["add_centre", "add_encoding", "declare", "read_centre", "run"]


def declare(commands: Any) -> None:
    """Describe the command and its options."""
    encode = arguments.add_command(
        commands,
        "encode",
        "compute the codes of features",
        "Compute packed codes of features with a saved model, or take the codes that the model "
        "learned for its training samples, and write them to a .npy or .npz file of uint8. With "
        "--method, compute codes of embeddings without a saved model.",
        "fasthash encode --model emoji.model --modality image --learned --output image-codes.npz",
    )
    add_encoding(encode, several=True)
    encode.add_argument(
        "--learned", action="store_true", help="write the codes learned for the training samples"
    )
    encode.add_argument(
        "--latents",
        type=OutputFile("npy"),
        metavar="FILE",
        help="also write the latents of a CLSR model to this .npy file; 'fasthash search --rerank' "
        "sorts candidates by them",
    )
    without = encode.add_argument_group("without a model")
    without.add_argument(
        "--method",
        choices=METHODS,
        help="how to make codes of embeddings: from their signs; with ITQ, fitted to them; or with "
        "RREH, fitted to pairs of two modalities, to search one modality with the other",
    )
    without.add_argument(
        "--bits",
        type=arguments.positive,
        help="length of the codes (default: one bit for each feature; 64 for rreh)",
    )
    add_centre(without, "--method sign")
    arguments.add_pairs(without)
    arguments.add_seed(without, "itq and rreh")
    without.add_argument(
        "--save-model",
        type=OutputFile("model"),
        metavar="FILE",
        help="also write the model of itq or rreh, to encode queries with it",
    )
    encode.add_argument(
        "--output",
        type=OutputFile(_kind_of_output),
        required=True,
        help="the .npy or .npz file to write; only a .npz file says which model made the codes, so "
        "that an index of them knows it; for rreh a .npz file with one array for each modality",
    )
    add_force(encode)
    add_cluster(encode, "read and encode --features with --model")
    encode.set_defaults(run=run)


def _kind_of_output(options: argparse.Namespace) -> str:
    return "npz" if options.method == "rreh" or _is_archive(options) else "npy"


def _is_archive(options: argparse.Namespace) -> bool:
    return bool(options.output.suffix == ".npz")


def add_centre(group: Any, method: str) -> None:
    """Add the option for the means that are subtracted before signs are taken."""
    group.add_argument(
        "--centre",
        metavar="SOURCE",
        help=f"with {method}, embeddings whose means are subtracted before signs are taken: those "
        "that are searched, for their codes and for the codes of queries",
    )


def read_centre(source: str, columns: bool = False) -> tuple[NDArray[np.float64], str]:
    """
    Read embeddings; return their means, and a short name of them.

    Raises
    ------
    OSError, TypeError, ValueError
        If the embeddings cannot be read, or are refused.
    """
    x = read_numbers(source)
    mean = check_rows(x.T if columns else x, "--centre").column_means()
    return mean, hashlib.sha256(mean.tobytes()).hexdigest()[:12]


def add_encoding(command: argparse.ArgumentParser, several: bool = False) -> None:
    """Add the options for features, of one or several modalities, and for the model."""
    command.add_argument(
        "--model",
        metavar="FILE",
        help="a model that 'fasthash fit' has written"
        + ("" if several else "; with --codes, the model that made these codes"),
    )
    command.add_argument("--modality", help="the modality of the features")
    text = "what to encode, such as feats.mat:I_te"
    if several:
        command.add_argument(
            "--features",
            nargs="+",
            metavar="SOURCE",
            help=f"{text}; with --method rreh, MODALITY=SOURCE for each modality",
        )
    else:
        command.add_argument("--features", metavar="SOURCE", help=text)
    arguments.add_columns(command)


def run(options: argparse.Namespace, printer: Printer) -> None:
    """Encode, and write the codes."""
    if options.save_model is not None:
        inputs.check_can_save()
    if options.cluster is not None and options.features is None:
        raise ValueError("--cluster goes with --model and --features")
    if options.method is not None:
        for option in ("model", "modality", "learned", "latents", "cluster"):
            if getattr(options, option):
                raise ValueError(f"--{option} does not go with --method")
        if options.centre is not None and options.method != "sign":
            raise ValueError("--centre goes with --method sign: other methods centre by themselves")
        if options.method == "rreh":
            _encode_pairs(options, printer)
        else:
            _encode_embeddings(options, printer)
        return
    for option in ("bits", "save_model", "pairs", "centre"):
        if getattr(options, option) is not None:
            raise ValueError(f"--{option.replace('_', '-')} goes with --method")
    if options.model is None:
        raise ValueError(
            "--model is missing: name a file that 'fasthash fit' has written, or pass --method"
        )
    if (options.features is None) != options.learned:
        raise ValueError("pass either --features SOURCE or --learned")
    model = inputs.load_model(options.model)
    modality = inputs.check_modality(model, options.modality)
    if options.latents is not None and options.cluster is not None:
        raise ValueError("--latents does not go with --cluster: the workers make codes only")
    if options.latents is not None and (options.learned or not inputs.has_latents(model)):
        raise ValueError(
            "--latents goes with --features"
            if options.learned
            else f"--latents: {type(model).__name__} makes codes only, CLSR makes latents"
        )
    if options.learned:
        if modality is None:
            raise ValueError(f"--learned: {type(model).__name__} keeps no codes: use --features")
        codes = model.codes_[modality]
    else:
        options.features = _only_source(options, "a model")
        if options.cluster is None:
            x = inputs.read_model_features(
                options.features, model, modality, printer, options.columns
            )
            codes = inputs.encode(model, modality, x, printer)
            if options.latents is not None:
                with printer.progress() as progress, replacing(options.latents) as file:
                    latents = model.transform(x, modality, callback=progress)
                    np.save(file, latents, allow_pickle=False)
        else:
            with connected(options.cluster) as client:
                lazy, _, _ = lazy_codes(options, client, printer)
                codes = client.compute(lazy).result()
    _write(options, codes, inputs.n_bits_of(model), model.fingerprint(), printer)


def lazy_codes(options: argparse.Namespace, client: Any, printer: Printer) -> tuple[Any, int, str]:
    """Codes of features, which workers read and encode; their length, and the model."""
    if options.features is None or options.model is None:
        raise ValueError("pass --model FILE and --features SOURCE")
    model = inputs.load_model(options.model)
    modality = inputs.check_modality(model, options.modality)
    x = inputs.read_model_features(options.features, model, modality, printer, options.columns)
    lazy = features_by_workers(client, options.features, x, options.columns)
    codes = model.transform(lazy) if modality is None else model.encode(lazy, modality)
    return codes, inputs.n_bits_of(model), model.fingerprint()


def _encode_embeddings(options: argparse.Namespace, printer: Printer) -> None:
    """Encode embeddings by their signs, or with an ITQ model that is fitted to them."""
    if options.pairs is not None:
        raise ValueError(f"--pairs goes with --method rreh: {options.method} learns from no pairs")
    x = read_numbers(_only_source(options, f"--method {options.method}"))
    x = x.T if options.columns else x
    n_bits = options.bits or int(x.shape[1])
    if options.method == "sign":
        if options.save_model is not None:
            raise ValueError(
                "--save-model: signs need no model; encode queries with --method sign too"
            )
        centre: Any = False
        of_means = None
        if options.centre is not None:
            centre, of_means = read_centre(options.centre, options.columns)
        codes = codes_of_signs(x, n_bits=n_bits, centre=centre)
        fingerprint = fingerprint_of_signs(n_bits, of_means)
    else:
        from ..models import ITQ

        model = ITQ(n_bits, random_state=options.seed).fit(np.asarray(x))
        codes = model.transform(np.asarray(x))
        _save(options, model)
        fingerprint = model.fingerprint()
    _write(options, codes, n_bits, fingerprint, printer)


def _encode_pairs(options: argparse.Namespace, printer: Printer) -> None:
    """Learn codes for embeddings of several modalities with RREH, and write them."""
    from ..models import RREH

    if len(options.features or []) < 2:
        raise ValueError(
            "--method rreh learns from pairs of two modalities: pass --features image=FILE "
            "text=FILE, or use --method sign or itq for one kind of embeddings"
        )
    features = inputs.read_modalities("--features", options.features)
    if not _is_archive(options):
        raise ValueError(
            f"--output: codes of several modalities need a .npz file, got {options.output}"
        )
    if options.columns:
        features = {name: x.T for name, x in features.items()}
    pairs = None if options.pairs is None else inputs.read_pairs(options.pairs, printer)
    model = RREH(options.bits or 64, random_state=options.seed)
    with printer.progress() as progress:
        model.fit(features, pairs, callback=progress)
    _save(options, model)
    codes: dict[str, Any] = model.codes_
    write_archive(options.output, codes, model.fingerprint())
    counts = {name: len(own) for name, own in codes.items()}
    described = ", ".join(f"{n} {name} codes" for name, n in counts.items())
    printer.result(
        f"{options.output}: {described} of {model.n_bits} bits",
        {"output": str(options.output), "n": counts, "n_bits": model.n_bits},
    )


def _only_source(options: argparse.Namespace, taker: str) -> str:
    if options.features is None:
        raise ValueError("--features is missing: name the embeddings")
    if len(options.features) > 1:
        raise ValueError(
            f"--features: {taker} takes one source at a time, got {len(options.features)}; "
            "--method rreh takes those of two modalities"
        )
    return str(options.features[0])


def _save(options: argparse.Namespace, model: Any) -> None:
    if options.save_model is not None:
        model.save(options.save_model)


def _write(
    options: argparse.Namespace,
    codes: NDArray[np.uint8],
    n_bits: int,
    fingerprint: str,
    printer: Printer,
) -> None:
    if _is_archive(options):
        write_archive(options.output, {"codes": codes}, fingerprint)
    else:
        with replacing(options.output) as file:
            np.save(file, codes, allow_pickle=False)
    printer.result(
        f"{options.output}: {len(codes)} codes of {n_bits} bits",
        {"output": str(options.output), "n": len(codes), "n_bits": n_bits},
    )
