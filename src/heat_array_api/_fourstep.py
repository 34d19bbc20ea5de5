"""A Fourier transform along a split axis that is too long to be brought to one rank.

A transform of length N = N1 N2 is one of the columns of an N1 x N2 matrix, a multiplication by
twiddle factors, and one of its rows: local transforms between all-to-alls that make columns,
then rows whole. Where N has no divisor between P and its root, Bluestein's algorithm turns
the transform into a convolution, whose length is a power of two.

Sources: D. H. Bailey, "FFTs in external or hierarchical memory", J. Supercomputing 4 (1990);
L. I. Bluestein, "A linear filtering approach to the computation of discrete Fourier transform",
IEEE Trans. Audio Electroacoust. 18 (1970).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ._array import Array
from ._layout import Layout
from ._linalg import permute
from ._manipulation import concat
from ._redistribute import redistribute
from ._reshape import reshape

__all__ = ["fft_of_split"]


def fft_of_split(x: Array, axis: int, *, inverse: bool) -> Array:
    """Return the transform along the split axis, without any factor; complex, split there.

    Messages: three all-to-alls of the data, and of the rows at the ranks' bounds, where the length
    N has a divisor between P and the root of N; else two such transforms of a power of two
    between 2 N and 4 N, and a third one of one line.
    """
    order = (axis, *(i for i in range(x.ndim) if i != axis))
    lines = permute(x, order)
    rest = lines.shape[1:]
    lines = reshape(lines, (lines.shape[0], math.prod(rest)))
    n1 = _divisor(lines.shape[0])
    lines = _four_steps(lines, n1, inverse) if n1 >= x.comm.size else _chirp_z(lines, inverse)
    back = tuple(order.index(i) for i in range(x.ndim))
    return permute(reshape(lines, (lines.shape[0], *rest)), back)


def _divisor(n: int) -> int:
    """Return the greatest divisor of `n` that is not greater than its root."""
    return next(i for i in range(math.isqrt(n), 0, -1) if n % i == 0)


def _four_steps(x: Array, n1: int, inverse: bool) -> Array:
    """Transform the columns of an (N, B) array that is split along N = n1 n2."""
    n, b = x.shape
    n2 = n // n1
    comm = x.comm
    x = reshape(x, (n1, n2, b))
    x = redistribute(x, Layout.balanced((n1, n2, b), 1, comm))
    t = _transform(x._local, 0, inverse)
    t = t * _twiddles(n, n1, x._layout, t, inverse)[:, :, None]
    x = redistribute(Array(t, x._layout), Layout.balanced((n1, n2, b), 0, comm))
    x = Array(_transform(x._local, 1, inverse), x._layout)
    x = redistribute(x, Layout.balanced((n1, n2, b), 1, comm))
    return reshape(permute(x, (1, 0, 2)), (n, b))


def _transform(t: Tensor, dim: int, inverse: bool) -> Tensor:
    """Transform locally, without any factor."""
    if not t.numel():
        return t
    result: Tensor = (
        torch.fft.ifft(t, dim=dim, norm="forward") if inverse else torch.fft.fft(t, dim=dim)
    )
    return result


def _twiddles(n: int, n1: int, layout: Layout, like: Tensor, inverse: bool) -> Tensor:
    """Return ``exp(-2 pi i j k / n)`` for all k < n1 and the j of this rank's columns."""
    j = torch.arange(layout.start, layout.start + layout.count, device=like.device)
    k = torch.arange(n1, device=like.device)
    return _roots(k[:, None] * j, n, like, inverse)


def _roots(exponents: Tensor, n: int, like: Tensor, inverse: bool) -> Tensor:
    """Return powers of the n-th root of unity; reduced as integers, so that no digit is lost."""
    angles = (exponents % n).to(torch.float64) * ((2 if inverse else -2) * math.pi / n)
    return torch.polar(torch.ones_like(angles), angles).to(like.dtype)


def _chirp_z(x: Array, inverse: bool) -> Array:
    """Transform the columns of an (N, B) array as a convolution with a chirp.

    With ``j k = (j**2 + k**2 - (k - j)**2) / 2``, element k is ``w(k) sum_j x(j) w(j) / w(k - j)``
    where ``w(j) = exp(-pi i j**2 / N)``.
    """
    n, b = x.shape
    comm = x.comm
    m = 1 << (2 * n - 2).bit_length()
    start, count = x._layout.start, x._layout.count
    chirp = _chirp(torch.arange(start, start + count, device=x._local.device), n, x, inverse)
    signal = Array(x._local * chirp[:, None], x._layout)
    tail = Layout.balanced((m - n, b), 0, comm)
    signal = concat([signal, Array(x._local.new_zeros(tail.local_shape), tail)], axis=0)
    line = Layout.balanced((m, 1), 0, comm)
    j = torch.arange(line.start, line.start + line.count, device=x._local.device)
    distance = torch.minimum(j, m - j)  # the chirp runs both ways from 0
    kernel = torch.where(distance < n, _chirp(distance, n, x, inverse).conj(), 0)
    n1 = _divisor(m)
    spectrum = _four_steps(signal, n1, False)
    factor = _four_steps(Array(kernel[:, None], line), n1, False)
    factor = redistribute(factor, spectrum._layout.with_shape((m, 1), 0))
    product = Array(spectrum._local * factor._local / m, spectrum._layout)
    result = redistribute(
        _four_steps(product, n1, True)[:n], Layout.of((n, b), 0, x._layout.counts, comm)
    )
    return Array(result._local * chirp[:, None], result._layout)


def _chirp(j: Tensor, n: int, x: Array, inverse: bool) -> Tensor:
    # j**2 / 2 of a turn of n: an exponent of the 2n-th root.
    return _roots((j % (2 * n)) ** 2, 2 * n, x._local, inverse)
