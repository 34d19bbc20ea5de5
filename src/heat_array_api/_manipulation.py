"""Manipulation functions of the standard that move axes or join arrays.

The others are in `_reshape` (other shapes) and `_rearrange` (rows moved or repeated).

Where only axes move, the split follows its axis, the result is a view of the shards, and
nothing is sent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import torch

from ._array import Array
from ._assemble import Want, fetch, overlap
from ._dtypes import promote
from ._layout import Layout, Shape, normalize_axes, normalize_axis
from ._op import as_operands, cast, check_array
from ._primitives import shard
from ._redistribute import redistribute
from ._reshape import reshape

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
    return _permute("permute_dims", x, axes)


def _permute(func: str, x: Array, axes: Sequence[int]) -> Array:
    layout = x._layout
    order = tuple(normalize_axis(func, axis, layout.ndim, "axes") for axis in axes)
    if len(order) != layout.ndim or len(set(order)) != layout.ndim:
        raise ValueError(
            f"{func}: axes is {tuple(axes)}; expected a permutation of the {layout.ndim} axes"
        )
    split = None if layout.split is None else order.index(layout.split)
    shape = tuple(layout.shape[i] for i in order)
    return Array(x._local.permute(order), layout.with_shape(shape, split))


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
    return _permute("transpose", x, range(x.ndim)[::-1] if axes is None else axes)


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
    origins = _distinct("moveaxis", source, x.ndim, "source")
    goals = _distinct("moveaxis", destination, x.ndim, "destination")
    if len(origins) != len(goals):
        raise ValueError(
            f"moveaxis: source names {len(origins)} axes, destination {len(goals)}; "
            "they must be equally many"
        )
    order = [axis for axis in range(x.ndim) if axis not in origins]
    for goal, origin in sorted(zip(goals, origins, strict=True)):
        order.insert(goal, origin)
    return _permute("moveaxis", x, order)


def _distinct(func: str, axes: int | Sequence[int], ndim: int, name: str) -> Shape:
    """Return axes counted from the front, in the order given."""
    listed = tuple(axes) if isinstance(axes, (tuple, list)) else (axes,)
    result = tuple(normalize_axis(func, axis, ndim, name) for axis in listed)
    if len(set(result)) != len(result):
        raise ValueError(f"{func}: {name} {listed} names an axis twice")
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
    layout = x._layout
    added = len(axis) if isinstance(axis, (tuple, list)) else 1
    ndim = layout.ndim + added
    axes = normalize_axes("expand_dims", axis, ndim)
    kept = [i for i in range(ndim) if i not in axes]
    shape = [1] * ndim
    t = x._local.view_as(x._local)
    for i in axes:
        t = t.unsqueeze(i)
    for i, n in zip(kept, layout.shape, strict=True):
        shape[i] = n
    split = None if layout.split is None else kept[layout.split]
    return Array(t, layout.with_shape(tuple(shape), split))


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
    axes = normalize_axes("squeeze", axis, x.ndim)
    for i in axes:
        if x.shape[i] != 1:
            raise ValueError(
                f"squeeze: axis {i} of shape {x.shape} has length {x.shape[i]}; "
                "only an axis of length 1 can go"
            )
    if x._layout.split in axes:
        x = _off_axis(x, axes)
    layout = x._layout
    kept = [i for i in range(layout.ndim) if i not in axes]
    split = None if layout.split is None else kept.index(layout.split)
    shape = tuple(layout.shape[i] for i in kept)
    t = x._local.squeeze(axes) if axes else x._local.view_as(x._local)
    return Array(t, layout.with_shape(shape, split))


def _off_axis(x: Array, axes: Shape) -> Array:
    """Return `x` split along the longest axis that is not one of `axes`.

    Where the others have one element in all, replicated: no bigger than a rank's share.
    """
    others = [i for i in range(x.ndim) if i not in axes]
    split = max(others, key=lambda i: x.shape[i], default=None)
    if split is None or math.prod(x.shape[i] for i in others) == 1:
        return redistribute(x, Layout.replicated(x.shape, x._layout.comm))
    return redistribute(x, Layout.balanced(x.shape, split, x._layout.comm))


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
    first = operands[0]
    axis = normalize_axis("concat", axis, first.ndim)
    for i, x in enumerate(operands):
        same = x.ndim == first.ndim and all(
            m == n or k == axis for k, (m, n) in enumerate(zip(x.shape, first.shape, strict=True))
        )
        if not same:
            raise ValueError(
                f"concat: arrays[{i}] has shape {x.shape}, arrays[0] {first.shape}; "
                f"they may differ along axis {axis} only"
            )
    return _concat(operands, axis)


def _operands(func: str, arrays: Any) -> list[Array]:
    """Return the arrays of a sequence as a list; NumPy's become replicated ones."""
    operands = list(arrays)
    if not operands:
        raise ValueError(f"{func}: arrays is empty; expected at least one array")
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
    lengths = [x.shape[axis] for x in operands]
    layout = _concat_layout(operands, axis, sum(lengths))
    split = layout.split
    if split is not None and (
        split == axis
        or any(x._layout.split != split or x._layout.counts != layout.counts for x in operands)
    ):
        tensors = _aligned(operands, tensors, axis, layout)
    return Array(torch.cat(tensors, dim=axis), layout)


def _concat_layout(operands: Sequence[Array], axis: int, length: int) -> Layout:
    """Return the layout of the result of `concat`: the leading operand's."""
    shape = operands[0]._layout.shape
    shape = (*shape[:axis], length, *shape[axis + 1 :])
    leader = None
    for x in operands:
        if x._layout.split is not None and (leader is None or x.nbytes > leader.nbytes):
            leader = x
    if leader is None:
        return Layout.replicated(shape, operands[0]._layout.comm)
    if leader._layout.split == axis:
        return Layout.balanced(shape, axis, leader._layout.comm)
    return leader._layout.with_shape(shape, leader._layout.split)


def _aligned(
    operands: Sequence[Array], tensors: Sequence[torch.Tensor], axis: int, layout: Layout
) -> list[torch.Tensor]:
    """Return the parts of the operands that make up this rank's shard of `layout`."""
    split, comm = layout.split, layout.comm
    assert split is not None
    ends = [*accumulate((x.shape[axis] for x in operands), initial=0)]
    wants: list[list[Want]] = [[] for _ in range(comm.size)]
    sources, parts = [], []
    for k, (x, t) in enumerate(zip(operands, tensors, strict=True)):
        # Along `axis` each operand makes its own rows of the result, along others all rows.
        start, end = (ends[k], ends[k + 1]) if split == axis else (0, layout.shape[split])
        spans = [overlap(start, end, a, b) for a, b in pairwise(layout.offsets)]
        for mine, (a, b) in zip(wants, spans, strict=True):
            # Along others even no rows have the operand's length along `axis`.
            if a < b or split != axis or not mine:
                mine.append(Want(k, a - start, b - start))
        source = x._layout
        if source.split is None:
            source = Layout.of(source.shape, split, tuple(b - a for a, b in spans), comm)
            t = shard(t, source)
        sources.append(source)
        parts.append(t)
    return fetch(parts, sources, split, wants)


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
    axis = normalize_axis("unstack", axis, x.ndim)
    if x._layout.split == axis:
        x = _off_axis(x, (axis,))
    layout = x._layout
    shape = layout.shape[:axis] + layout.shape[axis + 1 :]
    split = layout.split
    if split is not None and split > axis:
        split -= 1
    each = layout.with_shape(shape, split)
    return tuple(Array(t, each) for t in x._local.unbind(axis))
