"""``fasthash report``: write a page that evaluates models in detail."""

from __future__ import annotations

import argparse
import platform
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import __version__
from ..datasets.readers import read_texts, split_source
from . import arguments, evaluate
from .outputs import OutputFile, add_force
from .printing import Printer

if TYPE_CHECKING:
    from ..pages.report import Captions

__all__ = ["declare", "run"]


def declare(commands: Any) -> None:
    """Describe the command and its options."""
    report = arguments.add_command(
        commands,
        "report",
        "write a page that evaluates models and their codes",
        "Write one HTML file with mean average precision, precision and recall, scores by label, "
        "distances, bits, examples and settings. The page loads no other files.",
        "fasthash report --data emoji/emoji.npz --models emoji.model --names emoji/train.csv:name "
        "--pictures emoji/train.csv:picture --query-names emoji/test.csv:name "
        "--query-pictures emoji/test.csv:picture --label-names emoji/labels.txt "
        "--output report.html",
    )
    evaluate.add_samples(report)
    report.add_argument(
        "--models",
        nargs="+",
        metavar="FILE",
        required=True,
        help="saved models; all are compared, and the first is shown in detail",
    )
    shown = report.add_argument_group("how samples are shown")
    for option, of in (("", "the database"), ("query-", "queries")):
        shown.add_argument(
            f"--{option}names", metavar="SOURCE", help=f"texts of {of}, row i for sample i"
        )
        shown.add_argument(
            f"--{option}pictures",
            metavar="SOURCE",
            help=f"PNG, JPEG, GIF or WebP files of {of}, relative to the file that names them, and "
            "in its folder",
        )
    shown.add_argument(
        "--label-names", metavar="SOURCE", help="names of the classes, by number or column"
    )
    shown.add_argument(
        "--examples",
        type=arguments.whole,
        default=6,
        help="queries shown with their answers, in each direction (default: 6)",
    )
    report.add_argument(
        "--output",
        type=OutputFile("html"),
        default=Path("fasthash-report.html"),
        help="the page to write (default: fasthash-report.html)",
    )
    add_force(report)
    report.set_defaults(run=run)


def run(options: argparse.Namespace, printer: Printer) -> None:
    """Score, draw and write the page."""
    if find_spec("matplotlib") is None:
        raise ImportError(
            "the report needs matplotlib, which is not installed: "
            "pip install 'fasthash-retrieval[demo]'"
        )
    from .._core.files import replacing
    from ..pages.report import rank_all, report_page

    began = time.perf_counter()
    parts = evaluate.read_parts(options, printer)
    models, database = evaluate.load_models(options.models, parts)
    captions = _captions("", options, len(parts.get("database", parts["train"])))
    query_captions = _captions("query-", options, len(parts["test"]))
    label_names = None if options.label_names is None else read_texts(options.label_names).tolist()
    rankings = rank_all(models, parts["test"], database)
    settings = {
        **{called: _described(model) for called, model in models.items()},
        "samples": ", ".join(f"{len(part)} {name}" for name, part in parts.items()),
        "seeds": ", ".join(f"{called}: {m.random_state}" for called, m in models.items()),
        "ties": "expected",
        "fasthash": __version__,
        "Python, numpy": f"{platform.python_version()}, {np.__version__}",
        "written": time.strftime("%Y-%m-%d %H:%M"),
    }
    with printer.progress() as progress:
        page = report_page(
            rankings,
            settings,
            label_names=label_names,
            query_captions=query_captions,
            captions=captions,
            n_examples=options.examples,
            callback=progress,
        )
    with replacing(options.output) as file:
        file.write(page.encode())
    seconds = time.perf_counter() - began
    printer.result(
        f"{options.output}: {', '.join(models)}, {len(page.encode()):,} bytes; {seconds:.1f} s",
        {"output": str(options.output), "models": list(models), "seconds": round(seconds, 3)},
    )


def _described(model: Any) -> str:
    """Describe a model with all of its parameters, including default values."""
    parameters = model.get_params(deep=False).items()
    return f"{type(model).__name__}({', '.join(f'{name}={value!r}' for name, value in parameters)})"


def _captions(prefix: str, options: argparse.Namespace, n: int) -> Captions | None:
    """Read texts and pictures by row. Paths are relative to the file that names the pictures."""
    from ..pages.pictures import PictureFiles
    from ..pages.report import Captions

    names, source = (
        getattr(options, f"{prefix}{kind}".replace("-", "_")) for kind in ("names", "pictures")
    )
    if names is None and source is None:
        return None
    pictures = None
    if source is not None:
        folder = Path(split_source(source)[0]).parent
        pictures = PictureFiles(folder, read_texts(source).tolist())
    files = [] if pictures is None else pictures.files
    texts = read_texts(names).tolist() if names is not None else [Path(file).stem for file in files]
    for kind, given, n_found in (
        ("pictures", source, len(files)),
        ("names", names, len(texts)),
    ):
        if given is not None and n_found != n:
            raise ValueError(
                f"--{prefix}{kind} has {n_found} rows, and there are {n} "
                + ("queries" if prefix else "samples in the database")
            )
    return Captions(texts, pictures)
