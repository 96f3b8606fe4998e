"""Lets the pytest files here import their neighbours and measure on one thread, as run.py does."""

import sys
from pathlib import Path

import pytest
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def one_blas_thread():
    """Peers that multiply matrices get one core, as fasthash does."""
    with threadpool_limits(1, "blas"):
        yield
