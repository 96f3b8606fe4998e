"""Which module defines each public name of `fasthash.models`: a name is imported when first used.

A new model is entered here, by which its files can be loaded too.
"""

__all__ = ["MODULES"]

MODULES = {
    "AMSH": ".amsh",
    "CCAITQ": ".cca_itq",
    "CLSR": ".clsr",
    "CrossModalHasher": ".base",
    "ITQ": ".single_view",
    "RREH": ".rreh",
    "RandomHyperplanes": ".single_view",
    "Selection": ".selection",
    "select_by_pairs": ".selection",
}
