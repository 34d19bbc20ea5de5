"""Functions of an array of shape (5, 4), for tests of their derivatives."""

from __future__ import annotations

import numpy as np

import heat_array_api as xp

linalg = xp.linalg

SHAPE = (5, 4)
OTHER = np.random.default_rng(4).standard_normal(SHAPE)
FACTOR = np.random.default_rng(1).standard_normal((4, 5))
INDEX = np.asarray([0, 3, 3, 1])


def written(x):
    y = x * 1.0
    y[1:3] = x[2:4] * x[0]
    y[xp.asarray([4])] = x[1] ** 2
    y[:, 1][0:1] = 3.0
    return y * y


def masked_write(x):
    y = x * 1.0
    y[x > 0.5] = x[0, 0]
    y[0] = x[3]
    return y * y


def written_into_a_constant(x):
    y = xp.zeros(x.shape, split=0)
    y[2] = x[1] * x[3]
    y[:, 0] = x[:, 1]
    return y * (y + 1)


def in_place(x):
    y = x * x
    y += x[0]
    y *= 2.0
    y -= y * x
    return y * x


def written_rows(x):
    y = x * 1
    y[1] = y[0] ** 2
    y[:, 2] = 1.0
    y[3, :2] = x[0, :2]
    return y**2


def written_by_mask(x):
    y = x * 1
    y[other(x) > 0] = xp.linspace(0.0, 1.0, int((OTHER > 0).sum())) * xp.sum(x)
    return y**2


def ends_around_sums(x):
    """The sum's message matters to no row of the result on a rank with the end alone."""
    return xp.concat([x[:1], x[:-1] + x[1:], x[-1:]], axis=0)


def written_by_pairs(x):
    y = x * 1
    y[xp.asarray([0, 3]), xp.asarray([1, 2])] = x[1, :2] ** 2
    return y**2


def other(x):
    """Return a constant array of the same shape."""
    return xp.asarray(OTHER)


def stack(x):
    """Return a regular Hermitian matrix for each row."""
    return x[:, :, None] * xp.conj(x)[:, None, :] + xp.asarray(np.diag([3.0, 4.0, 5.0, 6.0]))


FUNCTIONS = {
    # elementwise
    "exp": xp.exp,
    "sin, tanh": lambda x: xp.sin(x) * xp.tanh(x),
    "divide": lambda x: x / (x * x + 1),
    "pow": lambda x: xp.abs(x) ** 1.5,
    "logaddexp": lambda x: xp.logaddexp(x, x * 2),
    "log1p": lambda x: xp.log1p(xp.abs(x)),
    "hypot, atan2": lambda x: xp.hypot(x, x + 1) + xp.atan2(x, x + 2),
    "maximum": lambda x: xp.maximum(x, -x),
    "clip": lambda x: xp.clip(x, -0.5, 0.5),
    "where": lambda x: xp.where(x > 0, x * x, xp.sin(x)),
    "sign": lambda x: xp.sign(x) * x,
    "complex": lambda x: xp.real(x * 1j + x) * xp.abs(x + 1j * x * x),
    "erf": xp.special.erf,
    "gammaln": lambda x: xp.special.gammaln(x * x + 1),
    "logsumexp": lambda x: xp.special.logsumexp(x, axis=0),
    "broadcast of a row": lambda x: x * x[0] + x[:, :1],
    "broadcast of a sum": lambda x: x / xp.sum(x * x, axis=0),
    "other counts": lambda x: x[:4] * x[1:] ** 2,
    "astype": lambda x: xp.astype(x, xp.complex128) ** 2,
    "copysign": lambda x: xp.copysign(x, other(x)),
    "remainder": lambda x: xp.remainder(x, 0.7) * x,
    "floor": lambda x: xp.floor(x) * x,
    "clip by arrays": lambda x: xp.clip(x, other(x) - 1, other(x) + 0.5) ** 2,
    "minimum of arrays": lambda x: xp.minimum(x, other(x) * x),
    "powers of a number": lambda x: 2.0**x,
    "number first": lambda x: (1 - x) * (3 / (x * x + 1)),
    "where with a number": lambda x: xp.where(other(x) > 0, x, 0.0) ** 2,
    "where with a sum": lambda x: xp.where(other(x) > 0, x, xp.sum(x)),
    "conj, imag": lambda x: xp.imag(xp.conj(x + 1j * x * x)) * x,
    "softmax": lambda x: xp.special.softmax(x, axis=0),
    "log_softmax": lambda x: xp.special.log_softmax(x, axis=0) ** 2,
    "expit": xp.special.expit,
    "xlogy": lambda x: xp.special.xlogy(x * x, x * x + 1),
    "ndtr": xp.special.ndtr,
    "entr": lambda x: xp.special.entr(x * x),
    # reductions
    "sum": lambda x: xp.sum(x * x),
    "sum 0": lambda x: xp.sum(x * x, axis=0),
    "sum 1": lambda x: xp.sum(x * x, axis=1, keepdims=True),
    "mean": lambda x: xp.mean(x**2, axis=0),
    "var": lambda x: xp.var(x, correction=1),
    "var 0": lambda x: xp.var(x, axis=0),
    "std": lambda x: xp.std(x, axis=0),
    "prod": xp.prod,
    "prod 0": lambda x: xp.prod(x, axis=0),
    "max": lambda x: xp.max(x, axis=0),
    "min": xp.min,
    "nansum": lambda x: xp.nansum(x * x, axis=0),
    "median": lambda x: xp.median(x, axis=0) ** 2,
    "cumulative_sum": lambda x: xp.cumulative_sum(x * x, axis=0),
    "cumulative_sum 1": lambda x: xp.cumulative_sum(x * x, axis=1, include_initial=True),
    "cumulative_prod": lambda x: xp.cumulative_prod(x, axis=0),
    "diff": lambda x: xp.diff(x**2, axis=0),
    "max of all": lambda x: xp.max(x) ** 2,
    "nanmean": lambda x: xp.nanmean(xp.where(x > 0, x, xp.nan), axis=0) ** 2,
    "nanmax": lambda x: xp.nanmax(x, axis=0),
    "nanvar": lambda x: xp.nanvar(x, axis=0),
    "nanstd": lambda x: xp.nanstd(x, axis=0),
    "std of equal numbers": lambda x: xp.std(x * 0 + 1, axis=0) + xp.sum(x**2, axis=0),
    "median of all": lambda x: xp.median(x) ** 2,
    "cumulative_prod 1": lambda x: xp.cumulative_prod(x, axis=1),
    "cumulative_prod from 1": lambda x: xp.cumulative_prod(x, axis=0, include_initial=True),
    "nanmedian": lambda x: xp.nanmedian(xp.where(x > 1, xp.nan, x), axis=0) ** 2,
    "quantile": lambda x: xp.quantile(x, 0.3, axis=0) ** 2,
    "quantile of all": lambda x: xp.quantile(x, [0.1, 0.7]) ** 2,
    "nanquantile": lambda x: xp.nanquantile(xp.where(x > 1, xp.nan, x), 0.4, axis=0) ** 2,
    "nancumsum": lambda x: xp.nancumsum(xp.where(x > 0, x * x, xp.nan), axis=0),
    "gradient": lambda x: xp.gradient(x**2, axis=0, edge_order=2),
    "gradient at places": lambda x: xp.gradient(x**2, np.cumsum(np.arange(1.0, 6.0)), axis=0),
    "ends around sums": lambda x: ends_around_sums(xp.diff(x**2, axis=0)),
    "windows": lambda x: xp.lib.stride_tricks.sliding_window_view(x, 3, axis=0) ** 2,
    "bincount": lambda x: xp.bincount(xp.asarray([0, 1, 0, 2, 1], split=0), x[:, 0] ** 2),
    "count_nonzero": lambda x: xp.sum(xp.count_nonzero(x, axis=0) * x),
    # layouts and shapes
    "resplit": lambda x: xp.resplit(x**2, 1) * x,
    "replicate": lambda x: xp.resplit(x**2, None) * 2,
    "rebalance": lambda x: xp.rebalance(x) ** 2,
    "reshape": lambda x: xp.reshape(x, (4, 5)) ** 2,
    "flatten": lambda x: xp.reshape(x, (-1,)) ** 2,
    "broadcast_to": lambda x: xp.broadcast_to(x[None], (3, *SHAPE)) ** 2,
    "broadcast_to of a row": lambda x: (
        xp.broadcast_to(xp.sum(x, axis=0, keepdims=True), (6, 4)) ** 2
    ),
    "permute_dims": lambda x: xp.permute_dims(x, (1, 0)) ** 2,
    "moveaxis": lambda x: xp.moveaxis(x[None], 0, 2) ** 2,
    "squeeze": lambda x: xp.squeeze(x[None], axis=0) ** 2,
    "concat": lambda x: xp.concat([x, x * x], axis=0) ** 2,
    "concat of a constant": lambda x: xp.concat([x, xp.ones((2, 4))], axis=0) ** 2,
    "stack": lambda x: xp.stack([x, x * x], axis=0) ** 2,
    "unstack": lambda x: xp.unstack(x, axis=0)[1] ** 2,
    "roll": lambda x: xp.roll(x, 2, axis=0) ** 2 * x,
    "flip": lambda x: xp.flip(x, axis=0) * x,
    "tile": lambda x: xp.tile(x, (2, 1)) ** 2,
    "repeat": lambda x: xp.repeat(x, 2, axis=0) ** 2,
    "pad": lambda x: xp.pad(x, ((1, 1), (0, 2))) ** 2,
    "tril": lambda x: xp.tril(x) ** 2,
    "meshgrid": lambda x: xp.meshgrid(x[:, 0], x[0])[0] ** 2,
    "there and back": lambda x: xp.resplit(xp.resplit(xp.resplit(x, 1) * 2, 0), None) ** 2,
    "reshape to three axes": lambda x: xp.reshape(x, (2, 5, 2)) ** 3,
    "broadcast_arrays": lambda x: xp.broadcast_arrays(x, x[:1])[1] ** 2 * x,
    "matrix_transpose": lambda x: xp.matrix_transpose(x) ** 2,
    "concat of all": lambda x: xp.concat([x, x], axis=None) ** 2,
    "roll of all": lambda x: xp.roll(x, 3) ** 2 * x,
    "flip of all": lambda x: xp.flip(x) * x,
    "tile to three axes": lambda x: xp.tile(x, (1, 2, 2)) ** 2,
    "repeat unevenly": lambda x: xp.repeat(x, xp.asarray([1, 0, 2, 1, 1]), axis=0) ** 2,
    "rows in turn": lambda x: sum((row**2 for row in x), xp.zeros(4)),
    # indexing
    "slices": lambda x: x[1:4, ::2] ** 2,
    "negative steps": lambda x: x[::-1, 1:] ** 3,
    "integer 0": lambda x: x[2] ** 2,
    "integer 1": lambda x: x[:, 1] ** 2,
    "integers": lambda x: x[xp.asarray(INDEX)] ** 2,
    "split integers": lambda x: x[xp.asarray(INDEX, split=0)] ** 2,
    "mask": lambda x: x[x > 0] ** 2,
    "row mask": lambda x: x[xp.asarray([True, False, True, True, False])] ** 2,
    "take": lambda x: xp.take(x, xp.asarray([1, 1, 3]), axis=1) ** 2,
    "take_along_axis": lambda x: xp.take_along_axis(x, xp.argsort(x, axis=0), axis=0) ** 2,
    "sort 0": lambda x: xp.sort(x, axis=0) ** 2,
    "sort 1": lambda x: xp.sort(x, axis=1) ** 2,
    "setitem": written,
    "setitem by mask": masked_write,
    "setitem into a constant": written_into_a_constant,
    "in place": in_place,
    "pairs of integers": lambda x: x[xp.asarray([0, 2, 2]), xp.asarray([1, 3, 3])] ** 2,
    "a matrix of integers": lambda x: x[xp.asarray([[0, 1], [4, 0]], split=0)] ** 2,
    "new axes": lambda x: x[None, 1:, ..., None] ** 2,
    "last, backwards": lambda x: x[-1, ::-1] ** 2,
    "mask of elements": lambda x: x[xp.abs(x) > 0.3] ** 2,
    "take of rows": lambda x: xp.take(x, xp.asarray([1, 4, 4, 0, 2], split=0), axis=0) ** 2,
    "argsort, take": lambda x: xp.take(x[:, 0], xp.argsort(x[:, 0])) ** 2,
    "sort, descending": lambda x: xp.sort(x, axis=0, descending=True) ** 2,
    "sort of all": lambda x: xp.sort(xp.reshape(x, (-1,))) ** 2,
    "setitem of rows": written_rows,
    "setitem by a mask of values": written_by_mask,
    "setitem by pairs": written_by_pairs,
    # products
    "matmul": lambda x: xp.matmul(x, xp.asarray(FACTOR)),
    "matmul of a split matrix": lambda x: xp.matmul(xp.asarray(FACTOR, split=0), x),
    "x.T @ x": lambda x: x.T @ x,
    "x @ x.T": lambda x: x @ x.T,
    "matrix by vector": lambda x: x @ x[0],
    "vecdot": lambda x: xp.vecdot(x, x + 1),
    "tensordot": lambda x: xp.tensordot(x, x, axes=((0,), (0,))),
    "einsum": lambda x: xp.einsum("ij,kj->ik", x, x),
    "outer": lambda x: linalg.outer(x[:, 0], x[0]),
    "cross": lambda x: linalg.cross(x[:, :3], x[:, 1:]),
    "trace": linalg.trace,
    "vector_norm": lambda x: linalg.vector_norm(x, axis=0),
    "matrix_norm": linalg.matrix_norm,
    "row vector by matrix": lambda x: x[:, 0] @ x,
    "matrix.T @": lambda x: other(x).T @ x,
    "stack of products": lambda x: (x[:, :, None] * x[:, None, :]) @ x[:, :, None],
    "tensordot of two axes": lambda x: xp.tensordot(x, other(x), axes=2),
    "vecdot 0": lambda x: xp.vecdot(x, other(x), axis=0),
    "einsum to a number": lambda x: xp.einsum("ij,ij->", x, x),
    "einsum of three": lambda x: xp.einsum("ij,kj,kl->il", x, other(x), x),
    "diagonal": lambda x: linalg.diagonal(x) ** 2,
    "kron": lambda x: xp.einsum("ij,kl->ikjl", x, other(x)[:2]),
    "vector_norm, 3": lambda x: linalg.vector_norm(x, ord=3, axis=0),
    "vector_norm, inf": lambda x: linalg.vector_norm(x, ord=float("inf"), axis=0),
    "vector_norm, 1": lambda x: linalg.vector_norm(x, ord=1),
    "matrix_norm, 1": lambda x: linalg.matrix_norm(x, ord=1),
    "matrix_norm, inf": lambda x: linalg.matrix_norm(x, ord=float("inf")),
    "inv of a stack": lambda x: linalg.inv(stack(x)),
    "inv of split matrices": lambda x: linalg.inv(xp.resplit(stack(x), 2)),
    "cholesky of a stack": lambda x: linalg.cholesky(stack(x)),
    "solve of a stack": lambda x: linalg.solve(stack(x), x[:, :, None]),
    "det of a stack": lambda x: linalg.det(stack(x)) / 100,
    "eigvalsh of a stack": lambda x: linalg.eigvalsh(stack(x)),
    "svdvals of a stack": lambda x: linalg.svdvals(stack(x)),
    # Fourier transforms
    "fft": lambda x: xp.abs(xp.fft.fft(x, axis=0)) ** 2,
    "rfftn": lambda x: xp.abs(xp.fft.rfftn(x)) ** 2,
    "irfft": lambda x: xp.fft.irfft(x + 1j * x, axis=0),
    "ifft": lambda x: xp.abs(xp.fft.ifft(x, axis=1)),
    "fft, cut": lambda x: xp.abs(xp.fft.fft(x, n=3, axis=0)) ** 2,
    "rfft, padded": lambda x: xp.abs(xp.fft.rfft(x, n=7, axis=0)) ** 2,
    "fftn": lambda x: xp.real(xp.fft.fftn(x)) ** 2,
    "irfftn": lambda x: xp.fft.irfftn(x + 1j * x * x) ** 2,
    "hfft": lambda x: xp.fft.hfft(x + 0j, axis=0) ** 2,
    "ihfft": lambda x: xp.abs(xp.fft.ihfft(x, axis=0)),
    "fftshift": lambda x: xp.fft.fftshift(x) ** 2,
}

# What is defined for real numbers only, and says so.
REAL = {
    "logaddexp",
    "hypot, atan2",
    "maximum",
    "clip",
    "where",
    "erf",
    "gammaln",
    "logsumexp",
    "copysign",
    "remainder",
    "floor",
    "clip by arrays",
    "minimum of arrays",
    "softmax",
    "log_softmax",
    "expit",
    "xlogy",
    "ndtr",
    "entr",
    "max",
    "min",
    "median",
    "max of all",
    "nanmedian",
    "quantile",
    "quantile of all",
    "nanquantile",
    "nancumsum",
    "nanmean",
    "nanmax",
    "median of all",
    "bincount",
    "mask",
    "setitem by mask",
    "setitem into a constant",
    "rfftn",
    "rfft, padded",
    "ihfft",
}
