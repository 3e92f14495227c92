"""The build context: the folder of the host from which COPY and ADD take files, without ever leaving it."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Self

from wclayer._types import StrPath
from wclayer.builder.dockerfile.ignore import IgnoreRules
from wclayer.builder.files.wildcards import WildcardError, has_wildcards, matches, parse_wildcards
from wclayer.errors import (
    AlreadyExistsError,
    EntryNotDirectoryError,
    InvalidDataError,
    InvalidParameterError,
    LimitExceededError,
    NotSupportedError,
    PathNotFoundError,
    UnresolvedLinkError,
    errors_at,
    limit_hint,
)
from wclayer.host.root import HostRoot
from wclayer.layers.inputs import ReadFile, kind_of
from wclayer.layers.tar.members import unusable_in_tar_reason
from wclayer.model import Limits, limits_in_use
from wclayer.view.spelling import has_drive
from wclayer.view.transfer import name_of_host
from wclayer.win32.filetime import from_unix_ns
from wclayer.win32.names import illegal_reason, name_key, unusable_reason
from wclayer.win32.reparse import LinkTarget

_PIECE = 1 << 20
_MAX_LINKS = 63
_MAX_KEPT = 100_000
"""For how many directories it is remembered whether they hold something that an exception names."""
_NAME_OVERHEAD = 500
"""Bytes of memory that an item takes besides the characters of its names, roughly."""


class Kind(Enum):
    """What an item of the context is."""

    FILE = "file"
    DIRECTORY = "directory"
    LINK = "link"


@dataclass(slots=True)
class ContextItem:
    """A file, a directory or a link of the context."""

    path: str
    """Its path in the context, `/`-separated, in the host's spelling."""
    below: str
    """Its path below the source that COPY names, `/`-separated, in names of Windows; empty for the source itself."""
    kind: Kind
    size: int
    """The bytes of a file."""
    time: int
    """The time of the last write (FILETIME)."""
    link: LinkTarget | None = None
    """The target of a link."""
    leads_to_directory: bool | None = None
    """Whether a link leads to a directory; None if it leads to nothing in the context."""
    sha256: bytes | None = None
    """The digest of a file's contents, once they were read (`BuildContext.digest`)."""


@dataclass(slots=True)
class ContextSource:
    """A source of COPY or ADD in the context: a file, or a directory with all that is in it."""

    name: str
    """The last component of its path, as a name of Windows."""
    items: list[ContextItem]
    """The source itself, then what is below it: parents before children."""

    @property
    def is_directory(self) -> bool:
        return self.items[0].kind is Kind.DIRECTORY


class BuildContext:
    """The folder from which COPY and ADD take files. Links in it are followed only where they stay in it.

    Args:
        path: the folder.
        ignore: what is left out of it.
        limits: `names_size` bounds the names that one instruction finds.

    Raises:
        PathNotFoundError, NotALayerError, AccessDeniedError: the folder cannot be opened.
    """

    def __init__(self, path: StrPath, ignore: IgnoreRules | None = None, *, limits: Limits | None = None) -> None:
        self.path = Path(path)
        self._ignore = ignore
        self._limits = limits or limits_in_use()
        self._names_size = 0
        # Whether a directory that is left out holds something that an exception names.
        self._kept: dict[str, bool] = {}
        with errors_at(path):
            try:
                self._host = HostRoot(self.path)
            except FileNotFoundError:
                raise PathNotFoundError(path, "the folder does not exist") from None

    @property
    def warnings(self) -> list[str]:
        """What in `.dockerignore` is probably not meant so, each with its line."""
        if self._ignore is None:
            return []
        return [f"{self._ignore.name}:{each.line}: {each.detail}" for each in self._ignore.advice]

    def close(self) -> None:
        """Closes the folder."""
        self._host.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def place(self, path: str) -> str:
        """Returns the path of the host for a path in the context."""
        return os.path.join(self.path, path) if path else os.fspath(self.path)

    # Finding.

    def find(self, source: str, exclude: IgnoreRules | None = None) -> list[ContextSource]:
        """Returns what a source of COPY or ADD names: one file or directory, or several with wildcards, in the order
        of their names.

        Args:
            source: a path in the context, with `/` or backslashes, perhaps with wildcards. A leading separator means
                the context itself.
            exclude: what is left out of the source (`--exclude`); its paths are those below the source.

        Raises:
            PathNotFoundError: nothing in the context has that name, or it is left out by `.dockerignore`.
            EntryNotDirectoryError: the source ends in a separator and is a file, or a component on the way is one.
            InvalidParameterError: the source leads out of the context, or its wildcards are wrong; Windows does not
                accept the name of a file in it.
            UnresolvedLinkError: a link on the way leads out of the context, or in a circle.
            AlreadyExistsError: two names in a directory are the same for Windows.
            NotSupportedError: something in it is neither a file, a directory nor a link.
            LimitExceededError: it has too many names.
        """
        text = source.replace("\\", "/")
        if has_drive(text) or text.startswith("//"):
            raise InvalidParameterError(source, "is a path of a drive; the sources of COPY and ADD are in the context")
        parts = [part for part in text.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise InvalidParameterError(source, "leads out of the context with '..'; name a path in the context")
        self._names_size = 0
        found = [(named, path) for named, path in self._expand(source, parts) if not path or not self._leaves_out(path)]
        if not found:
            excluded = "" if self._ignore is None else ", or .dockerignore leaves it out"
            raise PathNotFoundError(self.path, f"there is no {source!r} in the context{excluded}")
        return [self._source(named, path, exclude, must_be_directory=text.endswith("/")) for named, path in found]

    def _expand(self, source: str, parts: list[str]) -> list[tuple[str, str]]:
        """Returns the paths that the components of a source name, each with the path without links to which it
        leads."""
        found = [("", "")]
        for number, part in enumerate(parts):
            is_last = number == len(parts) - 1
            several: list[str] = []
            if has_wildcards(part):
                try:
                    pattern = parse_wildcards(part)
                except WildcardError as error:
                    raise InvalidParameterError(source, str(error)) from None
                for _, directory in found:
                    several += [_join(directory, name) for name in self._names(directory) if matches(pattern, name)]
            else:
                several = [path for _, directory in found if (path := self._child(directory, part)) is not None]
            found = [(path, real) for path in several if (real := self._real(path, source)) is not None]
            if not is_last:
                found = [(path, real) for path, real in found if self._is_directory(real)]
        return found

    def _child(self, directory: str, name: str) -> str | None:
        """Returns the path of an entry by its name, or else by a name that is the same for Windows."""
        names = self._names(directory)
        if name in names:
            return _join(directory, name)
        same = [other for other in names if name_key(name_of_host(other)) == name_key(name)]
        if len(same) > 1:
            raise AlreadyExistsError(
                self.place(_join(directory, same[0])), f"for Windows this is the same name as {same[1]!r} beside it"
            )
        return _join(directory, same[0]) if same else None

    def _names(self, directory: str) -> list[str]:
        place = self.place(directory)
        with errors_at(place):
            return sorted(self._host.names(os.fsencode(directory)))

    def _count(self, size: int, names: int, place: str) -> None:
        self._names_size += size + names * _NAME_OVERHEAD
        if self._names_size > self._limits.names_size:
            problem = f"the names in it take more than {self._limits.names_size} bytes {limit_hint('names_size')}"
            raise LimitExceededError(place, problem)

    def _status(self, path: str) -> os.stat_result:
        with errors_at(self.place(path)):
            return self._host.stat(os.fsencode(path)) if path else os.stat(self.path)

    def _is_directory(self, path: str) -> bool:
        return stat.S_ISDIR(self._status(path).st_mode)

    def _real(self, path: str, source: str) -> str | None:
        """Returns the path to which the links on a path lead, or None if a link leads to nothing.

        Raises:
            UnresolvedLinkError: a link leads out of the context, or in a circle.
        """
        real: list[str] = []
        parts = deque(path.split("/"))
        links = 0
        while parts:
            part = parts.popleft()
            if part in ("", "."):
                continue
            if part == "..":
                if not real:
                    raise UnresolvedLinkError(self.place(path), f"a link on the way of {source!r} leaves the context")
                real.pop()
                continue
            at = "/".join([*real, part])
            try:
                mode = self._host.stat(os.fsencode(at)).st_mode
            except (FileNotFoundError, NotADirectoryError):
                return None
            except OSError as error:
                with errors_at(self.place(at)):
                    raise error
            if not stat.S_ISLNK(mode):
                real.append(part)
                continue
            links += 1
            target = self._link_text(at)
            if links > _MAX_LINKS or target.startswith("/") or has_drive(target):
                problem = "more than 63 links on the way" if links > _MAX_LINKS else f"its target is {target!r}"
                raise UnresolvedLinkError(
                    self.place(at), f"{problem}; links of the context are followed only if they stay in it"
                )
            parts.extendleft(reversed(target.split("/")))
        return "/".join(real)

    def _link_text(self, path: str) -> str:
        place = self.place(path)
        with errors_at(place):
            text = os.readlink(place)
        return text.removeprefix("\\\\?\\").replace("\\", "/") if os.name == "nt" else text

    # Walking.

    def _source(self, named: str, path: str, exclude: IgnoreRules | None, *, must_be_directory: bool) -> ContextSource:
        items = list(self._walk(path, exclude))
        if must_be_directory and items[0].kind is not Kind.DIRECTORY:
            raise EntryNotDirectoryError(self.place(path), "is not a directory, as the separator at its end says")
        return ContextSource(self._usable(named) if named else "", items)

    def _usable(self, path: str) -> str:
        """Returns the name of Windows for the last component of a path."""
        name = name_of_host(path.rpartition("/")[2])
        if reason := unusable_reason(name) or unusable_in_tar_reason(name):
            raise InvalidParameterError(self.place(path), f"an image cannot have this name: {reason}; rename it")
        return name

    def _walk(self, top: str, exclude: IgnoreRules | None) -> Iterator[ContextItem]:
        """Yields an item and all that is below it, parents before children, in the order of their names."""
        pending = [(top, "")]
        while pending:
            path, below = pending.pop()
            item = self._item(path, below)
            yield item
            if item.kind is not Kind.DIRECTORY:
                continue
            seen: dict[str, str] = {}
            inside = []
            names = self._names(path)
            self._count(sum(map(len, names)) + len(names) * (len(path) + len(below)), len(names), self.place(path))
            for name in names:
                child = _join(path, name)
                if self._leaves_out(child):
                    continue
                usable = self._usable(child)
                if exclude is not None and exclude.is_ignored(_join(below, usable)):
                    continue
                other = seen.setdefault(name_key(usable), name)
                if other != name:
                    raise AlreadyExistsError(
                        self.place(child), f"for Windows this is the same name as {other!r} beside it; rename one"
                    )
                inside.append((child, _join(below, usable)))
            pending += reversed(inside)

    def _leaves_out(self, path: str) -> bool:
        if self._ignore is None or not self._ignore.is_ignored(path):
            return False
        # A directory that is left out is in the context again if it holds something that an exception names.
        return not (self._is_directory(path) and self._keeps_some(path, self._ignore))

    def _keeps_some(self, directory: str, ignore: IgnoreRules) -> bool:
        if directory not in self._kept:
            seen: list[str] = []
            found = self._first_kept(directory, ignore, seen)
            if len(self._kept) + len(seen) > _MAX_KEPT:
                self._kept.clear()
            # Depth first: what does not lead to the exception was looked through to its end.
            self._kept.update((each, found is not None and found.startswith(f"{each}/")) for each in seen)
            self._kept[directory] = found is not None
        return self._kept[directory]

    def _first_kept(self, directory: str, ignore: IgnoreRules, seen: list[str]) -> str | None:
        """Returns the first path below a directory that an exception names, and notes the directories on the way."""
        pending = [directory]
        while pending:
            directory = pending.pop()
            if len(seen) < _MAX_KEPT:
                seen.append(directory)
            if not ignore.keeps_below(directory):
                continue
            for name in self._names(directory):
                path = _join(directory, name)
                if not ignore.is_ignored(path):
                    return path
                if self._is_directory(path):
                    pending.append(path)
        return None

    def _item(self, path: str, below: str) -> ContextItem:
        status = self._status(path)
        time = from_unix_ns(status.st_mtime_ns)
        if stat.S_ISDIR(status.st_mode):
            return ContextItem(path, below, Kind.DIRECTORY, 0, time)
        if stat.S_ISREG(status.st_mode):
            return ContextItem(path, below, Kind.FILE, status.st_size, time)
        if not stat.S_ISLNK(status.st_mode):
            raise NotSupportedError(
                self.place(path), f"is {kind_of(status.st_mode)}; files, directories and links can be copied"
            )
        text = self._link_text(path)
        target = name_of_host(text).replace("/", "\\")
        for part in target[2:].split("\\") if has_drive(target) else target.split("\\"):
            if part not in ("", ".", "..") and (reason := illegal_reason(part)):
                raise InvalidParameterError(self.place(path), f"Windows does not accept the target {text!r}: {reason}")
        leads_to = None
        try:
            real = self._real(path, path)
            leads_to = None if real is None else self._is_directory(real)
        except UnresolvedLinkError:
            # It is copied as it is, and leads where it leads in the image.
            pass
        link = LinkTarget.from_path(target, is_mount_point=False)
        return ContextItem(path, below, Kind.LINK, 0, time, link, leads_to)

    # Contents.

    def open(self, item: ContextItem) -> io.BufferedReader:
        """Opens the contents of a file; a link that has taken its place is refused."""
        with errors_at(self.place(item.path)):
            return io.BufferedReader(ReadFile(self._host.open(os.fsencode(item.path))))

    def digest(self, item: ContextItem) -> bytes:
        """Returns the SHA-256 of a file's contents, which are read once.

        Raises:
            InvalidDataError: the file has changed since it was found.
        """
        if item.sha256 is None:
            with errors_at(self.place(item.path)), self.open(item) as file:
                found = hashlib.file_digest(file, "sha256")
                if file.tell() != item.size:
                    raise InvalidDataError(self.place(item.path), "has changed while it was read; build again")
            item.sha256 = found.digest()
        return item.sha256


def _join(directory: str, name: str) -> str:
    return f"{directory}/{name}" if directory else name
