"""Small VHD files, sound and damaged ones, with right checksums."""

from __future__ import annotations

import struct
from typing import Any

from wclayer.formats.vhd import structs
from wclayer.formats.vhd.structs import Footer, Header

MIB = 1 << 20
VHD_SIZE = 12 * MIB


def vhd_content() -> bytes:
    """What is on the disks."""
    content = bytearray(VHD_SIZE)
    for at, byte in ((0, 1), (3 * MIB + 700, 2), (7 * MIB - 100, 3), (VHD_SIZE - 600, 4)):
        content[at : at + 600] = bytes([byte]) * 600
    return bytes(content)


def sealed_vhd(kind: Any, values: tuple[Any, ...], place: int) -> bytes:
    """A structure with its checksum at `place`."""
    data = kind.pack(*values)
    return bytes(data[:place] + struct.pack(">I", structs.checksum(data, place)) + data[place + 4 :])


def vhd_footer(**changes: Any) -> bytes:
    """A footer, some of its fields changed."""
    footer = Footer(
        b"conectix", 2, 0x10000, 512, 0, b"test", 0x10000, b"Wi2k", VHD_SIZE, VHD_SIZE, 100, 4, 17, structs.DYNAMIC, 0,
        bytes(range(16)), 0,
    )._replace(**changes)  # fmt: skip
    return sealed_vhd(structs.FOOTER, footer, structs.FOOTER_CHECKSUM_OFFSET)


def dynamic_vhd(
    content: bytes = b"", *, entries: dict[int, int] | None = None, bitmap: bytes | None = None, **changes: Any
) -> bytes:
    """A dynamic disk of blocks of 2 MiB, those with something in them in reverse order.

    Args:
        entries: other places of blocks, in sectors.
        bitmap: of every block, in place of one that says that all sectors are there.
    """
    content = content or vhd_content()
    block = 2 * MIB
    blocks = -(-len(content) // block)
    pieces, body, at = {}, b"", 512 + 1024 + 512
    for number in reversed(range(blocks)):
        data = content[number * block : (number + 1) * block]
        if any(data):
            pieces[number] = (at + len(body)) // 512
            body += (bitmap or b"\xff" * 512) + data.ljust(block, b"\0")
    places = {**pieces, **(entries or {})}
    own = set(Header._fields) - set(Footer._fields)
    header_changes = {key: changes.pop(key) for key in list(changes) if key in own}
    header = Header(
        b"cxsparse", 0xFFFFFFFFFFFFFFFF, 512 + 1024, 0x10000, blocks, block, 0, bytes(16), 0, 0, b"", b""
    )._replace(**header_changes)
    table = b"".join(struct.pack(">I", places.get(number, 0xFFFFFFFF)) for number in range(blocks)).ljust(512, b"\xff")
    footer = vhd_footer(**changes)
    return footer + sealed_vhd(structs.HEADER, header, structs.HEADER_CHECKSUM_OFFSET) + table + body + footer
