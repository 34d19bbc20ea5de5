"""How much memory reading and writing take.

Memory is counted, not measured: the storages of tensors, and what Python and NumPy allocate. How
much of that is resident depends on the machine.
"""

from __future__ import annotations

import re
import tracemalloc
from functools import partial
from pathlib import Path

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import heat_array_api as xp
from files import shared_folder
from heat_array_api import io
from heat_array_api.io import _hdf5_datasets, _npy, _read, _write


@pytest.fixture(scope="module")
def folder(comm):
    with shared_folder(comm) as path:
        yield path


class Storages(TorchDispatchMode):
    """Counts the bytes of the storages that torch's operators allocate, and their peak."""

    def __init__(self):
        super().__init__()
        self.peak = 0
        self._known = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self._meet((args, kwargs), counted=False)
        result = func(*args, **(kwargs or {}))
        self._meet(result, counted=True)
        return result

    def _meet(self, tree, counted):
        """Note storages that are new: arguments were made elsewhere, by NumPy say."""
        for t in tree_leaves(tree):
            if isinstance(t, torch.Tensor):
                storage = t.untyped_storage()
                self._known = {k: v for k, v in self._known.items() if not v[0].expired()}
                nbytes = storage.nbytes() if counted else 0
                self._known.setdefault(storage._cdata, (StorageWeakRef(storage), nbytes))
        self.peak = max(self.peak, sum(nbytes for _, nbytes in self._known.values()))


def taken(action):
    """Return the most bytes that an action has allocated at any time."""
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    with Storages() as storages:
        kept = action()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del kept
    return storages.peak + peak - before


ROUND = 1 << 17
"""Bytes in place of the 4 MiB that readers and writers handle at once, of small arrays."""

SHARE = 32 * ROUND

FILES = {
    "x.h5": {},
    "z.h5": {"gzip": 1},
    "root.h5": {"strategy": "root"},
    "x.nc": {},
    "x.npy": {},
    "x.zarr": {},
}


@pytest.mark.parametrize("split", [0, 1])
@pytest.mark.parametrize(("before", "columns"), [((), 1024), ((1,), 1024), ((1, 1), 8)])
def test_memory_is_that_of_the_share(before, columns, split, folder, comm, monkeypatch):
    """Beside the share some rounds: copies of it would be 32."""
    for module in (_hdf5_datasets, _read, _write):
        monkeypatch.setattr(module, "ROUND", ROUND)
    monkeypatch.setattr(_read, "BLOCK", ROUND)
    rows = SHARE * comm.size // (4 * columns)
    axis = len(before) + split
    chunks = (*before, ROUND // 2 // (4 * columns), columns)
    for name, options in FILES.items():
        given = options | ({"chunks": chunks} if name in ("z.h5", "x.zarr") else {})
        for n in (rows // 32, rows):  # libraries take memory when they are first used
            x = xp.full((*before, n, columns), 1.5, dtype="float32", split=axis)
            write = taken(partial(io.save, x, folder / name, **given))
            read = taken(partial(io.load, folder / name, split=axis))
        assert write < 6 * ROUND, f"writing {name}: {write / ROUND} rounds"
        assert read < SHARE + 8 * ROUND, f"reading {name}: {(read - SHARE) / ROUND} rounds"


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="only Linux tells of mappings")
def test_pages_of_a_mapped_file_are_let_go(folder, comm):
    path = folder / "mapped.npy"
    io.save(xp.ones(1 << 20, split=0), path)
    source = _npy._File(str(path), _npy.read_header(str(path)))
    assert source.read((slice(0, 1 << 20),), None).sum() == 1 << 20
    mappings = re.split(r"\n(?=\w+-\w+ )", Path("/proc/self/smaps").read_text())
    own = [text for text in mappings if str(path) in text]
    assert [re.search(r"Rss: +(\d+) kB", text)[1] for text in own] == ["0"]
    comm.barrier()
