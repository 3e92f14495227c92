"""The connection to the kernel, with a test in the kernel's place."""

from __future__ import annotations

import errno
import os
import signal
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import wclayer
from tests.support import put_directories, put_file
from wclayer.errors import DiskFullError, NotSupportedError
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.view.fuse import abi, nodes, session
from wclayer.view.fuse.abi import InitFlag, Notice, Opcode, OpenFlag, SetAttr
from wclayer.view.fuse.operations import Operations
from wclayer.view.fuse.session import Connection
from wclayer.view.layer_view import LayerView
from wclayer.view.open_files import OpenFile
from wclayer.view.volume import Volume
from wclayer.win32.reparse import LinkTarget

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX' sockets")


class Kernel:
    """The kernel's end of a connection to the server of a view."""

    def __init__(self, view: LayerView) -> None:
        self.ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self.ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        self.theirs = theirs
        self.operations = Operations(view.volume, "/mount")
        self.connection = Connection(theirs.fileno(), self.operations, "/mount")
        self.failure: BaseException | None = None
        self.notices: list[tuple[int, int]] = []
        """The notices that came before answers: the code, negative, and the number of the node."""
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self) -> None:
        try:
            self.connection.run()
        except BaseException as error:  # noqa: BLE001 (for the test to look at)
            self.failure = error

    def ask(self, opcode: int, node: int = abi.ROOT, body: bytes = b"") -> tuple[int, bytes]:
        """Sends a message; gives the error and what stands behind the header of the answer."""
        size = abi.IN_HEADER.size + len(body)
        self.ours.send(abi.IN_HEADER.pack(size, opcode, 7, node, 0, 0, 0, 0, 0) + body)
        unique = 0
        while not unique:
            # Of itself, the server tells what the kernel is to forget.
            answer = self.ours.recv(2 << 20)
            size, error, unique = abi.OUT_HEADER.unpack_from(answer)
            assert size == len(answer)
            if not unique:
                self.notices.append((-error, abi.HANDLE_IN.unpack_from(answer, abi.OUT_HEADER.size)[0]))
        assert unique == 7
        return -error, answer[abi.OUT_HEADER.size :]

    def init(self, minor: int = 38, flags: int = 0) -> tuple[int, ...]:
        message = abi.INIT_IN.pack(abi.KERNEL_VERSION, minor, 1 << 17, flags & 0xFFFF_FFFF, flags >> 32) + bytes(44)
        return abi.INIT_OUT.unpack(self.ask(Opcode.INIT, 0, message)[1])

    def look_up(self, name: bytes, parent: int = abi.ROOT) -> int:
        """The number by which the kernel knows a name from now on."""
        error, answer = self.ask(Opcode.LOOKUP, parent, name + b"\0")
        assert error == 0
        return int(abi.ENTRY_HEAD.unpack_from(answer)[0])

    def forget(self, node: int, count: int = 1) -> None:
        size = abi.IN_HEADER.size + abi.FORGET_IN.size
        self.ours.send(abi.IN_HEADER.pack(size, Opcode.FORGET, 0, node, 0, 0, 0, 0, 0) + abi.FORGET_IN.pack(count))

    def close(self) -> None:
        self.ours.close()
        self.thread.join()
        self.theirs.close()


@pytest.fixture
def view(tmp_path: Path) -> Iterator[LayerView]:
    with DirectoryLayerWriter(tmp_path / "base") as writer:
        put_directories(writer, "Files", "Files/d")
        put_file(writer, "Files/d/Name", b"data")
    with LayerView([tmp_path / "base"]) as view:
        yield view


@pytest.fixture
def kernel(view: LayerView) -> Iterator[Kernel]:
    kernel = Kernel(view)
    yield kernel
    kernel.close()


def test_the_layouts_are_those_of_the_kernel() -> None:
    sizes = {
        abi.IN_HEADER: 40, abi.OUT_HEADER: 16, abi.ATTR: 88, abi.ENTRY_HEAD: 40, abi.ATTR_HEAD: 16, abi.DIRENT_HEAD: 24,
        abi.INIT_OUT: 64, abi.SETATTR_IN: 88, abi.READ_IN: 40, abi.WRITE_IN: 40, abi.STATFS_OUT: 80, abi.OPEN_OUT: 16,
        abi.INVAL_INODE_OUT: 24, abi.INVAL_ENTRY_OUT: 16, abi.RENAME2_IN: 16, abi.CREATE_IN: 16,
    }  # fmt: skip
    assert {layout.format: layout.size for layout in sizes} == {layout.format: size for layout, size in sizes.items()}


def test_of_what_the_kernel_offers_the_server_takes_what_it_can(kernel: Kernel) -> None:
    offered = InitFlag.MAX_PAGES | InitFlag.INIT_EXT | InitFlag.DIRECT_IO_ALLOW_MMAP | 1 << 16 | 1 << 23
    major, minor, _, low, _, _, most, step, _, _, high = kernel.init(99, offered)
    assert (major, minor, most, step) == (7, abi.MAX_MINOR, 1 << 20, 100)
    assert low | high << 32 == InitFlag.MAX_PAGES | InitFlag.INIT_EXT | InitFlag.DIRECT_IO_ALLOW_MMAP


def test_a_kernel_that_is_too_old_is_refused(kernel: Kernel) -> None:
    message = abi.INIT_IN.pack(7, 23, 0, 0, 0)
    kernel.ours.send(abi.IN_HEADER.pack(abi.IN_HEADER.size + len(message), Opcode.INIT, 1, 0, 0, 0, 0, 0, 0) + message)
    kernel.thread.join(10)
    assert isinstance(kernel.failure, NotSupportedError)
    assert "7.23" in str(kernel.failure)


def test_messages_that_nobody_knows_get_an_error(kernel: Kernel) -> None:
    kernel.init()
    for opcode in (39, 40, 43, 46, 47, 51, 4096):
        assert kernel.ask(opcode, body=bytes(64)) == (errno.ENOSYS, b"")


def test_a_spelling_is_a_node_of_its_own_that_is_not_remembered(kernel: Kernel) -> None:
    kernel.init()

    def entry(parent: int, name: bytes) -> tuple[int, int, int]:
        error, answer = kernel.ask(Opcode.LOOKUP, parent, name + b"\0")
        assert error == 0
        node, _, names, attributes, _, _ = abi.ENTRY_HEAD.unpack_from(answer)
        return node, names, attributes

    stored, names, attributes = entry(abi.ROOT, b"d")
    assert names == attributes == 1_000_000
    alias, names, attributes = entry(abi.ROOT, b"D")
    assert alias != stored
    assert names == attributes == 0
    assert entry(abi.ROOT, b"D")[0] == alias
    file = entry(stored, b"Name")
    # A file is the same below an alias; under another spelling it is not.
    assert entry(alias, b"Name")[0] == file[0]
    assert entry(alias, b"NAME")[0] not in (file[0], entry(stored, b"NAME")[0])
    assert len(kernel.operations.nodes) == 3
    kernel.forget(alias, 2)
    assert kernel.ask(Opcode.GETATTR, alias, bytes(16))[0] == errno.ESTALE
    assert len(kernel.operations.nodes) == 2


@pytest.fixture
def changing(tmp_path: Path) -> Iterator[Kernel]:
    """The kernel's end of a connection to the server of a scratch over a layer with `Name` in it."""
    with DirectoryLayerWriter(tmp_path / "base") as writer:
        put_directories(writer, "Files")
        put_file(writer, "Files/Name", b"data")
    wclayer.create_scratch_layer(tmp_path / "run", [tmp_path / "base"])
    with LayerView(scratch=tmp_path / "run") as view:
        kernel = Kernel(view)
        kernel.init()
        yield kernel
        kernel.close()


def _opened(kernel: Kernel, node: int, flags: int = os.O_RDWR) -> int:
    error, answer = kernel.ask(Opcode.OPEN, node, abi.OPEN_IN.pack(flags, 0))
    assert error == 0
    return int(abi.OPEN_OUT.unpack(answer)[0])


def test_what_another_spelling_stands_for_is_known_while_the_kernel_knows_the_spelling(changing: Kernel) -> None:
    error, answer = changing.ask(Opcode.CREATE, body=abi.CREATE_IN.pack(os.O_RDWR, 0o777, 0, 0) + b"b\0")
    assert error == 0
    stored = abi.ENTRY_HEAD.unpack_from(answer)[0]
    alias = changing.look_up(b"B")
    _opened(changing, alias)
    # A rename from `B` to `b`: to the kernel, the one takes the place of the other, which it forgets.
    assert changing.ask(Opcode.RENAME, body=abi.RENAME_IN.pack(abi.ROOT) + b"B\0b\0")[0] == 0
    changing.forget(stored)
    error, answer = changing.ask(Opcode.GETATTR, alias, bytes(16))
    assert error == 0
    # All is given back.
    inode = abi.ATTR.unpack_from(answer, abi.ATTR_HEAD.size)[0]
    assert changing.look_up(b"b") == stored
    assert changing.operations.nodes.inode(stored) == inode
    changing.forget(stored)
    changing.forget(alias)
    assert changing.ask(Opcode.GETATTR, alias, bytes(16))[0] == errno.ESTALE
    assert len(changing.operations.nodes) == 0


def test_of_what_the_kernel_was_not_told_little_is_kept(changing: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "_UNTOLD", 10)
    assert changing.ask(Opcode.MKDIR, body=abi.MKDIR_IN.pack(0o777, 0) + b"d\0")[0] == 0
    alias = changing.look_up(b"D")
    made = []
    for count in range(50):
        error, answer = changing.ask(Opcode.MKNOD, alias, abi.MKNOD_IN.pack(0o100777, 0, 0, 0) + b"%d\0" % count)
        assert error == 0
        made.append(abi.ENTRY_HEAD.unpack_from(answer)[0])
    assert len(changing.operations.nodes) == 52
    for number in made:
        changing.forget(number)
    # Below another spelling, a listing tells the kernel of nothing.
    error, answer = changing.ask(Opcode.OPENDIR, alias, abi.OPEN_IN.pack(0, 0))
    read = abi.READ_IN.pack(abi.OPEN_OUT.unpack(answer)[0], 0, 1 << 16, 0, 0, 0, 0)
    inodes = [changing.ask(Opcode.READDIRPLUS, alias, read)[1] for _ in range(2)]
    assert inodes[0] == inodes[1]
    assert len(changing.operations.nodes) == 12
    assert changing.look_up(b"7", alias) not in made


def test_the_number_of_what_became_another_kind_is_not_given_to_that(changing: Kernel) -> None:
    file = changing.look_up(b"Name")
    handle = _opened(changing, file)
    reparse = LinkTarget.from_path("nowhere", is_mount_point=False).encode()
    body = abi.SETXATTR_IN.pack(len(reparse), 0) + b"system.ntfs_reparse_data\0" + reparse
    assert changing.ask(Opcode.SETXATTR, file, body)[0] == 0
    numbers = set()
    for _ in range(3):
        # Each time, the kernel has forgotten the link, but not the file that it was, which is open.
        link = changing.look_up(b"Name")
        numbers.add(link)
        changing.forget(link)
    assert file not in numbers
    assert changing.ask(Opcode.GETATTR, file, bytes(16))[0] == 0
    read = abi.READ_IN.pack(handle, 0, 100, 0, 0, 0, 0)
    assert changing.ask(Opcode.READ, file, read) == (0, b"data")


def test_what_goes_wrong_in_the_server_is_told_a_few_times(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """`attack.md` F35: the error stream may be a file."""

    def fail(node: int, body: memoryview) -> bytes:
        raise ZeroDivisionError("a mistake")

    monkeypatch.setitem(kernel.operations.answers, int(Opcode.STATFS), fail)
    kernel.init()
    for _ in range(50):
        assert kernel.ask(Opcode.STATFS) == (errno.EIO, b"")
    assert 1 <= capfd.readouterr().err.count("ZeroDivisionError: a mistake") <= 10


def test_messages_of_any_bytes_get_an_answer(kernel: Kernel, capfd: pytest.CaptureFixture[str]) -> None:
    kernel.init()
    quiet = {Opcode.FORGET, Opcode.BATCH_FORGET, Opcode.INTERRUPT, Opcode.INIT}
    for opcode in sorted(set(Opcode) - quiet):
        for body in (b"", b"\0", b"\xff" * 7, struct.pack("=8Q", *range(8)), os.urandom(100) + b"\0"):
            for node in (0, 1, 5, (1 << 62) + 5, (1 << 64) - 1):
                error, _ = kernel.ask(opcode, node, body)
                assert 0 <= error < 512
    # None of them is a mistake of the server's.
    assert "Traceback" not in capfd.readouterr().err


def test_what_is_not_open_is_told_so(kernel: Kernel, capfd: pytest.CaptureFixture[str]) -> None:
    kernel.init()
    read = abi.READ_IN.pack(77, 0, 100, 0, 0, 0, 0)
    handle = abi.HANDLE_IN.pack(77) + bytes(24)
    for opcode in (Opcode.READ, Opcode.READDIR, Opcode.READDIRPLUS):
        assert kernel.ask(opcode, body=read) == (errno.EBADF, b"")
    for opcode in (Opcode.FLUSH, Opcode.FSYNC, Opcode.RELEASE):
        assert kernel.ask(opcode, body=handle) == (errno.EBADF, b"")
    assert kernel.ask(Opcode.WRITE, body=abi.WRITE_IN.pack(77, 0, 1, 0, 0, 0, 0) + b"x") == (errno.EBADF, b"")
    assert "Traceback" not in capfd.readouterr().err


def test_a_value_that_is_cut_off_is_refused(changing: Kernel) -> None:
    file = changing.look_up(b"Name")
    body = abi.SETXATTR_IN.pack(10, 0) + b"user.stream\0" + b"cut off"
    assert changing.ask(Opcode.SETXATTR, file, body) == (errno.EINVAL, b"")
    room = abi.GETXATTR_IN.pack(100, 0) + b"user.stream\0"
    assert changing.ask(Opcode.GETXATTR, file, room) == (errno.ENODATA, b"")


def test_an_offset_that_no_file_has_is_refused(changing: Kernel, capfd: pytest.CaptureFixture[str]) -> None:
    file = changing.look_up(b"Name")
    handle = _opened(changing, file)
    for offset in (1 << 63, (1 << 64) - 1):
        assert changing.ask(Opcode.READ, file, abi.READ_IN.pack(handle, offset, 1, 0, 0, 0, 0))[0] == errno.EINVAL
        write = abi.WRITE_IN.pack(handle, offset, 1, 0, 0, 0, 0) + b"x"
        assert changing.ask(Opcode.WRITE, file, write)[0] == errno.EINVAL
    assert "Traceback" not in capfd.readouterr().err


def test_nothing_is_made_below_a_directory_that_became_a_link(changing: Kernel) -> None:
    """A layer with an entry below a junction is none that could be exported."""
    assert changing.ask(Opcode.MKDIR, body=abi.MKDIR_IN.pack(0o777, 0) + b"d\0")[0] == 0
    directory = changing.look_up(b"d")
    reparse = LinkTarget.from_path("C:\\x", is_mount_point=True).encode()
    body = abi.SETXATTR_IN.pack(len(reparse), 0) + b"system.ntfs_reparse_data\0" + reparse
    assert changing.ask(Opcode.SETXATTR, directory, body)[0] == 0
    for node in (directory, changing.look_up(b"d")):
        made = changing.ask(Opcode.MKNOD, node, abi.MKNOD_IN.pack(0o100777, 0, 0, 0) + b"n\0")[0]
        assert made in (errno.ENOTDIR, errno.ESTALE)


_BOTH = InitFlag.NO_OPEN_SUPPORT | InitFlag.NO_OPENDIR_SUPPORT


def _listed(kernel: Kernel, node: int, handle: int = 0) -> list[bytes]:
    """The names of a directory, read in pieces."""
    names: list[bytes] = []
    offset = 0
    while True:
        error, answer = kernel.ask(Opcode.READDIR, node, abi.READ_IN.pack(handle, offset, 64, 0, 0, 0, 0))
        assert error == 0
        if not answer:
            return names
        at = 0
        while at < len(answer):
            _, offset, length, _ = abi.DIRENT_HEAD.unpack_from(answer, at)
            at += abi.DIRENT_HEAD.size
            names.append(answer[at : at + length])
            at += length + -length % 8


def test_of_layers_the_kernel_need_not_open_anything(kernel: Kernel) -> None:
    kernel.init(flags=_BOTH)
    directory = kernel.look_up(b"d")
    file = kernel.look_up(b"Name", directory)
    for opcode, node in ((Opcode.OPEN, file), (Opcode.OPENDIR, directory), (Opcode.FLUSH, file)):
        assert kernel.ask(opcode, node, bytes(24)) == (errno.ENOSYS, b"")
    assert kernel.ask(Opcode.READ, file, abi.READ_IN.pack(0, 1, 100, 0, 0, 0, 0)) == (0, b"ata")
    assert _listed(kernel, directory) == [b".", b"..", b"Name"]
    alias = kernel.look_up(b"NAME", directory)
    assert kernel.ask(Opcode.READ, alias, abi.READ_IN.pack(0, 0, 100, 0, 0, 0, 0)) == (0, b"data")


def test_of_layers_the_kernel_remembers_which_names_are_missing(kernel: Kernel) -> None:
    kernel.init(flags=_BOTH)
    error, answer = kernel.ask(Opcode.LOOKUP, body=b"missing\0")
    assert error == 0
    node, _, names, _, _, _ = abi.ENTRY_HEAD.unpack_from(answer)
    assert (node, names) == (0, 1_000_000)
    assert kernel.ask(Opcode.LOOKUP, kernel.look_up(b"D"), b"missing\0")[0] == errno.ENOENT
    assert kernel.ask(Opcode.LOOKUP, body=b"x" * 256 + b"\0")[0] == errno.ENAMETOOLONG
    assert kernel.ask(Opcode.LOOKUP, 12345 << 40 | 1, b"missing\0")[0] == errno.ESTALE


@pytest.mark.parametrize("offered", [0, InitFlag.NO_OPEN_SUPPORT, InitFlag.NO_OPENDIR_SUPPORT])
def test_a_kernel_that_must_open_gets_handles(kernel: Kernel, offered: int) -> None:
    kernel.init(flags=offered)
    directory = kernel.look_up(b"d")
    file = kernel.look_up(b"Name", directory)
    handle = _opened(kernel, file, os.O_RDONLY)
    assert kernel.ask(Opcode.READ, file, abi.READ_IN.pack(handle, 0, 100, 0, 0, 0, 0)) == (0, b"data")
    assert kernel.ask(Opcode.READ, file, abi.READ_IN.pack(0, 0, 100, 0, 0, 0, 0))[0] == errno.EBADF
    error, answer = kernel.ask(Opcode.OPENDIR, directory, abi.OPEN_IN.pack(0, 0))
    assert error == 0
    assert _listed(kernel, directory, abi.OPEN_OUT.unpack(answer)[0]) == [b".", b"..", b"Name"]
    assert kernel.ask(Opcode.LOOKUP, body=b"missing\0")[0] == errno.ENOENT


def test_a_scratch_is_opened_whatever_the_kernel_offers(changing: Kernel) -> None:
    changing.init(flags=_BOTH)
    _opened(changing, changing.look_up(b"Name"))
    assert changing.ask(Opcode.LOOKUP, body=b"missing\0")[0] == errno.ENOENT


def test_what_is_only_written_does_not_pass_through_a_cache_that_the_kernel_would_keep(changing: Kernel) -> None:
    changing.init(flags=InitFlag.INIT_EXT | InitFlag.DIRECT_IO_ALLOW_MMAP)
    file, alias = changing.look_up(b"Name"), changing.look_up(b"NAME")
    cached, direct = OpenFlag.KEEP_CACHE, OpenFlag.DIRECT_IO
    for access, treated in (
        (os.O_RDONLY, cached | OpenFlag.NO_FLUSH),
        (os.O_RDWR, cached),
        (os.O_WRONLY, cached | direct),
    ):
        assert _treated(changing, file, access) == treated
    assert _treated(changing, alias, os.O_WRONLY) == direct


def test_a_kernel_that_would_keep_old_data_writes_through_its_cache(changing: Kernel) -> None:
    changing.init(flags=InitFlag.INIT_EXT)
    assert _treated(changing, changing.look_up(b"Name"), os.O_WRONLY) == OpenFlag.KEEP_CACHE


def test_who_else_has_a_file_open_reads_what_is_written_directly(changing: Kernel) -> None:
    changing.init(flags=InitFlag.INIT_EXT | InitFlag.DIRECT_IO_ALLOW_MMAP)
    file = changing.look_up(b"Name")
    writer = _opened(changing, file, os.O_WRONLY)
    write = abi.WRITE_IN.pack(writer, 0, 3, 0, 0, os.O_WRONLY, 0) + b"new"
    changing.notices.clear()
    for _ in range(2):
        assert changing.ask(Opcode.WRITE, file, write)[0] == 0
        # Closing a copy of the descriptor: from here on, the server keeps the file open itself.
        assert changing.ask(Opcode.FLUSH, file, abi.HANDLE_IN.pack(writer) + bytes(16)) == (0, b"")
    assert changing.notices == []
    _opened(changing, file, os.O_RDONLY)
    assert changing.ask(Opcode.WRITE, file, write)[0] == 0
    assert changing.notices == [(-Notice.INVAL_INODE, file)]


def test_what_a_program_has_read_and_closed_while_another_writes_directly_is_dropped(changing: Kernel) -> None:
    changing.init(flags=InitFlag.INIT_EXT | InitFlag.DIRECT_IO_ALLOW_MMAP)
    file = changing.look_up(b"Name")
    writer = _opened(changing, file, os.O_WRONLY)
    writes = [abi.WRITE_IN.pack(writer, at, 2, 0, 0, os.O_WRONLY, 0) + b"ne" for at in (0, 2)]
    assert changing.ask(Opcode.WRITE, file, writes[0])[0] == 0
    changing.notices.clear()
    # Between the requests of one call.
    reader = _opened(changing, file, os.O_RDONLY)
    read = abi.READ_IN.pack(reader, 0, 100, 0, 0, 0, 0)
    assert changing.ask(Opcode.READ, file, read) == (0, b"neta")
    assert changing.ask(Opcode.RELEASE, file, abi.HANDLE_IN.pack(reader) + bytes(16))[0] == 0
    assert changing.ask(Opcode.WRITE, file, writes[1])[0] == 0
    assert changing.notices == [(-Notice.INVAL_INODE, file)]
    # The kernel has nothing of it any more.
    assert changing.ask(Opcode.WRITE, file, writes[1])[0] == 0
    assert changing.notices == [(-Notice.INVAL_INODE, file)]


@pytest.mark.parametrize("way", ["write", "open", "truncate", "truncate by handle"])
def test_an_append_goes_to_the_end_that_another_spelling_made(changing: Kernel, way: str) -> None:
    changing.init(flags=InitFlag.INIT_EXT | InitFlag.DIRECT_IO_ALLOW_MMAP)
    file, alias = changing.look_up(b"Name"), changing.look_up(b"NAME")
    flags = os.O_WRONLY | os.O_APPEND
    appender = _opened(changing, file, flags)
    if way == "write":
        other = _opened(changing, alias, os.O_WRONLY)
        assert changing.ask(Opcode.WRITE, alias, abi.WRITE_IN.pack(other, 4, 3, 0, 0, os.O_WRONLY, 0) + b"new")[0] == 0
        expected = b"datanew"
    elif way == "open":
        _opened(changing, alias, os.O_WRONLY | os.O_TRUNC)
        expected = b""
    else:
        handle, valid = 0, SetAttr.SIZE
        if way == "truncate by handle":
            handle, valid = _opened(changing, alias), SetAttr.SIZE | SetAttr.FH
        fields = (valid, 0, handle, 1, *(0,) * 12)
        assert changing.ask(Opcode.SETATTR, alias, abi.SETATTR_IN.pack(*fields))[0] == 0
        expected = b"d"
    changing.notices.clear()
    # The kernel takes the size that it knew for the end.
    for at, piece in ((4, b"one"), (7, b"two")):
        assert changing.ask(Opcode.WRITE, file, abi.WRITE_IN.pack(appender, at, 3, 0, 0, flags, 0) + piece)[0] == 0
        assert changing.notices.pop() == (-Notice.INVAL_INODE, file)
    reader = _opened(changing, file, os.O_RDONLY)
    read = abi.READ_IN.pack(reader, 0, 100, 0, 0, 0, 0)
    assert changing.ask(Opcode.READ, file, read) == (0, expected + b"onetwo")


@pytest.mark.parametrize("is_open", [False, True])
def test_no_number_leads_to_a_file_that_is_closed(changing: Kernel, is_open: bool) -> None:
    error, answer = changing.ask(Opcode.CREATE, body=abi.CREATE_IN.pack(os.O_RDWR, 0o777, 0, 0) + b"b\0")
    assert error == 0
    file = abi.ENTRY_HEAD.unpack_from(answer)[0]
    (handle, _, _) = abi.OPEN_OUT.unpack_from(answer, len(answer) - abi.OPEN_OUT.size)

    def close() -> None:
        write = abi.WRITE_IN.pack(handle, 0, 4, 0, 0, os.O_RDWR, 0) + b"mine"
        assert changing.ask(Opcode.WRITE, file, write)[0] == 0
        assert changing.ask(Opcode.FLUSH, file, abi.HANDLE_IN.pack(handle) + bytes(16)) == (0, b"")
        assert changing.ask(Opcode.RELEASE, file, abi.HANDLE_IN.pack(handle) + bytes(16)) == (0, b"")

    if not is_open:
        close()
    reparse = LinkTarget.from_path("nowhere", is_mount_point=False).encode()
    body = abi.SETXATTR_IN.pack(len(reparse), 0) + b"system.ntfs_reparse_data\0" + reparse
    assert changing.ask(Opcode.SETXATTR, file, body)[0] == 0
    if is_open:
        close()
    # Recording what was written closes the file, and the host gives its descriptor to the next one.
    changing.operations.unrecorded.record()
    other = changing.look_up(b"Name")
    read = abi.READ_IN.pack(_opened(changing, other), 0, 100, 0, 0, 0, 0)
    assert changing.ask(Opcode.READ, other, read) == (0, b"data")
    # A program that has a descriptor of the file, which is open for nothing (O_PATH), may open it again.
    assert changing.ask(Opcode.OPEN, file, abi.OPEN_IN.pack(os.O_RDWR, 0))[0] == errno.ESTALE


def test_of_a_write_that_the_host_takes_in_part_the_program_is_told_how_much(
    changing: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = changing.look_up(b"Name")
    handle = _opened(changing, file)

    def take(fd: int, data: bytes | memoryview, offset: int, room: int = 6) -> int:
        if offset >= room:
            raise OSError(errno.ENOSPC, "full")
        return os.pwrite(fd, data[: room - offset], offset)

    monkeypatch.setattr("wclayer.host.system.write_at", take)

    def write(offset: int) -> tuple[int, bytes]:
        request = abi.WRITE_IN.pack(handle, offset, 4, 0, 0, os.O_RDWR, 0) + b"more"
        return changing.ask(Opcode.WRITE, file, request)

    assert write(4) == (0, abi.WRITE_OUT.pack(2, 0))
    assert write(6) == (errno.ENOSPC, b"")
    error, answer = changing.ask(Opcode.GETATTR, file, bytes(16))
    assert error == 0
    assert abi.ATTR.unpack_from(answer, abi.ATTR_HEAD.size)[1] == 6


@pytest.mark.parametrize("way", ["open", "create"])
def test_what_cannot_be_opened_is_not_kept_open(changing: Kernel, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    def fail(*arguments: object) -> None:
        raise DiskFullError("layer.db", "full")

    file = changing.look_up(b"Name")
    with monkeypatch.context() as patch:
        if way == "open":
            patch.setattr(OpenFile, "truncate", fail)
            answer = changing.ask(Opcode.OPEN, file, abi.OPEN_IN.pack(os.O_WRONLY | os.O_TRUNC, 0))
        else:
            patch.setattr(Volume, "set_attributes", fail)
            answer = changing.ask(Opcode.CREATE, body=abi.CREATE_IN.pack(os.O_RDWR, 0o444, 0, 0) + b"new\0")
    assert answer == (errno.ENOSPC, b"")
    assert not changing.operations.volume.has_open_files


def test_a_second_signal_does_not_interrupt_the_end_of_a_mount(view: LayerView) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        connection = Connection(theirs.fileno(), Operations(view.volume, "/mount"), "/mount")
        with connection._signals():
            # While a request is answered, the signal has to wait.
            signal.raise_signal(signal.SIGTERM)
            assert connection._take() is None
            signal.raise_signal(signal.SIGTERM)


def test_after_the_end_of_a_mount_nothing_is_sent_on_the_number_of_its_descriptor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent: list[session.Message] = []
    is_begun, goes_on = threading.Event(), threading.Event()

    def write(device: int, message: session.Message) -> None:
        sent.append(message)
        is_begun.set()
        goes_on.wait(60)

    monkeypatch.setattr(session, "_write", write)
    monkeypatch.setattr(session, "_PATIENCE", 0.01)
    sender = session._Sender(-1)
    sender.send([(b"first",), (b"second",)])
    sender.send([(b"third",)])
    assert is_begun.wait(60)
    # The kernel takes the first message only after the server has waited long enough, and has closed the device.
    sender.stop()
    goes_on.set()
    assert sender._thread is not None
    sender._thread.join(60)
    assert not sender._thread.is_alive()
    assert sent == [(b"first",)]


def _treated(kernel: Kernel, file: int, access: int) -> int:
    """How the kernel is told to treat a file that it opens."""
    error, answer = kernel.ask(Opcode.OPEN, file, abi.OPEN_IN.pack(access, 0))
    assert error == 0
    return int(abi.OPEN_OUT.unpack(answer)[1])


def test_few_files_stay_open_without_handles(tmp_path: Path) -> None:
    with DirectoryLayerWriter(tmp_path / "base") as writer:
        put_directories(writer, "Files")
        for number in range(100):
            put_file(writer, f"Files/{number}", b"%d" % number)
    with LayerView([tmp_path / "base"]) as view:
        kernel = Kernel(view)
        kernel.init(flags=_BOTH)
        files = [kernel.look_up(b"%d" % number) for number in range(100)]
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(2):
            for number, file in enumerate(files):
                read = abi.READ_IN.pack(0, 0, 100, 0, 0, 0, 0)
                assert kernel.ask(Opcode.READ, file, read) == (0, b"%d" % number)
        assert len(os.listdir("/proc/self/fd")) - before <= 70
        kernel.close()


def test_one_open_directory_at_a_time_uses_the_cache_of_the_kernel(kernel: Kernel) -> None:
    """The kernel looks up the offsets of all listings of a directory in one cache."""

    def opens() -> tuple[int, bool]:
        error, answer = kernel.ask(Opcode.OPENDIR, directory, abi.OPEN_IN.pack(0, 0))
        assert error == 0
        handle, flags, _ = abi.OPEN_OUT.unpack(answer)
        return handle, bool(flags & OpenFlag.CACHE_DIR)

    def lists(handle: int, offset: int) -> bytes:
        error, answer = kernel.ask(Opcode.READDIR, directory, abi.READ_IN.pack(handle, offset, 4096, 0, 0, 0, 0))
        assert error == 0
        return answer

    def closes(handle: int) -> None:
        assert kernel.ask(Opcode.RELEASEDIR, directory, abi.HANDLE_IN.pack(handle) + bytes(16)) == (0, b"")

    kernel.init()
    directory = kernel.look_up(b"d")
    first, caches = opens()
    assert caches
    second, caches = opens()
    assert not caches
    assert lists(first, 0) == lists(second, 0) != b""
    closes(second)
    third, caches = opens()
    assert not caches
    assert lists(third, 1) == lists(first, 1) != b""
    closes(first)
    fourth, caches = opens()
    assert caches
    # It begins in the midst, as when the kernel has dropped the rest of its cache.
    assert lists(fourth, 1) == lists(third, 1)
    # The first listing did not come to its end: the kernel may have put this one behind it, and drops both.
    lists(fourth, 0)
    assert kernel.notices == []
    assert lists(fourth, 3) == b""
    assert kernel.notices == [(-Notice.INVAL_INODE, directory)]
    lists(fourth, 0)
    assert lists(fourth, 3) == b""
    assert len(kernel.notices) == 1
    closes(fourth)
    closes(third)
