"""Settings of the whole suite."""

import os
import pathlib

import pytest
from hypothesis import settings

# Before a runtime of OpenMP is loaded: the threads of several processes share the cores, and one
# that spins while it waits takes a core from another.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# OpenBLAS always spins, and waits for the thread that has no core.
if int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) > 1:
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from fasthash._kernels import tiles as kernels

# Processes that tests start meet the installed package too, not the sources they start beside.
os.environ["PYTHONSAFEPATH"] = "1"

# A time is never an assertion: on a busy machine an example may take as long as it likes.
settings.register_profile("fasthash", deadline=None)
# For builds with sanitizers, which are many times slower and look for other faults.
settings.register_profile("few", deadline=None, max_examples=20)
settings.load_profile("fasthash")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """Run the whole suite in several processes, where pytest-xdist is there; `-n 0` says no."""
    options = config.option
    whole = config.args_source is config.ArgsSource.TESTPATHS
    # The processes get the same arguments; they must not start others in their turn.
    started_by_another = hasattr(config, "workerinput")
    if whole and not started_by_another and getattr(options, "numprocesses", 0) is None:
        options.numprocesses = "logical"
        # Every process imports and collects all there is.
        options.maxprocesses = options.maxprocesses or 8
        if options.dist == "no":
            options.dist = "worksteal"


@pytest.fixture(scope="session")
def emoji_folder(tmp_path_factory):
    """A folder with the emoji as plain files, a model and an index of its image codes."""
    from fasthash import cli

    folder = tmp_path_factory.mktemp("emoji")
    before = pathlib.Path.cwd()
    os.chdir(folder)
    try:
        for command in (
            "demo --files emoji",
            "fit --data emoji/emoji.npz --set n_anchors=200 --output emoji.model",
            "encode --model emoji.model --modality image --learned --output image-codes.npy",
            "index build emoji.index --codes image-codes.npy",
        ):
            assert cli.main(["--quiet", *command.split()]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def emoji(emoji_folder, tmp_path, monkeypatch):
    """A folder of its own with what `emoji_folder` has."""
    for path in emoji_folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    # What is changed in place is copied.
    for name in ("emoji.index", "image-codes.npy", "emoji.model"):
        (tmp_path / name).unlink()
        (tmp_path / name).write_bytes((emoji_folder / name).read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session", autouse=True)
def _small_problems_run_on_several_threads():
    """Threads are for long searches; tests are to see them in short ones too."""
    before = kernels.use_least_work(1)
    yield
    kernels.use_least_work(before)


@pytest.fixture(scope="session")
def client():
    """The client of a Dask cluster of two processes, which all tests share."""
    pytest.importorskip("distributed", reason="needs Dask, of the extra `distributed`")
    from clusters import two_workers

    with two_workers() as client:
        yield client


@pytest.fixture
def lists_answer(monkeypatch):
    """Lists answer even if the machine is so busy that the exact search seems to be faster."""
    from fasthash.index import _list_search

    monkeypatch.setattr(_list_search, "_is_faster", lambda seconds, exact: True)
