"""vmcompute.dll: its exports with their argument types, and the function through which all of them are called.

The exports are not documented. Their arguments are those that hcsshim passes (`internal/wclayer/wclayer.go`; for the
streaming exports, an older hcsshim).
"""

from __future__ import annotations

import ctypes
import os
import threading
from ctypes import wintypes
from typing import Any

from wclayer._types import StrPath
from wclayer.engines.hcs.structs import FILTER_DRIVER, DriverInfo, FileBasicInfoBuffer, Guid
from wclayer.errors import InvalidParameterError, NotSupportedError, from_windows_code
from wclayer.host import winapi

LIBRARY = "vmcompute.dll"
LOAD_LIBRARY_SEARCH_SYSTEM32 = 0x800
_INFO = ctypes.POINTER(DriverInfo)
_DESCRIPTORS = (ctypes.c_void_p, ctypes.c_size_t)
_CONTEXT = ctypes.c_void_p
_BASIC_INFO = ctypes.POINTER(FileBasicInfoBuffer)
_STRING = wintypes.LPCWSTR

EXPORTS: dict[str, tuple[Any, ...]] = {
    "ActivateLayer": (_INFO, _STRING),
    "CreateLayer": (_INFO, _STRING, _STRING),
    "CreateSandboxLayer": (_INFO, _STRING, ctypes.c_void_p, *_DESCRIPTORS),
    "DeactivateLayer": (_INFO, _STRING),
    "DestroyLayer": (_INFO, _STRING),
    "ExpandSandboxSize": (_INFO, _STRING, ctypes.c_uint64),
    "ExportLayer": (_INFO, _STRING, _STRING, *_DESCRIPTORS),
    "GetBaseImages": (ctypes.POINTER(ctypes.c_void_p),),
    "GetLayerMountPath": (_INFO, _STRING, ctypes.POINTER(ctypes.c_size_t), ctypes.c_void_p),
    "GrantVmAccess": (_STRING, _STRING),
    "ImportLayer": (_INFO, _STRING, _STRING, *_DESCRIPTORS),
    "LayerExists": (_INFO, _STRING, ctypes.POINTER(ctypes.c_uint32)),
    "NameToGuid": (_STRING, ctypes.POINTER(Guid)),
    "PrepareLayer": (_INFO, _STRING, *_DESCRIPTORS),
    "ProcessBaseImage": (_STRING,),
    "ProcessUtilityImage": (_STRING,),
    "UnprepareLayer": (_INFO, _STRING),
}
"""The exports that every build of Windows with containers has."""
STREAMING_EXPORTS: dict[str, tuple[Any, ...]] = {
    "ExportLayerBegin": (_INFO, _STRING, *_DESCRIPTORS, ctypes.POINTER(_CONTEXT)),
    "ExportLayerNext": (
        _CONTEXT, ctypes.POINTER(ctypes.c_void_p), _BASIC_INFO, ctypes.POINTER(ctypes.c_int64),
        ctypes.POINTER(ctypes.c_uint32),
    ),
    "ExportLayerRead": (_CONTEXT, ctypes.c_void_p, ctypes.c_uint32, ctypes.POINTER(ctypes.c_uint32)),
    "ExportLayerEnd": (_CONTEXT,),
    "ImportLayerBegin": (_INFO, _STRING, *_DESCRIPTORS, ctypes.POINTER(_CONTEXT)),
    "ImportLayerNext": (_CONTEXT, _STRING, _BASIC_INFO),
    "ImportLayerWrite": (_CONTEXT, ctypes.c_void_p, ctypes.c_uint32),
    "ImportLayerEnd": (_CONTEXT,),
}  # fmt: skip
"""The exports that only some builds have."""
_PROTOTYPES = EXPORTS | STREAMING_EXPORTS

_loading = threading.Lock()
_library: ctypes.WinDLL | None = None


def load() -> ctypes.WinDLL:
    """Returns the library, which is loaded only from the system's directory.

    Raises:
        OSError: the library does not exist.
    """
    global _library
    with _loading:
        if _library is None:
            _library = ctypes.WinDLL(LIBRARY, winmode=LOAD_LIBRARY_SEARCH_SYSTEM32)
        return _library


def export(name: str) -> ctypes._FuncPointer:
    """Returns an export, with its argument types.

    Raises:
        NotSupportedError: the library or the export does not exist.
    """
    try:
        library = load()
    except OSError as error:
        detail = f"not supported on this build of Windows: {LIBRARY} cannot be loaded ({error.strerror or error})"
        raise NotSupportedError(LIBRARY, detail) from None
    try:
        function = library[name]
    except AttributeError:
        detail = f"not supported on this build of Windows: {LIBRARY} has no export {name}"
        raise NotSupportedError(LIBRARY, detail) from None
    function.argtypes = _PROTOTYPES[name]
    function.restype = ctypes.c_int32
    return function


def call(path: StrPath, name: str, *arguments: Any) -> None:
    """Calls an export, which returns an HRESULT.

    Args:
        path: the path that errors report.

    Raises:
        NotSupportedError: this build of Windows does not have the export.
        LayerError: the call failed; the detail is Windows' text.
    """
    function = export(name)
    result = function(*arguments)
    if result < 0:
        raise failure(path, name, result)


def failure(path: StrPath, name: str, result: int) -> OSError:
    """Returns the error for a failed HRESULT of the export `name`."""
    code = result & 0xFFFF_FFFF
    return from_windows_code(path, code, f"{name}: {winapi.message_of(code)} ({code:#010x})")


def driver_info() -> ctypes._Pointer[DriverInfo]:
    """Returns the filter driver, with an empty home directory: layers are named by their full paths."""
    return ctypes.pointer(DriverInfo(FILTER_DRIVER, ""))


def text(value: StrPath) -> str:
    """Returns a string as an argument. A NUL is refused, because Windows would end the string there.

    Raises:
        InvalidParameterError: the string contains a NUL.
    """
    string = os.fspath(value)
    if "\0" in string:
        raise InvalidParameterError(string.replace("\0", "\\0"), "a NUL in a name")
    return string


def take_string(address: int | None) -> str:
    """Returns the text at an address that a call returned, and frees its memory (`CoTaskMemFree`)."""
    if not address:
        return ""
    try:
        return ctypes.wstring_at(address)
    finally:
        _co_task_mem_free(address)


_co_task_mem_free = ctypes.WinDLL("ole32").CoTaskMemFree
_co_task_mem_free.argtypes = (ctypes.c_void_p,)
_co_task_mem_free.restype = None
