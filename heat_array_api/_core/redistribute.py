"""From any layout to any other of the same shape, by at most one collective.

A split axis that changes is a blocked transpose; counts that change are an exchange of
intervals. Both are one all-to-all in which each rank sends only what the receiver's
shard needs, so no rank ever holds more than its old and its new shard.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from .._errors import CommunicatorMismatchError
from .array import Array, check_array
from .collectives import all_to_all, cat, gather, shard
from .layout import Layout, normalize_axis, overlap, resized

__all__ = ["move", "rebalance", "redistribute", "resplit"]


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
    """Exchange intervals of the split axis: the same axis, other counts.

    What stays on its rank is no part of the message: of shifted slices that is nearly all.
    """
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
    """Return `x` with another layout of the same shape.

    Parameters
    ----------
    x : Array
        Any layout.
    layout : Layout
        The layout of the result; its shape and communicator are those of `x`.

    Returns
    -------
    Array
        Equal to `x`, split as `layout` says.

    Notes
    -----
    Messages: none if the layouts are equal or `x` is replicated; one allgather if the
    result is replicated; else one all-to-all.
    """
    check_array("redistribute", "x", x)
    if not isinstance(layout, Layout):
        raise TypeError(f"redistribute: layout is {layout!r}; expected a Layout")
    if layout.shape != x.shape:
        raise ValueError(
            f"redistribute: layout has shape {layout.shape}, x has shape {x.shape}; expected the "
            f"same"
        )
    if layout.comm is not x.layout.comm:
        raise CommunicatorMismatchError(
            f"redistribute: layout is of {layout.comm}, x lives on {x.layout.comm}; make the "
            f"array there with comm="
        )
    t = move(x._local, x._layout, layout)
    return Array(t.view_as(t) if t is x._local else t, layout)


def resplit(x: Array, axis: int | None, /) -> Array:
    """Return `x` split evenly along another axis, or replicated.

    Parameters
    ----------
    x : Array
        Any layout.
    axis : int or None
        The new split axis (negative counts from the end); None: a full copy on every
        rank. 0-d arrays stay replicated.

    Returns
    -------
    Array
        Equal to `x`; balanced counts along `axis`. If `x` is already split along `axis`
        it keeps its counts (see `rebalance`).

    Notes
    -----
    Messages: none if the split does not change or `x` is replicated; one allgather to
    replicate; one all-to-all from axis to axis.
    """
    check_array("resplit", "x", x)
    axis = None if axis is None or not x.shape else normalize_axis("resplit", axis, x.ndim)
    if axis == x._layout.split:
        return redistribute(x, x._layout)
    return redistribute(x, x._layout.split_along(axis))


def rebalance(x: Array, /) -> Array:
    """Return `x` with even counts along its split axis.

    Notes
    -----
    Messages: none if `x.is_balanced`, else one all-to-all of the rows that change rank.
    """
    check_array("rebalance", "x", x)
    return redistribute(x, x._layout.split_along(x._layout.split))
