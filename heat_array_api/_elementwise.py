"""Arithmetic, rounding and parts of numbers, element by element.

The standard's chapter "Element-wise Functions".

All of them keep the layout of their operands: an operation on arrays of one layout, or of
a split array with a replicated one or a scalar, sends nothing; operands of different
layouts meet in the layout of the one with more bytes, by one all-to-all of the other
(`_op.align`). Dtypes promote by the standard's table.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from ._core import kernels
from ._core.array import Array
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
from ._core.lift import Operand, binary, check_array, elementwise, unary

__all__ = [
    "abs",
    "acos",
    "acosh",
    "add",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "bitwise_and",
    "bitwise_invert",
    "bitwise_left_shift",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "ceil",
    "clip",
    "conj",
    "copysign",
    "cos",
    "cosh",
    "divide",
    "equal",
    "exp",
    "expm1",
    "floor",
    "floor_divide",
    "greater",
    "greater_equal",
    "hypot",
    "imag",
    "isfinite",
    "isinf",
    "isnan",
    "less",
    "less_equal",
    "log",
    "log1p",
    "log2",
    "log10",
    "logaddexp",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "maximum",
    "minimum",
    "multiply",
    "negative",
    "nextafter",
    "not_equal",
    "positive",
    "pow",
    "real",
    "reciprocal",
    "remainder",
    "round",
    "sign",
    "signbit",
    "sin",
    "sinh",
    "sqrt",
    "square",
    "subtract",
    "tan",
    "tanh",
    "trunc",
]


def abs(x: Array, /) -> Array:
    """Absolute value, element by element.

    Parameters
    ----------
    x : Array
        Any layout; dtype numeric.

    Returns
    -------
    Array
        Shape and layout of `x`. Sends nothing.
    """
    return unary("abs", torch.abs, x, NUMERIC)


def add(x1: Operand, x2: Operand, /) -> Array:
    """``x1 + x2``, element by element.

    Parameters
    ----------
    x1, x2 : Array or Python scalar
        Broadcast together; at least one Array; dtypes numeric.

    Returns
    -------
    Array
        Of the promoted dtype; split as the operand with more bytes. Sends nothing unless the
        operands' layouts differ (module notes).
    """
    return binary("add", kernels.add, x1, x2, NUMERIC, takes_scalar=True)


def ceil(x: Array, /) -> Array:
    """Least integer not below each element, element by element.

    Parameters
    ----------
    x : Array
        Any layout; dtype real numeric.

    Returns
    -------
    Array
        Shape and layout of `x`. Sends nothing.
    """
    return unary("ceil", kernels.ceil, x, REAL)


def conj(x: Array, /) -> Array:
    """Complex conjugate, element by element.

    Parameters
    ----------
    x : Array
        Any layout; dtype numeric.

    Returns
    -------
    Array
        Shape and layout of `x`. Sends nothing.
    """
    return unary("conj", kernels.conj, x, NUMERIC)


def copysign(x1: Operand, x2: Operand, /) -> Array:
    """Magnitude of x1 with the sign of x2, element by element.

    Parameters
    ----------
    x1, x2 : Array or Python scalar
        Broadcast together; at least one Array; dtypes real floating-point (integers become
        the default real dtype).

    Returns
    -------
    Array
        Of the promoted dtype; split as the operand with more bytes. Sends nothing unless the
        operands' layouts differ (module notes).
    """
    return binary("copysign", torch.copysign, x1, x2, REAL_FLOATING, takes_scalar=True)


def divide(x1: Operand, x2: Operand, /) -> Array:
    """``x1 / x2``, element by element.

    Parameters
    ----------
    x1, x2 : Array or Python scalar
        Broadcast together; at least one Array; dtypes floating-point (integers become the
        default real dtype).

    Returns
    -------
    Array
        Of the promoted dtype; split as the operand with more bytes. Sends nothing unless the
        operands' layouts differ (module notes).
    """
    return binary("divide", torch.true_divide, x1, x2, FLOATING, takes_scalar=True)


def floor(x: Array, /) -> Array:
    """Greatest integer not above each element, element by element.

    Parameters
    ----------
    x : Array
        Any layout; dtype real numeric.

    Returns
    -------
    Array
        Shape and layout of `x`. Sends nothing.
    """
    return unary("floor", kernels.floor, x, REAL)


def floor_divide(x1: Operand, x2: Operand, /) -> Array:
    """``x1 // x2``, rounded towards minus infinity, element by element.

    Parameters
    ----------
    x1, x2 : Array or Python scalar
        Broadcast together; at least one Array; dtypes real numeric.

    Returns
    -------
    Array
        Of the promoted dtype; split as the operand with more bytes. Sends nothing unless the
        operands' layouts differ (module notes).
    """
    return binary("floor_divide", kernels.floor_divide, x1, x2, REAL)


def imag(x: Array, /) -> Array:
    """Imaginary part, element by element.

    Parameters
    ----------
    x : Array
        Any layout; dtype complex.

    Returns
    -------
    Array
        Shape and layout of `x`. Sends nothing.
    """
    return unary("imag", kernels.imag, x, COMPLEX)


def multiply(x1: Operand, x2: Operand, /) -> Array:
    """``x1 * x2``, element by element.

    Parameters
    ----------
    x1, x2 : Array or Python scalar
        Broadcast together; at least one Array; dtypes numeric.

    Returns
    -------
    Array
        Of the promoted dtype; split as the operand with more bytes. Sends nothing unless the
        operands' layouts differ (module notes).
    """
    return binary("multiply", torch.mul, x1, x2, NUMERIC, takes_scalar=True)


def negative(x: Array, /) -> Array:
    """Numerical negation, element by element.

    Parameters
    ----------
    x : Array
        Any layout; dtype numeric.

    Returns
    -------
    Array
        Shape and layout of `x`. Sends nothing.
    """
    return unary("negative", torch.neg, x, NUMERIC)


def nextafter(x1: Operand, x2: Operand, /) -> Array:
    """The next number after x1 towards x2, element by element.

    Parameters
    ----------
    x1, x2 : Array or Python scalar
        Broadcast together; at least one Array; dtypes real floating-point (integers become
        the default real dtype).

    Returns
    -------
    Array
        Of the promoted dtype; split as the operand with more bytes. Sends nothing unless the
        operands' layouts differ (module notes).
    """
    return binary("nextafter", kernels.nextafter, x1, x2, REAL_FLOATING)


def positive(x: Array, /) -> Array:
    """The elements as they are, element by element.

    Parameters
    ----------
    x : Array
        Any layout; dtype numeric.

    Returns
    -------
    Array
        Shape and layout of `x`. Sends nothing.
    """
    return unary("positive", kernels.positive, x, NUMERIC)


def pow(x1: Operand, x2: Operand, /) -> Array:
    """``x1 ** x2``, element by element.

    Parameters
    ----------
    x1, x2 : Array or Python scalar
        Broadcast together; at least one Array; dtypes numeric.

    Returns
    -------
    Array
        Of the promoted dtype; split as the operand with more bytes. Sends nothing unless the
        operands' layouts differ (module notes).
    """
    return binary("pow", kernels.pow, x1, x2, NUMERIC, takes_scalar=True)


def real(x: Array, /) -> Array:
    """Real part, element by element; real numbers as they are.

    Parameters
    ----------
    x : Array
        Any layout; dtype numeric.

    Returns
    -------
    Array
        Shape and layout of `x`. Sends nothing.
    """
    if check_array("real", "x", x, NUMERIC)._local.dtype in COMPLEX.all:
        return unary("real", kernels.real, x, COMPLEX)
    return positive(x)


def reciprocal(x: Array, /) -> Array:
    """``1 / x``, element by element.

    Parameters
    ----------
    x : Array
        Any layout; dtype floating-point (integers become the default real dtype).

    Returns
    -------
    Array
        Shape and layout of `x`. Sends nothing.
    """
    return unary("reciprocal", torch.reciprocal, x, FLOATING)


def remainder(x1: Operand, x2: Operand, /) -> Array:
    """``x1 % x2``, with the sign of x2, element by element.

    Parameters
    ----------
    x1, x2 : Array or Python scalar
        Broadcast together; at least one Array; dtypes real numeric.

    Returns
    -------
    Array
        Of the promoted dtype; split as the operand with more bytes. Sends nothing unless the
        operands' layouts differ (module notes).
    """
    return binary("remainder", kernels.remainder, x1, x2, REAL)


def round(x: Array, /) -> Array:
    """Nearest integer, ties to even, element by element.

    Parameters
    ----------
    x : Array
        Any layout; dtype numeric.

    Returns
    -------
    Array
        Shape and layout of `x`. Sends nothing.
    """
    return unary("round", kernels.round, x, NUMERIC)


def sign(x: Array, /) -> Array:
    """Sign: -1, 0 or 1; of a complex number ``x / abs(x)``, element by element.

    Parameters
    ----------
    x : Array
        Any layout; dtype numeric.

    Returns
    -------
    Array
        Shape and layout of `x`. Sends nothing.
    """
    return unary("sign", kernels.sign, x, NUMERIC)


def signbit(x: Array, /) -> Array:
    """Whether the sign bit is set, element by element.

    Parameters
    ----------
    x : Array
        Any layout; dtype real floating-point (integers become the default real dtype).

    Returns
    -------
    Array
        Shape and layout of `x`. Sends nothing.
    """
    return unary("signbit", torch.signbit, x, REAL_FLOATING)


def square(x: Array, /) -> Array:
    """``x * x``, element by element.

    Parameters
    ----------
    x : Array
        Any layout; dtype numeric.

    Returns
    -------
    Array
        Shape and layout of `x`. Sends nothing.
    """
    return unary("square", torch.square, x, NUMERIC)


def subtract(x1: Operand, x2: Operand, /) -> Array:
    """``x1 - x2``, element by element.

    Parameters
    ----------
    x1, x2 : Array or Python scalar
        Broadcast together; at least one Array; dtypes numeric.

    Returns
    -------
    Array
        Of the promoted dtype; split as the operand with more bytes. Sends nothing unless the
        operands' layouts differ (module notes).
    """
    return binary("subtract", kernels.subtract, x1, x2, NUMERIC, takes_scalar=True)


def trunc(x: Array, /) -> Array:
    """Nearest integer towards zero, element by element.

    Parameters
    ----------
    x : Array
        Any layout; dtype real numeric.

    Returns
    -------
    Array
        Shape and layout of `x`. Sends nothing.
    """
    return unary("trunc", kernels.trunc, x, REAL)


def acos(x: Array, /) -> Array:
    """Inverse cosine, in radians, element by element.

    Parameters
    ----------
    x : Array
        Any layout; dtype floating-point (integers become the default real dtype).

    Returns
    -------
    Array
        Shape and layout of `x`. Sends nothing.
    """
    return unary("acos", kernels.acos, x, FLOATING)


def acosh(x: Array, /) -> Array:
    """Inverse hyperbolic cosine, element by element.

    Parameters
    ----------
    x : Array
        Any layout; dtype floating-point (integers become the default real dtype).

    Returns
    -------
    Array
        Shape and layout of `x`. Sends nothing.
    """
    return unary("acosh", torch.acosh, x, FLOATING)


def asin(x: Array, /) -> Array:
    """Inverse sine, in radians, element by element.

    Parameters
    ----------
    x : Array
        Any layout; dtype floating-point (integers become the default real dtype).

    Returns
    -------
    Array
        Shape and layout of `x`. Sends nothing.
    """
    return unary("asin", torch.asin, x, FLOATING)


def asinh(x: Array, /) -> Array:
    """Inverse hyperbolic sine, element by element.

    Parameters
    ----------
    x : Array
        Any layout; dtype floating-point (integers become the default real dtype).

    Returns
    -------
    Array
        Shape and layout of `x`. Sends nothing.
    """
    return unary("asinh", torch.asinh, x, FLOATING)


def atan(x: Array, /) -> Array:
    """Inverse tangent, in radians, element by element.

    Parameters
    ----------
    x : Array
        Any layout; dtype floating-point (integers become the default real dtype).

    Returns
    -------
    Array
        Shape and layout of `x`. Sends nothing.
    """
    return unary("atan", torch.atan, x, FLOATING)


def atan2(x1: Operand, x2: Operand, /) -> Array:
    """Angle in radians of the point (x2, x1), element by element.

    Parameters
    ----------
    x1, x2 : Array or Python scalar
        Broadcast together; at least one Array; dtypes real floating-point (integers become
        the default real dtype).

    Returns
    -------
    Array
        Of the promoted dtype; split as the operand with more bytes. Sends nothing unless the
        operands' layouts differ (module notes).
    """
    return binary("atan2", torch.atan2, x1, x2, REAL_FLOATING)


def atanh(x: Array, /) -> Array:
    """Inverse hyperbolic tangent, element by element.

    Parameters
    ----------
    x : Array
        Any layout; dtype floating-point (integers become the default real dtype).

    Returns
    -------
    Array
        Shape and layout of `x`. Sends nothing.
    """
    return unary("atanh", torch.atanh, x, FLOATING)


def cos(x: Array, /) -> Array:
    """Cosine of an angle in radians, element by element.

    Parameters
    ----------
    x : Array
        Any layout; dtype floating-point (integers become the default real dtype).

    Returns
    -------
    Array
        Shape and layout of `x`. Sends nothing.
    """
    return unary("cos", torch.cos, x, FLOATING)


def cosh(x: Array, /) -> Array:
    """Hyperbolic cosine, element by element.

    Parameters
    ----------
    x : Array
        Any layout; dtype floating-point (integers become the default real dtype).

    Returns
    -------
    Array
        Shape and layout of `x`. Sends nothing.
    """
    return unary("cosh", torch.cosh, x, FLOATING)


def exp(x: Array, /) -> Array:
    """Exponential, element by element.

    Parameters
    ----------
    x : Array
        Any layout; dtype floating-point (integers become the default real dtype).

    Returns
    -------
    Array
        Shape and layout of `x`. Sends nothing.
    """
    return unary("exp", torch.exp, x, FLOATING)


def expm1(x: Array, /) -> Array:
    """``exp(x) - 1``, accurate near zero, element by element.

    Parameters
    ----------
    x : Array
        Any layout; dtype floating-point (integers become the default real dtype).

    Returns
    -------
    Array
        Shape and layout of `x`. Sends nothing.
    """
    return unary("expm1", kernels.expm1, x, FLOATING)


def hypot(x1: Operand, x2: Operand, /) -> Array:
    """``sqrt(x1**2 + x2**2)`` without overflow, element by element.

    Parameters
    ----------
    x1, x2 : Array or Python scalar
        Broadcast together; at least one Array; dtypes real floating-point (integers become
        the default real dtype).

    Returns
    -------
    Array
        Of the promoted dtype; split as the operand with more bytes. Sends nothing unless the
        operands' layouts differ (module notes).
    """
    return binary("hypot", torch.hypot, x1, x2, REAL_FLOATING)


def log(x: Array, /) -> Array:
    """Natural logarithm, element by element.

    Parameters
    ----------
    x : Array
        Any layout; dtype floating-point (integers become the default real dtype).

    Returns
    -------
    Array
        Shape and layout of `x`. Sends nothing.
    """
    return unary("log", torch.log, x, FLOATING)


def log10(x: Array, /) -> Array:
    """Logarithm to base 10, element by element.

    Parameters
    ----------
    x : Array
        Any layout; dtype floating-point (integers become the default real dtype).

    Returns
    -------
    Array
        Shape and layout of `x`. Sends nothing.
    """
    return unary("log10", torch.log10, x, FLOATING)


def log1p(x: Array, /) -> Array:
    """``log(1 + x)``, accurate near zero, element by element.

    Parameters
    ----------
    x : Array
        Any layout; dtype floating-point (integers become the default real dtype).

    Returns
    -------
    Array
        Shape and layout of `x`. Sends nothing.
    """
    return unary("log1p", kernels.log1p, x, FLOATING)


def log2(x: Array, /) -> Array:
    """Logarithm to base 2, element by element.

    Parameters
    ----------
    x : Array
        Any layout; dtype floating-point (integers become the default real dtype).

    Returns
    -------
    Array
        Shape and layout of `x`. Sends nothing.
    """
    return unary("log2", torch.log2, x, FLOATING)


def logaddexp(x1: Operand, x2: Operand, /) -> Array:
    """``log(exp(x1) + exp(x2))`` without overflow, element by element.

    Parameters
    ----------
    x1, x2 : Array or Python scalar
        Broadcast together; at least one Array; dtypes real floating-point (integers become
        the default real dtype).

    Returns
    -------
    Array
        Of the promoted dtype; split as the operand with more bytes. Sends nothing unless the
        operands' layouts differ (module notes).
    """
    return binary("logaddexp", torch.logaddexp, x1, x2, REAL_FLOATING)


def sin(x: Array, /) -> Array:
    """Sine of an angle in radians, element by element.

    Parameters
    ----------
    x : Array
        Any layout; dtype floating-point (integers become the default real dtype).

    Returns
    -------
    Array
        Shape and layout of `x`. Sends nothing.
    """
    return unary("sin", torch.sin, x, FLOATING)


def sinh(x: Array, /) -> Array:
    """Hyperbolic sine, element by element.

    Parameters
    ----------
    x : Array
        Any layout; dtype floating-point (integers become the default real dtype).

    Returns
    -------
    Array
        Shape and layout of `x`. Sends nothing.
    """
    return unary("sinh", torch.sinh, x, FLOATING)


def sqrt(x: Array, /) -> Array:
    """Principal square root, element by element.

    Parameters
    ----------
    x : Array
        Any layout; dtype floating-point (integers become the default real dtype).

    Returns
    -------
    Array
        Shape and layout of `x`. Sends nothing.
    """
    return unary("sqrt", torch.sqrt, x, FLOATING)


def tan(x: Array, /) -> Array:
    """Tangent of an angle in radians, element by element.

    Parameters
    ----------
    x : Array
        Any layout; dtype floating-point (integers become the default real dtype).

    Returns
    -------
    Array
        Shape and layout of `x`. Sends nothing.
    """
    return unary("tan", torch.tan, x, FLOATING)


def tanh(x: Array, /) -> Array:
    """Hyperbolic tangent, element by element.

    Parameters
    ----------
    x : Array
        Any layout; dtype floating-point (integers become the default real dtype).

    Returns
    -------
    Array
        Shape and layout of `x`. Sends nothing.
    """
    return unary("tanh", kernels.tanh, x, FLOATING)


def bitwise_and(x1: Operand, x2: Operand, /) -> Array:
    """``x1 & x2``, bit by bit, element by element.

    Parameters
    ----------
    x1, x2 : Array or Python scalar
        Broadcast together; at least one Array; dtypes integer or boolean.

    Returns
    -------
    Array
        Of the promoted dtype; split as the operand with more bytes. Sends nothing unless the
        operands' layouts differ (module notes).
    """
    return binary("bitwise_and", torch.bitwise_and, x1, x2, INTEGER_OR_BOOL)


def bitwise_invert(x: Array, /) -> Array:
    """Every bit inverted, element by element.

    Parameters
    ----------
    x : Array
        Any layout; dtype integer or boolean.

    Returns
    -------
    Array
        Shape and layout of `x`. Sends nothing.
    """
    return unary("bitwise_invert", torch.bitwise_not, x, INTEGER_OR_BOOL)


def bitwise_left_shift(x1: Operand, x2: Operand, /) -> Array:
    """``x1 << x2``, zeros shifted in, element by element.

    Parameters
    ----------
    x1, x2 : Array or Python scalar
        Broadcast together; at least one Array; dtypes integer.

    Returns
    -------
    Array
        Of the promoted dtype; split as the operand with more bytes. Sends nothing unless the
        operands' layouts differ (module notes).
    """
    return binary("bitwise_left_shift", kernels.left_shift, x1, x2, INTEGER)


def bitwise_or(x1: Operand, x2: Operand, /) -> Array:
    """``x1 | x2``, bit by bit, element by element.

    Parameters
    ----------
    x1, x2 : Array or Python scalar
        Broadcast together; at least one Array; dtypes integer or boolean.

    Returns
    -------
    Array
        Of the promoted dtype; split as the operand with more bytes. Sends nothing unless the
        operands' layouts differ (module notes).
    """
    return binary("bitwise_or", torch.bitwise_or, x1, x2, INTEGER_OR_BOOL)


def bitwise_right_shift(x1: Operand, x2: Operand, /) -> Array:
    """``x1 >> x2``, the sign shifted in, element by element.

    Parameters
    ----------
    x1, x2 : Array or Python scalar
        Broadcast together; at least one Array; dtypes integer.

    Returns
    -------
    Array
        Of the promoted dtype; split as the operand with more bytes. Sends nothing unless the
        operands' layouts differ (module notes).
    """
    return binary("bitwise_right_shift", kernels.right_shift, x1, x2, INTEGER)


def bitwise_xor(x1: Operand, x2: Operand, /) -> Array:
    """``x1 ^ x2``, bit by bit, element by element.

    Parameters
    ----------
    x1, x2 : Array or Python scalar
        Broadcast together; at least one Array; dtypes integer or boolean.

    Returns
    -------
    Array
        Of the promoted dtype; split as the operand with more bytes. Sends nothing unless the
        operands' layouts differ (module notes).
    """
    return binary("bitwise_xor", torch.bitwise_xor, x1, x2, INTEGER_OR_BOOL)


def clip(x: Array, /, min: Operand | None = None, max: Operand | None = None) -> Array:
    """Elements limited to the interval [min, max].

    Parameters
    ----------
    x : Array
        Any layout; dtype real numeric.
    min, max : Array or Python scalar, optional
        Bounds that broadcast with `x`. A NaN bound gives NaN; where ``min > max`` the
        result is `max`.

    Returns
    -------
    Array
        Of the dtype of `x`; layout as for `minimum` and `maximum`.
    """
    check_array("clip", "x", x, REAL)
    result = x if min is None else _limit("clip", torch.maximum, "maximum", x, min)
    result = result if max is None else _limit("clip", torch.minimum, "minimum", result, max)
    return Array(x._local.view_as(x._local), x._layout) if result is x else result


def equal(x1: Operand, x2: Operand, /) -> Array:
    """``x1 == x2``, element by element.

    Parameters
    ----------
    x1, x2 : Array or Python scalar
        Broadcast together; at least one Array; dtypes any.

    Returns
    -------
    Array
        Of bool; split as the operand with more bytes. Sends nothing unless the
        operands' layouts differ (module notes).
    """
    return binary("equal", torch.eq, x1, x2, ANY, takes_scalar=True, compares=True)


def greater(x1: Operand, x2: Operand, /) -> Array:
    """``x1 > x2``, element by element.

    Parameters
    ----------
    x1, x2 : Array or Python scalar
        Broadcast together; at least one Array; dtypes real or boolean.

    Returns
    -------
    Array
        Of bool; split as the operand with more bytes. Sends nothing unless the
        operands' layouts differ (module notes).
    """
    return binary("greater", torch.gt, x1, x2, ORDERED, takes_scalar=True, compares=True)


def greater_equal(x1: Operand, x2: Operand, /) -> Array:
    """``x1 >= x2``, element by element.

    Parameters
    ----------
    x1, x2 : Array or Python scalar
        Broadcast together; at least one Array; dtypes real or boolean.

    Returns
    -------
    Array
        Of bool; split as the operand with more bytes. Sends nothing unless the
        operands' layouts differ (module notes).
    """
    return binary("greater_equal", torch.ge, x1, x2, ORDERED, takes_scalar=True, compares=True)


def isfinite(x: Array, /) -> Array:
    """Whether each element is neither infinite nor NaN, element by element.

    Parameters
    ----------
    x : Array
        Any layout; dtype numeric.

    Returns
    -------
    Array
        Shape and layout of `x`. Sends nothing.
    """
    return unary("isfinite", torch.isfinite, x, NUMERIC)


def isinf(x: Array, /) -> Array:
    """Whether each element is infinite, element by element.

    Parameters
    ----------
    x : Array
        Any layout; dtype numeric.

    Returns
    -------
    Array
        Shape and layout of `x`. Sends nothing.
    """
    return unary("isinf", torch.isinf, x, NUMERIC)


def isnan(x: Array, /) -> Array:
    """Whether each element is NaN, element by element.

    Parameters
    ----------
    x : Array
        Any layout; dtype numeric.

    Returns
    -------
    Array
        Shape and layout of `x`. Sends nothing.
    """
    return unary("isnan", torch.isnan, x, NUMERIC)


def less(x1: Operand, x2: Operand, /) -> Array:
    """``x1 < x2``, element by element.

    Parameters
    ----------
    x1, x2 : Array or Python scalar
        Broadcast together; at least one Array; dtypes real or boolean.

    Returns
    -------
    Array
        Of bool; split as the operand with more bytes. Sends nothing unless the
        operands' layouts differ (module notes).
    """
    return binary("less", torch.lt, x1, x2, ORDERED, takes_scalar=True, compares=True)


def less_equal(x1: Operand, x2: Operand, /) -> Array:
    """``x1 <= x2``, element by element.

    Parameters
    ----------
    x1, x2 : Array or Python scalar
        Broadcast together; at least one Array; dtypes real or boolean.

    Returns
    -------
    Array
        Of bool; split as the operand with more bytes. Sends nothing unless the
        operands' layouts differ (module notes).
    """
    return binary("less_equal", torch.le, x1, x2, ORDERED, takes_scalar=True, compares=True)


def logical_and(x1: Operand, x2: Operand, /) -> Array:
    """Logical and, element by element.

    Parameters
    ----------
    x1, x2 : Array or Python scalar
        Broadcast together; at least one Array; dtypes any.

    Returns
    -------
    Array
        Of bool; split as the operand with more bytes. Sends nothing unless the
        operands' layouts differ (module notes).
    """
    return binary("logical_and", torch.logical_and, x1, x2, ANY)


def logical_not(x: Array, /) -> Array:
    """Logical negation, element by element.

    Parameters
    ----------
    x : Array
        Any layout; dtype any.

    Returns
    -------
    Array
        Shape and layout of `x`. Sends nothing.
    """
    return unary("logical_not", torch.logical_not, x, ANY)


def logical_or(x1: Operand, x2: Operand, /) -> Array:
    """Logical or, element by element.

    Parameters
    ----------
    x1, x2 : Array or Python scalar
        Broadcast together; at least one Array; dtypes any.

    Returns
    -------
    Array
        Of bool; split as the operand with more bytes. Sends nothing unless the
        operands' layouts differ (module notes).
    """
    return binary("logical_or", torch.logical_or, x1, x2, ANY)


def logical_xor(x1: Operand, x2: Operand, /) -> Array:
    """Logical exclusive or, element by element.

    Parameters
    ----------
    x1, x2 : Array or Python scalar
        Broadcast together; at least one Array; dtypes any.

    Returns
    -------
    Array
        Of bool; split as the operand with more bytes. Sends nothing unless the
        operands' layouts differ (module notes).
    """
    return binary("logical_xor", torch.logical_xor, x1, x2, ANY)


def maximum(x1: Operand, x2: Operand, /) -> Array:
    """The greater of x1 and x2; NaN if either is, element by element.

    Parameters
    ----------
    x1, x2 : Array or Python scalar
        Broadcast together; at least one Array; dtypes real or boolean.

    Returns
    -------
    Array
        Of the promoted dtype; split as the operand with more bytes. Sends nothing unless the
        operands' layouts differ (module notes).
    """
    return binary("maximum", torch.maximum, x1, x2, ORDERED)


def minimum(x1: Operand, x2: Operand, /) -> Array:
    """The lesser of x1 and x2; NaN if either is, element by element.

    Parameters
    ----------
    x1, x2 : Array or Python scalar
        Broadcast together; at least one Array; dtypes real or boolean.

    Returns
    -------
    Array
        Of the promoted dtype; split as the operand with more bytes. Sends nothing unless the
        operands' layouts differ (module notes).
    """
    return binary("minimum", torch.minimum, x1, x2, ORDERED)


def not_equal(x1: Operand, x2: Operand, /) -> Array:
    """``x1 != x2``, element by element.

    Parameters
    ----------
    x1, x2 : Array or Python scalar
        Broadcast together; at least one Array; dtypes any.

    Returns
    -------
    Array
        Of bool; split as the operand with more bytes. Sends nothing unless the
        operands' layouts differ (module notes).
    """
    return binary("not_equal", torch.ne, x1, x2, ANY, takes_scalar=True, compares=True)


def _limit(func: str, kernel: Any, numpy_name: str, x: Array, bound: Operand) -> Array:
    """Apply one bound of `clip`; the bound takes the dtype of `x`, as the standard has it."""
    dtype = x._local.dtype
    if not isinstance(bound, Array):
        if dtype in INTEGER.all and isinstance(bound, float) and math.isinf(bound):
            return x  # no integer is beyond it
        return elementwise(numpy_name, kernel, (x, bound), REAL)
    result = elementwise(numpy_name, kernel, (x, bound), REAL)
    if result._local.dtype is not dtype:
        return Array(result._local.to(dtype), result._layout)
    return result
