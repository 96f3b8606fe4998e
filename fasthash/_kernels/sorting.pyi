from typing import final

import numpy as np
from numpy.typing import NDArray

@final
class Ranking:
    def __new__(
        cls,
        queries: NDArray[np.uint8],
        codes: NDArray[np.uint8],
        rows: NDArray[np.int64] | None,
        out_distances: NDArray[np.int32] | None,
        out: NDArray[np.int64],
        n_threads: int,
    ) -> Ranking: ...
    def advance(self, n_words: int) -> int: ...

def sorts_all_rows(k: int, n: int) -> bool: ...
def find_ascending(
    ids: NDArray[np.int64], wanted: NDArray[np.int64], rows: NDArray[np.int64]
) -> None: ...
