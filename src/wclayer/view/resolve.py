"""Resolves paths as Windows does: links are followed inside the layers, and short names are understood."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from wclayer.errors import ERROR_FILE_NOT_FOUND, EntryNotDirectoryError, PathNotFoundError, UnresolvedLinkError
from wclayer.layers.names import ROOTS
from wclayer.view.merged import MergedTree, Node
from wclayer.win32.names import name_key, path_key, split_path
from wclayer.win32.reparse import ReparseTag, decode_link, decode_lx_symlink, decode_reparse
from wclayer.win32.shortnames import may_be_generated, short_names

MAX_LINKS = 63
"""The maximal number of links on one path: Windows' limit ("Symbolic Link Effects on File Systems Functions")."""
_VOLUMES = tuple(path_key(root) for root in ROOTS if root.endswith("Files"))
"""The path keys of the directories that are the root of a volume: `C:\\` leads to the one that contains the link."""
_DOTS = ("", ".", "..")
_PREFIXES = ("\\??\\", "\\\\?\\", "\\\\.\\")
_SHARE = "\\\\"
_DRIVE = "C:"
"""The drive of the layers' volume in absolute link targets."""


class Place(NamedTuple):
    """The result of resolving a path: the directory, the name in it, and the entry there, or None if there is none."""

    directory: Node
    name: str
    node: Node | None


class LinkPath(NamedTuple):
    """The target of a link: the components of a path, relative to the volume's root or to the link's directory."""

    parts: list[str]
    is_relative: bool


def link_path(reparse: bytes) -> LinkPath | None:
    """Returns the target of a reparse point, or None if it is not a link. A target outside the volume has no parts."""
    try:
        point = decode_reparse(reparse)
        if point.tag == ReparseTag.LX_SYMLINK:
            posix = decode_lx_symlink(point).target.decode("utf-8", "surrogateescape")
            return LinkPath(_collapsed(posix.split("/")), not posix.startswith("/"))
        if point.tag not in (ReparseTag.SYMLINK, ReparseTag.MOUNT_POINT):
            return None
        link = decode_link(point)
    except ValueError:
        return None
    target = link.substitute_name
    for prefix in _PREFIXES:
        target = target.removeprefix(prefix)
    if link.is_relative and not target.startswith(_SHARE):
        # A path that starts with a separator is relative to the root of the volume that contains the link.
        return LinkPath(_collapsed(split_path(target)), not target.startswith("\\"))
    if target[:2].upper() == _DRIVE and (len(target) == 2 or target[2] in "\\/"):
        return LinkPath(_collapsed(split_path(target[2:])), False)
    return LinkPath([], False)


def is_link(reparse: bytes | None) -> bool:
    """Returns whether an entry with that reparse point is a symbolic link or a mount point."""
    return reparse is not None and link_path(reparse) is not None


def _collapsed(parts: list[str]) -> list[str]:
    """Returns the components of a link's target after `..` has removed the component before it, as in Win32.

    Only a `..` that has no component before it is left. The list is never empty: it is `.` for the directory itself.
    """
    found: list[str] = []
    for part in parts:
        if part == ".." and found and found[-1] != "..":
            found.pop()
        elif part not in ("", "."):
            found.append(part)
    return found or ["."]


def names_by_short_name(tree: MergedTree, directory: Node) -> dict[str, str]:
    """Returns the names in a directory that have a short name, by the short name.

    The short names are generated in the order of the entries, those of the base first.
    """
    made = sorted(tree.children(directory), key=lambda node: (-node.layer, node.row.id))
    return short_names(node.name for node in made)


def find_child(tree: MergedTree, directory: Node, name: str) -> Node | None:
    """Returns the visible entry of a directory under a name, which may be a short one, or None."""
    child = tree.child(directory, name)
    if child is None and "~" in name and may_be_generated(name):
        long = names_by_short_name(tree, directory).get(name_key(name))
        if long is not None:
            child = tree.child(directory, long)
    return child


def resolve(tree: MergedTree, path: str, *, follow: bool) -> Place:
    """Resolves a path in the form that `layer_path` returns.

    Args:
        follow: whether a link at the end of the path is followed, too.

    Raises:
        PathNotFoundError: a directory on the way does not exist.
        EntryNotDirectoryError: a component on the way is a file.
        UnresolvedLinkError: links lead in a circle, or out of the layers.
    """
    parent, _, last = path.rpartition("/")
    start = tree.reached_directory(path_key(parent)) if last not in _DOTS else None
    if start is not None:
        found = find_child(tree, start, last)
        if found is None or found.row.reparse is None:
            if found is not None:
                tree.note_reached(found)
            return Place(start, last, found)
    above = [tree.root()]
    parts = deque(split_path(path))
    links = 0
    name = ""
    node: Node | None = above[0]
    while parts:
        name = parts.popleft()
        directory = above[-1]
        if name == ".":
            node = directory
            continue
        if name == "..":
            if len(above) > 1 and directory.key not in _VOLUMES:
                above.pop()
            node = above[-1]
            continue
        if not directory.is_directory:
            raise EntryNotDirectoryError(path, f"{directory.path} is not a directory")
        node = find_child(tree, directory, name)
        if node is None:
            if parts:
                raise _missing(tree, directory, name, PathNotFoundError(path, f"{directory.path} has no {name!r}"))
            break
        if node.row.reparse is not None and (follow or parts):
            target = link_path(node.row.reparse)
            if target is not None:
                links += 1
                if links > MAX_LINKS:
                    raise UnresolvedLinkError(path, f"more than {MAX_LINKS} links on the way")
                if not target.parts:
                    raise UnresolvedLinkError(path, f"the link {node.path} leads out of the layers")
                if not target.is_relative:
                    volume = next((v for v in _VOLUMES if node.key.startswith(v + "/")), _VOLUMES[0])
                    above = _to_volume(tree, volume)
                parts.extendleft(reversed(target.parts))
                node = above[-1]
                continue
        if parts or node.is_directory:
            above.append(node)
    if not links:
        tree.note_reached(above[-1])
    if node is not None and above[-1] is node:
        # The name is returned as requested; its spelling may differ from the stored one.
        return Place(above[-2] if len(above) > 1 else node, node.name if name in _DOTS else name, node)
    return Place(above[-1], name, node)


def _to_volume(tree: MergedTree, volume: str) -> list[Node]:
    above = [tree.root()]
    for part in volume.split("/"):
        child = tree.child(above[-1], part)
        if child is None:
            break
        above.append(child)
    return above


def existing(tree: MergedTree, path: str, *, follow: bool) -> Node:
    """Returns the entry at a path, which is resolved as by `resolve`.

    Raises:
        PathNotFoundError: the entry, or a directory on the way, does not exist.
        EntryNotDirectoryError: a component on the way is a file.
        UnresolvedLinkError: links lead in a circle, or out of the layers.
    """
    place = resolve(tree, path, follow=follow)
    if place.node is None:
        detail = f"{place.directory.path or 'the layer'} has no {place.name!r}"
        error = PathNotFoundError(path, detail, code=ERROR_FILE_NOT_FOUND)
        raise _missing(tree, place.directory, place.name, error)
    return place.node


def _missing(tree: MergedTree, directory: Node, name: str, error: PathNotFoundError) -> PathNotFoundError:
    """Returns the error with a note of where the name was looked up."""
    error.missing = tuple(layer.path for layer in tree.layers), directory.path, name
    return error
