"""Manipulation functions of the standard that move axes or join arrays.

The others are in `_reshape` (other shapes) and `_rearrange` (rows moved or repeated).

Where only axes move, the split follows its axis, the result is a view of the shards, and
nothing is sent.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import torch

from ._array import Array, common_communicator
from ._assemble import Fetch, Want, fetch, overlap, plan_fetch
from ._dtypes import promote
from ._layout import Layout, Shape, normalize_axes, normalize_axis
from ._op import as_operands, cast, check_array
from ._primitives import shard
from ._redistribute import move
from ._reshape import as_ints, reshape
from ._views import linked, permuted

__all__ = [
    "concat",
    "expand_dims",
    "moveaxis",
    "permute_dims",
    "squeeze",
    "stack",
    "transpose",
    "unstack",
]


# ---------------------------------------------------------------------- axes


def permute_dims(x: Array, /, axes: Sequence[int]) -> Array:
    """Return the array with its axes in another order.

    Parameters
    ----------
    x : Array
        Any layout and dtype.
    axes : sequence of int
        A permutation of the axes: axis i of the result is axis ``axes[i]`` of `x`.

    Returns
    -------
    Array
        A view of the shards; the split follows its axis. Nothing is sent.

    Raises
    ------
    ValueError
        If `axes` is no permutation of the axes.
    IndexError
        If an axis is out of range.

    Notes
    -----
    The standard: "Manipulation Functions", permute_dims.
    """
    check_array("permute_dims", "x", x)
    order = _order("permute_dims", x.ndim, as_ints("permute_dims", "axes", axes))
    return permuted(x, order)


@lru_cache(maxsize=4096)
def _order(func: str, ndim: int, axes: Shape) -> Shape:
    """Return a permutation of the axes, counted from the front."""
    order = tuple(normalize_axis(func, axis, ndim, "axes") for axis in axes)
    if len(order) != ndim or len(set(order)) != ndim:
        raise ValueError(f"{func}: axes is {axes}; expected a permutation of the {ndim} axes")
    return order


def transpose(x: Array, /, axes: Sequence[int] | None = None) -> Array:
    """Return the array with its axes in another order, reversed by default, as NumPy's.

    Parameters
    ----------
    x : Array
        Any layout and dtype.
    axes : sequence of int, optional
        A permutation of the axes.

    Returns
    -------
    Array
        A view of the shards; the split follows its axis. Nothing is sent.
    """
    check_array("transpose", "x", x)
    given = range(x.ndim)[::-1] if axes is None else axes
    return permuted(x, _order("transpose", x.ndim, as_ints("transpose", "axes", given)))


def moveaxis(x: Array, source: int | Sequence[int], destination: int | Sequence[int], /) -> Array:
    """Return the array with some axes moved to other positions, the others in their order.

    Parameters
    ----------
    x : Array
        Any layout and dtype.
    source, destination : int or sequence of int
        Axes of `x`, and where each of them goes; equally many, none twice.

    Returns
    -------
    Array
        A view of the shards; the split follows its axis. Nothing is sent.

    Raises
    ------
    ValueError
        If an axis is named twice, or `source` and `destination` differ in number.
    IndexError
        If an axis is out of range.

    Notes
    -----
    The standard: "Manipulation Functions", moveaxis.
    """
    check_array("moveaxis", "x", x)
    origins = _distinct("source", as_ints("moveaxis", "source", source), x.ndim)
    goals = _distinct("destination", as_ints("moveaxis", "destination", destination), x.ndim)
    if len(origins) != len(goals):
        raise ValueError(
            f"moveaxis: source names {len(origins)} axes, destination {len(goals)}; "
            "they must be equally many"
        )
    order = [axis for axis in range(x.ndim) if axis not in origins]
    for goal, origin in sorted(zip(goals, origins, strict=True)):
        order.insert(goal, origin)
    return permuted(x, tuple(order))


def _distinct(name: str, axes: Shape, ndim: int) -> Shape:
    """Return axes counted from the front, in the order given."""
    result = tuple(normalize_axis("moveaxis", axis, ndim, name) for axis in axes)
    if len(set(result)) != len(result):
        raise ValueError(f"moveaxis: {name} {axes} names an axis twice")
    return result


def expand_dims(x: Array, /, axis: int | Sequence[int] = 0) -> Array:
    """Return the array with new axes of length 1.

    Parameters
    ----------
    x : Array
        Any layout and dtype.
    axis : int or tuple of int
        Where the new axes are in the result.

    Returns
    -------
    Array
        A view of the shards; the split follows its axis. Nothing is sent.

    Raises
    ------
    IndexError
        If an axis is out of range.
    ValueError
        If an axis is named twice.

    Notes
    -----
    The standard: "Manipulation Functions", expand_dims (2025.12: tuples of axes).
    """
    check_array("expand_dims", "x", x)
    axes, layout = _expanded(x._layout, as_ints("expand_dims", "axis", axis))
    t = x._local
    if not axes:
        t = t.view_as(t)
    for i in axes:
        t = t.unsqueeze(i)
    return linked(Array(t, layout), x, "shape")


@lru_cache(maxsize=4096)
def _expanded(layout: Layout, axis: Shape) -> tuple[Shape, Layout]:
    """Return the new axes in order, and the layout of the result."""
    ndim = layout.ndim + len(axis)
    axes = normalize_axes("expand_dims", axis, ndim)
    kept = [i for i in range(ndim) if i not in axes]
    shape = [1] * ndim
    for i, n in zip(kept, layout.shape, strict=True):
        shape[i] = n
    split = None if layout.split is None else kept[layout.split]
    return axes, layout.with_shape(tuple(shape), split)


def squeeze(x: Array, /, axis: int | Sequence[int]) -> Array:
    """Return the array without some axes of length 1.

    Parameters
    ----------
    x : Array
        Any layout and dtype.
    axis : int or tuple of int
        Axes of length 1.

    Returns
    -------
    Array
        A view of the shards; the split follows its axis. If the split axis itself goes, the
        result is split evenly along the longest other axis, or, if it has one element,
        replicated.

    Raises
    ------
    ValueError
        If an axis has another length than 1, or is named twice.
    IndexError
        If an axis is out of range.

    Notes
    -----
    Messages: none, unless the split axis goes: then one all-to-all, or one allgather of
    the single element. The standard: "Manipulation Functions", squeeze.
    """
    check_array("squeeze", "x", x)
    axes, source, layout = _squeezed(x._layout, as_ints("squeeze", "axis", axis))
    t = x._local if source is x._layout else move(x._local, x._layout, source)
    squeezed = Array(t.squeeze(axes) if axes else t.view_as(t), layout)
    return linked(squeezed, x, "shape")


@lru_cache(maxsize=4096)
def _squeezed(layout: Layout, axis: Shape) -> tuple[Shape, Layout, Layout]:
    """Return the axes that go, the layout in which they go locally, and that of the result."""
    axes = normalize_axes("squeeze", axis, layout.ndim)
    for i in axes:
        if layout.shape[i] != 1:
            raise ValueError(
                f"squeeze: axis {i} of shape {layout.shape} has length {layout.shape[i]}; "
                "only an axis of length 1 can go"
            )
    source = _off_axes(layout, axes)
    kept = [i for i in range(layout.ndim) if i not in axes]
    split = None if source.split is None else kept.index(source.split)
    return axes, source, source.with_shape(tuple(layout.shape[i] for i in kept), split)


def _off_axes(layout: Layout, axes: Shape) -> Layout:
    """Return a layout that is not split along `axes`: the same one, if it is not.

    Else split evenly along the longest other axis; where the others have one element in
    all, replicated: no bigger than a rank's share.
    """
    if layout.split not in axes:
        return layout
    others = [i for i in range(layout.ndim) if i not in axes]
    if math.prod(layout.shape[i] for i in others) == 1:
        return Layout.replicated(layout.shape, layout.comm)
    split = max(others, key=lambda i: layout.shape[i])
    return Layout.balanced(layout.shape, split, layout.comm)


# ---------------------------------------------------------------------- joining


def concat(arrays: Sequence[Array], /, *, axis: int | None = 0) -> Array:
    """Join arrays along an axis.

    Parameters
    ----------
    arrays : sequence of Array
        Any layouts; equal shapes but for `axis`. Dtypes are promoted.
    axis : int or None
        Where to join; None: flatten the arrays first.

    Returns
    -------
    Array
        Replicated if all arrays are. Else split as the one with most bytes among those that
        are not (the first on a tie): with even counts if that is along `axis`, otherwise
        with its counts.

    Raises
    ------
    ValueError
        If there are no arrays, or their shapes differ off `axis`.
    IndexError
        If `axis` is out of range.

    Notes
    -----
    Messages: one all-to-all for all arrays together, of the rows that change rank; none if
    there are none. Replicated arrays are sliced locally. ``axis=None``: also the messages
    of `reshape`. The standard: "Manipulation Functions", concat.
    """
    operands = _operands("concat", arrays)
    if axis is None:
        operands = [reshape(x, (-1,)) for x in operands]
        axis = 0
    return _concat(operands, axis)


def _operands(func: str, arrays: Any) -> list[Array]:
    """Return the arrays of a sequence as a list; NumPy's become replicated ones."""
    if not isinstance(arrays, Iterable):
        raise TypeError(f"{func}: arrays is {type(arrays).__name__}; expected a sequence of arrays")
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
    sources, plan, result = _plan_concat(layouts, tuple(x.itemsize for x in operands), axis)
    if plan is not None:
        # Replicated operands are sliced: each rank holds what it needs of them.
        tensors = [
            shard(t, source) if layout.split is None else t
            for t, layout, source in zip(tensors, layouts, sources, strict=True)
        ]
        tensors = fetch(tensors, plan)
    return Array(torch.cat(tensors, dim=axis), result)


@lru_cache(maxsize=1024)
def _plan_concat(
    layouts: tuple[Layout, ...], itemsizes: Shape, axis: int
) -> tuple[tuple[Layout, ...], Fetch | None, Layout]:
    """Return the operands' layouts, what each rank fetches of them, and the result's layout."""
    axis = _common_axis(layouts, axis)
    comm = layouts[0].comm
    ends = [*accumulate((layout.shape[axis] for layout in layouts), initial=0)]
    shape = layouts[0].shape
    shape = (*shape[:axis], ends[-1], *shape[axis + 1 :])
    leader = max(
        (i for i, layout in enumerate(layouts) if layout.split is not None),
        key=lambda i: layouts[i].size * itemsizes[i],
        default=None,
    )
    if leader is None:
        return layouts, None, Layout.replicated(shape, comm)
    split, counts = layouts[leader].split, layouts[leader].counts
    assert split is not None
    if split == axis:
        result = Layout.balanced(shape, axis, comm)
    else:
        result = Layout.of(shape, split, counts, comm)
        if all(layout.split == split and layout.counts == counts for layout in layouts):
            return layouts, None, result
    wants: list[list[Want]] = [[] for _ in range(comm.size)]
    sources = []
    for k, layout in enumerate(layouts):
        # Along `axis` each operand makes its own rows of the result, along others all rows.
        start, end = (ends[k], ends[k + 1]) if split == axis else (0, shape[split])
        spans = [overlap(start, end, a, b) for a, b in pairwise(result.offsets)]
        for mine, (a, b) in zip(wants, spans, strict=True):
            # Along others even no rows have the operand's length along `axis`.
            if a < b or split != axis or not mine:
                mine.append(Want(k, a - start, b - start))
        here = tuple(b - a for a, b in spans)
        sources.append(
            Layout.of(layout.shape, split, here, comm) if layout.split is None else layout
        )
    return tuple(sources), plan_fetch(sources, split, wants), result


def _common_axis(layouts: Sequence[Layout], axis: int) -> int:
    """Return the axis counted from the front; raise if the shapes differ elsewhere."""
    first = layouts[0].shape
    axis = normalize_axis("concat", axis, len(first))
    for i, layout in enumerate(layouts):
        shape = layout.shape
        rest = (*shape[:axis], *shape[axis + 1 :])
        if len(shape) != len(first) or rest != (*first[:axis], *first[axis + 1 :]):
            raise ValueError(
                f"concat: arrays[{i}] has shape {shape}, arrays[0] {first}; "
                f"they may differ along axis {axis} only"
            )
    return axis


def stack(arrays: Sequence[Array], /, *, axis: int = 0) -> Array:
    """Join arrays of one shape along a new axis.

    Parameters
    ----------
    arrays : sequence of Array
        Any layouts; equal shapes. Dtypes are promoted.
    axis : int
        Where the new axis is in the result.

    Returns
    -------
    Array
        Replicated if all arrays are. Else with the split and counts of the one with most
        bytes among those that are not; the split follows its axis.

    Raises
    ------
    ValueError
        If there are no arrays, or their shapes differ.
    IndexError
        If `axis` is out of range.

    Notes
    -----
    Messages: none if the layouts are equal or one is replicated; else one all-to-all for
    all arrays together. The standard: "Manipulation Functions", stack.
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


def unstack(x: Array, /, *, axis: int = 0) -> tuple[Array, ...]:
    """Return the slices of the array along an axis.

    Parameters
    ----------
    x : Array
        Any layout and dtype, of one axis or more.
    axis : int
        The axis that goes.

    Returns
    -------
    tuple of Array
        As many as the axis is long: views of the shards; the split follows its axis. If it
        is `axis` that is split, they are split evenly along the longest other axis; where
        the slices have one element each, they are replicated.

    Raises
    ------
    IndexError
        If `axis` is out of range.

    Notes
    -----
    Messages: none, unless `axis` is split: then one all-to-all for all slices together, or
    one allgather where the slices have one element each: n replicated scalars are what the
    caller asks for. The standard: "Manipulation Functions", unstack.
    """
    check_array("unstack", "x", x)
    source, each, axis = _unstacked(x._layout, axis)
    t = x._local if source is x._layout else move(x._local, x._layout, source)
    return tuple([Array(part, each) for part in t.unbind(axis)])


@lru_cache(maxsize=4096)
def _unstacked(layout: Layout, axis: int) -> tuple[Layout, Layout, int]:
    """Return the layout in which slices are local, that of each, and the axis from the front."""
    axis = normalize_axis("unstack", axis, layout.ndim)
    source = _off_axes(layout, (axis,))
    shape = layout.shape[:axis] + layout.shape[axis + 1 :]
    split = source.split
    if split is not None and split > axis:
        split -= 1
    return source, source.with_shape(shape, split), axis
