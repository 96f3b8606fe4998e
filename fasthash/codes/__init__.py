"""Packed binary codes: packed from bits and signs, and converted from and to other forms.

A code is a row of a C-contiguous uint8 array. The bit order is that of `numpy.packbits` (most
significant bit first). A bit is 1 where the value was >= 0, and padding bits are zero.
"""

# The modules of fasthash import these from here; they are not public.
from ._checks import check_codes as check_codes
from ._checks import check_ids as check_ids
from ._checks import check_same_width as check_same_width
from ._checks import looks_unpacked as looks_unpacked
from ._image_hashes import from_image_hashes
from ._integers import codes_of_integers as codes_of_integers
from ._integers import from_integers, to_integers
from ._packing import check_signs as check_signs
from ._packing import pack, unpack
from ._packing import pack_signs as pack_signs
from ._packing import unpack_signs as unpack_signs
from ._texts import codes_of_bit_strings as codes_of_bit_strings
from ._texts import codes_of_hex as codes_of_hex
from ._texts import from_bit_strings, from_hex, to_bit_strings, to_hex

__all__ = [
    "from_bit_strings",
    "from_hex",
    "from_image_hashes",
    "from_integers",
    "pack",
    "to_bit_strings",
    "to_hex",
    "to_integers",
    "unpack",
]
