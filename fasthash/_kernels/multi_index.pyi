from typing import Final, final

import numpy as np
from numpy.typing import NDArray

SUBSTRING_BITS_MAX: Final[int]
NARROW_BITS: Final[int]
BUCKET_COST: Final[int]
FREE_COST: Final[int]

def best_n_tables(n_bits: int, n: int) -> int: ...
def default_budget(n: int) -> int: ...
def table_bytes(n: int, n_bits: int, n_tables: int) -> int: ...

@final
class Tables:
    def __new__(
        cls,
        codes: NDArray[np.uint8],
        n_bits: int,
        n_tables: int,
        n_threads: int,
        memory: NDArray[np.uint8] | None = None,
        places: NDArray[np.uint32] | None = None,
    ) -> Tables: ...
    @property
    def memory(self) -> NDArray[np.uint8]: ...
    @property
    def n_tables(self) -> int: ...
    def topk(
        self,
        queries: NDArray[np.uint8],
        k: int,
        budget: int,
        allowed: NDArray[np.uint8] | None,
        out_distances: NDArray[np.int32],
        out_rows: NDArray[np.int64],
        costs: NDArray[np.int64],
        done: NDArray[np.uint8],
        n_threads: int,
    ) -> None: ...
    def within(
        self,
        queries: NDArray[np.uint8],
        radius: int,
        budget: int,
        costs: NDArray[np.int64],
        done: NDArray[np.uint8],
        n_threads: int,
    ) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]: ...
