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
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import ref

import torch
from torch import Tensor

from .._comm.recording import captures, depends_on_values
from .layout import Layout, Shape
from .operators import namespace
from .view_steps import Kind, Step, placed, shortened

if TYPE_CHECKING:
    from .array import Array


class Link(NamedTuple):
    """How a view is made of its source, which is no view itself.

    A view of a view leads to the same source, by one more step: so the views between need not be
    kept, and no chain of them grows. Only an input of the tape stays a source, view or not.

    Attributes
    ----------
    source : Array
        Held by an ordinary reference, as by NumPy's views.
    steps : tuple of Step
        One after the other; many are replaced by few.
    layout : Layout or None
        The source's when the view was made; None if the view's own layout has been changed since.
    constant : bool
        Whether the view is off the tape, although its source is on it.
    """

    source: Array
    steps: tuple[Step, ...]
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
    if view._local.requires_grad and not torch.is_grad_enabled():
        view._local = view._local.detach()  # torch calls a view of an input an input
    link: Link | None = getattr(source, "_link", None)
    steps: tuple[Step, ...] = (_new(Step, (kind, how)),)  # half the time of Step(...)
    constant = False
    if link is not None and not _is_input(source):
        steps, constant = _extended(link, steps[0]), link.constant
        source = link.source
    view._link = _new(Link, (source, steps, source._layout, constant))
    views: Views | None = getattr(source, "_views", None)
    if views is None:
        views = source._views = Views()
    if len(views.refs) >= views.limit:
        views.alive()
    views.refs.append(ref(view))
    return view


def _is_input(x: Array) -> bool:
    """Return whether an array is an input of the tape, to which cotangents lead."""
    return x._local.requires_grad and x._local.is_leaf


def _extended(link: Link, step: Step) -> tuple[Step, ...]:
    """Return the steps to a view of a view; those of a long way are replaced by few."""
    steps = (*link.steps, step)
    return steps if len(steps) <= _LONGEST else shortened(steps, link.source.shape)


_LONGEST = 8  # to find few takes longer than to take so many


def permuted(x: Array, order: Shape) -> Array:
    """Return a view with the axes of `x` in another order."""
    return linked(permute(x, order), x, "permute_dims", order)


def permute(x: Array, order: Shape) -> Array:
    """Return the values of `x` with its axes in another order; the split follows its axis."""
    permuted: Array = namespace().Array(x._local.permute(order), x._layout.permuted(order))
    return permuted


def current(link: Link) -> Array:
    """Make a view once more. Messages: those of making it."""
    with torch.set_grad_enabled(not link.constant):
        return _stages(link, link.steps)[-1]


def _stages(link: Link, steps: Sequence[Step]) -> list[Array]:
    """Return the source and what each step makes of it, which are views of nothing."""
    ns = namespace()
    stages = [ns.Array(link.source._local, link.source._layout)]
    for kind, how in steps:
        x = stages[-1]
        made = ns._indexing.getitem(x, how) if kind == "index" else getattr(ns, kind)(x, how)
        stages.append(made)
    return stages


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
    source = link.source
    if captures and type(source._local) is Tensor:  # an array outside: see `Program.__call__`
        for other in _current(source):
            if other is not view and type(other._local) is not Tensor and not _moved(other, view):
                depends_on_values("it writes to one of several views of an array outside")
        note_write(view, by)
        return
    ns = namespace()
    value: Array = ns.Array(view._local, view._layout)  # no view: it must not lapse by this write
    stages = _stages(link, link.steps[:-1])
    for step in link.steps[:0:-1]:
        value = _written(step, stages.pop(), value)
    del stages  # of the source's memory, which setitem would copy
    note_write(source, view)
    if link.steps[0].kind == "index":
        ns._indexing.setitem(source, link.steps[0].how, value)
    else:
        ns._indexing.setitem(source, ..., _undone(link.steps[0], source.shape, value))
    write_through(source, view)


def _moved(view: Array, source: Array) -> bool:
    """Make a view of another view of its source, if the steps to that are the first of its own."""
    steps, first = view._link.steps, source._link.steps
    if len(steps) <= len(first) or steps[: len(first)] != first:
        return False
    view._link = view._link._replace(source=source, steps=steps[len(first) :], layout=None)
    if not hasattr(source, "_views"):
        source._views = Views()
    source._views.refs.append(ref(view))
    return True


def _written(step: Step, stage: Array, value: Array) -> Array:
    """Return a stage on the way to a view with the view's values in it."""
    if step.kind != "index":
        return _undone(step, stage.shape, value)
    namespace()._indexing.setitem(stage, step.how, value)  # a copy: the source owns its memory, too
    return stage


def _undone(step: Step, shape: Shape, value: Array) -> Array:
    """Return the values of a view with exchanged axes, or of another shape, as before."""
    if step.kind == "permute_dims":
        return permute(value, tuple(sorted(range(len(step.how)), key=step.how.__getitem__)))
    undone: Array = namespace().reshape(value, shape)
    return undone


def is_selection(view: Array, source: Array, key: Any) -> bool:
    """Return whether `view` is ``source[key]``, with the values that `source` has now.

    So it is after ``source[key] += 1``, when Python writes the result back.
    """
    link: Link | None = getattr(view, "_link", None)
    is_same_key = namespace()._indexing.is_same_key
    if link is None or view._is_stale or not is_same_key(key, key):  # a basic one
        return False
    of_source: Link | None = getattr(source, "_link", None)
    if link.source is source:
        return (
            len(link.steps) == 1
            and link.steps[0].kind == "index"
            and bool(is_same_key(link.steps[0].how, key))
        )
    if of_source is None or of_source.source is not link.source:
        return False
    steps = _extended(of_source, Step("index", key))
    return len(steps) == len(link.steps) and all(
        a.kind == b.kind and (is_same_key(a.how, b.how) if a.kind == "index" else a.how == b.how)
        for a, b in zip(steps, link.steps, strict=True)
    )


# ---------------------------------------------------------------------- questions


def _current(x: Array) -> Iterator[Array]:
    """Yield the views of an array, and theirs, that are not stale."""
    views: Views | None = getattr(x, "_views", None)
    for view in views.alive() if views else ():
        if not view._is_stale:
            yield view
        yield from _current(view)


def relations(arrays: Sequence[Array]) -> list[Any]:
    """Return how arrays are related where a write to one may show in another."""
    links = {i: x._link for i, x in enumerate(arrays) if hasattr(x, "_link")}
    if not links:
        return []
    owners = [id(links[i].source) if i in links else id(x) for i, x in enumerate(arrays)]
    return [
        (i, owners.index(owner), repr(links[i].steps) if i in links else "")
        for i, owner in enumerate(owners)
        if owners.count(owner) > 1
    ]


def is_view(x: Array, shape: Shape) -> bool:
    """Return whether NumPy would reshape such an array to `shape` without a copy."""
    link: Link | None = getattr(x, "_link", None)
    if link is None or all(map(_keeps_rows, link.steps)):  # its elements are neighbours
        return True
    try:
        placed(link.steps, link.source.shape).reshape(shape, copy=False)
    except ValueError:
        return False
    return True


def _keeps_rows(step: Step) -> bool:
    """Return whether a step takes a whole row (``x[3]``), or another shape only."""
    if step.kind == "index":
        items = step.how if isinstance(step.how, tuple) else (step.how,)
        return all(type(item) is int for item in items)
    return step.kind != "permute_dims"
