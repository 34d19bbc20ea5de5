"""``python -m heat_array_api.demo``: climate zones from a NetCDF file, on any number of ranks."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import heat_array_api as xp

from ..io._agreement import attempt, missing_package
from ._climate import Zones, find_zones
from ._figure import draw, require_matplotlib
from ._grid import Grid, describe, sample_file, write_zones

__all__ = ["cell_series", "cell_weights", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo: read, cluster, write, report; return the exit status.

    Parameters
    ----------
    arguments : sequence of str, optional
        The command line, the same on every rank; that of the process by default.
    """
    with _quiet_unless_first():
        options = _parser().parse_args(arguments)
    _run(options)
    return 0


@contextmanager
def _quiet_unless_first() -> Iterator[None]:
    """Let only rank 0 write, so that help and complaints come once."""
    with ExitStack() as stack:
        if xp.world().rank:
            nowhere = stack.enter_context(Path(os.devnull).open("w"))
            stack.enter_context(redirect_stdout(nowhere))
            stack.enter_context(redirect_stderr(nowhere))
        yield


@contextmanager
def _errors_told() -> Iterator[None]:
    """Turn errors that are the user's to mend, the same on every rank, into a line and an exit."""
    try:
        yield
    except (ImportError, KeyError, OSError, ValueError) as error:
        if xp.world().rank == 0:
            text = error.args[0] if isinstance(error, KeyError) else error
            print(f"error: {text}", file=sys.stderr)
        raise SystemExit(1) from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m heat_array_api.demo",
        description="Cluster the cells of a temperature grid into climate zones by k-means, in "
        "parallel under mpirun, and write the zones as NetCDF and as a map.",
    )
    parser.add_argument("--zones", type=int, default=6, metavar="K", help="how many zones (6)")
    parser.add_argument(
        "--split",
        choices=("time", "latitude", "longitude", "none"),
        default="latitude",
        help="the axis along which the ranks divide the file (latitude)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the random first centroids (0)")
    parser.add_argument(
        "--output", type=Path, default=Path(), metavar="DIR", help="where the results go (here)"
    )
    parser.add_argument(
        "--input", metavar="PATH", help="a NetCDF file (E1_north_america.nc of iris-sample-data)"
    )
    parser.add_argument(
        "--variable",
        default="air_temperature",
        help="of time, latitude and longitude (air_temperature)",
    )
    parser.add_argument(
        "--trace", action="store_true", help="write every message as Chrome trace JSON too"
    )
    parser.add_argument(
        "--compile", action="store_true", help="compile the iterations (needs a C++ compiler)"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="(cpu)")
    return parser


def _run(options: argparse.Namespace) -> None:
    comm = xp.world()
    say = partial(print, flush=True) if comm.rank == 0 else _say_nothing
    started = time.perf_counter()
    with xp.trace() as trace:
        with _errors_told():
            grid = attempt("demo", comm, partial(_prepare, options), lambda found: found)
            axis = ("time", "latitude", "longitude", "none").index(options.split)
            split = None if axis == 3 else axis
            air = xp.io.load_netcdf(
                grid.path, grid.variable, split=split, dtype=xp.float64, device=options.device
            )
        _say_what_was_read(say, grid, air, time.perf_counter() - started)
        clustering = time.perf_counter()
        series = cell_series(air)
        with _progress_bar(shown=comm.rank == 0) as progress:
            zones = find_zones(
                series,
                cell_weights(grid.latitude, grid.shape, split, options.device),
                options.zones,
                lag=grid.lag,
                seed=options.seed,
                progress=progress,
                compiler=xp.compile if options.compile else None,
            )
        _say_what_was_found(say, grid, zones, time.perf_counter() - clustering)
        # The map is small: every rank gets it whole, and one writes.
        labels = np.asarray(xp.reshape(zones.labels, grid.shape[1:]))
        series_of_zones = np.asarray(zones.series)
        means = [float(value) for value in grid.celsius(zones.means)]
        writing = time.perf_counter()
        write = partial(
            _write, options.output, grid, labels, grid.celsius(series_of_zones), means, zones.shares
        )
        with _errors_told():
            paths = attempt("demo", comm, write if comm.rank == 0 else _nothing)
    names = ", ".join(path.name for path in paths)
    say(f"wrote      {names} in {options.output} ({time.perf_counter() - writing:.2f} s)")
    say(f"time       {time.perf_counter() - started:.2f} s in all")
    say(f"messages   {_shortened(trace.summary())}")
    if options.trace:
        trace.to_chrome(options.output / "climate_zones.trace.json")


def _prepare(options: argparse.Namespace) -> Grid:
    """Check what can be checked before the work begins, and read the grid's description."""
    require_matplotlib()
    if find_spec("tqdm") is None:
        raise missing_package("tqdm", "demo")
    grid = describe(options.input or sample_file(), options.variable)
    cells = grid.shape[1] * grid.shape[2]
    if not 1 <= options.zones <= cells:
        raise ValueError(f"--zones is {options.zones}; expected 1 to {cells}, the cells")
    if grid.shape[0] <= grid.lag:
        raise ValueError(f"{grid.path}: {grid.shape[0]} time steps are no more than a year")
    return grid


def cell_series(air: Any) -> Any:
    """Return a field (time, latitude, longitude) as series (cells, time), split over the cells."""
    flat = xp.reshape(xp.permute_dims(air, (1, 2, 0)), (-1, air.shape[0]))
    return flat if flat.split is None else xp.resplit(flat, 0)


def cell_weights(
    latitude: Sequence[float], shape: tuple[int, int, int], split: int | None, device: str = "cpu"
) -> Any:
    """Return the area of each cell, up to a factor: the cosine of its latitude."""
    degrees = xp.asarray(latitude, device=device, split=0 if split == 1 else None)
    area = xp.cos(degrees * (xp.pi / 180))
    return xp.reshape(xp.broadcast_to(area[:, None], shape[1:]), (-1,))


@contextmanager
def _progress_bar(shown: bool) -> Iterator[Callable[[int, int, int], None] | None]:
    """Show on standard error how many cells stay in their zone: all, when k-means is done."""
    if not shown:
        yield None
        return
    from tqdm import tqdm

    layout = "k-means    {percentage:3.0f} % |{bar:30}| {n_fmt}/{total_fmt} cells settled{postfix}"
    with tqdm(total=0, bar_format=layout, file=sys.stderr) as bar:
        # In a log file the last state is enough.
        alive = sys.stderr.isatty()

        def show(iteration: int, settled: int, cells: int) -> None:
            bar.n, bar.total = settled, cells
            bar.set_postfix_str(f"iteration {iteration}", refresh=alive)

        yield show


def _say_what_was_read(say: Callable[..., None], grid: Grid, air: Any, seconds: float) -> None:
    shape = " x ".join(map(str, grid.shape))
    say(
        f"read       {Path(grid.path).name}: {grid.variable} ({', '.join(grid.dimensions)}) "
        f"{shape}, {grid.dtype}, {grid.units}, {grid.period} ({seconds:.2f} s)"
    )
    ranks = f"{air.comm.size} rank{'s' * (air.comm.size > 1)}"
    if air.split is None:
        say(f"split      none: all of it on {ranks}")
    else:
        counts = " + ".join(map(str, air.layout.counts))
        say(f"split      {grid.dimensions[air.split]} over {ranks}: {counts}")


def _say_what_was_found(say: Callable[..., None], grid: Grid, zones: Zones, seconds: float) -> None:
    found = zones.clusters
    end = "" if found.converged else ", not converged"
    say(
        f"clustered  {found.labels.shape[0]} cells into {len(zones.means)} zones: "
        f"{found.iterations} iterations, inertia {found.inertia:.6f}{end} ({seconds:.2f} s)"
    )
    means = ", ".join(f"{value:.1f}" for value in grid.celsius(zones.means))
    say(f"zones      {means} degrees Celsius on average")


def _write(output: Path, *result: Any) -> list[Path]:
    """Write the NetCDF file and the picture; return their paths."""
    output.mkdir(parents=True, exist_ok=True)
    paths = [output / "climate_zones.nc", output / "climate_zones.png"]
    write_zones(paths[0], *result)
    draw(paths[1], *result)
    return paths


def _nothing() -> list[Path]:
    return []


def _say_nothing(*text: object) -> None:
    pass


def _shortened(summary: str, rows: int = 8) -> str:
    """Return the title, the heading and the first rows of a trace's summary, indented."""
    lines = summary.splitlines()
    left = len(lines) - 2 - rows
    if left > 0:
        lines[2 + rows :] = [f"... and {left} rows of less (--trace writes every message)"]
    return "\n           ".join(lines)


if __name__ == "__main__":
    sys.exit(main())
