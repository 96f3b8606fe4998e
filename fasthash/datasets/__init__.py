"""Data that comes with the package, and how experiments divide data.

Map of the room:

- ``emoji``: about 1,900 emoji as two modalities, the glyph and its English name with keywords;
  `load_emoji` hands them out as an `EmojiDataset`. The numbers lie beside it in ``emoji.npz``,
  written by ``tools/build_emoji_dataset.py``; sources and licences are in ``EMOJI_LICENSES.md``.
- ``protocols``: `semi_paired_split` hides which rows of a paired set belong together,
  `validation_split` holds rows out.
"""

from .emoji import EmojiDataset, load_emoji
from .protocols import SemiPairedSplit, semi_paired_split, validation_split

__all__ = [
    "EmojiDataset",
    "SemiPairedSplit",
    "load_emoji",
    "semi_paired_split",
    "validation_split",
]
