"""How arrays print: `repr` of one rank's view, `str` of the corners, HTML of the blocks."""

from __future__ import annotations

from html import escape
from itertools import pairwise

import numpy as np
import torch

from ._comm.assumptions import assumed
from ._comm.recording import breaks
from ._core.arguments import as_int
from ._core.array import Array, check_array
from ._core.collectives import gather
from ._core.dtypes import on_bits
from ._core.layout import Layout
from ._core.redistribute import resplit


@breaks
def short(x: Array) -> str:
    """Return ``repr(x)``: global shape, dtype, split and this rank's shard. Never communicates."""
    if assumed():
        return f"Array(shape={x.shape}, dtype={x.dtype}, split={x.split}, without values)"
    if x._is_stale and x.comm.size > 1:  # one rank alone may ask
        return f"Array(shape={x.shape}, dtype={x.dtype}, a view to be refreshed when it is used)"
    layout = x._layout
    where = f"Array(shape={layout.shape}, dtype={x.dtype}, split={layout.split}"
    if x.device != "cpu":
        where += f", device={x.device}"
    t = x._local.detach().cpu()
    values = t.float() if t.dtype is torch.bfloat16 else t
    text = np.array2string(
        values.resolve_conj().resolve_neg().numpy(),
        separator=", ",
        threshold=20,
        edgeitems=3,
        prefix="  ",
    )
    if layout.split is None:
        return f"{where},\n  {text})"
    first = layout.start
    rows = f"rows {first}:{first + layout.count} of axis {layout.split}"
    return f"{where}, rank {layout.comm.rank} of {layout.comm.size} holds {rows}:\n  {text})"


@breaks
def to_string(x: Array, /, *, edgeitems: int = 3, threshold: int = 1000, precision: int = 8) -> str:
    """Return the values of an array as NumPy prints them; ``str(x)`` with options.

    Parameters
    ----------
    x : Array
        Any layout and dtype.
    edgeitems : int
        How many elements at each end of an axis are shown of a long array.
    threshold : int
        Arrays of more elements are shown by their corners.
    precision : int
        Digits after the decimal point.

    Returns
    -------
    str
        The same on every rank: all of them call the function. One allgather of a short array, or of
        the corners of a long one, at most ``2 * edgeitems + 1`` rows; none if it is replicated.

    Raises
    ------
    TypeError
        If `x` is not an array.

    Examples
    --------
    >>> print(xp.to_string(xp.arange(5000, split=0), edgeitems=2))
    [   0    1 ... 4998 4999]
    """
    check_array("to_string", "x", x)
    edgeitems = as_int("to_string", "edgeitems", edgeitems, least=0)
    threshold = as_int("to_string", "threshold", threshold, least=0)
    precision = min(as_int("to_string", "precision", precision, least=0), 100)
    short = x.size > threshold
    values = np.asarray(resplit((_corner(x, edgeitems) if short else x).detach(), None))
    if values.dtype.kind == "V":
        values = values.astype(np.float32)
    if values.ndim == 0:
        return str(values[()])
    return np.array2string(
        values,
        separator=" ",
        threshold=0 if short else values.size,
        edgeitems=edgeitems,
        precision=precision,
    )


def _corner(x: Array, edgeitems: int) -> Array:
    """Return the ends of every axis, with one element more than is shown: NumPy puts dots there."""
    t = x._local
    layout = x._layout
    for axis, n in enumerate(layout.shape):
        keep = 2 * edgeitems + 1
        if n <= keep:
            continue
        first = layout.start if layout.split == axis else 0
        index = np.arange(first, first + t.shape[axis])
        places = np.flatnonzero((index <= edgeitems) | (index >= n - edgeitems))
        chosen = torch.from_numpy(places).to(t.device)
        t = on_bits(torch.index_select, t, dim=axis, index=chosen)
        counts = tuple(
            sum(i <= edgeitems or i >= n - edgeitems for i in _near(a, b, n, edgeitems))
            for a, b in pairwise(layout.offsets)
        )
        layout = layout.with_length(axis, keep, counts)
    return Array(gather(t, layout), layout.split_along(None))


def _near(begin: int, end: int, n: int, edgeitems: int) -> list[int]:
    """Return the indices of [begin, end) that lie at either end of an axis of length n."""
    low = range(begin, min(end, edgeitems + 1))
    high = range(max(begin, n - edgeitems), end)
    return sorted({*low, *high})


@breaks
def html(x: Array) -> str:
    """Return a table of facts and a drawing of the blocks over the ranks. Never communicates."""
    if x._is_stale and x.comm.size > 1:
        return escape(short(x))
    layout = x._layout
    facts = [
        ("shape", layout.shape),
        ("dtype", x.dtype),
        ("bytes", f"{x.nbytes:,}"),
        ("split", layout.split),
        ("ranks", layout.comm.size),
        ("shard here", layout.local_shape),
    ]
    rows = "".join(
        f"<tr><th style='text-align:left'>{name}</th><td>{escape(str(value))}</td></tr>"
        for name, value in facts
    )
    return (
        "<table style='border-collapse:collapse'><tr><td><table>"
        f"{rows}</table></td><td>{_drawing(layout)}</td></tr></table>"
    )


def _drawing(layout: Layout) -> str:
    """Return an SVG of the last two axes, cut into the ranks' blocks along the split axis."""
    shape = layout.shape[-2:] if layout.ndim > 1 else (1, *layout.shape) if layout.ndim else (1, 1)
    longest = max(*shape, 1)
    height, width = (max(160 * n / longest, 24) for n in shape)
    axis = None if layout.split is None else layout.split - layout.ndim
    total = max(1, layout.shape[layout.split]) if layout.split is not None else 1
    parts = []
    for rank in range(layout.comm.size if axis is not None else 1):
        begin, end = (0, 1) if axis is None else (layout.offsets[rank], layout.offsets[rank + 1])
        a, b = (begin / total, end / total) if axis is not None else (0.0, 1.0)
        mine = axis is None or rank == layout.comm.rank
        if axis == -1:
            box = (a * width, 0.0, (b - a) * width, height)
        else:  # rows; an axis before the last two is drawn as slabs of rows too
            box = (0.0, a * height, width, (b - a) * height)
        label = "every rank" if axis is None else str(rank)
        x, y, w, h = box
        parts.append(
            f"<rect x='{x:.1f}' y='{y:.1f}' width='{w:.1f}' height='{h:.1f}' "
            f"fill='{'#f4a261' if mine else '#a8dadc'}' stroke='#1d3557'/>"
        )
        if w > 8 and h > 8:
            parts.append(
                f"<text x='{x + w / 2:.1f}' y='{y + h / 2 + 4:.1f}' font-size='11' "
                f"text-anchor='middle'>{label}</text>"
            )
    return f"<svg width='{width + 2:.0f}' height='{height + 2:.0f}'>{''.join(parts)}</svg>"
