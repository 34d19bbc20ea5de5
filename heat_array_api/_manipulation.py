"""Manipulation functions: move axes, join arrays, move and repeat rows.

The standard's chapter "Manipulation Functions", without the functions that change the shape
(`_reshape`), and NumPy's `transpose`.

Where only axes move, the split follows its axis, the result is a view of the shards, and
nothing is sent. Functions that move rows (slices along an axis) work locally off the split axis;
along it, one exchange sends the rows that change rank (`_core.fetch`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ._caching import cached
from ._comm.assumptions import assumed, truth
from ._comm.division import Division, Integers
from ._comm.recording import breaks
from ._core.arguments import as_int, check_size
from ._core.array import Array, check_array, common_communicator
from ._core.collectives import gather, numbers_of, shard
from ._core.docstrings import SHARED, filled_in
from ._core.dtypes import INTEGER, on_bits, promote
from ._core.fetch import (
    Fetch,
    Request,
    Segment,
    arrange,
    divided_rows,
    fetch_intervals,
    join,
    plan_fetch,
)
from ._core.layout import Layout, Shape, as_ints, normalize_axes, normalize_axis, resized
from ._core.lift import as_operands, cast
from ._core.redistribute import move
from ._core.views import linked, permuted
from ._errors import shown
from ._reshape import reshape

__all__ = [
    "concat",
    "expand_dims",
    "flip",
    "moveaxis",
    "permute_dims",
    "repeat",
    "roll",
    "squeeze",
    "stack",
    "tile",
    "transpose",
    "unstack",
]


# ---------------------------------------------------------------------- axes

_VIEW: Final = f"""Returns
-------
Array
    A view of the shards; the split follows its axis. Sends nothing.

{SHARED["raises"]}
ValueError
    If the axes are not all different, too few or too many."""


@filled_in(view=_VIEW)
def permute_dims(x: Array, /, axes: Sequence[int]) -> Array:
    """Return the array with its axes in another order.

    Parameters
    ----------
    x : Array
        Any layout and dtype.
    axes : sequence of int
        A permutation of the axes: axis i of the result is axis ``axes[i]`` of `x`.

    {view}

    Examples
    --------
    >>> x = xp.zeros((2, 3, 4), split=1)
    >>> y = xp.permute_dims(x, (1, 2, 0))
    >>> y.shape, y.split
    ((3, 4, 2), 0)
    """
    check_array("permute_dims", "x", x)
    order = _permutation("permute_dims", x.ndim, as_ints("permute_dims", "axes", axes))
    return permuted(x, order)


@cached
def _permutation(func: str, ndim: int, axes: Shape) -> Shape:
    """Return a permutation of the axes, counted from the front."""
    order = tuple(normalize_axis(func, axis, ndim, "axes") for axis in axes)
    if len(order) != ndim or len(set(order)) != ndim:
        raise ValueError(f"{func}: axes is {axes}; expected a permutation of the {ndim} axes")
    return order


@filled_in(view=_VIEW)
def transpose(x: Array, /, axes: Sequence[int] | None = None) -> Array:
    """Return the array with its axes in another order, by default reversed (NumPy's `transpose`).

    Parameters
    ----------
    x : Array
        Any layout and dtype.
    axes : sequence of int, optional
        A permutation of the axes, as for `permute_dims`.

    {view}

    Examples
    --------
    >>> xp.transpose(xp.zeros((2, 3, 4), split=0)).split
    2
    """
    check_array("transpose", "x", x)
    given = range(x.ndim)[::-1] if axes is None else axes
    return permuted(x, _permutation("transpose", x.ndim, as_ints("transpose", "axes", given)))


@filled_in(view=_VIEW)
def moveaxis(x: Array, source: int | Sequence[int], destination: int | Sequence[int], /) -> Array:
    """Return the array with some axes moved to other positions; the others keep their order.

    Parameters
    ----------
    x : Array
        Any layout and dtype.
    source, destination : int or sequence of int
        Axes of `x`, and their positions in the result: equally many, all different.

    {view}

    Examples
    --------
    >>> xp.moveaxis(xp.zeros((2, 3, 4), split=0), 0, -1).shape
    (3, 4, 2)
    """
    check_array("moveaxis", "x", x)
    origins = _distinct_axes("source", as_ints("moveaxis", "source", source), x.ndim)
    goals = _distinct_axes("destination", as_ints("moveaxis", "destination", destination), x.ndim)
    if len(origins) != len(goals):
        raise ValueError(
            f"moveaxis: source names {len(origins)} axes, destination {len(goals)}; "
            "they must be equally many"
        )
    order = [axis for axis in range(x.ndim) if axis not in origins]
    for goal, origin in sorted(zip(goals, origins, strict=True)):
        order.insert(goal, origin)
    return permuted(x, tuple(order))


def _distinct_axes(name: str, axes: Shape, ndim: int) -> Shape:
    """Return axes counted from the front, in the order given."""
    result = tuple(normalize_axis("moveaxis", axis, ndim, name) for axis in axes)
    if len(set(result)) != len(result):
        raise ValueError(f"moveaxis: {name} {axes} names an axis twice")
    return result


@filled_in(view=_VIEW)
def expand_dims(x: Array, /, axis: int | Sequence[int] = 0) -> Array:
    """Return the array with new axes of length 1.

    Parameters
    ----------
    x : Array
        Any layout and dtype.
    axis : int or tuple of int, optional
        The positions of the new axes in the result; by default the first.

    {view}

    Examples
    --------
    >>> xp.expand_dims(xp.arange(4, split=0), axis=(0, 2)).shape
    (1, 4, 1)
    """
    check_array("expand_dims", "x", x)
    axes, layout = _expanded(x._layout, as_ints("expand_dims", "axis", axis))
    t = x._local
    if not axes:
        t = t.view_as(t)
    for i in axes:
        t = t.unsqueeze(i)
    return linked(Array(t, layout), x, "expand_dims", axis)


@cached
def _expanded(layout: Layout, axis: Shape) -> tuple[Shape, Layout]:
    """Return the new axes in order, and the layout of the result."""
    ndim = layout.ndim + len(axis)
    axes = normalize_axes("expand_dims", axis, ndim)
    return axes, layout.insert(*axes)


@filled_in()
def squeeze(x: Array, /, axis: int | Sequence[int]) -> Array:
    """Return the array without some axes of length 1.

    Parameters
    ----------
    x : Array
        Any layout and dtype.
    axis : int or tuple of int
        The axes to remove.

    Returns
    -------
    Array
        A view of the shards; the split follows its axis. Sends nothing, unless the split axis
        itself is removed: the result is then split along the longest other axis, by one
        all-to-all, or, if it has one element, replicated, by one allgather.

    {raises}
    ValueError
        If an axis has another length than 1, or is named twice.

    Examples
    --------
    >>> xp.squeeze(xp.zeros((1, 4, 1), split=1), axis=(0, 2)).shape
    (4,)
    """
    check_array("squeeze", "x", x)
    axes, source, layout = _squeezed(x._layout, as_ints("squeeze", "axis", axis))
    t = x._local if source is x._layout else move(x._local, x._layout, source)
    squeezed = Array(t.squeeze(axes) if axes else t.view_as(t), layout)
    return linked(squeezed, x, "squeeze", axis)


@cached
def _squeezed(layout: Layout, axis: Shape) -> tuple[Shape, Layout, Layout]:
    """Return the axes to remove, the layout for removing them locally, and the result's."""
    axes = normalize_axes("squeeze", axis, layout.ndim)
    for i in axes:
        if layout.shape[i] != 1:
            raise ValueError(
                f"squeeze: axis {i} of shape {layout.shape} has length {layout.shape[i]}; "
                "only an axis of length 1 can go"
            )
    source = _off_axes(layout, axes)
    return axes, source, source.drop(*axes)


def _off_axes(layout: Layout, axes: Shape) -> Layout:
    """Return the layout, split off `axes`: evenly along the longest other axis.

    It is replicated instead if the other axes have one element in all.
    """
    if layout.split not in axes:
        return layout
    if math.prod(layout.drop(*axes).shape) == 1:
        return layout.split_along(None)
    return layout.split_off(axes)


# ---------------------------------------------------------------------- joining


@filled_in()
def concat(arrays: Sequence[Array], /, *, axis: int | None = 0) -> Array:
    """Join arrays along an axis.

    Parameters
    ----------
    arrays : sequence of Array
        Of any layouts; their shapes may differ along `axis` only. Dtypes are promoted.
    axis : int or None, optional
        The axis along which to join; None flattens the arrays first, as `reshape` does.

    Returns
    -------
    Array
        Replicated if all arrays are. Otherwise split as the largest split array (in bytes; the
        first on a tie): evenly if that is along `axis`, else with that array's counts. One
        exchange for all arrays together sends the rows that change rank, if there are any;
        replicated arrays are sliced locally. An array that is split along another axis than the
        result comes by an all-to-all of its own.

    {raises}
    ValueError
        If there are no arrays, or their shapes do not match.

    Examples
    --------
    >>> print(xp.concat([xp.arange(3, split=0), xp.arange(2)]))
    [0 1 2 0 1]
    """
    operands = _operands("concat", arrays)
    if axis is None:
        operands = [reshape(x, (-1,)) for x in operands]
        axis = 0
    return _concat(operands, as_int("concat", "axis", axis))


def _operands(func: str, arrays: Any) -> list[Array]:
    """Return the arrays of a sequence as a list; NumPy's become replicated ones."""
    if not isinstance(arrays, Iterable):
        raise TypeError(f"{func}: arrays is {type(arrays).__name__}; expected a sequence of arrays")
    if getattr(arrays, "ndim", 2) < 2:
        raise TypeError(f"{func}: arrays is {shown(arrays)}; expected a sequence of arrays")
    operands = list(arrays)
    if not operands:
        raise ValueError(f"{func}: arrays is empty; expected at least one array")
    if all(type(x) is Array for x in operands):
        common_communicator(func, *operands)
        return operands
    names = [f"arrays[{i}]" for i in range(len(operands))]
    for name, x in zip(names, operands, strict=True):
        if not isinstance(x, np.ndarray):
            check_array(func, name, x)
    return as_operands(func, *operands, names=names)


def _concat(operands: Sequence[Array], axis: int) -> Array:
    dtype = operands[0]._local.dtype
    for x in operands[1:]:
        dtype = promote(dtype, x._local.dtype)
    tensors = [cast(x._local, dtype) for x in operands]
    layouts = tuple(x._layout for x in operands)
    plan = _plan_concat(layouts, tuple(x.itemsize for x in operands), axis)
    if plan.fetch is not None:
        tensors = [
            move(t, layout, source)
            for t, layout, source in zip(tensors, layouts, plan.sources, strict=True)
        ]
        tensors = fetch_intervals(tensors, plan.fetch)
    return Array(torch.cat(tensors, dim=plan.axis), plan.result)


class _ConcatPlan(NamedTuple):
    """How operands are joined, made once for their layouts.

    Attributes
    ----------
    axis : int
        Along which they are joined, counted from the front.
    result : Layout
    sources : tuple of Layout
        Of the operands before the fetch. All are split along the axis of the result: a replicated
        operand is cut, and one that is split along another axis moved, to where it is needed.
    fetch : Fetch or None
        None if the shards can be joined as they are.
    """

    axis: int
    result: Layout
    sources: tuple[Layout, ...] = ()
    fetch: Fetch | None = None


@cached
def _plan_concat(layouts: tuple[Layout, ...], itemsizes: Shape, axis: int) -> _ConcatPlan:
    axis = _common_axis(layouts, axis)
    ends = [*accumulate((layout.shape[axis] for layout in layouts), initial=0)]
    leader = max(
        (i for i, layout in enumerate(layouts) if layout.split is not None),
        key=lambda i: layouts[i].size * itemsizes[i],
        default=None,
    )
    if leader is None:
        return _ConcatPlan(axis, layouts[0].with_length(axis, ends[-1]))
    result = layouts[leader].with_length(axis, ends[-1])
    split, division = result.split, result.division
    assert split is not None
    assert division is not None
    if split != axis:
        rows = Segment(0, division.total)
        sources = tuple(_here(layout, split, division) for layout in layouts)
        if all(layout.division == division for layout in layouts) and sources == layouts:
            return _ConcatPlan(axis, result)
        requests = [divided_rows((rows._replace(source=k),), division) for k in range(len(layouts))]
    else:
        sources = tuple(
            _here(layout, split, Division(np.clip(division.offsets, begin, end) - begin))
            for layout, begin, end in zip(layouts, ends, ends[1:], strict=False)
        )
        runs = tuple(Segment(0, x.shape[axis], 1, k) for k, x in enumerate(layouts))
        requests = [divided_rows(runs, division)]
    return _ConcatPlan(axis, result, sources, plan_fetch(sources, requests))


def _here(layout: Layout, split: int, rows: Division) -> Layout:
    """Return the layout itself if it is split along `split`, else one that is so by `rows`."""
    return layout if layout.split == split else Layout.of(layout.shape, split, rows, layout.comm)


def _common_axis(layouts: Sequence[Layout], axis: int) -> int:
    """Return the axis counted from the front; raise if the shapes differ elsewhere."""
    first = layouts[0].shape
    axis = normalize_axis("concat", axis, len(first))
    for i, layout in enumerate(layouts):
        shape = layout.shape
        if len(shape) != len(first) or resized(shape, axis, 0) != resized(first, axis, 0):
            raise ValueError(
                f"concat: arrays[{i}] has shape {shape}, arrays[0] {first}; "
                f"they may differ along axis {axis} only"
            )
    return axis


@filled_in()
def stack(arrays: Sequence[Array], /, axis: int = 0) -> Array:
    """Join arrays of one shape along a new axis.

    Parameters
    ----------
    arrays : sequence of Array
        Of any layouts and of equal shapes. Dtypes are promoted.
    axis : int, optional
        The position of the new axis in the result; by default the first.

    Returns
    -------
    Array
        Replicated if all arrays are. Otherwise with the split (following its axis) and the counts
        of the largest split array (in bytes; the first on a tie). Sends nothing if all split
        arrays have that layout; otherwise the messages of `concat`.

    {raises}
    ValueError
        If there are no arrays, or their shapes differ.

    Examples
    --------
    >>> x = xp.arange(3, split=0)
    >>> print(xp.stack([x, x + 10]))
    [[ 0  1  2]
     [10 11 12]]
    """
    operands = _operands("stack", arrays)
    shape = operands[0].shape
    axis = normalize_axis("stack", axis, len(shape) + 1)
    for i, x in enumerate(operands):
        if x.shape != shape:
            raise ValueError(
                f"stack: arrays[{i}] has shape {x.shape}, arrays[0] {shape}; they must be equal"
            )
    return _concat([expand_dims(x, axis) for x in operands], axis)


@filled_in()
def unstack(x: Array, /, *, axis: int = 0) -> tuple[Array, ...]:
    """Return the slices of the array along an axis.

    Parameters
    ----------
    x : Array
        Any layout and dtype, not 0-d.
    axis : int, optional
        The axis to remove; by default the first.

    Returns
    -------
    tuple of Array
        One for each position along `axis`: views of the shards; the split follows its axis. Sends
        nothing, unless `axis` is the split axis: the slices are then split along their longest
        axis, by one all-to-all for all of them, or, if each has one element, replicated, by one
        allgather.

    {raises}

    Examples
    --------
    >>> first, second = xp.unstack(xp.asarray([[1, 2, 3], [4, 5, 6]], split=1))
    >>> print(second)
    [4 5 6]
    """
    check_array("unstack", "x", x)
    source, each, axis = _unstacked(x._layout, as_int("unstack", "axis", axis))
    t = x._local if source is x._layout else move(x._local, x._layout, source)
    return tuple([Array(part, each) for part in t.unbind(axis)])


@cached
def _unstacked(layout: Layout, axis: int) -> tuple[Layout, Layout, int]:
    """Return the layout in which slices are local, that of each slice, and the axis >= 0."""
    axis = normalize_axis("unstack", axis, layout.ndim)
    source = _off_axes(layout, (axis,))
    return source, source.drop(axis), axis


@filled_in()
def flip(x: Array, /, *, axis: int | Sequence[int] | None = None) -> Array:
    """Return the array with the order of its elements reversed along axes.

    Parameters
    ----------
    x : Array
        Any layout and dtype.
    axis : int or tuple of int, optional
        The axes to reverse; by default all.

    Returns
    -------
    Array
        With the layout of `x`. Sends nothing if the split axis is not reversed; otherwise one
        all-to-all of the rows that change rank.

    {raises}
    ValueError
        If an axis is named twice.

    Examples
    --------
    >>> print(xp.flip(xp.arange(4, split=0)))
    [3 2 1 0]
    """
    check_array("flip", "x", x)
    layout = x._layout
    axes = normalize_axes("flip", axis, layout.ndim)
    t = x._local
    if layout.split in axes:
        assert layout.split is not None
        n = layout.shape[layout.split]
        t = arrange(t, layout, layout, (Segment(n - 1, n, -1),))
        axes = tuple(i for i in axes if i != layout.split)
        if not axes:
            return Array(t, layout)
    return Array(on_bits(torch.flip, t, dims=axes), layout)


@filled_in()
def roll(
    x: Array,
    /,
    shift: int | Sequence[int],
    *,
    axis: int | Sequence[int] | None = None,
) -> Array:
    """Return the array with elements shifted along axes, entering again at the other end.

    Parameters
    ----------
    x : Array
        Any layout and dtype.
    shift : int or tuple of int
        How many places to shift, towards higher indices.
    axis : int or tuple of int, optional
        The axes to shift along: as many as shifts, or one of the two is a single number that
        counts for all of the other. An axis named twice is shifted twice. By default the array is
        flattened, shifted, and given its shape again.

    Returns
    -------
    Array
        With the layout of `x`. Sends nothing if the split axis is not shifted; otherwise one
        exchange of the rows that change rank. Without `axis` also the messages of two
        `reshape`, and the split may differ if `x` is not split along its first axis.

    {raises}
    ValueError
        If there are several shifts and another number of axes.

    Examples
    --------
    >>> print(xp.roll(xp.arange(5, split=0), 2))
    [3 4 0 1 2]
    """
    check_array("roll", "x", x)
    if axis is None:
        flat = roll(reshape(x, (-1,)), sum(as_ints("roll", "shift", shift)), axis=0)
        return reshape(flat, x.shape)
    layout = x._layout
    shifts = _shifts(shift, axis, layout)
    t = x._local
    if layout.split is not None and (by := shifts.pop(layout.split, 0)):
        n = layout.shape[layout.split]
        t = arrange(t, layout, layout, (Segment(n - by, by, 1), Segment(0, n - by, 1)))
    if shifts:
        t = on_bits(torch.roll, t, shifts=tuple(shifts.values()), dims=tuple(shifts))
    return Array(t.view_as(t) if t is x._local else t, layout)


def _shifts(
    shift: int | Sequence[int], axis: int | Sequence[int], layout: Layout
) -> dict[int, int]:
    """Return the shifts, in ``(0, length)``, of the axes that are shifted at all."""
    by = as_ints("roll", "shift", shift)
    axes = [normalize_axis("roll", i, layout.ndim) for i in as_ints("roll", "axis", axis)]
    if len(by) == 1:
        by *= len(axes)
    elif len(axes) == 1:
        axes *= len(by)
    if len(by) != len(axes):
        raise ValueError(f"roll: {len(by)} shifts for {len(axes)} axes; give as many of both")
    total: dict[int, int] = {}
    for i, n in zip(axes, by, strict=True):
        total[i] = total.get(i, 0) + n
    moved = {i: n % layout.shape[i] for i, n in total.items() if layout.shape[i]}
    return {i: n for i, n in moved.items() if n}


# ---------------------------------------------------------------------- repetition


@filled_in()
def repeat(x: Array, repeats: int | Array | Sequence[int], /, *, axis: int | None = None) -> Array:
    """Repeat each element a number of times.

    Parameters
    ----------
    x : Array
        Any layout and dtype.
    repeats : int, Array of int or sequence of int
        One number for all rows, or one for each row along `axis`, in any layout.
    axis : int, optional
        The axis to repeat along; by default the array is flattened first, as `reshape` does.

    Returns
    -------
    Array
        Split as `x`: every rank holds the copies of its own rows. Sends nothing if `repeats` is
        a number or replicated. Otherwise one all-to-all brings `repeats` to the layout of `x`
        (one allgather, if `x` is not split along `axis`) and one allgather of an integer from
        each rank gives the counts.

    {raises}
    TypeError
        If `repeats` does not consist of integers.
    ValueError
        If `repeats` is negative somewhere, or its length is neither 1 nor that of the axis.

    Examples
    --------
    >>> print(xp.repeat(xp.arange(3, split=0), [1, 2, 3]))
    [0 1 1 2 2 2]
    """
    check_array("repeat", "x", x)
    if axis is None:
        x, axis = reshape(x, (-1,)), 0
    layout = x._layout
    axis = normalize_axis("repeat", axis, layout.ndim)
    per_row = _repeats(x, repeats)
    if isinstance(per_row, int):
        return _repeat_all(x, per_row, axis)
    n = layout.shape[axis]
    if per_row.shape != (n,):
        raise ValueError(
            f"repeat: repeats has shape {per_row.shape}; expected an int or ({n},), the "
            f"length of axis {axis}"
        )
    return _repeat_unevenly(x, per_row, axis)


@breaks
def _repeat_unevenly(x: Array, per_row: Array, axis: int) -> Array:
    layout = x._layout
    numbers, rows = _local_repeats(per_row, layout, axis)
    result = layout.with_length(axis, rows.total, rows)
    size = result.local_shape[axis]
    t = on_bits(torch.repeat_interleave, x._local, repeats=numbers, dim=axis, output_size=size)
    return Array(t, result)


def _repeat_all(x: Array, n: int, axis: int) -> Array:
    if n < 0:
        raise ValueError(f"repeat: repeats is {n}; expected 0 or more")
    layout = x._layout
    ranks = 1 if layout.split is None else layout.comm.size
    check_size("repeat", (*layout.shape, n), ranks)
    t = on_bits(torch.repeat_interleave, x._local, repeats=n, dim=axis)
    return Array(t, layout.with_length(axis, n * layout.shape[axis], layout.scaled(n)))


def _repeats(x: Array, repeats: Any) -> int | Array:
    """Return `repeats` as one number, or as an array of one number per row."""
    if not isinstance(repeats, (Array, np.ndarray, list, tuple)):
        return as_ints("repeat", "repeats", repeats)[0]
    if not isinstance(repeats, Array):
        try:
            values = np.asarray(repeats)
        except ValueError as error:
            raise ValueError(f"repeat: repeats is not an array of integers: {error}") from None
        if values.dtype.kind not in "iu" and values.size:
            raise TypeError(f"repeat: repeats has dtype {values.dtype}; expected integers")
        t = torch.from_numpy(values.astype(np.int64)).to(x._local.device)
        repeats = Array(t, Layout.replicated(tuple(t.shape), x._layout.comm))
    check_array("repeat", "repeats", repeats, INTEGER)
    common_communicator("repeat", x, repeats)
    return int(repeats.item()) if repeats.size == 1 and repeats.ndim <= 1 else repeats


def _local_repeats(repeats: Array, layout: Layout, axis: int) -> tuple[Tensor, Division]:
    """Return the repeats of this rank's rows, and how many rows each rank then has."""
    comm = layout.comm
    target = (
        Layout.of(repeats.shape, 0, layout.division, comm)
        if layout.split == axis
        else Layout.replicated(repeats.shape, comm)
    )
    numbers = repeats._local.to(torch.int64)
    if repeats._layout.split is None:
        rows = _rows_of_repeats(numbers, target)
        numbers = shard(numbers, target)
    else:
        numbers = move(numbers, repeats._layout, target)
        total = -1 if truth((numbers < 0).any(), False, "") else _total(numbers)
        rows = numbers_of(total, comm) if target.split is not None else np.asarray([total])
    if (rows < 0).any():
        raise ValueError("repeat: repeats has negative elements; expected 0 or more")
    return numbers, Division.of(rows)


def _rows_of_repeats(repeats: Tensor, target: Layout) -> Integers:
    """Return how many rows each rank gets by replicated repeats; a negative one if one is so."""
    if assumed(_ONCE):
        return np.asarray([len(repeats)]) if target.division is None else target.division.lengths
    lengths = repeats.cpu().numpy()
    before = np.concatenate([[0], np.cumsum(lengths)])
    bounds = [0, len(lengths)] if target.division is None else target.division.offsets
    rows: Integers = np.diff(before[bounds])
    rows[-1] = -1 if (lengths < 0).any() else rows[-1]
    return rows


_ONCE = "repeat: every element is repeated once, where repeats is an array"


def _total(repeats: Tensor) -> int:
    if assumed(_ONCE):
        return len(repeats)
    return int(repeats.sum())


def tile(x: Array, repetitions: Sequence[int], /) -> Array:
    """Return copies of the array laid side by side.

    Parameters
    ----------
    x : Array
        Any layout and dtype.
    repetitions : tuple of int
        The number of copies along each axis. The shorter one of it and the shape is extended by
        ones in front.

    Returns
    -------
    Array
        Split as `x`. Sends nothing if there is one copy along the split axis; otherwise the
        result is split evenly, by one exchange that sends each rank every row that it needs once
        (one allgather of `x` if all ranks need all rows).

    Raises
    ------
    ValueError
        If a number of copies is negative.

    Examples
    --------
    >>> print(xp.tile(xp.arange(3, split=0), (2, 2)))
    [[0 1 2 0 1 2]
     [0 1 2 0 1 2]]
    """
    check_array("tile", "x", x)
    copies = as_ints("tile", "repetitions", repetitions)
    if min(copies, default=0) < 0:
        raise ValueError(f"tile: repetitions is {copies}; expected 0 or more copies")
    layout = x._layout
    lead = max(len(copies) - layout.ndim, 0)
    copies = (1,) * (layout.ndim - len(copies)) + copies
    shape = (1,) * lead + layout.shape
    result_shape = tuple(n * k for n, k in zip(shape, copies, strict=True))
    check_size("tile", result_shape, 1 if layout.split is None else layout.comm.size)
    t = x._local
    if layout.split is None:
        result = Layout.replicated(result_shape, layout.comm)
    elif copies[axis := lead + layout.split] == 1:
        result = layout.with_shape(result_shape, axis)
    else:
        result = Layout.balanced(result_shape, axis, layout.comm)
        t = _tile_rows(t, layout, result)
        copies = resized(copies, axis, 1)
    return Array(on_bits(torch.tile, t, dims=copies), result)


def _tile_rows(t: Tensor, layout: Layout, result: Layout) -> Tensor:
    """Return this rank's rows of the copies laid one after another along the split axis."""
    axis, division = layout.split, result.division
    assert axis is not None
    assert division is not None
    n = layout.shape[axis]
    if n == 0:
        return t
    if int(division.lengths.min()) >= n:
        rows = gather(t, layout, varying=True)
    else:
        rows = join(fetch_intervals([t], _plan_tile(layout, division)), axis)
    if result.count < n:
        return rows
    index = torch.arange(result.start, result.end, device=t.device) % n
    return on_bits(torch.index_select, rows, dim=axis, index=index)


@cached
def _plan_tile(layout: Layout, result: Division) -> Fetch:
    """Plan which rows every rank needs, each once."""
    assert layout.division is not None
    n = layout.division.total
    begins, ends = result.offsets[:-1].copy(), result.offsets[1:].copy()
    needs_all = ends - begins >= n
    begins[needs_all] -= begins[needs_all] % n
    ends[needs_all] = begins[needs_all] + n
    copies = (Segment(0, n),) * max(result.total // n, 1)
    return plan_fetch([layout], [Request(copies, begins, ends)])
