"""Row blocks: what reads a large array for a product, and again for another, reads it once.

The gradient of a logistic loss multiplies a matrix by a vector, and the matrix's transpose by
what comes of the result. Compilers leave such products to libraries, and each goes through
memory. Here the part of a graph between large inputs and sums over their rows runs block by
block of rows, each small enough to stay in the processor's cache, and the sums are added up.

A rank's own business: no message is within such a part, and nothing but what comes of its own
rows. What all ranks have alike would be rounded differently on ranks with other blocks.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.passes.fake_tensor_prop import FakeTensorProp

from .._core.torch_internals import FakeTensorMode
from .dynamic_shapes import Function, Instance
from .row_propagation import (
    MAX,
    MIN,
    PRODUCTS,
    SUM,
    VIEWS,
    axis_of_rows,
    combination,
    is_pointwise,
    with_rows,
)

__all__ = ["Region", "blocked", "running"]


LEAST_BYTES = 8 << 20
"""Of the inputs with rows: less stays in the cache by itself."""


BLOCK_BYTES = 2 << 20
"""Of these inputs, in a block: calling a block costs tens of microseconds."""


LEAST_ROWS = 256
"""Of a block: products of few rows are slow."""


MOST_RESULT_BYTES = 1 << 20
"""Of the results of combining rows: adding up greater ones costs what is saved."""


_aten: Any = torch.ops.aten


# ---------------------------------------------------------------------- the operator

# `outputs` are the dtypes and shapes of the results, with "n" in the place of the rows.
_library: Any = torch.library.Library("heat_array_api", "FRAGMENT")  # type: ignore[no-untyped-call]


_library.define(
    "row_blocks(Tensor[] rows, Tensor[] wholes, SymInt n, str outputs, int number) -> Tensor[]"
)


_ROW_BLOCKS: Any = torch.ops.heat_array_api.row_blocks.default


_in_force: list[Sequence[_Bound]] = []
"""The regions of the programs that run, innermost last."""


def _new(rows: Sequence[Tensor], n: int, outputs: str) -> list[Tensor]:
    found = []
    for output in outputs.split(";"):
        name, _, text = output.partition(":")
        shape = [n if size == "n" else int(size) for size in text.split(",") if size]
        found.append(rows[0].new_empty(shape, dtype=getattr(torch, name)))
    return found


def _fake(
    rows: list[Tensor], wholes: list[Tensor], n: int, outputs: str, number: int
) -> list[Tensor]:
    return _new(rows, n, outputs)


def _run(
    rows: list[Tensor], wholes: list[Tensor], n: int, outputs: str, number: int
) -> list[Tensor]:
    return _in_force[-1][number](rows, wholes, n, _new(rows, n, outputs))


torch.library.register_fake("heat_array_api::row_blocks", _fake, lib=_library)


_library.impl("row_blocks", _run, "CompositeExplicitAutograd")


# ---------------------------------------------------------------------- regions


@dataclass
class Region:
    """A part of a graph that runs block by block.

    Attributes
    ----------
    members : list of torch.fx.Node
        In their order.
    axes : dict
        Where the rows are in the members and in the inputs that have any.
    rows, wholes : list of torch.fx.Node
        Its inputs, with rows and without.
    outputs : list of torch.fx.Node
        The members that others use.
    combined : list of str or None
        How the parts of each are combined; None: each block has its rows.
    size : int
        The rows of a block.
    """

    members: list[fx.Node]
    axes: dict[fx.Node, int]
    rows: list[fx.Node]
    wholes: list[fx.Node]
    outputs: list[fx.Node]
    combined: list[str | None]
    size: int

    def module(self, size: int) -> fx.GraphModule:
        """Return the graph of a block of so many rows."""
        graph = fx.Graph()
        inputs = [*self.rows, *self.wholes]
        new = {node: graph.placeholder(f"t{i}") for i, node in enumerate(inputs)}
        for node in self.members:
            args = with_rows(node, self.axes.get(node, 0), size)
            args, kwargs = fx.node.map_arg((args, dict(node.kwargs)), new.__getitem__)
            new[node] = _emitted(graph, node, args, kwargs)
        graph.output([new[node] for node in self.outputs])
        return fx.GraphModule(torch.nn.Module(), graph)

    def instance(self) -> Instance:
        """Return the graph of a full block, with tensors without values like its inputs."""
        rows = [(self._shape(x), x.meta["val"].dtype) for x in self.rows]
        wholes = [(list(x.meta["val"].shape), x.meta["val"].dtype) for x in self.wholes]
        with FakeTensorMode():
            fakes = [torch.empty(shape, dtype=dtype) for shape, dtype in (*rows, *wholes)]
        return Instance.of(self.module(self.size), fakes)

    def _shape(self, x: fx.Node) -> list[int]:
        shape = list(x.meta["val"].shape)
        shape[self.axes[x]] = self.size
        return shape

    @property
    def signature(self) -> str:
        """What the operator is told of the results."""
        found = []
        for node, how in zip(self.outputs, self.combined, strict=True):
            value = node.meta["val"]
            shape: list[Any] = list(value.shape)
            if how is None:
                shape[self.axes[node]] = "n"
            found.append(f"{str(value.dtype).removeprefix('torch.')}:{','.join(map(str, shape))}")
        return ";".join(found)


def _emitted(graph: fx.Graph, node: fx.Node, args: Any, kwargs: Any) -> fx.Node:
    """Add an operation. Products of a matrix and a vector are loops, which fuse with others."""
    if node.target in (_aten.mm.default, _aten.mv.default):
        vector: Tensor = node.args[1].meta["val"]  # type: ignore[union-attr]
        if vector.dtype in (torch.float32, torch.float64) and vector.shape[1:].numel() == 1:
            row = graph.call_function(_aten.view.default, (args[1], [1, -1]))
            products = graph.call_function(_aten.mul.Tensor, (args[0], row))
            return graph.call_function(_aten.sum.dim_IntList, (products, [1], vector.ndim == 2))
    return graph.create_node(node.op, node.target, args, kwargs)


class _Bound:
    """A region with its machine code."""

    def __init__(self, region: Region, function: Function) -> None:
        self.region = region
        self._function = function
        # The last block is run as it is: its length differs from job to job.
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
        """Run all blocks; return `results`, filled."""
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
                _COMBINE[how](results[i], found[i], out=results[i])


_COMBINE: dict[str, Callable[..., Tensor]] = {
    SUM: torch.add,
    MAX: torch.maximum,
    MIN: torch.minimum,
}


def running(function: Function, regions: Sequence[Region], codes: Sequence[Function]) -> Function:
    """Return the function of a graph that `blocked` has made, with its regions' machine code."""
    if not regions:
        return function
    bound = [_Bound(region, code) for region, code in zip(regions, codes, strict=True)]

    def run(*tensors: Any) -> Sequence[Tensor]:
        _in_force.append(bound)
        try:
            return function(*tensors)
        finally:
            _in_force.pop()

    return run


# ---------------------------------------------------------------------- finding them


@dataclass
class _Rows:
    """What a graph does with the rows of its greatest input.

    Attributes
    ----------
    axes : dict
        Where they are in the values that have any.
    combined : dict
        The operations that combine all rows, and how.
    levels : dict
        After how many such operations, one after the other, a value is there.
    sources : set
        The values with rows that are not made row by row: inputs, what messages bring.
    own : set
        The values that depend on this rank's shards.
    """

    axes: dict[fx.Node, int]
    combined: dict[fx.Node, str]
    levels: dict[fx.Node, int]
    sources: set[fx.Node]
    own: set[fx.Node]

    @staticmethod
    def of(graph: fx.Graph, n: int, shards: Sequence[fx.Node]) -> _Rows:
        found = _Rows({}, {}, {}, set(), set(shards))
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
            else:  # it needs all rows of its operands
                operands = found.own.intersection(node.all_input_nodes)
                level += any(found.inside(x, level) for x in operands)
                if isinstance(value, Tensor) and value.ndim and value.shape[0] == n:
                    found.axes[node] = 0
                    found.sources.add(node)
            found.levels[node] = level
        return found

    def inside(self, node: fx.Node, level: int) -> bool:
        """Return whether a value is made row by row after so many combinations."""
        return node in self.axes and node not in self.sources and self.levels[node] == level

    def region(self, level: int, order: Sequence[fx.Node], again: set[fx.Node]) -> Region | None:
        """Return what leads from values with rows to the combinations of a level, if that pays."""
        chosen = {node for node in self.combined if self.levels[node] == level + 1}
        for node in reversed(order):
            if node in chosen:
                chosen.update(x for x in node.all_input_nodes if self.inside(x, level))
        # The parts of a pair are in where the pair is.
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
        if nbytes < LEAST_BYTES:
            return None
        n = rows[0].meta["val"].shape[self.axes[rows[0]]]
        outputs = [
            node
            for node in members
            if isinstance(node.meta["val"], Tensor)
            and node not in again
            and any(user not in chosen for user in node.users)
        ]
        combined = [self.combined.get(node) for node in outputs]
        results = sum(x.meta["val"].nbytes for x in outputs if x in self.combined)
        if results > MOST_RESULT_BYTES:
            return None
        size = min(n, max(LEAST_ROWS, BLOCK_BYTES * n // nbytes // 16 * 16))
        axes = {node: self.axes[node] for node in (*members, *rows) if node in self.axes}
        return Region(members, axes, rows, wholes, outputs, combined, size)


def _made_again(order: Sequence[fx.Node], own: set[fx.Node]) -> set[fx.Node]:
    """Return what is made outside again where it is needed there.

    Views of inputs cost nothing. What all ranks have alike must not depend on their blocks.
    """
    found: set[fx.Node] = set()
    for node in order:
        operands = node.all_input_nodes
        if node not in own or (
            node.target in VIEWS and all(x.op == "placeholder" or x in found for x in operands)
        ):
            found.add(node)
    return found


def _count(shards: Sequence[Tensor]) -> int | None:
    """Return how many rows the greatest of them has; None if it is too small to be cut."""
    greatest = max(shards, key=lambda t: t.nbytes, default=None)
    if greatest is None or greatest.ndim == 0 or greatest.device.type != "cpu":
        return None
    if greatest.nbytes < LEAST_BYTES // 2:
        return None
    n = int(greatest.shape[0])
    return n if n >= 2 * LEAST_ROWS else None


def blocked(
    module: fx.GraphModule, fakes: Sequence[Tensor], shards: Sequence[bool]
) -> tuple[fx.GraphModule, list[Region]]:
    """Return a graph with what pays in row blocks in them, and these parts.

    Parameters
    ----------
    module : torch.fx.GraphModule
        Without operations in place.
    fakes : sequence of Tensor
        Tensors without values, like its inputs.
    shards : sequence of bool
        Which of these are this rank's own part of an array; of those that it leaves out none is.
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
    rows = _Rows.of(module.graph, n, own_inputs)
    again = _made_again(order, rows.own)
    levels = sorted({rows.levels[node] - 1 for node in rows.combined})
    regions = {level: rows.region(level, order, again) for level in levels}
    found = {level: region for level, region in regions.items() if region is not None}
    if not found:
        return module, []
    return _cut(module, order, rows, found, again, n), list(found.values())


def _cut(
    module: fx.GraphModule,
    order: Sequence[fx.Node],
    rows: _Rows,
    regions: dict[int, Region],
    again: set[fx.Node],
    n: int,
) -> fx.GraphModule:
    """Return a graph with an operator in place of each region.

    A level's values without rows come first, then its region, then what else has rows.
    """
    graph = fx.Graph()
    new: dict[fx.Node, fx.Node] = {}
    inside = {node: level for level, region in regions.items() for node in region.members}

    def copied(node: fx.Node) -> fx.Node:
        if node not in new:
            assert node in again
            new[node] = graph.node_copy(node, copied)
        return new[node]

    def rank(node: fx.Node) -> tuple[int, int]:
        level = rows.levels[node]
        if node in rows.combined:
            return level - 1, 2
        return level, 2 if rows.inside(node, level) and node in rows.own else 0

    inputs = list(module.graph.find_nodes(op="placeholder"))
    new.update((node, graph.placeholder(str(node.target))) for node in inputs)
    steps: list[tuple[tuple[int, int], fx.Node | int]]
    steps = [((level, 1), number) for number, level in enumerate(regions)]
    steps += [(rank(node), node) for node in order if node not in inside]
    numbered = list(regions.values())
    for _, step in sorted(steps, key=lambda pair: pair[0]):
        if isinstance(step, fx.Node):
            new[step] = graph.node_copy(step, copied)
            continue
        region = numbered[step]
        tensors = [[copied(x) for x in nodes] for nodes in (region.rows, region.wholes)]
        args: Any = (*tensors, n, region.signature, step)
        found = graph.call_function(_ROW_BLOCKS, args)
        for i, node in enumerate(region.outputs):
            new[node] = graph.call_function(operator.getitem, (found, i))
    graph.node_copy(module.graph.output_node(), copied)
    return fx.GraphModule(torch.nn.Module(), graph)
