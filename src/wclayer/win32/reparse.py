"""Reparse points: REPARSE_DATA_BUFFER for the tags that occur in layers. The data of other tags is kept verbatim.

Sources: [MS-FSCC] sections 2.1.2.1 (tags), 2.1.2.4 (symbolic link), 2.1.2.5 (mount point); WCI and WOF buffers as in
the Windows SDK headers (`ntifs.h`); LX symlink as in the Windows Subsystem for Linux.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from enum import IntEnum
from uuid import UUID

from wclayer.errors import FormatError


class ReparseError(FormatError):
    """A reparse buffer is malformed, or its data does not fit."""


class ReparseTag(IntEnum):
    """The reparse tags that layers contain."""

    MOUNT_POINT = 0xA0000003
    SYMLINK = 0xA000000C
    WCI = 0x80000018
    WCI_1 = 0x90001018
    WCI_TOMBSTONE = 0xA000001F
    WCI_LINK = 0xA0000027
    WCI_LINK_1 = 0xA0001027
    WOF = 0x80000017
    LX_SYMLINK = 0xA000001D
    APPEXECLINK = 0x8000001B


_HEADER = struct.Struct("<IHH")  # ReparseTag, ReparseDataLength, Reserved
_NAMES = struct.Struct("<4H")  # SubstituteNameOffset, …Length, PrintNameOffset, …Length (mount point: all there is)
_FLAGS = struct.Struct("<I")  # symbolic link only, after _NAMES
_WCI = struct.Struct("<II16sH")  # Version, Reserved, LookupGuid, WciNameLength; the name follows
_WOF_EXTERNAL = struct.Struct("<II")  # WOF_EXTERNAL_INFO: Version, Provider
_WOF_FILE = struct.Struct("<II")  # FILE_PROVIDER_EXTERNAL_INFO: Version, Algorithm

SYMLINK_FLAG_RELATIVE = 1
MAX_REPARSE_DATA = 16 * 1024
"""MAXIMUM_REPARSE_DATA_BUFFER_SIZE: the most bytes that Windows accepts, header included."""

_DRIVE = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True, slots=True)
class ReparsePoint:
    """A reparse point of any kind: its tag and its verbatim data."""

    tag: int
    data: bytes

    def encode(self) -> bytes:
        """Returns the REPARSE_DATA_BUFFER: tag, length, reserved, data.

        Raises:
            FormatError: the buffer is longer than Windows' 16 KiB.
        """
        if _HEADER.size + len(self.data) > MAX_REPARSE_DATA:
            raise FormatError(f"reparse data of {len(self.data)} bytes is longer than Windows allows")
        return _HEADER.pack(self.tag, len(self.data), 0) + self.data

    @property
    def tag_name(self) -> str:
        try:
            return ReparseTag(self.tag).name
        except ValueError:
            return f"{self.tag:#010x}"


@dataclass(frozen=True, slots=True)
class LinkTarget:
    """The target of a symbolic link or mount point: the NT path to follow, the path to print, and the flags."""

    substitute_name: str
    print_name: str
    flags: int = 0
    is_mount_point: bool = False

    @property
    def is_relative(self) -> bool:
        return bool(self.flags & SYMLINK_FLAG_RELATIVE)

    def encode(self) -> bytes:
        """Returns the REPARSE_DATA_BUFFER in go-winio's layout: NUL-terminated names, in the order substitute, print.

        Raises:
            FormatError: the buffer is longer than Windows' 16 KiB.
        """
        substitute = _utf16(self.substitute_name)
        printed = _utf16(self.print_name)
        if len(substitute) + len(printed) > MAX_REPARSE_DATA:
            raise FormatError(f"link target of {len(printed) // 2} UTF-16 units is longer than Windows allows")
        names = _NAMES.pack(0, len(substitute), len(substitute) + 2, len(printed))
        flags = b"" if self.is_mount_point else _FLAGS.pack(self.flags)
        data = names + flags + substitute + b"\0\0" + printed + b"\0\0"
        tag = ReparseTag.MOUNT_POINT if self.is_mount_point else ReparseTag.SYMLINK
        return ReparsePoint(tag, data).encode()

    @classmethod
    def from_path(cls, target: str, *, is_mount_point: bool) -> LinkTarget:
        r"""Returns the target for a Win32 path, made like go-winio's `EncodeReparsePoint`.

        `C:\x` becomes `\??\C:\x`, `\\?\x` becomes `\??\x`, `\\server\x` becomes `\??\UNC\server\x`. Any other path is
        unchanged, and counts as relative.
        """
        if target.startswith("\\\\?\\"):
            return cls("\\??\\" + target[4:], target, 0, is_mount_point)
        if target.startswith("\\\\"):
            return cls("\\??\\UNC\\" + target[2:], target, 0, is_mount_point)
        if _DRIVE.match(target):
            return cls("\\??\\" + target, target, 0, is_mount_point)
        return cls(target, target, 0 if is_mount_point else SYMLINK_FLAG_RELATIVE, is_mount_point)


@dataclass(frozen=True, slots=True)
class WciPlaceholder:
    """A WCI placeholder or link: the content of the file is that of `name` in the layer with this GUID."""

    tag: int
    version: int
    reserved: int
    layer: UUID
    name: str

    def encode(self) -> bytes:
        name = _utf16(self.name)
        if len(name) > MAX_REPARSE_DATA:
            raise FormatError(f"WCI name of {len(name) // 2} UTF-16 units is longer than Windows allows")
        return ReparsePoint(
            self.tag, _WCI.pack(self.version, self.reserved, self.layer.bytes_le, len(name)) + name
        ).encode()


@dataclass(frozen=True, slots=True)
class WofFile:
    """A file that the Windows Overlay Filter compressed into the stream `WofCompressedData` with this algorithm."""

    version: int
    provider: int
    provider_version: int
    algorithm: int

    ALGORITHMS = ("XPRESS4K", "LZX", "XPRESS8K", "XPRESS16K")

    def encode(self) -> bytes:
        data = _WOF_EXTERNAL.pack(self.version, self.provider) + _WOF_FILE.pack(self.provider_version, self.algorithm)
        return ReparsePoint(ReparseTag.WOF, data).encode()


@dataclass(frozen=True, slots=True)
class LxSymlink:
    """A WSL symbolic link: a POSIX target in bytes (UTF-8 by convention)."""

    version: int
    target: bytes

    def encode(self) -> bytes:
        return ReparsePoint(ReparseTag.LX_SYMLINK, struct.pack("<I", self.version) + self.target).encode()


def is_name_surrogate(data: bytes | memoryview) -> bool:
    """Returns whether a REPARSE_DATA_BUFFER is a name surrogate (bit 29 of the tag, [MS-FSCC] 2.1.2.1).

    A name surrogate represents another file or directory, and a path through it leads there. A directory with another
    tag has its own children.
    """
    return len(data) >= 4 and bool(data[3] & 0x20)


def decode_reparse(data: bytes | memoryview) -> ReparsePoint:
    """Returns the tag and data of a REPARSE_DATA_BUFFER.

    Raises:
        ReparseError: the buffer is shorter than its header says, or longer than Windows allows.
    """
    if len(data) < _HEADER.size:
        raise ReparseError(f"reparse buffer of {len(data)} bytes is shorter than its {_HEADER.size}-byte header")
    if len(data) > MAX_REPARSE_DATA:
        raise ReparseError(f"reparse buffer of {len(data)} bytes is longer than Windows allows")
    tag, length, _reserved = _HEADER.unpack_from(data)
    if _HEADER.size + length != len(data):
        raise ReparseError(f"reparse buffer holds {len(data) - _HEADER.size} bytes of data, its header says {length}")
    return ReparsePoint(tag, bytes(data[_HEADER.size :]))


def decode_link(point: ReparsePoint) -> LinkTarget:
    """Returns the target of a symbolic link or mount point.

    Raises:
        ReparseError: the point has another tag, or a name is outside of the buffer.
    """
    if point.tag not in (ReparseTag.SYMLINK, ReparseTag.MOUNT_POINT):
        raise ReparseError(f"reparse tag {point.tag_name} is not a link")
    is_mount_point = point.tag == ReparseTag.MOUNT_POINT
    names_at = _NAMES.size + (0 if is_mount_point else _FLAGS.size)
    if len(point.data) < names_at:
        raise ReparseError(f"link reparse data of {len(point.data)} bytes is shorter than {names_at}")
    sub_offset, sub_length, print_offset, print_length = _NAMES.unpack_from(point.data)
    flags = 0 if is_mount_point else _FLAGS.unpack_from(point.data, _NAMES.size)[0]
    names = point.data[names_at:]

    def name(offset: int, length: int, which: str) -> str:
        if length % 2 or offset + length > len(names):
            raise ReparseError(f"{which} name at {offset}, {length} bytes, lies outside the {len(names)}-byte buffer")
        return names[offset : offset + length].decode("utf-16-le", "surrogatepass")

    return LinkTarget(
        name(sub_offset, sub_length, "substitute"), name(print_offset, print_length, "print"), flags, is_mount_point
    )


def decode_wci(point: ReparsePoint) -> WciPlaceholder:
    """Returns the layer and name of a WCI placeholder or link.

    Raises:
        ReparseError: the point has another tag, or the name is outside of the buffer.
    """
    if point.tag not in (ReparseTag.WCI, ReparseTag.WCI_1, ReparseTag.WCI_LINK, ReparseTag.WCI_LINK_1):
        raise ReparseError(f"reparse tag {point.tag_name} is not a WCI placeholder or link")
    if len(point.data) < _WCI.size:
        raise ReparseError(f"WCI reparse data of {len(point.data)} bytes is shorter than {_WCI.size}")
    version, reserved, guid, length = _WCI.unpack_from(point.data)
    name = point.data[_WCI.size : _WCI.size + length]
    if length % 2 or len(name) != length:
        raise ReparseError(f"WCI name of {length} bytes lies outside the buffer")
    return WciPlaceholder(point.tag, version, reserved, UUID(bytes_le=guid), name.decode("utf-16-le", "surrogatepass"))


def decode_wof(point: ReparsePoint) -> WofFile:
    """Returns the compression of a WOF file.

    Raises:
        ReparseError: the point has another tag, or its data is not the file provider's 16 bytes.
    """
    if point.tag != ReparseTag.WOF or len(point.data) != _WOF_EXTERNAL.size + _WOF_FILE.size:
        raise ReparseError(f"reparse tag {point.tag_name} with {len(point.data)} bytes is not a WOF file")
    return WofFile(*_WOF_EXTERNAL.unpack_from(point.data), *_WOF_FILE.unpack_from(point.data, _WOF_EXTERNAL.size))


def decode_lx_symlink(point: ReparsePoint) -> LxSymlink:
    """Returns the target of a WSL symbolic link.

    Raises:
        ReparseError: the point has another tag, or its data has no version field.
    """
    if point.tag != ReparseTag.LX_SYMLINK or len(point.data) < 4:
        raise ReparseError(f"reparse tag {point.tag_name} with {len(point.data)} bytes is not an LX symlink")
    return LxSymlink(int.from_bytes(point.data[:4], "little"), point.data[4:])


def _utf16(name: str) -> bytes:
    return name.encode("utf-16-le", "surrogatepass")
