"""Build ``fasthash/datasets/emoji.npz`` from two npm packages, byte for byte the same each time.

Needs numpy, pillow and scikit-image (``pip install pillow scikit-image``), and npm unless the
unpacked packages are given: ``python tools/build_emoji_dataset.py --help``. The library itself need
not be built: the text encoder comes straight from ``fasthash/datasets/emoji.py``. Other releases of
pillow may compress the thumbnails to other bytes.

Map: `fetch_package` gets a source, `read_items` aligns names with glyphs, `draw_split` divides
them, `image_blocks` and `fit_image_features` describe the glyphs, `fit_text` the words, `thumbnail`
makes the small pictures, `write_archive` writes the file. Everything fitted is fitted on training
rows.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
from PIL import Image
from skimage.color import rgb2gray, rgb2hsv
from skimage.feature import hog, local_binary_pattern

PROJECT = Path(__file__).resolve().parents[1]
DATASETS = PROJECT / "fasthash" / "datasets"


@dataclass(frozen=True)
class Source:
    """An npm package, pinned by version and by the SHA-256 of its tarball."""

    name: str
    version: str
    sha256: str


EMOJIBASE = Source(
    "emojibase-data",
    "17.0.0",
    "d01d0e2ca4e22cb402679532155342c71e2e871f25c32223c013b8b166ebdf5a",
)
GOOGLE = Source(
    "emoji-datasource-google",
    "16.0.0",
    "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
)

SEED = 2024
TEST_SHARE = 0.25
GLYPH_SIZE = 64
THUMBNAIL_SIZE = 48
THUMBNAIL_COLOURS = 64
IMAGE_DIMENSIONS = 256
TEXT_DIMENSIONS = 192
# Words that share no emoji with other words lie outside the leading directions, and their vectors
# would be zero but for rounding; they are brought to about this share of the usual length.
SHORTEST_WORD = 0.003
# Skin tones and hair styles: parts for building other emoji, the hair without a glyph of its own.
COMPONENT_GROUP = 2
# How much each description of the glyph counts in a distance, after all are brought to one scale;
# chosen by cross-validation within the training rows.
BLOCK_WEIGHTS = {
    "edges_fine": 1.0,
    "edges_coarse": 1.0,
    "outline": 0.7,
    "rgb": 1.0,
    "hsv": 0.7,
    "texture": 0.7,
    "mask": 0.5,
    "shape": 0.5,
}


@dataclass(frozen=True)
class Item:
    """One emoji: its words, its classes, and the file with its glyph."""

    name: str
    keywords: tuple[str, ...]
    character: str
    group: str
    subgroup: str
    glyph: Path


def load_modules() -> tuple[ModuleType, ModuleType]:
    """
    Load ``datasets/emoji.py`` and ``_core/words.py``, which it imports.

    Importing fasthash would want the built kernels, so its packages are replaced by empty ones.
    """
    for name in ("fasthash", "fasthash._core", "fasthash.datasets"):
        package = ModuleType(name)
        package.__path__ = [str(PROJECT.joinpath(*name.split(".")))]
        sys.modules[name] = package
    return tuple(map(importlib.import_module, ("fasthash.datasets.emoji", "fasthash._core.words")))


def fetch_package(source: Source, folder: Path) -> Path:
    """Download and unpack an npm package; return the folder that holds its ``package.json``."""
    wanted = f"{source.name}@{source.version}"
    subprocess.run(["npm", "pack", "--silent", wanted], cwd=folder, check=True)
    tarball = folder / f"{source.name}-{source.version}.tgz"
    digest = hashlib.sha256(tarball.read_bytes()).hexdigest()
    if digest != source.sha256:
        raise SystemExit(f"{tarball.name} has SHA-256 {digest}, expected {source.sha256}")
    target = folder / source.name
    with tarfile.open(tarball) as archive:
        archive.extractall(target, filter="data")
    return target / "package"


def check_version(source: Source, folder: Path) -> Path:
    """Return `folder`, having made sure that it holds the pinned version."""
    package = json.loads((folder / "package.json").read_text(encoding="utf-8"))
    found = package["name"], package["version"]
    if found != (source.name, source.version):
        raise SystemExit(f"{folder} holds {found}, expected {source.name} {source.version}")
    return folder


def code_points(text: str) -> str:
    """Bring a code point sequence to one spelling: packages disagree on variation selectors."""
    return "-".join(part for part in text.upper().split("-") if part != "FE0F")


def read_items(emojibase: Path, google: Path) -> list[Item]:
    """Join names and glyphs, in Unicode order; emoji without a glyph or group are left out."""

    def read(path: Path):
        return json.loads(path.read_text(encoding="utf-8"))

    classes = read(emojibase / "meta" / "groups.json")
    glyphs = {
        code_points(entry["unified"]): google / "img" / "google" / "64" / entry["image"]
        for entry in read(google / "emoji.json")
        if entry["has_img_google"]
    }
    items = []
    for entry in sorted(read(emojibase / "en" / "data.json"), key=lambda e: e.get("order", 0)):
        glyph = glyphs.get(code_points(entry["hexcode"]))
        if entry.get("group") in (None, COMPONENT_GROUP) or glyph is None:
            continue
        items.append(
            Item(
                name=entry["label"],
                keywords=tuple(entry["tags"]),
                character=entry["emoji"],
                group=classes["groups"][str(entry["group"])],
                subgroup=classes["subgroups"][str(entry["subgroup"])],
                glyph=glyph,
            )
        )
    return items


def number_classes(names: list[str]) -> tuple[np.ndarray, list[str]]:
    """Number classes in order of first appearance, which is Unicode's own order."""
    order = list(dict.fromkeys(names))
    position = {name: number for number, name in enumerate(order)}
    return np.array([position[name] for name in names], dtype=np.uint8), order


def draw_split(group: np.ndarray, subgroup: np.ndarray, words: list[set[str]]) -> np.ndarray:
    """Mark the test rows: a quarter of every group, spread evenly over its subgroups.

    The only emoji of a subgroup stays in training, and so does one that shares no word with any
    training row: there would be nothing to learn it from.
    """
    rng = np.random.default_rng(SEED)
    is_test = np.zeros(len(group), dtype=bool)
    for number in np.unique(group):
        rows = np.flatnonzero(group == number)
        # Every k-th row of a random order within subgroups gives each subgroup its share.
        rows = rows[np.lexsort((rng.random(len(rows)), subgroup[rows]))]
        n_test = round(len(rows) * TEST_SHARE)
        picks = (np.arange(n_test) + rng.random()) * (len(rows) / n_test)
        is_test[rows[picks.astype(int)]] = True
    is_test &= np.bincount(subgroup)[subgroup] > 1
    known = set().union(*(words[row] for row in np.flatnonzero(~is_test)))
    for row in np.flatnonzero(is_test):
        is_test[row] = not known.isdisjoint(words[row])
    return is_test


def read_glyph(path: Path) -> np.ndarray:
    """Read a glyph as (64, 64, 4) uint8."""
    with Image.open(path) as image:
        if image.size != (GLYPH_SIZE, GLYPH_SIZE):
            raise SystemExit(f"{path} is {image.size}, expected {GLYPH_SIZE} pixels square")
        return np.asarray(image.convert("RGBA"))


def image_blocks(glyph: np.ndarray) -> dict[str, np.ndarray]:
    """Describe one glyph by edges, colours, texture and outline; one vector per name."""
    alpha = glyph[..., 3] / 255.0
    colour = glyph[..., :3] / 255.0
    on_white = colour * alpha[..., None] + (1.0 - alpha[..., None])

    def edges(image, cell):
        channel_axis = -1 if image.ndim == 3 else None
        return hog(image, 9, (cell, cell), (2, 2), "L2-Hys", channel_axis=channel_axis)

    def histogram(bins, n_bins):
        # The square root keeps the white or yellow of most glyphs from drowning the rare colours.
        return np.sqrt(np.bincount(bins.ravel(), alpha.ravel(), n_bins) / alpha.size)

    eighths = glyph[..., :3].astype(np.int64) // 32
    hue, saturation, value = np.moveaxis(rgb2hsv(glyph[..., :3]), -1, 0)
    hue, saturation, value = (
        np.minimum((channel * n_bins).astype(np.int64), n_bins - 1)
        for channel, n_bins in ((hue, 12), (saturation, 4), (value, 3))
    )
    grey = (rgb2gray(on_white) * 255).astype(np.uint8)
    patterns = local_binary_pattern(grey, 8, 1, "uniform").astype(np.int64)
    return {
        "edges_fine": edges(on_white, 8),
        "edges_coarse": edges(on_white, 16),
        "outline": edges(alpha, 16),
        "rgb": histogram(eighths @ (64, 8, 1), 512),
        "hsv": histogram(hue * 12 + saturation * 3 + value, 144),
        "texture": np.sqrt(np.bincount(patterns.ravel(), minlength=10) / patterns.size),
        "mask": alpha.reshape(8, 8, 8, 8).mean(axis=(1, 3)).ravel(),
        "shape": shape_measures(alpha),
    }


def shape_measures(alpha: np.ndarray) -> np.ndarray:
    """Measure a mask: area, centre, spread, extent, asymmetry in both directions."""
    size = len(alpha)
    y, x = np.mgrid[:size, :size] / size
    area = alpha.sum()
    centre_y, centre_x = (alpha * y).sum() / area, (alpha * x).sum() / area
    rows, columns = np.flatnonzero(alpha.max(1) > 0.5), np.flatnonzero(alpha.max(0) > 0.5)
    return np.array(
        [
            area / alpha.size,
            centre_y,
            centre_x,
            np.sqrt((alpha * (y - centre_y) ** 2).sum() / area),
            np.sqrt((alpha * (x - centre_x) ** 2).sum() / area),
            np.ptp(rows) / size if len(rows) else 0.0,
            np.ptp(columns) / size if len(columns) else 0.0,
            np.abs(alpha - alpha[:, ::-1]).mean(),
            np.abs(alpha - alpha[::-1]).mean(),
        ]
    )


def principal_directions(x: np.ndarray, n_directions: int) -> np.ndarray:
    """Return the leading right singular vectors of `x` as columns, with a settled sign."""
    # From the smaller Gram matrix in float64: exact enough, and free of random starting points.
    _, vectors = np.linalg.eigh(x @ x.T)
    directions = x.T @ vectors[:, ::-1][:, :n_directions]
    directions /= np.linalg.norm(directions, axis=0)
    largest = directions[np.abs(directions).argmax(axis=0), np.arange(directions.shape[1])]
    return directions * np.sign(largest)


def fit_image_features(glyphs: list[np.ndarray], train: np.ndarray) -> np.ndarray:
    """Weigh the blocks of all glyphs against each other and reduce them, (n, d) float64."""
    described = [image_blocks(glyph) for glyph in glyphs]
    columns = []
    for name, weight in BLOCK_WEIGHTS.items():
        block = np.stack([one[name] for one in described])
        block -= block[train].mean(axis=0)
        columns.append(block * (weight / np.sqrt((block[train] ** 2).sum(axis=1).mean())))
    features = np.hstack(columns)
    return features @ principal_directions(features[train], IMAGE_DIMENSIONS)


def fit_text(training_words: list[list[str]]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return the vocabulary, its inverse document frequencies (v,), and word vectors (v, d)."""
    vocabulary = sorted(set().union(*training_words))
    number = {word: i for i, word in enumerate(vocabulary)}
    counts = np.zeros((len(training_words), len(vocabulary)))
    for row, words in enumerate(training_words):
        for word, count in Counter(words).items():
            counts[row, number[word]] = count
    present = counts > 0
    idf = np.log((1 + len(counts)) / (1 + present.sum(axis=0))) + 1.0
    weights = np.where(present, 1.0 + np.log(np.maximum(counts, 1.0)), 0.0) * idf
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    directions = principal_directions(weights, TEXT_DIMENSIONS)
    # Favouring the strong directions a little lets a rare word follow the company it keeps: the
    # name of a country alone is then taken for a flag, which it otherwise often is not.
    vectors = directions * np.sqrt(np.linalg.norm(weights @ directions, axis=0))
    vectors /= np.sqrt((vectors**2).sum(axis=1).mean())
    # A direction of its own is what tells a word without company from the others, and any will do.
    own = np.random.default_rng(SEED).integers(0, 2, vectors.shape) * 2.0 - 1.0
    missing = SHORTEST_WORD - np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors += np.maximum(missing, 0.0) * own / np.sqrt(TEXT_DIMENSIONS)
    return vocabulary, idf, vectors


def quantise(x: np.ndarray, scale: np.ndarray | float) -> np.ndarray:
    """Divide by `scale` and round to int8."""
    return np.clip(np.rint(x / scale), -127, 127).astype(np.int8)


def thumbnail(glyph: np.ndarray) -> bytes:
    """Make a small PNG of a glyph, with transparency, in a palette of its own."""
    # Shrunk with premultiplied alpha, or the invisible colour of clear pixels bleeds into the rim.
    small = (
        Image.fromarray(glyph)
        .convert("RGBa")
        .resize((THUMBNAIL_SIZE, THUMBNAIL_SIZE), Image.Resampling.LANCZOS)
        .convert("RGBA")
        .quantize(THUMBNAIL_COLOURS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    )
    buffer = io.BytesIO()
    small.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def write_archive(path: Path, entries: dict[str, np.ndarray]) -> None:
    """Write an npz whose bytes depend on its content alone."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in sorted(entries):
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, entries[name], allow_pickle=False)
            content = buffer.getvalue()
            # numpy.savez stamps the current time; this is the earliest a zip can hold.
            member = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            member.create_system = 3
            member.external_attr = 0o644 << 16
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, content, compresslevel=9)


def build(emojibase: Path, google: Path, output: Path) -> None:
    """Build the archive from two unpacked packages."""
    emoji, of_words = load_modules()
    items = read_items(emojibase, google)
    group, group_names = number_classes([item.group for item in items])
    subgroup, subgroup_names = number_classes([item.subgroup for item in items])
    texts = [" ".join((item.name, *item.keywords)) for item in items]
    words = [of_words.split_words(text) for text in texts]
    test = draw_split(group, subgroup, [set(row) for row in words])
    train = np.flatnonzero(~test)

    glyphs = [read_glyph(item.glyph) for item in items]
    image = fit_image_features(glyphs, train)
    image_scale = np.float32(np.abs(image).max() / 127)

    vocabulary, idf, word_vectors = fit_text([words[row] for row in train])
    # One scale per word: a rare word's vector is short, and a common scale would round it to zero.
    word_scale = (np.abs(word_vectors).max(axis=1) / 127).astype(np.float32)
    word_vectors = quantise(word_vectors, word_scale[:, None])
    idf = idf.astype(np.float32)
    encode = emoji.TextEncoder(vocabulary, idf, word_vectors * word_scale[:, None])

    thumbnails = [thumbnail(glyph) for glyph in glyphs]
    strings = {
        "names": [item.name for item in items],
        "keywords": [item.keywords for item in items],
        "characters": [item.character for item in items],
        "group_names": group_names,
        "subgroup_names": subgroup_names,
        "vocabulary": vocabulary,
        "sources": [f"{source.name}@{source.version}" for source in (EMOJIBASE, GOOGLE)],
    }
    strings = json.dumps(strings, ensure_ascii=False, separators=(",", ":")).encode()
    entries = {
        "image": quantise(image, image_scale),
        "image_scale": image_scale,
        "text": encode(texts).astype(np.float16),
        "group": group,
        "subgroup": subgroup,
        "test": test,
        "idf": idf,
        "word_vectors": word_vectors,
        "word_scale": word_scale,
        "thumbnails": np.frombuffer(b"".join(thumbnails), dtype=np.uint8),
        "thumbnail_offsets": np.cumsum([0, *map(len, thumbnails)]).astype(np.uint32),
        "strings": np.frombuffer(strings, dtype=np.uint8),
    }
    write_archive(output, entries)
    print(
        f"{output}: {output.stat().st_size:,} bytes, {len(items)} emoji ({len(train)} train), "
        f"{len(group_names)} groups, {len(subgroup_names)} subgroups, {len(vocabulary)} words"
    )


def main() -> None:
    """Parse the command line and build."""
    parser = argparse.ArgumentParser(
        description=f"Build emoji.npz from {EMOJIBASE.name} {EMOJIBASE.version} and "
        f"{GOOGLE.name} {GOOGLE.version}; what is not given is downloaded with 'npm pack'."
    )
    parser.add_argument("--emojibase", type=Path, help=f"unpacked folder of {EMOJIBASE.name}")
    parser.add_argument("--google", type=Path, help=f"unpacked folder of {GOOGLE.name}")
    parser.add_argument("--output", type=Path, default=DATASETS / "emoji.npz")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folders = [
            check_version(source, given or fetch_package(source, Path(folder)))
            for source, given in ((EMOJIBASE, arguments.emojibase), (GOOGLE, arguments.google))
        ]
        build(*folders, arguments.output)


if __name__ == "__main__":
    main()
