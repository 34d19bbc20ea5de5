"""Arithmetic, rounding and parts of numbers, element by element.

The standard's chapter "Element-wise Functions".

All of them keep the layout of their operands: an operation on arrays of one layout, or of
a split array with a replicated one or a scalar, sends nothing; operands of different
layouts meet in the layout of the one with more bytes, by one all-to-all of the other
(`_op.align`). Dtypes promote by the standard's table.
"""

from __future__ import annotations

import torch

from . import _elementwise_kernels as kernels
from ._array import Array
from ._dtypes import COMPLEX, FLOATING, NUMERIC, REAL, REAL_FLOATING
from ._op import Scalar, binary, check_array, unary

__all__ = [
    "abs",
    "add",
    "ceil",
    "conj",
    "copysign",
    "divide",
    "floor",
    "floor_divide",
    "imag",
    "multiply",
    "negative",
    "nextafter",
    "positive",
    "pow",
    "real",
    "reciprocal",
    "remainder",
    "round",
    "sign",
    "signbit",
    "square",
    "subtract",
    "trunc",
]

Operand = Array | Scalar


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
