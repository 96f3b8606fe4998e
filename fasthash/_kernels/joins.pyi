from typing import final

import numpy as np
from numpy.typing import NDArray

@final
class Join:
    def __new__(
        cls,
        codes: NDArray[np.uint8],
        first_row: int,
        others: NDArray[np.uint8] | None,
        other_row: int,
        joins_itself: bool,
        radius: int,
        n_tables: int,
        most: int,
        n_threads: int,
    ) -> Join: ...
    @property
    def n_steps(self) -> int: ...
    @property
    def n_compared(self) -> int: ...
    @property
    def has_overflowed(self) -> bool: ...
    def start(self, j: int) -> None: ...
    def sort(self, amount: int) -> int: ...
    def compare(self, amount: int) -> int: ...
    def pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]: ...
