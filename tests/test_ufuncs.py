"""NumPy's ufuncs on our arrays: values, dtypes, layouts, messages and options."""

import numpy as np
import pytest

import heat_array_api as xp
from heat_array_api import _ufuncs
from layouts import assert_equal, layouts, make

UFUNCS = sorted(
    {value for value in vars(np).values() if isinstance(value, np.ufunc)}, key=lambda u: u.__name__
)
"""All of NumPy's, whatever its version."""

ELEMENTWISE = [u for u in UFUNCS if u.signature is None and u is not np.isnat]  # of dates alone
DTYPES = ["bool", "int8", "int64", "uint8", "uint16", "uint64", "float32", "float64", "complex128"]
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, 700.0, np.inf, -np.inf, np.nan]

# By the standard, an infinite quotient is not NaN.
FINITE = {"floor_divide", "divmod", "power"}


def operands(ufunc, dtype):
    """Return NumPy operands of `dtype`: pairs of special values."""
    if dtype == "bool":
        values = np.asarray([False, True, True])
    elif dtype == "complex128":
        values = np.asarray([0.5, 1 + 2j, -3.5j, -2, 1 - 1j])
    elif dtype.startswith("float"):
        values = np.asarray(SPECIAL[: -3 if ufunc.__name__ in FINITE else None]).astype(dtype)
    else:
        values = np.asarray([1, 2, 3, 7, 100, np.iinfo(dtype).max, 0], dtype)
    if ufunc.nin == 1:
        return (values,)
    a, b = (np.ascontiguousarray(v) for v in np.meshgrid(values, values, indexing="ij"))
    if ufunc is np.ldexp:
        b = (np.nan_to_num(b.real, posinf=9, neginf=-9) * 10).astype(np.int32) % 50 - 9
    return a, b


def of_numpy(ufunc, *values, **options):
    """Return what NumPy makes of `values` as a tuple, None if it refuses them."""
    with np.errstate(all="ignore"):
        try:
            return as_tuple(ufunc(*values, **options))
        except (TypeError, ValueError):
            return None


def as_tuple(result):
    return result if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize("ufunc", ELEMENTWISE, ids=lambda u: u.__name__)
def test_elementwise(ufunc):
    own = ufunc.__name__ in _ufuncs._KERNELS
    for dtype in DTYPES:
        integers = np.dtype(dtype).kind not in "fc"
        values = operands(ufunc, dtype)
        expected = of_numpy(ufunc, *values)
        if expected is not None and integers and not own:
            as_floats = [v.astype(float) for v in values]
            if expected[0].dtype.kind == "f" or ufunc is np.reciprocal:
                expected = of_numpy(ufunc, *as_floats)  # in the default dtype
        for layout in layouts(values[0].shape, few=True):
            arrays = [make(v, layout) for v in values]
            if expected is None:
                with pytest.raises((TypeError, ValueError)):
                    ufunc(*arrays)
                continue
            with xp.trace() as t:
                results = as_tuple(ufunc(*arrays))
            assert t.count() == 0
            for result, wanted in zip(results, expected, strict=True):
                assert_equal(result, wanted)


@pytest.mark.parametrize("ufunc", [u for u in ELEMENTWISE if u.nin == 2], ids=lambda u: u.__name__)
def test_scalars_and_layouts_that_differ(ufunc):
    takes_floats = ufunc is np.ldexp or of_numpy(ufunc, 1.5, 1.5) is not None
    x = np.arange(21).reshape(7, 3) + (0.5 if takes_floats else 0)
    y = (x[::-1] % 4 + 1).astype(int if ufunc is np.ldexp else x.dtype)
    for one in layouts(x.shape, few=True):
        for other in layouts(y.shape, few=True):
            results = as_tuple(ufunc(make(x, one), make(y, other)))
            for result, wanted in zip(results, of_numpy(ufunc, x, y), strict=True):
                assert_equal(result, wanted)
        for a, b in ((make(x, one), 2), (make(x, one), np.int64(2)), (3, make(y, one))):
            values = (x if isinstance(a, xp.Array) else a, y if isinstance(b, xp.Array) else b)
            for result, wanted in zip(as_tuple(ufunc(a, b)), of_numpy(ufunc, *values), strict=True):
                assert_equal(result, wanted)


A = np.arange(24.0).reshape(2, 4, 3) - 7
B = np.arange(24.0).reshape(2, 3, 4) % 5


@pytest.mark.parametrize("dtype", ["int64", "float32", "complex128"])
def test_generalized(dtype):
    a, b = A.astype(dtype), B.astype(dtype)
    if dtype == "complex128":
        a, b = a + 1j, b * (1 - 2j)
    known = {
        np.matmul: (a, b),
        np.vecdot: (a, b[:, :, 0][:, None]),
        np.matvec: (a, b[:, :, 1]),
        np.vecmat: (b[:, :, 1], b),
    }
    assert {u for u in UFUNCS if u.signature is not None} == set(known)
    for ufunc, (x, y) in known.items():
        for one in layouts(x.shape, few=True):
            for other in layouts(y.shape, few=True):
                result = ufunc(make(x, one), make(y, other))
                assert_equal(result, ufunc(x, y))
    x = make(np.ascontiguousarray(a[0]), None)
    assert_equal(np.vecdot(x, x, axis=0), np.vecdot(a[0], a[0], axis=0))
    with pytest.raises(TypeError, match="matmul: axes"):
        np.matmul(x, x, axes=[(0, 1), (1, 0), (0, 1)])


def test_dates_are_refused():
    with pytest.raises(TypeError, match="isnat"):
        np.isnat(xp.ones(3, split=0))


def test_dtype_is_that_of_the_computation():
    values = np.asarray([100, 120, 7], dtype="int8")
    for layout in layouts(values.shape, few=True):
        x = make(values, layout)
        assert_equal(np.add(x, x, dtype=np.int64), np.add(values, values, dtype=np.int64))
        assert_equal(np.multiply(x, 2, dtype="float32"), np.multiply(values, 2, dtype="float32"))
        assert_equal(np.fmod(x, 7, dtype=np.int64), np.fmod(values, 7, dtype=np.int64))
        with pytest.raises(TypeError, match="add"):
            np.add(x, 0.5, dtype=np.int8)
        assert_equal(np.add(x, 0.5, dtype=np.int8, casting="unsafe"), values)


def test_out_and_where():
    values = np.arange(12.0).reshape(4, 3)
    for layout in layouts(values.shape, few=True):
        x = make(values, layout)
        for other in layouts(values.shape, few=True):
            y, mask = make(np.zeros((4, 3)), other), make(values % 2 == 0, layout)
            assert np.add(x, 1.0, out=y) is y
            assert_equal(y, values + 1)
            assert np.multiply(x, 10.0, out=y, where=mask) is y
            assert_equal(y, np.where(values % 2 == 0, values * 10, values + 1))
        whole = make(np.zeros((4, 3)), layout)
        fraction, same = np.modf(x + 0.25, out=(None, whole))
        assert same is whole
        assert_equal(whole, values)
        assert_equal(fraction, np.full((4, 3), 0.25))
        row = xp.zeros(3)
        assert np.add.reduce(x, out=row) is row
        assert_equal(row, values.sum(axis=0))


def test_reductions_scans_and_outer_products():
    values = np.arange(1.0, 13).reshape(4, 3)
    for layout in layouts(values.shape):
        x = make(values, layout)
        for ufunc in (np.add, np.multiply, np.maximum, np.minimum):
            assert_equal(ufunc.reduce(x), ufunc.reduce(values))
            assert_equal(ufunc.reduce(x, axis=None), ufunc.reduce(values, axis=None))
            assert_equal(
                ufunc.reduce(x, axis=1, keepdims=True, dtype="float32"),
                ufunc.reduce(values, axis=1, keepdims=True, dtype="float32"),
            )
        for ufunc in (np.logical_and, np.logical_or):
            assert_equal(ufunc.reduce(x > 6, axis=1), ufunc.reduce(values > 6, axis=1))
        for ufunc in (np.add, np.multiply):
            assert_equal(ufunc.accumulate(x), ufunc.accumulate(values))
            assert_equal(ufunc.accumulate(x, axis=1), ufunc.accumulate(values, axis=1))
        assert_equal(np.subtract.outer(x, [1.0, 2.0]), np.subtract.outer(values, [1.0, 2.0]))
        assert_equal(np.fmod.outer(x, x), np.fmod.outer(values, values))
        assert_equal(np.add.outer(np.ones(2), x), np.add.outer(np.ones(2), values))


REFUSED = {
    "out: NumPy's": (lambda x: np.add(x, 1.0, out=np.zeros(3)), "add: out is a NumPy array"),
    "where, no out": (
        lambda x: np.add(x, 1.0, where=x > 1),
        "add: where= leaves elements undefined",
    ),
    "order": (lambda x: np.add(x, 1.0, order="F"), "add: order='F' is not supported"),
    "signature": (lambda x: np.add(x, 1.0, signature="dd->d"), "add: signature='dd->d' is not"),
    "initial": (lambda x: np.add.reduce(x, initial=3.0), "add.reduce: initial=3.0 is not"),
    "reduce, where": (lambda x: np.add.reduce(x, where=x > 1), "add.reduce: where= is not"),
    "reduce": (np.hypot.reduce, "hypot.reduce: only add, multiply"),
    "accumulate": (np.maximum.accumulate, "maximum.accumulate: only add, multiply"),
    "reduceat": (lambda x: np.add.reduceat(x, [0, 1]), "add.reduceat: not supported"),
    "at": (lambda x: np.add.at(x, [0], 1.0), "add.at: not supported"),
    "outer": (lambda x: np.matmul.outer(x, x), None),
    "dtype": (lambda x: np.gcd(x, 2), "gcd"),
    "masked": (lambda x: np.add(x, np.ma.masked_less([1.0, 2, 3], 2)), "add: a masked array"),
    "time": (lambda x: np.fmod(x, np.timedelta64(1, "s")), "fmod"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    call, message = REFUSED[case]
    x = xp.ones(3, split=0)
    with xp.trace() as t, pytest.raises(TypeError, match=message):
        call(x)
    assert t.count() == 0


def test_other_libraries_have_their_turn():
    class Other:
        def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
            return ufunc.__name__

    assert np.add(xp.ones(3, split=0), Other()) == "add"
    assert np.fmod(Other(), xp.ones(3, split=0)) == "fmod"


DERIVATIVES = {
    "deg2rad": lambda x: np.pi / 180 + 0 * x,
    "rad2deg": lambda x: 180 / np.pi + 0 * x,
    "fabs": np.sign,
    "modf": np.ones_like,
    "frexp": lambda x: 0.5 ** np.frexp(x)[1],
    "float_power": lambda x: 3 * x**2,
    "ldexp": lambda x: 8 + 0 * x,
    "logaddexp2": lambda x: 1 / (1 + 2 ** (3 - x)),
    "fmod": np.ones_like,
    "fmax": lambda x: np.where(x > 3, 1.0, 0.0),
}


@pytest.mark.parametrize("name", DERIVATIVES)
def test_derivatives(name):
    ufunc = getattr(np, name)
    values = np.asarray([0.7, -1.3, 2.5, 5.25, -8.6])
    for layout in layouts(values.shape):
        x = make(values, layout)

        def total(x):
            return xp.sum(as_tuple(ufunc(x, 3) if ufunc.nin == 2 else ufunc(x))[0])

        assert_equal(xp.autograd.grad(total)(x), DERIVATIVES[name](values))


def test_no_derivative_is_an_error():
    with pytest.raises(NotImplementedError, match="spacing: has no derivative"):
        xp.autograd.grad(lambda x: xp.sum(np.spacing(x)))(xp.ones(3, split=0))
