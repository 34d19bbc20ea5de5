"""Errors: on every rank, before the first message, naming function, argument and remedy."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch

import heat_array_api as xp

FUNCTIONS = {
    name: getattr(xp, name) for name in xp.__all__ if inspect.isfunction(getattr(xp, name))
}
# These take no array, or any kind of object.
NO_ARRAYS = {"set_options", "get_options", "world", "trace", "asarray", "from_dlpack", "from_local"}
NO_ARRAYS |= {"full", "zeros", "ones", "empty", "eye", "arange", "linspace", "broadcast_shapes"}
NO_ARRAYS |= {"isdtype", "can_cast", "result_type", "finfo", "iinfo", "einsum", "compile"}
NO_ARRAYS |= {"dry_run"}


def required(function):
    """Return the names of the parameters that must be passed by position."""
    parameters = inspect.signature(function).parameters.values()
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    names = [p.name for p in positional if p.default is p.empty]
    return names or [p.name for p in parameters if p.kind is p.VAR_POSITIONAL]


@pytest.fixture
def x():
    return xp.asarray(np.arange(1.0, 7.0).reshape(3, 2), split=0)


def fails(error, call, message):
    """Check that a call raises without having sent anything."""
    with xp.trace() as t, pytest.raises(error, match=message):
        call()
    assert t.events == []


# ---------------------------------------------------------------------- every function


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - NO_ARRAYS))
def test_what_is_no_array(name):
    function = FUNCTIONS[name]
    for wrong in (None, 3.0, "text", object(), {"a": 1}):
        arguments = [wrong] * len(required(function))
        fails(
            (TypeError, ValueError), lambda arguments=arguments: function(*arguments), f"^{name}:"
        )


ALONG = sorted(n for n in FUNCTIONS if "axis" in inspect.signature(FUNCTIONS[n]).parameters)


@pytest.mark.parametrize("name", [n for n in ALONG if n != "resplit"])
def test_axes_that_are_not_there(name, x):
    function = FUNCTIONS[name]
    values = {"arrays": [x, x], "indices": xp.zeros((3, 2), dtype="int64", split=0)}
    values |= {"repeats": 2, "shift": 1}
    arguments = [values.get(p, x) for p in required(function) if p != "axis"]
    for axis in (5, -5):
        fails(
            (IndexError, ValueError), lambda a=axis: function(*arguments, axis=a), f"^{name}: .*5"
        )
    for axis in ("rows", 1.5):
        fails(TypeError, lambda a=axis: function(*arguments, axis=a), f"^{name}: .*{axis}")


def test_the_error_is_an_index_error_and_says_the_range(x):
    fails(IndexError, lambda: xp.sum(x, axis=2), "sum: axis 2 is out of range for an array of 2 ax")
    fails(IndexError, lambda: xp.std(x, axis=-3), "std: axis -3 is out of range")
    fails(ValueError, lambda: xp.mean(x, axis=(0, -2)), r"mean: axis \(0, -2\) names an axis twice")
    fails(IndexError, lambda: xp.resplit(x, 2), "resplit: axis 2 is out of range")


@pytest.mark.parametrize("name", ["zeros", "ones", "empty", "eye", "arange"])
def test_dtypes_that_are_none(name):
    for dtype in ("datetime64[s]", "longdouble", "str", object, 5):
        fails(TypeError, lambda d=dtype: FUNCTIONS[name](3, dtype=d), f"^{name}: dtype .* is not")


# ---------------------------------------------------------------------- one by one


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        # dtypes
        (lambda x: xp.bitwise_and(x, x), TypeError, "bitwise_and: got float64, float64; expected"),
        (xp.bitwise_invert, TypeError, "bitwise_invert: x has .*; expected an integer"),
        (lambda x: xp.floor(x + 1j), TypeError, "floor: x has dtype complex128; expected a real"),
        (xp.imag, TypeError, "imag: x has dtype float64; expected a complex"),
        (lambda x: xp.less(x, 1j), TypeError, "less: got .*complex128; expected real"),
        (lambda x: xp.max(x + 1j), TypeError, "max: x has dtype complex128; expected a real"),
        (lambda x: xp.nanmin(x + 1j, axis=0), TypeError, "nanmin: x has dtype complex128"),
        (lambda x: xp.astype(x + 1j, "float64"), TypeError, "astype: .*imaginary.*use real or abs"),
        (lambda x: xp.asarray(x + 1j, dtype="int8"), TypeError, "asarray: .*use real or abs"),
        (lambda x: xp.sum(x + 1j, dtype="float64"), TypeError, "sum: .*use real or abs"),
        (lambda x: xp.astype(x, None), TypeError, "astype: dtype is None; name a dtype"),
        (lambda x: xp.full((2,), 1j, dtype="float64"), TypeError, "full: cannot store 1j in dtype"),
        (lambda x: xp.full_like(x, "a"), TypeError, "full_like: the value is str; expected a num"),
        (lambda x: xp.finfo("int8"), TypeError, "finfo: dtype is int8; expected a floating-point"),
        (xp.iinfo, TypeError, "iinfo: dtype is float64; expected an integer"),
        (lambda x: xp.result_type(), ValueError, "result_type: expected at least one array"),
        (lambda x: xp.isdtype(x.dtype, "float"), ValueError, "isdtype: kind is 'float'; .*one of"),
        # operands
        (lambda x: xp.add(1, 2), TypeError, "add: expected at least one array, got int, int"),
        (lambda x: xp.add(x, "a"), TypeError, "add: x2 is str; expected an array or a Python scal"),
        (lambda x: xp.add(x, np.asarray(["a"])), TypeError, "add: dtype .* is not supported"),
        (lambda x: xp.clip(x, "a"), TypeError, "is str; expected an array or a Python scalar"),
        (lambda x: xp.add(x, 2**2000), OverflowError, "add: an integer of 2001 bits does not fit"),
        (lambda x: xp.ones_like(x, dtype="int8") + 128, OverflowError, "add: 128 does not fit i"),
        (lambda x: xp.zeros(3, dtype="uint64") * -1, OverflowError, "multiply: -1 does not fit u"),
        (lambda x: xp.full(3, 256, dtype="uint8"), OverflowError, "full: 256 does not fit uint8"),
        (lambda x: xp.full(3, np.nan, dtype="int8"), OverflowError, "full: nan does not fit int8"),
        (lambda x: xp.asarray([300], dtype="uint8"), OverflowError, "asarray: .*300"),
        (lambda x: xp.asarray(-1, dtype="uint8"), OverflowError, "asarray: -1 does not fit uint8"),
        (lambda x: xp.arange(-1, 3, dtype="uint8"), OverflowError, "arange: -1 does not fit uint8"),
        # shapes
        (lambda x: x + xp.zeros(3, split=0), ValueError, r"add: shapes \(3, 2\), \(3,\) do not"),
        (lambda x: x.__iadd__(xp.zeros((4, 3, 2), split=1)), ValueError, "in-place operator: the"),
        (lambda x: xp.zeros((2, -1)), ValueError, "zeros: shape is .* must not be negative"),
        (lambda x: xp.ones((2, 1.5)), TypeError, r"ones: shape is \(2, 1\.5\); expected an int or"),
        (lambda x: xp.zeros((2, 2), split=2), IndexError, "zeros: split 2 is out of range"),
        (lambda x: xp.linspace(0, 1, -1), ValueError, "linspace: num is -1; it must not be negati"),
        (lambda x: xp.linspace(0, 1, 2.5), TypeError, r"linspace: num is 2\.5; expected an int"),
        (lambda x: xp.arange(0, 3, 0), ValueError, "arange: step is 0"),
        (lambda x: xp.arange(0, np.inf), ValueError, "arange: 0 to inf by 1 is not a finite"),
        (lambda x: xp.tril(x[0]), ValueError, "tril: x has 1 axes; expected at least 2"),
        (lambda x: xp.max(x[:0], axis=0), ValueError, r"max: x has shape \(0, 2\).*no elements"),
        (xp.cumulative_sum, ValueError, "cumulative_sum: x has 2 axes; name one with"),
        (lambda x: xp.diff(x, n=-1), ValueError, "diff: n is -1; it must not be negative"),
        (xp.meshgrid, ValueError, r"meshgrid: arrays\[0\] has shape \(3, 2\)"),
        (lambda x: xp.meshgrid(indexing="a"), ValueError, "meshgrid: indexing is 'a'; expected"),
        # places
        (lambda x: xp.zeros(3, device="tpu"), ValueError, "zeros: device is 'tpu'; expected 'cpu'"),
        (lambda x: x.to_device("cpu", stream=1), ValueError, "to_device: stream is not supported"),
        (lambda x: xp.asarray(x, split=1, copy=False), ValueError, "asarray: copy=False, but"),
        (lambda x: xp.asarray([1], copy=False), ValueError, "asarray: copy=False, but a list"),
        (lambda x: xp.from_dlpack([1]), TypeError, "from_dlpack: x is list, which has no __dlpack"),
        (lambda x: xp.zeros(3, comm=1), TypeError, "comm is 1; expected a Communicator"),
        # scalars
        (float, ValueError, r"item: the array has shape \(3, 2\); only one element"),
        (lambda x: bool(x[:0]), ValueError, r"item: the array has shape \(0, 2\)"),
        (lambda x: x.__index__(), TypeError, "__index__: only an integer array is an index, this"),
        (lambda x: len(xp.asarray(1)), TypeError, "len\\(\\) of a 0-d array"),
        (lambda x: x[:, :, None].T, AttributeError, "T: the array has 3 axes; use permute_dims"),
        # NumPy's methods
        (lambda x: x.sum(out=np.zeros(())), TypeError, "out= is not supported.*use the result"),
        (lambda x: x.reshape(2, 3, order="F"), ValueError, "reshape: order is 'F'; only row-major"),
        (lambda x: np.ravel(x.ravel("F")), ValueError, "ravel: order is 'F'; only row-major"),
        (lambda x: x.take([0], axis=0, mode="wrap"), ValueError, "take: mode is 'wrap'; only"),
    ],
)  # fmt: skip
def test_one_by_one(call, error, message, x):
    with xp.trace() as t, pytest.raises(error, match=message):
        call(x)
    assert [event for event in t.events if event.operation != "__getitem__"] == []


def square():
    """Return an array that no argument for numbers takes."""
    return xp.asarray([[1, 2], [3, 4]])


WINDOWS = xp.lib.stride_tricks.sliding_window_view
ELEMENT = "cannot make an array of str"


@pytest.mark.parametrize(
    ("call", "error", "start"),
    [
        # functions that others compute
        (lambda x: xp.clip(x, xp.ones((4, 5)), 1), ValueError, "clip: shapes (3, 2), (4, 5) do"),
        (lambda x: xp.clip(x, 0, xp.ones((4, 5))), ValueError, "clip: shapes (3, 2), (4, 5) do"),
        (lambda x: xp.clip(x, 0, "a"), TypeError, "clip: max is str; expected an array or"),
        (lambda x: xp.clip(x, 1j), TypeError, "clip: got float64, complex128; expected real"),
        (lambda x: xp.clip(xp.ones(3, dtype="uint32"), -1), OverflowError, "clip: -1 does not fit"),
        (lambda x: xp.nanmax(x + 1j), TypeError, "nanmax: x has dtype complex128; expected a"),
        (lambda x: xp.nanmax(x[:0], axis=0), ValueError, "nanmax: x has shape (0, 2); axis (0,)"),
        (lambda x: xp.nanmin(x + 1j), TypeError, "nanmin: x has dtype complex128; expected a"),
        (lambda x: xp.nanmin(x[:0], axis=0), ValueError, "nanmin: x has shape (0, 2); axis (0,)"),
        (lambda x: xp.nanargmax(x + 1j), TypeError, "nanargmax: x has dtype complex128; expected"),
        (lambda x: xp.nanargmax(x[:0], axis=0), ValueError, "nanargmax: no elements to reduce"),
        (lambda x: xp.nanargmin(x[:0], axis=0), ValueError, "nanargmin: no elements to reduce"),
        (lambda x: xp.nanargmin(x, axis=(0, 1)), TypeError, "nanargmin: axis is (0, 1); expected"),
        (lambda x: xp.nansum(x + 1j, dtype="float64"), TypeError, "nansum: complex128 to float64"),
        (lambda x: xp.nanprod(x + 1j, dtype="int64"), TypeError, "nanprod: complex128 to int64"),
        (lambda x: xp.nanmean(x + 1j, dtype="float64"), TypeError, "nanmean: complex128 to float"),
        (lambda x: xp.nancumsum(x + 1j, dtype="int8"), TypeError, "nancumsum: complex128 to int8"),
        (lambda x: xp.special.psi(x + 1j), TypeError, "psi: x has dtype complex128; expected a"),
        # arguments that are no numbers, or not one
        (lambda x: xp.arange(object()), TypeError, "arange: stop is object; expected a number"),
        (lambda x: xp.arange("a", 3), TypeError, "arange: start is 'a'; expected a number"),
        (lambda x: xp.arange(0, xp.ones(2)), TypeError, "arange: stop is an array of shape (2,)"),
        (lambda x: xp.linspace(None, 1, 2), TypeError, "linspace: start is None"),
        (lambda x: xp.special.multigammaln(x, "s"), TypeError, "multigammaln: d is 's'"),
        (lambda x: xp.special.multigammaln(x, np.nan), ValueError, "multigammaln: d is nan"),
        (lambda x: xp.special.polygamma("s", x), TypeError, "polygamma: n is 's'; expected"),
        (lambda x: xp.special.polygamma(np.inf, x), ValueError, "polygamma: n is inf"),
        (lambda x: xp.concat(xp.asarray(1)), TypeError, "concat: arrays is a 0-d array; expected"),
        (lambda x: xp.concat(np.asarray(1)), TypeError, "concat: arrays is a 0-d array; expected"),
        (lambda x: xp.stack(xp.asarray(1)), TypeError, "stack: arrays is a 0-d array; expected"),
        (lambda x: xp.reshape(x, square()), TypeError, "reshape: shape is an array of s"),
        (lambda x: xp.zeros(square()), TypeError, "zeros: shape is an array of shape ("),
        (lambda x: xp.roll(x, square()), TypeError, "roll: shift is an array of shape"),
        (lambda x: xp.roll(x, 1, axis=square()), TypeError, "roll: axis is an array of shape"),
        (lambda x: xp.tile(x, square()), TypeError, "tile: repetitions is an array of s"),
        (lambda x: xp.squeeze(x, axis=square()), TypeError, "squeeze: axis is an array of sh"),
        (lambda x: xp.permute_dims(x, square()), TypeError, "permute_dims: axes is an ar"),
        (lambda x: xp.broadcast_to(x, square()), TypeError, "broadcast_to: shape is an a"),
        (lambda x: WINDOWS(x, square()), TypeError, "sliding_window_view: window_shape"),
        (lambda x: xp.sum(x, axis=square()), TypeError, "sum: axis is an array of shape"),
        (lambda x: xp.sum(x, axis=xp.int8), TypeError, "sum: axis is <class 'numpy.int8'>"),
        (lambda x: xp.resplit(x, square()), TypeError, "resplit: axis is an array of sha"),
        (lambda x: xp.asarray([1, 2]).__index__(), TypeError, "__index__: the array has shape (2,"),
        # values and keys that become arrays
        (lambda x: x.__setitem__(0, "x"), TypeError, f"__setitem__: value is str; {ELEMENT}"),
        (lambda x: x.__setitem__(0, [[1], [1, 2]]), ValueError, "__setitem__: value is list; set"),
        (lambda x: x[["a"]], TypeError, "index: key is list; cannot make an array of list"),
        (lambda x: xp.take(x, "s", axis=0), TypeError, f"take: indices is str; {ELEMENT}"),
        # texts
        (lambda x: xp.linalg.cross(x, x), ValueError,
         "cross: x1 has shape (3, 2); expected length 3 along axis -1"),
        (lambda x: WINDOWS(x, 2), ValueError,
         "sliding_window_view: window_shape has 1 lengths; expected 2, one for each axis"),
    ],
)  # fmt: skip
def test_errors_begin_with_the_function_that_was_called(call, error, start, x):
    with pytest.raises(error) as caught:
        call(x)
    assert str(caught.value).startswith(start)


def test_the_name_in_errors_does_not_choose_the_kernel():
    x = xp.asarray(np.asarray([1, 5, 9], dtype="uint64"), split=0)
    assert xp.clip(x, 2, 6).tolist() == [2, 5, 6]
    assert xp.clip(x, min=xp.asarray(3, dtype="uint64")).tolist() == [3, 5, 9]


IN_PLACE = {
    "iadd": (lambda x, y: x.__iadd__(y), "float64", "cannot store float64 in an array of int64"),
    "itruediv": (lambda x, y: x.__itruediv__(y), "int64", "cannot store float64 in an array of"),
    "imul": (lambda x, y: x.__imul__(y), "complex64", "cannot store complex128 in an array of in"),
}


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place_results_that_cannot_be_stored(name):
    call, dtype, message = IN_PLACE[name]
    x = xp.ones((4, 6), dtype="int64", split=0)
    fails(TypeError, lambda: call(x, xp.ones((4, 6), dtype=dtype, split=0)), message)
    if name != "itruediv":
        fails(TypeError, lambda: call(x, xp.ones((4, 6), dtype=dtype, split=1)), message)
    assert int(xp.sum(x)) == 24


def test_options_are_checked_before_any_is_set():
    before = xp.get_options()
    for options, error, message in (
        ({"default_split": "rows"}, TypeError, "default_split is 'rows'; expected an int or None"),
        ({"default_split": 1, "default_dtype": "int8"}, ValueError, "default_dtype is int8; expec"),
        ({"default_split": 1, "split": 0}, TypeError, "unknown option 'split'; known options: def"),
    ):
        with pytest.raises(error, match=f"set_options: {message}"):
            xp.set_options(**options)
        assert xp.get_options() == before


# ---------------------------------------------------------------------- one rank's fault


def test_what_one_rank_does_wrong_all_ranks_hear():
    comm = xp.world()
    last = comm.rank == comm.size - 1
    good = np.zeros(2)
    where = rf" \(on rank {comm.size - 1} of {comm.size}\)" if comm.size > 1 else ""
    dense = torch.ones(2, dtype=torch.float64)
    for bad, error, message in (
        ([1, 2], TypeError, "local is list; .*"),
        (np.asarray(["a", "b"]), TypeError, "dtype <U1 is not .*"),
        (np.asarray([None, 1]), TypeError, "dtype object is not supported"),
        (dense.to_sparse(), TypeError, "local is a sparse_coo tensor; expected a dense one"),
        (dense.to("meta"), TypeError, "local is a meta tensor; expected a dense one"),
        (dense.to(torch.float8_e5m2), TypeError, r"local has dtype torch\.float8_e5m2; .*"),
        (dense.clone().requires_grad_(), ValueError, "local requires a gradient, .*"),
    ):
        with pytest.raises(error, match=f"^from_local: {message}{where}$"):
            xp.from_local(bad if last else good, split=0)
    if comm.size > 1:
        for bad in (np.zeros((2, 2)), np.zeros(2, dtype="float32")):
            with pytest.raises(ValueError, match=r"from_local: the ranks' .* differ"):
                xp.from_local(bad if last else good, split=0)
        with pytest.raises(ValueError, match="from_local: the ranks' splits differ"):
            xp.from_local(good, split=None if last else 0)
        with pytest.raises(ValueError, match=r"from_local: shards of shapes .* do not fit along"):
            xp.from_local(np.zeros((2, 3 if last else 4)), split=0)


def test_kernels_raise_for_no_value():
    """An error on the one rank that holds a value would leave the others waiting."""
    wild = {
        "f": [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e300, -1e300, 5e-324],
        "i": [np.iinfo("int64").min, np.iinfo("int64").max, 0, -1, 1],
    }
    for values in wild.values():
        for dtype in ("float16", "float32", "float64", "complex64", "int8", "int64", "uint8"):
            with np.errstate(all="ignore"):
                x = xp.asarray(np.asarray(values).astype(dtype), split=0)
            for name, function in FUNCTIONS.items():
                if required(function) == ["x"]:
                    call_with(function, x)
                elif required(function) == ["x1", "x2"] and name not in ("vecdot", "tensordot"):
                    call_with(function, x, x)
                    call_with(function, x, x[::-1])


def call_with(function, *arrays):
    """Call a function; all ranks may refuse a dtype, a number of axes, or negative counts."""
    try:
        function(*arrays)
    except (TypeError, ValueError) as error:
        if not any(word in str(error) for word in ("dtype", "axes", "axis", "negative")):
            raise
