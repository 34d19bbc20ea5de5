"""xarray on split arrays: DataArrays and Datasets against the same on NumPy.

Dimension coordinates, which xarray turns into pandas indexes, are small NumPy arrays, whole on each
rank. What xarray or pandas take through NumPy, and so is not here, or gathers:

- ``interp``, ``interpolate_na``, ``polyfit``, ``curvefit``, ``apply_ufunc(vectorize=True)``: the
  code of SciPy or NumPy;
- ``resample(...).first()`` and ``last()`` with NaN: pandas looks for those;
- ``testing.assert_allclose``: ``np.isclose``;
- pointwise ("vectorized") selection and ``idxmax``, which need it: xarray has it for NumPy and dask
  only, as the assignment to lists of several dimensions at once;
- ``dropna``, and ``where(drop=True)`` by our values: one number for each label is gathered;
- boolean indexers of ours: pandas takes NumPy's;
- ``ffill``, ``bfill``, ``rank``, ``rolling_exp``: they need bottleneck or numbagg on NumPy, too.
"""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import heat_array_api as xp
from consumers import W, consumer, entries, stays_distributed, uneven
from files import files_of, shared_folder
from heat_array_api import io
from heat_array_api._core.layout import Layout
from layouts import agree, assert_equal, make, same_everywhere

pd = pytest.importorskip("pandas")
xr = pytest.importorskip("xarray")

TIMES, LATITUDES, LONGITUDES = 120, 13, 40
SHAPE = (TIMES, LATITUDES, LONGITUDES)
DIMS = ("time", "lat", "lon")
RNG = np.random.default_rng(0)
VALUES = RNG.standard_normal(SHAPE) + np.sin(np.arange(TIMES) * np.pi / 6)[:, None, None]
VALUES[RNG.random(SHAPE) < 0.1] = np.nan
VALUES[:, 2, 3] = np.nan  # as where a sea is land
SHARE = VALUES.nbytes // W.size
TIME = pd.date_range("2000-01-15", periods=TIMES, freq="MS")
COORDS = {
    "time": TIME,
    "lat": np.linspace(-60.0, 60.0, LATITUDES),
    "lon": np.arange(LONGITUDES) * 9.0,
    "month": ("time", TIME.month),
}
LAYOUTS = [
    Layout.of(SHAPE, 0, uneven(TIMES), W),
    Layout.balanced(SHAPE, 1, W),
    Layout.of(SHAPE, 2, uneven(LONGITUDES), W),
]


def of(data: Any) -> Any:
    return xr.DataArray(data, dims=DIMS, coords=COORDS, name="t", attrs={"units": "K"})


def assert_same(found: Any, expected: Any, **tolerances: float) -> None:
    """Compare a DataArray or a Dataset of ours with one of NumPy's: all but where it is split."""
    if isinstance(expected, xr.Dataset):
        assert set(found.data_vars) == set(expected.data_vars)
        for name in expected.data_vars:
            assert_same(found[name], expected[name], **tolerances)
        return
    assert found.dims == expected.dims
    assert found.name == expected.name
    assert found.attrs == expected.attrs
    assert set(found.coords) == set(expected.coords)
    for name, coordinate in expected.coords.items():
        np.testing.assert_array_equal(np.asarray(found.coords[name].data), coordinate.values)
    assert_equal(found.data, expected.values, **{"rtol": 1e-9, "atol": 1e-11} | tolerances)


def check(pipeline: Callable[[Any], Any], labels: int = 0) -> None:
    """Run a pipeline on NumPy's array and on ours in three layouts.

    No array is gathered, but `labels` small ones, and no message replicates more than a rank's
    share of the data.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice encountered")  # NumPy's
        expected = pipeline(of(VALUES))
    for layout in LAYOUTS if W.size > 1 else LAYOUTS[:1]:
        ours = of(make(VALUES, layout))
        with stays_distributed(SHARE + 1) as t:
            found = pipeline(ours)
        assert len(t.gathers) <= labels, t.gathers
        assert all(g.bytes <= 8 * TIMES for g in t.gathers)
        assert_same(found, expected)


def weights(a: Any) -> Any:
    return np.cos(np.deg2rad(a.lat))


def filled(a: Any) -> Any:
    return a.fillna(0.5)


def written(a: Any) -> Any:
    a = a.copy()
    a[{"time": 3}] = 1.0
    a.loc[{"lat": -60.0}] = a.loc[{"lat": 60.0}]
    a[{"lat": [1, 3], "lon": 2}] = 5.0
    a[{"time": slice(4, 9)}] = a.isel(time=0, drop=True)
    return a


PIPELINES: dict[str, tuple[Callable[[Any], Any], ...]] = {
    "arithmetic": (
        lambda a: a + a * 2 - 1 / (a**2 + 1),
        lambda a: np.float64(2) * a // 0.7 % 3,
        lambda a: abs(-a),
        lambda a: (a > 0) & (a < 1) | ~(a != a),
    ),
    "ufuncs": (
        np.exp,
        xr.ufuncs.sin,
        lambda a: xr.ufuncs.atan2(a, a + 1),
        lambda a: np.sqrt(abs(a)).round(2),
    ),
    "alignment": (
        lambda a: a.isel(time=slice(0, 100)) + a.isel(time=slice(30, None)),
        lambda a: xr.align(a.isel(time=slice(0, 100)), a, join="outer")[0],
        lambda a: a.reindex(lat=a.lat.values[::-1]),
        lambda a: a.reindex(time=TIME[30:60]),
        lambda a: a.isel(lat=slice(0, 5)).combine_first(a * 0),
    ),
    "broadcasting by name": (
        lambda a: a.isel(lon=0, drop=True) + a.isel(lat=0, drop=True),
        lambda a: a * weights(a),
        lambda a: a.mean("time") - a,
        lambda a: a.isel(time=0, drop=True).broadcast_like(a),
    ),
    **{
        f"{name}": tuple(
            lambda a, name=name, dim=dim, skipna=skipna: getattr(
                a if skipna is not False else filled(a), name
            )(dim, **({} if name == "count" else {"skipna": skipna}))
            for dim in (None, "time", ["time", "lon"], "lat")
            for skipna in (None, False)
        )
        for name in ("mean", "std", "var", "sum", "prod", "min", "max", "median", "count")
    },
    "std(ddof=1)": (lambda a: a.std("time", ddof=1), lambda a: filled(a).var(ddof=1, skipna=False)),
    "sum(min_count=)": (
        lambda a: a.sum("time", min_count=100),
        lambda a: a.sum(min_count=3),
        lambda a: a.prod("lon", min_count=36),
    ),
    "any, all": (
        lambda a: (a > 2).any("time"),
        lambda a: (a < 2).all(["time", "lat"]),
        lambda a: a.isnull().all("time"),
        lambda a: np.any(a > 2),  # NumPy's functions pass out=None on
        lambda a: np.all(a < 2, axis=0),
    ),
    "argmax, argmin": (lambda a: filled(a).argmax("time"), lambda a: filled(a).argmin("lat")),
    "quantile": tuple(
        lambda a, q=q, dim=dim, skipna=skipna: (a if skipna else filled(a)).quantile(
            q, dim, skipna=skipna
        )
        for q in (0.3, [0.1, 0.9])
        for dim in (None, "time", ["lat", "lon"])
        for skipna in (True, False)
    ),
    "groupby(month)": tuple(
        lambda a, name=name: getattr(a.groupby("time.month"), name)("time")
        for name in ("mean", "std", "sum", "min", "max", "median", "count")
    ),
    "groupby: anomalies": (
        lambda a: a.groupby("time.month") - a.groupby("time.month").mean("time"),
        lambda a: a.groupby("time.month").map(lambda g: g - g.mean("time")),
    ),
    "groupby: seasons, bins, coordinates": (
        lambda a: a.groupby("time.season").mean("time"),
        lambda a: a.groupby("month").quantile(0.5, "time"),
        lambda a: a.groupby_bins("lat", [-61, 0, 61]).mean(),
        lambda a: a.groupby("time.year").mean(...),
        lambda a: a.assign_coords(half=a.time.dt.month // 7).groupby(["month", "half"]).sum(),
    ),
    "resample": tuple(
        lambda a, name=name: getattr(a.resample(time="YS"), name)()
        for name in ("mean", "sum", "max", "median", "count")
    ),
    "rolling": (
        lambda a: a.rolling(time=3, center=True).mean(),
        lambda a: a.rolling(time=5, min_periods=1).sum(),
        lambda a: a.rolling(lat=3, lon=4, min_periods=2).max(),
        lambda a: a.rolling(time=4).std(),
        lambda a: a.rolling(time=3).construct("window").isel(window=0, drop=True),
        lambda a: a.rolling(time=3).count(),
    ),
    "coarsen": (
        lambda a: a.coarsen(time=12, lon=4).mean(),
        lambda a: a.coarsen(time=7, boundary="trim").max(),
        lambda a: a.coarsen(lat=5, boundary="pad").sum(),
        lambda a: a.coarsen(time=12).construct(time=("year", "of_year")),
    ),
    "where": (
        lambda a: a.where(a > 0),
        lambda a: a.where(a.lat > 0, -1.0),
        lambda a: xr.where(a > 0, a, 0.0),
        lambda a: filled(a).astype("int32").where(a > 0),
    ),
    "fillna, isnull, clip, isin": (
        lambda a: a.fillna(0.0),
        lambda a: a.fillna(a.mean("time")),
        lambda a: a.notnull(),
        lambda a: a.clip(-1, a.mean("time").fillna(9)),
        lambda a: a.round().isin([0.0, 1.0]),
    ),
    "sel": (
        lambda a: a.sel(lat=-60.0),
        lambda a: a.sel(lat=[0, 22], method="nearest"),
        lambda a: a.sel(lat=slice(-30, 30), time=slice("2000-03", "2004-02")),
        lambda a: a.sel(time="2003"),
        lambda a: a.drop_sel(lon=[0.0, 9.0]),
    ),
    "isel": (
        lambda a: a.isel(time=-1, lat=2),
        lambda a: a.isel(time=slice(2, 90, 3), lon=slice(None, None, -1)),
        lambda a: a.isel(time=[3, 1, 20], lat=[0, 5]),
        lambda a: a.isel(time=np.arange(TIMES) % 2 == 0),
        lambda a: a[2:5, 1],
        lambda a: a[:, a.lat.values > 0].thin(time=4),
        lambda a: a.isel(time=np.argsort(np.sin(np.arange(TIMES)))),
    ),
    "assignment": (written,),
    "concat, merge": (
        lambda a: xr.concat([a, a + 1], "time"),
        lambda a: xr.concat([a, a + 1], pd.Index([0, 1], name="run")),
        lambda a: xr.concat([a.isel(lat=slice(0, 2)), a.isel(lat=slice(2, None))], "lat"),
        lambda a: xr.merge([a, (a * 2).rename("u")])["u"],
    ),
    "stack, unstack": (
        lambda a: a.stack(z=("lat", "lon")),
        lambda a: a.stack(z=("time", "lon")).mean("z"),
        lambda a: a.stack(z=("lat", "lon")).unstack("z"),
        lambda a: a.stack(z=("time", "lat")).unstack("z").transpose("lon", "time", "lat"),
    ),
    "transpose, expand_dims, squeeze": (
        lambda a: a.transpose("lon", "time", "lat"),
        lambda a: a.T,
        lambda a: a.expand_dims(run=3, axis=1),
        lambda a: a.isel(lat=[1]).squeeze(),
    ),
    "diff, cumsum, shift, roll, pad": (
        lambda a: a.diff("time"),
        lambda a: a.diff("lat", n=2, label="lower"),
        lambda a: a.cumsum("time"),
        lambda a: filled(a).cumprod("lat", skipna=False),
        lambda a: a.cumsum(),
        lambda a: a.shift(time=2),
        lambda a: a.roll(time=-3, roll_coords=True),
        lambda a: a.pad(time=(1, 2)),
        lambda a: a.pad(lon=2, mode="wrap"),
        lambda a: a.sortby("time", ascending=False),
    ),
    "weighted": (
        lambda a: a.weighted(weights(a)).mean(("lat", "lon")),
        lambda a: a.weighted(weights(a)).std(),
        lambda a: a.weighted(weights(a)).sum("lat"),
    ),
    "dot": (
        lambda a: xr.dot(filled(a), filled(a), dim=["lat", "lon"]),
        lambda a: filled(a).dot(filled(a), dim="time"),
        lambda a: filled(a) @ weights(a),
        lambda a: xr.dot(filled(a), filled(a)),
    ),
    "cov, corr": (
        lambda a: xr.corr(a, a**2, dim="time"),
        lambda a: xr.cov(a, a.shift(lon=1)),
    ),
    "differentiate, integrate": (
        lambda a: a.differentiate("lat"),
        lambda a: a.differentiate("time", datetime_unit="D"),
        lambda a: filled(a).integrate("lon"),
        lambda a: filled(a).cumulative_integrate("time", datetime_unit="D"),
    ),
    "apply_ufunc, reduce, map": (
        lambda a: xr.apply_ufunc(lambda x: x * 2, a),
        lambda a: xr.apply_ufunc(lambda x: x.mean(axis=-1), filled(a), input_core_dims=[["time"]]),
        lambda a: a.reduce(lambda x, axis: (x * x).sum(axis=axis), "lat"),
        lambda a: a.to_dataset(name="t").map(lambda v: v * 3)["t"],
    ),
    "Dataset": (
        lambda a: xr.Dataset({"t": a, "u": a * 2}).mean("time"),
        lambda a: xr.Dataset({"t": a, "u": a.isel(lat=0)}).isel(time=slice(3, 50)).max("lon"),
        lambda a: xr.Dataset({"t": a}).assign(v=lambda d: d.t**2).to_array(),
        lambda a: a.to_dataset("lat")[-60.0],
    ),
}


@entries("xarray", PIPELINES)
def test_pipeline(case):
    for pipeline in case:
        check(pipeline)


@consumer("xarray", "dropna, where(drop=True)")
def test_polynomials_are_fitted():
    """In a gathered copy (`docs/ecosystem.md`): by xarray's own call of LAPACK."""
    values = np.nan_to_num(VALUES[:, :2, :3])
    numpys = xr.DataArray(values, dims=DIMS)
    for layout in (
        Layout.of(values.shape, 0, uneven(TIMES), W),
        Layout.balanced(values.shape, 2, W),
    ):
        fitted = xr.DataArray(make(values, layout), dims=DIMS).polyfit("time", 2)
        expected = numpys.polyfit("time", 2).polyfit_coefficients
        np.testing.assert_allclose(fitted.polyfit_coefficients.data, expected.data)


def test_labels_are_dropped():
    """Which labels are left must be known to the indexes, which are pandas's."""
    check(lambda a: a.where(a.lat > 0, drop=True))
    check(lambda a: a.where(a.max(["lat", "lon"]) > 3.5).dropna("time", how="all"), labels=1)


@consumer("xarray", "equals, identical")
def test_equality():
    for layout in LAYOUTS:
        a = of(make(VALUES, layout))
        with xp.trace() as t:
            assert a.equals(a.copy(deep=True))
            assert a.identical(a.copy(deep=True))
            assert not a.equals(a + 1)
            xr.testing.assert_equal(a, a.copy(deep=True))
        assert t.gathers == []


@consumer("xarray", "copy, pickle")
def test_copies():
    for layout in LAYOUTS:
        a = of(make(VALUES, layout))
        with xp.trace() as t:
            copies = [a.copy(), copy.copy(a), copy.deepcopy(a), pickle.loads(pickle.dumps(a))]
        assert t.events == []
        for b in copies:
            assert b.data.layout == layout
        copies[2][{"time": 0}] = 1.0
        copies[3][{"lat": 1}] = 2.0
        assert_same(a, of(VALUES))


@consumer("xarray", "repr")
def test_repr_sends_nothing():
    """So one rank alone may print."""
    for layout in LAYOUTS:
        a = of(make(VALUES, layout))
        dataset = xr.Dataset({"t": a, "u": a.max("lat")})
        with xp.trace() as t:
            texts = []
            if W.rank == W.size - 1:
                texts += map(repr, (a, dataset, dataset.variables["t"]))
                texts += [a._repr_html_(), dataset._repr_html_()]
        assert t.events == []
        agree(f"no dimension in {texts}" if any("time" not in text for text in texts) else None)


# ---------------------------------------------------------------------- files

E1 = files_of("iris_sample_data", "E1_north_america.nc")
OSTIA = files_of("iris_sample_data", "ostia_monthly.nc")
needs_files = pytest.mark.skipif(not E1, reason="iris_sample_data is not installed")


@pytest.fixture
def folder(comm):
    with shared_folder(comm) as path:
        yield path


@consumer("xarray", "to a file and back")
def test_a_dataset_goes_into_a_file_and_comes_back(folder):
    expected = xr.Dataset({"t": of(VALUES), "mean": of(VALUES).mean("time")}, attrs={"title": "x"})
    expected = expected.assign_coords(time=np.arange(float(TIMES)))
    for layout in LAYOUTS:
        ours = xr.Dataset(
            {"t": of(make(VALUES, layout)), "mean": of(make(VALUES, layout)).mean("time")},
            attrs={"title": "x"},
        ).assign_coords(time=np.arange(float(TIMES)))
        path = folder / f"{layout.split}.nc"
        with xp.trace() as t:
            io.save_netcdf(ours, path)
            found = io.open_dataset(path, split=DIMS[layout.split])
        assert t.gathers == []
        assert found["t"].data.split == (layout.split)
        assert found.attrs == expected.attrs
        assert_same(found.drop_vars("month"), expected.drop_vars("month"))
        with xr.open_dataset(path, engine="netcdf4") as theirs:
            np.testing.assert_array_equal(theirs["t"].values, VALUES)


def climate(dataset: Any) -> Any:
    """Return anomalies from a thirty years' mean, of means weighted by area, smoothed."""
    air = dataset["air_temperature"].reset_coords(drop=True)
    air.attrs.pop("coordinates", None)  # which xarray moves into `encoding`
    area = np.cos(np.deg2rad(air.latitude.astype("float64")))
    normal = air.isel(time=slice(100, 130)).mean("time")
    anomaly = air - normal
    mean = anomaly.weighted(area).mean(("latitude", "longitude"))
    future = air.isel(time=slice(-30, None)).mean("time")
    return xr.Dataset(
        {
            "normal": normal,
            "mean": mean,
            "smooth": mean.rolling(time=10, center=True).mean(),
            "decades": anomaly.coarsen(time=10).mean().mean("longitude"),
            "extremes": anomaly.quantile([0.05, 0.95], "time"),
            "warming": (future - normal).where(future > normal),
            "spread": anomaly.std(("latitude", "longitude"), ddof=1),
        }
    )


@needs_files
@consumer("xarray", "climatology of a NetCDF file")
@pytest.mark.parametrize("split", ["time", "latitude", "longitude"])
def test_climate_of_north_america(split):
    with xr.open_dataset(E1[0], decode_times=False, engine="netcdf4") as file:
        expected = climate(file.astype("float64"))
    dataset = io.open_dataset(E1[0], split=split)
    air = dataset["air_temperature"]
    assert air.data.split == air.dims.index(split)
    with stays_distributed(8 * air.size // W.size + 1) as t:
        found = climate(dataset.astype("float64"))
    assert t.gathers == []
    assert_same(found, expected.assign_coords(found.coords), rtol=1e-7, atol=1e-7)


@needs_files
@consumer("xarray", "monthly climatology of a NetCDF file")
@pytest.mark.parametrize("split", ["time", "latitude", "longitude"])
def test_months_of_the_equatorial_oceans(split):
    """Months by decoded times; land is NaN."""

    def anomalies(dataset: Any) -> Any:
        sst = xr.decode_cf(dataset)["surface_temperature"].reset_coords(drop=True)
        sst = sst.astype("float64")
        months = sst.groupby("time.month")
        return xr.Dataset(
            {
                "climatology": months.mean("time"),
                "anomaly": months - months.mean("time"),
                "land": sst.isnull().all("time"),
                "years": sst.resample(time="YS").mean(),
                "pacific": sst.sel(longitude=slice(190, 240)).mean(("latitude", "longitude")),
            }
        )

    with xr.open_dataset(OSTIA[0], decode_times=False, engine="netcdf4") as file:
        expected = anomalies(file)
    dataset = io.open_dataset(OSTIA[0], split=split)
    n = 8 * dataset["surface_temperature"].size
    with stays_distributed(n // W.size + 1) as t:
        found = anomalies(dataset)
    # Decoding looks at the first and last times of coordinates.
    assert all(g.bytes <= 8 for g in t.gathers)
    for name in expected:
        assert_same(
            found[name].reset_coords(drop=True),
            expected[name].reset_coords(drop=True),
            rtol=1e-6,
            atol=1e-4,
        )
    same_everywhere("the Pacific", repr(float(found["pacific"].isel(time=7))))
