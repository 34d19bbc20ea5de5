"""Exponential, logarithmic, trigonometric and hyperbolic functions, element by element.

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
from ._dtypes import FLOATING, REAL_FLOATING
from ._op import Scalar, binary, unary

__all__ = [
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "cos",
    "cosh",
    "exp",
    "expm1",
    "hypot",
    "log",
    "log1p",
    "log2",
    "log10",
    "logaddexp",
    "sin",
    "sinh",
    "sqrt",
    "tan",
    "tanh",
]

Operand = Array | Scalar


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
