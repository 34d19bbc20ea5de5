"""What one number of ranks saves another number of ranks reads."""

from __future__ import annotations

import numpy as np
import pytest

import heat_array_api as xp
from files import shared_folder
from heat_array_api import io
from layouts import same_everywhere

VALUES = {
    f"{dtype} {shape}": (np.arange(np.prod(shape)).reshape(shape) % 100).astype(dtype)
    for dtype in ("bool", "int16", "float32", "complex128")
    for shape in ((), (1,), (11, 3), (2, 5, 6))
}
TABLE = VALUES["float32 (11, 3)"]
FILES = ["x.h5", "z.h5", "x.nc", "x.zarr", "x.npy", "x.csv"]


def write(folder, comm):
    for i, name in enumerate(FILES):
        arrays = {
            key: xp.asarray(v, split=i % 2 if v.ndim > 1 else None, comm=comm)
            for key, v in VALUES.items()
        }
        x = arrays["float32 (11, 3)"] if name in ("x.npy", "x.csv") else arrays
        io.save(x, folder / name, **({"gzip": 2} if name == "z.h5" else {}))
    state = {"layers": list(arrays.values()), "ranks": comm.size}
    io.save_checkpoint(folder / "checkpoint", state)


def read(folder, comm, writers):
    for name in FILES:
        several = name not in ("x.npy", "x.csv")
        for split in (None, 0, 1):
            for key, expected in VALUES.items() if several else [(None, TABLE)]:
                along = split if split is not None and expected.ndim > split else None
                x = io.load(folder / name, key, split=along, comm=comm)
                assert x.split == along
                assert x.dtype == expected.dtype or not several
                assert x.comm is comm
                np.testing.assert_array_equal(np.asarray(x), expected)
    found = io.load_checkpoint(folder / "checkpoint", comm=comm)
    for x, expected in zip(found["layers"], VALUES.values(), strict=True):
        np.testing.assert_array_equal(np.asarray(x), expected)
    assert found["ranks"] == writers


def outcome(of, comm, step):
    """Run a step on the first `of` ranks; return what went wrong on any of them."""
    part = comm.split(int(comm.rank >= of))
    problem = ""
    if comm.rank < of:
        try:
            step(part)
        except Exception as error:
            problem = repr(error)
    return [text for text in comm.allgather_object(problem) if text]


@pytest.mark.parametrize(("writers", "readers"), [(1, 2), (2, 1), (1, 3), (3, 2), (2, 4), (4, 3)])
def test_another_number_of_ranks_reads(writers, readers, comm):
    if max(writers, readers) != comm.size:
        pytest.skip(f"takes {max(writers, readers)} ranks")
    with shared_folder(comm) as folder:
        assert not outcome(writers, comm, lambda part: write(folder, part))
        assert not outcome(readers, comm, lambda part: read(folder, part, writers))
    same_everywhere("the end", "reached", comm)
