"""What tests of array-agnostic libraries share: samples, results leaf by leaf, SciPy's tables."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy._lib._array_api import xp_capabilities_table

from layouts import assert_equal, layouts


def capable(module: Any, prefix: str) -> set[str]:
    """Return the public functions of a module that are array-agnostic by SciPy's own tables."""
    public = {getattr(module, name) for name in module.__all__}
    return {
        f"{prefix}.{function.__name__}"
        for function, facts in xp_capabilities_table.items()
        if function in public and not facts["np_only"]
    }


def samples(case: Any, values: dict[str, Any]) -> list[Any]:
    """Return the samples that a case takes: those that its parameters name."""
    return [values[name] for name in inspect.signature(case).parameters]


def attributes(result: Any, *names: str) -> tuple[Any, ...]:
    """Return attributes of a result that is no tuple."""
    return tuple(getattr(result, name) for name in names)


def leaves(result: Any) -> list[Any]:
    """Return what nested tuples and lists hold."""
    if isinstance(result, tuple | list):
        return [leaf for part in result for leaf in leaves(part)]
    return [result]


def compare(result: Any, expected: Any, **tolerances: Any) -> None:
    """Check values and dtypes of a result: arrays, or tuples of them, or what is no array."""
    __tracebackhide__ = True
    found, wanted = leaves(result), leaves(expected)
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        if isinstance(other, np.ndarray | np.generic):
            assert_equal(one, other, **tolerances)
        else:
            assert one == other


def layout_of(shape: Sequence[int], way: int) -> Any:
    """Replicated (0), split along the last axis (1), or along the first with an empty shard (2)."""
    split = [None, len(shape) - 1, 0][way]
    return [layout for layout in layouts(shape, few=True) if layout.split == split][-1]
