from typing import final

import numpy as np
from numpy.typing import NDArray

def queries_at_once(radius: int) -> int: ...
def sort_ties(
    limits: NDArray[np.int64],
    distances: NDArray[np.int32],
    rows: NDArray[np.int64],
    n_threads: int,
) -> None: ...

@final
class Within:
    def __new__(
        cls,
        queries: NDArray[np.uint8],
        codes: NDArray[np.uint8],
        rows: NDArray[np.int64] | None,
        allowed: NDArray[np.uint8] | None,
        order: NDArray[np.uint32] | None,
        radius: int,
        most: int,
        n_threads: int,
    ) -> Within: ...
    @property
    def limits(self) -> NDArray[np.int64]: ...
    @property
    def distances(self) -> NDArray[np.int32] | None: ...
    @property
    def positions(self) -> NDArray[np.int64]: ...
    def advance(self, n_words: int) -> int: ...
