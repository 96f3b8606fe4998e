"""The module that defines each public name of `fasthash.models`.

A name is imported when it is first used. Add a new model here; `fasthash.load` then finds its class
too.
"""

__all__ = ["MODULES"]

MODULES = {
    "AMSH": ".amsh",
    "CCAITQ": ".baselines.cca_itq",
    "CLSR": ".clsr",
    "CMFH": ".baselines.cmfh",
    "CVH": ".baselines.cvh",
    "CrossModalHasher": ".base",
    "DCH": ".baselines.dch",
    "ITQ": ".baselines.single_view",
    "RREH": ".rreh",
    "RandomHyperplanes": ".baselines.single_view",
    "SCM": ".baselines.scm",
    "Selection": ".selection",
    "select_by_pairs": ".selection",
}
