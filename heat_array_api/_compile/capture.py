"""Capture: one call of a function of arrays as a graph of local operations and messages.

The function runs once on fake tensors (torch's: shapes and dtypes without values). The library's
own Python decides from layouts alone what each rank computes and sends; a dispatch mode records the
operations, and a recording transport the messages. So every operation with a static layout can
be captured, derivatives too; one that needs values (a mask, `unique`) raises `NotCapturable`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

import torch
from torch import Tensor, fx
from torch.overrides import TorchFunctionMode

from .._comm.attribution import caller
from .._comm.communicator import Communicator
from .._comm.recording import NotCapturable, captures
from .._comm.table import Collective
from .._comm.transport import TensorTransport
from .._core.array import Array
from .._core.layout import Layout
from .._core.torch_internals import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
    TorchDispatchMode,
    UnsupportedOperatorException,
    _disable_current_modes,
    tree_map,
)
from .._core.views import note_write
from .collective_ops import MESSAGE, Message


@dataclass
class Capture:
    """What one call of a function does on this rank.

    Attributes
    ----------
    mode : FakeTensorMode
        The mode that the fake tensors belong to.
    graph : torch.fx.Graph
        Placeholders for the shards and then for the constants; local operations; `MESSAGE` nodes;
        the output is the list of tensors that the function makes.
    messages : list of Message
        In the order of the program.
    constants : list of Tensor
        Values that are not arguments.
    fakes : list of Tensor
        The fake tensors of the placeholders.
    shards : list of bool
        Whether each of them is this rank's own part of an array; others are the same on all ranks.
    checks : list
        Pairs of a number that must be false and the error to raise otherwise. The numbers are
        the last outputs.
    """

    mode: FakeTensorMode = field(default_factory=FakeTensorMode)
    graph: fx.Graph = field(default_factory=fx.Graph)
    messages: list[Message] = field(default_factory=list)
    constants: list[Tensor] = field(default_factory=list)
    fakes: list[Tensor] = field(default_factory=list)
    shards: list[bool] = field(default_factory=list)
    checks: list[tuple[Tensor, Exception]] = field(default_factory=list)


_CONSTANTS = (torch.ops.aten.lift_fresh.default, torch.ops.aten.lift_fresh_copy.default)

_SAME = (torch.ops.aten.detach.default, torch.ops.aten.alias.default)

# Tensors made like another need its shape only: they must not wait for its values.
_LIKE = {
    torch.ops.aten.zeros_like.default: 0,
    torch.ops.aten.ones_like.default: 1,
    torch.ops.aten.new_zeros.default: 0,
    torch.ops.aten.new_ones.default: 1,
}


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records every operation of torch on fake tensors.

    Attributes
    ----------
    refused : NotCapturable or None
        Why what is recorded is not what the function does with values: the first reason, kept here
        because the function may catch the exception and go on.
    """

    def __init__(self, capture: Capture) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.capture = capture
        self.mode = capture.mode
        self.checks = capture.checks
        self.refused: NotCapturable | None = None
        self.nodes: dict[int, fx.Node] = {}
        self.kept: list[Tensor] = []  # ids stay theirs
        # Placeholders come first, those of constants last among them.
        self.last = capture.graph._root

    def operation(self, f: Callable[..., Any], args: Any, kwargs: Any, always: bool) -> Any:
        """Call a function that may break the graph (`recording.breaks`): here nothing does."""
        return f(*args, **kwargs)

    def refuse(self, reason: NotCapturable) -> None:
        """Note why the function cannot be recorded as it runs."""
        self.refused = self.refused or reason

    def bind(self, t: Tensor, node: fx.Node) -> None:
        """Let `node` stand for a tensor."""
        node.meta["val"] = t
        self.nodes[id(t)] = node
        self.kept.append(t)

    def node(self, t: Any) -> Any:
        """Return the node of a tensor; anything else unchanged."""
        if not isinstance(t, Tensor):
            return t
        found = self.nodes.get(id(t))
        if found is None:
            raise NotCapturable(
                "it uses an array that is neither an argument of it, nor a variable of its module "
                "or of the functions around it"
            )
        return found

    def placeholder(self, t: Tensor, layout: Layout | None = None) -> None:
        """Add an input: a constant, or the shard of an array."""
        self.capture.fakes.append(t)
        own = layout is not None and (layout.split is not None or layout.comm.size == 1)
        self.capture.shards.append(own)
        self.last = self.capture.graph.placeholder(f"t{len(self.capture.fakes)}")
        self.bind(t, self.last)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _CONSTANTS and not isinstance(args[0], FakeTensor):
            return self.constant(args[0])
        given, named = tree_map(self.node, (tuple(args), dict(kwargs)))
        result = func(*args, **kwargs)
        if isinstance(result, Tensor):
            if id(result) not in self.nodes or func not in _SAME:
                self._made(func, given, named, result)
        elif isinstance(result, (tuple, list)):
            node = self.capture.graph.call_function(func, given, named)
            for number, one in enumerate(result):
                if isinstance(one, Tensor) and id(one) not in self.nodes:
                    self.bind(
                        one, self.capture.graph.call_function(operator.getitem, (node, number))
                    )
        elif func._schema.is_mutable:
            self.capture.graph.call_function(func, given, named)
        return result

    def _made(self, func: Any, given: Any, named: Any, result: Tensor) -> None:
        if func in _LIKE and result.is_contiguous():
            func, given = torch.ops.aten.full.default, (list(result.shape), _LIKE[func])
            named = {"dtype": result.dtype, "device": result.device}
        node = self.capture.graph.call_function(func, given, named)
        if id(result) not in self.nodes:  # what works in place returns its argument
            self.bind(result, node)

    def constant(self, value: Tensor) -> Tensor:
        """Return the fake tensor of Python's numbers: a 0-d one becomes a node of the graph."""
        with _disable_current_modes():
            value = value.clone()
            fake = self.mode.from_tensor(value)
            if value.ndim == 0:
                fake.constant = value  # may be asked for
                where = {"dtype": value.dtype, "device": value.device}
                args: tuple[Any, ...] = ([], value.item())
                self.bind(fake, self.call(torch.ops.aten.full.default, args, where))
                return fake
            self.capture.constants.append(value)
            with self.capture.graph.inserting_after(self.last):
                self.placeholder(fake)
        return fake

    def call(self, func: Any, args: Any, kwargs: Any) -> fx.Node:
        """Add a node."""
        return self.capture.graph.call_function(func, args, kwargs)

    # ------------------------------------------------------------------ messages

    def transport(self, comm: Communicator) -> RecordingTransport:
        """Return what carries the messages of a communicator while this records."""
        return RecordingTransport(self, comm)

    def send(
        self, comm: Communicator, collective: Collective, t: Tensor, args: tuple[Any, ...]
    ) -> Tensor:
        """Record a message that this rank takes part in; return the fake result."""
        own = tuple(t.shape)
        shape = collective.result(comm, own, *args)
        with _disable_current_modes(), self.mode:
            result = torch.empty(shape, dtype=t.dtype, device=t.device)
        number = len(self.capture.messages)
        self.capture.messages.append(Message(collective.name, args, comm, caller(), t.dtype, own))
        node = self.capture.graph.call_function(MESSAGE, (self.node(t), list(shape), number))
        self.bind(result, node)
        return result


# ---------------------------------------------------------------------- recording


class RecordingTransport(TensorTransport):
    """Records messages instead of sending them.

    It has no other method than those for tensors: a program must not depend on integers and objects
    that are known only when it runs.

    Parameters
    ----------
    recorder : Recorder
        Gets the messages.
    comm : Communicator
        The communicator that will send them.
    """

    def __init__(self, recorder: Recorder, comm: Communicator) -> None:
        self.recorder, self.comm = recorder, comm

    def carry(self, collective: Collective, t: Tensor, *args: Any) -> Tensor:
        given = tuple(tuple(a) if isinstance(a, (list, tuple)) else a for a in args)
        return self.recorder.send(self.comm, collective, t, given)

    def __getattr__(self, name: str) -> NoReturn:
        raise NotCapturable(f"its layouts depend on values ({caller()[0]}: {name})")


class _Refusals(TorchFunctionMode):
    """Notes what torch refuses to do with fake tensors, also outside its operators (``numpy``)."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        try:
            return func(*args, **(kwargs or {}))
        except Exception as error:
            reason = not_capturable(error)
            if reason is not None:
                self._recorder.refuse(reason)
            raise


@contextmanager
def recording(recorder: Recorder) -> Iterator[None]:
    """Record what torch and the communicators are asked for in a block."""
    captures.append(recorder)
    try:
        with recorder.mode, recorder, _Refusals(recorder):
            yield
    finally:
        captures.pop()


# ---------------------------------------------------------------------- the capture


@contextmanager
def holding(arrays: Sequence[Array], tensors: Sequence[Tensor]) -> Iterator[None]:
    """Let arrays hold other tensors as their shards for the length of a block."""
    before = [(x._local, x._layout) for x in arrays]
    for x, t in zip(arrays, tensors, strict=True):
        x._local = t
    try:
        yield
    finally:
        pairs = zip(arrays, tensors, strict=True)
        written = [x for x, t in pairs if x._is_stale or x._local is not t]
        for x, (value, layout) in zip(arrays, before, strict=True):
            x._local, x._layout = value, layout
            if hasattr(x, "_varying"):
                del x._varying
        for x in written:
            note_write(x)


_OUTSIDE = (".numpy() is not supported", "Cannot access data pointer")
"""What torch says when code outside torch asks for the memory of a fake tensor."""


def not_capturable(error: BaseException) -> NotCapturable | None:
    """Return why an error kept a function from being captured; None if it is the function's own."""
    if isinstance(error, NotCapturable):
        return error
    if isinstance(error, (DataDependentOutputException, DynamicOutputShapeException)):
        return NotCapturable(f"it depends on values ({error})")
    if isinstance(error, UnsupportedOperatorException):
        return NotCapturable(f"torch cannot trace {error}")
    if isinstance(error, RuntimeError) and any(text in str(error) for text in _OUTSIDE):
        return NotCapturable("part of it runs outside torch (sorting, for example)")
    return None


def captured(
    call: Callable[[], Any], arrays: Sequence[Array], finish: Callable[[Any], Sequence[Tensor]]
) -> Capture:
    """Call a function once on fake tensors, and return what it did.

    Parameters
    ----------
    call : callable
        The function, without arguments.
    arrays : sequence of Array
        The arrays that it depends on: the inputs of the graph, in this order.
    finish : callable
        Gets the function's result, while the arrays are as it left them; returns the tensors that
        are outputs.

    Raises
    ------
    NotCapturable
        If what the function does depends on values.
    """
    capture = Capture()
    mode = capture.mode
    recorder = Recorder(capture)
    with mode:
        fakes = [
            torch.empty(tuple(x._local.shape), dtype=x._local.dtype, device=x._local.device)
            for x in arrays
        ]
        # A second owner of each storage: operators that write do so into a copy.
        owners = [fake.detach() for fake in fakes]
    for x, fake in zip(arrays, fakes, strict=True):
        recorder.placeholder(fake, x._layout)
    try:
        with holding(arrays, fakes):
            with recording(recorder):  # results may be views that are yet to be refreshed
                found = finish(call())
            if recorder.refused is not None:
                raise recorder.refused
            checks = [bad for bad, _ in capture.checks]
            outputs = [recorder.node(t) for t in (*found, *checks)]
    except Exception as error:
        reason = recorder.refused or not_capturable(error)
        if reason is None or reason is error:
            raise
        raise reason from error
    del owners
    capture.graph.output(outputs)
    return capture
