"""What comes in at the edges: the words of a command line, the kernel's messages, structures of Windows' callers."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from uuid import UUID

import click

from fuzz import place
from fuzz.target import Target
from wclayer.cli.output import SIZE
from wclayer.cli.text import path_of_argument
from wclayer.engines.descriptor import LayerDescriptor
from wclayer.errors import LayerError
from wclayer.host.root import HostRoot
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.layers.json_file import read_json
from wclayer.model import DataStream, Entry
from wclayer.view.fuse import abi
from wclayer.view.fuse.abi import Opcode
from wclayer.view.fuse.operations import Operations
from wclayer.view.fuse.xattr import get_xattr, list_xattrs
from wclayer.view.layer_view import LayerView
from wclayer.view.open_files import FileRange
from wclayer.win32.attributes import FileBasicInfo
from wclayer.win32.inherit import volume_root
from wclayer.win32.names import encode_name
from wclayer.win32.reparse import LinkTarget
from wclayer.win32.shown import shown

_DIRECTORY = 0x10
_FILE = 0x20
_LINK = 0x400


def _descriptor(data: bytes) -> None:
    """A descriptor that a caller hands over is the same after it was handed on."""
    pointer_size = 4 if data[:1] == b"4" else 8
    found = LayerDescriptor.unpack(data[1:], 0x1000, pointer_size=pointer_size)
    assert (
        LayerDescriptor.unpack(found.pack(0x1000, pointer_size=pointer_size), 0x1000, pointer_size=pointer_size)
        == found
    )


def _descriptor_seeds() -> list[bytes]:
    descriptor = LayerDescriptor(UUID(int=5), "C:\\layer")
    return [b"8" + descriptor.pack(0x1000), b"4" + descriptor.pack(0x1000, pointer_size=4)]


def _size(data: bytes) -> None:
    assert SIZE.convert(data.decode("utf-8", "surrogateescape"), None, None) >= 0


def _argument(data: bytes) -> None:
    """A path in a layer as a word of the command line: it can be shown, and what is shown can be typed."""
    path = path_of_argument(data.decode("utf-8", "surrogateescape"))
    text = shown(path)
    assert not any(character < " " or "\x7f" <= character < "\xa0" for character in text if character not in "\n\r\t")
    path_of_argument(encode_name(text).decode("utf-8", "surrogateescape"))


def _json(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "f").write_bytes(data)
        with HostRoot(folder) as root:
            read_json(root, b"f")


@cache
def _layer() -> Path:
    """A layer with a directory, a file with a stream, and a link."""
    path = place.own() / "kernel"
    security = volume_root().encode()
    with DirectoryLayerWriter(path) as writer:
        for name in ("Files", "Files/d"):
            writer.put(Entry(name, FileBasicInfo(_DIRECTORY, 1, 2, 3, 4), 0, security), [])
        streams = [DataStream("", 4, (b"data",)), DataStream("s", 2, (b"ab",))]
        writer.put(Entry("Files/d/a long name", FileBasicInfo(_FILE, 1, 2, 3, 4), 4, security), streams)
        target = LinkTarget.from_path("..\\d", is_mount_point=False).encode()
        writer.put(Entry("Files/l", FileBasicInfo(_LINK | _DIRECTORY, 1, 2, 3, 4), 0, security, reparse=target), [])
    return path


_BODIES = {
    Opcode.SETATTR: abi.SETATTR_IN, Opcode.FORGET: abi.FORGET_IN, Opcode.BATCH_FORGET: abi.BATCH_FORGET_IN,
    Opcode.MKNOD: abi.MKNOD_IN, Opcode.MKDIR: abi.MKDIR_IN, Opcode.RENAME: abi.RENAME_IN,
    Opcode.RENAME2: abi.RENAME2_IN, Opcode.LINK: abi.LINK_IN, Opcode.OPEN: abi.OPEN_IN, Opcode.READ: abi.READ_IN,
    Opcode.WRITE: abi.WRITE_IN, Opcode.RELEASE: abi.HANDLE_IN, Opcode.FLUSH: abi.HANDLE_IN, Opcode.FSYNC: abi.HANDLE_IN,
    Opcode.CREATE: abi.CREATE_IN, Opcode.READDIR: abi.READ_IN, Opcode.READDIRPLUS: abi.READ_IN,
    Opcode.RELEASEDIR: abi.HANDLE_IN, Opcode.SETXATTR: abi.SETXATTR_IN, Opcode.GETXATTR: abi.GETXATTR_IN,
    Opcode.LISTXATTR: abi.GETXATTR_IN,
}  # fmt: skip
"""What the kernel always sends of a message; names stand behind it, each with a NUL."""
_OPCODES = sorted(Opcode)


def _messages(data: bytes) -> Iterator[tuple[int, int, memoryview]]:
    """The messages that the data stands for: an opcode, which of the known entries it is about, and the body."""
    at = 0
    while at + 3 <= len(data):
        opcode = _OPCODES[data[at] % len(_OPCODES)]
        number, length = data[at + 1], data[at + 2]
        body = data[at + 3 : at + 3 + length]
        at += 3 + length
        fixed = _BODIES[opcode].size if opcode in _BODIES else 0
        yield opcode, number, memoryview(body.ljust(fixed, b"\0") + b"\0")


def _kernel(data: bytes) -> None:
    """Each message that a kernel can send gets an answer or an error of POSIX."""
    with LayerView([_layer()]) as view:
        operations = Operations(view.volume, "/mount")
        known = [abi.ROOT]
        for opcode, which, body in _messages(data):
            answer = operations.answers.get(opcode)
            if answer is None:
                continue
            try:
                given = answer(known[which % len(known)], body)
                if opcode == Opcode.LOOKUP:
                    assert not isinstance(given, FileRange)
                    known.append(abi.ENTRY_HEAD.unpack_from(given)[0])
            except (OSError, UnicodeError, ValueError, KeyError):
                # A KeyError: a handle that was never given.
                continue
        root = view.volume.tree.lookup("")
        assert root is not None
        for node in view.volume.tree.walk(root):
            for name in list_xattrs(view.volume, node):
                get_xattr(view.volume, node, name)


def _message(opcode: Opcode, body: bytes, number: int = 0) -> bytes:
    return bytes((_OPCODES.index(opcode), number, len(body))) + body


def _kernel_seeds() -> list[bytes]:
    read = abi.READ_IN.pack(1, 0, 4096, 0, 0, 0, 0)
    return [
        _message(Opcode.LOOKUP, b"d") + _message(Opcode.LOOKUP, b"a long name", 1) + _message(Opcode.GETATTR, b"", 2),
        _message(Opcode.OPENDIR, b"")
        + _message(Opcode.READDIRPLUS, read)
        + _message(Opcode.RELEASEDIR, struct.pack("=Q", 1)),
        _message(Opcode.LOOKUP, b"l") + _message(Opcode.READLINK, b"", 1),
        _message(Opcode.LOOKUP, b"D")
        + _message(Opcode.LOOKUP, b"ALONGN~1", 1)
        + _message(Opcode.OPEN, bytes(8), 2)
        + _message(Opcode.READ, read, 2),
        _message(Opcode.GETXATTR, abi.GETXATTR_IN.pack(99, 0) + b"system.ntfs_acl"),
        _message(Opcode.LOOKUP, b"d")
        + _message(Opcode.LOOKUP, b"a long name", 1)
        + b"".join(
            _message(Opcode.GETXATTR, abi.GETXATTR_IN.pack(99, 0) + b"system.ntfs_" + name, 2)
            for name in (b"attrib_be", b"times", b"dos_name", b"reparse_data")
        )
        + _message(Opcode.SETXATTR, abi.SETXATTR_IN.pack(4, 0) + b"system.ntfs_attrib_be\0\0\0\0\1", 2)
        + _message(Opcode.REMOVEXATTR, b"user.s", 2),
        _message(Opcode.LISTXATTR, abi.GETXATTR_IN.pack(99, 0)) + _message(Opcode.STATFS, b""),
        _message(Opcode.RENAME2, abi.RENAME2_IN.pack(abi.ROOT, 1, 0) + b"a\0b") + _message(Opcode.SYMLINK, b"x\0../y"),
    ]


TARGETS = {
    "argument": Target(
        _argument, lambda: [b"Files/<U+202E>x", b"a\xff\x1b"], (LayerError,),
        words=(b"<U+", b"<U+D800>", b"<U+DC00>", b"\x1b[", b"\xed\xa0\x80"), max_size=256,
    ),
    "descriptor": Target(_descriptor, _descriptor_seeds, max_size=256),
    "json": Target(
        _json, lambda: [b'["a", {"b": [1, 2.5, null, "\\ud800"]}]', b"\xef\xbb\xbf[]"], words=(b"[", b"{", b'"'),
        max_size=8192,
    ),
    "size": Target(_size, lambda: [b"20GiB", b"0", b"512k"], (click.BadParameter,), words=(b"TiB",), max_size=8192),
    "kernel": Target(
        _kernel, _kernel_seeds,
        words=(b"system.ntfs_", b"user.s", b"attrib_be", b"times", b"dos_name", b"a long name", b"ALONGN~1"),
        max_size=1024,
    ),
}  # fmt: skip
