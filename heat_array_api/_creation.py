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
from torch.utils.dlpack import from_dlpack as from_dlpack_capsule

from ._comm.communicator import Communicator, as_communicator
from ._comm.recording import breaks
from ._core.array import Array, Device, common_communicator
from ._core.collectives import pvary, shard
from ._core.dtypes import (
    ANY,
    INTEGER_OR_BOOL,
    carrier,
    check_conversion,
    default_complex,
    default_float,
    from_numpy,
    on_bits,
    to_numpy_dtype,
    to_torch_dtype,
)
from ._core.layout import Layout, Shape, as_shape, normalize_axis, resized
from ._core.lift import Scalar, check_array, filled
from ._core.redistribute import resplit
from ._errors import CommunicatorMismatchError
from ._options import UNSET, Unset, default_split

__all__ = [
    "arange",
    "asarray",
    "empty",
    "empty_like",
    "eye",
    "from_dlpack",
    "from_local",
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
    t = x._local
    kept = keep(_columns_minus_rows(x))
    return Array(on_bits(lambda a, b: torch.where(kept, a, b), t, t.new_zeros(())), x._layout)


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


Split = int | Unset | None


# ---------------------------------------------------------------------- arguments


def local_device(func: str, device: Any, comm: Communicator) -> torch.device:
    """Return this rank's torch device for the namespace's `device` (None: the CPU)."""
    if device is None:
        return torch.device("cpu")
    kind = device.type if isinstance(device, (Device, torch.device)) else str(device)
    if kind.split(":")[0] == "cuda":
        if not torch.cuda.is_available():
            raise ValueError(f"{func}: device is {device!r}, but torch sees no CUDA device")
        return torch.device("cuda", comm.node_rank % torch.cuda.device_count())
    if kind != "cpu":
        raise ValueError(f"{func}: device is {device!r}; expected 'cpu' or 'cuda'")
    return torch.device("cpu")


def new_layout(func: str, shape: Shape, split: Split, comm: Communicator) -> Layout:
    """Return the balanced layout that ``split=`` asks for, with the default split applied."""
    if isinstance(split, Unset):
        return Layout.balanced(shape, default_split(len(shape)), comm)
    if split is None or not shape:
        return Layout.replicated(shape, comm)
    return Layout.balanced(shape, normalize_axis(func, split, len(shape), "split"), comm)


def scalar_dtype(value: Scalar) -> torch.dtype:
    """Return the default dtype of an array made from a Python scalar."""
    if isinstance(value, bool):
        return torch.bool
    if isinstance(value, int):
        return torch.int64
    return default_float() if isinstance(value, float) else default_complex()


# ---------------------------------------------------------------------- from values


def asarray(
    obj: Any,
    /,
    *,
    dtype: Any = None,
    device: Any = None,
    copy: bool | None = None,
    split: Split = UNSET,
    comm: Any = None,
) -> Array:
    """Make an array of values that every rank has.

    Parameters
    ----------
    obj : Array, scalar, nested sequence, NumPy array or object with the buffer or DLPack protocol
        The same on every rank.
    dtype : dtype, optional
        Inferred if None: Python floats become the default real dtype.
    device : Device or str, optional
        "cpu" or "cuda".
    copy : bool, optional
        True: always copy. False: raise ValueError if the data must be copied, as that of
        every object but an Array must. None: copy if needed.
    split : int or None, optional
        An Array keeps its layout unless this is given. Other objects: each rank keeps
        its own shard of the values.
    comm : Communicator or mpi4py communicator, optional
        The ranks that hold the array; the world by default.

    Returns
    -------
    Array
        Balanced along `split`. Sends nothing, but for an Array whose `split` changes
        (see `resplit`).
    """
    if isinstance(obj, Array):
        return _convert(obj, dtype, device, copy, split, comm)
    if copy is False:
        raise ValueError(
            f"asarray: copy=False, but a {type(obj).__name__} must be copied to an array"
        )
    communicator = as_communicator(comm)
    values = _values(obj, None if dtype is None else to_torch_dtype(dtype, "asarray"))
    layout = new_layout("asarray", tuple(values.shape), split, communicator)
    where = local_device("asarray", device, communicator)
    local = shard(values, layout).clone(memory_format=torch.contiguous_format)
    return Array(local.to(where), layout)


def _convert(
    x: Array, dtype: Any, device: Any, copy: bool | None, split: Split, comm: Any
) -> Array:
    """Return the Array `x` with another dtype, device or split."""
    if comm is not None and as_communicator(comm) is not x.comm:
        raise CommunicatorMismatchError(
            f"asarray: x lives on {x.comm}, not on comm; use from_local with its shards"
        )
    target = x._local.dtype if dtype is None else to_torch_dtype(dtype, "asarray")
    check_conversion("asarray", x._local.dtype, target)
    where = x._local.device if device is None else local_device("asarray", device, x.comm)
    moves = (
        not isinstance(split, Unset)
        and new_layout("asarray", x.shape, split, x.comm).split != x.split
    )
    if copy is False and (target is not x._local.dtype or where != x._local.device or moves):
        raise ValueError("asarray: copy=False, but another dtype, device or split needs a copy")
    if target is x._local.dtype and where == x._local.device and not moves:
        return x.__deepcopy__({}) if copy else x
    if moves:
        assert not isinstance(split, Unset)
        x = resplit(x, split)
    return Array(x._local.to(device=where, dtype=target, copy=bool(copy)), x._layout)


def _values(obj: Any, dtype: torch.dtype | None) -> Tensor:
    """Return `obj` as one CPU tensor of the whole array."""
    if isinstance(obj, (bool, int, float, complex)) and not isinstance(obj, np.generic):
        target = scalar_dtype(obj) if dtype is None else dtype
        return filled("asarray", (), obj, target, torch.device("cpu"))
    if hasattr(obj, "__dlpack__") and not hasattr(obj, "__array__"):
        obj = from_dlpack_capsule(obj)
    if isinstance(obj, Tensor):
        t = obj.detach().cpu().resolve_conj().resolve_neg()
        to_numpy_dtype(t.dtype)
    elif isinstance(obj, (np.ndarray, np.generic)):
        t = from_numpy("asarray", np.asarray(obj), copy=False)
    else:
        t, dtype = _parsed(obj, dtype), None
    if dtype is None:
        return t
    check_conversion("asarray", t.dtype, dtype)
    return t.to(dtype)


def _parsed(obj: Any, dtype: torch.dtype | None) -> Tensor:
    """Return nested sequences and buffers as NumPy reads them, floats of the default dtype."""
    if isinstance(obj, (list, tuple)):
        obj = _stacked(obj)
    try:
        values = np.asarray(obj, dtype=None if dtype is None else to_numpy_dtype(dtype))
    except (OverflowError, TypeError, ValueError) as error:
        raise type(error)(f"asarray: {error}") from None
    if isinstance(obj, (str, bytes)) or values.dtype.kind not in "biufcV":
        raise TypeError(
            f"asarray: cannot make an array of {type(obj).__name__} of dtype {values.dtype}"
        )
    t = from_numpy("asarray", values, copy=False)
    if dtype is None and t.dtype is torch.float64:
        return t.to(default_float())
    return t.to(default_complex()) if dtype is None and t.dtype is torch.complex128 else t


def _stacked(obj: Any) -> Any:
    """Replace the Arrays in nested sequences by their values, and empty lists by float arrays."""
    if isinstance(obj, (list, tuple)):
        return [_stacked(item) for item in obj]
    return obj.__array__() if isinstance(obj, Array) else obj


def from_dlpack(
    x: Any,
    /,
    *,
    device: Any = None,
    copy: bool | None = None,
    split: Split = UNSET,
    comm: Any = None,
) -> Array:
    """Make an array of an object with the DLPack protocol, the same on every rank.

    Parameters and layout as for `asarray`. An Array comes back with its own layout. With
    ``copy=False`` a replicated result shares the object's memory.
    """
    if isinstance(x, Array):
        return _convert(x, None, device, copy, split, comm)
    if not hasattr(x, "__dlpack__"):
        raise TypeError(f"from_dlpack: x is {type(x).__name__}, which has no __dlpack__ method")
    communicator = as_communicator(comm)
    # torch refuses read-only NumPy arrays, and those of bfloat16; they are copied instead.
    if isinstance(x, np.ndarray) and copy is not False:
        values = from_numpy("from_dlpack", x, copy=False)
    else:
        values = from_dlpack_capsule(x)
    layout = new_layout("from_dlpack", tuple(values.shape), split, communicator)
    where = values.device if device is None else local_device("from_dlpack", device, communicator)
    local = shard(values, layout)
    if copy is not False:
        return Array(local.to(where, copy=True), layout)
    if layout.split is not None and communicator.size > 1:
        raise ValueError("from_dlpack: copy=False, but a split array copies its shard")
    return Array(local.view_as(local), layout)


@breaks
def from_local(local: Any, /, *, split: int | None = None, comm: Any = None) -> Array:
    """Make an array of the shards that the ranks hold.

    Parameters
    ----------
    local : torch.Tensor or NumPy array
        This rank's shard. All ranks: the same dtype, number of axes and extents, save
        that along `split`, where any length (0 too) may differ. If `split` is None,
        every rank must pass equal values; they are not compared.
    split : int or None
        The axis along which the shards follow one another in rank order.
    comm : Communicator or mpi4py communicator, optional
        The ranks that hold the shards; the world by default.

    Returns
    -------
    Array
        Shares the memory of `local`, but never writes into it.

    Raises
    ------
    ValueError
        On every rank, if the shards do not fit together.

    Notes
    -----
    Messages: one small allgather of the shards' shapes and dtypes.
    """
    communicator = as_communicator(comm)
    t, problem = _as_shard(local)
    shapes = _agreed_shapes(t, problem, split, communicator)
    ndim = len(shapes[0])
    axis = (
        None if split is None or ndim == 0 else normalize_axis("from_local", split, ndim, "split")
    )
    if len({tuple(n for i, n in enumerate(shape) if i != axis) for shape in shapes}) > 1:
        raise ValueError(
            f"from_local: shards of shapes {', '.join(map(str, shapes))} do not fit "
            f"along split {split}"
        )
    view = t.view_as(t)
    if axis is None:
        return Array(view, Layout.replicated(shapes[0], communicator))
    counts = tuple(shape[axis] for shape in shapes)
    shape = resized(view.shape, axis, sum(counts))
    return Array(view, Layout.of(shape, axis, counts, communicator))


def _as_shard(local: Any) -> tuple[Tensor, str]:
    """Return this rank's shard as a tensor and "", or what is wrong with it: no error yet."""
    nothing = torch.empty(0)
    dtypes = "a dtype of the standard, float16 or bfloat16"
    if isinstance(local, np.ndarray):
        try:
            return from_numpy("from_local", local, copy=False), ""
        except TypeError:
            return nothing, f"local has dtype {local.dtype}; expected {dtypes}"
    if not isinstance(local, Tensor):
        return (
            nothing,
            f"local is {type(local).__name__}; expected a torch tensor or a NumPy array",
        )
    if local.requires_grad:
        return (
            nothing,
            "local requires a gradient, which messages do not carry yet; pass local.detach()",
        )
    if local.dtype not in ANY.all:
        return nothing, f"local has dtype {local.dtype}; expected {dtypes}"
    return local, ""


def _agreed_shapes(t: Tensor, problem: str, split: int | None, comm: Communicator) -> list[Shape]:
    """Return the shapes of all ranks' shards; raise on all of them if one cannot be a shard."""
    shape: Shape = () if problem else tuple(t.shape)
    dtype = "" if problem else str(t.dtype)
    everyone = comm.allgather_object((problem, shape, dtype, split))
    for rank, (text, *_) in enumerate(everyone):
        if text:
            raise (ValueError if "gradient" in text else TypeError)(
                f"from_local: on rank {rank}, {text}"
            )
    for name, values in (
        ("dtypes", [facts[2] for facts in everyone]),
        ("numbers of axes", [len(facts[1]) for facts in everyone]),
        ("splits", [facts[3] for facts in everyone]),
    ):
        if any(value != values[0] for value in values):
            raise ValueError(f"from_local: the ranks' {name} differ: {values}")
    return [facts[1] for facts in everyone]
