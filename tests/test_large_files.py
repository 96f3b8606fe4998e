"""Commands on a file that is larger than the memory they may take: it stays where it is."""

import json
import subprocess
import sys

import numpy as np
import pytest

N, N_FEATURES, ROW = 1 << 20, 256, 734_567
MOST_BYTES = 5 << 27

# What is read from a mapped file is no data of the process.
LIMITED = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_DATA, ({MOST_BYTES}, {MOST_BYTES}))
if sys.argv[1] == "read":
    import numpy
    numpy.load(sys.argv[2])
from fasthash import cli
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.skipif(
    sys.platform != "linux", reason="limits data, in a file with holes, as Linux does"
)
def test_embeddings_of_a_gibibyte_are_coded_and_searched_in_less(tmp_path):
    query = np.random.default_rng(0).standard_normal((1, N_FEATURES), np.float32)
    np.save(tmp_path / "query.npy", query)
    # A file of holes: what is not written takes no room, and is read as zeros.
    large = np.lib.format.open_memmap(
        tmp_path / "large.npy", mode="w+", dtype=np.float32, shape=(N, N_FEATURES)
    )
    large[ROW] = 3 * query
    del large
    assert (tmp_path / "large.npy").stat().st_size > 1.5 * MOST_BYTES

    def run(command, status=0):
        done = subprocess.run(
            [sys.executable, "-c", LIMITED, *command.split()],
            cwd=tmp_path, capture_output=True, text=True, timeout=170,
        )  # fmt: skip
        assert done.returncode == status, done.stderr
        return done

    assert f"({N}, {N_FEATURES})  float32" in run("info large.npy").stdout
    run("encode --method sign --features large.npy --output codes.npy")
    run("index build large.index --codes codes.npy")
    found = run(
        "search large.index --signs --features query.npy --rerank large.npy -k 3 --format jsonl"
    )
    answer = json.loads(found.stdout)
    # The others are zeros, all as far away.
    assert (answer["ids"], answer["distances"][0]) == ([ROW, 0, 1], 0)
    # The limit is one: what reads the file as a whole does not get the memory.
    assert "MemoryError" in run("read large.npy", status=1).stderr
