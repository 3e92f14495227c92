"""Windows file names: the rules for legal and reserved names, and for comparing names.

Names are Python strings. An unpaired surrogate, which NTFS allows, stays one unpaired surrogate code point. Sources:
[MS-FSCC] section 2.1.5 (pathname, filename, stream name); "Naming Files, Paths, and Namespaces" (reserved names).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from wclayer.win32.upcase import upcase

__all__ = [
    "MAX_COMPONENT_UNITS",
    "collation_key",
    "decode_name",
    "encode_name",
    "illegal_reason",
    "is_reserved",
    "last_component",
    "name_key",
    "names_equal",
    "path_key",
    "sorted_keys",
    "sorted_paths",
    "split_path",
    "stream_illegal_reason",
    "unusable_reason",
    "utf16_length",
]

MAX_COMPONENT_UNITS = 255
"""The length of the longest name that NTFS stores, in UTF-16 code units."""

# NTFS rejects these in a name ([MS-FSCC] 2.1.5.2): control characters and the separators and wildcards of Win32.
_ILLEGAL = frozenset(map(chr, range(32))) | frozenset('"*/:<>?\\|')
_ILLEGAL_BYTES = "".join(sorted(_ILLEGAL))
_STRIP_ILLEGAL = {ord(c): None for c in _ILLEGAL_BYTES}
_DEVICES = frozenset(
    ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"]
    + [f"{device}{digit}" for device in ("COM", "LPT") for digit in "0123456789\u00b9\u00b2\u00b3"]
)


def utf16_length(name: str) -> int:
    """Returns the number of UTF-16 code units in `name`."""
    return len(name) if name.isascii() else len(name) + sum(c > "\uffff" for c in name)


def illegal_reason(name: str) -> str | None:
    """Returns why NTFS would refuse `name` as one path component, or None if NTFS would accept it.

    Reserved device names and trailing dots or spaces are legal here: NTFS stores them, and real layers have them.
    """
    if not name:
        return "empty name"
    if name in (".", ".."):
        return f"name {name!r}"
    if len(name.translate(_STRIP_ILLEGAL)) != len(name):
        return f"character {next(c for c in name if c in _ILLEGAL)!r} in a name"
    if len(name) > 127 and utf16_length(name) > MAX_COMPONENT_UNITS:
        return f"name longer than {MAX_COMPONENT_UNITS} UTF-16 units"
    return None


def stream_illegal_reason(name: str) -> str | None:
    """Returns why NTFS would refuse `name`, without colons, as the name of a stream, or None ([MS-FSCC] 2.1.5.3)."""
    if not name:
        return "empty stream name"
    for c in name:
        if c in "\0/\\:":
            return f"character {c!r} in a stream name"
    if utf16_length(name) > MAX_COMPONENT_UNITS:
        return f"stream name longer than {MAX_COMPONENT_UNITS} UTF-16 units"
    return None


def is_reserved(name: str) -> bool:
    """Returns whether Win32 (not NTFS) interprets `name` as a device: CON, aux.txt, "COM1 .log", …"""
    return upcase(name.partition(".")[0].rstrip(" ")) in _DEVICES


def unusable_reason(name: str) -> str | None:
    """Returns why a program on Windows could not open `name` as one path component, or None.

    Such a name is illegal, reserved, or ends in characters that Win32 cuts off ("Naming Files, Paths, and Namespaces").
    """
    if reason := illegal_reason(name):
        return reason
    if name[-1] in ". ":
        return f"name {name!r} ends in {name[-1]!r}"
    if is_reserved(name):
        return f"name {name!r} is that of a device"
    return None


def last_component(path: str) -> str:
    r"""Returns the last component of a path, whose separators are `\\` or `/`."""
    return re.split(r"[\\/]", path.rstrip("\\/"))[-1]


def name_key(name: str) -> str:
    """Returns the key of a name, for use in a dictionary. Names that Windows considers equal have the same key."""
    return upcase(name)


def path_key(path: str) -> str:
    """Returns a `/`-separated path with `name_key` applied to every component."""
    return upcase(path)


def collation_key(name: str) -> tuple[bytes, bytes]:
    """Returns NTFS's sort key of a name: the code units of its upper-case form, then its own ("Collation")."""
    return upcase(name).encode("utf-16-be", "surrogatepass"), name.encode("utf-16-be", "surrogatepass")


def sorted_keys(keys: Iterable[str]) -> list[str]:
    """Returns keys of `name_key` in the order in which NTFS lists their names: by code unit."""
    found = sorted(keys)
    # Python compares code points. This order is different if some of them need two units.
    if not all(map(str.isascii, found)) and any(max(key, default="") > "\uffff" for key in found):
        found.sort(key=lambda key: key.encode("utf-16-be", "surrogatepass"))
    return found


def sorted_paths(keys: Iterable[str]) -> list[str]:
    """Returns path keys in the order of a walk that goes through each directory as NTFS lists it, parents first."""
    # A slash would come after some characters that a name may have.
    return sorted(keys, key=lambda key: [name.encode("utf-16-be", "surrogatepass") for name in key.split("/")])


def names_equal(a: str, b: str) -> bool:
    """Returns whether Windows considers the two names equal."""
    return upcase(a) == upcase(b)


def split_path(path: str) -> list[str]:
    """Returns the components of a Windows or POSIX path. Leading, trailing and double separators are ignored."""
    return [part for part in path.replace("\\", "/").split("/") if part]


def encode_name(name: str) -> bytes:
    """Returns `name` in WTF-8: UTF-8 with unpaired surrogates in three bytes, which can encode every NTFS name."""
    return name.encode("utf-8", "surrogatepass")


def decode_name(data: bytes | memoryview) -> str:
    """Decodes a name: the inverse of `encode_name`. A surrogate pair in two three-byte sequences becomes one character.

    Raises:
        UnicodeDecodeError: `data` is neither UTF-8 nor WTF-8.
    """
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError:
        wide = str(data, "utf-8", "surrogatepass").encode("utf-16-le", "surrogatepass")
        return wide.decode("utf-16-le", "surrogatepass")
