"""Fourier transforms against NumPy, on all layouts, and what they send."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import heat_array_api as xp
from heat_array_api._core.layout import Layout
from heat_array_api.fft import _distributed
from layouts import assert_equal, divide, layouts, make

fft = xp.fft

SHAPES = [(1,), (5,), (8,), (6, 5), (5, 1), (1, 7), (9, 2), (3, 4, 5), (2, 7, 2)]
FLOATING = ("float32", "float64", "complex64", "complex128")
NORMS = ("backward", "ortho", "forward")
ONE_AXIS = ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")
SEVERAL = ("fftn", "ifftn", "rfftn", "irfftn")
REAL_INPUT = ("rfft", "ihfft", "rfftn")


def numbers(shape, dtype="complex128", seed=0):
    rng = np.random.default_rng([seed, *shape])
    if np.dtype(dtype).kind in "iu":
        return rng.integers(0, 9, size=shape).astype(dtype)
    values = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        values = values + 1j * rng.standard_normal(shape)
    return values.astype(dtype)


def input_of(name, shape, double=True):
    if name in REAL_INPUT:
        return numbers(shape, "float64" if double else "float32")
    return numbers(shape, "complex128" if double else "complex64")


# ---------------------------------------------------------------------- values


@pytest.mark.parametrize("name", ONE_AXIS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_one_axis(name, shape):
    values = input_of(name, shape)
    for axis in range(len(shape)):
        length = shape[axis]
        for n in (None, length, length + 3, max(length - 2, 1), 1, 2 * length):
            if n is None and name in ("irfft", "hfft") and length == 1:
                continue
            expected = getattr(np.fft, name)(values, n=n, axis=axis)
            for layout in layouts(shape, few=True):
                x = make(values, layout)
                result = getattr(fft, name)(x, n=n, axis=axis)
                assert_equal(result, expected)
                assert result.split == layout.split


@pytest.mark.parametrize("name", ONE_AXIS)
@pytest.mark.parametrize("norm", NORMS)
def test_norms_of_one_axis(name, norm):
    for shape in ((6, 5), (7,), (150,), (149,)):
        values = input_of(name, shape)
        expected = getattr(np.fft, name)(values, axis=0, norm=norm)
        for layout in layouts(shape, few=True):
            assert_equal(getattr(fft, name)(make(values, layout), axis=0, norm=norm), expected)


@pytest.mark.parametrize("name", SEVERAL)
@pytest.mark.parametrize("shape", [(6, 5), (5, 2), (1, 7), (3, 4, 5), (2, 3, 2, 4)], ids=str)
def test_several_axes(name, shape):
    values = input_of(name, shape)
    ndim = len(shape)
    cases = [(None, None)]
    cases += [(None, axes) for axes in itertools.permutations(range(ndim), 2)]
    cases += [((4, 7), (0, -1)), ((3,), (-2,)), ((6, 3), (-1, 0)), (None, (0,))]
    for (s, axes), norm in zip(cases, itertools.cycle(NORMS), strict=False):
        last = shape[-1 if axes is None else axes[-1]]
        if name == "irfftn" and s is None and last == 1:
            continue
        expected = getattr(np.fft, name)(values, s=s, axes=axes, norm=norm)
        for layout in layouts(shape, few=True):
            result = getattr(fft, name)(make(values, layout), s=s, axes=axes, norm=norm)
            assert_equal(result, expected)
            assert result.split == layout.split


@pytest.mark.parametrize("name", [*ONE_AXIS, *SEVERAL])
@pytest.mark.parametrize(
    "dtype", ["float32", "float64", "complex64", "complex128", "int64", "uint8"]
)
def test_dtypes(name, dtype):
    kind = np.dtype(dtype).kind
    for shape in ((6, 4), (90,)):
        values = numbers(shape, dtype)
        for layout in layouts(shape, few=True):
            x = make(values, layout)
            if name in REAL_INPUT and kind == "c":
                with pytest.raises(TypeError, match=f"^{name}: x has dtype {dtype}; expected a re"):
                    getattr(fft, name)(x)
                continue
            with np.errstate(all="ignore"):
                expected = getattr(np.fft, name)(values)
            assert_equal(getattr(fft, name)(x), expected)


LENGTHS = [2, 3, 16, 61, 63, 64, 97, 100, 128, 210, 251, 1000, 1009, 4096, 6561, 10007]


@pytest.mark.parametrize("n", LENGTHS)
def test_long_lines(n, comm):
    """Powers, products and primes, beyond what one allgather takes at 4 ranks."""
    values = numbers((n,))
    real = numbers((n,), "float64")
    for counts in ([1] * comm.size, [rank % 2 for rank in range(comm.size)], [3, *[1] * comm.size]):
        if not any(counts[: comm.size]):
            continue
        layout = Layout.of((n,), 0, divide(n, counts[: comm.size]), comm)
        x = make(values, layout)
        assert_equal(fft.fft(x), np.fft.fft(values))
        assert_equal(fft.ifft(x), np.fft.ifft(values))
        assert_equal(fft.fft(x, n=n + 5), np.fft.fft(values, n=n + 5))
        assert_equal(fft.fft(x, n=n - 1), np.fft.fft(values, n=n - 1))
        assert_equal(fft.irfft(x), np.fft.irfft(values))
        assert_equal(fft.irfft(x, n=n), np.fft.irfft(values, n=n))
        assert_equal(fft.rfft(make(real, layout)), np.fft.rfft(real))
        assert_equal(fft.irfft(fft.rfft(make(real, layout)), n=n), real)


@pytest.mark.parametrize("n", [149, 150, 256])
def test_long_lines_beside_short_axes(n):
    values = numbers((2, n, 1))
    for layout in layouts(values.shape, few=True):
        assert_equal(fft.fft(make(values, layout), axis=1), np.fft.fft(values, axis=1))
        assert_equal(fft.fftn(make(values, layout)), np.fft.fftn(values))


@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "irfft"])
@pytest.mark.parametrize("double", [True, False])
def test_both_distributed_algorithms(name, double, comm, monkeypatch):
    """Bluestein's for a length that the four-step one would do, too."""
    n = 12 * max(comm.size, 3) ** 2
    values = input_of(name, (n,), double)
    x = make(values, Layout.balanced((n,), 0, comm))
    expected = getattr(np.fft, name)(values)
    assert_equal(getattr(fft, name)(x), expected)
    factored = _distributed._factored
    monkeypatch.setattr(
        _distributed,
        "_factored",
        lambda m, size: None if m in (n, 2 * (n - 1)) else factored(m, size),
    )
    assert_equal(getattr(fft, name)(x), expected)


def test_accuracy_of_a_long_prime(comm):
    n = 100_003
    values = numbers((n,))
    x = make(values, Layout.balanced((n,), 0, comm))
    expected = np.fft.fft(values)
    assert_equal(fft.fft(x), expected, atol=1e-12 * float(np.abs(expected).max()), rtol=0)


# ---------------------------------------------------------------------- frequencies and shifts


@pytest.mark.parametrize("n", [1, 2, 3, 8, 9])
def test_frequencies(n):
    for split in (None, 0):
        for d in (1.0, 0.25, 3):
            assert_equal(fft.fftfreq(n, d=d, split=split), np.fft.fftfreq(n, d=d))
            assert_equal(fft.rfftfreq(n, d=d, split=split), np.fft.rfftfreq(n, d=d))
        assert fft.fftfreq(n, split=split).split == split
        single = fft.fftfreq(n, dtype=xp.float32, split=split)
        assert_equal(single, np.fft.fftfreq(n).astype("float32"))


@pytest.mark.parametrize("shape", [(5,), (6,), (3, 4), (2, 3, 4), (0, 3)], ids=str)
def test_shifts(shape):
    for dtype in ("float64", "int16", "uint32", "complex64", "bool"):
        values = numbers(shape, "int16").astype(dtype)
        for layout in layouts(shape, few=True):
            for axes in (None, 0, -1, (0, -1) if len(shape) > 1 else (0,), ()):
                x = make(values, layout)
                shifted = fft.fftshift(x, axes=axes)
                assert_equal(shifted, np.fft.fftshift(values, axes=axes))
                assert_equal(fft.ifftshift(x, axes=axes), np.fft.ifftshift(values, axes=axes))
                assert_equal(fft.ifftshift(shifted, axes=axes), values)
                assert shifted.layout == layout


# ---------------------------------------------------------------------- what is sent


def test_other_axes_send_nothing(comm):
    for split in (0, 1):
        x = make(numbers((12, 10)), Layout.balanced((12, 10), split, comm))
        with xp.trace() as t:
            fft.fft(x, axis=1 - split)
            fft.irfft(x, axis=1 - split)
            fft.fftn(x, axes=(1 - split,))
            fft.fftfreq(12, split=0)
        assert t.events == []
    replicated = make(numbers((12, 10)))
    with xp.trace() as t:
        assert fft.fftn(replicated).split is None
    assert t.events == []


def test_the_split_axis_takes_two_all_to_alls(comm):
    shape = (8 * comm.size, 4 * comm.size)
    share = 16 * shape[0] * shape[1] // comm.size
    for split in (0, 1):
        x = make(numbers(shape), Layout.balanced(shape, split, comm))
        for call in (
            lambda x, split=split: fft.fft(x, axis=split),
            fft.fftn,
            lambda x: fft.irfftn(x, s=shape),
            fft.ifftn,
        ):
            with xp.trace() as t:
                result = call(x)
            assert result.split == split
            if comm.size > 1:
                assert t.count() == t.count("alltoall") == 2
                assert t.bytes() <= 2.2 * share


def test_the_inverse_gives_back_layout_and_values(comm):
    shape = (3 * comm.size, comm.size + 1)
    values = numbers(shape)
    for layout in layouts(shape, few=True):
        x = make(values, layout)
        y = fft.ifftn(fft.fftn(x))
        assert_equal(y, values)
        assert y.layout == layout


def test_long_lines_are_never_gathered(comm):
    for n, factor in ((64 * comm.size**2, 4), (1009, 40)):
        x = make(numbers((n,)), Layout.balanced((n,), 0, comm))
        with xp.trace() as t:
            fft.fft(x)
        if n >= 4 * comm.size**2:
            assert t.count("allgather") == 0
            assert t.bytes() <= factor * 16 * n / comm.size + 4096


def test_parseval(comm):
    values = numbers((500,), "float64")
    x = make(values, Layout.balanced((500,), 0, comm))
    energy = xp.sum(xp.abs(fft.fft(x, norm="ortho")) ** 2)
    assert_equal(energy, np.sum(values**2), rtol=1e-13)


# ---------------------------------------------------------------------- errors


@pytest.mark.parametrize("name", [*ONE_AXIS, *SEVERAL])
def test_errors(name, comm):
    function = getattr(fft, name)
    x = xp.ones((4, 3), split=0)
    length = {"n": 0} if name in ONE_AXIS else {"s": (3, 0)}
    axis = {"axis": 2} if name in ONE_AXIS else {"axes": (0, 2)}
    with xp.trace() as t:
        with pytest.raises(ValueError, match=f"^{name}: the length along axis 1 is 0; expected at"):
            function(x, **length)
        with pytest.raises(ValueError, match=f"^{name}: the length along axis 1 is"):
            function(xp.ones((4, 0), split=0))
        with pytest.raises(TypeError, match=rf"^{name}: [ns] is .*2\.5.*; expected an int"):
            function(x, **({"n": 2.5} if "n" in length else {"s": (4, 2.5)}))
        with pytest.raises(IndexError, match=f"^{name}: .*2 is out of range"):
            function(x, **axis)
        with pytest.raises(ValueError, match=f"^{name}: norm is 'full'; expected 'backward'"):
            function(x, norm="full")
        with pytest.raises(TypeError, match=f"^{name}: x has dtype float16; convert it"):
            function(xp.ones((4, 3), dtype="float16", split=0))
        with pytest.raises(TypeError, match=f"^{name}: x is list"):
            function([1.0, 2.0])
        if name in SEVERAL:
            with pytest.raises(ValueError, match=rf"^{name}: s is \(2,\), but there are 2 axes"):
                function(x, s=(2,), axes=(0, 1))
    assert t.events == []


def test_errors_of_frequencies():
    for name in ("fftfreq", "rfftfreq"):
        function = getattr(fft, name)
        with pytest.raises(ValueError, match=f"^{name}: n is 0; expected at least 1"):
            function(0)
        with pytest.raises(TypeError, match=rf"^{name}: n is 2\.5; expected an int"):
            function(2.5)
        with pytest.raises(TypeError, match=f"^{name}: dtype is 'int8'; expected a real floating"):
            function(4, dtype="int8")
        with pytest.raises(ValueError, match=f"^{name}: d is 0"):
            function(4, d=0)
        with pytest.raises(IndexError, match=f"^{name}: split 1 is out of range"):
            function(4, split=1)
        with pytest.raises(ValueError, match=f"^{name}: device is 'tpu'"):
            function(4, device="tpu")
    for name in ("rfftn", "irfftn"):
        with pytest.raises(ValueError, match=f"^{name}: axes is empty"):
            getattr(fft, name)(xp.ones((2, 2), split=0), axes=())
