"""Dynamic shapes: graphs that differ in numbers only share one compilation.

The first graph of a structure is compiled as it is. The second one shows which numbers vary
(lengths of shards, bounds of slices, a learning rate): a graph with these numbers as inputs is
compiled, and serves all later ones. Every graph was captured with its own numbers, so how they
depend on each other need not be inferred.

Each rank does this by itself: the messages have been decided before, by `schedule`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx
from torch.fx.node import map_arg

from .._core.torch_internals import ConstantSource, DimDynamic, FakeTensorMode, ShapeEnv
from .row_propagation import aten

Function = Callable[..., Sequence[Tensor]]

Compiler = Callable[[fx.GraphModule, Sequence[Any]], Function]

MOST_COMPILATIONS = 32
"""For one function; further graphs run uncompiled."""

# Their second argument may be a 0-d tensor in place of a number.
_TAKE_TENSORS = (aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor)


class ConcreteGraph(NamedTuple):
    """A graph with its inputs and all its numbers.

    Attributes
    ----------
    module : torch.fx.GraphModule
    fakes : list of Tensor
        Fake tensors like the inputs.
    structure : tuple
        The graph without its numbers.
    numbers : tuple of int and float
        The numbers in the inputs' shapes, then those in the nodes' arguments.
    """

    module: fx.GraphModule
    fakes: Sequence[Tensor]
    structure: tuple[Any, ...]
    numbers: tuple[Any, ...]

    @staticmethod
    def of(module: fx.GraphModule, fakes: Sequence[Tensor]) -> ConcreteGraph:
        """Analyse a graph."""
        return ConcreteGraph(module, fakes, *structure_and_numbers(module.graph, fakes))


def structure_and_numbers(
    graph: fx.Graph, fakes: Sequence[Tensor]
) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Return the structure of a graph with inputs like `fakes`, and its numbers."""
    found: list[Any] = [n for fake in fakes for n in fake.shape]
    index = {node: i for i, node in enumerate(graph.nodes)}
    inputs = tuple((fake.ndim, fake.dtype, fake.device) for fake in fakes)
    nodes = [
        (node.op, node.target, _skeleton((node.args, node.kwargs), index, found))
        for node in graph.nodes
        if node.op != "placeholder"
    ]
    return (inputs, *nodes), tuple(found)


def _is_number(value: Any) -> bool:
    """Return whether a value is a number that `==` distinguishes: not NaN, not -0.0."""
    if type(value) is float:
        return value == value and (value != 0.0 or math.copysign(1.0, value) > 0)
    return type(value) is int


def _skeleton(value: Any, index: dict[fx.Node, int], found: list[Any]) -> Any:
    """Return an argument without its numbers, which are appended to `found`."""
    if isinstance(value, fx.Node):
        return ("node", index[value])
    if _is_number(value):
        found.append(value)
        return type(value)
    if isinstance(value, (tuple, list)):
        return tuple(_skeleton(item, index, found) for item in value)
    if isinstance(value, dict):
        return tuple((key, _skeleton(item, index, found)) for key, item in value.items())
    return repr(value) if isinstance(value, (float, complex)) else value


def _filled(value: Any, fill: Callable[[Any], Any]) -> Any:
    """Return an argument with its numbers replaced by `fill`."""
    if _is_number(value):
        return fill(value)
    if isinstance(value, (tuple, list)):
        return type(value)(_filled(item, fill) for item in value)
    if isinstance(value, dict):
        return {key: _filled(item, fill) for key, item in value.items()}
    return value


class _DynamicGraph:
    """A graph compiled for two of one structure: numbers that vary are inputs, like ones the same.

    Raises ValueError if a number varies that cannot be an input.
    """

    def __init__(self, first: ConcreteGraph, second: ConcreteGraph, compiler: Compiler) -> None:
        self.fixed = first.numbers
        pairs = list(zip(first.numbers, second.numbers, strict=True))
        self.variables = list(dict.fromkeys(p for p in pairs if p[0] != p[1]))
        # Sizes first, then real numbers.
        self.variables.sort(key=lambda pair: type(pair[0]) is float)
        self.places = [self.variables.index(p) if p[0] != p[1] else -1 for p in pairs]
        self.env = ShapeEnv()
        values = [pair[1] for pair in self.variables]
        symbols = [_symbol(self.env, i, n) for i, n in enumerate(values) if type(n) is int]
        with FakeTensorMode(shape_env=self.env):
            sizes = self._with_variables(second.numbers, symbols)
            fakes = [
                torch.empty([next(sizes) for _ in t.shape], dtype=t.dtype, device=t.device)
                for t in second.fakes
            ]
            scalars = [torch.empty((), dtype=torch.float64) for n in values if type(n) is float]
        self.function = compiler(self._module(second), [*fakes, *symbols, *scalars])
        self.guards = self.env.produce_guards_expression(placeholders=symbols)

    def _with_variables(self, numbers: Sequence[Any], variables: Sequence[Any]) -> Iterator[Any]:
        for n, place in zip(numbers, self.places, strict=True):
            yield n if place < 0 else variables[place]

    def _module(self, like: ConcreteGraph) -> fx.GraphModule:
        """Return the graph with the varying numbers as further inputs."""
        graph = fx.Graph()
        nodes = list(like.module.graph.nodes)
        inputs = [node for node in nodes if node.op == "placeholder"]
        new = {node: graph.placeholder(str(node.target)) for node in inputs}
        variables = [graph.placeholder(f"v{i}") for i in range(len(self.variables))]
        places = iter(self.places[sum(t.ndim for t in like.fakes) :])
        scalars = {v for v, pair in zip(variables, self.variables, strict=True) if _real(pair)}

        def fill(value: Any) -> Any:
            place = next(places)
            return value if place < 0 else variables[place]

        for node in nodes[len(inputs) :]:
            args = _filled(node.args, fill)
            kwargs = _filled(dict(node.kwargs), fill)
            args, kwargs = map_arg((args, kwargs), lambda n: new.get(n, n))
            target = node.target
            used = [n for n in args if isinstance(n, fx.Node) and n in scalars]
            if used and target is aten.full.default and not args[0]:
                target, args = aten._to_copy.default, (used[0],)
                kwargs = {"dtype": kwargs["dtype"]}
            elif used and not (target in _TAKE_TENSORS and args[1] is used[0]):
                raise ValueError(f"{target} takes no variable number")
            new[node] = graph.create_node(node.op, target, args, kwargs)
        return fx.GraphModule(torch.nn.Module(), graph)

    def bound(self, graph: ConcreteGraph) -> Function | None:
        """Return the function for a graph's numbers; None if they do not fit."""
        values: list[Any] = [None] * len(self.variables)
        for n, fixed, place in zip(graph.numbers, self.fixed, self.places, strict=True):
            if place < 0:
                if n != fixed:
                    return None
            elif values[place] is None:
                values[place] = n
            elif values[place] != n:
                return None
        sizes = [n for n in values if type(n) is int]
        if any(n < 2 for n in sizes):  # the compiler specialises lengths 0 and 1
            return None
        if self.guards and not self.env.evaluate_guards_expression(self.guards, sizes):
            return None
        function = self.function
        bound = [n if type(n) is int else torch.tensor(n, dtype=torch.float64) for n in values]
        return lambda *tensors: function(*tensors, *bound)


def _real(pair: tuple[Any, Any]) -> bool:
    return type(pair[0]) is float


def _symbol(env: ShapeEnv, number: int, value: int) -> Any:
    source = ConstantSource(f"v{number}")
    symbol = env.create_symbol(value, source, DimDynamic.DYNAMIC)
    return env.create_symintnode(symbol, hint=value, source=source)


class CompiledGraphs:
    """The compiled graphs of one function.

    Attributes
    ----------
    compilations : int
        How many graphs were compiled.
    """

    def __init__(self) -> None:
        self.compilations = 0
        self._static: dict[Any, Function] = {}
        self._first: dict[Any, ConcreteGraph] = {}
        self._dynamic: dict[Any, list[_DynamicGraph]] = {}

    def function(self, graph: ConcreteGraph, compiler: Compiler) -> Function:
        """Return a compiled function for a graph: an earlier one that fits, or a new one."""
        structure = graph.structure
        same = self._static.get((structure, graph.numbers))
        if same is not None:
            return same
        for dynamic in self._dynamic.get(structure, ()):
            bound = dynamic.bound(graph)
            if bound is not None:
                return bound
        if self.compilations >= MOST_COMPILATIONS:
            raise RuntimeError(f"more than {MOST_COMPILATIONS} different graphs")
        self.compilations += 1
        first = self._first.setdefault(structure, graph)
        if first is not graph and _may_vary(first, graph):
            made = self._with_variables(first, graph, compiler)
            if made is not None:
                return made
        # The compiler's cache needs a ShapeEnv, though nothing varies.
        with FakeTensorMode(shape_env=ShapeEnv()):
            fakes = [torch.empty(t.shape, dtype=t.dtype, device=t.device) for t in graph.fakes]
        static = compiler(graph.module, fakes)
        self._static[structure, graph.numbers] = static
        return static

    def _with_variables(
        self, first: ConcreteGraph, second: ConcreteGraph, compiler: Compiler
    ) -> Function | None:
        try:
            dynamic = _DynamicGraph(first, second, compiler)
        except Exception:  # the compiler refuses it: the graph is compiled by itself
            return None
        self._dynamic.setdefault(second.structure, []).append(dynamic)
        return dynamic.bound(second)


def _may_vary(first: ConcreteGraph, second: ConcreteGraph) -> bool:
    """Return whether the numbers that differ are lengths of 2 or more, or real numbers."""
    pairs = zip(first.numbers, second.numbers, strict=True)
    return all(a == b or type(a) is float or min(a, b) > 1 for a, b in pairs)
