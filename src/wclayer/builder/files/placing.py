"""Puts what COPY and ADD copy into a view: new entries inherit their descriptors, existing directories stay.

A file that is in the way is removed first, so that nothing of it stays: neither its descriptor nor its streams. A link
in its place is removed, too, and not written through.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import IO, Self

from wclayer.builder.security.stated_security import with_stated
from wclayer.errors import EntryIsDirectoryError, EntryNotDirectoryError
from wclayer.view.layer_view import LayerView
from wclayer.view.merged import Node
from wclayer.view.resolve import Place, is_link
from wclayer.win32.inherit import inherit, volume_root
from wclayer.win32.reparse import LinkTarget
from wclayer.win32.security import AceFlags, Acl, SecurityDescriptor
from wclayer.win32.sid import ADMINISTRATORS, LOCAL_SYSTEM, Sid

_IN_ONE_GO = 256
"""Entries that are made in one transaction of the scratch."""
_INHERITANCE = (
    AceFlags.OBJECT_INHERIT | AceFlags.CONTAINER_INHERIT | AceFlags.NO_PROPAGATE_INHERIT | AceFlags.INHERIT_ONLY
)


@dataclass(frozen=True, slots=True)
class Ownership:
    """Who owns what COPY and ADD make, and who may access it."""

    owner: Sid | None = None
    """The owner (`--chown`); by default, administrators."""
    group: Sid | None = None
    """The primary group; by default, Local System."""
    descriptor: SecurityDescriptor | None = None
    """The parts of the descriptor that `--acl` states."""

    def __bool__(self) -> bool:
        return self.owner is not None or self.group is not None or self.descriptor is not None

    def of_new(self, parent: bytes | None, *, is_directory: bool) -> bytes:
        """Returns the descriptor of a new entry in a directory with the descriptor `parent`."""
        above = SecurityDescriptor.decode(parent) if parent is not None else volume_root()
        own = inherit(
            above, is_directory=is_directory, owner=self.owner or ADMINISTRATORS, group=self.group or LOCAL_SYSTEM
        )
        return self._with_acl(own, is_directory=is_directory).encode()

    def of_copy(self, descriptor: bytes | None, parent: bytes | None, *, is_directory: bool) -> bytes:
        """Returns the descriptor of a copy of an entry that has the descriptor `descriptor` where it comes from."""
        if descriptor is None:
            return self.of_new(parent, is_directory=is_directory)
        kept = SecurityDescriptor.decode(descriptor)
        own = replace(kept, owner=self.owner or kept.owner, group=self.group or kept.group)
        return self._with_acl(own, is_directory=is_directory).encode()

    def _with_acl(self, own: SecurityDescriptor, *, is_directory: bool) -> SecurityDescriptor:
        stated = self.descriptor
        if stated is None:
            return own
        if not is_directory:
            stated = replace(stated, dacl=_for_file(stated.dacl), sacl=_for_file(stated.sacl))
        made = with_stated(own, stated)
        return replace(made, owner=self.owner or made.owner, group=self.group or made.group)


def _for_file(acl: Acl | None) -> Acl | None:
    """Returns the entries of an ACL that apply to a file, which has nothing below it to inherit them."""
    if acl is None:
        return None
    return Acl.of(
        replace(ace, flags=ace.flags & ~_INHERITANCE) for ace in acl.aces if not ace.flags & AceFlags.INHERIT_ONLY
    )


class Placer:
    """Makes entries in a view, many in one transaction. A context manager; at its end, directories get their times.

    Paths are `/`-separated and absolute, with the drive ("C:/app/x").

    Args:
        view: the writable view.
        ownership: the owner and the access of what is made.
    """

    def __init__(self, view: LayerView, ownership: Ownership) -> None:
        self.view = view
        self.ownership = ownership
        # The descriptors of new entries by that of their directory, and whether they are directories.
        self._descriptors: dict[tuple[bytes | None, bool], bytes] = {}
        self._times: list[tuple[str, int, int | None]] = []
        self._count = 0
        self._volume = view.volume
        self._transaction = self._volume.changing()

    def __enter__(self) -> Self:
        self._transaction.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if error is None:
            # What was made in a directory has changed its times; a directory stands before what is in it.
            for path, time, change in reversed(self._times):
                self.view.set_times(path, write=time, change=change, follow=False)
        self._transaction.__exit__(kind, error, tb)

    def _step(self) -> None:
        """Counts an entry, and commits what was made if it is enough for one transaction."""
        self._count += 1
        if self._count == _IN_ONE_GO:
            self._count = 0
            self._transaction.__exit__(None, None, None)
            self._transaction = self._volume.changing()
            self._transaction.__enter__()

    def directory(
        self, path: str, time: int | None = None, *, change: int | None = None, is_asked_for: bool = True
    ) -> bool:
        """Makes a directory, unless it exists: then it stays as it is.

        Args:
            path: the directory; the one above it exists.
            time: the time of its last write (FILETIME).
            change: the time of the last change of its metadata; by default now.
            is_asked_for: True if it is one that the instruction names or copies, and gets its owner; False if it only
                lies on the way.

        Returns:
            Whether it was made.

        Raises:
            EntryNotDirectoryError: a file has its name.
        """
        found = self._volume.place(path, follow=True).node
        if found is not None:
            if not found.is_directory:
                raise EntryNotDirectoryError(path, "is a file in the image, where a directory is to be")
            return False
        place = self._volume.place(path, follow=False)
        self._volume.mkdir(place, security=self._owned(place.directory, is_directory=True) if is_asked_for else None)
        if time is not None:
            self._times.append((path, time, change))
        self._step()
        return True

    def directories(self, path: str) -> None:
        """Makes a directory and those above it, where they do not exist; the last one gets its owner."""
        parts = path.split("/")
        for count in range(2, len(parts) + 1):
            self.directory("/".join(parts[:count]), is_asked_for=count == len(parts))

    def file(self, path: str, time: int, write: Callable[[IO[bytes]], None]) -> bytes:
        """Makes a file, in the place of a file or link that exists.

        Args:
            path: the file; its directory exists.
            time: the time of the last write (FILETIME).
            write: writes the contents.

        Returns:
            The SHA-256 of the contents.

        Raises:
            EntryIsDirectoryError: a directory has its name.
        """
        place = self.clear(path)
        with self._volume.staging() as contents:
            with io.BufferedWriter(contents) as buffered:
                write(buffered)
            security = self._owned(place.directory, is_directory=False)
            self._volume.create_with(place, contents, written=time, security=security)
        self._step()
        return contents.digest()

    def link(self, path: str, target: LinkTarget, time: int, *, is_directory: bool | None) -> bool:
        """Makes a symbolic link or mount point, in the place of a file or link that exists.

        Args:
            path: the link; its directory exists.
            target: where it leads.
            time: the time of the last write (FILETIME).
            is_directory: whether it is one to a directory; None lets what is there decide.

        Returns:
            Whether it is one to a directory.
        """
        place = self.clear(path)
        if is_directory is None:
            is_directory = self._volume.leads_to_directory(place, target)
        security = self._owned(place.directory, is_directory=is_directory)
        self._volume.create_link(place, target, is_directory=is_directory, written=time, security=security)
        self._step()
        return is_directory

    def leads_to_directory(self, path: str, target: LinkTarget) -> bool:
        """Returns whether a link at a path would lead to a directory that is there now."""
        return self._volume.leads_to_directory(self._volume.place(path, follow=False), target)

    def hard_link(self, path: str, target: str) -> None:
        """Makes a further name of a file, in the place of a file or link that exists."""
        self.clear(path)
        self.view.link(path, target)
        self._step()

    def clear(self, path: str) -> Place:
        """Removes a file or a link, and returns its place, which is free.

        Raises:
            PathNotFoundError: the directory does not exist.
            EntryIsDirectoryError: it is a directory.
        """
        place = self._volume.place(path, follow=False)
        node = place.node
        if node is None:
            return place
        if node.is_directory and not is_link(node.row.reparse):
            raise EntryIsDirectoryError(path, "is a directory in the image, where a file is to be")
        self._volume.unlink(node)
        return place._replace(node=None)

    def _owned(self, directory: Node, *, is_directory: bool) -> bytes | None:
        """Returns the descriptor of a new entry with the owner and the access that the instruction states.

        Returns:
            The descriptor; None if it states neither.
        """
        if not self.ownership:
            return None
        parent = self._volume.tree.security(directory)
        known = self._descriptors.get((parent, is_directory))
        if known is None:
            known = self._descriptors[parent, is_directory] = self.ownership.of_new(parent, is_directory=is_directory)
        return known

    def own_copy(self, path: str, *, is_directory: bool) -> None:
        """Gives a copy, which has the descriptor of its source, the owner and access that the instruction states."""
        if self.ownership:
            found = self.view.security(path, follow=False)
            parent = self.view.security(path.rpartition("/")[0] + "/")
            descriptor = self.ownership.of_copy(found, parent, is_directory=is_directory)
            self.view.set_security(path, descriptor, follow=False)
