r"""The value `Blob` of a certificate in a store of the registry: properties, one of which is the certificate.

Source: [MS-OSHARED] sections 2.3.2.5.1 and 2.3.2.5.3, whose entries are the form of each property;
"CertGetCertificateContextProperty" has their numbers. All numbers are little-endian. The files of a user in
`AppData\Roaming\Microsoft\SystemCertificates` have the same form.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import NamedTuple

from wclayer.errors import FormatError

_ENTRY = Struct("<III")
_MOST = 1000


class PropertyId(IntEnum):
    """CERT_…_PROP_ID, as far as they are used here."""

    SHA1 = 3
    FRIENDLY_NAME = 11
    CERTIFICATE = 32


class _Entry(NamedTuple):
    """`_ENTRY`, unpacked: what is before the data of a property."""

    number: int
    encoding: int
    size: int


class CertificateBlob(NamedTuple):
    """What a blob says of a certificate."""

    certificate: bytes
    """DER; empty if it is not there."""
    sha1: bytes
    """Empty if it is not there."""
    friendly_name: str


def parse_certificate_blob(data: bytes) -> CertificateBlob:
    """Returns what a blob says of a certificate. Of several properties with one number, the first one counts.

    Raises:
        FormatError: a property lies outside of the blob, or there are more than 1,000.
    """
    found: dict[int, bytes] = {}
    place = count = 0
    while place < len(data):
        count += 1
        if len(data) - place < _ENTRY.size or count > _MOST:
            raise FormatError(
                f"property {count} of a certificate at {place} is cut off, or there are more than {_MOST}"
            )
        entry = _Entry._make(_ENTRY.unpack_from(data, place))
        place += _ENTRY.size
        if entry.size > len(data) - place:
            raise FormatError(
                f"property {entry.number} of a certificate has {entry.size} bytes, and {len(data) - place} follow"
            )
        found.setdefault(entry.number, data[place : place + entry.size])
        place += entry.size
    name = found.get(PropertyId.FRIENDLY_NAME, b"")
    return CertificateBlob(
        found.get(PropertyId.CERTIFICATE, b""),
        found.get(PropertyId.SHA1, b""),
        name[: len(name) & ~1].decode("utf-16-le", "replace").partition("\0")[0],
    )
