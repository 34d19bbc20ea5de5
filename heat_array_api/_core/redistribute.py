"""From any layout to any other of the same shape, by at most one collective.

Another split axis is a blocked transpose, one all-to-all; other counts are an exchange of
intervals, a message to each rank that gets some. Each rank sends only what the receiver's shard
needs, so that no rank holds more than its old and its new shard.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from torch import Tensor

from .._caching import cached
from .._comm.division import Division
from .._errors import CommunicatorMismatchError, shown
from .array import Array, check_array
from .collectives import gather, shard
from .fetch import Fetch, Segment, divided_rows, fetch_intervals, join, plan_fetch
from .layout import Layout, Shape, normalize_axis, resized
from .tape import linear, tracked


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
    assert source.split is not None
    return join(fetch_intervals([t], _plan_recount(source, target)), source.split)


@cached
def _plan_recount(source: Layout, target: Layout) -> Fetch:
    assert target.division is not None
    everything = (Segment(0, target.division.total),)
    return plan_fetch([source], [divided_rows(everything, target.division)])


def _transpose(t: Tensor, source: Layout, target: Layout) -> Tensor:
    """Exchange blocks: the split axis moves from `source.split` to `target.split`."""
    if tracked(t):
        return linear(t, _exchange_blocks, _blocks_back, source, target)
    return _exchange_blocks(t, source, target)


def _blocks_back(g: Tensor, source: Layout, target: Layout) -> Tensor:
    return _transpose(g, target, source)


class _Blocks(NamedTuple):
    """How a blocked transpose is packed.

    One of the two split axes is brought to the front, where the ranks' blocks lie one after the
    other whatever their lengths are; along the other one, neighbours with equal counts are copied
    together. So balanced layouts take two copies at each end, whatever the number of ranks.
    """

    front: int
    runs: tuple[tuple[int, int], ...]  # of the other axis: a length, and how many ranks have it
    sends: Division
    receives: Division


@cached
def _plan_blocks(source: Layout, target: Layout) -> _Blocks:
    old, new = source.division, target.division
    assert source.split is not None
    assert target.split is not None
    assert old is not None
    assert new is not None
    outgoing, incoming = new.runs(), old.runs()
    by_source = source.split < target.split
    if len(outgoing if by_source else incoming) > 2:
        by_source = len(outgoing) <= len(incoming)
    mine, later = math.prod(source.local_shape), math.prod(target.local_shape)
    return _Blocks(
        source.split if by_source else target.split,
        tuple(outgoing if by_source else incoming),
        Division(new.offsets * (mine // max(new.total, 1))),
        Division(old.offsets * (later // max(old.total, 1))),
    )


def _exchange_blocks(t: Tensor, source: Layout, target: Layout) -> Tensor:
    front, runs, sends, receives = _plan_blocks(source, target)
    assert source.split is not None
    assert target.split is not None
    t = t.detach()
    batch = math.prod(t.shape[source.ndim :])
    if batch != 1:
        sends, receives = Division(sends.offsets * batch), Division(receives.offsets * batch)
    shape = (*target.local_shape, *t.shape[source.ndim :])
    rows = t.movedim(front, 0)
    if front == source.split:
        other = target.split + (target.split < front)
        flat = t.new_empty(t.numel())
        _copy_blocks(_blocks_of(flat, rows.shape, other, runs), _cuts_of(rows, other, runs))
        received = source.comm.alltoallv(flat, sends, receives)
        result = received.view(moved_shape(shape, front)).movedim(0, front)
        return result.contiguous()
    other = source.split + (source.split < front)
    received = source.comm.alltoallv(rows.reshape(-1), sends, receives)
    result = t.new_empty(shape)
    rows = result.movedim(front, 0)
    _copy_blocks(_cuts_of(rows, other, runs), _blocks_of(received, rows.shape, other, runs))
    return result


def moved_shape(shape: Sequence[int], front: int) -> Shape:
    """Return a shape with one of its axes brought to the front."""
    return (shape[front], *shape[:front], *shape[front + 1 :])


def _cuts_of(t: Tensor, axis: int, runs: Sequence[tuple[int, int]]) -> Iterator[Tensor]:
    """Yield, of each run of equal lengths, the ranks' parts of `axis` as a first axis."""
    begin = 0
    for length, ranks in runs:
        part = t.narrow(axis, begin, length * ranks)
        yield part.unflatten(axis, (ranks, length)).movedim(axis, 0)  # type: ignore[no-untyped-call]
        begin += length * ranks


def _blocks_of(
    flat: Tensor, shape: Sequence[int], axis: int, runs: Sequence[tuple[int, int]]
) -> Iterator[Tensor]:
    """Yield the same parts, where the ranks' blocks lie one after the other in a vector."""
    begin, width = 0, math.prod(shape) // max(shape[axis], 1)
    for length, ranks in runs:
        n = length * ranks * width
        yield flat[begin : begin + n].view(ranks, *resized(shape, axis, length))
        begin += n


def _copy_blocks(targets: Iterable[Tensor], sources: Iterable[Tensor]) -> None:
    for target, source in zip(targets, sources, strict=True):
        target.copy_(source)


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
        replicated; else one all-to-all, one exchange of the rows that change rank if only counts
        differ, or one allgather of `x` if the result is replicated.

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
            f"redistribute: layout is of {layout.comm}, x lives on {x.layout.comm}; make the "
            f"array there with comm="
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
        nothing if `x` is balanced, else one exchange of the rows that change rank.

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
