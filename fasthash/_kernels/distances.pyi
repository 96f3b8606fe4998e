import numpy as np
from numpy.typing import NDArray

def distances(
    a: NDArray[np.uint8], b: NDArray[np.uint8], out: NDArray[np.int32], n_threads: int
) -> None: ...
