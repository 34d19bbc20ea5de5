"""Reading: from a variable of a file to an Array, each rank its own shard.

A format provides a `Source`; `load` does the rest. It turns the user's selection and the layout
into the part that this rank reads (`Selection`), and reads it in blocks, so that a rank needs the
memory of its shard and little more.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .._comm.communicator import as_communicator
from .._core.array import Array
from .._core.dtypes import COMPLEX, TO_TORCH, from_numpy, to_numpy_dtype, to_torch_dtype
from .._core.layout import Layout, Shape
from .._core.redistribute import redistribute
from .._creation import device_kind, local_device, new_layout
from .._errors import shown
from .._indexing.keys import Basic, Range, parse_basic
from ._agreement import ROUND, Deferred, Values, attempt, progress
from ._arguments import ReadOptions, path_of, progress_of

BLOCK = ROUND
"""Bytes read at once: few enough to be converted or copied in the processor's cache."""

SHORT = 1 << 14
"""Bytes: if a rank's part of a row is shorter, whole rows are read and redistributed."""

MANY = 1 << 10
"""The number of rows from which that pays."""

Slab = tuple[int | slice, ...]


class Source:
    """An open variable of a file: what `load` needs from a format.

    This class reads whatever is indexed like a NumPy array: datasets of h5py and zarr.
    """

    def __init__(self, found: Any) -> None:
        self._found = found

    @property
    def shape(self) -> Shape:
        """The global shape."""
        return tuple(self._found.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the values if the caller asks for none; depends on metadata only."""
        dtype: np.dtype[Any] = np.dtype(self._found.dtype).newbyteorder("=")
        return dtype

    @property
    def chunks(self) -> Shape | None:
        """The shape of the chunks that the format reads as a whole, if any."""
        chunks: Shape | None = getattr(self._found, "chunks", None)
        return chunks

    def read(self, slab: Slab, dtype: np.dtype[Any] | None) -> Values:
        """Return the values of a slab (integers drop axes; steps are positive).

        The caller converts them to `dtype` afterwards.
        """
        return np.asarray(self._found[slab])


# ---------------------------------------------------------------------- the selection


class Selection(NamedTuple):
    """A box of a variable: an integer or a range for each of its axes."""

    items: tuple[int | Range, ...]

    @property
    def shape(self) -> Shape:
        """The shape of the array; integers drop their axes."""
        return tuple(item.length for item in self.items if isinstance(item, Range))

    def along(self, axis: int, first: int, count: int) -> Selection:
        """Return `count` indices from `first` on along an axis of the array."""
        at = self.source_axis(axis)
        item = self.items[at]
        assert isinstance(item, Range)
        part = Range(item.start + first * item.step, item.step, count)
        return Selection((*self.items[:at], part, *self.items[at + 1 :]))

    def of_rank(self, layout: Layout) -> Selection:
        """Return this rank's part of the array, which has `layout`."""
        if layout.split is None:
            return self
        return self.along(layout.split, layout.start, layout.count)

    def source_axis(self, axis: int) -> int:
        """Return the axis of the variable that is this axis of the array."""
        kept = [i for i, item in enumerate(self.items) if isinstance(item, Range)]
        return kept[axis]

    @property
    def slab(self) -> Slab:
        """What to read, with ascending indices."""
        return tuple(_as_slice(item) if isinstance(item, Range) else item for item in self.items)

    @property
    def flipped(self) -> tuple[int, ...]:
        """The axes to flip after reading."""
        ranges = [item for item in self.items if isinstance(item, Range)]
        return tuple(axis for axis, item in enumerate(ranges) if item.step < 0)


def _as_slice(item: Range) -> slice:
    if not item.length:
        return slice(0, 0)
    up = item.ascending
    return slice(
        up.start, up.start + (up.length - 1) * up.step + 1, None if up.step == 1 else up.step
    )


def select(func: str, selection: Any, shape: Shape) -> Selection:
    """Return the selection that slices, integers and Ellipsis describe; None selects all."""
    if selection is None:
        selection = Ellipsis
    try:
        items: tuple[Basic, ...] = parse_basic(selection, shape)
    except IndexError as error:
        raise IndexError(f"{func}: selection: {error}") from None
    except (TypeError, ValueError):
        raise TypeError(
            f"{func}: selection is {shown(selection)}; expected slices and integers"
        ) from None
    found: list[int | Range] = []
    for item in items:
        if item is None:
            raise TypeError(
                f"{func}: selection is {shown(selection)}; expected slices and integers"
            )
        found.append(item)
    return Selection(tuple(found))


# ---------------------------------------------------------------------- reading


def load(
    func: str,
    open_source: Callable[[str], AbstractContextManager[Source]],
    path: str | os.PathLike[str],
    options: ReadOptions,
) -> Array:
    """Open a source on every rank, read this rank's shard, and make the Array.

    Messages: two small allgathers, for errors in opening and in reading; for short shards along a
    late axis one all-to-all for each round of rows.
    """
    comm = as_communicator(func, options.comm)
    target = None if options.dtype is None else to_torch_dtype(options.dtype, func)
    name, shows = path_of(func, path), progress_of(func, options.progress)
    device_kind(func, options.device)
    with ExitStack() as stack:

        def opened() -> tuple[Source, torch.device]:
            source = stack.enter_context(open_source(name))
            return source, local_device(func, options.device, comm)

        source, place = attempt(
            func, comm, opened, lambda result: (result[0].shape, str(result[0].dtype))
        )
        found = TO_TORCH.get(source.dtype)
        if found is None:
            raise TypeError(f"{func}: {name!r} holds values of {source.dtype}, which no array can")
        target = found if target is None else target
        if found in COMPLEX.all and target not in COMPLEX.all:
            raise TypeError(f"{func}: dtype is {options.dtype}, but {name!r} holds {source.dtype}")
        chosen = select(func, options.selection, source.shape)
        layout = new_layout(func, chosen.shape, options.split, comm)
        size = math.prod(layout.shape) * target.itemsize
        with progress(func, size, comm, shows) as advance:
            if _is_short(layout, target):
                local = _read_rows(func, source, chosen, layout, target, place, advance)
            else:
                own = chosen.of_rank(layout)
                local = attempt(func, comm, lambda: _read(source, own, target, place, advance))
    return Array(local, layout)


def _is_short(layout: Layout, dtype: torch.dtype) -> bool:
    """Return whether a rank's parts of rows are short, and the rows many."""
    split = layout.split
    if split is None or layout.comm.size == 1 or math.prod(layout.shape[:split]) < MANY:
        return False
    run = -(-layout.shape[split] // layout.comm.size) * math.prod(layout.shape[split + 1 :])
    return run * dtype.itemsize < SHORT


def _read(
    source: Source,
    selection: Selection,
    dtype: torch.dtype,
    place: torch.device,
    advance: Callable[[int], object],
) -> Tensor:
    """Return a selection as a tensor of `dtype`, read in blocks to avoid a second copy."""
    result = _empty(selection.shape, dtype, place)

    def fill(to: Tensor, part: Selection, axis: int) -> None:
        if to.nbytes <= BLOCK or axis == to.ndim:
            if to.numel():  # some libraries fail on empty slabs
                to.copy_(_read_block(source, part, dtype))
            advance(to.nbytes)
            return
        for first, count in _blocks(source, part, axis, to.nbytes // to.shape[axis]):
            fill(to.narrow(axis, first, count), part.along(axis, first, count), axis + 1)

    fill(result, selection, 0)
    return result


def _empty(shape: Shape, dtype: torch.dtype, place: torch.device) -> Tensor:
    """Return an empty tensor, from NumPy: its huge pages halve the time of the first touch."""
    if place.type != "cpu" or dtype is torch.bfloat16:
        return torch.empty(shape, dtype=dtype, device=place)
    return torch.from_numpy(np.empty(shape, to_numpy_dtype(dtype)))


def _blocks(source: Source, selection: Selection, axis: int, row: int) -> Iterator[tuple[int, int]]:
    """Yield (first index, length) of blocks that end at chunk bounds; `row` is bytes per index."""
    n = selection.shape[axis]
    at = selection.source_axis(axis)
    chunk = 1 if source.chunks is None else source.chunks[at]
    rows = -(-max(BLOCK // row, 1) // chunk) * chunk
    item = selection.items[at]
    before = item.start % chunk if isinstance(item, Range) and item.step == 1 else 0
    for start, end in itertools.pairwise([0, *range(rows - before, n, rows), n]):
        yield start, end - start


def _read_block(source: Source, selection: Selection, dtype: torch.dtype) -> Tensor:
    # NumPy has no bfloat16: read float32, and let torch round.
    wanted = np.dtype("float32") if dtype is torch.bfloat16 else to_numpy_dtype(dtype)
    with np.errstate(invalid="ignore", over="ignore"):
        values = np.flip(source.read(selection.slab, wanted), selection.flipped)
        values = np.asarray(values).astype(wanted, order="C", copy=False)
    return from_numpy("load", values, copy=False)


def _read_rows(
    func: str,
    source: Source,
    selection: Selection,
    layout: Layout,
    dtype: torch.dtype,
    place: torch.device,
    advance: Callable[[int], object],
) -> Tensor:
    """Return this rank's shard: the ranks read some whole rows at a time and redistribute."""
    comm, split = layout.comm, layout.split
    assert split is not None
    result = torch.empty(layout.local_shape, dtype=dtype, device=place)
    later = Deferred(func, comm)

    def fill(to: Tensor, part: Selection, axis: int) -> None:
        n, width = part.shape[axis], math.prod(part.shape[axis + 1 :]) * dtype.itemsize
        if width > ROUND and axis + 1 < split:
            for i in range(n):
                fill(to.narrow(axis, i, 1), part.along(axis, i, 1), axis + 1)
            return
        rows = comm.size * max(1, ROUND // max(width, 1))
        for first in range(0, n, rows):
            count = min(rows, n - first)
            block = part.along(axis, first, count)
            even = Layout.balanced(block.shape, axis, comm)
            part_of_rank = block.of_rank(even)
            values = later.run(partial(_read, source, part_of_rank, dtype, place, advance))
            if values is None:
                values = torch.empty(even.local_shape, dtype=dtype, device=place)
            target = Layout.of(block.shape, split, layout.division, comm)
            to.narrow(axis, first, count).copy_(redistribute(Array(values, even), target)._local)
            del values  # before the next rows are read

    fill(result, selection, 0)
    later.finish()
    return result
