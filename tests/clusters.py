"""A Dask cluster of two processes with one thread each, for all tests of one process of pytest."""

import contextlib
import os
import signal
import time

MEMORY_LIMIT = 2**30


@contextlib.contextmanager
def two_workers():
    """The client of a cluster; its workers are processes, which a nanny starts again."""
    from distributed import Client, LocalCluster

    options = {"n_workers": 2, "threads_per_worker": 1, "memory_limit": MEMORY_LIMIT}
    with (
        LocalCluster(processes=True, dashboard_address=":0", **options) as cluster,
        # Not the current client, so that other tests in this process do not use the cluster.
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def pids(client):
    """The processes of the workers."""
    return sorted(client.run(os.getpid).values())


def kill(pid):
    """Kill the process of a worker, as the system does when memory is short."""
    os.kill(pid, signal.SIGKILL)


def wait_for(path, seconds=60):
    """Wait until a worker has written a file, and return its content."""
    end = time.monotonic() + seconds
    while not path.exists() or not path.read_text():
        assert time.monotonic() < end, f"{path} was never written"
        time.sleep(0.01)
    return path.read_text()
