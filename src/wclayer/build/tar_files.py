r"""Tars whose files come into a layer: what kind a tar is, and the files of a plain one in a view.

A plain tar is one of files: `app/bin/x.exe` becomes `C:\app\bin\x.exe`. A layer tar is one of Windows' layers, with the
paths `Files/…`, `Hives/…` and `UtilityVM/…`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from wclayer._types import StrPath
from wclayer.errors import (
    AlreadyExistsError,
    EntryIsDirectoryError,
    InvalidDataError,
    LimitExceededError,
    NotSupportedError,
    PathNotFoundError,
    errors_at,
    limit_hint,
)
from wclayer.formats.compression import HashedInput
from wclayer.formats.tar import structs
from wclayer.formats.tar.reader import TarMember, TarStream
from wclayer.layers.inputs import open_any_place
from wclayer.layers.names import ROOTS
from wclayer.model import limits_in_use
from wclayer.view.layer_view import FileStatus, LayerView
from wclayer.view.volume import Volume
from wclayer.win32.filetime import from_decimal_seconds, from_unix_ns
from wclayer.win32.names import decode_name, last_component, name_key, unusable_reason

_LAYER_ROOTS = frozenset(ROOTS[:3])
_SPARSE = ord("S")
_KINDS = frozenset((structs.REGULAR, structs.DIRECTORY, structs.LINK, structs.SYMLINK))
_REFUSED = {
    ord("3"): "a character device",
    ord("4"): "a block device",
    ord("6"): "a FIFO",
    _SPARSE: "a sparse file in a form of GNU; make the tar without --sparse",
}


@dataclass(frozen=True, slots=True)
class TarContents:
    r"""What a tar has in it, without its data.

    Attributes:
        is_layer: True for a layer tar.
        top_names: the names directly below `C:\` (below `Files` of a layer tar), by their keys, in the spelling of the
            tar.
    """

    is_layer: bool
    top_names: dict[str, str]


def read_contents(path: StrPath) -> TarContents:
    """Reads the names of a tar.

    It is a layer tar if everything in it is below `Files`, `Hives` or `UtilityVM`.

    Args:
        path: the tar, compressed or not. It is read to its end.

    Raises:
        InvalidDataError: it is no tar, is damaged, or is empty.
        LimitExceededError: it is larger than the limits in use.
        PathNotFoundError, AccessDeniedError, EntryIsDirectoryError: the file cannot be read.
    """
    top: dict[str, str] = {}
    below_files: dict[str, str] = {}
    with open_tar(path) as tar:
        for member in members_of(tar, path):
            parts = _split(_text(member.name, path))
            for known, position in ((top, 0), (below_files, 1)):
                if len(parts) > position:
                    known.setdefault(name_key(parts[position]), parts[position])
            _check_held(path, top, below_files)
    if not top:
        raise InvalidDataError(path, "the tar is empty; nothing would be added")
    is_layer = {*top.values()} <= _LAYER_ROOTS
    return TarContents(is_layer, below_files if is_layer else top)


def _check_held(path: StrPath, *names: dict[str, str]) -> None:
    most = limits_in_use().archive_members
    if sum(map(len, names)) > most:
        raise LimitExceededError(
            path, f"more than {most} names in one directory of the tar {limit_hint('archive_members')}"
        )


@contextmanager
def open_tar(path: StrPath) -> Iterator[TarStream[TarMember]]:
    """Opens a tar, compressed or not, within the limits in use. A context manager of its members.

    Raises:
        PathNotFoundError, AccessDeniedError, EntryIsDirectoryError: the file cannot be read.
    """
    limits = limits_in_use()
    with (
        errors_at(path),
        open_any_place(path) as raw,
        closing(_decompressed(raw)) as chunks,
    ):
        yield TarStream(chunks, max_header=limits.pax_size, max_global=limits.global_pax_size)


def _decompressed(raw: BinaryIO) -> HashedInput:
    limits = limits_in_use()
    return HashedInput(raw, max_size=limits.total_size, max_ratio=limits.ratio, unrated_size=limits.unrated_size)


def members_of(tar: TarStream[TarMember], path: StrPath) -> Iterator[TarMember]:
    """Yields the members of a tar.

    Raises:
        LimitExceededError: there are more than the limit `entries`.
    """
    most = limits_in_use().entries
    count = 0
    while (member := tar.next()) is not None:
        count += 1
        if count > most:
            raise LimitExceededError(path, f"more than {most} members {limit_hint('entries')}")
        yield member


def extract_tar(view: LayerView, path: StrPath, folder: str = "C:\\") -> int:
    r"""Puts the files of a plain tar into a view.

    - New entries inherit their security descriptors and have the usual attributes. Owners, groups, permissions and
      extended attributes of the tar are left out: they mean nothing to Windows.
    - Files, and directories that are made, have the modification time of the tar.
    - A file that exists gets the new contents, and keeps its descriptor. A directory that exists stays.
    - A symbolic link becomes one of Windows. A target that begins with `/` is one below `C:\`.
    - A hard link is a further name of a file that is in the tar before it.

    Args:
        view: the view, which is writable.
        path: the tar, compressed or not.
        folder: the directory in which the files come; it exists.

    Returns:
        The number of files.

    Raises:
        InvalidDataError: it is no tar, is damaged, or a name is not possible on Windows. The message names the member.
        AlreadyExistsError: two names are the same for Windows.
        NotSupportedError: a device, a FIFO, or a sparse file in a form of GNU.
        EntryIsDirectoryError, EntryNotDirectoryError: a file is where a directory should be, or the reverse.
        LimitExceededError: it is larger than the limits in use.
    """
    with open_tar(path) as tar:
        return _Extraction(view, tar, path, folder.rstrip("\\/") + "\\").run()


class _Extraction:
    """The extraction of one tar.

    Args:
        view: the view.
        tar: the members.
        source: the tar in messages.
        folder: the directory in which the files come, with a separator at its end.
    """

    def __init__(self, view: LayerView, tar: TarStream[TarMember], source: StrPath, folder: str) -> None:
        self._view = view
        self._tar = tar
        self._source = source
        self._folder = folder
        self._parent: list[str] = []
        self._made: list[tuple[str, int]] = []
        self._links: list[tuple[str, str]] = []
        self._held = 0

    def run(self) -> int:
        files = 0
        for member in members_of(self._tar, self._source):
            parts = _parts(member.name, self._source)
            self._refuse_kind(member)
            if not parts:
                # The tar's own root ("./").
                continue
            self._make_parent(parts[:-1])
            self._put(member, parts)
            files += member.type != structs.DIRECTORY
        self._finish()
        return files

    def _refuse_kind(self, member: TarMember) -> None:
        kind = _SPARSE if any(key.startswith(b"GNU.sparse.") for key in member.pax) else member.type
        if kind not in _KINDS:
            what = _REFUSED.get(kind, f"of the type {chr(kind)!r}, which is unknown")
            raise NotSupportedError(self._source, f"{_shown(member.name)} is {what}")

    def _put(self, member: TarMember, parts: list[str]) -> None:
        path = self._path(parts)
        found = _status(self._view, path)
        if member.type == structs.DIRECTORY:
            if found is None:
                self._view.mkdir(path)
                self._made.append((path, self._time(member)))
                self._hold(len(path))
            elif not found.is_directory and not found.is_link:
                raise AlreadyExistsError(self._source, f"{_shown(member.name)}: the file {path} is there already")
            return
        if found is not None:
            self._refuse_other(member, found, parts[-1])
        if member.type == structs.REGULAR:
            if found is not None and found.is_link:
                self._view.unlink(path)
            with self._view.replacing(path) as file:
                for piece in self._tar.data():
                    file.write(piece)
            self._view.set_times(path, write=self._time(member))
            return
        if found is not None:
            self._view.unlink(path)
        if member.type == structs.SYMLINK:
            self._add_symlink(path, _text(member.link_name, self._source))
        else:
            self._view.link(path, self._path(_parts(member.link_name, self._source)))

    def _refuse_other(self, member: TarMember, found: FileStatus, name: str) -> None:
        """Refuses a file in the place of a directory, and two names that differ in case alone."""
        if found.is_directory and not found.is_link:
            raise EntryIsDirectoryError(self._source, f"{_shown(member.name)}: {found.path} is a directory")
        known = last_component(found.path)
        if known != name and found.layer == self._scratch:
            raise AlreadyExistsError(
                self._source, f"{_shown(member.name)}: for Windows this is the same name as {known!r} beside it"
            )

    @property
    def _scratch(self) -> object:
        volume: Volume = self._view.volume
        return volume.writable_scratch().path

    def _add_symlink(self, path: str, target: str) -> None:
        if not target:
            raise InvalidDataError(self._source, f"the symbolic link {path} leads nowhere: its target is empty")
        if target.startswith("/"):
            target = "C:" + target
        self._view.symlink(path, target)
        self._links.append((path, target))
        self._hold(len(path) + len(target))

    def _make_parent(self, parent: list[str]) -> None:
        if parent != self._parent:
            if parent:
                self._view.makedirs(self._path(parent))
            self._parent = parent

    def _finish(self) -> None:
        """Makes links that lead to directories such links: Windows records the kind, and the tar may have the target
        after the link. Then directories get their times: each new entry has changed them."""
        for path, target in self._links:
            found = _status(self._view, path)
            if found is not None and not found.is_directory and self._leads_to_directory(path):
                self._view.unlink(path)
                self._view.symlink(path, target, is_directory=True)
        for path, time in reversed(self._made):
            self._view.set_times(path, write=time)

    def _leads_to_directory(self, path: str) -> bool:
        return self._view.exists(path) and self._view.stat(path).is_directory

    def _hold(self, size: int) -> None:
        """Counts text that stays in memory until the end."""
        self._held += size
        most = limits_in_use().names_size
        if self._held > most:
            raise LimitExceededError(
                self._source,
                f"the names of its directories and links have more than {most} characters {limit_hint('names_size')}",
            )

    def _path(self, parts: list[str]) -> str:
        return self._folder + "\\".join(parts)

    def _time(self, member: TarMember) -> int:
        stated = member.pax.get(b"mtime")
        if not stated:
            return from_unix_ns(member.mtime * 1_000_000_000)
        try:
            return from_decimal_seconds(stated.decode("ascii", "replace"))
        except ValueError as error:
            raise InvalidDataError(self._source, f"{_shown(member.name)}: {error}") from None


def _status(view: LayerView, path: str) -> FileStatus | None:
    try:
        return view.stat(path, follow=False)
    except PathNotFoundError:
        return None


def _parts(name: bytes, source: StrPath) -> list[str]:
    """Returns the components of the name of a member; none for the root of the tar.

    Raises:
        InvalidDataError: Windows cannot have the name.
    """
    parts = _split(_text(name, source))
    for part in parts:
        reason = "leads out of the tar" if part == ".." else unusable_reason(part)
        if reason:
            raise InvalidDataError(source, f"{_shown(name)}: {reason}")
    return parts


def _split(name: str) -> list[str]:
    return [part for part in name.split("/") if part not in ("", ".")]


def _text(name: bytes, source: StrPath) -> str:
    try:
        return decode_name(name)
    except UnicodeDecodeError:
        raise InvalidDataError(source, f"{_shown(name)} is not UTF-8") from None


def _shown(name: bytes) -> str:
    return f"member {name[:300].decode('utf-8', 'backslashreplace')!r}"
