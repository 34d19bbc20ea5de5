"""Discrete Fourier transforms (the standard's fft extension).

A transform of several axes is one of each in turn. Along an axis that is not split it is local.
The split axis is brought home first: one all-to-all makes another axis the split one, and
a second one at the end brings the split back. Where no other axis is long enough, the
transform is itself distributed (`_fourier`).
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch

from .._core.array import Array
from .._core.dtypes import COMPLEX, to_torch_dtype
from .._core.layout import normalize_axes, normalize_axis, resized
from .._core.lift import check_array
from .._core.redistribute import redistribute
from .._creation import Split, arange
from .._data_type import astype
from .._elementwise import conj, multiply
from .._manipulation import roll
from .._options import UNSET
from .._searching import where
from ..linalg._batched import as_lapack
from ._distributed import Step, transform, zeros_of

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


class _Step(NamedTuple):
    """The transform of one axis: its kind, and the number of elements of the longer side."""

    kind: Literal["fft", "ifft", "rfft", "irfft"]
    axis: int
    n: int


# ---------------------------------------------------------------------- the transforms


def fft(x: Array, /, *, n: int | None = None, axis: int = -1, norm: Norm = "backward") -> Array:
    """Discrete Fourier transform along an axis.

    Parameters
    ----------
    x : Array
        Any layout; dtype floating-point (integers become the default one).
    n : int, optional
        The length of the transform: `x` is cropped, or padded with zeros. Default: as it is.
    axis : int
        The axis.
    norm : {"backward", "ortho", "forward"}
        Which direction is divided by n: the inverse, both by its root, or the forward one.

    Returns
    -------
    Array
        Complex, split along the axis along which `x` is, with the same counts if its length is
        the same.

    Raises
    ------
    ValueError
        If `n`, or the length of the axis, is less than 1, or `norm` is unknown.

    Notes
    -----
    Messages: none if the axis is not split. Else two all-to-alls, there and back, if another axis,
    or the others together, have at least P elements. Else the four-step algorithm: three
    all-to-alls; for a length with no divisor between P and its root Bluestein's: four, of about
    twice the data. For ``n < 4 P**2`` one allgather. The standard: "FFT Extension", fft.
    """
    return _one("fft", x, n, axis, norm)


def ifft(x: Array, /, *, n: int | None = None, axis: int = -1, norm: Norm = "backward") -> Array:
    """Inverse of `fft`. Parameters, layout and messages as there."""
    return _one("ifft", x, n, axis, norm)


def rfft(x: Array, /, *, n: int | None = None, axis: int = -1, norm: Norm = "backward") -> Array:
    """Discrete Fourier transform of real data: the first ``n//2 + 1`` elements of `fft`.

    Parameters as of `fft`, of a real dtype; layout and messages as there.
    """
    return _one("rfft", x, n, axis, norm)


def irfft(x: Array, /, *, n: int | None = None, axis: int = -1, norm: Norm = "backward") -> Array:
    """Inverse of `rfft`: real data of length `n`, by default ``2 * (x.shape[axis] - 1)``.

    Parameters as of `fft`; layout and messages as there. The imaginary part of the first element,
    and for an even `n` of the last one, is ignored.
    """
    return _one("irfft", x, n, axis, norm)


def hfft(x: Array, /, *, n: int | None = None, axis: int = -1, norm: Norm = "backward") -> Array:
    """Transform of data that is Hermitian, of which `x` is the first half: real, of length `n`.

    Parameters as of `irfft`, of which it is the other direction; layout and messages as there.
    """
    _check_norm("hfft", norm)
    x = _complex("hfft", x)
    return _one("irfft", conj(x), n, axis, _SWAPPED[norm], name="hfft")


def ihfft(x: Array, /, *, n: int | None = None, axis: int = -1, norm: Norm = "backward") -> Array:
    """Inverse of `hfft`: the first half of the transform of real data.

    Parameters as of `rfft`, of which it is the other direction; layout and messages as there.
    """
    _check_norm("ihfft", norm)
    return conj(_one("rfft", x, n, axis, _SWAPPED[norm], name="ihfft"))


def fftn(
    x: Array, /, *, s: Sequence[int] | None = None, axes: Axes = None, norm: Norm = "backward"
) -> Array:
    """Discrete Fourier transform along several axes.

    Parameters
    ----------
    x : Array
        Any layout; dtype floating-point.
    s : sequence of int, optional
        The length along each of the axes; -1: as it is. Default: as they are.
    axes : sequence of int, optional
        The axes. Default: the last ``len(s)``, or all.
    norm : {"backward", "ortho", "forward"}
        As of `fft`.

    Returns
    -------
    Array
        Complex, split along the axis along which `x` is.

    Notes
    -----
    Messages: as of `fft` for the split axis, if it is one of the axes; for the others none. The
    standard: "FFT Extension", fftn.
    """
    x = _complex("fftn", x)
    return _several("fftn", x, [_Step("fft", *p) for p in _lengths("fftn", x, s, axes)], norm)


def ifftn(
    x: Array, /, *, s: Sequence[int] | None = None, axes: Axes = None, norm: Norm = "backward"
) -> Array:
    """Inverse of `fftn`. Parameters, layout and messages as there."""
    x = _complex("ifftn", x)
    return _several("ifftn", x, [_Step("ifft", *p) for p in _lengths("ifftn", x, s, axes)], norm)


def rfftn(
    x: Array, /, *, s: Sequence[int] | None = None, axes: Axes = None, norm: Norm = "backward"
) -> Array:
    """Transform real data along several axes: `rfft` along the last one, `fft` along the others.

    Parameters as of `fftn`, of a real dtype; layout and messages as there.
    """
    x = _real("rfftn", x)
    pairs = _lengths("rfftn", x, s, axes)
    if not pairs:
        raise ValueError("rfftn: axes is empty; expected at least one axis")
    steps = [_Step("fft", *p) for p in pairs[:-1]] + [_Step("rfft", *p) for p in pairs[-1:]]
    return _several("rfftn", x, steps[::-1], norm)


def irfftn(
    x: Array, /, *, s: Sequence[int] | None = None, axes: Axes = None, norm: Norm = "backward"
) -> Array:
    """Inverse of `rfftn`: `ifft` along all axes but the last one, there `irfft`.

    Parameters as of `fftn`; the last length is by default ``2 * (x.shape[axes[-1]] - 1)``. Layout
    and messages as there.
    """
    x = _complex("irfftn", x)
    pairs = _lengths("irfftn", x, s, axes)
    if not pairs:
        raise ValueError("irfftn: axes is empty; expected at least one axis")
    if s is None or s[-1] == -1:
        axis, n = pairs[-1]
        pairs[-1] = (axis, 2 * (n - 1))
    steps = [_Step("ifft", *p) for p in pairs[:-1]] + [_Step("irfft", *p) for p in pairs[-1:]]
    return _several("irfftn", x, steps, norm)


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


def _check_norm(func: str, norm: object) -> None:
    if norm not in _SWAPPED:
        raise ValueError(f"{func}: norm is {norm!r}; expected 'backward', 'ortho' or 'forward'")


def _lengths(func: str, x: Array, s: Sequence[int] | None, axes: Axes) -> list[tuple[int, int]]:
    """Return the axes and the number of elements along each."""
    if axes is None:
        first = 0 if s is None else x.ndim - len(s)
        axes = range(first, x.ndim)
    axes = [normalize_axis(func, axis, x.ndim, "axes") for axis in axes]
    if s is None:
        return [(axis, x.shape[axis]) for axis in axes]
    if len(s) != len(axes):
        raise ValueError(f"{func}: s is {tuple(s)}, but there are {len(axes)} axes")
    lengths = [_as_length(func, "s", n) for n in s]
    return [(axis, x.shape[axis] if n == -1 else n) for axis, n in zip(axes, lengths, strict=True)]


def _as_length(func: str, name: str, n: object) -> int:
    try:
        return operator.index(n)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{func}: {name} is {n!r}; expected an int") from None


def _one(
    kind: Literal["fft", "ifft", "rfft", "irfft"],
    x: Array,
    n: int | None,
    axis: int,
    norm: Norm,
    name: str = "",
) -> Array:
    func = name or kind
    x = _real(func, x) if kind == "rfft" else _complex(func, x)
    axis = normalize_axis(func, axis, x.ndim)
    if n is None:
        length = 2 * (x.shape[axis] - 1) if kind == "irfft" else x.shape[axis]
    else:
        length = _as_length(func, "n", n)
    return _several(func, x, [_Step(kind, axis, length)], norm)


# ---------------------------------------------------------------------- the order of things


def _several(func: str, x: Array, steps: list[_Step], norm: Norm) -> Array:
    """Transform axis after axis; a real transform comes first, the inverse of one last."""
    _check_norm(func, norm)
    for step in steps:
        if step.n < 1:
            raise ValueError(
                f"{func}: the length along axis {step.axis} is {step.n}; expected at least 1"
            )
    origin = x._layout
    pending = list(steps)
    while pending:
        allowed = _allowed(pending)
        split = x._layout.split if origin.comm.size > 1 else None
        home = next((step for step in allowed if step.axis != split), None)
        if home is not None:
            x = _local(x, home, norm)
            pending.remove(home)
            continue
        step = allowed[0]
        away = _other_axis(x, step, pending, origin.split)
        if away is None:
            x = _along_split(x, step, norm)
            pending.remove(step)
        else:
            x = redistribute(x, x._layout.split_along(away))
    if x._layout.split == origin.split or origin.split is None:
        return x
    if x.shape[origin.split] == origin.shape[origin.split]:
        return redistribute(x, origin.with_shape(x.shape, origin.split))
    return redistribute(x, x._layout.split_along(origin.split))


def _allowed(pending: list[_Step]) -> list[_Step]:
    """Return the steps that may come next: real to complex first, complex to real last."""
    first = [step for step in pending if step.kind == "rfft"]
    return first or [step for step in pending if step.kind != "irfft"] or pending


def _other_axis(x: Array, step: _Step, pending: list[_Step], origin: int | None) -> int | None:
    """Return along which axis `x` is split while the split axis is transformed; None: along none.

    Rather the axis of the result's split, then one that is not to be transformed itself.
    """
    busy = {other.axis for other in pending}
    axes = [i for i in range(x.ndim) if i != step.axis and x.shape[i] >= x.comm.size]
    return max(axes, key=lambda i: (i == origin, i not in busy, x.shape[i]), default=None)


def _local(x: Array, step: _Step, norm: Norm) -> Array:
    """Transform along an axis that is whole on every rank."""
    t = x._local
    kind, axis, n = step
    length = n // 2 + 1 if kind == "rfft" else n
    if t.numel():
        t = getattr(torch.fft, kind)(t, n=n, dim=axis, norm=norm)
    else:  # an empty shard, or an axis of length 0, padded with zeros
        t = zeros_of(t, resized(t.shape, axis, length), kind)
    return Array(t, x._layout.with_length(axis, length))


# ---------------------------------------------------------------------- along the split axis


def _along_split(x: Array, step: _Step, norm: Norm) -> Array:
    """Transform along the split axis, where it is the only long one."""
    if step.kind == "irfft":
        x = _complex(step.kind, x)
    return Array(*transform(x._local, x._layout, Step(*step, norm)))


# ---------------------------------------------------------------------- frequencies and shifts


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

    Parameters
    ----------
    n : int
        The length of the transform.
    d : float
        The spacing of the samples.
    dtype : dtype, optional
        Real floating-point; by default the default one.
    device, split, comm
        As for `zeros`.

    Returns
    -------
    Array, shape (n,)
        ``[0, 1, ..., (n-1)//2, -(n//2), ..., -1] / (d n)``. Sends nothing.
    """
    _check_length("fftfreq", n, d)
    k = arange(n, dtype="int64", device=device, split=split, comm=comm)
    k = where(k < (n + 1) // 2, k, k - n)
    return multiply(_as_frequencies("fftfreq", k, dtype), 1.0 / (n * d))


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
    """Return the frequencies of the elements of `rfft`: ``[0, 1, ..., n//2] / (d n)``.

    Parameters as of `fftfreq`. Sends nothing.
    """
    _check_length("rfftfreq", n, d)
    k = arange(n // 2 + 1, dtype="int64", device=device, split=split, comm=comm)
    return multiply(_as_frequencies("rfftfreq", k, dtype), 1.0 / (n * d))


def _check_length(func: str, n: object, d: float) -> None:
    if not isinstance(n, int) or isinstance(n, bool):
        raise TypeError(f"{func}: n is {n!r}; expected an int")
    if n < 1:
        raise ValueError(f"{func}: n is {n}; expected at least 1")
    if d == 0:
        raise ValueError(f"{func}: d is 0; expected a spacing")


def _as_frequencies(func: str, k: Array, dtype: Any) -> Array:
    if dtype is None:
        return as_lapack(func, k)
    if not to_torch_dtype(dtype, func).is_floating_point:
        raise TypeError(f"{func}: dtype is {dtype}; expected a real floating-point dtype")
    return astype(k, dtype)


def fftshift(x: Array, /, *, axes: int | Sequence[int] | None = None) -> Array:
    """Move the frequency 0 to the middle of the axes.

    Parameters
    ----------
    x : Array
        Any layout and dtype.
    axes : int or sequence of int, optional
        The axes. Default: all.

    Returns
    -------
    Array
        The layout of `x`; messages as of `roll`.
    """
    axes = normalize_axes("fftshift", axes, check_array("fftshift", "x", x).ndim)
    return roll(x, tuple(x.shape[axis] // 2 for axis in axes), axis=axes) if axes else x


def ifftshift(x: Array, /, *, axes: int | Sequence[int] | None = None) -> Array:
    """Undo `fftshift`. Parameters, layout and messages as there."""
    axes = normalize_axes("ifftshift", axes, check_array("ifftshift", "x", x).ndim)
    return roll(x, tuple(-(x.shape[axis] // 2) for axis in axes), axis=axes) if axes else x
