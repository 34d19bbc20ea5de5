"""Jobs that are killed while they save: what lies under the name is whole, old or new."""

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

KILLS = 10
"""Of each of five series."""

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


def kill_a_job(script, folder, first, rng):
    """Start a job of two ranks and kill one of them, or both, at a random moment.

    Some saves after the first, which are counted, within about the time that one takes.
    """
    command = [MPIRUN, "-n", "2", sys.executable, str(script), str(folder), str(first)]
    job = subprocess.Popen(
        command,
        env=environment(OMP_NUM_THREADS="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    ranks = [int(process) for process in job.stdout.readline().split()]
    assert len(ranks) == 2
    for _ in range(rng.randint(1, 10)):
        begin = time.monotonic()
        assert job.stdout.readline() == "saved\n"
    time.sleep(rng.uniform(0.0, 1.0) * (time.monotonic() - begin))
    for victim in ranks if rng.random() < 0.5 else [rng.choice(ranks)]:
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
    job.wait(timeout=60)
    job.stdout.close()
    wait_until_gone(ranks)


def wait_until_gone(processes):
    for process in processes:
        with suppress(ProcessLookupError):
            while True:
                os.kill(process, 0)
                time.sleep(0.01)


@alone
@pytest.mark.parametrize("seed", range(5))
def test_kill_9(seed, tmp_path):
    rng = random.Random(seed)
    folder = tmp_path / "saved"
    folder.mkdir()
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    saved = dict.fromkeys(READERS, 0)
    changes = 0
    for _ in range(KILLS):
        kill_a_job(script, folder, max(saved.values()) + 1, rng)
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
    assert changes > 2 * KILLS  # saves were under way when the jobs died
    # Unfinished files are those of the last job: the next save removes them.
    left = [p for p in folder.rglob("*.unfinished") if p.parent in (folder, folder / "checkpoint")]
    assert len(left) <= len(READERS)
