"""Which number the kernel knows an entry of a mounted view by, and which entry a number stands for.

All names of a file have one number, and so one place in the kernel's memory. A number tells where its entry is to be
found, so that nothing has to be remembered of the many entries that are only looked at: it is the number of the file
in the view (`Volume.file_id`). Only these have a number of their own, kept for as long as the kernel knows it:

- entries that the scratch has made, because the database gives the numbers of removed ones to others;
- entries that became something else (a file that is a link now), because to the kernel a number is of one kind, and
  directories that it takes for removed;
- other spellings of a name. To the kernel, names that differ in case are different names. If it knew one number by
  two of them, it would not pass on a rename from one to the other. So each spelling but the stored one is an *alias*:
  a node of its own, of which the kernel remembers nothing, neither name nor attributes nor contents. While the kernel
  knows an alias, the number that it stands for is kept, whether or not the kernel knows that, too.
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
"""The root directory of the layer that is the mount's."""
_VOLUME_KEY = path_key(VOLUME)
_FIRST_OWN = 1 << 62
"""The first number that tells nothing; no number of a file is as large."""
_KNOWN = 100_000
"""Nodes that are found again without a query, at most."""
_UNTOLD = 10_000
"""Numbers of their own that the kernel was not told of, which are kept at most."""


@dataclass(slots=True)
class Numbered:
    """An entry with a number of its own: the number of its file, its inode for programs, and how often it is known: the
    kernel was told of it, or an alias stands for it."""

    number: int
    file_id: int
    inode: int
    lookups: int = 0


@dataclass(slots=True)
class Alias:
    """A spelling that is not the stored one, of what has the number `target`; or a directory below such a one."""

    number: int
    parent: int
    name: bytes
    target: int
    lookups: int = 0


class Nodes:
    """The numbers of a view's entries.

    Its methods raise `OSError` ESTALE for a number whose entry is gone: the kernel then looks the name up again.
    """

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._own_depth = len(volume.tree.layers) if volume.scratch is not None else 0
        self._last = _FIRST_OWN
        self._own: dict[int, Numbered] = {}
        self._by_file: dict[int, Numbered] = {}
        self._aliases: dict[int, Alias] = {}
        self._by_spelling: dict[tuple[int, bytes], Alias] = {}
        self._inodes: set[int] = set()
        # Numbers of their own of which the kernel was not told: it will not say that it forgets them.
        self._untold: dict[int, None] = {}
        self._known: dict[int, Node] = {}

    def __len__(self) -> int:
        return len(self._own) + len(self._aliases)

    # From an entry to its number.

    def number(self, node: Node) -> int:
        """Returns the number of an entry."""
        if node.key == _VOLUME_KEY:
            return ROOT
        depth, entry = self._volume.origin(node.file)
        if entry >> INODE_BITS:
            raise CorruptLayerError(node.path, f"entry {entry} has too large a number")
        file_id = depth << INODE_BITS | entry
        own = self._by_file.get(file_id)
        if own is None:
            # The kernel may still know the first number of what was given another.
            if depth != self._own_depth and file_id not in self._inodes:
                return file_id
            own = self._make(file_id)
        return own.number

    def inode(self, number: int) -> int:
        """What programs see as the inode of the entry with that number: the number of its file, but not what a removed
        file has that the kernel still knows."""
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
        """Gives an entry another number, because the kernel must not be told the old one again."""
        self._known.pop(self.number(node), None)
        node.memo = None
        file_id = self._volume.file_id(node.file)
        self._inodes.add(file_id)
        self._make(file_id)

    def replaced_by_itself(self, node: Node, *, is_stored: bool, parent: int, name: bytes) -> None:
        """A directory was renamed from one spelling to another.

        What the kernel knew by the other one is to it a directory that was removed, in which it finds nothing any more.

        Args:
            is_stored: whether the other one was the stored spelling, else an alias.
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
        """A file has no name any more, a directory is removed: its number in the layer may come again."""
        own = self._by_file.pop(file_id, None)
        if own is not None and own.number in self._untold:
            self._drop(own)

    # From a number to its entry.

    def real(self, number: int) -> int:
        """The number of the entry itself, for that of an alias."""
        alias = self._aliases.get(number) if number > _FIRST_OWN else None
        return number if alias is None else alias.target

    def is_alias(self, number: int) -> bool:
        return number in self._aliases

    def node(self, number: int) -> Node:
        """The entry that a number stands for; a file with several names by one of them."""
        number = self.real(number)
        node = self._known.get(number)
        if node is None or not self._volume.tree.knows(node):
            node = self._find(number)
            self.note(number, node)
        return node

    def note(self, number: int, node: Node) -> None:
        """Remembers the entry with that number, because the kernel will ask for it."""
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

    # What the kernel remembers.

    def alias(self, parent: int, name: bytes, target: int) -> int:
        """The number by which the kernel knows what has the number `target` under a name in a directory."""
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
        """Takes back `count` uses of a number that the kernel has forgotten."""
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
        """Returns whether the kernel asks for an entry by its stored name, in a directory that it knows by its own."""
        return not self.is_alias(parent) and encode_name(node.name) == name

    def is_current(self, number: int) -> bool:
        """Returns whether the kernel may be told a number again."""
        return number <= _FIRST_OWN or number in self._own
