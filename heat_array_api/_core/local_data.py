"""A rank's own data, given by its user, as a torch tensor.

What one rank is given wrong, all ranks must hear: see `agreement`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.dlpack import from_dlpack as from_dlpack_capsule

from .._comm.communicator import Communicator
from .agreement import agreed
from .dtypes import from_numpy, from_torch
from .layout import Shape


def exported(x: Any) -> Tensor:
    """Return the values of an object with the DLPack protocol, sharing its memory if possible."""
    if isinstance(x, np.ndarray):  # torch refuses bfloat16, and what it cannot share
        return from_numpy("from_dlpack", x, copy=False)
    if isinstance(x, Tensor):  # whose own export drops a lazy negation
        if x.requires_grad:
            raise BufferError("from_dlpack: x requires a gradient; pass x.detach()")
        return from_torch("from_dlpack", "x", x)
    return from_torch("from_dlpack", "x", from_dlpack_capsule(x))


def pointer_of(x: Any) -> int | None:
    """Return where the values of an array of NumPy or torch lie; None for others, and for none."""
    if isinstance(x, np.ndarray):
        return x.ctypes.data if x.size else None
    return x.data_ptr() if isinstance(x, Tensor) else None


def _as_shard(local: Any) -> Tensor:
    """Return this rank's shard. Errors name no function: `agreed` does."""
    if isinstance(local, np.ndarray):
        return from_numpy("from_local", local, copy=False)
    if not isinstance(local, Tensor):
        kind = type(local).__name__
        raise TypeError(f"local is {kind}; expected a torch tensor or a NumPy array")
    if local.requires_grad:
        raise ValueError(
            "local requires a gradient, which messages do not carry yet; pass local.detach()"
        )
    return from_torch("from_local", "local", local)


def agreed_shards(local: Any, split: int | None, comm: Communicator) -> tuple[Tensor, list[Shape]]:
    """Return this rank's shard and the shapes of all; raise on all ranks if one cannot be one."""

    def facts(t: Tensor) -> tuple[Shape, str, int | None, str]:
        return tuple(t.shape), str(t.dtype), split, t.device.type

    t, everyone = agreed("from_local", comm, lambda: _as_shard(local), facts)
    shapes, dtypes, splits, devices = (list(values) for values in zip(*everyone, strict=True))
    for name, values in (
        ("dtypes", dtypes),
        ("numbers of axes", list(map(len, shapes))),
        ("splits", splits),
        ("devices", devices),
    ):
        if any(value != values[0] for value in values):
            raise ValueError(f"from_local: the ranks' {name} differ: {values}")
    return t, shapes
