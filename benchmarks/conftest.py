"""Lets the pytest files here import their neighbours, as `python benchmarks/run.py` does."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
