from typing import Any

import numpy as np
from numpy.typing import NDArray

# Where Any stands, float32 or float64: the same for all such arguments of a call.

def label_target(
    prediction: NDArray[Any],
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    n_threads: int = 1,
) -> float: ...
def bit_target(margins: NDArray[Any], codes: NDArray[np.uint8], n_threads: int = 1) -> float: ...
def label_votes(
    values: NDArray[Any],
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    n_classes: int,
    n_threads: int = 1,
) -> NDArray[np.float64]: ...
def label_votes_of_codes(
    codes: NDArray[np.uint8],
    n_bits: int,
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    n_classes: int,
    n_threads: int = 1,
) -> NDArray[np.float64]: ...
def add_codes(
    sums: NDArray[Any], codes: NDArray[np.uint8], eta: float, n_threads: int = 1
) -> None: ...
def add_label_rows(
    whitened: NDArray[Any],
    origin: NDArray[Any],
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    label_rows: NDArray[Any],
    latents: NDArray[Any],
    n_threads: int = 1,
) -> None: ...
def update_codes(
    latents: NDArray[Any],
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    votes: NDArray[np.float64],
    eta: float,
    codes: NDArray[np.uint8],
    n_threads: int = 1,
) -> tuple[int, float]: ...
