"""One-dimensional Fourier transforms of shards: local, or along the split axis.

Along the split axis the array is a set of B *lines*, B being the product of the lengths of the
other axes. The algorithm depends on B, the length n and the number of ranks P:

- B at least P: one all-to-all brings whole lines to the ranks, which transform them, and another
  brings the results back.
- fewer lines, n = n1 * n2 with n1 and n2 at least P: the four-step algorithm (D. Bailey, "FFTs in
  external or hierarchical memory", 1990), three all-to-alls.
- n without such factors, as primes: Bluestein's chirp transform (1970), a convolution by
  two four-step transforms of a length that has them, four all-to-alls.
- fewer lines, and n short (less than 4 P * P): one allgather.

The all-to-alls crop and pad with zeros: neither cropped elements nor zeros are sent.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .._caching import cached
from .._comm.communicator import Communicator
from .._comm.division import Division
from .._core.collectives import gather
from .._core.layout import Layout, Shape, resized
from .._core.periodic import Periodic, exchange_periodic
from .._core.redistribute import move

Kind = Literal["fft", "ifft", "rfft", "irfft"]
_KERNELS: Final[dict[Kind, Callable[..., Tensor]]] = {
    "fft": torch.fft.fft,
    "ifft": torch.fft.ifft,
    "rfft": torch.fft.rfft,
    "irfft": torch.fft.irfft,
}


class Step(NamedTuple):
    """A one-dimensional transform of an array along one axis."""

    kind: Kind
    axis: int
    n: int  # the logical length, at least 1
    norm: str

    @property
    def n_in(self) -> int:
        """The elements of each line that are used; longer lines are cropped, shorter padded."""
        return self.n // 2 + 1 if self.kind == "irfft" else self.n

    @property
    def n_out(self) -> int:
        """The length of the axis in the result."""
        return self.n // 2 + 1 if self.kind == "rfft" else self.n

    @property
    def sign(self) -> int:
        """The sign of the exponent."""
        return 1 if self.kind in ("ifft", "irfft") else -1

    @property
    def scale(self) -> float:
        """The factor by which `norm` multiplies the sum."""
        if self.norm == "ortho":
            return 1 / math.sqrt(self.n)
        return 1 / self.n if (self.norm == "forward") == (self.sign < 0) else 1.0

    def kernel(self, t: Tensor, axis: int) -> Tensor:
        """Transform a tensor along `axis`."""
        if not t.numel():  # MKL refuses an empty stack, torch an axis of length 0
            return _zeros(t, resized(t.shape, axis, self.n_out), self.kind)
        return _KERNELS[self.kind](t, n=self.n, dim=axis, norm=self.norm)


def _zeros(t: Tensor, shape: Shape, kind: str) -> Tensor:
    """Return the transform of no elements: zeros of `shape`, possibly none, that depend on `t`."""
    dtype = t.dtype
    if kind == "irfft":
        dtype = dtype.to_real() if dtype.is_complex else dtype
    else:
        dtype = dtype.to_complex()
    total = t.sum()
    total = total.real if total.is_complex() and not dtype.is_complex else total
    return total.to(dtype).expand(shape)


# ---------------------------------------------------------------------- any axis


def transform(t: Tensor, layout: Layout, step: Step) -> tuple[Tensor, Layout]:
    """Transform the array of shard `t` along one axis; return the shard and layout of the result.

    Along the split axis the result has even counts; else the layout's counts stay.
    """
    axis, comm = step.axis, layout.comm
    target = layout.with_length(axis, step.n_out)
    if layout.split != axis or comm.size == 1:
        return step.kernel(t, axis), target
    others = target.drop(axis).shape
    lines = math.prod(others)
    if lines == 0:
        return _zeros(t, target.local_shape, step.kind), target
    assert layout.division is not None
    kept = min(step.n_in, layout.shape[axis])
    parts = layout.division.map(lambda bounds: np.minimum(bounds, kept))
    t = t.movedim(axis, -1).reshape(lines, layout.count)[:, : parts[comm.rank]]
    if lines >= comm.size:
        t = _whole_lines(t, parts, target, step)
    elif step.n < 4 * comm.size**2:
        t = _gathered(t, parts, target, step)
    else:
        t = _long_lines(t, parts, target, step)
    return t.reshape(*others, target.count).movedim(-1, axis), target


# ---------------------------------------------------------------------- many or short lines


def _whole_lines(t: Tensor, parts: Division, target: Layout, step: Step) -> Tensor:
    """Bring whole lines to the ranks, transform them, bring the results back.

    `t` has this rank's part of every line; the result has its part under `target`.
    """
    pieces = _cut_lines(t, parts, target.comm)
    lines = move(t, pieces, pieces.split_along(0))
    done = pieces.split_along(0).with_length(1, step.n_out)
    assert target.division is not None
    return move(step.kernel(lines, 1), done, Layout.of(done.shape, 1, target.division, done.comm))


def _gathered(t: Tensor, parts: Division, target: Layout, step: Step) -> Tensor:
    """Gather a few short lines, transform them on every rank, keep this rank's part."""
    # Each rank keeps its own part of the result.
    lines = gather(t, _cut_lines(t, parts, target.comm), varying=True)
    return step.kernel(lines, 1).narrow(1, target.start, target.count)


def _cut_lines(t: Tensor, parts: Division, comm: Communicator) -> Layout:
    return Layout.of((len(t), parts.total), 1, parts, comm)


# ---------------------------------------------------------------------- few long lines


def _long_lines(t: Tensor, parts: Division, target: Layout, step: Step) -> Tensor:
    """Transform lines that are spread over all ranks."""
    complex_dtype = t.dtype.to_complex()
    if step.kind == "irfft":
        # The real part of twice the sum over the half spectrum; unpaired elements count once.
        k = _range(t, parts.interval(target.comm.rank)[0], t.shape[1])
        t = t * torch.where((k > 0) & (2 * k != step.n), 2.0, 1.0).to(t.dtype.to_real())
    grid = _factored(step.n, target.comm.size)
    if grid is None:
        result = _bluestein(t.to(complex_dtype), parts, target, step)
    else:
        result = _four_step(t, parts, target, step, grid)
    return result.real if step.kind == "irfft" else result


class _Grid(NamedTuple):
    """A line of n1 * n2 elements as a matrix of n1 rows."""

    n1: int
    n2: int


@cached
def _factored(n: int, size: int) -> _Grid | None:
    """Factor `n` in two that are both at least `size`, with the least load of a rank; else None."""
    best = None
    least = math.inf
    for n1 in range(size, math.isqrt(n) + 1):
        n2, rest = divmod(n, n1)
        if rest == 0:
            load = -(-n1 // size) * n2 + -(-n2 // size) * n1
            if load <= least:  # of equal ones, the last is nearest to a square
                best, least = _Grid(n1, n2), load
    return best


@cached
def _convolution_length(least: int, size: int) -> int:
    """Return the first length from `least` on, of small prime factors, that `_factored` can do."""
    found = []
    fives = 1
    while fives < 2 * least:
        threes = fives
        while threes < 2 * least:
            twos = threes << max(-(-least // threes) - 1, 0).bit_length()
            found.append(twos)
            threes *= 3
        fives *= 5
    return next(length for length in sorted(found) if _factored(length, size) is not None)


def _four_step(t: Tensor, parts: Division, target: Layout, step: Step, grid: _Grid) -> Tensor:
    """Transform lines of n1 * n2 elements: columns, twiddle factors, rows.

    Element j is at (j // n2, j % n2); element k of the result at (k % n1, k // n1).
    """
    n1, n2 = grid
    comm = target.comm
    matrix = _to_columns(t, parts, n2, n1, comm)
    if not matrix.is_complex():
        matrix = matrix.to(matrix.dtype.to_complex())
    rows = _columns_to_rows(matrix, grid, step.sign, comm)
    return _from_columns(rows.transpose(1, 2) * step.scale, target, n1)


def _bluestein(t: Tensor, parts: Division, target: Layout, step: Step) -> Tensor:
    """Transform lines of any length: X[k] = c[k] sum_j (x[j] c[j]) / c[k - j], a convolution.

    c[k] is exp(-+ i pi k^2 / n). The chirp 1 / c is transformed as one more line.
    """
    comm, n, sign = target.comm, step.n, step.sign
    used, wanted = parts.total, step.n_out
    length = _convolution_length(max(used + wanted - 1, 2 * comm.size**2), comm.size)
    grid = _factored(length, comm.size)
    assert grid is not None
    n1, n2 = grid
    begin, _ = parts.interval(comm.rank)
    t = t * _chirp(_range(t, begin, t.shape[1]), n, sign, t.dtype)
    matrix = _to_columns(t, parts, n2, n1, comm)
    first, width = _columns(n2, comm)
    place = _range(t, 0, n1)[:, None] * n2 + _range(t, first, width)
    place = torch.where(place < wanted, place, length - place)
    chirp = _chirp(place, n, -sign, t.dtype)
    rows = _columns_to_rows(torch.cat([matrix, chirp[None]]), grid, -1, comm)
    matrix = _rows_to_columns(rows[:-1] * rows[-1:], grid, 1, comm)
    result = _from_columns(matrix, target, n2)
    factor = _chirp(_range(t, target.start, target.count), n, sign, t.dtype)
    return result * (factor * (step.scale / length))


def _columns_to_rows(matrix: Tensor, grid: _Grid, sign: int, comm: Communicator) -> Tensor:
    """Transform, unscaled, lines that lie as (n1, n2) matrices split along the columns.

    The result is split along the rows, and element k of it is at (k % n1, k // n1).
    """
    columns, rows = _layouts(len(matrix), grid, comm)
    matrix = _unscaled(matrix, 1, sign) * _twiddle(matrix, grid, sign, comm)
    return _unscaled(move(matrix, columns, rows), 2, sign)


def _rows_to_columns(rows: Tensor, grid: _Grid, sign: int, comm: Communicator) -> Tensor:
    """Undo `_columns_to_rows` with the opposite sign, unscaled: all its steps backwards."""
    columns, source = _layouts(len(rows), grid, comm)
    matrix = move(_unscaled(rows, 2, sign), source, columns)
    return _unscaled(matrix * _twiddle(matrix, grid, sign, comm), 1, sign)


def _layouts(lines: int, grid: _Grid, comm: Communicator) -> tuple[Layout, Layout]:
    shape = (lines, *grid)
    return Layout.balanced(shape, 2, comm), Layout.balanced(shape, 1, comm)


def _unscaled(t: Tensor, axis: int, sign: int) -> Tensor:
    result: Tensor = (
        torch.fft.fft(t, dim=axis) if sign < 0 else torch.fft.ifft(t, dim=axis, norm="forward")
    )
    return result


def _twiddle(t: Tensor, grid: _Grid, sign: int, comm: Communicator) -> Tensor:
    """Return exp(+- 2 pi i k1 j2 / n) for the columns j2 of this rank."""
    n1, n2 = grid
    first, width = _columns(n2, comm)
    product = _range(t, 0, n1)[:, None] * _range(t, first, width)  # below n: no reduction
    return _root(product, n1 * n2, sign, t.dtype)


def _chirp(k: Tensor, n: int, sign: int, dtype: torch.dtype) -> Tensor:
    """Return exp(+- i pi k^2 / n), k^2 taken modulo 2 n in integers."""
    if n < 2**29:  # k is below 4 n, and its square below 2**62
        square = k * k % (2 * n)
    else:  # Horner's rule over the digits of k
        square = torch.zeros_like(k)
        for shift in reversed(range(0, (4 * n).bit_length(), 15)):
            square = ((square << 15) + ((k >> shift) & 0x7FFF) * k) % (2 * n)
    return _root(square, 2 * n, sign, dtype)


def _root(power: Tensor, n: int, sign: int, dtype: torch.dtype) -> Tensor:
    """Return exp(+- 2 pi i power / n) for integers in ``[0, n)``: angles in float64."""
    angle = power.to(torch.float64) * (sign * 2 * math.pi / n)
    return torch.polar(torch.ones_like(angle), angle).to(dtype)


def _range(t: Tensor, first: int, length: int) -> Tensor:
    return torch.arange(first, first + length, device=t.device)


# ---------------------------------------------------------------------- intervals and columns


def _columns(n: int, comm: Communicator) -> tuple[int, int]:
    """Return the first and the number of this rank's columns, n of them in a balanced layout."""
    layout = Layout.balanced((n,), 0, comm)
    return layout.start, layout.count


def _to_columns(t: Tensor, parts: Division, length: int, rows: int, comm: Communicator) -> Tensor:
    """Bring lines, whose intervals lie on the ranks, to matrices split along the columns.

    The first elements of a line are given, divided into `parts`; the rest of ``rows * length``
    are zeros, which are not sent. One all-to-all.
    """
    columns = Periodic(rows, Division.balanced(length, comm.size))
    matrix = exchange_periodic(t, Periodic(1, parts), columns, comm)
    return matrix.view(len(t), rows, columns.columns[comm.rank])


def _from_columns(matrix: Tensor, target: Layout, length: int) -> Tensor:
    """Undo `_to_columns`: bring matrices split along `length` columns to intervals of the lines.

    Each rank gets its interval under `target`, along the axis that the lines have there;
    elements beyond are dropped. One all-to-all.
    """
    comm = target.comm
    assert target.division is not None
    columns = Periodic(matrix.shape[1], Division.balanced(length, comm.size))
    flat = matrix.reshape(len(matrix), -1)
    return exchange_periodic(flat, columns, Periodic(1, target.division), comm)
