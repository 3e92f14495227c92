"""Owners of files by the names that Windows has for them: `--chown` of COPY and ADD."""

from __future__ import annotations

from wclayer.errors import InvalidParameterError
from wclayer.win32.names import name_key
from wclayer.win32.sid import ADMINISTRATORS, LOCAL_SYSTEM, TRUSTED_INSTALLER, USERS, VIRTUAL_MACHINES, Sid

CONTAINER_ADMINISTRATOR = Sid(5, (93, 2, 1))
CONTAINER_USER = Sid(5, (93, 2, 2))
_AUTHORITIES = ("NT AUTHORITY", "BUILTIN", "NT SERVICE", "NT VIRTUAL MACHINE", "USER MANAGER")
# [MS-DTYP] 2.4.2.4; the accounts of containers are those of Docker on Windows ("USER MANAGER").
_WELL_KNOWN = {
    "ContainerAdministrator": CONTAINER_ADMINISTRATOR,
    "ContainerUser": CONTAINER_USER,
    "Administrators": ADMINISTRATORS,
    "Users": USERS,
    "Guests": Sid(5, (32, 546)),
    "Power Users": Sid(5, (32, 547)),
    "SYSTEM": LOCAL_SYSTEM,
    "LOCAL SYSTEM": LOCAL_SYSTEM,
    "LOCAL SERVICE": Sid(5, (19,)),
    "NETWORK SERVICE": Sid(5, (20,)),
    "SERVICE": Sid(5, (6,)),
    "INTERACTIVE": Sid(5, (4,)),
    "Authenticated Users": Sid(5, (11,)),
    "Everyone": Sid(1, (0,)),
    "CREATOR OWNER": Sid(3, (0,)),
    "CREATOR GROUP": Sid(3, (1,)),
    "TrustedInstaller": TRUSTED_INSTALLER,
    "Virtual Machines": VIRTUAL_MACHINES,
}
_BY_KEY = {name_key(name): sid for name, sid in _WELL_KNOWN.items()}


def parse_account(text: str) -> Sid:
    r"""Returns the SID of a well-known account.

    Args:
        text: a name in any case, perhaps with its authority (`BUILTIN\Administrators`); a SID (`S-1-5-32-544`); or the
            two letters that SDDL has for it (`BA`).

    Raises:
        InvalidParameterError: it is none of these: accounts of a machine have SIDs that only this machine knows.
    """
    authority, backslash, name = text.rpartition("\\")
    if not backslash or name_key(authority) in _AUTHORITIES:
        found = _BY_KEY.get(name_key(name))
        if found is not None:
            return found
    try:
        return Sid.parse(text)
    except ValueError:
        known = ", ".join(sorted(_WELL_KNOWN))
        raise InvalidParameterError(
            text, f"is not an account that every Windows has; possible are a SID (S-1-…) and {known}"
        ) from None


def parse_owner(text: str) -> tuple[Sid, Sid | None]:
    """Returns the owner and the group, if there is one, of `OWNER` or `OWNER:GROUP`.

    Raises:
        InvalidParameterError: one of them is not an account that every Windows has.
    """
    owner, colon, group = text.partition(":")
    return parse_account(owner), parse_account(group) if colon else None
