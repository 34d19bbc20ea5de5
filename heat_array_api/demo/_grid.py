"""The demo's file: where the sample data is, what its coordinates are, how zones are written."""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..io._agreement import missing_package

Values = np.ndarray[Any, Any]
KELVIN = 273.15


class Grid(NamedTuple):
    """A variable (time, latitude, longitude) of a NetCDF file and its coordinates."""

    path: str
    variable: str
    dimensions: tuple[str, str, str]
    shape: tuple[int, int, int]
    dtype: str
    units: str
    latitude: tuple[float, ...]
    longitude: tuple[float, ...]
    years: tuple[float, ...]
    lag: int  # time steps in a year

    @property
    def period(self) -> str:
        """The first and the last year, and the length of a step."""
        known = {1: "yearly", 4: "quarterly", 12: "monthly"}
        step = known.get(self.lag, f"{self.lag} steps a year")
        return f"{int(self.years[0])} to {int(self.years[-1])}, {step}"

    def celsius(self, values: Any) -> Values:
        """Return temperatures in degrees Celsius."""
        result = np.asarray(values, dtype=np.float64)
        return result - KELVIN if self.units.lower() in ("k", "kelvin") else result


def sample_file() -> str:
    """Return the path of E1_north_america.nc in the installed sample data."""
    try:
        import iris_sample_data
    except ImportError:
        raise missing_package("iris-sample-data", "demo") from None
    return str(Path(iris_sample_data.path) / "E1_north_america.nc")


def describe(path: str, variable: str) -> Grid:
    """Return what the file says of the variable's grid."""
    try:
        import netCDF4
    except ImportError:
        raise missing_package("netCDF4", "demo") from None
    with netCDF4.Dataset(path, "r") as file:
        if variable not in file.variables:
            raise KeyError(f"{path}: no variable {variable!r} among {', '.join(file.variables)}")
        found = file.variables[variable]
        names = found.dimensions
        if len(names) != 3 or not all(name in file.variables for name in names):
            raise ValueError(
                f"{path}: {variable} has the dimensions {names}; "
                "expected time, latitude, longitude, each with its coordinate variable"
            )
        time, latitude, longitude = (file.variables[name] for name in names)
        calendar = getattr(time, "calendar", "standard")
        dates: Any = netCDF4.num2date(time[:], time.units, calendar)
        years = [date.year + (date.month - 1) / 12 + (date.day - 1) / 365 for date in dates]
        spacing = float(np.median(np.diff(years))) if len(years) > 1 else 1.0
        return Grid(
            path,
            variable,
            names,
            (int(found.shape[0]), int(found.shape[1]), int(found.shape[2])),
            str(found.dtype),
            str(getattr(found, "units", "")),
            tuple(float(value) for value in latitude[:]),
            tuple(float(value) for value in longitude[:]),
            tuple(years),
            max(1, round(1 / spacing)),
        )


def write_zones(
    path: Path, grid: Grid, zones: Values, series: Values, means: list[float], shares: list[float]
) -> None:
    """Write the zones to a NetCDF file (CF conventions), whole or not at all.

    Parameters
    ----------
    path : Path
        The file; one that exists is replaced when the new one is complete.
    grid : Grid
        Where the zones come from.
    zones : int array, shape (latitude, longitude)
        -1 where there is none.
    series : float array, shape (time, zones)
        Temperatures in degrees Celsius.
    means, shares : list of float
        Mean temperature (degrees Celsius) and part of the area of each zone.
    """
    import netCDF4

    unfinished = path.with_name(path.name + ".part")
    try:
        with netCDF4.Dataset(unfinished, "w") as file:
            _fill(file, grid, zones, series, means, shares)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def _fill(
    file: Any, grid: Grid, zones: Values, series: Values, means: list[float], shares: list[float]
) -> None:
    k = len(means)
    file.Conventions = "CF-1.11"
    file.title = f"Climate zones: k-means of {grid.variable}, mean and year-to-year variability"
    file.source = f"{Path(grid.path).name}; heat_array_api {_version()}"

    def add(name: str, dtype: str, dims: tuple[str, ...], values: Any, **attributes: Any) -> None:
        variable = file.createVariable(name, dtype, dims, fill_value=attributes.pop("fill", None))
        variable.setncatts(attributes)
        variable[:] = values

    for name, size in (
        ("latitude", len(grid.latitude)),
        ("longitude", len(grid.longitude)),
        ("year", len(grid.years)),
        ("zone", k),
    ):
        file.createDimension(name, size)
    for name, values, units, axis in (
        ("latitude", grid.latitude, "degrees_north", "Y"),
        ("longitude", grid.longitude, "degrees_east", "X"),
    ):
        add(name, "f8", (name,), values, standard_name=name, units=units, axis=axis)
    add("year", "f8", ("year",), grid.years, long_name="year of the time step", units="1")
    add("zone", "i2", ("zone",), range(k), long_name="climate zone, coldest first", units="1")
    add(
        "climate_zone",
        "i2",
        ("latitude", "longitude"),
        zones,
        fill=-1,
        long_name="climate zone, coldest first",
        flag_values=np.arange(k, dtype="i2"),
        flag_meanings=" ".join(f"zone_{zone}" for zone in range(k)),
    )
    kind = {"standard_name": "air_temperature"} if grid.variable == "air_temperature" else {}
    add(
        "zone_temperature",
        "f8",
        ("zone",),
        means,
        long_name="mean temperature of the zone",
        units="degC",
        cell_methods="area: mean time: mean",
        **kind,
    )
    add("zone_area_fraction", "f8", ("zone",), shares, long_name="part of the area", units="1")
    add(
        "zone_temperature_series",
        "f8",
        ("year", "zone"),
        series,
        long_name="mean temperature of the zone at each time",
        units="degC",
        cell_methods="area: mean",
        **kind,
    )


def _version() -> str:
    try:
        return version("heat_array_api")
    except PackageNotFoundError:  # run from a source tree
        return "(not installed)"
