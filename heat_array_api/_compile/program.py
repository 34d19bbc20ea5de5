"""Programs: a function of arrays for one set of layouts, captured, scheduled and compiled.

`build` makes a program on all ranks alike, or finds the reason why there is none.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._comm.attribution import caller, named
from .._comm.communicator import Communicator
from .._comm.recording import NotCapturable
from .._core.array import Array, Device
from .._core.layout import Layout
from .._core.trees import leaves, rebuilt
from .._core.views import note_write, write_through
from .capture import Capture, captured
from .collective_ops import Message, executed
from .inductor import Compiler
from .schedule import dependencies, functional, plan, united

_VALUES: tuple[type, ...] = (
    *(bool, int, float, complex, str, bytes, type(None), slice),
    *(np.generic, np.dtype, type, Layout, Communicator, Device),
)

Written = list[tuple[int, Layout]]


@dataclass(frozen=True)
class _Leaf:
    """A leaf of the result: a new array (with a layout), an argument, or another value."""

    value: Any = None
    argument: int | None = None
    layout: Layout | None = None


class Program:
    """A compiled function for one set of layouts.

    Attributes
    ----------
    tree : nested tuples, lists, dicts of _Leaf
        The structure of the result.
    written : list of (int, Layout)
        The arguments that the function writes to, and their layouts afterwards; their new values
        are the last outputs.
    """

    def __init__(self, capture: Capture, tree: Any, written: Written) -> None:
        self.tree = tree
        self.written = written
        self.constants = [*capture.constants, torch.zeros(1)]
        self.steps: list[list[Message]] = []
        self.function: Callable[..., Sequence[Tensor]] | None = None
        self._errors = [error for _, error in capture.checks]
        self._layouts = [leaf.layout for leaf in leaves(tree) if leaf.layout is not None]

    @property
    def new(self) -> int:
        """The number of new arrays in the result."""
        return len(self._layouts)

    def __call__(self, arrays: Sequence[Array]) -> Any:
        """Run on arrays of these layouts, and return what the function returns."""
        outputs = self._run(arrays)
        result = self.result(arrays, self._as_arrays(outputs))
        written = zip(self.written, outputs[len(self._layouts) :], strict=True)
        for (number, layout), t in written:
            x = arrays[number]
            note_write(x)
            x.become(t)
            x._layout = layout
            write_through(x)
        return result

    def new_arrays(self, arrays: Sequence[Array]) -> list[Array]:
        """Run, and return only the new arrays."""
        return self._as_arrays(self._run(arrays))

    def _as_arrays(self, outputs: Sequence[Tensor]) -> list[Array]:
        return [Array(t, n) for t, n in zip(outputs, self._layouts, strict=False)]

    def _run(self, arrays: Sequence[Array]) -> Sequence[Tensor]:
        """Run, and return this rank's shards of the new arrays, then of the written ones."""
        inputs = [x._local.detach().contiguous() for x in arrays]
        assert self.function is not None
        tensors = [*inputs, *self.constants]
        outputs, error = executed(self.function, tensors, self.steps, self._errors)
        if error is not None:
            raise error.with_traceback(None)
        return outputs

    def result(self, arrays: Sequence[Array], new: Sequence[Array]) -> Any:
        """Return the function's result, made of its arguments and the new arrays."""
        fresh = iter(new)
        return rebuilt(self.tree, (_value_of(leaf, arrays, fresh) for leaf in leaves(self.tree)))

    def new_of(self, result: Any) -> list[Array]:
        """Return the new arrays in a result of the function that was called eagerly."""
        pairs = zip(leaves(self.tree), leaves(result), strict=True)
        return [value for leaf, value in pairs if leaf.layout is not None]


def _value_of(leaf: _Leaf, arrays: Sequence[Array], fresh: Iterator[Array]) -> Any:
    if leaf.argument is not None:
        return arrays[leaf.argument]
    return leaf.value if leaf.layout is None else next(fresh)


class State(Enum):
    """The state of a function for calls of one kind; see `compiled.Compiled`."""

    WHOLE = auto()
    """One program does it."""
    BREAKS = auto()
    """Something needs values between operations: it can run as subgraphs."""
    EAGER = auto()
    """It runs eagerly."""
    COMPARED = auto()
    """It runs eagerly, and the ranks compare their messages: they go different ways through it."""
    RAISED = auto()
    """The function itself raised an error while it was captured."""


@dataclass(eq=False)
class Outcome:
    """The state that an attempt to make a program led to.

    Attributes
    ----------
    state : State
    problem : str
        Why there is no program, or why its graph is not compiled.
    program : Program or None
        There is one in the state WHOLE.
    """

    state: State
    problem: str = ""
    program: Program | None = None


# ---------------------------------------------------------------------- capture


def _captured(call: Callable[[], Any], arrays: Sequence[Array]) -> tuple[Capture, Any, Written]:
    """Capture a function; return also the structure of its result, and what it writes to."""
    numbers = {id(x): i for i, x in enumerate(arrays)}
    before: list[Tensor] = []
    tree: Any = None
    written: Written = []

    def noted() -> Any:
        before.extend(x._local for x in arrays)
        return call()

    def finish(result: Any) -> list[Tensor]:
        nonlocal tree
        new: list[Tensor] = []
        found = [_leaf_of(value, numbers, new) for value in leaves(result)]
        tree = rebuilt(result, iter(found))
        pairs = zip(arrays, before, strict=True)
        written.extend((i, x._layout) for i, (x, t) in enumerate(pairs) if x._local is not t)
        return [*new, *(arrays[i]._local for i, _ in written)]

    return captured(noted, arrays, finish), tree, written


def _leaf_of(value: Any, numbers: dict[int, int], new: list[Tensor]) -> _Leaf:
    if isinstance(value, Array):
        if id(value) in numbers:
            return _Leaf(argument=numbers[id(value)])
        new.append(value._local)
        return _Leaf(layout=value._layout)
    if not isinstance(value, _VALUES):
        raise NotCapturable(f"it returns {type(value).__name__}, which may hold arrays")
    return _Leaf(value)


def _attempt(call: Callable[[], Any], arrays: Sequence[Array]) -> tuple[Any, str, bool]:
    """Capture; return (capture, tree, written, graph) or None, the problem, whether it is an error.

    It raises nothing but an interrupt, so that all ranks reach the agreement that follows.
    """
    try:
        found = _captured(call, arrays)
        return (*found, functional(found[0])), "", False
    except NotCapturable as error:
        return None, str(error), False
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit, too
        return None, f"{type(error).__name__}: {error}".partition("\n")[0], True


# ---------------------------------------------------------------------- all ranks together


def build(
    call: Callable[[], Any], arrays: Sequence[Array], comm: Communicator, compiler: Compiler
) -> Outcome:
    """Make a program of a function, on all ranks alike: one object gathered, or two more."""
    attempt = _attempt(call, arrays)
    with named(("compile", caller()[1])):
        return _agreed(attempt, comm, compiler)


def _agreed(attempt: tuple[Any, str, bool], comm: Communicator, compiler: Compiler) -> Outcome:
    """Make a program of what was captured, if all ranks could, and agree on the messages."""
    found, problem, raised = attempt
    mine: Any = (problem, raised, None, None)
    if found is not None:
        capture, tree, written, graph = found
        layouts = [(i, n.shape, n.split, n.division) for i, n in written]
        facts = [[m.common() for m in capture.messages], (_facts(tree), layouts)]
        crcs = tuple(zlib.crc32(str(one).encode()) for one in facts)
        mine = ("", False, crcs, dependencies(graph))
    everyone = comm.allgather_object(mine)
    for problem, raised, *_ in everyone:
        if problem:
            return Outcome(State.RAISED if raised else State.BREAKS, problem)
    if len({theirs[2][0] for theirs in everyone}) > 1:
        return Outcome(State.COMPARED, "the ranks would send different messages")
    if len({theirs[2][1] for theirs in everyone}) > 1:
        return Outcome(State.EAGER, "its results differ from rank to rank")
    steps = tuple(plan(capture.messages, united([theirs[3] for theirs in everyone])))
    program = Program(capture, tree, written)
    program.steps = [[capture.messages[i] for i in step] for step in steps]
    program.function, reason = compiler(graph, capture, steps, comm)
    return Outcome(State.WHOLE, reason or "", program)


def _facts(tree: Any) -> list[Any]:
    """Return what must be the same on every rank in a result's structure."""
    found = []
    for leaf in leaves(tree):
        n = leaf.layout
        found.append((leaf.argument, n and (n.shape, n.split, n.division), str(leaf.value)))
    return found
