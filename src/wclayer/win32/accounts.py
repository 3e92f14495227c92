"""Names of accounts that have the same SID on every Windows, or whose SID follows from the name.

Sources: [MS-DTYP] section 2.4.2.4 (well-known SIDs), "Security identifiers" (Windows Server), "Application Pool
Identities" (IIS), [MS-LSAT] for virtual accounts.
"""

from __future__ import annotations

import hashlib
import struct

from wclayer.win32.sid import ALIASES, TRUSTED_INSTALLER, Sid, vm_sid

CONTAINER_ADMINISTRATOR = Sid(5, (93, 2, 1))
CONTAINER_USER = Sid(5, (93, 2, 2))

_PACKAGES = "APPLICATION PACKAGE AUTHORITY"
_NAMES: dict[str, dict[str, Sid]] = {
    "": {
        "Everyone": ALIASES["WD"], "CREATOR OWNER": ALIASES["CO"], "CREATOR GROUP": ALIASES["CG"],
        "OWNER RIGHTS": ALIASES["OW"], "LOCAL": Sid(2, (0,)), "CONSOLE LOGON": Sid(2, (1,)),
    },
    "NT AUTHORITY": {
        "SYSTEM": ALIASES["SY"], "LOCAL SERVICE": ALIASES["LS"], "NETWORK SERVICE": ALIASES["NS"],
        "Authenticated Users": ALIASES["AU"], "INTERACTIVE": ALIASES["IU"], "NETWORK": ALIASES["NU"],
        "SERVICE": ALIASES["SU"], "BATCH": Sid(5, (3,)), "DIALUP": Sid(5, (1,)), "ANONYMOUS LOGON": ALIASES["AN"],
        "SELF": ALIASES["PS"], "RESTRICTED": ALIASES["RC"], "IUSR": Sid(5, (17,)),
        "TERMINAL SERVER USER": Sid(5, (13,)),
        "REMOTE INTERACTIVE LOGON": Sid(5, (14,)), "This Organization": Sid(5, (15,)),
        "ENTERPRISE DOMAIN CONTROLLERS": ALIASES["ED"], "WRITE RESTRICTED": ALIASES["WR"],
        "Local account": Sid(5, (113,)),
        "Local account and member of Administrators group": Sid(5, (114,)),
    },
    "BUILTIN": {
        "Administrators": ALIASES["BA"], "Users": ALIASES["BU"], "Guests": ALIASES["BG"], "Power Users": ALIASES["PU"],
        "Backup Operators": ALIASES["BO"], "Replicator": ALIASES["RE"], "IIS_IUSRS": ALIASES["IS"],
        "Remote Desktop Users": ALIASES["RD"], "Network Configuration Operators": ALIASES["NO"],
        "Performance Monitor Users": ALIASES["MU"], "Performance Log Users": ALIASES["LU"],
        "Distributed COM Users": ALIASES["CD"], "Cryptographic Operators": ALIASES["CY"],
        "Event Log Readers": ALIASES["ER"], "Hyper-V Administrators": ALIASES["HA"],
        "Remote Management Users": ALIASES["RM"], "Print Operators": ALIASES["PO"],
    },
    "User Manager": {"ContainerAdministrator": CONTAINER_ADMINISTRATOR, "ContainerUser": CONTAINER_USER},
    "NT SERVICE": {"TrustedInstaller": TRUSTED_INSTALLER, "ALL SERVICES": Sid(5, (80, 0))},
    "NT VIRTUAL MACHINE": {"Virtual Machines": Sid(5, (83, 0))},
    _PACKAGES: {
        "ALL APPLICATION PACKAGES": ALIASES["AC"], "ALL RESTRICTED APPLICATION PACKAGES": Sid(15, (2, 2)),
    },
}  # fmt: skip
_BY_AUTHORITY = {
    authority.upper(): {name.upper(): sid for name, sid in names.items()} for authority, names in _NAMES.items()
}
_WITHOUT_AUTHORITY = {
    name: sid for authority, names in _BY_AUTHORITY.items() if authority != "NT VIRTUAL MACHINE"
    for name, sid in names.items()
}  # fmt: skip
_OF_SID = {
    sid: rf"{authority}\{name}" if authority else name
    for authority, names in _NAMES.items()
    for name, sid in names.items()
}
SERVICE, APPLICATION_POOL = 80, 82
"""The kinds of virtual accounts."""


def account_sid(name: str) -> Sid:
    r"""Returns the SID of an account: `Users`, `BUILTIN\Users`, `NT SERVICE\W3SVC`, `IIS AppPool\Site`, `S-1-…`.

    The SID of a service and of an application pool is made from its name, so every name has one.

    Raises:
        ValueError: the SID is one of a certain machine or domain.
    """
    text = name.strip()
    if text.upper().startswith(("S-1-", "*S-1-")):
        return Sid.parse(text.removeprefix("*"))
    authority, separator, account = text.upper().rpartition("\\")
    found = _BY_AUTHORITY.get(authority, {}).get(account) if separator else _WITHOUT_AUTHORITY.get(account)
    if found is not None:
        return found
    if authority == "NT SERVICE" and account:
        return virtual_account_sid(SERVICE, account)
    if authority == "IIS APPPOOL" and account:
        return virtual_account_sid(APPLICATION_POOL, account.lower())
    if authority == "NT VIRTUAL MACHINE" and account:
        return vm_sid(account)
    raise ValueError(
        rf"{name!r} is no account that every Windows has; name its SID (*S-1-5-21-…), a built-in account (Users, "
        r"NT AUTHORITY\SYSTEM), NT SERVICE\NAME or IIS AppPool\NAME"
    )


def account_name(sid: Sid) -> str | None:
    r"""Returns the name of an account that every Windows has, as Windows shows it: `BUILTIN\Users`; None for others."""
    return _OF_SID.get(sid)


def virtual_account_sid(kind: int, name: str) -> Sid:
    """Returns the SID of a virtual account: the SHA-1 of its name in UTF-16LE as five numbers.

    Args:
        kind: `SERVICE`, whose names are in upper case, or `APPLICATION_POOL`, in lower case.
        name: the name, in that case.
    """
    digest = hashlib.sha1(name.encode("utf-16-le", "surrogatepass"), usedforsecurity=False).digest()
    return Sid(5, (kind, *struct.unpack("<5I", digest)))
