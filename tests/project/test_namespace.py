"""The namespace against the standard 2025.12: its names, their signatures, the array's methods."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest

import heat_array_api as xp
from layouts import describe, layouts, make

# Every function of the standard but those of its two extensions, in its chapters' order.
FUNCTIONS = [
    # creation functions
    "arange(start, /, stop=None, step=1, *, dtype=None, device=None)",
    "asarray(obj, /, *, dtype=None, device=None, copy=None)",
    "empty(shape, *, dtype=None, device=None)",
    "empty_like(x, /, *, dtype=None, device=None)",
    "eye(n_rows, n_cols=None, /, *, k=0, dtype=None, device=None)",
    "from_dlpack(x, /, *, device=None, copy=None)",
    "full(shape, fill_value, *, dtype=None, device=None)",
    "full_like(x, /, fill_value, *, dtype=None, device=None)",
    "linspace(start, stop, /, num, *, dtype=None, device=None, endpoint=True)",
    "meshgrid(*arrays, indexing='xy')",
    "ones(shape, *, dtype=None, device=None)",
    "ones_like(x, /, *, dtype=None, device=None)",
    "tril(x, /, *, k=0)",
    "triu(x, /, *, k=0)",
    "zeros(shape, *, dtype=None, device=None)",
    "zeros_like(x, /, *, dtype=None, device=None)",
    # data type functions
    "astype(x, dtype, /, *, copy=True, device=None)",
    "can_cast(from_, to, /)",
    "finfo(type, /)",
    "iinfo(type, /)",
    "isdtype(dtype, kind)",
    "result_type(*arrays_and_dtypes)",
    # elementwise functions
    "abs(x, /)",
    "acos(x, /)",
    "acosh(x, /)",
    "add(x1, x2, /)",
    "asin(x, /)",
    "asinh(x, /)",
    "atan(x, /)",
    "atan2(x1, x2, /)",
    "atanh(x, /)",
    "bitwise_and(x1, x2, /)",
    "bitwise_left_shift(x1, x2, /)",
    "bitwise_invert(x, /)",
    "bitwise_or(x1, x2, /)",
    "bitwise_right_shift(x1, x2, /)",
    "bitwise_xor(x1, x2, /)",
    "ceil(x, /)",
    "clip(x, /, min=None, max=None)",
    "conj(x, /)",
    "copysign(x1, x2, /)",
    "cos(x, /)",
    "cosh(x, /)",
    "divide(x1, x2, /)",
    "equal(x1, x2, /)",
    "exp(x, /)",
    "expm1(x, /)",
    "floor(x, /)",
    "floor_divide(x1, x2, /)",
    "greater(x1, x2, /)",
    "greater_equal(x1, x2, /)",
    "hypot(x1, x2, /)",
    "imag(x, /)",
    "isfinite(x, /)",
    "isinf(x, /)",
    "isnan(x, /)",
    "less(x1, x2, /)",
    "less_equal(x1, x2, /)",
    "log(x, /)",
    "log1p(x, /)",
    "log2(x, /)",
    "log10(x, /)",
    "logaddexp(x1, x2, /)",
    "logical_and(x1, x2, /)",
    "logical_not(x, /)",
    "logical_or(x1, x2, /)",
    "logical_xor(x1, x2, /)",
    "maximum(x1, x2, /)",
    "minimum(x1, x2, /)",
    "multiply(x1, x2, /)",
    "negative(x, /)",
    "nextafter(x1, x2, /)",
    "not_equal(x1, x2, /)",
    "positive(x, /)",
    "pow(x1, x2, /)",
    "real(x, /)",
    "reciprocal(x, /)",
    "remainder(x1, x2, /)",
    "round(x, /)",
    "sign(x, /)",
    "signbit(x, /)",
    "sin(x, /)",
    "sinh(x, /)",
    "square(x, /)",
    "sqrt(x, /)",
    "subtract(x1, x2, /)",
    "tan(x, /)",
    "tanh(x, /)",
    "trunc(x, /)",
    # indexing functions
    "take(x, indices, /, *, axis=None)",
    "take_along_axis(x, indices, /, *, axis=-1)",
    # linear algebra functions
    "matmul(x1, x2, /)",
    "matrix_transpose(x, /)",
    "tensordot(x1, x2, /, axes=2)",  # by position, too: autoray, cotengra, quimb
    "vecdot(x1, x2, /, *, axis=-1)",
    # manipulation functions
    "broadcast_arrays(*arrays)",
    "broadcast_shapes(*shapes)",
    "broadcast_to(x, /, shape)",
    "concat(arrays, /, *, axis=0)",
    "expand_dims(x, /, axis)",
    "flip(x, /, *, axis=None)",
    "moveaxis(x, source, destination, /)",
    "permute_dims(x, /, axes)",
    "repeat(x, repeats, /, *, axis=None)",
    "reshape(x, /, shape, *, copy=None)",
    "roll(x, /, shift, *, axis=None)",
    "squeeze(x, /, axis)",
    "stack(arrays, /, axis=0)",  # by position, too: cotengra
    "tile(x, repetitions, /)",
    "unstack(x, /, *, axis=0)",
    # searching functions
    "argmax(x, /, *, axis=None, keepdims=False)",
    "argmin(x, /, *, axis=None, keepdims=False)",
    "count_nonzero(x, /, *, axis=None, keepdims=False)",
    "nonzero(x, /)",
    "searchsorted(x1, x2, /, *, side='left', sorter=None)",
    "where(condition, x1, x2, /)",
    # set functions
    "isin(x1, x2, /, *, invert=False)",
    "unique_all(x, /)",
    "unique_counts(x, /)",
    "unique_inverse(x, /)",
    "unique_values(x, /)",
    # sorting functions
    "argsort(x, /, *, axis=-1, descending=False, stable=True)",
    "sort(x, /, *, axis=-1, descending=False, stable=True)",
    # statistical functions
    "cumulative_prod(x, /, *, axis=None, dtype=None, include_initial=False)",
    "cumulative_sum(x, /, *, axis=None, dtype=None, include_initial=False)",
    "max(x, /, *, axis=None, keepdims=False)",
    "mean(x, /, *, axis=None, keepdims=False)",
    "min(x, /, *, axis=None, keepdims=False)",
    "prod(x, /, *, axis=None, dtype=None, keepdims=False)",
    "std(x, /, *, axis=None, correction=0.0, keepdims=False)",
    "sum(x, /, *, axis=None, dtype=None, keepdims=False)",
    "var(x, /, *, axis=None, correction=0.0, keepdims=False)",
    # utility functions
    "all(x, /, *, axis=None, keepdims=False)",
    "any(x, /, *, axis=None, keepdims=False)",
    "diff(x, /, *, axis=-1, n=1, prepend=None, append=None)",
]
# Methods and attributes of the array object.
METHODS = [
    "__abs__(self, /)",
    "__add__(self, other, /)",
    "__and__(self, other, /)",
    "__array_namespace__(self, /, *, api_version=None)",
    "__bool__(self, /)",
    "__complex__(self, /)",
    "__dlpack__(self, /, *, stream=None, max_version=None, dl_device=None, copy=None)",
    "__dlpack_device__(self, /)",
    "__eq__(self, other, /)",
    "__float__(self, /)",
    "__floordiv__(self, other, /)",
    "__ge__(self, other, /)",
    "__getitem__(self, key, /)",
    "__gt__(self, other, /)",
    "__index__(self, /)",
    "__int__(self, /)",
    "__invert__(self, /)",
    "__le__(self, other, /)",
    "__lshift__(self, other, /)",
    "__lt__(self, other, /)",
    "__matmul__(self, other, /)",
    "__mod__(self, other, /)",
    "__mul__(self, other, /)",
    "__ne__(self, other, /)",
    "__neg__(self, /)",
    "__or__(self, other, /)",
    "__pos__(self, /)",
    "__pow__(self, other, /)",
    "__rshift__(self, other, /)",
    "__setitem__(self, key, value, /)",
    "__sub__(self, other, /)",
    "__truediv__(self, other, /)",
    "__xor__(self, other, /)",
    "to_device(self, device, /, *, stream=None)",
]
ATTRIBUTES = ["dtype", "device", "mT", "ndim", "shape", "size", "T"]
INFO = [
    "capabilities(self)",
    "default_device(self)",
    "default_dtypes(self, *, device=None)",
    "dtypes(self, *, device=None, kind=None)",
    "devices(self)",
]
CONSTANTS = ["e", "inf", "nan", "newaxis", "pi"]
DTYPES = ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
DTYPES += ["float32", "float64", "complex64", "complex128"]
VERSIONS = ["2021.12", "2022.12", "2023.12", "2024.12", "2025.12"]

# Where a parameter may be passed in more ways than the standard asks for: consumers do.
FREER = {("diff", "n"), ("where", "x1"), ("where", "x2")}
# In-place and reflected operators (the standard, "Operators").
ARITHMETIC = ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul"]
ARITHMETIC += ["and", "or", "xor", "lshift", "rshift"]


def name_of(text: str) -> str:
    return text.partition("(")[0]


def signature_of(text: str) -> inspect.Signature:
    """Return the signature written in one of the lists above."""
    return inspect.signature(eval(f"lambda {text.partition('(')[2][:-1]}: None"))


def problems(function: object, text: str) -> list[str]:
    """Compare a function with the standard's signature; what it has beyond that is optional."""
    ours = dict(inspect.signature(function).parameters)
    found = []
    for name, wanted in signature_of(text).parameters.items():
        given = ours.pop(name, None)
        if given is None:
            found.append(f"no parameter {name}")
        elif name == "self" or (name_of(text), name) in FREER:
            continue
        elif given.kind is not wanted.kind:
            found.append(f"{name} is {given.kind.description}, not {wanted.kind.description}")
        elif wanted.default not in (wanted.empty, given.default):
            found.append(f"{name} defaults to {given.default!r}, not {wanted.default!r}")
    required = [p for p in ours.values() if p.default is p.empty and p.kind is not p.VAR_POSITIONAL]
    return found + [f"{p.name} has no default" for p in required]


@pytest.mark.parametrize("text", FUNCTIONS, ids=name_of)
def test_functions(text):
    function = getattr(xp, name_of(text), None)
    assert callable(function), "it is missing"
    assert name_of(text) in xp.__all__
    assert problems(function, text) == []
    assert inspect.getdoc(function)


@pytest.mark.parametrize("text", METHODS, ids=name_of)
def test_methods(text):
    assert problems(getattr(xp.Array, name_of(text)), text) == []


@pytest.mark.parametrize("text", INFO, ids=name_of)
def test_info(text):
    assert problems(getattr(xp.__array_namespace_info__, name_of(text)), text) == []


def test_attributes_constants_and_dtypes():
    assert [name for name in ATTRIBUTES if not hasattr(xp.Array, name)] == []
    assert [name for name in [*CONSTANTS, *DTYPES] if name not in xp.__all__] == []
    assert all(type(getattr(xp, name)) is float for name in ("e", "inf", "nan", "pi"))
    assert (xp.e, xp.pi, xp.inf) == (math.e, math.pi, math.inf)
    assert xp.newaxis is None
    for name in DTYPES:
        dtype = getattr(xp, name)
        assert dtype == np.dtype(name)
        assert dtype == getattr(xp, name)
        assert dtype != "no dtype"


def test_every_operator_has_its_reflected_and_in_place_form():
    for name in ARITHMETIC:
        for prefix in ("", "r", "i"):
            assert callable(getattr(xp.Array, f"__{prefix}{name}__"))


def test_all_is_what_there_is():
    assert len(xp.__all__) == len(set(xp.__all__))
    assert [name for name in xp.__all__ if not hasattr(xp, name)] == []
    public = {name for name in vars(xp) if not name.startswith("_")}
    # The demo, the estimators and the probe become attributes once something imports them.
    assert public - {"annotations", "demo", "ml", "probe"} <= set(xp.__all__)
    star: dict[str, object] = {}
    exec("from heat_array_api import *", star)
    assert set(xp.__all__) <= set(star)


def test_versions():
    assert xp.__array_api_version__ == "2025.12"
    x = xp.zeros(3)
    for version in (None, *VERSIONS):
        assert x.__array_namespace__(api_version=version) is xp
    with pytest.raises(ValueError, match=r"api_version is '2020\.01'"):
        x.__array_namespace__(api_version="2020.01")


# ---------------------------------------------------------------------- code that knows only xp


def standardised(x):
    xp = x.__array_namespace__()
    centred = x - xp.mean(x, axis=0, keepdims=True)
    return centred / xp.std(centred, axis=0, keepdims=True)


def nearest(x, centres):
    xp = x.__array_namespace__()
    distances = xp.sum((x[:, None, :] - centres[None, :, :]) ** 2, axis=-1)
    labels = xp.argmin(distances, axis=1)
    member = xp.astype(labels[:, None] == xp.arange(centres.shape[0])[None, :], x.dtype)
    sizes = xp.sum(member, axis=0)
    return labels, xp.matrix_transpose(member) @ x / xp.maximum(sizes, xp.ones_like(sizes))[:, None]


def ranks_of_values(x):
    xp = x.__array_namespace__()
    values, inverse = xp.unique_inverse(xp.round(x[:, 0] * 2))
    order = xp.argsort(x[:, 0])
    return values, inverse, xp.take(x[:, 1], order), xp.cumulative_sum(x[::-1, 0])


@pytest.mark.parametrize("function", [standardised, ranks_of_values])
def test_an_array_agnostic_function(function, check):
    values = np.random.default_rng(0).standard_normal((11, 4))
    values[:, 0] = np.arange(11)[::-1] * 0.3
    expected = function(np.asarray(values))
    for layout in layouts(values.shape):
        result = function(make(values, layout))
        pairs = (
            zip(result, expected, strict=True)
            if isinstance(result, tuple)
            else [(result, expected)]
        )
        for ours, theirs in pairs:
            check(ours, theirs, f"{function.__name__}, {describe(layout)}")


def test_a_step_of_k_means(check):
    values = np.random.default_rng(0).standard_normal((23, 4))
    labels, centres = nearest(values, values[:5])
    for layout in layouts(values.shape):
        x = make(values, layout)
        ours = nearest(x, x[:5, ...])
        check(ours[0], labels, f"labels, {describe(layout)}")
        check(ours[1], centres, f"centres, {describe(layout)}")
