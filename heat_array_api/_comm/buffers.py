"""Buffers: dense memory that MPI can read and write, and codes for dtypes that it cannot reduce."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from .dtypes import HALVES, INTEGERS

CUDA_AWARE = os.environ.get("HEAT_ARRAY_API_CUDA_AWARE", "") == "1"
"""Whether MPI accepts CUDA pointers; otherwise CUDA tensors pass through pinned host memory."""


# ---------------------------------------------------------------------- memory


def dense(t: Tensor) -> Tensor:
    """Return `t`, or a copy of it, whose memory is its values in C order.

    A conjugate or negative view shares memory with its base, which holds other values.
    """
    if t.is_conj() or t.is_neg():
        t = t.resolve_conj().resolve_neg()
    return t.contiguous()


def fresh(t: Tensor) -> Tensor:
    """Return a dense copy of `t` that shares no memory with it.

    Its strides are those of a new tensor even along axes of length 1: kernels choose their
    algorithm by the strides, and copies must give the same bits on all ranks.
    """
    copy = dense(t)  # a copy, or the same object
    return copy.clone(memory_format=torch.contiguous_format) if copy is t else copy


MOST_KEPT = 1 << 28
"""The bytes of the largest buffer that is kept for the next message."""


class Staging:
    """Reusable host buffers through which tensors of a device pass.

    Parameters
    ----------
    pinned : bool
        Whether to use page-locked memory, which CUDA copies faster.
    """

    def __init__(self, pinned: bool = True) -> None:
        self.pinned = pinned
        self.pools: dict[str, Tensor] = {}

    def buffer(self, role: str, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Return host memory of a shape: valid until the next call for the same role."""
        nbytes = math.prod(shape) * dtype.itemsize
        pool = self.pools.get(role)
        if pool is None or pool.numel() < nbytes:
            # By powers of two, so that growing arrays do not allocate each time.
            size = 1 << max(12, (nbytes - 1).bit_length())
            pool = torch.empty(size, dtype=torch.uint8, pin_memory=self.pinned)
            if size <= MOST_KEPT:
                self.pools[role] = pool
        return pool[:nbytes].view(dtype).view(tuple(shape))

    def send(self, t: Tensor) -> Tensor:
        """Return a host copy of `t`, complete when this returns."""
        return self.buffer("send", t.shape, t.dtype).copy_(t)


_staging = Staging()


def outgoing(t: Tensor) -> Tensor:
    """Return a tensor of the values of `t` whose memory MPI can read."""
    t = dense(t)
    if t.is_cpu:
        return t
    if not CUDA_AWARE:
        return _staging.send(t)
    # MPI ignores streams: the values must have been computed.
    torch.cuda.current_stream(t.device).synchronize()
    return t


def empty(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return an uninitialised tensor that MPI can write, for a result on `device`."""
    if device.type == "cpu" or CUDA_AWARE:
        return torch.empty(shape, dtype=dtype, device=device)
    return _staging.buffer("receive", shape, dtype)


def deliver(out: Tensor, like: Tensor) -> Tensor:
    """Return a received tensor on the device of the tensor that was sent."""
    return out if like.is_cpu else out.to(like.device)


# ---------------------------------------------------------------------- codes


class Codec(Protocol):
    """A code for a dtype that MPI cannot reduce with the right result."""

    def encode(self, t: Tensor) -> Tensor:
        """Return the code of a dense tensor: a new tensor, or a view."""

    def decode(self, code: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the tensor of a code."""


class _Bytes:
    """Booleans as bytes 0 and 1: "or" is the maximum, "and" the minimum."""

    def encode(self, t: Tensor) -> Tensor:
        return t.view(torch.uint8)

    def decode(self, code: Tensor, dtype: torch.dtype) -> Tensor:
        return code.view(dtype)


class _Wide:
    """Half precision as float32: sums over ranks are rounded once, at the end."""

    def encode(self, t: Tensor) -> Tensor:
        return t.to(torch.float32)

    def decode(self, code: Tensor, dtype: torch.dtype) -> Tensor:
        return code.to(dtype)


class _Keys:
    """Floats as integers in the order -inf < ... < -0.0 < 0.0 < ... < inf; NaN beats all.

    A float's bits, read as an integer, are in order for positive numbers and in reverse order for
    negative ones; so the bits of these are flipped, the sign excepted. With MPI's own MAX the order
    of the ranks would decide whether a NaN is kept, and which zero.
    """

    def __init__(self, dtype: torch.dtype, integer: torch.dtype, op: str) -> None:
        self.integer = integer
        self.shift = 8 * integer.itemsize - 1
        self.mask = torch.tensor(torch.iinfo(integer).max, dtype=integer)
        # The codes of a quiet NaN, and of one with the sign bit: above and below all numbers.
        top = int(torch.tensor(math.nan, dtype=dtype).abs().view(integer).item())
        self.nan = top if op == "max" else ~top

    def encode(self, t: Tensor) -> Tensor:
        return self.flip(t.view(self.integer)).masked_fill_(t.isnan(), self.nan)

    def flip(self, bits: Tensor) -> Tensor:
        return (bits >> self.shift).bitwise_and_(self.mask).bitwise_xor_(bits)

    def decode(self, code: Tensor, dtype: torch.dtype) -> Tensor:
        out = self.flip(code).view(dtype)
        if self.nan < 0:
            out.masked_fill_(out.isnan(), math.nan)  # without the sign bit
        return out


_BITS_OF = {
    torch.float16: torch.int16,
    torch.bfloat16: torch.int16,
    torch.float32: torch.int32,
    torch.float64: torch.int64,
}

_BYTES, _WIDE = _Bytes(), _Wide()

_KEYS: dict[tuple[str, torch.dtype], Codec] = {
    (op, dtype): _Keys(dtype, integer, op)
    for op in ("max", "min")
    for dtype, integer in _BITS_OF.items()
}


def _reduction(op: str, dtype: torch.dtype) -> tuple[Codec | None, torch.dtype, str]:
    if dtype is torch.bool:
        return _BYTES, torch.uint8, "max" if op in ("sum", "max") else "min"
    if (op, dtype) in _KEYS:
        return _KEYS[op, dtype], _BITS_OF[dtype], op
    if dtype in HALVES:
        return _WIDE, torch.float32, op
    return None, dtype, op


_FLOATING = [torch.float32, torch.float64, torch.complex64, torch.complex128]

REDUCTIONS = {
    (op, dtype): _reduction(op, dtype)
    for op in ("sum", "prod", "max", "min")
    for dtype in (*INTEGERS, *_FLOATING, torch.bool, *HALVES)
    if not (dtype.is_complex and op in ("max", "min"))
}
"""For each operation and dtype: the codec if any, the dtype that travels, the operation on it."""


def no_reduction(func: str, op: str, dtype: torch.dtype) -> Exception:
    """Return the error for an (op, dtype) that is not among the reductions."""
    ops = list(dict.fromkeys(name for name, _ in REDUCTIONS))
    if op not in ops:
        return ValueError(f"{func}: op is {op!r}; expected one of {', '.join(map(repr, ops))}")
    if dtype.is_complex and op in ("max", "min"):
        remedy = "complex numbers have no order"
    else:
        names = (str(other).removeprefix("torch.") for name, other in REDUCTIONS if name == op)
        remedy = f"cast to one of {', '.join(names)}"
    return TypeError(f"{func}: op {op!r} is not defined for {dtype}: {remedy}")


def identity(op: str, shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the identity of a reduction: 0, 1, or the least or greatest value of the dtype."""
    value: float
    if op in ("sum", "prod"):
        value = op == "prod"
    elif dtype is torch.bool:
        value = op == "min"
    elif dtype.is_floating_point:
        value = -math.inf if op == "max" else math.inf
    else:
        limits = torch.iinfo(dtype)
        value = limits.min if op == "max" else limits.max
    return torch.full(tuple(shape), value, dtype=dtype, device=device)
