"""Files with everything that Windows stores about them: backup streams, basic information, links, ids.

Reference: go-winio, `BackupFileReader`, `BackupFileWriter`, `GetFileBasicInfo` and related functions.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import wintypes
from types import TracebackType
from typing import Self

from wclayer.engines.hcs.structs import FileBasicInfoBuffer, FileIdInfo, FileStandardInfo
from wclayer.host import winapi
from wclayer.host.root import HostRoot
from wclayer.model import LinkInfo
from wclayer.win32.attributes import FileBasicInfo

READ_ACCESS = winapi.GENERIC_READ | winapi.ACCESS_SYSTEM_SECURITY
WRITE_ACCESS = (
    winapi.GENERIC_READ | winapi.GENERIC_WRITE | winapi.WRITE_DAC | winapi.WRITE_OWNER | winapi.ACCESS_SYSTEM_SECURITY
)
_FILE_BASIC_INFO, _FILE_STANDARD_INFO, _FILE_ID_INFO = 0, 1, 18
_PIECE = 1 << 20
_ERROR_WRITE_FAULT = 29


class FileCalls:
    """The functions of a library that copy backup streams, and read and write a file's information.

    Args:
        library: kernel32, or a replacement in tests.
    """

    def __init__(self, library: ctypes.WinDLL) -> None:
        self.backup_read, self.backup_write = library["BackupRead"], library["BackupWrite"]
        for call in (self.backup_read, self.backup_write):
            call.argtypes = (
                wintypes.HANDLE, ctypes.c_void_p, wintypes.DWORD, ctypes.POINTER(wintypes.DWORD), wintypes.BOOL,
                wintypes.BOOL, ctypes.POINTER(ctypes.c_void_p),
            )  # fmt: skip
        self.get_information = library["GetFileInformationByHandleEx"]
        self.set_information = library["SetFileInformationByHandle"]
        for call in (self.get_information, self.set_information):
            call.argtypes = (wintypes.HANDLE, ctypes.c_int, ctypes.c_void_p, wintypes.DWORD)


calls = FileCalls(ctypes.WinDLL("kernel32", use_last_error=True))


class BackupFile:
    """A file or directory below a root, open for backup or restore. A reparse point is opened itself, not its target.

    Args:
        root, path: the location of the file. No component of the path may be a link.
        create: True if the file is made and must not exist; False if it must exist.
        writable: True if the file is restored, not only backed up.
        security: True if the backup stream contains the security descriptor.
    """

    def __init__(
        self,
        root: HostRoot,
        path: bytes,
        *,
        create: bool = False,
        is_directory: bool = False,
        writable: bool = False,
        security: bool = True,
    ) -> None:
        parent, _, name = path.rpartition(b"/")
        self.path = path
        self._security = security
        self._context = ctypes.c_void_p()
        # A handle serves either BackupRead or BackupWrite.
        self._transfer = calls.backup_write if writable else calls.backup_read
        access = WRITE_ACCESS if writable else READ_ACCESS
        if not security:
            access &= ~(winapi.ACCESS_SYSTEM_SECURITY | winapi.WRITE_DAC | winapi.WRITE_OWNER)
        self._handle = winapi.open_at(
            root.directory(parent),
            name.decode("utf-8", "surrogatepass"),
            access,
            winapi.FILE_CREATE if create else winapi.FILE_OPEN,
            winapi.FILE_DIRECTORY_FILE if create and is_directory else 0,
            share=winapi.FILE_SHARE_READ,
        )

    def info(self) -> FileBasicInfo:
        """The times and attributes of the file."""
        found = FileBasicInfoBuffer()
        self._ask(_FILE_BASIC_INFO, found)
        return found.to_info()

    def set_info(self, info: FileBasicInfo) -> None:
        """Sets the times and attributes of the file. A time or attributes of zero leave the current value unchanged."""
        wanted = FileBasicInfoBuffer.from_info(info)
        if not calls.set_information(self._handle, _FILE_BASIC_INFO, ctypes.byref(wanted), ctypes.sizeof(wanted)):
            raise winapi.last_error()

    def size(self) -> int:
        """The length of the main data stream in bytes."""
        found = FileStandardInfo()
        self._ask(_FILE_STANDARD_INFO, found)
        return int(found.EndOfFile)

    def link_info(self) -> LinkInfo:
        """Returns the number of the file's names, and its id."""
        standard, identity = FileStandardInfo(), FileIdInfo()
        self._ask(_FILE_STANDARD_INFO, standard)
        self._ask(_FILE_ID_INFO, identity)
        return LinkInfo(standard.NumberOfLinks, bytes(identity.FileId))

    def _ask(self, kind: int, into: ctypes.Structure) -> None:
        if not calls.get_information(self._handle, kind, ctypes.byref(into), ctypes.sizeof(into)):
            raise winapi.last_error()

    def read(self, size: int, /) -> bytes:
        """Returns up to `size` bytes of the backup stream; an empty object at its end."""
        buffer = ctypes.create_string_buffer(min(size, _PIECE))
        done = self._move(buffer)
        return buffer.raw[:done]

    def write(self, data: bytes | memoryview, /) -> None:
        """Restores more of the backup stream.

        Raises:
            OSError: the stream cannot be restored.
        """
        view = memoryview(data).cast("B")
        while view:
            piece = bytes(view[:_PIECE])
            done = self._move(piece)
            if done != len(piece):
                raise winapi.error_of(_ERROR_WRITE_FAULT)
            view = view[done:]

    def _move(self, buffer: ctypes.Array[ctypes.c_char] | bytes) -> int:
        done = wintypes.DWORD()
        if not self._transfer(
            self._handle, buffer, len(buffer), ctypes.byref(done), False, self._security, ctypes.byref(self._context)
        ):
            raise winapi.last_error()
        return done.value

    def close(self) -> None:
        """Releases Windows' resources for the backup, and closes the file."""
        if self._handle >= 0:
            if self._context:
                self._transfer(self._handle, None, 0, None, True, False, ctypes.byref(self._context))
            winapi.close_handle(self._handle)
            self._handle = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def restore_times(root: HostRoot, directories: Sequence[tuple[bytes, FileBasicInfo]]) -> None:
    """Sets the times and attributes of directories, children first, because making a child changed its directory's."""
    for path, info in reversed(directories):
        with BackupFile(root, path, writable=True) as file:
            file.set_info(info)
