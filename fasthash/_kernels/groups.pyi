from typing import final

import numpy as np
from numpy.typing import NDArray

@final
class NarrowGroups:
    def __new__(
        cls,
        codes: NDArray[np.uint8],
        starts: NDArray[np.int64],
        earlier: NDArray[np.int64],
        max_diameter: int,
    ) -> NarrowGroups: ...
    @property
    def groups(self) -> NDArray[np.int64]: ...
    def advance(self, amount: int) -> int: ...
