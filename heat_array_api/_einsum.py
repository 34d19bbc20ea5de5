"""`einsum`, as a composite of products, sums and permutations.

Every operand is first reduced to distinct axes (diagonals, and sums over axes that no other
operand has). Then two operands at a time become one, by `multiply` or by the batch of matrix
products that `_linalg.contract_axes` makes of them.
"""

from __future__ import annotations

import math
from functools import partial
from itertools import combinations
from typing import Any, NamedTuple

import torch

from ._core.array import Array
from ._core.dtypes import promote, to_numpy_dtype
from ._core.lift import as_operands, cast
from ._core.redistribute import redistribute
from ._core.views import permute
from ._elementwise import multiply
from ._linalg import contract_axes, of_masks
from ._statistical import sum as array_sum

__all__ = ["einsum"]
Labels = tuple[str, ...]


class _Term(NamedTuple):
    """An operand and the names of its axes."""

    x: Array
    labels: Labels


def einsum(subscripts: str, /, *operands: Array) -> Array:
    """Sum products over named axes (Einstein's convention; NumPy's `einsum`).

    Parameters
    ----------
    subscripts : str
        One letter for each axis, terms separated by commas: ``"ij,jk->ik"``. Without ``->`` the
        result has the letters that occur once, in alphabetical order. ``...`` stands for any number
        of leading axes, which broadcast. A letter repeated in one term takes the diagonal. Blanks
        are ignored.
    *operands : Array
        One for each term, in any layout. Masks count as 0 and 1; masks alone give a mask.

    Returns
    -------
    Array
        With the axes named after the arrow, of the promoted dtype. More than two operands are
        combined pair by pair, first the pair whose product is smallest compared with its factors.
        Each pair is split, and sends, as `matmul` does if axes are summed, else as `multiply`. A
        sum over the split axis of one operand is one allreduce; diagonals and permutations send
        nothing.

    Raises
    ------
    ValueError
        If `subscripts` cannot be read or does not fit the operands' axes, or the axes of a
        letter differ in length.
    TypeError
        If an operand is not an array.

    Examples
    --------
    >>> x = xp.asarray([[1, 2], [3, 4]], split=0)
    >>> print(xp.einsum("ij,kj->ik", x, x))
    [[ 5 11]
     [11 25]]
    """
    arrays = _operands(subscripts, operands)
    if any(x._local.dtype is torch.bool for x in arrays):
        return of_masks(partial(einsum, subscripts), *arrays)
    labels, output = _parse(subscripts, [x.ndim for x in arrays])
    extents = _extents(subscripts, arrays, labels)
    dtype = arrays[0]._local.dtype
    for x in arrays[1:]:
        dtype = promote(dtype, x._local.dtype)
    terms = [
        _distinct(_Term(Array(cast(x._local, dtype), x._layout), names), extents)
        for x, names in zip(arrays, labels, strict=True)
    ]
    while len(terms) > 1:
        i, j = _cheapest_pair(terms, output, extents)
        others = [term for at, term in enumerate(terms) if at not in (i, j)]
        terms = [*others, _combine(terms[i], terms[j], _needed(others, output))]
    x, names = _sum_out(terms[0], set(output))
    return permute(x, tuple(names.index(name) for name in output))


# ---------------------------------------------------------------------- arguments


def _operands(subscripts: Any, operands: tuple[Any, ...]) -> list[Array]:
    """Check the types of the arguments and return the operands as arrays."""
    if not isinstance(subscripts, str):
        raise TypeError(f"einsum: subscripts is {type(subscripts).__name__}; expected a str")
    if not operands:
        raise ValueError("einsum: there are no operands")
    return as_operands("einsum", *operands)


def _parse(subscripts: str, ndims: list[int]) -> tuple[list[Labels], Labels]:
    """Return the axis names of every operand and of the result.

    The axes under an ellipsis are named by their distance from its end: "0", "1", ...
    """
    text = subscripts.replace(" ", "").replace("...", ".")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(ndims):
        raise ValueError(
            f"einsum: subscripts {subscripts!r} has {len(terms)} terms for {len(ndims)} operands"
        )
    for term in (*terms, right):
        if not all(c == "." or (c.isalpha() and c.isascii()) for c in term) or term.count(".") > 1:
            raise ValueError(
                f"einsum: subscripts {subscripts!r}; expected letters, commas, '...' and one '->'"
            )
    hidden = []
    for i, (term, ndim) in enumerate(zip(terms, ndims, strict=True)):
        hidden.append(ndim - len(term.replace(".", "")))
        if hidden[-1] < 0 or ("." not in term and hidden[-1]):
            raise ValueError(
                f"einsum: term {term.replace('.', '...')!r} of subscripts {subscripts!r} does not "
                f"fit operand {i}, which has {ndim} axes"
            )
    labels = [_expand(term, n) for term, n in zip(terms, hidden, strict=True)]
    if arrow:
        return labels, _output(subscripts, right, labels, max(hidden))
    single = sorted(c for c in set(left) if c.isalpha() and left.count(c) == 1)
    return labels, (*_expand(".", max(hidden)), *single)


def _expand(term: str, hidden: int) -> Labels:
    """Return a term's axis names, its ellipsis standing for `hidden` axes."""
    before, dots, after = term.partition(".")
    between = [str(i) for i in reversed(range(hidden))] if dots else []
    return (*before, *between, *after)


def _output(subscripts: str, right: str, labels: list[Labels], hidden: int) -> Labels:
    """Return the axis names that stand after the arrow."""
    output = _expand(right, hidden)
    if len(set(output)) != len(output):
        raise ValueError(f"einsum: subscripts {subscripts!r} repeats a letter after the arrow")
    unknown = set(output) - {name for names in labels for name in names}
    if unknown:
        raise ValueError(
            f"einsum: subscripts {subscripts!r}: {sorted(unknown)} stand only after the arrow"
        )
    if "." not in right and hidden:
        raise ValueError(
            f"einsum: subscripts {subscripts!r} lacks '...' after the arrow, but it stands for axes"
        )
    return output


def _extents(subscripts: str, arrays: list[Array], labels: list[Labels]) -> dict[str, int]:
    """Return the length of every named axis; axes of length 1 broadcast."""
    extents: dict[str, int] = {}
    for x, names in zip(arrays, labels, strict=True):
        for name, n in zip(names, x.shape, strict=True):
            if extents.setdefault(name, n) == 1:
                extents[name] = n
            elif n not in (1, extents[name]):
                what = f"axis {name!r}" if name.isalpha() else "an axis under '...'"
                raise ValueError(
                    f"einsum: subscripts {subscripts!r}: {what} has lengths {extents[name]} and {n}"
                )
    return extents


# ---------------------------------------------------------------------- one operand


def _distinct(term: _Term, extents: dict[str, int]) -> _Term:
    """Return the term with every name once, and without the axes that broadcast."""
    x, labels = _drop_broadcast(term, extents)
    while len(set(labels)) < len(labels):
        first = next(i for i, name in enumerate(labels) if name in labels[i + 1 :])
        second = labels.index(labels[first], first + 1)
        x = _diagonal(x, first, second)
        labels = (*labels[:second], *labels[second + 1 :])
    return _Term(x, labels)


def _drop_broadcast(term: _Term, extents: dict[str, int]) -> _Term:
    """Return the term without its axes of length 1 whose name is longer elsewhere.

    Leaving out such an axis changes nothing: it multiplies all elements of the longer one alike.
    """
    x, labels = term
    gone = [i for i, name in enumerate(labels) if x.shape[i] != extents[name]]
    if not gone:
        return term
    layout = x._layout
    if layout.split in gone:
        # One rank holds all elements: spread them along the longest axis that is kept.
        x = redistribute(x, layout.split_off(gone))
    target = x._layout.drop(*gone)
    local = x._local.reshape(target.local_shape)
    names = tuple(name for i, name in enumerate(labels) if i not in gone)
    return _Term(Array(local, target), names)


def _diagonal(x: Array, first: int, second: int) -> Array:
    """Return the diagonal of two axes of equal length as axis `first`. Sends nothing."""
    layout = x._layout
    local = x._local
    split = layout.split
    if split in (first, second):
        # Rows start to start + count meet the columns of the same numbers.
        other = second if split == first else first
        local = local.narrow(other, layout.start, layout.count)
        layout = layout.with_shape(layout.shape, first)
    local = local.diagonal(dim1=first, dim2=second).movedim(-1, first)
    return Array(local, layout.drop(second))


def _sum_out(term: _Term, needed: set[str]) -> _Term:
    """Return the term summed over the axes whose names are not needed."""
    x, labels = term
    axes = tuple(i for i, name in enumerate(labels) if name not in needed)
    if not axes:
        return term
    reduced = array_sum(x, axis=axes, dtype=to_numpy_dtype(x._local.dtype))
    return _Term(reduced, tuple(name for name in labels if name in needed))


# ---------------------------------------------------------------------- pairs


def _needed(others: list[_Term], output: Labels) -> set[str]:
    """Return the names still needed after a pair: those of the other terms and the result."""
    return set(output).union(*(term.labels for term in others))


def _cheapest_pair(terms: list[_Term], output: Labels, extents: dict[str, int]) -> tuple[int, int]:
    """Return the pair whose product is smallest compared with its factors (or the first)."""

    def growth(pair: tuple[int, int]) -> int:
        two = [terms[i] for i in pair]
        others = [term for at, term in enumerate(terms) if at not in pair]
        left = set(two[0].labels + two[1].labels) & _needed(others, output)
        return math.prod(extents[name] for name in left) - two[0].x.size - two[1].x.size

    return min(combinations(range(len(terms)), 2), key=growth)


def _combine(one: _Term, two: _Term, needed: set[str]) -> _Term:
    """Return the product of two terms, summed over the names that are not needed."""
    one = _sum_out(one, needed | set(two.labels))
    two = _sum_out(two, needed | set(one.labels))
    (x1, labels1), (x2, labels2) = one, two
    shared = [name for name in labels1 if name in labels2]
    stack = [name for name in shared if name in needed]
    summed = [name for name in shared if name not in needed]
    free1 = tuple(name for name in labels1 if name not in shared)
    free2 = tuple(name for name in labels2 if name not in shared)
    if not summed and not (free1 and free2):
        return _multiply(one, two, (*stack, *free1, *free2))
    axes = [
        tuple(labels.index(name) for name in names)
        for names in (stack, summed)
        for labels in (labels1, labels2)
    ]
    return _Term(contract_axes(x1, x2, *axes), (*stack, *free1, *free2))


def _multiply(one: _Term, two: _Term, labels: Labels) -> _Term:
    """Return the product of two terms; one of them has all axes of the other."""
    fewer, more = sorted((one, two), key=lambda term: len(term.labels))
    # Names that only `more` has come first, so that `fewer` broadcasts.
    order = (
        *(n for n in labels if n not in fewer.labels),
        *(n for n in labels if n in fewer.labels),
    )
    x, y = (
        permute(term.x, tuple(term.labels.index(n) for n in order if n in term.labels))
        for term in (fewer, more)
    )
    return _Term(multiply(x, y), order)
