"""Factorisations, systems, inverses and determinants against NumPy, on all layouts."""

from __future__ import annotations

import math

import numpy as np
import pytest

import heat_array_api as xp
from heat_array_api._core.layout import Layout
from heat_array_api.linalg import _batched, _block_cyclic
from layouts import assert_equal, layouts, make

linalg = xp.linalg

DTYPES = ("float32", "float64", "complex64", "complex128")
SQUARES = [(5, 5), (1, 1), (2, 2), (11, 11), (0, 0)]
STACKS = [(3, 4, 4), (7, 3, 3), (2, 2, 3, 3), (0, 3, 3), (2, 0, 0)]
RECTANGLES = [(9, 2), (2, 9), (6, 4), (4, 6), (17, 1), (1, 17), (13, 3), (3, 0), (0, 3)]
RECTANGULAR_STACKS = [(3, 5, 2), (5, 2, 3), (2, 3, 4, 2), (0, 4, 2), (2, 3, 0)]
NARROW = (2, 3)


@pytest.fixture(params=[None, NARROW], ids=["one-panel", "many-panels"])
def widths(request, monkeypatch):
    """Panels of the usual width, into which a small matrix fits, and narrow ones."""
    if request.param is not None:
        monkeypatch.setattr(_block_cyclic, "WIDTHS", request.param)


def matrices(shape, dtype="float64", seed=0):
    rng = np.random.default_rng([seed, *shape])
    values = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        values = values + 1j * rng.standard_normal(shape)
    return values.astype(dtype)


def hermitian(shape, dtype="float64", seed=0):
    x = matrices(shape, dtype, seed)
    return (x + np.conj(np.swapaxes(x, -1, -2))).astype(dtype)


def positive(shape, dtype="float64", seed=0):
    x = matrices(shape, dtype, seed)
    n = shape[-1]
    return (x @ np.conj(np.swapaxes(x, -1, -2)) + n * np.eye(n)).astype(dtype)


def regular(shape, dtype="float64", seed=0):
    """Matrices that are far from singular but need row exchanges."""
    return (matrices(shape, dtype, seed) + 4 * np.eye(shape[-1])[::-1]).astype(dtype)


def tolerance(dtype, factor=100):
    return factor * float(np.finfo(dtype).eps)


def phases_of(values):
    size = np.abs(values)
    return np.where(size == 0, 1, values / np.where(size == 0, 1, size))


def canonical_qr(values, mode="reduced"):
    q, r = np.linalg.qr(values, mode=mode)
    phases = phases_of(np.diagonal(r, axis1=-2, axis2=-1))
    k = phases.shape[-1]
    q[..., :k] *= phases[..., None, :]
    r[..., :k, :] *= np.conj(phases)[..., :, None]
    return q, r


def adjoint(x):
    return xp.matrix_transpose(xp.conj(x) if x.dtype.kind == "c" else x)


# ---------------------------------------------------------------------- Cholesky


@pytest.mark.parametrize("shape", SQUARES + STACKS, ids=str)
def test_cholesky(shape, widths):
    values = positive(shape)
    expected = np.linalg.cholesky(values)
    for layout in layouts(shape):
        x = make(values, layout)
        lower = linalg.cholesky(x)
        assert_equal(lower, expected)
        if len(shape) == 2:
            assert lower.layout == layout
        assert_equal(linalg.cholesky(x, upper=True), np.swapaxes(expected, -1, -2))
        assert_equal(x, values)


@pytest.mark.parametrize("dtype", DTYPES)
def test_cholesky_dtypes(dtype, widths):
    values = positive((7, 7), dtype)
    expected = np.linalg.cholesky(values)
    for layout in layouts((7, 7), few=True):
        assert_equal(linalg.cholesky(make(values, layout)), expected)
        upper = linalg.cholesky(make(values, layout), upper=True)
        assert_equal(upper, np.conj(expected.T))


def test_cholesky_reads_the_lower_triangle(widths):
    values = positive((6, 6))
    spoilt = np.tril(values) + np.triu(np.full((6, 6), 99.0), 1)
    for layout in layouts((6, 6), few=True):
        assert_equal(linalg.cholesky(make(spoilt, layout)), np.linalg.cholesky(values))


def test_not_positive_definite_raises_on_all_ranks(widths):
    values = positive((6, 6))
    values[4, 4] = -1.0
    stack = np.stack([positive((3, 3), seed=i) for i in range(5)])
    stack[3] = -stack[3]
    for bad in (values, stack, np.full((3, 3), np.nan)):
        for layout in layouts(bad.shape, few=True):
            with pytest.raises(np.linalg.LinAlgError, match=r"^cholesky: "):
                linalg.cholesky(make(bad, layout))


# ---------------------------------------------------------------------- QR


@pytest.mark.parametrize("shape", SQUARES + STACKS + RECTANGLES + RECTANGULAR_STACKS, ids=str)
@pytest.mark.parametrize("mode", ["reduced", "complete"])
def test_qr(shape, mode, widths):
    values = matrices(shape)
    expected = canonical_qr(values, mode)
    k = min(shape[-2:])
    for layout in layouts(shape):
        q, r = linalg.qr(make(values, layout), mode=mode)
        assert_equal(r, expected[1], atol=tolerance("float64") * max(shape, default=1))
        assert_equal(q[..., :k], expected[0][..., :k], atol=1e-11)
        assert q.shape == expected[0].shape
        eye = np.broadcast_to(np.eye(q.shape[-1]), (*shape[:-2], q.shape[-1], q.shape[-1]))
        assert_equal(xp.matmul(xp.matrix_transpose(q), q), eye, atol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(13, 3), (6, 5), (4, 9)], ids=str)
def test_qr_dtypes(dtype, shape, widths):
    values = matrices(shape, dtype)
    expected = canonical_qr(values)
    for layout in layouts(shape, few=True):
        result = linalg.qr(make(values, layout))
        assert_equal(result.R, expected[1].astype(dtype), atol=tolerance(dtype, 200))
        assert_equal(result.Q, expected[0].astype(dtype), atol=tolerance(dtype, 500))


@pytest.mark.parametrize("shape", [(30, 4), (9, 6), (5, 8)], ids=str)
def test_qr_of_rank_deficient_matrices_is_orthogonal(shape, widths):
    values = np.outer(np.arange(shape[0]), np.arange(1.0, shape[1] + 1))
    values[:, 1] = 0
    for layout in layouts(shape, few=True):
        for x in (values, np.zeros(shape)):
            q, r = linalg.qr(make(x, layout))
            assert_equal(xp.matmul(xp.matrix_transpose(q), q), np.eye(min(shape)), atol=1e-13)
            assert_equal(xp.matmul(q, r), x, atol=1e-11)


def test_tall_qr_is_tsqr(comm):
    m, n = 50 * comm.size, 4
    values = matrices((m, n))
    for layout in layouts((m, n), few=True):
        if layout.split != 0:
            continue
        with xp.trace() as t:
            q, r = linalg.qr(make(values, layout))
        assert q.layout == layout
        assert r.split is None
        rounds = comm.size.bit_length() - 1
        folds = 2 if comm.size & (comm.size - 1) else 0
        if comm.size > 1:
            assert t.count("sendrecv") == rounds + folds
            assert t.count("bcast") == 1
            assert t.count() == rounds + folds + 1
            assert t.bytes() <= (rounds + 4) * n * n * 8


def deficient(m, n):
    """Return matrices of less than full column rank, by name."""
    rng = np.random.default_rng(0)
    constant = np.full((m, n), 3.0)
    rank_one = rng.standard_normal((m, 1)) @ rng.standard_normal((1, n))
    last = rng.standard_normal((m, n))
    last[: m // 2] = 0
    last[:, -1] = last[:, 0]
    return {
        "zero": np.zeros((m, n)),
        "constant": constant,
        "centred": constant - constant.mean(axis=0),
        "rank one": rank_one,
        "complex": rank_one * (1 + 2j),
        "columns alike": last,
    }


@pytest.mark.parametrize("name", sorted(deficient(4, 2)))
def test_ranks_of_fewer_rows_than_columns(comm, name):
    """Such a rank once filled its R with zeros, and columns of Q lay in rows that are not there."""
    n = 3
    m = 2 * n * comm.size
    values = deficient(m, n)[name]
    first = [m, *[0] * (comm.size - 1)]
    steps = [i if i < comm.size - 1 else m - sum(range(comm.size - 1)) for i in range(comm.size)]
    counts = [first, first[::-1], steps, steps[::-1], [m // comm.size] * comm.size]
    for each in counts:
        begin = sum(each[: comm.rank])
        x = xp.from_local(values[begin : begin + each[comm.rank]], split=0)
        q, r = linalg.qr(x)
        eye = np.eye(n, dtype=values.dtype)
        assert_equal(xp.matmul(adjoint(q), q), eye, atol=1e-13)
        assert_equal(xp.matmul(q, r), values, atol=1e-12)
        assert_equal(linalg.matrix_rank(x), np.linalg.matrix_rank(values))
        assert_equal(linalg.pinv(x), np.linalg.pinv(values), atol=1e-12)
        assert_equal(linalg.svdvals(x), np.linalg.svd(values).S, atol=1e-12)
        for matrix in (x, adjoint(x)):
            u, s, vh = linalg.svd(matrix, full_matrices=False)
            assert_equal(xp.matmul(adjoint(u), u), eye, atol=1e-13)
            assert_equal(xp.matmul(vh, adjoint(vh)), eye, atol=1e-13)
            assert_equal(xp.matmul(u * s, vh), np.asarray(matrix), atol=1e-12)


# ---------------------------------------------------------------------- singular values


def check_svd(values, layout, full, dtype="float64"):
    x = make(values, layout)
    u, s, vh = linalg.svd(x, full_matrices=full)
    expected = np.linalg.svd(values, full_matrices=full)
    k = expected.S.shape[-1]
    small = tolerance(dtype, 300)
    assert_equal(s, expected.S, atol=small)
    assert (u.shape, vh.shape) == (expected.U.shape, expected.Vh.shape)
    product = xp.matmul(u[..., :k] * xp.expand_dims(s, axis=-2), vh[..., :k, :])
    assert_equal(product, values, atol=small * max(1, k))
    for factor in (xp.matmul(adjoint(u), u), xp.matmul(vh, adjoint(vh))):
        eye = np.broadcast_to(np.eye(factor.shape[-1], dtype=values.dtype), factor.shape)
        assert_equal(factor, eye, atol=small)
    assert_equal(linalg.svdvals(x), expected.S, atol=small)
    return np.asarray(u[..., :k]), np.asarray(vh[..., :k, :])


@pytest.mark.parametrize("shape", SQUARES + STACKS + RECTANGLES + RECTANGULAR_STACKS, ids=str)
@pytest.mark.parametrize("full", [True, False], ids=["full", "reduced"])
def test_svd(shape, full, widths):
    values = matrices(shape)
    first = None
    for layout in layouts(shape, few=True):
        vectors = check_svd(values, layout, full)
        first = first or vectors
        for one, other in zip(vectors, first, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-10)  # unique, whatever the layout


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(13, 3), (5, 5), (3, 8)], ids=str)
def test_svd_dtypes(dtype, shape):
    for layout in layouts(shape, few=True):
        check_svd(matrices(shape, dtype), layout, False, dtype)


def test_svd_of_a_tall_matrix_gathers_nothing(comm):
    m, n = 64 * comm.size, 3
    x = make(matrices((m, n)), Layout.balanced((m, n), 0, comm))
    for function in (linalg.svdvals, lambda y: linalg.svd(y, full_matrices=False), linalg.pinv):
        with xp.trace() as t:
            function(x)
        assert t.count("allgather") == t.count("alltoall") == t.count("exchange") == 0
        assert t.bytes() <= 4096
    u, s, vh = linalg.svd(x, full_matrices=False)
    assert (u.split, s.split, vh.split) == (0, None, None)
    assert linalg.pinv(x).split == 1


def test_svd_of_nan_raises_on_all_ranks():
    for shape in ((6, 6), (40, 2), (5, 3, 3)):
        values = matrices(shape)
        values[(4, *[1] * (len(shape) - 1))] = np.nan
        for layout in layouts(shape, few=True):
            for function in (linalg.svd, linalg.svdvals):
                with pytest.raises(np.linalg.LinAlgError):
                    function(make(values, layout))


# ---------------------------------------------------------------------- eigenvalues


@pytest.mark.parametrize("shape", SQUARES + STACKS, ids=str)
def test_eigh(shape):
    values = hermitian(shape)
    expected = np.linalg.eigvalsh(values)
    for layout in layouts(shape):
        x = make(values, layout)
        w, v = linalg.eigh(x)
        assert_equal(w, expected, atol=1e-12)
        assert_equal(linalg.eigvalsh(x), expected, atol=1e-12)
        assert_equal(xp.matmul(x, v), np.asarray(v) * np.asarray(w)[..., None, :], atol=1e-12)
        if len(shape) == 2:
            assert v.layout == layout


@pytest.mark.parametrize("dtype", DTYPES)
def test_eigh_dtypes(dtype):
    values = hermitian((6, 6), dtype)
    vectors = None
    for layout in layouts((6, 6), few=True):
        result = linalg.eigh(make(values, layout))
        assert_equal(result.eigenvalues, np.linalg.eigvalsh(values), atol=tolerance(dtype))
        vectors = np.asarray(result.eigenvectors) if vectors is None else vectors
        assert_equal(result.eigenvectors, vectors, atol=tolerance(dtype, 200))


@pytest.mark.parametrize("shape", SQUARES + STACKS, ids=str)
def test_eig(shape):
    values = matrices(shape)
    expected = np.sort_complex(np.linalg.eigvals(values).astype("complex128"))
    for layout in layouts(shape, few=True):
        x = make(values, layout)
        w, v = linalg.eig(x)
        assert w.dtype == v.dtype == xp.complex128
        for computed in (w, linalg.eigvals(x)):
            np.testing.assert_allclose(np.sort_complex(np.asarray(computed)), expected, atol=1e-11)
        right = np.asarray(v) * np.asarray(w)[..., None, :]
        assert_equal(xp.matmul(xp.astype(x, "complex128"), v), right, atol=1e-11)


@pytest.mark.parametrize("dtype", DTYPES)
def test_eig_dtypes(dtype):
    values = matrices((5, 5), dtype)
    wide = "complex64" if np.dtype(dtype).itemsize == 4 or dtype == "complex64" else "complex128"
    for layout in layouts((5, 5), few=True):
        x = make(values, layout)
        w, v = linalg.eig(x)
        assert w.dtype == v.dtype == linalg.eigvals(x).dtype == np.dtype(wide)
        right = (np.asarray(v) * np.asarray(w)[None, :]).astype(wide)
        assert_equal(xp.matmul(xp.astype(x, wide), v), right, atol=tolerance(wide, 200))


# ---------------------------------------------------------------------- systems


@pytest.mark.parametrize("shape", SQUARES + STACKS, ids=str)
def test_inv(shape, widths):
    values = regular(shape)
    expected = np.linalg.inv(values)
    for layout in layouts(shape):
        result = linalg.inv(make(values, layout))
        assert_equal(result, expected, atol=1e-12)
        if len(shape) == 2:
            assert result.layout == layout


@pytest.mark.parametrize("shape", SQUARES + STACKS, ids=str)
def test_det_and_slogdet(shape, widths):
    values = regular(shape)
    for layout in layouts(shape):
        x = make(values, layout)
        assert_equal(linalg.det(x), np.linalg.det(values), rtol=1e-12)
        assert_equal(tuple(linalg.slogdet(x)), tuple(np.linalg.slogdet(values)), rtol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
def test_inv_and_det_dtypes(dtype, widths):
    values = regular((7, 7), dtype)
    for layout in layouts((7, 7), few=True):
        x = make(values, layout)
        small = tolerance(dtype, 300)
        assert_equal(linalg.inv(x), np.linalg.inv(values), atol=small)
        assert_equal(linalg.det(x), np.linalg.det(values), rtol=small)
        sign, logabsdet = linalg.slogdet(x)
        expected = np.linalg.slogdet(values)
        assert_equal(sign, expected.sign, rtol=small, atol=small)
        assert_equal(logabsdet, expected.logabsdet, rtol=small)


def test_singular_matrices(widths):
    values = matrices((6, 6))
    values[:, 3] = 0
    stack = np.stack([regular((3, 3), seed=i) for i in range(5)])
    stack[2] = 0
    for bad in (values, stack):
        for layout in layouts(bad.shape, few=True):
            x = make(bad, layout)
            with pytest.raises(np.linalg.LinAlgError, match=r"^inv: "):
                linalg.inv(x)
            with pytest.raises(np.linalg.LinAlgError, match=r"^solve: "):
                linalg.solve(x, xp.ones(bad.shape))
            assert_equal(linalg.det(x), np.linalg.det(bad), rtol=1e-12)
            assert_equal(tuple(linalg.slogdet(x)), tuple(np.linalg.slogdet(bad)), rtol=1e-12)


SYSTEMS = [
    ((5, 5), (5, 3)),
    ((5, 5), (5, 1)),
    ((7, 7), (7, 9)),
    ((5, 5), (5,)),
    ((1, 1), (1, 4)),
    ((3, 4, 4), (3, 4, 2)),
    ((3, 4, 4), (4, 2)),
    ((4, 4), (5, 4, 2)),
    ((3, 4, 4), (4,)),
    ((2, 1, 3, 3), (5, 3, 2)),
    ((3, 3), (0, 3, 2)),
    ((0, 0), (0, 3)),
    ((4, 4), (4, 0)),
]


@pytest.mark.parametrize(("shape", "right"), SYSTEMS, ids=str)
def test_solve(shape, right, widths):
    a, b = regular(shape), matrices(right, seed=1)
    expected = np.linalg.solve(a, b)
    for layout in layouts(shape, few=True):
        for other in layouts(right, few=True):
            result = linalg.solve(make(a, layout), make(b, other))
            assert_equal(result, expected, atol=1e-12)
            if len(shape) == len(right) == 2 and other.split is not None:
                assert result.layout == other


@pytest.mark.parametrize("dtypes", [("float32", "float64"), ("complex64", "float32"), DTYPES[2:]])
def test_solve_dtypes(dtypes, widths):
    a, b = regular((6, 6), dtypes[0]), matrices((6, 5), dtypes[1], seed=1)
    expected = np.linalg.solve(a, b)
    for layout in layouts((6, 6), few=True):
        for other in layouts((6, 5), few=True):
            result = linalg.solve(make(a, layout), make(b, other))
            assert_equal(result, expected, atol=tolerance(dtypes[0], 100))


# ---------------------------------------------------------------------- what is sent


def test_panels_move_no_more_than_the_matrix(comm):
    """Dealing out, the panels' broadcasts and the way back: a few words for each of the result."""
    n = 48 * comm.size
    nbytes = 8 * n * n
    values = positive((n, n))
    x = make(values, Layout.balanced((n, n), 0, comm))
    b = make(matrices((n, 2 * comm.size)), Layout.balanced((n, 2 * comm.size), 0, comm))
    for function in (
        lambda: linalg.cholesky(x),
        lambda: linalg.inv(x),
        lambda: linalg.det(x),
        lambda: linalg.solve(x, b),
        lambda: linalg.qr(x),
    ):
        with xp.trace() as t:
            function()
        assert t.count("allgather") == 0
        broadcast = t.bytes("bcast")  # counted on every rank: all panels
        assert broadcast <= 2.3 * nbytes
        assert t.bytes("alltoall") <= 3 * nbytes / comm.size
        width = _block_cyclic.panel_width(n, comm)
        assert max((e.bytes for e in t.events if e.collective == "bcast"), default=0) <= (
            8 * (n + 1) * width
        )


def test_stacks_stay_where_they_are(comm):
    x = make(positive((2 * comm.size, 3, 3)), Layout.balanced((2 * comm.size, 3, 3), 0, comm))
    for name in ("cholesky", "qr", "svd", "svdvals", "eigh", "eigvalsh", "eig", "inv", "det"):
        with xp.trace() as t:
            result = getattr(linalg, name)(x)
        for y in result if isinstance(result, tuple) else (result,):
            assert y.split == 0
        assert t.count() == t.count("allreduce") == (comm.size > 1)
        assert t.bytes() <= 8


def test_the_gathering_fallback_checks_memory(comm, monkeypatch):
    x = make(hermitian((8, 8)), Layout.balanced((8, 8), 0, comm))
    monkeypatch.setattr(_batched, "available_memory", lambda device: 100)
    if comm.size > 1:
        with pytest.raises(MemoryError, match=r"^eigh: factors a matrix of shape \(8, 8\)"):
            linalg.eigh(x)
    assert _batched.available_memory(x.local.device) == 100


# ---------------------------------------------------------------------- errors

SQUARE = ("cholesky", "det", "eig", "eigh", "eigvals", "eigvalsh", "inv", "slogdet")


@pytest.mark.parametrize(
    "name",
    [
        "cholesky",
        "det",
        "eig",
        "eigh",
        "eigvals",
        "eigvalsh",
        "inv",
        "slogdet",
        "qr",
        "svd",
        "svdvals",
    ],
)
def test_errors(name):
    function = getattr(linalg, name)
    with xp.trace() as t:
        with pytest.raises(ValueError, match=rf"^{name}: x has shape \(3,\); expected two axes"):
            function(xp.ones(3, split=0))
        if name in SQUARE:
            with pytest.raises(ValueError, match=rf"^{name}: x has .*; expected square"):
                function(xp.ones((3, 4), split=0))
        with pytest.raises(TypeError, match=f"^{name}: x has dtype float16; convert it"):
            function(xp.ones((3, 3), split=0, dtype="float16"))
        with pytest.raises(TypeError, match=f"^{name}: x is list"):
            function([[1.0]])
    assert t.events == []
    integers = make(np.asarray([[2, 1], [1, 3]]))
    first = function(integers)
    assert (first[0] if isinstance(first, tuple) else first).dtype in (xp.float64, xp.complex128)


def test_errors_of_kernels_name_the_called_function():
    """On all ranks, on the tape and off it: a composite's error is its own."""
    bad = np.full((8, 8), np.nan)
    for layout in layouts((8, 8), few=True):
        x = make(bad, layout)
        for name in ("svd", "svdvals", "pinv", "matrix_rank", "eig", "eigvalsh"):
            function = getattr(linalg, name)
            with pytest.raises(np.linalg.LinAlgError, match=f"^{name}: "):
                function(x)
        for name in ("svdvals", "eigvals", "eigvalsh"):
            loss = (lambda f: lambda x: xp.sum(xp.real(f(x))))(getattr(linalg, name))
            with pytest.raises(np.linalg.LinAlgError, match=f"^{name}: "):
                xp.autograd.grad(loss)(x)
        with pytest.raises(np.linalg.LinAlgError, match=r"^matrix_norm: "):
            linalg.matrix_norm(x, ord=2)
        with pytest.raises(np.linalg.LinAlgError, match=r"^matrix_power: "):
            linalg.matrix_power(make(np.zeros((8, 8)), layout), -1)


def test_errors_of_solve_and_qr():
    x = xp.ones((3, 3), split=0)
    with xp.trace() as t:
        for right, message in (
            (xp.ones((2, 2)), "solve: x1 has 3 rows but x2 has 2"),
            (xp.asarray(1.0), "solve: x2 is 0-d"),
        ):
            with pytest.raises(ValueError, match=message):
                linalg.solve(x, right)
        with pytest.raises(ValueError, match="solve: shapes"):
            linalg.solve(xp.ones((2, 3, 3)), xp.ones((5, 3, 1)))
        with pytest.raises(ValueError, match="qr: mode is 'r'"):
            linalg.qr(x, mode="r")
    assert t.events == []


def test_panels_of_other_widths_give_the_same(monkeypatch):
    values = regular((20, 20))
    expected = math.log(abs(np.linalg.det(values)))
    for widths in ((1, 1), (3, 3), (7, 7), (20, 20)):
        monkeypatch.setattr(_block_cyclic, "WIDTHS", widths)
        for layout in layouts((20, 20), few=True):
            assert_equal(linalg.slogdet(make(values, layout)).logabsdet, expected, rtol=1e-12)
