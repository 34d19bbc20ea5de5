"""The transport of a dry run: any number of ranks, of which one is at hand, and no messages.

Results are tensors of the shape that the table of collectives states, without values. Integers
and objects, by which ranks agree on counts, come from the ranks that have been run before
(`Answers`): of a world of thousands only a few representatives are run, one after the other.

Ranks in lock-step, as threads, would know each other's integers at once. But of P ranks the few
that run could answer for themselves only, so that assumptions are needed all the same; and threads
would share what a process has once (traces, options, the world). So each representative is run
alone. Where it had to guess what another one says, all are run again, with what they said: as a
rule once.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from .assumptions import assumed
from .buffers import dense
from .division import Integers
from .table import Collective
from .transport import Transport


@dataclass
class Answers:
    """What the representative ranks have said when integers were gathered, in order.

    Attributes
    ----------
    said : dict
        For each rank what it said, in order.
    used : dict
        For each rank what it was told, in order: the root, if only that one was asked, and what
        the representatives were taken to say.
    """

    said: dict[int, list[Any]] = field(default_factory=dict)
    used: dict[int, list[tuple[int | None, dict[int, Any]]]] = field(default_factory=dict)

    def begin(self, rank: int) -> None:
        """Start the run of a rank, which has said nothing in it."""
        self.said[rank] = []
        self.used[rank] = []

    def tell(self, rank: int, size: int, value: Any, root: int | None = None) -> list[Any]:
        """Say `value` as `rank`; return what all ranks say, as their representatives do.

        With a `root`, what that one says is all that matters.
        """
        known = self.hear(rank, value, root)
        return list(map(known.__getitem__, _nearest(sorted(known), size).tolist()))

    def hear(self, rank: int, value: Any, root: int | None = None) -> dict[int, Any]:
        """Say `value` as `rank`; return what each representative says."""
        number = len(self.said[rank])
        self.said[rank].append(value)
        known = {r: said[number] for r, said in self.said.items() if number < len(said)}
        self.used[rank].append((root, known))
        return known

    @property
    def agree(self) -> bool:
        """Whether all were told what the others then said."""
        return all(
            r in known and _same(known[r], said[number])
            for told in self.used.values()
            for number, (root, known) in enumerate(told)
            for r, said in self.said.items()
            if number < len(said) and root in (None, r)
        )


def _same(one: Any, other: Any) -> bool:
    return one is other or pickle.dumps(one) == pickle.dumps(other)


def _nearest(ranks: Sequence[int], size: int) -> Integers:
    """Return the representative of each rank: itself, or the nearest, but no end if possible.

    The first and the last rank have a neighbour less, and often a row more or less.
    """
    inner = np.asarray(ranks[1:-1] or ranks)
    distance = np.abs(np.arange(size)[:, None] - inner)
    nearest: Integers = inner[distance.argmin(axis=1)]
    nearest[list(ranks)] = ranks
    return nearest


@dataclass(frozen=True)
class Carried:
    """A message that would have been sent.

    Attributes
    ----------
    collective : str
    nbytes, result : int
        What this rank sends and gets, as traces count.
    partners : int or None
        How many ranks this one exchanges a message with; None where all take part in each round.
    size : int
        The ranks of the communicator.
    """

    collective: str
    nbytes: int
    result: int
    partners: int | None
    size: int


class DryTransport(Transport):
    """One of any number of ranks, without the others.

    What comes by messages is zeros; with fake tensors not even those.

    Parameters
    ----------
    rank, size : int
        This rank, and how many there are.
    node_size : int, optional
        How many ranks a node has; by default all.
    answers : Answers, optional
        What the representatives have said; by default all say what this rank does.
    carried : list of Carried, optional
        Gets the messages.
    """

    note = "a dry run"

    def __init__(
        self,
        rank: int,
        size: int,
        node_size: int | None = None,
        answers: Answers | None = None,
        carried: list[Carried] | None = None,
    ) -> None:
        self.rank, self.size = rank, size
        self.node_size = node_size or size
        self.node_rank = rank % self.node_size
        self.carried = [] if carried is None else carried
        if answers is None:
            answers = Answers()
            answers.begin(rank)
        self.answers = answers

    def carry(self, collective: Collective, t: Tensor, *args: Any) -> Tensor:
        own = tuple(t.shape)
        shape = collective.result(self, own, *args)
        sent = dense(t)  # what MPI reads: a copy if the tensor is not contiguous
        facts = (self, own, t.dtype, args)
        partners = collective.partners(self, own, *args)
        self._note(
            collective.name,
            collective.nbytes(*facts),
            collective.result_nbytes(*facts),
            partners,
        )
        if collective.name == "bcast" and self.rank != args[0]:
            return sent.zero_()  # memory that the message fills
        result = t.new_zeros(shape)
        del sent  # it was needed so long
        return result

    def _note(
        self, name: str, nbytes: int = 0, result: int = 0, partners: int | None = None
    ) -> None:
        self.carried.append(Carried(name, nbytes, result, partners, self.size))

    def _gathered(self, value: Any, root: int | None = None) -> list[Any]:
        self._assume_alike()
        return self.answers.tell(self.rank, self.size, value, root)

    def _assume_alike(self) -> None:
        if self.size > 1 and len(self.answers.said) < self.size:
            assumed("ranks that are not run say what their nearest representative says")

    def allgather_ints(self, values: Sequence[int]) -> Integers:
        self._note("allgather_ints", 8 * len(values), 8 * len(values) * self.size)
        self._assume_alike()
        known = self.answers.hear(self.rank, tuple(values))
        ranks = sorted(known)
        said = np.asarray([known[r] for r in ranks], dtype=np.int64)
        return said[np.searchsorted(ranks, _nearest(ranks, self.size))]

    def allgather_object(self, value: Any, patient: bool = False) -> list[Any]:
        self._note("allgather_object")
        return self._gathered(value)

    def bcast_object(self, value: Any, root: int) -> Any:
        self._note("bcast_object")
        return self._gathered(value, root)[root]

    def barrier(self) -> None:
        self._note("barrier")

    def arrive(self) -> Callable[[], bool]:
        return lambda: True

    def split(self, color: int, key: int) -> DryTransport:
        everyone = self._gathered((color, key))
        members = sorted((k, r) for r, (c, k) in enumerate(everyone) if c == color)
        ranks = [r for _, r in members]
        place = ranks.index(self.rank)
        return DryTransport(place, len(ranks), self.node_size, carried=self.carried)

    def duplicate(self) -> DryTransport:
        return DryTransport(self.rank, self.size, self.node_size, self.answers, self.carried)

    def free(self) -> None:
        pass
