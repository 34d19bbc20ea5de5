"""The communicator against NumPy: what every rank contributes is known to all of them."""

from __future__ import annotations

import copy
import os
import pickle
import time
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from mpi4py import MPI

from heat_array_api._comm import buffers as _buffers
from heat_array_api._comm import communicator as _comm
from heat_array_api._comm import mpi as _mpi
from heat_array_api._comm import trace as _trace
from heat_array_api._comm.communicator import Communicator, as_communicator, world
from heat_array_api._comm.debug import Call, Checker
from heat_array_api._errors import CollectiveMismatchError

W = world()
P, RANK = W.size, W.rank

several = pytest.mark.skipif(P == 1, reason="nothing is sent on one rank")
nightly = pytest.mark.skipif(
    os.environ.get("HEAT_ARRAY_API_NIGHTLY") != "1", reason="takes GBs: HEAT_ARRAY_API_NIGHTLY=1"
)

INTEGERS = [torch.int8, torch.int16, torch.int32, torch.int64]
UNSIGNED = [torch.uint8, torch.uint16, torch.uint32, torch.uint64]
HALVES = [torch.float16, torch.bfloat16]
FLOATS = [*HALVES, torch.float32, torch.float64]
COMPLEX = [torch.complex64, torch.complex128]
DTYPES = [torch.bool, *INTEGERS, *UNSIGNED, *FLOATS, *COMPLEX]
OPS = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum}
LOGICAL = {"sum": np.logical_or, "prod": np.logical_and, "max": np.logical_or}
SHAPES = [(), (1,), (7,), (0,), (3, 4), (2, 0, 3), (2, 3, 2)]


def numpy_dtype(dtype: torch.dtype) -> np.dtype:
    """Return NumPy's dtype; float32 for bfloat16, whose values it holds."""
    name = str(dtype).removeprefix("torch.")
    return np.dtype("float32" if name == "bfloat16" else name)


def to_torch(a: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(a)).view(a.shape).to(dtype)


def to_numpy(t: torch.Tensor) -> np.ndarray:
    t = t.resolve_conj().resolve_neg()
    return t.float().numpy() if t.dtype is torch.bfloat16 else t.numpy()


def values(rank: int, shape: tuple[int, ...], dtype: torch.dtype) -> np.ndarray:
    """Return what a rank contributes: small whole numbers, whose sums are exact."""
    count = int(np.prod(shape))
    a = (np.arange(count) * 7 + rank * 3) % 11 - 4
    if dtype is torch.bool:
        return ((np.arange(count) + rank) % 3 == 0).reshape(shape)
    if dtype in UNSIGNED:
        a = abs(a)
    if dtype.is_complex:
        a = a + 1j * ((np.arange(count) + rank) % 5 - 2)
    return a.reshape(shape).astype(numpy_dtype(dtype))


def reduced(op: str, arrays: list[np.ndarray], dtype: torch.dtype) -> np.ndarray:
    ufunc = LOGICAL.get(op, np.logical_and) if dtype is torch.bool else OPS[op]
    total = arrays[0]
    for a in arrays[1:]:
        total = ufunc(total, a)
    return to_numpy(to_torch(np.asarray(total), dtype))


def is_defined(op: str, dtype: torch.dtype) -> bool:
    return not (dtype.is_complex and op in ("max", "min"))


def check(t: torch.Tensor, expected: np.ndarray, dtype: torch.dtype) -> None:
    assert t.dtype is dtype
    assert t.is_contiguous()
    assert not t.is_conj()
    assert not t.is_neg()
    np.testing.assert_array_equal(to_numpy(t), np.asarray(expected, numpy_dtype(dtype)))


def same_bits_everywhere(t: torch.Tensor) -> bool:
    mine = bytes(t.clone().untyped_storage())
    return len(set(MPI.COMM_WORLD.allgather(mine))) == 1


VIEWS = {
    "transposed": lambda t: t.t().contiguous().t(),
    "every second": lambda t: torch.stack([t, t], 1).flatten(0, 1)[::2],
    "inner slice": lambda t: torch.nn.functional.pad(t, (1, 2))[:, 1:-2],
    "column order": lambda t: t.clone().as_strided(t.shape, t.stride()),
}


def views(t: torch.Tensor) -> list[torch.Tensor]:
    """Return tensors equal to a matrix `t`, with other strides or with lazy bits."""
    if t.dtype in UNSIGNED[1:]:
        wide = torch.zeros(2 * t.shape[0], t.shape[1], dtype=t.dtype)
        wide[::2].copy_(t)
        return [wide[::2], t.clone()]
    out = [view(t) for view in VIEWS.values()]
    if t.is_complex():
        out.append(t.conj().resolve_conj().conj())
        assert out[-1].is_conj()
    if t.dtype in (torch.float32, torch.float64):
        out.append(torch.complex(torch.zeros_like(t), -t).conj().imag)
        assert out[-1].is_neg()
    return out


@pytest.fixture(params=["direct", "split", "staged"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test on MPI's own calls, split as large ones, and through host buffers."""
    if request.param == "split":
        monkeypatch.setattr(_mpi.LARGE, "limit", 2)
    if request.param == "staged":
        staging = _buffers.Staging(pinned=False)
        monkeypatch.setattr(_mpi, "outgoing", lambda t: staging.send(_buffers.dense(t)))
        monkeypatch.setattr(
            _mpi, "empty", lambda shape, dtype, device: staging.buffer("receive", shape, dtype)
        )
        monkeypatch.setattr(_mpi, "deliver", lambda out, like: out.clone())
    return request.param


# ---------------------------------------------------------------- reductions


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("op", OPS)
def test_allreduce(op, dtype, way):
    if not is_defined(op, dtype):
        with pytest.raises(TypeError, match=r"allreduce: .*complex.*no order"):
            W.allreduce(torch.zeros(3, dtype=dtype), op)
        return
    for shape in SHAPES:
        parts = [values(r, shape, dtype) for r in range(P)]
        mine = to_torch(parts[RANK], dtype)
        before = mine.clone()
        out = W.allreduce(mine, op)
        check(out, reduced(op, parts, dtype), dtype)
        assert torch.equal(mine, before)
        assert out.numel() == 0 or out.data_ptr() != mine.data_ptr()
        assert same_bits_everywhere(out)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("op", OPS)
def test_reduce_scatter(op, dtype, way):
    if not is_defined(op, dtype):
        with pytest.raises(TypeError, match="reduce_scatter"):
            W.reduce_scatter(torch.zeros(P, dtype=dtype), [1] * P, op)
        return
    for counts in ([2] * P, list(range(P)), [5] + [0] * (P - 1), [0] * P):
        start = sum(counts[:RANK])
        for rest in ((), (3,), (0,)):
            parts = [values(r, (sum(counts), *rest), dtype) for r in range(P)]
            out = W.reduce_scatter(to_torch(parts[RANK], dtype), counts, op)
            expected = reduced(op, parts, dtype)[start : start + counts[RANK]]
            check(out, expected, dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("op", OPS)
def test_exscan(op, dtype, way):
    if not is_defined(op, dtype):
        with pytest.raises(TypeError, match="exscan"):
            W.exscan(torch.zeros(3, dtype=dtype), op)
        return
    for shape in SHAPES:
        parts = [values(r, shape, dtype) for r in range(P)]
        out = W.exscan(to_torch(parts[RANK], dtype), op)
        if RANK:
            check(out, reduced(op, parts[:RANK], dtype), dtype)
            continue
        # The identity: combined with anything it gives that thing.
        assert out.shape == shape
        check(to_torch(reduced(op, [to_numpy(out), parts[0]], dtype), dtype), parts[0], dtype)


@pytest.mark.parametrize("dtype", [torch.int16, torch.uint32, *FLOATS, *COMPLEX], ids=str)
@pytest.mark.parametrize("op", OPS)
def test_reductions_of_views(op, dtype):
    if not is_defined(op, dtype):
        pytest.skip("no order")
    parts = [values(r, (P + 1, 3), dtype) for r in range(P)]
    expected = reduced(op, parts, dtype)
    counts = [2] + [1] * (P - 1)
    start = sum(counts[:RANK])
    for t in views(to_torch(parts[RANK], dtype)):
        check(W.allreduce(t, op), expected, dtype)
        check(W.reduce_scatter(t, counts, op), expected[start : start + counts[RANK]], dtype)
        if RANK:
            check(W.exscan(t, op), reduced(op, parts[:RANK], dtype), dtype)
        else:
            W.exscan(t, op)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("op", ["max", "min"])
def test_extremes_of_nan_zeros_and_infinities(op, dtype):
    """NaN wins on whatever rank it is, and -0.0 is less than 0.0, in every order of ranks."""
    nan, inf = float("nan"), float("inf")
    cases = [
        [nan, 1.0, -inf, 2.0],
        [1.0, -nan, 3.0, inf],
        [0.0, -0.0, 0.0, -0.0],
        [-0.0, 0.0, -0.0, -0.0],
        [-0.0, -0.0, -0.0, -0.0],
        [-inf, -1.0, inf, 0.0],
        [-inf, -inf, -inf, -inf],
        [5e-8, -5e-8, -3.0, 4.0],
        [nan, -nan, nan, nan],
    ]
    for turn in range(P):
        columns = np.array([np.roll((case * P)[:P], turn) for case in cases])
        out = W.allreduce(torch.tensor(columns[:, RANK]).to(dtype), op)
        rows = torch.tensor(columns).to(dtype).double().numpy()
        # NumPy does not order zeros: shift them by the sign bit.
        keys = rows + np.where(np.signbit(rows), -1e-300, 1e-300) * (rows == 0)
        expected = keys.max(1) if op == "max" else keys.min(1)
        got = out.double().numpy()
        np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
        fine = ~np.isnan(expected)
        np.testing.assert_array_equal(
            got[fine], np.where(abs(expected) > 1e-200, expected, 0)[fine]
        )
        if P > 1:
            np.testing.assert_array_equal(np.signbit(got[fine]), np.signbit(expected[fine]))
        assert same_bits_everywhere(out)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_half_precision_is_rounded_once(dtype):
    small = torch.finfo(dtype).eps / 4
    parts = [torch.tensor([1.0 if r == 0 else small], dtype=dtype) for r in range(P)]
    parts = [torch.cat([part, torch.tensor([300.0], dtype=dtype)]) for part in parts]
    out = W.allreduce(parts[RANK], "sum")
    expected = torch.stack([part.float() for part in parts]).sum(0).to(dtype)
    assert torch.equal(out, expected)
    factors = [torch.tensor([1.0 + (r % 2) * 4 * small], dtype=dtype) for r in range(P)]
    expected = torch.stack([f.float() for f in factors]).prod(0).to(dtype)
    assert torch.equal(W.allreduce(factors[RANK], "prod"), expected)


@pytest.mark.parametrize("op", ["sum", "prod"])
@pytest.mark.parametrize("dtype", [*FLOATS, *COMPLEX], ids=str)
def test_results_have_the_same_bits_on_all_ranks(op, dtype):
    generator = torch.Generator().manual_seed(RANK)
    real = torch.complex64 if dtype in HALVES else dtype
    for n in (1, 10, 5000):
        t = torch.randn(n, dtype=real if dtype.is_complex else torch.float64, generator=generator)
        assert same_bits_everywhere(W.allreduce(t.to(dtype), op))


@pytest.mark.filterwarnings("ignore:ComplexHalf")
def test_unknown_reductions():
    with pytest.raises(ValueError, match="allreduce: op is 'mean'; expected one of 'sum'"):
        W.allreduce(torch.zeros(2), "mean")
    with pytest.raises(TypeError, match=r"not defined for torch\.complex32: cast to one of int8"):
        W.allreduce(torch.zeros(2, dtype=torch.complex64).to(torch.complex32))


# ---------------------------------------------------------------- moving data


@pytest.mark.filterwarnings("ignore:ComplexHalf")
@pytest.mark.parametrize("dtype", [*DTYPES, torch.complex32], ids=str)
def test_bcast(dtype, way):
    for root in range(P):
        for shape in SHAPES:
            complex32 = dtype is torch.complex32
            plain = torch.complex64 if complex32 else dtype
            expected = values(root, shape, plain)
            t = to_torch(expected, plain).to(dtype)
            if root != RANK:
                t = torch.zeros_like(t)
            out = W.bcast(t, root)
            assert out.dtype is dtype
            check(out.to(plain), expected, plain)
            if root == RANK and t.numel():
                assert out.data_ptr() != t.data_ptr()


@pytest.mark.parametrize("dtype", [torch.uint16, torch.float64, torch.complex64], ids=str)
def test_bcast_of_views(dtype):
    expected = values(P - 1, (4, 3), dtype)
    for mine, other in zip(
        views(to_torch(expected, dtype)),
        views(torch.zeros(4, 3, dtype=dtype)),
        strict=True,
    ):
        check(W.bcast(mine if RANK == P - 1 else other, P - 1), expected, dtype)


def test_bcast_fills_the_tensor_of_the_receivers():
    t = torch.full((3,), float(RANK))
    out = W.bcast(t, P - 1)
    assert out.tolist() == [P - 1.0] * 3
    assert (out is t) == (RANK != P - 1)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_allgatherv(dtype, way):
    for counts in ([2] * P, list(range(P)), [5] + [0] * (P - 1), [0] * P):
        for rest in ((), (3,), (0,), (2, 2)):
            parts = [values(r, (n, *rest), dtype) for r, n in enumerate(counts)]
            out = W.allgatherv(to_torch(parts[RANK], dtype), counts)
            check(out, np.concatenate(parts), dtype)
    counts = [r + 2 for r in range(P)]
    parts = [values(r, (n, 3), dtype) for r, n in enumerate(counts)]
    for t in views(to_torch(parts[RANK], dtype)):
        check(W.allgatherv(t, tuple(counts)), np.concatenate(parts), dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_alltoallv(dtype, way):
    for count in (
        lambda s, d: 2,
        lambda s, d: (s + 2 * d) % 3,
        lambda s, d: 4 * (s == 0),
        lambda s, d: 0,
    ):
        sends = [[count(s, d) for d in range(P)] for s in range(P)]
        parts = [values(s, (sum(sends[s]),), dtype) for s in range(P)]
        blocks = [np.split(parts[s], np.cumsum(sends[s])[:-1])[RANK] for s in range(P)]
        receives = [sends[s][RANK] for s in range(P)]
        mine = to_torch(parts[RANK], dtype)
        check(W.alltoallv(mine, sends[RANK], receives), np.concatenate(blocks), dtype)
    column = torch.zeros(P, 2, dtype=dtype)
    column[:, 1] = torch.tensor(RANK % 2, dtype=dtype)
    out = W.alltoallv(column[:, 1], [1] * P, [1] * P)
    check(out, np.arange(P) % 2, dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_exchange_with_some_ranks(dtype, way):
    for count in (
        lambda s, d: (d == s + 1) * (s + 1),  # the next rank
        lambda s, d: (s != d) * ((s + 2 * d) % 3),
        lambda s, d: 3 * (s == 0 and d > 0),
        lambda s, d: 0,
    ):
        sizes = [[count(s, d) for d in range(P)] for s in range(P)]
        parts = [values(s, (sum(sizes[s]),), dtype) for s in range(P)]
        blocks = [np.split(parts[s], np.cumsum(sizes[s])[:-1])[RANK] for s in range(P)]
        sends = tuple((d, n) for d, n in enumerate(sizes[RANK]) if n)
        receives = tuple((s, sizes[s][RANK]) for s in range(P) if sizes[s][RANK])
        mine = to_torch(parts[RANK], dtype)
        check(W.exchange(mine, sends, receives), np.concatenate(blocks), dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_sendrecv_round_the_ring(dtype, way):
    for step in (1, P - 1):
        dest, source = (RANK + step) % P, (RANK - step) % P
        parts = [values(r, (r + 1, 2), dtype) for r in range(P)]
        mine = to_torch(parts[RANK], dtype)
        out = W.sendrecv(mine, dest, source, (source + 1, 2))
        check(out, parts[source], dtype)


def test_sendrecv_on_a_line(way):
    after = RANK + 1 if RANK + 1 < P else None
    before = RANK - 1 if RANK else None
    shape = (0 if before is None else before,)
    out = W.sendrecv(torch.full((RANK,), float(RANK)), after, before, shape)
    assert out.tolist() == [shape[0]] * shape[0]
    halo = W.sendrecv(torch.full((2, 2), RANK + 1.0), after, before, (2, 2))
    assert halo.tolist() == [[RANK, RANK]] * 2  # zeros on rank 0: no source


def test_wrong_counts_raise():
    with pytest.raises(ValueError, match="allgatherv"):
        W.allgatherv(torch.zeros(3), [2] * P)
    with pytest.raises(ValueError, match="allgatherv"):
        W.allgatherv(torch.tensor(3.0), [1] * P)
    with pytest.raises(ValueError, match="reduce_scatter"):
        W.reduce_scatter(torch.zeros(3), [2] * P)
    with pytest.raises(ValueError, match="alltoallv"):
        W.alltoallv(torch.zeros(3), [2] * P, [2] * P)
    with pytest.raises(ValueError, match="exchange"):
        W.exchange(torch.zeros(3), (((RANK + 1) % P, 2),), (((RANK - 1) % P, 2),))


def test_no_autograd_history():
    t = torch.ones(3, requires_grad=True)
    if P > 1:
        assert not W.allreduce(t).requires_grad
        assert not W.allgatherv(t, [3] * P).requires_grad


def test_staging_reuses_its_buffers():
    staging = _buffers.Staging(pinned=False)
    t = torch.arange(6.0).view(2, 3)
    first = staging.send(t.t())
    assert first.is_contiguous()
    assert torch.equal(first, t.t())
    second = staging.send(torch.ones(4, dtype=torch.int16))
    assert second.data_ptr() == first.data_ptr()
    big = staging.buffer("send", (5000,), torch.float64)
    assert big.shape == (5000,)
    assert staging.buffer("receive", (0,), torch.float64).shape == (0,)
    assert staging.buffer("receive", (), torch.uint16).shape == ()


def test_staging_keeps_no_large_buffers(monkeypatch):
    monkeypatch.setattr(_buffers, "MOST_KEPT", 1 << 13)
    staging = _buffers.Staging(pinned=False)
    small = staging.buffer("send", (1 << 13,), torch.uint8)
    assert staging.buffer("send", (1 << 15,), torch.uint8).shape == (1 << 15,)
    assert [pool.numel() for pool in staging.pools.values()] == [1 << 13]
    assert staging.buffer("send", (5,), torch.uint8).data_ptr() == small.data_ptr()


# ---------------------------------------------------------------- metadata


def test_metadata():
    assert W.allgather_ints((RANK, -7, 2**40)).tolist() == [[r, -7, 2**40] for r in range(P)]
    assert W.allgather_ints(()).shape == (P, 0)
    assert W.allgather_object({"rank": RANK}) == [{"rank": r} for r in range(P)]
    with _trace.trace() as t:
        assert W.allgather_object(RANK, patient=True) == list(range(P))
    assert t.collectives == ["allgather_object"] * (P > 1)
    assert W.bcast_object(f"from {RANK}", P - 1) == f"from {P - 1}"
    W.barrier()
    assert W.rank == MPI.COMM_WORLD.rank
    assert W.size == MPI.COMM_WORLD.size
    assert 0 <= W.node_rank < W.node_size <= P


def test_patient_ranks_leave_the_cores_to_others():
    W.barrier()
    started, worked = time.perf_counter(), time.process_time()
    if RANK == 0:
        time.sleep(0.3)
    W.allgather_object(RANK, patient=True)
    waited, worked = time.perf_counter() - started, time.process_time() - worked
    assert worked < waited / 2


# ---------------------------------------------------------------- communicators


def test_identity_and_copies():
    assert world() is W
    assert as_communicator("test", None) is W
    assert as_communicator("test", W) is W
    assert as_communicator("test", MPI.COMM_WORLD) is W
    assert copy.copy(W) is W
    assert copy.deepcopy([W])[0] is W
    assert pickle.loads(pickle.dumps(W)) is W
    assert hash(W) == hash(W)
    assert f"rank {RANK} of {P}" in repr(W)


def test_split():
    halves = W.split(RANK % 2)
    members = [r for r in range(P) if r % 2 == RANK % 2]
    assert (halves.rank, halves.size) == (members.index(RANK), len(members))
    assert halves != W
    assert (halves.node_rank, halves.node_size) == (W.node_rank, W.node_size)
    t = torch.tensor([float(RANK)])
    assert halves.allreduce(t).item() == sum(members)
    assert halves.allgatherv(t, [1] * len(members)).tolist() == members
    backwards = W.split(0, key=-RANK)
    assert backwards.rank == P - 1 - RANK
    assert copy.deepcopy(halves) is halves
    with pytest.raises(TypeError, match="from_local"):
        pickle.dumps(halves)
    with pytest.raises(ValueError, match="color is -1"):
        W.split(-1)


def test_communicators_of_mpi4py():
    theirs = MPI.COMM_WORLD.Split(0, -RANK)
    mine = as_communicator("test", theirs)
    assert as_communicator("test", theirs) is mine
    assert (mine.rank, mine.size) == (P - 1 - RANK, P)
    assert mine.mpi != theirs
    other = MPI.COMM_WORLD.Dup()
    assert as_communicator("test", other) is not mine
    theirs.Free()
    assert mine.allgather_ints((RANK,)).tolist() == [[P - 1 - r] for r in range(P)]
    assert as_communicator("test", MPI.COMM_SELF).size == 1
    for wrong in (MPI.COMM_NULL, "world", 3):
        with pytest.raises(TypeError, match="expected a Communicator"):
            as_communicator("test", wrong)


def test_a_communicator_of_mpi4py_is_adopted_again_after_free():
    theirs = MPI.COMM_WORLD.Dup()
    first = as_communicator("test", theirs)
    first.free()
    again = as_communicator("test", theirs)
    assert again is not first
    assert [row[0] for row in again.allgather_ints((RANK,))] == list(range(P))
    again.free()
    theirs.Free()


def test_more_ranks_than_colors():
    alone = W.split(RANK)
    assert alone.size == 1
    t = torch.arange(3.0)
    with _trace.trace() as trace:
        out = alone.allreduce(t)
        alone.barrier()
    assert torch.equal(out, t)
    assert out.data_ptr() != t.data_ptr()
    assert not trace.events


# ---------------------------------------------------------------- debug mode


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Communicator]:
    """Return a communicator of all ranks in debug mode."""
    monkeypatch.setattr(_comm, "DEBUG", True)
    with Communicator(W.transport.duplicate()) as comm:
        assert comm.size == 1 or comm._checker is not None
        yield comm


def test_debug_mode_lets_matching_calls_pass(checked):
    t = torch.arange(float(P))
    checked.allreduce(t)
    checked.reduce_scatter(t, [1] * P)
    checked.exscan(t)
    checked.bcast(t, 0)
    checked.allgatherv(t[:RANK], list(range(P)))
    checked.alltoallv(t, [1] * P, [1] * P)
    checked.sendrecv(t, (RANK + 1) % P, (RANK - 1) % P, (P,))
    checked.allgather_ints((1, 2))
    checked.allgather_object(RANK)
    checked.bcast_object(RANK)
    checked.barrier()
    checked.split(RANK % 2)


@several
def test_debug_mode_names_ranks_calls_and_lines(checked):
    t = torch.zeros(3)
    with pytest.raises(CollectiveMismatchError) as caught:
        checked.allreduce(t) if RANK == 0 else checked.bcast(t, 0)
    text = str(caught.value)
    assert "rank 0: allreduce: allreduce sum torch.float32 (3,)" in text
    assert "bcast" in text
    assert f"at {__file__}:" in text


@several
@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("shape", lambda c: c.allreduce(torch.zeros(3 + RANK))),
        ("dtype", lambda c: c.allreduce(torch.zeros(3, dtype=FLOATS[2 + RANK % 2]))),
        ("op", lambda c: c.allreduce(torch.zeros(3), "max" if RANK else "sum")),
        ("root", lambda c: c.bcast(torch.zeros(3), min(RANK, 1))),
        ("counts", lambda c: c.allgatherv(torch.zeros(1), [1, *[1 + RANK] * (P - 1)][::-1])),
        ("blocks", lambda c: c.alltoallv(torch.zeros(P * (RANK + 1)), [RANK + 1] * P, [1] * P)),
        ("neighbours", lambda c: c.sendrecv(torch.zeros(2), (RANK + 1) % P, None, (2,))),
        ("ints", lambda c: c.allgather_ints([1] * (RANK + 1))),
    ],
)
def test_debug_mode_finds(name, call, checked):
    if name == "counts" and RANK != 0:
        call = lambda c: c.allgatherv(torch.zeros(2), [2] * P)  # noqa: E731
    if name == "counts" and RANK == 0:
        call = lambda c: c.allgatherv(torch.zeros(1), [1] * P)  # noqa: E731
    with pytest.raises(CollectiveMismatchError):
        call(checked)
    checked.barrier()  # all ranks are still in step


@several
def test_debug_mode_waits_for_a_limited_time(monkeypatch):
    monkeypatch.setattr("heat_array_api._comm.debug.TIMEOUT", 0.05)
    checker = Checker(W.transport.duplicate())
    if RANK == 0:
        with pytest.raises(CollectiveMismatchError, match=r"not come .* rank 0 is there:\s+sum"):
            checker.check(Call("sum", "allreduce", "here:1"))
    MPI.COMM_WORLD.barrier()


@several
def test_debug_mode_finds_an_early_end(monkeypatch, capsys):
    monkeypatch.setattr("heat_array_api._comm.debug.time.sleep", lambda seconds: None)
    checker = Checker(W.transport.duplicate())
    ended = []
    if RANK == 0:
        checker.end_of_program(ended.append)
        assert ended == [1]
        assert "end of the program" in capsys.readouterr().err
    else:
        with pytest.raises(CollectiveMismatchError, match="end of the program"):
            checker.check(Call("sum", "allreduce", "here:1"))
    checker.end_of_program(ended.append)
    assert len(ended) == (RANK == 0)


# ---------------------------------------------------------------- big counts


@nightly
@several
def test_counts_above_two_to_the_31():
    n = 2**31 + 8
    t = torch.full((n,), 7 if RANK == 0 else 0, dtype=torch.uint8)
    t[-1] = 9
    out = W.bcast(t, 0)
    assert out[-1] == 9
    assert out[: n - 1].min() == out[: n - 1].max() == 7
