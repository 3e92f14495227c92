"""A view as a FUSE file system: the operations behind the kernel's requests, and the mapping of Windows to POSIX.

The kernel caches names, attributes and contents for as long as the mount exists. This is safe, because all changes of
the scratch go through the kernel, and it knows each file by one number (`Nodes`). Only if an entry is changed under
a spelling other than the stored one, the kernel must be told to drop what it has cached under the stored one.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable
from typing import NamedTuple

from wclayer.errors import LayerError
from wclayer.layers.directory.database import EntryRow, from_column
from wclayer.view.fuse import abi
from wclayer.view.fuse.abi import Opcode, OpenFlag, SetAttr
from wclayer.view.fuse.nodes import Nodes
from wclayer.view.fuse.posix_link import link_text
from wclayer.view.fuse.unrecorded import Unrecorded
from wclayer.view.fuse.xattr import get_xattr, list_xattrs, remove_xattr, set_xattr
from wclayer.view.merged import Node
from wclayer.view.open_files import FileRange, OpenFile
from wclayer.view.resolve import Place, find_child
from wclayer.view.volume import Volume
from wclayer.win32.attributes import DIRECTORY, FileAttributes
from wclayer.win32.filetime import UNIX_EPOCH, from_unix_ns
from wclayer.win32.names import MAX_COMPONENT_UNITS, encode_name, illegal_reason, utf16_length
from wclayer.win32.reparse import LinkTarget, is_name_surrogate

_READONLY = int(FileAttributes.READONLY)
_REMEMBERED = 1_000_000
"""Seconds for which the kernel caches names and attributes: longer than a mount exists."""
_BLOCK = 4096
_MAX_READ = 1 << 20
_MAX_OFFSET = (1 << 63) - 1
"""The largest file offset that the system calls of the host accept."""
_WRITABLE = os.O_WRONLY | os.O_RDWR
_CAPABILITY = "security.capability"
_MODE_DIRECTORY = stat.S_IFDIR | 0o777
_MODE_FILE = stat.S_IFREG | 0o777
_MODE_LINK = stat.S_IFLNK | 0o777
_NO_WRITE = 0o222
_UNCACHED, _CACHED, _NOT_WRITTEN = int(OpenFlag.DIRECT_IO), int(OpenFlag.KEEP_CACHE), int(OpenFlag.NO_FLUSH)
_CACHED_LIST = int(OpenFlag.CACHE_DIR | OpenFlag.KEEP_CACHE)
_FED = 1 << 17
"""The maximal number of directories whose listings the kernel may have cached, in a mount with a scratch."""
_KEPT_OPEN = 64
"""The maximal number of files that are kept open without a request of the kernel to open them."""
_NO_ENTRY = abi.ENTRY_HEAD.pack(0, 0, _REMEMBERED, 0, 0, 0) + bytes(abi.ATTR.size)
"""The `fuse_entry_out` that says that there is no such name, and that the kernel may cache this."""
_DOTS = (b".", b"..")
_ENTRY_SIZE = abi.ENTRY_HEAD.size + abi.ATTR.size
_ATTRIBUTES = slice(abi.ENTRY_HEAD.size, _ENTRY_SIZE)
_TICKS = 10_000_000
"""The number of FILETIME's units of 100 ns in a second."""
_UNKNOWN = bytes(_ENTRY_SIZE)
"""Empty attributes for an entry in a listing; the kernel then requests the real ones."""


class Shown(NamedTuple):
    """An entry in the kernel's terms: the row it is made from, its number and mode, and its `fuse_direntplus` in two
    parts, the one before and the one after the offset, which is another one in each listing."""

    row: EntryRow
    number: int
    mode: int
    head: bytes
    tail: bytes
    """Empty if the kernel cannot take the name: it would refuse the whole listing."""

    @property
    def entry(self) -> bytes:
        """The `fuse_entry_out` of the entry."""
        return self.head[:_ENTRY_SIZE]

    @property
    def attributes(self) -> bytes:
        """The `fuse_attr` of the entry."""
        return self.head[_ATTRIBUTES]


_make_shown = tuple.__new__
"""Makes a `Shown` in half of the time: a listing makes one for each entry."""


Answer = bytes | memoryview | FileRange
"""The body of an answer. Of one to READ, it may be where the host has the data, for a caller who needs no copy."""


class Handle(NamedTuple):
    """An open file: its contents, the number of the entry, whether it was opened by an alias, and whether the kernel
    passes on writes without keeping their data."""

    file: OpenFile
    number: int
    is_alias: bool
    is_direct: bool


class Listing:
    """An open directory: its number, and its entries at the time when reading began at offset 0.

    The offset of an entry is its position in these entries, so it means something in this listing only. But the kernel
    has one cache for all listings of a directory, and looks up their offsets in it. Therefore only one open directory
    at a time may use this cache (`Operations` chooses it), and it has the cached entries from the beginning: if the
    kernel drops its pages in the midst of a listing, it asks for the rest here.

    Args:
        number: the number of the directory.
        directory: its entry. It stays after the directory was removed.
        nodes: the entries that the kernel may have cached; None if it has none.
    """

    __slots__ = ("directory", "is_mixed", "nodes", "number")

    def __init__(self, number: int, directory: Node, nodes: list[Node] | None) -> None:
        self.number = number
        self.directory = directory
        self.nodes = nodes
        self.is_mixed = False
        """Whether the kernel may have cached entries of more than one moment. It must drop them at the end."""


class Operations:
    """The operations of a FUSE file system on a `Volume`.

    `answers` maps each opcode to a method. The method takes the node id and the body of a request, and returns the body
    of the answer. It raises `OSError` for a POSIX error.

    Args:
        mount_point: the absolute path of the mount, for the targets of new links.
    """

    def __init__(self, volume: Volume, mount_point: str) -> None:
        self.volume = volume
        self._tree = volume.tree
        self._mount_point = mount_point
        self._uid = self._gid = 0
        if sys.platform != "win32":
            self._uid, self._gid = os.getuid(), os.getgid()
        self.nodes = Nodes(volume)
        self._handles: dict[int, Handle] = {}
        self._listings: dict[int, Listing] = {}
        # By the number of the directory: the handle of the open directory that uses the kernel's cache.
        self._feeding: dict[int, int] = {}
        # By number: directories whose entries the kernel was given to cache, and whether it was given all of them.
        # Nothing is dropped from here, because the kernel does not say what it still has.
        self._fed: dict[int, bool] = {}
        # By number: open files that no name leads to under this number, because the last name was removed, or because
        # the entry was of another kind in the meantime.
        self._nameless: dict[int, OpenFile] = {}
        # By number: files that were read, if the kernel does not say when it opens and closes a file.
        self._kept: dict[int, OpenFile] = {}
        self._last_handle = 0
        self._writes_directly = False
        # By file that is written to directly: whether the kernel may have cached contents since it was last told to
        # drop them. Older kernels drop them of themselves only when the call of a program begins. A large write has
        # many requests, and between two of them another program may open, read and close the file.
        self._may_be_cached: dict[OpenFile, bool] = {}
        # Open files whose size was changed through an alias. The kernel appends at the size that it knows of a number,
        # and does not ask for it again, also if it was told to forget the attributes.
        self._resized_by_alias: set[OpenFile] = set()
        self.range_size = 0
        """From how many bytes on the answer to READ is a range of a file, if not 0."""
        self.unrecorded = Unrecorded(volume)
        self._data = memoryview(bytearray(_MAX_READ))
        self.stale_numbers: list[int] = []
        """The numbers of entries that were changed through an alias. The kernel must drop their attributes and contents
        before the answer is sent."""
        self.stale_names: list[tuple[int, bytes]] = []
        """The names, with the numbers of their directories, that the kernel must drop. This is sent after the answer,
        because until then the kernel holds the lock of the directory; or before, if `is_other_kind`."""
        self.is_other_kind = False
        """Whether an entry changed its kind. The kernel then holds no lock of a directory of its names."""
        self.answers: dict[int, Callable[[int, memoryview], Answer]] = {
            Opcode.LOOKUP: self._lookup, Opcode.GETATTR: self._getattr, Opcode.SETATTR: self._setattr,
            Opcode.FORGET: self._forget, Opcode.BATCH_FORGET: self._batch_forget, Opcode.READLINK: self._readlink,
            Opcode.SYMLINK: self._symlink, Opcode.MKNOD: self._mknod, Opcode.MKDIR: self._mkdir,
            Opcode.UNLINK: self._unlink, Opcode.RMDIR: self._rmdir, Opcode.RENAME: self._rename,
            Opcode.RENAME2: self._rename2, Opcode.LINK: self._link, Opcode.OPEN: self._open, Opcode.READ: self._read,
            Opcode.WRITE: self._write, Opcode.STATFS: self._statfs, Opcode.RELEASE: self._release,
            Opcode.FLUSH: self._flush, Opcode.FSYNC: self._fsync, Opcode.CREATE: self._create,
            Opcode.OPENDIR: self._opendir, Opcode.READDIR: self._readdir, Opcode.READDIRPLUS: self._readdirplus,
            Opcode.RELEASEDIR: self._releasedir, Opcode.FSYNCDIR: self._fsyncdir, Opcode.SETXATTR: self._setxattr,
            Opcode.GETXATTR: self._getxattr, Opcode.LISTXATTR: self._listxattr, Opcode.REMOVEXATTR: self._removexattr,
            Opcode.DESTROY: lambda number, body: b"", Opcode.INTERRUPT: lambda number, body: b"",
        }  # fmt: skip

    def do_without_handles(self) -> None:
        """Answers without open files and directories from now on: the kernel asks for none after OPEN, OPENDIR and
        FLUSH were answered with ENOSYS. The view must be read-only.

        Then nothing changes, so a name that does not exist is cached, too. In a scratch, such a name could appear under
        another spelling.
        """
        for opcode in (Opcode.OPEN, Opcode.OPENDIR, Opcode.FLUSH):
            del self.answers[opcode]
        self.answers[Opcode.LOOKUP] = self._lookup_or_none
        self.answers[Opcode.READ] = self._read_unopened
        self.answers[Opcode.READDIR] = self._readdir_unopened
        self.answers[Opcode.READDIRPLUS] = self._readdirplus_unopened

    def write_directly(self) -> None:
        """From now on, data that are written to a file that is open for writing only come from the memory of the
        program, not through the kernel's cache. The kernel must drop what it has cached of them (Linux 6.6)."""
        self._writes_directly = True

    # Finding.

    def _directory(self, number: int) -> Node:
        node = self.nodes.node(number)
        # An entry that is shown as a link has no children, although the kernel may still have it open as a directory.
        if not node.is_directory or _is_link(node.row):
            raise OSError(errno.ENOTDIR, "no directory", node.path)
        return node

    def _child(self, directory: Node, name: bytes) -> Node:
        """Returns the entry of a directory under a name.

        Raises:
            OSError: ENOENT, there is no such entry; ENAMETOOLONG.
        """
        text = _text(name)
        node = None if "\\" in text or ":" in text else find_child(self._tree, directory, text)
        if node is None:
            if utf16_length(text) > MAX_COMPONENT_UNITS:
                raise OSError(errno.ENAMETOOLONG, "name too long", text)
            raise OSError(errno.ENOENT, "no such name", text)
        return node

    def _lookup(self, number: int, body: memoryview) -> bytes:
        name = bytes(body[:-1])
        return self._entry(self._child(self._directory(number), name), number, name)

    def _lookup_or_none(self, number: int, body: memoryview) -> bytes:
        try:
            return self._lookup(number, body)
        except FileNotFoundError as error:
            # A `LayerError` is no answer about the name. Below an alias, the kernel caches nothing.
            if isinstance(error, LayerError) or self.nodes.is_alias(number):
                raise
            return _NO_ENTRY

    def _entry(self, node: Node, parent: int, name: bytes) -> bytes:
        """Returns the `fuse_entry_out` of an entry, which the kernel knows from now on by a name in a directory."""
        shown = self._shown(node)
        if self.nodes.is_stored_spelling(node, parent, name):
            self.nodes.told(shown.number)
            return shown.entry
        if encode_name(node.name) == name and not stat.S_ISDIR(shown.mode):
            # A file below an alias: the kernel must not cache the name, but the file is the same.
            self.nodes.told(shown.number)
            return abi.ENTRY_HEAD.pack(shown.number, 0, 0, 0, 0, 0) + shown.attributes
        alias = self.nodes.alias(parent, name, shown.number)
        self.nodes.told(alias)
        return abi.ENTRY_HEAD.pack(alias, 0, 0, 0, 0, 0) + shown.attributes

    def _forget(self, number: int, body: memoryview) -> bytes:
        self.nodes.forget(number, abi.FORGET_IN.unpack_from(body)[0])
        return b""

    def _batch_forget(self, number: int, body: memoryview) -> bytes:
        count, _ = abi.BATCH_FORGET_IN.unpack_from(body)
        at = abi.BATCH_FORGET_IN.size
        # The request has no answer, so one with fewer entries than its count cannot be refused.
        count = min(count, (len(body) - at) // abi.FORGET_ONE.size)
        for forgotten, times in abi.FORGET_ONE.iter_unpack(body[at : at + count * abi.FORGET_ONE.size]):
            self.nodes.forget(forgotten, times)
        return b""

    # Attributes.

    def _shown(self, node: Node) -> Shown:
        """Returns an entry in the kernel's terms; the result is cached until the entry may have changed."""
        volume = self.volume
        memo = node.memo
        if not isinstance(memo, Shown) or not self.nodes.is_current(memo.number):
            memo = None
        elif memo.row is node.row and not (volume.has_open_files and volume.open_file(node.file) is not None):
            return memo
        number = self.nodes.number(node) if memo is None else memo.number
        # Only an open file of this mount, or another process, can make the row differ from the recorded one.
        row = volume.current_row(node) if volume.has_open_files or volume.is_shared else node.row
        mode, size, remembered = _MODE_FILE, row.size, _REMEMBERED
        if row.reparse is not None and _is_link(row):
            # The text of a link may change when its directory is moved.
            mode, size, remembered = _MODE_LINK, len(link_text(node)), 0
        elif row.attributes & DIRECTORY:
            mode = _MODE_DIRECTORY
        elif row.attributes & _READONLY:
            mode = _MODE_FILE & ~_NO_WRITE
        head = self._head(number, row, mode, size, self._tree.link_count(node), remembered)
        # A node keeps its name.
        tail = _listed_name(_encoded(node.row.name), mode) if memo is None or memo.mode != mode else memo.tail
        made = node.memo = _make_shown(Shown, (node.row, number, mode, head, tail))
        self.nodes.note(number, node)
        return made

    def _attributes_of_nameless(self, number: int, file: OpenFile) -> bytes:
        row = file.now(file.row)
        mode = _MODE_FILE & ~_NO_WRITE if row.attributes & _READONLY else _MODE_FILE
        # A file whose entry was of another kind in the meantime still has its names.
        node = None if file.is_detached else self.volume.node_of(file.file)
        links = 0 if node is None else self._tree.link_count(node)
        return self._head(number, row, mode, file.size, links, 0)[_ATTRIBUTES]

    def _head(self, number: int, row: EntryRow, mode: int, size: int, links: int, remembered: int) -> bytes:
        """Returns the part of an entry's `fuse_direntplus` before the offset.

        Args:
            remembered: how many seconds the kernel caches the attributes.
        """
        inode = self.nodes.inode(number)
        access, access_ticks = divmod(row.last_access_time - UNIX_EPOCH, _TICKS)
        write, write_ticks = divmod(row.last_write_time - UNIX_EPOCH, _TICKS)
        change, change_ticks = divmod(row.change_time - UNIX_EPOCH, _TICKS)
        return abi.LISTED.pack(
            number, 0, _REMEMBERED, remembered, 0, 0, inode, size, (size + 511) >> 9, access, write, change,
            access_ticks * 100, write_ticks * 100, change_ticks * 100, mode, links, self._uid, self._gid, 0, _BLOCK, 0,
            inode,
        )  # fmt: skip

    def _getattr(self, number: int, body: memoryview) -> bytes:
        real = self.nodes.real(number)
        nameless = self._nameless.get(real)
        if nameless is not None:
            return _attr_out(_REMEMBERED, self._attributes_of_nameless(real, nameless))
        try:
            node = self.nodes.node(number)
        except OSError as error:
            removed = next((open_.directory for open_ in self._listings.values() if open_.number == number), None)
            if error.errno != errno.ESTALE or removed is None:
                raise
            return _attr_out(0, self._head(real, removed.row, _MODE_DIRECTORY, 0, 0, 0)[_ATTRIBUTES])
        shown = self._shown(node)
        is_remembered = not self.nodes.is_alias(number) and not stat.S_ISLNK(shown.mode)
        return _attr_out(_REMEMBERED if is_remembered else 0, shown.attributes)

    def _setattr(self, number: int, body: memoryview) -> bytes:
        (
            valid, _, handle, size, _, access, write, _, access_ns, write_ns, _, mode, _, _, _, _
        ) = abi.SETATTR_IN.unpack_from(body)  # fmt: skip
        real = self.nodes.real(number)
        file = self._handle(handle).file if valid & SetAttr.FH else self._nameless.get(real)
        node = None if real in self._nameless else self.nodes.node(real)
        if valid & SetAttr.SIZE:
            if file is not None:
                file.truncate(size)
                self._note_contents(file, real)
            elif node is not None:
                self.volume.truncate(node, size)
                file = self.volume.open_file(self.nodes.node(real).file)
            self._note_size(file, number)
        if node is not None:
            if valid & SetAttr.MODE:
                self._set_mode(node, mode)
            now = self.volume.now()
            access_time = _time(valid, SetAttr.ATIME, SetAttr.ATIME_NOW, now, access, access_ns)
            write_time = _time(valid, SetAttr.MTIME, SetAttr.MTIME_NOW, now, write, write_ns)
            if access_time is not None or write_time is not None:
                self.volume.set_times(node, access=access_time, write=write_time)
        self.note_change(number)
        return self._getattr(number, body)

    def _set_mode(self, node: Node, mode: int) -> None:
        """Sets the read-only attribute from a mode; Windows has no equivalent of its other bits."""
        if node.is_directory or node.row.reparse is not None:
            return
        attributes = node.row.attributes
        changed = attributes & ~_READONLY if mode & stat.S_IWUSR else attributes | _READONLY
        if changed != attributes:
            self.volume.set_attributes(node, changed)

    def note_change(self, number: int) -> None:
        """Notes a change of an entry: if it was made through an alias, the kernel's cache for its number is stale."""
        if self.nodes.is_alias(number):
            real = self.nodes.real(number)
            self.stale_numbers.append(real)
            listing = self._listings.get(self._feeding.get(real, 0))
            if listing is not None:
                # The kernel may cache an answer of before when it has already dropped the rest.
                listing.is_mixed = True

    def _note_size(self, file: OpenFile | None, number: int) -> None:
        """Notes a change of the size of a file, which may be open, through a number."""
        if file is not None and self.nodes.is_alias(number) and not self._is_only_unrecorded(file):
            self._resized_by_alias.add(file)

    def _note_contents(self, file: OpenFile, number: int) -> None:
        """Notes a change of the contents of an open file through a number.

        The other numbers of the file are stale then; it has several if its entry was of another kind in the meantime.
        """
        if not self._nameless or file.is_detached:
            return
        known = {other for other, nameless in self._nameless.items() if nameless is file}
        node = self.volume.node_of(file.file)
        if node is not None:
            known.add(self.nodes.number(node))
        self.stale_numbers += known - {number}

    def _readlink(self, number: int, body: memoryview) -> bytes:
        node = self.nodes.node(number)
        if not _is_link(node.row):
            raise OSError(errno.EINVAL, "no link", node.path)
        return link_text(node)

    def _statfs(self, number: int, body: memoryview) -> bytes:
        total, used = self.volume.capacity or 0, self.volume.used
        free = max(0, total - used) // _BLOCK
        return abi.STATFS_OUT.pack(total // _BLOCK, free, free, 0, 0, _BLOCK, MAX_COMPONENT_UNITS, _BLOCK)

    # Directories.

    def _opendir(self, number: int, body: memoryview) -> bytes:
        directory = self._directory(number)
        self._last_handle += 1
        # If the names are not in memory, they may have changed since the kernel cached them, and this listing could not
        # go on where the kernel's cache ends.
        known = self._tree.listed(directory)
        is_fed = number in self._fed
        flags = 0
        may_feed = known is not None if is_fed else len(self._fed) < _FED
        if may_feed and number not in self._feeding and not self.nodes.is_alias(number):
            flags = _CACHED_LIST
            self._feeding[number] = self._last_handle
        self._listings[self._last_handle] = Listing(number, directory, known if flags and is_fed else None)
        return abi.OPEN_OUT.pack(self._last_handle, flags, 0)

    def _readdir(self, number: int, body: memoryview) -> bytes:
        return self._list_opened(number, body, plus=False)

    def _readdirplus(self, number: int, body: memoryview) -> bytes:
        return self._list_opened(number, body, plus=True)

    def _readdir_unopened(self, number: int, body: memoryview) -> bytes:
        return self._list(number, self.volume.children(self._directory(number)), body, plus=False)

    def _readdirplus_unopened(self, number: int, body: memoryview) -> bytes:
        return self._list(number, self.volume.children(self._directory(number)), body, plus=True)

    def _list_opened(self, number: int, body: memoryview, *, plus: bool) -> bytes:
        """Returns entries of an open directory, as they were when reading began at offset 0. See `_list`."""
        handle, offset, _, _, _, _, _ = abi.READ_IN.unpack_from(body)
        listing = self._listings.get(handle)
        if listing is None:
            raise _not_open()
        feeds = self._feeding.get(listing.number) == handle
        if offset == 0 or listing.nodes is None:
            listing.nodes = self.volume.children(self._directory(listing.number))
        if offset == 0 and feeds:
            # The kernel continues a listing in its cache that did not come to its end, even if that was another one.
            listing.is_mixed |= not self._fed.get(listing.number, True)
            self._fed[listing.number] = False
        given = self._list(number, listing.nodes, body, plus=plus)
        if feeds and not given:
            self._fed[listing.number] = True
            if listing.is_mixed:
                listing.is_mixed = False
                self.stale_numbers.append(listing.number)
        return given

    def _list(self, directory: int, nodes: list[Node], body: memoryview, *, plus: bool) -> bytes:
        """Returns the entries of a directory from an offset on, as many as the kernel has room for.

        Args:
            directory: the number of the directory.
            nodes: all of its entries.
            plus: the attributes are included, so that the kernel need not request them.
        """
        _, offset, room, _, _, _, _ = abi.READ_IN.unpack_from(body)
        tells = plus and not self.nodes.is_alias(directory)
        unknown = _UNKNOWN if plus else b""
        made: list[bytes] = []
        for index in range(offset, len(nodes) + len(_DOTS)):
            number = 0
            if index < len(_DOTS):
                inode = self.nodes.inode(self.nodes.real(directory))
                head, tail = unknown + abi.DIRENT_INODE.pack(inode), _listed_name(_DOTS[index], stat.S_IFDIR)
            else:
                node = nodes[index - len(_DOTS)]
                shown = self._listed(node)
                if shown is None:
                    continue
                head, tail = shown.head, shown.tail
                # A name that was removed since reading began is listed, but the kernel must not cache that it is there.
                if tells and self._tree.knows(node):
                    number = shown.number
                else:
                    head = unknown + head[_ENTRY_SIZE:]
            room -= len(head) + abi.DIRENT_OFFSET.size + len(tail)
            if room < 0:
                break
            made += (head, abi.DIRENT_OFFSET.pack(index + 1), tail)
            self.nodes.told(number)
        return b"".join(made)

    def _listed(self, node: Node) -> Shown | None:
        """Returns an entry for a listing, or None if the kernel cannot take it: it would refuse the whole listing."""
        try:
            shown = self._shown(node)
        except (LayerError, ValueError):
            return None
        return shown if shown.tail else None

    def _releasedir(self, number: int, body: memoryview) -> bytes:
        handle = _number(body)
        listing = self._listings.pop(handle, None)
        if listing is not None and self._feeding.get(listing.number) == handle:
            del self._feeding[listing.number]
        return b""

    def _fsyncdir(self, number: int, body: memoryview) -> bytes:
        self.volume.sync_names()
        return b""

    # New names.

    def _new_place(self, number: int, name: bytes) -> Place:
        """Returns where the kernel wants a new entry, which may exist already."""
        text = _text(name)
        if utf16_length(text) > MAX_COMPONENT_UNITS:
            raise OSError(errno.ENAMETOOLONG, "name too long", text)
        if reason := illegal_reason(text):
            raise OSError(errno.EINVAL, reason, text)
        directory = self._directory(number)
        return Place(directory, text, self._tree.child(directory, text))

    def _made(self, place: Place, parent: int, name: bytes) -> bytes:
        """Returns the `fuse_entry_out` of an entry that was just created."""
        self.note_change(parent)
        node = self._tree.child(self.nodes.node(parent), place.name)
        assert node is not None
        return self._entry(node, parent, name)

    def _mkdir(self, number: int, body: memoryview) -> bytes:
        (name,) = _names(body, abi.MKDIR_IN.size, 1)
        place = self._new_place(number, name)
        self.volume.mkdir(place)
        return self._made(place, number, name)

    def _mknod(self, number: int, body: memoryview) -> bytes:
        mode, _, _, _ = abi.MKNOD_IN.unpack_from(body)
        (name,) = _names(body, abi.MKNOD_IN.size, 1)
        if not stat.S_ISREG(mode):
            raise OSError(errno.EPERM, "Windows has no such files")
        place = self._new_place(number, name)
        self.volume.create_file(place)
        return self._made(place, number, name)

    def _symlink(self, number: int, body: memoryview) -> bytes:
        name, target = _names(body, 0, 2)
        place = self._new_place(number, name)
        self.volume.create_link(place, self._link_target(_text(target)))
        return self._made(place, number, name)

    def _link_target(self, target: str) -> LinkTarget:
        inside = target.removeprefix(self._mount_point + "/") if target != self._mount_point else ""
        if inside != target:
            target = "/" + inside
        for part in target.split("/"):
            # The target of a link may have a component that is too long.
            if part not in ("", ".", "..") and illegal_reason(part[:MAX_COMPONENT_UNITS]):
                raise OSError(errno.EINVAL, "a name that Windows does not take", target)
        windows = target.replace("/", "\\")
        return LinkTarget.from_path("C:" + windows if target.startswith("/") else windows, is_mount_point=False)

    def _link(self, number: int, body: memoryview) -> bytes:
        (old,) = abi.LINK_IN.unpack_from(body)
        (name,) = _names(body, abi.LINK_IN.size, 1)
        place = self._new_place(number, name)
        self.volume.link(place, self.nodes.node(old))
        self.note_change(old)
        return self._made(place, number, name)

    # Names that go.

    def _unlink(self, number: int, body: memoryview) -> bytes:
        self._remove(number, bytes(body[:-1]), self.volume.unlink)
        return b""

    def _rmdir(self, number: int, body: memoryview) -> bytes:
        self._remove(number, bytes(body[:-1]), self.volume.rmdir)
        return b""

    def _remove(self, number: int, name: bytes, remove: Callable[[Node], None]) -> None:
        node = self._child(self._directory(number), name)
        if _is_link(node.row):
            remove = self.volume.unlink
        leaver = _Leaver(self, node, number, name)
        remove(node)
        leaver.done()

    def _rename(self, number: int, body: memoryview) -> bytes:
        (to,) = abi.RENAME_IN.unpack_from(body)
        return self._do_rename(number, to, *_names(body, abi.RENAME_IN.size, 2), flags=0)

    def _rename2(self, number: int, body: memoryview) -> bytes:
        to, flags, _ = abi.RENAME2_IN.unpack_from(body)
        return self._do_rename(number, to, *_names(body, abi.RENAME2_IN.size, 2), flags=flags)

    def _do_rename(self, number: int, to: int, old: bytes, new: bytes, *, flags: int) -> bytes:
        if flags & ~abi.RENAME_NOREPLACE:
            raise OSError(errno.EINVAL, "no exchange of names")
        node = self._child(self._directory(number), old)
        place = self._new_place(to, new)
        leavers = [_Leaver(self, node, number, old)]
        if place.node is not None and place.node is not node:
            leavers.append(_Leaver(self, place.node, to, new))
        is_itself = place.node is node and stat.S_ISDIR(_kind(node.row)) and (number, old) != (to, new)
        is_stored = self.nodes.is_stored_spelling(node, to, new)
        replace = not flags & abi.RENAME_NOREPLACE
        with self.volume.changing() as upper:
            if replace and len(leavers) > 1 and place.node is not None and _is_other_link(node, place.node):
                upper.remove(place.node, self.volume.now())
            self.volume.rename(node, place, replace=replace)
        for leaver in leavers:
            leaver.done()
        self.note_change(to)
        # The kernel moves its cached name to the new one, but it must not cache a spelling other than the stored one.
        moved = self._tree.child(self.nodes.node(to), place.name)
        if moved is not None and is_itself:
            self.nodes.replaced_by_itself(moved, is_stored=is_stored, parent=to, name=new)
        if moved is not None and not self.nodes.is_stored_spelling(moved, to, new):
            self.stale_names.append((to, new))
        return b""

    def _is_only_unrecorded(self, file: OpenFile) -> bool:
        """Returns whether no program has the file open: it is closed, or will be when its writes are recorded.

        Then its descriptor may be that of another file, so no number may lead to it.
        """
        return file.users <= self.unrecorded.holds(file)

    def left(self, number: int, file: OpenFile | None) -> None:
        """Keeps an open file, whose last name was removed, under its number."""
        if file is not None and file.is_detached:
            self.unrecorded.drop(file)
            if file.users:
                self._nameless[number] = file

    # Extended attributes.

    def _setxattr(self, number: int, body: memoryview) -> bytes:
        size, flags = abi.SETXATTR_IN.unpack_from(body)
        name, _, value = bytes(body[abi.SETXATTR_IN.size :]).partition(b"\0")
        if len(value) < size:
            raise OSError(errno.EINVAL, "a message that ends inside a value")
        node = self.nodes.node(number)
        with _KindWatch(self, number, node):
            set_xattr(self.volume, node, _text(name), value[:size], flags)
        return b""

    def _removexattr(self, number: int, body: memoryview) -> bytes:
        node = self.nodes.node(number)
        with _KindWatch(self, number, node):
            remove_xattr(self.volume, node, _text(bytes(body[:-1])))
        return b""

    def becomes(self, node: Node) -> None:
        """Assigns a new number to an entry that changed its kind: in the kernel, the kind of a number never changes."""
        number = self.nodes.number(node)
        file = self.volume.open_file(node.file)
        if file is not None and not self._is_only_unrecorded(file):
            self._nameless[number] = file
        self.nodes.renumber(node)
        self.is_other_kind = True
        self.stale_numbers.append(number)
        for name in (node, *self._tree.other_names(node)):
            parent = self._tree.lookup(name.path.rpartition("/")[0])
            if parent is not None:
                self.stale_names.append((self.nodes.number(parent), encode_name(name.name)))

    def _getxattr(self, number: int, body: memoryview) -> bytes:
        room, _ = abi.GETXATTR_IN.unpack_from(body)
        name = _text(bytes(body[abi.GETXATTR_IN.size : -1]))
        if name == _CAPABILITY or self.nodes.real(number) in self._nameless:
            raise OSError(errno.ENODATA, "no such attribute", name)
        node = self.nodes.node(number)
        file = self.volume.open_file(node.file)
        if file is not None and file.is_being_written:
            self.volume.end_writing(node)
        return _sized(get_xattr(self.volume, node, name), room)

    def _listxattr(self, number: int, body: memoryview) -> bytes:
        room, _ = abi.GETXATTR_IN.unpack_from(body)
        names = [] if self.nodes.real(number) in self._nameless else list_xattrs(self.volume, self.nodes.node(number))
        return _sized(b"".join(encode_name(name) + b"\0" for name in names), room)

    # Data.

    def _create(self, number: int, body: memoryview) -> bytes:
        flags, mode, _, _ = abi.CREATE_IN.unpack_from(body)
        (name,) = _names(body, abi.CREATE_IN.size, 1)
        place = self._new_place(number, name)
        if place.node is not None:
            if flags & os.O_EXCL:
                raise OSError(errno.EEXIST, "already exists", place.node.path)
            # The entry was created under another spelling since the kernel's lookup.
            raise OSError(errno.ESTALE, "is there by now", place.node.path)
        file = self.volume.create_open(lambda: place)
        try:
            if not mode & stat.S_IWUSR:
                node = self.volume.node_of(file.file)
                assert node is not None
                self._set_mode(node, mode)
            entry = self._made(place, number, name)
        except BaseException:
            file.close()
            raise
        return entry + self._opened(file, abi.ENTRY_HEAD.unpack_from(entry)[0], flags)

    def _open(self, number: int, body: memoryview) -> bytes:
        flags, _ = abi.OPEN_IN.unpack_from(body)
        file = self._nameless.get(self.nodes.real(number))
        if file is None:
            node = self.nodes.node(number)
            if flags & _WRITABLE:
                self.volume.writable_scratch()
            file = self.volume.open_node(node)
        else:
            file.users += 1
        if flags & os.O_TRUNC and file.size:
            try:
                file.truncate(0)
                self.note_change(number)
                self._note_size(file, number)
                self._note_contents(file, self.nodes.real(number))
            except BaseException:
                file.close()
                raise
        return self._opened(file, number, flags)

    def _opened(self, file: OpenFile, number: int, flags: int) -> bytes:
        self._last_handle += 1
        is_alias = self.nodes.is_alias(number)
        is_direct = self._writes_directly and not is_alias and flags & _WRITABLE == os.O_WRONLY
        self._handles[self._last_handle] = Handle(file, self.nodes.real(number), is_alias, is_direct)
        if is_direct:
            self._may_be_cached.setdefault(file, False)
        # What is written directly passes by the cache, but what other programs have read stays in it.
        treated = _CACHED if not is_alias else 0
        if is_alias or is_direct:
            treated |= _UNCACHED
        if not flags & _WRITABLE:
            treated |= _NOT_WRITTEN
        return abi.OPEN_OUT.pack(self._last_handle, treated, 0)

    def _handle(self, number: int) -> Handle:
        """Returns the open file with a handle number.

        Raises:
            OSError: EBADF, no open file has this number.
        """
        handle = self._handles.get(number)
        if handle is None:
            raise _not_open()
        return handle

    def _read(self, number: int, body: memoryview) -> Answer:
        handle, offset, size, _, _, _, _ = abi.READ_IN.unpack_from(body)
        file = self._handle(handle).file
        if file in self._may_be_cached:
            self._may_be_cached[file] = True
        return self._read_file(file, size, offset)

    def _read_file(self, file: OpenFile, size: int, offset: int) -> Answer:
        _check_offset(offset)
        if 0 < self.range_size <= size:
            return file.range(size, offset)
        room = self._data[:size]
        return room[: file.read_into(room, offset)]

    def _read_unopened(self, number: int, body: memoryview) -> Answer:
        _, offset, size, _, _, _, _ = abi.READ_IN.unpack_from(body)
        number = self.nodes.real(number)
        file = self._kept.get(number)
        if file is None:
            if len(self._kept) >= _KEPT_OPEN:
                self._kept.pop(next(iter(self._kept))).close()
            file = self._kept[number] = self.volume.open_node(self.nodes.node(number))
        return self._read_file(file, size, offset)

    def _write(self, number: int, body: memoryview) -> bytes:
        fh, offset, size, kind, _, flags, _ = abi.WRITE_IN.unpack_from(body)
        _check_offset(offset)
        handle = self._handle(fh)
        is_append = flags & os.O_APPEND and not kind & abi.WRITE_CACHE
        if handle.is_alias:
            if is_append:
                # The kernel does not know the size of a file that was opened by an alias.
                offset = handle.file.size
            self.stale_numbers.append(handle.number)
            self._resized_by_alias.add(handle.file)
        elif handle.is_direct and is_append and handle.file in self._resized_by_alias:
            # Only if the kernel does not keep what is written: it would keep it in the wrong place.
            offset = handle.file.size
            self.stale_numbers.append(handle.number)
        elif not handle.is_direct:
            if handle.file in self._may_be_cached:
                self._may_be_cached[handle.file] = True
        elif self._may_be_cached[handle.file] or handle.file.users > 1 + self.unrecorded.holds(handle.file):
            # Another program may have read old data while the kernel waited for this write.
            self.stale_numbers.append(handle.number)
            self._may_be_cached[handle.file] = False
        self._note_contents(handle.file, handle.number)
        at = abi.WRITE_IN.size
        return abi.WRITE_OUT.pack(handle.file.write_some(body[at : at + size], offset), 0)

    def _flush(self, number: int, body: memoryview) -> bytes:
        handle = self._handle(_number(body))
        if handle.file.is_being_written:
            if not handle.file.is_detached:
                self.unrecorded.add(handle.file)
            if handle.is_alias:
                self.stale_numbers.append(handle.number)
        return b""

    def _release(self, number: int, body: memoryview) -> bytes:
        number = _number(body)
        handle = self._handle(number)
        del self._handles[number]
        try:
            handle.file.close()
        finally:
            if self._is_only_unrecorded(handle.file):
                self._may_be_cached.pop(handle.file, None)
                self._resized_by_alias.discard(handle.file)
                for known in [known for known, file in self._nameless.items() if file is handle.file]:
                    del self._nameless[known]
        return b""

    def _fsync(self, number: int, body: memoryview) -> bytes:
        self._handle(_number(body)).file.sync()
        return b""


class _Leaver:
    """A name that is about to be removed, and the notices that the kernel must get afterwards."""

    def __init__(self, operations: Operations, node: Node, parent: int, name: bytes) -> None:
        nodes = operations.nodes
        self._operations = operations
        self.volume = operations.volume
        self._file_id = self.volume.file_id(node.file)
        self._number = nodes.number(node)
        self._open = None if node.is_directory else self.volume.open_file(node.file)
        self._is_directory = node.is_directory
        self._parent = parent
        self._stored: tuple[int, bytes] | None = None
        if not nodes.is_stored_spelling(node, parent, name):
            self._stored = nodes.real(parent), encode_name(node.name)

    def done(self) -> None:
        """Records the notices for the kernel, after the name was removed."""
        operations, nodes = self._operations, self._operations.nodes
        if self._stored is not None:
            operations.stale_numbers.append(self._number)
            operations.stale_names.append(self._stored)
        operations.note_change(self._parent)
        file = self.volume.file_of_id(self._file_id)
        if file is None or file[0] or self.volume.scratch is None or self.volume.scratch.find(file[1]) is None:
            nodes.gone(self._file_id)
            operations.left(self._number, self._open)


class _KindWatch:
    """A context in which an entry may change its kind."""

    def __init__(self, operations: Operations, number: int, node: Node) -> None:
        self._operations = operations
        self._number = number
        self._node = node

    def __enter__(self) -> None:
        self._kind = _kind(self._node.row)

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if error is not None:
            return
        node = self._operations.nodes.node(self._number)
        if _kind(node.row) == self._kind:
            self._operations.note_change(self._number)
        else:
            self._operations.becomes(node)


def _is_link(row: EntryRow) -> bool:
    """Returns whether an entry is shown as a symbolic link: a reparse point that is a name surrogate or has no data."""
    if row.reparse is None:
        return False
    return is_name_surrogate(row.reparse) or (row.sha256 is None and not row.attributes & DIRECTORY)


def _is_other_link(node: Node, target: Node) -> bool:
    """Returns whether only one of two entries is a directory on Windows, but POSIX sees both as files or links.

    On POSIX, such an entry can replace the other one.
    """
    shown = (_kind(node.row), _kind(target.row))
    return node.is_directory != target.is_directory and stat.S_IFDIR not in shown


def _kind(row: EntryRow) -> int:
    """Returns the file type that POSIX sees."""
    if _is_link(row):
        return stat.S_IFLNK
    return stat.S_IFDIR if row.attributes & DIRECTORY else stat.S_IFREG


def _text(name: bytes) -> str:
    """Returns a decoded name. WTF-8 is accepted, for names with an unpaired surrogate."""
    return name.decode("utf-8", "surrogatepass")


def _encoded(column: str | bytes) -> bytes:
    """Returns a name in WTF-8, as it is in its row."""
    return column.encode() if isinstance(column, str) else encode_name(from_column(column))


def _listed_name(name: bytes, mode: int) -> bytes:
    """Returns the part of a `fuse_dirent` after the offset, or nothing for a name that the kernel cannot take."""
    if not 0 < len(name) <= abi.MAX_NAME or b"/" in name or b"\0" in name:
        return b""
    return abi.DIRENT_NAME.pack(len(name), mode >> 12) + name + bytes(-len(name) % 8)


def _check_offset(offset: int) -> None:
    if offset > _MAX_OFFSET:
        raise OSError(errno.EINVAL, "an offset that no file has")


def _not_open() -> OSError:
    return OSError(errno.EBADF, "not the number of an open file")


def _names(body: memoryview, at: int, count: int) -> list[bytes]:
    """Returns the first `count` names of a message from an offset on, each of which ends with a NUL.

    Raises:
        OSError: EINVAL, there are fewer names.
    """
    names = bytes(body[at:]).split(b"\0")[:-1]
    if len(names) < count:
        raise OSError(errno.EINVAL, "a message that ends inside a name")
    return names[:count]


def _number(body: memoryview) -> int:
    """Returns the handle number of the open file or directory in a message."""
    return int(abi.HANDLE_IN.unpack_from(body)[0])


def _attr_out(remembered: int, attributes: bytes) -> bytes:
    return abi.ATTR_HEAD.pack(remembered, 0, 0) + attributes


def _time(valid: int, given: int, is_now: int, now: int, seconds: int, nanoseconds: int) -> int | None:
    """Returns the FILETIME that a SETATTR message sets, or None if it does not set this time."""
    if not valid & given:
        return None
    return now if valid & is_now else from_unix_ns(seconds * 10**9 + nanoseconds)


def _sized(value: bytes, room: int) -> bytes:
    """Returns the answer to GETXATTR or LISTXATTR: the value, or its size if `room` is 0.

    Raises:
        OSError: ERANGE, the value is longer than `room`.
    """
    if not room:
        return abi.GETXATTR_OUT.pack(len(value), 0)
    if len(value) > room:
        raise OSError(errno.ERANGE, "the value is longer")
    return value
