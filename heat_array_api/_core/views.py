"""Views: what is written into a view shows in its source, and the other way round, as in NumPy.

A view is a basic selection, an array with exchanged axes, or a reshaped array that NumPy would not
copy. It holds a `Link` to its source and its own tensor, so that the rule holds on every layout.

- A view that is written to is written into its source at once (`write_through`).
- An array that is written to marks its views as stale (`note_write`): each drops its tensor and
  becomes a `StaleView`, which makes itself anew from its source when it is next used. Marking sends
  nothing, so a rank may free a view whenever it likes; the messages of a refresh come where the
  program uses the view, which all ranks do alike. Arrays that are current pay for none of this.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from operator import mul
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from weakref import ref

import numpy as np
import torch
from torch import Tensor

from .._comm.recording import captures, depends_on_values
from .layout import Layout, Shape
from .operators import namespace

if TYPE_CHECKING:
    from .array import Array

Kind = Literal["index", "permute_dims", "reshape", "squeeze", "expand_dims"]


class Link(NamedTuple):
    """How a view was made: by indexing its source, or by a function of the namespace.

    Attributes
    ----------
    source : Array
        Held by an ordinary reference, as by NumPy's views.
    kind : str
        "index", or the function's name.
    how : Any
        The key, or the function's second argument: an order of axes, a shape, axes.
    layout : Layout or None
        The source's when the view was made; None if the view's own layout has been changed since.
    constant : bool
        Whether the view is off the tape, although its source is on it.
    """

    source: Array
    kind: Kind
    how: Any
    layout: Layout | None
    constant: bool = False


_new = tuple.__new__


class Views:
    """The views of an array: weak references; those to freed views are dropped now and then."""

    __slots__ = ("limit", "refs")

    def __init__(self) -> None:
        self.refs: list[ref[Array]] = []
        self.limit = 16

    def alive(self) -> list[Array]:
        """Return the views that have not been freed."""
        pairs = [(view, r) for r in self.refs if (view := r()) is not None]
        self.refs = [r for _, r in pairs]
        self.limit = 2 * len(pairs) + 16
        return [view for view, _ in pairs]


# ---------------------------------------------------------------------- making views


def linked(view: Array, source: Array, kind: Kind, how: Any = None) -> Array:
    """Return `view`, which was made of `source`, as a view of it."""
    view._link = _new(
        Link, (source, kind, how, source._layout, False)
    )  # half the time of Link(...)
    views: Views | None = getattr(source, "_views", None)
    if views is None:
        views = source._views = Views()
    if len(views.refs) >= views.limit:
        views.alive()
    views.refs.append(ref(view))
    return view


def permuted(x: Array, order: Shape) -> Array:
    """Return a view with the axes of `x` in another order."""
    return linked(permute(x, order), x, "permute_dims", order)


def permute(x: Array, order: Shape) -> Array:
    """Return the values of `x` with its axes in another order; the split follows its axis."""
    permuted: Array = namespace().Array(x._local.permute(order), x._layout.permuted(order))
    return permuted


def current(link: Link) -> Array:
    """Make a view once more. Messages: those of making it."""
    ns = namespace()
    with torch.set_grad_enabled(not link.constant):
        made: Array = (
            ns._indexing.getitem(link.source, link.how)
            if link.kind == "index"
            else getattr(ns, link.kind)(link.source, link.how)
        )
    return made


# ---------------------------------------------------------------------- writing


def note_write(x: Array, by: Array | None = None) -> None:
    """Mark the views of `x` as stale, before it is written to and after. Sends nothing.

    Before, so that they do not hold its memory, which would then be copied; after, because what is
    written may depend on them. `by` is the view through which the write comes.
    """
    views: Views | None = getattr(x, "_views", None)
    if views is None or not views.refs:
        return
    for view in views.alive():
        if view is not by:
            view.lapse()
            note_write(view)


def write_through(view: Array, by: Array | None = None) -> None:
    """Write an array, which has been written to, into its source, if it is a view.

    `by` is its view through which the write came: that one holds the new values already. Messages:
    those of redistributing the values to the source's layout.
    """
    note_write(view, by)
    link: Link | None = getattr(view, "_link", None)
    if link is None:
        return
    source, kind, how = link.source, link.kind, link.how
    if captures and type(source._local) is Tensor:  # an array outside: see `Program.__call__`
        *_, link = _chain(view)
        if any(x is not view and type(x._local) is not Tensor for x in _current(link.source)):
            depends_on_values("it writes to one of several views of an array outside")
        return
    ns = namespace()
    value = view
    if kind == "permute_dims":
        value = permute(view, tuple(sorted(range(len(how)), key=how.__getitem__)))
    elif kind != "index":
        value = ns.reshape(view, source.shape)
    note_write(source, view)
    ns._indexing.setitem(source, how if kind == "index" else ..., value)
    write_through(source, view)


def is_selection(view: Array, source: Array, key: Any) -> bool:
    """Return whether `view` is ``source[key]``, with the values that `source` has now.

    So it is after ``source[key] += 1``, when Python writes the result back.
    """
    link: Link | None = getattr(view, "_link", None)
    return (
        link is not None
        and link.source is source
        and link.kind == "index"
        and not view._is_stale
        and bool(namespace()._indexing.is_same_key(link.how, key))
    )


# ---------------------------------------------------------------------- questions


def _chain(x: Array) -> Iterator[Link]:
    """Yield the links from a view to the array that is no view."""
    link: Link | None = getattr(x, "_link", None)
    while link is not None:
        yield link
        link = getattr(link.source, "_link", None)


def _current(x: Array) -> Iterator[Array]:
    """Yield the views of an array, and theirs, that are not stale."""
    views: Views | None = getattr(x, "_views", None)
    for view in views.alive() if views else ():
        if not view._is_stale:
            yield view
        yield from _current(view)


def relations(arrays: Sequence[Array]) -> list[Any]:
    """Return how arrays are related where a write to one may show in another."""
    chains = {i: list(_chain(x)) for i, x in enumerate(arrays) if hasattr(x, "_link")}
    if not chains:
        return []
    owners = [id(chains[i][-1].source) if i in chains else id(x) for i, x in enumerate(arrays)]
    return [
        (i, owners.index(owner), *((link.kind, repr(link.how)) for link in chains.get(i, ())))
        for i, owner in enumerate(owners)
        if owners.count(owner) > 1
    ]


def is_view(x: Array, shape: Shape) -> bool:
    """Return whether NumPy would reshape such an array to `shape` without a copy."""
    links = list(_chain(x))
    if all(map(_keeps_rows, links)):  # its elements are neighbours, as those of the first source
        return True
    # The same selections of an array of NumPy's that has the shape, and no memory.
    owner = links[-1].source.shape
    places = np.lib.stride_tricks.as_strided(np.empty(1, np.uint8), owner, _strides(owner))
    shapes = [link.source.shape for link in links[-2::-1]]
    for link, after in zip(reversed(links), [*shapes, x.shape], strict=True):
        if link.kind == "index":
            places = places[link.how]
        elif link.kind == "permute_dims":
            places = places.transpose(link.how)
        else:
            places = places.reshape(after)
    try:
        places.reshape(shape, copy=False)
    except ValueError:
        return False
    return True


def _keeps_rows(link: Link) -> bool:
    """Return whether a view is a whole row of its source (``x[3]``), or has another shape only."""
    if link.kind == "index":
        items = link.how if isinstance(link.how, tuple) else (link.how,)
        return all(type(item) is int for item in items)
    return link.kind != "permute_dims"


def _strides(shape: Shape) -> Shape:
    """Return the distances of neighbours along each axis of a new array of NumPy's."""
    sizes = accumulate((max(n, 1) for n in shape[:0:-1]), mul, initial=1)
    return tuple(sizes)[::-1] if shape else ()
