from typing import final

import numpy as np
from numpy.typing import NDArray

@final
class Jaccard:
    def __new__(
        cls,
        queries: NDArray[np.uint8],
        query_sizes: NDArray[np.int32],
        codes: NDArray[np.uint8],
        sizes: NDArray[np.int32],
        rows: NDArray[np.int64],
        radius: float,
        starts: NDArray[np.int64] | None,
        counts: NDArray[np.int64],
        out_distances: NDArray[np.float64],
        out_rows: NDArray[np.int64],
        n_threads: int,
    ) -> Jaccard: ...
    def advance(self, n_words: int) -> int: ...
