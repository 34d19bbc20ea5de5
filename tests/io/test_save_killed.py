"""Jobs that are killed while they save: the files under the final names are whole, old or new."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress

import h5py
import netCDF4
import numpy as np
import pytest
import zarr

from jobs import MPIRUN, alone, environment

JOBS, MOMENTS = 4, 7
"""Jobs of a series, and moments at which each is looked at: the last one kills it."""

PROGRAM = """
import os, sys
import heat_array_api as xp
from heat_array_api import io
folder, first = sys.argv[1], int(sys.argv[2])
comm = xp.world()
processes = comm.allgather_object(os.getpid())
if comm.rank == 0:
    print(*processes, flush=True)
def saves(k):
    x = xp.full((20_000, 4), float(k), split=k % 2)
    yield io.save(x, f"{folder}/x.h5", gzip=1 if k % 3 == 0 else None)
    yield io.save(x, f"{folder}/x.nc")
    yield io.save(x, f"{folder}/x.npy")
    yield io.save({"data": x}, f"{folder}/x.zarr", chunks=(5000, 4))
    yield io.save_checkpoint(f"{folder}/checkpoint", {"data": x, "k": k})

for k in range(first, 10**6):
    for saved in saves(k):
        if comm.rank == 0:
            print("saved", flush=True)
"""


def hdf5(path):
    with h5py.File(path) as file:
        return file["data"][...]


def netcdf(path):
    with netCDF4.Dataset(path) as file:
        return file["data"][...].filled(np.nan)


def checkpoint(path):
    with h5py.File(path / "checkpoint.h5") as file:
        return file["values/0"][...]


READERS = {
    "x.h5": hdf5,
    "x.nc": netcdf,
    "x.npy": np.load,
    "x.zarr": lambda path: zarr.open(path, mode="r")["data"][...],
    "checkpoint": checkpoint,
}


class Job:
    """A job of two ranks that saves the same files again and again."""

    def __init__(self, script, folder, first):
        command = [MPIRUN, "-n", "2", sys.executable, str(script), str(folder), str(first)]
        self._process = subprocess.Popen(
            command,
            env=environment(OMP_NUM_THREADS="1"),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._ranks = [int(rank) for rank in self._process.stdout.readline().split()]
        assert len(self._ranks) == 2

    def run_on(self, rng):
        """Wait for some saves, which are counted, and a random part of the time of another."""
        for _ in range(rng.randint(1, 10)):
            begin = time.monotonic()
            assert self._process.stdout.readline() == "saved\n"
        time.sleep(rng.uniform(0.0, 1.0) * (time.monotonic() - begin))

    def signal(self, number, ranks=None):
        for rank in self._ranks if ranks is None else ranks:
            with suppress(ProcessLookupError):
                os.kill(rank, number)

    def kill(self, rng):
        """Kill one rank or both, and wait until none is left."""
        self.signal(signal.SIGKILL, None if rng.random() < 0.5 else [rng.choice(self._ranks)])
        self._process.wait(timeout=60)
        self._process.stdout.close()
        for rank in self._ranks:
            with suppress(ProcessLookupError):
                while True:
                    os.kill(rank, 0)
                    time.sleep(0.01)


def read_all(folder, saved):
    """Read the files, put the number of each save into `saved`, and return how many are new."""
    changes = 0
    for name, read in READERS.items():
        if not saved[name] and not (folder / name).exists():
            continue
        values = read(folder / name)
        assert values.shape == (20_000, 4)
        k = int(values[0, 0])
        np.testing.assert_array_equal(values, k)
        assert k >= saved[name]
        changes += k != saved[name]
        saved[name] = k
    return changes


@alone
@pytest.mark.parametrize("seed", range(2))
def test_kill_9(seed, tmp_path):
    """A job that is stopped leaves the files as one that is killed, and can go on."""
    rng = random.Random(seed)
    folder = tmp_path / "saved"
    folder.mkdir()
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    saved = dict.fromkeys(READERS, 0)
    changes = 0
    for _ in range(JOBS):
        job = Job(script, folder, max(saved.values()) + 1)
        for _ in range(MOMENTS - 1):
            job.run_on(rng)
            job.signal(signal.SIGSTOP)
            changes += read_all(folder, saved)
            job.signal(signal.SIGCONT)
        job.run_on(rng)
        job.kill(rng)
        changes += read_all(folder, saved)
    assert changes > 2 * JOBS * MOMENTS  # saves were under way at those moments
    # Unfinished files are those of the last job: the next save removes them.
    left = [p for p in folder.rglob("*.unfinished") if p.parent in (folder, folder / "checkpoint")]
    assert len(left) <= len(READERS)
