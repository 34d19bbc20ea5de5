"""Disks that are full and files that one rank may not touch: one error on all ranks, no harm."""

from __future__ import annotations

import os
import resource
from contextlib import contextmanager

import h5py
import numpy as np
import pytest

import heat_array_api as xp
from files import shared_folder
from heat_array_api import io
from heat_array_api.io._agreement import at_root
from layouts import assert_equal, same_everywhere

NOBODY = 65534
OLD = np.arange(12.0).reshape(4, 3)

SAVES = {
    "hdf5": ("x.h5", {}),
    "hdf5, gzip": ("x.h5", {"gzip": 1, "chunks": (500, 7)}),
    "hdf5, root": ("x.h5", {"strategy": "root"}),
    "netcdf": ("x.nc", {}),
    "netcdf, unlimited": ("x.nc", {"dims": ("t", "x"), "unlimited": "t"}),
    "zarr": ("x.zarr", {"chunks": (2500, 7)}),
    "npy": ("x.npy", {}),
    "csv": ("x.csv", {}),
    "checkpoint": ("checkpoint", {}),
}

ONLY_ROOT = (
    {"hdf5, root", "hdf5, gzip"}
    if h5py.get_config().mpi
    else {"hdf5, root", "hdf5, gzip", "netcdf, unlimited"}
)
"""Of which ranks other than 0 write nothing themselves."""


@pytest.fixture(scope="module")
def folder(comm):
    with shared_folder(comm) as path:
        at_root("test", comm, lambda: path.chmod(0o777))
        yield path


@contextmanager
def full_disk(here):
    """Let no file of this process grow beyond 64 KiB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    if here:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def another_user(here):
    """Have a user's rights who owns nothing."""
    if here:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def save(x, path, options):
    if path.name == "checkpoint":
        io.save_checkpoint(path, {"x": x})
    else:
        io.save(x, path, **options)


def load(path):
    if path.name == "checkpoint":
        return io.load_checkpoint(path)["x"]
    return io.load(path, split=0)


def fails_alike(comm, kind, action):
    with pytest.raises(kind) as caught:
        action()
    same_everywhere("the error", str(caught.value), comm)
    return str(caught.value)


@pytest.mark.parametrize("name", SAVES)
@pytest.mark.parametrize("split", [0, 1])
def test_full_disk(name, split, folder, comm):
    """Whichever rank cannot write, all raise, the old file stays and nothing is left beside it."""
    file, options = SAVES[name]
    path = folder / file
    rng = np.random.default_rng(1)
    new = xp.asarray(rng.standard_normal((15_000, 7)), split=split)
    for rank in range(comm.size):
        save(xp.asarray(OLD, split=0), path, {})
        with full_disk(comm.rank == rank):
            if name in ONLY_ROOT and rank != 0:
                save(new, path, options)
                assert_equal(load(path), np.asarray(new))
            else:
                text = fails_alike(comm, Exception, lambda: save(new, path, options))
                assert "arge" in text or "rite" in text, text  # File too large; unable to write
                assert_equal(load(path), OLD)
    everything = at_root("test", comm, lambda: sorted(p.name for p in folder.rglob("*unfinished")))
    assert everything == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("name", ["hdf5", "netcdf", "zarr", "npy", "csv"])
def test_one_rank_may_not_read(name, folder, comm):
    path = folder / f"secret-{SAVES[name][0]}"
    io.save(xp.asarray(OLD, split=0), path)
    at_root("test", comm, lambda: path.chmod(0o600))
    for rank in range(comm.size):
        with another_user(comm.rank == rank):
            text = fails_alike(comm, OSError, lambda: io.load(path, split=0))
        assert "ermission" in text
        assert comm.size == 1 or f"(on rank {rank} of {comm.size})" in text
    assert_equal(io.load(path, split=0), OLD)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("name", ["hdf5", "netcdf", "zarr", "npy", "csv"])
def test_one_rank_may_not_write(name, folder, comm):
    file, options = SAVES[name]
    path = folder / f"forbidden-{file}"
    save(xp.asarray(OLD, split=0), path, {})
    at_root("test", comm, lambda: folder.chmod(0o755))
    # Shards are whole chunks, so that nothing large is sent: MPI cannot, between two users.
    new = xp.ones((2500 * comm.size, 7), split=0)
    for rank in range(comm.size):
        with another_user(comm.rank == rank):
            text = fails_alike(comm, OSError, lambda: io.save(new, path, **options))
        assert "ermission" in text
        assert_equal(load(path), OLD)
    at_root("test", comm, lambda: folder.chmod(0o777))
    assert at_root("test", comm, lambda: list(map(str, folder.rglob("*unfinished")))) == []
