"""Requests to the server of a mount, over a socket in the kernel's place: each gets one answer of the right form, and
no request is a mistake of the server's.

An input is a byte that says what is served, and requests: an opcode, a node and the body, each made of choices, so that
most of them make sense. Handles and nodes that answers gave are used again.
"""

from __future__ import annotations

import contextlib
import io
import os
import socket
import struct
import threading
from functools import lru_cache
from pathlib import Path

from fuzz.operations.choices import Choices
from fuzz.operations.ground import expect, fresh, info, made_once, put_directories, put_file
from tests.support import copy_layer
from wclayer.engines.portable.engine import create_scratch_layer
from wclayer.host.durability import unsynced
from wclayer.layers.directory.check import check_layer
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.model import Entry
from wclayer.view.fuse import abi
from wclayer.view.fuse.abi import Opcode
from wclayer.view.fuse.operations import Operations
from wclayer.view.fuse.session import Connection
from wclayer.view.layer_view import LayerView
from wclayer.win32.reparse import LinkTarget

_MOST = 60
_MAX_ERRNO = 511
_PATIENCE = 50.0
"""Seconds after which an answer that has not come is none."""
_OPCODES = sorted(Opcode)
_NAMES = (
    b"a", b"A", b"d", b"D", b"b", b"new", b"NEW", b"l", b"junction", b"a:s", b"", b".", b"..", b"x/y", b"\xff",
    b"\xed\xb2\x80", b"n" * 300, b"a*", "Ä".encode(), "ä".encode(), b"CON",
)  # fmt: skip
_XATTRS = (
    b"user.s", b"user.new", b"system.ntfs_attrib", b"system.ntfs_times", b"system.ntfs_acl",
    b"system.ntfs_reparse_data",
    b"system.ntfs_crtime", b"system.ntfs_ea", b"user.", b"", b"security.x", b"trusted.y",
    b"system.ntfs_attrib_be",
)  # fmt: skip
_VALUES = (
    b"", b"x", bytes(4), b"\x02\0\0\0", b"\x10\0\0\0", b"\xff" * 4, bytes(8), bytes(32), b"\xff" * 8,
    LinkTarget.from_path("C:\\d", is_mount_point=True).encode(),
    LinkTarget.from_path("a", is_mount_point=False).encode(),
)  # fmt: skip
_OFFSETS = (0, 1, 4, 4096, 1 << 20, (1 << 31) - 1, 1 << 40, (1 << 63) - 1, (1 << 64) - 1)
_SIZES = (0, 1, 16, 100, 4096, 1 << 17, 1 << 20, (1 << 32) - 1)
_MODES = (0o100644, 0o040755, 0o120777, 0o010644, 0o020644, 0, 0o177777)


def requests(data: bytes) -> None:
    """The data is a row of requests."""
    choices = Choices(data)
    is_scratch = not choices.byte() & 1
    layer, source = _layers()
    with fresh() as folder, contextlib.ExitStack() as stack:
        if is_scratch:
            copy_layer(source, folder / "scratch")
            view = stack.enter_context(LayerView(scratch=folder / "scratch"))
        else:
            view = stack.enter_context(LayerView([layer]))
        said = stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        kernel = _Kernel(view)
        try:
            kernel.start()
            for _ in range(_MOST):
                if not choices:
                    break
                kernel.request(choices)
        finally:
            kernel.end()
        expect(kernel.failure is None, "the server ended:", kernel.failure)
        expect("Traceback" not in said.getvalue(), "a mistake of the server's:", said.getvalue()[-1400:])
        stack.close()
        if is_scratch:
            problems = list(check_layer(folder / "scratch"))
            expect(not problems, "check does not like the scratch:", problems)


class _Kernel:
    """The kernel's end of the connection, and what it knows: nodes and handles that it was told of."""

    def __init__(self, view: LayerView) -> None:
        self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self._ours, self._theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        self._ours.settimeout(_PATIENCE)
        self._connection = Connection(self._theirs.fileno(), Operations(view.volume, "/mount"), "/mount")
        self._nodes = [abi.ROOT]
        self._handles = [0]
        self._unique = 0
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        try:
            self._connection.run()
        except BaseException as error:  # noqa: BLE001 (for the target to look at)
            self.failure = error
            # Whoever waits for an answer need not wait longer.
            self._theirs.shutdown(socket.SHUT_RDWR)

    def start(self) -> None:
        """Greets the server, as the kernel does."""
        self._ask(
            Opcode.INIT, 0, abi.INIT_IN.pack(abi.KERNEL_VERSION, 38, 1 << 17, 0xFFFF_FFFF, 0xFFFF_FFFF) + bytes(44)
        )

    def end(self) -> None:
        """Takes the mount away."""
        self._ours.close()
        self._thread.join(_PATIENCE)
        if isinstance(self.failure, ConnectionResetError):
            # So a socket ends on which something was still to be read.
            self.failure = None
        expect(not self._thread.is_alive(), "the server does not end")
        self._connection.stop()
        self._theirs.close()

    def request(self, choices: Choices) -> None:
        """Sends the next request and takes its answer."""
        opcode = choices.pick(_OPCODES)
        if opcode in (Opcode.INIT, Opcode.DESTROY):
            opcode = Opcode.LOOKUP
        node = self._node(choices)
        body = self._body(opcode, choices)
        self._ask(opcode, node, body)

    def _node(self, choices: Choices) -> int:
        number = choices.byte()
        if number == 255:
            return choices.number(8)
        return self._nodes[number % len(self._nodes)]

    def _handle(self, choices: Choices) -> int:
        number = choices.byte()
        if number == 255:
            return choices.number(8)
        return self._handles[number % len(self._handles)]

    def _body(self, opcode: int, choices: Choices) -> bytes:
        if choices.byte() == 0xFF:
            return choices.block()
        name = choices.pick(_NAMES) + b"\0"
        other = choices.pick(_NAMES) + b"\0"
        if opcode in (Opcode.LOOKUP, Opcode.UNLINK, Opcode.RMDIR):
            return name
        if opcode == Opcode.FORGET:
            return abi.FORGET_IN.pack(1 + choices.below(3))
        if opcode == Opcode.BATCH_FORGET:
            count = choices.below(4)
            ones = b"".join(abi.FORGET_ONE.pack(self._node(choices), 1 + choices.below(2)) for _ in range(count))
            return abi.BATCH_FORGET_IN.pack(count + choices.below(2), 0) + ones
        if opcode == Opcode.SETATTR:
            return abi.SETATTR_IN.pack(
                choices.number(2), 0, self._handle(choices), choices.pick(_OFFSETS[:5]), 0,
                *(choices.pick((0, 1, -1, 1 << 40, 1_600_000_000)) for _ in range(3)),
                *(choices.pick((0, 1, 999_999_999, 1 << 31)) for _ in range(3)), choices.pick(_MODES), 0, 0, 0, 0,
            )  # fmt: skip
        if opcode == Opcode.SYMLINK:
            return name + choices.pick((b"a", b"/mount/a", b"../x", b"d/b", b"", b"x" * 5000, b"C:\\a")) + b"\0"
        if opcode == Opcode.MKNOD:
            return abi.MKNOD_IN.pack(choices.pick(_MODES), 0, 0, 0) + name
        if opcode == Opcode.MKDIR:
            return abi.MKDIR_IN.pack(0o755, 0) + name
        if opcode == Opcode.RENAME:
            return abi.RENAME_IN.pack(self._node(choices)) + name + other
        if opcode == Opcode.RENAME2:
            return abi.RENAME2_IN.pack(self._node(choices), choices.below(8), 0) + name + other
        if opcode == Opcode.LINK:
            return abi.LINK_IN.pack(self._node(choices)) + name
        if opcode in (Opcode.OPEN, Opcode.OPENDIR):
            return abi.OPEN_IN.pack(choices.pick((os.O_RDWR, os.O_RDONLY, os.O_WRONLY | os.O_TRUNC, os.O_APPEND)), 0)
        if opcode == Opcode.CREATE:
            return abi.CREATE_IN.pack(os.O_RDWR | choices.pick((0, os.O_TRUNC, os.O_EXCL)), 0o644, 0, 0) + name
        if opcode in (Opcode.READ, Opcode.READDIR, Opcode.READDIRPLUS):
            return abi.READ_IN.pack(self._handle(choices), choices.pick(_OFFSETS), choices.pick(_SIZES), 0, 0, 0, 0)
        if opcode == Opcode.WRITE:
            written = choices.take(choices.byte())
            size = len(written) if choices.byte() < 250 else choices.pick(_SIZES)
            offset = choices.pick(_OFFSETS[:5])
            return abi.WRITE_IN.pack(self._handle(choices), offset, size, choices.below(2), 0, 0, 0) + written
        if opcode in (Opcode.SETXATTR, Opcode.GETXATTR, Opcode.REMOVEXATTR, Opcode.LISTXATTR):
            return self._xattr(opcode, choices)
        # RELEASE, FLUSH, FSYNC and their likes.
        return abi.HANDLE_IN.pack(self._handle(choices)) + bytes(24)

    def _xattr(self, opcode: int, choices: Choices) -> bytes:
        name = choices.pick(_XATTRS) + b"\0"
        if opcode == Opcode.REMOVEXATTR:
            return name
        if opcode == Opcode.SETXATTR:
            value = choices.pick(_VALUES) if choices.byte() & 1 else choices.block()
            return abi.SETXATTR_IN.pack(len(value), choices.below(4)) + name + value
        head = abi.GETXATTR_IN.pack(choices.pick(_SIZES[:5]), 0)
        return head if opcode == Opcode.LISTXATTR else head + name

    def _ask(self, opcode: int, node: int, body: bytes) -> None:
        self._unique += 1
        size = abi.IN_HEADER.size + len(body)
        self._ours.send(abi.IN_HEADER.pack(size, opcode, self._unique, node, 0, 0, 0, 0, 0) + body)
        if opcode in abi.UNANSWERED:
            return
        unique = 0
        while not unique:
            # Of itself, the server tells what the kernel is to forget.
            try:
                answer = self._ours.recv(4 << 20)
            except TimeoutError:
                raise AssertionError(f"no answer to {Opcode(opcode).name}") from None
            if not answer:
                raise AssertionError(f"the server ended at {Opcode(opcode).name}") from self.failure
            size, error, unique = abi.OUT_HEADER.unpack_from(answer)
            expect(size == len(answer), "an answer of another length than it says", opcode, size, len(answer))
        expect(unique == self._unique, "an answer to another request", unique)
        expect(-_MAX_ERRNO <= error <= 0, "an error that the kernel does not take", opcode, error)
        expect(not error or len(answer) == abi.OUT_HEADER.size, "an error with a body", opcode)
        self._learn(opcode, error, answer[abi.OUT_HEADER.size :], body)

    def _learn(self, opcode: int, error: int, answer: bytes, body: bytes) -> None:
        """Takes down what an answer tells of: nodes, handles; looks at the lengths that the kernel insists on."""
        if error:
            return
        entry = abi.ENTRY_HEAD.size + abi.ATTR.size
        if opcode in (Opcode.LOOKUP, Opcode.MKDIR, Opcode.MKNOD, Opcode.SYMLINK, Opcode.LINK, Opcode.CREATE):
            opened = abi.OPEN_OUT.size if opcode == Opcode.CREATE else 0
            expect(len(answer) == entry + opened, "an entry of another length", opcode, len(answer))
            number, generation, *_ = abi.ENTRY_HEAD.unpack_from(answer)
            if opcode == Opcode.LOOKUP and not number:
                # A name that is missing, which the kernel remembers: nothing but the time for which it does.
                expect(not (generation or any(answer[abi.ENTRY_HEAD.size :])), "an entry that is none", answer)
                return
            expect(number not in (0, abi.ROOT), "an entry with the number of none", opcode)
            self._nodes.append(number)
            if opened:
                self._handles.append(abi.OPEN_OUT.unpack_from(answer, entry)[0])
        elif opcode in (Opcode.OPEN, Opcode.OPENDIR):
            expect(len(answer) == abi.OPEN_OUT.size, "an open file of another length", opcode, len(answer))
            self._handles.append(abi.OPEN_OUT.unpack(answer)[0])
        elif opcode in (Opcode.GETATTR, Opcode.SETATTR):
            expect(len(answer) == abi.ATTR_HEAD.size + abi.ATTR.size, "attributes of another length", len(answer))
        elif opcode in (Opcode.READ, Opcode.READDIR, Opcode.READDIRPLUS):
            wanted = abi.READ_IN.unpack_from(body)[2]
            expect(len(answer) <= wanted, "more than was asked for", opcode, len(answer), wanted)
        elif opcode == Opcode.WRITE:
            written = abi.WRITE_OUT.unpack(answer)[0]
            expect(written <= abi.WRITE_IN.unpack_from(body)[2], "more was written than was given", written)
        elif opcode in (Opcode.GETXATTR, Opcode.LISTXATTR):
            (wanted, _) = struct.unpack_from("=II", body)
            expect(not wanted or len(answer) <= wanted, "an attribute longer than its room", len(answer), wanted)
        elif opcode == Opcode.READLINK:
            expect(0 < len(answer) <= abi.MAX_LINK_TEXT and b"\0" not in answer, "a link that leads nowhere", answer)


@lru_cache(maxsize=1)
def _layers() -> tuple[Path, Path]:
    """A layer, and a scratch over it to copy; made once."""
    base, scratch = made_once("session-base"), made_once("session-scratch")
    with unsynced():
        with DirectoryLayerWriter(base) as writer:
            put_directories(writer, ("Files", "Files/d"))
            put_file(writer, "Files/a", b"contents", s=b"stream")
            put_file(writer, "Files/d/b", b"b" * 5000)
            writer.put(Entry("Files/l", info(), link_target="Files/a"))
            target = LinkTarget.from_path("C:\\d", is_mount_point=True)
            writer.put(Entry("Files/junction", info(0x410), reparse=target.encode()))
        create_scratch_layer(scratch, [base])
    os.truncate(scratch / "sandbox.vhdx", 0)
    return base, scratch


def request_seeds() -> list[bytes]:
    """Each opcode by itself, after two look-ups and an opened file."""
    codes = {opcode: bytes([number]) for number, opcode in enumerate(_OPCODES)}
    look_up = codes[Opcode.LOOKUP] + b"\0\0\0\0" + codes[Opcode.LOOKUP] + b"\0\0\2\0"
    opened = codes[Opcode.OPEN] + b"\1\0\0\0\0"
    one = [bytes([number % 2]) + look_up + opened + code + bytes((1, 0, 5, 2, 1, 2, 3, 1, 2, 3, 1, 1, 1, 1, 1, 1))
           for number, code in enumerate(codes.values())]  # fmt: skip
    write = codes[Opcode.WRITE] + b"\1\0\0\0\4abcd\0\2\1\0"
    renamed = codes[Opcode.RENAME] + b"\0\0\0\5\0"
    return [*one, b"\0" + look_up + opened + write + renamed + codes[Opcode.RELEASE] + b"\1\0\0\0\1"]
