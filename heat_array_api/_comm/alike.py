"""Debug mode: what the ranks make an array of is compared, too.

Arrays are made without messages. Where ranks give different values, copies of one array differ, and
the first error comes much later, or none.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from threading import current_thread, main_thread
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from .._errors import CollectiveMismatchError, shown
from .attribution import caller
from .communicator import Communicator
from .debug import Call
from .recording import captures

T = TypeVar("T")


def check_alike(comm: Communicator, **facts: Any) -> None:
    """Raise on every rank unless what they all make an array of is the same.

    Does nothing outside debug mode, and in threads, which send nothing.

    Parameters
    ----------
    comm : Communicator
        That of the array.
    **facts : object
        Arguments by their names: numbers, texts, dtypes; tensors and NumPy arrays are compared by
        shape, dtype and a checksum of the values.
    """
    checker = comm._checker
    if checker is None or captures or current_thread() is not main_thread():
        return
    operation, line = caller()
    checker.check(Call(operation, "makes an array", line))
    own = {key: text for name, value in facts.items() for key, text in _told(name, value).items()}
    everyone: list[Mapping[str, str]] = checker.transport.allgather_object(own)
    names = list(dict.fromkeys(name for other in everyone for name in other))
    differing = [
        _by_rank(name, [other.get(name, "(none)") for other in everyone])
        for name in names
        if len({other.get(name) for other in everyone}) > 1
    ]
    if differing:
        raise CollectiveMismatchError(
            f"{operation}: the ranks make different arrays of one: {'; '.join(differing)} "
            f"(at {line}); give all the same, or each its own shard to from_local"
        )


def values_alike(comm: Communicator, name: str, make: Callable[[], Tensor], **facts: Any) -> Tensor:
    """Return the tensor that `make` returns, if it is the same on all ranks; or raise on all."""
    try:
        values = make()
    except Exception as error:
        check_alike(comm, **{name: f"{type(error).__name__}: {error}"}, **facts)
        raise
    check_alike(comm, **{name: values}, **facts)
    return values


def _told(name: str, value: Any) -> dict[str, str]:
    """Return an argument as texts that are the same on all ranks if it is."""
    if isinstance(value, Tensor):
        data = value.detach().resolve_conj().resolve_neg().contiguous().cpu()
        shape, dtype, found = tuple(data.shape), str(data.dtype).removeprefix("torch."), b""
        if data.numel():
            found = data.reshape(-1).view(torch.uint8).numpy().tobytes()
    elif isinstance(value, np.ndarray) and not value.dtype.hasobject:
        shape, dtype = value.shape, str(value.dtype)
        found = np.ascontiguousarray(value).tobytes()
    else:
        return {name: value if isinstance(value, str) else shown(value)}
    return {
        f"{name}.shape": str(shape),
        f"{name}.dtype": dtype,
        f"the checksum of {name}'s values": f"{zlib.crc32(found):08x}",
    }


def _by_rank(name: str, texts: list[str]) -> str:
    groups: dict[str, list[int]] = {}
    for rank, text in enumerate(texts):
        groups.setdefault(text, []).append(rank)
    each = ", ".join(
        f"{text} on rank{'s' * (len(ranks) > 1)} {', '.join(map(str, ranks))}"
        for text, ranks in groups.items()
    )
    return f"{name} is {each}"
