"""Nested tuples, lists and dicts of arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


def leaves(tree: Any) -> Iterator[Any]:
    """Yield what nested tuples, lists and dicts hold, in order."""
    if isinstance(tree, (tuple, list)):
        for item in tree:
            yield from leaves(item)
    elif isinstance(tree, dict):
        for key in tree:
            yield from leaves(tree[key])
    else:
        yield tree


def rebuilt(tree: Any, leaves: Iterator[Any]) -> Any:
    """Return a tree of the same structure with other leaves."""
    if isinstance(tree, (tuple, list)):
        items = [rebuilt(item, leaves) for item in tree]
        return type(tree)(*items) if hasattr(tree, "_fields") else type(tree)(items)
    if isinstance(tree, dict):
        return {key: rebuilt(value, leaves) for key, value in tree.items()}
    return next(leaves)


def mapped(function: Callable[[Any], Any], tree: Any) -> Any:
    return rebuilt(tree, map(function, leaves(tree)))
