"""Checkpoints: nested dicts of arrays, torch states and numbers in one HDF5 file.

The tree is stored as JSON in the dataset "tree"; arrays and tensors are datasets of their own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .._comm.communicator import as_communicator
from .._comm.recording import breaks
from .._core.arguments import as_int
from .._core.array import Array, common_communicator
from .._core.dtypes import check_unmasked, from_torch
from .._creation import device_kind, local_device
from .._errors import CommunicatorMismatchError, shown
from ._agreement import at_root, attempt, optional_package
from ._agreement import progress as bar
from ._arguments import ReadOptions, Storage, as_array, documented, path_of, progress_of
from ._atomic import replacing
from ._external import check_member
from ._hdf5 import opened
from ._hdf5_datasets import Target, write_all
from ._hdf5_stream import writing
from ._read import load
from ._write import as_numpy

FILE = "checkpoint.h5"
TREE = "tree"
VERSION = 1
NO_LINKS = "a checkpoint that leads to other files is not loaded"


@breaks
@documented
def save_checkpoint(
    directory: str | os.PathLike[str], tree: Any, *, comm: Any = None, progress: bool | None = None
) -> None:
    """Save the state of a program, readable at any number of ranks.

    Parameters
    ----------
    directory : str or path-like
        A folder, made if it does not exist. Its old checkpoint stays until the new one is whole.
    tree : nested dicts (with string or integer keys), lists and tuples
        Of arrays (any layout), NumPy arrays, torch tensors (as in ``optimizer.state_dict()``,
        equal on all ranks: those of rank 0 are saved), numbers, strings, booleans and None.
    comm : Communicator or mpi4py communicator, optional
        The ranks that save; by default those of the arrays, or of the job, `world()`.
    {progress}

    Raises
    ------
    OSError
        If any rank cannot write. The error is raised on all ranks, and the old checkpoint stays.
    TypeError
        If `tree` holds anything else.

    Notes
    -----
    Messages: as in `save_hdf5`.

    Examples
    --------
    >>> xp.io.save_checkpoint("run1", {"step": 7, "w": xp.arange(4, split=0)})
    >>> state = xp.io.load_checkpoint("run1")
    >>> state["step"], state["w"].split
    (7, 0)
    """
    func = "save_checkpoint"
    folder = Path(path_of(func, directory, "directory"))
    progress = progress_of(func, progress)
    arrays: dict[str, Array] = {}
    plain: dict[str, np.ndarray[Any, Any]] = {}
    try:
        description = _described(func, tree, "", arrays, plain)
        text = json.dumps({"version": VERSION, "tree": description})
    except RecursionError:
        raise ValueError(f"{func}: tree is nested too deeply, or holds itself") from None
    given = None if comm is None else as_communicator(func, comm)
    comm = common_communicator(func, *arrays.values()) if arrays else as_communicator(func, given)
    if given is not None and given is not comm:
        raise CommunicatorMismatchError(
            f"{func}: comm is not that of the arrays; pass theirs, or none"
        )
    at_root(func, comm, lambda: folder.mkdir(parents=True, exist_ok=True))
    total = sum(x.nbytes for x in arrays.values())
    with replacing(func, comm, folder / FILE) as unfinished:
        at_root(func, comm, lambda: _create(unfinished, text, arrays, plain))
        with bar(func, total, comm, progress) as advance:
            targets = [Target(name, x) for name, x in arrays.items()]
            write_all(func, comm, unfinished, targets, None, advance)


def _create(path: str, text: str, arrays: Mapping[str, Array], plain: Mapping[str, Any]) -> None:
    with writing(optional_package("h5py").File, path, "w") as file:
        # Not an attribute: these hold at most 64 KiB.
        file[TREE] = np.frombuffer(text.encode(), np.uint8)
        for name, x in arrays.items():
            file.create_dataset(name, x.shape, x.dtype, **Storage().options(x.shape))
        for name, values in plain.items():
            file[name] = values


def _described(
    func: str, node: Any, place: str, arrays: dict[str, Array], plain: dict[str, Any]
) -> Any:
    """Return a tree for JSON, and collect its arrays in `arrays` and `plain`."""

    def inner(value: Any, key: Any) -> Any:
        return _described(func, value, f"{place}/{key}", arrays, plain)

    if isinstance(node, Mapping):
        items = [[key, inner(value, key)] for key, value in node.items()]
        wrong = [key for key, _ in items if not isinstance(key, (str, int))]
        if wrong:
            raise TypeError(f"{func}: a key is {shown(wrong[0])}; expected strings or integers")
        return {"dict": items}
    if isinstance(node, (list, tuple)):
        kind = "list" if isinstance(node, list) else "tuple"
        return {kind: [inner(value, i) for i, value in enumerate(node)]}
    name = f"values/{len(arrays) + len(plain)}"  # keys need not be valid names of datasets
    if isinstance(node, Array):
        arrays[name] = as_array(func, node)
        found = {"shape": node.shape, "split": node.split}
        return {"array": name, **found, "dtype": str(node.dtype), "device": str(node.device)}
    if isinstance(node, torch.Tensor):
        tensor = from_torch(func, f"the tensor {place or 'tree'}", node.detach())
        dtype = str(tensor.dtype).removeprefix("torch.")
        wide = tensor.to(torch.float32) if tensor.dtype is torch.bfloat16 else tensor
        plain[name] = as_numpy(wide)
        return {"tensor": name, "dtype": dtype, "device": node.device.type}
    check_unmasked(func, node)
    if isinstance(node, (np.ndarray, np.generic)) and node.dtype.kind in "biufc":
        plain[name] = np.asarray(node)
        return {"numpy": name}
    if node is None or isinstance(node, (bool, int, float, str)):
        return {"value": node}
    kind = type(node).__name__
    raise TypeError(f"{func}: {place or 'the tree'} is {kind}, which cannot be saved")


@breaks
@documented
def load_checkpoint(
    directory: str | os.PathLike[str],
    split: Any = "saved",
    *,
    device: Any = None,
    comm: Any = None,
    progress: bool | None = None,
) -> Any:
    """Load what `save_checkpoint` saved, at this or another number of ranks.

    Parameters
    ----------
    directory : str or path-like
        The folder.
    split : int, None, callable or "saved"
        The axis along which arrays are split (0-d arrays are not), or a function that returns it
        from an array's place in the tree (``"model/weights"``) and its shape. "saved": as they
        were.
    device : Device or str, optional
        "cpu" or "cuda", for arrays and tensors; by default where they were, or the CPU if there
        is no CUDA device.
    {comm}
    {progress}

    Returns
    -------
    nested dicts, lists and tuples
        Structure, values and dtypes as saved; arrays are split evenly. Messages: as in
        `load_hdf5` for each array, and one broadcast of everything else.

    Raises
    ------
    OSError, ValueError
        If there is not a checkpoint, or it cannot be read. On all ranks. No pickle is ever loaded.

    Examples
    --------
    >>> xp.io.save_checkpoint("run1", {"layers": [xp.ones((4, 3), split=0)]})
    >>> state = xp.io.load_checkpoint("run1", split=1)
    >>> state["layers"][0].split
    1
    """
    func = "load_checkpoint"
    comm = as_communicator("load_checkpoint", comm)
    path = str(Path(path_of(func, directory, "directory")) / FILE)
    progress = progress_of(func, progress)
    if isinstance(split, str):
        if split != "saved":
            raise ValueError(f"{func}: split is {split!r}; expected 'saved', an axis or a function")
    elif split is not None and not callable(split):
        split = as_int(func, "split", split)
    device_kind(func, device)
    attempt(func, comm, lambda: local_device(func, device, comm))  # one rank may have none

    def read() -> tuple[Any, dict[str, Any]]:
        with optional_package("h5py").File(path, "r") as file:
            check_member(file, TREE, NO_LINKS)
            if TREE not in file:
                raise ValueError(f"{path!r} is not a checkpoint")
            names: list[str] = []

            def collected(node: dict[str, Any]) -> dict[str, Any]:
                names.extend(node[kind] for kind in ("tensor", "numpy") if kind in node)
                return node

            found = json.loads(file[TREE][...].tobytes().decode(), object_hook=collected)
            if found.get("version") != VERSION:
                raise ValueError(f"{path!r} has version {found.get('version')}; expected {VERSION}")
            for name in names:
                check_member(file, name, NO_LINKS)
            return found["tree"], {name: file[name][()] for name in names}

    tree, plain = at_root(func, comm, read)

    def restored(node: Any, place: str) -> Any:
        (kind, value), *_ = node.items()
        if kind == "dict":
            return {key: restored(inner, f"{place}/{key}") for key, inner in value}
        if kind in ("list", "tuple"):
            items = [restored(inner, f"{place}/{i}") for i, inner in enumerate(value)]
            return items if kind == "list" else tuple(items)
        if kind == "tensor":
            t = torch.from_numpy(np.array(plain[value])).to(getattr(torch, node["dtype"]))
            return t.to(local_device(func, _device_of(device, node), comm))
        if kind == "numpy":
            return plain[value]
        if kind == "array":
            along = _split_of(split, node, place.strip("/"))
            where = _device_of(device, node)
            options = ReadOptions(along, node["dtype"], where, comm, None, progress)
            return load(func, partial(opened, value), path, options)
        return value

    return restored(tree, "")


def _split_of(split: Any, node: Mapping[str, Any], place: str) -> Any:
    if isinstance(split, str):
        return node["split"]
    return split(place, tuple(node["shape"])) if callable(split) else split


def _device_of(device: Any, node: Mapping[str, Any]) -> Any:
    if device is None and not torch.cuda.is_available():
        return "cpu"
    return node["device"] if device is None else device
