"""Index files and the system: pages that processes share, the order of syncing, read-only media."""

import ctypes
import gc
import mmap
import os
import re
import shlex
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

import fasthash as fh
from fasthash._core.pieces import smaller_pieces
from fasthash.index import _index_file as index_file
from strategies import random_codes


@pytest.mark.skipif(not os.path.exists("/proc/self/smaps"), reason="no /proc/self/smaps here")
def test_processes_share_the_pages_of_a_mapped_file(tmp_path):
    """What both have read is there once: shared in each, and next to nothing of its own."""
    index = fh.HammingIndex(256)
    index.add(random_codes(200_000, 256))
    path = tmp_path / "x"
    index.save(path)
    code = (
        "import re, sys, fasthash as fh\n"
        "index = fh.load(sys.argv[1], mmap=True)\n"
        "index.verify()\n"
        "print('read', flush=True)\n"
        "sys.stdin.readline()\n"
        "maps = open('/proc/self/smaps').read()\n"
        "of_file = maps[maps.index(sys.argv[1]):]\n"
        "names = 'Rss', 'Private_Clean', 'Private_Dirty'\n"
        "print(*(re.search(name + r': +([0-9]+) kB', of_file)[1] for name in names))"
    )
    children = [
        subprocess.Popen(
            [sys.executable, "-c", code, path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    try:
        assert [child.stdout.readline() for child in children] == ["read\n"] * 2
        # One looks while the other still maps the file.
        children[0].stdin.write("\n")
        children[0].stdin.flush()
        held, clean, dirty = map(int, children[0].stdout.readline().split())
        assert held >= 0.9 * path.stat().st_size / 1024
        assert clean + dirty <= 0.05 * held
    finally:
        for child in children:
            child.communicate()


def can_trace():
    """Whether strace is installed and may trace here."""
    return (
        shutil.which("strace") is not None
        and subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True).returncode
        == 0
    )


@pytest.mark.skipif(not can_trace(), reason="strace is not installed, or may not trace here")
def test_a_save_syncs_the_file_renames_it_and_syncs_the_folder(tmp_path):
    """In this order a loss of power leaves the old file or the new one, whole."""
    traced = "write,pwrite64,ftruncate,fsync,fdatasync,rename,renameat,renameat2"
    code = (
        "import sys, numpy as np, fasthash as fh\n"
        "index = fh.HammingIndex(64)\n"
        "index.add(np.zeros((1000, 8), np.uint8))\n"
        "index.save(sys.argv[1])"
    )
    trace = ["strace", "-f", "-y", "-e", f"trace={traced}", "-o", tmp_path / "trace"]
    folder = tmp_path / "folder"
    folder.mkdir()
    subprocess.run([*trace, sys.executable, "-c", code, folder / "x"], check=True, timeout=300)
    calls = []
    for line in (tmp_path / "trace").read_text().splitlines():
        call = re.match(r"\d+ +(\w+)\((.*)", line)
        if call is None or str(folder) not in line:
            continue
        name, arguments = call.groups()
        is_beside = f"{folder}/.x." in arguments and ".tmp" in arguments
        what = "file" if is_beside else "folder"
        if name.startswith("rename"):
            what = "to x" if f'"{folder}/x"' in arguments and is_beside else "elsewhere"
        calls.append((re.sub("at2?$", "", name), what))
    last = [("fsync", "file"), ("rename", "to x"), ("fsync", "folder")]
    assert calls[-3:] == last
    # Nothing else touches the folder, and nothing is written after the file was synced.
    assert {call for call in calls[:-3]} <= {
        ("write", "file"),
        ("pwrite64", "file"),
        ("ftruncate", "file"),
        ("fsync", "file"),
    }
    assert ("write", "file") in calls


def test_a_large_file_is_synced_as_it_is_written(tmp_path, monkeypatch):
    """All of it at the end would be one call, which no interrupt ends."""
    synced = []
    monkeypatch.setattr(index_file, "_SYNCED_BYTES", 1 << 20)
    monkeypatch.setattr(index_file, "sync", lambda file: synced.append(file.tell()))
    index = fh.HammingIndex(256)
    index.add(random_codes(100_000, 256))
    with smaller_pieces(1 << 18):
        index.save(tmp_path / "x")
    assert len(synced) >= 3 and np.diff(synced).max() <= 5 << 18
    fh.load(tmp_path / "x").verify()


def can_mount():
    """Whether a process may mount a file system of its own."""
    if shutil.which("unshare") is None:
        return False
    mount = [
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "mount",
        "-t",
        "tmpfs",
        "none",
        "/mnt",
    ]
    return subprocess.run(mount, capture_output=True).returncode == 0


@pytest.mark.skipif(not can_mount(), reason="a file system cannot be mounted here, not by unshare")
def test_read_only_media(tmp_path):
    """A file system that is mounted for reading: files are read and mapped, saving says why not."""
    code = (
        "import errno, os, sys, numpy as np, fasthash as fh\n"
        "path = sys.argv[1] + '/x'\n"
        "if sys.argv[2] == 'write':\n"
        "    index = fh.HammingIndex(8)\n"
        "    index.add(np.arange(100, dtype=np.uint8)[:, None])\n"
        "    index.save(path)\n"
        "    raise SystemExit\n"
        "for mapped in (False, True):\n"
        "    index = fh.load(path, mmap=mapped)\n"
        "    index.verify()\n"
        "    index.remove([3])\n"
        "    index.add(np.array([[3]], np.uint8), ids=[1000])\n"
        "    assert index.search(np.array([[3]], np.uint8), 1)[1].tolist() == [[1000]]\n"
        "    try:\n"
        "        index.save(path)\n"
        "    except OSError as error:\n"
        "        assert error.errno == errno.EROFS, error\n"
        "    else:\n"
        "        raise AssertionError('saved')\n"
        "    assert os.listdir(sys.argv[1]) == ['x']\n"
        "print('read, and not written')"
    )
    python = shlex.join([sys.executable, "-c", code, str(tmp_path)])
    script = (
        f"mount -t tmpfs none {tmp_path} && {python} write"
        f" && mount -o remount,ro {tmp_path} && {python} read"
    )
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout == "read, and not written\n", done.stderr


LARGE_PAGE = 1 << 21


def flags_of_pages(source, array):
    """What mincore or /proc/self/pagemap says of every page of an array: whether it is there."""
    page = mmap.PAGESIZE
    first = array.ctypes.data // page
    n = (array.ctypes.data + array.nbytes - 1) // page - first + 1
    if source == "pagemap":
        entries = np.fromfile("/proc/self/pagemap", np.uint64, n, offset=8 * first)
        return entries >> np.uint64(63) == 1
    flags = np.zeros(n, np.uint8)
    memory = [ctypes.c_void_p(first * page), ctypes.c_size_t(n * page)]
    assert ctypes.CDLL(None).mincore(*memory, ctypes.c_void_p(flags.ctypes.data)) == 0
    return flags & 1 == 1


@pytest.fixture(scope="module")
def path_of_tables(tmp_path_factory):
    """A file with 24 MB of tables."""
    index = fh.MultiIndexHash(64)
    index.add(random_codes(500_000, 64), ids=np.arange(500_000) * 3)
    path = tmp_path_factory.mktemp("tables") / "x"
    index.save(path, tables=True)
    return path


needs_page_table = pytest.mark.skipif(
    not os.path.exists("/proc/self/pagemap"), reason="no /proc/self/pagemap here"
)


@needs_page_table
def test_large_pages_that_are_in_memory_are_mapped_by_load(path_of_tables):
    path_of_tables.read_bytes()
    index = fh.load(path_of_tables, mmap=True)
    held = index._storage.state.base
    for array in (held.searcher.tables.memory, held.ids, held.codes):
        is_mapped = flags_of_pages("pagemap", array)
        first_large = -(array.ctypes.data // mmap.PAGESIZE) % (LARGE_PAGE // mmap.PAGESIZE)
        assert is_mapped[0] and is_mapped[first_large :: LARGE_PAGE // mmap.PAGESIZE].all()


@needs_page_table
def test_nothing_is_mapped_where_linux_does_not_tell_what_is_in_memory(path_of_tables, monkeypatch):
    path_of_tables.read_bytes()
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    monkeypatch.setattr(os, "access", lambda *arguments, **keywords: False)
    monkeypatch.setattr(os, "supports_effective_ids", {os.access})
    index = fh.load(path_of_tables, mmap=True)
    is_mapped = flags_of_pages("pagemap", index._storage.state.base.searcher.tables.memory)
    # The ends of the ids beside them have been read.
    assert not is_mapped[LARGE_PAGE // mmap.PAGESIZE :].any()


@needs_page_table
@pytest.mark.parametrize("kept", ["nothing", "first half", "here and there"])
def test_mapping_large_pages_reads_nothing_from_the_disk(path_of_tables, kept):
    size = path_of_tables.stat().st_size
    with open(path_of_tables, "rb", buffering=0) as file:
        os.fsync(file.fileno())
        pieces = {
            "nothing": [],
            "first half": [(at, 1 << 16) for at in range(0, size // 2, 1 << 16)],
            "here and there": [(at, 4096) for at in range(0, size, 1 << 20)],
        }
        gc.collect()
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        for at, n_bytes in pieces[kept]:
            os.pread(file.fileno(), n_bytes, at)
        time.sleep(0.2)
        content = index_file.read_index(path_of_tables, use_mmap=True)
        arrays = [content.tables, content.ids, content.codes]
        time.sleep(0.2)
        before = [flags_of_pages("mincore", array).sum() for array in arrays]
        if sum(before) > size / mmap.PAGESIZE * 0.9:
            pytest.skip("this file system keeps the file in memory")
        index_file.map_large_pages(content)
        time.sleep(0.2)
        assert [flags_of_pages("mincore", array).sum() for array in arrays] == before
