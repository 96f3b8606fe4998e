"""What the demo's page needs to answer typed words by itself: features, projection, codes, glyphs.

`packed_search` packs it into text. The script ``demo.js`` unpacks it, makes the features of the
typed words, projects them, and compares the signs with the codes of all glyphs. It finds what
`fasthash.topk` finds for ``model.encode(data.text_features([words]), "text")``.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._core.features import FeatureMap
from .._core.words import ENDINGS
from ..datasets import EmojiDataset
from ..datasets.emoji import read_archive
from ..models import AMSH
from .pictures import data_uri

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["SPRITE_COLUMNS", "packed_search", "sprite"]

# Glyphs of a row of the sprite; pixels of a glyph and quality of the picture, the best first.
SPRITE_COLUMNS = 44
_SPRITE_FORMS = ((36, 20), (32, 15), (28, 10), (24, 5))


def packed_search(data: EmojiDataset, model: AMSH) -> str:
    """
    Pack what a search of all glyphs by words needs.

    Parameters
    ----------
    data : EmojiDataset
    model : AMSH
        A model that is fitted to images and texts of `data`.

    Returns
    -------
    str
        Base64 of a gzip file, in which the arrays follow a JSON header, padded to eight bytes.

    Notes
    -----
    Anchors are texts of training emoji, so the page computes their features from names and
    keywords. Equal anchors are merged, and the means of the radial basis functions become an
    offset of the projections.
    """
    feature_map, projection = model.feature_maps_["text"], model.projections_["text"]
    assert isinstance(feature_map, FeatureMap)
    assert feature_map.anchors is not None and feature_map.width is not None
    anchors, merged = np.unique(feature_map.anchors, axis=0, return_inverse=True)
    weights = np.zeros((len(anchors), projection.shape[1]))
    np.add.at(weights, merged, projection)
    row_of = {row.tobytes(): i for i, row in enumerate(data.features["text"])}
    words = read_archive()
    header = {
        "n_bits": projection.shape[1],
        "n_features": words["word_vectors"].shape[1],
        "close": model.distance_scales_["text"]["image"].close,
        "width": float(feature_map.width),
        "anchors": [row_of[anchor.tobytes()] for anchor in anchors],
        "endings": ENDINGS,
        "vocabulary": json.loads(words["strings"].tobytes())["vocabulary"],
        "names": data.names,
        "keywords": data.keywords,
    }
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    arrays: tuple[NDArray[Any], ...] = (
        -(feature_map.mean @ projection),
        weights.astype(np.float32),
        words["word_scale"],
        words["idf"],
        words["word_vectors"],
        model.encode(data.features["image"], "image"),
    )
    content = np.uint64(len(text)).tobytes() + text + b"".join(x.tobytes() for x in arrays)
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()


def sprite(data: EmojiDataset, most_bytes: int) -> str:
    """
    Draw all glyphs into one picture, in rows of `SPRITE_COLUMNS`.

    Parameters
    ----------
    data : EmojiDataset
    most_bytes : int
        The largest form that needs at most so many bytes is used, or else the smallest one.

    Returns
    -------
    str
        A data URI of a WebP file, or of a JPEG file if Pillow cannot write WebP. The background is
        white.
    """
    from PIL import features

    kind = "webp" if features.check("webp") else "jpeg"
    uri = ""
    for n_pixels, quality in _SPRITE_FORMS:
        file = io.BytesIO()
        _draw(data, n_pixels).save(file, kind, quality=quality)
        uri = data_uri(f"image/{kind}", file.getvalue())
        if len(uri) <= most_bytes:
            break
    return uri


def _draw(data: EmojiDataset, n_pixels: int) -> Image.Image:
    from PIL import Image

    n_rows = math.ceil(len(data) / SPRITE_COLUMNS)
    picture = Image.new("RGB", (SPRITE_COLUMNS * n_pixels, n_rows * n_pixels), "white")
    for i in range(len(data)):
        with Image.open(io.BytesIO(data.thumbnail(i))) as glyph:
            small = glyph.convert("RGBA").resize((n_pixels, n_pixels), Image.Resampling.LANCZOS)
        row, column = divmod(i, SPRITE_COLUMNS)
        picture.paste(small, (column * n_pixels, row * n_pixels), small)
    return picture
