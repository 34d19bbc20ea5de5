"""Files that lead to other files: refused, unless the user allows it.

A file from elsewhere may name any file of this machine as the place of its values: by an external
link, a virtual dataset or external storage of HDF5 (and so of NetCDF-4), or by a symbolic link in a
Zarr store. Whoever can send such a file could have others read out.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from typing import Any

from ._agreement import optional_package

_MOST_LINKS = 16  # links to links, as HDF5 itself counts them


REMEDY = "pass allow_external=True to read other files through it"


def check_member(file: Any, name: str, remedy: str = REMEDY, depth: int = 0) -> None:
    """Raise ValueError if a member of an h5py file, or its values, are in another file.

    A member that is not there raises nothing; `remedy` is what the error says in the end.
    """
    h5py = optional_package("h5py")
    place, parts = file, [part for part in name.split("/") if part not in ("", ".")]
    for i, part in enumerate(parts):
        link = place.get(part, getlink=True) if isinstance(place, h5py.Group) else None
        if link is None:
            return
        if isinstance(link, h5py.ExternalLink):
            at = "/".join(parts[: i + 1])
            what = f"a link to {link.path!r} of the file {link.filename!r}"
            raise ValueError(f"{at!r} is {what}; {remedy}")
        if isinstance(link, h5py.SoftLink):
            if depth == _MOST_LINKS:
                raise ValueError(f"{name!r} is a link that leads through too many others")
            base = "" if link.path.startswith("/") else place.name
            rest = "/".join([base, link.path, *parts[i + 1 :]])
            check_member(file, rest, remedy, depth + 1)
            return
        place = place[part]
    if isinstance(place, h5py.Dataset):
        _check_values(file, place, remedy, depth)


def _check_values(file: Any, dataset: Any, remedy: str, depth: int) -> None:
    """Raise ValueError if a dataset's values are in another file."""
    if dataset.external:
        names = ", ".join(repr(str(source[0])) for source in dataset.external)
        raise ValueError(f"{dataset.name!r} is stored in other files: {names}; {remedy}")
    for source in dataset.virtual_sources() if dataset.is_virtual else ():
        if source.file_name != ".":
            what = f"made of parts of the file {source.file_name!r}"
            raise ValueError(f"{dataset.name!r} is {what}; {remedy}")
        if depth < _MOST_LINKS:
            check_member(file, source.dset_name, remedy, depth + 1)


def check_hdf5(path: str, allow_external: bool = False) -> None:
    """Raise ValueError if a file that is of HDF5 leads to another file, or in circles.

    The NetCDF library ends the process where a group holds itself, by whatever links.
    """
    if "://" in path:
        if allow_external:
            return
        raise ValueError(f"{path!r} is an address; only files of this machine are read")
    with open(path, "rb"):
        pass  # the error of a file that is not there
    h5py = optional_package("h5py")
    if not h5py.is_hdf5(path):
        return
    with h5py.File(path, "r") as file:
        for name in _members(file, "", [], set()):
            if not allow_external:
                check_member(file, name)


def _members(group: Any, prefix: str, above: list[int], done: set[int]) -> Iterator[str]:
    """Yield the names of all links in a group and its groups, each before it is followed.

    `above` are the groups on the way to this one. None is `done` twice, however many lead to it.
    """
    h5py = optional_package("h5py")
    here = h5py.h5o.get_info(group.id).addr
    for part in group:
        name = f"{prefix}/{part}"
        yield name
        if isinstance(group.get(part, getlink=True), h5py.ExternalLink):
            continue
        inner = group.get(part)
        if not isinstance(inner, h5py.Group):
            continue
        address = h5py.h5o.get_info(inner.id).addr
        if address in (here, *above):
            raise ValueError(f"{name!r} is a group that holds itself")
        if address not in done:
            yield from _members(inner, name, [*above, here], done)
    done.add(here)


# ---------------------------------------------------------------------- Zarr


def reading_store(path: str, allow_external: bool) -> Any:
    """Return the store of zarr that reads a folder.

    Unless `allow_external`, a file of it (metadata, attributes or a chunk) that lies outside the
    folder, through a link in the folder, raises ValueError when it is about to be read.
    """
    if not os.path.isdir(path):
        raise FileNotFoundError(f"there is no folder {path!r}")
    kind = optional_package("zarr", "zarr").storage.LocalStore if allow_external else _inner_store()
    return kind(path, read_only=True)


@functools.cache
def _inner_store() -> Any:
    class InnerStore(optional_package("zarr", "zarr").storage.LocalStore):  # type: ignore[misc]  # untyped
        """A folder, of which only what lies in it is read."""

        def __init__(self, root: Any, *, read_only: bool = False) -> None:
            super().__init__(root, read_only=read_only)
            self._place = os.path.realpath(root)

        def _check(self, key: str) -> None:
            check_inside(self._place, os.path.join(self.root, key))

        async def get(self, key: str, *args: Any, **options: Any) -> Any:
            self._check(key)
            return await super().get(key, *args, **options)

        def get_sync(self, key: str, *args: Any, **options: Any) -> Any:
            self._check(key)
            return super().get_sync(key, *args, **options)

        async def get_partial_values(self, prototype: Any, key_ranges: Any) -> Any:
            ranges = list(key_ranges)
            for key, _ in ranges:
                self._check(key)
            return await super().get_partial_values(prototype, ranges)

    return InnerStore


def check_inside(folder: str, path: str, remedy: str = REMEDY) -> None:
    """Raise ValueError if a path in a folder (a real path) leads out of it through a link."""
    found = os.path.realpath(path)
    if os.path.commonpath([folder, found]) != folder:
        name = os.path.relpath(path, folder)
        raise ValueError(f"{name!r} is a link to {found!r}; {remedy}")


def check_folder(folder: str) -> None:
    """Raise ValueError if anything in a folder, which is to be copied, is a link out of it."""
    place = os.path.realpath(folder)
    for parent, folders, files in os.walk(place):
        for name in (*folders, *files):
            path = os.path.join(parent, name)
            if os.path.islink(path):
                check_inside(place, path, "nothing is added to a store that leads elsewhere")
