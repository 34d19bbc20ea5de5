"""What the examples with pictures share: results are printed, and drawn, on rank 0."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import heat_array_api as xp

FOLDER = Path(__file__).parent.parent / "build" / "examples"
COLOURS = ("#1f6fb4", "#d1592c", "#3e8f5a", "#8a5aa8", "#c9a227", "#4d5663")


def present(name, found, messages, draw):
    """Print the short ones of some results and what was sent for them; draw all of them.

    Collective: what is drawn of split arrays is gathered here.

    Parameters
    ----------
    name : str
        Of the picture.
    found : dict
        Numbers and arrays.
    messages : xp.trace
        Of the computation.
    draw : callable
        ``draw(figure, found)``.
    """
    found = {key: as_numpy(value) for key, value in found.items()}
    if xp.world().rank != 0:
        return
    for key, value in found.items():
        if np.size(value) <= 12:
            print(f"{key}: {np.array2string(np.asarray(value), precision=4, suppress_small=True)}")
    print("\n".join(messages.summary().splitlines()[:4]))
    path = picture(name, found, draw)
    print(f"picture: {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")


def as_numpy(value):
    """Return an array as NumPy's, on every rank; other values as they are."""
    return np.asarray(xp.resplit(value, None)) if isinstance(value, xp.Array) else value


def picture(name, found, draw, folder=FOLDER):
    """Write a picture, and return its path."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    style = {
        "axes.prop_cycle": mpl.cycler(color=COLOURS),
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlelocation": "left",
        "figure.constrained_layout.use": True,
        "figure.figsize": (9, 4),
        "font.size": 11,
        "legend.frameon": False,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.png"
    with mpl.rc_context(style):
        figure = plt.figure()
        draw(figure, found)
        figure.savefig(path, dpi=120)
        plt.close(figure)
    return path
