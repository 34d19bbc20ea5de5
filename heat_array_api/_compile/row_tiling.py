"""Row tiling: a large matrix that goes into several products is read from memory once.

The gradient of a logistic loss multiplies a matrix by a vector, and the matrix's transpose by the
loss's slope. Compilers leave such products to libraries, and each product reads the whole matrix.
Here the part of a graph between large inputs and sums over their rows runs tile by tile: each
tile of rows stays in the processor's cache, and the tiles' sums are added up.

A region contains no message, and computes only what depends on this rank's own rows: values that
are the same on all ranks would be rounded differently on ranks with other tiles.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.passes.fake_tensor_prop import FakeTensorProp

from .._core.torch_internals import FakeTensorMode
from .dynamic_shapes import ConcreteGraph, Function
from .row_propagation import (
    PRODUCTS,
    VIEWS,
    Combine,
    aten,
    axis_of_rows,
    combination,
    is_pointwise,
    with_rows,
)

LEAST_BYTES_FOR_TILES = 8 << 20
"""The least size of a region's inputs with rows: smaller ones stay in the cache by themselves."""

TILE_BYTES = 2 << 20
"""The size of these inputs in a tile: the call of a tile costs tens of microseconds."""

LEAST_ROWS = 256
"""The least number of rows in a tile: products of few rows are slow."""

MOST_RESULT_BYTES = 1 << 20
"""The greatest size of combined results: adding up larger ones costs what tiles save."""


# ---------------------------------------------------------------------- the operator

# `outputs` are the dtypes and shapes of the results, with "n" for the number of rows; `number` is
# the region's in the program that runs.
_library: Any = torch.library.Library("heat_array_api", "FRAGMENT")  # type: ignore[no-untyped-call]

_library.define(
    "row_tiles(Tensor[] rows, Tensor[] wholes, SymInt n, str outputs, int number) -> Tensor[]"
)

_ROW_TILES: Any = torch.ops.heat_array_api.row_tiles.default

_running: list[Sequence[_TileLoop]] = []
"""The regions of the programs that run, innermost last."""


def _new(rows: Sequence[Tensor], n: int, outputs: str) -> list[Tensor]:
    found = []
    for output in outputs.split(";"):
        name, _, text = output.partition(":")
        shape = [n if size == "n" else int(size) for size in text.split(",") if size]
        found.append(rows[0].new_empty(shape, dtype=getattr(torch, name)))
    return found


def _run(
    rows: list[Tensor], wholes: list[Tensor], n: int, outputs: str, number: int
) -> list[Tensor]:
    return _running[-1][number](rows, wholes, n, _new(rows, n, outputs))


torch.library.register_fake(
    "heat_array_api::row_tiles",
    lambda rows, wholes, n, outputs, number: _new(rows, n, outputs),
    lib=_library,
)
_library.impl("row_tiles", _run, "CompositeExplicitAutograd")


# ---------------------------------------------------------------------- regions


@dataclass
class TiledRegion:
    """A part of a graph that runs tile by tile.

    Attributes
    ----------
    members : list of torch.fx.Node
        In the graph's order.
    axes : dict
        The axis of the rows in the members and inputs that have rows.
    rows, wholes : list of torch.fx.Node
        The inputs with rows, and those without.
    outputs : list of torch.fx.Node
        The members that are used outside.
    combined : list of callable or None
        What combines two tiles' results for each output; None if each tile has its own rows.
    size : int
        The number of rows in a tile.
    """

    members: list[fx.Node]
    axes: dict[fx.Node, int]
    rows: list[fx.Node]
    wholes: list[fx.Node]
    outputs: list[fx.Node]
    combined: list[Combine | None]
    size: int

    def module(self, size: int) -> fx.GraphModule:
        """Return the graph of a tile of `size` rows."""
        graph = fx.Graph()
        inputs = [*self.rows, *self.wholes]
        new = {node: graph.placeholder(f"t{i}") for i, node in enumerate(inputs)}
        for node in self.members:
            args = with_rows(node, self.axes.get(node, 0), size)
            args, kwargs = fx.node.map_arg((args, dict(node.kwargs)), new.__getitem__)
            new[node] = _emitted(graph, node, args, kwargs)
        graph.output([new[node] for node in self.outputs])
        return fx.GraphModule(torch.nn.Module(), graph)

    def graph(self) -> ConcreteGraph:
        """Return the graph of a full tile with fake inputs."""
        rows = [(self._shape(x), x.meta["val"].dtype) for x in self.rows]
        wholes = [(list(x.meta["val"].shape), x.meta["val"].dtype) for x in self.wholes]
        with FakeTensorMode():
            fakes = [torch.empty(shape, dtype=dtype) for shape, dtype in (*rows, *wholes)]
        return ConcreteGraph.of(self.module(self.size), fakes)

    def _shape(self, x: fx.Node) -> list[int]:
        shape = list(x.meta["val"].shape)
        shape[self.axes[x]] = self.size
        return shape

    @property
    def signature(self) -> str:
        """The operator's argument `outputs`."""
        found = []
        for node, how in zip(self.outputs, self.combined, strict=True):
            value = node.meta["val"]
            shape: list[Any] = list(value.shape)
            if how is None:
                shape[self.axes[node]] = "n"
            found.append(f"{str(value.dtype).removeprefix('torch.')}:{','.join(map(str, shape))}")
        return ";".join(found)


def _emitted(graph: fx.Graph, node: fx.Node, args: Any, kwargs: Any) -> fx.Node:
    """Add an operation; a matrix times a vector becomes a loop, which fuses with other loops."""
    if node.target in (aten.mm.default, aten.mv.default):
        vector: Tensor = node.args[1].meta["val"]  # type: ignore[union-attr]
        if vector.dtype in (torch.float32, torch.float64) and vector.shape[1:].numel() == 1:
            row = graph.call_function(aten.view.default, (args[1], [1, -1]))
            products = graph.call_function(aten.mul.Tensor, (args[0], row))
            return graph.call_function(aten.sum.dim_IntList, (products, [1], vector.ndim == 2))
    return graph.create_node(node.op, node.target, args, kwargs)


class _TileLoop:
    """A region with its machine code."""

    def __init__(self, region: TiledRegion, function: Function) -> None:
        self.region = region
        self._function = function
        # A shorter last tile runs uncompiled: its length differs from job to job.
        self._last: dict[int, Function] = {}

    def _of(self, size: int) -> Function:
        if size == self.region.size:
            return self._function
        if size not in self._last:
            self._last[size] = self.region.module(size)
        return self._last[size]

    def __call__(
        self, rows: Sequence[Tensor], wholes: Sequence[Tensor], n: int, results: list[Tensor]
    ) -> list[Tensor]:
        """Run all tiles; return `results`, filled."""
        region = self.region
        axes = [region.axes[node] for node in region.rows]
        whole = [t.contiguous() for t in wholes]
        for start in range(0, n, region.size):
            size = min(region.size, n - start)
            parts = [t.narrow(a, start, size).contiguous() for t, a in zip(rows, axes, strict=True)]
            self._add(results, self._of(size)(*parts, *whole), start, size)
        return results

    def _add(self, results: list[Tensor], found: Sequence[Tensor], start: int, size: int) -> None:
        region = self.region
        for i, (node, how) in enumerate(zip(region.outputs, region.combined, strict=True)):
            if how is None:
                results[i].narrow(region.axes[node], start, size).copy_(found[i])
            elif start == 0:
                results[i].copy_(found[i])
            else:
                how(results[i], found[i], out=results[i])


def with_tile_loops(
    function: Function, regions: Sequence[TiledRegion], codes: Sequence[Function]
) -> Function:
    """Return the function of a graph made by `tiled`, with its regions' machine code."""
    if not regions:
        return function
    loops = [_TileLoop(region, code) for region, code in zip(regions, codes, strict=True)]

    def run(*tensors: Any) -> Sequence[Tensor]:
        _running.append(loops)
        try:
            return function(*tensors)
        finally:
            _running.pop()

    return run


# ---------------------------------------------------------------------- finding regions


@dataclass
class _RowAnalysis:
    """What a graph does with the rows of its greatest input.

    Attributes
    ----------
    axes : dict
        The axis of the rows in each value that has rows.
    combined : dict
        The operations that combine all rows, and how.
    levels : dict
        How many combinations of rows, one after the other, come before each value.
    sources : set
        The values with rows that are not computed row by row: inputs and received rows.
    own : set
        The values that depend on this rank's shards.
    """

    axes: dict[fx.Node, int]
    combined: dict[fx.Node, Combine]
    levels: dict[fx.Node, int]
    sources: set[fx.Node]
    own: set[fx.Node]

    @staticmethod
    def of(graph: fx.Graph, n: int, shards: Sequence[fx.Node]) -> _RowAnalysis:
        found = _RowAnalysis({}, {}, {}, set(), set(shards))
        for node in graph.nodes:
            value = node.meta.get("val")
            axis = how = None
            local = node.op == "call_function" and isinstance(value, (Tensor, tuple))
            own = local and not found.own.isdisjoint(node.all_input_nodes)
            if own:
                found.own.add(node)
            if own or (local and (node.target in VIEWS or is_pointwise(node.target))):
                axis = axis_of_rows(node, found.axes, n)
            if own and axis is None:
                how = combination(node, found.axes)
            level = max((found.levels[x] for x in node.all_input_nodes), default=0)
            if axis is not None:
                found.axes[node] = axis
            elif how is not None:
                found.combined[node] = how
                level += 1
            else:  # the operation needs all rows of its operands
                operands = found.own.intersection(node.all_input_nodes)
                level += any(found.inside(x, level) for x in operands)
                if isinstance(value, Tensor) and value.ndim and value.shape[0] == n:
                    found.axes[node] = 0
                    found.sources.add(node)
            found.levels[node] = level
        return found

    def inside(self, node: fx.Node, level: int) -> bool:
        """Return whether a value is computed row by row after `level` combinations."""
        return node in self.axes and node not in self.sources and self.levels[node] == level

    def region(
        self, level: int, order: Sequence[fx.Node], repeated: set[fx.Node]
    ) -> TiledRegion | None:
        """Return the region that leads to the combinations of a level; None if it does not pay."""
        chosen = {node for node in self.combined if self.levels[node] == level + 1}
        for node in reversed(order):
            if node in chosen:
                chosen.update(x for x in node.all_input_nodes if self.inside(x, level))
        # The parts of a pair belong to the region of the pair.
        for node in order:
            if node.target is operator.getitem and node.args[0] in chosen:
                chosen.add(node)
        members = [node for node in order if node in chosen]
        if not any(x.target in PRODUCTS and x in self.axes for x in members):
            return None
        inputs = list(dict.fromkeys(x for node in members for x in node.all_input_nodes))
        rows = [x for x in inputs if x in self.axes and x not in chosen]
        wholes = [x for x in inputs if x not in self.axes and x not in chosen]
        nbytes = sum(x.meta["val"].nbytes for x in rows)
        if nbytes < LEAST_BYTES_FOR_TILES:
            return None
        n = rows[0].meta["val"].shape[self.axes[rows[0]]]
        outputs = [
            node
            for node in members
            if isinstance(node.meta["val"], Tensor)
            and node not in repeated
            and any(user not in chosen for user in node.users)
        ]
        combined = [self.combined.get(node) for node in outputs]
        results = sum(x.meta["val"].nbytes for x in outputs if x in self.combined)
        if results > MOST_RESULT_BYTES:
            return None
        size = min(n, max(LEAST_ROWS, TILE_BYTES * n // nbytes // 16 * 16))
        axes = {node: self.axes[node] for node in (*members, *rows) if node in self.axes}
        return TiledRegion(members, axes, rows, wholes, outputs, combined, size)


def _repeated(order: Sequence[fx.Node], own: set[fx.Node]) -> set[fx.Node]:
    """Return the values that are computed again outside a region where they are needed there.

    Views of inputs cost nothing. Values that all ranks share must not depend on tiles.
    """
    found: set[fx.Node] = set()
    for node in order:
        operands = node.all_input_nodes
        view = node.target in VIEWS and all(x.op == "placeholder" or x in found for x in operands)
        if node not in own or view:
            found.add(node)
    return found


def _count(shards: Sequence[Tensor]) -> int | None:
    """Return the number of rows of the greatest shard; None if it is too small for tiles."""
    greatest = max(shards, key=lambda t: t.nbytes, default=None)
    if greatest is None or greatest.ndim == 0 or greatest.device.type != "cpu":
        return None
    if greatest.nbytes < LEAST_BYTES_FOR_TILES // 2:
        return None
    n = int(greatest.shape[0])
    return n if n >= 2 * LEAST_ROWS else None


def tiled(
    module: fx.GraphModule, fakes: Sequence[Tensor], shards: Sequence[bool]
) -> tuple[fx.GraphModule, list[TiledRegion]]:
    """Return a graph with an operator for each region where tiles pay, and these regions.

    The graph has no operations in place, and inputs like `fakes`; `shards` says which of these are
    this rank's own part of an array (those beyond its end are not).
    """
    products = any(node.target in PRODUCTS for node in module.graph.nodes)
    n = _count([t for t, own in zip(fakes, shards, strict=False) if own]) if products else None
    if n is None:
        return module, []
    mode = FakeTensorMode()
    with mode:
        inputs = [torch.empty(t.shape, dtype=t.dtype, device=t.device) for t in fakes]
    FakeTensorProp(module, mode).propagate_dont_convert_inputs(*inputs)
    order = [node for node in module.graph.nodes if node.op == "call_function"]
    placeholders = module.graph.find_nodes(op="placeholder")
    own_inputs = [node for node, own in zip(placeholders, shards, strict=False) if own]
    rows = _RowAnalysis.of(module.graph, n, own_inputs)
    repeated = _repeated(order, rows.own)
    levels = sorted({rows.levels[node] - 1 for node in rows.combined})
    regions = {level: rows.region(level, order, repeated) for level in levels}
    found = {level: region for level, region in regions.items() if region is not None}
    if not found:
        return module, []
    return _with_operators(module, order, rows, found, repeated, n), list(found.values())


class _Turn(IntEnum):
    """When the operations of one level run in the new graph."""

    BEFORE_TILES = 0
    """Values without rows: the tiles may need them."""
    TILES = 1
    """The region of the level."""
    AFTER_TILES = 2
    """Further values with rows, and combinations: they may need the region's outputs."""


def _with_operators(
    module: fx.GraphModule,
    order: Sequence[fx.Node],
    rows: _RowAnalysis,
    regions: dict[int, TiledRegion],
    repeated: set[fx.Node],
    n: int,
) -> fx.GraphModule:
    """Return a graph with an operator in place of each region: level by level, in turns."""
    graph = fx.Graph()
    new: dict[fx.Node, fx.Node] = {}
    inside = {node for region in regions.values() for node in region.members}

    def copied(node: fx.Node) -> fx.Node:
        if node not in new:
            assert node in repeated
            new[node] = graph.node_copy(node, copied)
        return new[node]

    def turn(node: fx.Node) -> tuple[int, _Turn]:
        level = rows.levels[node]
        if node in rows.combined:
            return level - 1, _Turn.AFTER_TILES
        own_rows = rows.inside(node, level) and node in rows.own
        return level, _Turn.AFTER_TILES if own_rows else _Turn.BEFORE_TILES

    for node in module.graph.find_nodes(op="placeholder"):
        new[node] = graph.placeholder(str(node.target))
    steps: list[tuple[tuple[int, _Turn], fx.Node | int]]
    steps = [((level, _Turn.TILES), number) for number, level in enumerate(regions)]
    steps += [(turn(node), node) for node in order if node not in inside]
    numbered = list(regions.values())
    for _, step in sorted(steps, key=lambda pair: pair[0]):
        if isinstance(step, fx.Node):
            new[step] = graph.node_copy(step, copied)
            continue
        region = numbered[step]
        tensors = [[copied(x) for x in nodes] for nodes in (region.rows, region.wholes)]
        args: Any = (*tensors, n, region.signature, step)
        found = graph.call_function(_ROW_TILES, args)
        for i, node in enumerate(region.outputs):
            new[node] = graph.call_function(operator.getitem, (found, i))
    graph.node_copy(module.graph.output_node(), copied)
    return fx.GraphModule(torch.nn.Module(), graph)
