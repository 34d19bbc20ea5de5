"""From any layout to any other of the same shape, by at most one collective.

Another split axis is a blocked transpose, other counts are an exchange of intervals. Both are one
all-to-all in which each rank sends only what the receiver's shard needs, so that no rank holds
more than its old and its new shard.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from .._errors import CommunicatorMismatchError, shown
from .array import Array, check_array
from .collectives import all_to_all, cat, gather, shard
from .layout import Layout, normalize_axis, overlap, resized


def move(t: Tensor, source: Layout, target: Layout) -> Tensor:
    """Return this rank's shard under `target` of the array whose shard under `source` is `t`."""
    if source is target or source == target:
        return t
    if source.split is None:
        return shard(t, target)
    if target.split is None:
        return gather(t, source)
    if source.split == target.split:
        return _recount(t, source, target)
    return _transpose(t, source, target)


def _recount(t: Tensor, source: Layout, target: Layout) -> Tensor:
    """Exchange intervals of the split axis; what stays on its rank is not sent."""
    comm, axis = source.comm, source.split
    assert axis is not None
    blocks, shapes = [], []
    for (a, b), (c, d) in zip(pairwise(source.offsets), pairwise(target.offsets), strict=True):
        begin, end = overlap(source.start, source.end, c, d)
        blocks.append(t.narrow(axis, begin - source.start if end > begin else 0, end - begin))
        begin, end = overlap(target.start, target.end, a, b)
        shapes.append(resized(t.shape, axis, end - begin))
    own, blocks[comm.rank] = blocks[comm.rank], t.narrow(axis, 0, 0)
    shapes[comm.rank] = resized(t.shape, axis, 0)
    parts = all_to_all(blocks, shapes, comm)
    parts[comm.rank] = own
    return cat(parts, axis)


def _transpose(t: Tensor, source: Layout, target: Layout) -> Tensor:
    """Exchange blocks: the split axis moves from `source.split` to `target.split`."""
    comm = source.comm
    assert source.split is not None
    assert target.split is not None
    blocks = list(torch.split(t, list(target.counts), dim=target.split))
    shapes = [
        resized(source.shape_of(rank), target.split, target.count) for rank in range(comm.size)
    ]
    return cat(all_to_all(blocks, shapes, comm), source.split)


def redistribute(x: Array, layout: Layout) -> Array:
    """Return an array with another layout of the same shape.

    Parameters
    ----------
    x : Array
        Of any layout, shape and dtype.
    layout : Layout
        The layout of the result; its shape and communicator are those of `x`.

    Returns
    -------
    Array
        Equal to `x`, with that layout. Sends nothing if the layouts are equal or `x` is
        replicated; else one all-to-all, or one allgather of `x` if the result is replicated.

    Raises
    ------
    TypeError
        If `layout` is not a Layout.
    ValueError
        If it has another shape than `x`.
    CommunicatorMismatchError
        If it is of another communicator.

    Examples
    --------
    >>> x, y = xp.zeros((6, 2), split=0), xp.ones((6, 2), split=1)
    >>> xp.redistribute(x, y.layout).split
    1
    """
    check_array("redistribute", "x", x)
    if not isinstance(layout, Layout):
        raise TypeError(f"redistribute: layout is {shown(layout)}; expected a Layout")
    if layout.shape != x.shape:
        raise ValueError(
            f"redistribute: layout has shape {layout.shape}, x has shape {x.shape}; expected the "
            f"same"
        )
    if layout.comm is not x.layout.comm:
        raise CommunicatorMismatchError(
            f"redistribute: layout is of {layout.comm.shown}, x lives on {x.layout.comm.shown}; "
            f"make the array there with comm="
        )
    t = move(x._local, x._layout, layout)
    return Array(t.view_as(t) if t is x._local else t, layout)


def resplit(x: Array, axis: int | None, /) -> Array:
    """Return an array split evenly along another axis, or replicated.

    Parameters
    ----------
    x : Array
        Of any layout, shape and dtype.
    axis : int or None
        The new split axis (negative counts from the end). None: a full copy on every
        rank. 0-d arrays stay replicated.

    Returns
    -------
    Array
        Equal to `x`, with shards of equal lengths as far as possible. If `x` is split along `axis`
        already, it keeps its counts (see `rebalance`). Sends nothing if the split does not change
        or `x` is replicated; else one all-to-all, or one allgather of `x` to replicate it.

    Raises
    ------
    IndexError
        If the axis is out of range.

    Examples
    --------
    >>> x = xp.reshape(xp.arange(6, split=0), (2, 3))
    >>> y = xp.resplit(x, 1)
    >>> print(y.split, y.tolist())
    1 [[0, 1, 2], [3, 4, 5]]
    """
    check_array("resplit", "x", x)
    axis = None if axis is None or not x.shape else normalize_axis("resplit", axis, x.ndim)
    if axis == x._layout.split:
        return redistribute(x, x._layout)
    return redistribute(x, x._layout.split_along(axis))


def rebalance(x: Array, /) -> Array:
    """Return an array with shards of equal lengths, as far as possible, along its split axis.

    Parameters
    ----------
    x : Array
        Of any layout, shape and dtype.

    Returns
    -------
    Array
        Equal to `x`; the first ranks hold one row more where they cannot be equal. Sends
        nothing if `x` is balanced, else one all-to-all of the rows that change rank.

    Raises
    ------
    TypeError
        If `x` is not an Array.

    Examples
    --------
    >>> x = xp.arange(10, split=0)
    >>> y = xp.rebalance(x[x > 5])
    >>> y.is_balanced, y.shape
    (True, (4,))
    """
    check_array("rebalance", "x", x)
    return redistribute(x, x._layout.split_along(x._layout.split))
