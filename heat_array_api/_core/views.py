"""Views: arrays whose writes go through to the array that they were made of, as NumPy's do.

An array made by a basic selection, by exchanging axes, or by reshaping knows its source, and how
often that had taken other values (`Array._writes`). Before the view is written to it takes the
values that its source has now; afterwards it is written into its source. This goes by the
namespace's own functions, so it holds on every layout, whether memory is shared or not.

A view that is only read keeps its values, but for exchanged axes: these show what is written to
the array later.

Sources are held by ordinary references. With weak ones, whether a source still exists would
depend on when each rank collects its garbage, and so would the messages.
"""

from __future__ import annotations

import weakref
from itertools import accumulate
from operator import mul
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from torch import Tensor

from .._comm.recording import depends_on_values
from .layout import Shape
from .operators import namespace

if TYPE_CHECKING:
    from .array import Array

__all__ = [
    "Link",
    "is_selection",
    "is_view",
    "linked",
    "note_write",
    "permute",
    "permuted",
    "refresh",
    "write_through",
]


Kind = Literal["index", "axes", "shape"]


Link = tuple["Array", Kind, Any, int]
"""A view's source, how it was made (with the key, or the order of axes), the source's writes."""


def linked(view: Array, source: Array, kind: Kind, how: Any = None) -> Array:
    """Return `view`, which was made of `source`, as a view of it."""
    view._link = (source, kind, how, getattr(source, "_writes", 0))
    return view


def permuted(x: Array, order: Shape) -> Array:
    """Return a view with the axes of `x` in another order."""
    view = linked(permute(x, order), x, "axes", order)
    others = [ref for ref in getattr(x, "_exchanged", ()) if ref() is not None]
    x._exchanged = [*others, weakref.ref(view)]
    return view


def permute(x: Array, order: Shape) -> Array:
    """Return the values of `x` with its axes in another order; the split follows its axis."""
    return type(x)(x._local.permute(order), x._layout.permuted(order))


def refresh(view: Array) -> None:
    """Take the values that the source has now. Messages: as of making the view, if it changed."""
    link: Link | None = getattr(view, "_link", None)
    if link is None:
        return
    refresh(link[0])
    source, kind, how, writes = view._link  # which that may have renewed
    if getattr(source, "_writes", 0) == writes:
        return
    ns = namespace()
    if kind == "index":
        now = source[how]
    elif kind == "axes":
        now = permute(source, how)
    else:
        now = ns.reshape(source, view.shape)
    _renew(view, now)


def _renew(view: Array, now: Array) -> None:
    """Give a view the values that its source has now."""
    view._local, view._layout = now._local, now._layout
    linked(view, *view._link[:3])
    note_write(view)


def note_write(x: Array) -> None:
    """Note that `x` has other values now; its views with exchanged axes take them.

    That sends nothing, so it does not matter when a rank frees such a view; others take the values
    only before they are written to themselves.
    """
    x._writes = getattr(x, "_writes", 0) + 1
    for ref in getattr(x, "_exchanged", ()):
        view = ref()
        if view is not None:
            if type(view._local) is Tensor:
                depends_on_values("it writes to an array of which a view is held outside")
            _renew(view, permute(x, view._link[2]))


def write_through(view: Array) -> None:
    """Write a view, which has been written to, into its source. Messages: as of that write."""
    note_write(view)
    link: Link | None = getattr(view, "_link", None)
    if link is None:
        return
    source, kind, how, _ = link
    ns = namespace()
    if kind == "index":
        ns._indexing.setitem(source, how, view)
    elif kind == "axes":
        inverse = tuple(sorted(range(len(how)), key=how.__getitem__))
        ns._indexing.setitem(source, ..., permute(view, inverse))
    else:
        ns._indexing.setitem(source, ..., ns.reshape(view, source.shape))
    write_through(source)
    linked(view, source, kind, how)


def is_selection(view: Array, source: Array, key: Any) -> bool:
    """Return whether `view` is ``source[key]``, with the values that `source` has now.

    So it is after ``source[key] += 1``, when Python writes the result back.
    """
    link: Link | None = getattr(view, "_link", None)
    return (
        link is not None
        and link[0] is source
        and link[1] == "index"
        and link[3] == getattr(source, "_writes", 0)
        and bool(link[2] == key)
    )


def is_view(x: Array, shape: Shape) -> bool:
    """Return whether NumPy would reshape such an array to `shape` without a copy."""
    views: list[Array] = []
    owner = x
    while (link := getattr(owner, "_link", None)) is not None:
        views.append(owner)
        owner = link[0]
    if all(map(_keeps_rows, views)):  # its elements are neighbours, as those of `owner`
        return True
    # The same selections of an array of NumPy's that has the shape, and no memory.
    places = np.lib.stride_tricks.as_strided(np.empty(1, np.uint8), owner.shape, _strides(owner))
    for view in reversed(views):
        _, kind, how, _ = view._link
        if kind == "index":
            places = places[how]
        else:
            places = places.transpose(how) if kind == "axes" else places.reshape(view.shape)
    try:
        places.reshape(shape, copy=False)
    except ValueError:
        return False
    return True


def _keeps_rows(view: Array) -> bool:
    """Return whether a view is a whole row of its source (``x[3]``), or has another shape only."""
    _, kind, how, _ = view._link
    items = how if isinstance(how, tuple) else (how,)
    return kind == "shape" or (kind == "index" and all(type(item) is int for item in items))


def _strides(x: Array) -> Shape:
    """Return the distances of neighbours along each axis of a new array of NumPy's."""
    sizes = accumulate((max(n, 1) for n in x.shape[:0:-1]), mul, initial=1)
    return tuple(sizes)[::-1] if x.ndim else ()
