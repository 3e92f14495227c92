"""A view as a FUSE file system: what libfuse calls, and how POSIX sees what Windows has.

The kernel remembers names, attributes and contents for as long as the mount lives: it is the only one to change the
scratch. libfuse knows a file by its path as it was spelled; where a file has several names, or is known by several
spellings, the kernel is told to forget the others when one is changed.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from wclayer.layers.directory.database import EntryRow
from wclayer.view.files import OpenFile
from wclayer.view.layer_view import LayerView
from wclayer.view.merged import Node
from wclayer.view.resolve import find_child, link_path
from wclayer.view.xattr import get_xattr, list_xattrs, remove_xattr, set_xattr
from wclayer.win32.attributes import DIRECTORY, FileAttributes
from wclayer.win32.filetime import UNIX_EPOCH, from_unix_ns
from wclayer.win32.names import MAX_COMPONENT_UNITS, encode_name, illegal_reason, path_key, utf16_length
from wclayer.win32.reparse import LinkTarget, is_name_surrogate

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_READONLY = int(FileAttributes.READONLY)
_RENAME_NOREPLACE = 1
_READDIRPLUS_AUTO = 1 << 14
"""FUSE_CAP_READDIRPLUS_AUTO of libfuse."""
_ROOT = "Files"
_BLOCK = 4096
_TOLD = 10_000
_HIDDEN = ".fuse_hidden"
"""What libfuse calls open files that were removed."""
_WRITABLE = os.O_WRONLY | os.O_RDWR
_CAPABILITY = "security.capability"
_MODE_DIRECTORY = stat.S_IFDIR | 0o777
_MODE_FILE = stat.S_IFREG | 0o777
_MODE_LINK = stat.S_IFLNK | 0o777
_NO_WRITE = 0o222


class Shown(NamedTuple):
    """An entry as FUSE is told of it: made of that row, its name's bytes, and its `struct stat`."""

    row: EntryRow
    name: bytes
    stat: Any


class Operations:
    """What FUSE asks of a file system, on a `LayerView`; paths are `/`-separated, from the volume's root.

    Args:
        mount_point: where it is mounted, for the targets of new links.
        ready: called when the kernel has taken the mount.
    """

    use_ns = True
    # The kernel says which open file it means, so no path is needed for that.
    flag_nopath = True
    flag_nullpath_ok = True

    def __init__(self, view: LayerView, mount_point: str, ready: Callable[[], None]) -> None:
        self._view = view
        self._mount_point = mount_point
        self._ready = ready
        self._uid = self._gid = 0
        if sys.platform != "win32":
            self._uid, self._gid = os.getuid(), os.getgid()
        self.handles: dict[int, OpenFile] = {}
        # By the path that libfuse knows them by: open files whose last name was removed.
        self._hidden: dict[str, OpenFile] = {}
        self.directories: dict[int, tuple[Node, list[Node], bool]] = {}
        # By path key: spellings of names by which the kernel knows an entry, besides its own.
        self._spellings: dict[str, set[str]] = {}
        # By the directory's path key: the listing that the kernel was last told of.
        self._told: dict[str, list[Node]] = {}
        self._last_handle = 0
        self.new_stat: Callable[[], Any] = _no_session
        """Makes an empty `struct stat`."""
        self.forget_names: Callable[[list[str]], None] = lambda paths: None

    # Finding.

    def node(self, path: str) -> Node:
        """The entry at a path."""
        if "\\" in path or ":" in path:
            raise OSError(errno.ENOENT, "no such name", path)
        tree = self._view.tree
        node = tree.lookup(_ROOT + path if path != "/" else _ROOT)
        if node is None and "~" in path:
            parent = tree.lookup(_ROOT + path.rpartition("/")[0])
            if parent is not None:
                node = find_child(tree, parent, path.rpartition("/")[2])
        if node is None:
            if utf16_length(path.rpartition("/")[2]) > MAX_COMPONENT_UNITS:
                raise OSError(errno.ENAMETOOLONG, "name too long", path)
            raise OSError(errno.ENOENT, "no such name", path)
        if node.path[len(_ROOT) :] != path and path != "/":
            # To the kernel, another spelling is another file.
            self._spellings.setdefault(node.key, set()).add(path)
        return node

    getattr = node

    def _known_node(self, path: str) -> Node:
        """The entry at a path that the kernel has found before; if it is gone, the kernel is to look again."""
        try:
            return self.node(path)
        except FileNotFoundError:
            raise OSError(errno.ESTALE, "gone, by another spelling of its name", path) from None

    def stat(self, path: str) -> Any:
        """The `struct stat` of the entry at a path."""
        file = self._hidden.get(path)
        if file is None:
            return self.shown(self.node(path)).stat
        st = self.new_stat()
        self.fill_open(st, file)
        return st

    def _new_path(self, path: str) -> str:
        name = path.rpartition("/")[2]
        if utf16_length(name) > MAX_COMPONENT_UNITS:
            raise OSError(errno.ENAMETOOLONG, "name too long", path)
        if reason := illegal_reason(name):
            raise OSError(errno.EINVAL, reason, path)
        return _ROOT + path

    def shown(self, node: Node) -> Shown:
        """What is shown of an entry, made anew where that may have changed."""
        memo = node.memo
        if (
            isinstance(memo, Shown)
            and memo.row is node.row
            and not (self.handles and self._view.open_file(node.file) is not None)
        ):
            return memo
        made = Shown(node.row, node.name.encode("utf-8", "surrogatepass"), self.new_stat())
        self._fill(made.stat, node)
        node.memo = made
        return made

    def _fill(self, st: Any, node: Node) -> None:
        view = self._view
        row = view.current_row(node)
        attributes, reparse = row.attributes, row.reparse
        size, links = row.size, 1
        if attributes & DIRECTORY:
            mode = _MODE_DIRECTORY
        else:
            mode = _MODE_FILE & ~_NO_WRITE if attributes & _READONLY else _MODE_FILE
            links = view.tree.layers[node.layer].link_count(row)
        if reparse is not None and self._is_link(row):
            mode, size = _MODE_LINK, len(encode_name(self._link_text(node)))
        st.st_mode = mode
        st.st_ino = view.file_id(node.file)
        st.st_nlink = links
        st.st_size = size
        st.st_blocks = (size + 511) >> 9
        self._fill_common(st, row)

    def fill_open(self, st: Any, file: OpenFile) -> None:
        """Fills a `struct stat` of an open file, which may have no name any more."""
        row = file.now(file.row)
        st.st_mode = _MODE_FILE & ~_NO_WRITE if row.attributes & _READONLY else _MODE_FILE
        st.st_ino = self._view.file_id(file.file)
        st.st_nlink = 0 if file.is_detached else 1
        st.st_size = file.size
        st.st_blocks = (file.size + 511) >> 9
        self._fill_common(st, row)

    def _fill_common(self, st: Any, row: Any) -> None:
        st.st_uid, st.st_gid, st.st_blksize = self._uid, self._gid, _BLOCK
        for spec, time in (
            (st.st_atimespec, row.last_access_time),
            (st.st_mtimespec, row.last_write_time),
            (st.st_ctimespec, row.change_time),
        ):
            seconds, ticks = divmod(time - UNIX_EPOCH, 10_000_000)
            spec.tv_sec, spec.tv_nsec = seconds, ticks * 100

    @staticmethod
    def _is_link(row: EntryRow) -> bool:
        """Whether a reparse point is shown as a symbolic link: it stands for another file, or has no contents."""
        assert row.reparse is not None
        return is_name_surrogate(row.reparse) or (row.sha256 is None and not row.attributes & DIRECTORY)

    def _link_text(self, node: Node) -> str:
        """Where a link leads, as a path from its directory: the mount may be anywhere."""
        reparse = node.row.reparse
        if reparse is None or not self._is_link(node.row):
            raise OSError(errno.EINVAL, "no link", node.path)
        target = link_path(reparse)
        if target is None or not target.parts:
            # As ntfs-3g shows those that lead nowhere here.
            return f"unsupported reparse tag {int.from_bytes(reparse[:4], 'little'):#010x}"
        text = "/".join(part for part in target.parts if part != ".") or "."
        if target.is_relative:
            return text
        return "../" * (node.path.count("/") - 1) + text

    def readlink(self, path: str) -> str:
        return self._link_text(self.node(path))

    def readdir(self, handle: int, *, is_start: bool) -> tuple[list[Node], bool]:
        """What is in an open directory: as it is at the start of a reading, until the next; and whether the kernel was
        not told of just that before."""
        node, listing, is_news = self.directories[handle]
        if is_start:
            current = self._view.tree.lookup(node.path)
            listing = [] if current is None else self._view.children(current)
            is_news = self._told.get(node.key) is not listing
            if len(self._told) >= _TOLD:
                self._told.clear()
            self._told[node.key] = listing
            self.directories[handle] = node, listing, is_news
        return listing, is_news

    def opendir(self, path: str) -> int:
        node = self._known_node(path)
        self._view.children(node)
        self._last_handle += 1
        self.directories[self._last_handle] = node, [], True
        return self._last_handle

    def releasedir(self, path: str | None, fh: int) -> int:
        self.directories.pop(fh, None)
        return 0

    def statfs(self, path: str) -> dict[str, int]:
        view = self._view
        total, used = view.capacity or 0, view.used
        free = max(0, total - used) // _BLOCK
        return {
            "f_bsize": _BLOCK, "f_frsize": _BLOCK, "f_blocks": total // _BLOCK, "f_bfree": free, "f_bavail": free,
            "f_files": 0, "f_ffree": 0, "f_namemax": 255,
        }  # fmt: skip

    # Changing names.

    def mkdir(self, path: str, mode: int) -> int:
        self._view.mkdir(self._new_path(path))
        return 0

    def mknod(self, path: str, mode: int, dev: int) -> int:
        if not stat.S_ISREG(mode):
            raise OSError(errno.EPERM, "Windows has no such files", path)
        self._view.create_file(self._new_path(path))
        return 0

    def symlink(self, path: str, target: str) -> int:
        self._view.create_link(self._new_path(path), self._link_target(target))
        return 0

    def _link_target(self, target: str) -> LinkTarget:
        inside = target.removeprefix(self._mount_point + "/") if target != self._mount_point else ""
        if inside != target:
            target = "/" + inside
        for part in target.split("/"):
            # One that is too long may still be pointed to.
            if part not in ("", ".", "..") and illegal_reason(part[:MAX_COMPONENT_UNITS]):
                raise OSError(errno.EINVAL, "a name that Windows does not take", target)
        windows = target.replace("/", "\\")
        return LinkTarget.from_path("C:" + windows if target.startswith("/") else windows, is_mount_point=False)

    def link(self, path: str, target: str) -> int:
        self._view.link(self._new_path(path), self.node(target).path)
        self._names_changed(self.node(path), path)
        return 0

    def unlink(self, path: str) -> int:
        hidden = self._hidden.pop(path, None)
        if hidden is not None:
            hidden.close()
            return 0
        node = self.node(path)
        others = self._other_names(node, path)
        self._view.unlink(node.path)
        self._forget_spellings(node, others)
        return 0

    def rmdir(self, path: str) -> int:
        node = self.node(path)
        self._view.rmdir(node.path)
        self._forget_spellings(node)
        return 0

    def rename(self, old: str, new: str, flags: int = 0) -> int:
        if flags & ~_RENAME_NOREPLACE:
            raise OSError(errno.EINVAL, "no exchange of names", old)
        if new.rpartition("/")[2].startswith(_HIDDEN):
            self._hide(self.node(old), new)
            return 0
        node = self.node(old)
        self._view.rename(node.path, self._new_path(new), replace=not flags & _RENAME_NOREPLACE)
        self._forget_spellings(node)
        return 0

    def _hide(self, node: Node, path: str) -> None:
        """libfuse asks to rename an open file that is to be removed or replaced: the name goes, and what it knows the
        file by from here on is remembered."""
        file = self._view.open_node(node)
        others = self._other_names(node)
        self._view.unlink(node.path)
        self._hidden[path] = file
        self._forget_spellings(node, others)

    # Metadata.

    def chmod(self, path: str | None, mode: int, fh: int | None = None) -> int:
        """Of the mode, Windows has only whether a file may be written to."""
        node = self._node_of(path, fh)
        if node is not None and not node.is_directory and node.row.reparse is None:
            attributes = node.row.attributes
            changed = attributes & ~_READONLY if mode & stat.S_IWUSR else attributes | _READONLY
            if changed != attributes:
                self._view.set_attributes(node.path, changed, follow=False)
                self._names_changed(node, path)
        return 0

    def chown(self, path: str | None, uid: int, gid: int) -> int:
        """Everything belongs to whoever has mounted it; the owner that Windows knows is in `system.ntfs_acl`."""
        return 0

    def utimens(self, path: str | None, times: tuple[int | None, int | None], fh: int | None = None) -> int:
        """Sets the access and modification time (ns since 1970); None leaves one, -1 is now."""
        node = self._node_of(path, fh)
        if node is None:
            return 0
        now = self._view.now()
        access, write = (None if time is None else now if time == -1 else from_unix_ns(time) for time in times)
        self._view.set_times(node.path, access=access, write=write, follow=False)
        self._names_changed(node, path)
        return 0

    def _node_of(self, path: str | None, fh: int | None) -> Node | None:
        """The entry that is meant by a path, or by an open file; None for one without a name."""
        file = self.handles[fh] if path is None and fh is not None else self._hidden.get(path or "")
        if file is None:
            assert path is not None
            return self.node(path)
        return None if file.is_detached else self._view.node_of(file.file)

    def getxattr(self, path: str, name: str, position: int = 0) -> bytes:
        if name == _CAPABILITY:
            raise OSError(errno.ENODATA, "no such attribute", path)
        return get_xattr(self._view, self.node(path), name)

    def setxattr(self, path: str, name: str, value: bytes, options: int, position: int = 0) -> int:
        node = self.node(path)
        set_xattr(self._view, node, name, value, options)
        self._names_changed(node, path)
        return 0

    def listxattr(self, path: str) -> list[str]:
        return list_xattrs(self._view, self.node(path))

    def removexattr(self, path: str, name: str) -> int:
        remove_xattr(self._view, self.node(path), name)
        return 0

    # Data.

    def create(self, path: str, mode: int, flags: int) -> int:
        name = self._new_path(path)
        view = self._view
        file = view.create_open(name, new=bool(flags & os.O_EXCL))
        if not mode & stat.S_IWUSR:
            self.chmod(path, mode)
        return self._handle(file)

    def open(self, path: str, flags: int) -> int:
        node = self._known_node(path)
        if flags & _WRITABLE:
            self._view.writable_scratch()
        file = self._view.open_node(node)
        if flags & os.O_TRUNC and file.size:
            file.truncate(0)
            self._names_changed(node, path)
        return self._handle(file)

    def _handle(self, file: OpenFile) -> int:
        self._last_handle += 1
        self.handles[self._last_handle] = file
        return self._last_handle

    def truncate(self, path: str | None, length: int, fh: int | None = None) -> int:
        if fh is not None:
            self.handles[fh].truncate(length)
            return 0
        assert path is not None
        hidden = self._hidden.get(path)
        if hidden is not None:
            hidden.truncate(length)
        else:
            self._view.truncate(self.node(path).path, length)
        return 0

    def read(self, path: str | None, size: int, offset: int, fh: int) -> bytes:
        return self.handles[fh].read(size, offset)

    def write(self, path: str | None, data: ReadableBuffer, offset: int, fh: int) -> int:
        return self.handles[fh].write(data, offset)

    def flush(self, path: str | None, fh: int) -> int:
        file = self.handles[fh]
        if file.is_being_written:
            file.flush()
            if not file.is_detached:
                paths = self._paths(file.file)
                if len(paths) > 1 or file in self._hidden.values():
                    self.forget_names(sorted(paths))
        return 0

    def release(self, path: str | None, fh: int) -> int:
        self.handles.pop(fh).close()
        return 0

    def fsync(self, path: str | None, datasync: int, fh: int) -> int:
        self.handles[fh].sync()
        return 0

    def fsyncdir(self, path: str | None, datasync: int, fh: int) -> int:
        self._view.sync_names()
        return 0

    # What the kernel must forget.

    def _names_changed(self, node: Node, path: str | None = None) -> None:
        self.forget_names(self._other_names(node, path))

    def _other_names(self, node: Node, path: str | None = None) -> list[str]:
        """By what other paths than `path` the kernel may know an entry: other names of the file, other spellings."""
        if node.is_directory:
            found = {node.path[len(_ROOT) :], *self._spellings.get(node.key, ())}
        else:
            found = self._paths(node.file)
        return sorted(found - {path or node.path[len(_ROOT) :]})

    def _paths(self, file: tuple[int, int]) -> set[str]:
        """All paths by which the kernel may know a file."""
        layer = self._view.tree.layers[file[0]]
        found: set[str] = set()
        for row in layer.names(layer.by_id(file[1])):
            path = layer.path_of(row)
            if path.startswith(_ROOT + "/"):
                found |= {path[len(_ROOT) :], *self._spellings.get(path_key(path), ())}
        return found

    def _forget_spellings(self, node: Node, others: Iterable[str] = ()) -> None:
        """The entry has another name now, or none, and so has what was below it."""
        gone = [key for key in self._spellings if key == node.key or key.startswith(node.key + "/")]
        self.forget_names(sorted({*others, *(path for key in gone for path in self._spellings.pop(key))}))

    def init_with_config(self, connection: Any, config: Any) -> None:
        if connection is not None:
            # Whoever reads a directory mostly looks at its entries, too: their attributes always come along.
            connection.want &= ~_READDIRPLUS_AUTO
        self._ready()


def _no_session() -> Any:
    raise AssertionError("set by run_session")
