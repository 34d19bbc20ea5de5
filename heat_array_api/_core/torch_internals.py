"""The one door to torch's private API: what a new release of torch may change without notice.

Other modules import these names from here; `tests/core/test_torch_internals.py` checks that each
does what it is used for. Torch's compiler is slow to load, so its names are looked up at first use.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import torch

# Tensors without data, which carry shapes and dtypes through a capture; and what is raised for an
# operation that needs values, or has no shape rule.
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
    UnsupportedOperatorException,
)

# Trace a function of tensors into a graph of ATen operations.
from torch.fx.experimental.proxy_tensor import make_fx

# The base class of all batch normalisations.
from torch.nn.modules.batchnorm import _BatchNorm

# See every ATen operation before it runs, and run some unseen.
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

# Apply a function to the leaves of nested containers.
from torch.utils._pytree import tree_leaves, tree_map

if TYPE_CHECKING:
    from torch._dynamo.backends.debugging import aot_eager
    from torch._dynamo.source import ConstantSource
    from torch._inductor import compile_fx, cpp_builder
    from torch._inductor import config as inductor_config
    from torch._inductor import exc as inductor_errors
    from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv

__all__ = [
    "ConstantSource",
    "DataDependentOutputException",
    "DimDynamic",
    "DynamicOutputShapeException",
    "FakeTensor",
    "FakeTensorMode",
    "ShapeEnv",
    "TorchDispatchMode",
    "UnsupportedOperatorException",
    "_BatchNorm",
    "_disable_current_modes",
    "aot_eager",
    "compile_fx",
    "cpp_builder",
    "inductor_config",
    "inductor_errors",
    "is_functorch_wrapped_tensor",
    "make_fx",
    "peek_interpreter_stack",
    "storage_use_count",
    "tree_leaves",
    "tree_map",
]


# The innermost active transform of `torch.func`, or None.
peek_interpreter_stack: Any = torch._C._functorch.peek_interpreter_stack


# Whether a tensor stands for a batch or a dual number of a transform.
is_functorch_wrapped_tensor: Any = torch._C._functorch.is_functorch_wrapped_tensor


# How many tensors and handles share the storage whose ``_cdata`` is given.
storage_use_count: Any = torch._C._storage_Use_Count

_LAZY: Final = {
    "ConstantSource": "torch._dynamo.source:ConstantSource",  # names a symbolic integer
    "DimDynamic": "torch.fx.experimental.symbolic_shapes:DimDynamic",  # makes an integer symbolic
    "ShapeEnv": "torch.fx.experimental.symbolic_shapes:ShapeEnv",  # holds symbolic integers
    "aot_eager": "torch._dynamo.backends.debugging:aot_eager",  # a backend without machine code
    "compile_fx": "torch._inductor.compile_fx",  # Inductor's entry point
    "cpp_builder": "torch._inductor.cpp_builder",  # finds the C++ compiler
    "inductor_config": "torch._inductor.config",  # compile_threads, pointwise concatenation
    "inductor_errors": "torch._inductor.exc",  # InvalidCxxCompiler
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _LAZY[name].partition(":")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of its deprecated parts
        loaded = import_module(module)
    return getattr(loaded, attribute) if attribute else loaded
