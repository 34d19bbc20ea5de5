"""Functions that run in pieces: recorded in each call, with breaks where values are needed.

While a piece is recorded, every array that anything looks at holds a tensor without values
(`Array._local` sees to it). An operation that needs values (`_capturing.breaks`) ends the
piece: it runs, all arrays get their values, the operation is called as ever, and the next piece
begins. So nothing is remembered across a break but the arrays themselves.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, fx

from .._comm.attribution import caller, register_wrapper
from .._comm.communicator import Communicator
from .._comm.recording import NotCapturable
from .._core.array import Array
from .._core.layout import Layout
from .._core.torch_internals import FakeTensor, FakeTensorMode, _disable_current_modes, tree_map
from .._core.torch_internals import is_functorch_wrapped_tensor as _is_wrapped
from .._core.views import note_write
from .capture import Capture, Recorder, not_capturable, recording
from .guards import Environment, put_back
from .subgraphs import Elsewhere, Segments, State, Unbreakable

__all__ = ["InPieces", "Unbreakable"]


register_wrapper(__name__)


MOST_OPERATIONS = 4096
"""So many are known to be recordable or not."""


_SLOT: Any = Array.__dict__["_local"]


class _Piece(Recorder):  # type: ignore[no-untyped-call]
    """Records one piece. Its inputs are the arrays that are looked at, as they are met."""

    def __init__(self, call: InPieces, mode: FakeTensorMode) -> None:
        super().__init__(Capture(mode))
        self._call = call
        self._owners: list[Tensor] = []
        self.values: dict[int, Tensor] = {}  # of arrays that entered, by their fakes

    def operation(self, f: Callable[..., Any], args: Any, kwargs: Any, always: bool) -> Any:
        return self._call.operation(f, args, kwargs, always)

    def enter(self, value: Tensor, layout: Layout) -> Tensor:
        """Return a tensor without values that stands for one with values, an input."""
        if value.requires_grad:
            raise NotCapturable("an array on the tape comes up in it")
        with _disable_current_modes(), self.mode:
            fake = torch.empty(tuple(value.shape), dtype=value.dtype, device=value.device)
            # A second owner of its storage: operators that write do so into a copy.
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
            args, kwargs = tree_map(self._without_values, (tuple(args), kwargs))
        return super().__torch_dispatch__(func, types, args, kwargs)

    def _without_values(self, t: Any) -> Any:
        return self.constant(t) if _is_real(t) else t

    def constant(self, value: Tensor) -> Tensor:
        fake = super().constant(value)
        if fake.ndim:
            self.values[id(fake)] = self.capture.constants[-1]
        return fake

    # ------------------------------------------------------------------ what is taken back

    def mark(self) -> tuple[fx.Node, tuple[int, ...]]:
        """Return where the record has come to."""
        capture = self.capture
        counts = (len(self.kept), len(capture.messages), len(capture.checks))
        return capture.graph._root.prev, counts

    def forget(self, mark: tuple[fx.Node, tuple[int, ...]]) -> None:
        """Take back what was recorded since; inputs stay, for they are harmless."""
        last, (kept, messages, checks) = mark
        capture = self.capture
        while (node := capture.graph._root.prev) is not last and node.op != "placeholder":
            capture.graph.erase_node(node)
        for t in self.kept[kept:]:
            if self.nodes[id(t)].op != "placeholder":
                del self.nodes[id(t)]
        # The tensors themselves stay, so that no other gets the id of one.
        del capture.messages[messages:], capture.checks[checks:]

    def finish(self, tensors: Sequence[Tensor]) -> list[fx.Node]:
        """Let these tensors be the outputs; drop the inputs that nothing needs."""
        capture = self.capture
        outputs = [self.nodes[id(t)] for t in tensors]
        capture.graph.output([*outputs, *(self.node(bad) for bad, _ in capture.checks)])
        inputs = [node for node in capture.graph.nodes if node.op == "placeholder"]
        used = [bool(node.users) for node in inputs]
        for node, wanted in zip(inputs, used, strict=True):
            if not wanted:
                capture.graph.erase_node(node)
        capture.fakes = [t for t, wanted in zip(capture.fakes, used, strict=True) if wanted]
        capture.shards = [own for own, wanted in zip(capture.shards, used, strict=True) if wanted]
        capture.constants = [t for t, wanted in zip(capture.constants, used, strict=True) if wanted]
        return outputs


def _is_real(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(map(_is_real, value))
    return isinstance(value, Tensor) and not isinstance(value, FakeTensor)


def _with_sources(arrays: Sequence[Array]) -> list[Array]:
    """Return arrays with those whose views they are."""
    found = {id(x): x for x in arrays}
    for x in arrays:
        while (link := getattr(x, "_link", None)) is not None:
            x = link[0]
            found[id(x)] = x
    return list(found.values())


class _Before:
    """What an array is before a call, to which it may have to go back."""

    def __init__(self, x: Array) -> None:
        self._x = x
        self._local = x._local
        self._layout = x._layout
        self._link = getattr(x, "_link", None)
        # A second owner of its memory: operators that write do so into a copy.
        self._owner = x._local.detach()

    def restore(self) -> None:
        x = self._x
        x._local, x._layout = self._local, self._layout
        if self._link is not None:
            x._link = self._link
        note_write(x)


class InPieces:
    """One call of a function that runs in pieces.

    Parameters
    ----------
    segments : Segments
        What is known of its pieces.
    comm : Communicator
        On which its arrays live.
    broken : callable
        Gets the operation and the line of each break.
    """

    def __init__(
        self, segments: Segments, comm: Communicator, broken: Callable[[str, str], None]
    ) -> None:
        self._segments = segments
        self._comm = comm
        self._broken = broken
        self._mode = FakeTensorMode()
        self._piece = _Piece(self, self._mode)
        self._touched: list[weakref.ref[Array]] = []
        self._entered: list[tuple[weakref.ref[Array], Tensor, Layout]] = []
        self._recording = ExitStack()
        self._trying = False
        self._alone = False  # with an error of this rank's

    # ------------------------------------------------------------------ arrays without values

    def _get(self, x: Array) -> Tensor:
        t: Tensor = _SLOT.__get__(x)
        if isinstance(t, FakeTensor) or _is_wrapped(t):
            return t
        fake = self._piece.enter(t, x._layout)
        self._set(x, fake)
        return fake

    def _set(self, x: Array, t: Tensor) -> None:
        ref = weakref.ref(x)
        value = _SLOT.__get__(x) if hasattr(x, "_layout") else None  # None: it is being made
        if value is not None and not isinstance(value, FakeTensor):
            self._entered.append((ref, value, x._layout))
        self._touched.append(ref)
        _SLOT.__set__(x, t)

    def _start(self) -> None:
        """Begin a piece."""
        self._piece = _Piece(self, self._mode)
        self._touched, self._entered = [], []
        self._recording = ExitStack()
        self._recording.callback(setattr, Array, "_local", _SLOT)
        # Arrays do not ask in each call whether they are recorded: they stay as fast as they were.
        setattr(Array, "_local", property(self._get, self._set))  # noqa: B010
        self._recording.enter_context(recording(self._piece))

    def _stop(self) -> list[tuple[Array, Tensor]]:
        """End recording; return the arrays that hold tensors without values."""
        self._recording.close()
        arrays = {id(x): x for ref in self._touched if (x := ref()) is not None}
        pairs = ((x, _SLOT.__get__(x)) for x in arrays.values())
        return [(x, t) for x, t in pairs if isinstance(t, FakeTensor)]

    def _run(self, line: str) -> None:
        """End the piece, run it, and give all arrays their values."""
        piece = self._piece
        holders = self._stop()
        # What was left of an operation that is no part of the piece has no node.
        made = {id(t): t for _, t in holders if id(t) not in piece.values and id(t) in piece.nodes}
        try:
            if any(t.requires_grad for _, t in holders):
                reason = "it needs a value while derivatives are taken"
                self._segments.asked(self._comm, line, State.UNBREAKABLE, reason=reason)
            nodes = piece.finish(list(made.values()))
            outputs, error = self._segments.run(piece.capture, nodes, self._comm, line)
            self._give(holders, piece.values | dict(zip(made, outputs, strict=False)))
            if error is not None:
                raise error.with_traceback(None)
        except BaseException:
            self._take_back()
            raise
        finally:  # what has been used need not wait for the next piece to be freed
            piece.values.clear()
            piece.capture.constants.clear()
            self._entered = []

    def _give(self, holders: Sequence[tuple[Array, Tensor]], values: dict[int, Tensor]) -> None:
        """Give arrays the values that belong to their tensors without values."""
        taken: set[int] = set()
        for x, t in holders:
            value = values.get(id(t))
            if value is not None:
                # Each array has a tensor object of its own: `Array.writable` counts them.
                _SLOT.__set__(x, value.view_as(value) if id(value) in taken else value)
                taken.add(id(value))

    def _take_back(self) -> None:
        """Give the arrays that were looked at what they had when the piece began."""
        for ref, value, layout in self._entered:
            x = ref()
            if x is not None:
                x._layout = layout
                _SLOT.__set__(x, value)
        for ref in self._touched:  # views that were refreshed in the piece
            x = ref()
            if x is not None and hasattr(x, "_link") and isinstance(_SLOT.__get__(x), FakeTensor):
                x.lapse()

    # ------------------------------------------------------------------ breaks

    def operation(self, f: Callable[..., Any], args: Any, kwargs: Any, always: bool) -> Any:
        """Call an operation: as a part of the piece where that is possible, else between two."""
        if self._trying:
            return f(*args, **kwargs)
        if any(isinstance(t, FakeTensor) for t in args):
            raise NotCapturable("it takes a shard for a tensor of its own")
        if not always:
            around = Environment(f, args, kwargs)
            key = around.key
            known = self._segments.recordable(self._comm)
            if key not in known:
                if len(known) >= MOST_OPERATIONS:
                    known.clear()
                known[key], result = self._tried(f, args, kwargs, around.arrays)
                if known[key]:
                    return result
            elif known[key]:
                return self._whole(f, args, kwargs)
        return self._between(f, args, kwargs)

    def _whole(self, f: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Record an operation, which is not broken inside."""
        self._trying = True
        try:
            return f(*args, **kwargs)
        finally:
            self._trying = False

    def _tried(
        self, f: Callable[..., Any], args: Any, kwargs: Any, arrays: Sequence[Array]
    ) -> tuple[bool, Any]:
        """Try to record an operation, on all ranks; return whether it is, and its result."""
        line = caller()[1]
        holders: list[Any] = []
        Environment(f, args, kwargs, holders=holders)
        mark = self._piece.mark()
        before = [(x, _SLOT.__get__(x), x._layout) for x in arrays]
        result: Any = None
        state = State.RECORDED
        try:
            result = self._whole(f, args, kwargs)
        except Exception as error:
            if not_capturable(error) is None:
                raise
            state = State.BREAKS
        everyone = self._segments.asked(self._comm, line, state)
        if all(theirs[0] == State.RECORDED for theirs in everyone):
            return True, result
        self._piece.forget(mark)
        put_back(holders)
        for x, t, layout in before:
            _SLOT.__set__(x, t)
            x._layout = layout
        return False, None

    def _between(self, f: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Call an operation on values, and begin another piece after it."""
        operation, line = caller()
        if not operation:  # the user calls it itself
            operation = f.__qualname__.partition(".<locals>")[0].rpartition(".")[2].strip("_")
        self._broken(operation, line)
        try:
            self._run(line)
            return f(*args, **kwargs)
        finally:
            self._start()

    # ------------------------------------------------------------------ the call

    def __call__(
        self, function: Callable[[], Any], arrays: Sequence[Array], holders: list[Any]
    ) -> Any:
        """Call the function.

        Parameters
        ----------
        function : callable
            Without arguments.
        arrays : sequence of Array
            What it depends on, as far as is known.
        holders : list
            The lists and dicts that it may change, with copies.

        Raises
        ------
        Unbreakable
            On all ranks, if the function must be run eagerly; then all is as it was.
        RuntimeError
            If the function has raised an error on other ranks only; arrays are as they were.
        """
        before = [_Before(x) for x in _with_sources(arrays)]
        line = caller()[1]
        self._start()
        try:
            result = self._called(function, line)
            self._run(line)
            return result
        except BaseException as error:
            self._recording.close()
            if isinstance(error, Unbreakable):
                put_back(holders)
            if self._alone or not isinstance(error, Exception):
                self._take_back()
                for x in before:
                    x.restore()
            if isinstance(error, Elsewhere):
                raise RuntimeError(str(error)) from None
            raise

    def _called(self, function: Callable[[], Any], line: str) -> Any:
        """Call the function; an error of its own leaves what was written before, as ever."""
        try:
            return function()
        except Exception as error:
            reason = not_capturable(error)
            if reason is not None:
                self._segments.asked(self._comm, line, State.UNBREAKABLE, reason=str(reason))
            everyone = self._segments.asked(self._comm, line, State.ERROR)
            self._alone = any(theirs[0] != State.ERROR for theirs in everyone)
            if not self._alone:
                self._run(line)
            raise
