"""The operators of `Array` and its methods with NumPy's signatures.

Each is the namespace's function of the same meaning. The package's ``__init__`` binds the
namespace, because those functions live in folders above this one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._errors import shown

if TYPE_CHECKING:
    from types import ModuleType

    from .array import Array

_ns: Any = None


def bind_namespace(module: ModuleType) -> None:
    """Give the operators the namespace they belong to."""
    global _ns
    _ns = module


def namespace() -> Any:
    """Return the namespace that was bound."""
    return _ns


class Operators:
    """Base of `Array`: its operators and NumPy's methods, in terms of the namespace."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]  # == compares element by element

    @property
    def shape(self) -> tuple[int, ...]:
        raise NotImplementedError  # Array's

    @property
    def dtype(self) -> np.dtype[Any]:
        raise NotImplementedError  # Array's

    @property
    def ndim(self) -> int:
        raise NotImplementedError  # Array's

    def _update(self, function: Any, other: Any) -> Array:
        raise NotImplementedError  # Array's: what an in-place operator does

    # ------------------------------------------------------------------ transposes

    @property
    def T(self) -> Array:
        """The transpose of a two-dimensional array; no message."""
        if self.ndim != 2:  # an AttributeError, so that `hasattr` and `inspect.getmembers` work
            raise AttributeError(f"T: the array has {self.ndim} axes; use permute_dims or mT")
        return self.mT

    @property
    def mT(self) -> Array:
        """The transpose of each matrix of a stack; no message."""
        if self.ndim < 2:
            raise AttributeError(f"mT: the array has {self.ndim} axes; expected two or more")
        return _ns.matrix_transpose(self)

    # ------------------------------------------------------------------ operators

    def __abs__(self) -> Array:
        return _ns.abs(self)

    def __neg__(self) -> Array:
        return _ns.negative(self)

    def __pos__(self) -> Array:
        return _ns.positive(self)

    def __invert__(self) -> Array:
        return _ns.bitwise_invert(self)

    def __add__(self, other: Any, /) -> Array:
        return _ns.add(self, other) if isinstance(other, OPERANDS) else NotImplemented

    def __radd__(self, other: Any, /) -> Array:
        return _ns.add(self, other) if isinstance(other, OPERANDS) else NotImplemented

    def __iadd__(self, other: Any, /) -> Array:
        return self._update(_ns.add, other)

    def __sub__(self, other: Any, /) -> Array:
        return _ns.subtract(self, other) if isinstance(other, OPERANDS) else NotImplemented

    def __rsub__(self, other: Any, /) -> Array:
        return _ns.subtract(other, self) if isinstance(other, OPERANDS) else NotImplemented

    def __isub__(self, other: Any, /) -> Array:
        return self._update(_ns.subtract, other)

    def __mul__(self, other: Any, /) -> Array:
        return _ns.multiply(self, other) if isinstance(other, OPERANDS) else NotImplemented

    def __rmul__(self, other: Any, /) -> Array:
        return _ns.multiply(self, other) if isinstance(other, OPERANDS) else NotImplemented

    def __imul__(self, other: Any, /) -> Array:
        return self._update(_ns.multiply, other)

    def __truediv__(self, other: Any, /) -> Array:
        return _ns.divide(self, other) if isinstance(other, OPERANDS) else NotImplemented

    def __rtruediv__(self, other: Any, /) -> Array:
        return _ns.divide(other, self) if isinstance(other, OPERANDS) else NotImplemented

    def __itruediv__(self, other: Any, /) -> Array:
        return self._update(_ns.divide, other)

    def __floordiv__(self, other: Any, /) -> Array:
        return _ns.floor_divide(self, other) if isinstance(other, OPERANDS) else NotImplemented

    def __rfloordiv__(self, other: Any, /) -> Array:
        return _ns.floor_divide(other, self) if isinstance(other, OPERANDS) else NotImplemented

    def __ifloordiv__(self, other: Any, /) -> Array:
        return self._update(_ns.floor_divide, other)

    def __mod__(self, other: Any, /) -> Array:
        return _ns.remainder(self, other) if isinstance(other, OPERANDS) else NotImplemented

    def __rmod__(self, other: Any, /) -> Array:
        return _ns.remainder(other, self) if isinstance(other, OPERANDS) else NotImplemented

    def __imod__(self, other: Any, /) -> Array:
        return self._update(_ns.remainder, other)

    def __divmod__(self, other: Any, /) -> tuple[Array, Array]:
        if not isinstance(other, OPERANDS):
            return NotImplemented
        return _ns.floor_divide(self, other), _ns.remainder(self, other)

    def __rdivmod__(self, other: Any, /) -> tuple[Array, Array]:
        if not isinstance(other, OPERANDS):
            return NotImplemented
        return _ns.floor_divide(other, self), _ns.remainder(other, self)

    def __pow__(self, other: Any, /) -> Array:
        return _ns.pow(self, other) if isinstance(other, OPERANDS) else NotImplemented

    def __rpow__(self, other: Any, /) -> Array:
        return _ns.pow(other, self) if isinstance(other, OPERANDS) else NotImplemented

    def __ipow__(self, other: Any, /) -> Array:
        return self._update(_ns.pow, other)

    def __matmul__(self, other: Any, /) -> Array:
        return _ns.matmul(self, other) if isinstance(other, OPERANDS) else NotImplemented

    def __rmatmul__(self, other: Any, /) -> Array:
        return _ns.matmul(other, self) if isinstance(other, OPERANDS) else NotImplemented

    def __imatmul__(self, other: Any, /) -> Array:
        return self._update(_ns.matmul, other)

    def __and__(self, other: Any, /) -> Array:
        return _ns.bitwise_and(self, other) if isinstance(other, OPERANDS) else NotImplemented

    def __rand__(self, other: Any, /) -> Array:
        return _ns.bitwise_and(other, self) if isinstance(other, OPERANDS) else NotImplemented

    def __iand__(self, other: Any, /) -> Array:
        return self._update(_ns.bitwise_and, other)

    def __or__(self, other: Any, /) -> Array:
        return _ns.bitwise_or(self, other) if isinstance(other, OPERANDS) else NotImplemented

    def __ror__(self, other: Any, /) -> Array:
        return _ns.bitwise_or(other, self) if isinstance(other, OPERANDS) else NotImplemented

    def __ior__(self, other: Any, /) -> Array:
        return self._update(_ns.bitwise_or, other)

    def __xor__(self, other: Any, /) -> Array:
        return _ns.bitwise_xor(self, other) if isinstance(other, OPERANDS) else NotImplemented

    def __rxor__(self, other: Any, /) -> Array:
        return _ns.bitwise_xor(other, self) if isinstance(other, OPERANDS) else NotImplemented

    def __ixor__(self, other: Any, /) -> Array:
        return self._update(_ns.bitwise_xor, other)

    def __lshift__(self, other: Any, /) -> Array:
        return (
            _ns.bitwise_left_shift(self, other) if isinstance(other, OPERANDS) else NotImplemented
        )

    def __rlshift__(self, other: Any, /) -> Array:
        return (
            _ns.bitwise_left_shift(other, self) if isinstance(other, OPERANDS) else NotImplemented
        )

    def __ilshift__(self, other: Any, /) -> Array:
        return self._update(_ns.bitwise_left_shift, other)

    def __rshift__(self, other: Any, /) -> Array:
        return (
            _ns.bitwise_right_shift(self, other) if isinstance(other, OPERANDS) else NotImplemented
        )

    def __rrshift__(self, other: Any, /) -> Array:
        return (
            _ns.bitwise_right_shift(other, self) if isinstance(other, OPERANDS) else NotImplemented
        )

    def __irshift__(self, other: Any, /) -> Array:
        return self._update(_ns.bitwise_right_shift, other)

    def __lt__(self, other: Any, /) -> Array:
        return _ns.less(self, other) if isinstance(other, OPERANDS) else NotImplemented

    def __le__(self, other: Any, /) -> Array:
        return _ns.less_equal(self, other) if isinstance(other, OPERANDS) else NotImplemented

    def __gt__(self, other: Any, /) -> Array:
        return _ns.greater(self, other) if isinstance(other, OPERANDS) else NotImplemented

    def __ge__(self, other: Any, /) -> Array:
        return _ns.greater_equal(self, other) if isinstance(other, OPERANDS) else NotImplemented

    def __eq__(self, other: object, /) -> Array:  # type: ignore[override]
        return _ns.equal(self, other) if isinstance(other, OPERANDS) else NotImplemented

    def __ne__(self, other: object, /) -> Array:  # type: ignore[override]
        return _ns.not_equal(self, other) if isinstance(other, OPERANDS) else NotImplemented

    # ------------------------------------------------------------------ NumPy's methods

    def sum(
        self,
        axis: Any = None,
        dtype: Any = None,
        out: None = None,
        keepdims: bool = False,
        *,
        where: Any = True,
    ) -> Array:
        """Sum over axes; as `numpy.ndarray.sum`."""
        no_out("sum", out, where)
        return _ns.sum(self, axis=axis, dtype=dtype, keepdims=keepdims)

    def prod(
        self,
        axis: Any = None,
        dtype: Any = None,
        out: None = None,
        keepdims: bool = False,
        *,
        where: Any = True,
    ) -> Array:
        """Product over axes; as `numpy.ndarray.prod`."""
        no_out("prod", out, where)
        return _ns.prod(self, axis=axis, dtype=dtype, keepdims=keepdims)

    def mean(
        self,
        axis: Any = None,
        dtype: Any = None,
        out: None = None,
        keepdims: bool = False,
        *,
        where: Any = True,
    ) -> Array:
        """Mean over axes; as `numpy.ndarray.mean`."""
        no_out("mean", out, where)
        return _ns.mean(_converted(self, dtype), axis=axis, keepdims=keepdims)

    def var(
        self,
        axis: Any = None,
        dtype: Any = None,
        out: None = None,
        ddof: float = 0,
        keepdims: bool = False,
        *,
        where: Any = True,
    ) -> Array:
        """Variance over axes; as `numpy.ndarray.var`."""
        no_out("var", out, where)
        x = _converted(self, dtype)
        return _ns.var(x, axis=axis, correction=ddof, keepdims=keepdims)

    def std(
        self,
        axis: Any = None,
        dtype: Any = None,
        out: None = None,
        ddof: float = 0,
        keepdims: bool = False,
        *,
        where: Any = True,
    ) -> Array:
        """Standard deviation over axes; as `numpy.ndarray.std`."""
        no_out("std", out, where)
        x = _converted(self, dtype)
        return _ns.std(x, axis=axis, correction=ddof, keepdims=keepdims)

    def max(
        self, axis: Any = None, out: None = None, keepdims: bool = False, *, where: Any = True
    ) -> Array:
        """Maximum over axes; as `numpy.ndarray.max`."""
        no_out("max", out, where)
        return _ns.max(self, axis=axis, keepdims=keepdims)

    def min(
        self, axis: Any = None, out: None = None, keepdims: bool = False, *, where: Any = True
    ) -> Array:
        """Minimum over axes; as `numpy.ndarray.min`."""
        no_out("min", out, where)
        return _ns.min(self, axis=axis, keepdims=keepdims)

    def any(
        self, axis: Any = None, out: None = None, keepdims: bool = False, *, where: Any = True
    ) -> Array:
        """Whether any element is true; as `numpy.ndarray.any`."""
        no_out("any", out, where)
        return _ns.any(self, axis=axis, keepdims=keepdims)

    def all(
        self, axis: Any = None, out: None = None, keepdims: bool = False, *, where: Any = True
    ) -> Array:
        """Whether all elements are true; as `numpy.ndarray.all`."""
        no_out("all", out, where)
        return _ns.all(self, axis=axis, keepdims=keepdims)

    def argmax(self, axis: int | None = None, out: None = None, *, keepdims: bool = False) -> Array:
        """Index of the maximum; as `numpy.ndarray.argmax`."""
        no_out("argmax", out)
        return _ns.argmax(self, axis=axis, keepdims=keepdims)

    def argmin(self, axis: int | None = None, out: None = None, *, keepdims: bool = False) -> Array:
        """Index of the minimum; as `numpy.ndarray.argmin`."""
        no_out("argmin", out)
        return _ns.argmin(self, axis=axis, keepdims=keepdims)

    def cumsum(self, axis: int | None = None, dtype: Any = None, out: None = None) -> Array:
        """Running sums; as `numpy.ndarray.cumsum`."""
        no_out("cumsum", out)
        x, axis = _with_axis(self, axis)
        return _ns.cumulative_sum(x, axis=axis, dtype=dtype)

    def cumprod(self, axis: int | None = None, dtype: Any = None, out: None = None) -> Array:
        """Running products; as `numpy.ndarray.cumprod`."""
        no_out("cumprod", out)
        x, axis = _with_axis(self, axis)
        return _ns.cumulative_prod(x, axis=axis, dtype=dtype)

    def clip(self, min: Any = None, max: Any = None, out: None = None) -> Array:
        """Values limited to an interval; as `numpy.ndarray.clip`."""
        no_out("clip", out)
        return _ns.clip(self, min, max)

    def round(self, decimals: int = 0, out: None = None) -> Array:
        """Values rounded to decimals; as `numpy.ndarray.round`."""
        no_out("round", out)
        if decimals == 0 or (decimals > 0 and _ns.isdtype(self.dtype, "integral")):
            return _ns.round(self)
        # As NumPy: powers of ten are exact only with positive exponents.
        scale = 10.0 ** abs(decimals)
        if decimals > 0:
            return _ns.round(self * scale) / scale
        return _ns.astype(_ns.round(self / scale) * scale, self.dtype, copy=False)

    def conj(self) -> Array:
        """Complex conjugate; as `numpy.ndarray.conj`."""
        return _ns.conj(self)

    conjugate = conj

    def argsort(
        self, axis: int | None = -1, kind: Any = None, order: None = None, *, stable: Any = None
    ) -> Array:
        """Indices that sort along an axis, always stably; as `numpy.ndarray.argsort`."""
        if order is not None:
            raise ValueError("argsort: order is for structured arrays; pass None")
        x, axis = _with_axis(self, axis)
        return _ns.argsort(x, axis=axis)

    def searchsorted(self, v: Any, side: str = "left", sorter: Any = None) -> Array:
        """Where to insert values to keep the order; as `numpy.ndarray.searchsorted`."""
        return _ns.searchsorted(self, v, side=side, sorter=sorter)

    def nonzero(self) -> tuple[Array, ...]:
        """Indices of the nonzero elements; as `numpy.ndarray.nonzero`."""
        return _ns.nonzero(self)

    def ravel(self, order: str = "C") -> Array:
        """The array as one axis, row-major; as `numpy.ndarray.ravel`."""
        _row_major("ravel", order)
        return _ns.reshape(self, (-1,))

    def flatten(self, order: str = "C") -> Array:
        """A copy as one axis, row-major; as `numpy.ndarray.flatten`."""
        _row_major("flatten", order)
        return _ns.reshape(self, (-1,), copy=True)

    def squeeze(self, axis: Any = None) -> Array:
        """The array without axes of length one; as `numpy.ndarray.squeeze`."""
        return _ns.squeeze(
            self, tuple(i for i, n in enumerate(self.shape) if n == 1) if axis is None else axis
        )

    def copy(self, order: str = "C") -> Array:
        """A copy; as `numpy.ndarray.copy`."""
        return _ns.asarray(self, copy=True)

    def dot(self, other: Any, out: None = None) -> Array:
        """Matrix product; as `numpy.ndarray.dot`."""
        no_out("dot", out)
        scalar = not self.shape or not getattr(other, "shape", ())
        if scalar:
            return _ns.multiply(self, other)
        if len(other.shape) > 2:  # over its last axis but one, unlike matmul
            return _ns.tensordot(self, other, axes=([-1], [-2]))
        return _ns.matmul(self, other)

    def take(
        self, indices: Any, axis: int | None = None, out: None = None, mode: str = "raise"
    ) -> Array:
        """Elements along an axis; as `numpy.ndarray.take`."""
        no_out("take", out)
        if mode != "raise":
            raise ValueError(f"take: mode is {shown(mode)}; only 'raise' is supported")
        x, axis = _with_axis(self, axis)
        return _ns.take(x, indices, axis=axis)

    def repeat(self, repeats: Any, axis: int | None = None) -> Array:
        """Elements repeated; as `numpy.ndarray.repeat`."""
        return _ns.repeat(self, repeats, axis=axis)

    def swapaxes(self, axis1: int, axis2: int) -> Array:
        """Two axes exchanged; as `numpy.ndarray.swapaxes`."""
        return _ns.moveaxis(self, (axis1, axis2), (axis2, axis1))

    def astype(
        self,
        dtype: Any,
        order: str = "K",
        casting: str = "unsafe",
        subok: bool = True,
        copy: bool = True,
        device: Any = None,
    ) -> Array:
        """Values converted to a dtype; as `numpy.ndarray.astype`."""
        _row_major("astype", order)
        if casting != "unsafe" and not np.can_cast(self.dtype, dtype, casting):  # type: ignore[arg-type]
            raise TypeError(f"astype: {self.dtype} to {dtype} is no {casting!r} conversion")
        return _ns.astype(self, dtype, copy=copy, device=device)

    def reshape(self, *shape: Any, order: str = "C", copy: bool | None = None) -> Array:
        """The values in another shape, row-major; as `numpy.ndarray.reshape`."""
        _row_major("reshape", order)
        new = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        return _ns.reshape(self, tuple(new), copy=copy)

    def transpose(self, *axes: Any) -> Array:
        """The axes permuted, reversed by default; as `numpy.ndarray.transpose`."""
        alone = len(axes) == 1 and (axes[0] is None or isinstance(axes[0], (tuple, list)))
        return _ns.transpose(self, tuple((axes[0] if alone else axes) or ()) or None)


# What an operator accepts; Python asks any other operand for its own operator.
OPERANDS = (Operators, bool, int, float, complex, np.generic, np.ndarray)


def _converted(x: Operators, dtype: Any) -> Any:
    return x if dtype is None else _ns.astype(x, dtype)


def _with_axis(x: Operators, axis: int | None) -> tuple[Any, int]:
    """Return the array and an axis; without one, all its elements in a row, as NumPy."""
    return (x.ravel(), 0) if axis is None else (x, axis)


def _row_major(func: str, order: str) -> None:
    # Not a TypeError: NumPy's functions would then go on with the gathered array.
    if order not in ("C", "A", "K"):
        raise ValueError(f"{func}: order is {shown(order)}; only row-major 'C' is supported")


def no_out(func: str, out: object, where: object = True) -> None:
    """Raise TypeError unless `out` and `where`, which NumPy's callers pass, are the defaults."""
    if out is not None:
        raise TypeError(f"{func}: out= is not supported; use the result, or write x[...] = result")
    if where is not True:
        raise TypeError(f"{func}: where= is not supported; use where() for the elements left out")
