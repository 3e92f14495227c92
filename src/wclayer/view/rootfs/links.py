"""The targets of links outside of Windows: relative, with slashes, and in the spelling of the names that they mean."""

from __future__ import annotations

from dataclasses import dataclass

from wclayer.errors import LayerError
from wclayer.view.merged import MergedTree, Node
from wclayer.view.resolve import existing, find_child, is_link, link_path
from wclayer.win32.reparse import decode_link, decode_reparse

_TOP = "Files"
_MAX_TARGET = 4095
"""The longest target that Linux takes, in bytes."""


@dataclass(frozen=True, slots=True)
class OutsideTarget:
    """The target of a symbolic link as a tar has it."""

    text: bytes
    leaves: bool
    """Whether the target is on no path of C:. Then `text` is what Windows shows, and leads nowhere elsewhere."""


class LinkTargets:
    """Finds the targets that the links of a merged tree have when the tree is unpacked.

    The case of a target is that of the names in the tree: other systems do not ignore it. No target leads out of the
    unpacked tree: `..` at its root stays there, as in Windows.
    """

    def __init__(self, tree: MergedTree) -> None:
        self._tree = tree

    def of(self, path: str, reparse: bytes) -> OutsideTarget | None:
        """Returns the target of the link at a path of the layer.

        Returns:
            None if it is not the reparse point of a link, or if no symbolic link can have the target.
        """
        target = link_path(reparse)
        if target is None:
            return None
        directory = path.split("/")[1:-1]
        if target.parts:
            where = self._as_spelled([*directory, *target.parts] if target.is_relative else target.parts)
            text = _relative(where, directory)
        else:
            link = decode_link(decode_reparse(reparse))
            # Without slashes it is one strange name, whatever it says.
            text = (link.print_name or link.substitute_name).replace("/", "\\")
        encoded = text.encode("utf-8", "surrogatepass")
        if not encoded or b"\0" in encoded or len(encoded) > _MAX_TARGET:
            return None
        return OutsideTarget(encoded, leaves=not target.parts)

    def _as_spelled(self, parts: list[str]) -> list[str]:
        """Returns the components of a path from the root, without dots, and as the tree spells those that exist."""
        found: list[str] = []
        # The directories that the components so far lead to; None from the first one on that does not exist.
        above: list[Node | None] = [self._tree.lookup(_TOP)]
        for part in parts:
            if part == ".":
                continue
            if part == "..":
                if found:
                    found.pop()
                    above.pop()
                continue
            directory = above[-1]
            child = None if directory is None else find_child(self._tree, directory, part)
            found.append(part if child is None else child.name)
            above.append(None if child is None else self._behind(child))
        return found

    def _behind(self, node: Node) -> Node | None:
        """Returns the entry that a path through a node goes on from, or None if the node is a link to nothing."""
        if not is_link(node.row.reparse):
            return node
        try:
            return existing(self._tree, node.path, follow=True)
        except LayerError:
            return None


def _relative(where: list[str], directory: list[str]) -> str:
    """Returns the path from a directory to another place, both as components from the root."""
    common = 0
    while common < min(len(where), len(directory)) and where[common] == directory[common]:
        common += 1
    return "/".join([".."] * (len(directory) - common) + where[common:]) or "."
