"""Random arrays whose values do not depend on the number of ranks or on the split.

A `Generator` is a counter: element i of a draw is a function of the seed, of the
generator's position, and of i. The stream is that of NumPy's `Philox` (4x64, ten rounds),
which can start anywhere, so every rank draws just its own elements. The first
``random(shape)`` after ``default_rng(seed)`` is NumPy's
``numpy.random.Generator(numpy.random.Philox(seed)).random(shape)``.

All ranks make the same calls, so that their generators stay equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from operator import index
from typing import Any, Final

import numpy as np
import torch

from .._comm.communicator import Communicator, as_communicator
from .._comm.recording import breaks, depends_on_values
from .._core.array import Array
from .._core.dtypes import INTEGER, default_float, to_numpy_dtype, to_torch_dtype
from .._core.layout import as_shape, normalize_axis
from .._core.operators import namespace
from .._core.redistribute import redistribute
from .._creation import Split, local_device, new_layout
from .._options import UNSET, Unset
from ._global_state import seed_everything, share_generators
from ._philox import (
    HALVES_PER_BLOCK,
    Values,
    drawn_layout,
    exponential_quantile,
    multiples,
    normal_quantile,
    runs,
    stream,
    wide_multiples,
)

__all__ = ["Generator", "default_rng", "seed_everything", "share_generators"]


Kernel = Callable[[np.random.Generator, Values], None]


_CHUNK: Final = 1 << 15  # elements that a kernel transforms at a time, in cache


@breaks
def default_rng(seed: Any = None, *, comm: Any = None) -> Generator:
    """Return a generator of random arrays.

    Parameters
    ----------
    seed : int, sequence of int, numpy.random.SeedSequence or Generator, optional
        The same on every rank. None: fresh entropy of one rank, given to all by one
        broadcast. A Generator is returned as it is.
    comm : Communicator or mpi4py communicator, optional
        The ranks that will hold the arrays; the world by default.

    Returns
    -------
    Generator
        At the start of its stream.
    """
    if isinstance(seed, Generator):
        return seed
    communicator = as_communicator(comm)
    if seed is None:
        seed = communicator.bcast_object(np.random.SeedSequence().entropy)
    if not isinstance(seed, np.random.SeedSequence):
        seed = np.random.SeedSequence(seed)
    return Generator(seed, communicator)


class Generator:
    """A stream of random numbers, the same on every rank; made by `default_rng`.

    Methods have NumPy's names and meaning. ``size`` is a shape, an int, or None for a 0-d
    array; ``split`` and ``device`` are those of the creation functions. Arrays replicated,
    split along axis 0, or with long runs of elements on each rank are drawn in place;
    others are drawn split along axis 0 and redistributed by one all-to-all.

    Parameters
    ----------
    sequence : numpy.random.SeedSequence
        Where the key comes from, and those of spawned generators.
    comm : Communicator
        The ranks that hold the arrays.
    """

    def __init__(self, sequence: np.random.SeedSequence, comm: Communicator) -> None:
        self._sequence = sequence
        self._comm = comm
        self._key = sequence.generate_state(2, np.uint64)
        self._position = 0

    def __repr__(self) -> str:
        return f"Generator(key={[int(k) for k in self._key]}, position={self._position})"

    # ------------------------------------------------------------------ the stream

    @property
    def position(self) -> int:
        """How many blocks of 256 bits have been used; every draw starts a new one."""
        return self._position

    @property
    def state(self) -> dict[str, Any]:
        """The key and the position, as Python ints; may be assigned. Generators pickle, too."""
        return {"key": tuple(int(k) for k in self._key), "position": self._position}

    @state.setter
    def state(self, value: dict[str, Any]) -> None:
        self._key = np.array(value["key"], dtype=np.uint64)
        self._position = int(value["position"])

    def spawn(self, n: int) -> list[Generator]:
        """Return `n` generators of independent streams, the same on every rank."""
        return [Generator(child, self._comm) for child in self._sequence.spawn(n)]

    @breaks
    def _draw(
        self,
        func: str,
        size: Any,
        dtype: torch.dtype,
        split: Split,
        device: Any,
        halves: int,
        kernel: Kernel,
    ) -> Array:
        """Return an array filled by `kernel`, which uses `halves` words of 32 bits per element."""
        depends_on_values("it draws random numbers")
        comm = self._comm
        shape = () if size is None else as_shape(func, size)
        layout = new_layout(func, shape, split, comm)
        where = local_device(func, device, comm)
        drawn = drawn_layout(layout)
        local = np.empty(drawn.local_shape, to_numpy_dtype(dtype))
        flat, done = local.reshape(-1), 0
        for start, length in runs(drawn):
            source = stream(self._key, self._position, start * halves)
            for begin in range(done, done + length, _CHUNK):
                kernel(source, flat[begin : min(begin + _CHUNK, done + length)])
            done += length
        self._position += -(-math.prod(shape) * halves // HALVES_PER_BLOCK)
        return redistribute(Array(torch.from_numpy(local).to(where), drawn), layout)

    # ------------------------------------------------------------------ continuous distributions

    def random(
        self, size: Any = None, dtype: Any = None, *, split: Split = UNSET, device: Any = None
    ) -> Array:
        """Draw from the uniform distribution on [0, 1).

        Parameters
        ----------
        size : int or tuple of int, optional
            The shape; 0-d by default.
        dtype : dtype, optional
            float64 (multiples of 2**-53) or float32 (of 2**-24); by default the default one.
        split : int or None, optional
            The split axis; the default split if not given.
        device : Device or str, optional
            "cpu" or "cuda".

        Returns
        -------
        Array
            Balanced along `split`. Messages: see the class.
        """
        target = _floating("random", dtype)
        halves = 1 if target is torch.float32 else 2

        def kernel(source: np.random.Generator, out: Values) -> None:
            source.random(out=out, dtype=out.dtype.type)

        return self._draw("random", size, target, split, device, halves, kernel)

    def standard_normal(
        self, size: Any = None, dtype: Any = None, *, split: Split = UNSET, device: Any = None
    ) -> Array:
        """Draw from the normal distribution of mean 0 and deviation 1; parameters as of `random`.

        By the inverse of the distribution, from 53 bits per element: no value exceeds 8.3.
        """
        return self._inverse("standard_normal", normal_quantile, size, dtype, split, device)

    def standard_exponential(
        self, size: Any = None, dtype: Any = None, *, split: Split = UNSET, device: Any = None
    ) -> Array:
        """Draw from the exponential distribution of mean 1; parameters as of `random`."""
        return self._inverse(
            "standard_exponential", exponential_quantile, size, dtype, split, device
        )

    def _inverse(
        self,
        func: str,
        quantile: Callable[[torch.Tensor], torch.Tensor],
        size: Any,
        dtype: Any,
        split: Split,
        device: Any,
    ) -> Array:
        """Draw by a quantile function, applied to 53 random bits."""

        def kernel(source: np.random.Generator, out: Values) -> None:
            out[...] = quantile(torch.from_numpy(source.random(out.size))).numpy()

        return self._draw(func, size, _floating(func, dtype), split, device, 2, kernel)

    def normal(
        self,
        loc: Any = 0.0,
        scale: Any = 1.0,
        size: Any = None,
        dtype: Any = None,
        *,
        split: Split = UNSET,
        device: Any = None,
    ) -> Array:
        """Draw from the normal distribution of mean `loc` and deviation `scale`.

        Both are Python scalars or arrays, which broadcast with `size` (their common shape
        if that is None). Other parameters as of `random`.
        """
        if not isinstance(scale, Array) and scale < 0:
            raise ValueError(f"normal: scale is {scale}; it must not be negative")
        shape = _size_for(size, loc, scale)
        standard = self.standard_normal(shape, dtype, split=split, device=device)
        return _scaled(standard, scale, loc)

    def uniform(
        self,
        low: Any = 0.0,
        high: Any = 1.0,
        size: Any = None,
        dtype: Any = None,
        *,
        split: Split = UNSET,
        device: Any = None,
    ) -> Array:
        """Draw from the uniform distribution on [low, high); parameters as of `normal`."""
        standard = self.random(_size_for(size, low, high), dtype, split=split, device=device)
        return _scaled(standard, high - low, low)

    def exponential(
        self,
        scale: Any = 1.0,
        size: Any = None,
        dtype: Any = None,
        *,
        split: Split = UNSET,
        device: Any = None,
    ) -> Array:
        """Draw from the exponential distribution of mean `scale`; parameters as of `normal`."""
        shape = _size_for(size, scale)
        standard = self.standard_exponential(shape, dtype, split=split, device=device)
        return _scaled(standard, scale, 0.0)

    # ------------------------------------------------------------------ integers and choices

    def integers(
        self,
        low: int,
        high: int | None = None,
        size: Any = None,
        dtype: Any = None,
        endpoint: bool = False,
        *,
        split: Split = UNSET,
        device: Any = None,
    ) -> Array:
        """Draw integers from [low, high), or from [0, low) without `high`.

        Parameters
        ----------
        low, high : int
            The bounds must fit `dtype`.
        size : int or tuple of int, optional
            The shape; 0-d by default.
        dtype : dtype, optional
            An integer dtype; int64 by default.
        endpoint : bool
            Whether the upper bound itself can be drawn.
        split, device
            As of `random`.

        Notes
        -----
        A product of the range with 64 random bits, or 128 where the range has more than 32
        bits: no value's probability is further than 2**-64 from its exact one.
        """
        target = torch.int64 if dtype is None else to_torch_dtype(dtype, "integers")
        if target not in INTEGER.all:
            raise TypeError(f"integers: dtype is {dtype}; expected an integer dtype")
        first, last = _bounds(low, high, endpoint, to_numpy_dtype(target))
        extent = last - first + 1
        wide = extent > 2**32

        def kernel(source: np.random.Generator, out: Values) -> None:
            words = source.bit_generator.random_raw(out.size * (2 if wide else 1))
            values = wide_multiples(words, extent) if wide else multiples(words, extent)
            values += np.uint64(first % 2**64)  # modulo 2**64: right for negative numbers, too
            out[...] = values.astype(out.dtype)

        return self._draw("integers", size, target, split, device, 4 if wide else 2, kernel)

    @breaks
    def permutation(
        self, x: Array | int, axis: int = 0, *, split: Split = UNSET, device: Any = None
    ) -> Array:
        """Shuffle ``arange(x)``, or an array along an axis.

        Parameters
        ----------
        x : int or Array
            The number of integers, or what to shuffle: any layout.
        axis : int
            The axis of the array whose slices change places, whole.
        split, device
            Of the integers, as of `random`; an array keeps its own.

        Returns
        -------
        Array
            int64 if `x` is an int; else shape, dtype and split of `x`.

        Notes
        -----
        By the order of random keys of 64 bits. Messages, where the axis is split: one
        `argsort` of the keys and one `take`.
        """
        if not isinstance(x, Array):
            return self._order(int(x), split, device)
        axis = normalize_axis("permutation", axis, x.ndim)
        order = self._order(x.shape[axis], 0 if x.split == axis else None, x.device)
        shuffled: Array = namespace().take(x, order, axis=axis)
        return shuffled

    def _order(self, n: int, split: Split, device: Any) -> Array:
        """Return a random order of n items."""

        def kernel(source: np.random.Generator, out: Values) -> None:
            out[...] = source.bit_generator.random_raw(out.size).view(np.int64)

        keys = self._draw("permutation", (n,), torch.int64, split, device, 2, kernel)
        order: Array = namespace().argsort(keys)
        return order

    def shuffle(self, x: Array, axis: int = 0) -> None:
        """Shuffle an array in place along an axis; see `permutation`."""
        x._assign(self.permutation(x, axis))

    @breaks
    def choice(
        self,
        a: Array | int,
        size: Any = None,
        replace: bool = True,
        p: Any = None,
        axis: int = 0,
        shuffle: bool = True,
        *,
        split: Split = UNSET,
        device: Any = None,
    ) -> Array:
        """Draw from ``arange(a)``, or slices of an array.

        Parameters
        ----------
        a : int or Array
            The number of integers, or what to draw from: any layout.
        size : int or tuple of int, optional
            The shape of the draw; one item by default.
        replace : bool
            Whether an item can be drawn twice.
        p : Array or sequence of float, optional
            One-dimensional, the probability of each item, of sum 1; equal by default.
        axis : int
            The axis of `a` along which its slices lie.
        shuffle : bool
            For NumPy's signature: the order of the items drawn is always random.
        split, device
            Of the integers drawn, as of `random`; `split` is an axis of `size`.

        Returns
        -------
        Array
            int64 of shape `size` if `a` is an int; else `a` with `size` in the place of `axis`.

        Raises
        ------
        ValueError
            If there are not enough items, or `p` does not fit `a` or is no distribution.

        Notes
        -----
        Messages: without replacement one `argsort` of keys for all items; with `p` one
        `cumulative_sum` and one `searchsorted` of it; one `take` if `a` is an array.
        """
        xp = namespace()
        if isinstance(a, Array):
            axis = normalize_axis("choice", axis, a.ndim)
            split = (0 if a.split == axis else None) if isinstance(split, Unset) else split
        items = a.shape[axis] if isinstance(a, Array) else int(a)
        shape = () if size is None else as_shape("choice", size)
        number = math.prod(shape)
        if items == 0 and number:
            raise ValueError("choice: a has no items to draw from")
        if not replace and number > items:
            raise ValueError(f"choice: cannot draw {number} of {items} items without replacement")
        if p is not None:
            p = _probabilities(p, items, self._comm)
        flat: Split = split if isinstance(split, Unset) or split is None else 0
        if replace or not number:
            drawn = self._with_replacement(items, number, p, flat, device)
        else:
            drawn = self._without_replacement(items, number, p, flat, device)
        if not isinstance(a, Array):
            drawn = xp.reshape(drawn, shape)
            return redistribute(drawn, new_layout("choice", shape, split, self._comm))
        drawn = redistribute(drawn, new_layout("choice", (number,), flat, self._comm))
        result: Array = xp.take(a, drawn, axis=axis)
        if len(shape) != 1:
            result = xp.reshape(result, (*a.shape[:axis], *shape, *a.shape[axis + 1 :]))
        return result

    def _with_replacement(
        self, items: int, number: int, p: Array | None, split: Split, device: Any
    ) -> Array:
        if p is None or not number:
            return self.integers(max(items, 1), size=number, split=split, device=device)
        xp = namespace()
        bounds = xp.cumulative_sum(p)
        uniform = self.random(number, p.dtype, split=split, device=p.device)
        drawn: Array = xp.searchsorted(bounds, uniform * bounds[-1], side="right")
        return drawn

    def _without_replacement(
        self, items: int, number: int, p: Array | None, split: Split, device: Any
    ) -> Array:
        if p is None:
            return self._order(items, split, device)[:number]
        xp = namespace()
        if int(xp.count_nonzero(p)) < number:
            raise ValueError(f"choice: fewer than {number} probabilities in p are not 0")
        # The order in which exponential clocks of rates p ring (Efraimidis and Spirakis, 2006).
        keys = self.standard_exponential(items, p.dtype, split=p.split, device=p.device) / p
        return xp.argsort(keys)[:number]  # type: ignore[no-any-return]


# ---------------------------------------------------------------------- arguments


def _floating(func: str, dtype: Any) -> torch.dtype:
    """Return the dtype of a continuous distribution."""
    target = default_float() if dtype is None else to_torch_dtype(dtype, func)
    if target not in (torch.float32, torch.float64):
        raise TypeError(f"{func}: dtype is {dtype}; expected float32 or float64")
    return target


def _size_for(size: Any, *parameters: Any) -> Any:
    """Return `size`, or the common shape of the parameters that are arrays."""
    shapes = [value.shape for value in parameters if isinstance(value, Array)]
    if size is not None or not shapes:
        return size
    return namespace().broadcast_shapes(*shapes)


def _scaled(standard: Array, scale: Any, shift: Any) -> Array:
    """Return ``standard * scale + shift``."""
    xp = namespace()
    if isinstance(scale, Array) or scale != 1:
        standard = xp.multiply(standard, scale)
    if isinstance(shift, Array) or shift != 0:
        standard = xp.add(standard, shift)
    return standard


def _bounds(low: int, high: int | None, endpoint: bool, dtype: np.dtype[Any]) -> tuple[int, int]:
    """Return the least and the greatest integer to draw."""
    try:
        first, last = (0, index(low)) if high is None else (index(low), index(high))
    except TypeError:
        raise TypeError(f"integers: low is {low!r}, high {high!r}; expected ints") from None
    if not endpoint:
        last -= 1
    info = np.iinfo(dtype)
    if first > last:
        raise ValueError(f"integers: there is no integer from {first} to {last}")
    if first < info.min or last > info.max:
        raise ValueError(f"integers: {first} to {last} does not fit {dtype}")
    return first, last


def _probabilities(p: Any, items: int, comm: Communicator) -> Array:
    """Check the probabilities of a choice and return them as an array."""
    xp = namespace()
    if not isinstance(p, Array):
        p = xp.asarray(p, split=None, comm=comm)
    if p.shape != (items,):
        raise ValueError(f"choice: p has shape {p.shape}, but there are {items} items")
    given = p.dtype if xp.isdtype(p.dtype, "real floating") else np.dtype(np.float64)
    result: Array = xp.astype(p, np.dtype(np.float64))
    total = float(xp.sum(result))
    if not abs(total - 1) < math.sqrt(float(xp.finfo(given).eps)) or bool(xp.any(result < 0)):
        raise ValueError(f"choice: p must not be negative and must have sum 1; its sum is {total}")
    return result
