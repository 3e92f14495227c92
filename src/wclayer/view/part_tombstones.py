"""The tombstones that several layers need when they become one: those that hide something of the layers below."""

from __future__ import annotations

from collections.abc import Iterator

from wclayer.view.merged import MergedTree, Node
from wclayer.win32.names import split_path
from wclayer.win32.reparse import is_name_surrogate

_REMEMBERED = 16_384
"""The maximal number of directories in memory."""

_Pair = tuple[Node | None, Node | None]
"""A directory of the layers that become one, and what shows through it of the layers below."""


class PartTombstones:
    """The tombstones of the one layer that several become.

    A name needs a tombstone if the layers below show it, and the layers above hide it without an entry of their own
    that hides it already: it is deleted, or it is a directory that was made anew.

    Args:
        parts: the layers that become one.
        below: the layers below them; None if there are none.
    """

    def __init__(self, parts: MergedTree, below: MergedTree | None) -> None:
        self._parts = parts
        self._below = below
        self._deleted: dict[str, str] = {}
        for layer in parts.layers if below is not None else ():
            for row in layer.tombstones():
                self._deleted.setdefault(row.key, row.path)
        self._known: dict[str, _Pair] = {}

    def of_missing_names(self) -> Iterator[str]:
        """Yields the paths of the deleted names of which the layers show nothing else, sorted."""
        for key in sorted(self._deleted):
            parent, _, name = key.rpartition("/")
            above, shown = self._directory(parent)
            if shown is None or self._below is None or self._below.child(shown, name) is None:
                continue
            if above is None or self._parts.child(above, name) is None:
                yield self._deleted[key]

    def is_needed_beside(self, node: Node) -> bool:
        """Returns whether a name that the layers show needs a tombstone, too."""
        if self._below is None or not node.key or (not node.is_directory and node.key not in self._deleted):
            return False
        parent, _, name = node.key.rpartition("/")
        above, shown = self._directory(parent)
        hidden = None if shown is None else self._below.child(shown, name)
        if hidden is None or above is None:
            return False
        if hidden.is_directory != node.is_directory:
            return node.key in self._deleted
        if not node.is_directory or stands_for_another(node) or not self._hides(above, node):
            return False
        return next(iter(self._below.children(hidden)), None) is not None

    def _directory(self, key: str) -> _Pair:
        """Returns the directory with that path key."""
        if self._below is None:
            return None, None
        above: _Pair = (self._parts.root(), self._below.root())
        names = split_path(key)
        done = len(names)
        while done and (known := self._known.get("/".join(names[:done]))) is None:
            done -= 1
        if done:
            assert known is not None
            above = known
        for position in range(done, len(names)):
            above = self._step(above, names[position], "/".join(names[: position + 1]))
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known["/".join(names[: position + 1])] = above
        return above

    def _step(self, above: _Pair, name: str, key: str) -> _Pair:
        assert self._below is not None
        own, shown = above
        node = None if own is None else self._parts.child(own, name)
        hidden = None if shown is None else self._below.child(shown, name)
        if hidden is not None and not hidden.is_directory:
            hidden = None
        if node is None:
            return None, None if key in self._deleted else hidden
        if not node.is_directory or stands_for_another(node):
            return None, None
        assert own is not None
        return node, None if hidden is not None and self._hides(own, node) else hidden

    def _hides(self, directory: Node, node: Node) -> bool:
        return node.key in self._deleted or is_made_anew(self._parts, directory, node)


def is_made_anew(tree: MergedTree, directory: Node, node: Node) -> bool:
    """Returns whether one of the layers of a tree has something else than a directory in the place of a directory that
    the tree shows: what layers below the tree have in it is hidden.

    Args:
        tree: the tree.
        directory: the directory in which the other one lies.
        node: that one.
    """
    for index, entry_id in directory.merged.items():
        row = tree.layers[index].child(entry_id, node.name)
        if row is not None and (index not in node.merged or (row.reparse and is_name_surrogate(row.reparse))):
            return True
    return False


def stands_for_another(node: Node) -> bool:
    """Returns whether a name stands for another one, so that nothing lies in it."""
    return node.row.reparse is not None and is_name_surrogate(node.row.reparse)
