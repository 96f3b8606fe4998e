"""A Dask cluster of two processes with one thread each, for all tests of one process of pytest."""

import contextlib
import os
import signal
import time

MEMORY_LIMIT = 2**30


@contextlib.contextmanager
def two_workers():
    """The client of a cluster; its workers are processes, which a nanny starts again."""
    import dask
    from distributed import Client, LocalCluster
    from distributed.utils import get_mp_context

    # Each worker is a fork of a process that has imported what workers need, because tests kill
    # workers. A nanny reads the setting again when it starts another one.
    dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"})
    modules = ["distributed", "dask.array", "fasthash.distributed", "fasthash.models"]
    get_mp_context().set_forkserver_preload(modules)
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


@contextlib.contextmanager
def one_waits_to_rename(client, folder):
    """
    Let the first worker that has written a file in a folder wait before it renames the file.

    The yield is a function that kills this worker, once it waits.
    """
    marker = folder / "process-id"

    def wait_once(folder=str(folder), marker=str(marker)):
        rename = os.replace

        def replace(old, new):
            if str(new).startswith(folder):
                with contextlib.suppress(FileExistsError):
                    with open(marker, "x") as file:
                        file.write(str(os.getpid()))
                    time.sleep(600)
            rename(old, new)

        replace.rename = rename
        os.replace = replace

    def restore():
        # A worker that was started meanwhile has the function of the system.
        os.replace = getattr(os.replace, "rename", os.replace)

    client.run(wait_once)
    try:
        yield lambda: kill(int(wait_for(marker)))
    finally:
        client.wait_for_workers(2)
        client.run(restore)
