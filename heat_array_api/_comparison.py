"""Comparisons, logic, bits and bounds, element by element.

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

from . import _elementwise_kernels as kernels
from ._array import Array
from ._dtypes import ANY, INTEGER, INTEGER_OR_BOOL, NUMERIC, ORDERED, REAL
from ._op import Scalar, binary, check_array, elementwise, unary

__all__ = [
    "bitwise_and",
    "bitwise_invert",
    "bitwise_left_shift",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "clip",
    "equal",
    "greater",
    "greater_equal",
    "isfinite",
    "isinf",
    "isnan",
    "less",
    "less_equal",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "maximum",
    "minimum",
    "not_equal",
]

Operand = Array | Scalar


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
    return binary("equal", torch.eq, x1, x2, ANY, takes_scalar=True)


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
    return binary("greater", torch.gt, x1, x2, ORDERED, takes_scalar=True)


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
    return binary("greater_equal", torch.ge, x1, x2, ORDERED, takes_scalar=True)


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
    return binary("less", torch.lt, x1, x2, ORDERED, takes_scalar=True)


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
    return binary("less_equal", torch.le, x1, x2, ORDERED, takes_scalar=True)


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
    return binary("not_equal", torch.ne, x1, x2, ANY, takes_scalar=True)


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
