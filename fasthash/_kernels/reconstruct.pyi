from typing import Any

import numpy as np
from numpy.typing import NDArray

# Where Any stands, float32 or float64: the same for all such arguments of a call.

def reconstruct(
    x: NDArray[Any],
    anchors: NDArray[Any],
    centred: NDArray[Any],
    scores: NDArray[Any],
    gram: NDArray[np.float64],
    regularisation: float,
    indices: NDArray[np.int32],
    weights: NDArray[Any],
) -> None: ...
