"""Creation functions (the standard's chapter "Creation Functions").

Every rank makes its own shard; nothing is sent. The functions that take values that exist
already are in `_conversion`.

``split=`` names the split axis: an int, or None for a full copy on every rank. Where the
caller passes nothing, the default split applies (`set_options`); ``*_like`` functions
take the layout of their argument.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._array import Array, common_communicator
from ._comm import as_communicator
from ._conversion import Split, as_shape, filled, local_device, new_layout, scalar_dtype
from ._dtypes import (
    INTEGER_OR_BOOL,
    carrier,
    default_complex,
    default_float,
    to_torch_dtype,
    uncarry,
)
from ._layout import Layout
from ._op import check_array
from ._options import UNSET, Unset
from ._primitives import pvary, shard

__all__ = [
    "arange",
    "empty",
    "empty_like",
    "eye",
    "full",
    "full_like",
    "linspace",
    "meshgrid",
    "ones",
    "ones_like",
    "tril",
    "triu",
    "zeros",
    "zeros_like",
]


def full(
    shape: Any,
    fill_value: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    split: Split = UNSET,
    comm: Any = None,
) -> Array:
    """Make an array full of one value; a 0-d array serves as the value too. Sends nothing."""
    if isinstance(fill_value, (Array, np.ndarray, np.generic)):
        dtype = fill_value.dtype if dtype is None else dtype
        fill_value = fill_value.item()
    return _full("full", shape, fill_value, dtype, device, split, comm)


def _full(
    func: str, shape: Any, value: Any, dtype: Any, device: Any, split: Split, comm: Any
) -> Array:
    communicator = as_communicator(comm)
    target = scalar_dtype(value) if dtype is None else to_torch_dtype(dtype, func)
    layout = new_layout(func, as_shape(func, shape), split, communicator)
    where = local_device(func, device, communicator)
    return Array(filled(func, layout.local_shape, value, target, where), layout)


def zeros(
    shape: Any, *, dtype: Any = None, device: Any = None, split: Split = UNSET, comm: Any = None
) -> Array:
    """Make an array of zeros, of the default real dtype unless `dtype` is given. Sends nothing."""
    return _full("zeros", shape, 0.0, dtype, device, split, comm)


def ones(
    shape: Any, *, dtype: Any = None, device: Any = None, split: Split = UNSET, comm: Any = None
) -> Array:
    """Make an array of ones, of the default real dtype unless `dtype` is given. Sends nothing."""
    return _full("ones", shape, 1.0, dtype, device, split, comm)


def empty(
    shape: Any, *, dtype: Any = None, device: Any = None, split: Split = UNSET, comm: Any = None
) -> Array:
    """Make an array for values to come: zeros, equal on all ranks. Sends nothing."""
    return _full("empty", shape, 0.0, dtype, device, split, comm)


def full_like(
    x: Array, /, fill_value: Any, *, dtype: Any = None, device: Any = None, split: Split = UNSET
) -> Array:
    """Make an array of one value, with shape, dtype, device, layout of `x`. Sends nothing."""
    check_array("full_like", "x", x)
    if isinstance(fill_value, (Array, np.ndarray, np.generic)):
        fill_value = fill_value.item()
    return _full_like("full_like", x, fill_value, dtype, device, split)


def _full_like(func: str, x: Array, value: Any, dtype: Any, device: Any, split: Split) -> Array:
    check_array(func, "x", x)
    target = x._local.dtype if dtype is None else to_torch_dtype(dtype, func)
    where = x._local.device if device is None else local_device(func, device, x.comm)
    layout = x._layout if isinstance(split, Unset) else new_layout(func, x.shape, split, x.comm)
    return Array(filled(func, layout.local_shape, value, target, where), layout)


def zeros_like(
    x: Array, /, *, dtype: Any = None, device: Any = None, split: Split = UNSET
) -> Array:
    """Make zeros with the shape, dtype, device and layout of `x`. Sends nothing."""
    return _full_like("zeros_like", x, 0, dtype, device, split)


def ones_like(x: Array, /, *, dtype: Any = None, device: Any = None, split: Split = UNSET) -> Array:
    """Make ones with the shape, dtype, device and layout of `x`. Sends nothing."""
    return _full_like("ones_like", x, 1, dtype, device, split)


def empty_like(
    x: Array, /, *, dtype: Any = None, device: Any = None, split: Split = UNSET
) -> Array:
    """Make an array for values to come, like `x` in all else. Sends nothing."""
    return _full_like("empty_like", x, 0, dtype, device, split)


# ---------------------------------------------------------------------- of positions


def arange(
    start: Any,
    /,
    stop: Any = None,
    step: Any = 1,
    *,
    dtype: Any = None,
    device: Any = None,
    split: Split = UNSET,
    comm: Any = None,
) -> Array:
    """Make evenly spaced values in the half-open interval [start, stop). Sends nothing.

    Of int64 if `start`, `stop` and `step` are integers, else of the default real dtype,
    unless `dtype` is given.
    """
    if stop is None:
        start, stop = 0, start
    start, stop, step = (
        v.item() if isinstance(v, (Array, np.generic)) else v for v in (start, stop, step)
    )
    if step == 0:
        raise ValueError("arange: step is 0")
    if isinstance(start, complex) or isinstance(stop, complex) or isinstance(step, complex):
        raise TypeError(f"arange: got {start}, {stop}, {step}; expected real numbers")
    communicator = as_communicator(comm)
    where = local_device("arange", device, communicator)
    exact = all(isinstance(v, int) for v in (start, stop, step))
    if dtype is not None:
        target = to_torch_dtype(dtype, "arange")
    else:
        target = torch.int64 if exact else default_float()
    if not exact and not math.isfinite((stop - start) / step):
        raise ValueError(f"arange: from {start} to {stop} by {step} is no finite number of values")
    n = max(-((start - stop) // step) if exact else math.ceil((stop - start) / step), 0)
    layout = new_layout("arange", (n,), split, communicator)
    if exact and target in INTEGER_OR_BOOL.all:
        local = _exact_range(layout, start, step, target)
    else:
        index = torch.arange(layout.start, layout.start + layout.count, dtype=torch.float64)
        local = (index * step + start).to(target)
    return Array(local.to(where), layout)


def _exact_range(layout: Layout, start: int, step: int, dtype: torch.dtype) -> Tensor:
    """Return this rank's part of an `arange` of integers."""
    ends = (start, start + (layout.size - 1) * step) if layout.size else ()
    for value in ends if dtype is not torch.bool else ():
        filled("arange", (), value, dtype, torch.device("cpu"))  # raises if it does not fit
    index = torch.arange(layout.start, layout.start + layout.count, dtype=torch.int64)
    # int64's arithmetic is modulo 2**64, and so right for uint64 too.
    first = (start + 2**63) % 2**64 - 2**63
    values = index * (step if layout.size > 1 else 1) + first
    return values.view(dtype) if dtype is torch.uint64 else values.to(dtype)


def linspace(
    start: Any,
    stop: Any,
    /,
    num: int,
    *,
    dtype: Any = None,
    device: Any = None,
    endpoint: bool = True,
    split: Split = UNSET,
    comm: Any = None,
) -> Array:
    """Make `num` evenly spaced values from `start` to `stop`, included if `endpoint`.

    Sends nothing.
    """
    start, stop = (v.item() if isinstance(v, (Array, np.generic)) else v for v in (start, stop))
    (num,) = as_shape("linspace", num, "num")
    communicator = as_communicator(comm)
    inexact = (
        default_complex()
        if isinstance(start, complex) or isinstance(stop, complex)
        else default_float()
    )
    target = inexact if dtype is None else to_torch_dtype(dtype, "linspace")
    layout = new_layout("linspace", (num,), split, communicator)
    index = torch.arange(layout.start, layout.start + layout.count, dtype=torch.float64)
    intervals = num - 1 if endpoint else num
    # As NumPy: multiply before dividing only where the step would underflow to zero.
    step = (stop - start) / intervals if intervals > 0 else math.nan
    local = index * step if step != 0 else index / max(intervals, 1) * (stop - start)
    local = (local if intervals > 0 else index * 0) + start
    if endpoint and num > 1:
        local = torch.where(index == num - 1, stop, local)
    if target in INTEGER_OR_BOOL.all:
        local = torch.floor(local)
    return Array(local.to(target).to(local_device("linspace", device, communicator)), layout)


def eye(
    n_rows: int,
    n_cols: int | None = None,
    /,
    *,
    k: int = 0,
    dtype: Any = None,
    device: Any = None,
    split: Split = UNSET,
    comm: Any = None,
) -> Array:
    """Make a matrix of zeros with ones on its k-th diagonal. Sends nothing."""
    shape = as_shape("eye", (n_rows, n_rows if n_cols is None else n_cols))
    result = _full("eye", shape, 0.0, dtype, device, split, comm)
    diagonal = _columns_minus_rows(result) == _diagonal_index(k, shape)
    local = carrier(result._local)
    local[diagonal] = carrier(filled("eye", (), 1, result._local.dtype, local.device))
    return result


def _diagonal_index(k: int, shape: Sequence[int]) -> int:
    """Return `k`, or the index of a diagonal just outside the matrix if it is beyond that."""
    return max(min(operator.index(k), shape[-1]), -shape[-2])


def _columns_minus_rows(x: Array) -> Tensor:
    """Return ``j - i`` for every element (..., i, j) of this rank's shard, as a matrix."""
    layout, device = x._layout, x._local.device
    first = [layout.start if layout.split == axis else 0 for axis in range(x.ndim)]
    rows, columns = (
        torch.arange(first[axis], first[axis] + x._local.shape[axis], device=device)
        for axis in (x.ndim - 2, x.ndim - 1)
    )
    return columns - rows[:, None]


def _triangle(func: str, x: Array, keep: Any) -> Array:
    check_array(func, "x", x)
    if x.ndim < 2:
        raise ValueError(f"{func}: x has {x.ndim} axes; expected at least 2")
    t = carrier(x._local)
    kept = torch.where(keep(_columns_minus_rows(x)), t, torch.zeros((), dtype=t.dtype))
    return Array(uncarry(kept, x._local.dtype), x._layout)


def tril(x: Array, /, *, k: int = 0) -> Array:
    """Return the lower triangle of each matrix, zeros above its k-th diagonal.

    Layout of `x`; sends nothing.
    """
    return _triangle("tril", x, lambda offset: offset <= _diagonal_index(k, x.shape))


def triu(x: Array, /, *, k: int = 0) -> Array:
    """Return the upper triangle of each matrix, zeros below its k-th diagonal.

    Layout of `x`; sends nothing.
    """
    return _triangle("triu", x, lambda offset: offset >= _diagonal_index(k, x.shape))


def meshgrid(*arrays: Array, indexing: str = "xy") -> tuple[Array, ...]:
    """Return the coordinates of the grid that one-dimensional arrays span.

    Parameters
    ----------
    *arrays : Array
        One-dimensional (0-d counts as length 1), of one dtype, any layout.
    indexing : {"xy", "ij"}
        Whether the second array runs along the first axis ("xy", Cartesian) or the
        arrays follow the axes in order ("ij", matrix).

    Returns
    -------
    tuple of Array
        All of the grid's shape and of one layout: split along the axis of the first
        split array, with its counts; replicated if none is split.

    Notes
    -----
    Messages: one allgather for each further split array, which is a line of the grid.
    """
    if indexing not in ("xy", "ij"):
        raise ValueError(f"meshgrid: indexing is {indexing!r}; expected 'xy' or 'ij'")
    if not arrays:
        return ()
    for i, x in enumerate(arrays):
        if check_array("meshgrid", f"arrays[{i}]", x).ndim > 1:
            raise ValueError(f"meshgrid: arrays[{i}] has shape {x.shape}; expected one axis")
    comm = common_communicator("meshgrid", *arrays)
    order = list(range(len(arrays)))
    if indexing == "xy" and len(arrays) > 1:
        order[:2] = [1, 0]
    shape = tuple(arrays[i].size for i in order)
    lead = next((i for i, x in enumerate(arrays) if x.split is not None), None)
    layout = Layout.replicated(shape, comm)
    if lead is not None:
        layout = Layout.of(shape, order.index(lead), arrays[lead]._layout.counts, comm)
    grids = []
    for i, x in enumerate(arrays):
        line = x._local if i == lead or x.split is None else x.full_tensor()
        axis = order.index(i)
        line = line.reshape([-1 if a == axis else 1 for a in range(len(shape))])
        if layout.split == axis and i != lead:
            line = shard(line, layout)
        elif layout.split is not None and i != lead:
            line = pvary(line, comm)
        grids.append(Array(line.expand(layout.local_shape), layout))
    return tuple(grids)
