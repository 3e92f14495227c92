"""Files with everything that Windows keeps of them: backup streams, basic information, links, ids.

Reference: go-winio, `BackupFileReader`, `BackupFileWriter`, `GetFileBasicInfo` and its kin.
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
    """The calls of a library that copy backup streams, and read and write a file's information.

    Args:
        library: kernel32; tests have a stand-in for it.
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
    """A file or directory, open by one name below a root; a reparse point is opened as itself.

    Args:
        root, path: where it is; no component of the path may be a link.
        create: it must not be there yet; otherwise it must.
        writable: it is to be restored, not only backed up.
        security: whether its backup stream has its security descriptor.
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
        """Its times and attributes."""
        found = FileBasicInfoBuffer()
        self._ask(_FILE_BASIC_INFO, found)
        return found.to_info()

    def set_info(self, info: FileBasicInfo) -> None:
        """Gives it times and attributes; a time of zero leaves that one as it is, attributes of zero theirs."""
        wanted = FileBasicInfoBuffer.from_info(info)
        if not calls.set_information(self._handle, _FILE_BASIC_INFO, ctypes.byref(wanted), ctypes.sizeof(wanted)):
            raise winapi.last_error()

    def size(self) -> int:
        """The length of its main data stream in bytes."""
        found = FileStandardInfo()
        self._ask(_FILE_STANDARD_INFO, found)
        return int(found.EndOfFile)

    def link_info(self) -> LinkInfo:
        """How many names it has, and its id."""
        standard, identity = FileStandardInfo(), FileIdInfo()
        self._ask(_FILE_STANDARD_INFO, standard)
        self._ask(_FILE_ID_INFO, identity)
        return LinkInfo(standard.NumberOfLinks, bytes(identity.FileId))

    def _ask(self, kind: int, into: ctypes.Structure) -> None:
        if not calls.get_information(self._handle, kind, ctypes.byref(into), ctypes.sizeof(into)):
            raise winapi.last_error()

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes of its backup stream; empty at the end."""
        buffer = ctypes.create_string_buffer(min(size, _PIECE))
        done = self._move(buffer)
        return buffer.raw[:done]

    def write(self, data: bytes | memoryview, /) -> None:
        """Restores more of its backup stream.

        Raises:
            OSError: it cannot be restored.
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
        """Gives back what Windows holds for the backup, and the file."""
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
    """Gives directories their times and attributes, children first: making a child has changed its directory's."""
    for path, info in reversed(directories):
        with BackupFile(root, path, writable=True) as file:
            file.set_info(info)
