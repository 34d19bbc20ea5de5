"""The generator of random arrays, whose values depend on neither the ranks nor the split.

Element i of a draw is a function of the seed, of the generator's position and of i. The stream is
that of NumPy's `Philox` (4x64, ten rounds), which can start anywhere, so every rank draws only its
own elements. All ranks make the same calls, so their generators stay equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from operator import index
from typing import Any, Final

import numpy as np
import torch

from .._comm.assumptions import assumed, by_numpy
from .._comm.communicator import Communicator, as_communicator
from .._comm.recording import breaks, depends_on_values
from .._core.array import Array
from .._core.docstrings import filled_in, template
from .._core.dtypes import INTEGER, default_float, to_numpy_dtype, to_torch_dtype
from .._core.layout import Layout, as_ints, as_shape, normalize_axis
from .._core.operators import namespace
from .._core.redistribute import redistribute
from .._creation import Split, local_device, new_layout
from .._errors import shown
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


@filled_in()
@breaks
def default_rng(seed: Any = None, *, comm: Any = None) -> Generator:
    """Return a generator of random arrays.

    Parameters
    ----------
    seed : int, sequence of int, numpy.random.SeedSequence or Generator, optional
        The same on every rank; by default fresh entropy. A Generator is returned as it is.
    {comm}

    Returns
    -------
    Generator
        At the start of its stream. Sends one small broadcast if `seed` is None.

    Raises
    ------
    TypeError, ValueError
        If `seed` is not one that NumPy takes.

    Examples
    --------
    >>> rng = xp.random.default_rng(7)
    >>> print(rng.integers(10, size=5, split=0))
    [4 4 3 2 1]
    """
    if isinstance(seed, Generator):
        return seed
    communicator = as_communicator("default_rng", comm)
    if seed is None:
        seed = communicator.bcast_object(np.random.SeedSequence().entropy)
    if not isinstance(seed, np.random.SeedSequence):
        try:
            if hasattr(seed, "dtype"):  # from the dtype alone, where it is not of integers
                seed = as_ints("default_rng", "seed", seed)
            seed = np.random.SeedSequence(seed)
        except (TypeError, ValueError) as error:
            raise type(error)(
                f"default_rng: seed is {shown(seed)}; expected an int or ints that are not negative"
            ) from None
    return Generator(seed, communicator)


_drawn = template(
    """
    size : int or tuple of int, optional
        The shape of the result; by default that of array parameters, or else 0-d.
    dtype : dtype, optional
        float32 or float64; by default float64 (see `set_options`).
    loc : float or Array
        The mean.
    scale : float or Array
        The standard deviation of a normal, the mean of an exponential distribution.
    low : float or Array
        The lower bound.
    high : float or Array
        The upper bound, which is left out.
    """,
    """
    Returns
    -------
    Array
        Of the shape `size`. Array parameters are broadcast with it. Sends nothing, or one
        all-to-all (see `Generator`).
    """,
)


class Generator:
    """A stream of random numbers, the same on every rank; made by `default_rng`.

    Methods have NumPy's names and meaning. The first ``random(shape)`` after ``default_rng(seed)``
    is NumPy's ``numpy.random.Generator(numpy.random.Philox(seed)).random(shape)``.

    Each rank draws its own elements and sends nothing if the result is replicated, split along
    axis 0, or has long runs of consecutive elements on each rank. Otherwise the result is drawn
    split along axis 0 and redistributed by one all-to-all.

    Parameters
    ----------
    sequence : numpy.random.SeedSequence
        The source of the key, and of those of spawned generators.
    comm : Communicator
        The ranks that share the arrays.

    Examples
    --------
    >>> rng = xp.random.default_rng(7)
    >>> print(rng.normal(size=3, split=0))
    [-0.07824273 -0.18619522 -0.35050012]
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
        """The key and the position, as Python ints; may be assigned. Generators also pickle."""
        return {"key": tuple(int(k) for k in self._key), "position": self._position}

    @state.setter
    def state(self, value: dict[str, Any]) -> None:
        self._key = np.array(value["key"], dtype=np.uint64)
        self._position = int(value["position"])

    def spawn(self, n: int) -> list[Generator]:
        """Return generators of independent streams.

        Parameters
        ----------
        n : int
            How many.

        Returns
        -------
        list of Generator
            The same on every rank. Sends nothing.
        """
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
        drawn, position = drawn_layout(layout), self._position
        self._position += -(-math.prod(shape) * halves // HALVES_PER_BLOCK)
        if assumed():
            local = by_numpy(drawn.local_shape, dtype)
        else:
            local = self._values(drawn, position, dtype, halves, kernel)
        return redistribute(Array(local.to(where), drawn), layout)

    def _values(
        self, drawn: Layout, position: int, dtype: torch.dtype, halves: int, kernel: Kernel
    ) -> torch.Tensor:
        """Return this rank's part of what is drawn from a position of the stream on."""
        local = np.empty(drawn.local_shape, to_numpy_dtype(dtype))
        flat, done = local.reshape(-1), 0
        for start, length in runs(drawn):
            source = stream(self._key, position, start * halves)
            for begin in range(done, done + length, _CHUNK):
                kernel(source, flat[begin : min(begin + _CHUNK, done + length)])
            done += length
        return torch.from_numpy(local)

    # ------------------------------------------------------------------ continuous distributions

    @_drawn()
    def random(
        self, size: Any = None, dtype: Any = None, *, split: Split = UNSET, device: Any = None
    ) -> Array:
        """Draw from the uniform distribution on [0, 1).

        Values are multiples of 2**-53, in float32 of 2**-24.
        """
        target = _floating("random", dtype)
        halves = 1 if target is torch.float32 else 2

        def kernel(source: np.random.Generator, out: Values) -> None:
            source.random(out=out, dtype=out.dtype.type)

        return self._draw("random", size, target, split, device, halves, kernel)

    @_drawn()
    def standard_normal(
        self, size: Any = None, dtype: Any = None, *, split: Split = UNSET, device: Any = None
    ) -> Array:
        """Draw from the normal distribution of mean 0 and standard deviation 1.

        By its quantile function of 53 random bits: no value exceeds 8.3.
        """
        return self._inverse("standard_normal", normal_quantile, size, dtype, split, device)

    @_drawn()
    def standard_exponential(
        self, size: Any = None, dtype: Any = None, *, split: Split = UNSET, device: Any = None
    ) -> Array:
        """Draw from the exponential distribution of mean 1."""
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

    @_drawn()
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
        """Draw from the normal distribution of mean `loc` and standard deviation `scale`."""
        if not isinstance(scale, Array) and scale < 0:
            raise ValueError(f"normal: scale is {scale}; it must not be negative")
        shape = _size_for(size, loc, scale)
        standard = self.standard_normal(shape, dtype, split=split, device=device)
        return _scaled(standard, scale, loc)

    @_drawn()
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
        """Draw from the uniform distribution on [`low`, `high`)."""
        standard = self.random(_size_for(size, low, high), dtype, split=split, device=device)
        return _scaled(standard, high - low, low)

    @_drawn()
    def exponential(
        self,
        scale: Any = 1.0,
        size: Any = None,
        dtype: Any = None,
        *,
        split: Split = UNSET,
        device: Any = None,
    ) -> Array:
        """Draw from the exponential distribution of mean `scale`."""
        shape = _size_for(size, scale)
        standard = self.standard_exponential(shape, dtype, split=split, device=device)
        return _scaled(standard, scale, 0.0)

    # ------------------------------------------------------------------ integers and choices

    @filled_in()
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
        """Draw integers from [`low`, `high`), or from [0, `low`) without `high`.

        Each is the product of the range and 64 random bits, or 128 if the range has more than 32
        bits: the probability of a value differs from the exact one by at most 2**-64.

        Parameters
        ----------
        low, high : int
            The bounds; they must fit `dtype`.
        size : int or tuple of int, optional
            The shape of the result; by default 0-d.
        dtype : dtype, optional
            An integer dtype; int64 by default.
        endpoint : bool
            Whether the upper bound itself can be drawn.
        {split}
        {device}

        Returns
        -------
        Array
            Sends nothing, or one all-to-all (see `Generator`).
        """
        target = torch.int64 if dtype is None else to_torch_dtype(dtype, "integers")
        if target not in INTEGER.all:
            raise TypeError(f"integers: dtype is {shown(dtype)}; expected an integer dtype")
        first, last = _bounds(low, high, endpoint, to_numpy_dtype(target))
        extent = last - first + 1
        wide = extent > 2**32

        def kernel(source: np.random.Generator, out: Values) -> None:
            words = source.bit_generator.random_raw(out.size * (2 if wide else 1))
            values = wide_multiples(words, extent) if wide else multiples(words, extent)
            values += np.uint64(first % 2**64)  # modulo 2**64: right for negative numbers, too
            out[...] = values.astype(out.dtype)

        return self._draw("integers", size, target, split, device, 4 if wide else 2, kernel)

    @filled_in()
    @breaks
    def permutation(
        self, x: Array | int, axis: int = 0, *, split: Split = UNSET, device: Any = None
    ) -> Array:
        """Return the integers from 0 to x - 1, or the slices of an array, in random order.

        Parameters
        ----------
        x : int or Array
            The number of integers, or the array to shuffle, of any layout.
        axis : int
            The axis of the array along which whole slices change places.
        {split}
        {device}

        Returns
        -------
        Array
            int64 if `x` is an int; otherwise of the shape, dtype and split of `x`, whatever `split`
            and `device` are. Sends, if the axis is split, one `argsort` of 64 random bits per
            slice and one `take`.
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
        """Shuffle an array in place.

        Parameters
        ----------
        x : Array
            Of any layout.
        axis : int
            The axis along which whole slices change places. Sends what `permutation` sends.
        """
        x._assign(self.permutation(x, axis))

    @filled_in()
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
        """Draw from the integers from 0 to a - 1, or slices of an array.

        Parameters
        ----------
        a : int or Array
            The number of integers, or the array to draw from, of any layout.
        size : int or tuple of int, optional
            The shape of the draw; by default one item.
        replace : bool
            Whether an item can be drawn twice.
        p : Array or sequence of float, optional
            One-dimensional, the probability of each item, with sum 1; by default all are equal.
        axis : int
            The axis of `a` along which its slices lie.
        shuffle : bool
            Has no effect: the order of the items is always random.
        {split}
        {device}

        Returns
        -------
        Array
            int64 of shape `size` if `a` is an int; otherwise `a` with `size` in place of `axis`.
            Sends one `argsort` of all items' keys without replacement, one `cumulative_sum` and
            one `searchsorted` with `p`, and one `take` if `a` is an array.

        Raises
        ------
        ValueError
            If there are not enough items, or `p` does not fit `a` or is not a distribution.
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
        raise TypeError(f"{func}: dtype is {shown(dtype)}; expected float32 or float64")
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
        raise TypeError(
            f"integers: low is {shown(low)}, high {shown(high)}; expected ints"
        ) from None
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
        raise ValueError(f"choice: p has shape {p.shape}; expected ({items},)")
    given = p.dtype if xp.isdtype(p.dtype, "real floating") else np.dtype(np.float64)
    result: Array = xp.astype(p, np.dtype(np.float64))
    total = float(xp.sum(result))
    if not abs(total - 1) < math.sqrt(float(xp.finfo(given).eps)) or bool(xp.any(result < 0)):
        raise ValueError(f"choice: p must not be negative and must have sum 1; its sum is {total}")
    return result
