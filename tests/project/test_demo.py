"""The main job: k-means on NumPy and on every layout, and the demo from file to picture."""

from __future__ import annotations

import builtins
import importlib.util
import json
from functools import partial
from pathlib import Path

import netCDF4
import numpy as np
import pytest

import heat_array_api as xp
from files import shared_folder
from heat_array_api.demo import _climate, _figure, _grid
from heat_array_api.demo.__main__ import cell_series, cell_weights, main
from heat_array_api.demo._kmeans import kmeans, kmeans_plus_plus
from heat_array_api.io._netcdf import load_netcdf
from layouts import agree, assert_equal, layouts, make, same_everywhere, to_numpy

FILE = _grid.sample_file()
GRID = _grid.describe(FILE, "air_temperature")


@pytest.fixture
def folder(comm):
    """Return a folder that is the same on all ranks."""
    with shared_folder(comm) as path:
        yield path


@pytest.fixture(scope="module")
def numpy_zones():
    """Return the zones that NumPy finds in the sample data."""
    with netCDF4.Dataset(FILE) as file:
        air = file["air_temperature"][:].filled(np.nan).astype(np.float64)
    weights = np.repeat(np.cos(np.deg2rad(GRID.latitude)), GRID.shape[2])
    series = np.permute_dims(air, (1, 2, 0)).reshape(-1, GRID.shape[0])
    return _climate.find_zones(series, weights, 6)


def blobs(n=60, k=4):
    """Return samples round `k` far centres."""
    rng = np.random.default_rng(5)
    centres = 10.0 * np.arange(k)[:, None] * np.asarray([1.0, -1.0, 0.5])
    return centres[np.arange(n) % k] + rng.standard_normal((n, 3))


# ---------------------------------------------------------------- k-means


def test_kmeans_finds_blobs():
    found = kmeans(blobs(), 4, seed=1)
    assert found.converged
    assert found.labels.shape == (60,)
    assert all(len(set(found.labels[start::4].tolist())) == 1 for start in range(4))
    expected = np.sum(np.square(blobs() - found.centroids[found.labels]))
    assert found.inertia == pytest.approx(expected)


@pytest.mark.parametrize("seed", [0, 3])
def test_kmeans_is_the_same_on_every_layout(seed):
    x = blobs()
    seeds = kmeans_plus_plus(x, 4, seed)
    expected = kmeans(x, 4, seed=seed)
    for layout in layouts(x.shape, few=True):
        assert_equal(kmeans_plus_plus(make(x, layout), 4, seed), seeds)
        found = kmeans(make(x, layout), 4, seed=seed)
        assert_equal(found.labels, expected.labels)
        assert_equal(found.centroids, expected.centroids)
        assert found.iterations == expected.iterations
        assert found.inertia == pytest.approx(expected.inertia)
        same_everywhere("the inertia", float.hex(found.inertia))


def test_kmeans_does_not_gather(comm):
    x = make(blobs(400), next(layout for layout in layouts((400, 3)) if layout.split == 0))
    with xp.trace() as trace:
        found = kmeans(x, 4)
    assert found.labels.split == (0 if comm.size > 1 else found.labels.split)
    # What a rank sends at a time is of the size of the centroids, however many samples there are.
    assert all(event.bytes <= 4 * 3 * 8 for event in trace.events), trace.summary()
    assert trace.count("alltoall") == trace.count("exchange") == 0


def test_kmeans_seeds_are_samples():
    x = blobs()
    for seed in range(20):
        seeds = kmeans_plus_plus(x, 4, seed)
        assert all((x == one).all(axis=1).any() for one in seeds)


def test_kmeans_more_clusters_than_distinct_samples():
    x = np.repeat([[1.0, 2.0], [3.0, 4.0]], 5, axis=0)
    for array in (x, make(x, next(o for o in layouts(x.shape) if o.split == 0))):
        found = kmeans(array, 3)
        assert found.inertia == 0
        assert found.converged
        assert np.isfinite(to_numpy(found.centroids)).all()


def test_kmeans_stops_and_reports():
    x = np.random.default_rng(0).random((200, 2))
    steps = []
    found = kmeans(x, 8, max_iterations=3, progress=lambda *step: steps.append(step))
    assert found.iterations == 3
    assert not found.converged
    assert [step[0] for step in steps] == [1, 2, 3]
    assert steps[-1][1] < steps[-1][2] == 200


@pytest.mark.parametrize("k", [0, 61])
def test_kmeans_checks_k(k):
    with pytest.raises(ValueError, match=f"kmeans_plus_plus: k is {k}; expected 1 to 60"):
        kmeans(blobs(), k)


# ---------------------------------------------------------------- climate


def test_features_and_z_scores():
    series = np.asarray([[1.0, 3.0, 5.0, 7.0], [2.0, 2.0, 6.0, 6.0], [0.0, np.nan, 1.0, 2.0]])
    values = _climate.features(series, 1)
    np.testing.assert_allclose(values[:, 0], [4, 4, np.nan])
    np.testing.assert_allclose(
        values[:, 1], [0, np.std([0, 4, 0]) / np.sqrt(2), np.nan], atol=1e-12
    )
    np.testing.assert_allclose(_climate.features(series[:2], 2)[:, 1], 0, atol=1e-12)
    z = _climate.standardise(np.asarray([[1.0, 5.0], [3.0, 5.0]]))
    np.testing.assert_allclose(z, [[-1, 0], [1, 0]])
    with pytest.raises(ValueError, match="features: lag is 4; expected 1 to 3"):
        _climate.features(series, 4)


def test_zones_are_ordered_and_skip_missing_cells():
    cells = np.arange(24)
    wiggle = np.random.default_rng(1).standard_normal((24, 6)) / 10
    series = 10.0 * (2 - cells % 3)[:, None] + (1 + 4 * (cells % 3))[:, None] * wiggle
    series[5, 2] = np.nan
    weights = 1 + cells / 10
    expected = np.where(cells == 5, -1, 2 - cells % 3)
    shares = [weights[expected == zone].sum() / (weights.sum() - weights[5]) for zone in range(3)]
    for layout in layouts(series.shape, few=True):
        if layout.split == 1:
            continue
        zones = _climate.find_zones(make(series, layout), make(weights), 3, seed=2)
        agree(None if (to_numpy(zones.labels) == expected).all() else "wrong zones")
        assert zones.means == sorted(zones.means)
        assert zones.shares == pytest.approx(shares)
        means = [np.average(series[expected == z], 0, weights[expected == z]) for z in range(3)]
        assert_equal(zones.series, np.stack(means, axis=1))


@pytest.mark.parametrize("split", [None, 0, 1, 2])
def test_zones_of_the_real_file_are_numpys(numpy_zones, split):
    air = load_netcdf(FILE, "air_temperature", split=split, dtype=xp.float64)
    weights = cell_weights(GRID.latitude, GRID.shape, split)
    zones = _climate.find_zones(cell_series(air), weights, 6)
    assert_equal(zones.labels, numpy_zones.labels)
    assert_equal(zones.series, numpy_zones.series)
    assert zones.clusters.iterations == numpy_zones.clusters.iterations
    assert zones.clusters.inertia == pytest.approx(numpy_zones.clusters.inertia)


# ---------------------------------------------------------------- the demo


def test_demo(comm, folder, capsys, numpy_zones):
    assert main(["--output", str(folder / "results")]) == 0
    out, err = capsys.readouterr()
    if comm.rank == 0:
        assert "E1_north_america.nc: air_temperature (time, latitude, longitude)" in out
        assert "240 x 37 x 49, float32, K, 1860 to 2099, yearly" in out
        assert f"latitude over {comm.size} rank" in out
        assert f"1813 cells into 6 zones: {numpy_zones.clusters.iterations} iterations" in out
        assert f"inertia {numpy_zones.clusters.inertia:.6f}" in out
        assert "communications" in out
        assert "1813/1813 cells settled" in err
    else:
        assert out == err == ""
    with netCDF4.Dataset(folder / "results" / "climate_zones.nc") as file:
        zones = file["climate_zone"]
        expected = numpy_zones.labels.reshape(GRID.shape[1:])
        problem = None if (zones[:] == expected).all() else "not NumPy's zones"
        agree(problem)
        assert zones.flag_values.tolist() == list(range(6))
        assert zones.flag_meanings.split() == [f"zone_{zone}" for zone in range(6)]
        assert zones.dimensions == ("latitude", "longitude")
        np.testing.assert_array_equal(file["latitude"][:], GRID.latitude)
        np.testing.assert_allclose(
            file["zone_temperature"][:], np.asarray(numpy_zones.means) - 273.15
        )
        assert file["zone_area_fraction"][:].sum() == pytest.approx(1)
        assert file["zone_temperature_series"].shape == (240, 6)
    picture = (folder / "results" / "climate_zones.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert sorted(path.name for path in (folder / "results").iterdir()) == [
        "climate_zones.nc",
        "climate_zones.png",
    ]


def test_demo_on_monthly_data_with_missing_cells(comm, folder, capsys):
    path = Path(FILE).with_name("ostia_monthly.nc")
    arguments = ["--input", str(path), "--variable", "surface_temperature", "--zones", "3"]
    assert main([*arguments, "--split", "longitude", "--output", str(folder)]) == 0
    out, _ = capsys.readouterr()
    if comm.rank == 0:
        assert "monthly" in out
        assert "longitude over" in out
    with netCDF4.Dataset(path) as file:
        missing = np.ma.getmaskarray(file["surface_temperature"][:]).any(axis=0)
    with netCDF4.Dataset(folder / "climate_zones.nc") as file:
        found = file["climate_zone"][:]
    agree(None if (np.ma.getmaskarray(found) == missing).all() else "wrong cells are missing")
    assert set(found.compressed().tolist()) == {0, 1, 2}


def test_demo_unsplit_and_small(comm, folder, capsys):
    path = folder / "tiny.nc"
    if comm.rank == 0:
        tiny(path)
    comm.barrier()
    for split in ("none", "time"):
        arguments = ["--input", str(path), "--variable", "t", "--zones", "2", "--seed", "3"]
        assert main([*arguments, "--split", split, "--output", str(folder), "--trace"]) == 0
        comm.barrier()  # rank 0 writes it last
        assert json.loads((folder / "climate_zones.trace.json").read_text())["traceEvents"]
        out, _ = capsys.readouterr()
        if comm.rank == 0:
            assert f"split      {split}" in out
            assert "4 steps" not in out
            assert "quarterly" in out


def tiny(path):
    """Write a grid on which there is not much: 2 x 3 cells, 9 quarters, degrees Celsius."""
    with netCDF4.Dataset(path, "w") as file:
        for name, n, units in (
            ("time", 9, "days since 2001-01-15"),
            ("lat", 2, "degrees_north"),
            ("lon", 3, "degrees_east"),
        ):
            file.createDimension(name, n)
            file.createVariable(name, "f8", (name,)).units = units
        file["time"][:] = np.arange(9) * 91.3
        file["lat"][:] = [10, -10]
        file["lon"][:] = [0, 60, 120]
        t = file.createVariable("t", "f8", ("time", "lat", "lon"))
        t.units = "degC"
        noise = np.random.default_rng(0).random((9, 2, 3))
        t[:] = noise + np.asarray([0, 10, 10])


def fails(comm, capsys, match, arguments):
    """Check that the demo ends with a message of one line, on rank 0 alone."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code != 0
    _, err = capsys.readouterr()
    if comm.rank == 0:
        assert match in err
    else:
        assert err == ""


def test_demo_errors(comm, capsys, folder):
    check = partial(fails, comm, capsys)
    check("no.nc", ["--input", str(folder / "no.nc")])
    check("no variable 'wind'", ["--variable", "wind"])
    check("expected time, latitude, longitude", ["--variable", "time_bnds"])
    check("--zones is 0; expected 1 to 1813", ["--zones", "0"])
    check("--zones is 9999", ["--zones", "9999"])
    check("invalid choice: 'depth'", ["--split", "depth"])
    if comm.rank == 0:
        (folder / "occupied").write_text("a file")
    comm.barrier()
    check("occupied", ["--output", str(folder / "occupied")])


def test_demo_names_the_extra(comm, capsys, monkeypatch):
    importing, finding = builtins.__import__, importlib.util.find_spec

    def without(package):
        def imports(name, *args, **kwargs):
            if name == package:
                raise ImportError(name)
            return importing(name, *args, **kwargs)

        monkeypatch.setattr(builtins, "__import__", imports)

    for package, name in (
        ("matplotlib", "matplotlib"),
        ("netCDF4", "netCDF4"),
        ("iris_sample_data", "iris-sample-data"),
    ):
        without(package)
        fails(
            comm, capsys, f'needs {name}; install it with: pip install "heat_array_api[demo]"', []
        )
    monkeypatch.setattr(builtins, "__import__", importing)
    monkeypatch.setattr(
        "heat_array_api.demo.__main__.find_spec",
        lambda name: None if name == "tqdm" else finding(name),
    )
    fails(comm, capsys, "needs tqdm", [])


def test_written_whole_or_not_at_all(comm, folder):
    path = folder / f"rank{comm.rank}" / "zones.nc"
    path.parent.mkdir()
    path.write_text("the old file")
    with pytest.raises(ValueError):
        _grid.write_zones(path, GRID, np.zeros((2, 2)), np.zeros((240, 1)), [1.0], [1.0])
    assert path.read_text() == "the old file"
    assert [p.name for p in path.parent.iterdir()] == ["zones.nc"]


def test_projection_keeps_areas():
    x, y = np.linspace(225, 315, 10), np.linspace(15, 60, 10)
    project = _figure._projection(x, y)
    areas = []
    for south in (20.0, 50.0):
        north = np.rad2deg(np.arcsin(np.sin(np.deg2rad(south)) + 1e-4))
        corners_x, corners_y = (
            np.asarray([270, 270.01, 270.01, 270]),
            np.asarray([south] * 2 + [north] * 2),
        )
        px, py = project(corners_x, corners_y)
        areas.append(abs(np.dot(px, np.roll(py, 1)) - np.dot(py, np.roll(px, 1))) / 2)
    assert areas[0] == pytest.approx(areas[1], rel=1e-3)
    belt = _figure._projection(np.asarray([0.0, 360.0]), y)
    assert belt(x, y) == (x, y)


def test_labels_move_apart():
    placed = _figure._apart([1.0, 0.0, 0.01], 0.1)
    assert np.diff(sorted(placed)).min() >= 0.1 - 1e-6
    assert placed[0] > placed[2] > placed[1]
