"""The numbers (FUSE node ids) of the entries of a mounted view: from an entry to its number and back.

All names of a file have one number, and so one inode in the kernel. For most entries, the number is that of the file in
the view (`Volume.file_id`). It states where the entry is, so that no memory is needed for the many entries that are
only looked up. Only the following have an assigned number, which is kept for as long as the kernel knows it:

- entries that were created in the scratch, because the database reuses the ids of removed entries;
- entries whose kind has changed (a file that became a link), because in the kernel a number has one kind, and
  directories that the kernel considers removed;
- other spellings of a name. For the kernel, names that differ in case are different names. If it knew one number by
  two of them, it would not pass on a rename from one to the other. So each spelling except the stored one is an
  *alias*: a separate node, of which the kernel caches neither name nor attributes nor contents. While the kernel
  knows an alias, the number of the alias's target is kept, whether or not the kernel knows that number, too.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass

from wclayer.errors import CorruptLayerError
from wclayer.layers.names import ROOTS
from wclayer.view.fuse.abi import ROOT
from wclayer.view.merged import Node
from wclayer.view.volume import INODE_BITS, Volume
from wclayer.win32.names import encode_name, path_key

VOLUME = ROOTS[0]
"""The directory of the layer that is the root of the mount."""
_VOLUME_KEY = path_key(VOLUME)
_FIRST_OWN = 1 << 62
"""The assigned numbers are larger than this one; the numbers of files are smaller."""
_KNOWN = 100_000
"""The maximal number of nodes that are cached, so that they are found by number without a query."""
_UNTOLD = 10_000
"""The maximal number of assigned numbers that are kept although the kernel was not told them."""


@dataclass(slots=True)
class Numbered:
    """An entry with an assigned number: this number, the number of its file, its inode for programs, and the number of
    its uses. A use is a lookup that the kernel was told, or an alias that has this number as its target."""

    number: int
    file_id: int
    inode: int
    lookups: int = 0


@dataclass(slots=True)
class Alias:
    """A spelling other than the stored one for the entry with the number `target`, or a directory below an alias."""

    number: int
    parent: int
    name: bytes
    target: int
    lookups: int = 0


class Nodes:
    """The numbers of a view's entries.

    The methods raise `OSError` ESTALE for a number whose entry no longer exists: the kernel then looks the name up
    again.
    """

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._count = len(volume.tree.layers)
        self._own_depth = self._count if volume.scratch is not None else 0
        self._last = _FIRST_OWN
        self._own: dict[int, Numbered] = {}
        self._by_file: dict[int, Numbered] = {}
        self._aliases: dict[int, Alias] = {}
        self._by_spelling: dict[tuple[int, bytes], Alias] = {}
        self._inodes: set[int] = set()
        # Assigned numbers that the kernel was not told: it will never send FORGET for them.
        self._untold: dict[int, None] = {}
        self._known: dict[int, Node] = {}

    def __len__(self) -> int:
        return len(self._own) + len(self._aliases)

    # From an entry to its number.

    def number(self, node: Node) -> int:
        """Returns the number of an entry."""
        if node.key == _VOLUME_KEY:
            return ROOT
        # This is called for each entry of a listing. An entry of a finished layer has the id that it had at first.
        layer, entry = node.file
        depth = self._count - layer
        if depth == self._own_depth:
            depth, entry = self._volume.origin((layer, entry))
        if entry >> INODE_BITS:
            raise CorruptLayerError(node.path, f"entry {entry} has too large a number")
        file_id = depth << INODE_BITS | entry
        own = self._by_file.get(file_id)
        if own is None:
            # If the entry was assigned another number before, the kernel may still know the original one.
            if depth != self._own_depth and file_id not in self._inodes:
                return file_id
            own = self._make(file_id)
        return own.number

    def inode(self, number: int) -> int:
        """Returns the inode that programs see for the entry with a number.

        It is the number of the entry's file, unless a removed file that the kernel still knows has this inode.
        """
        own = self._own.get(number)
        return number if own is None else own.inode

    def _make(self, file_id: int) -> Numbered:
        number = self._next()
        own = Numbered(number, file_id, number if file_id in self._inodes else file_id)
        self._inodes.add(own.inode)
        self._own[number] = self._by_file[file_id] = own
        self._untold[number] = None
        if len(self._untold) > _UNTOLD:
            self._drop(self._own[next(iter(self._untold))])
        return own

    def _drop(self, own: Numbered) -> None:
        del self._own[own.number]
        self._untold.pop(own.number, None)
        self._known.pop(own.number, None)
        self._inodes.discard(own.inode)
        if self._by_file.get(own.file_id) is own:
            del self._by_file[own.file_id]

    def _next(self) -> int:
        self._last += 1
        return self._last

    def renumber(self, node: Node) -> None:
        """Assigns a new number to an entry, because the kernel must not be told the old one again."""
        self._known.pop(self.number(node), None)
        node.memo = None
        file_id = self._volume.file_id(node.file)
        self._inodes.add(file_id)
        self._make(file_id)

    def replaced_by_itself(self, node: Node, *, is_stored: bool, parent: int, name: bytes) -> None:
        """Assigns new numbers after a directory was renamed from one spelling to another.

        The kernel considers the node that it knew by the new spelling a removed directory, and finds no entries in it.

        Args:
            is_stored: whether the new spelling was the stored one; otherwise it was an alias.
            parent, name: the number of the directory that contains the new spelling, and the new spelling.
        """
        if not is_stored:
            self._by_spelling.pop((parent, name), None)
            return
        old = self.number(node)
        self.renumber(node)
        new = self.number(node)
        for alias in self._aliases.values():
            if alias.target == old:
                alias.target = new
                self.told(new)
                self.forget(old, 1)

    def gone(self, file_id: int) -> None:
        """Releases the number of a removed directory, or of a file without a name: its id may be reused."""
        own = self._by_file.pop(file_id, None)
        if own is not None and own.number in self._untold:
            self._drop(own)

    # From a number to its entry.

    def real(self, number: int) -> int:
        """Returns the number of the entry itself: for an alias, the number of its target."""
        alias = self._aliases.get(number) if number > _FIRST_OWN else None
        return number if alias is None else alias.target

    def is_alias(self, number: int) -> bool:
        return number in self._aliases

    def node(self, number: int) -> Node:
        """Returns the entry with a number; for a file with several names, the node of one of them.

        Raises:
            OSError: ESTALE, no entry has the number any more.
        """
        number = self.real(number)
        node = self._known.get(number)
        if node is None or not self._volume.tree.knows(node):
            node = self._find(number)
            self.note(number, node)
        return node

    def note(self, number: int, node: Node) -> None:
        """Caches the entry with a number, because the kernel will ask for it."""
        if len(self._known) >= _KNOWN:
            self._known.clear()
        self._known[number] = node

    def _find(self, number: int) -> Node:
        if number == ROOT:
            node = self._volume.tree.lookup(VOLUME)
        else:
            own = self._own.get(number)
            file_id = number if own is None else own.file_id
            file = self._volume.file_of_id(file_id)
            node = None if file is None else self._volume.node_of(file)
        if node is None or self.number(node) != number:
            raise OSError(errno.ESTALE, "gone, or known by another number")
        return node

    # The numbers that the kernel knows.

    def alias(self, parent: int, name: bytes, target: int) -> int:
        """Returns the number of the alias for a name in a directory, whose entry has the number `target`."""
        alias = self._by_spelling.get((parent, name))
        if alias is None or alias.target != target:
            alias = Alias(self._next(), parent, name, target)
            self._aliases[alias.number] = self._by_spelling[parent, name] = alias
            self.told(target)
        return alias.number

    def told(self, number: int) -> None:
        """Counts one more use of a number, by the kernel or by an alias."""
        if number > _FIRST_OWN:
            kept = self._own.get(number) or self._aliases[number]
            kept.lookups += 1
            self._untold.pop(number, None)

    def forget(self, number: int, count: int) -> None:
        """Subtracts `count` uses from a number, because the kernel has forgotten them."""
        if number <= _FIRST_OWN:
            return
        kept = self._own.get(number) or self._aliases.get(number)
        if kept is None:
            return
        kept.lookups -= count
        if kept.lookups > 0:
            return
        if isinstance(kept, Alias):
            del self._aliases[number]
            if self._by_spelling.get((kept.parent, kept.name)) is kept:
                del self._by_spelling[kept.parent, kept.name]
            self.forget(kept.target, 1)
        else:
            self._drop(kept)

    def is_stored_spelling(self, node: Node, parent: int, name: bytes) -> bool:
        """Returns whether the kernel has used the stored name of an entry, in a directory that is not an alias."""
        return not self.is_alias(parent) and encode_name(node.name) == name

    def is_current(self, number: int) -> bool:
        """Returns whether the kernel may be told a number again."""
        return number <= _FIRST_OWN or number in self._own
