"""Data that comes with the package, a person's own files, and how experiments divide data.

Map of the room:

- ``emoji``: about 1,900 emoji as two modalities, the glyph and its English name with keywords;
  `load_emoji` hands them out as an `EmojiDataset`. The numbers lie beside it in ``emoji.npz``,
  written by ``tools/build_emoji_dataset.py``; sources and licences are in ``EMOJI_LICENSES.md``.
- ``readers``: `read_array` and `list_arrays`, for arrays in files. ``_file_formats`` calls the
  module of a format, ``_numpy_files``, ``_matlab_files``, ``_hdf5_files``, ``_arrow_columns`` or
  ``_text_files``; what they find is in ``_found_arrays``. ``layouts``: `read_layout`, for files
  whose arrays have the names the literature uses.
- ``protocols``: `semi_paired_split` hides which rows of a paired set belong together,
  `validation_split` holds rows out.
"""

from .emoji import EmojiDataset, load_emoji
from .layouts import Part, read_layout
from .protocols import SemiPairedSplit, semi_paired_split, validation_split
from .readers import list_arrays, read_array

__all__ = [
    "EmojiDataset",
    "Part",
    "SemiPairedSplit",
    "list_arrays",
    "load_emoji",
    "read_array",
    "read_layout",
    "semi_paired_split",
    "validation_split",
]
