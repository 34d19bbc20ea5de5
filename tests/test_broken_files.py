"""Files that are cut short or have wrong bits: an array or an error, the same on all ranks."""

from __future__ import annotations

import random

import numpy as np
import pytest

import heat_array_api as xp
from files import shared_folder
from heat_array_api import io
from heat_array_api.io._agreement import at_root
from layouts import same_everywhere

VALUES = np.random.default_rng(0).standard_normal((40, 30))


@pytest.fixture(scope="module")
def folder(comm):
    with shared_folder(comm) as path:
        yield path


@pytest.mark.parametrize(
    "file", ["x.h5", "z.h5", "x.nc", "x.npy", "x.csv", "x.zarr/zarr.json", "x.zarr/c/0/0"]
)
def test_broken_files(file, folder, comm):
    path, saved = folder / file, folder / file.split("/")[0]
    options = {"gzip": 1} if file == "z.h5" else {}
    io.save(xp.asarray(VALUES, split=0), saved, **options)
    whole = at_root("test", comm, path.read_bytes)
    rng = random.Random(3)
    for case in range(30):
        broken = bytearray(whole)
        if case % 3 == 0:
            del broken[rng.randrange(len(broken)) :]
        for _ in range(1 + case % 5):
            if broken:
                broken[rng.randrange(min(len(broken), 2000))] ^= 1 << rng.randrange(8)
        at_root("test", comm, lambda data=bytes(broken): path.write_bytes(data))
        try:
            x = io.load(saved, split=case % 2)
            outcome = f"array {x.shape}"
        except Exception as error:
            outcome = f"{type(error).__name__}: {error}"
        same_everywhere("the outcome", outcome, comm)
        comm.barrier()
