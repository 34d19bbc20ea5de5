"""Options: as a setter, as a context, from the environment, and what they change."""

from __future__ import annotations

import numpy as np
import pytest

import heat_array_api as xp
from heat_array_api import _options
from layouts import assert_equal


@pytest.fixture(autouse=True)
def restored():
    with xp.set_options(**xp.get_options()):
        yield


def test_a_setter_is_for_good():
    xp.set_options(default_split=0)
    assert xp.zeros((4, 3)).split == 0
    xp.set_options(default_split=None, default_dtype="float32")
    assert xp.zeros((4, 3)).split is None
    assert xp.zeros(3).dtype == xp.float32


def test_a_context_ends_with_errors_too():
    before = xp.get_options()
    with pytest.raises(ZeroDivisionError), xp.set_options(default_split=1):
        _ = 1 / (xp.get_options()["default_split"] - 1)
    assert xp.get_options() == before


def test_what_get_options_returns_is_a_copy():
    xp.get_options()["default_split"] = 99
    assert xp.get_options()["default_split"] != 99


@pytest.mark.parametrize(
    ("text", "split"), [("", None), ("none", None), ("None", None), ("0", 0), (" -1 ", -1)]
)
def test_the_environment(monkeypatch, text, split):
    monkeypatch.setenv("HEAT_ARRAY_API_SPLIT", text)
    assert _options._split_from_environment() == split
    monkeypatch.delenv("HEAT_ARRAY_API_SPLIT")
    assert _options._split_from_environment() is None


def test_an_environment_that_makes_no_sense(monkeypatch):
    monkeypatch.setenv("HEAT_ARRAY_API_SPLIT", "rows")
    with pytest.raises(ValueError, match="HEAT_ARRAY_API_SPLIT is 'rows'; expected an axis"):
        _options._split_from_environment()


def test_the_default_split_is_clipped_to_the_array():
    for default, splits in ((0, (0, 0, 0)), (1, (0, 1, 1)), (-1, (0, 1, 2)), (-9, (0, 0, 0))):
        with xp.set_options(default_split=default):
            shapes = [(2,), (2, 3), (2, 3, 4)]
            assert tuple(xp.ones(shape).split for shape in shapes) == splits
            assert xp.ones(()).split is None


CREATED = {
    "zeros": lambda **o: xp.zeros((4, 3), **o),
    "ones": lambda **o: xp.ones((4, 3), **o),
    "empty": lambda **o: xp.empty((4, 3), **o),
    "full": lambda **o: xp.full((4, 3), 2.5, **o),
    "eye": lambda **o: xp.eye(4, 3, **o),
    "asarray": lambda **o: xp.asarray([[1.0, 2.0]] * 4, **o),
    "arange": lambda **o: xp.arange(0.0, 4.0, **o),
    "linspace": lambda **o: xp.linspace(0, 1, 4, **o),
}


@pytest.mark.parametrize("name", CREATED)
def test_every_creation_function_keeps_to_them(name):
    make = CREATED[name]
    expected = np.asarray(make(split=None))
    for split in (0, 1, -1):
        with xp.set_options(default_split=split, default_dtype="float32"):
            x = make()
            assert x.split == min(split % x.ndim if split < 0 else split, x.ndim - 1)
            assert_equal(x, expected.astype("float32"), rtol=1e-6)
            assert make(split=None).split is None
            assert make(dtype="float64").dtype == xp.float64
            assert xp.zeros_like(x).layout == x.layout


def test_default_dtypes_of_everything():
    with xp.set_options(default_dtype="float32"):
        n = xp.arange(1, 5, split=0)
        for y in (xp.exp(n), n / 2, n + 0.5, xp.mean(n), xp.var(n), xp.sqrt(n), xp.nanmean(n)):
            assert y.dtype == xp.float32
        assert (n + 1j).dtype == xp.complex64
        assert xp.result_type(xp.int8, 1j) == xp.complex64
        assert xp.result_type(xp.float64, 1j) == xp.complex128
        info = xp.__array_namespace_info__().default_dtypes()
        assert (info["real floating"], info["complex floating"]) == (xp.float32, xp.complex64)
        assert xp.asarray(np.asarray([1.0])).dtype == xp.float64
    assert (xp.arange(3) + 1j).dtype == xp.complex128


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("exit_patience", -1),
        ("exit_patience", True),
        ("exit_grace", float("nan")),
        ("exit_grace", "10"),
        ("tracebacks", "none"),
    ],
)
def test_options_of_the_end_are_checked(name, value):
    with pytest.raises(ValueError, match=f"set_options: {name} is {value!r}; expected"):
        xp.set_options(**{name: value})
    xp.set_options(exit_patience=0, exit_grace=float("inf"), tracebacks="full")
    assert _options.exit_limits() == (0.0, float("inf"))
    assert _options.full_tracebacks()
