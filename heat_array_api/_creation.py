"""Creation functions: the standard's chapter of that name, and `from_local`.

Arrays of one value come first, then arrays of positions (`arange` to `meshgrid`), arrays from
existing values (`asarray`, `from_dlpack`, `from_local`), and at the end what other modules share:
`local_device`, `new_layout` and `scalar_dtype`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack as from_dlpack_capsule

from ._comm.alike import check_alike, values_alike
from ._comm.communicator import Communicator, as_communicator
from ._comm.debug import DEBUG
from ._comm.recording import breaks
from ._core.arguments import as_choice, as_flag, as_int, as_real, check_size
from ._core.array import Array, Device, check_array, common_communicator
from ._core.collectives import pvary, shard
from ._core.docstrings import filled_in, template
from ._core.dtypes import (
    INTEGER_OR_BOOL,
    carrier,
    check_conversion,
    check_unmasked,
    default_complex,
    default_float,
    from_numpy,
    from_torch,
    on_bits,
    to_numpy_dtype,
    to_torch_dtype,
)
from ._core.layout import Layout, Shape, as_shape, normalize_axis, resized
from ._core.lift import Scalar, filled
from ._core.local_data import agreed_shards, exported, pointer_of
from ._core.redistribute import resplit
from ._errors import CommunicatorMismatchError, shown
from ._options import UNSET, Unset, default_split

__all__ = [
    "arange", "asarray", "empty", "empty_like", "eye", "from_dlpack", "from_local", "full",
    "full_like", "linspace", "meshgrid", "ones", "ones_like", "tril", "triu", "zeros", "zeros_like",
]  # fmt: skip

Split = int | Unset | None

_made = template(
    """
    shape : int or tuple of int
        The shape of the whole array, not of one rank's shard.
    fill_value : Python scalar or 0-d Array
        The value of all elements.
    start : Python scalar
        The first value.
    stop : Python scalar
        The end of the interval.
    step : int or float
        The distance between values; not 0.
    num : int
        The number of values.
    endpoint : bool
        Whether `stop` is the last value; if not, it would be the next one.
    n_rows : int
        The number of rows.
    n_cols : int, optional
        The number of columns; by default that of rows.
    k : int
        Positive for a diagonal above the main one, negative for one below it.
    """,
    """
    Returns
    -------
    Array
        Every rank makes its own shard. Sends nothing.

    Raises
    ------
    TypeError
        If an argument is of a wrong type, or no array can have the dtype.
    ValueError
        If a length is negative, or there is no such device.
    IndexError
        If the result has no axis `split`.
    OverflowError
        If a value does not fit the dtype.
    """,
)

_like = template(
    """
    x : Array
        Of any layout.
    fill_value : Python scalar or 0-d Array
        The value of all elements.
    dtype : dtype, optional
        Of the result; by default that of `x`.
    device : Device or str, optional
        Where shards are stored, "cpu" or "cuda"; by default as those of `x`.
    split : int or None, optional
        The split axis of the result, None for a full copy on every rank; by default the
        result has the layout of `x`.
    """,
    """
    Returns
    -------
    Array
        Of the shape of `x`. Sends nothing.

    Raises
    ------
    TypeError
        If `x` is not an array, or no array can have the dtype.
    IndexError
        If `x` has no axis `split`.
    """,
)


# ---------------------------------------------------------------------- of one value


@_made(">>> print(xp.full((2, 3), 7, split=0))", "[[7 7 7]", " [7 7 7]]")
def full(
    shape: Any,
    fill_value: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    split: Split = UNSET,
    comm: Any = None,
) -> Array:
    """Make an array that is full of one value, whose dtype is the default of `dtype`."""
    if isinstance(fill_value, (Array, np.ndarray, np.generic)):
        check_unmasked("full", fill_value)
        dtype = fill_value.dtype if dtype is None else dtype
        fill_value = _single("full", fill_value)
    return _full("full", shape, fill_value, dtype, device, split, comm)


def _number(func: str, name: str, value: Any) -> Any:
    """Return a number, which may be an array of one element, as a Python scalar."""
    if type(value) is int or type(value) is float:
        return value
    if not isinstance(value, (Array, np.ndarray)) or value.size == 1:
        value = _scalar(value)
    is_number = isinstance(value, complex) or hasattr(value, "__float__")
    if isinstance(value, (Array, np.ndarray, np.generic, type)) or not is_number:
        raise TypeError(f"{func}: {name} is {shown(value)}; expected a number")
    return value


def _scalar(value: Any) -> Any:
    """Return a 0-d array or NumPy scalar as a Python scalar, all else as it is."""
    if not isinstance(value, (Array, np.ndarray, np.generic)) or value.dtype.kind in "mM":
        return value  # a time's item may be an integer
    check_unmasked("full", value)
    return value.item()


def _single(func: str, value: Any) -> Any:
    """Return a fill value as a Python scalar; an array of several elements raises."""
    if isinstance(value, (Array, np.ndarray)) and value.size != 1:
        raise ValueError(f"{func}: fill_value is {shown(value)}; expected one element")
    return _scalar(value)


def _full(
    func: str, shape: Any, value: Any, dtype: Any, device: Any, split: Split, comm: Any
) -> Array:
    communicator = as_communicator(func, comm)
    if DEBUG:
        check_alike(communicator, shape=shape, fill_value=value, dtype=dtype, split=split)
    target = scalar_dtype(value) if dtype is None else to_torch_dtype(dtype, func)
    layout = new_layout(func, as_shape(func, shape), split, communicator)
    where = local_device(func, device, communicator)
    return Array(filled(func, layout.local_shape, value, target, where), layout)


@_made(
    ">>> x = xp.zeros((4, 3), split=0)  # on two ranks each holds two rows",
    ">>> x.shape, x.split",
    "((4, 3), 0)",
)
def zeros(
    shape: Any, *, dtype: Any = None, device: Any = None, split: Split = UNSET, comm: Any = None
) -> Array:
    """Make an array of zeros."""
    return _full("zeros", shape, 0.0, dtype, device, split, comm)


@_made(">>> print(xp.ones(3, dtype=xp.int64, split=0))", "[1 1 1]")
def ones(
    shape: Any, *, dtype: Any = None, device: Any = None, split: Split = UNSET, comm: Any = None
) -> Array:
    """Make an array of ones."""
    return _full("ones", shape, 1.0, dtype, device, split, comm)


@_made(">>> x = xp.empty(3, split=0)", ">>> x[...] = 7", ">>> print(x)", "[7. 7. 7.]")
def empty(
    shape: Any, *, dtype: Any = None, device: Any = None, split: Split = UNSET, comm: Any = None
) -> Array:
    """Make an array whose values will be set later; they are zeros until then."""
    return _full("empty", shape, 0.0, dtype, device, split, comm)


@_like(">>> x = xp.zeros(3, split=0)", ">>> print(xp.full_like(x, 7))", "[7. 7. 7.]")
def full_like(
    x: Array, /, fill_value: Any, *, dtype: Any = None, device: Any = None, split: Split = UNSET
) -> Array:
    """Make an array like `x` that is full of one value."""
    return _full_like("full_like", x, _single("full_like", fill_value), dtype, device, split)


def _full_like(func: str, x: Array, value: Any, dtype: Any, device: Any, split: Split) -> Array:
    check_array(func, "x", x)
    if DEBUG:
        check_alike(x.comm, fill_value=value, dtype=dtype, split=split)
    target = x._local.dtype if dtype is None else to_torch_dtype(dtype, func)
    where = x._local.device if device is None else local_device(func, device, x.comm)
    layout = x._layout if isinstance(split, Unset) else new_layout(func, x.shape, split, x.comm)
    return Array(filled(func, layout.local_shape, value, target, where), layout)


@_like(">>> x = xp.asarray([1, 2, 3], split=0)", ">>> print(xp.zeros_like(x))", "[0 0 0]")
def zeros_like(
    x: Array, /, *, dtype: Any = None, device: Any = None, split: Split = UNSET
) -> Array:
    """Make an array of zeros like `x`."""
    return _full_like("zeros_like", x, 0, dtype, device, split)


@_like(">>> x = xp.asarray([1, 2, 3], split=0)", ">>> print(xp.ones_like(x))", "[1 1 1]")
def ones_like(x: Array, /, *, dtype: Any = None, device: Any = None, split: Split = UNSET) -> Array:
    """Make an array of ones like `x`."""
    return _full_like("ones_like", x, 1, dtype, device, split)


@_like(">>> x = xp.empty_like(xp.asarray([1, 2, 3], split=0))", ">>> x.shape, x.split", "((3,), 0)")
def empty_like(
    x: Array, /, *, dtype: Any = None, device: Any = None, split: Split = UNSET
) -> Array:
    """Make an array like `x` whose values will be set later; they are zeros until then."""
    return _full_like("empty_like", x, 0, dtype, device, split)


# ---------------------------------------------------------------------- of positions


@_made(">>> print(xp.arange(2, 10, 3, split=0))", "[2 5 8]")
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
    """Make evenly spaced values from `start` to `stop`, which is left out.

    ``arange(stop)`` starts at 0. The default dtype is int64 if all arguments are integers.
    """
    if stop is None:
        start, stop = 0, start
    start, stop, step = (
        _number("arange", name, value)
        for name, value in (("start", start), ("stop", stop), ("step", step))
    )
    if step == 0:
        raise ValueError("arange: step is 0; expected another number")
    if any(isinstance(v, complex) for v in (start, stop, step)):
        raise TypeError(f"arange: got {start}, {stop}, {step}; expected real numbers")
    communicator = as_communicator("arange", comm)
    if DEBUG:
        check_alike(communicator, start=start, stop=stop, step=step, dtype=dtype, split=split)
    where = local_device("arange", device, communicator)
    exact = all(isinstance(v, int) for v in (start, stop, step))
    default = torch.int64 if exact else default_float()
    target = default if dtype is None else to_torch_dtype(dtype, "arange")
    if not exact and not math.isfinite((stop - start) / step):
        raise ValueError(f"arange: {start} to {stop} by {step} is not a finite number of values")
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


@_made(">>> print(xp.linspace(0, 1, 5, split=0))", "[0.   0.25 0.5  0.75 1.  ]")
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
    """Make `num` evenly spaced values from `start` to `stop`.

    The default dtype is complex128 if one of them is complex.
    """
    start, stop = (
        value if isinstance(value, complex) else as_real("linspace", name, value)
        for name, value in (
            ("start", _number("linspace", "start", start)),
            ("stop", _number("linspace", "stop", stop)),
        )
    )
    num = as_int("linspace", "num", num, least=0)
    endpoint = as_flag("linspace", "endpoint", endpoint)
    communicator = as_communicator("linspace", comm)
    if DEBUG:
        given = {"num": num, "dtype": dtype, "endpoint": endpoint, "split": split}
        check_alike(communicator, start=start, stop=stop, **given)
    is_complex = any(isinstance(v, complex) for v in (start, stop))
    default = default_complex() if is_complex else default_float()
    target = default if dtype is None else to_torch_dtype(dtype, "linspace")
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


@_made(">>> print(xp.eye(2, 3, k=1, split=0))", "[[0. 1. 0.]", " [0. 0. 1.]]")
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
    """Make a matrix of zeros with ones on its k-th diagonal."""
    rows = as_int("eye", "n_rows", n_rows, least=0)
    columns = rows if n_cols is None else as_int("eye", "n_cols", n_cols, least=0)
    shape = as_shape("eye", (rows, columns))
    result = _full("eye", shape, 0.0, dtype, device, split, comm)
    diagonal = _columns_minus_rows(result) == _diagonal_index("eye", k, shape)
    local = carrier(result._local)
    local[diagonal] = carrier(filled("eye", (), 1, result._local.dtype, local.device))
    return result


def _diagonal_index(func: str, k: int, shape: Sequence[int]) -> int:
    """Return `k`, or the index of a diagonal just outside the matrix if it is beyond that."""
    return max(min(as_int(func, "k", k), shape[-1]), -shape[-2])


def _columns_minus_rows(x: Array) -> Tensor:
    """Return ``j - i`` for every element (..., i, j) of this rank's shard, as a matrix."""
    layout, device = x._layout, x._local.device
    first = [layout.start if layout.split == axis else 0 for axis in range(x.ndim)]
    rows, columns = (
        torch.arange(first[axis], first[axis] + x._local.shape[axis], device=device)
        for axis in (x.ndim - 2, x.ndim - 1)
    )
    return columns - rows[:, None]


def _triangle(func: str, x: Array, k: int, keep: Callable[[Tensor, int], Tensor]) -> Array:
    check_array(func, "x", x)
    if x.ndim < 2:
        raise ValueError(f"{func}: x has {x.ndim} axes; expected at least 2")
    t = x._local
    kept = keep(_columns_minus_rows(x), _diagonal_index(func, k, x.shape))
    return Array(on_bits(lambda a, b: torch.where(kept, a, b), t, t.new_zeros(())), x._layout)


_triangular = template(
    """
    x : Array
        Of any layout and dtype, with at least two axes; the last two are the matrices'.
    k : int
        Positive for a diagonal above the main one, negative for one below it.
    """,
    """
    Returns
    -------
    Array
        Of the shape, dtype and layout of `x`. Sends nothing.

    Raises
    ------
    TypeError
        If `x` is not an array.
    ValueError
        If `x` has fewer than two axes.
    """,
)


@_triangular(">>> print(xp.tril(xp.ones((2, 3), split=0)))", "[[1. 0. 0.]", " [1. 1. 0.]]")
def tril(x: Array, /, *, k: int = 0) -> Array:
    """Return the lower triangle of each matrix, with zeros above its k-th diagonal."""
    return _triangle("tril", x, k, operator.le)


@_triangular(">>> print(xp.triu(xp.ones((2, 3), split=0)))", "[[1. 1. 1.]", " [0. 1. 1.]]")
def triu(x: Array, /, *, k: int = 0) -> Array:
    """Return the upper triangle of each matrix, with zeros below its k-th diagonal."""
    return _triangle("triu", x, k, operator.ge)


def meshgrid(*arrays: Array, indexing: str = "xy") -> tuple[Array, ...]:
    """Return the coordinates of the grid that one-dimensional arrays span.

    Parameters
    ----------
    *arrays : Array
        One-dimensional (0-d counts as length 1), of any layout.
    indexing : {"xy", "ij"}
        "ij": array i runs along axis i. "xy": the first two axes are exchanged.

    Returns
    -------
    tuple of Array
        One for each array, of the grid's shape. All are split along the axis of the first split
        array, with its counts. Sends one allgather for each further split array.

    Raises
    ------
    TypeError
        If one is not an array.
    ValueError
        If one has more than one axis, or `indexing` is neither of the two.
    CommunicatorMismatchError
        If the arrays live on different communicators.

    Examples
    --------
    >>> x, y = xp.meshgrid(xp.arange(3, split=0), xp.arange(2))
    >>> print(x + 10 * y)
    [[ 0  1  2]
     [10 11 12]]
    """
    as_choice("meshgrid", "indexing", indexing, ("xy", "ij"))
    if not arrays:
        return ()
    for i, x in enumerate(arrays):
        if check_array("meshgrid", f"arrays[{i}]", x).ndim > 1:
            raise ValueError(f"meshgrid: arrays[{i}] has shape {x.shape}; expected one axis")
    comm = common_communicator("meshgrid", *arrays)
    order = list(range(len(arrays)))
    if indexing == "xy":
        order[:2] = reversed(order[:2])
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


# ---------------------------------------------------------------------- from values


_converting = template(
    """
    obj : Array, scalar, nested sequence, NumPy array or object with the buffer or DLPack protocol
        The same on every rank.
    x : Array or object with the DLPack protocol
        The same on every rank, such as a torch tensor.
    dtype : dtype, optional
        Of the result; by default that of `obj`, where Python floats count as float64.
    copy : bool, optional
        True: always copy. False: raise ValueError if the data must be copied, for a split
        result or to convert it; `asarray` copies all but Arrays. None: copy if needed.
    split : int or None, optional
        The axis along which the result is cut into shards, one for each rank. None: every
        rank holds a full copy. If it is not given, an Array keeps its layout; for other
        objects the option ``default_split`` counts (None; see `set_options`).
    """,
    """
    Returns
    -------
    Array
        Every rank keeps its own shard of the values. Sends nothing, unless an Array gets
        another split (one all-to-all or allgather, see `resplit`).

    Raises
    ------
    TypeError
        If it cannot be converted, or no array can have the dtype.
    ValueError
        If ``copy=False`` cannot be met, or there is no such device.
    IndexError
        If the result has no axis `split`.
    CommunicatorMismatchError
        If it is an Array of another communicator than `comm`.
    """,
)


@_converting(">>> print(xp.asarray([[1, 2], [3, 4]], split=0))", "[[1 2]", " [3 4]]")
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
    """Make an array of values that every rank has."""
    if isinstance(obj, Array):
        return _convert(obj, dtype, device, copy, split, comm)
    copy = copy if copy is None else as_flag("asarray", "copy", copy)
    if copy is False:
        raise ValueError(
            f"asarray: copy=False, but a {type(obj).__name__} must be copied to an array"
        )
    communicator = as_communicator("asarray", comm)
    wanted = None if dtype is None else to_torch_dtype(dtype, "asarray")
    if DEBUG:
        values = values_alike(communicator, "obj", lambda: _values(obj, wanted), split=split)
    else:
        values = _values(obj, wanted)
    layout = new_layout("asarray", tuple(values.shape), split, communicator)
    where = local_device("asarray", device, communicator)
    local = shard(values, layout).clone(memory_format=torch.contiguous_format)
    return Array(local.to(where), layout)


def _convert(
    x: Array, dtype: Any, device: Any, copy: bool | None, split: Split, comm: Any
) -> Array:
    """Return the Array `x` with another dtype, device or split."""
    if comm is not None and as_communicator("asarray", comm) is not x.comm:
        raise CommunicatorMismatchError(
            f"asarray: x lives on {x.comm.shown}, not on comm; use from_local with its shards"
        )
    target = x._local.dtype if dtype is None else to_torch_dtype(dtype, "asarray")
    check_conversion("asarray", x._local.dtype, target)
    copy = copy if copy is None else as_flag("asarray", "copy", copy)
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


def as_array(func: str, name: str, value: Any, **options: Any) -> Array:
    """Return what `asarray` returns; errors name the argument `name` of `func`."""
    try:
        return asarray(value, **options)
    except (OverflowError, TypeError, ValueError) as error:
        text = str(error).removeprefix("asarray: ")
        raise type(error)(f"{func}: {name} is {type(value).__name__}; {text}") from None


def _values(obj: Any, dtype: torch.dtype | None) -> Tensor:
    """Return `obj` as one CPU tensor of the whole array."""
    if isinstance(obj, (bool, int, float, complex)) and not isinstance(obj, np.generic):
        target = scalar_dtype(obj) if dtype is None else dtype
        return filled("asarray", (), obj, target, torch.device("cpu"))
    if hasattr(obj, "__dlpack__") and not hasattr(obj, "__array__"):
        obj = from_dlpack_capsule(obj)
    if isinstance(obj, Tensor):
        t = from_torch("asarray", "obj", obj.detach()).cpu()
        to_numpy_dtype(t.dtype)
    elif isinstance(obj, (np.ndarray, np.generic)):
        values = obj if isinstance(obj, np.ndarray) else np.asarray(obj)
        t = from_numpy("asarray", values, copy=False)
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
    check_unmasked("asarray", obj)
    return obj.__array__() if isinstance(obj, Array) else obj


@_converting(">>> print(xp.from_dlpack(np.asarray([1, 2, 3]), split=0))", "[1 2 3]")
def from_dlpack(
    x: Any,
    /,
    *,
    device: Any = None,
    copy: bool | None = None,
    split: Split = UNSET,
    comm: Any = None,
) -> Array:
    """Make an array of an object with the DLPack protocol, the same on every rank."""
    if isinstance(x, Array):
        return _convert(x, None, device, copy, split, comm)
    if not hasattr(x, "__dlpack__"):
        raise TypeError(f"from_dlpack: x is {type(x).__name__}, which has no __dlpack__ method")
    check_unmasked("from_dlpack", x)
    copy = copy if copy is None else as_flag("from_dlpack", "copy", copy)
    communicator = as_communicator("from_dlpack", comm)
    values = values_alike(communicator, "x", lambda: exported(x), split=split)
    pointer = pointer_of(x)
    if copy is False and pointer is not None and values.data_ptr() != pointer:
        raise ValueError(
            "from_dlpack: copy=False, but torch shares only writable C-contiguous arrays of native "
            "byte order, and no tensor that is lazily conjugated or negated"
        )
    layout = new_layout("from_dlpack", tuple(values.shape), split, communicator)
    where = values.device if device is None else local_device("from_dlpack", device, communicator)
    local = shard(values, layout)
    if copy is not False:
        return Array(local.to(where, copy=True), layout)
    if layout.split is not None and communicator.size > 1:
        raise ValueError("from_dlpack: copy=False, but a split array copies its shard")
    return Array(local.view_as(local), layout)


@filled_in()
@breaks
def from_local(local: Any, /, *, split: int | None = None, comm: Any = None) -> Array:
    """Make an array of the shards that the ranks hold.

    Parameters
    ----------
    local : torch.Tensor or NumPy array
        This rank's shard. On all ranks it has the same dtype and shape, except along `split`,
        where the length may differ and may be 0. If `split` is None, every rank must pass
        equal values; they are compared in debug mode only.
    split : int or None
        The axis along which the shards follow one another in the order of the ranks.
    {comm}

    Returns
    -------
    Array
        It shares the memory of `local`, but never writes into it. Sends one small allgather of
        shapes and dtypes.

    Raises
    ------
    TypeError, ValueError
        On every rank, if one rank's shard cannot be one or the shards do not fit together.
    IndexError
        If the shards have no axis `split`.

    Examples
    --------
    >>> rank, size = xp.world().rank, xp.world().size
    >>> x = xp.from_local(np.full(2 // size, rank < size), split=0)
    >>> print(x)
    [ True  True]
    """
    communicator = as_communicator("from_local", comm)
    split = None if split is None else as_int("from_local", "split", split)
    t, shapes = agreed_shards(local, split, communicator)
    ndim = len(shapes[0])
    axis = None
    if split is not None and ndim:
        axis = normalize_axis("from_local", split, ndim, "split")
    if len({tuple(n for i, n in enumerate(shape) if i != axis) for shape in shapes}) > 1:
        raise ValueError(
            f"from_local: shards of shapes {', '.join(map(str, shapes))} do not fit "
            f"along split {split}"
        )
    view = t.view_as(t)
    if axis is None:
        check_alike(communicator, local=view)
        return Array(view, Layout.replicated(shapes[0], communicator))
    counts = tuple(shape[axis] for shape in shapes)
    shape = resized(view.shape, axis, sum(counts))
    return Array(view, Layout.of(shape, axis, counts, communicator))


# ---------------------------------------------------------------------- shared with other modules


def local_device(func: str, device: Any, comm: Communicator) -> torch.device:
    """Return this rank's torch device for the namespace's `device` (None: the CPU)."""
    if device is not None and device_kind(func, device) == "cuda":
        if not torch.cuda.is_available():
            raise ValueError(f"{func}: device is {shown(device)}, but torch sees no CUDA device")
        return torch.device("cuda", comm.node_rank % torch.cuda.device_count())
    return torch.device("cpu")


def device_kind(func: str, device: Any) -> str:
    """Return "cpu" or "cuda", the kind of the namespace's `device` (None: the CPU)."""
    kind = device.type if isinstance(device, (Device, torch.device)) else device
    if kind is None or (isinstance(kind, str) and kind == "cpu"):
        return "cpu"
    if isinstance(kind, str) and kind.split(":")[0] == "cuda":
        return "cuda"
    raise ValueError(f"{func}: device is {shown(device)}; expected 'cpu' or 'cuda'")


def new_layout(func: str, shape: Shape, split: Split, comm: Communicator) -> Layout:
    """Return the balanced layout that ``split=`` asks for, with the default split applied."""
    axis = default_split(len(shape)) if isinstance(split, Unset) else split
    if axis is None or not shape:
        check_size(func, shape)
        return Layout.replicated(shape, comm)
    check_size(func, shape, comm.size)
    return Layout.balanced(shape, normalize_axis(func, axis, len(shape), "split"), comm)


def scalar_dtype(value: Scalar) -> torch.dtype:
    """Return the default dtype of an array made from a Python scalar."""
    if isinstance(value, bool):
        return torch.bool
    if isinstance(value, int):
        return torch.int64
    return default_float() if isinstance(value, float) else default_complex()
