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
_BY_AUTHORITY: dict[str, dict[str, Sid]] = {
    "": {
        "EVERYONE": ALIASES["WD"], "CREATOR OWNER": ALIASES["CO"], "CREATOR GROUP": ALIASES["CG"],
        "OWNER RIGHTS": ALIASES["OW"], "LOCAL": Sid(2, (0,)), "CONSOLE LOGON": Sid(2, (1,)),
    },
    "NT AUTHORITY": {
        "SYSTEM": ALIASES["SY"], "LOCAL SERVICE": ALIASES["LS"], "NETWORK SERVICE": ALIASES["NS"],
        "AUTHENTICATED USERS": ALIASES["AU"], "INTERACTIVE": ALIASES["IU"], "NETWORK": ALIASES["NU"],
        "SERVICE": ALIASES["SU"], "BATCH": Sid(5, (3,)), "DIALUP": Sid(5, (1,)), "ANONYMOUS LOGON": ALIASES["AN"],
        "SELF": ALIASES["PS"], "RESTRICTED": ALIASES["RC"], "IUSR": Sid(5, (17,)),
        "TERMINAL SERVER USER": Sid(5, (13,)),
        "REMOTE INTERACTIVE LOGON": Sid(5, (14,)), "THIS ORGANIZATION": Sid(5, (15,)),
        "ENTERPRISE DOMAIN CONTROLLERS": ALIASES["ED"], "WRITE RESTRICTED": ALIASES["WR"],
        "LOCAL ACCOUNT": Sid(5, (113,)),
        "LOCAL ACCOUNT AND MEMBER OF ADMINISTRATORS GROUP": Sid(5, (114,)),
    },
    "BUILTIN": {
        "ADMINISTRATORS": ALIASES["BA"], "USERS": ALIASES["BU"], "GUESTS": ALIASES["BG"], "POWER USERS": ALIASES["PU"],
        "BACKUP OPERATORS": ALIASES["BO"], "REPLICATOR": ALIASES["RE"], "IIS_IUSRS": ALIASES["IS"],
        "REMOTE DESKTOP USERS": ALIASES["RD"], "NETWORK CONFIGURATION OPERATORS": ALIASES["NO"],
        "PERFORMANCE MONITOR USERS": ALIASES["MU"], "PERFORMANCE LOG USERS": ALIASES["LU"],
        "DISTRIBUTED COM USERS": ALIASES["CD"], "CRYPTOGRAPHIC OPERATORS": ALIASES["CY"],
        "EVENT LOG READERS": ALIASES["ER"], "HYPER-V ADMINISTRATORS": ALIASES["HA"],
        "REMOTE MANAGEMENT USERS": ALIASES["RM"], "PRINT OPERATORS": ALIASES["PO"],
    },
    "USER MANAGER": {"CONTAINERADMINISTRATOR": CONTAINER_ADMINISTRATOR, "CONTAINERUSER": CONTAINER_USER},
    "NT SERVICE": {"TRUSTEDINSTALLER": TRUSTED_INSTALLER, "ALL SERVICES": Sid(5, (80, 0))},
    "NT VIRTUAL MACHINE": {"VIRTUAL MACHINES": Sid(5, (83, 0))},
    _PACKAGES: {
        "ALL APPLICATION PACKAGES": ALIASES["AC"], "ALL RESTRICTED APPLICATION PACKAGES": Sid(15, (2, 2)),
    },
}  # fmt: skip
_WITHOUT_AUTHORITY = {
    name: sid for authority, names in _BY_AUTHORITY.items() if authority != "NT VIRTUAL MACHINE"
    for name, sid in names.items()
}  # fmt: skip
_SERVICE, _APPLICATION_POOL = 80, 82


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
        return virtual_account_sid(_SERVICE, account)
    if authority == "IIS APPPOOL" and account:
        return virtual_account_sid(_APPLICATION_POOL, account.lower())
    if authority == "NT VIRTUAL MACHINE" and account:
        return vm_sid(account)
    raise ValueError(
        rf"{name!r} is no account that every Windows has; name its SID (*S-1-5-21-…), a built-in account (Users, "
        r"NT AUTHORITY\SYSTEM), NT SERVICE\NAME or IIS AppPool\NAME"
    )


def virtual_account_sid(kind: int, name: str) -> Sid:
    """Returns the SID of a virtual account: the SHA-1 of its name in UTF-16LE as five numbers.

    Args:
        kind: 80 for services, whose names are in upper case; 82 for application pools, in lower case.
        name: the name, in that case.
    """
    digest = hashlib.sha1(name.encode("utf-16-le", "surrogatepass"), usedforsecurity=False).digest()
    return Sid(5, (kind, *struct.unpack("<5I", digest)))
