import numpy as np
from numpy.typing import NDArray

def counts_per_distance(
    queries: NDArray[np.uint8],
    codes: NDArray[np.uint8],
    query_labels: NDArray[np.uint64],
    labels: NDArray[np.uint64],
    totals: NDArray[np.int64],
    relevant: NDArray[np.int64],
    n_threads: int,
) -> None: ...
def precisions_in_database_order(
    queries: NDArray[np.uint8],
    codes: NDArray[np.uint8],
    query_labels: NDArray[np.uint64],
    labels: NDArray[np.uint64],
    note_starts: NDArray[np.int64],
    notes: NDArray[np.int32],
    at: int,
    bin_of_rank: NDArray[np.int32],
    n_relevant: NDArray[np.int64],
    precision_sums: NDArray[np.float64],
    hits: NDArray[np.int64],
    n_threads: int,
) -> None: ...
