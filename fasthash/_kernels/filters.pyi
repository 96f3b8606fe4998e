import numpy as np
from numpy.typing import NDArray

def add_to_set(
    values: NDArray[np.int64], first: int, span: int, members: NDArray[np.uint64]
) -> None: ...
def count_before(members: NDArray[np.uint64], before: NDArray[np.int64]) -> None: ...
def count_set(members: NDArray[np.uint64]) -> int: ...
def list_set(
    members: NDArray[np.uint64],
    ids: NDArray[np.uint64] | None,
    before: NDArray[np.int64] | None,
    rows: NDArray[np.int64],
) -> None: ...
def flag_set(
    members: NDArray[np.uint64],
    ids: NDArray[np.uint64],
    before: NDArray[np.int64],
    flags: NDArray[np.uint8],
) -> None: ...
def spread_flags(
    live: NDArray[np.uint8], flags: NDArray[np.uint8], out: NDArray[np.uint8]
) -> None: ...
