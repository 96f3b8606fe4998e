import numpy as np
from numpy.typing import NDArray

def refine(
    products: NDArray[np.float64],
    lengths: NDArray[np.float64],
    gram: NDArray[np.float64],
    along: float,
    even: float,
    norm: float,
    n_sweeps: int,
    bits: NDArray[np.float64],
) -> None: ...
