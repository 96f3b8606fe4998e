import numpy as np
from numpy.typing import NDArray

def rank(
    queries: NDArray[np.uint8],
    codes: NDArray[np.uint8],
    rows: NDArray[np.int64] | None,
    out_distances: NDArray[np.int32] | None,
    out: NDArray[np.int64],
    n_threads: int,
) -> None: ...
