from typing import final

import numpy as np
from numpy.typing import NDArray

def topk(
    queries: NDArray[np.uint8],
    codes: NDArray[np.uint8],
    rows: NDArray[np.int64] | None,
    allowed: NDArray[np.uint8] | None,
    order: NDArray[np.uint32] | None,
    k: int,
    n_threads: int,
) -> tuple[NDArray[np.int32], NDArray[np.int64]]: ...
def look_up(values: NDArray[np.int64], positions: NDArray[np.int64]) -> None: ...

@final
class Topk:
    def __new__(
        cls,
        queries: NDArray[np.uint8],
        codes: NDArray[np.uint8],
        rows: NDArray[np.int64] | None,
        allowed: NDArray[np.uint8] | None,
        order: NDArray[np.uint32] | None,
        k: int,
        out_distances: NDArray[np.int32],
        out_positions: NDArray[np.int64],
        n_threads: int,
    ) -> Topk: ...
    def advance(self, n_words: int) -> int: ...
