"""The files of a chain of layers: what its merged tree shows of C:, each with the layer that brought it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from wclayer.errors import FormatError
from wclayer.inventory.item import SubjectLayer
from wclayer.inventory.subject.files import SubjectFile, SubjectFiles
from wclayer.view.merged import MergedTree, Node
from wclayer.view.resolve import is_link

_ROOT = "Files"
_PREFIX = len(_ROOT) + 1
_EMPTY = "has no contents: it is a directory, or a reparse point"


class LayerFiles(SubjectFiles):
    """The files of a chain.

    Args:
        tree: the merged tree of the chain. The caller closes it.
        layers: its layers, base layer first.
    """

    def __init__(self, tree: MergedTree, layers: Sequence[SubjectLayer]) -> None:
        self._tree = tree
        self._layers = layers

    def root(self) -> SubjectFile | None:
        node = self._tree.lookup(_ROOT)
        return None if node is None else self._file(node)

    def child(self, directory: SubjectFile, name: str) -> SubjectFile | None:
        if directory.is_link:
            return None
        node = self._tree.child(_node(directory), name)
        return None if node is None else self._file(node)

    def children(self, directory: SubjectFile) -> Iterator[SubjectFile]:
        if directory.is_directory and not directory.is_link:
            yield from map(self._file, self._tree.children(_node(directory)))

    def open(self, file: SubjectFile) -> BinaryIO:
        node = _node(file)
        if node.row.sha256 is None:
            raise FormatError(_EMPTY)
        return os.fdopen(self._tree.layers[node.layer].open_file(node.row), "rb")

    def identity(self, file: SubjectFile) -> tuple[int, int]:
        return _node(file).file

    def sha256(self, file: SubjectFile) -> str:
        digest = self._tree.digest(_node(file))
        if digest is None:
            raise FormatError(_EMPTY)
        return digest.hex()

    def close(self) -> None:
        self._tree.close()

    def _file(self, node: Node) -> SubjectFile:
        # A layer's number counts from the base, a node's from the nearest layer.
        layer = self._layers[len(self._layers) - 1 - node.layer]
        return SubjectFile(
            node.path[_PREFIX:], node.row.size, node.is_directory, is_link(node.row.reparse), layer, node
        )


def _node(file: SubjectFile) -> Node:
    assert isinstance(file.handle, Node)
    return file.handle
