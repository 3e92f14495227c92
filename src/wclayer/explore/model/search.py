"""Searches a tree by name, by mark, and by the kind of contents."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from typing import Generic, TypeVar

from wclayer.errors import FormatError, InvalidParameterError
from wclayer.explore.model.content_type import KINDS, content_type
from wclayer.explore.model.files import FileItem, FileTree
from wclayer.explore.model.marks import Mark
from wclayer.explore.model.reading import READ_ERRORS, TreeReading
from wclayer.explore.model.tree import Item, MarkedItem, MarkedTree
from wclayer.search.contents import HEAD
from wclayer.win32.names import name_key
from wclayer.win32.wildcards import FilePattern, has_wildcards

MOST_FOUND = 10_000
"""Items that are kept of a search."""
_TYPE, _MARK = "type:", "mark:"
_MARKS = {mark.word: mark for mark in Mark} | {mark.value: mark for mark in Mark if mark.value.strip()}


class PathPart:
    r"""A part of a path, with a backslash, prepared for many paths: `a\deep` is in `C:\data\deeper`.

    Without wildcards, it is anywhere in the path. With them, its names fit to names of the path one after the other:
    the first to the end of one, the last to the beginning of one, and those between to whole names.

    Args:
        text: the part.
    """

    def __init__(self, text: str) -> None:
        self._key = name_key(text)
        self._patterns: list[FilePattern] = []
        if has_wildcards(text):
            first, *middle, last = text.split("\\")
            self._patterns = [FilePattern(f"*{first}"), *map(FilePattern, middle), FilePattern(f"{last}*")]

    def is_in(self, path: str) -> bool:
        """Returns whether the part is in a path of Windows."""
        if not self._patterns:
            return self._key in name_key(path)
        names = path.split("\\")
        count = len(self._patterns)
        return any(
            all(pattern.matches(name) for pattern, name in zip(self._patterns, names[at : at + count], strict=True))
            for at in range(len(names) - count + 1)
        )


@dataclass(frozen=True, slots=True)
class Query:
    """What is searched for. All of it must be true of an item.

    Attributes:
        names: texts that are in the name, in upper case.
        patterns: patterns of the whole name.
        paths: what is somewhere in the path.
        kinds: kinds of contents, one of which a file must have; empty for any.
        marks: marks, one of which an item must have; empty for any.
    """

    names: tuple[str, ...] = ()
    patterns: tuple[FilePattern, ...] = ()
    paths: tuple[PathPart, ...] = ()
    kinds: frozenset[str] = frozenset()
    marks: frozenset[Mark] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.names or self.patterns or self.paths or self.kinds or self.marks)

    def matches_name(self, name: str, path: str) -> bool:
        """Returns whether a name and its path fit."""
        key = name_key(name) if self.names else ""
        return (
            all(text in key for text in self.names)
            and all(pattern.matches(name) for pattern in self.patterns)
            and all(part.is_in(path) for part in self.paths)
        )

    def matches_key(self, item: MarkedItem) -> bool:
        """Returns whether a key of the registry fits. It has no contents."""
        if self.kinds or (self.marks and item.mark not in self.marks):
            return False
        return self.matches_name(item.name, item.shown_path)

    def matches_file(self, tree: FileTree, item: FileItem) -> bool:
        """Returns whether a file or directory fits. Its contents are read only if its name fits."""
        if self.marks and item.mark not in self.marks:
            return False
        if not self.matches_name(item.name, item.shown_path):
            return False
        return not self.kinds or (not item.is_directory and _kind(tree, item) in self.kinds)


def parse_query(text: str) -> Query:
    r"""Parses what a user searches for: words that are in the name, in any case.

    A word with `*` or `?` must fit to the whole name, as FindFirstFile understands it; one with a backslash or slash is
    searched in the path (see `PathPart`). `type:pe` searches for contents, `mark:added` (or `mark:+`) for a mark;
    `type:pe,text` for one of several.

    Raises:
        InvalidParameterError: there is no such type or mark.
    """
    names: list[str] = []
    patterns: list[FilePattern] = []
    paths: list[PathPart] = []
    kinds: set[str] = set()
    marks: set[Mark] = set()
    for word in text.split():
        lower = word.lower()
        if lower.startswith(_TYPE):
            kinds |= set(_listed(lower.removeprefix(_TYPE), {kind: kind for kind in KINDS}, "type"))
        elif lower.startswith(_MARK):
            marks |= set(_listed(lower.removeprefix(_MARK), _MARKS, "mark"))
        elif "\\" in word or "/" in word:
            paths.append(PathPart(word.replace("/", "\\")))
        elif has_wildcards(word):
            patterns.append(FilePattern(word))
        else:
            names.append(name_key(word))
    return Query(tuple(names), tuple(patterns), tuple(paths), frozenset(kinds), frozenset(marks))


_Value = TypeVar("_Value")


def _listed(text: str, known: dict[str, _Value], what: str) -> Iterable[_Value]:
    for word in text.split(","):
        if word not in known:
            raise InvalidParameterError(word, f"no such {what}; there are {', '.join(known)}")
        yield known[word]


def _kind(tree: FileTree, item: FileItem) -> str:
    try:
        with closing(tree.open(item)) as opened:
            return content_type(opened.read(HEAD))
    except FormatError:
        return ""


class Search(Generic[Item]):
    """A search, while it is done and afterwards.

    Attributes:
        found: what was found so far, at most `MOST_FOUND` items.
        looked_at: how many items were looked at.
        is_done: whether the search has ended.
        is_whole: whether nothing that fits was left out.
    """

    def __init__(self) -> None:
        self.found: list[Item] = []
        self.looked_at = 0
        self.is_done = False
        self.is_whole = False
        self._failed = 0
        self._reading: TreeReading[Item] | None = None

    @property
    def failed(self) -> int:
        """How many files and directories could not be read."""
        return self._failed + (0 if self._reading is None else self._reading.failed)

    def run(self, tree: MarkedTree[Item], matches: Callable[[Item], bool], cancelled: Callable[[], bool]) -> None:
        """Searches a tree, in the order in which it is shown.

        Args:
            tree: the tree, which no other thread uses.
            matches: tells whether an item fits.
            cancelled: tells whether to stop.
        """
        try:
            self.is_whole = self._run(tree, matches, cancelled)
        finally:
            self.is_done = True

    def _run(self, tree: MarkedTree[Item], matches: Callable[[Item], bool], cancelled: Callable[[], bool]) -> bool:
        self._reading = reading = TreeReading(tree)
        for item in reading.walk():
            self.looked_at += 1
            if cancelled():
                return False
            if self._fits(matches, item):
                if len(self.found) >= MOST_FOUND:
                    return False
                self.found.append(item)
        return True

    def _fits(self, matches: Callable[[Item], bool], item: Item) -> bool:
        try:
            return matches(item)
        except READ_ERRORS:
            self._failed += 1
            return False
