"""Graphs to machine code by torch's compiler, once for all ranks of a node that can share it."""

from __future__ import annotations

import os
import socket
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, fx

from .._comm.communicator import Communicator
from .dynamic_shapes import Function, Instance, Templates
from .row_tiling import blocked, running

__all__ = ["compiled_in_step", "no_compiler", "progress"]


def no_compiler() -> str | None:
    """Return why there is no C++ compiler for torch's Inductor to call; None if there is one."""
    from .._core.torch_internals import cpp_builder, inductor_errors

    try:
        cpp_builder.get_cpp_compiler()
    except inductor_errors.InvalidCxxCompiler:
        return "there is no C++ compiler (g++ or clang++; set CXX to one)"
    except RuntimeError as error:
        return str(error)
    return None


def _compile(backend: str, module: fx.GraphModule, fakes: Sequence[Any]) -> Function:
    """Compile a graph for inputs like `fakes` (tensors without values, and integers)."""
    with torch.no_grad(), warnings.catch_warnings():
        # Complex numbers stay with torch's own kernels: Inductor says so each time.
        warnings.simplefilter("ignore")
        if backend == "aot_eager":
            from .._core.torch_internals import aot_eager

            function: Any = aot_eager(module, list(fakes))
            return function  # type: ignore[no-any-return]
        from .._core.torch_internals import compile_fx
        from .._core.torch_internals import inductor_config as config

        # What came from other ranks beside what was here is no array of its own in memory.
        few = _most_joined(module) <= config.max_pointwise_cat_inputs
        with config.patch(compile_threads=1, force_pointwise_cat=few):
            made: Any = compile_fx.compile_fx(module, list(fakes))
            return made  # type: ignore[no-any-return]


def _most_joined(module: fx.GraphModule) -> int:
    """Return how many tensors the greatest concatenation of a graph joins."""
    joins = (node for node in module.graph.nodes if node.target is torch.ops.aten.cat.default)
    return max((len(node.args[0]) for node in joins), default=0)


def _compiled(
    templates: Templates,
    module: fx.GraphModule,
    fakes: Sequence[Tensor],
    shards: Sequence[bool],
    backend: str,
) -> Function:
    """Compile a graph, and its parts that run by blocks of rows."""
    compiler = partial(_compile, backend)
    whole, regions = blocked(module, fakes, shards)
    codes = [templates.function(region.instance(), compiler) for region in regions]
    return running(templates.function(Instance.of(whole, fakes), compiler), regions, codes)


_first: WeakKeyDictionary[Communicator, bool] = WeakKeyDictionary()


def _compiles_first(comm: Communicator) -> bool:
    """Return whether this rank is the first one of a communicator on its node.

    Messages: names of nodes, once for each communicator.
    """
    if comm not in _first:
        hosts = comm.allgather_object(socket.gethostname())
        _first[comm] = hosts.index(hosts[comm.rank]) == comm.rank
    return _first[comm]


def compiled_in_step(
    templates: Templates,
    module: fx.GraphModule,
    fakes: Sequence[Tensor],
    shards: Sequence[bool],
    backend: str,
    comm: Communicator,
) -> tuple[Function, str | None]:
    """Compile a graph on all ranks: first one of each node, then the others from its cache.

    Parameters
    ----------
    templates : Templates
        What has been compiled before.
    module : torch.fx.GraphModule
    fakes : sequence of Tensor
        Tensors without values, like its inputs.
    shards : sequence of bool
        Which of these are this rank's own part of an array; of those that it leaves out none is.
    backend : str
    comm : Communicator

    Returns
    -------
    function
        The compiled graph; where it could not be compiled on some rank, the graph itself, on all.
    problem : str or None
        Why it could not, the same on all ranks.
    """
    if backend == "eager":
        return module, None
    first = _compiles_first(comm)
    function: Function = module
    problem = no_compiler() if backend == "inductor" else None
    for turn in (True, False):
        if turn is first and problem is None:
            try:
                function = _compiled(templates, module, fakes, shards, backend)
            except Exception as error:
                text = str(error).strip().partition("\n")[0]
                problem = f"{type(error).__name__}: {text}"[:300]
        problem = next((p for p in comm.allgather_object(problem, patient=True) if p), None)
        if comm.size == 1 and turn:
            break
    return (function, None) if problem is None else (module, problem)


@contextmanager
def progress(name: str, comm: Communicator, shown: bool | None) -> Iterator[None]:
    """Tell on rank 0's terminal that a function is being compiled, and how long it took."""
    if shown is None:
        shown = os.environ.get("HEAT_ARRAY_API_PROGRESS", "") != "0" and sys.stderr.isatty()
    shown = shown and comm.rank == 0
    started = time.perf_counter()
    if shown:
        sys.stderr.write(f"compiling {name} ...")
        sys.stderr.flush()
    try:
        yield
    finally:
        if shown:
            sys.stderr.write(f" {time.perf_counter() - started:.1f} s\n")
            sys.stderr.flush()
