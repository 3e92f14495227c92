"""From a path to an entry as Windows gets there: links are followed inside the layers, short names are understood."""

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
"""Links on the way of one path: Windows' limit ("Symbolic Link Effects on File Systems Functions")."""
_VOLUMES = tuple(path_key(root) for root in ROOTS if root.endswith("Files"))
"""The directories that are a volume's root, to which `C:\\` leads."""
_DOTS = ("", ".", "..")
_PREFIXES = ("\\??\\", "\\\\?\\", "\\\\.\\")
_SHARE = "\\\\"
_DRIVE = "C:"
"""The volume that the layers are, to what is in them."""


class Place(NamedTuple):
    """Where a path leads: the directory, the name in it, and what is there, if anything is."""

    directory: Node
    name: str
    node: Node | None


class LinkPath(NamedTuple):
    """What a link points to: the components of a path, from the volume's root or from the link's directory."""

    parts: list[str]
    is_relative: bool


def link_path(reparse: bytes) -> LinkPath | None:
    """Returns where a reparse point leads, or None if it is not a link; a path outside of the volume has no parts."""
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
        # A path that starts with a separator is from the root of the volume that the link is on.
        return LinkPath(_collapsed(split_path(target)), not target.startswith("\\"))
    if target[:2].upper() == _DRIVE and (len(target) == 2 or target[2] in "\\/"):
        return LinkPath(_collapsed(split_path(target[2:])), False)
    return LinkPath([], False)


def _collapsed(parts: list[str]) -> list[str]:
    """The components of a link's target: `..` takes back the component before it, as in Win32, and only those that have
    none before them are left. Never empty: a target that is the directory itself is `.`."""
    found: list[str] = []
    for part in parts:
        if part == ".." and found and found[-1] != "..":
            found.pop()
        elif part not in ("", "."):
            found.append(part)
    return found or ["."]


def names_by_short_name(tree: MergedTree, directory: Node) -> dict[str, str]:
    """The names in a directory that have a short one, by that: made in the order of the entries, the base's first."""
    made = sorted(tree.children(directory), key=lambda node: (-node.layer, node.row.id))
    return short_names(node.name for node in made)


def find_child(tree: MergedTree, directory: Node, name: str) -> Node | None:
    """What a directory shows under a name, which may be a short one."""
    child = tree.child(directory, name)
    if child is None and "~" in name and may_be_generated(name):
        long = names_by_short_name(tree, directory).get(name_key(name))
        if long is not None:
            child = tree.child(directory, long)
    return child


def resolve(tree: MergedTree, path: str, *, follow: bool) -> Place:
    """Returns where a path as `layer_path` returns it leads.

    Args:
        follow: whether a link at its end is followed, too.

    Raises:
        PathNotFoundError: a directory on the way is not there.
        EntryNotDirectoryError: one is a file.
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
                raise PathNotFoundError(path, f"{directory.path} has no {name!r}")
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
        # The name as it was asked for: it may be another spelling.
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
    """Returns the entry at a path; see `resolve`.

    Raises:
        PathNotFoundError: it does not exist.
    """
    place = resolve(tree, path, follow=follow)
    if place.node is None:
        raise PathNotFoundError(
            path, f"{place.directory.path or 'the layer'} has no {place.name!r}", code=ERROR_FILE_NOT_FOUND
        )
    return place.node
