"""Creation against NumPy: every function, split, dtype and default, and the errors."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
import torch

import heat_array_api as xp
from layouts import assert_equal, layouts, make

DTYPES = ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
DTYPES += ["float16", "float32", "float64", "complex64", "complex128"]
SPLITS = [None, 0, 1, -1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("split", SPLITS)
def test_filled(dtype, split):
    for shape in ((5, 3), (1, 4), (0, 3), (7, 1)):
        options = {"dtype": dtype, "split": split}
        assert_equal(xp.zeros(shape, **options), np.zeros(shape, dtype))
        assert_equal(xp.ones(shape, **options), np.ones(shape, dtype))
        assert_equal(xp.full(shape, 1, **options), np.full(shape, 1, dtype))
        assert xp.empty(shape, **options).shape == shape
        x = xp.ones(shape, **options)
        for y in (xp.zeros_like(x), xp.ones_like(x), xp.empty_like(x), xp.full_like(x, 1)):
            assert y.layout == x.layout
            assert y.dtype == dtype
        assert_equal(xp.full_like(x, 0), np.zeros(shape, dtype))


def test_default_dtypes():
    assert xp.zeros(3).dtype == xp.float64
    assert xp.full(3, 1).dtype == xp.int64
    assert xp.full(3, True).dtype == xp.bool
    assert xp.full(3, 1.5).dtype == xp.float64
    assert xp.full(3, 1j).dtype == xp.complex128
    with xp.set_options(default_dtype=xp.float32):
        assert (
            xp.ones(3).dtype == xp.linspace(0, 1, 3).dtype == xp.asarray([0.5]).dtype == "float32"
        )
        assert xp.full(3, 1j).dtype == xp.asarray([1j]).dtype == xp.complex64
        assert xp.asarray(np.zeros(2)).dtype == xp.float64


def test_default_split():
    for split, expected in ((0, 0), (1, 1), (-1, 1), (5, 1), (-5, 0), (None, None)):
        with xp.set_options(default_split=split):
            for x in (xp.zeros((4, 3)), xp.asarray(np.zeros((4, 3))), xp.eye(4, 3)):
                assert x.split == expected
            assert xp.arange(4).split == (None if split is None else 0)
            assert xp.zeros(()).split is None
            assert xp.zeros((4, 3), split=None).split is None
    assert xp.zeros((4, 3)).split == xp.get_options()["default_split"]


def test_full_of_an_array_and_of_large_unsigned():
    assert_equal(xp.full(3, xp.asarray(2, dtype="int16"), split=0), np.full(3, 2, "int16"))
    assert_equal(xp.full(3, 2**64 - 1, dtype="uint64", split=0), np.full(3, 2**64 - 1, "uint64"))
    with pytest.raises(OverflowError):
        xp.full(3, 256, dtype="uint8")
    with pytest.raises(TypeError, match="full"):
        xp.full(3, 1j, dtype="int8")


@pytest.mark.parametrize("split", [None, 0])
@pytest.mark.parametrize(
    "arguments",
    [(7,), (2, 9), (0, 10, 3), (10, 0, -3), (0.0, 1.0, 0.1), (5, 5), (3, 0), (1, 4, 0.5)],
)
def test_arange(arguments, split):
    assert_equal(xp.arange(*arguments, split=split), np.arange(*arguments))


def test_arange_dtypes():
    for dtype in ("int8", "uint16", "uint64", "float32", "float64", "complex64"):
        assert_equal(xp.arange(2, 9, dtype=dtype, split=0), np.arange(2, 9, dtype=dtype))
    with pytest.raises(ValueError, match="arange: step is 0"):
        xp.arange(0, 3, 0)


@pytest.mark.parametrize("split", [None, 0])
@pytest.mark.parametrize("endpoint", [True, False])
@pytest.mark.parametrize("num", [0, 1, 2, 7, 50])
def test_linspace(num, endpoint, split):
    for start, stop in ((0, 1), (2.5, -1.0), (3, 3), (1j, 2.0), (0, 1e300)):
        expected = np.linspace(start, stop, num, endpoint=endpoint)
        assert_equal(xp.linspace(start, stop, num, endpoint=endpoint, split=split), expected)
    expected = np.linspace(0, 9, num, endpoint=endpoint, dtype="int32")
    assert_equal(xp.linspace(0, 9, num, endpoint=endpoint, dtype="int32", split=split), expected)


@pytest.mark.parametrize("split", SPLITS)
def test_eye_and_triangles(split):
    for rows, columns, k in ((4, None, 0), (5, 3, 1), (3, 5, -2), (0, 2, 0), (3, 3, 7)):
        expected = np.eye(rows, columns, k=k)
        assert_equal(xp.eye(rows, columns, k=k, split=split), expected)
    assert_equal(xp.eye(3, dtype="uint16", split=split), np.eye(3, dtype="uint16"))
    values = np.arange(60).reshape(3, 5, 4)
    for layout in layouts(values.shape, few=True):
        for dtype in ("int64", "uint32", "complex64", "bool"):
            x = make(values.astype(dtype), layout)
            for k in (-1, 0, 2):
                assert_equal(xp.tril(x, k=k), np.tril(values, k=k).astype(dtype))
                assert_equal(xp.triu(x, k=k), np.triu(values, k=k).astype(dtype))
    with pytest.raises(ValueError, match="tril"):
        xp.tril(xp.zeros(3))


@pytest.mark.parametrize("indexing", ["xy", "ij"])
def test_meshgrid(indexing):
    lines = [np.arange(4.0), np.arange(3.0), np.arange(2.0)]
    for n in (0, 1, 2, 3):
        for first in layouts((4,), few=True):
            arrays = [make(lines[i], first if i == 0 else None) for i in range(n)]
            if n > 1:
                arrays[1] = xp.asarray(lines[1], split=0)
            grids = xp.meshgrid(*arrays, indexing=indexing)
            expected = np.meshgrid(*lines[:n], indexing=indexing)
            assert isinstance(grids, tuple)
            assert len(grids) == n
            for ours, theirs in zip(grids, expected, strict=True):
                assert_equal(ours, theirs)
    with pytest.raises(ValueError, match="indexing"):
        xp.meshgrid(xp.zeros(2), indexing="ab")


# ---------------------------------------------------------------------- from values


@pytest.mark.parametrize("split", [None, 0])
def test_asarray_of_every_kind_of_object(split):
    for obj in (
        [1, 2, 3],
        (1.5, 2.5),
        [[True], [False]],
        [1, 2.0, 3j],
        range(5),
        np.arange(6, dtype="uint16")[::2],
        np.asarray([1, 2], dtype=">f4"),
        memoryview(b"abc"),
        [],
        [[], []],
    ):
        expected = np.asarray(obj)
        assert_equal(
            xp.asarray(obj, split=split), expected.astype(expected.dtype.newbyteorder("="))
        )
    for scalar in (True, 3, 2.5, 1j, np.float32(2)):
        assert_equal(xp.asarray(scalar, split=split), np.asarray(scalar))
    assert_equal(xp.asarray(torch.arange(4), split=split), np.arange(4))
    assert_equal(xp.asarray([xp.asarray(1), xp.asarray(2)], split=split), np.asarray([1, 2]))


def test_asarray_of_an_array():
    values = np.arange(12.0).reshape(4, 3)
    for layout in layouts((4, 3), few=True):
        x = make(values, layout)
        assert xp.asarray(x) is x
        assert xp.asarray(x, copy=False) is x
        copied = xp.asarray(x, copy=True)
        assert copied.layout == layout
        copied[...] = 0.0
        assert_equal(x, values)
        assert_equal(xp.asarray(x, dtype="float32"), values.astype("float32"))
        for split in (None, 0, 1):
            assert xp.asarray(x, split=split).split == split
        with pytest.raises(ValueError, match="copy=False"):
            xp.asarray(x, dtype="int32", copy=False)


def test_asarray_never_shares_memory():
    values = np.zeros(5)
    for split in (None, 0):
        x = xp.asarray(values, split=split)
        values[:] = 7.0
        assert_equal(x, np.zeros(5))
        values[:] = 0.0
    with pytest.raises(ValueError, match="copy=False"):
        xp.asarray(values, copy=False)
    with pytest.raises(TypeError, match="asarray"):
        xp.asarray("abc")
    with pytest.raises(TypeError, match="asarray"):
        xp.asarray(object())


def test_from_dlpack():
    values = np.arange(6.0).reshape(2, 3)
    for split in (None, 0, 1):
        assert_equal(xp.from_dlpack(values, split=split), values)
        assert_equal(xp.from_dlpack(torch.from_numpy(values), split=split), values)
        x = xp.asarray(values, split=split)
        assert_equal(xp.from_dlpack(x), values)
        assert_equal(xp.from_dlpack(x, copy=True), values)
        assert np.array_equal(np.from_dlpack(x), values)
        assert np.array_equal(torch.from_dlpack(x).numpy(), values)
    readonly = values.copy()
    readonly.flags.writeable = False
    assert_equal(xp.from_dlpack(readonly), values)
    shared = xp.from_dlpack(values, copy=False, split=None)
    shared[...] = 0.0
    assert values[1, 2] == 5.0
    with pytest.raises(TypeError, match="__dlpack__"):
        xp.from_dlpack([1, 2])


# ---------------------------------------------------------------------- from shards


def test_from_local():
    comm = xp.world()
    shard = torch.full((comm.rank + 1, 2), float(comm.rank))
    with xp.trace() as t:
        x = xp.from_local(shard, split=0)
    assert x.layout.counts == tuple(range(1, comm.size + 1))
    expected = np.concatenate([np.full((r + 1, 2), float(r)) for r in range(comm.size)])
    assert_equal(x, expected.astype("float32"))
    assert t.count("allgather") == 0
    assert_equal(xp.from_local(shard.numpy(), split=-2), expected.astype("float32"))
    assert_equal(xp.from_local(np.asarray(3.0), split=0), np.asarray(3.0))


def test_from_local_errors_on_all_ranks():
    comm = xp.world()
    with pytest.raises(TypeError, match="expected a torch tensor"):
        xp.from_local([1, 2], split=0)
    with pytest.raises(ValueError, match="gradient"):
        xp.from_local(torch.zeros(2, requires_grad=True), split=0)
    with pytest.raises(IndexError, match="split"):
        xp.from_local(torch.zeros(2), split=1)
    if comm.size == 1:
        return
    last = comm.rank == comm.size - 1
    with pytest.raises(ValueError, match="do not fit"):
        xp.from_local(torch.zeros(2, 4 if last else 3), split=0)
    with pytest.raises(ValueError, match="dtypes differ"):
        xp.from_local(torch.zeros(2, dtype=torch.int8 if last else torch.int16), split=0)
    with pytest.raises(ValueError, match="axes differ"):
        xp.from_local(torch.zeros((2, 2) if last else (2,)), split=0)
    with pytest.raises(TypeError, match=rf"\(on rank {comm.size - 1} of {comm.size}\)"):
        xp.from_local("a" if last else torch.zeros(2), split=0)


def forms_of_memory():
    """Yield arrays of float64 of any strides, byte order, and alignment, with what they are."""
    rows = np.arange(6.0).reshape(3, 2)
    records = np.zeros(3, dtype=[("a", "i1"), ("b", "f8")])
    records["b"] = rows[:, 0]
    bytes_ = np.frombuffer(b"x" + rows.tobytes(), np.uint8)[1:].copy()
    shifted = np.concatenate([bytes_[:1], bytes_])[1:].view(np.float64)
    frozen = rows.copy()
    frozen.flags.writeable = False
    for n in (0, 1, 3):
        yield f"{n} rows flipped", rows[:n][::-1]
        yield f"{n} flipped both ways", rows[:n][::-1, ::-1]
        yield f"{n} in one flipped row", rows[:n, 0][None, ::-1][::-1]
        yield f"{n} of records", records["b"][:n]
        yield f"{n} of records, flipped", records["b"][:n][::-1]
        yield f"{n} unaligned", shifted[:n]
        yield f"{n} read-only", frozen[:n]
        yield f"{n} of another byte order", rows[:n].astype(">f8")[::-1]
        yield f"{n} broadcast", np.broadcast_to(np.float64(2), (n, 2))


FORMS = dict(forms_of_memory())


@pytest.mark.parametrize("name", FORMS)
def test_numpy_arrays_of_any_form(name, comm):
    """The form of memory is a rank's own, so nothing may be refused for it."""
    values = FORMS[name]
    for split in (None, 0):
        assert_equal(xp.asarray(values, split=split), values.astype(float), split=split)
        assert_equal(xp.from_dlpack(values, split=split), values.astype(float), split=split)
        x = xp.zeros(values.shape, split=split)
        assert_equal(x + values, values.astype(float))
        x[...] = values
        assert_equal(x, values.astype(float))
    usual = values.astype(float)
    last = comm.rank == comm.size - 1
    x = xp.from_local(values if last else usual, split=0)
    assert_equal(x, np.concatenate([usual] * comm.size))
    assert_equal(xp.cumulative_sum(x, axis=0), np.cumsum(np.concatenate([usual] * comm.size), 0))


def test_shared_memory_of_numpy_arrays():
    for values in (np.arange(4.0), np.arange(4.0)[::-1][:1], np.arange(4.0).reshape(1, 4)[::-1]):
        pointer = values.__array_interface__["data"][0]
        assert xp.from_local(values).local.data_ptr() == pointer
        assert xp.from_dlpack(values, copy=False, split=None).local.data_ptr() == pointer
    with pytest.raises(ValueError, match="from_dlpack: copy=False"):
        xp.from_dlpack(np.arange(4.0)[::2], copy=False, split=None)


def test_tensors_of_any_form(comm):
    with torch.inference_mode():
        inference = torch.arange(2.0, dtype=torch.float64)
    z = torch.tensor([1 + 2j, 3 - 1j], dtype=torch.complex128)
    last = comm.rank == comm.size - 1
    for odd in (z.conj(), z.conj().imag, inference, torch._efficientzerotensor(2), z.expand(2, 2)):
        usual = odd.clone().resolve_conj().resolve_neg().contiguous()
        values = np.concatenate([usual.numpy()] * comm.size)
        x = xp.from_local(odd if last else usual, split=0)
        assert_equal(x, values)
        for made in (xp.asarray(odd, split=0), xp.from_dlpack(odd, split=0)):
            assert_equal(made, usual.numpy(), split=0)
        w = xp.ones_like(x)
        assert_equal(xp.autograd.grad(lambda w, x=x: xp.sum(xp.real(w * x)))(w), values.conj())
    for odd in (z.conj(), z.conj().imag):
        with pytest.raises(ValueError, match="from_dlpack: copy=False"):
            xp.from_dlpack(odd, copy=False, split=None)
    for odd in (z.to_sparse(), z.to("meta")):
        with pytest.raises(TypeError, match=r"from_dlpack: x is a .* tensor; expected a dense one"):
            xp.from_dlpack(odd)
        with pytest.raises(TypeError, match=r"asarray: obj is a .* tensor; expected a dense one"):
            xp.asarray(odd)
        with pytest.raises(TypeError, match="__setitem__: value is Tensor; obj is a"):
            xp.zeros(2, dtype="complex128", split=0)[...] = odd


# ---------------------------------------------------------------------- errors and messages


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: xp.zeros((2, -1)), ValueError, "negative"),
        (lambda: xp.zeros("ab"), TypeError, "shape"),
        (lambda: xp.zeros(3, dtype="datetime64[s]"), TypeError, "dtype"),
        (lambda: xp.zeros(3, dtype="complex256"), TypeError, "dtype"),
        (lambda: xp.zeros((3, 3), split=2), IndexError, "zeros: split"),
        (lambda: xp.zeros(3, split="a"), TypeError, "split"),
        (lambda: xp.zeros(3, device="tpu"), ValueError, "device"),
        (lambda: xp.linspace(0, 1, -1), ValueError, "num"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_creation_sends_nothing():
    values = np.zeros((9, 4))
    with xp.trace() as t:
        xp.zeros((9, 4), split=0)
        xp.arange(100, split=0)
        xp.linspace(0, 1, 100, split=0)
        xp.eye(9, split=1)
        xp.asarray(values, split=0)
        xp.meshgrid(xp.arange(4, split=0), xp.arange(3, split=None))
        xp.tril(xp.ones((9, 4), split=0))
    assert t.events == []


# ---------------------------------------------------------------------- values at the border


def test_integers_beyond_int64():
    for split in (None, 0):
        expected = np.arange(2**63, 2**63 + 5, dtype="uint64")
        assert_equal(xp.arange(2**63, 2**63 + 5, dtype="uint64", split=split), expected)
        expected = np.asarray([2**64 - 1, 2**63, 1], dtype="uint64")
        ours = xp.arange(2**64 - 1, 0, 1 - 2**63, dtype="uint64", split=split)
        assert_equal(ours, expected)
        assert_equal(xp.asarray([2**63, 1], split=split), np.asarray([2**63, 1]))
        assert_equal(
            xp.asarray([2**64 - 1], dtype="uint64", split=split),
            np.asarray([2**64 - 1], dtype="uint64"),
        )
    for call in (
        lambda: xp.arange(250, 260, dtype="uint8"),
        lambda: xp.arange(3, -2, -1, dtype="uint64"),
        lambda: xp.arange(2**63, 2**63 + 2),
        lambda: xp.asarray([1, 300], dtype="uint8"),
        lambda: xp.asarray([[-1]], dtype="uint64"),
        lambda: xp.asarray(2**63),
    ):
        with pytest.raises(OverflowError, match=r"arange:|asarray:"):
            call()


def test_floats_beyond_the_dtype_are_infinite():
    for dtype in ("float16", "float32", "complex64"):
        for value in (1e300, -1e300, 10**200):
            with np.errstate(over="ignore"):
                expected = np.full(3, float(value), dtype=dtype)
            assert_equal(xp.full(3, value, dtype=dtype, split=0), expected)
            assert_equal(xp.asarray(value, dtype=dtype), expected[0])
    assert_equal(xp.full(3, 2**70, dtype="float64", split=0), np.full(3, 2.0**70))


def test_complex_values_in_real_dtypes_raise():
    z = xp.asarray([1j, 2.0], split=0)
    for call in (
        lambda: xp.full(2, 1j, dtype="float64"),
        lambda: xp.asarray(1j, dtype="float32"),
        lambda: xp.asarray([1j], dtype="float64"),
        lambda: xp.asarray(np.asarray([1j]), dtype="float64"),
        lambda: xp.asarray(torch.tensor([1j]), dtype="int8"),
        lambda: xp.asarray(z, dtype="float64"),
    ):
        with pytest.raises(TypeError, match=r"full:|asarray:"):
            call()
    assert_equal(xp.asarray([1j, 0], dtype="bool", split=0), np.asarray([True, False]))
    assert_equal(xp.asarray(z, dtype="complex64"), np.asarray([1j, 2], dtype="complex64"))


def test_asarray_of_objects_with_one_protocol():
    class OnlyDLPack:
        def __init__(self, values):
            self.values = values

        def __dlpack__(self, **options):
            return self.values.__dlpack__(**options)

        def __dlpack_device__(self):
            return self.values.__dlpack_device__()

    class OnlyArray:
        def __array__(self, dtype=None, copy=None):
            return np.arange(6.0, dtype=dtype)

    for split in (None, 0):
        assert_equal(xp.asarray(OnlyDLPack(np.arange(6.0)), split=split), np.arange(6.0))
        assert_equal(xp.asarray(OnlyArray(), split=split), np.arange(6.0))
        assert_equal(xp.asarray(OnlyArray(), dtype="int8", split=split), np.arange(6, dtype="int8"))
        assert_equal(xp.from_dlpack(OnlyDLPack(np.arange(6.0)), split=split), np.arange(6.0))


@pytest.mark.parametrize("dtype", DTYPES)
def test_dlpack_of_every_dtype(dtype):
    values = np.arange(6).reshape(2, 3).astype(dtype)
    for layout in layouts((2, 3), few=True):
        x = make(values, layout)
        assert_equal(xp.asarray(torch.from_dlpack(x)), values)
        if np.dtype(dtype).kind != "b":  # NumPy's own limit
            assert np.array_equal(np.from_dlpack(x), values)
        assert_equal(xp.from_dlpack(values, split=layout.split), values)
        assert_equal(xp.from_dlpack(x, copy=True), values)
        with_options = x.__dlpack__(max_version=(1, 0), dl_device=(1, 0), copy=True)
        assert_equal(xp.asarray(torch.from_dlpack(with_options)), values)


def test_bfloat16():
    dtype = np.dtype(ml_dtypes.bfloat16)
    values = np.arange(6).astype(dtype)
    for split in (None, 0):
        for x in (
            xp.asarray(values, split=split),
            xp.asarray(list(range(6)), dtype=dtype, split=split),
            xp.arange(6, dtype=dtype, split=split),
            xp.linspace(0, 5, 6, dtype=dtype, split=split),
            xp.from_dlpack(values, split=split),
            xp.asarray(torch.arange(6, dtype=torch.bfloat16), split=split),
        ):
            assert_equal(x, values)
        assert_equal(xp.ones(3, dtype=dtype, split=split), np.ones(3, dtype=dtype))
        assert_equal(xp.eye(3, dtype=dtype, split=split), np.eye(3, dtype=dtype))
    assert_equal(xp.from_local(values, split=None), values)


def test_diagonals_far_outside_the_matrix():
    for k in (2**70, -(2**70), 5, -4):
        x = xp.ones((4, 5), split=0)
        assert_equal(xp.eye(4, 5, k=k, split=1), np.zeros((4, 5)))
        assert_equal(xp.tril(x, k=k), np.full((4, 5), float(k > 0)))
        assert_equal(xp.triu(x, k=k), np.full((4, 5), float(k < 0)))
