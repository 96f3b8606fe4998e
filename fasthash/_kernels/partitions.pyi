from typing import final

import numpy as np
from numpy.typing import NDArray

@final
class Lists:
    def __new__(
        cls,
        codes: NDArray[np.uint8],
        centres: NDArray[np.uint8],
        starts: NDArray[np.int64],
        rows: NDArray[np.uint32],
        in_order: bool,
    ) -> Lists: ...
    def search(
        self,
        queries: NDArray[np.uint8] | NDArray[np.int16],
        has_weights: bool,
        out_compared: NDArray[np.int64] | None,
        allowed: NDArray[np.uint8] | None,
        k: int,
        least: int,
        most: int,
        from_nearest: bool,
        slope: int,
        threshold: int,
        bound: int,
        n_threads: int,
    ) -> tuple[NDArray[np.int32], NDArray[np.int64], int]: ...

def find_majority(
    codes: NDArray[np.uint8],
    starts: NDArray[np.int64],
    rows: NDArray[np.uint32],
    before: NDArray[np.uint8],
    out: NDArray[np.uint8],
    n_threads: int,
) -> None: ...
def find_nearest(
    codes: NDArray[np.uint8],
    centres: NDArray[np.uint8],
    distances: NDArray[np.int32],
    nearest: NDArray[np.int64],
    has_guesses: bool,
    n_threads: int,
) -> None: ...
