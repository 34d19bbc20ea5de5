"""`dry_run`: what a function of arrays would send, hold and compute on any number of ranks.

README.md in this folder describes the design.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from .._comm.assumptions import dry_runs
from .._comm.attribution import caller, named, raised_at
from .._comm.communicator import Communicator, as_world, close
from .._comm.dry import Answers, Carried, DryTransport
from .._comm.recording import depends_on_values
from .._comm.trace import trace, unrecorded
from .._core.arguments import as_callable, as_int, as_real
from .._core.array import Array
from .._core.dtypes import to_numpy_dtype, to_torch_dtype
from .._core.layout import Layout, as_shape, normalize_axis
from .._core.torch_internals import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
    UnsupportedOperatorException,
)
from .._core.trees import mapped
from .._creation import device_kind
from .._errors import PlanError, shown
from .._options import default_dtype
from .machine import Machine, load
from .meter import Meter
from .plan import ARGUMENT, Plan, RankPlan

__all__ = ["ShapeDtype", "dry_run"]

_MOST_RANKS = 1 << 20
"""Layouts list the lengths of all shards."""

_ROUNDS = 3
"""How often the ranks are run at most, until each was told what the others say."""


class ShapeDtype:
    """The description of an array, without values, as an argument of `dry_run`.

    Parameters
    ----------
    shape : tuple of int
        The global shape.
    dtype : dtype, optional
        By default the default real dtype.
    split : int or None, optional
        The split axis; None: a full copy on every rank.

    Examples
    --------
    >>> xp.ShapeDtype((10**9, 3), xp.float32, split=0)
    ShapeDtype((1000000000, 3), 'float32', split=0)
    """

    __slots__ = ("dtype", "shape", "split")

    def __init__(self, shape: Any, dtype: Any = None, split: int | None = None) -> None:
        self.shape = as_shape("ShapeDtype", shape)
        given = default_dtype() if dtype is None else dtype
        self.dtype = to_numpy_dtype(to_torch_dtype(given, "ShapeDtype"))
        if split is not None:
            split = normalize_axis("ShapeDtype", split, len(self.shape), "split")
        self.split = split

    def __repr__(self) -> str:
        return f"ShapeDtype({self.shape}, '{self.dtype}', split={self.split})"


def dry_run(
    f: Callable[..., Any],
    /,
    *arguments: Any,
    ranks: int,
    node: int | None = None,
    device: Any = "cpu",
    selectivity: float = 0.5,
    rank: int | None = None,
) -> Plan:
    """Return what a function would send, hold and compute on many ranks, without running it there.

    Nothing is sent and no memory is used for arrays: inside `f` they have shapes, dtypes and
    layouts, and no values. `world` is then a world of that many ranks, of which the first, the
    second, one in the middle and the last are run, one after the other, in this process. The page
    "Will my job fit?" of the documentation has an example.

    Parameters
    ----------
    f : callable
        A function of arrays; or of nothing, which makes them itself.
    *arguments : object
        Arrays and `ShapeDtype` descriptions, also in nested tuples, lists and dicts: `f` gets
        arrays of their global shape, dtype and split, divided evenly over the ranks. All else is
        passed as it is.
    ranks : int
        How many ranks there would be.
    node : int, optional
        How many of them share a node, for the memory of a node.
    device : Device or str, optional
        Where the arguments are stored, "cpu" or "cuda". No GPU is needed; for indexing and
        derivatives, a torch that was built with CUDA is.
    selectivity : float, optional
        The share of elements that a mask selects, and that are distinct in `unique`.
    rank : int, optional
        Run this rank alone.

    Returns
    -------
    Plan
        ``print(plan)`` shows it; ``plan.peak_bytes``, ``plan.events``, ``plan.messages``,
        ``plan.bytes``, ``plan.flops``, ``plan.seconds``, ``plan.assumptions``;
        ``plan.check(memory="64 GB")`` raises if it exceeds a limit. Sends nothing.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of those.
    PlanError
        If what `f` does depends on values: an integer or a boolean read from an array. (Floats are
        NaN.)

    Examples
    --------
    >>> def covariance(x):
    ...     x = x - xp.mean(x, axis=0)
    ...     return x.T @ x / x.shape[0]
    >>> plan = xp.dry_run(covariance, xp.ShapeDtype((10**9, 10), split=0), ranks=1000)
    >>> [(m.operation, m.collective, m.bytes) for m in plan.messages]
    [('__matmul__', 'allreduce', 800), ('mean', 'allreduce', 80)]
    >>> plan.check(memory="1 GB")
    """
    as_callable("dry_run", "f", f)
    ranks = as_int("dry_run", "ranks", ranks, least=1)
    if ranks > _MOST_RANKS:
        raise ValueError(f"dry_run: ranks is {ranks}; expected at most {_MOST_RANKS}")
    node = None if node is None else as_int("dry_run", "node", node, least=1)
    kind = device_kind("dry_run", device)
    share = as_real("dry_run", "selectivity", selectivity)
    if not 0 <= share <= 1:
        raise ValueError(f"dry_run: selectivity is {share}; expected a number from 0 to 1")
    chosen = _representatives(ranks) if rank is None else [as_int("dry_run", "rank", rank, least=0)]
    if chosen[-1] >= ranks:
        raise ValueError(f"dry_run: rank is {rank}; expected a rank of {ranks}")
    if dry_runs:
        raise ValueError("dry_run: f calls dry_run itself; plan one function at a time")
    depends_on_values("dry_run")
    machine = load()
    job = _Job(f, arguments, ranks, node or ranks, kind, share, machine)
    return Plan(job.run(chosen), ranks, node, machine)


def _representatives(ranks: int) -> list[int]:
    return sorted({0, min(1, ranks - 1), ranks // 2, ranks - 1})


class _Job:
    """The ranks of a dry run."""

    def __init__(
        self,
        f: Callable[..., Any],
        arguments: Sequence[Any],
        ranks: int,
        node: int,
        device: str,
        selectivity: float,
        machine: Machine,
    ) -> None:
        self.f, self.arguments, self.ranks, self.node = f, arguments, ranks, node
        self.device, self.selectivity, self.machine = device, selectivity, machine
        self.answers = Answers()

    def run(self, chosen: Sequence[int]) -> list[RankPlan]:
        """Run ranks one after the other, again where they had to guess what others say."""
        for _ in range(_ROUNDS):
            plans = [self._run_one(rank) for rank in chosen]
            if self.answers.agree:
                return plans
        plans[0].assumptions.append(f"what ranks heard of each other in the last of {_ROUNDS} runs")
        return plans

    def _run_one(self, rank: int) -> RankPlan:
        carried: list[Carried] = []
        self.answers.begin(rank)
        transport = DryTransport(rank, self.ranks, self.node, self.answers, carried)
        comm = Communicator(transport)
        comm._checker = None  # in debug mode, too: there is nobody to compare with
        one = _Rank(self.selectivity)
        with ExitStack() as stack:
            stack.callback(close, comm, "this array was made in a dry run: it has no values")
            for around in (_generators_kept(), as_world(comm), unrecorded(), _in_force(one)):
                stack.enter_context(around)
            seen = stack.enter_context(trace())
            with FakeTensorMode(allow_non_fake_inputs=True), one.meter:
                if self.device == "cuda" and torch.version.cuda is None:
                    stack.enter_context(_NoTape())
                with named(("dry_run", ARGUMENT)):
                    given = mapped(lambda value: self._given(value, comm), self.arguments)
                self._call(given)
        events = [
            replace(event, seconds=self.machine.message(sent))
            for event, sent in zip(seen.events, carried, strict=True)
        ]
        meter = one.meter
        return RankPlan(
            rank, events, seen.notes, meter.peak, meter.peak_line, meter.held, meter.flops,
            meter.traffic, list(one.rules),
        )  # fmt: skip

    def _call(self, given: Any) -> None:
        try:
            self.f(*given)
        except PlanError:
            raise
        except Exception as error:
            reason = _reason(error)
            if reason is None:
                raise
            text = str(error).partition("\n")[0]
            raise PlanError(
                f"dry_run: what happens at {raised_at(error)} {reason} ({text})"
            ) from error

    def _given(self, value: Any, comm: Communicator) -> Any:
        """Return an argument as an array of this rank; what is no array as it is."""
        if isinstance(value, Tensor):
            raise TypeError(f"dry_run: an argument is {shown(value)} of torch; expected an Array")
        if not isinstance(value, (Array, ShapeDtype)):
            return value
        layout = Layout.balanced(tuple(value.shape), value.split, comm)
        dtype = to_torch_dtype(value.dtype)
        t = torch.empty(layout.local_shape, dtype=dtype, device=self.device)
        x = Array(t, layout)
        return x.requires_grad_() if getattr(value, "requires_grad", False) else x


# What torch says when code asks for the memory of a fake tensor; and what it cannot do with those
# of a device that it was not built for (indexing, above all).
_OUTSIDE = (".numpy() is not supported", "data pointer", "tolist() is not supported")
_NOT_LINKED = "not linked with support for cuda"


def _reason(error: Exception) -> str | None:
    """Return why an error comes of the dry run; None if it is the function's own."""
    text = str(error)
    if _NOT_LINKED in text:
        return "needs a torch that was built with CUDA (no GPU): use one, or device='cpu'"
    if isinstance(error, (DataDependentOutputException, DynamicOutputShapeException)) or any(
        said in text for said in _OUTSIDE
    ):
        return "depends on values, of which arrays have none here"
    if isinstance(error, UnsupportedOperatorException):
        return "has no rule for shapes without values in torch"
    return None


class _Rank:
    """One rank while it is run: what the library asks in place of values."""

    def __init__(self, selectivity: float) -> None:
        self.selectivity = selectivity
        self.rules: dict[str, None] = {}
        self.meter = Meter()

    def assume(self, rule: str) -> None:
        """Note a rule."""
        self.rules.setdefault(rule)


@contextmanager
def _in_force(one: _Rank) -> Iterator[None]:
    dry_runs.append(one)
    try:
        yield
    finally:
        dry_runs.pop()


@contextmanager
def _generators_kept() -> Iterator[None]:
    """Leave the global generators as they are: what `f` draws, the program must not miss."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])


class _NoTape(TorchFunctionMode):
    """Refuses derivatives on CUDA tensors where torch has no CUDA: it would end the process."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is Tensor.requires_grad_:
            raise PlanError(
                f"dry_run: {caller()[0]} differentiates on device 'cuda', for which this torch was "
                "not built; use a torch with CUDA (no GPU is needed), or device='cpu'"
            )
        return func(*args, **(kwargs or {}))
