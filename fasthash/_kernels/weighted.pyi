from typing import final

import numpy as np
from numpy.typing import NDArray

def round_weights(
    weights: NDArray[np.float64],
    rounded: NDArray[np.int16],
    largest: NDArray[np.float64],
    steps: NDArray[np.float64],
) -> int: ...

@final
class WeightedTopk:
    def __new__(
        cls,
        weights: NDArray[np.int16],
        codes: NDArray[np.uint8],
        rows: NDArray[np.int64] | None,
        allowed: NDArray[np.uint8] | None,
        order: NDArray[np.uint32] | None,
        k: int,
        out_distances: NDArray[np.int32],
        out_positions: NDArray[np.int64],
        n_threads: int,
    ) -> WeightedTopk: ...
    def advance(self, n_words: int) -> int: ...
