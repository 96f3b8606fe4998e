from typing import final

import numpy as np
from numpy.typing import NDArray

@final
class Ranks:
    def __new__(
        cls,
        queries: NDArray[np.uint8],
        codes: NDArray[np.uint8],
        query_labels: NDArray[np.uint64],
        labels: NDArray[np.uint64],
        totals: NDArray[np.int64],
        relevant: NDArray[np.int64],
        note_starts: NDArray[np.int64] | None,
        notes: NDArray[np.int32] | None,
        own: NDArray[np.int64] | None,
        n_threads: int,
    ) -> Ranks: ...
    @property
    def n_relevant(self) -> NDArray[np.int64]: ...
    def advance(self, n_rows: int) -> int: ...
    def sum_precisions(
        self,
        first_note: int,
        n_notes: int,
        at: NDArray[np.int64],
        bin_of_rank: NDArray[np.int32],
        sums: NDArray[np.float64],
        n_within: NDArray[np.int64],
        hits: NDArray[np.int64],
    ) -> None: ...
