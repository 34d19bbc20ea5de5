"""The array itself: attributes, operators, protocols, values that nobody else can change."""

from __future__ import annotations

import copy
import operator
import pickle

import numpy as np
import pytest
import torch

import heat_array_api as xp
from layouts import assert_equal, layouts, make

SHAPE = (5, 4)
VALUES = np.arange(20.0).reshape(SHAPE) - 7.0


def test_attributes():
    for layout in layouts(SHAPE):
        x = make(VALUES, layout)
        assert x.shape == SHAPE
        assert x.ndim == 2
        assert x.size == 20
        assert x.dtype == np.dtype("float64")
        assert isinstance(x.dtype, np.dtype)
        assert x.itemsize == 8
        assert x.nbytes == 160
        assert x.split == layout.split
        assert x.layout == layout
        assert x.comm is layout.comm
        assert x.is_balanced == layout.is_balanced
        assert tuple(x.local.shape) == layout.local_shape
        assert len(x) == 5
        assert x.device == "cpu"
        assert x.device == xp.Device("cpu")
        assert hash(x.device) == hash(xp.Device("cpu"))
        assert x.__array_namespace__() is xp
        assert x.__array_namespace__(api_version="2025.12") is xp
        with pytest.raises(ValueError, match="api_version"):
            x.__array_namespace__(api_version="1999.01")


def test_transposes_and_parts():
    for layout in layouts(SHAPE, few=True):
        x = make(VALUES, layout)
        assert_equal(x.T, VALUES.T)
        assert_equal(x.mT, VALUES.T)
        assert_equal(x.real, VALUES)
        assert_equal(x.imag, np.zeros(SHAPE))
        z = x + 2j
        assert_equal(z.real, VALUES)
        assert_equal(z.imag, np.full(SHAPE, 2.0))
        b = x > 1
        assert_equal(b.real, VALUES > 1)
        assert_equal(b.imag, np.zeros(SHAPE, dtype=bool))
        # Code that looks at an object's attributes computes them: they cost nothing.
        assert x.real.local.data_ptr() == x.local.data_ptr()
        assert x.imag.local.untyped_storage().nbytes() == x.itemsize
    with pytest.raises(AttributeError, match="T:"):
        xp.zeros(3).T  # noqa: B018


COMPARISONS = ["lt", "le", "gt", "ge", "eq", "ne"]
BINARY = ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", *COMPARISONS]


@pytest.mark.parametrize("name", BINARY)
def test_operators(name):
    function = getattr(operator, name)
    a, b = np.abs(VALUES) + 1.0, (VALUES % 3) + 1.0
    for layout in layouts(SHAPE, few=True):
        x, y = make(a, layout), make(b, layout)
        assert_equal(function(x, y), function(a, b))
        assert_equal(function(x, 2.0), function(a, 2.0))
        assert_equal(function(2.0, x), function(2.0, a))
        assert_equal(function(b, x), function(b, a))
        if name not in COMPARISONS:
            before, view = +x, x[...]
            alias = x
            alias = getattr(operator, "i" + name)(alias, y)
            assert alias is x
            assert x.layout == layout
            assert_equal(x, function(a, b))
            assert_equal(before, a)
            assert_equal(view, function(a, b))


@pytest.mark.parametrize("name", ["and_", "or_", "xor", "lshift", "rshift"])
def test_bit_operators(name):
    function = getattr(operator, name)
    a = np.arange(20).reshape(SHAPE)
    for layout in layouts(SHAPE, few=True):
        x = make(a, layout)
        assert_equal(function(x, 2), function(a, 2))
        assert_equal(function(3, x), function(3, a))
        x = getattr(operator, "i" + name.rstrip("_"))(x, 1)
        assert_equal(x, function(a, 1))


def test_unary_operators_and_matmul():
    for layout in layouts(SHAPE, few=True):
        x = make(VALUES, layout)
        assert_equal(-x, -VALUES)
        assert_equal(+x, VALUES)
        assert_equal(abs(x), abs(VALUES))
        assert_equal(~(x > 0), ~(VALUES > 0))
        assert_equal(x.T @ x, VALUES.T @ VALUES)
        assert_equal(x @ VALUES.T, VALUES @ VALUES.T)
        assert_equal(VALUES.T @ x, VALUES.T @ VALUES)
    square = make(np.eye(3), None)
    square @= 2.0 * square
    assert_equal(square, 2 * np.eye(3))


def test_in_place_keeps_shape_dtype_and_a_split_layout():
    for layout in layouts(SHAPE, few=True):
        x = make(VALUES.astype("float32"), layout)
        other = xp.ones(SHAPE, dtype="float64", split=1)
        x += other
        assert x.dtype == np.float32
        assert x.layout == (other.layout if layout.split is None else layout)
        with pytest.raises(ValueError, match="in-place"):
            x += xp.zeros((2, *SHAPE))
        n = make(np.arange(20).reshape(SHAPE), layout)
        with pytest.raises(TypeError, match="in-place"):
            n += 0.5


# ---------------------------------------------------------------------- Python scalars


def test_python_scalars():
    for split in (None, 0):
        for value in (3, -2.5, True):
            x = xp.asarray([value], split=split)
            assert x.item() == value
            assert float(x) == float(value)
            assert int(x) == int(value)
            assert bool(x) == bool(value)
            assert complex(x) == complex(value)
    assert complex(xp.asarray([1 + 2j], split=0)) == 1 + 2j
    assert operator.index(xp.asarray(3)) == 3
    assert [10, 20, 30][xp.asarray([1], split=0)] == 20
    assert f"{xp.asarray(1.5):.2f}" == "1.50"
    with pytest.raises(TypeError, match="index"):
        operator.index(xp.asarray(1.5))
    with pytest.raises(ValueError, match="only one element"):
        bool(xp.zeros(2, split=0))


def test_iteration_and_membership():
    for layout in layouts(SHAPE, few=True):
        x = make(VALUES, layout)
        rows = list(x)
        assert len(rows) == 5
        for row, expected in zip(rows, VALUES, strict=True):
            assert_equal(row, expected)
        assert 3.0 in x
        assert 99.0 not in x
        assert x.tolist() == VALUES.tolist()
    with pytest.raises(TypeError, match="0-d"):
        iter(xp.asarray(1))
    with pytest.raises(TypeError, match="0-d"):
        len(xp.asarray(1))
    with pytest.raises(TypeError, match="unhashable"):
        hash(xp.asarray(1))


# ---------------------------------------------------------------------- protocols


def test_numpy_conversion():
    for layout in layouts(SHAPE):
        x = make(VALUES, layout)
        values = np.asarray(x)
        assert np.array_equal(values, VALUES)
        values[...] = 0.0
        assert_equal(x, VALUES)
        assert np.asarray(x, dtype=np.float32).dtype == np.float32
        if layout.split is not None and x.comm.size > 1:
            with pytest.raises(ValueError, match="copy=False"):
                np.asarray(x, copy=False)


def test_copies_and_pickles():
    for layout in layouts(SHAPE):
        for dtype in ("float64", "uint16", "bool", "complex64"):
            values = VALUES.astype("int64").astype(dtype)
            x = make(values, layout)
            for y in (copy.copy(x), copy.deepcopy(x), pickle.loads(pickle.dumps(x)), x.copy()):
                assert y.layout == x.layout
                assert_equal(y, values)
                y[0] = True
                assert_equal(x, values)


def test_to_device():
    x = xp.ones(4, split=0)
    assert_equal(x.to_device("cpu"), np.ones(4))
    assert_equal(x.to_device(x.device), np.ones(4))
    with pytest.raises(ValueError, match="stream"):
        x.to_device("cpu", stream=1)
    with pytest.raises(ValueError, match="device"):
        x.to_device("tpu")
    with pytest.raises(ValueError, match="Device"):
        xp.Device("tpu")


def test_dlpack_device_and_export():
    x = xp.ones(4, split=0)
    assert x.__dlpack_device__() == torch.zeros(1).__dlpack_device__()
    for forced in (None, True, False):  # of a split array: the gathered value
        shared = torch.utils.dlpack.from_dlpack(x.__dlpack__(copy=forced))
        assert shared.tolist() == [1.0] * 4
    y = xp.ones(4, split=None)
    exported = torch.from_dlpack(y)
    exported.fill_(5.0)
    assert_equal(y, np.ones(4))


# ---------------------------------------------------------------------- NumPy's methods


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x.sum(),
        lambda x: x.sum(axis=0, keepdims=True),
        lambda x: x.prod(axis=1),
        lambda x: x.mean(0),
        lambda x: x.std(axis=1),
        lambda x: x.var(ddof=1),
        lambda x: x.max(axis=0),
        lambda x: x.min(),
        lambda x: x.any(),
        lambda x: x.all(axis=1),
        lambda x: x.argmax(),
        lambda x: x.argmin(axis=0),
        lambda x: x.cumsum(axis=0),
        lambda x: x.cumsum(),
        lambda x: x.cumprod(axis=1),
        lambda x: x.clip(-1.0, 1.0),
        lambda x: x.round(),
        lambda x: (x / 3).round(2),
        lambda x: x.conj(),
        lambda x: x.ravel(),
        lambda x: x.flatten(),
        lambda x: x.reshape(4, 5),
        lambda x: x.reshape((2, -1)),
        lambda x: x.transpose(),
        lambda x: x.transpose(1, 0),
        lambda x: x.astype("float32"),
        lambda x: x.take([0, 2], axis=0),
        lambda x: x.repeat(2, axis=0),
        lambda x: x.swapaxes(0, 1),
        lambda x: x[None].squeeze(),
        lambda x: x.dot(x.T),
        lambda x: x.copy(),
        lambda x: x.nonzero()[0],
    ],
)
def test_methods(call):
    expected = np.asarray(call(VALUES))
    for layout in layouts(SHAPE, few=True):
        assert_equal(call(make(VALUES, layout)), expected)


def test_methods_refuse_out():
    with pytest.raises(TypeError, match="out="):
        xp.zeros(3).sum(out=np.zeros(()))


def test_numpy_functions_call_the_methods():
    x = xp.asarray(VALUES, split=0)
    with xp.trace() as t:
        assert_equal(np.sum(x, axis=1), VALUES.sum(axis=1))
        assert_equal(np.mean(x, axis=1), VALUES.mean(axis=1))
    gathered = [e for e in t.events if e.operation not in ("assert_equal", "__array__")]
    assert all(e.collective != "allgather" for e in gathered)


def test_an_array_agnostic_function():
    def softmax(x, axis):
        ns = x.__array_namespace__()
        shifted = ns.exp(x - ns.max(x, axis=axis, keepdims=True))
        return shifted / ns.sum(shifted, axis=axis, keepdims=True)

    for layout in layouts(SHAPE):
        for axis in (0, 1):
            expected = np.exp(VALUES - VALUES.max(axis=axis, keepdims=True))
            expected /= expected.sum(axis=axis, keepdims=True)
            assert_equal(softmax(make(VALUES, layout), axis), expected)


# ---------------------------------------------------------------------- NumPy's functions


@pytest.mark.parametrize(
    "call",
    [
        np.sum,
        lambda x: np.mean(x, axis=0),
        lambda x: np.std(x, axis=1, ddof=1),
        np.var,
        lambda x: np.prod(x, axis=0, keepdims=True),
        lambda x: np.max(x, axis=0),
        np.amin,
        np.any,
        lambda x: np.all(x, axis=1),
        lambda x: np.argmax(x, axis=0),
        lambda x: np.argsort(x, axis=0),
        lambda x: np.cumsum(x, axis=0),
        lambda x: np.clip(x, -1, 2),
        lambda x: np.round(x / 7, 2),
        lambda x: np.reshape(x, (4, 5)),
        np.transpose,
        lambda x: np.swapaxes(x, 0, 1),
        lambda x: np.squeeze(x[None]),
        lambda x: np.repeat(x, 2, axis=0),
        lambda x: np.take(x, [0, 3], axis=1),
        lambda x: np.nonzero(x)[0],
        lambda x: np.searchsorted(x[:, 0], 3.0),
        np.conjugate,
        lambda x: np.matmul(x, x.T),
        np.isnan,
        np.rint,
        np.fabs,
        lambda x: np.add(x, 1, where=True),
        lambda x: np.multiply(x, 2, dtype="float32"),
        lambda x: np.logical_or.reduce(x, axis=1),
        lambda x: x.round(-1),
        lambda x: (x * 1.375).round(1),
        lambda x: x.transpose(None),
        lambda x: x.dot(3),
        lambda x: x.conjugate(),
        lambda x: x.argsort(axis=None),
        lambda x: x.reshape(4, 5, order="C"),
    ],
)
def test_numpy_functions_stay_distributed(call):
    for values in (VALUES, VALUES.astype("int64")):
        expected = np.asarray(call(values))
        for layout in layouts(SHAPE, few=True):
            result = call(make(values, layout))
            assert isinstance(result, xp.Array)
            assert_equal(result, expected)


def test_in_place_operators_with_other_layouts():
    b = np.arange(1.0, 21.0).reshape(SHAPE)
    for layout in layouts(SHAPE, few=True):
        for other in layouts(SHAPE, few=True):
            x, y = make(VALUES, layout), make(b, other)
            with xp.trace() as t:
                x += y
            assert t.count("allgather") == 0
            x *= y[:1]
            x -= 1
            assert x.layout == (other if layout.split is None else layout)
            assert_equal(x, (VALUES + b) * b[:1] - 1)
    x = make(np.ones(SHAPE, dtype="uint16"), None)
    x += 3
    x <<= 2
    assert_equal(x, np.full(SHAPE, 16, dtype="uint16"))
