"""Hives put together cell by cell, sound and unsound ones, without the package's writer.

The layout is that of the specification ("Windows registry file format specification" by Maxim Suhanov); numbers are
written out here, so that a mistake in the package's own declarations shows.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

NONE = 0xFFFFFFFF
_COMPRESSED = 0x20
_SEGMENT = 16_344
TIME = 131_000_000_000_000_000
DESCRIPTOR = bytes.fromhex(
    "0100048014000000240000000000000034000000"
    "010200000000000520000000200200000102000000000005200000002002000002001c0001000000000214003f000f00"
    "010100000000000512000000"
)
"""O:BAG:BAD:(A;CI;KA;;;SY)."""


@dataclass
class CraftedValue:
    """A value: its name, type and data; `is_wide` stores the name in UTF-16, `flags` are added to the value's."""

    name: str
    type: int
    data: bytes
    is_wide: bool = False
    flags: int = 0


@dataclass
class CraftedKey:
    """A key; `index` is the kind of its list of subkeys, `flags` and `control_flags` are the key node's."""

    name: str
    values: Sequence[CraftedValue] = ()
    below: Sequence[CraftedKey] = ()
    is_wide: bool = False
    index: str = "lh"
    flags: int = 0
    control_flags: int = 0
    layered: int = 0
    class_name: str = ""
    list_size: int = 1000
    """Subkeys in one list; more of them make an index root."""


@dataclass
class _Cells:
    """The cells of the only bin: each is allocated first, and filled when what it refers to has a place."""

    data: bytearray = field(default_factory=lambda: bytearray(32))

    def add(self, content: bytes, *, room: int = 0) -> int:
        size = -(-max(len(content) + 4, room, 8) // 8) * 8
        offset = len(self.data)
        self.data += struct.pack("<i", -size) + content.ljust(size - 4, b"\0")
        return offset

    def free(self, content: bytes) -> None:
        """An unallocated cell, whatever is in it."""
        size = -(-(len(content) + 4) // 8) * 8
        self.data += struct.pack("<i", size) + content.ljust(size - 4, b"\0")

    def put(self, offset: int, at: int, form: str, *numbers: int) -> None:
        struct.pack_into(form, self.data, offset + 4 + at, *numbers)

    def bin(self) -> bytes:
        size = -(-(len(self.data) + 8) // 4096) * 4096
        if rest := size - len(self.data):
            self.data += struct.pack("<i", rest) + bytes(rest - 4)
        struct.pack_into("<4sII", self.data, 0, b"hbin", 0, size)
        return bytes(self.data)


@dataclass
class Crafted:
    """A hive, and where its cells are: key nodes and lists of subkeys by the key's path, values by path and name."""

    data: bytes
    keys: dict[str, int]
    lists: dict[str, int]
    values: dict[tuple[str, str], int]

    def patched(self, offset: int, at: int, form: str, *numbers: int) -> bytes:
        """The hive with numbers `at` bytes into the contents of the cell at `offset`."""
        data = bytearray(self.data)
        struct.pack_into(form, data, 4096 + offset + 4 + at, *numbers)
        return bytes(data)


def base_block(
    bins_size: int, root: int = 0x20, *, minor: int = 5, sequences: tuple[int, int] = (1, 1), kind: int = 0,
    time: int = TIME, flags: int = 0,
) -> bytes:  # fmt: skip
    """A base block with its checksum; `kind` is the file type."""
    head = bytearray(4096)
    struct.pack_into("<4sIIQIIIIIII", head, 0, b"regf", *sequences, time, 1, minor, kind, 1, root, bins_size, 1)
    struct.pack_into("<I", head, 144, flags)
    total = 0
    for (word,) in struct.iter_unpack("<I", head[:508]):
        total ^= word
    struct.pack_into("<I", head, 508, {0: 1, NONE: NONE - 1}.get(total, total))
    return bytes(head)


def craft(
    root: CraftedKey, *, minor: int = 5, flags: int = 0, garbage: bytes = b"", behind: bytes = b"",
    sequences: tuple[int, int] = (1, 1),
) -> Crafted:  # fmt: skip
    """A hive with that tree; `garbage` lies in an unallocated cell, `behind` after the last bin."""
    cells = _Cells()
    made = Crafted(b"", {}, {}, {})
    first = cells.add(bytes(76 + 2 * len(root.name)))
    security = cells.add(struct.pack("<2sHIIII", b"sk", 0, 0, 0, 0, len(DESCRIPTOR)) + DESCRIPTOR)
    cells.put(security, 4, "<II", security, security)
    if garbage:
        cells.free(garbage)
    count = 0
    pending: list[tuple[CraftedKey, str, int, int]] = [(root, "", first, NONE)]
    while pending:
        key, path, offset, parent = pending.pop()
        count += 1
        made.keys[path] = offset
        places = [cells.add(bytes(76 + 2 * len(child.name))) for child in key.below]
        listed = _subkeys(cells, key, places)
        if listed != NONE:
            made.lists[path] = listed
        value_places = []
        for value in key.values:
            value_places.append(_value(cells, value, minor))
            made.values[path, value.name] = value_places[-1]
        values = cells.add(struct.pack(f"<{len(value_places)}I", *value_places)) if value_places else NONE
        class_name = key.class_name.encode("utf-16-le")
        name = key.name.encode("utf-16-le" if key.is_wide else "latin-1")
        node = struct.pack(
            "<2sHQBBHIIIIIIIIIHHIIIIHH",
            b"nk", key.flags | (0 if key.is_wide else _COMPRESSED) | (0x0C if parent == NONE else 0), TIME, 0,
            key.layered, 0, parent, len(places), 0, listed, NONE, len(value_places), values, security,
            cells.add(class_name) if class_name else NONE,
            max((2 * _units(child.name) for child in key.below), default=0), key.control_flags,
            max((len(child.class_name) * 2 for child in key.below), default=0),
            max((2 * _units(value.name) for value in key.values), default=0),
            max((len(value.data) for value in key.values), default=0), 0, len(name), len(class_name),
        ) + name  # fmt: skip
        cells.data[offset + 4 : offset + 4 + len(node)] = node
        pending += [
            (child, f"{path}\\{child.name}".lstrip("\\"), place, offset)
            for child, place in zip(key.below, places, strict=True)
        ]
    cells.put(security, 12, "<I", count)
    bins = cells.bin()
    made.data = base_block(len(bins), first, minor=minor, flags=flags, sequences=sequences) + bins + behind
    return made


def _units(name: str) -> int:
    return len(name.encode("utf-16-le", "surrogatepass")) // 2


def _subkeys(cells: _Cells, key: CraftedKey, places: Sequence[int]) -> int:
    if not places:
        return NONE
    leaves = []
    for start in range(0, len(places), key.list_size):
        part = range(start, min(start + key.list_size, len(places)))
        element: dict[str, Callable[[int], bytes]] = {
            "li": lambda index: struct.pack("<I", places[index]),
            "lf": lambda index: struct.pack("<I4s", places[index], _hint(key.below[index].name)),
            "lh": lambda index: struct.pack("<II", places[index], _hash(key.below[index].name)),
        }
        content = struct.pack("<2sH", key.index.encode(), len(part)) + b"".join(map(element[key.index], part))
        leaves.append(cells.add(content))
    if len(leaves) == 1:
        return leaves[0]
    return cells.add(struct.pack(f"<2sH{len(leaves)}I", b"ri", len(leaves), *leaves))


def _hint(name: str) -> bytes:
    return name[:4].encode("latin-1", "replace") if name[:4].isascii() else bytes(4)


def _hash(name: str) -> int:
    result = 0
    for character in name:
        # Python has an upper case for it, Windows' table has none.
        upper = character if character == "ſ" else character.upper()
        result = (result * 37 + ord(upper)) & NONE
    return result


def _value(cells: _Cells, value: CraftedValue, minor: int) -> int:
    size, data = len(value.data), NONE
    if size <= 4:
        size |= 0x80000000
        data = int.from_bytes(value.data.ljust(4, b"\0"), "little")
    elif size <= _SEGMENT or minor < 4:
        data = cells.add(value.data)
    else:
        # Windows gives every segment, the last one too, a cell of 16,352 bytes.
        parts = [value.data[at : at + _SEGMENT] for at in range(0, size, _SEGMENT)]
        segments = [cells.add(part, room=_SEGMENT + 8) for part in parts]
        data = cells.add(
            struct.pack("<2sHI", b"db", len(segments), cells.add(struct.pack(f"<{len(segments)}I", *segments)))
        )
    name = value.name.encode("utf-16-le" if value.is_wide else "latin-1")
    flags = value.flags | (0 if value.is_wide or not name else 1)
    return cells.add(struct.pack("<2sHIIIHH", b"vk", len(name), size, data, value.type, flags, 0) + name)


def _many(names: Sequence[str], **more: object) -> CraftedKey:
    return CraftedKey("key_with_many_subkeys", below=[CraftedKey(name) for name in names], **more)  # type: ignore[arg-type]


def _root(*below: CraftedKey, **more: object) -> CraftedKey:
    return CraftedKey("ROOT", below=below, **more)  # type: ignore[arg-type]


def counted(size: int) -> bytes:
    """Bytes each of which tells its place, as far as one can."""
    return bytes(place % 251 for place in range(size))


def _sz(text: str) -> bytes:
    return (text + "\0").encode("utf-16-le")


_SORTED_NUMBERS = sorted(str(number) for number in range(5000))
_ORDINARY = _root(
    CraftedKey("a", [CraftedValue("v", 1, _sz("value"))], [CraftedKey("b", class_name="Class")]), CraftedKey("c")
)
_SERVICES = CraftedKey(
    "Services",
    below=[
        CraftedKey("gone", layered=1),
        CraftedKey("merged", [CraftedValue("removed", 0, b"", flags=2), CraftedValue("start", 4, b"\2\0\0\0")]),
        CraftedKey("replaced", below=[CraftedKey("below", layered=3)], layered=0x83),
        CraftedKey("replaced alone", layered=2),
    ],
)

SOUND: dict[str, Crafted] = {
    "empty": craft(_root()),
    "ordinary": craft(_ORDINARY),
    "version 3": craft(_ORDINARY, minor=3),
    "bytes behind the bins": craft(_ORDINARY, behind=b"rubbish" * 1000),
    "rubbish in free cells": craft(_ORDINARY, garbage=b"nk\x20\0" * 500),
    "index leaves": craft(_root(_many(["a", "b", "c"], index="li"), index="li")),
    "fast leaves": craft(_root(_many(["a", "b", "c"], index="lf"), index="lf")),
    "many subkeys": craft(_root(_many(_SORTED_NUMBERS))),
    "many subkeys in index leaves": craft(_root(_many(_SORTED_NUMBERS, index="li", list_size=500))),
    "subkeys out of order": craft(_root(_many(["c", "b", "a"]))),
    "values out of order": craft(_root(values=[CraftedValue(name, 4, b"\1\0\0\0") for name in "cab"])),
    "big data": craft(
        _root(values=[CraftedValue(str(size), 3, counted(size)) for size in (16_344, 16_345, 16_348, 40_000)])
    ),
    "big data of version 3": craft(_root(values=[CraftedValue("v", 3, bytes(40_000))]), minor=3),
    "odd names": craft(_root(CraftedKey("testnew\r\nne"), CraftedKey("testnu\0l"))),
    "extended ASCII": craft(_root(CraftedKey("\xebxtended", [CraftedValue("\xfcber", 1, _sz("\xe4"))]))),
    "Unicode": craft(
        _root(CraftedKey("привет", [CraftedValue("мир", 1, _sz("тест"), is_wide=True)], is_wide=True), CraftedKey("x"))
    ),
    "upcase": craft(_root(CraftedKey("ǆ", is_wide=True), CraftedKey("ſ", is_wide=True), CraftedKey("é"))),
    "strings": craft(
        _root(
            CraftedKey(
                "key",
                [
                    CraftedValue("", 1, _sz("test тест")),
                    CraftedValue("2", 7, "привет\0как дела?\0\0".encode("utf-16-le")),
                    CraftedValue("unended", 1, "abc".encode("utf-16-le")),
                    CraftedValue("expand", 2, _sz("%SystemRoot%")),
                ],
            )
        )
    ),
    "control flags": craft(_root(CraftedKey("1", below=[CraftedKey("2", control_flags=1)]))),
    "a delta": craft(_root(CraftedKey("ControlSet001", below=[_SERVICES])), minor=6, flags=2),
}  # fmt: skip
"""Hives that are to be read whole, by what is odd in them."""

_A = SOUND["ordinary"]
UNSOUND: dict[str, tuple[bytes, str]] = {
    "a list that leads to a key elsewhere": (_A.patched(_A.lists[""], 4, "<I", _A.keys[r"a\b"]), "parent"),
    "a list that leads to the root": (_A.patched(_A.lists["a"], 4, "<I", _A.keys[""]), "parent"),
    "a wrong parent": (_A.patched(_A.keys["a"], 16, "<I", _A.keys["c"]), "parent"),
    "a list that is none": (_A.patched(_A.keys["a"], 28, "<I", _A.values["a", "v"]), "subkeys list"),
    "a name that is too long": (_A.patched(_A.keys[r"a\b"], 72, "<H", 2000), "key name of 2000 bytes"),
    "a key in no bin": (_A.patched(_A.keys[""], 28, "<I", 1 << 20), "no bin|no cell"),
    "a value's data in no bin": (_A.patched(_A.values["a", "v"], 8, "<I", 1 << 20), "no bin|no cell"),
    "half a bin": (_A.data[: 4096 + 100], "the bin at 0x0 is damaged"),
    "half a base block": (_A.data[:300], "base block"),
}
"""Hives that are to be refused, with what the message names."""


def crafted_log(
    base: bytes, sequence: int, pages: Sequence[tuple[int, bytes]], bins_size: int, marvin: Callable[[bytes], int]
) -> bytes:
    """A log in the new format ("Format of transaction log files") with one entry."""
    head = base_block(bins_size, struct.unpack_from("<I", base, 36)[0], sequences=(sequence, sequence), kind=6)[:512]
    body = b"".join(struct.pack("<II", offset, len(data)) for offset, data in pages)
    body += b"".join(data for _, data in pages)
    size = -(-(40 + len(body)) // 512) * 512
    body = body.ljust(size - 40, b"\0")
    first = struct.pack("<4sIIIIIQ", b"HvLE", size, 0, sequence, bins_size, len(pages), marvin(body))
    return head + first + struct.pack("<Q", marvin(first)) + body


def old_log(base: bytes, after: bytes, *, time: int = TIME + 1) -> bytes:
    """A log in the old format: the pages of 512 bytes in which `after` differs from `base`, and which they are."""
    bins = after[4096:]
    head = base_block(len(bins), struct.unpack_from("<I", after, 36)[0], sequences=(5, 5), kind=1, time=time)[:512]
    bitmap = bytearray(len(bins) // 512 // 8)
    pages = b""
    for number in range(len(bins) // 512):
        page = bins[number * 512 : number * 512 + 512]
        if page != base[4096 + number * 512 : 4608 + number * 512]:
            bitmap[number // 8] |= 1 << number % 8
            pages += page
    vector = b"DIRT" + bytes(bitmap)
    return head + vector.ljust(-(-len(vector) // 512) * 512, b"\0") + pages


def dirty(base: bytes) -> bytes:
    """A hive whose last write was not finished."""
    head = base_block(len(base) - 4096, struct.unpack_from("<I", base, 36)[0], sequences=(2, 1))
    return head + base[4096:]


def changed_pages(before: bytes, after: bytes) -> list[tuple[int, bytes]]:
    """The pages of 4,096 bytes in which two hives differ, with their offsets in the bins."""
    return [
        (offset - 4096, after[offset : offset + 4096])
        for offset in range(4096, len(after), 4096)
        if after[offset : offset + 4096] != before[offset : offset + 4096]
    ]
