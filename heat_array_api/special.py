"""Special functions of distributed arrays, element by element, by SciPy's names.

SciPy looks here for a namespace's own functions before it converts arrays to NumPy, so
its distributions, statistics and losses keep split arrays split. Every elementwise
function of `scipy.special` that is not listed is found, too, where SciPy is installed: its
own kernel then runs on each rank's shard.

Nothing is sent, but for operands of different layouts (as in `add`) and by `logsumexp`,
`softmax` and `log_softmax`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache, wraps
from importlib import import_module
from itertools import compress
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._core.array import Array
from ._core.dtypes import FLOATING, HALVES, INTEGER_OR_BOOL, REAL_FLOATING
from ._core.layout import Shape, normalize_axes
from ._core.lift import Operand, as_floating, elementwise, reduction, spread_reduction, unary
from ._core.tape import tracked
from ._elementwise import add, divide, exp, log, subtract
from ._statistical import sum as array_sum

__all__ = [
    "digamma",
    "entr",
    "erf",
    "erfc",
    "erfcx",
    "erfinv",
    "exp2",
    "expit",
    "gammainc",
    "gammaincc",
    "gammaln",
    "i0",
    "i0e",
    "i1",
    "i1e",
    "k0",
    "k0e",
    "k1",
    "k1e",
    "kl_div",
    "log_ndtr",
    "log_softmax",
    "logit",
    "logsumexp",
    "multigammaln",
    "ndtr",
    "ndtri",
    "polygamma",
    "psi",
    "rel_entr",
    "sinc",
    "softmax",
    "xlog1py",
    "xlogy",
    "zeta",
]


@cache
def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(f"special: no function {name!r}")
    return _scipy_function(name)


Kernel = Callable[..., Tensor]


# ---------------------------------------------------------------------- local kernels


def _widened(kernel: Kernel) -> Kernel:
    """Return a kernel that computes half precision in float32: torch has few such kernels."""

    @wraps(kernel)
    def widened(*tensors: Tensor) -> Tensor:
        dtype = tensors[0].dtype
        if dtype in HALVES:
            return kernel(*(t.float() for t in tensors)).to(dtype)
        return kernel(*tensors)

    return widened


def _unary(func: str, kernel: Kernel, x: Array) -> Array:
    return unary(func, _widened(kernel), x, REAL_FLOATING)


def _of(func: str, kernel: Kernel, *operands: Operand) -> Array:
    return elementwise(func, _widened(kernel), operands, REAL_FLOATING)


def _gammaln(t: Tensor) -> Tensor:
    return torch.where(t == -math.inf, t, torch.special.gammaln(t))  # SciPy's: C's lgamma is +inf


def _logit(t: Tensor) -> Tensor:
    """Near 1/2, where torch's ``log(p / (1 - p))`` loses digits, as SciPy: by ``log1p``."""
    s = 2 * (t - 0.5)
    return torch.where(s.abs() < 0.4, torch.log1p(s) - torch.log1p(-s), torch.special.logit(t))


def _digamma(t: Tensor) -> Tensor:
    return torch.digamma(t.double()).to(t.dtype)  # torch's loses digits in float32


def _ndtr(t: Tensor) -> Tensor:
    return torch.erfc(t * -math.sqrt(0.5)) / 2  # torch's own loses the lower tail


def _rel_entr(x: Tensor, y: Tensor) -> Tensor:
    ratio = x / y
    tiny = torch.finfo(x.dtype).tiny
    moderate = torch.where((ratio > 0.5) & (ratio < 2), torch.log1p((x - y) / y), torch.log(ratio))
    safe = (ratio > tiny) & (ratio < math.inf)
    inside = x * torch.where(safe, moderate, torch.log(x) - torch.log(y))
    outside = torch.where((x == 0) & (y >= 0), 0.0, math.inf)
    result = torch.where((x > 0) & (y > 0), inside, outside)
    return torch.where(torch.isnan(x) | torch.isnan(y), math.nan, result)


def _kl_div(x: Tensor, y: Tensor) -> Tensor:
    defined = (x >= 0) & (y >= 0)
    return _rel_entr(x, y) + torch.where(defined, y - x, 0.0)


# ---------------------------------------------------------------------- SciPy's kernels


def _scipy_function(name: str) -> Any:
    """Return SciPy's elementwise function `name` as a function of distributed arrays.

    Its kernel runs on each rank's shard, in the shard's memory; on a GPU, on a copy. The
    result has the operands' layout and is not differentiable.

    Raises
    ------
    AttributeError
        If SciPy is not installed or has no such NumPy ufunc of one result.
    """
    ufunc = _scipy_ufunc(name)
    if ufunc is None:
        raise AttributeError(f"special: no function {name!r}, nor has SciPy one that can be used")
    # NumPy's characters for the dtypes of a kernel's arguments: D is complex128, l is an integer.
    taken = {char for loop in ufunc.types for char in loop.partition("->")[0]}
    kind = FLOATING if "D" in taken else REAL_FLOATING
    takes_integers = not taken.isdisjoint("ilq")

    def function(*operands: Operand) -> Array:
        integers = [takes_integers and _is_integer(value) for value in operands]
        return elementwise(name, _widened(_scipy_kernel(ufunc, integers)), operands, kind)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"SciPy's `{name}` on each rank's shard; sends nothing if layouts agree."
    return function


def _scipy_ufunc(name: str) -> np.ufunc | None:
    """Return SciPy's ufunc of that name; None if there is none."""
    try:
        found = getattr(import_module("scipy.special"), name, None)
    except ImportError:
        return None
    # With SCIPY_ARRAY_API=1 the ufunc is wrapped in a function that would come back here.
    found = getattr(found, "__wrapped__", found)
    return found if isinstance(found, np.ufunc) and found.nout == 1 else None


def _is_integer(value: object) -> bool:
    if isinstance(value, Array):
        return value._local.dtype in INTEGER_OR_BOOL.all
    return isinstance(value, int) or getattr(value, "dtype", np.dtype("f8")).kind in "iu"


def _scipy_kernel(ufunc: np.ufunc, integers: Sequence[bool] | None = None) -> Kernel:
    """Return SciPy's kernel; `integers` says which arguments it must get as integers."""

    def kernel(*tensors: Tensor) -> Tensor:
        if any(map(tracked, tensors)):
            raise NotImplementedError(f"special.{ufunc.__name__}: has no derivative here")
        arguments = [t.cpu().numpy() for t in tensors]
        for i in compress(range(len(arguments)), integers or ()):
            arguments[i] = arguments[i].astype(np.int64)
        with np.errstate(all="ignore"):
            values = np.asarray(ufunc(*arguments))
        result = torch.from_numpy(values).to(tensors[0].device)
        # Some loops are in double precision alone; some results of complex arguments are real.
        dtype = tensors[0].dtype
        return result.to(dtype if dtype.is_complex == result.is_complex() else dtype.to_real())

    return kernel


def _incomplete_gamma(func: str, native: Kernel, a: Operand, x: Operand) -> Array:
    """Apply SciPy's kernel where there is one, for torch's has nine digits where a is near x."""
    ufunc = _scipy_ufunc(func)
    on_tape = any(isinstance(v, Array) and tracked(v._local) for v in (a, x))
    return _of(func, native if ufunc is None or on_tape else _scipy_kernel(ufunc), a, x)


# ---------------------------------------------------------------------- error functions


def erf(x: Array, /) -> Array:
    """Error function, element by element.

    Parameters
    ----------
    x : Array
        Any layout; dtype real floating-point (integers become the default real dtype).

    Returns
    -------
    Array
        Shape and layout of `x`. Sends nothing.
    """
    return _unary("erf", torch.special.erf, x)


def erfc(x: Array, /) -> Array:
    """Complement of the error function, ``1 - erf(x)``. As `erf` otherwise."""
    return _unary("erfc", torch.special.erfc, x)


def erfcx(x: Array, /) -> Array:
    """Scaled complement of the error function, ``exp(x**2) * erfc(x)``. As `erf` otherwise."""
    return _unary("erfcx", torch.special.erfcx, x)


def erfinv(x: Array, /) -> Array:
    """Inverse of the error function. As `erf` otherwise."""
    return _unary("erfinv", torch.special.erfinv, x)


def ndtr(x: Array, /) -> Array:
    """Cumulative distribution of the standard normal. As `erf` otherwise."""
    return _unary("ndtr", _ndtr, x)


def ndtri(x: Array, /) -> Array:
    """Quantile function of the standard normal, the inverse of `ndtr`. As `erf` otherwise."""
    return _unary("ndtri", torch.special.ndtri, x)


def log_ndtr(x: Array, /) -> Array:
    """Logarithm of `ndtr`. As `erf` otherwise."""
    return _unary("log_ndtr", torch.special.log_ndtr, x)


# ---------------------------------------------------------------------- logistic and entropy


def expit(x: Array, /) -> Array:
    """Logistic function, ``1 / (1 + exp(-x))``. As `erf` otherwise."""
    return _unary("expit", torch.special.expit, x)


def logit(x: Array, /) -> Array:
    """Inverse of the logistic function, ``log(x / (1 - x))``. As `erf` otherwise."""
    return _unary("logit", _logit, x)


def entr(x: Array, /) -> Array:
    """Entropy ``-x * log(x)``; 0 at 0, -inf below. As `erf` otherwise."""
    return _unary("entr", torch.special.entr, x)


def rel_entr(x: Operand, y: Operand, /) -> Array:
    """Relative entropy ``x * log(x / y)``, element by element.

    Parameters
    ----------
    x, y : Array or Python scalar
        Broadcast together; at least one Array; dtypes real.

    Returns
    -------
    Array
        0 where `x` is 0 and `y` is not negative, inf where one is negative or `y` alone is 0.
        Split as the operand with more bytes. Sends nothing unless the layouts differ.
    """
    return _of("rel_entr", _rel_entr, x, y)


def kl_div(x: Operand, y: Operand, /) -> Array:
    """Kullback-Leibler divergence ``x * log(x / y) - x + y``. As `rel_entr` otherwise."""
    return _of("kl_div", _kl_div, x, y)


def xlogy(x: Operand, y: Operand, /) -> Array:
    """``x * log(y)``, 0 where `x` is 0. As `rel_entr` otherwise."""
    return _of("xlogy", torch.special.xlogy, x, y)


def xlog1py(x: Operand, y: Operand, /) -> Array:
    """``x * log1p(y)``, 0 where `x` is 0. As `rel_entr` otherwise."""
    return _of("xlog1py", torch.special.xlog1py, x, y)


# ---------------------------------------------------------------------- gamma functions


def gammaln(x: Array, /) -> Array:
    """Logarithm of the absolute value of the gamma function. As `erf` otherwise."""
    return _unary("gammaln", _gammaln, x)


def digamma(x: Array, /) -> Array:
    """Logarithmic derivative of the gamma function. As `erf` otherwise."""
    return _unary("digamma", _digamma, x)


psi = digamma


def polygamma(n: int | Array, x: Array, /) -> Array:
    """Derivative of order `n` of `digamma`.

    Parameters
    ----------
    n : int or Array
        Not negative; an array broadcasts with `x`, and NaN stands for what is no integer.
    x : Array
        Any layout; dtype real floating-point.

    Returns
    -------
    Array
        Shape and layout of `x`, of an array `n` as of `rel_entr`; NaN below 0, unless `n` is 0.
        Sends nothing, unless layouts differ.
    """
    if isinstance(n, (Array, np.ndarray)):
        return _of("polygamma", _polygamma, n, x)
    if n < 0 or n != int(n):
        raise ValueError(f"polygamma: n is {n}; expected an integer that is not negative")
    order = int(n)
    if order == 0:
        return _unary("polygamma", _digamma, x)
    factor = (-1.0) ** (order + 1) * (float(math.factorial(order)) if order <= 170 else math.inf)

    def kernel(t: Tensor) -> Tensor:
        series: Tensor = torch.special.zeta(torch.full_like(t, order + 1), t)
        return factor * series

    return _unary("polygamma", kernel, x)


def _polygamma(n: Tensor, t: Tensor) -> Tensor:
    sign = torch.where(n % 2 == 0, -1.0, 1.0)
    values = sign * torch.exp(torch.special.gammaln(n + 1)) * torch.special.zeta(n + 1, t)
    values = torch.where(n == 0, _digamma(t), values)
    return torch.where((n < 0) | (n != torch.floor(n)), math.nan, values).to(t.dtype)


def multigammaln(x: Array, d: int, /) -> Array:
    """Logarithm of the multivariate gamma function of dimension `d`. As `erf` otherwise."""
    if d < 1 or d != int(d):
        raise ValueError(f"multigammaln: d is {d}; expected a positive integer")
    d = int(d)

    def kernel(t: Tensor) -> Tensor:
        # Not torch's own, which raises for values that are too small: on one rank alone.
        total = torch.full_like(t, d * (d - 1) / 4 * math.log(math.pi))
        for j in range(d):
            total += torch.special.gammaln(t - j / 2)
        return torch.where(t > (d - 1) / 2, total, math.nan)

    return _unary("multigammaln", kernel, x)


def gammainc(a: Operand, x: Operand, /) -> Array:
    """Regularized lower incomplete gamma function, element by element.

    Parameters
    ----------
    a, x : Array or Python scalar
        Broadcast together; at least one Array; dtypes real.

    Returns
    -------
    Array
        Split as the operand with more bytes. Sends nothing unless the layouts differ.

    Notes
    -----
    Computed by SciPy's kernel where SciPy is installed. Otherwise, and where gradients are
    recorded, by torch's, which has nine digits where `a` and `x` are near and above 20.
    """
    return _incomplete_gamma("gammainc", torch.special.gammainc, a, x)


def gammaincc(a: Operand, x: Operand, /) -> Array:
    """Regularized upper incomplete gamma function. As `gammainc` otherwise."""
    return _incomplete_gamma("gammaincc", torch.special.gammaincc, a, x)


def zeta(x: Operand, q: Operand = 1.0, /) -> Array:
    """Hurwitz's zeta function; Riemann's where `q` is 1. As `rel_entr` otherwise."""
    return _of("zeta", torch.special.zeta, x, q)


# ---------------------------------------------------------------------- Bessel functions and others


def i0(x: Array, /) -> Array:
    """Modified Bessel function of the first kind, order 0. As `erf` otherwise."""
    return _unary("i0", torch.special.i0, x)


def i0e(x: Array, /) -> Array:
    """Scaled modified Bessel function ``exp(-abs(x)) * i0(x)``. As `erf` otherwise."""
    return _unary("i0e", torch.special.i0e, x)


def i1(x: Array, /) -> Array:
    """Modified Bessel function of the first kind, order 1. As `erf` otherwise."""
    return _unary("i1", torch.special.i1, x)


def i1e(x: Array, /) -> Array:
    """Scaled modified Bessel function ``exp(-abs(x)) * i1(x)``. As `erf` otherwise."""
    return _unary("i1e", torch.special.i1e, x)


def k0(x: Array, /) -> Array:
    """Modified Bessel function of the second kind, order 0. As `erf` otherwise."""
    return _unary("k0", torch.special.modified_bessel_k0, x)


def k0e(x: Array, /) -> Array:
    """Scaled modified Bessel function ``exp(x) * k0(x)``. As `erf` otherwise."""
    return _unary("k0e", torch.special.scaled_modified_bessel_k0, x)


def k1(x: Array, /) -> Array:
    """Modified Bessel function of the second kind, order 1. As `erf` otherwise."""
    return _unary("k1", torch.special.modified_bessel_k1, x)


def k1e(x: Array, /) -> Array:
    """Scaled modified Bessel function ``exp(x) * k1(x)``. As `erf` otherwise."""
    return _unary("k1e", torch.special.scaled_modified_bessel_k1, x)


def sinc(x: Array, /) -> Array:
    """``sin(pi x) / (pi x)``, 1 at 0. As `erf` otherwise."""
    return _unary("sinc", torch.special.sinc, x)


def exp2(x: Array, /) -> Array:
    """``2**x``. As `erf` otherwise."""
    return _unary("exp2", torch.special.exp2, x)


# ---------------------------------------------------------------------- along axes


def logsumexp(
    x: Array, /, axis: int | Sequence[int] | None = None, *, keepdims: bool = False
) -> Array:
    """Logarithm of the sum of exponentials over axes, without overflow.

    Parameters
    ----------
    x : Array
        Any layout; dtype real floating-point (integers become the default real dtype).
    axis : int or tuple of int, optional
        All axes by default.
    keepdims : bool
        Keep the reduced axes with length 1.

    Returns
    -------
    Array
        As of `sum`; -inf for no elements.

    Notes
    -----
    Messages: none if the split axis is kept; else two allreduces of the result, or, where
    the result is bigger than one rank's share of `x`, one all-to-all of `x`.
    """
    x = as_floating("logsumexp", x, kind=REAL_FLOATING)
    axes = normalize_axes("logsumexp", axis, x.ndim)
    x = spread_reduction(x, axes)
    peak = _finite_peak(x, axes)
    total = array_sum(exp(subtract(x, peak)), axis=axes, keepdims=True)
    result = add(log(total), peak)
    if keepdims:
        return result
    return reduction("logsumexp", _squeezed, result, axes, False, combine="sum")


def _squeezed(t: Tensor, axes: Shape, keepdims: bool) -> Tensor:
    """Drop axes of length 1: a view."""
    return t.squeeze(axes) if axes else t.view_as(t)


def _peak(t: Tensor, axes: Shape, keepdims: bool) -> Tensor:
    return torch.amax(t, dim=axes, keepdim=keepdims) if axes else t.view_as(t)


def _finite_peak(x: Array, axes: Shape) -> Array:
    """Return the maximum over axes, kept with length 1; 0 where it is infinite: one allreduce."""
    peak = reduction("max", _peak, x, axes, True, combine="max", identity=-math.inf)
    return Array(torch.where(torch.isinf(peak._local), 0.0, peak._local), peak._layout)


def softmax(x: Array, /, axis: int | Sequence[int] | None = None) -> Array:
    """Exponentials divided by their sum over axes (all of them by default).

    Returns
    -------
    Array
        Shape and layout of `x`. Messages: none if the split axis is not reduced, else two
        allreduces of one value per row.
    """
    x = as_floating("softmax", x, kind=REAL_FLOATING)
    axes = normalize_axes("softmax", axis, x.ndim)
    shifted = exp(subtract(x, _finite_peak(x, axes)))
    return divide(shifted, array_sum(shifted, axis=axes, keepdims=True))


def log_softmax(x: Array, /, axis: int | Sequence[int] | None = None) -> Array:
    """Logarithm of `softmax`, without its loss of digits. As `softmax` otherwise."""
    x = as_floating("log_softmax", x, kind=REAL_FLOATING)
    axes = normalize_axes("log_softmax", axis, x.ndim)
    shifted = subtract(x, _finite_peak(x, axes))
    return subtract(shifted, log(array_sum(exp(shifted), axis=axes, keepdims=True)))


def __dir__() -> list[str]:
    return sorted(__all__)
