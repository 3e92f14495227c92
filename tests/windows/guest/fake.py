"""The stand-ins of `dlls/`, as the tests use them: what they saw, and what they are to answer."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import wintypes

from wclayer.engines.hcs.structs import FileBasicInfoBuffer
from wclayer.win32.attributes import FileBasicInfo

Hook = Callable[[str, str, str, bytes], int]
_HOOK = ctypes.WINFUNCTYPE(
    ctypes.c_int32, ctypes.c_char_p, wintypes.LPCWSTR, wintypes.LPCWSTR, ctypes.c_void_p, ctypes.c_uint32
)


class Fake:
    """vmcompute.dll, virtdisk.dll, and the calls of kernel32 that Wine lacks."""

    def __init__(self, name: str = "vmcompute.dll") -> None:
        self.dll = ctypes.WinDLL(name)
        self.disk = ctypes.WinDLL("virtdisk.dll")
        self.files = ctypes.WinDLL("filecalls.dll", use_last_error=True)
        self.dll.FakeLog.restype = wintypes.LPCWSTR
        self.dll.FakeAnswer.argtypes = (ctypes.c_char_p, ctypes.c_uint32, ctypes.c_int)
        self.dll.FakeTexts.argtypes = (wintypes.LPCWSTR, wintypes.LPCWSTR)
        self.disk.FakeOpened.restype = wintypes.LPCWSTR
        self.files.FakeVolume.argtypes = (ctypes.c_uint64, ctypes.c_uint64, wintypes.DWORD)
        self.files.FakeExtended.restype = ctypes.c_uint64
        for call in ("DeviceIoControl", "GetDiskFreeSpaceExW"):
            getattr(self.files, call).argtypes = None
        self._hook: object = None

    def reset(self) -> None:
        self.dll.FakeReset()
        self.disk.FakeDisk(0, 0)
        self.files.FakeForget()
        self._hook = None

    def answer(self, name: str, result: int, *, skip: int = 0) -> None:
        """From its call number `skip` on, an export returns that HRESULT."""
        self.dll.FakeAnswer(name.encode(), result, skip)

    def texts(self, *, images: str = "", mount: str = "") -> None:
        """What GetBaseImages and GetLayerMountPath give."""
        self.dll.FakeTexts(images, mount)

    def hook(self, called: Hook) -> None:
        """Does the work of every export: name, layer, other path, data; gives an HRESULT."""

        def call(name: bytes, layer: str | None, other: str | None, data: int | None, size: int) -> int:
            return called(name.decode(), layer or "", other or "", ctypes.string_at(data, size) if data else b"")

        self._hook = _HOOK(call)
        self.dll.FakeHook(self._hook)

    def delay(self, milliseconds: int) -> None:
        """How long every call takes, with its arguments looked at before and after."""
        self.dll.FakeDelay(milliseconds)

    @property
    def log(self) -> list[str]:
        """The calls that were made, each with its arguments."""
        return str(self.dll.FakeLog()).splitlines()

    @property
    def calls(self) -> list[str]:
        """Their names alone, without the questions for GUIDs."""
        return [name for line in self.log if (name := line.partition("|")[0]) != "NameToGuid"]

    def add_entry(self, name: str, info: FileBasicInfo | None, size: int, data: bytes) -> None:
        """What the streaming export gives next; without info, a tombstone."""
        packed = FileBasicInfoBuffer.from_info(info or FileBasicInfo())
        self.dll.FakeAddEntry(
            ctypes.c_wchar_p(name), ctypes.byref(packed), ctypes.c_int64(size), info is None, data, len(data)
        )

    def check(self) -> None:
        """Nothing was called wrongly, nothing is left open, and every string was freed."""
        assert [line for line in self.log if "BAD" in line] == []
        assert self.files.FakeLiveBackups() == 0
        assert self.files.FakeFaults() == 0
        if hasattr(self.dll, "FakeLiveContexts"):
            assert self.dll.FakeLiveContexts() == 0
        assert self.dll.FakeStringsFreed() >= self.dll.FakeStringsGiven()
