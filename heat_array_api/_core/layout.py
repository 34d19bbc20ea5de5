"""Layouts: an array's global shape, its split axis, and the length of every rank's shard.

Nothing here communicates. Layouts that come from the methods below are equal only if they are the
same object, so that operations can compare them by identity; shapes and axes in arguments are
checked here too.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Container, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from .._caching import cached, when_cleared
from .._comm.communicator import Communicator
from .._comm.division import Division, Integers
from .._comm.table import Shape as Shape
from .._errors import shown

Axis = int | Sequence[int] | None
_LONGEST = 2**63 - 1  # torch's and MPI's counts are 64 bits wide


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Layout:
    """The layout of a distributed array, complete and identical on every rank.

    A layout never changes; its methods return others. None of them sends anything.

    Attributes
    ----------
    shape : tuple of int
        The global shape.
    split : int or None
        The axis along which the array is cut into shards. None: every rank holds a full copy
        (the array is *replicated*). Never negative.
    division : Division or None
        The length of every rank's shard along `split`; None if replicated. Any
        counts with the right sum are allowed, zeros too.
    comm : Communicator
        The ranks that hold the array.
    start, count, end : int
        Along the split axis: the global index of this rank's first row, the number of its rows, and
        the index after its last one. If replicated: 0, the length of axis 0 (1 without axes) twice.
    local_shape : tuple of int
        The shape of this rank's shard.

    Examples
    --------
    >>> layout = xp.zeros((4, 6), split=0).layout
    >>> layout.shape, layout.split
    ((4, 6), 0)
    >>> layout.split_along(1).shape_of(0) == (4, 6 // layout.comm.size)
    True
    """

    shape: Shape
    split: int | None
    division: Division | None
    comm: Communicator
    start: int = field(init=False, compare=False, repr=False)
    count: int = field(init=False, compare=False, repr=False)
    end: int = field(init=False, compare=False, repr=False)
    local_shape: Shape = field(init=False, compare=False, repr=False)
    _hash: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        # Layouts are keys of caches on the hot path: hash once.
        facts = (self.shape, self.split, self.division, self.comm)
        object.__setattr__(self, "_hash", hash(facts))
        if self.split is None:
            if self.division is not None:
                raise ValueError(f"Layout: split is None, but counts are {self.division}; pass ()")
            start, end = 0, self.shape[0] if self.shape else 1
            own = self.shape
        else:
            start, end = self._checked().interval(self.comm.rank)
            own = resized(self.shape, self.split, end - start)
        object.__setattr__(self, "start", start)
        object.__setattr__(self, "end", end)
        object.__setattr__(self, "count", end - start)
        object.__setattr__(self, "local_shape", own)

    def _checked(self) -> Division:
        """Return the division, which must fit the shape."""
        split, division = self.split, self.division
        assert split is not None
        if not 0 <= split < len(self.shape):
            raise ValueError(
                f"Layout: split is {split}; expected None or an axis of shape {self.shape}, "
                f"counted from the front"
            )
        if (
            division is None
            or len(division) != self.comm.size
            or division.total != self.shape[split]
            or int(division.lengths.min()) < 0
        ):
            raise ValueError(
                f"Layout: counts {division} do not divide axis {split} of shape "
                f"{self.shape} over {self.comm.size} ranks"
            )
        return division

    def __hash__(self) -> int:
        return self._hash

    @staticmethod
    @cached
    def replicated(shape: Shape, comm: Communicator) -> Layout:
        """Return the layout of a full copy on every rank.

        Parameters
        ----------
        shape : tuple of int
        comm : Communicator
            The ranks that hold the copies.

        Returns
        -------
        Layout
        """
        return _unique(shape, None, None, comm)

    @staticmethod
    @cached
    def balanced(shape: Shape, split: int | None, comm: Communicator) -> Layout:
        """Return the layout with even counts: the first ``n % P`` ranks hold one more.

        Parameters
        ----------
        shape : tuple of int
        split : int or None
            The axis that is cut into shards, not negative; None: a full copy on every rank.
        comm : Communicator
            The P ranks that share the array.

        Returns
        -------
        Layout
        """
        if split is None:
            return Layout.replicated(shape, comm)
        return _layout(shape, split, Division.balanced(shape[split], comm.size), comm)

    @staticmethod
    def of(
        shape: Shape,
        split: int | None,
        counts: Sequence[int] | Integers | Division | None,
        comm: Communicator,
    ) -> Layout:
        """Return the layout with these counts.

        Parameters
        ----------
        shape : tuple of int
        split : int or None
            The axis that is cut into shards, not negative; None: a full copy on every rank.
        counts : Division or sequence of int
            Each rank's length along the split axis; ignored without one.
        comm : Communicator
            The ranks that share the array.

        Returns
        -------
        Layout
        """
        if split is None or counts is None:
            return Layout.replicated(shape, comm)
        return _layout(shape, split, Division.of(counts), comm)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements of the global array."""
        return math.prod(self.shape)

    @property
    def counts(self) -> Shape:
        """The length of every rank's shard along `split`, in a loop over all ranks."""
        return () if self.division is None else self.division.counts

    @property
    def offsets(self) -> Shape:
        """``size + 1`` running sums of `counts`; ``()`` if replicated."""
        return () if self.division is None else tuple(self.division.offsets.tolist())

    @property
    def is_balanced(self) -> bool:
        """Whether the counts are those of `balanced` (a replicated array is balanced)."""
        return self == Layout.balanced(self.shape, self.split, self.comm)

    @property
    def nonempty(self) -> bool:
        """Whether the global array has at least one element."""
        return 0 not in self.shape

    def shape_of(self, rank: int) -> Shape:
        """Return the shape of one rank's shard.

        Parameters
        ----------
        rank : int
            From 0 to ``comm.size - 1``.

        Returns
        -------
        tuple of int
        """
        if self.split is None or self.division is None:
            return self.shape
        return resized(self.shape, self.split, self.division[rank])

    def with_shape(self, shape: Shape, split: int | None) -> Layout:
        """Return the layout of another shape with these counts.

        Parameters
        ----------
        shape : tuple of int
            The global shape.
        split : int or None
            The axis that the counts divide. None: replicated, as this layout stays if it is so.

        Returns
        -------
        Layout
        """
        if split is None or self.division is None:
            return Layout.replicated(shape, self.comm)
        return _layout(shape, split, self.division, self.comm)

    def split_along(self, axis: int | None) -> Layout:
        """Return the layout of the same shape split evenly along an axis.

        Parameters
        ----------
        axis : int or None
            Not negative. None: replicated.

        Returns
        -------
        Layout
        """
        return Layout.balanced(self.shape, axis, self.comm)

    def split_off(self, axes: Container[int]) -> Layout:
        """Return the layout split evenly along the longest axis that is not excluded.

        Parameters
        ----------
        axes : container of int
            The excluded axes. If they are all, the layout is replicated.

        Returns
        -------
        Layout
        """
        others = [i for i in range(len(self.shape)) if i not in axes]
        return Layout.balanced(self.shape, longest_axis(self.shape, others), self.comm)

    def with_length(
        self,
        axis: int,
        length: int,
        counts: Sequence[int] | Integers | Division | None = None,
    ) -> Layout:
        """Return the layout with another length of an axis.

        Parameters
        ----------
        axis : int
            Not negative.
        length : int
            Its new length.
        counts : Division or sequence of int, optional
            If it is the split axis: the new length of every rank's shard, by default even.

        Returns
        -------
        Layout
        """
        shape = resized(self.shape, axis, length)
        if axis != self.split:
            return self.with_shape(shape, self.split)
        if counts is None:
            return Layout.balanced(shape, axis, self.comm)
        return Layout.of(shape, axis, counts, self.comm)

    def scaled(self, factor: int) -> Division | None:
        """Return the counts times a factor; None if replicated."""
        return None if self.division is None else Division(self.division.offsets * factor)

    def flattened(self) -> Layout:
        """Return the layout of the shards laid one after the other, each in its own order.

        Returns
        -------
        Layout
            Of one axis: that of the array in C order if it is split along axis 0 or replicated.
        """
        if self.split is None:
            return Layout.replicated((self.size,), self.comm)
        inner = math.prod(self.shape[: self.split]) * math.prod(self.shape[self.split + 1 :])
        return Layout.of((self.size,), 0, self.scaled(inner), self.comm)

    def insert(self, *axes: int, length: int = 1) -> Layout:
        """Return the layout with new axes; the split follows its axis.

        Parameters
        ----------
        *axes : int
            Where the new axes are in the result.
        length : int
            The length of each.

        Returns
        -------
        Layout
        """
        old = iter(self.shape)
        ndim = len(self.shape) + len(axes)
        shape = tuple(length if i in axes else next(old) for i in range(ndim))
        if self.split is None:
            return Layout.replicated(shape, self.comm)
        return self.with_shape(shape, [i for i in range(ndim) if i not in axes][self.split])

    def drop(self, *axes: int, keepdims: bool = False) -> Layout:
        """Return the layout without some axes; without its split axis it is replicated.

        Parameters
        ----------
        *axes : int
            Not negative.
        keepdims : bool
            Keep them with length 1.

        Returns
        -------
        Layout
        """
        kept = [i for i in range(len(self.shape)) if keepdims or i not in axes]
        shape = tuple(1 if i in axes else self.shape[i] for i in kept)
        if self.split is None or self.split in axes:
            return Layout.replicated(shape, self.comm)
        return self.with_shape(shape, kept.index(self.split))

    def permuted(self, order: Shape) -> Layout:
        """Return the layout with its axes in another order; the split follows its axis.

        Parameters
        ----------
        order : tuple of int
            For each axis of the result, the axis of this layout.

        Returns
        -------
        Layout
        """
        return _permuted(self, order)


# The layouts made since the caches were last emptied, and those made before that are in use: the
# ranks empty their caches at different times, and yet must find the same layouts identical.
_made: list[Layout] = []
_in_use: WeakValueDictionary[tuple[Any, ...], Layout] = WeakValueDictionary()


@cached
def _layout(shape: Shape, split: int, division: Division, comm: Communicator) -> Layout:
    return _unique(shape, split, division, comm)


def _unique(
    shape: Shape, split: int | None, division: Division | None, comm: Communicator
) -> Layout:
    """Return the layout in use with these facts, or a new one."""
    layout = _in_use.get((shape, split, division, comm)) if _in_use else None
    if layout is None:
        layout = Layout(shape, split, division, comm)
        _made.append(layout)
    return layout


@when_cleared
def _forget_unused() -> None:
    _in_use.update({(x.shape, x.split, x.division, x.comm): x for x in _made})
    _made.clear()


@cached
def _permuted(layout: Layout, order: Shape) -> Layout:
    split = None if layout.split is None else order.index(layout.split)
    return layout.with_shape(tuple(layout.shape[i] for i in order), split)


def overlap(a: int, b: int, c: int, d: int) -> tuple[int, int]:
    """Return ``[a, b)`` intersected with ``[c, d)``; an empty one ends where it begins."""
    begin = max(a, c)
    return begin, max(min(b, d), begin)


def resized(shape: Sequence[int], axis: int, length: int) -> Shape:
    """Return a shape with another length of `axis`, which is not negative."""
    return (*shape[:axis], length, *shape[axis + 1 :])


def longest_axis(shape: Shape, axes: Iterable[int] | None = None) -> int | None:
    """Return the longest of `axes` (by default of all), the first on a tie; None of no axes."""
    axes = range(len(shape)) if axes is None else axes
    return max(axes, key=shape.__getitem__, default=None)


def as_ints(func: str, name: str, value: Any) -> Shape:
    """Return an int, or a sequence of ints, as a tuple of Python's ints."""
    if isinstance(value, int):
        return (int(value),)
    if isinstance(value, (tuple, list)) or _may_be_ints(value):
        try:
            return tuple(map(int, map(operator.index, value)))  # int: a bool is an index too
        except TypeError:
            pass
        try:
            return (operator.index(value),)  # a NumPy integer
        except TypeError:
            pass
    raise TypeError(f"{func}: {name} is {shown(value)}; expected an int or a sequence of ints")


def _may_be_ints(value: Any) -> bool:
    """Return whether an object may hold integers, from its type and dtype alone."""
    if isinstance(value, type):
        return False
    dtype = getattr(value, "dtype", None)
    if dtype is not None:
        return np.issubdtype(dtype, np.integer)
    return not isinstance(value, (str, bytes, bytearray, Mapping, Set))


def as_shape(func: str, shape: Any, name: str = "shape") -> Shape:
    """Return a shape as a tuple of Python's ints; negative lengths raise."""
    lengths = as_ints(func, name, shape)
    if min(lengths, default=0) < 0:
        raise ValueError(f"{func}: {name} is {shape}; it must not be negative")
    if max(lengths, default=0) > _LONGEST:
        raise OverflowError(f"{func}: {name} is {shape}; an axis has at most 2**63 - 1 elements")
    return lengths


def normalize_axis(func: str, axis: int, ndim: int, name: str = "axis") -> int:
    """Return `axis` counted from the front; raise an error that names `func` if it is out of range.

    Raises
    ------
    IndexError
        If the axis is not in ``[-ndim, ndim)``.
    """
    try:
        index = operator.index(axis)
    except TypeError:
        raise TypeError(f"{func}: {name} is {shown(axis)}; expected an int") from None
    if not -ndim <= index < ndim:
        raise IndexError(f"{func}: {name} {index} is out of range for an array of {ndim} axes")
    return index + ndim if index < 0 else index


def normalize_axes(func: str, axis: Axis, ndim: int, name: str = "axis") -> Shape:
    """Return axes counted from the front and sorted; None means all of them.

    Raises
    ------
    ValueError
        If an axis is repeated.
    """
    if axis is None:
        return tuple(range(ndim))
    if isinstance(axis, (tuple, list)):
        axes = tuple(normalize_axis(func, a, ndim, name) for a in axis)
        if len(set(axes)) != len(axes):
            raise ValueError(f"{func}: {name} {tuple(axis)} names an axis twice")
        return tuple(sorted(axes))
    return (normalize_axis(func, axis, ndim, name),)  # type: ignore[arg-type]


def has_overlap(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Return whether elements of a view may share memory, as windows and broadcasts do."""
    reach = 0
    for stride, n in sorted(zip(strides, shape, strict=True)):
        if n > 1:
            if stride <= reach:
                return True
            reach += stride * (n - 1)
    return False
