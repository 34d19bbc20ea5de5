"""The meter of a dry run: memory, flops and traffic of one rank's operations on fake tensors.

A dispatch mode of torch sees each operation. Memory is that of the live storages, which a
finalizer of each takes off again; so it is what the rank's program holds, without what a kernel or
MPI needs inside. Flops are torch's own formulas for products and convolutions, LAPACK's leading
terms for factorisations, and one for each element of any other result; traffic is the bytes read
and written.
"""

from __future__ import annotations

import math
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry

from .._comm.assumptions import NAN, assumed, dry_runs, kept_of
from .._comm.attribution import caller
from .._core.torch_internals import FakeTensor, TorchDispatchMode, tree_leaves
from .._errors import PlanError

aten = torch.ops.aten


class Meter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Measures what one rank's operations take.

    Attributes
    ----------
    peak : int
        The most bytes that were live at once.
    peak_line : str
        The user's line at which they were.
    held : dict
        The bytes live at the peak, by the line that made them.
    flops, traffic : Counter
        Floating-point operations, and bytes read and written, by the user's line.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self.peak_line = "?"
        self.held: dict[str, int] = {}
        self.flops: Counter[str] = Counter()
        self.traffic: Counter[str] = Counter()
        self._live: dict[int, tuple[int, str]] = {}
        self._bytes = 0

    # ------------------------------------------------------------------ memory

    def hold(self, t: Tensor) -> None:
        """Count a tensor's storage as live until it is freed."""
        storage = t.untyped_storage()
        key, nbytes = storage._cdata, storage.nbytes()
        before, origin = self._live.get(key, (0, ""))
        if before >= nbytes:
            return
        if not origin:
            weakref.finalize(storage, self._freed, key).atexit = False
            origin = caller()[1]
        self._live[key] = (nbytes, origin)
        self._bytes += nbytes - before
        if self._bytes > self.peak:
            self.peak, self.peak_line = self._bytes, caller()[1]
            self.held = self._by_line()

    def _freed(self, key: int) -> None:
        self._bytes -= self._live.pop(key)[0]

    def _by_line(self) -> dict[str, int]:
        held: Counter[str] = Counter()
        for nbytes, line in self._live.values():
            held[line] += nbytes
        return dict(held.most_common())

    # ------------------------------------------------------------------ operations

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        packet = func.overloadpacket
        rule = _BY_VALUES.get(packet) if dry_runs else None
        result = func(*args, **kwargs) if rule is None else rule(func, args, kwargs)
        made = [t for t in tree_leaves(result) if isinstance(t, Tensor)]
        if made and not (func.is_view or packet in _WITHOUT_WORK):
            line = caller()[1]
            given = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
            self.flops[line] += _flops(packet, args, kwargs, result, made)
            self.traffic[line] += sum(t.numel() * t.itemsize for t in (*given, *made))
        for t in made:
            self.hold(t)
        return result


_WITHOUT_WORK = frozenset(
    {aten.empty, aten.empty_like, aten.new_empty, aten.detach, aten.lift_fresh}
)


# What moves or sets elements, and computes none.
_MOVES = frozenset(
    getattr(aten, name)
    for name in (
        "_to_copy", "arange", "as_strided", "cat", "clone", "constant_pad_nd", "copy", "copy_",
        "fill", "fill_", "flip", "full", "full_like", "gather", "index", "index_copy",
        "index_copy_", "index_put", "index_put_", "index_select", "masked_fill", "masked_fill_",
        "new_full", "new_ones", "new_zeros", "ones", "ones_like", "repeat", "repeat_interleave",
        "roll", "scatter", "slice_backward", "split_with_sizes_copy", "stack", "tril", "triu",
        "where", "zero_", "zeros", "zeros_like",
    )
)  # fmt: skip


def _flops(packet: Any, args: Any, kwargs: Any, result: Any, made: list[Tensor]) -> int:
    if packet in flop_registry:
        return int(flop_registry[packet](*args, **kwargs, out_val=result))
    if packet in _MOVES:
        return 0
    if packet in _LEADING_TERMS:
        return int(_LEADING_TERMS[packet](args[0]))
    return sum(t.numel() for t in made if t.is_floating_point() or t.is_complex())


def _of_matrices(factor: float) -> Callable[[Tensor], float]:
    """Return the leading term of an algorithm of ``factor * m * n * min(m, n)`` flops."""

    def flops(t: Tensor) -> float:
        if t.ndim < 2:
            return 0
        m, n = t.shape[-2:]
        return factor * math.prod(t.shape[:-1]) * n * min(m, n)

    return flops


def _n_log_n(factor: float) -> Callable[[Tensor], float]:
    return lambda t: factor * t.numel() * math.log2(max(t.numel(), 2))


# Golub and Van Loan, Matrix Computations; Cooley and Tukey's count for the transforms.
_LEADING_TERMS: dict[Any, Callable[[Tensor], float]] = {
    aten.linalg_qr: _of_matrices(2),
    aten._linalg_svd: _of_matrices(14),
    aten._linalg_eigh: _of_matrices(9),
    aten.linalg_eig: _of_matrices(25),
    aten.linalg_cholesky_ex: _of_matrices(1 / 3),
    aten.linalg_lu_factor_ex: _of_matrices(2 / 3),
    aten._linalg_solve_ex: _of_matrices(2 / 3),
    aten.linalg_inv_ex: _of_matrices(2),
    aten._fft_c2c: _n_log_n(5),
    aten._fft_r2c: _n_log_n(2.5),
    aten._fft_c2r: _n_log_n(2.5),
    aten.sort: _n_log_n(1),
}


# ---------------------------------------------------------------------- what depends on values

# Rules take the operator and its arguments, and return what the operator would. Shapes
# come of the stated selectivity.


def _item(func: Any, args: Any, kwargs: Any) -> Any:
    (t,) = args
    if isinstance(t, FakeTensor) and t.constant is None:
        operation, line = caller()
        if not (t.is_floating_point() or t.is_complex()):
            kind = "a boolean" if t.dtype is torch.bool else "an integer"
            raise PlanError(
                f"dry_run: {operation} reads {kind} of an array, which has no values here (at "
                f"{line}); what the program does next depends on data"
            )
        assumed(NAN.format(line))
        return complex(math.nan, math.nan) if t.is_complex() else math.nan
    return func(*args, **kwargs)


def _index(func: Any, args: Any, kwargs: Any) -> Any:
    t, indices, *rest = args
    return func(t, [i for index in indices for i in _places(index)], *rest, **kwargs)


def _places(index: Tensor | None) -> list[Tensor | None]:
    """Return integer indices in place of a mask, as `nonzero` would."""
    if index is None or index.dtype not in (torch.bool, torch.uint8):
        return [index]
    n = kept_of(index.numel())
    return [torch.empty(n, dtype=torch.int64, device=index.device) for _ in range(index.ndim)]


def _nonzero(func: Any, args: Any, kwargs: Any) -> Any:
    (t,) = args
    return torch.empty((kept_of(t.numel()), t.ndim), dtype=torch.int64, device=t.device)


def _bincount(func: Any, args: Any, kwargs: Any) -> Any:
    t, weights, length, *_ = (*args, None, 0)[: max(len(args), 3)]
    length = kwargs.get("minlength", length)
    dtype = torch.int64 if weights is None else torch.float64
    return torch.empty(length, dtype=dtype, device=t.device)


_BY_VALUES: dict[Any, Callable[..., Any]] = {
    aten._local_scalar_dense: _item,
    aten.index: _index,
    aten.nonzero: _nonzero,
    aten.bincount: _bincount,
}
