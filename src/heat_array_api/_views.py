"""Views: arrays whose writes go through to the array that they were made of, as NumPy's do.

An array made by a basic selection, by exchanging axes, or by reshaping knows its source, and how
often that had taken other values (`Array._writes`). Before the view is written to it takes the
values that its source has now; afterwards it is written into its source. This goes by the
namespace's own functions, so it holds on every layout, whether memory is shared or not.

Sources are held by ordinary references. With weak ones, whether a source still exists would
depend on when each rank collects its garbage, and so would the messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from ._operators import namespace

if TYPE_CHECKING:
    from ._array import Array

__all__ = ["Link", "is_contiguous", "is_selection", "linked", "refresh", "write_through"]

Kind = Literal["index", "axes", "shape"]
Link = tuple["Array", Kind, Any, int]
"""A view's source, how it was made (with the key, or the order of axes), the source's writes."""


def linked(view: Array, source: Array, kind: Kind, how: Any = None) -> Array:
    """Return `view`, which was made of `source`, as a view of it."""
    view._link = (source, kind, how, getattr(source, "_writes", 0))
    return view


def refresh(view: Array) -> None:
    """Take the values that the source has now. Messages: as of making the view, if it changed."""
    link: Link | None = getattr(view, "_link", None)
    if link is None:
        return
    source, kind, how, writes = link
    refresh(source)
    if getattr(source, "_writes", 0) == writes:
        return
    ns = namespace()
    if kind == "index":
        now = source[how]
    elif kind == "axes":
        now = ns.permute_dims(source, how)
    else:
        now = ns.reshape(source, view.shape)
    view._local, view._layout = now._local, now._layout
    view._writes = getattr(view, "_writes", 0) + 1  # for views of this view
    linked(view, source, kind, how)


def write_through(view: Array) -> None:
    """Write a view, which has been written to, into its source. Messages: as of that write."""
    view._writes = getattr(view, "_writes", 0) + 1
    link: Link | None = getattr(view, "_link", None)
    if link is None:
        return
    source, kind, how, _ = link
    ns = namespace()
    if kind == "index":
        ns._setitem.setitem(source, how, view)
    elif kind == "axes":
        inverse = sorted(range(len(how)), key=how.__getitem__)
        ns._setitem.setitem(source, ..., ns.permute_dims(view, inverse))
    else:
        ns._setitem.setitem(source, ..., ns.reshape(view, source.shape))
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


def is_contiguous(x: Array) -> bool:
    """Return whether NumPy would reshape such an array without a copy.

    It is one of its own, a whole row of one (``x[3]``), or one of these reshaped.
    """
    link: Link | None = getattr(x, "_link", None)
    while link is not None:
        source, kind, how, _ = link
        items = how if isinstance(how, tuple) else (how,)
        if kind == "axes" or (kind == "index" and not all(type(item) is int for item in items)):
            return False
        link = getattr(source, "_link", None)
    return True
