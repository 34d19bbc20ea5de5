"""The messages of captured functions as operators of torch, and how a program sends them.

An operator does not say what its message is (communicator, collective, counts): the running program
knows its messages in order. So compiled code is the same on all ranks whose shards have the
same shapes, and in every job.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .._comm.attribution import named
from .._comm.communicator import Communicator
from .._comm.table import TABLE
from .._core.collectives import sent
from .._core.layout import Shape


@dataclass(frozen=True)
class Message:
    """One communication of a captured function.

    Attributes
    ----------
    collective : str
        Its name in the table of collectives.
    args : tuple
        Its arguments other than the tensor.
    comm : Communicator
        The ranks that take part.
    origin : tuple of str
        The operation and the user's line, as `trace` shows them.
    dtype, shape
        Of the tensor that this rank brings.
    """

    collective: str
    args: tuple[Any, ...]
    comm: Communicator
    origin: tuple[str, str]
    dtype: torch.dtype
    shape: Shape

    @property
    def nbytes(self) -> int:
        """The size of the tensor that this rank brings."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def kind(self) -> tuple[Any, ...]:
        """What must be equal for messages to travel together."""
        return self.collective, self.args, self.comm, self.dtype

    def common(self) -> tuple[Any, ...]:
        """Return what must be the same on every rank."""
        same = TABLE[self.collective].same(self.dtype, self.shape, *self.args)
        return (self.collective, self.origin, self.comm.size, *same)


# ---------------------------------------------------------------------- operators

# Captured graphs contain `message`; scheduled ones `combine` (results of the same shapes) and
# `transfer` (a result of another shape). A token passes through all of them, so that their
# order is a dependency of data, which compilers keep.
_library: Any = torch.library.Library("heat_array_api", "DEF")  # type: ignore[no-untyped-call]

_library.define("message(Tensor tensor, SymInt[] shape, int number) -> Tensor")

_library.define("combine(Tensor[] tensors, Tensor token) -> Tensor[]")

_library.define("transfer(Tensor tensor, Tensor token, SymInt[] shape) -> Tensor[]")

MESSAGE: Any = torch.ops.heat_array_api.message.default

COMBINE: Any = torch.ops.heat_array_api.combine.default

TRANSFER: Any = torch.ops.heat_array_api.transfer.default


def _like(t: Tensor, shape: Sequence[int]) -> Tensor:
    return torch.empty(shape, dtype=t.dtype, device=t.device)


def _fake_message(tensor: Tensor, shape: Sequence[int], number: int) -> Tensor:
    return _like(tensor, shape)


def _fake_combine(tensors: list[Tensor], token: Tensor) -> list[Tensor]:
    return [*(_like(t, t.shape) for t in tensors), torch.empty_like(token)]


def _fake_transfer(tensor: Tensor, token: Tensor, shape: Sequence[int]) -> list[Tensor]:
    return [_like(tensor, shape), torch.empty_like(token)]


def _combine(tensors: list[Tensor], token: Tensor) -> list[Tensor]:
    return [*_send(next(_pending[-1]), tensors), token.clone()]


def _transfer(tensor: Tensor, token: Tensor, shape: Sequence[int]) -> list[Tensor]:
    return [*_send(next(_pending[-1]), [tensor]), token.clone()]


torch.library.register_fake("heat_array_api::message", _fake_message, lib=_library)

torch.library.register_fake("heat_array_api::combine", _fake_combine, lib=_library)

torch.library.register_fake("heat_array_api::transfer", _fake_transfer, lib=_library)

_library.impl("combine", _combine, "CompositeExplicitAutograd")

_library.impl("transfer", _transfer, "CompositeExplicitAutograd")


# ---------------------------------------------------------------------- sending

_pending: list[Iterator[Sequence[Message]]] = []
"""The remaining steps of the running programs, innermost last."""


def executed(
    function: Callable[..., Sequence[Tensor]],
    tensors: Sequence[Tensor],
    steps: Sequence[Sequence[Message]],
    errors: Sequence[Exception],
) -> tuple[Sequence[Tensor], Exception | None]:
    """Run a scheduled graph.

    Parameters
    ----------
    function : callable
        The graph, or its compiled code.
    tensors : sequence of Tensor
        Its inputs, the token last.
    steps : sequence
        Its messages, in order; those that travel together are one step.
    errors : sequence of Exception
        The errors of its checks. The last outputs before the token are the numbers to be false.

    Returns
    -------
    outputs : sequence of Tensor
    error : Exception or None
        The error of the first check that has failed, as eager execution would raise it.
    """
    _pending.append(iter(steps))
    try:
        with torch.no_grad():
            outputs = function(*tensors)
    finally:
        _pending.pop()
    n = len(outputs) - len(errors) - 1
    error = next((e for bad, e in zip(outputs[n:], errors, strict=False) if bad), None)
    return outputs[:n], error


def _send(step: Sequence[Message], tensors: list[Tensor]) -> list[Tensor]:
    """Send the messages of a step: one message, or several sums as one."""
    first = step[0]
    names = dict.fromkeys(one.origin[0] for one in step)
    with named((" + ".join(names), first.origin[1])):
        if len(step) > 1:
            flat = torch.cat([t.reshape(-1) for t in tensors])
            flat = sent(first.collective, flat, first.args, first.comm)
            parts = flat.split([t.numel() for t in tensors])  # type: ignore[no-untyped-call]
            # Operators return tensors that share no memory.
            return [p.view(t.shape).clone() for p, t in zip(parts, tensors, strict=True)]
        t = tensors[0]
        if first.collective == "bcast" and first.comm.rank != first.args[0]:
            t = torch.empty_like(t, memory_format=torch.contiguous_format)
        return [sent(first.collective, t, first.args, first.comm)]
