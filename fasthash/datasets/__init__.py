"""Data that comes with the package.

Map of the room:

- ``emoji``: about 1,900 emoji as two modalities, the glyph and its English name with keywords;
  `load_emoji` hands them out as an `EmojiDataset`. The numbers lie beside it in ``emoji.npz``,
  written by ``tools/build_emoji_dataset.py``; sources and licences are in ``EMOJI_LICENSES.md``.
"""

from .emoji import EmojiDataset, load_emoji

__all__ = ["EmojiDataset", "load_emoji"]
