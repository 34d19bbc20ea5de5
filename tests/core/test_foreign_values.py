"""Values of other kinds, whose meaning would be lost: they are refused on all ranks alike.

And what code that knows NumPy's arrays asks of any array: attributes, and methods' defaults.
"""

import inspect

import numpy as np
import pytest

import heat_array_api as xp
from heat_array_api._comm.communicator import world
from layouts import assert_equal, layouts, make

MASKED = np.ma.array([1.0, 2.0, 3.0], mask=[False, True, False])
UNMASKED = np.ma.array([1.0, 2.0, 3.0])
INDEX = np.ma.array([0, 1], mask=[True, False])

TAKE_VALUES = {
    "asarray": lambda x, m: xp.asarray(m),
    "asarray, dtype": lambda x, m: xp.asarray(m, dtype="float32", split=0),
    "asarray, nested": lambda x, m: xp.asarray([m, m]),
    "from_dlpack": lambda x, m: xp.from_dlpack(m),
    "astype": lambda x, m: xp.astype(m, "float32"),
    "setitem": lambda x, m: x.__setitem__(slice(None), m),
    "+": lambda x, m: x + m,
    "-=": lambda x, m: x.__isub__(m),
    "==": lambda x, m: x == m,
    "<": lambda x, m: x < m,
    "@": lambda x, m: x @ m,
    "add": xp.add,
    "np.add": np.add,
    "np.add, first": lambda x, m: np.add(m, x),
    "np.fmod": np.fmod,
    "where": lambda x, m: xp.where(x > 0, m, x),
    "clip": lambda x, m: xp.clip(x, m, 5.0),
    "isin": xp.isin,
    "searchsorted": xp.searchsorted,
    "concat": lambda x, m: xp.concat([x, m]),
    "matmul": xp.matmul,
    "einsum": lambda x, m: xp.einsum("i,i", x, m),
}


@pytest.mark.parametrize("case", TAKE_VALUES)
def test_masked_arrays_are_refused(case):
    for masked in (MASKED, UNMASKED):  # by type: ranks may differ in the mask
        x = xp.asarray([1.0, 2.0, 3.0], split=0)
        with xp.trace() as t, pytest.raises(TypeError, match=r"masked array.*filled\(value\)"):
            TAKE_VALUES[case](x, masked)
        assert t.count() == 0
        assert_equal(x, np.asarray([1.0, 2.0, 3.0]))


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x[INDEX],
        lambda x: x[np.ma.array([True, False, True], mask=[1, 0, 0])],
        lambda x: x.take(INDEX),
        lambda x: x.__setitem__(0, np.ma.masked),
        lambda x: x + np.ma.masked,
        lambda x: xp.asarray([np.ma.masked, 1.0]),
        lambda x: xp.full(3, np.ma.masked),
        lambda x: xp.full_like(x, np.ma.masked),
    ],
)
def test_masked_indices_and_constants_are_refused(call):
    with pytest.raises(TypeError, match="masked array"):
        call(xp.asarray([1.0, 2.0, 3.0], split=0))


def test_a_masked_shard_of_one_rank_is_refused_on_all():
    last = world().rank == world().size - 1
    with pytest.raises(TypeError, match=r"from_local: .*masked array.*filled\(value\)"):
        xp.from_local(MASKED if last else np.ones(3), split=0)


def test_masked_arrays_on_the_left():
    x = xp.asarray([1.0, 2.0, 3.0])
    assert (MASKED * x).tolist() == [1.0, None, 9.0]  # NumPy's own operator, which keeps the mask
    with pytest.raises(TypeError, match="equal: a masked array"):
        x == MASKED  # noqa: B015


def test_the_remedy_works():
    assert_equal(xp.asarray(MASKED.filled(np.nan), split=0), np.asarray([1.0, np.nan, 3.0]))
    assert_equal(xp.asarray(MASKED.data, split=0), np.asarray([1.0, 2.0, 3.0]))


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_operands_with_operators_of_their_own_are_refused():
    class Metres(np.ndarray):
        pass

    x = xp.ones((3, 3), split=0)
    for other in (np.matrix(np.ones((3, 3))), np.ones((3, 3)).view(Metres)):
        name = type(other).__name__
        for call in (lambda o: x * o, lambda o: xp.add(x, o), lambda o: np.add(x, o)):
            with pytest.raises(TypeError, match=rf"x2 is a {name}.*numpy.asarray\(x2\)"):
                call(other)
        assert_equal(xp.asarray(other), np.ones((3, 3)))  # asked for by name, as numpy.asarray


TIME = np.timedelta64(5, "ns")  # whose item() is 5
DATE = np.datetime64("2020-01-01T00", "ns")


@pytest.mark.parametrize("time", [TIME, DATE], ids=["timedelta64", "datetime64"])
@pytest.mark.parametrize(
    "call",
    [
        lambda x, t: x + t,
        lambda x, t: t + x,
        lambda x, t: x == t,
        lambda x, t: xp.where(x > 1, x, t),
        lambda x, t: xp.clip(x, t, None),
        lambda x, t: xp.full(3, t),
        xp.full_like,
        lambda _, t: xp.asarray(t),
        lambda x, t: xp.asarray([t, t]),
        lambda x, t: xp.asarray(np.asarray([t])),
        lambda x, t: x.__setitem__(0, t),
        lambda x, t: x * np.asarray([t]),
    ],
)
def test_times_are_no_numbers(call, time):
    for dtype in ("float64", "int64"):
        with pytest.raises(TypeError, match=r"timedelta64|datetime64|m8|M8"):
            call(xp.ones(3, dtype=dtype, split=0), time)


def test_other_dtypes_are_refused():
    pandas = pytest.importorskip("pandas")
    for values in (
        np.zeros(2, dtype=[("a", "i4"), ("b", "f8")]),
        np.asarray([1, None, 2]),
        np.asarray(["1", "2"]),
        pandas.array([True, None], dtype="boolean"),
        pandas.date_range("2020", periods=3),
        pandas.array(["a", "b"]),
        pandas.NA,
    ):
        with pytest.raises(TypeError):
            xp.asarray(values)
    missing = pandas.Series([1, None, 3], dtype="Int64")
    assert_equal(xp.asarray(missing, split=0), np.asarray([1.0, np.nan, 3.0]))


# ---------------------------------------------------------------------- attributes


@pytest.mark.parametrize("ndim", [0, 1, 2, 3])
@pytest.mark.parametrize("dtype", ["bool", "int64", "uint16", "float64", "complex64"])
def test_attributes_can_be_inspected(ndim, dtype):
    values = np.ones((2, 3, 4)[:ndim]).astype(dtype)
    for layout in layouts(values.shape, few=True):
        x = make(values, layout)
        with xp.trace() as t:
            members = dict(inspect.getmembers(x))
        assert t.count() == 0
        assert ("T" in members) == hasattr(x, "T") == (ndim == 2)
        assert ("mT" in members) == hasattr(x, "mT") == (ndim >= 2)
        assert {"real", "imag", "dtype", "nbytes", "grad", "split"} <= set(members)
    source = xp.ones((3, 3, 3), split=0)
    view = source[0]
    source[0, 0, 0] = 5.0
    assert dict(inspect.getmembers(view))["T"].shape == (3, 3)  # a view of an older value


# ---------------------------------------------------------------------- methods' defaults


def defaults_of(name):
    """Return NumPy's keyword arguments of a method of its arrays, with their defaults."""
    try:
        parameters = inspect.signature(getattr(np.ndarray, name)).parameters
    except ValueError:  # before NumPy 2.4 they are not known
        return {}
    empty = inspect.Parameter.empty
    known = {p.name: p.default for p in parameters.values() if p.default is not empty}
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        known |= {"keepdims": False, "where": True} if "axis" in known else {}
    return known


METHODS = [
    name
    for name in dir(np.ndarray)
    if not name.startswith("_") and callable(getattr(np.ndarray, name)) and hasattr(xp.Array, name)
]
NEEDS = {
    "astype": ("float32",),
    "dot": (np.ones(4),),
    "repeat": (2,),
    "reshape": (4, 3),
    "searchsorted": (np.ones(2),),
    "swapaxes": (0, 1),
    "take": ([0, 1],),
    "to_device": ("cpu",),
}


@pytest.mark.parametrize("name", METHODS)
def test_methods_take_numpys_defaults(name):
    values = np.asarray([3.0]) if name == "item" else np.arange(12.0).reshape(3, 4)
    values = np.arange(12.0) if name == "searchsorted" else values
    options = {k: v for k, v in defaults_of(name).items() if k != "stream"}
    expected = getattr(values, name)(*NEEDS.get(name, ()), **options)
    for layout in layouts(values.shape, few=True):
        x = make(values, layout)
        needs = [xp.asarray(v) if isinstance(v, np.ndarray) else v for v in NEEDS.get(name, ())]
        result = getattr(x, name)(*needs, **options)
        if isinstance(expected, tuple):
            for one, other in zip(result, expected, strict=True):
                assert_equal(one, other)
        elif isinstance(result, xp.Array):
            assert_equal(result, expected)
        else:
            assert result == expected
        for option, value in (("out", np.zeros(3)), ("where", x > 1)):
            if option in options:
                with pytest.raises(TypeError, match=f"{name}: {option}= is not supported"):
                    getattr(x, name)(*needs, **{option: value})


def test_astype_checks_the_casting():
    x = xp.ones(3, split=0)
    assert x.astype("float32", casting="same_kind").dtype == xp.float32
    with pytest.raises(TypeError, match="astype: float64 to int64 is no 'safe' conversion"):
        x.astype("int64", casting="safe")
    with pytest.raises(ValueError, match="astype: order is 'F'"):
        x.astype("int64", order="F")


def test_divmod():
    values = np.asarray([7, -7, 5, 0])
    for layout in layouts(values.shape, few=True):
        x = make(values, layout)
        for result, expected in ((divmod(x, 3), divmod(values, 3)), (divmod(9, x + 1), None)):
            expected = divmod(9, values + 1) if expected is None else expected
            assert_equal(result[0], expected[0])
            assert_equal(result[1], expected[1])


def test_reductions_of_numpy_pass_through():
    values = np.arange(12.0).reshape(3, 4) - 3
    for layout in layouts(values.shape, few=True):
        x = make(values, layout)
        for name in ("sum", "prod", "mean", "std", "var", "max", "min", "any", "all", "argmax"):
            function = getattr(np, name)
            assert_equal(function(x, axis=1, out=None), function(values, axis=1))
            assert isinstance(function(x, axis=0, keepdims=True), xp.Array)
    assert_equal(xp.any(x, out=None), np.any(values))
    with pytest.raises(TypeError, match="all: out= is not supported"):
        xp.all(x, out=xp.zeros(()))
