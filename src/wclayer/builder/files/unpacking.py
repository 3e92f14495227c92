"""ADD of an archive: a tar, plain or compressed, unpacked into a directory of a view, and never outside of it."""

from __future__ import annotations

import bz2
import lzma
from collections.abc import Callable, Iterator
from itertools import chain
from typing import IO, BinaryIO, Protocol

from wclayer.builder.files.placing import Placer
from wclayer.errors import InvalidDataError, LayerError, LimitExceededError, errors_at, limit_hint
from wclayer.formats.compression import CompressedDataError, Compression, HashedInput, detect
from wclayer.formats.tar import structs
from wclayer.formats.tar.reader import TarMember, TarStream
from wclayer.layers.budget import Budget
from wclayer.layers.tar.members import GNU_SPARSE_PREFIX, unusable_in_tar_reason
from wclayer.model import limits_in_use
from wclayer.view.spelling import has_drive
from wclayer.win32 import filetime
from wclayer.win32.names import decode_name, illegal_reason, path_key, unusable_reason
from wclayer.win32.reparse import LinkTarget

_PIECE = 1 << 20
_XZ_MEMORY = 256 << 20
"""The most memory that the decompression of xz takes; its largest preset needs 65 MiB."""
_NAME_OVERHEAD = 300
_XZ_MAGIC = b"\xfd7zXZ\0"
_BZIP2_MAGIC = b"BZh"


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class Archive:
    """A tar that ADD has found in a file: its decompressed bytes, and where they come from."""

    def __init__(self, place: str, pieces: Iterator[bytes], close: Callable[[], None]) -> None:
        self.place = place
        self.pieces = pieces
        self.close = close


def open_archive(file: BinaryIO, place: str) -> Archive | None:
    """Returns the tar in a file, or None, with the file closed, if it is none: then ADD copies the file.

    Its contents decide, as with Docker, and not its name.

    Args:
        file: the file, which belongs to the archive from now on.
        place: its path, for messages.

    Raises:
        AccessDeniedError, LayerError: the file cannot be read.
    """
    with errors_at(place):
        prefix = file.read(8)
        file.seek(0)
        budget = Budget(place, limits_in_use())
        budget.store(file.seek(0, 2))
        file.seek(0)
        source: HashedInput | None = None
        pieces: Iterator[bytes]
        if prefix.startswith(_BZIP2_MAGIC):
            pieces = _decompressed(file, bz2.BZ2Decompressor, "bzip2")
        elif prefix.startswith(_XZ_MAGIC):
            pieces = _decompressed(file, _xz, "xz")
        elif detect(prefix) is Compression.NONE:
            pieces = iter(lambda: file.read(_PIECE), b"")
        else:
            pieces = source = HashedInput(file)

        def close() -> None:
            if source is not None:
                source.close()
            file.close()

        try:
            first = _first_block(pieces)
        except CompressedDataError:
            # It begins like a compressed file, and is none: it is copied as it is.
            first = b""
        except BaseException:
            close()
            raise
    if not _begins_a_tar(first):
        close()
        return None
    return Archive(place, _counted(chain([first], pieces), budget), close)


def _first_block(pieces: Iterator[bytes]) -> bytes:
    first = b""
    while len(first) < structs.BLOCK and (piece := next(pieces, b"")):
        first += piece
    return first


def _begins_a_tar(data: bytes) -> bool:
    block = data[: structs.BLOCK]
    if len(block) < structs.BLOCK or not any(block):
        return False
    stated = block[structs.CHECKSUM].strip(b"\0 ")
    try:
        return int(stated, 8) == structs.header_checksum(block)
    except ValueError:
        return False


def _counted(pieces: Iterator[bytes], budget: Budget) -> Iterator[bytes]:
    for piece in pieces:
        budget.spend(len(piece), "the archive")
        yield piece


def _xz() -> _Decompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)


def _decompressed(file: BinaryIO, new: Callable[[], _Decompressor], name: str) -> Iterator[bytes]:
    """Yields what comes out of the streams in a file, one after the other, in pieces of at most 1 MiB.

    The first piece has at most one block of a tar. It shows whether one begins there, also if what follows is damaged.
    """
    stream: _Decompressor | None = None
    length = structs.BLOCK
    data = file.read(_PIECE)
    try:
        while data or (stream is not None and not stream.needs_input):
            if stream is None:
                stream = new()
            if out := stream.decompress(data, length):
                length = _PIECE
                yield out
            data = b""
            if stream.eof:
                data, stream = stream.unused_data.lstrip(b"\0"), None
            if not data and (stream is None or stream.needs_input):
                data = file.read(_PIECE)
    except (OSError, ValueError, lzma.LZMAError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise CompressedDataError(f"{name}: {error}") from None
    if stream is not None:
        raise CompressedDataError(f"{name}: the stream is cut off")


class Unpacker:
    """Unpacks archives into a directory of a view.

    Args:
        placer: makes the entries.
        top: the directory ("C:/app"), which exists.
    """

    def __init__(self, placer: Placer, top: str) -> None:
        self._placer = placer
        self._view = placer.view
        self._top = top
        self._real_top = self._view.stat(top + "/").path
        # The directories that are known to be in the target, none of them behind a link, which a later member could
        # lead elsewhere; and the spelling of each name that was made.
        self._known: set[str] = {path_key(top)}
        self._spelled: dict[str, str] = {}
        # The links that are made as ones to files: what they lead to may come later.
        self._links: dict[str, tuple[str, LinkTarget, int]] = {}
        self._size = 0

    def unpack(self, archive: Archive, on_entry: Callable[[], None]) -> None:
        """Unpacks an archive, and closes it.

        Args:
            archive: what `open_archive` has returned.
            on_entry: called after each entry.

        Raises:
            InvalidDataError: it is damaged; a name leads out of the target, or Windows does not accept it; it has
                something other than files, directories and links.
            LimitExceededError: more comes out of it than the limits accept.
        """
        limits = limits_in_use()
        try:
            with errors_at(archive.place):
                tar: TarStream[TarMember] = TarStream(
                    archive.pieces, max_header=limits.pax_size, max_global=limits.global_pax_size
                )
                while (member := tar.next()) is not None:
                    try:
                        self._put(member, tar)
                    except LayerError as error:
                        if isinstance(error, LimitExceededError):
                            raise
                        shown = member.name.decode("utf-8", "replace")[:300]
                        raise type(error)(archive.place, f"member {shown!r}: {error.detail}") from error
                    on_entry()
                self._finish_links()
        finally:
            archive.close()

    def _put(self, member: TarMember, tar: TarStream[TarMember]) -> None:
        path = self._path(member.name)
        time = _time_of(member)
        if member.type == structs.DIRECTORY:
            if path != self._top:
                self._above(path)
                self._note(path)
                self._placer.directory(path, time)
            return
        if path == self._top:
            raise InvalidDataError("", "it has the place of the target itself, and is no directory")
        if member.type not in (structs.REGULAR, structs.LINK, structs.SYMLINK):
            raise InvalidDataError("", f"has type {chr(member.type)!r}; files, directories and links can be unpacked")
        if any(key.startswith(GNU_SPARSE_PREFIX) for key in member.pax):
            raise InvalidDataError("", "is a sparse file of GNU tar; make the archive without --sparse")
        self._above(path)
        self._note(path)
        self._links.pop(path_key(path), None)
        if member.type == structs.REGULAR:
            self._placer.file(path, time, lambda file: _write_all(tar, file))
        elif member.type == structs.LINK:
            target = self._path(member.link_name)
            self._above(target)
            if path_key(target) == path_key(path):
                # It is there already, unless it is a name of nothing.
                self._view.stat(path, follow=False)
            else:
                self._placer.hard_link(path, target)
                if known := self._links.get(path_key(target)):
                    self._links[path_key(path)] = (path, *known[1:])
        else:
            link = self._link(member, path)
            if not self._placer.link(path, link, time, is_directory=None):
                self._links[path_key(path)] = path, link, time

    def _finish_links(self) -> None:
        """Makes links again as ones to directories, if a directory that came after them is what they lead to."""
        for path, link, time in self._links.values():
            if self._placer.leads_to_directory(path, link):
                self._placer.link(path, link, time, is_directory=True)

    def _path(self, name: bytes) -> str:
        """Returns the path in the view for a name in the archive."""
        try:
            text = decode_name(name)
        except UnicodeDecodeError:
            raise InvalidDataError("", "its name is not UTF-8") from None
        parts = [part for part in text.split("/") if part not in ("", ".")]
        for part in parts:
            if part == "..":
                raise InvalidDataError("", "leads out of the target")
            if reason := unusable_reason(part) or unusable_in_tar_reason(part):
                raise InvalidDataError("", f"an image cannot have its name: {reason}")
        return "/".join([self._top, *parts])

    def _above(self, path: str) -> None:
        """Makes the directories above a path, and checks that no link on the way leads out of the target."""
        above = path.rpartition("/")[0]
        if path_key(above) in self._known:
            return
        parts = above[len(self._top) + 1 :].split("/")
        for count in range(1, len(parts) + 1):
            directory = "/".join([self._top, *parts[:count]])
            if path_key(directory) not in self._known:
                self._placer.directory(directory)
                real = self._view.stat(directory).path
                if not path_key(real).startswith(path_key(self._real_top) + "/"):
                    raise InvalidDataError("", f"a link on the way leads out of the target, to {real}")
                if path_key(real) == path_key(self._real_top + directory[len(self._top) :]):
                    self._keep(directory)
                    self._known.add(path_key(directory))

    def _note(self, path: str) -> None:
        """Notes the spelling of a name."""
        key = path_key(path)
        other = self._spelled.get(key)
        if other is not None and other != path:
            raise InvalidDataError("", f"for Windows this is the same name as {other[len(self._top) + 1 :]!r}")
        if other is None:
            self._keep(path)
            self._spelled[key] = path

    def _keep(self, path: str) -> None:
        self._size += _NAME_OVERHEAD + 2 * len(path)
        limit = limits_in_use().names_size
        if self._size > limit:
            raise LimitExceededError("", f"its names take more than {limit} bytes {limit_hint('names_size')}")

    def _link(self, member: TarMember, path: str) -> LinkTarget:
        try:
            text = decode_name(member.link_name).replace("/", "\\")
        except UnicodeDecodeError:
            raise InvalidDataError("", "the target of the link is not UTF-8") from None
        if not text:
            raise InvalidDataError("", "the link has no target")
        parts = text[2:].split("\\") if has_drive(text) else text.split("\\")
        depth = path[len(self._top) + 1 :].count("/")
        for part in parts:
            if part not in ("", ".", "..") and (reason := illegal_reason(part)):
                raise InvalidDataError("", f"Windows does not accept the target {text!r}: {reason}")
            depth += 0 if part in ("", ".") else -1 if part == ".." else 1
            if depth < 0 and not text.startswith("\\") and not has_drive(text):
                raise InvalidDataError("", f"the link to {text!r} leads out of the target")
        return LinkTarget.from_path(text, is_mount_point=False)


def _time_of(member: TarMember) -> int:
    text = member.pax.get(b"mtime") or b"%d" % member.mtime
    try:
        return filetime.from_decimal_seconds(text.decode("ascii", "replace"))
    except ValueError as error:
        raise InvalidDataError("", str(error)) from None


def _write_all(tar: TarStream[TarMember], file: IO[bytes]) -> None:
    for piece in tar.data():
        file.write(piece)
