r"""The names of AppX and MSIX packages ("Package identity", Windows app development).

The full name of a package has its name, version, processor, resource and the hash of its publisher, with `_` between
them: `Microsoft.WindowsStore_11602.1.26.0_neutral_~_8wekyb3d8bbwe`. The name of its family has only the first and the
last of them.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from wclayer.errors import FormatError

_NAME = re.compile(
    r"([A-Za-z0-9.-]{1,50})_([0-9]{1,5}(?:\.[0-9]{1,5}){3})_([A-Za-z0-9]{1,10})_([A-Za-z0-9.~-]{0,30})_"
    r"([0-9a-hjkmnp-tv-z]{13})",
    re.ASCII | re.IGNORECASE,
)
_FAMILY = re.compile(r"[A-Za-z0-9.-]{1,50}_[0-9a-hjkmnp-tv-z]{13}", re.ASCII | re.IGNORECASE)
_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
_PUBLISHER_BITS = 65


@dataclass(frozen=True, slots=True)
class PackageName:
    """The full name of a package in its parts."""

    name: str
    version: str
    architecture: str
    resource: str
    publisher_id: str

    @property
    def family(self) -> str:
        """The name and the publisher: what all versions of the package have in common."""
        return f"{self.name}_{self.publisher_id}"

    def __str__(self) -> str:
        return "_".join((self.name, self.version, self.architecture, self.resource, self.publisher_id))


def parse_full_name(text: str) -> PackageName:
    """Returns the parts of the full name of a package.

    Raises:
        FormatError: it is none.
    """
    found = _NAME.fullmatch(text)
    if found is None:
        raise FormatError(f"{text[:100]!r} is not the full name of a package")
    return PackageName(*found.groups())


def publisher_id(publisher: str) -> str:
    """Returns the hash of a publisher: the beginning of the SHA-256 of its name, in 13 digits of 5 bits."""
    start = hashlib.sha256(publisher.encode("utf-16-le", "surrogatepass")).digest()[:8]
    number = int.from_bytes(start, "big") << 1
    return "".join(_DIGITS[number >> shift & 0x1F] for shift in range(_PUBLISHER_BITS - 5, -1, -5))


def is_family_name(text: str) -> bool:
    """Returns whether a text is the name of a family of packages."""
    return _FAMILY.fullmatch(text) is not None
