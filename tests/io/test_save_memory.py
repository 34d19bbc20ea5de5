"""Jobs: what one number of ranks saves another reads, and how much memory a rank needs."""

from __future__ import annotations

import pytest

from jobs import alone, run

VALUES = """
import os
import numpy as np
import heat_array_api as xp
from heat_array_api import io
folder = os.environ["FOLDER"]
values = {
    f"{dtype} {shape}": (np.arange(np.prod(shape)).reshape(shape) % 100).astype(dtype)
    for dtype in ("bool", "int16", "uint64", "float32", "complex128")
    for shape in ((), (1,), (11, 3), (2, 5, 6))
}
NAMES = ["x.h5", "z.h5", "x.nc", "x.zarr", "x.npy", "x.csv"]
"""

WRITE = """
for i, name in enumerate(NAMES):
    arrays = {k: xp.asarray(v, split=i % 2 if v.ndim > 1 else None) for k, v in values.items()}
    if name in ("x.npy", "x.csv"):
        io.save(arrays["float32 (11, 3)"], f"{folder}/{name}")
    else:
        io.save(arrays, f"{folder}/{name}", **({"gzip": 2} if name == "z.h5" else {}))
state = {"layers": list(arrays.values()), "ranks": xp.world().size}
io.save_checkpoint(f"{folder}/checkpoint", state)
"""

READ = """
for name in NAMES:
    for split in (None, 0, 1):
        if name in ("x.npy", "x.csv"):
            x = io.load(f"{folder}/{name}", split=split)
            np.testing.assert_array_equal(np.asarray(x), values["float32 (11, 3)"])
            continue
        for key, expected in values.items():
            along = split if split is not None and expected.ndim > split else None
            x = io.load(f"{folder}/{name}", key, split=along)
            assert x.dtype == expected.dtype and x.split == along
            np.testing.assert_array_equal(np.asarray(x), expected)
found = io.load_checkpoint(f"{folder}/checkpoint")
for x, expected in zip(found["layers"], values.values(), strict=True):
    np.testing.assert_array_equal(np.asarray(x), expected)
everywhere = xp.world().allgather_object(found["ranks"])
if xp.world().rank == 0:
    print(*everywhere)
"""


@alone
@pytest.mark.parametrize(("writers", "readers"), [(1, 3), (2, 4), (4, 2), (3, 1)])
def test_another_number_of_ranks_reads(writers, readers, tmp_path):
    done = run(VALUES + WRITE, ranks=writers, FOLDER=str(tmp_path))
    assert done.returncode == 0, done.stderr
    done = run(VALUES + READ, ranks=readers, FOLDER=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(writers)] * readers


MEMORY = """
import os
import torch
from pathlib import Path
import heat_array_api as xp
from heat_array_api import io

def memory(name):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return 1024 * int(line.split()[1])

def taken(action):
    "Return the most memory that an action took, over this rank's share of the array."
    comm.barrier()
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    kept = action()
    return (memory("VmHWM") - before) / share

comm = xp.world()
rows, columns = 2 ** 16, int(os.environ["COLUMNS"])
rows *= 2 ** 10 // columns
before = tuple(map(int, os.environ["BEFORE"].split()))
share = 4 * rows * columns / comm.size
split = len(before) + int(os.environ["SPLIT"])
small = xp.ones((*before, 4096, columns), dtype="float32", split=split)
large = xp.full((*before, rows, columns), 1.5, dtype="float32", split=split)
for array in (small, large):
    for name in ("x.h5", "z.h5", "root.h5", "x.nc", "x.npy", "x.zarr"):
        path = f"{os.environ['FOLDER']}/{name}"
        chunks = (*before, 512, columns)
        options = {
            "z.h5": {"gzip": 1}, "root.h5": {"strategy": "root"}, "x.zarr": {"chunks": chunks}
        }.get(name, {})
        write = taken(lambda: io.save(array, path, **options))
        read = taken(lambda: io.load(path, split=split))
        comm.barrier()
        if array is small:  # what libraries need when they are first used is not counted
            continue
        if comm.rank == 0:
            os.system(f"rm -r {path}")
        assert write < 0.2, f"writing {name}: {write}"
        assert read < 1.2, f"reading {name}: {read}"
"""


@alone
@pytest.mark.parametrize("split", [0, 1])
@pytest.mark.parametrize(("before", "columns"), [("", 1024), ("1", 1024), ("1 1", 8)])
def test_memory_is_that_of_the_share(split, before, columns, tmp_path):
    """At 128 MiB a rank: at most 1.2 times that when reading, 0.2 times more when writing."""
    done = run(
        MEMORY,
        ranks=2,
        SPLIT=str(split),
        BEFORE=before,
        COLUMNS=str(columns),
        FOLDER=str(tmp_path),
        OMP_NUM_THREADS="1",
    )
    assert done.returncode == 0, done.stderr
