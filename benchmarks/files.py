"""Reading and writing 1 GB: ours at 2 ranks against one process of h5py, netCDF4 ..., and Heat.

    python benchmarks/files.py                            # everything that is installed
    python benchmarks/files.py --only hdf5 npy --gigabytes 4 --split 1 --folder /data

The driver starts one job per library, in turn, `rounds` times over, and prints MB/s (medians) and
ratios of time to the one process's of the same round. A write ends when the disk has the bytes
(fsync), for all alike; a read finds them in the system's cache. Ours also says how much memory a
rank took at most beyond what it had, in parts of its share of the data.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

SUFFIXES = {
    "hdf5": ".h5",
    "hdf5-gzip": ".gz.h5",
    "netcdf": ".nc",
    "npy": ".npy",
    "zarr": ".zarr",
}
PEERS = ("ours", "process", "heat")
HEAT = ("hdf5", "netcdf")
"""The formats that Heat 1.8 both saves and loads, uncompressed and of more than one rank."""
ROW = 1024
"""float32 numbers in a row."""

Write = Callable[[str, Path, Any], None]
Read = Callable[[str, Path], Any]


def flush(path: Path) -> None:
    for file in path.rglob("*") if path.is_dir() else [path]:
        descriptor = os.open(file, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def numbers(rows: int, seed: int) -> Any:
    """Return numbers that gzip makes smaller, as measured ones are."""
    import numpy as np

    rng = np.random.default_rng(seed)
    return np.round(rng.standard_normal((rows, ROW), dtype="float32"), 2)


# ---------------------------------------------------------------------- one library's job


def setup_ours(rows: int, split: int) -> tuple[Any, Write, Read, Callable[[], object], int]:
    import heat_array_api as xp
    from heat_array_api import io

    comm = xp.world()
    layout = xp.Layout.balanced((rows, ROW), 0, comm)
    x = xp.resplit(xp.from_local(numbers(layout.count, comm.rank), split=0), split)

    def write(kind: str, path: Path, x: Any) -> None:
        io.save(x, path, **({"gzip": 1} if kind == "hdf5-gzip" else {}))

    return x, write, lambda kind, path: io.load(path, split=split), comm.barrier, comm.rank


def setup_process(rows: int, split: int) -> tuple[Any, Write, Read, Callable[[], object], int]:
    import h5py
    import netCDF4
    import numpy as np
    import zarr

    def write(kind: str, path: Path, x: Any) -> None:
        if kind.startswith("hdf5"):
            options = {"compression": 1, "shuffle": True} if kind == "hdf5-gzip" else {}
            with h5py.File(path, "w") as file:
                file.create_dataset("data", data=x, **options)
        elif kind == "netcdf":
            with netCDF4.Dataset(path, "w") as file:
                for dim, n in zip("yx", x.shape, strict=True):
                    file.createDimension(dim, n)
                file.createVariable("data", x.dtype, ("y", "x"))[:] = x
        elif kind == "npy":
            np.save(path, x)
        else:
            chunks = ((16 << 20) // (4 * ROW), ROW)
            zarr.create_array(path, data=x, chunks=chunks, overwrite=True)
        flush(path)

    def read(kind: str, path: Path) -> Any:
        if kind.startswith("hdf5"):
            with h5py.File(path) as file:
                return file["data"][...]
        if kind == "netcdf":
            with netCDF4.Dataset(path) as file:
                return file["data"][...]
        return np.load(path) if kind == "npy" else zarr.open(path, mode="r")[...]

    return numbers(rows, 0), write, read, lambda: None, 0


def setup_heat(rows: int, split: int) -> tuple[Any, Write, Read, Callable[[], object], int]:
    import heat as ht

    comm = ht.MPI_WORLD
    mine = rows // comm.size + (comm.rank < rows % comm.size)
    x = ht.array(numbers(mine, comm.rank), is_split=0)
    x.resplit_(split)

    def write(kind: str, path: Path, x: Any) -> None:
        ht.save(x, str(path), *(() if kind == "npy" else ("data",)))
        comm.Barrier()
        if comm.rank == 0:
            flush(path)

    def read(kind: str, path: Path) -> Any:
        name = {} if kind == "npy" else {"variable" if kind == "netcdf" else "dataset": "data"}
        return ht.load(str(path), split=split, **name)

    return x, write, read, comm.Barrier, comm.rank


def worker(options: argparse.Namespace) -> None:
    rows = int(options.gigabytes * 1e9) // (4 * ROW)
    setup = {"ours": setup_ours, "process": setup_process, "heat": setup_heat}[options.worker]
    x, write, read, wait, rank = setup(rows, options.split)
    size = 4 * ROW * rows
    share = size / (options.ranks if options.worker == "ours" else 1)
    results: dict[str, Any] = {}
    kinds = [k for k in options.only if options.worker != "heat" or k in HEAT]
    for kind in kinds:
        path = Path(options.folder) / f"{options.worker}{SUFFIXES[kind]}"
        actions = {"write": partial(write, kind, path, x), "read": partial(read, kind, path)}
        try:
            for verb, action in actions.items():
                results[f"{kind} {verb}"] = measured(action, wait, share, options.repeats)
        except Exception as error:  # a library's own, of whatever kind
            results[f"{kind} write"] = f"{type(error).__name__}: {error}"[:80]
        wait()
        if rank == 0:
            (shutil.rmtree if path.is_dir() else os.remove)(path)
    if rank == 0:
        print("RESULT " + json.dumps(results))


def measured(
    action: Callable[[], object], wait: Callable[[], object], share: float, repeats: int
) -> tuple[float, float]:
    """Return the least seconds, and the most memory beyond what there was, over `share`."""
    seconds, taken = [], []
    for _ in range(repeats):
        os.sync()  # the disk has nothing else to do
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak
        before = memory("VmRSS")
        wait()
        start = time.perf_counter()
        kept = action()
        wait()
        seconds.append(time.perf_counter() - start)
        taken.append((memory("VmHWM") - before) / share)
        del kept
    return min(seconds), max(taken)


def memory(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return 1024 * int(line.split()[1])
    return 0


# ---------------------------------------------------------------------- the driver


def run_job(peer: str, options: argparse.Namespace, folder: str) -> dict[str, Any]:
    command = [sys.executable, __file__, "--worker", peer, "--folder", folder]
    command += ["--ranks", str(options.ranks), "--gigabytes", str(options.gigabytes)]
    command += ["--split", str(options.split), "--repeats", str(options.repeats)]
    command += ["--only", *options.only]
    if peer != "process":
        beside = os.path.join(os.path.dirname(sys.executable), "mpirun")
        mpirun = beside if os.path.exists(beside) else shutil.which("mpirun") or "mpirun"
        command = [mpirun, "-n", str(options.ranks), *command]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1800)
    for line in done.stdout.splitlines():
        if line.startswith("RESULT "):
            return dict(json.loads(line.removeprefix("RESULT ")))
    raise SystemExit(f"{peer}: {done.stderr}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=SUFFIXES, default=list(SUFFIXES))
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--split", type=int, default=0)
    parser.add_argument("--gigabytes", type=float, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", default=None, help="on the disk to measure")
    parser.add_argument("--worker", choices=PEERS)
    options = parser.parse_args()
    if options.worker:
        worker(options)
        return
    peers = [p for p in options.peers if p != "heat" or importlib.util.find_spec("heat")]
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        rounds = [
            {peer: run_job(peer, options, folder) for peer in peers} for _ in range(options.rounds)
        ]
    print(f"MB/s, medians of {options.rounds} rounds, of the best of {options.repeats} in each")
    print("(time over one process's; memory over share)")
    print(f"{'':16}" + "".join(f"{peer:>24}" for peer in peers))
    for name in (f"{kind} {verb}" for kind in options.only for verb in ("write", "read")):
        print(f"{name:16}" + "".join(cell(name, peer, rounds, options) for peer in peers))


def cell(name: str, peer: str, rounds: list[dict[str, Any]], options: argparse.Namespace) -> str:
    found = [r[peer].get(name, "not run") for r in rounds]
    if found[0] == "not run":
        return f"{'-':>24}"
    if any(isinstance(value, str) for value in found):
        print(f"  {peer}, {name}: {found[0]}", file=sys.stderr)
        return f"{'failed':>24}"
    seconds = statistics.median(s for s, _ in found)
    ratios = [
        s / r["process"][name][0] for (s, _), r in zip(found, rounds, strict=True) if "process" in r
    ]
    ratio = statistics.median(ratios) if ratios else float("nan")
    taken = max(m for _, m in found)
    return f"{options.gigabytes * 1e3 / seconds:>10.0f} ({ratio:4.2f}; {taken:4.2f})"


if __name__ == "__main__":
    main()
