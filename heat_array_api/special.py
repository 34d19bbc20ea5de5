"""Special functions of distributed arrays, by SciPy's names.

SciPy looks for a namespace's own functions here before it converts arrays to NumPy, so its
distributions, statistics and losses keep split arrays split. An elementwise function of
`scipy.special` that is not in ``__all__`` is found, too, if SciPy is installed: SciPy's kernel
then runs on each rank's shard.

Kernels first, then the functions: elementwise ones by subject, and those that reduce axes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache, wraps
from importlib import import_module
from itertools import compress
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from ._comm.assumptions import assumed
from ._core.arguments import as_flag, as_real
from ._core.array import Array
from ._core.docstrings import documented, template
from ._core.dtypes import FLOATING, HALVES, INTEGER_OR_BOOL, REAL_FLOATING, to_numpy_dtype
from ._core.layout import Shape, normalize_axes
from ._core.lift import (
    Kernel,
    Operand,
    as_floating,
    elementwise,
    reduction,
    spread_reduction,
    unary,
)
from ._core.tape import tracked
from ._elementwise import add, divide, exp, log, subtract
from ._statistical import sum as array_sum

__all__ = [
    "digamma", "entr", "erf", "erfc", "erfcx", "erfinv", "exp2", "expit", "gammainc", "gammaincc",
    "gammaln", "i0", "i0e", "i1", "i1e", "k0", "k0e", "k1", "k1e", "kl_div", "log_ndtr",
    "log_softmax", "logit", "logsumexp", "multigammaln", "ndtr", "ndtri", "polygamma", "psi",
    "rel_entr", "sinc", "softmax", "xlog1py", "xlogy", "zeta",
]  # fmt: skip


@cache
def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(f"special: no function {name!r}")
    return _scipy_function(name)


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
    """Use ``log1p`` near 1/2, as SciPy does: torch's ``log(p / (1 - p))`` loses digits there."""
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

    It is not differentiable. On a GPU the kernel gets a copy in the host's memory.
    An AttributeError is raised if SciPy has no NumPy ufunc of that name with one result.
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
    function.__doc__ = f"Apply `scipy.special.{name}` to each rank's shard. Layouts as for `add`."
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
        if assumed():
            arguments = [np.ones((1,) * t.ndim, to_numpy_dtype(t.dtype)) for t in tensors]
        else:
            arguments = [t.cpu().numpy() for t in tensors]
        for i in compress(range(len(arguments)), integers or ()):
            arguments[i] = arguments[i].astype(np.int64)
        with np.errstate(all="ignore"):
            values = np.asarray(ufunc(*arguments))
        result = torch.from_numpy(values).to(tensors[0].device)
        if assumed():
            result = result.expand(np.broadcast_shapes(*(t.shape for t in tensors))).clone()
        # Some loops exist in double precision only; some results of complex arguments are real.
        dtype = tensors[0].dtype
        return result.to(dtype if dtype.is_complex == result.is_complex() else dtype.to_real())

    return kernel


def _incomplete_gamma(func: str, native: Kernel, a: Operand, x: Operand) -> Array:
    """Apply SciPy's kernel if there is one: torch's has nine digits where a is near x."""
    ufunc = _scipy_ufunc(func)
    on_tape = any(isinstance(v, Array) and tracked(v._local) for v in (a, x))
    return _of(func, native if ufunc is None or on_tape else _scipy_kernel(ufunc), a, x)


# ---------------------------------------------------------------------- error functions


@documented(REAL_FLOATING, "[0.0, 1.0]", gives="[0.         0.84270079]")
def erf(x: Array, /) -> Array:
    """Return the error function of each element."""
    return _unary("erf", torch.special.erf, x)


@documented(REAL_FLOATING, "[0.0, 1.0]", gives="[1.         0.15729921]")
def erfc(x: Array, /) -> Array:
    """Return ``1 - erf(x)`` for each element, accurate where `erf` is near 1."""
    return _unary("erfc", torch.special.erfc, x)


@documented(REAL_FLOATING, "[0.0, 1.0]", gives="[1.         0.42758358]")
def erfcx(x: Array, /) -> Array:
    """Return ``exp(x**2) * erfc(x)`` for each element."""
    return _unary("erfcx", torch.special.erfcx, x)


@documented(REAL_FLOATING, "[0.0, 0.5]", gives="[0.         0.47693628]")
def erfinv(x: Array, /) -> Array:
    """Return the inverse of the error function of each element."""
    return _unary("erfinv", torch.special.erfinv, x)


@documented(REAL_FLOATING, "[0.0, 1.0]", gives="[0.5        0.84134475]")
def ndtr(x: Array, /) -> Array:
    """Return the cumulative distribution of the standard normal at each element."""
    return _unary("ndtr", _ndtr, x)


@documented(REAL_FLOATING, "[0.5, 0.75]", gives="[0.         0.67448975]")
def ndtri(x: Array, /) -> Array:
    """Return the quantile function of the standard normal, the inverse of `ndtr`."""
    return _unary("ndtri", torch.special.ndtri, x)


@documented(REAL_FLOATING, "[0.0, -50.0]", gives="[-6.93147181e-01 -1.25483136e+03]")
def log_ndtr(x: Array, /) -> Array:
    """Return the logarithm of `ndtr`, also where that underflows."""
    return _unary("log_ndtr", torch.special.log_ndtr, x)


# ---------------------------------------------------------------------- logistic and entropy


@documented(REAL_FLOATING, "[0.0, 1.0]", gives="[0.5        0.73105858]")
def expit(x: Array, /) -> Array:
    """Return the logistic function ``1 / (1 + exp(-x))`` of each element."""
    return _unary("expit", torch.special.expit, x)


@documented(REAL_FLOATING, "[0.5, 0.75]", gives="[0.         1.09861229]")
def logit(x: Array, /) -> Array:
    """Return ``log(x / (1 - x))``, the inverse of `expit`, for each element."""
    return _unary("logit", _logit, x)


@documented(REAL_FLOATING, "[0.0, 0.5]", gives="[0.         0.34657359]")
def entr(x: Array, /) -> Array:
    """Return the entropy ``-x * log(x)`` of each element: 0 at 0, -inf below."""
    return _unary("entr", torch.special.entr, x)


@documented(REAL_FLOATING, "[0.0, 0.5]", "[0.5, 0.25]", gives="[0.         0.34657359]")
def rel_entr(x: Operand, y: Operand, /) -> Array:
    """Return the relative entropy ``x * log(x / y)``, element by element.

    It is 0 where `x` is 0 and `y` is not negative, and inf where one is negative or only `y` is 0.
    """
    return _of("rel_entr", _rel_entr, x, y)


@documented(REAL_FLOATING, "[0.0, 0.5]", "[0.5, 0.25]", gives="[0.5        0.09657359]")
def kl_div(x: Operand, y: Operand, /) -> Array:
    """Return the Kullback-Leibler divergence ``x * log(x / y) - x + y``, element by element."""
    return _of("kl_div", _kl_div, x, y)


@documented(REAL_FLOATING, "[0.0, 1.0]", "[0.0, 2.0]", gives="[0.         0.69314718]")
def xlogy(x: Operand, y: Operand, /) -> Array:
    """Return ``x * log(y)``, element by element; 0 where `x` is 0."""
    return _of("xlogy", torch.special.xlogy, x, y)


@documented(REAL_FLOATING, "[0.0, 1.0]", "[-1.0, 1.0]", gives="[0.         0.69314718]")
def xlog1py(x: Operand, y: Operand, /) -> Array:
    """Return ``x * log1p(y)``, element by element; 0 where `x` is 0."""
    return _of("xlog1py", torch.special.xlog1py, x, y)


# ---------------------------------------------------------------------- gamma functions


@documented(REAL_FLOATING, "[1.0, 10.0]", gives="[ 0.         12.80182748]")
def gammaln(x: Array, /) -> Array:
    """Return the logarithm of the absolute value of the gamma function of each element."""
    return _unary("gammaln", _gammaln, x)


@documented(REAL_FLOATING, "[1.0, 2.0]", gives="[-0.57721566  0.42278434]")
def digamma(x: Array, /) -> Array:
    """Return the logarithmic derivative of the gamma function of each element."""
    return _unary("digamma", _digamma, x)


@documented(REAL_FLOATING, "[1.0, 2.0]", gives="[-0.57721566  0.42278434]")
def psi(x: Array, /) -> Array:
    """Return what `digamma` returns; SciPy knows it by this name."""
    return _unary("psi", _digamma, x)


_of_order = template(
    """
    x : Array
        Of any shape and layout, with a real dtype.
    n : int or Array
        The order, not negative. Arrays are broadcast with `x`; an element that is not an
        integer gives NaN.
    d : int
        The dimension, at least 1.
    """,
    """
    Returns
    -------
    Array
        Of a real floating-point dtype, with the shape and layout of `x`. Sends nothing; only
        an array `n` is aligned with `x` as in `zeta`.

    Raises
    ------
    TypeError
        If `x` is not an array or complex.
    ValueError
        If `n` is negative, or `d` below 1, or one is not an integer.
    """,
)


@_of_order(">>> print(xp.special.polygamma(1, xp.ones(2, split=0)))", "[1.64493407 1.64493407]")
def polygamma(n: int | Array, x: Array, /) -> Array:
    """Return the derivative of order `n` of `digamma`; NaN below 0, unless `n` is 0."""
    if isinstance(n, (Array, np.ndarray)):
        return _of("polygamma", _polygamma, n, x)
    order = _whole("polygamma", "n", n, 0, "an integer that is not negative")
    if order == 0:
        return _unary("polygamma", _digamma, x)
    if order > 2**53:
        raise OverflowError(f"polygamma: n is {n}; float64 has no such integer")
    factor = (-1.0) ** (order + 1) * (float(math.factorial(order)) if order <= 170 else math.inf)

    def kernel(t: Tensor) -> Tensor:
        series: Tensor = torch.special.zeta(torch.full_like(t, order + 1), t)
        return factor * series

    return _unary("polygamma", kernel, x)


def _whole(func: str, name: str, value: Any, least: int, expected: str) -> int:
    """Return a number that is an integer and at least `least` as an int."""
    number = as_real(func, name, value)
    if not least <= number < math.inf or number != int(number):
        raise ValueError(f"{func}: {name} is {value}; expected {expected}")
    return int(number)


def _polygamma(n: Tensor, t: Tensor) -> Tensor:
    sign = torch.where(n % 2 == 0, -1.0, 1.0)
    values = sign * torch.exp(torch.special.gammaln(n + 1)) * torch.special.zeta(n + 1, t)
    values = torch.where(n == 0, _digamma(t), values)
    return torch.where((n < 0) | (n != torch.floor(n)), math.nan, values).to(t.dtype)


_MOST_TERMS = 10**6


@_of_order(">>> print(xp.special.multigammaln(xp.ones(2, split=0), 1))", "[0. 0.]")
def multigammaln(x: Array, d: int, /) -> Array:
    """Return the logarithm of the multivariate gamma function; NaN where ``x <= (d - 1) / 2``."""
    d = _whole("multigammaln", "d", d, 1, "a positive integer")
    if d > _MOST_TERMS:
        raise ValueError(f"multigammaln: d is {d}; expected at most {_MOST_TERMS}, one term each")

    def kernel(t: Tensor) -> Tensor:
        # Not torch's own, which raises for values that are too small: on one rank alone.
        total = torch.full_like(t, d * (d - 1) / 4 * math.log(math.pi))
        for j in range(d):
            total += torch.special.gammaln(t - j / 2)
        return torch.where(t > (d - 1) / 2, total, math.nan)

    return _unary("multigammaln", kernel, x)


@documented(REAL_FLOATING, "[1.0, 2.0]", "1.0", gives="[0.63212056 0.26424112]")
def gammainc(a: Operand, x: Operand, /) -> Array:
    """Return the regularized lower incomplete gamma function, element by element.

    Computed by SciPy's kernel if SciPy is installed. Otherwise, and where gradients are
    recorded, by torch's, which has nine digits where `a` and `x` are both near and above 20.
    """
    return _incomplete_gamma("gammainc", torch.special.gammainc, a, x)


@documented(REAL_FLOATING, "[1.0, 2.0]", "1.0", gives="[0.36787944 0.73575888]")
def gammaincc(a: Operand, x: Operand, /) -> Array:
    """Return the regularized upper incomplete gamma function: ``1 - gammainc(a, x)``.

    Its precision is that of `gammainc`.
    """
    return _incomplete_gamma("gammaincc", torch.special.gammaincc, a, x)


@documented(REAL_FLOATING, "[2.0, 4.0]", "1.0", gives="[1.64493407 1.08232323]")
def zeta(x: Operand, q: Operand = 1.0, /) -> Array:
    """Return Hurwitz's zeta function, element by element; Riemann's where `q` is 1."""
    return _of("zeta", torch.special.zeta, x, q)


# ---------------------------------------------------------------------- Bessel functions and others


@documented(REAL_FLOATING, "[0.0, 1.0]", gives="[1.         1.26606588]")
def i0(x: Array, /) -> Array:
    """Return the modified Bessel function of the first kind, of order 0."""
    return _unary("i0", torch.special.i0, x)


@documented(REAL_FLOATING, "[0.0, 1.0]", gives="[1.         0.46575961]")
def i0e(x: Array, /) -> Array:
    """Return the scaled modified Bessel function ``exp(-abs(x)) * i0(x)``."""
    return _unary("i0e", torch.special.i0e, x)


@documented(REAL_FLOATING, "[0.0, 1.0]", gives="[0.        0.5651591]")
def i1(x: Array, /) -> Array:
    """Return the modified Bessel function of the first kind, of order 1."""
    return _unary("i1", torch.special.i1, x)


@documented(REAL_FLOATING, "[0.0, 1.0]", gives="[0.         0.20791042]")
def i1e(x: Array, /) -> Array:
    """Return the scaled modified Bessel function ``exp(-abs(x)) * i1(x)``."""
    return _unary("i1e", torch.special.i1e, x)


@documented(REAL_FLOATING, "[1.0, 2.0]", gives="[0.42102444 0.11389387]")
def k0(x: Array, /) -> Array:
    """Return the modified Bessel function of the second kind, of order 0."""
    return _unary("k0", torch.special.modified_bessel_k0, x)


@documented(REAL_FLOATING, "[1.0, 2.0]", gives="[1.14446308 0.84156822]")
def k0e(x: Array, /) -> Array:
    """Return the scaled modified Bessel function ``exp(x) * k0(x)``."""
    return _unary("k0e", torch.special.scaled_modified_bessel_k0, x)


@documented(REAL_FLOATING, "[1.0, 2.0]", gives="[0.60190723 0.13986588]")
def k1(x: Array, /) -> Array:
    """Return the modified Bessel function of the second kind, of order 1."""
    return _unary("k1", torch.special.modified_bessel_k1, x)


@documented(REAL_FLOATING, "[1.0, 2.0]", gives="[1.63615349 1.03347685]")
def k1e(x: Array, /) -> Array:
    """Return the scaled modified Bessel function ``exp(x) * k1(x)``."""
    return _unary("k1e", torch.special.scaled_modified_bessel_k1, x)


@documented(REAL_FLOATING, "[0.0, 0.5]", gives="[1.         0.63661977]")
def sinc(x: Array, /) -> Array:
    """Return ``sin(pi * x) / (pi * x)`` for each element; 1 at 0."""
    return _unary("sinc", torch.special.sinc, x)


@documented(REAL_FLOATING, "[0.0, 0.5]", gives="[1.         1.41421356]")
def exp2(x: Array, /) -> Array:
    """Return ``2**x`` for each element."""
    return _unary("exp2", torch.special.exp2, x)


# ---------------------------------------------------------------------- along axes

_AXES: Final = """
    x : Array
        Of any shape and layout, with a real dtype.
    axis : int or tuple of int, optional
        The axes to sum over; all of them by default.
    keepdims : bool
        Whether the reduced axes are kept, with length 1.
    """

_ERRORS: Final = """
    Raises
    ------
    TypeError
        If `x` is not an array or complex.
    IndexError
        If an axis is out of range.
    """

_summed = template(
    _AXES,
    """
    Returns
    -------
    Array
        Of a real floating-point dtype, with the layout that `sum` gives; -inf for no elements.
        Sends nothing if the split axis is kept. Otherwise two allreduces of the result or, where
        that is bigger than one rank's share of `x`, one all-to-all of `x`.
    """
    + _ERRORS,
)

_normalized = template(
    _AXES,
    """
    Returns
    -------
    Array
        Of a real floating-point dtype, with the shape and layout of `x`. Sends nothing if the
        split axis is not summed over; otherwise two allreduces of one number per row.
    """
    + _ERRORS,
)


@_summed(">>> print(xp.special.logsumexp(xp.full(2, 1000.0, split=0)))", "1000.6931471805599")
def logsumexp(
    x: Array, /, axis: int | Sequence[int] | None = None, *, keepdims: bool = False
) -> Array:
    """Return the logarithm of the sum of exponentials over axes, without overflow."""
    x = as_floating("logsumexp", x, kind=REAL_FLOATING)
    axes = normalize_axes("logsumexp", axis, x.ndim)
    keepdims = as_flag("logsumexp", "keepdims", keepdims)
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


@_normalized(">>> print(xp.special.softmax(xp.arange(2, split=0)))", "[0.26894142 0.73105858]")
def softmax(x: Array, /, axis: int | Sequence[int] | None = None) -> Array:
    """Return the exponentials divided by their sum over axes."""
    x = as_floating("softmax", x, kind=REAL_FLOATING)
    axes = normalize_axes("softmax", axis, x.ndim)
    shifted = exp(subtract(x, _finite_peak(x, axes)))
    return divide(shifted, array_sum(shifted, axis=axes, keepdims=True))


@_normalized(">>> print(xp.special.log_softmax(xp.zeros(2, split=0)))", "[-0.69314718 -0.69314718]")
def log_softmax(x: Array, /, axis: int | Sequence[int] | None = None) -> Array:
    """Return the logarithm of `softmax`, without its loss of digits."""
    x = as_floating("log_softmax", x, kind=REAL_FLOATING)
    axes = normalize_axes("log_softmax", axis, x.ndim)
    shifted = subtract(x, _finite_peak(x, axes))
    return subtract(shifted, log(array_sum(exp(shifted), axis=axes, keepdims=True)))


def __dir__() -> list[str]:
    return sorted(__all__)
