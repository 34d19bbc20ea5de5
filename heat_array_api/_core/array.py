"""The distributed array: one torch tensor per rank and the layout that ties them together.

Arrays may share memory, but only views and their sources share values (see `views`): what writes
(`__setitem__`, ``+=`` ...) first copies a shard whose memory others use (`Array.writable`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from multiprocessing.reduction import ForkingPickler
from types import ModuleType
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from .._comm.communicator import Communicator
from .._comm.recording import breaks
from .._comm.trace import account
from .._errors import CommunicatorMismatchError, shown
from .collectives import gather, shard
from .dtypes import COMPLEX, INTEGER, DType, Kind, carrier, to_numpy_dtype, uncarry
from .layout import Layout, Shape, has_overlap
from .operators import OPERANDS, Operators, namespace
from .tape import tracked
from .torch_internals import storage_use_count
from .views import Link, Views, current, is_selection, note_write, write_through


class Device:
    """Where shards are stored; equal by value, and to the string.

    Arrays of any split on the same kind of device can be used together.

    Parameters
    ----------
    kind : str
        "cpu", or "cuda": each rank's own GPU.

    Examples
    --------
    >>> xp.zeros(3).device
    Device('cpu')
    """

    __slots__ = ("type",)

    def __init__(self, kind: str) -> None:
        if type(kind) is not str or kind not in ("cpu", "cuda"):
            raise ValueError(f"Device: {shown(kind)} is unknown; expected 'cpu' or 'cuda'")
        self.type = kind

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Device):
            return self.type == other.type
        if isinstance(other, str):
            return self.type == other
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self.type)

    def __str__(self) -> str:
        return self.type

    def __repr__(self) -> str:
        return f"Device({self.type!r})"


CPU = Device("cpu")


class Array(Operators):
    """A global array of the standard, held as shards by the ranks of a communicator.

    Creation functions make arrays; this constructor takes the tensor and the layout as they are.

    **Views.** As in NumPy, what is written into a view shows in its source, and what is written
    into the source shows in the view, on every layout. Views are basic selections
    (``x[1:, ::-1]``), exchanged axes (``x.T``, `permute_dims`, `moveaxis`), `expand_dims`,
    `squeeze`, and `reshape` where NumPy would not copy. Integers alone select a value (``x[0]`` of
    one axis); all else is a copy.
    A write sends nothing to the views: they take the new values at their next use, by the messages
    that made them (none, but for an integer or a negative step on the split axis, and for
    `reshape` and `squeeze` where they move rows), so all ranks must use them together.

    Parameters
    ----------
    local : torch.Tensor
        This rank's shard, of shape ``layout.local_shape``.
    layout : Layout
        The same on every rank.

    Examples
    --------
    >>> x = xp.zeros((2, 3), split=0)
    >>> column = x[:, 1]
    >>> column += 5
    >>> x[0] = 7
    >>> print(column)
    [7. 5.]
    """

    __slots__ = ("__weakref__", "_layout", "_link", "_local", "_varying", "_views")

    # NumPy's binary operators defer to ours, whichever side the array is on.
    __array_priority__ = 1000

    _varying: tuple[Tensor, int, Tensor]  # see `lift.varying`
    _link: Link  # of a view: see `views`
    _views: Views
    _is_stale = False

    def __init__(self, local: Tensor, layout: Layout) -> None:
        self._local = local
        self._layout = layout

    # ------------------------------------------------------------------ attributes

    @property
    def local(self) -> Tensor:
        """The shard of this rank: the tensor itself, not a copy. Treat it as read-only."""
        return self._local

    @property
    def layout(self) -> Layout:
        """The layout: shape, split, every rank's count, communicator."""
        return self._layout

    @property
    def split(self) -> int | None:
        """The axis along which the array is cut into shards; None: replicated."""
        return self._layout.split

    @property
    def comm(self) -> Communicator:
        """The communicator whose ranks hold the array."""
        return self._layout.comm

    @property
    def is_balanced(self) -> bool:
        """Whether the ranks' shards differ by at most one row, the longer ones first."""
        return self._layout.is_balanced

    @property
    def dtype(self) -> DType:
        """The dtype, a NumPy ``dtype`` object."""
        return to_numpy_dtype(self._local.dtype)

    @property
    def device(self) -> Device:
        """The kind of device that holds the shards."""
        return CPU if self._local.device.type == "cpu" else Device(self._local.device.type)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self._layout.shape)

    @property
    def shape(self) -> Shape:
        """The global shape."""
        return self._layout.shape

    @property
    def size(self) -> int:
        """The number of elements of the global array."""
        return self._layout.size

    @property
    def itemsize(self) -> int:
        """The size of one element in bytes."""
        return self._local.element_size()

    @property
    def nbytes(self) -> int:
        """The size of the global array in bytes."""
        return self.size * self.itemsize

    @property
    def real(self) -> Array:
        """The real part (of any dtype: a view where there is no other)."""
        if self._local.dtype not in COMPLEX.all:  # `hasattr` computes it too: no copy
            return Array(self._local.view_as(self._local), self._layout)
        result: Array = namespace().real(self)
        return result

    @property
    def imag(self) -> Array:
        """The imaginary part (where the array is real one zero, expanded)."""
        t = self._local
        if t.dtype not in COMPLEX.all:
            zero = torch.zeros((), dtype=t.dtype, device=t.device)
            return Array(zero.expand(t.shape), self._layout)
        result: Array = namespace().imag(self)
        return result

    # ------------------------------------------------------------------ protocols

    def __array_namespace__(self, *, api_version: str | None = None) -> ModuleType:
        """Return the namespace: ``heat_array_api`` itself."""
        module: ModuleType = namespace()
        if api_version is not None and api_version not in module.SUPPORTED_API_VERSIONS:
            raise ValueError(
                f"__array_namespace__: api_version is {shown(api_version)}; supported are "
                f"{', '.join(module.SUPPORTED_API_VERSIONS)}"
            )
        return module

    def to_device(self, device: Any, /, *, stream: Any = None) -> Array:
        """Return the array on another kind of device.

        Parameters
        ----------
        device : Device or str
            "cpu" or "cuda".
        stream : None
            Of the standard; not supported.

        Returns
        -------
        Array
            Of the same layout; itself if it is there already. Sends nothing.
        """
        if stream is not None:
            raise ValueError("to_device: stream is not supported; pass None")
        result: Array = namespace().asarray(self, device=device)
        return result

    def full_tensor(self) -> Tensor:
        """Return the whole array on every rank.

        Returns
        -------
        torch.Tensor
            Of the global shape: one allgather if the array is split, else the shard itself.
        """
        return gather(self._local, self._layout)

    def _gathered(self, what: str) -> Tensor:
        """Return `full_tensor` for code outside the package, which is accounted for."""
        if self._layout.split is not None and self.comm.size > 1:
            account(what, self.nbytes, self.comm.size)
        return self.full_tensor()

    @breaks
    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        """Return the whole array as a NumPy array on every rank: a collective gather if split."""
        if copy is False and self._layout.split is not None and self.comm.size > 1:
            raise ValueError("__array__: copy=False, but gathering a split array copies it")
        self._off_tape("__array__")
        full = self._gathered("__array__").cpu()
        if full.dtype is torch.bfloat16:
            values = full.view(torch.int16).numpy().view(self.dtype)
        else:
            values = full.resolve_conj().resolve_neg().numpy()
        # Arrays are values: what NumPy code writes must not show in the array.
        if full.data_ptr() == self._local.data_ptr():
            if copy is False:
                values.flags.writeable = False
            else:
                values = values.copy()
        if dtype is None or np.dtype(dtype) == values.dtype:
            return values
        if copy is False:
            raise ValueError(f"__array__: copy=False, but {values.dtype} must be copied to {dtype}")
        return values.astype(dtype)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """Run NumPy's ufunc as the namespace's function of the same meaning."""
        return namespace()._ufuncs.call(ufunc, method, inputs, kwargs)

    @breaks
    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: Any = None,
        copy: bool | None = None,
    ) -> Any:
        """Export the whole array through DLPack on every rank: a collective gather if split.

        No rank holds the whole of a split array, so what is exported is the gathered value;
        ``copy=False`` then forbids a further copy of it, and can forbid no more.
        """
        if self._local.requires_grad:
            raise BufferError("__dlpack__: the array is being differentiated; use x.detach()")
        full = self._gathered("__dlpack__").resolve_conj().resolve_neg()
        # A consumer may write into what it gets, and arrays are values: hand out a copy
        # unless the caller forbids one.
        if copy is not False and full.data_ptr() == self._local.data_ptr():
            full = full.clone()
        if dl_device is None:
            return full.__dlpack__(stream=stream, max_version=max_version)
        return full.__dlpack__(stream=stream, max_version=max_version, dl_device=dl_device)

    def __dlpack_device__(self) -> tuple[Any, int]:
        """Return DLPack's (device type, device id) of this rank's shard."""
        return self._local.__dlpack_device__()

    def __copy__(self) -> Array:
        return Array(self._local.view_as(self._local), self._layout)

    def __deepcopy__(self, memo: dict[int, Any]) -> Array:
        return Array(self._local.clone(), self._layout)

    @breaks
    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle this rank's shard with its layout: every rank pickles and loads its own."""
        values = carrier(self._local).detach().cpu().contiguous()
        if values.untyped_storage().nbytes() != values.nbytes:  # or all of it would be pickled
            values = values.clone()
        layout = self._layout
        state = (layout.shape, layout.split, layout.counts, layout.comm)
        return _unpickle, (values, self._local.dtype, str(self.device), state)

    # ------------------------------------------------------------------ Python scalars

    def _off_tape(self, what: str) -> None:
        """Raise if the array is being differentiated: what leaves it would not be."""
        if self._local.requires_grad:
            raise RuntimeError(
                f"{what}: the array is being differentiated, and the result would not be; use "
                "x.detach() or autograd.stop_gradient(x) first"
            )

    @breaks
    def item(self) -> Any:
        """Return the only element as a Python scalar.

        Returns
        -------
        bool, int, float or complex
            The same on every rank. One allgather of the element if the array is split.
        """
        if self.size != 1:
            raise ValueError(
                f"item: the array has shape {self.shape}; only one element becomes a scalar"
            )
        self._off_tape("item")
        return self.full_tensor().item()

    def __bool__(self) -> bool:
        return bool(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __complex__(self) -> complex:
        return complex(self.item())

    def __index__(self) -> int:
        if self._local.dtype not in INTEGER.all:
            raise TypeError(f"__index__: only an integer array is an index, this is {self.dtype}")
        if self.size != 1:  # a TypeError, as NumPy's
            raise TypeError(f"__index__: the array has shape {self.shape}; expected one element")
        return int(self.item())

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a 0-d array")
        return self.shape[0]

    def __iter__(self) -> Iterator[Array]:
        if not self.shape:
            raise TypeError("iteration over a 0-d array")
        # One by one: all of them at once would be a gather of a split first axis.
        return (self[i] for i in range(self.shape[0]))

    def __contains__(self, value: Any) -> bool:
        return bool(namespace().any(self == value))

    def tolist(self) -> Any:
        """Return the whole array as nested lists.

        Returns
        -------
        list or scalar
            The same on every rank: one allgather if the array is split.
        """
        return self.__array__().tolist()

    def __repr__(self) -> str:
        text: str = namespace()._repr.short(self)
        return text

    def __str__(self) -> str:
        text: str = namespace().to_string(self)
        return text

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else str(self)

    def _repr_html_(self) -> str:
        text: str = namespace()._repr.html(self)
        return text

    # ------------------------------------------------------------------ derivatives

    @property
    def requires_grad(self) -> bool:
        """Whether the array is on the tape; the same on all ranks."""
        return self._local.requires_grad

    def requires_grad_(self, requires_grad: bool = True) -> Array:
        """Put the array on the tape as an input: `backward` will accumulate into `grad`.

        It can then be written to only under `autograd.no_grad`, as an optimiser does.

        Parameters
        ----------
        requires_grad : bool
            False takes it off the tape.

        Returns
        -------
        Array
            The array itself.
        """
        if not (self._local.is_floating_point() or self._local.is_complex()):
            raise TypeError(
                f"requires_grad_: the dtype is {self.dtype}; only floating-point arrays have "
                "derivatives"
            )
        self._local.requires_grad_(requires_grad)
        return self

    @property
    def grad(self) -> Array | None:
        """The gradient that `backward` has accumulated, in this array's layout; None if none."""
        gradient = self._local.grad if self._local.is_leaf else None
        return None if gradient is None else Array(gradient, self._layout)

    @grad.setter
    def grad(self, value: Array | None) -> None:
        """Set it, to None before the next backward pass."""
        if value is not None and value._layout != self._layout:
            raise ValueError(f"grad: a gradient in {value._layout}; expected {self._layout}")
        self._local.grad = None if value is None else value._local

    def backward(self, cotangent: Array | None = None) -> None:
        """Accumulate the gradient of this array in `grad` of the inputs it depends on.

        Parameters
        ----------
        cotangent : Array, optional
            Of this array's shape and layout; by default 1, for a real scalar.

        Raises
        ------
        TypeError
            If the array is not a real scalar and there is no cotangent.
        RuntimeError
            If it depends on no array with `requires_grad_`.
        """
        namespace()._autograd.backward(self, cotangent)

    def detach(self) -> Array:
        """Return the array as a constant, off the tape.

        Returns
        -------
        Array
            A value in the same layout. Sends nothing.
        """
        return Array(self._local.detach(), self._layout)

    # ------------------------------------------------------------------ indexing and writing

    def __getitem__(self, key: Any, /) -> Array:
        result: Array = namespace()._indexing.getitem(self, key)
        return result

    def __setitem__(self, key: Any, value: Any, /) -> None:
        # After ``x[key] += 1`` Python writes back what has gone through to `x` already.
        if isinstance(value, Array) and is_selection(value, self, key):
            return
        note_write(self)
        namespace()._indexing.setitem(self, key, value)
        write_through(self)

    def writable(self) -> Tensor:
        """Return this rank's shard for writing, for code inside the package.

        Returns
        -------
        torch.Tensor
            The shard; a fresh copy if anyone else uses its memory.
        """
        if self.is_input():
            return self._local
        t = self._local
        storage = t.untyped_storage()
        # Two owners are the tensor and the handle just made; a third is somebody's view.
        # Memory that torch did not allocate (not resizable) is NumPy's or another library's.
        shared = storage_use_count(storage._cdata) > 2 or not storage.resizable()
        if shared or has_overlap(t.shape, t.stride()) or self._local.requires_grad:
            self._local = self._local.clone(memory_format=torch.contiguous_format)
        return self._local

    def is_input(self) -> bool:
        """Return whether this is an input of the tape, which is written to in place.

        Raises while the tape is recording.

        Returns
        -------
        bool
        """
        link = getattr(self, "_link", None)
        if link is not None:
            link.source.is_input()  # what is written to a view is written there, too
        t = self._local
        if not (t.requires_grad and t.is_leaf):
            return False
        if t._base is not None and t._base.requires_grad:  # made of an input, off the tape
            self._local = t.detach()
            return False
        if torch.is_grad_enabled():
            raise RuntimeError(
                "an array with requires_grad_() is written to; do so under autograd.no_grad(), or "
                "write to a copy (x * 1)"
            )
        return True

    def _update(self, function: Any, other: Any) -> Array:
        """Become ``function(self, other)`` in place: shape and dtype stay (layout: `_assign`)."""
        if not isinstance(other, OPERANDS):
            return NotImplemented  # type: ignore[no-any-return]
        self.is_input()
        ns = namespace()
        if (
            isinstance(other, Array)
            and other._layout is not self._layout
            and function is not ns.matmul
        ):  # messages may follow: errors come first
            self._check_storable(ns.broadcast_shapes(self.shape, other.shape), self.dtype)
            self._check_storable(self.shape, ns.result_type(self, other))
        return self._assign(function(self, other))

    def _assign(self, value: Array) -> Array:
        """Become `value` in place: in this array's dtype, and in its layout if that is split.

        A replicated array becomes split where the value is: the value would have to be gathered.
        """
        self._check_storable(value.shape, value.dtype)
        note_write(self)
        if value._local.dtype is not self._local.dtype:
            value = namespace().astype(value, self.dtype)
        if self._layout.split is None and not self.is_input():
            self._change_layout(value._layout)
        elif value._layout != self._layout:
            value = namespace().redistribute(value, self._layout)
        self.become(value._local.view_as(value._local))
        write_through(self)
        return self

    def become(self, t: Tensor) -> None:
        """Take another tensor as this rank's shard.

        Parameters
        ----------
        t : torch.Tensor
        """
        if self.is_input():
            self._local.copy_(t)
        else:
            self._local = t

    def lapse(self) -> None:
        """Let this array, a view, be made anew from its source when it is next used."""
        if self._is_stale:
            return
        t: Tensor = SLOT.__get__(self)
        is_input = t.requires_grad and t.is_leaf
        if self._link.source.requires_grad:  # then it is one only because it was made off the tape
            if is_input or not t.requires_grad:
                self._link = self._link._replace(constant=True)
            is_input = False
        if not is_input:
            SLOT.__set__(self, None)  # the source is then written to in place
        if hasattr(self, "_varying"):
            del self._varying
        self.__class__ = StaleView

    def cut(self, layout: Layout) -> None:
        """Keep only this rank's shard of a replicated array. Sends nothing.

        Parameters
        ----------
        layout : Layout
            Split, of the same shape.
        """
        own = shard(self._local, layout)
        self._local = own if tracked(own) else own.clone()  # a view would hold all of the memory
        self._change_layout(layout)

    def _change_layout(self, layout: Layout) -> None:
        """Take another layout. A view's no longer follows from its source's, then."""
        if layout is not self._layout and getattr(self, "_link", None) is not None:
            self._link = self._link._replace(layout=None)
        self._layout = layout

    def _check_storable(self, shape: Shape, dtype: DType) -> None:
        """Raise unless an in-place operator can store such a result in this array."""
        if shape != self.shape:
            raise ValueError(
                f"in-place operator: the result has shape {shape}, the array {self.shape}"
            )
        if not (dtype == self.dtype or np.can_cast(dtype, self.dtype, "same_kind")):
            raise TypeError(f"in-place operator: cannot store {dtype} in an array of {self.dtype}")


SLOT: Final[Any] = Array.__dict__["_local"]
"""Where an array keeps its shard: ``SLOT.__get__(x)``, ``SLOT.__set__(x, t)`` bypass properties."""

_LAYOUT: Final[Any] = Array.__dict__["_layout"]


class StaleView(Array):
    """A view whose source has been written to: it becomes a current one when it is next used.

    An array changes to this class and back, so that `Array` has plain slots. What is known without
    the new values (shape, layout, dtype, communicator) may be asked on some ranks only.
    """

    __slots__ = ()
    _is_stale = True

    def _renew(self) -> None:
        self.__class__ = Array  # type: ignore[assignment]

    def _refreshed(self) -> Array:
        """Make the view from its source. Messages: those of making it."""
        now = current(self._link)
        t, layout = SLOT.__get__(self), _LAYOUT.__get__(self)
        if t is not None and t.requires_grad:  # an input of the tape stays one
            with torch.no_grad():
                t.copy_(namespace().redistribute(now, layout)._local)
            self._renew()
        else:
            self._renew()
            if self._link.layout is self._link.source._layout and now._layout != layout:
                # Several steps at once may lead to another layout.
                now = namespace().redistribute(now, layout)
            self._local, self._layout = now._local, now._layout
            source = self._link.source
            self._link = self._link._replace(layout=_LAYOUT.__get__(source))
        return self

    def _known_layout(self) -> Layout | None:
        """Return the layout that a refresh will give, if that follows without one."""
        source, planned = self._link.source, self._link.layout
        now = source._known_layout() if isinstance(source, StaleView) else source._layout
        return _LAYOUT.__get__(self) if planned is not None and planned is now else None

    @property
    def _local(self) -> Tensor:
        return self._refreshed()._local

    @_local.setter
    def _local(self, t: Tensor) -> None:
        self._renew()
        self._local = t

    @property
    def _layout(self) -> Layout:
        return self._refreshed()._layout

    @_layout.setter
    def _layout(self, layout: Layout) -> None:
        self._renew()
        self._layout = layout

    # What is known without the new values: one rank may ask for it alone, unless a split array was
    # written into a replicated source, whose layout has changed with that.
    layout: Layout = property(lambda self: self._known_layout() or self._layout)  # type: ignore[assignment]
    split: int | None = property(lambda self: self.layout.split)  # type: ignore[assignment]
    is_balanced: bool = property(lambda self: self.layout.is_balanced)  # type: ignore[assignment]
    shape: Shape = property(lambda self: _LAYOUT.__get__(self).shape)  # type: ignore[assignment]
    comm: Any = property(lambda self: _LAYOUT.__get__(self).comm)
    ndim: int = property(lambda self: len(self.shape))  # type: ignore[assignment]
    size: int = property(lambda self: math.prod(self.shape))  # type: ignore[assignment]
    dtype: Any = property(lambda self: self._link.source.dtype)
    device: Any = property(lambda self: self._link.source.device)
    itemsize: Any = property(lambda self: self._link.source.itemsize)

    @property
    def requires_grad(self) -> bool:
        t = SLOT.__get__(self)
        return t is not None or (not self._link.constant and self._link.source.requires_grad)


def _unpickle(
    values: Tensor,
    dtype: torch.dtype,
    device: str,
    state: tuple[Shape, int | None, Shape, Communicator],
) -> Array:
    shape, split, counts, comm = state
    if split is not None and len(counts) != comm.size:
        if len(counts) > 1:
            raise ValueError(
                f"unpickle: the array is split over {len(counts)} ranks, and there "
                f"{'is one' if comm.size == 1 else f'are {comm.size}'} here; load with as many "
                "ranks as pickled, each its own shard, or pickle x.local or np.asarray(x)"
            )
        split, counts = None, ()  # one rank had it all: a child process that returns its result
    layout = Layout.of(shape, split, counts, comm)
    if tuple(values.shape) != layout.local_shape:
        raise ValueError(
            f"unpickle: this rank's shard has shape {tuple(values.shape)}, its layout here is "
            f"{layout.local_shape}; load with as many ranks as pickled, each its own shard"
        )
    return Array(uncarry(values.to(device), dtype), layout)


def _reduced_for_another_process(x: Array) -> tuple[Any, ...]:
    """Pickle an array for a child process, which is one rank.

    The error is raised here: the worker of a pool that cannot unpickle its task dies.
    """
    if x._layout.split is not None and x.comm.size > 1:
        raise TypeError(
            f"pickle: an array of shape {x.shape}, split over {x.comm.size} ranks, cannot go to "
            "another process, which is one rank; send x.local, this rank's part, or np.asarray(x)"
        )
    return x.__reduce__()


ForkingPickler.register(Array, _reduced_for_another_process)


def check_array(func: str, name: str, x: object, kind: Kind | None = None) -> Array:
    """Return `x` if it is an Array of dtype `kind`; else raise a TypeError that says what it is."""
    if not isinstance(x, Array):
        raise TypeError(f"{func}: {name} is {type(x).__name__}; expected a heat_array_api array")
    if kind is not None and x._local.dtype not in kind.all:
        article = "an" if kind.name[0] in "aeiou" else "a"
        raise TypeError(f"{func}: {name} has dtype {x.dtype}; expected {article} {kind.name} dtype")
    return x


def common_communicator(func: str, *arrays: Array) -> Communicator:
    """Return the communicator that all `arrays` live on; raise if they live on several."""
    comm = arrays[0]._layout.comm
    for other in arrays[1:]:
        if other._layout.comm is not comm:
            raise CommunicatorMismatchError(
                f"{func}: the arrays live on different communicators ({comm.shown} and "
                f"{other._layout.comm.shown}); move one with from_local or asarray(..., comm=)"
            )
    return comm
