"""Dtypes, inspection, constants, options: metadata that every rank agrees on without a message."""

from __future__ import annotations

import itertools
import math

import ml_dtypes
import numpy as np
import pytest

import heat_array_api as xp
from layouts import assert_equal, layouts, make

DTYPES = ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
DTYPES += ["float16", "float32", "float64", "complex64", "complex128"]


def test_dtypes_are_numpys_scalar_types():
    for name in DTYPES:
        dtype = getattr(xp, name)
        assert dtype is getattr(np, name)
        assert dtype(1) == 1
        assert (dtype == None) is False  # noqa: E711  np.dtype("float64") equals None
        found = xp.zeros(2, dtype=dtype).dtype
        assert isinstance(found, np.dtype)
        assert found == dtype
        assert dtype == found


@pytest.mark.parametrize("name", [*DTYPES, "bfloat16"])
def test_a_scalar_type_names_its_dtype(name):
    scalar = getattr(xp, name, None) or getattr(ml_dtypes, name)
    dtype = np.dtype(scalar)
    x = xp.zeros(2, dtype=scalar)
    assert xp.astype(xp.zeros(2), scalar).dtype == dtype
    assert xp.asarray(np.zeros(2, dtype=scalar)).dtype == dtype
    promoted = xp.result_type(scalar, x, dtype)
    assert isinstance(promoted, np.dtype)
    assert promoted == dtype
    assert xp.can_cast(scalar, dtype)
    assert xp.can_cast(x, scalar)
    assert xp.isdtype(scalar, dtype)
    assert xp.isdtype(dtype, ("bool", scalar))
    if dtype.kind in "fcV":
        assert xp.finfo(scalar) == xp.finfo(dtype) == xp.finfo(x)
    elif dtype.kind in "iu":
        assert xp.iinfo(scalar) == xp.iinfo(dtype) == xp.iinfo(x)


def test_astype_of_all_pairs():
    values = np.asarray([[0, 1, 2], [3, 100, 7]])
    for source, target in itertools.product(DTYPES, DTYPES):
        before = values.astype(source)
        x = make(before, None)
        if before.dtype.kind == "c" and np.dtype(target).kind not in "cb":
            with pytest.raises(TypeError, match="imaginary"):
                xp.astype(x, target)
            continue
        assert_equal(xp.astype(x, target), before.astype(target))


def test_astype_copy():
    for layout in layouts((2, 3), few=True):
        x = make(np.zeros((2, 3)), layout)
        assert xp.astype(x, xp.float64, copy=False) is x
        y = xp.astype(x, xp.float64)
        y[...] = 1.0
        assert_equal(x, np.zeros((2, 3)))
        assert xp.astype(x, xp.float32, copy=False).layout == layout
    with pytest.raises(TypeError, match="astype"):
        xp.astype(xp.zeros(2), "datetime64[s]")
    assert_equal(xp.astype(np.asarray([0, 1]), xp.bool), np.asarray([False, True]), split=None)


def test_result_type_and_can_cast():
    assert xp.result_type(xp.int8, xp.uint8) == xp.int16
    assert xp.result_type(xp.float32, xp.complex128) == xp.complex128
    assert xp.result_type(xp.zeros(2, dtype="int8"), 5) == xp.int8
    assert xp.result_type(xp.float32, 1.0, 2j) == xp.complex64
    assert xp.result_type(xp.int32, 1.5) == xp.float64
    assert xp.result_type(xp.uint64, np.dtype("uint8")) == xp.uint64
    for a, b in itertools.product(DTYPES, DTYPES):
        if {a, b} == {"bool"}:
            continue
        assert xp.result_type(getattr(xp, a), getattr(xp, b)) == np.result_type(a, b)
    scalars = {(True,): "bool", (1, True): "int64", (0, 1.0): "float64", (1.0, 2j): "complex128"}
    for values, dtype in scalars.items():
        assert xp.result_type(*values) == dtype
    with pytest.raises(ValueError, match="result_type"):
        xp.result_type()
    assert xp.can_cast(xp.int8, xp.int16)
    assert not xp.can_cast(xp.int16, xp.int8)
    assert not xp.can_cast(xp.float64, xp.int64)
    assert xp.can_cast(xp.zeros(2, dtype="float32"), xp.float64)
    assert xp.can_cast(xp.float32, xp.complex64)
    assert not xp.can_cast(xp.complex128, xp.float64)


def test_isdtype():
    for name in DTYPES:
        kind = np.dtype(name).kind
        assert xp.isdtype(name, "bool") == (kind == "b")
        assert xp.isdtype(name, "signed integer") == (kind == "i")
        assert xp.isdtype(name, "unsigned integer") == (kind == "u")
        assert xp.isdtype(name, "integral") == (kind in "iu")
        assert xp.isdtype(name, "real floating") == (kind == "f")
        assert xp.isdtype(name, "complex floating") == (kind == "c")
        assert xp.isdtype(name, "numeric") == (kind != "b")
        assert xp.isdtype(name, ("bool", xp.float32)) == (name in ("bool", "float32"))
    assert xp.isdtype(np.dtype(ml_dtypes.bfloat16), "real floating")
    with pytest.raises(ValueError, match="isdtype"):
        xp.isdtype(xp.int8, "number")


def test_limits():
    for name in ("float16", "float32", "float64", "complex64", "complex128"):
        info, expected = xp.finfo(getattr(xp, name)), np.finfo(name)
        assert (info.bits, info.eps, info.max, info.min) == (
            expected.bits,
            float(expected.eps),
            float(expected.max),
            float(expected.min),
        )
        assert info.smallest_normal == float(expected.smallest_normal)
        assert info.dtype == np.dtype(expected.dtype)
        assert all(type(v) is float for v in (info.eps, info.max, info.min, info.smallest_normal))
    for name in DTYPES[1:9]:
        info, expected = xp.iinfo(xp.zeros(1, dtype=name)), np.iinfo(name)
        assert (info.bits, info.max, info.min) == (expected.bits, expected.max, expected.min)
        assert info.dtype == np.dtype(name)
    assert xp.finfo(np.dtype(ml_dtypes.bfloat16)).max == float(ml_dtypes.finfo("bfloat16").max)
    with pytest.raises(TypeError, match="finfo"):
        xp.finfo(xp.int8)
    with pytest.raises(TypeError, match="iinfo"):
        xp.iinfo(xp.float32)


def test_inspection():
    info = xp.__array_namespace_info__()
    assert info.capabilities() == {
        "boolean indexing": True,
        "data-dependent shapes": True,
        "max dimensions": 64,
    }
    assert info.default_device() == "cpu"
    assert xp.Device("cpu") in info.devices()
    assert info.default_dtypes()["real floating"] == xp.float64
    assert set(info.dtypes()) == set(DTYPES) - {"float16"}
    assert set(info.dtypes(kind="signed integer")) == {"int8", "int16", "int32", "int64"}
    assert set(info.dtypes(kind=("bool", "complex floating"))) == {
        "bool",
        "complex64",
        "complex128",
    }
    with pytest.raises(ValueError, match="kind"):
        info.dtypes(kind="number")


def test_constants():
    assert (xp.e, xp.pi, xp.inf) == (math.e, math.pi, math.inf)
    assert math.isnan(xp.nan)
    assert xp.newaxis is None


def test_options():
    before = xp.get_options()
    with xp.set_options(default_split=1, default_dtype=xp.float32):
        assert xp.get_options() == {**before, "default_split": 1, "default_dtype": xp.float32}
        with xp.set_options(default_split=None):
            assert xp.get_options()["default_split"] is None
        assert xp.get_options()["default_split"] == 1
    assert xp.get_options() == before
    for options, error in (
        ({"default_split": "a"}, TypeError),
        ({"default_split": True}, TypeError),
        ({"default_dtype": "int8"}, ValueError),
        ({"unknown": 1}, TypeError),
    ):
        with pytest.raises(error, match="set_options"):
            xp.set_options(**options)
    assert xp.get_options() == before
