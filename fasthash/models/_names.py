"""The module that defines each public name of `fasthash.models`.

A name is imported when it is first used. Add a new model here; `fasthash.load` then finds its class
too.
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
