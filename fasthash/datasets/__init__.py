"""The data set of the package, readers of the user's own files, and splits for experiments.

The modules of this folder:

- ``emoji``: about 1,900 emoji as two modalities, the glyph and its English name with keywords.
  `load_emoji` returns them as an `EmojiDataset`. The data are in ``emoji.npz``, which
  ``tools/build_emoji_dataset.py`` writes; sources and licences are in ``EMOJI_LICENSES.md``.
- ``readers``: `read_array` and `list_arrays` read arrays of files. ``_file_formats`` calls the
  module of the format: ``_numpy_files``, ``_matlab_files``, ``_hdf5_files``, ``_arrow_columns`` or
  ``_text_files``. These return objects of ``_found_arrays``.
- ``layouts``: `read_layout` reads files whose arrays have names that are usual in the literature.
- ``protocols``: `semi_paired_split` keeps some pairs of a paired set and separates the other rows;
  `validation_split` holds out rows for validation.
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
