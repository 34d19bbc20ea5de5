"""Functions that give the same elements another shape: `reshape` (row-major) and `broadcast_to`.

The standard's chapter "Manipulation Functions"; the rest of it is in `_manipulation`.

`reshape` cuts both shapes into groups of axes with equal products: ``(4, 6, 5)`` into
``(24, 5)`` has the groups ``4 * 6 = 24`` and ``5 = 5``. Only the group of the split axis
matters. On the axis that the group merges into, the elements of a rank are periodic: an
interval of a row, the same in each of `outer` rows. If the split axis is the first of its
group, there is one row, and elements stay where they are if the bounds between ranks fall
between rows of the result.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from ._caching import cached
from ._comm.division import Division
from ._core.arguments import as_flag
from ._core.array import Array, check_array, common_communicator
from ._core.collectives import numbers_of, shard
from ._core.layout import Layout, Shape, as_ints, as_shape
from ._core.lift import broadcast_shape
from ._core.periodic import Periodic, exchange_periodic
from ._core.redistribute import redistribute
from ._core.views import is_view, linked

__all__ = ["broadcast_arrays", "broadcast_shapes", "broadcast_to", "reshape"]


def reshape(x: Array, /, shape: int | Sequence[int], *, copy: bool | None = None) -> Array:
    """Return the elements, in row-major order, in another shape.

    Parameters
    ----------
    x : Array
        Any layout and dtype.
    shape : tuple of int
        The new shape, of equally many elements; one entry may be -1, which is then inferred.
    copy : bool, optional
        True: always copy. False: never copy. By default: copy only if needed; where NumPy's
        result would be a view, writing into the result then also writes into `x`.

    Returns
    -------
    Array
        Replicated if `x` is. Otherwise split along one of the axes that the split axis becomes:
        the first one, if then no element changes rank; else the first that divides about evenly
        (no rank a quarter above its share), or the longest. Counts stay close to those of `x` where
        rows keep their order, otherwise they are balanced. Sends nothing if no element changes
        rank; otherwise one all-to-all (two, if the split axis neither was the first of its group
        of axes nor is so in the result). ``copy=False`` sends a small allgather to agree.

    Raises
    ------
    ValueError
        If `shape` has another number of elements, or `copy` is False and elements must be
        copied or sent.

    Examples
    --------
    >>> print(xp.reshape(xp.arange(6, split=0), (2, -1)))
    [[0 1 2]
     [3 4 5]]
    """
    check_array("reshape", "x", x)
    if copy is not None:
        copy = as_flag("reshape", "copy", copy)
    result = _reshaped(x, _plan(x._layout, as_ints("reshape", "shape", shape)), copy)
    if copy or not is_view(x, result.shape):
        return result
    return linked(result, x, "reshape", result.shape)


def _reshaped(x: Array, plan: _Plan, copy: bool | None) -> Array:
    layout = x._layout
    if copy is False and plan.moves:
        raise ValueError(
            f"reshape: copy is False, but elements of shape {layout.shape}, split "
            f"{layout.split}, must change rank to form shape {plan.result.shape}"
        )
    if plan.gathers:
        x = redistribute(x, layout.split_along(None))
    t = x._local
    shard_shape = plan.result.local_shape
    if copy is False:
        return Array(_view_or_raise(t, layout, plan.result), plan.result)
    if plan.hops:
        own = plan.hops[0].count(layout.comm.rank)
        moved = t.reshape(plan.before, own, plan.after)
        for source, target in pairwise(plan.hops):
            moved = exchange_periodic(moved, source, target, layout.comm)
        return Array(moved.reshape(shard_shape), plan.result)
    if copy:
        return Array(t.clone(memory_format=torch.contiguous_format).view(shard_shape), plan.result)
    return Array(t.reshape(shard_shape), plan.result)


def _view_or_raise(t: Tensor, layout: Layout, result: Layout) -> Tensor:
    """Return a view of `t` as a shard of `result`, or raise on all ranks if one needs a copy."""
    try:
        view = t.view(result.local_shape)
    except RuntimeError:
        view = None
    # The strides of the shards may differ from rank to rank.
    failed = numbers_of(int(view is None), layout.comm)
    if view is None or failed.any():
        raise ValueError(
            f"reshape: copy is False, but shape {layout.shape} with these strides cannot be "
            f"viewed as {result.shape}; pass copy=None"
        )
    return view


# ---------------------------------------------------------------------- the plan of a reshape


class _Plan(NamedTuple):
    """The plan of a reshape, made once for a layout and a shape from metadata alone."""

    result: Layout
    before: int = 1  # the product of the axes before the group of the split axis
    after: int = 1
    hops: tuple[Periodic, ...] = ()  # one all-to-all from each to the next
    gathers: bool = False  # a single element becomes 0-d and replicated

    @property
    def moves(self) -> bool:
        """Whether elements change rank."""
        return bool(self.hops) or (self.gathers and self.result.comm.size > 1)


def _complete_shape(layout: Layout, shape: Shape) -> Shape:
    """Return `shape` with its -1 filled in; raise if it does not fit."""
    holes = sum(n == -1 for n in shape)
    known = math.prod(n for n in shape if n != -1)
    size = layout.size
    if holes == 1 and known > 0 and size % known == 0:
        shape = tuple(size // known if n == -1 else n for n in shape)
    if min(shape, default=0) < 0 or math.prod(shape) != size:
        raise ValueError(f"reshape: cannot turn shape {layout.shape} into {shape}")
    return shape


@cached
def _plan(layout: Layout, shape: Shape) -> _Plan:
    shape = _complete_shape(layout, shape)
    comm, split = layout.comm, layout.split
    if split is None:
        return _Plan(Layout.replicated(shape, comm))
    if not shape:
        return _Plan(Layout.replicated(shape, comm), gathers=True)
    if shape == layout.shape:
        return _Plan(layout)
    if layout.size == 0:
        return _Plan(Layout.balanced(shape, 0, comm))
    if layout.size == 1:
        return _Plan(Layout.of(shape, 0, layout.division, comm))
    before, length, source = _group_of_split(layout, shape)
    first, *others = _axes_of_group(shape, before, length)
    inner = length // shape[first]
    bounds = source.columns.offsets
    if source.rows == 1 and not (bounds % inner).any():
        return _Plan(Layout.of(shape, first, Division(bounds // inner), comm))
    axis = next(
        (i for i in (first, *others) if _divides_evenly(shape[i], comm.size)),
        max((first, *others), key=lambda i: shape[i]),
    )
    outer = math.prod(shape[:axis]) // before
    inner = length // outer // shape[axis]
    if axis == first and source.rows == 1:
        # Round bounds to rows, so that as few elements as possible change rank.
        rows = Division((bounds + inner // 2) // inner)
    else:
        rows = Division.balanced(shape[axis], comm.size)
    result = Layout.of(shape, axis, rows, comm)
    hops = [source, Periodic(outer, Division(rows.offsets * inner))]
    if source.rows > 1 and outer > 1:
        hops.insert(1, Periodic(1, Division.balanced(length, comm.size)))
    after = layout.size // before // length
    return _Plan(result, before, after, tuple(hops))


def _divides_evenly(n: int, size: int) -> bool:
    return -(-n // size) * size <= 1.25 * n


def _group_of_split(layout: Layout, shape: Shape) -> tuple[int, int, Periodic]:
    """Return the split axis's group: the product before it, its own, and the ranks' elements."""
    split, division = layout.split, layout.division
    assert split is not None
    assert division is not None
    old = [1, *accumulate(layout.shape, operator.mul)]
    common = sorted(set(old).intersection([1, *accumulate(shape, operator.mul)]))
    # A trailing split axis of length 1 belongs to the last group, others to the next one.
    begin = max(n for n in common[:-1] if n <= old[split])
    end = min(n for n in common if n > begin and n >= old[split + 1])
    length = end // begin
    if int(division.lengths.max()) == division.total:  # one rank holds everything
        scale, outer = length // layout.shape[split], 1
    else:
        scale, outer = end // old[split + 1], old[split] // begin
    return begin, length, Periodic(outer, Division(division.offsets * scale))


def _axes_of_group(shape: Shape, before: int, length: int) -> list[int]:
    """Return the axes of the new shape that form the group, without those of length 1."""
    axes = []
    product = 1
    for axis, n in enumerate(shape):
        if n > 1 and before <= product < before * length:
            axes.append(axis)
        product *= n
    return axes


# ---------------------------------------------------------------------- broadcasting


def broadcast_shapes(*shapes: Sequence[int]) -> Shape:
    """Return the shape that shapes broadcast to, ``()`` without arguments.

    Parameters
    ----------
    *shapes : tuple of int
        Any number of shapes.

    Returns
    -------
    tuple of int
        By the standard's rules ("Broadcasting").

    Raises
    ------
    ValueError
        If the shapes do not broadcast together.

    Examples
    --------
    >>> xp.broadcast_shapes((3, 1), (4,))
    (3, 4)
    """
    return broadcast_shape(
        "broadcast_shapes", *(as_shape("broadcast_shapes", shape, "a shape") for shape in shapes)
    )


def broadcast_arrays(*arrays: Array) -> tuple[Array, ...]:
    """Return the arrays broadcast to their common shape.

    Parameters
    ----------
    *arrays : Array
        Any layouts and dtypes.

    Returns
    -------
    tuple of Array
        The results of `broadcast_to`, split as described there, with its messages for each array;
        their layouts may differ.

    Raises
    ------
    ValueError
        If the shapes do not broadcast together.

    Examples
    --------
    >>> x, y = xp.broadcast_arrays(xp.arange(3, split=0), xp.zeros((2, 1)))
    >>> x.shape, y.shape
    ((2, 3), (2, 3))
    """
    for i, x in enumerate(arrays):
        check_array("broadcast_arrays", f"arrays[{i}]", x)
    if not arrays:
        return ()
    common_communicator("broadcast_arrays", *arrays)
    shape = broadcast_shape("broadcast_arrays", *(x._layout.shape for x in arrays))
    return tuple(broadcast_to(x, shape) for x in arrays)


def broadcast_to(x: Array, /, shape: int | Sequence[int]) -> Array:
    """Return the array repeated along new axes and axes of length 1, without copies.

    Parameters
    ----------
    x : Array
        Any layout and dtype.
    shape : tuple of int
        The shape of the result.

    Returns
    -------
    Array
        A view of the shards; the split follows its axis. Sends nothing, unless a split axis of
        length 1 becomes longer: if it then is the longest axis that `x` has, one allgather
        of `x` (a row of the result), and the result is split along it; otherwise one all-to-all,
        and the result is split along the longest of the others.

    Raises
    ------
    ValueError
        If `x` does not broadcast to `shape`.

    Examples
    --------
    >>> print(xp.broadcast_to(xp.arange(3, split=0), (2, 3)))
    [[0 1 2]
     [0 1 2]]
    """
    check_array("broadcast_to", "x", x)
    layout = x._layout
    wanted = as_ints("broadcast_to", "shape", shape)
    source, result = _plan_broadcast(layout, wanted)
    if source is not layout:
        x = redistribute(x, source)
    if source.split is None:
        return Array(shard(x._local.expand(wanted), result), result)
    return Array(x._local.expand(result.local_shape), result)


@cached
def _plan_broadcast(layout: Layout, shape: Shape) -> tuple[Layout, Layout]:
    """Return the layout that an array must have to be expanded locally, and the result's."""
    own, split, comm = layout.shape, layout.split, layout.comm
    lead = len(shape) - layout.ndim
    fits = lead >= 0 and min(shape, default=0) >= 0
    if not fits or any(m not in (1, n) for m, n in zip(own, shape[lead:], strict=True)):
        raise ValueError(f"broadcast_to: cannot broadcast shape {own} to {shape}")
    if split is None or own[split] == shape[lead + split]:
        return layout, layout.with_shape(shape, None if split is None else lead + split)
    # The longest axis that can be split before it is expanded, or the split axis itself; on
    # a tie another one, which takes fewer bytes.
    kept = [i for i in range(layout.ndim) if i == split or own[i] == shape[lead + i]]
    axis = max(kept, key=lambda i: (shape[lead + i], i != split))
    if axis == split:
        return layout.split_along(None), Layout.balanced(shape, lead + split, comm)
    return layout.split_along(axis), Layout.balanced(shape, lead + axis, comm)
