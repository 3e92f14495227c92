"""The root key of a new, empty hive."""

from __future__ import annotations

from wclayer.formats.regf.model import KeyMetadata, TreeKey
from wclayer.formats.regf.structs import KeyFlags
from wclayer.win32.sddl import from_sddl

ROOT_NAME = "ROOT"
"""The name of the root key of a new hive in Windows 8 and later."""
# The descriptor of HKEY_LOCAL_MACHINE\SOFTWARE: full access for the system and administrators, reading for users.
_ROOT_SDDL = "O:BAG:SYD:P(A;CI;KR;;;BU)(A;CI;KA;;;BA)(A;CI;KA;;;SY)(A;CIIO;KA;;;CO)(A;CI;KR;;;AC)"


def root_security() -> bytes:
    """Returns the security descriptor of a new hive's root key."""
    return from_sddl(_ROOT_SDDL).encode()


def empty_root(last_written: int = 0) -> TreeKey:
    """Returns the root key of a new hive."""
    return TreeKey(ROOT_NAME, KeyMetadata(last_written, root_security(), flags=int(KeyFlags.NO_DELETE)))
