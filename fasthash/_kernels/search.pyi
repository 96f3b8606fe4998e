import numpy as np
from numpy.typing import NDArray

def topk(
    queries: NDArray[np.uint8],
    codes: NDArray[np.uint8],
    rows: NDArray[np.int64] | None,
    allowed: NDArray[np.uint8] | None,
    k: int,
    out_distances: NDArray[np.int32],
    out_positions: NDArray[np.int64],
    n_threads: int,
) -> None: ...
def within(
    queries: NDArray[np.uint8],
    codes: NDArray[np.uint8],
    rows: NDArray[np.int64] | None,
    allowed: NDArray[np.uint8] | None,
    radius: int,
    n_threads: int,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]: ...
