"""Discrete Fourier transforms (the standard's fft extension).

Several axes are transformed one after the other. Along an axis that is not split the transform is
local. For the split axis, one all-to-all first makes another axis the split axis, and one at the
end restores the split. If no other axis is long enough, the transform itself is distributed
(`_distributed`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

import torch

from .._comm.communicator import as_communicator
from .._core.arguments import as_choice, as_int, as_real, check_size
from .._core.array import Array, check_array
from .._core.docstrings import filled_in
from .._core.dtypes import COMPLEX, to_torch_dtype
from .._core.layout import as_ints, normalize_axes, normalize_axis, resized
from .._core.redistribute import redistribute
from .._creation import Split, local_device, new_layout
from .._data_type import astype
from .._elementwise import conj, multiply
from .._errors import shown
from .._manipulation import roll
from .._options import UNSET
from .._searching import where
from ..linalg._batched import as_lapack
from ._distributed import Kind, Step, transform

__all__ = [
    "fft",
    "fftfreq",
    "fftn",
    "fftshift",
    "hfft",
    "ifft",
    "ifftn",
    "ifftshift",
    "ihfft",
    "irfft",
    "irfftn",
    "rfft",
    "rfftfreq",
    "rfftn",
]

Norm = Literal["backward", "ortho", "forward"]
Axes = Sequence[int] | None
_SWAPPED: dict[str, Norm] = {"backward": "forward", "ortho": "ortho", "forward": "backward"}

_PARAMETERS: Final = """Parameters
----------
x : Array
    Any layout; dtype {} (integers become the default one).
{}
norm : {{"backward", "ortho", "forward"}}
    What is divided by the length: the inverse, both directions by its root, or the forward one.

Returns
-------
Array"""

_ONE: Final = """n : int, optional
    The length of the {}. Default: {}.
axis : int
    The axis to transform."""

_SEVERAL: Final = """s : sequence of int, optional
    The length of the transform along each of the axes, to which `x` is cropped, or padded with
    zeros; -1: the default. Default: as they are{}.
axes : sequence of int, optional
    The axes to transform. Default: the last ``len(s)``, or all."""

_REST: Final = """    Split along the axis along which `x` is split, with its counts or balanced.

Raises
------
ValueError
    If a length is less than 1, or `norm` is unknown.
IndexError
    If `x` lacks an axis.
TypeError
    If `x` {}, or a length is not an int.

Notes
-----
Messages: none along other axes than the split axis. Along it two all-to-alls, there and back, if
another axis, or all others together, have at least P elements; else the four-step algorithm with
three all-to-alls (D. Bailey, 1990), or Bluestein's with four of about twice the data (1970) for a
length without a divisor between P and its root; for less than ``4 P**2`` elements one allgather.
The standard: "FFT Extension".

Examples
--------"""

_CROPPED = _ONE.format("transform, to which `x` is cropped, or padded with zeros", "as it is")
_HALF = _ONE.format("result; ``n//2 + 1`` elements are used", "``2 * (x.shape[axis] - 1)``")
_documented = filled_in(
    complex_along=_PARAMETERS.format("floating-point", _CROPPED),
    real_along=_PARAMETERS.format("real floating-point", _CROPPED),
    half_along=_PARAMETERS.format("floating-point", _HALF),
    complex_several=_PARAMETERS.format("floating-point", _SEVERAL.format("")),
    real_several=_PARAMETERS.format("real floating-point", _SEVERAL.format("")),
    half_several=_PARAMETERS.format(
        "floating-point", _SEVERAL.format(", the last one ``2 * (x.shape[axes[-1]] - 1)``")
    ),
    rest=_REST.format("has half precision"),
    real_rest=_REST.format("is complex or has half precision"),
    frequencies="""Parameters
----------
n : int
    The length of the transform.
d : float
    The spacing of the samples.""",
    frequencies_rest="""Raises
------
ValueError
    If `n` is less than 1, `d` is 0, or `device` is unknown.
IndexError
    If `split` is not 0 or -1.
TypeError
    If `n` is not an int, or `dtype` not real floating-point.

Examples
--------""",
    shift="""Parameters
----------
x : Array
    Any layout and dtype.
axes : int or sequence of int, optional
    The axes. Default: all.

Returns
-------
Array
    The layout of `x`. One exchange of the rows that change rank if the split axis is shifted.

Raises
------
ValueError
    If an axis is repeated.
IndexError
    If `x` lacks one of the axes.
TypeError
    If `x` is not an array.

Examples
--------""",
)


# ---------------------------------------------------------------------- the transforms


@_documented
def fft(x: Array, /, *, n: int | None = None, axis: int = -1, norm: Norm = "backward") -> Array:
    """Discrete Fourier transform along an axis.

    {complex_along}
        Complex, of length `n` along the axis.
    {rest}
    >>> print(xp.fft.fft(xp.asarray([1.0, 2.0, 3.0, 4.0], split=0)))
    [10.+0.j -2.+2.j -2.+0.j -2.-2.j]
    """
    return _one("fft", "fft", x, n, axis, norm)


@_documented
def ifft(x: Array, /, *, n: int | None = None, axis: int = -1, norm: Norm = "backward") -> Array:
    """Inverse of `fft`.

    {complex_along}
        Complex, of length `n` along the axis.
    {rest}
    >>> print(xp.fft.ifft(xp.fft.fft(xp.asarray([1.0, 2.0, 3.0, 4.0], split=0))))
    [1.+0.j 2.+0.j 3.+0.j 4.+0.j]
    """
    return _one("ifft", "ifft", x, n, axis, norm)


@_documented
def rfft(x: Array, /, *, n: int | None = None, axis: int = -1, norm: Norm = "backward") -> Array:
    """Discrete Fourier transform of real data: the first ``n//2 + 1`` elements of `fft`.

    {real_along}
        Complex, of length ``n//2 + 1`` along the axis.
    {real_rest}
    >>> print(xp.fft.rfft(xp.asarray([1.0, 2.0, 3.0, 4.0], split=0)))
    [10.+0.j -2.+2.j -2.+0.j]
    """
    return _one("rfft", "rfft", x, n, axis, norm)


@_documented
def irfft(x: Array, /, *, n: int | None = None, axis: int = -1, norm: Norm = "backward") -> Array:
    """Inverse of `rfft`.

    The imaginary part of the first element, and for an even `n` of the last one, is ignored.

    {half_along}
        Real, of length `n` along the axis.
    {rest}
    >>> print(xp.fft.irfft(xp.fft.rfft(xp.asarray([1.0, 2.0, 3.0, 4.0], split=0))))
    [1. 2. 3. 4.]
    """
    return _one("irfft", "irfft", x, n, axis, norm)


@_documented
def hfft(x: Array, /, *, n: int | None = None, axis: int = -1, norm: Norm = "backward") -> Array:
    """Discrete Fourier transform of Hermitian data, whose first half `x` is; the result is real.

    {half_along}
        Real, of length `n` along the axis.
    {rest}
    >>> print(xp.fft.hfft(xp.asarray([4.0, 1.0, 1.0], split=0)))
    [7. 3. 3. 3.]
    """
    as_choice("hfft", "norm", norm, _SWAPPED)
    return _one("hfft", "irfft", conj(_complex("hfft", x)), n, axis, _SWAPPED[norm])


@_documented
def ihfft(x: Array, /, *, n: int | None = None, axis: int = -1, norm: Norm = "backward") -> Array:
    """Inverse of `hfft`: the first ``n//2 + 1`` elements of the inverse transform of real data.

    {real_along}
        Complex, of length ``n//2 + 1`` along the axis.
    {real_rest}
    >>> print(xp.real(xp.fft.ihfft(xp.asarray([7.0, 3.0, 3.0, 3.0], split=0))))
    [4. 1. 1.]
    """
    as_choice("ihfft", "norm", norm, _SWAPPED)
    return conj(_one("ihfft", "rfft", x, n, axis, _SWAPPED[norm]))


@_documented
def fftn(
    x: Array, /, *, s: Sequence[int] | None = None, axes: Axes = None, norm: Norm = "backward"
) -> Array:
    """Discrete Fourier transform along several axes.

    {complex_several}
        Complex, with the lengths `s` along the axes.
    {rest}
    >>> print(xp.fft.fftn(xp.asarray([[1.0, 2.0], [3.0, 4.0]], split=0)))
    [[10.+0.j -2.+0.j]
     [-4.+0.j  0.+0.j]]
    """
    x = _complex("fftn", x)
    as_choice("fftn", "norm", norm, _SWAPPED)  # without an axis, too
    return _several("fftn", x, [Step("fft", *p, norm) for p in _lengths("fftn", x, s, axes)])


@_documented
def ifftn(
    x: Array, /, *, s: Sequence[int] | None = None, axes: Axes = None, norm: Norm = "backward"
) -> Array:
    """Inverse of `fftn`.

    {complex_several}
        Complex, with the lengths `s` along the axes.
    {rest}
    >>> print(xp.fft.ifftn(xp.asarray([[10.0, -2.0], [-4.0, 0.0]], split=0)))
    [[1.+0.j 2.+0.j]
     [3.+0.j 4.+0.j]]
    """
    x = _complex("ifftn", x)
    as_choice("ifftn", "norm", norm, _SWAPPED)  # without an axis, too
    return _several("ifftn", x, [Step("ifft", *p, norm) for p in _lengths("ifftn", x, s, axes)])


@_documented
def rfftn(
    x: Array, /, *, s: Sequence[int] | None = None, axes: Axes = None, norm: Norm = "backward"
) -> Array:
    """Transform real data along several axes: `rfft` along the last one, then `fft`.

    {real_several}
        Complex, with the lengths `s` along the axes, but ``s[-1]//2 + 1`` along the last one.
    {real_rest}
    >>> print(xp.fft.rfftn(xp.asarray([[1.0, 2.0], [3.0, 4.0]], split=0)))
    [[10.+0.j -2.+0.j]
     [-4.+0.j  0.+0.j]]
    """
    x = _real("rfftn", x)
    *others, last = _lengths("rfftn", x, s, axes, least=1)
    steps = [Step("rfft", *last, norm), *(Step("fft", *pair, norm) for pair in reversed(others))]
    return _several("rfftn", x, steps)


@_documented
def irfftn(
    x: Array, /, *, s: Sequence[int] | None = None, axes: Axes = None, norm: Norm = "backward"
) -> Array:
    """Inverse of `rfftn`: `ifft` along all axes but the last one, then `irfft` along that.

    {half_several}
        Real, with the lengths `s` along the axes.
    {rest}
    >>> print(xp.fft.irfftn(xp.asarray([[10.0, -2.0], [-4.0, 0.0]], split=0)))
    [[1. 2.]
     [3. 4.]]
    """
    x = _complex("irfftn", x)
    s = None if s is None else as_ints("irfftn", "s", s)
    *others, (axis, n) = _lengths("irfftn", x, s, axes, least=1)
    if s is None or s[-1] == -1:
        n = 2 * (n - 1)
    steps = [*(Step("ifft", *pair, norm) for pair in others), Step("irfft", axis, n, norm)]
    return _several("irfftn", x, steps)


# ---------------------------------------------------------------------- arguments


def _real(func: str, x: Array) -> Array:
    check_array(func, "x", x)
    if x._local.dtype in COMPLEX.all:
        raise TypeError(f"{func}: x has dtype {x.dtype}; expected a real dtype")
    return as_lapack(func, x)


def _complex(func: str, x: Array) -> Array:
    check_array(func, "x", x)
    x = as_lapack(func, x)
    if x._local.dtype in COMPLEX.all:
        return x
    return astype(x, "complex64" if x._local.dtype is torch.float32 else "complex128")


def _lengths(
    func: str, x: Array, s: Sequence[int] | None, axes: Axes, *, least: int = 0
) -> list[tuple[int, int]]:
    """Return the axes, `least` of them or more, and the number of elements along each."""
    s = None if s is None else as_ints(func, "s", s)
    if axes is None:
        first = 0 if s is None else x.ndim - len(s)
        axes = range(first, x.ndim)
    axes = [normalize_axis(func, axis, x.ndim, "axes") for axis in as_ints(func, "axes", axes)]
    if len(axes) < least:
        raise ValueError(f"{func}: axes is empty; expected at least one axis")
    if s is None:
        return [(axis, x.shape[axis]) for axis in axes]
    if len(s) != len(axes):
        raise ValueError(f"{func}: s is {tuple(s)}, but there are {len(axes)} axes")
    return [(axis, x.shape[axis] if n == -1 else n) for axis, n in zip(axes, s, strict=True)]


def _one(func: str, kind: Kind, x: Array, n: int | None, axis: int, norm: Norm) -> Array:
    """Transform along one axis; errors name `func`."""
    x = _real(func, x) if kind == "rfft" else _complex(func, x)
    axis = normalize_axis(func, axis, x.ndim)
    if n is None:
        length = 2 * (x.shape[axis] - 1) if kind == "irfft" else x.shape[axis]
    else:
        length = as_int(func, "n", n)
    return _several(func, x, [Step(kind, axis, length, norm)])


# ---------------------------------------------------------------------- the order of axes


def _several(func: str, x: Array, steps: list[Step]) -> Array:
    """Transform axis after axis; a real transform comes first, the inverse of one last."""
    shape = x.shape
    for step in steps:
        as_choice(func, "norm", step.norm, _SWAPPED)
        if step.n < 1:
            raise ValueError(
                f"{func}: the length along axis {step.axis} is {step.n}; expected at least 1"
            )
        shape = resized(shape, step.axis, step.n)
        check_size(func, shape, x.comm.size if x.split is not None else 1)
    origin = x._layout
    pending = list(steps)
    while pending:
        allowed = _allowed(pending)
        split = x._layout.split if origin.comm.size > 1 else None
        step = next((step for step in allowed if step.axis != split), allowed[0])
        away = _other_axis(x, step, pending, origin.split) if step.axis == split else None
        if away is not None:
            x = redistribute(x, x._layout.split_along(away))
        else:
            x = Array(*transform(x._local, x._layout, step))
            pending.remove(step)
    if x._layout.split == origin.split or origin.split is None:
        return x
    if x.shape[origin.split] == origin.shape[origin.split]:
        return redistribute(x, origin.with_shape(x.shape, origin.split))
    return redistribute(x, x._layout.split_along(origin.split))


def _allowed(pending: list[Step]) -> list[Step]:
    """Return the steps that may come next: real to complex first, complex to real last."""
    first = [step for step in pending if step.kind == "rfft"]
    return first or [step for step in pending if step.kind != "irfft"] or pending


def _other_axis(x: Array, step: Step, pending: list[Step], origin: int | None) -> int | None:
    """Return the axis to split while the split axis is transformed; None if none is long enough.

    Preferred are the split axis of the result, then axes that are not to be transformed.
    """
    busy = {other.axis for other in pending}
    axes = [i for i in range(x.ndim) if i != step.axis and x.shape[i] >= x.comm.size]
    return max(axes, key=lambda i: (i == origin, i not in busy, x.shape[i]), default=None)


# ---------------------------------------------------------------------- frequencies and shifts


@_documented
def fftfreq(
    n: int,
    /,
    *,
    d: float = 1.0,
    dtype: Any = None,
    device: Any = None,
    split: Split = UNSET,
    comm: Any = None,
) -> Array:
    """Return the frequencies of the elements of `fft`, in cycles per unit of the spacing.

    {frequencies}
    {dtype}
    {device}
    {split}
    {comm}

    Returns
    -------
    Array, shape (n,)
        ``[0, 1, ..., (n-1)//2, -(n//2), ..., -1] / (d n)``. Sends nothing.

    {frequencies_rest}
    >>> print(xp.fft.fftfreq(4, d=0.5, split=0))
    [ 0.   0.5 -1.  -0.5]
    """
    n, d = _checked("fftfreq", n, d)
    k = _count("fftfreq", n, device, split, comm)
    k = where(k < (n + 1) // 2, k, k - n)
    return multiply(_as_frequencies("fftfreq", k, dtype), 1.0 / (n * d))


@_documented
def rfftfreq(
    n: int,
    /,
    *,
    d: float = 1.0,
    dtype: Any = None,
    device: Any = None,
    split: Split = UNSET,
    comm: Any = None,
) -> Array:
    """Return the frequencies of the elements of `rfft`, in cycles per unit of the spacing.

    {frequencies}
    {dtype}
    {device}
    {split}
    {comm}

    Returns
    -------
    Array, shape (n//2 + 1,)
        ``[0, 1, ..., n//2] / (d n)``. Sends nothing.

    {frequencies_rest}
    >>> print(xp.fft.rfftfreq(4, split=0))
    [0.   0.25 0.5 ]
    """
    n, d = _checked("rfftfreq", n, d)
    k = _count("rfftfreq", n // 2 + 1, device, split, comm)
    return multiply(_as_frequencies("rfftfreq", k, dtype), 1.0 / (n * d))


def _checked(func: str, n: object, d: object) -> tuple[int, float]:
    """Return the number of samples and their distance, which is not 0."""
    if isinstance(n, bool):
        raise TypeError(f"{func}: n is {shown(n)}; expected an int")
    length, distance = as_int(func, "n", n, least=1), as_real(func, "d", d)
    if distance == 0:
        raise ValueError(f"{func}: d is 0; expected a spacing")
    return length, distance


def _count(func: str, n: int, device: Any, split: Split, comm: Any) -> Array:
    """Return ``arange(n)``; errors name `func`."""
    comm = as_communicator(func, comm)
    where = local_device(func, device, comm)
    layout = new_layout(func, (n,), split, comm)
    return Array(torch.arange(layout.start, layout.start + layout.count, device=where), layout)


def _as_frequencies(func: str, k: Array, dtype: Any) -> Array:
    if dtype is None:
        return as_lapack(func, k)
    if not to_torch_dtype(dtype, func).is_floating_point:
        raise TypeError(f"{func}: dtype is {shown(dtype)}; expected a real floating-point dtype")
    return astype(k, dtype)


@_documented
def fftshift(x: Array, /, *, axes: int | Sequence[int] | None = None) -> Array:
    """Move frequency 0 to the middle of the axes (the standard: "FFT Extension", fftshift).

    {shift}
    >>> print(xp.fft.fftshift(xp.fft.fftfreq(4, split=0)))
    [-0.5  -0.25  0.    0.25]
    """
    axes = normalize_axes("fftshift", axes, check_array("fftshift", "x", x).ndim)
    return roll(x, tuple(x.shape[axis] // 2 for axis in axes), axis=axes) if axes else x


@_documented
def ifftshift(x: Array, /, *, axes: int | Sequence[int] | None = None) -> Array:
    """Undo `fftshift` (the standard: "FFT Extension", ifftshift).

    {shift}
    >>> print(xp.fft.ifftshift(xp.arange(5, split=0)))
    [2 3 4 0 1]
    """
    axes = normalize_axes("ifftshift", axes, check_array("ifftshift", "x", x).ndim)
    return roll(x, tuple(-(x.shape[axis] // 2) for axis in axes), axis=axes) if axes else x
