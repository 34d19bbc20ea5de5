"""Files that lead to other files: refused, unless the user allows it.

A file from elsewhere may name any file of this machine as the place of its values: by an external
link, a virtual dataset or external storage of HDF5 (and so of NetCDF-4), or by a symbolic link in a
Zarr store. Whoever can send such a file could have others read out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ._agreement import optional_package

_MOST_LINKS = 16  # links to links, as HDF5 itself counts them


def _refused(name: str, what: str) -> ValueError:
    return ValueError(
        f"{name!r} is {what}; pass allow_external=True to read other files through it"
    )


def check_member(file: Any, name: str, depth: int = 0) -> None:
    """Raise ValueError if a member of an h5py file, or its values, are in another file.

    A member that is not there raises nothing.
    """
    h5py = optional_package("h5py")
    place, parts = file, [part for part in name.split("/") if part not in ("", ".")]
    for i, part in enumerate(parts):
        link = place.get(part, getlink=True) if isinstance(place, h5py.Group) else None
        if link is None:
            return
        if isinstance(link, h5py.ExternalLink):
            at = "/".join(parts[: i + 1])
            raise _refused(at, f"a link to {link.path!r} of the file {link.filename!r}")
        if isinstance(link, h5py.SoftLink):
            if depth == _MOST_LINKS:
                raise ValueError(f"{name!r} is a link that leads through too many others")
            base = "" if link.path.startswith("/") else place.name
            rest = "/".join([base, link.path, *parts[i + 1 :]])
            check_member(file, rest, depth + 1)
            return
        place = place[part]
    if isinstance(place, h5py.Dataset):
        _check_values(file, place, depth)


def _check_values(file: Any, dataset: Any, depth: int) -> None:
    """Raise ValueError if a dataset's values are in another file."""
    if dataset.external:
        names = ", ".join(repr(str(source[0])) for source in dataset.external)
        raise _refused(dataset.name, f"stored in other files: {names}")
    for source in dataset.virtual_sources() if dataset.is_virtual else ():
        if source.file_name != ".":
            raise _refused(dataset.name, f"made of parts of the file {source.file_name!r}")
        if depth < _MOST_LINKS:
            check_member(file, source.dset_name, depth + 1)


def check_hdf5(path: str) -> None:
    """Raise ValueError if anything in a file that is of HDF5 leads to another file."""
    if "://" in path:
        raise ValueError(f"{path!r} is an address; only files of this machine are read")
    with open(path, "rb"):
        pass  # the error of a file that is not there
    h5py = optional_package("h5py")
    if not h5py.is_hdf5(path):
        return
    with h5py.File(path, "r") as file:
        for name in _members(file):
            check_member(file, name)


def _members(group: Any, prefix: str = "") -> Iterator[str]:
    """Yield the names of all links in a group and its groups, without following any."""
    h5py = optional_package("h5py")
    for part in group:
        name = f"{prefix}/{part}"
        yield name
        if isinstance(group.get(part, getlink=True), h5py.HardLink):
            inner = group[part]
            if isinstance(inner, h5py.Group):
                yield from _members(inner, name)


def check_zarr(path: str, name: str) -> None:
    """Raise ValueError if the metadata of a Zarr array is outside its store."""
    if not os.path.isdir(path):
        raise FileNotFoundError(f"there is no folder {path!r}")
    store = Path(path).resolve()
    place = store
    for part in ("", *name.split("/")):
        place = place / part
        for found in (place, place / "zarr.json", place / ".zarray", place / ".zgroup"):
            if found.exists() and not found.resolve().is_relative_to(store):
                raise _refused(name or path, f"a link to {str(found.resolve())!r}")
