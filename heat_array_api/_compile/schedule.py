"""The order in which a captured function sends its messages, and which of them travel together.

All ranks must come to the same schedule, although their graphs may differ (a rank with an empty
shard computes something else). So each rank contributes the dependencies in its own graph, and
their union, which is the same on all ranks, decides (`plan`, a pure function).
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import fx

from .._comm.recording import SMALL_MESSAGE
from .._core.torch_internals import make_fx
from .capture import Capture
from .collective_ops import COMBINE, MESSAGE, TRANSFER, Message

Steps = tuple[tuple[int, ...], ...]
"""Messages in the order of sending, those that travel together as one step."""


# ---------------------------------------------------------------------- dependencies


class Dependencies(NamedTuple):
    """The messages that each message and the results depend on, directly or not, as bits."""

    of_messages: tuple[int, ...]
    of_results: int


def _number(node: fx.Node) -> int:
    number: Any = node.args[2]
    return int(number)


def dependencies(graph: fx.Graph) -> Dependencies:
    """Return the dependencies on this rank."""
    masks: dict[fx.Node, int] = {}
    found: dict[int, int] = {}
    results = 0
    for node in graph.nodes:
        mask = 0
        for other in node.all_input_nodes:
            mask |= masks[other]
        if node.target is MESSAGE:
            found[_number(node)] = mask
            mask |= 1 << _number(node)
        if node.op == "output":
            results = mask
        masks[node] = mask
    return Dependencies(tuple(found[i] for i in range(len(found))), results)


def united(everyone: Sequence[Dependencies]) -> Dependencies:
    """Return the dependencies on any rank."""
    direct = [0] * len(everyone[0].of_messages)
    results = 0
    for one in everyone:
        results |= one.of_results
        direct = [mine | theirs for mine, theirs in zip(direct, one.of_messages, strict=True)]
    closed: list[int] = []
    for mask in direct:  # a message depends on earlier ones only
        for i, earlier in enumerate(closed):
            if mask >> i & 1:
                mask |= earlier
        closed.append(mask)
    for i, mask in enumerate(closed):
        if results >> i & 1:
            results |= mask
    return Dependencies(tuple(closed), results)


def plan(messages: Sequence[Message], union: Dependencies) -> list[tuple[int, ...]]:
    """Return the messages in the order of sending; those that travel together are one step.

    Messages that no result depends on, on any rank, are left out. Small sums wait until nothing
    else can be sent, so that as many as possible travel together.
    """
    waiting = [i for i in range(len(messages)) if union.of_results >> i & 1]
    sent = 0
    steps: list[tuple[int, ...]] = []
    while waiting:
        ready = [i for i in waiting if not union.of_messages[i] & ~sent & union.of_results]
        alone = [i for i in ready if not _is_small_sum(messages[i])]
        if alone:
            step = alone[:1]
        else:
            kind = messages[ready[0]].kind
            step = [i for i in ready if messages[i].kind == kind]
        steps.append(tuple(step))
        for i in step:
            sent |= 1 << i
        waiting = [i for i in waiting if i not in step]
    return steps


def _is_small_sum(one: Message) -> bool:
    return one.collective == "allreduce" and one.nbytes <= SMALL_MESSAGE


# ---------------------------------------------------------------------- graphs


def functional(capture: Capture) -> fx.Graph:
    """Return the graph without operations in place: only data then decide the order."""
    schemas = (getattr(node.target, "_schema", None) for node in capture.graph.nodes)
    if not any(schema is not None and schema.is_mutable for schema in schemas):
        return capture.graph
    module = fx.GraphModule(torch.nn.Module(), capture.graph)
    pure = torch.func.functionalize(module, remove="mutations")
    with torch.no_grad(), capture.mode:
        graph = make_fx(pure)(*capture.fakes).graph
    # Constants are the only inputs that are written to, and must be the same in the next call.
    for node in list(graph.nodes):
        if node.target is torch.ops.aten.copy_.default and node.args[0].op == "placeholder":
            node.replace_all_uses_with(node.args[1])
            graph.erase_node(node)
    return graph


def scheduled(graph: fx.Graph, steps: Sequence[tuple[int, ...]]) -> fx.GraphModule:
    """Return the graph with its messages as operators, in the order of `steps`.

    A token that passes through all messages is the last input and the last output.
    """
    position = {number: i for i, step in enumerate(steps) for number in step}
    stages: dict[fx.Node, int] = {}
    members: list[list[fx.Node]] = [[] for _ in steps]
    locals_: list[list[fx.Node]] = [[] for _ in range(len(steps) + 1)]
    inputs: list[fx.Node] = []
    results: list[Any] = []
    for node in graph.nodes:
        stage = max((stages[other] for other in node.all_input_nodes), default=0)
        if node.op == "placeholder":
            inputs.append(node)
        elif node.op == "output":
            results = list(node.args[0])
        elif node.target is not MESSAGE:
            if stage <= len(steps):
                locals_[stage].append(node)
        elif _number(node) in position:
            stage = position[_number(node)] + 1
            members[stage - 1].append(node)
        else:
            stage = len(steps) + 1  # left out, with all that depends on it
        stages[node] = stage
    return _emitted(inputs, locals_, members, results)


def _emitted(
    inputs: Sequence[fx.Node],
    locals_: Sequence[Sequence[fx.Node]],
    members: Sequence[Sequence[fx.Node]],
    results: Sequence[fx.Node],
) -> fx.GraphModule:
    """Return a graph of local operations by stage, with a step of messages after each stage."""
    graph = fx.Graph()
    new = {node: graph.placeholder(f"t{i}") for i, node in enumerate(inputs)}
    token = graph.placeholder("token")
    for i, nodes in enumerate(locals_):
        for node in nodes:
            new[node] = graph.node_copy(node, new.__getitem__)
        if i < len(members):
            token = _emit_step(graph, members[i], new, token)
    graph.output([*(new[node] for node in results), token])
    graph.eliminate_dead_code()
    return fx.GraphModule(torch.nn.Module(), graph)


def _emit_step(
    graph: fx.Graph, step: Sequence[fx.Node], new: dict[fx.Node, fx.Node], token: fx.Node
) -> fx.Node:
    """Add one step; return its token."""
    step = sorted(step, key=_number)
    first: Any = step[0]
    tensors = [new[node.all_input_nodes[0]] for node in step]
    shape = list(first.args[1])
    if len(step) > 1 or shape == list(first.args[0].meta["val"].shape):
        both = graph.call_function(COMBINE, (tensors, token))
    else:
        both = graph.call_function(TRANSFER, (tensors[0], token, shape))
    for i, node in enumerate(step):
        new[node] = graph.call_function(operator.getitem, (both, i))
    return graph.call_function(operator.getitem, (both, len(step)))
