"""Nodes of torch's tape: the only subclasses of `torch.autograd.Function`.

All ranks must send the messages of a backward pass in the same order. torch's engine runs nodes in
the reverse order of their creation, so ranks that make the same nodes in the same order stay in
step. A rank must therefore keep on its tape even what it does not need itself, such as an empty
shard or a row that another rank holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function, forward_ad

from .._comm.attribution import adjoint_of
from .._comm.trace import origin
from .torch_internals import peek_interpreter_stack as _interpreter


def tracked(t: Tensor) -> bool:
    """Return whether `t` is on the tape, or a transform is active."""
    return (
        (t.requires_grad and torch.is_grad_enabled())
        or forward_ad._current_level >= 0
        or _interpreter() is not None
    )


def transforming() -> bool:
    """Return whether forward-mode derivatives are being taken, or `torch.func` is at work."""
    return forward_ad._current_level >= 0 or _interpreter() is not None


class _Token(Function):
    @staticmethod
    def forward(ctx: Any, t: Tensor) -> Tensor:
        ctx.like = (t.shape, t.dtype, t.device)
        return torch.zeros((), dtype=t.dtype, device=t.device)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        shape, dtype, device = ctx.like
        return torch.zeros(shape, dtype=dtype, device=device)


def _token(t: Tensor) -> Tensor:
    """Return a number that depends on `t`, as far as the tape knows; it keeps no memory of it."""
    result: Tensor = _Token.apply(t)  # type: ignore[no-untyped-call]
    return result


class Record:
    """The messages of a function, or of a backward pass, that will itself be differentiated.

    Dependencies may differ among the ranks: torch cuts the tape at some empty tensors, and its
    derivatives for one row use fewer operations than for two. A rank would then miss collectives
    in the next backward pass. So on every rank each message of a backward pass is made to depend
    on all `sources`, and each gradient on all `messages`.

    Parameters
    ----------
    sources : iterable of Tensor
        Tensors by which the derivatives may be differentiated.
    messages : iterable of Tensor
        Tokens of the messages so far.
    """

    def __init__(self, sources: Iterable[Tensor] = (), messages: Iterable[Tensor] = ()) -> None:
        self.sources = [_token(t) for t in sources if t.requires_grad]
        self.messages = list(messages)


_records: list[Record] = []


@contextmanager
def recorded(record: Record | None) -> Iterator[None]:
    """Record messages in `record`, and in the record of the function around; None: nowhere."""
    before = len(record.messages) if record else 0
    _records.append(record or Record())
    try:
        yield
    finally:
        _records.pop()
        if record and _records:
            _records[-1].messages.extend(record.messages[before:])


def noted(t: Tensor) -> Tensor:
    """Return the result of a message, after adding it to the record."""
    if _records and t.requires_grad and torch.is_grad_enabled() and _interpreter() is None:
        _records[-1].messages.append(_token(t))
    return t


def _from_sources(g: Tensor | None) -> Tensor | None:
    """Return the cotangent of a message as one that depends on all sources."""
    if g is None or not (_records and _records[-1].sources and torch.is_grad_enabled()):
        return g
    return attached(g, *_records[-1].sources)


class _Linear(Function):
    """A linear communication as a node of the tape.

    ``apply(t, send, transpose, *where)``: `send` maps values and tangents, `transpose` cotangents.
    Both are functions of `collectives`, hence differentiable themselves.
    """

    @staticmethod
    def forward(ctx: Any, t: Tensor, send: Any, transpose: Any, *where: Any) -> Tensor:
        ctx.rules = (send, transpose, where)
        ctx.origin = origin()
        result: Tensor = send(t, *where)
        return result

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        _, transpose, where = ctx.rules
        with adjoint_of(ctx.origin):
            result = transpose(_from_sources(g), *where)
        return (result, None, None, *[None] * len(where))

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: Any) -> Any:
        send, transpose, where = ctx.rules
        return linear(tangent, send, transpose, *where)


class _TransformedLinear(_Linear):
    """The same for `torch.func`, which needs ``setup_context``: 20 microseconds more per call."""

    @staticmethod
    def forward(t: Tensor, send: Any, transpose: Any, *where: Any) -> Tensor:  # type: ignore[override]
        result: Tensor = send(t, *where)
        return result

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        _, send, transpose, *where = inputs
        ctx.rules = (send, transpose, where)
        ctx.origin = origin()

    @staticmethod
    def vmap(info: Any, in_dims: Any, t: Tensor, send: Any, transpose: Any, *where: Any) -> Any:
        """Send the whole batch at once: it becomes the last axis, and all rules keep rows."""
        rows = t.movedim(in_dims[0], -1).contiguous()
        if send in with_batch:
            where = with_batch[send](info.batch_size, *where)
        result = linear(rows, send, transpose, *where)
        return result, rows.ndim - 1


def linear(t: Tensor, send: Any, transpose: Any, *where: Any) -> Tensor:
    """Return ``send(t, *where)`` as a node whose adjoint is ``transpose(g, *where)``."""
    kind: Any = _Linear if _interpreter() is None else _TransformedLinear
    result: Tensor = kind.apply(t, send, transpose, *where)
    return noted(result)


with_batch: dict[Any, Callable[..., tuple[Any, ...]]] = {}
"""For each communication that takes shapes: its arguments with a batch as a further, last axis."""


class _Custom(Function):
    """A function of tensors with a rule for its cotangents, made by `custom`."""

    @staticmethod
    def forward(ctx: Any, value: Any, adjoint: Any, *tensors: Tensor) -> Any:
        results = tuple(value(*(t.detach() for t in tensors)))
        ctx.adjoint = adjoint
        ctx.origin = origin()
        ctx.n = len(tensors)
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(
            *(t for t in results if not (t.is_floating_point() or t.is_complex()))
        )
        ctx.save_for_backward(*tensors, *results)
        return results

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Any:
        saved = ctx.saved_tensors
        given = [_from_sources(g) for g in cotangents]
        with adjoint_of(ctx.origin):
            result = ctx.adjoint(ctx.needs_input_grad[2:], saved[: ctx.n], saved[ctx.n :], given)
        return (None, None, *result)


def custom(
    value: Callable[..., Sequence[Tensor]], adjoint: Callable[..., Any], tensors: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """Return ``value(*tensors)``, computed off the tape, with derivatives by a rule.

    Parameters
    ----------
    value : callable
        Returns new tensors.
    adjoint : callable
        ``adjoint(needed, tensors, results, cotangents)`` returns a cotangent (or None) for each
        tensor. `needed` tells which are asked for; tensors and results are nodes of the tape, so
        that derivatives of derivatives exist; the cotangent of an unused result is None.
    tensors : sequence of Tensor
        At least one is on the tape.
    """
    results = _Custom.apply(value, adjoint, *tensors)  # type: ignore[no-untyped-call]
    return tuple(noted(t) for t in results)


class _Replaced(Function):
    @staticmethod
    def forward(ctx: Any, t: Tensor, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return g, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: Any) -> Any:
        return tangent.clone()


class _Barrier(Function):
    @staticmethod
    def forward(ctx: Any, t: Tensor) -> Tensor:
        ctx.save_for_backward(t)
        return t.view_as(t)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        _ = ctx.saved_tensors
        return g


def barrier(t: Tensor) -> Tensor:
    """Return `t`; the backward pass unpacks a saved tensor here, where `checkpoint` recomputes."""
    result: Tensor = _Barrier.apply(t)  # type: ignore[no-untyped-call]
    return result


class _Attached(Function):
    @staticmethod
    def forward(ctx: Any, t: Tensor, *others: Tensor) -> Tensor:
        ctx.others = [(other.shape, other.dtype, other.device) for other in others]
        return t.view_as(t)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return g, *(torch.zeros(n, dtype=d, device=where) for n, d, where in ctx.others)

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: Any) -> Any:
        return tangent.clone()


def attached(t: Tensor, *others: Tensor) -> Tensor:
    """Return `t`, which counts as depending on `others`, because it does on some ranks."""
    result: Tensor = _Attached.apply(t, *others)  # type: ignore[no-untyped-call]
    return result


def replaced(t: Tensor, value: Tensor) -> Tensor:
    """Return `value` with the derivatives of `t`, from which it differs by rounding only."""
    result: Tensor = _Replaced.apply(t, value)  # type: ignore[no-untyped-call]
    return result
