"""The files of a chain of layers: what its merged tree shows of C:, each with the layer that brought it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO

from wclayer.errors import FormatError
from wclayer.inventory.item import SubjectLayer
from wclayer.inventory.subject.files import SubjectFile, SubjectFiles
from wclayer.view.merged import MergedTree, Node
from wclayer.view.resolve import is_link

_ROOT = "Files"
_PREFIX = len(_ROOT) + 1


class LayerFiles(SubjectFiles):
    """The files of a chain.

    Args:
        tree: the merged tree of the chain. The caller closes it.
        layers: its layers, base layer first.
    """

    def __init__(self, tree: MergedTree, layers: Sequence[SubjectLayer]) -> None:
        self._tree = tree
        self._layers = layers
        self._last: tuple[str, SubjectFile | None] = "", None

    def root(self) -> SubjectFile | None:
        node = self._tree.lookup(_ROOT)
        return None if node is None else self._file(node)

    def child(self, directory: SubjectFile, name: str) -> SubjectFile | None:
        if directory.is_link:
            return None
        node = self._tree.child(node_of(directory), name)
        return None if node is None else self._file(node)

    def children(self, directory: SubjectFile) -> Iterator[SubjectFile]:
        if directory.is_directory and not directory.is_link:
            yield from map(self._file, self._tree.children(node_of(directory)))

    def find(self, path: str) -> SubjectFile | None:
        above, _, name = path.rpartition("/")
        if not above:
            return super().find(path)
        # Names beside each other are asked for one after the other.
        if self._last[0] != above:
            self._last = above, self.find(above)
        directory = self._last[1]
        return None if directory is None else self.child(directory, name)

    def open(self, file: SubjectFile) -> BinaryIO:
        node = node_of(file)
        return self._tree.layers[node.layer].open_contents(node.row)

    def identity(self, file: SubjectFile) -> tuple[int, int]:
        return node_of(file).file

    def sha256(self, file: SubjectFile) -> str:
        node = node_of(file)
        check_has_contents(node)
        digest = self._tree.digest(node)
        assert digest is not None
        return digest.hex()

    def security(self, file: SubjectFile) -> bytes | None:
        return self._tree.security(node_of(file))

    def close(self) -> None:
        self._tree.close()

    def _file(self, node: Node) -> SubjectFile:
        # A layer's number counts from the base, a node's from the nearest layer.
        layer = self._layers[len(self._layers) - 1 - node.layer]
        return SubjectFile(
            node.path[_PREFIX:], node.row.size, node.is_directory, is_link(node.row.reparse), layer, node
        )


def check_has_contents(node: Node) -> None:
    """Refuses a node that is no file with contents.

    Raises:
        FormatError: it is a directory, or a reparse point.
    """
    if node.row.sha256 is None:
        raise FormatError("has no contents: it is a directory, or a reparse point")


def node_of(file: SubjectFile) -> Node:
    """Returns the node of a file of a chain."""
    assert isinstance(file.handle, Node)
    return file.handle
