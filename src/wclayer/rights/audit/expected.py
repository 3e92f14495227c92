r"""What people can write in every Windows: findings that are no news, each with the reason.

The list has directories that Windows itself makes so that users can put files into them, and keys that services of it
share. It holds for no more rights than those that Windows gives there. What is not in the list is a finding, also if
the base image brought it.

Sources: "Allowing Windows Operating System Files to Run" (AppLocker) for `Windows\Temp`; the lists of directories of
`Windows` in which AccessChk finds that users may write ("Generic AppLocker bypasses"); for keys, the hive
SYSTEM of a new Windows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from wclayer.formats.regf.model import fold
from wclayer.inventory.collectors.services import SERVICES
from wclayer.inventory.subject.files import windows_path
from wclayer.rights.audit.judge import WRITING, Grant
from wclayer.rights.kinds import APPEND_DATA, CREATE_LINK, CREATE_SUB_KEY, SET_VALUE, WRITE_DATA, ObjectKind
from wclayer.win32.names import path_key

_CREATING = WRITE_DATA | APPEND_DATA
_TEMPORARY = "programs of all users keep temporary files there"
_TASKS = "users may register tasks that run as themselves"
_KEYS = "users' programs keep keys for all users there, each with a descriptor of its own"
_SPOOL = "users' programs hand over what is printed there"
_REPORTS = "users may keep reports of performance there"
_DIRECTORIES = {
    "Windows/Temp": _TEMPORARY,
    "Windows/Tasks": _TASKS,
    "Windows/System32/Tasks": _TASKS,
    "Windows/System32/Tasks_Migrated": _TASKS,
    "Windows/System32/Tasks/Microsoft/Windows/PLA/System": _TASKS,
    "Windows/System32/Tasks/Microsoft/Windows/RemoteApp and Desktop Connections Update": _TASKS,
    "Windows/System32/Tasks/Microsoft/Windows/SyncCenter": _TASKS,
    "Windows/SysWOW64/Tasks": _TASKS,
    "Windows/SysWOW64/Tasks/Microsoft/Windows/PLA/System": _TASKS,
    "Windows/SysWOW64/Tasks/Microsoft/Windows/RemoteApp and Desktop Connections Update": _TASKS,
    "Windows/SysWOW64/Tasks/Microsoft/Windows/SyncCenter": _TASKS,
    "Windows/tracing": "programs that users run write traces there",
    "Windows/debug/WIA": "programs that users run write traces of scanners there",
    "Windows/Registration/CRMLog": "programs that users run keep logs of COM+ transactions there",
    "Windows/System32/com/dmp": "programs that users run write dumps of COM+ there",
    "Windows/SysWOW64/com/dmp": "programs that users run write dumps of COM+ there",
    "Windows/System32/FxsTmp": "users' programs hand over faxes there",
    "Windows/SysWOW64/FxsTmp": "users' programs hand over faxes there",
    "Windows/System32/spool/PRINTERS": _SPOOL,
    "Windows/System32/spool/SERVERS": _SPOOL,
    "Windows/System32/spool/drivers/color": "users may install profiles of colours",
    "Windows/PLA/Reports": _REPORTS,
    "Windows/PLA/Rules": _REPORTS,
    "Windows/PLA/Templates": _REPORTS,
    "Windows/PLA/System": _REPORTS,
    "Windows/System32/Microsoft/Crypto/RSA/MachineKeys": _KEYS,
    "Windows/System32/Microsoft/Crypto/DSS/MachineKeys": _KEYS,
    "ProgramData/Microsoft/Crypto/RSA/MachineKeys": _KEYS,
    "ProgramData/Microsoft/Crypto/DSS/MachineKeys": _KEYS,
    "ProgramData/Microsoft/Crypto/Keys": _KEYS,
}
_AS_MADE = "Windows makes the key so"
_SERVICE_KEYS = {
    r"BTAGService\Parameters\Settings": (SET_VALUE | CREATE_SUB_KEY, "users set up sound over Bluetooth"),
    r"embeddedmode\Parameters": (CREATE_SUB_KEY, _AS_MADE),
    r"gpsvc\TriggerInfo": (CREATE_LINK, _AS_MADE),
    r"lfsvc\Components\SUPL": (WRITING[ObjectKind.KEY], _AS_MADE),
    r"NlaSvc\Parameters": (CREATE_SUB_KEY, _AS_MADE),
    r"NlaSvc\Parameters\Internet\ManualProxies": (SET_VALUE, "users state their proxies"),
    r"vds\Alignment": (CREATE_SUB_KEY, _AS_MADE),
}
_FILES = {path_key(path): (_CREATING, reason) for path, reason in _DIRECTORIES.items()}
_KEYS_OF_SERVICES = {fold(path): known for path, known in _SERVICE_KEYS.items()}


def why_expected(key: str, kind: ObjectKind, grants: Iterable[Grant]) -> str:
    """Returns why everybody expects that people can write something; "" if nobody does.

    Args:
        key: the path key of a directory below C:, or the folded path of a key below that of the services.
        kind: what it is.
        grants: who may write.
    """
    if kind is ObjectKind.FILE:
        return ""
    allowed, reason = (_KEYS_OF_SERVICES if kind is ObjectKind.KEY else _FILES).get(key, (0, ""))
    return reason if all(not grant.mask & ~allowed for grant in grants) else ""


def expected_places() -> Iterator[tuple[str, tuple[str, ...], str]]:
    r"""Yields what is expected: the path of a directory or a key as Windows writes it, the rights in words, and why."""
    for path, reason in _DIRECTORIES.items():
        yield windows_path(path), ObjectKind.DIRECTORY.words(_CREATING), reason
    for key, (mask, reason) in _SERVICE_KEYS.items():
        yield rf"{SERVICES}\{key}", ObjectKind.KEY.words(mask), reason
