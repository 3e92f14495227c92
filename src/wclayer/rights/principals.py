"""Who a SID is, in words.

Sources: [MS-DTYP] 2.4.2.4 (well-known SIDs), "Security identifiers" (Windows Server), "Capability SID Constants" and
"DeriveCapabilitySidsFromName" (Win32), [MS-SAMR] 3.1.4.2 (relative identifiers).
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from wclayer.rights.access import LABEL_AUTHORITY
from wclayer.win32.accounts import SERVICE, account_name, virtual_account_sid
from wclayer.win32.sid import ALIASES, Sid

_NT, _MACHINE, _PACKAGES, _TRUST = 5, 21, 15, 19
_LEVELS = {
    0x0: "Untrusted", 0x1000: "Low", 0x2000: "Medium", 0x2100: "Medium Plus", 0x3000: "High", 0x4000: "System",
    0x5000: "Protected Process",
}  # fmt: skip
_RELATIVE = {
    500: "Administrator", 501: "Guest", 503: "DefaultAccount", 504: "WDAGUtilityAccount", 512: "Domain Admins",
    513: "Domain Users (or None)", 514: "Domain Guests", 515: "Domain Computers", 516: "Domain Controllers",
    518: "Schema Admins", 519: "Enterprise Admins", 520: "Group Policy Creator Owners",
}  # fmt: skip
_OLD_CAPABILITIES = (
    "", "internetClient", "internetClientServer", "privateNetworkClientServer", "picturesLibrary", "videosLibrary",
    "musicLibrary", "documentsLibrary", "enterpriseAuthentication", "sharedUserCertificates", "removableStorage",
    "appointments", "contacts",
)  # fmt: skip
_NAMED_CAPABILITIES = (
    "registryRead", "lpacAppExperience", "lpacCom", "lpacCryptoServices", "lpacDeviceAccess",
    "lpacEnterprisePolicyChangeNotifications", "lpacIdentityServices", "lpacInstrumentation", "lpacMedia",
    "lpacPackageManagerOperation", "lpacPayments", "lpacPnPNotifications", "lpacPrinting", "lpacServicesManagement",
    "lpacSessionManagement", "lpacWebPlatform",
)  # fmt: skip
_HASHED = 1024
_FIXED = {
    ALIASES["AS"]: "an identity that the authentication authority asserts",
    ALIASES["SS"]: "an identity that a service asserts",
    ALIASES["UD"]: "drivers in user mode",
}
_BY_FIRST = {
    82: "an application pool of IIS", 83: "a virtual machine", 84: "drivers in user mode", 87: "a scheduled task",
    90: "a window manager", 93: "an account of containers", 94: "Windows Remoting", 96: "a font driver host",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Principal:
    r"""An account, a group, or whatever else has a SID.

    Attributes:
        sid: the SID as text: `S-1-5-32-545`.
        name: its name (`BUILTIN\Users`), or what is known of it in words.
        is_named: True if that is its name; False if the SID has none that is known here.
    """

    sid: str
    name: str
    is_named: bool

    def __str__(self) -> str:
        return f"{self.name} ({self.sid})"

    def text(self, *, with_sid: bool) -> str:
        """Returns the name, with the SID if that is asked for or if there is no name."""
        return str(self) if with_sid or not self.is_named else self.name


class AccountNames:
    """The names of SIDs: those that every Windows has, and those of one image.

    Args:
        names: the names of the image's own accounts and groups.
        services: the names of its services, each of which has a SID.
    """

    def __init__(self, names: Mapping[Sid, str] | None = None, services: Iterable[str] = ()) -> None:
        self._names = {virtual_account_sid(SERVICE, name.upper()): rf"NT SERVICE\{name}" for name in services}
        self._names |= names or {}

    def principal(self, sid: Sid) -> Principal:
        """Returns who a SID is."""
        name = account_name(sid) or self._names.get(sid)
        return Principal(str(sid), name or _described(sid), name is not None)


def _described(sid: Sid) -> str:
    """Returns what the numbers of a SID say."""
    first, *rest = (*sid.sub_authorities, 0)
    if sid in _FIXED:
        return _FIXED[sid]
    if sid.authority == LABEL_AUTHORITY:
        return f"integrity level {level_name(first)}"
    if sid.authority == _PACKAGES:
        return _package(sid)
    if sid.authority == _TRUST:
        return "a protected process"
    if sid.authority != _NT:
        return "an unknown SID"
    if first == _MACHINE and len(sid.sub_authorities) == 5:
        return _relative(sid.sub_authorities[-1])
    if first == SERVICE:
        return "a service whose name is not known"
    if first == 5 and len(sid.sub_authorities) == 3:
        return "a logon session"
    if first == 32 and len(sid.sub_authorities) == 9:
        return "the services with a capability"
    if first == 64:
        return {10: "logons by NTLM", 14: "logons by SChannel", 21: "logons by digest"}.get(rest[0], "kind of logon")
    return _BY_FIRST.get(first, "an unknown SID")


def _relative(number: int) -> str:
    known = _RELATIVE.get(number)
    if known is None:
        return "an account of a machine or a domain, whose name is not known"
    return f"{known} of a machine or a domain"


def _package(sid: Sid) -> str:
    numbers = sid.sub_authorities
    if numbers[:1] == (2,):
        return "an app in an AppContainer"
    if numbers[:2] == (3, _HASHED):
        name = next((name for name in _NAMED_CAPABILITIES if capability_sid(name) == sid), "")
        return f"apps with the capability {name}" if name else "apps with a capability"
    if numbers[:1] == (3,) and len(numbers) == 2 and 0 < numbers[1] < len(_OLD_CAPABILITIES):
        return f"apps with the capability {_OLD_CAPABILITIES[numbers[1]]}"
    return "apps with a capability" if numbers[:1] == (3,) else "an unknown SID of apps"


def capability_sid(name: str) -> Sid:
    """Returns the SID of a capability: the SHA-256 of its name in upper case, in UTF-16LE, as eight numbers."""
    digest = hashlib.sha256(name.upper().encode("utf-16-le")).digest()
    return Sid(_PACKAGES, (3, _HASHED, *struct.unpack("<8I", digest)))


def level_name(level: int) -> str:
    """Returns the name of an integrity level, which is the last number of its SID."""
    return _LEVELS.get(level, f"{level:#x}")
