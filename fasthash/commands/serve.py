"""``fasthash serve``: serve a search page and its API."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._core.files import identify
from ..datasets._file_formats import TABLES
from ..datasets.readers import read_labels, read_texts, split_source
from . import arguments, inputs
from .fingerprints import add_any_model, check_same_model
from .index import load_index
from .printing import Printer

if TYPE_CHECKING:
    from ..metrics import DistanceScale
    from ..pages.pictures import PictureFiles
    from ..serving.collection import Collection, Files, Length, Words
    from ..serving.gallery import Gallery

__all__ = ["declare", "length_of", "run", "words_of"]

# The first picture of at most so many folders is read at the start.
_MOST_FOLDERS = 100

# The distances among so many codes of an index say what a distance means, without a model.
_LEAST_CODES = 1000


def declare(commands: Any) -> None:
    """Describe the command and its options."""
    serve = arguments.add_command(
        commands,
        "serve",
        "serve a search page and its API",
        "Serve a page that searches the emoji data set, or the indexes of --index: by text or by "
        "an item, and for programs by features or codes (/openapi.json describes the API). The "
        "server answers only this machine, unless --host names another address. Ctrl-C stops it.",
        "fasthash serve --index emoji.index --model emoji.model --names emoji/train.csv:name "
        "--pictures emoji/train.csv:picture --labels emoji/train.csv:group --port 0",
    )
    searched = serve.add_argument_group("what is searched (default: the embedded emoji)")
    searched.add_argument(
        "--index",
        nargs="+",
        metavar="FILE",
        help="indexes with equal ids and different code lengths",
    )
    searched.add_argument(
        "--model",
        nargs="+",
        metavar="FILE",
        help="the model of each index, to search by features and by text",
    )
    searched.add_argument(
        "--words",
        metavar="MODULE:FUNCTION",
        help="your function that turns a list of texts into features, to search by text; it is "
        "imported from the current folder or from an installed package",
    )
    add_any_model(searched)
    searched.add_argument("--modality", help="modality of the features of --words (default: text)")
    searched.add_argument(
        "--features",
        nargs="+",
        metavar="[MODALITY=]MODULE:FUNCTION",
        help="your function that turns a list of paths of pictures or sounds into features, to "
        "search by a file; one for each modality (default: the modality that is not of --words)",
    )
    searched.add_argument(
        "--examples",
        nargs="+",
        default=[],
        metavar="TEXT",
        help="texts to search by, which the page offers",
    )
    shown = serve.add_argument_group("how items are shown (row i belongs to id i)")
    shown.add_argument(
        "--names",
        nargs="+",
        metavar="SOURCE",
        help="texts, such as captions.csv:caption; several sources are joined in order",
    )
    shown.add_argument(
        "--pictures",
        nargs="+",
        metavar="SOURCE",
        help="a folder, whose pictures are sorted by name; or texts that name PNG, JPEG, GIF or "
        "WebP files, relative to the folder of the file with the texts",
    )
    shown.add_argument(
        "--sounds",
        nargs="+",
        metavar="SOURCE",
        help="a folder, or texts that name WAV, OGG, FLAC or MP3 files, as for --pictures",
    )
    shown.add_argument(
        "--labels", nargs="+", metavar="SOURCE", help="classes or 0/1 columns, to filter by"
    )
    shown.add_argument(
        "--label-names", metavar="SOURCE", help="names of the classes, by number or column"
    )
    shown.add_argument("--title", help="title of the page (default: the name of the index)")
    server = serve.add_argument_group("the server")
    server.add_argument(
        "--host", default="127.0.0.1", help="address to listen at (default: 127.0.0.1)"
    )
    server.add_argument(
        "--port", type=_port, default=8000, help="port, or 0 for any free port (default: 8000)"
    )
    server.add_argument(
        "--rate",
        type=arguments.whole,
        default=100,
        help="allowed requests per second and client, and five times as many in a burst; 0 for no "
        "limit (default: 100)",
    )
    server.add_argument(
        "--allow-host",
        nargs="+",
        default=[],
        metavar="NAME",
        help="other host names by which browsers may reach this server, such as that of a proxy",
    )
    server.add_argument(
        "--proxy",
        metavar="ADDRESS",
        help="address of a proxy whose X-Forwarded-For header gives the addresses of clients",
    )
    serve.set_defaults(run=run)


def run(options: argparse.Namespace, printer: Printer) -> None:
    """Open the port, prepare the collection, and serve until a signal arrives."""
    for name in ("starlette", "uvicorn"):
        if find_spec(name) is None:
            raise ImportError(
                f"the search page needs {name}, which is not installed: "
                "pip install 'fasthash-retrieval[serve]'"
            )
    from ..serving.app import application
    from ..serving.limits import Limits
    from ..serving.parameters import MOST_QUERIES
    from ..serving.server import leave, open_socket, serve, url_of

    # The port is opened first, so that a port in use is reported before the work.
    with open_socket(options.host, options.port) as sock:
        collection = _collection(options, printer)
        n_features = max(collection.n_features.values(), default=0)
        limits = Limits(
            rate=options.rate,
            burst=5 * options.rate,
            # No number needs more than 32 characters; a code is hexadecimal.
            body_bytes=(1 << 16) + MOST_QUERIES * max(32 * n_features, max(collection.bits) // 4),
        )
        app = application(collection, limits, _hosts(options))
        url = url_of(sock)
        ways = {
            "words": collection.words is not None,
            "items": True,
            "files": bool(collection.files),
            "features": bool(collection.n_features),
            "codes": True,
        }
        found_by = ", ".join(way for way, is_possible in ways.items() if is_possible)
        bits = ", ".join(map(str, collection.bits))
        printer.result(
            f"{collection.title}: {len(collection)} items, codes of {bits} bits, found by "
            f"{found_by}\n{url}",
            {"url": url, "n_items": len(collection), "bits": collection.bits},
        )
        sys.stdout.flush()
        serve(app, sock, options.proxy)
    printer.note("stopped")
    leave()


def _hosts(options: argparse.Namespace) -> list[str]:
    """Return the host names that are answered: any name, if the server listens at any address."""
    if options.host in ("0.0.0.0", "::", "") and not options.allow_host:
        return ["*"]
    return ["localhost", "127.0.0.1", "[::1]", "::1", options.host, *options.allow_host]


def _collection(options: argparse.Namespace, printer: Printer) -> Collection:
    from ..serving.collection import Collection

    if options.index is None:
        for name in (
            *("model", "words", "modality", "features", "examples", "title"),
            *("names", "pictures", "sounds", "labels", "label_names"),
        ):
            if getattr(options, name):
                raise ValueError(f"--{name.replace('_', '-')} goes with --index")
        from ..serving.emoji import emoji_collection

        with printer.progress() as progress:
            return emoji_collection(progress)
    if options.modality is not None and options.words is None:
        raise ValueError("--modality goes with --words")
    models = options.model or []
    if models and len(models) != len(options.index):
        raise ValueError(
            f"--model: one for each index, got {len(models)} for {len(options.index)} indexes"
        )
    lengths = [
        length_of(path, models[i] if models else None, options.any_model)
        for i, path in enumerate(options.index)
    ]
    words = None if options.words is None else words_of(options.words, options.modality, lengths)
    title = options.title or Path(options.index[0]).stem
    gallery = _gallery(options, lengths[0].index.ids, printer)
    texts = gallery.names if words is not None and options.names is not None else None
    files = _files(options, lengths, words)
    return Collection(title, gallery, lengths, words, texts, files, options.examples)


def length_of(path: str, model_path: str | None, any_model: bool) -> Length:
    """Load an index, and the model that makes its codes."""
    from ..models._scales import scale_of, scale_within
    from ..serving.collection import Length

    index = load_index(path, mmap=True)
    if model_path is None:
        return Length(index, scales=_scale_among(index))
    model = inputs.load_model(model_path)
    check_same_model(path, index, model.fingerprint(), model_path, any_model)
    given = model.n_features_in_
    n_features = dict(given) if hasattr(model, "modalities_") else {"": int(given)}
    learned = getattr(model, "distance_scales_", {})
    scales = {name: scale_of(learned, name) for name in learned} | {"": scale_within(learned)}
    known = _scale_among(index) if not learned else {}
    known |= {name: scale for name, scale in scales.items() if scale is not None}
    return Length(
        *(index, lambda x, name: inputs.project(model, name or None, x), n_features), scales=known
    )


def _scale_among(index: Any) -> dict[str, DistanceScale]:
    """Return a scale of the distances among the codes of an index, if they are many enough."""
    from ..metrics import DistanceScale

    if len(index) < _LEAST_CODES:
        return {}
    ids = index.ids
    sampled = np.sort(np.random.default_rng(0).choice(ids, _LEAST_CODES, replace=False))
    return {"": DistanceScale.of_codes(index.reconstruct(sampled), index.n_bits)}


def words_of(function: str, modality: str | None, lengths: Sequence[Length]) -> Words:
    """Import the function that turns texts into features of a modality."""
    from ..serving.collection import Words

    n_features = lengths[0].n_features
    if n_features is None:
        raise ValueError("--words needs --model, which encodes the features of the words")
    if modality is None:
        modality = "text" if "text" in n_features or "" not in n_features else ""
    if modality not in n_features:
        known = ", ".join(filter(None, n_features)) or "none: the model has one kind of features"
        raise ValueError(f"--modality: the features of --words must be of one of {known}")
    features = _imported("--words", function)
    holder = getattr(features, "__self__", None)
    unknown = getattr(features, "unknown_words", getattr(holder, "unknown_words", None))
    return Words(features, modality, unknown)


def _files(
    options: argparse.Namespace, lengths: Sequence[Length], words: Words | None
) -> list[Files]:
    from ..serving.collection import Files

    if not options.features:
        return []
    n_features = lengths[0].n_features
    if n_features is None:
        raise ValueError("--features needs --model, which encodes the features of the files")
    others = [name for name in n_features if words is None or name != words.modality]
    found = []
    for given in options.features:
        modality, _, function = given.rpartition("=")
        if not modality and len(others) != 1:
            raise ValueError(
                f"--features {given}: name the modality, as in {next(iter(n_features))}={given}"
            )
        modality = modality or others[0]
        if modality not in n_features:
            known = ", ".join(n_features)
            raise ValueError(f"--features {given}: the model has the modalities {known}")
        found.append(Files(_imported("--features", function), modality))
    return found


def _imported(option: str, function: str) -> Callable[[Sequence[str]], Any]:
    """Import a function by its module and name, from the current folder first."""
    module, _, name = function.partition(":")
    sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"{option} {function}: {error}; MODULE:FUNCTION is looked for in the current folder "
            "and among installed packages"
        ) from None
    if not callable(found):
        raise ValueError(f"{option} {function} is not a function: pass MODULE:FUNCTION")
    named: Callable[[Sequence[str]], Any] = found
    return named


def _gallery(options: argparse.Namespace, ids: NDArray[np.int64], printer: Printer) -> Gallery:
    from ..serving.gallery import Gallery, Labels

    names = [name for source in options.names or () for name in read_texts(source).tolist()]
    labels = None
    if options.labels is not None:
        label_names = options.label_names and read_texts(options.label_names).tolist()
        labels = Labels(_read_labels(options.labels), label_names)
    elif options.label_names is not None:
        raise ValueError("--label-names goes with --labels")
    pictures = None if options.pictures is None else _files_of("pictures", options.pictures)
    sounds = None if options.sounds is None else _files_of("sounds", options.sounds)
    for files in (pictures, sounds):
        if files is not None and not names:
            names = [Path(name).stem for name in files.files]
    for option, given, n in (
        ("--names", options.names, len(names)),
        ("--labels", options.labels, 0 if labels is None else len(labels)),
        ("--pictures", options.pictures, 0 if pictures is None else len(pictures.files)),
        ("--sounds", options.sounds, 0 if sounds is None else len(sounds.files)),
    ):
        if given is not None:
            inputs.note_missing_rows(option, n, ids, printer)
    gallery = Gallery(names, labels, pictures, sounds)
    if pictures is not None:
        _note_unreadable("picture", pictures, gallery.picture, printer)
    if sounds is not None:
        _note_unreadable("sound", sounds, gallery.sound, printer)
    return gallery


def _note_unreadable(
    kind: str, files: PictureFiles, shown: Callable[[int], Any], printer: Printer
) -> None:
    """Note folders whose first picture or sound cannot be read or shown, and why."""
    first: dict[str, int] = {}
    for item, name in enumerate(files.files):
        if name:
            first.setdefault(os.path.dirname(name), item)
    for item in list(first.values())[:_MOST_FOLDERS]:
        if shown(item) is None:
            printer.note(
                f"the {kind} {files.files[item]!r} cannot be read: it does not exist, is no {kind} "
                "that browsers know, is larger than 16 MiB, or a symbolic link on its path leads "
                f"out of {files.folder}"
            )


def _read_labels(sources: Sequence[str]) -> Any:
    paths = [split_source(source)[0] for source in sources]
    for path in paths:
        if paths.count(path) > 1 and identify(path) in TABLES:
            raise ValueError(
                f"--labels names two columns of {path}, and sources are joined one after the "
                "other: for several labels of an item, write a matrix of 0/1 columns to one file"
            )
    parts = [read_labels(source) for source in sources]
    if len(parts) == 1:
        return parts[0]
    if len({part.shape[1:] for part in parts}) > 1:
        shapes = ", ".join(str(part.shape) for part in parts)
        raise ValueError(f"--labels: sources of one kind are needed, got shapes {shapes}")
    return np.concatenate([p.toarray() if hasattr(p, "toarray") else p for p in parts])


def _files_of(kind: str, sources: Sequence[str]) -> PictureFiles:
    """Return the pictures or sounds of a folder, or those that files of one folder name."""
    from ..pages.pictures import PictureFiles
    from ..serving.gallery import files_of_folder

    if len(sources) == 1 and Path(sources[0]).is_dir():
        return PictureFiles(sources[0], files_of_folder(Path(sources[0]), kind))
    folders = {Path(split_source(source)[0]).parent for source in sources}
    if len(folders) > 1:
        raise ValueError(
            f"--{kind}: all files must be in the same folder, got {', '.join(sources)}"
        )
    files = [name for source in sources for name in read_texts(source).tolist()]
    return PictureFiles(folders.pop(), files)


def _port(text: str) -> int:
    value = arguments.whole(text)
    if value > 65535:
        raise argparse.ArgumentTypeError(f"{value} is not at most 65535")
    return value
