"""NumPy's ufuncs on our arrays: what `Array.__array_ufunc__` calls.

``np.add(x, 1)`` is the namespace's `add`; SciPy's ufuncs are looked up in `special`. NumPy's ufuncs
that have no counterpart there have their kernels here, and are reached through NumPy alone. Those
give NumPy's dtypes, and are differentiable where they have a derivative.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from . import _elementwise, _linalg, special
from ._core import kernels
from ._core.array import Array
from ._core.dtypes import DType, to_torch_dtype
from ._core.lift import align, as_operands, cast
from ._core.operators import OPERANDS
from ._core.tape import tracked
from ._data_type import astype
from ._manipulation import expand_dims
from ._searching import where as where_
from ._statistical import cumulative_prod, cumulative_sum, prod
from ._statistical import max as max_
from ._statistical import min as min_
from ._statistical import sum as sum_
from ._utility import all as all_
from ._utility import any as any_

Options = dict[str, Any]
Inputs = tuple[Any, ...]


# ---------------------------------------------------------------------- the protocol


def call(ufunc: np.ufunc, method: str, inputs: Inputs, options: Options) -> Any:
    """Run a ufunc, or one of its methods, on distributed arrays.

    Parameters
    ----------
    ufunc : numpy.ufunc
    method : str
        "__call__", "reduce", "accumulate" or "outer".
    inputs : tuple
        Operands: arrays of any layout, numbers, NumPy arrays.
    options : dict
        `out` (arrays of ours), `where` (with `out`), `dtype`, `casting`, `axis`, `keepdims`.

    Returns
    -------
    Array or tuple of Array
        NotImplemented where an operand is another library's. The messages are those of the
        namespace's function; of kernels that live here, those of `add`.

    Raises
    ------
    TypeError
        If distributed arrays lack the function, the method or an option.
    """
    is_plain = method == "__call__" and not options and _PLAIN.issuperset(map(type, inputs))
    if is_plain and not _only_numpy_has(ufunc.__name__, inputs):
        return _function(ufunc)(*inputs)
    func = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
    targets = options.pop("out", ())
    if method not in _METHODS:
        raise TypeError(f"{func}: not supported for distributed arrays")
    inputs = tuple(np.asarray(v) if isinstance(v, (list, tuple)) else v for v in inputs)
    if not all(isinstance(v, OPERANDS) for v in (*inputs, *targets) if v is not None):
        return NotImplemented
    options = {k: v for k, v in options.items() if v is not None or k == "axis"}
    mask = options.pop("where", True)
    _check_targets(func, targets, mask, method)
    result = _METHODS[method](ufunc, func, inputs, options)
    if not any(target is not None for target in targets):
        return result
    results = result if isinstance(result, tuple) else (result,)
    stored = tuple(_store(*pair, mask) for pair in zip(results, targets, strict=True))
    return stored if isinstance(result, tuple) else stored[0]


_PLAIN: Final = frozenset({Array, int, float})


def _check_targets(func: str, targets: Inputs, mask: Any, method: str) -> None:
    """Raise TypeError unless results can be stored in `targets` where `mask` is true."""
    if any(target is not None and not isinstance(target, Array) for target in targets):
        raise TypeError(
            f"{func}: out is a NumPy array, which would hold the whole result on every rank; use "
            "an array of heat_array_api, or numpy.asarray of the result"
        )
    if mask is True:
        return
    if method != "__call__":
        raise TypeError(f"{func}: where= is not supported; use where() for the elements left out")
    if not targets or None in targets:
        raise TypeError(
            f"{func}: where= leaves elements undefined without out=; pass that, or use where()"
        )


def _store(result: Array, target: Array | None, mask: Any) -> Array:
    if target is None:
        return result
    return target._assign(result if mask is True else where_(mask, result, target))


def _refuse(func: str, options: Options) -> None:
    if options:
        listed = ", ".join(f"{name}={value!r}" for name, value in options.items())
        raise TypeError(f"{func}: {listed} is not supported for distributed arrays")


# ---------------------------------------------------------------------- methods


def _call(ufunc: np.ufunc, func: str, inputs: Inputs, options: Options) -> Any:
    dtype, casting = options.pop("dtype", None), options.pop("casting", "same_kind")
    subok, order = options.pop("subok", True), options.pop("order", "K")
    if order not in ("K", "C", "A"):
        options["order"] = order
    if subok is not True:
        options["subok"] = subok
    named = {"axis": options.pop("axis")} if func == "vecdot" and "axis" in options else {}
    _refuse(func, options)
    if dtype is not None:
        outputs = (np.dtype(dtype),) * ufunc.nout
        loop = _loop(ufunc, inputs, signature=(*(None,) * ufunc.nin, *outputs), casting=casting)
        inputs = tuple(_as_dtype(v, d) for v, d in zip(inputs, loop, strict=False))
    if _only_numpy_has(ufunc.__name__, inputs):
        return _elementwise_call(ufunc, None, *inputs)
    return _function(ufunc)(*inputs, **named)


def _outer(ufunc: np.ufunc, func: str, inputs: Inputs, options: Options) -> Any:
    if ufunc.nin != 2 or ufunc.signature is not None:
        raise TypeError(f"{func}: only elementwise functions of two operands have an outer product")
    x, y = inputs
    for _ in range(np.ndim(y) if not isinstance(y, Array) else y.ndim):
        x = expand_dims(x, axis=-1) if isinstance(x, Array) else np.asarray(x)[..., None]
    return _call(ufunc, func, (x, y), options)


def _reduce(ufunc: np.ufunc, func: str, inputs: Inputs, options: Options) -> Any:
    reduction = _REDUCTIONS.get(ufunc.__name__)
    if reduction is None:
        raise TypeError(f"{func}: only {', '.join(_REDUCTIONS)} reduce distributed arrays")
    axis = options.pop("axis", 0)
    return _along_axes(func, reduction, inputs, options, axis=axis, names=("keepdims",))


def _accumulate(ufunc: np.ufunc, func: str, inputs: Inputs, options: Options) -> Any:
    scan = _SCANS.get(ufunc.__name__)
    if scan is None:
        raise TypeError(f"{func}: only {', '.join(_SCANS)} accumulate distributed arrays")
    return _along_axes(func, scan, inputs, options, axis=options.pop("axis", 0), names=())


def _along_axes(
    func: str, function: Any, inputs: Inputs, options: Options, axis: Any, names: tuple[str, ...]
) -> Any:
    named = {name: options.pop(name) for name in names if name in options}
    dtype = options.pop("dtype", None)
    _refuse(func, options)
    (x,) = inputs
    if dtype is not None and function in (sum_, prod, cumulative_sum, cumulative_prod):
        named["dtype"] = dtype
    elif dtype is not None and function not in (all_, any_):
        x = astype(x, dtype, copy=False)
    return function(x, axis=axis, **named)


_METHODS: Final[dict[str, Callable[..., Any]]] = {
    "__call__": _call,
    "outer": _outer,
    "reduce": _reduce,
    "accumulate": _accumulate,
}

_REDUCTIONS: Final[dict[str, Any]] = {
    "add": sum_,
    "multiply": prod,
    "maximum": max_,
    "minimum": min_,
    "logical_and": all_,
    "logical_or": any_,
}

_SCANS: Final[dict[str, Any]] = {"add": cumulative_sum, "multiply": cumulative_prod}


# ---------------------------------------------------------------------- functions


@cache
def _function(ufunc: np.ufunc) -> Callable[..., Any]:
    """Return the function of distributed arrays that means what the ufunc does."""
    name = ufunc.__name__
    if name in _COMPOSITES:
        return _COMPOSITES[name]
    if name in _KERNELS:
        return partial(_elementwise_call, ufunc, _KERNELS[name])
    name = _STANDARD.get(name, name)
    for module in (_elementwise, _linalg):
        if name in module.__all__:
            return getattr(module, name)  # type: ignore[no-any-return]
    try:
        return getattr(special, name)  # type: ignore[no-any-return]
    except AttributeError:
        raise TypeError(f"{name}: not supported for distributed arrays") from None


def _only_numpy_has(name: str, inputs: Inputs) -> bool:
    """Return whether NumPy has the function for booleans or complex numbers, the standard not."""
    if name in _BOOLEAN_TOO:
        return all(getattr(v, "dtype", None) == np.bool_ or isinstance(v, bool) for v in inputs)
    return name in _COMPLEX_TOO and any(
        getattr(getattr(v, "dtype", None), "kind", "") == "c" or isinstance(v, complex)
        for v in inputs
    )


def _loop(ufunc: np.ufunc, inputs: Inputs, **options: Any) -> tuple[DType, ...]:
    """Return the dtypes of operands and results of NumPy's loop for `inputs`."""
    given = [v.dtype if isinstance(v, (Array, np.ndarray)) else _weak(v) for v in inputs]
    try:
        return ufunc.resolve_dtypes((*given, *(None,) * ufunc.nout), **options)
    except TypeError as error:
        raise TypeError(f"{ufunc.__name__}: {error}") from None


def _weak(value: Any) -> Any:
    """Return how a number counts in promotion: NumPy's scalars as Python's, as in the namespace."""
    kind = value.dtype.kind if isinstance(value, np.generic) else "O"
    if kind in "mM":
        return value.dtype
    value = value.item() if isinstance(value, np.generic) else value
    return np.dtype(bool) if isinstance(value, bool) else type(value)


def _as_dtype(value: Any, dtype: DType) -> Any:
    return (
        astype(value, dtype, copy=False) if isinstance(value, Array) else np.asarray(value, dtype)
    )


def _elementwise_call(
    ufunc: np.ufunc, kernel: Callable[..., Any] | None, *inputs: Any
) -> Array | tuple[Array, ...]:
    """Apply a kernel element by element, by the dtypes of NumPy's loop.

    NumPy's own runs on the shards where `kernel` is None, and for what is no real floating-point
    number: torch lacks some of those.
    """
    func = ufunc.__name__
    loop = _loop(ufunc, inputs)
    numbers = [
        v if isinstance(v, (Array, np.ndarray)) else np.asarray(v, dtype)
        for v, dtype in zip(inputs, loop, strict=False)
    ]
    tensors, layout = align(func, *as_operands(func, *numbers))
    tensors = [cast(t, to_torch_dtype(d, func)) for t, d in zip(tensors, loop, strict=False)]
    if kernel is None or not tensors[0].is_floating_point():
        if any(map(tracked, tensors)):
            raise NotImplementedError(f"{func}: has no derivative here")
        kernel = partial(_numpy, ufunc)
    results = kernel(*tensors)
    outputs = results if isinstance(results, tuple) else (results,)
    arrays = tuple(
        Array(cast(t, to_torch_dtype(dtype, func)), layout)
        for t, dtype in zip(outputs, loop[ufunc.nin :], strict=True)
    )
    return arrays if isinstance(results, tuple) else arrays[0]


def _numpy(ufunc: np.ufunc, *tensors: Tensor) -> Tensor | tuple[Tensor, ...]:
    """Run NumPy's ufunc on the tensors' own memory."""
    device = tensors[0].device
    with np.errstate(all="ignore"):
        results = ufunc(*(_values(t) for t in tensors))
    if ufunc.nout == 1:
        return _tensor(results).to(device)
    return tuple(_tensor(values).to(device) for values in results)


def _values(t: Tensor) -> np.ndarray[Any, Any]:
    return (t.float() if t.dtype is torch.bfloat16 else t).cpu().resolve_conj().numpy()


def _tensor(values: Any) -> Tensor:
    return torch.from_numpy(np.asarray(values))


# ---------------------------------------------------------------------- local kernels


def _heaviside(a: Tensor, b: Tensor) -> Tensor:
    step = torch.where(torch.isnan(a), a, (a > 0).to(a.dtype))
    return torch.where(a == 0, b, step)


def _modf(t: Tensor) -> tuple[Tensor, Tensor]:
    whole = torch.trunc(t)
    fraction = torch.where(torch.isinf(t), torch.zeros_like(t), t - whole)
    return torch.where(fraction == 0, torch.copysign(torch.zeros_like(t), t), fraction), whole


def _frexp(t: Tensor) -> tuple[Tensor, Tensor]:
    mantissa, exponent = torch.frexp(t if t.dtype is torch.float64 else t.float())
    finite = torch.isfinite(t)
    return torch.where(finite, mantissa, t), torch.where(finite, exponent, 0)


def _ldexp(a: Tensor, b: Tensor) -> Tensor:
    if not (tracked(a) or tracked(b)):
        return _numpy(np.ldexp, a, b)  # type: ignore[return-value]
    half = torch.div(b, 2, rounding_mode="floor")  # 2**b alone may overflow
    return a * torch.exp2(half.to(a.dtype)) * torch.exp2((b - half).to(a.dtype))


def _divmod(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    return kernels.floor_divide(a, b), kernels.remainder(a, b)


def _matvec(x1: Array, x2: Array) -> Array:
    return _linalg.matmul(x1, expand_dims(x2, axis=-1))[..., 0]


def _vecmat(x1: Array, x2: Array) -> Array:
    return _linalg.matmul(expand_dims(_elementwise.conj(x1), axis=-2), x2)[..., 0, :]


_COMPOSITES: Final[dict[str, Callable[..., Any]]] = {"matvec": _matvec, "vecmat": _vecmat}

# NumPy's ufuncs that the standard lacks, or has for fewer dtypes; None: NumPy's own kernel.
_KERNELS: Final[dict[str, Callable[..., Any] | None]] = {
    "bitwise_count": None,
    "cbrt": None,
    "deg2rad": torch.deg2rad,
    "degrees": torch.rad2deg,
    "divmod": _divmod,
    "fabs": torch.abs,
    "float_power": kernels.pow,
    "fmax": torch.fmax,
    "fmin": torch.fmin,
    "fmod": torch.fmod,
    "frexp": _frexp,
    "gcd": None,
    "heaviside": _heaviside,
    "isnat": None,
    "lcm": None,
    "ldexp": _ldexp,
    "logaddexp2": torch.logaddexp2,
    "modf": _modf,
    "rad2deg": torch.rad2deg,
    "radians": torch.deg2rad,
    "rint": torch.round,
    "spacing": None,
}

_BOOLEAN_TOO: Final = {
    *("absolute", "add", "ceil", "conjugate", "floor", "floor_divide", "isfinite", "isinf"),
    *("isnan", "left_shift", "multiply", "power", "remainder", "right_shift", "square", "trunc"),
}
_COMPLEX_TOO: Final = {
    *("exp2", "greater", "greater_equal", "less", "less_equal", "maximum", "minimum"),
}

# NumPy's names where they differ from the standard's.
_STANDARD: Final[dict[str, str]] = {
    "absolute": "abs",
    "arccos": "acos",
    "arccosh": "acosh",
    "arcsin": "asin",
    "arcsinh": "asinh",
    "arctan": "atan",
    "arctan2": "atan2",
    "arctanh": "atanh",
    "conjugate": "conj",
    "invert": "bitwise_invert",
    "left_shift": "bitwise_left_shift",
    "mod": "remainder",
    "power": "pow",
    "right_shift": "bitwise_right_shift",
    "true_divide": "divide",
}
