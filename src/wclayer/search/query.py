"""What entries are searched for: `EntryQuery`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from wclayer.errors import InvalidParameterError
from wclayer.layers.cache import Cache
from wclayer.survey.fate import Step
from wclayer.view.merged import MergedTree, Node
from wclayer.view.resolve import is_link
from wclayer.win32.accounts import account_sid
from wclayer.win32.security import SecurityDescriptor
from wclayer.win32.sid import Sid
from wclayer.win32.wildcards import FilePattern

_OWNERS = 1 << 20
"""Bytes of memory for the owners of descriptors that were decoded."""
_OWNER = 200
"""About how many bytes one takes."""


class EntryKind(StrEnum):
    """What an entry is."""

    FILE = "file"
    DIRECTORY = "directory"
    LINK = "link"
    """A symbolic link or a mount point, to a file or a directory."""


class NameMark(StrEnum):
    """What a layer does to a name."""

    ADDED = "added"
    """The layers below do not show it."""
    CHANGED = "changed"
    """The layers below show another file there."""
    REMOVED = "removed"
    """The layers below show it, and the layer does not; or it shows a file instead of a directory, or the reverse."""


MARKS = {Step.ADDED: NameMark.ADDED, Step.REPLACED: NameMark.CHANGED, Step.REMOVED: NameMark.REMOVED}


@dataclass(frozen=True, slots=True)
class EntryQuery:
    r"""What entries are searched for. All of it must be true of an entry; by default, every entry fits.

    Attributes:
        names: patterns, one of which the name matches as in Windows: `*.dll`, `a?c`. Case is ignored.
        kinds: what the entry is: one of these.
        least_size, most_size: the bounds of the size in bytes, both included. Then only files fit.
        newer, older: the last write is after, or before, this time (FILETIME).
        layer: the number of the layer that brought the entry, or with `marks` the one that did this; the base layer is
            1.
        marks: what a layer did to the name: one of these. Then names that are not visible in the end fit, too.
        owners: the owner is one of these accounts: `Users`, `NT AUTHORITY\SYSTEM`, `S-1-5-32-544`.
        has_stream: the entry has an alternate stream.
        least_links, most_links: the bounds of the number of visible names of the file, both included.
        is_reparse_point: the entry is a reparse point: a link, or of any other kind.
    """

    names: tuple[str, ...] = ()
    kinds: frozenset[EntryKind] = frozenset()
    least_size: int | None = None
    most_size: int | None = None
    newer: int | None = None
    older: int | None = None
    layer: int | None = None
    marks: frozenset[NameMark] = frozenset()
    owners: tuple[str, ...] = ()
    has_stream: bool = False
    least_links: int | None = None
    most_links: int | None = None
    is_reparse_point: bool = False


def kind_of(node: Node) -> EntryKind:
    """Returns what an entry is."""
    if is_link(node.row.reparse):
        return EntryKind.LINK
    return EntryKind.DIRECTORY if node.is_directory else EntryKind.FILE


class EntryTest:
    """Tells whether entries of a tree fit to a query, whatever layers do to their names.

    Args:
        query: the query.
        tree: the tree.

    Raises:
        InvalidParameterError: an owner is no account that every Windows has; the chain has no such layer.
    """

    def __init__(self, query: EntryQuery, tree: MergedTree) -> None:
        self._tree = tree
        self._owners: Cache[tuple[int, int | None], Sid | None] = Cache(_OWNERS)
        count = len(tree.layers)
        if query.layer is not None and not 1 <= query.layer <= count:
            raise InvalidParameterError(str(query.layer), f"no such layer; there are {count}, and 1 is the base layer")
        self._tests = list(self._of(query))

    def fits(self, node: Node) -> bool:
        """Returns whether an entry fits. Nothing is read of it but what a test needs; the cheap tests come first."""
        return all(test(node) for test in self._tests)

    def _of(self, query: EntryQuery) -> list[Callable[[Node], bool]]:
        tests: list[Callable[[Node], bool]] = []
        tree = self._tree
        if query.layer is not None and not query.marks:
            tests.append(lambda node: tree.depth(node.layer) == query.layer)
        if query.is_reparse_point:
            tests.append(lambda node: node.row.reparse is not None)
        if query.kinds:
            tests.append(lambda node: kind_of(node) in query.kinds)
        if query.least_size is not None or query.most_size is not None:
            tests.append(
                lambda node: (
                    kind_of(node) is EntryKind.FILE and _is_within(node.row.size, query.least_size, query.most_size)
                )
            )
        if query.newer is not None or query.older is not None:
            tests.append(
                lambda node: (
                    (query.newer is None or node.row.last_write_time > query.newer)
                    and (query.older is None or node.row.last_write_time < query.older)
                )
            )
        if query.names:
            patterns = [FilePattern(name) for name in query.names]
            tests.append(lambda node: any(pattern.matches(node.name) for pattern in patterns))
        if query.least_links is not None or query.most_links is not None:
            tests.append(
                lambda node: (
                    not node.is_directory and _is_within(tree.link_count(node), query.least_links, query.most_links)
                )
            )
        if query.has_stream:
            tests.append(lambda node: bool(tree.stream_digests(node)))
        if query.owners:
            owners = frozenset(map(_sid, query.owners))
            tests.append(lambda node: self._owner(node) in owners)
        return tests

    def _owner(self, node: Node) -> Sid | None:
        known = node.layer, node.row.security
        if known not in self._owners:
            data = self._tree.security(node)
            self._owners.keep(known, None if data is None else SecurityDescriptor.decode(data).owner, _OWNER)
        return self._owners.get(known)


def _is_within(number: int, least: int | None, most: int | None) -> bool:
    return (least is None or number >= least) and (most is None or number <= most)


def _sid(account: str) -> Sid:
    try:
        return account_sid(account)
    except ValueError as error:
        raise InvalidParameterError(account, str(error)) from None
