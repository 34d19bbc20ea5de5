"""Rows fetched from, and stored to, the ranks that own them, by global index.

Both are the same two steps: requests sorted by owner go out in one all-to-all (and one of
their numbers), and the owner evaluates them. Only what is asked for travels: a request
carries an index for every indexed axis, so whole rows never move for a few elements.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .collectives import all_to_all
from .dtypes import carrier, on_bits
from .layout import Layout

__all__ = ["fetch", "pick", "place", "store"]


def pick(t: Tensor, columns: list[Tensor]) -> Tensor:
    """Return ``t[columns]``: index tensors of one shape for the leading axes."""
    return on_bits(lambda values: values[tuple(columns)], t)


def place(t: Tensor, columns: list[Tensor], rows: Tensor, order: Tensor) -> None:
    """Write ``t[columns] = rows``; of equal indices the one with the greatest `order` wins."""
    linear = torch.zeros_like(columns[0])
    for axis, column in enumerate(columns):
        linear = linear * t.shape[axis] + column
    by_order = torch.argsort(order, stable=True)
    permutation = by_order[torch.argsort(linear[by_order], stable=True)]
    ranked = linear[permutation]
    last = torch.ones_like(ranked, dtype=torch.bool)
    last[:-1] = ranked[1:] != ranked[:-1]
    chosen = permutation[last]
    carrier(t)[tuple(column[chosen] for column in columns)] = carrier(rows)[chosen]


def _by_owner(index: Tensor, layout: Layout) -> tuple[Tensor, list[int]]:
    """Return the permutation that sorts global indices by owner, and how many each rank owns."""
    ends = torch.tensor(layout.offsets[1:], device=index.device)
    owner = torch.searchsorted(ends, index.contiguous(), right=True)
    counts = torch.bincount(owner, minlength=layout.comm.size).tolist()
    return torch.argsort(owner, stable=True), counts


def _exchange_counts(counts: list[int], layout: Layout) -> list[int]:
    blocks = list(torch.tensor(counts, dtype=torch.int64).reshape(-1, 1))
    received = all_to_all(blocks, [(1,)] * layout.comm.size, layout.comm)
    return [int(block) for block in received]


def _to_owners(rows: Tensor, sent: list[int], received: list[int], layout: Layout) -> Tensor:
    """Send rows sorted by owner; return those that arrive here, in rank order."""
    shapes = [(n, *rows.shape[1:]) for n in received]
    parts = list(torch.split(rows, sent))
    return torch.cat(all_to_all(parts, shapes, layout.comm))


def fetch(t: Tensor, layout: Layout, columns: list[Tensor]) -> Tensor:
    """Return the elements of a split array at this rank's 1-D global indices.

    Parameters
    ----------
    t : torch.Tensor
        This rank's shard of the array of `layout`.
    layout : Layout
        Split along one of the indexed axes, which are the leading ones.
    columns : list of torch.Tensor
        For every indexed axis, as many int64 indices as this rank asks for.

    Returns
    -------
    torch.Tensor
        A row for each request.

    Notes
    -----
    Messages: three all-to-alls: numbers, indices, rows.
    """
    assert layout.split is not None
    if layout.comm.size == 1:
        return pick(t, columns)
    order, sent = _by_owner(columns[layout.split], layout)
    received = _exchange_counts(sent, layout)
    requests = _to_owners(torch.stack(columns, dim=1)[order], sent, received, layout)
    asked = list(requests.unbind(1))
    asked[layout.split] = asked[layout.split] - layout.start
    answers = _to_owners(pick(t, asked), received, sent, layout)
    rows = torch.empty_like(answers)
    carrier(rows)[order] = carrier(answers)
    return rows


def store(t: Tensor, layout: Layout, columns: list[Tensor], rows: Tensor, order: Tensor) -> None:
    """Write this rank's `rows` at its global indices; of equal ones the greatest `order` wins.

    Messages: three all-to-alls: numbers, indices (with `order`), rows.
    """
    assert layout.split is not None
    if layout.comm.size == 1:
        place(t, columns, rows, order)
        return
    permutation, sent = _by_owner(columns[layout.split], layout)
    received = _exchange_counts(sent, layout)
    requests = torch.stack([*columns, order], dim=1)[permutation]
    arrived = _to_owners(requests, sent, received, layout)
    *asked, rank = arrived.unbind(1)
    asked[layout.split] = asked[layout.split] - layout.start
    moved = pick(rows, [permutation])
    place(t, asked, _to_owners(moved, sent, received, layout), rank)
