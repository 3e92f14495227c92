"""Finds the members of a tar archive that holds images: names, places and sizes, without reading their data.

Only what image archives consist of is accepted: files, directories, and links from one member to another. Everything
whose meaning depends on the program that unpacks it is refused by name.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

from wclayer.errors import FormatError, FormatLimitError, limit_hint
from wclayer.formats.tar import structs
from wclayer.formats.tar.reader import HeaderTooLargeError, TarFormatError, TarMember, TarStream
from wclayer.model import limits_in_use

ReadAt = Callable[[int, int], bytes]
"""Returns up to a number of bytes (first argument) from an offset (second argument); fewer only at the end."""

_FIRST_CHUNK = 3 * structs.BLOCK
_CHUNK = 64 << 10
_SHOWN = 200
_MAX_HOPS = 16


class Kind(Enum):
    """What a member is."""

    FILE = "a file"
    DIRECTORY = "a directory"
    LINK = "a link"


@dataclass(frozen=True, slots=True)
class ArchiveMember:
    """A member of an archive.

    Attributes:
        name: its name, without "./" in front and "/" at the end.
        kind: what it is.
        offset: where its data begins in the archive.
        size: the length of its data.
        target: the name of the member that a link leads to; "" for others.
    """

    name: str
    kind: Kind
    offset: int
    size: int
    target: str = ""


class Members:
    """The members of an archive by name."""

    def __init__(self, members: dict[str, ArchiveMember]) -> None:
        self._members = members

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[ArchiveMember]:
        return iter(self._members.values())

    def file(self, name: str) -> ArchiveMember | None:
        """Returns the file of a name; None if there is none.

        Raises:
            FormatError: the member is a directory or a link.
        """
        member = self._members.get(name)
        if member is not None and member.kind is not Kind.FILE:
            raise FormatError(f"member {name[:_SHOWN]!r} is {member.kind.value}, not a file")
        return member

    def linked_file(self, name: str) -> ArchiveMember | None:
        """Returns the file of a name, or the file of the archive that the link of this name leads to.

        Raises:
            FormatError: the member is a directory, or a link that leads to no file of the archive.
        """
        member = self._members.get(name)
        for _ in range(_MAX_HOPS):
            if member is None or member.kind is not Kind.LINK:
                break
            target = self._members.get(member.target)
            if target is None:
                raise FormatError(
                    f"member {member.name[:_SHOWN]!r} is a link to {member.target[:_SHOWN]!r},"
                    " which is not a member of the archive"
                )
            member = target
        if member is None or member.kind is Kind.FILE:
            return member
        if member.kind is Kind.LINK:
            raise FormatError(f"member {name[:_SHOWN]!r} leads over more than {_MAX_HOPS} links, or in a circle")
        raise FormatError(f"member {name[:_SHOWN]!r} leads to {member.name[:_SHOWN]!r}, which is a directory")


def find_members(read_at: ReadAt, size: int) -> Members:
    """Returns the members of the tar archive in a file.

    Args:
        read_at: reads the file at an offset.
        size: the length of the file.

    Raises:
        FormatError: it is not such an archive: it is damaged or cut off, a name is absolute, leads upwards or is not
            UTF-8, two names are equal or differ only in case, a link leads out of the archive, or a member is of
            another kind (a device, a sparse file).
        FormatLimitError: there are more members than the limit `archive_members`, or their names take more than
            `names_size`.
    """
    limits = limits_in_use()
    members: dict[str, ArchiveMember] = {}
    spellings: dict[str, str] = {}
    count = names_size = 0
    for found, offset in _headers(read_at, size):
        count += 1
        if count > limits.archive_members:
            raise FormatLimitError(f"more than {limits.archive_members} members {limit_hint('archive_members')}")
        member = _member(found, offset)
        if member is None:
            continue
        names_size += len(found.name) + len(found.link_name)
        if names_size > limits.names_size:
            raise FormatLimitError(
                f"the names of the members take more than {limits.names_size} bytes {limit_hint('names_size')}"
            )
        before = spellings.setdefault(member.name.casefold(), member.name)
        if before != member.name:
            raise FormatError(f"members {before[:_SHOWN]!r} and {member.name[:_SHOWN]!r} differ only in case")
        if (twin := members.get(member.name)) is not None and not twin.kind is member.kind is Kind.DIRECTORY:
            raise FormatError(f"two members have the name {member.name[:_SHOWN]!r}")
        members[member.name] = member
    return Members(members)


def _headers(read_at: ReadAt, size: int) -> Iterator[tuple[TarMember, int]]:
    """Yields the header of each member, and the offset of its data. The data is skipped."""
    limits = limits_in_use()
    at = 0
    while True:
        stream: TarStream[TarMember] = TarStream(
            _chunks(read_at, at),
            max_header=limits.pax_size,
            max_global=limits.global_pax_size,
            choose_global=_choose_global,
        )
        try:
            member = stream.next()
        except TarFormatError as error:
            kind = HeaderTooLargeError if isinstance(error, HeaderTooLargeError) else TarFormatError
            raise kind(at + error.offset, error.problem, error.member) from None
        if member is None:
            return
        data = at + len(member.header)
        at = data + member.size + structs.padding(member.size)
        if data + member.size > size:
            raise TarFormatError(
                size, f"archive ends inside the data, {data + member.size - size} bytes short", _shown(member.name)
            )
        yield member, data


def _chunks(read_at: ReadAt, at: int) -> Iterator[bytes]:
    length = _FIRST_CHUNK
    while chunk := read_at(length, at):
        yield chunk
        at += len(chunk)
        length = _CHUNK


def _choose_global(records: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Returns the global records that apply to members: none. Those that would change a member are refused."""
    if changing := records.keys() & {b"path", b"linkpath", b"size", b"hdrcharset"}:
        raise FormatError(f"a global PAX record {min(changing).decode()!r}, which would rename or resize every member")
    return {}


_KINDS = {
    structs.REGULAR: Kind.FILE,
    structs.DIRECTORY: Kind.DIRECTORY,
    structs.LINK: Kind.LINK,
    structs.SYMLINK: Kind.LINK,
}
_OTHER_KINDS = {
    ord("3"): "a character device", ord("4"): "a block device", ord("6"): "a FIFO", ord("S"): "a sparse file",
    ord("M"): "a part of a file in another volume", ord("D"): "a directory with a list of its files",
    ord("V"): "a label of the archive",
}  # fmt: skip


def _member(found: TarMember, offset: int) -> ArchiveMember | None:
    """Returns the member that a header describes; None for the root of the archive ("./")."""
    shown = _shown(found.name)
    if any(key.startswith(b"GNU.sparse.") for key in found.pax):
        raise FormatError(f"member {shown!r} is a sparse file; write the archive without --sparse")
    if b"hdrcharset" in found.pax:
        raise FormatError(f"member {shown!r} has a character set of its own (PAX hdrcharset)")
    kind = _KINDS.get(found.type)
    if kind is None:
        what = _OTHER_KINDS.get(found.type, f"of the unknown type {chr(found.type)!r}")
        raise FormatError(f"member {shown!r} is {what}; archives of images have none")
    name = _name(found.name)
    if kind is Kind.FILE and found.name.endswith(b"/"):
        raise FormatError(f"member {shown!r} is a file with the name of a directory")
    if not name:
        if kind is Kind.DIRECTORY:
            return None
        raise FormatError(f"member {shown!r} has the name of the archive's root, and is {kind.value}")
    target = _target(found, name) if kind is Kind.LINK else ""
    return ArchiveMember(name, kind, offset, found.size, target)


def _name(stored: bytes) -> str:
    """Returns a name without "./" in front and "/" at the end; "" for the root."""
    try:
        name = stored.decode()
    except UnicodeDecodeError:
        raise FormatError(f"the name {stored[:_SHOWN]!r} is not UTF-8") from None
    if name.startswith("/"):
        raise FormatError(f"the name {name[:_SHOWN]!r} is absolute")
    while name.startswith("./"):
        name = name[2:]
    name = name.removesuffix("/")
    if name in ("", "."):
        return ""
    if any(part in ("", ".", "..") for part in name.split("/")) or "\0" in name:
        raise FormatError(f"the name {name[:_SHOWN]!r} is not a plain path below the archive's root")
    return name


def _target(found: TarMember, name: str) -> str:
    """Returns the name of the member that a link leads to: from the link's directory if it is symbolic."""
    try:
        text = found.link_name.decode()
    except UnicodeDecodeError:
        raise FormatError(f"the link {name[:_SHOWN]!r}: its target is not UTF-8") from None
    if found.type == structs.LINK:
        if target := _name(found.link_name):
            return target
        raise FormatError(f"the link {name[:_SHOWN]!r} leads to the archive's root")
    target = posixpath.normpath(posixpath.join(posixpath.dirname(name), text))
    if not text or target.startswith(("/", "../")) or target in (".", "..") or "\0" in target:
        raise FormatError(f"the link {name[:_SHOWN]!r} leads to {text[:_SHOWN]!r}, out of the archive")
    return target


def _shown(name: bytes) -> str:
    return name[:_SHOWN].decode("utf-8", "replace")
