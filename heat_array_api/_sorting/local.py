"""Local kernels of sorting and searching: one rank's tensor, no messages.

Order is decided on *keys*: signed integers in the order that NumPy gives the values
(NaN last, -0.0 equal to 0.0, complex numbers lexicographic). Integers sort faster than
floats, have no special cases, and can be cut anywhere by the search for exact splitters
(`samplesort`). A descending order is the ascending order of the inverted keys, so it
keeps equal elements in their order too, and puts NaN first.

Which kernel is the fastest depends on the build and on the processor: NumPy's SIMD sort
takes 7 ns per float32 with AVX2 and 40 ns on a Zen 4, whose compressing stores are slow;
torch's radix sort of integers takes 25 ns where it exists and 150 ns where it does not.
Both give the same bits, so the choice is measured once per process.
"""

from __future__ import annotations

import time
from functools import cache
from typing import Final, Literal

import numpy as np
import torch
from torch import Tensor

from .._comm.assumptions import assumed, by_numpy, kept_of, truth
from .._core.dtypes import (
    COMPLEX,
    REAL_FLOATING,
    SIGNED,
    WIDE_UNSIGNED,
    carrier,
    on_bits,
    to_numpy_dtype,
)

Keys = tuple[Tensor, ...]
"""Components of equal shape, the most significant first."""


_SIGNED_OF_SIZE: Final = {t.itemsize: t for t in SIGNED}

NO_NAN: Final = "no value is NaN"
NO_ZERO: Final = "no value is -0.0"
"""What a dry run assumes of values."""


RADIX_LENGTH: Final = 1 << 15
"""torch's radix sort takes one-dimensional tensors of at least this length."""


# ---------------------------------------------------------------------- keys


def _flip_negative(k: Tensor) -> Tensor:
    """Map the bits of floats, read as signed integers, to their order, and back; a fresh tensor."""
    info = torch.iinfo(k.dtype)
    key = k >> (info.bits - 1)
    key &= info.max
    key ^= k
    return key


@cache
def _nan_key(dtype: torch.dtype) -> int:
    """Return the key of NaN: above that of infinity, and the bits of torch's NaN."""
    signed = _SIGNED_OF_SIZE[dtype.itemsize]
    return (
        int(torch.tensor(float("nan"), dtype=dtype).view(signed).item()) & torch.iinfo(signed).max
    )


def raw_keys(t: Tensor) -> Tensor:
    """Return keys from which `from_raw_keys` restores real values; -0.0 is below 0.0 here."""
    t = t.detach()
    signed = _SIGNED_OF_SIZE[t.dtype.itemsize]
    if t.dtype in REAL_FLOATING.all:
        key = _flip_negative(t.view(signed))
        # NaN is rare, and a minimum (which is NaN if there is one) ten times faster than a mask.
        if t.numel() and truth(torch.isnan(t.min()), False, NO_NAN):
            key.masked_fill_(t != t, _nan_key(t.dtype))
        return key
    if t.dtype is torch.uint8 or t.dtype in WIDE_UNSIGNED:
        return t.view(signed) ^ torch.iinfo(signed).min
    return t.view(signed)


def from_raw_keys(key: Tensor, dtype: torch.dtype) -> Tensor:
    """Undo `raw_keys` (every NaN comes back as the same one)."""
    if dtype in REAL_FLOATING.all:
        return _flip_negative(key).view(dtype)
    if dtype is torch.uint8 or dtype in WIDE_UNSIGNED:
        return (key ^ torch.iinfo(key.dtype).min).view(dtype)
    return key.view(dtype)


def _real_keys(t: Tensor) -> Tensor:
    key = raw_keys(t)
    if has_negative_zero(t):
        key.masked_fill_(key == -1, 0)
    return key


def has_negative_zero(t: Tensor) -> bool:
    """Return whether real values have a -0.0 among them."""
    if t.dtype not in REAL_FLOATING.all or t.numel() == 0 or assumed(NO_ZERO):
        return False
    bits = t.view(_SIGNED_OF_SIZE[t.dtype.itemsize])
    return int(bits.min()) == torch.iinfo(bits.dtype).min


def order_keys(t: Tensor, descending: bool = False) -> Keys:
    """Return keys that compare as the values do, equal where the values are (or both NaN)."""
    keys = _complex_keys(t) if t.dtype in COMPLEX.all else (_real_keys(t),)
    return tuple(~k for k in keys) if descending else keys


def _complex_keys(t: Tensor) -> Keys:
    """Return keys of NumPy's complex order: numbers, R + nan j, nan + R j, nan + nan j."""
    parts = torch.view_as_real(t.detach().resolve_conj())
    real, imag = (_real_keys(part.contiguous()) for part in parts.unbind(-1))
    nan = _nan_key(parts.dtype)
    # R + nan j: between infinity and nan, and among themselves by R.
    half = (imag == nan) & (real != nan)
    imag = torch.where(half, real, imag)
    real = real.masked_fill_(half, nan - 1)
    if t.dtype is torch.complex64:
        return ((real.long() << 32) + (imag.long() + (1 << 31)),)
    return (real, imag)


def is_nan_key(key: tuple[int, ...], dtype: torch.dtype) -> bool:
    """Return whether (ascending) key components are those of a NaN, or of a complex with one."""
    if dtype is torch.complex64:
        return key[0] >> 32 >= _nan_key(torch.float32) - 1
    if dtype is torch.complex128:
        return key[0] >= _nan_key(torch.float64) - 1
    return dtype in REAL_FLOATING.all and key[0] == _nan_key(dtype)


# ---------------------------------------------------------------------- which kernel


def _seconds(radix: bool, stable: bool, sample: Tensor) -> float:
    begin = time.perf_counter()
    if radix:
        torch.sort(sample, stable=stable)
    elif not stable:
        np.sort(sample.numpy())
    elif sample.dtype is torch.int32:
        _sort_packed(sample)
    else:
        np.argsort(sample.numpy(), kind="stable")
    return time.perf_counter() - begin


@cache
def _radix_is_faster(dtype: torch.dtype, stable: bool) -> bool:
    """Return whether torch sorts long integer tensors faster than NumPy: measured here and now."""
    generator = np.random.default_rng(0)
    info = torch.iinfo(dtype)
    values = generator.integers(info.min, info.max, 1 << 17, dtype=np.int64)
    sample = torch.from_numpy(values).to(dtype)
    times = [min(_seconds(radix, stable, sample) for _ in range(3)) for radix in (True, False)]
    return times[0] < times[1]


def _use_radix(k: Tensor, stable: bool) -> bool:
    """Return whether to sort along the last axis by torch."""
    if k.device.type != "cpu":
        return True
    if k.dtype.itemsize <= 2 or k.shape[-1] < RADIX_LENGTH or assumed():
        return False
    return _radix_is_faster(k.dtype, stable)


# ---------------------------------------------------------------------- sorting


def take_last(t: Tensor, order: Tensor) -> Tensor:
    """Return the elements of `t` in an order along the last axis, of the same shape."""
    kernel = torch.index_select if t.ndim == 1 else torch.gather  # five times faster than indexing
    return on_bits(kernel, t, dim=-1, index=order)


def merge_keys(k: Tensor) -> Tensor:
    """Sort one-dimensional integer keys that are a few sorted runs; on a CPU in place."""
    if k.device.type != "cpu":
        return torch.sort(k).values
    # NumPy's stable sort merges the runs that it finds, and is a radix sort for 16 bits.
    return _in_place(k, "stable")


def _in_place(k: Tensor, kind: Literal["stable"] | None = None) -> Tensor:
    """Sort a tensor along its last axis by NumPy; return it."""
    if not assumed():
        k.numpy().sort(axis=-1, kind=kind)
    return k


def _order(k: Tensor) -> Tensor:
    """Return the stable order along the last axis, by NumPy."""
    if assumed():
        return by_numpy(k.shape, torch.int64)
    return torch.from_numpy(np.argsort(k.numpy(), axis=-1, kind="stable"))


def sort_keys(k: Tensor) -> Tensor:
    """Return integer keys sorted along the last axis."""
    if k.device.type == "cpu" and k.dtype.itemsize <= 2:
        return _in_place(k.clone(), "stable")
    if not _use_radix(k, stable=False):
        return _in_place(k.clone())
    return _radix_sort(k, stable=False)[0]


def _radix_sort(k: Tensor, stable: bool) -> tuple[Tensor, Tensor]:
    """Return keys sorted along the last axis by torch, and their order."""
    if k.ndim == 1 or k.device.type != "cpu":
        ordered = torch.sort(k, dim=-1, stable=stable)
        return ordered.values, ordered.indices
    values = torch.empty(k.shape, dtype=k.dtype)
    order = torch.empty(k.shape, dtype=torch.int64)
    # Row by row: the radix sort is for one axis only.
    n = k.shape[-1]
    for row, v, i in zip(k.reshape(-1, n), values.view(-1, n), order.view(-1, n), strict=True):
        torch.sort(row, stable=stable, out=(v, i))
    return values, order


def _sort_packed(k: Tensor) -> tuple[Tensor, Tensor]:
    """Return 32-bit keys sorted along the last axis, and their order: by sorting 64-bit pairs."""
    packed = k.long()
    packed <<= 32
    packed |= torch.arange(k.shape[-1])
    _in_place(packed)
    return (packed >> 32).to(k.dtype), packed.bitwise_and_(0xFFFFFFFF)


def _sort_component(k: Tensor, runs: bool) -> tuple[Tensor, Tensor]:
    if k.device.type != "cpu" or not (runs or k.dtype.itemsize <= 2):
        if _use_radix(k, stable=True):
            return _radix_sort(k, stable=True)
        if k.dtype is torch.int32 and k.shape[-1] < 1 << 32:
            return _sort_packed(k)
    order = _order(k)
    return take_last(k, order), order


def sort_with_order(keys: Keys, runs: bool = False) -> tuple[Keys, Tensor]:
    """Return keys sorted along the last axis, and their stable order as int64.

    `runs` says that they are a few sorted runs, to be merged.
    """
    if len(keys) == 1:
        k, order = _sort_component(keys[0], runs)
        return (k,), order
    order = _sort_component(keys[-1], False)[1]
    for k in reversed(keys[:-1]):
        order = take_last(order, _sort_component(take_last(k, order), False)[1])
    return tuple(take_last(k, order) for k in keys), order


def argsort_keys(keys: Keys, runs: bool = False) -> Tensor:
    """Return the stable order of keys along the last axis, as int64."""
    return sort_with_order(keys, runs)[1]


def with_zeros_in_order(result: Tensor, t: Tensor) -> Tensor:
    """Give the zeros of the sorted `result` the signs that those of `t` have, in their order.

    Zeros of both signs are equal, so a stable sort keeps their order; a sort of raw keys
    does not. Row by row there are as many zeros in `t` as in `result`.
    """
    if has_negative_zero(t):
        result[result == 0] = t[t == 0]
    return result


def sort_last(t: Tensor, descending: bool = False) -> Tensor:
    """Return `t` sorted along its last axis (not 0-d): stable, NaN last (first if descending)."""
    if t.dtype in COMPLEX.all or t.requires_grad:
        return take_last(t, argsort_last(t, descending))
    t = t.contiguous()
    if t.dtype in (torch.float32, torch.float64) and t.device.type == "cpu":
        k = t.view(_SIGNED_OF_SIZE[t.dtype.itemsize])
        if not _use_radix(k, stable=False):
            result = _in_place(t.clone())
            return with_zeros_in_order(result.flip(-1) if descending else result, t)
    key = raw_keys(t)
    key = sort_keys(~key if descending else key)
    return with_zeros_in_order(from_raw_keys(~key if descending else key, t.dtype), t)


def argsort_last(t: Tensor, descending: bool = False) -> Tensor:
    """Return the stable order of `t` along its last axis (not 0-d), as int64."""
    return argsort_keys(order_keys(t.contiguous(), descending))


def starts_of_groups(keys: Keys, nan: Tensor) -> Tensor:
    """Return where a new value begins in sorted one-dimensional keys; each NaN is its own."""
    new = nan.clone()
    if new.shape[0]:
        new[0] = True
        for k in keys:
            new[1:] |= k[1:] != k[:-1]
    return new


# ---------------------------------------------------------------------- searching


def count_at_most(run: Tensor, keys: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Tensor:
    """Count, for each key, the elements of the sorted `run` that are at most that key."""
    probes = torch.from_numpy(keys).to(run.dtype)
    if run.device.type == "cpu":
        return torch.from_numpy(np.searchsorted(run.numpy(), probes.numpy(), side="right"))
    return torch.searchsorted(run, probes.to(run.device), right=True).cpu()


def searchsorted_local(run: Tensor, values: Tensor, side: str) -> Tensor:
    """Return where `values` belong in the sorted `run` of the same dtype, as int64."""
    run, values = run.detach(), values.detach()
    if run.dtype is torch.bfloat16:  # a dtype that NumPy cannot read
        run, values = _real_keys(run.contiguous()), _real_keys(values.contiguous())
    if run.device.type != "cpu" and run.dtype not in COMPLEX.all:
        (run,), (values,) = order_keys(run.contiguous()), order_keys(values.contiguous())
        return torch.searchsorted(run, values, right=side == "right")
    device = run.device
    if assumed():
        return by_numpy(values.shape, torch.int64)
    order: Literal["left", "right"] = "left" if side == "left" else "right"
    places = np.searchsorted(
        run.resolve_conj().cpu().numpy(), values.resolve_conj().cpu().numpy(), side=order
    )
    return torch.from_numpy(np.asarray(places, dtype=np.int64)).to(device)


def flat_nonzero(t: Tensor) -> Tensor:
    """Return the indices of what is not zero in a one-dimensional tensor."""
    t = carrier(t.detach())
    if t.device.type != "cpu" or t.dtype is torch.bfloat16:
        return t.nonzero().view(-1)
    if assumed():
        return by_numpy((kept_of(t.shape[0]),), torch.int64)
    # NumPy is ten times faster.
    return torch.from_numpy(np.flatnonzero(t.resolve_conj().numpy()))


def integers_as(values: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Return integers or booleans as `dtype`, and which of them are below and above its range."""
    if assumed():
        outside = torch.zeros(values.shape, dtype=torch.bool, device=values.device)
        return values.to(dtype), outside, outside.clone()
    numbers = values.cpu().numpy()
    if numbers.dtype == bool:
        numbers = numbers.view(np.uint8)
    target = to_numpy_dtype(dtype)
    bounds = (0, 1) if dtype is torch.bool else (np.iinfo(target).min, np.iinfo(target).max)
    own = np.iinfo(numbers.dtype)
    least, most = max(own.min, bounds[0]), min(own.max, bounds[1])
    clipped = np.clip(numbers, least, most).astype(target)
    low, high, same = (torch.from_numpy(a) for a in (numbers < least, numbers > most, clipped))
    return same.to(values.device), low.to(values.device), high.to(values.device)
