"""Who an audit asks for: everybody who is no administrator, by the groups that Windows puts them in.

Each of them is asked for with the SIDs that everyone in the group has for sure, so that an entry which denies
something to Everyone holds for Users, too, and one that allows it to Users does not hold for Guests.

Sources: "Special identities" and "Security identifiers" (Windows Server); "Run as a non-privileged user" (Windows
containers) for ContainerUser.
"""

from __future__ import annotations

from collections.abc import Mapping

from wclayer.rights.access import HIGH, SYSTEM, UNTRUSTED, Token
from wclayer.win32.accounts import CONTAINER_USER
from wclayer.win32.sid import ADMINISTRATORS, ALIASES, LOCAL_SYSTEM, USERS, Sid

EVERYONE, AUTHENTICATED, INTERACTIVE = ALIASES["WD"], ALIASES["AU"], ALIASES["IU"]
_ANONYMOUS, _GUESTS, _NETWORK = ALIASES["AN"], ALIASES["BG"], ALIASES["NU"]
_LOCAL, _CONSOLE, _ORGANIZATION, _LOCAL_ACCOUNT = Sid(2, (0,)), Sid(2, (1,)), Sid(5, (15,)), Sid(5, (113,))
_REMOTE_INTERACTIVE, _TERMINAL_USER = Sid(5, (14,)), Sid(5, (13,))
_DOMAIN_USERS, _DOMAIN_GUESTS = 513, 514

_LOGGED_ON = (INTERACTIVE, _LOCAL, _CONSOLE, _ORGANIZATION)
STANDARD_USER = Token.of(EVERYONE, AUTHENTICATED, USERS, *_LOGGED_ON)
"""A user without any special rights, who is logged on at the machine, or runs in a container."""
ADMINISTRATOR = Token.of(EVERYONE, AUTHENTICATED, USERS, ADMINISTRATORS, *_LOGGED_ON, integrity=HIGH)
SYSTEM_ACCOUNT = Token.of(EVERYONE, AUTHENTICATED, ADMINISTRATORS, LOCAL_SYSTEM, integrity=SYSTEM)

AUDITED: Mapping[Sid, Token] = {
    EVERYONE: Token.of(EVERYONE),
    AUTHENTICATED: Token.of(AUTHENTICATED, EVERYONE),
    USERS: Token.of(USERS, AUTHENTICATED, EVERYONE),
    INTERACTIVE: Token.of(INTERACTIVE, EVERYONE),
    _NETWORK: Token.of(_NETWORK, EVERYONE),
    _LOCAL: Token.of(_LOCAL, EVERYONE),
    _CONSOLE: Token.of(_CONSOLE, EVERYONE),
    _REMOTE_INTERACTIVE: Token.of(_REMOTE_INTERACTIVE, EVERYONE),
    _TERMINAL_USER: Token.of(_TERMINAL_USER, EVERYONE),
    _ORGANIZATION: Token.of(_ORGANIZATION, AUTHENTICATED, EVERYONE),
    _LOCAL_ACCOUNT: Token.of(_LOCAL_ACCOUNT, EVERYONE),
    _GUESTS: Token.of(_GUESTS, EVERYONE),
    _ANONYMOUS: Token.of(_ANONYMOUS, integrity=UNTRUSTED),
    ALIASES["RD"]: Token.of(ALIASES["RD"], EVERYONE),
    CONTAINER_USER: Token.of(CONTAINER_USER, EVERYONE, AUTHENTICATED, USERS, *_LOGGED_ON),
}
"""Those who are audited, with what each of them has in its token."""


def token_of(sid: Sid) -> Token | None:
    """Returns the token of somebody who is audited; None for a SID that is not."""
    known = AUDITED.get(sid)
    if known is None and _is_of_domain(sid):
        return Token.of(sid, EVERYONE)
    return known


def _is_of_domain(sid: Sid) -> bool:
    """Returns whether a SID is that of the users, or the guests, of a domain."""
    numbers = sid.sub_authorities
    return (
        sid.authority == 5 and len(numbers) == 5 and numbers[0] == 21 and numbers[-1] in (_DOMAIN_USERS, _DOMAIN_GUESTS)
    )
