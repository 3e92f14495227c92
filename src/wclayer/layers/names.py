"""Checks the names of a layer in order: each is legal, unique, and below a root and a directory, and links resolve.

Memory does not grow with the length of names: a name is one 64-bit salted hash in a sorted array, about 11 bytes
per entry. The probability that two different names have the same hash is one in 2^62 per pair, which is one in ten
million for a layer of a million entries.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Callable
from enum import IntEnum
from typing import Protocol

from wclayer.errors import InvalidDataError, LimitExceededError, limit_hint
from wclayer.model import Entry, Limits, limits_in_use
from wclayer.win32.attributes import DIRECTORY
from wclayer.win32.names import illegal_reason, path_key, utf16_length
from wclayer.win32.reparse import is_name_surrogate

ROOTS = ("Files", "Hives", "UtilityVM", "UtilityVM/Files")
"""The directories that every layer has, with or without entries for them."""
_ROOT_KEYS = frozenset(path_key(root) for root in ROOTS)
LINK_ROOTS = ("FILES/", "UTILITYVM/FILES/")
_LAST = re.compile(r'[^"*/:<>?\\|\x00-\x1f]{1,127}\Z')
# One pass over the usual path: a known root, then components free of NTFS's illegal characters.
_PATH = re.compile(r'(?:FILES|HIVES|UTILITYVM(?=/FILES(?:/|\Z)|\Z))(?:/[^"*/:<>?\\|\x00-\x1f]{1,255})*\Z')
_DOTS = (".", "..")


class Kind(IntEnum):
    """The kind of a name, in two bits."""

    ABSENT = 0
    DIRECTORY = 1
    FILE = 2
    LINK = 3
    """A directory that is a symbolic link or mount point: nothing can lie below it."""


_HASH = 0xFFFF_FFFF_FFFF_FFFC
"""The bits of a hash that a table keeps; the other two hold the kind."""
_PART_BITS = 12


class _KindTable:
    """Two-bit kinds by 62-bit hashes.

    The first bits of a hash tell its part of the table, which is a sorted array, made for its first hash. An array
    holds no free places, and each grows by itself, so that no table is ever there twice. With five million hashes, a
    part has 1,200.
    """

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: list[array[int] | None] = [None] * (1 << _PART_BITS)

    def get(self, digest: int) -> int:
        """Returns the kind of a digest; 0 if it has none."""
        digest &= _HASH
        part = self._parts[digest >> 64 - _PART_BITS]
        if part is None:
            return 0
        at = bisect_left(part, digest)
        return slot & 3 if at < len(part) and (slot := part[at]) & _HASH == digest else 0

    def insert(self, digest: int, kind: int) -> int:
        """Sets the kind of a digest that has none yet.

        Returns:
            The kind that the digest had; 0 if it had none.
        """
        digest &= _HASH
        part = self._parts[digest >> 64 - _PART_BITS]
        if part is None:
            self._parts[digest >> 64 - _PART_BITS] = array("Q", (digest | kind,))
            return 0
        at = bisect_left(part, digest)
        if at < len(part) and (slot := part[at]) & _HASH == digest:
            return slot & 3
        part.insert(at, digest | kind)
        return 0


class Names(Protocol):
    """The interface through which a writer checks the names of its entries: a `NameChecker`, or `TRUSTED`."""

    @property
    def limits(self) -> Limits:
        """The limits of what is accepted."""

    def add(self, entry: Entry, /) -> str:
        """Adds an entry and returns its path key."""


class _TrustedNames:
    """Accepts all entries: they come from a finished layer, whose names were checked when it was made.

    It knows no path keys: it is for writers that do not need them.
    """

    @property
    def limits(self) -> Limits:
        return limits_in_use()

    def add(self, entry: Entry, /) -> str:
        return ""


TRUSTED = _TrustedNames()


class NameChecker:
    """Checks the entries of one layer in their order, and remembers their names.

    Args:
        source: the path that errors report.
        is_base: True if the layer has no parents: tombstones, and links out of the layer, are then errors.
        find_in_parents: looks a path key up in the parents. Without it, names that only a parent has are accepted.
        limits: how much is accepted; by default the limits in use.
    """

    def __init__(
        self,
        source: str,
        *,
        is_base: bool,
        find_in_parents: Callable[[str], Kind] | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._source = source
        self._is_base = is_base
        self._find_in_parents = find_in_parents
        self.limits = limits or limits_in_use()
        # A name with no more characters than this is neither too long nor too deep.
        self._surely_short = min(self.limits.path_length >> 1, 2 * self.limits.path_depth - 1)
        self._kinds = _KindTable()
        self._parent_key = ""
        self._count = 0
        self._last_entry: Entry | None = None
        self._last_key = ""

    def add(self, entry: Entry) -> str:
        """Checks an entry and remembers its name.

        Returns:
            The path key of the entry.

        Raises:
            InvalidDataError: the entry breaks a rule; the message names the entry and where it is in the source.
            LimitExceededError: there are too many entries, or the path is too long.
        """
        if entry is self._last_entry:
            # A reader and a writer that share a checker both add the entry.
            return self._last_key
        name = entry.name
        key = path_key(name)
        self._count += 1
        if self._count > self.limits.entries:
            raise LimitExceededError(self._source, f"more than {self.limits.entries} entries {limit_hint('entries')}")
        parent_key, _, last = key.rpartition("/")
        if (
            parent_key != self._parent_key
            or not parent_key
            or _LAST.match(last) is None
            or len(name) > self._surely_short
        ):
            if _PATH.match(key) is None or "/." in key or not key.isascii() or len(key) > min(255, self._surely_short):
                self._check_path(entry, name, parent_key)
            if entry.info is not None:
                self._check_parent(entry, parent_key)
                self._parent_key = parent_key
        if last in _DOTS:
            self._fail(entry, f"name {last!r} in a path")
        if entry.info is None:
            self._add_tombstone(entry, key)
            self._last_entry, self._last_key = entry, key
            return key
        info = entry.info
        if (info.creation_time | info.last_access_time | info.last_write_time | info.change_time) >> 63:
            # A FILETIME is less than 2^63 and not negative; neither layer.db nor a tar can hold other times.
            self._fail(entry, "a time outside of the years 1601 to 30828")
        if info.attributes >> 32:
            self._fail(entry, f"attributes {info.attributes:#x}, which are no 32-bit number")
        if entry.security is not None and len(entry.security) > self.limits.security_size:
            problem = f"a security descriptor of {len(entry.security)} bytes, more than {self.limits.security_size}"
            self._exceed(entry, problem, "security_size")
        if entry.eas or entry.reparse is not None or entry.extra:
            self._check_metadata(entry)
        kind = Kind.FILE
        if entry.link_target is not None:
            self._check_target(entry)
        elif info.attributes & DIRECTORY:
            kind = Kind.DIRECTORY if entry.reparse is None or not is_name_surrogate(entry.reparse) else Kind.LINK
        if key in _ROOT_KEYS and kind is not Kind.DIRECTORY:
            self._fail(entry, "must be a directory")
        if self._kinds.insert(hash(key), kind):
            self._fail(entry, "duplicate: the name, or one that differs only in case, was there before")
        self._last_entry, self._last_key = entry, key
        return key

    def kind(self, key: str) -> Kind:
        """Returns the kind of a path key among the entries so far."""
        kind = self._kinds.get(hash(key))
        if not kind and key in _ROOT_KEYS:
            return Kind.DIRECTORY
        return Kind(kind)

    def _check_path(self, entry: Entry, name: str, parent_key: str) -> None:
        if utf16_length(name) > self.limits.path_length:
            self._exceed(entry, f"path longer than {self.limits.path_length} UTF-16 units", "path_length")
        if name.count("/") >= self.limits.path_depth:
            self._exceed(entry, f"path of more than {self.limits.path_depth} names", "path_depth")
        if "/" in parent_key and self._kinds.get(hash(parent_key)) == Kind.DIRECTORY:
            # The directory's own entry was checked: in a deep tree, this is what keeps the time linear.
            if reason := illegal_reason(name.rpartition("/")[2]):
                self._fail(entry, reason)
            return
        parts = name.split("/")
        root = path_key(parts[0])
        if root not in _ROOT_KEYS:
            self._fail(entry, "lies outside Files, Hives and UtilityVM")
        if root == "UTILITYVM" and len(parts) > 1 and path_key(parts[1]) != "FILES":
            self._fail(entry, "lies outside UtilityVM/Files")
        for part in parts:
            if reason := illegal_reason(part):
                self._fail(entry, reason)

    def _check_metadata(self, entry: Entry) -> None:
        size = len(entry.eas) + len(entry.reparse or b"") + sum(len(extra.data) for extra in entry.extra)
        if size > self.limits.metadata_size:
            problem = f"EAs, reparse data and such of {size} bytes, more than {self.limits.metadata_size}"
            self._exceed(entry, problem, "metadata_size")

    def _check_parent(self, entry: Entry, parent_key: str) -> None:
        if not parent_key:
            return
        kind = self.kind(parent_key)
        if not kind and parent_key.startswith("UTILITYVM/") and self._find_in_parents is not None:
            # A child's utility VM starts as a clone of its parent's.
            kind = self._find_in_parents(parent_key)
        elif not kind and parent_key.startswith("UTILITYVM/") and not self._is_base:
            return
        if kind is Kind.ABSENT:
            self._fail(entry, "its parent directory was not there before it")
        if kind is Kind.FILE:
            self._fail(entry, "its parent is a file")
        if kind is Kind.LINK:
            self._fail(entry, "its parent is a symbolic link or mount point")

    def _check_target(self, entry: Entry) -> None:
        assert entry.link_target is not None
        assert entry.info is not None
        if entry.info.attributes & DIRECTORY:
            self._fail(entry, f"hard link to {entry.link_target!r} with the attribute of a directory")
        target = path_key(entry.link_target)
        if _PATH.match(target) is None or any(part in _DOTS for part in target.split("/")):
            self._fail(entry, f"hard link to {entry.link_target!r}, which is not a path of a layer")
        if not target.startswith(LINK_ROOTS) or not path_key(entry.name).startswith(LINK_ROOTS):
            self._fail(entry, f"hard link to {entry.link_target!r}: links are possible below Files and UtilityVM/Files")
        kind = self.kind(target)
        if not kind and not self._is_base:
            if self._find_in_parents is None:
                return
            kind = self._find_in_parents(target)
        if kind is Kind.ABSENT:
            self._fail(entry, f"hard link to {entry.link_target!r}, which is not there")
        if kind is not Kind.FILE:
            self._fail(entry, f"hard link to {entry.link_target!r}, which is a directory")

    def _add_tombstone(self, entry: Entry, key: str) -> None:
        if self._is_base:
            self._fail(entry, "tombstone in a base layer")
        if not key.startswith(LINK_ROOTS):
            self._fail(entry, "tombstone outside Files and UtilityVM/Files")
        if self._kinds.insert(hash((key, "tombstone")), Kind.FILE):
            self._fail(entry, "duplicate tombstone")

    def _exceed(self, entry: Entry, problem: str, limit: str) -> None:
        raise LimitExceededError(self._source, _at(entry, f"{problem} {limit_hint(limit)}"))

    def _fail(self, entry: Entry, problem: str) -> None:
        raise InvalidDataError(self._source, _at(entry, problem))


def _at(entry: Entry, problem: str) -> str:
    what = "tombstone" if entry.info is None else "entry"
    return f"{what} {entry.name[:300]!r}{f' ({entry.place})' if entry.place else ''}: {problem}"
