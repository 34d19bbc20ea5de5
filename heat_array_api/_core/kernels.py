"""Local elementwise kernels where torch lacks a dtype of the standard or differs from it.

A kernel must not raise for any value: only the rank that holds the value would fail, and the
others would wait for it.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor

from .dtypes import numpy_kernel
from .tape import tracked


def add(a: Tensor, b: Tensor | complex) -> Tensor:
    """Return ``a + b``; torch's complex kernel multiplies `b` by 1, and infinities give NaN."""
    if not a.is_complex():
        return torch.add(a, b)
    assert isinstance(b, Tensor)
    parts = torch.view_as_real(a.resolve_conj()) + torch.view_as_real(b.resolve_conj())
    return torch.view_as_complex(parts)


def subtract(a: Tensor, b: Tensor | complex) -> Tensor:
    """Return ``a - b``, complex numbers part by part as in `add`."""
    if not a.is_complex():
        return torch.sub(a, b)
    assert isinstance(b, Tensor)
    parts = torch.view_as_real(a.resolve_conj()) - torch.view_as_real(b.resolve_conj())
    return torch.view_as_complex(parts)


def positive(t: Tensor) -> Tensor:
    return t.view_as(t)


def conj(t: Tensor) -> Tensor:
    return torch.conj_physical(t) if t.is_complex() else t.view_as(t)


def real(t: Tensor) -> Tensor:
    return torch.real(t).clone()


def imag(t: Tensor) -> Tensor:
    return torch.imag(t).clone()


def ceil(t: Tensor) -> Tensor:
    return torch.ceil(t) if t.is_floating_point() else t.view_as(t)


def floor(t: Tensor) -> Tensor:
    return torch.floor(t) if t.is_floating_point() else t.view_as(t)


def trunc(t: Tensor) -> Tensor:
    return torch.trunc(t) if t.is_floating_point() else t.view_as(t)


def round(t: Tensor) -> Tensor:
    if t.is_complex():
        return torch.complex(torch.round(t.real), torch.round(t.imag))
    return torch.round(t) if t.is_floating_point() else t.view_as(t)


def sign(t: Tensor) -> Tensor:
    if t.is_complex():
        return torch.sgn(t)
    if t.is_floating_point():
        return torch.where(torch.isnan(t), t, torch.sign(t))  # torch's sign(NaN) is 0
    return torch.sign(t)


def nextafter(a: Tensor, b: Tensor) -> Tensor:
    if a.dtype is torch.float16:  # torch has no such kernel
        return numpy_kernel("nextafter", a, b)
    return torch.nextafter(a, b)


def left_shift(a: Tensor, b: Tensor) -> Tensor:
    return torch.where(b >= 8 * a.element_size(), 0, torch.bitwise_left_shift(a, _shift(a, b)))


def right_shift(a: Tensor, b: Tensor) -> Tensor:
    shifted = torch.bitwise_right_shift(a, _shift(a, b))
    # Beyond the width only the sign bit is left, if the dtype has one.
    return shifted if a.dtype.is_signed else torch.where(b >= 8 * a.element_size(), 0, shifted)


def _shift(a: Tensor, b: Tensor) -> Tensor:
    """Limit shifts to the dtype's width; C++ does not define longer ones."""
    return torch.clamp(b, max=8 * a.element_size() - 1)


def pow(a: Tensor, b: Tensor | complex) -> Tensor:
    """Return ``a ** b`` with the special cases of the standard, for a number `b` too.

    Where `b` is a number, torch's roots are wrong for -0 and -infinity, its power -2 overflows half
    way, and for others it does not round `b` to the dtype.
    """
    if isinstance(b, Tensor) or b in _EXACT_POWERS:
        return torch.pow(a, b)
    if b == -2:
        return torch.square(torch.reciprocal(a))
    if b in (0.5, -0.5):
        positive = torch.nan_to_num(a, nan=math.nan, posinf=math.inf, neginf=math.inf)
        root = torch.sqrt if b == 0.5 else torch.rsqrt
        return root(positive + 0.0)  # -0 + 0 is 0
    return torch.pow(a, torch.tensor(b, dtype=a.dtype, device=a.device))


# Of these torch's kernels for numbers multiply or divide: fast, and no less accurate.
_EXACT_POWERS: Final = frozenset({-1, 0, 1, 2, 3})


def floor_divide(a: Tensor, b: Tensor) -> Tensor:
    """Divide and round down; an integer divided by 0 gives 0, as in NumPy."""
    if not a.is_floating_point():
        # The least integer // -1 overflows, which is a trap on some processors.
        minus_one = (b == -1) if b.dtype.is_signed else torch.zeros_like(b, dtype=torch.bool)
        quotient = torch.floor_divide(a, torch.where((b == 0) | minus_one, 1, b))
        return torch.where(b == 0, 0, torch.where(minus_one, -a, quotient))
    # Python's rule: subtract the remainder, divide, round. For infinite operands the standard
    # has the special cases of true division.
    true = a / b
    rounded = torch.round((a - remainder(a, b)) / b)
    rounded = torch.where(rounded == 0, torch.copysign(torch.zeros_like(true), true), rounded)
    return torch.where(torch.isinf(a) | torch.isinf(b) | (b == 0), true, rounded)


def remainder(a: Tensor, b: Tensor) -> Tensor:
    """Return what `floor_divide` leaves, with the sign of `b`; 0 for an integer modulo 0."""
    if not a.is_floating_point():
        trap = (b == 0) | (b == -1) if b.dtype.is_signed else b == 0
        return torch.remainder(a, torch.where(trap, 1, b))
    left = torch.fmod(a, b)
    left = torch.where((left != 0) & ((b < 0) != (left < 0)), left + b, left)
    return torch.where(left == 0, torch.copysign(torch.zeros_like(left), b), left)


def acos(t: Tensor) -> Tensor:
    """Return the inverse cosine, with ``acos(conj(z)) == conj(acos(z))`` for signed zeros too."""
    result = torch.acos(t)
    if not t.is_complex():
        return result
    return torch.complex(result.real, torch.copysign(result.imag, -t.imag))


def expm1(t: Tensor) -> Tensor:
    """Return ``exp(t) - 1``; torch's complex kernel is right for neither zeros nor infinities."""
    if not t.is_complex():
        return torch.expm1(t)
    x, y = t.real, t.imag
    half = torch.sin(y / 2)
    # The last 0.0 turns -0 to +0.
    real = torch.expm1(x) * torch.cos(y) - 2 * half * half + 0.0
    near = torch.complex(real, torch.exp(x) * torch.sin(y))
    return torch.where(torch.isfinite(t) & torch.isfinite(near), near, torch.exp(t) - 1)


def log1p(t: Tensor) -> Tensor:
    """Return ``log(1 + t)``; torch's complex kernel is wrong for infinities beside NaN."""
    if not t.is_complex():
        return torch.log1p(t)
    x, y = t.real, t.imag
    near = torch.complex(torch.log1p(x * (2 + x) + y * y) / 2, torch.atan2(y, 1 + x))
    # Far from -1 the plain logarithm neither overflows nor cancels.
    # Part by part: 1 + t would lose the sign of a zero imaginary part.
    return torch.where(torch.abs(t) < 0.5, near, torch.log(torch.complex(1 + x, y)))


def tanh(t: Tensor) -> Tensor:
    """Return the hyperbolic tangent; torch's complex kernel has sin(2y)'s sign at infinity."""
    result = torch.tanh(t)
    if not t.is_complex():
        return result
    x, y = t.real, t.imag
    limit = torch.complex(torch.copysign(torch.ones_like(x), x), torch.copysign(y * 0.0, y))
    return torch.where(torch.isinf(x) & torch.isfinite(y), limit, result)


def root_of_sum(t: Tensor) -> Tensor:
    """Return the square root of a sum of squares; its derivative at 0 is 0, as in torch's norms."""
    if not tracked(t):
        return torch.sqrt(t)
    zero = t == 0
    return torch.where(zero, t, torch.sqrt(torch.where(zero, torch.ones_like(t), t)))
