import numpy as np
from numpy.typing import NDArray

def map_cached(memory: NDArray[np.uint8]) -> int: ...
