"""Packed binary codes: packed from bits and signs, and read from what other programs store.

A code is a row of a C-contiguous uint8 array. The bit order is that of `numpy.packbits` (most
significant bit first). A bit is 1 where the value was >= 0, and padding bits are zero.
"""

# The modules of fasthash import these from here; they are not public.
from ._checks import check_codes as check_codes
from ._checks import check_ids as check_ids
from ._checks import check_same_width as check_same_width
from ._checks import looks_unpacked as looks_unpacked
from ._packing import check_signs as check_signs
from ._packing import pack, unpack
from ._packing import pack_signs as pack_signs

__all__ = ["pack", "unpack"]
