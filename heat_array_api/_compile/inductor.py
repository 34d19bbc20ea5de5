"""Inductor: torch's compiler makes machine code of graphs, on all ranks in step.

One rank of each node compiles first, so that the others find what they share in its cache.
"""

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
from .capture import Capture
from .dynamic_shapes import CompiledGraphs, ConcreteGraph, Function
from .row_tiling import tiled, with_tile_loops
from .schedule import Steps, scheduled


def no_compiler() -> str | None:
    """Return why Inductor finds no C++ compiler; None if it finds one."""
    from .._core.torch_internals import cpp_builder, inductor_errors

    try:
        cpp_builder.get_cpp_compiler()
    except inductor_errors.InvalidCxxCompiler:
        return "there is no C++ compiler (g++ or clang++; set CXX to one)"
    except RuntimeError as error:
        return str(error)
    return None


def _compile(backend: str, module: fx.GraphModule, fakes: Sequence[Any]) -> Function:
    """Compile a graph for inputs like `fakes` (fake tensors and integers)."""
    with torch.no_grad(), warnings.catch_warnings():
        # Inductor warns each time that complex numbers stay with torch's own kernels.
        warnings.simplefilter("ignore")
        if backend == "aot_eager":
            from .._core.torch_internals import aot_eager

            function: Any = aot_eager(module, list(fakes))
            return function  # type: ignore[no-any-return]
        from .._core.torch_internals import compile_fx
        from .._core.torch_internals import inductor_config as config

        # Fuse the concatenation of local and received rows instead of materialising it.
        few = _most_joined(module) <= config.max_pointwise_cat_inputs
        with config.patch(compile_threads=1, force_pointwise_cat=few):
            made: Any = compile_fx.compile_fx(module, list(fakes))
            return made  # type: ignore[no-any-return]


def _most_joined(module: fx.GraphModule) -> int:
    """Return the number of tensors that the largest concatenation of a graph joins."""
    joins = (node for node in module.graph.nodes if node.target is torch.ops.aten.cat.default)
    return max((len(node.args[0]) for node in joins), default=0)


_first: WeakKeyDictionary[Communicator, bool] = WeakKeyDictionary()


def _compiles_first(comm: Communicator) -> bool:
    """Return whether this rank is the first of a communicator on its node.

    The ranks gather their nodes' names, once for each communicator.
    """
    if comm not in _first:
        hosts = comm.allgather_object(socket.gethostname())
        _first[comm] = hosts.index(hosts[comm.rank]) == comm.rank
    return _first[comm]


class Compiler:
    """Compiles the graphs of one function, as `compile` was told to."""

    def __init__(self, name: str, backend: str, show_progress: bool | None) -> None:
        self.graphs = CompiledGraphs()
        self._name = name
        self._backend = backend
        self._show_progress = show_progress

    def __call__(
        self, graph: fx.Graph, capture: Capture, steps: Steps, comm: Communicator
    ) -> tuple[Function, str | None]:
        """Compile what was captured, with its messages in the order of `steps`, on all ranks.

        Where it could not be compiled on some rank, return the graph itself and the problem, the
        same on all ranks.
        """
        with self._progress(comm):
            module = scheduled(graph, steps)
            fakes = [*capture.fakes, capture.mode.from_tensor(torch.zeros(1))]  # with the token
            if self._backend == "eager":
                return module, None
            return self._in_step(module, fakes, capture.shards, comm)

    def _in_step(
        self,
        module: fx.GraphModule,
        fakes: Sequence[Tensor],
        shards: Sequence[bool],
        comm: Communicator,
    ) -> tuple[Function, str | None]:
        """Let the first rank of each node compile, then the others from its cache."""
        first = _compiles_first(comm)
        function: Function = module
        problem = no_compiler() if self._backend == "inductor" else None
        for turn in (True, False):
            if turn is first and problem is None:
                try:
                    function = self._compiled(module, fakes, shards)
                except Exception as error:
                    text = str(error).strip().partition("\n")[0]
                    problem = f"{type(error).__name__}: {text}"[:300]
            problem = next((p for p in comm.allgather_object(problem, patient=True) if p), None)
            if comm.size == 1 and turn:
                break
        return (function, None) if problem is None else (module, problem)

    def _compiled(
        self, module: fx.GraphModule, fakes: Sequence[Tensor], shards: Sequence[bool]
    ) -> Function:
        """Compile a graph, and its regions that run tile by tile."""
        compiler = partial(_compile, self._backend)
        whole, regions = tiled(module, fakes, shards)
        codes = [self.graphs.function(region.graph(), compiler) for region in regions]
        function = self.graphs.function(ConcreteGraph.of(whole, fakes), compiler)
        return with_tile_loops(function, regions, codes)

    @contextmanager
    def _progress(self, comm: Communicator) -> Iterator[None]:
        """Report on rank 0's standard error what is being compiled, and the time taken."""
        shown = self._show_progress
        if shown is None:
            shown = os.environ.get("HEAT_ARRAY_API_PROGRESS", "") != "0" and sys.stderr.isatty()
        shown = shown and comm.rank == 0
        started = time.perf_counter()
        if shown:
            self._say(f"compiling {self._name} ...")
        try:
            yield
        finally:
            if shown:
                self._say(f" {time.perf_counter() - started:.1f} s\n")

    @staticmethod
    def _say(text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()
