"""`$Secure`: the security descriptors of a volume, each stored once."""

from __future__ import annotations

from wclayer.formats.ntfs import structs
from wclayer.formats.ntfs.index import view_entry

_SDH_PADDING = b"I\0I\0"


def descriptor_hash(descriptor: bytes) -> int:
    """Returns the hash by which a descriptor is looked up: a rotating sum of its 32-bit words."""
    total = 0
    padded = descriptor + bytes(-len(descriptor) % 4)
    for at in range(0, len(padded), 4):
        total = ((total << 3 | total >> 29) + int.from_bytes(padded[at : at + 4], "little")) & 0xFFFFFFFF
    return total


class SecurityStore:
    """Collects security descriptors, and encodes the stream and the two indexes of `$Secure`."""

    def __init__(self) -> None:
        self._ids: dict[bytes, int] = {}
        self._descriptors: list[bytes] = []
        self.stream = bytearray()
        """The stream `$SDS`."""
        self._headers: list[bytes] = []
        self._position = 0

    def id_of(self, descriptor: bytes) -> int:
        """Returns the security id of a descriptor, which is added if it is new."""
        known = self._ids.get(descriptor)
        if known is None:
            known = self._ids[descriptor] = structs.FIRST_SECURITY_ID + len(self._ids)
            self._descriptors.append(descriptor)
            self._add(descriptor, known)
        return known

    def descriptor(self, number: int) -> bytes:
        """Returns the descriptor with a security id."""
        return self._descriptors[number - structs.FIRST_SECURITY_ID]

    def _add(self, descriptor: bytes, number: int) -> None:
        length = structs.SDS_ENTRY.size + len(descriptor)
        block = structs.SDS_BLOCK
        # An entry does not cross a block, and every second block is the copy of the one before.
        if self._position % block + length > block:
            self._position = (self._position // block + 2) * block
        header = structs.SDS_ENTRY.pack(descriptor_hash(descriptor), number, self._position, length)
        entry = header + descriptor
        for offset in (self._position, self._position + block):
            if len(self.stream) < offset + length:
                self.stream += bytes(offset + length - len(self.stream))
            self.stream[offset : offset + length] = entry
        self._headers.append(header)
        alignment = structs.SDS_ALIGNMENT
        self._position = (self._position + length + alignment - 1) // alignment * alignment
        if self._position % block == 0:
            self._position += block

    def by_id(self) -> list[bytes]:
        """Returns the entries of `$SII`."""
        return [view_entry(header[4:8], header) for header in self._headers]

    def by_hash(self) -> list[bytes]:
        """Returns the entries of `$SDH`."""
        ordered = sorted(self._headers, key=lambda header: structs.SDS_ENTRY.unpack(header)[:2])
        return [view_entry(header[:8], header, _SDH_PADDING) for header in ordered]
