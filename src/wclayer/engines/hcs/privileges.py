"""The privileges that backup and restore of files need, which the calling thread holds during a call.

Reference: go-winio, `RunWithPrivileges`: the thread gets a token of its own, in which the privileges are enabled, and
returns it. The process's own token does not change, so other threads keep their privileges.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import wintypes

from wclayer.errors import AccessDeniedError
from wclayer.host import winapi

NAMES = ("SeBackupPrivilege", "SeRestorePrivilege", "SeSecurityPrivilege")
_ERROR_PRIVILEGE_NOT_HELD = 1314
_SECURITY_IMPERSONATION = 2
_TOKEN_ADJUST_PRIVILEGES, _TOKEN_QUERY = 0x20, 0x8
_SE_PRIVILEGE_ENABLED = 2


class _Luid(ctypes.Structure):
    _fields_ = (("LowPart", wintypes.DWORD), ("HighPart", wintypes.LONG))


class _LuidAndAttributes(ctypes.Structure):
    _fields_ = (("Luid", _Luid), ("Attributes", wintypes.DWORD))


class _TokenPrivileges(ctypes.Structure):
    """TOKEN_PRIVILEGES."""

    _fields_ = (("PrivilegeCount", wintypes.DWORD), ("Privileges", _LuidAndAttributes * len(NAMES)))


_advapi32 = ctypes.WinDLL("advapi32", use_last_error=True)
_kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
_kernel32.GetCurrentThread.restype = wintypes.HANDLE
_advapi32.OpenThreadToken.argtypes = (wintypes.HANDLE, wintypes.DWORD, wintypes.BOOL, ctypes.POINTER(wintypes.HANDLE))
_advapi32.LookupPrivilegeValueW.argtypes = (wintypes.LPCWSTR, wintypes.LPCWSTR, ctypes.POINTER(_Luid))
_advapi32.AdjustTokenPrivileges.argtypes = (
    wintypes.HANDLE, wintypes.BOOL, ctypes.POINTER(_TokenPrivileges), wintypes.DWORD, ctypes.c_void_p, ctypes.c_void_p,
)  # fmt: skip

_thread = threading.local()
_luids: dict[str, _Luid] = {}


@contextmanager
def privileges(path: str) -> Iterator[None]:
    """Gives the calling thread the three privileges while the body runs. Inside another such body it does nothing.

    Args:
        path: the path that needs the privileges, for errors.

    Raises:
        AccessDeniedError: the user does not have the privileges.
    """
    if getattr(_thread, "holds", False):
        yield
        return
    if not _advapi32.ImpersonateSelf(_SECURITY_IMPERSONATION):
        raise _error(path, "the thread gets no token of its own")
    try:
        _enable(path)
        _thread.holds = True
        yield
    finally:
        _thread.holds = False
        _advapi32.RevertToSelf()


def _enable(path: str) -> None:
    wanted = _TokenPrivileges(len(NAMES))
    for place, name in zip(wanted.Privileges, NAMES, strict=True):
        place.Luid = _luid(path, name)
        place.Attributes = _SE_PRIVILEGE_ENABLED
    token = wintypes.HANDLE()
    access = _TOKEN_ADJUST_PRIVILEGES | _TOKEN_QUERY
    if not _advapi32.OpenThreadToken(_kernel32.GetCurrentThread(), access, False, ctypes.byref(token)):
        raise _error(path, "the thread's token cannot be opened")
    assert token.value is not None
    try:
        done = _advapi32.AdjustTokenPrivileges(token, False, ctypes.byref(wanted), 0, None, None)
        # The call also succeeds if it could enable only some of the privileges.
        if not done or ctypes.get_last_error() == winapi.ERROR_NOT_ALL_ASSIGNED:
            detail = f"needs {', '.join(NAMES)}: run it as an elevated administrator"
            raise AccessDeniedError(path, detail, code=_ERROR_PRIVILEGE_NOT_HELD)
    finally:
        winapi.close_handle(token.value)


def _luid(path: str, name: str) -> _Luid:
    """Returns the number that this run of Windows has for a privilege."""
    if name not in _luids:
        luid = _Luid()
        if not _advapi32.LookupPrivilegeValueW(None, name, ctypes.byref(luid)):
            raise _error(path, f"Windows does not know {name}")
        _luids[name] = luid
    return _luids[name]


def _error(path: str, what: str) -> AccessDeniedError:
    code = ctypes.get_last_error()
    return AccessDeniedError(path, f"{what}: {winapi.message_of(code)}", code=code)
