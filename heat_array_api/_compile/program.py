"""Programs: a pure function of arrays for one set of layouts, captured, scheduled, compiled."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

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
from .dynamic_shapes import Templates
from .inductor import compiled_in_step
from .schedule import dependencies, functional, plan, scheduled, united

__all__ = ["Body", "Outcome", "Program", "build"]


_VALUES: tuple[type, ...] = (bool, int, float, complex, str, bytes, type(None), slice)


_VALUES = (*_VALUES, np.generic, np.dtype, Layout, Communicator, Device)


Written = list[tuple[int, Layout]]


class Body(NamedTuple):
    """A function of a list of arrays: what is captured.

    Attributes
    ----------
    call : callable
        Without arguments; it finds the arrays where they are.
    arrays : list of Array
        All that it depends on.
    """

    call: Callable[[], Any]
    arrays: list[Array]


@dataclass(frozen=True)
class _Leaf:
    """A leaf of the result: a new array, one of the arguments, or another value."""

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
        The arguments that the function writes to, and what layouts they have then; their new
        values are the last outputs.
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
        """How many new arrays the function makes."""
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
        """Run, and return the new arrays only."""
        return self._as_arrays(self._run(arrays))

    def _as_arrays(self, outputs: Sequence[Tensor]) -> list[Array]:
        return [Array(t, n) for t, n in zip(outputs, self._layouts, strict=False)]

    def _run(self, arrays: Sequence[Array]) -> Sequence[Tensor]:
        """Run, and return this rank's shards of the new arrays, then those of `written`."""
        inputs = [x._local.detach().contiguous() for x in arrays]
        assert self.function is not None
        tensors = [*inputs, *self.constants]
        outputs, error = executed(self.function, tensors, self.steps, self._errors)
        if error is not None:
            raise error.with_traceback(None)
        return outputs

    def result(self, arrays: Sequence[Array], new: Sequence[Array]) -> Any:
        """Return what the function returns, made of its arguments and the new arrays."""
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


class Outcome(NamedTuple):
    """What came of an attempt to make a program: the program, or why there is none.

    Attributes
    ----------
    program : Program or None
    problem : str
        Why it is None, or why it is not compiled.
    error : bool
        Whether the function itself raised.
    breaks : bool
        Whether it could run in pieces: what stands between program and function is a part of it.
    """

    program: Program | None
    problem: str = ""
    error: bool = False
    breaks: bool = False


# ---------------------------------------------------------------------- capture


def _captured(body: Body) -> tuple[Capture, Any, Written]:
    """Capture a function; return also the structure of its result, and what it writes to."""
    numbers = {id(x): i for i, x in enumerate(body.arrays)}
    before: list[Tensor] = []
    tree: Any = None
    written: Written = []

    def call() -> Any:
        before.extend(x._local for x in body.arrays)
        return body.call()

    def finish(result: Any) -> list[Tensor]:
        nonlocal tree
        new: list[Tensor] = []
        found = [_leaf_of(value, numbers, new) for value in leaves(result)]
        tree = rebuilt(result, iter(found))
        pairs = zip(body.arrays, before, strict=True)
        written.extend((i, x._layout) for i, (x, t) in enumerate(pairs) if x._local is not t)
        return [*new, *(body.arrays[i]._local for i, _ in written)]

    return captured(call, body.arrays, finish), tree, written


def _leaf_of(value: Any, numbers: dict[int, int], new: list[Tensor]) -> _Leaf:
    if isinstance(value, Array):
        if id(value) in numbers:
            return _Leaf(argument=numbers[id(value)])
        new.append(value._local)
        return _Leaf(layout=value._layout)
    if not isinstance(value, _VALUES):
        raise NotCapturable(f"it returns {type(value).__name__}, which may hold arrays")
    return _Leaf(value)


def _attempt(body: Body) -> tuple[Any, str, bool]:
    """Capture; return (capture, tree, written, graph) or None, the problem, whether it is an error.

    It raises nothing, so that all ranks come to what they do next.
    """
    try:
        found = _captured(body)
        return (*found, functional(found[0])), "", False
    except NotCapturable as error:
        return None, str(error), False
    except Exception as error:
        return None, f"{type(error).__name__}: {error}".partition("\n")[0], True


# ---------------------------------------------------------------------- all ranks together


def build(
    body: Body,
    comm: Communicator,
    backend: str,
    templates: Templates,
    around: Callable[[], Any],
) -> Outcome:
    """Make a program of a function, on all ranks alike: one object gathered, or two more.

    Parameters
    ----------
    body : Body
    comm : Communicator
        On which all its arrays live.
    backend : str
        What compiles the graph.
    templates : Templates
        What has been compiled before.
    around : callable
        Returns a context manager: what is shown while it is being compiled.
    """
    attempt = _attempt(body)
    with named(("compile", caller()[1])):
        return _agreed(attempt, comm, backend, templates, around)


def _agreed(
    attempt: tuple[Any, str, bool],
    comm: Communicator,
    backend: str,
    templates: Templates,
    around: Callable[[], Any],
) -> Outcome:
    """Make a program of what was captured, if all ranks could, and agree on the messages."""
    found, problem, error = attempt
    mine: Any = (problem, error, None, None)
    if found is not None:
        capture, tree, written, graph = found
        layouts = [(i, n.shape, n.split, n.counts) for i, n in written]
        facts = str(([m.common() for m in capture.messages], _facts(tree), layouts))
        mine = ("", False, zlib.crc32(facts.encode()), dependencies(graph))
    everyone = comm.allgather_object(mine)
    for problem, error, *_ in everyone:
        if problem:
            return Outcome(None, problem, error, breaks=not error)
    if len({theirs[2] for theirs in everyone}) > 1:
        return Outcome(None, "the ranks would send different messages")
    steps = plan(capture.messages, united([theirs[3] for theirs in everyone]))
    program = Program(capture, tree, written)
    program.steps = [[capture.messages[i] for i in step] for step in steps]
    token = [torch.zeros(1)]
    with around():
        module = scheduled(graph, steps)
        program.function, reason = compiled_in_step(
            templates,
            module,
            [*capture.fakes, *_faked(capture, token)],
            capture.shards,
            backend,
            comm,
        )
    return Outcome(program, reason or "")


def _facts(tree: Any) -> list[Any]:
    """Return what of a result's structure must be the same on every rank."""
    found = []
    for leaf in leaves(tree):
        n = leaf.layout
        found.append((leaf.argument, n and (n.shape, n.split, n.counts), str(leaf.value)))
    return found


def _faked(capture: Capture, tensors: Sequence[Tensor]) -> list[Tensor]:
    return [capture.mode.from_tensor(t) for t in tensors]
