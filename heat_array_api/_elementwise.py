"""Functions of each element: the standard's chapter "Element-wise Functions".

Arithmetic, elementary functions, then comparison and logic. `documented` completes each
docstring: parameters, result, messages, errors and example.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from ._core import kernels
from ._core.array import Array, check_array
from ._core.docstrings import documented
from ._core.dtypes import (
    ANY,
    COMPLEX,
    FLOATING,
    INTEGER,
    INTEGER_OR_BOOL,
    NUMERIC,
    ORDERED,
    REAL,
    REAL_FLOATING,
)
from ._core.lift import Operand, binary, elementwise, unary

__all__ = [
    "abs", "acos", "acosh", "add", "asin", "asinh", "atan", "atan2", "atanh", "bitwise_and",
    "bitwise_invert", "bitwise_left_shift", "bitwise_or", "bitwise_right_shift", "bitwise_xor",
    "ceil", "clip", "conj", "copysign", "cos", "cosh", "divide", "equal", "exp", "expm1", "floor",
    "floor_divide", "greater", "greater_equal", "hypot", "imag", "isfinite", "isinf", "isnan",
    "less", "less_equal", "log", "log1p", "log2", "log10", "logaddexp", "logical_and",
    "logical_not", "logical_or", "logical_xor", "maximum", "minimum", "multiply", "negative",
    "nextafter", "not_equal", "positive", "pow", "real", "reciprocal", "remainder", "round", "sign",
    "signbit", "sin", "sinh", "sqrt", "square", "subtract", "tan", "tanh", "trunc",
]  # fmt: skip


# ---------------------------------------------------------------------- arithmetic


@documented(NUMERIC, "[1, 2, 3]", "[10, 20, 30]", gives="[11 22 33]")
def add(x1: Operand, x2: Operand, /) -> Array:
    """Add, element by element: ``x1 + x2``."""
    return binary("add", kernels.add, x1, x2, NUMERIC, takes_scalar=True)


@documented(NUMERIC, "[1, 2, 3]", "[10, 20, 30]", gives="[ -9 -18 -27]")
def subtract(x1: Operand, x2: Operand, /) -> Array:
    """Subtract, element by element: ``x1 - x2``."""
    return binary("subtract", kernels.subtract, x1, x2, NUMERIC, takes_scalar=True)


@documented(NUMERIC, "[1, 2, 3]", "[10, 20, 30]", gives="[10 40 90]")
def multiply(x1: Operand, x2: Operand, /) -> Array:
    """Multiply, element by element: ``x1 * x2``."""
    return binary("multiply", torch.mul, x1, x2, NUMERIC, takes_scalar=True)


@documented(FLOATING, "[1.0, 2.0, 3.0]", "2", gives="[0.5 1.  1.5]")
def divide(x1: Operand, x2: Operand, /) -> Array:
    """Divide, element by element: ``x1 / x2``."""
    return binary("divide", torch.true_divide, x1, x2, FLOATING, takes_scalar=True)


@documented(REAL, "[7, -7, 7]", "2", gives="[ 3 -4  3]")
def floor_divide(x1: Operand, x2: Operand, /) -> Array:
    """Divide and round towards minus infinity, element by element: ``x1 // x2``.

    An integer divided by 0 gives 0, as in NumPy.
    """
    return binary("floor_divide", kernels.floor_divide, x1, x2, REAL)


@documented(REAL, "[7, -7, 7]", "3", gives="[1 2 1]")
def remainder(x1: Operand, x2: Operand, /) -> Array:
    """Return what `floor_divide` leaves, element by element: ``x1 % x2``.

    It has the sign of `x2`. An integer modulo 0 gives 0, as in NumPy.
    """
    return binary("remainder", kernels.remainder, x1, x2, REAL)


@documented(NUMERIC, "[1.0, 2.0, 3.0]", "2", gives="[1. 4. 9.]")
def pow(x1: Operand, x2: Operand, /) -> Array:
    """Raise to a power, element by element: ``x1 ** x2``.

    Integers have no negative powers: a negative Python integer raises ValueError beside an integer
    array, and the negative elements of an integer array `x2` give 0 (but for the bases 1 and -1).
    """
    if isinstance(x2, (int, np.integer)) and x2 < 0:
        _check_base(x1, x2)
    return binary("pow", kernels.pow, x1, x2, NUMERIC, takes_scalar=True)


def _check_base(x1: Operand, x2: int) -> None:
    if isinstance(x1, Array) and x1._local.dtype in INTEGER_OR_BOOL.all:
        raise ValueError(
            f"pow: x1 has dtype {x1.dtype} and x2 is {x2}; integers have no negative powers, so "
            f"convert x1 to a floating-point dtype, or write {float(x2)}"
        )


@documented(FLOATING, "[1.0, 2.0, 4.0]", gives="[1.   0.5  0.25]")
def reciprocal(x: Array, /) -> Array:
    """Return ``1 / x`` for each element."""
    return unary("reciprocal", torch.reciprocal, x, FLOATING)


@documented(NUMERIC, "[1, 2, 3]", gives="[1 4 9]")
def square(x: Array, /) -> Array:
    """Return ``x * x`` for each element."""
    return unary("square", torch.square, x, NUMERIC)


@documented(NUMERIC, "[1, -2, 3]", gives="[ 1 -2  3]")
def positive(x: Array, /) -> Array:
    """Return the elements as they are: ``+x``."""
    return unary("positive", kernels.positive, x, NUMERIC)


@documented(NUMERIC, "[1, -2, 3]", gives="[-1  2 -3]")
def negative(x: Array, /) -> Array:
    """Return the negative of each element: ``-x``."""
    return unary("negative", torch.neg, x, NUMERIC)


@documented(NUMERIC, "[1, -2, 3]", gives="[1 2 3]", dtype="component")
def abs(x: Array, /) -> Array:
    """Return the absolute value of each element; of a complex number, its magnitude."""
    return unary("abs", torch.abs, x, NUMERIC)


@documented(NUMERIC, "[2.5, 0.0, -2.5]", gives="[ 1.  0. -1.]")
def sign(x: Array, /) -> Array:
    """Return the sign of each element: -1, 0 or 1; of a complex number, ``x / abs(x)``."""
    return unary("sign", kernels.sign, x, NUMERIC)


@documented(REAL_FLOATING, "[2.5, 0.0, -0.0]", gives="[False False  True]", dtype="bool")
def signbit(x: Array, /) -> Array:
    """Tell whether the sign bit of each element is set, as it is for -0.0."""
    return unary("signbit", torch.signbit, x, REAL_FLOATING)


@documented(REAL_FLOATING, "[1.0, 2.0, 3.0]", "[-1.0, 1.0, -0.0]", gives="[-1.  2. -3.]")
def copysign(x1: Operand, x2: Operand, /) -> Array:
    """Return the magnitude of `x1` with the sign of `x2`, element by element."""
    return binary("copysign", torch.copysign, x1, x2, REAL_FLOATING, takes_scalar=True)


@documented(REAL_FLOATING, "[0.0, 1.0]", "1.0", gives="[5.e-324 1.e+000]")
def nextafter(x1: Operand, x2: Operand, /) -> Array:
    """Return the next floating-point number after `x1` towards `x2`, element by element."""
    return binary("nextafter", kernels.nextafter, x1, x2, REAL_FLOATING)


@documented(REAL, "[-1.5, 0.2, 2.0]", gives="[-1.  1.  2.]")
def ceil(x: Array, /) -> Array:
    """Return the least integer that is not below each element."""
    return unary("ceil", kernels.ceil, x, REAL)


@documented(REAL, "[-1.5, 0.2, 2.0]", gives="[-2.  0.  2.]")
def floor(x: Array, /) -> Array:
    """Return the greatest integer that is not above each element."""
    return unary("floor", kernels.floor, x, REAL)


@documented(NUMERIC, "[0.5, 1.5, 2.4]", gives="[0. 2. 2.]")
def round(x: Array, /) -> Array:
    """Return the integer nearest to each element; ties go to the even one.

    Complex numbers are rounded part by part.
    """
    return unary("round", kernels.round, x, NUMERIC)


@documented(REAL, "[-1.5, 0.2, 2.0]", gives="[-1.  0.  2.]")
def trunc(x: Array, /) -> Array:
    """Drop the fraction of each element: the nearest integer towards zero."""
    return unary("trunc", kernels.trunc, x, REAL)


@documented(NUMERIC, "[1 + 2j, 3 - 4j]", gives="[1.-2.j 3.+4.j]")
def conj(x: Array, /) -> Array:
    """Return the complex conjugate of each element; real numbers stay as they are."""
    return unary("conj", kernels.conj, x, NUMERIC)


@documented(NUMERIC, "[1 + 2j, 3 - 4j]", gives="[1. 3.]", dtype="component")
def real(x: Array, /) -> Array:
    """Return the real part of each element; real numbers stay as they are."""
    if check_array("real", "x", x, NUMERIC)._local.dtype in COMPLEX.all:
        return unary("real", kernels.real, x, COMPLEX)
    return positive(x)


@documented(COMPLEX, "[1 + 2j, 3 - 4j]", gives="[ 2. -4.]", dtype="component")
def imag(x: Array, /) -> Array:
    """Return the imaginary part of each element."""
    return unary("imag", kernels.imag, x, COMPLEX)


# ---------------------------------------------------------------------- elementary functions


@documented(FLOATING, "[0.0, 1.0]", gives="[1.         2.71828183]")
def exp(x: Array, /) -> Array:
    """Return the exponential of each element."""
    return unary("exp", torch.exp, x, FLOATING)


@documented(FLOATING, "[0.0, 1e-10]", gives="[0.e+00 1.e-10]")
def expm1(x: Array, /) -> Array:
    """Return ``exp(x) - 1`` for each element, accurate near 0."""
    return unary("expm1", kernels.expm1, x, FLOATING)


@documented(FLOATING, "[1.0, 10.0]", gives="[0.         2.30258509]")
def log(x: Array, /) -> Array:
    """Return the natural logarithm of each element; NaN for negative numbers."""
    return unary("log", torch.log, x, FLOATING)


@documented(FLOATING, "[0.0, 1e-10]", gives="[0.e+00 1.e-10]")
def log1p(x: Array, /) -> Array:
    """Return ``log(1 + x)`` for each element, accurate near 0."""
    return unary("log1p", kernels.log1p, x, FLOATING)


@documented(FLOATING, "[1.0, 8.0]", gives="[0. 3.]")
def log2(x: Array, /) -> Array:
    """Return the logarithm to base 2 of each element."""
    return unary("log2", torch.log2, x, FLOATING)


@documented(FLOATING, "[1.0, 1000.0]", gives="[0. 3.]")
def log10(x: Array, /) -> Array:
    """Return the logarithm to base 10 of each element."""
    return unary("log10", torch.log10, x, FLOATING)


@documented(REAL_FLOATING, "[1000.0, 1001.0]", "1000.0", gives="[1000.69314718 1001.31326169]")
def logaddexp(x1: Operand, x2: Operand, /) -> Array:
    """Return ``log(exp(x1) + exp(x2))`` without overflow, element by element."""
    return binary("logaddexp", torch.logaddexp, x1, x2, REAL_FLOATING)


@documented(FLOATING, "[4.0, 9.0]", gives="[2. 3.]")
def sqrt(x: Array, /) -> Array:
    """Return the principal square root of each element; NaN for negative real numbers."""
    return unary("sqrt", torch.sqrt, x, FLOATING)


@documented(REAL_FLOATING, "[3.0, 5.0]", "[4.0, 12.0]", gives="[ 5. 13.]")
def hypot(x1: Operand, x2: Operand, /) -> Array:
    """Return ``sqrt(x1**2 + x2**2)`` without overflow, element by element."""
    return binary("hypot", torch.hypot, x1, x2, REAL_FLOATING)


@documented(FLOATING, "[0.0, 1.0]", gives="[0.         0.84147098]")
def sin(x: Array, /) -> Array:
    """Return the sine of each element, an angle in radians."""
    return unary("sin", torch.sin, x, FLOATING)


@documented(FLOATING, "[0.0, 1.0]", gives="[1.         0.54030231]")
def cos(x: Array, /) -> Array:
    """Return the cosine of each element, an angle in radians."""
    return unary("cos", torch.cos, x, FLOATING)


@documented(FLOATING, "[0.0, 1.0]", gives="[0.         1.55740772]")
def tan(x: Array, /) -> Array:
    """Return the tangent of each element, an angle in radians."""
    return unary("tan", torch.tan, x, FLOATING)


@documented(FLOATING, "[0.0, 1.0]", gives="[0.         1.57079633]")
def asin(x: Array, /) -> Array:
    """Return the inverse sine of each element, in radians."""
    return unary("asin", torch.asin, x, FLOATING)


@documented(FLOATING, "[0.0, 1.0]", gives="[1.57079633 0.        ]")
def acos(x: Array, /) -> Array:
    """Return the inverse cosine of each element, in radians."""
    return unary("acos", kernels.acos, x, FLOATING)


@documented(FLOATING, "[0.0, 1.0]", gives="[0.         0.78539816]")
def atan(x: Array, /) -> Array:
    """Return the inverse tangent of each element, in radians."""
    return unary("atan", torch.atan, x, FLOATING)


@documented(REAL_FLOATING, "[1.0, -1.0]", "[0.0, -1.0]", gives="[ 1.57079633 -2.35619449]")
def atan2(x1: Operand, x2: Operand, /) -> Array:
    """Return the angle of the point (`x2`, `x1`) in radians, from -pi to pi."""
    return binary("atan2", torch.atan2, x1, x2, REAL_FLOATING)


@documented(FLOATING, "[0.0, 1.0]", gives="[0.         1.17520119]")
def sinh(x: Array, /) -> Array:
    """Return the hyperbolic sine of each element."""
    return unary("sinh", torch.sinh, x, FLOATING)


@documented(FLOATING, "[0.0, 1.0]", gives="[1.         1.54308063]")
def cosh(x: Array, /) -> Array:
    """Return the hyperbolic cosine of each element."""
    return unary("cosh", torch.cosh, x, FLOATING)


@documented(FLOATING, "[0.0, 1.0]", gives="[0.         0.76159416]")
def tanh(x: Array, /) -> Array:
    """Return the hyperbolic tangent of each element."""
    return unary("tanh", kernels.tanh, x, FLOATING)


@documented(FLOATING, "[0.0, 1.0]", gives="[0.         0.88137359]")
def asinh(x: Array, /) -> Array:
    """Return the inverse hyperbolic sine of each element."""
    return unary("asinh", torch.asinh, x, FLOATING)


@documented(FLOATING, "[1.0, 2.0]", gives="[0.        1.3169579]")
def acosh(x: Array, /) -> Array:
    """Return the inverse hyperbolic cosine of each element."""
    return unary("acosh", torch.acosh, x, FLOATING)


@documented(FLOATING, "[0.0, 0.5]", gives="[0.         0.54930614]")
def atanh(x: Array, /) -> Array:
    """Return the inverse hyperbolic tangent of each element."""
    return unary("atanh", torch.atanh, x, FLOATING)


# ---------------------------------------------------------------------- comparison and logic


@documented(ANY, "[1, 2, 3]", "[3, 2, 1]", gives="[False  True False]", dtype="bool")
def equal(x1: Operand, x2: Operand, /) -> Array:
    """Compare, element by element: ``x1 == x2``."""
    return binary("equal", torch.eq, x1, x2, ANY, takes_scalar=True, compares=True)


@documented(ANY, "[1, 2, 3]", "[3, 2, 1]", gives="[ True False  True]", dtype="bool")
def not_equal(x1: Operand, x2: Operand, /) -> Array:
    """Compare, element by element: ``x1 != x2``."""
    return binary("not_equal", torch.ne, x1, x2, ANY, takes_scalar=True, compares=True)


@documented(ORDERED, "[1, 2, 3]", "[3, 2, 1]", gives="[ True False False]", dtype="bool")
def less(x1: Operand, x2: Operand, /) -> Array:
    """Compare, element by element: ``x1 < x2``."""
    return binary("less", torch.lt, x1, x2, ORDERED, takes_scalar=True, compares=True)


@documented(ORDERED, "[1, 2, 3]", "[3, 2, 1]", gives="[ True  True False]", dtype="bool")
def less_equal(x1: Operand, x2: Operand, /) -> Array:
    """Compare, element by element: ``x1 <= x2``."""
    return binary("less_equal", torch.le, x1, x2, ORDERED, takes_scalar=True, compares=True)


@documented(ORDERED, "[1, 2, 3]", "[3, 2, 1]", gives="[False False  True]", dtype="bool")
def greater(x1: Operand, x2: Operand, /) -> Array:
    """Compare, element by element: ``x1 > x2``."""
    return binary("greater", torch.gt, x1, x2, ORDERED, takes_scalar=True, compares=True)


@documented(ORDERED, "[1, 2, 3]", "[3, 2, 1]", gives="[False  True  True]", dtype="bool")
def greater_equal(x1: Operand, x2: Operand, /) -> Array:
    """Compare, element by element: ``x1 >= x2``."""
    return binary("greater_equal", torch.ge, x1, x2, ORDERED, takes_scalar=True, compares=True)


@documented(ORDERED, "[1, 2, 3]", "[3, 2, 1]", gives="[3 2 3]")
def maximum(x1: Operand, x2: Operand, /) -> Array:
    """Return the greater of `x1` and `x2`, element by element; NaN if either is NaN."""
    return binary("maximum", torch.maximum, x1, x2, ORDERED)


@documented(ORDERED, "[1, 2, 3]", "[3, 2, 1]", gives="[1 2 1]")
def minimum(x1: Operand, x2: Operand, /) -> Array:
    """Return the lesser of `x1` and `x2`, element by element; NaN if either is NaN."""
    return binary("minimum", torch.minimum, x1, x2, ORDERED)


def clip(x: Array, /, min: Operand | None = None, max: Operand | None = None) -> Array:
    """Limit each element to the interval [`min`, `max`].

    Where ``min > max`` the result is `max`; a NaN bound gives NaN (the standard's `clip`).

    Parameters
    ----------
    x : Array
        Of any shape and layout, and of a real numeric dtype.
    min, max : Array or Python scalar, optional
        Bounds that are broadcast together with `x`; by default there is none.

    Returns
    -------
    Array
        Of the dtype of `x`. Shape, layout and messages are those of `minimum` and `maximum`.

    Raises
    ------
    TypeError
        If `x` is not an array of a real numeric dtype, or a bound is not real.
    ValueError
        If the shapes do not broadcast together.
    OverflowError
        If a bound is an integer that does not fit the dtype of `x`.

    Examples
    --------
    >>> x = xp.asarray([1, 5, 9], split=0)
    >>> print(xp.clip(x, 2, 6))
    [2 5 6]
    """
    check_array("clip", "x", x, REAL)
    result = x if min is None else _limit("min", torch.maximum, "maximum", x, min)
    result = result if max is None else _limit("max", torch.minimum, "minimum", result, max)
    return Array(x._local.view_as(x._local), x._layout) if result is x else result


def _limit(name: str, kernel: Any, numpy_name: str, x: Array, bound: Operand) -> Array:
    """Apply the bound `name` of `clip`; it takes the dtype of `x`, as the standard has it."""
    dtype = x._local.dtype
    if isinstance(bound, float) and math.isinf(bound) and dtype in INTEGER.all:
        return x  # no integer is beyond it
    result = elementwise("clip", kernel, (x, bound), REAL, ("x", name), numpy_name=numpy_name)
    if isinstance(bound, Array) and result._local.dtype is not dtype:
        return Array(result._local.to(dtype), result._layout)
    return result


@documented(NUMERIC, "[1.0, float('inf'), float('nan')]", gives="[ True False False]", dtype="bool")
def isfinite(x: Array, /) -> Array:
    """Tell whether each element is neither infinite nor NaN."""
    return unary("isfinite", torch.isfinite, x, NUMERIC)


@documented(NUMERIC, "[1.0, float('inf'), float('nan')]", gives="[False  True False]", dtype="bool")
def isinf(x: Array, /) -> Array:
    """Tell whether each element is infinite."""
    return unary("isinf", torch.isinf, x, NUMERIC)


@documented(NUMERIC, "[1.0, float('inf'), float('nan')]", gives="[False False  True]", dtype="bool")
def isnan(x: Array, /) -> Array:
    """Tell whether each element is NaN."""
    return unary("isnan", torch.isnan, x, NUMERIC)


@documented(ANY, "[1, 1, 0]", "[1, 0, 0]", gives="[ True False False]", dtype="bool")
def logical_and(x1: Operand, x2: Operand, /) -> Array:
    """Tell whether both elements are true, that is not 0."""
    return binary("logical_and", torch.logical_and, x1, x2, ANY)


@documented(ANY, "[1, 1, 0]", "[1, 0, 0]", gives="[ True  True False]", dtype="bool")
def logical_or(x1: Operand, x2: Operand, /) -> Array:
    """Tell whether either element is true, that is not 0."""
    return binary("logical_or", torch.logical_or, x1, x2, ANY)


@documented(ANY, "[1, 1, 0]", "[1, 0, 0]", gives="[False  True False]", dtype="bool")
def logical_xor(x1: Operand, x2: Operand, /) -> Array:
    """Tell whether exactly one of the two elements is true, that is not 0."""
    return binary("logical_xor", torch.logical_xor, x1, x2, ANY)


@documented(ANY, "[True, False]", gives="[False  True]", dtype="bool")
def logical_not(x: Array, /) -> Array:
    """Tell whether each element is false, that is 0."""
    return unary("logical_not", torch.logical_not, x, ANY)


@documented(INTEGER_OR_BOOL, "[1, 2, 3]", "2", gives="[0 2 2]")
def bitwise_and(x1: Operand, x2: Operand, /) -> Array:
    """Combine bit by bit: ``x1 & x2``, element by element."""
    return binary("bitwise_and", torch.bitwise_and, x1, x2, INTEGER_OR_BOOL)


@documented(INTEGER_OR_BOOL, "[1, 2, 3]", "2", gives="[3 2 3]")
def bitwise_or(x1: Operand, x2: Operand, /) -> Array:
    """Combine bit by bit: ``x1 | x2``, element by element."""
    return binary("bitwise_or", torch.bitwise_or, x1, x2, INTEGER_OR_BOOL)


@documented(INTEGER_OR_BOOL, "[1, 2, 3]", "2", gives="[3 0 1]")
def bitwise_xor(x1: Operand, x2: Operand, /) -> Array:
    """Combine bit by bit: ``x1 ^ x2``, element by element."""
    return binary("bitwise_xor", torch.bitwise_xor, x1, x2, INTEGER_OR_BOOL)


@documented(INTEGER_OR_BOOL, "[0, 1, 2]", gives="[-1 -2 -3]")
def bitwise_invert(x: Array, /) -> Array:
    """Invert every bit of each element: ``~x``."""
    return unary("bitwise_invert", torch.bitwise_not, x, INTEGER_OR_BOOL)


@documented(INTEGER, "[1, 2, 3]", "2", gives="[ 4  8 12]")
def bitwise_left_shift(x1: Operand, x2: Operand, /) -> Array:
    """Shift the bits of `x1` to the left by `x2`, element by element: ``x1 << x2``.

    Zeros come in from the right: all bits are 0 if `x2` is not less than their number.
    """
    return binary("bitwise_left_shift", kernels.left_shift, x1, x2, INTEGER)


@documented(INTEGER, "[1, -8, 64]", "2", gives="[ 0 -2 16]")
def bitwise_right_shift(x1: Operand, x2: Operand, /) -> Array:
    """Shift the bits of `x1` to the right by `x2`, element by element: ``x1 >> x2``.

    Copies of the sign bit come in from the left.
    """
    return binary("bitwise_right_shift", kernels.right_shift, x1, x2, INTEGER)
