"""The standard's linear algebra extension, on matrices of any layout.

Where the results are split, and what is sent, is said at each function; docs/distribution.md
has the table.
"""

from __future__ import annotations

from ._factorizations import cholesky, det, inv, qr, slogdet
from ._linalg import matmul, matrix_transpose, tensordot, vecdot
from ._matrices import (
    cross,
    diagonal,
    matrix_norm,
    matrix_power,
    matrix_rank,
    outer,
    pinv,
    trace,
    vector_norm,
)
from ._solve import solve
from ._spectral import eig, eigh, eigvals, eigvalsh, svd, svdvals

__all__ = [
    "cholesky",
    "cross",
    "det",
    "diagonal",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "inv",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "matrix_transpose",
    "outer",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "svd",
    "svdvals",
    "tensordot",
    "trace",
    "vecdot",
    "vector_norm",
]
