"""Unpacks a zip into a directory of a view, as ZipFileExtensions.ExtractToFile of .NET does, and never outside of it.

New files have the time of the last write that the archive states, and no attributes of it. All members are looked at
before anything is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import IO

from wclayer.builder.commands.state import Shell
from wclayer.builder.commands.wildcards import Found, item_at, join_path
from wclayer.builder.files.placing import Ownership, Placer
from wclayer.errors import InvalidDataError, LimitExceededError, limit_hint
from wclayer.formats.zip import UTF8, ZipError, ZipMember, ZipReader
from wclayer.layers.budget import Budget
from wclayer.model import limits_in_use
from wclayer.win32.names import path_key, unusable_reason

_NAME_OVERHEAD = 300
_SEPARATORS = ("/", "\\")


class Expansion:
    """Unpacks one archive.

    Args:
        shell: where it is unpacked.
        archive: the file.
        target: the directory, which exists.
        reader: reads the archive.
    """

    def __init__(self, shell: Shell, archive: Found, target: str, reader: ZipReader) -> None:
        self._shell = shell
        self._archive = archive
        self._target = target
        self._reader = reader
        self._names_size = 0
        # By the keys of their paths: the directories, with whether they exist, in an order in which they can be made;
        # the files, with whether they exist.
        self._directories: dict[str, tuple[str, bool]] = {path_key(target): (target, True)}
        self._files: dict[str, tuple[str, bool]] = {}

    @property
    def existing(self) -> list[str]:
        """The paths of the files that exist already, in the order of the archive. They are known after `check`."""
        return [path for path, exists in self._files.values() if exists]

    def check(self) -> None:
        """Looks at all members.

        Raises:
            InvalidDataError: the archive is damaged, or a member cannot be unpacked: its name, its compression, what
                is in its place.
            LimitExceededError: more comes out of the archive than the limits accept.
        """
        budget = Budget(self._archive.path, limits_in_use())
        budget.store(self._archive.status.size)
        for member in self._reader.members():
            with self._errors(member):
                self._reader.check(member)
                parts = _parts(member)
                self._note(parts if member.is_directory else parts[:-1])
                if not member.is_directory:
                    self._note_file(parts)
            budget.spend(member.size, f"member {_shown(member)}")

    def _note(self, parts: list[str]) -> None:
        """Notes a directory, and those above it that are not known."""
        path = self._path(parts)
        if path_key(path) in self._directories:
            return
        path, exists = self._target, True
        for part in parts:
            path = join_path(path, part)
            key = path_key(path)
            known = self._directories.get(key)
            if known is not None:
                exists = known[1]
                continue
            if key in self._files:
                raise ZipError(f"for Windows this is the same name as the file {self._files[key][0]!r}")
            item = item_at(self._shell, path) if exists else None
            if item is not None and not item.is_directory:
                raise ZipError(f"{path} is a file in the image, where the archive has a directory; remove it before")
            exists = item is not None
            self._count(path)
            self._directories[key] = (path, exists)

    def _note_file(self, parts: list[str]) -> None:
        path = self._path(parts)
        key = path_key(path)
        for known in (self._files.get(key), self._directories.get(key)):
            if known is not None:
                raise ZipError(f"for Windows this is the same name as {known[0]!r}")
        in_existing = self._directories[path_key(self._path(parts[:-1]))][1]
        item = item_at(self._shell, path) if in_existing else None
        if item is not None and item.is_directory:
            raise ZipError(f"{path} is a directory in the image, where the archive has a file; remove it before")
        if item is not None and item.status.file_id == self._archive.status.file_id:
            raise ZipError("has the place of the archive itself; unpack it into another directory")
        self._count(path)
        self._files[key] = (path, item is not None)

    def _path(self, parts: list[str]) -> str:
        return join_path(self._target, "\\".join(parts)) if parts else self._target

    def _count(self, path: str) -> None:
        self._names_size += _NAME_OVERHEAD + 2 * len(path)
        limit = limits_in_use().names_size
        if self._names_size > limit:
            raise LimitExceededError(
                self._archive.path, f"its names take more than {limit} bytes {limit_hint('names_size')}"
            )

    def write(self, *, replace: bool) -> None:
        """Makes the directories and files that do not exist, after `check`.

        Args:
            replace: files that exist are replaced; otherwise they stay.

        Raises:
            InvalidDataError: the data of a member is damaged.
        """
        with Placer(self._shell.view, Ownership()) as placer:
            for path, exists in self._directories.values():
                if not exists:
                    placer.directory(path.replace("\\", "/"))
            for member in self._reader.members():
                if member.is_directory:
                    continue
                path, exists = self._files[path_key(self._path(_parts(member)))]
                if replace or not exists:
                    placer.file(path.replace("\\", "/"), member.filetime, partial(self._write, member))

    def _write(self, member: ZipMember, file: IO[bytes]) -> None:
        with self._errors(member):
            for piece in self._reader.data(member):
                file.write(piece)

    @contextmanager
    def _errors(self, member: ZipMember) -> Iterator[None]:
        """Names the archive and the member in errors of the archive."""
        try:
            yield
        except ZipError as error:
            raise InvalidDataError(self._archive.path, f"member {_shown(member)}: {error}") from error


def _shown(member: ZipMember) -> str:
    return repr(member.name.decode("utf-8", "backslashreplace")[:300])


def _parts(member: ZipMember) -> list[str]:
    """Returns the names on the way from the target to a member.

    Raises:
        ZipError: Windows would make another path of them, or one that leads out of the target.
    """
    try:
        name = member.name.decode("utf-8" if member.flags & UTF8 else "ascii")
    except UnicodeDecodeError:
        raise ZipError("the archive does not state that its name is UTF-8; PowerShells guess differently") from None
    if name.startswith(_SEPARATORS):
        raise ZipError("its name begins with a separator")
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    for part in parts:
        if part == "..":
            raise ZipError("its name leads out of the directory")
        if reason := unusable_reason(part):
            raise ZipError(f"Windows does not accept its name: {reason}")
        if part != part.strip():
            raise ZipError("its name begins or ends with a blank, which PowerShells treat differently")
    if not parts and not member.is_directory:
        raise ZipError("it has no name")
    return parts
