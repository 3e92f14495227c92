"""Changes to a merged tree: they go to the scratch, its upper layer; an entry of a parent is copied up first.

An entry is copied up with all its metadata. Its contents are linked instead of copied where the host supports this.
For a directory, only its own entry is copied up, not its contents. A deleted entry of a parent gets a tombstone.
"""

from __future__ import annotations

from collections.abc import Callable

from wclayer.errors import (
    AlreadyExistsError,
    CorruptLayerError,
    DirectoryNotEmptyError,
    EntryIsDirectoryError,
    EntryNotDirectoryError,
    FormatError,
    InvalidParameterError,
    NotSupportedError,
)
from wclayer.layers.cache import Cache
from wclayer.layers.directory.database import Origin
from wclayer.layers.directory.scratch import ScratchDirectory
from wclayer.layers.names import ROOTS
from wclayer.view.merged import MergedTree, Node
from wclayer.win32.attributes import DIRECTORY, REPARSE_POINT, FileAttributes, FileBasicInfo
from wclayer.win32.inherit import inherited, volume_root
from wclayer.win32.names import path_key

_INHERITED_ATTRIBUTES = int(FileAttributes.NOT_CONTENT_INDEXED)
_ARCHIVE = int(FileAttributes.ARCHIVE)
_VOLUME_ROOT = volume_root().encode()
_UTILITY_VM = path_key("UtilityVM")
FIXED = frozenset(map(path_key, ROOTS))
"""Path keys of the root directories, which cannot be removed, renamed or made links."""


class Upper:
    """The steps of changes to the upper layer: a scratch, the first layer of the tree.

    The caller must have begun a transaction of the scratch.

    Args:
        reserve: called with the number of bytes that a change needs, before it is made; may raise `DiskFullError`.
        taken_over: called after a copy-up, with the former `Node.file` of the entry and its node.
        gone: called with the node of a directory, or of the last visible name of a file, when it is removed.
    """

    def __init__(
        self,
        tree: MergedTree,
        scratch: ScratchDirectory,
        *,
        reserve: Callable[[int], None],
        taken_over: Callable[[tuple[int, int], Node], None],
        gone: Callable[[Node], None],
    ) -> None:
        self._tree = tree
        self._scratch = scratch
        self._reserve = reserve
        self._taken_over = taken_over
        self._gone = gone
        # What new entries inherit: from the layer of a directory and the number of its descriptor there; whether the
        # entry is a directory.
        self._inheritance: Cache[tuple[int, int | None, bool], bytes] = Cache(1 << 20)

    def forget(self) -> None:
        """Forgets what is known of the scratch, because a change was rolled back."""
        self._inheritance.forget()

    # Copy-up.

    def copy_up(self, node: Node) -> None:
        """Copies an entry up, unchanged."""
        if node.is_directory:
            self.copy_up_directory(node)
        else:
            self._copy_up_file(node)

    def copy_up_directory(self, node: Node) -> int:
        """Copies up a directory's entry and those above it, unchanged.

        Returns:
            The id of the directory in the scratch.
        """
        missing = []
        while (own := self._own_id(node)) is None:
            missing.append(node)
            node = self._parent(node)
        for directory in reversed(missing):
            own = self._copy_up_one(directory, own)
        return own

    @staticmethod
    def _own_id(node: Node) -> int | None:
        """Returns the id of a directory's entry in the scratch, or None if it is not copied up yet."""
        own = node.merged.get(0)
        return own if not node.key or (node.layer == 0 and node.row.origin != Origin.IMPLIED) else None

    def _copy_up_one(self, node: Node, parent: int) -> int:
        if node.key.startswith(_UTILITY_VM):
            raise NotSupportedError(node.path, "a scratch has no part of the utility VM")
        own, was = node.merged.get(0), node.file
        is_new = own is None
        if own is None:
            own = self._copy(node, parent)
            self._scratch.note_taken(self._tree.depth(was[0]), was[1], own)
        elif node.layer:
            # A root directory that the scratch has no entry for yet.
            row = self._scratch.by_id(own)
            self._scratch.set_info(row, node.row.info, origin=Origin.OWN)
            descriptor = self._tree.security(node)
            if descriptor is not None:
                self._scratch.set_security(row, descriptor, node.row.change_time)
        else:
            self._scratch.set(node.row, origin=int(Origin.OWN))
        node.merged[0] = own
        node.row, node.layer = self._scratch.by_id(own), 0
        if is_new:
            self._taken_over(was, node)
        return own

    def _copy_up_file(self, node: Node) -> None:
        if node.layer == 0:
            return
        was = node.file
        # All visible names of the file stay names of one file.
        others = self._tree.other_names(node)
        own = self._copy(node, self.copy_up_directory(self._parent(node)))
        self._scratch.note_taken(self._tree.depth(was[0]), was[1], own)
        node.row, node.layer = self._scratch.by_id(own), 0
        for other in others:
            link = self._scratch.add_link(self.copy_up_directory(self._parent(other)), other.name, node.row)
            other.row, other.layer = self._scratch.by_id(link), 0
        self._taken_over(was, node)

    def copy_up_all(self, node: Node) -> None:
        """Copies up an entry and everything below it."""
        pending = [node]
        while pending:
            at = pending.pop()
            self.copy_up(at)
            if at.is_directory and at.merged.keys() != {0}:
                pending += self._tree.children(at)

    def _copy(self, node: Node, parent: int) -> int:
        layer = self._tree.layers[node.layer]
        row = layer.first_name(node.row)
        host = None
        size = layer.stream_bytes(row) + (0 if row.sha256 is None else row.size)
        if size:
            self._reserve(size)
        if row.sha256 is not None:
            layer.stat_file(node.row)
            host = self._scratch.take_file(layer.host, layer.host_path(node.row))
        own = self._scratch.add(
            parent, node.name, node.row.info, security=self._tree.security(node), size=row.size,
            sha256=row.sha256, eas=row.eas, reparse=row.reparse, host=host,
        ).id  # fmt: skip
        self._scratch.copy_streams(layer, row, own)
        return own

    def _parent(self, node: Node) -> Node:
        parent = self._tree.lookup(node.path.rpartition("/")[0])
        assert parent is not None
        return parent

    # Names.

    def create(
        self,
        directory: Node,
        name: str,
        time: int,
        *,
        attributes: int = 0,
        reparse: bytes | None = None,
        host: bytes | None = None,
        size: int = 0,
        sha256: bytes | None = None,
        written: int | None = None,
        security: bytes | None = None,
    ) -> Node:
        """Creates an entry with the metadata of a new one on Windows: inherited security, times, archive attribute.

        No entry may be visible under the name.

        Args:
            written: the time of the last write, if it is another one than `time`.
            security: the security descriptor, if the entry does not inherit it.

        Raises:
            CorruptLayerError: the security descriptor of the directory is damaged.
        """
        parent = self.copy_up_directory(directory)
        is_directory = bool(attributes & DIRECTORY)
        attributes |= directory.row.attributes & _INHERITED_ATTRIBUTES
        attributes |= (0 if is_directory else _ARCHIVE) | (REPARSE_POINT if reparse is not None else 0)
        info = FileBasicInfo(attributes, time, time, time if written is None else written, time)
        row = self._scratch.add(
            parent, name, info, security=self._inherited(directory, is_directory) if security is None else security,
            reparse=reparse, host=host, size=size, sha256=sha256,
        )  # fmt: skip
        self._settle_name(directory, name, is_directory=is_directory)
        self.touch(directory, time)
        return self._tree.note_created(directory, row)

    def _inherited(self, directory: Node, is_directory: bool) -> bytes:
        # Descriptors in `layer.db` do not change, so the same numbers lead to the same result.
        numbers = directory.layer, directory.row.security, is_directory
        made = self._inheritance.get(numbers)
        if made is not None:
            return made
        try:
            made = inherited(self._tree.security(directory) or _VOLUME_ROOT, is_directory)
        except FormatError as error:
            raise CorruptLayerError(
                directory.path,
                f"nothing can be made in it: its security descriptor is damaged: {error}",
            ) from None
        self._inheritance.keep(numbers, made, len(made))
        return made

    def link(self, node: Node, directory: Node, name: str, time: int) -> Node:
        """Creates a further name of a file. No entry may be visible under the name.

        Raises:
            EntryIsDirectoryError: the node is a directory.
        """
        if node.is_directory:
            raise EntryIsDirectoryError(node.path, "a directory has one name")
        self.copy_up(node)
        self._scratch.add_link(self.copy_up_directory(directory), name, node.row)
        self._settle_name(directory, name, is_directory=False)
        self.update(node, change_time=time)
        self.touch(directory, time)
        return self._child(directory, name)

    def remove(self, node: Node, time: int) -> None:
        """Removes a name; a directory must be empty.

        Raises:
            DirectoryNotEmptyError: the directory is not empty.
            InvalidParameterError: the node is a root directory of the layer.
        """
        directory = self._parent(node)
        if not directory.key or node.key in FIXED:
            raise InvalidParameterError(node.path, "a root directory of the layer cannot be removed")
        if node.is_directory and self._tree.children(node):
            raise DirectoryNotEmptyError(node.path, "the directory is not empty")
        self.copy_up_directory(directory)
        others = self._tree.other_names(node)
        if not others:
            self._gone(node)
        for other in others:
            # Their link count has changed.
            self._tree.forget(other.key)
        self._remove_own(node)
        below = self._tree.child_in_parents(directory, node.name)
        if below is not None:
            self._set_tombstone(below.path, node.key)
        self.touch(directory, time)

    def _remove_own(self, node: Node) -> None:
        """Removes the scratch's part of a name."""
        if node.is_directory:
            self._scratch.remove_tombstones_below(node.key)
            self._tree.forget_tombstones()
            own = node.merged.get(0)
            if own is not None:
                self._scratch.remove(self._scratch.by_id(own))
        elif node.layer == 0:
            self._scratch.remove(node.row)
        self._tree.forget(node.key)

    def rename(self, node: Node, directory: Node, name: str, time: int, *, replace: bool) -> Node:
        """Moves an entry, with everything below it, to another directory and name.

        Args:
            replace: an existing entry is replaced: a file by a file, an empty directory by a directory.

        Raises:
            AlreadyExistsError: the name is taken, and `replace` is false.
            EntryIsDirectoryError, EntryNotDirectoryError, DirectoryNotEmptyError: the existing entry cannot be
                replaced.
            InvalidParameterError: a directory would be moved into itself; the node is a root directory of the layer.
        """
        old_directory, target = self._parent(node), self._tree.child(directory, name)
        if not old_directory.key or node.key in FIXED:
            raise InvalidParameterError(node.path, "a root directory of the layer cannot be renamed")
        if (directory.key + "/").startswith(node.key + "/"):
            raise InvalidParameterError(node.path, "a directory cannot be moved into itself")
        if target is not None and target is not node:
            if not replace:
                raise AlreadyExistsError(target.path, "the name is taken")
            if target.is_directory and not node.is_directory:
                raise EntryIsDirectoryError(target.path, "is a directory")
            if node.is_directory and not target.is_directory:
                raise EntryNotDirectoryError(target.path, "is not a directory")
            if not target.is_directory and target.file == node.file:
                # Two names of one file: POSIX requires that rename does nothing.
                return target
            if not node.is_directory and node.layer == 0:
                self._scratch.secure(node.row)
            self.remove(target, time)
        parent = self.copy_up_directory(directory)
        if target is node:
            # Another spelling of the same name: the entries of the parents below it stay visible or deleted.
            self.copy_up(node)
        else:
            self.copy_up_all(node)
            if node.is_directory:
                self._scratch.remove_tombstones_below(node.key)
                self._tree.forget_tombstones()
        row = self._scratch.by_id(node.merged[0]) if node.is_directory else node.row
        self._scratch.move(row, parent, name)
        if target is not node:
            below = self._tree.child_in_parents(old_directory, node.name)
            if below is not None:
                self._set_tombstone(below.path, node.key)
            self._settle_name(directory, name, is_directory=node.is_directory)
        if node.is_directory:
            self._tree.forget_all()
            directory, old_directory = self._again(directory), self._again(old_directory)
        self._tree.forget(node.key)
        moved = self._child(directory, name)
        self.update(moved, change_time=time)
        for changed in {id(old_directory): old_directory, id(directory): directory}.values():
            self.touch(changed, time)
        return moved

    def _again(self, node: Node) -> Node:
        found = self._tree.lookup(node.path)
        assert found is not None
        return found

    def _child(self, directory: Node, name: str) -> Node:
        """Returns the node of a name that was just created."""
        key = f"{directory.key}/{path_key(name)}"
        self._tree.forget(key)
        child = self._tree.child(directory, name)
        assert child is not None
        return child

    def _settle_name(self, directory: Node, name: str, *, is_directory: bool) -> None:
        """Removes the tombstone of a name that was just created, unless it must hide a directory of a parent."""
        key = f"{directory.key}/{path_key(name)}"
        if not self._tree.is_deleted(key):
            return
        below = self._tree.child_in_parents(directory, name)
        if not is_directory or below is None or not below.is_directory:
            self._scratch.remove_tombstone(key)
            self._tree.note_tombstone(key, is_deleted=False)

    def _set_tombstone(self, path: str, key: str) -> None:
        self._scratch.add_tombstone(path, key)
        self._tree.note_tombstone(key, is_deleted=True)

    # Metadata.

    def touch(self, directory: Node, time: int) -> None:
        """Sets the times of a directory in which names have changed, unless it has them from the name before."""
        if (directory.row.last_write_time, directory.row.change_time) != (time, time):
            self.copy_up(directory)
            self._scratch.set(directory.row, last_write_time=time, change_time=time)
            directory.row = directory.row.written(
                size=directory.row.size, attributes=directory.row.attributes, last_write_time=time, change_time=time
            )  # fmt: skip

    def update(self, node: Node, **columns: int | bytes | str | None) -> None:
        """Changes columns of the entry."""
        self.copy_up(node)
        self._scratch.set(node.row, **columns)
        self.refresh(node)

    def set_security(self, node: Node, descriptor: bytes, time: int) -> None:
        """Changes the entry's security descriptor."""
        self.copy_up(node)
        self._scratch.set_security(node.row, descriptor, time)
        self.refresh(node)

    def refresh(self, node: Node) -> None:
        """Reads the row of an entry of the scratch again."""
        node.row = self._scratch.by_id(node.row.id)
        if not node.is_directory:
            self._forget_other_names(node)

    def _forget_other_names(self, node: Node) -> None:
        if node.row.link is None and self._scratch.link_count(node.row) == 1:
            return
        for row in self._scratch.names(node.row):
            if row.id != node.row.id:
                self._tree.forget(path_key(self._scratch.path_of(row)))
