"""The demo's picture: a map of the zones beside how each of them warms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..io._agreement import missing_package
from ._grid import Grid, Values

Projection = Callable[[Values, Values], tuple[Values, Values]]


# From cold to warm; neighbours also differ in lightness, for those who do not see the hue.
ANCHORS = ("#1f2f7a", "#3f7fc1", "#7cc4d4", "#3e9b6e", "#e9c54a", "#e07b33", "#a3203a")
INK = "#22262e"
FAINT = "#8b93a1"


def require_matplotlib() -> None:
    """Import matplotlib without a display; raise an error that tells how to get it."""
    try:
        import matplotlib as mpl
    except ImportError:
        raise missing_package("matplotlib", "demo") from None
    mpl.use("Agg")


def draw(
    path: Path, grid: Grid, zones: Values, series: Values, means: list[float], shares: list[float]
) -> None:
    """Draw the zones as a PNG; the parameters are those of `write_zones`."""
    require_matplotlib()
    import matplotlib.pyplot as plt
    from matplotlib.colors import LinearSegmentedColormap

    ramp = LinearSegmentedColormap.from_list("zones", ANCHORS)
    colours = [ramp(value) for value in np.linspace(0, 1, len(means))]
    style: dict[Any, Any] = {
        "font.family": "DejaVu Sans",
        "font.size": 11,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": FAINT,
        "xtick.color": INK,
        "ytick.color": INK,
    }
    with plt.rc_context(style):
        figure = plt.figure(figsize=(14, 7.2), dpi=130, facecolor="white")
        try:
            _titles(figure, grid, len(means))
            _map(figure.add_axes((0.045, 0.14, 0.56, 0.72)), grid, zones, colours)
            _legend(figure, (0.02, 0.015), means, shares, colours)
            _warming(figure.add_axes((0.635, 0.14, 0.265, 0.67)), grid, series, colours)
            figure.savefig(path)
        finally:
            plt.close(figure)


def _titles(figure: Any, grid: Grid, k: int) -> None:
    figure.text(0.03, 0.935, f"{k} climate zones", fontsize=20, weight="bold")
    figure.text(
        0.03,
        0.895,
        f"k-means of the {grid.variable.replace('_', ' ')} in {Path(grid.path).name}, "
        f"{grid.period}: each cell's mean and its variability from year to year",
        color="#5b6472",
    )


# ---------------------------------------------------------------- map


def _map(axes: Any, grid: Grid, zones: Values, colours: list[Any]) -> None:
    from matplotlib.colors import ListedColormap

    latitude, longitude = np.asarray(grid.latitude), np.asarray(grid.longitude)
    edges_x, edges_y = _edges(longitude), np.clip(_edges(latitude), -90, 90)
    project = _projection(edges_x, edges_y)
    mesh = project(*np.meshgrid(edges_x, edges_y))
    axes.pcolormesh(
        *mesh,
        np.ma.masked_less(zones, 0),
        cmap=ListedColormap(colours),
        vmin=-0.5,
        vmax=len(colours) - 0.5,
        edgecolors="face",
        linewidth=0.2,
        rasterized=True,
    )
    for line in _coastline(edges_x.min()):
        inside = (
            (line[:, 0] >= edges_x.min())
            & (line[:, 0] <= edges_x.max())
            & (line[:, 1] >= edges_y.min())
            & (line[:, 1] <= edges_y.max())
        )
        x, y = project(np.where(inside, line[:, 0], np.nan), line[:, 1])
        axes.plot(x, y, color="white", linewidth=2.4, alpha=0.55, solid_capstyle="round")
        axes.plot(x, y, color=INK, linewidth=1.0, solid_capstyle="round")
    _graticule(axes, project, edges_x, edges_y)
    # Equal scales, but a narrow belt is stretched to be seen.
    axes.set_aspect(max(1.0, 0.4 * float(np.ptp(mesh[0]) / np.ptp(mesh[1]))))
    axes.set_anchor("C")
    axes.axis("off")


def _edges(centres: Values) -> Values:
    """Return the bounds of cells from their centres."""
    middle = (centres[1:] + centres[:-1]) / 2
    first, last = 2 * centres[0] - middle[0], 2 * centres[-1] - middle[-1]
    return np.concatenate([[first], middle, [last]])


def _projection(longitude: Values, latitude: Values) -> Projection:
    """Return Albers' equal-area conic projection of the region; of a belt or the globe, degrees."""
    south, north = np.deg2rad(latitude.min()), np.deg2rad(latitude.max())
    # Standard parallels a sixth of the height inside the map.
    low, high = south + (north - south) / 6, north - (north - south) / 6
    n = (np.sin(low) + np.sin(high)) / 2
    if np.ptp(longitude) > 180 or abs(n) < 0.1:
        return lambda x, y: (x, y)
    c = np.cos(low) ** 2 + 2 * n * np.sin(low)
    middle = (longitude.min() + longitude.max()) / 2

    def albers(x: Values, y: Values) -> tuple[Values, Values]:
        rho = np.sqrt(c - 2 * n * np.sin(np.deg2rad(y))) / n
        theta = n * np.deg2rad(x - middle)
        return rho * np.sin(theta), -rho * np.cos(theta)

    return albers


def _coastline(west: float) -> list[Values]:
    """Return the polylines of the coast, longitudes counted from `west` on."""
    text = Path(__file__).with_name("coastline.txt").read_text("utf-8")
    lines = [
        np.array([point.split(",") for point in line.split()], dtype=np.float64)
        for line in text.splitlines()
        if line and not line.startswith("#")
    ]
    for line in lines:
        line[:, 0] = west + (line[:, 0] - west) % 360
    return lines


def _graticule(axes: Any, project: Projection, longitude: Values, latitude: Values) -> None:
    """Draw meridians and parallels, labelled at the map's bottom and left edge."""
    along_x = np.linspace(longitude.min(), longitude.max(), 200)
    along_y = np.linspace(latitude.min(), latitude.max(), 200)
    line = {"color": "white", "linewidth": 0.7, "alpha": 0.6}
    label: dict[str, Any] = {"textcoords": "offset points", "color": "#5b6472", "fontsize": 9.5}
    step_x, step_y = _step(np.ptp(longitude)), _step(np.ptp(latitude))
    for x in np.arange(np.ceil(longitude.min() / step_x) * step_x, longitude.max(), step_x):
        axes.plot(*project(np.full(200, x), along_y), **line)
        px, py = project(np.array([x]), np.array([latitude.min()]))
        east = (x + 180) % 360 - 180
        text = f"{abs(east):.0f}°{'E' if east > 0 else 'W' if east < 0 else ''}"
        axes.annotate(
            text,
            (px[0], py[0]),
            (0, -5),
            ha="center",
            va="top",
            **label,
        )
    for y in np.arange(np.ceil(latitude.min() / step_y) * step_y, latitude.max(), step_y):
        axes.plot(*project(along_x, np.full(200, y)), **line)
        px, py = project(np.array([longitude.min()]), np.array([y]))
        text = f"{abs(y):.0f}°{'N' if y > 0 else 'S' if y < 0 else ''}"
        axes.annotate(
            text,
            (px[0], py[0]),
            (-5, 0),
            ha="right",
            va="center",
            **label,
        )
    frame: dict[str, Any] = {"color": FAINT, "linewidth": 1}
    for end in (0, -1):
        axes.plot(*project(along_x, np.full(200, along_y[end])), **frame)
        axes.plot(*project(np.full(200, along_x[end]), along_y), **frame)


def _step(extent: float) -> float:
    """Return a round distance of graticule lines."""
    return next((step for step in (1.0, 2.0, 5.0, 10.0, 15.0, 30.0) if extent / step <= 7), 60.0)


def _legend(
    figure: Any,
    place: tuple[float, float],
    means: list[float],
    shares: list[float],
    colours: list[Any],
) -> None:
    from matplotlib.patches import Patch

    patches = [
        Patch(
            facecolor=colour,
            label=f"zone {zone}:  {_signed(mean, 1)} °C, {100 * share:.0f} % of area",
        )
        for zone, (mean, share, colour) in enumerate(zip(means, shares, colours, strict=True))
    ]
    figure.legend(
        handles=patches,
        loc="lower left",
        bbox_to_anchor=place,
        ncols=2 if len(patches) <= 4 else 3,
        frameon=False,
        handlelength=1.4,
        handleheight=1.1,
        columnspacing=1.6,
    )


def _signed(value: float, digits: int) -> str:
    return f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")


# ---------------------------------------------------------------- warming


def _warming(axes: Any, grid: Grid, series: Values, colours: list[Any]) -> None:
    """Draw each zone's departure from its mean in the first eighth of the time."""
    years = np.asarray(grid.years)
    base = max(grid.lag, len(years) // 8)
    window = max(1, len(years) // 24 // grid.lag) * grid.lag
    window = min(window, len(years))
    departure = series - series[:base].mean(axis=0)
    kernel = np.full(window, 1 / window)
    centres = np.convolve(years, kernel, "valid")
    ends = []
    for zone, colour in enumerate(colours):
        smooth = np.convolve(departure[:, zone], kernel, "valid")
        axes.plot(years, departure[:, zone], color=colour, linewidth=0.6, alpha=0.25)
        axes.plot(centres, smooth, color="white", linewidth=3.6)
        axes.plot(centres, smooth, color=colour, linewidth=2.2)
        ends.append(float(smooth[-1]))
    low, high = axes.get_ylim()
    for zone, y in enumerate(_apart(ends, 0.042 * (high - low))):
        axes.annotate(
            f"zone {zone}  {_sign(ends[zone])}",
            (years[-1], y),
            (8, 0),
            textcoords="offset points",
            color=colours[zone],
            weight="bold",
            va="center",
            annotation_clip=False,
        )
    axes.axhline(0, color=FAINT, linewidth=0.8, zorder=0)
    first, last = int(years[0]), int(years[base - 1])
    mean = f"{window // grid.lag}-year means" if window > 1 else "single steps"
    axes.set_xlim(years[0], years[-1])
    axes.set_title(
        f"Warming since {first}\N{EN DASH}{last} in °C, {mean}",
        loc="left",
        fontsize=12.5,
        weight="bold",
    )
    axes.grid(axis="y", color="#e3e6eb", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _sign(value: float) -> str:
    return f"{'+' if value > 0 else ''}{_signed(value, 1)}"


def _apart(values: list[float], distance: float) -> list[float]:
    """Return label positions near `values`, at least `distance` from each other."""
    order = sorted(range(len(values)), key=values.__getitem__)
    placed = [values[i] for i in order]
    for _ in range(200):
        for low in range(len(placed) - 1):
            overlap = distance - (placed[low + 1] - placed[low])
            if overlap > 0:
                placed[low] -= overlap / 2
                placed[low + 1] += overlap / 2
    result = list(values)
    for i, y in zip(order, placed, strict=True):
        result[i] = y
    return result
