"""Reads the signatures in a PE file, and makes the hash that they sign.

A file may be signed by a catalog instead: then its hash is in a file elsewhere, and nothing in the file tells so.
Nothing is verified here.

Sources: "The Attribute Certificate Table (Image Only)" of "PE Format"; "Windows Authenticode Portable Executable
Signature Format".
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

from wclayer.formats.pe import structs
from wclayer.formats.pe.errors import PeError
from wclayer.formats.pe.image import PeImage
from wclayer.formats.pe.structs import CertificateHeader, CertificateType, Directory

_SIGNED_DATA = bytes.fromhex("06092a864886f70d010702")
"""The object identifier of PKCS #7's signed data, in DER."""
_HEAD_OF_DER = 32
"""Bytes in which the sequence and this identifier are."""


class Certificate(NamedTuple):
    """A WIN_CERTIFICATE: its type, and where what it holds is in the file."""

    type: int
    revision: int
    offset: int
    size: int
    is_signature: bool
    """True if it holds PKCS #7 signed data, as Authenticode's signatures do."""


def read_certificates(image: PeImage) -> tuple[Certificate, ...]:
    """Returns what is in the table of certificates, which is empty in a file without an embedded signature.

    Raises:
        PeError: the table or a certificate in it is not well formed.
    """
    directory = image.directory(Directory.SECURITY)
    if directory is None:
        return ()
    start, end = directory.rva, directory.rva + directory.size
    if end > image.size:
        raise PeError(f"the certificates end at {end:#x}; the file ends at {image.size:#x}", start)
    return tuple(_certificates(image, start, end))


def _certificates(image: PeImage, place: int, end: int) -> Iterator[Certificate]:
    header_size = structs.CERTIFICATE.size
    count = 0
    while end - place >= header_size:
        header = CertificateHeader._make(structs.CERTIFICATE.unpack(image.read_file(place, header_size)))
        if not header_size < header.length <= end - place:
            raise PeError(f"a certificate of {header.length} bytes, where there is room for {end - place}", place)
        if header.revision not in structs.CERTIFICATE_REVISIONS:
            raise PeError(f"a certificate of the unknown revision {header.revision:#x}", place)
        count += 1
        if count > structs.MAX_CERTIFICATES:
            raise PeError(f"more than {structs.MAX_CERTIFICATES} certificates", place)
        offset, size = place + header_size, header.length - header_size
        is_signature = header.type == CertificateType.PKCS_SIGNED_DATA and _is_signed_data(
            image.read_file(offset, min(size, _HEAD_OF_DER)), size
        )
        yield Certificate(header.type, header.revision, offset, size, is_signature)
        place += header.length + -header.length % structs.CERTIFICATE_ALIGNMENT


def _is_signed_data(head: bytes, size: int) -> bool:
    """Tells whether bytes of which the head is given are a DER sequence of signed data that fits into `size` bytes."""
    if len(head) < _HEAD_OF_DER or head[0] != 0x30:
        return False
    length, start = head[1], 2
    if length & 0x80:
        count = length & 0x7F
        if not 1 <= count <= 4:
            return False
        length, start = int.from_bytes(head[2 : 2 + count], "big"), 2 + count
    return start + length <= size and head.startswith(_SIGNED_DATA, start)


def authenticode_hash(image: PeImage, algorithm: str = "sha256") -> str:
    """Returns the hash of a file that Authenticode's signatures and catalogs have, in hexadecimal.

    It leaves out the checksum, the place of the certificates, and the certificates. A file that has none is continued
    with zeros to a multiple of eight bytes, because that is what a program that signs it does first.

    Raises:
        PeError: the certificates are not in the file after its headers.
    """
    checksum = image.optional_offset + structs.CHECKSUM_OFFSET
    ranges = [(0, checksum)]
    start, end = checksum + structs.CHECKSUM_SIZE, image.size
    padding = -end % structs.CERTIFICATE_ALIGNMENT
    if image.has_directory(Directory.SECURITY):
        entry = image.directories_offset + Directory.SECURITY * structs.DATA_DIRECTORY.size
        ranges.append((start, entry))
        start = entry + structs.DATA_DIRECTORY.size
    directory = image.directory(Directory.SECURITY)
    if directory is not None:
        table_end = directory.rva + directory.size
        if directory.rva < start or table_end > end:
            raise PeError(f"certificates from {directory.rva:#x} to {table_end:#x} of a file of {end:#x} bytes")
        ranges.append((start, directory.rva))
        start, padding = table_end, 0
    ranges.append((start, end))
    digest = hashlib.new(algorithm)
    for first, last in ranges:
        for piece in image.pieces(first, last):
            digest.update(piece)
    digest.update(bytes(padding))
    return digest.hexdigest()
