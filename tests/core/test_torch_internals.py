"""Torch's private API still does what the package uses it for."""

from __future__ import annotations

import ast
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.autograd import forward_ad

import heat_array_api
from heat_array_api._core import torch_internals
from heat_array_api._core.torch_internals import (
    ConstantSource,
    DataDependentOutputException,
    DimDynamic,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
    ShapeEnv,
    TorchDispatchMode,
    UnsupportedOperatorException,
    _BatchNorm,
    _disable_current_modes,
    aot_eager,
    compile_fx,
    cpp_builder,
    inductor_config,
    inductor_errors,
    is_functorch_wrapped_tensor,
    make_fx,
    peek_interpreter_stack,
    storage_use_count,
    tree_leaves,
    tree_map,
)

PACKAGE = Path(heat_array_api.__file__).parent


def private(name: str) -> bool:
    """Return whether a dotted name is part of torch's private or experimental API."""
    first, *rest = name.split(".")
    return (
        "(" not in name
        and first == "torch"
        and any(part[0] == "_" or part == "experimental" for part in rest)
    )


def test_no_other_module_uses_private_names():
    found = set()
    for path in PACKAGE.rglob("*.py"):
        if path.stem == "torch_internals":
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.Attribute):
                names = [ast.unparse(node)]
            found |= {(path.name, name) for name in names if private(name)}
    assert not found


def test_unknown_names():
    with pytest.raises(AttributeError, match="no attribute 'absent'"):
        torch_internals.absent  # noqa: B018


def test_fake_tensors():
    with FakeTensorMode() as mode:
        t = mode.from_tensor(torch.ones(3, 2))
        assert isinstance(t.sum(dim=0), FakeTensor)
        assert tuple(t.sum(dim=0).shape) == (2,)
        with pytest.raises(DataDependentOutputException):
            t.sum().item()
        with pytest.raises(DynamicOutputShapeException):
            torch.nonzero(t)
    assert issubclass(UnsupportedOperatorException, Exception)


def test_symbolic_integers():
    env = ShapeEnv()
    symbol = env.create_symbol(5, ConstantSource("v0"), DimDynamic.DYNAMIC)
    number = env.create_symintnode(symbol, hint=5)
    with FakeTensorMode(shape_env=env):
        assert torch.empty(number, 2).shape[0].node.expr == symbol


def test_modes_see_operations():
    seen: list[Any] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            seen.append((func, func._schema.is_mutable))
            return func(*args, **(kwargs or {}))

    t = torch.ones(2)
    with Watch():
        torch.exp(t)
        with _disable_current_modes():
            torch.log(t)
        t.add_(1)
    ops = torch.ops.aten
    assert seen == [(ops.exp.default, False), (ops.add_.Tensor, True)]


def test_graphs():
    graph = make_fx(lambda t: torch.exp(t) + 1)(torch.ones(2)).graph
    called = [node.target for node in graph.nodes if node.op == "call_function"]
    assert called == [torch.ops.aten.exp.default, torch.ops.aten.add.Tensor]


def test_tree_map():
    assert tree_map(lambda leaf: leaf + 1, (1, [2], {"a": 3})) == (2, [3], {"a": 4})


def test_tree_leaves():
    assert tree_leaves((1, [2], {"a": 3})) == [1, 2, 3]


def test_storages_of_fake_tensors_live_as_long_as_their_tensors():
    """By this a dry run measures memory."""
    freed = []
    with FakeTensorMode():
        t = torch.empty(1000, 1000)
        storage = t.untyped_storage()
        assert storage.nbytes() == 4 * 10**6
        weakref.finalize(storage, freed.append, True)
        view = t[1:]
        del t, storage
        assert not freed
        assert view.untyped_storage().nbytes() == 4 * 10**6
        del view
        assert freed


def test_batch_normalisations_share_a_base():
    names = [name for name in dir(torch.nn) if name.endswith("BatchNorm3d")]
    assert names == ["BatchNorm3d", "LazyBatchNorm3d"]
    assert all(issubclass(getattr(torch.nn, name), _BatchNorm) for name in names)
    assert torch.nn.BatchNorm1d(2).track_running_stats


def test_transforms():
    seen = []

    def f(t):
        seen.append((peek_interpreter_stack() is not None, is_functorch_wrapped_tensor(t)))
        return t * t

    t = torch.tensor(2.0)
    f(t)
    torch.func.grad(f)(t)
    assert seen == [(False, False), (True, True)]


def test_level_of_forward_mode():
    assert forward_ad._current_level < 0
    with forward_ad.dual_level():
        assert forward_ad._current_level >= 0


def test_storage_use_count():
    t = torch.ones(3)
    storage = t.untyped_storage()
    assert storage_use_count(storage._cdata) == 2  # the tensor and the handle
    view = t[1:]
    assert storage_use_count(storage._cdata) == 3
    del view
    assert storage_use_count(storage._cdata) == 2


def test_version_counts_writes():
    t = torch.ones(3)
    before = t._version
    t[0] = 2.0
    assert t._version == before + 1


def test_compilers():
    t = torch.arange(3.0)
    module = make_fx(lambda t: (torch.exp(t) + 1,))(t)
    assert torch.equal(aot_eager(module, [t])(t)[0], torch.exp(t) + 1)
    assert callable(compile_fx.compile_fx)
    assert inductor_config.max_pointwise_cat_inputs > 0
    with inductor_config.patch(compile_threads=1, force_pointwise_cat=True):
        assert inductor_config.compile_threads == 1
        assert inductor_config.force_pointwise_cat
    with suppress(inductor_errors.InvalidCxxCompiler):  # a machine without one
        assert cpp_builder.get_cpp_compiler()
