"""A climatology with xarray: each rank reads its own band of latitudes of a NetCDF file.

240 years of air temperature over North America (from the package ``iris-sample-data``): thirty
years' normals, anomalies, their range and their mean, weighted by area and smoothed over ten years,
and a map of the warming. Means over time send nothing.

    mpirun -n 2 python examples/climatology_xarray.py
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
from _gallery import present

import heat_array_api as xp

SAMPLES = Path(importlib.util.find_spec("iris_sample_data").origin).parent / "sample_data"


def main(path=SAMPLES / "E1_north_america.nc"):
    dataset = xp.io.open_dataset(path, split="latitude")
    air = dataset["air_temperature"].reset_coords(drop=True).astype("float64")
    air = air.assign_coords(time=np.arange(1860, 2100))  # one value a year
    with xp.set_options(on_gather="error", gather_limit=0):
        normal = air.sel(time=slice(1961, 1990)).mean("time")
        anomaly = air - normal
        area = np.cos(np.deg2rad(air.latitude))
        mean = anomaly.weighted(area).mean(("latitude", "longitude"))
        smooth = mean.rolling(time=10, center=True).mean()
        low, high = anomaly.quantile([0.05, 0.95], ("latitude", "longitude"))
        warming = air.sel(time=slice(2070, 2099)).mean("time") - normal
        decades = mean.coarsen(time=10).mean()
        return {
            "split of the warming": warming.data.split,
            "mean warming [K]": float(warming.weighted(area).mean()),
            "coldest decade": 1860 + 10 * int(decades.argmin("time")),
            "warmest decade": 1860 + 10 * int(decades.argmax("time")),
            "years": air.time.values,
            "mean": mean.data,
            "smooth": smooth.data,
            "low": low.data,
            "high": high.data,
            "latitude": air.latitude.values,
            "longitude": air.longitude.values,
            "warming": warming.data,
        }


def draw(figure, found):
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    left.fill_between(
        found["years"], found["low"], found["high"], alpha=0.2, linewidth=0, label="90 % of cells"
    )
    left.plot(found["years"], found["mean"], linewidth=0.8, label="mean by area")
    left.plot(found["years"], found["smooth"], linewidth=2, label="mean of ten years")
    left.set(xlabel="year", ylabel="anomaly [K]", title="Anomaly from 1961 to 1990")
    left.legend(loc="upper left")
    right.set(xlabel="longitude [°E]", ylabel="latitude [°N]", title="Warming until 2070 to 2099")
    mesh = right.pcolormesh(
        found["longitude"], found["latitude"], found["warming"], cmap="inferno", shading="nearest"
    )
    figure.colorbar(mesh, label="K")


if __name__ == "__main__":
    with xp.trace() as messages:
        result = main()
    present("climatology_xarray", result, messages, draw)
