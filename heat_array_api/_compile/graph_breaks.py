"""Graph breaks: functions that run as subgraphs, recorded in each call.

While a subgraph is recorded, every array that is read holds a fake tensor (`interception`). An
operation that needs values (`_comm.recording.breaks`) breaks the graph: the subgraph runs, all
arrays get their values, the operation is called on them, and the next subgraph begins. So only the
arrays themselves are remembered across a break.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from enum import Enum, auto
from itertools import compress
from typing import Any

import torch
from torch import Tensor, fx

from .._comm.attribution import caller, register_wrapper
from .._comm.communicator import Communicator
from .._comm.debug import Call
from .._comm.in_step import OutOfStep, raised
from .._comm.recording import NotCapturable
from .._core.array import SLOT, Array
from .._core.layout import Layout
from .._core.torch_internals import FakeTensor, FakeTensorMode, _disable_current_modes, tree_map
from .._core.torch_internals import is_functorch_wrapped_tensor as _is_wrapped
from .capture import Capture, Recorder, not_capturable, recording
from .guards import Environment, common, common_of_arrays
from .interception import intercepted
from .subgraphs import RaisedElsewhere, RankState, Subgraphs, Unbreakable
from .undoing import Before, put_back

__all__ = ["CallWithBreaks", "Phase", "Unbreakable"]

register_wrapper(__name__)

MOST_OPERATIONS = 4096
"""Of so many operations it is remembered whether they can be recorded."""


class _SubgraphRecorder(Recorder):  # type: ignore[no-untyped-call]
    """Records one subgraph; every array becomes an input when it is first read."""

    def __init__(self, call: CallWithBreaks, mode: FakeTensorMode) -> None:
        super().__init__(Capture(mode))
        self._call = call
        self._owners: list[Tensor] = []
        self.values: dict[int, Tensor] = {}  # of the inputs, by the ids of their fake tensors

    def operation(self, f: Callable[..., Any], args: Any, kwargs: Any, always: bool) -> Any:
        return self._call.operation(f, args, kwargs, always)

    def enter(self, value: Tensor, layout: Layout) -> Tensor:
        """Return a fake tensor for a shard, which becomes an input."""
        if value.requires_grad:
            raise NotCapturable("it uses an array on the tape")
        with _disable_current_modes(), self.mode:
            fake = torch.empty(tuple(value.shape), dtype=value.dtype, device=value.device)
            # With a second owner of its storage, in-place operators write into a copy.
            self._owners.append(fake.detach())
        self.capture.constants.append(value)
        with self.capture.graph.inserting_after(self.last):
            self.placeholder(fake, layout)
        self.values[id(fake)] = value
        return fake

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if any(map(_is_real, args)) or any(map(_is_real, kwargs.values())):
            if func._schema.is_mutable:
                raise NotCapturable("it writes into a tensor that no array holds")
            args, kwargs = tree_map(self._as_constants, (tuple(args), kwargs))
        return super().__torch_dispatch__(func, types, args, kwargs)

    def _as_constants(self, t: Any) -> Any:
        return self.constant(t) if _is_real(t) else t

    def constant(self, value: Tensor) -> Tensor:
        fake = super().constant(value)
        if fake.ndim:
            self.values[id(fake)] = self.capture.constants[-1]
        return fake

    # ------------------------------------------------------------------ undoing, finishing

    def mark(self) -> tuple[fx.Node, tuple[int, ...]]:
        """Return the present end of the record."""
        capture = self.capture
        counts = (len(self.kept), len(capture.messages), len(capture.checks))
        return capture.graph._root.prev, counts

    def forget(self, mark: tuple[fx.Node, tuple[int, ...]]) -> None:
        """Delete what was recorded since a mark; inputs stay, which is harmless."""
        last, (kept, messages, checks) = mark
        capture = self.capture
        while (node := capture.graph._root.prev) is not last and node.op != "placeholder":
            capture.graph.erase_node(node)
        for t in self.kept[kept:]:
            if self.nodes[id(t)].op != "placeholder":
                del self.nodes[id(t)]
        # The tensors stay alive, so that no new one gets the id of an old one.
        del capture.messages[messages:], capture.checks[checks:]

    def finish(self, tensors: Sequence[Tensor]) -> list[fx.Node]:
        """Make tensors the outputs; drop unused inputs."""
        capture = self.capture
        outputs = [self.nodes[id(t)] for t in tensors]
        capture.graph.output([*outputs, *(self.node(bad) for bad, _ in capture.checks)])
        inputs = [node for node in capture.graph.nodes if node.op == "placeholder"]
        used = [bool(node.users) for node in inputs]
        for node in inputs:
            if not node.users:
                capture.graph.erase_node(node)
        capture.fakes = list(compress(capture.fakes, used))
        capture.shards = list(compress(capture.shards, used))
        capture.constants = list(compress(capture.constants, used))
        return outputs


def _is_real(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(map(_is_real, value))
    return isinstance(value, Tensor) and not isinstance(value, FakeTensor)


def _call_of(f: Callable[..., Any], args: Any, kwargs: Any) -> Call:
    """Return which operation the user calls where, and what must be the same on all ranks."""
    operation, line = caller()
    if not operation:  # the user calls it directly
        name = str(getattr(f, "__qualname__", type(f).__name__))
        operation = name.partition(".<locals>")[0].rpartition(".")[2].strip("_")
    return Call(operation, "graph break", line, common((args, kwargs)))


class Phase(Enum):
    """The phases of a call; `_NEXT` lists the transitions."""

    EAGER = auto()
    """Arrays hold values: before and after the call, and at a break."""
    RECORDING = auto()
    """A subgraph is recorded; operations may break the graph."""
    INSIDE_OPERATION = auto()
    """An operation is recorded as a whole: nothing inside it breaks the graph."""
    RUNNING = auto()
    """The recorded subgraph runs; arrays still hold fake tensors."""


_NEXT = {
    Phase.EAGER: {Phase.RECORDING},
    Phase.RECORDING: {Phase.INSIDE_OPERATION, Phase.RUNNING, Phase.EAGER},
    Phase.INSIDE_OPERATION: {Phase.RECORDING},
    Phase.RUNNING: {Phase.EAGER},
}
"""RECORDING becomes EAGER when the call ends by an error, and the subgraph does not run."""


class CallWithBreaks:
    """One call of a function that runs as subgraphs; its arrays are on `comm`.

    `broken` takes the operation and the line of each break.
    """

    def __init__(
        self, subgraphs: Subgraphs, comm: Communicator, broken: Callable[[str, str], None]
    ) -> None:
        self._subgraphs = subgraphs
        self._comm = comm
        self._broken = broken
        self._mode = FakeTensorMode()
        self._phase = Phase.EAGER
        self._recorder = _SubgraphRecorder(self, self._mode)
        self._touched: list[weakref.ref[Array]] = []
        self._entered: list[tuple[weakref.ref[Array], Tensor, Layout]] = []
        self._recording = ExitStack()
        self._before = Before([])
        self._end: Unbreakable | RaisedElsewhere | None = None

    def _enter(self, phase: Phase) -> None:
        assert phase in _NEXT[self._phase], f"{self._phase} is followed by {phase}"
        self._phase = phase

    # ------------------------------------------------------------------ arrays with fake tensors

    def _read(self, x: Array) -> Tensor:
        t: Tensor = SLOT.__get__(x)
        if isinstance(t, FakeTensor) or _is_wrapped(t):
            return t
        fake = self._recorder.enter(t, x._layout)
        self._write(x, fake)
        return fake

    def _write(self, x: Array, t: Tensor) -> None:
        ref = weakref.ref(x)
        value = SLOT.__get__(x) if hasattr(x, "_layout") else None  # None: it is being made
        if value is not None and not isinstance(value, FakeTensor):
            self._entered.append((ref, value, x._layout))
        self._touched.append(ref)
        SLOT.__set__(x, t)

    def _give(self, holders: Sequence[tuple[Array, Tensor]], values: dict[int, Tensor]) -> None:
        """Give arrays the values of their fake tensors."""
        taken: set[int] = set()
        for x, t in holders:
            value = values.get(id(t))
            if value is not None:
                # Each array has a tensor object of its own: `Array.writable` counts them.
                SLOT.__set__(x, value.view_as(value) if id(value) in taken else value)
                taken.add(id(value))

    def _take_back(self) -> None:
        """Give the arrays that were read the values they had when the subgraph began."""
        for ref, value, layout in self._entered:
            x = ref()
            if x is not None:
                x._layout = layout
                SLOT.__set__(x, value)
        for ref in self._touched:  # views that were refreshed in the subgraph
            x = ref()
            if x is not None and hasattr(x, "_link") and isinstance(SLOT.__get__(x), FakeTensor):
                x.lapse()

    # ------------------------------------------------------------------ one subgraph

    def _start(self) -> None:
        """Begin to record a subgraph."""
        self._enter(Phase.RECORDING)
        self._recorder = _SubgraphRecorder(self, self._mode)
        self._touched, self._entered = [], []
        self._recording = ExitStack()
        self._recording.enter_context(intercepted(self._read, self._write))
        self._recording.enter_context(recording(self._recorder))

    def _abandon(self) -> None:
        """End recording, if it has not ended yet, without running the subgraph."""
        self._recording.close()
        if self._phase is not Phase.EAGER:
            self._enter(Phase.EAGER)

    def _run(self, call: Call) -> None:
        """End recording, run the subgraph, and give all arrays their values."""
        self._enter(Phase.RUNNING)
        recorder = self._recorder
        try:
            self._recording.close()
            holders = self._holders()
            # An operation that was tried in vain leaves fake tensors that have no node.
            known = recorder.nodes.keys() - recorder.values.keys()
            made = {id(t): t for _, t in holders if id(t) in known}
            if any(t.requires_grad for _, t in holders):
                recorder.refuse(NotCapturable("it needs a value while derivatives are taken"))
            if recorder.refused is not None:
                self._synchronise(call, RankState.UNBREAKABLE, str(recorder.refused))
            nodes = recorder.finish(list(made.values()))
            with self._lasting():
                outputs, error = self._subgraphs.run(recorder.capture, nodes, self._comm, call)
            self._give(holders, recorder.values | dict(zip(made, outputs, strict=False)))
            if error is not None:
                raise error.with_traceback(None)
        except BaseException:
            self._take_back()
            raise
        finally:  # free the values that were used before the next subgraph
            recorder.values.clear()
            recorder.capture.constants.clear()
            self._entered = []
            self._enter(Phase.EAGER)

    def _holders(self) -> list[tuple[Array, Tensor]]:
        """Return the arrays that hold fake tensors, and these."""
        arrays = {id(x): x for ref in self._touched if (x := ref()) is not None}
        pairs = ((x, SLOT.__get__(x)) for x in arrays.values())
        return [(x, t) for x, t in pairs if isinstance(t, FakeTensor)]

    def _synchronise(self, call: Call, state: RankState, reason: str = "") -> list[int]:
        """Return the states of all ranks."""
        with self._lasting():
            everyone = self._subgraphs.synchronise(self._comm, call, state, reason=reason)
        return [theirs[0] for theirs in everyone]

    @contextmanager
    def _lasting(self) -> Iterator[None]:
        """Synchronise the ranks; what ends the call on all of them ends it once for all.

        The function may swallow the exception (``except:``, ``finally: return``), and the other
        ranks have left: it is raised again at each operation, without a message.
        """
        if self._end is not None:
            raise self._end
        try:
            yield
        except (Unbreakable, RaisedElsewhere) as end:
            self._end = end
            raise

    # ------------------------------------------------------------------ operations

    def operation(self, f: Callable[..., Any], args: Any, kwargs: Any, always: bool) -> Any:
        """Call an operation as a part of the subgraph where that is possible, else at a break."""
        if self._end is not None:
            raise self._end
        if self._phase is Phase.INSIDE_OPERATION:
            return f(*args, **kwargs)
        if any(isinstance(t, FakeTensor) for t in args):
            raise NotCapturable("it passes a shard on as a raw tensor")
        if not always:
            around = Environment(f, args, kwargs)
            key = around.key
            known = self._subgraphs.recordable(self._comm)
            if key not in known:
                if len(known) >= MOST_OPERATIONS:
                    known.clear()
                known[key], result = self._tried(f, args, kwargs, around.arrays)
                if known[key]:
                    return result
            elif known[key]:
                return self._recorded(f, args, kwargs)
        return self._at_break(f, args, kwargs)

    def _recorded(self, f: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Record an operation as a part of the subgraph."""
        self._enter(Phase.INSIDE_OPERATION)
        try:
            return f(*args, **kwargs)
        finally:
            self._enter(Phase.RECORDING)

    def _tried(
        self, f: Callable[..., Any], args: Any, kwargs: Any, arrays: Sequence[Array]
    ) -> tuple[bool, Any]:
        """Try to record an operation, on all ranks; return whether all could, and its result."""
        call = _call_of(f, args, kwargs)
        holders: list[Any] = []
        Environment(f, args, kwargs, holders=holders)
        mark, refused = self._recorder.mark(), self._recorder.refused
        before = [(x, SLOT.__get__(x), x._layout) for x in arrays]
        result: Any = None
        state = RankState.RECORDED
        try:
            result = self._recorded(f, args, kwargs)
        except Exception as error:
            if not_capturable(error) is None:
                raise
            state = RankState.BREAKS
        if all(theirs == RankState.RECORDED for theirs in self._synchronise(call, state)):
            return True, result
        self._recorder.forget(mark)
        self._recorder.refused = refused
        put_back(holders)
        for x, t, layout in before:
            SLOT.__set__(x, t)
            x._layout = layout
        return False, None

    def _at_break(self, f: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Run the subgraph, call an operation on values, and begin another subgraph."""
        call = _call_of(f, args, kwargs)
        self._broken(call.operation, call.line)
        try:
            self._run(call)
            return f(*args, **kwargs)
        finally:
            self._start()

    # ------------------------------------------------------------------ the call

    def __call__(
        self, function: Callable[[], Any], arrays: Sequence[Array], holders: list[Any]
    ) -> Any:
        """Call a function that depends on `arrays` and may change the lists and dicts in `holders`.

        Raises `Unbreakable` on all ranks if the function must run eagerly, and RuntimeError if it
        has raised an error on other ranks only. In both cases arrays are as before the call.
        """
        self._before = Before(arrays)
        line = caller()[1]
        self._start()
        try:
            result = self._called(function, line)
            end = f"end of {self._subgraphs.name}"
            self._run(Call("", end, line, common_of_arrays(result)))
            return result
        except Exception:
            self._abandon()
            raise
        except BaseException as error:
            self._undo()
            if isinstance(error, Unbreakable):
                put_back(holders)
            if isinstance(error, RaisedElsewhere):
                raise RuntimeError(str(error)) from None
            raise

    def _called(self, function: Callable[[], Any], line: str) -> Any:
        """Call the function; if it raises on all ranks, what it wrote before stays written."""
        try:
            return function()
        except (KeyboardInterrupt, Unbreakable, RaisedElsewhere, OutOfStep):
            raise
        except BaseException as error:
            reason = self._recorder.refused or not_capturable(error)
            if reason is not None:
                self._synchronise(raised(reason), RankState.UNBREAKABLE, str(reason))
            states = self._synchronise(raised(error), RankState.ERROR)
            if all(theirs == RankState.ERROR for theirs in states):
                self._run(Call("", "an error", line))
            else:
                self._undo()
            raise

    def _undo(self) -> None:
        """Give all arrays what they had before the call."""
        self._abandon()
        self._take_back()
        self._before.restore()
