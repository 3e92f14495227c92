"""Tars with registry hives and their logs that attack whoever merges, reads or writes them; `.reg` texts."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

from tests.formats.regf.craft import SOUND, UNSOUND, CraftedKey, CraftedValue, base_block, craft, dirty
from tests.formats.regf.support import crafted_hive, dirty_pair, new_log
from tests.hostile.forms import LIMITED, REFUSED, TAKEN, World, add
from tests.support import layer_tar, put_directories, put_file
from wclayer.model import LayerWriter

CONFIG = "Files/Windows/System32/config"
_PATHS = ("Files", "Files/Windows", "Files/Windows/System32", CONFIG)


def _hive(name: str, finding: str, hive: Callable[[], bytes], *, logs: Callable[[], list[bytes]] | None = None) -> None:
    """Registers a hive twice: as that of a base layer, with its logs, and as the delta of a child."""

    def base(place: Path, world: World) -> None:
        def build(writer: LayerWriter) -> None:
            put_directories(writer, *_PATHS)
            put_file(writer, f"{CONFIG}/SYSTEM", hive())
            for number, log in enumerate(logs() if logs else (), 1):
                put_file(writer, f"{CONFIG}/SYSTEM.LOG{number}", log)

        place.write_bytes(layer_tar(build))

    def delta(place: Path, world: World) -> None:
        def build(writer: LayerWriter) -> None:
            put_directories(writer, "Files", "Hives")
            put_file(writer, "Hives/System_Delta", hive())

        place.write_bytes(layer_tar(build))

    add("hive", name, finding, TAKEN, base)
    if logs is None:
        add(
            "hive",
            f"{name} as a delta",
            f"{finding}, sibling".replace(", sibling, sibling", ", sibling"),
            TAKEN,
            delta,
            has_parents=True,
        )


_A = SOUND["ordinary"]
for _name, (_data, _problem) in UNSOUND.items():
    _hive(_name, "damaged hives", lambda data=_data: data)  # type: ignore[misc]
for _name in (
    "odd names",
    "extended ASCII",
    "Unicode",
    "upcase",
    "many subkeys",
    "big data",
    "a delta",
    "control flags",
):
    _hive(_name, "a sound hive", lambda name=_name: SOUND[name].data)  # type: ignore[misc]

_FIELDS: dict[str, tuple[str, int, str, tuple[int, ...]]] = {
    # What is damaged, where in the cell of the key `a` or of its value, how it is packed, and with what.
    "four billion subkeys": ("key", 20, "<I", (0xFFFFFFFF,)),
    "four billion values": ("key", 36, "<I", (0xFFFFFFFF,)),
    "subkeys in itself": ("key", 28, "<I", (0x20,)),
    "a class of 64 KiB": ("key", 48, "<I", (0x20,)),
    "a class name length": ("key", 74, "<H", (0xFFFE,)),
    "security elsewhere": ("key", 44, "<I", (0x7FFFFFF8,)),
    "data of 2 GiB": ("value", 4, "<I", (0x7FFFFFFF,)),
    "data of 2 GiB that are in it": ("value", 4, "<I", (0xFFFFFFFF,)),
    "data in the value": ("value", 8, "<I", (0x20,)),
    "a name of 64 KiB": ("value", 2, "<H", (0xFFFF,)),
}
for _name, (_cell, _at, _form, _numbers) in _FIELDS.items():
    _place = _A.keys["a"] if _cell == "key" else _A.values["a", "v"]
    _hive(f"field: {_name}", "huge claims", lambda p=_place, a=_at, f=_form, n=_numbers: _A.patched(p, a, f, *n))  # type: ignore[misc]


def _big_data(field: int, value: int) -> bytes:
    """A value in segments, with one number of its list of segments changed."""
    made = SOUND["big data"]
    at = made.values["", "40000"]
    (cell,) = struct.unpack_from("<I", made.data, 4096 + at + 4 + 8)
    return made.patched(cell, field, "<H" if field == 2 else "<I", value)


_hive("big data of 65,535 segments", "huge claims", lambda: _big_data(2, 0xFFFF))
_hive("big data of no segment", "huge claims", lambda: _big_data(2, 0))
_hive("big data whose segments are itself", "loops", lambda: _big_data(4, SOUND["big data"].values["", "40000"]))
_hive("600 levels", "F39", lambda: crafted_hive([(max(0, index - 1), "k") for index in range(600)]))
_hive(
    "long names in deep keys",
    "F38",
    lambda: crafted_hive(
        [*((max(0, index - 1), "n" * 250) for index in range(300)), *((299, f"k{number}") for number in range(4000))]
    ),
)
_hive(
    "20,000 keys that share values",
    "huge claims",
    lambda: crafted_hive(
        [(0, "r"), *((0, f"k{number}") for number in range(4000))],
        values={n: [1, 2, 3, 4] for n in range(1, 4001)},
        data=bytes(256),
    ),
)
_hive(
    "20,000 keys that share data",
    "huge claims",
    lambda: crafted_hive(
        [(0, "r"), *((0, f"k{n}") for n in range(300))], values={n: [n] for n in range(1, 301)}, data=bytes(100_000)
    ),
)
_hive(
    "keys of one name",
    "case collisions",
    lambda: craft(CraftedKey("ROOT", below=[CraftedKey("k"), CraftedKey("K")])).data,
)
_hive(
    "values of one name",
    "case collisions",
    lambda: craft(CraftedKey("ROOT", [CraftedValue("v", 1, b"x\0"), CraftedValue("V", 1, b"x\0")])).data,
)
_hive(
    "keys with separators",
    "path escapes",
    lambda: (
        craft(
            CraftedKey(
                "ROOT", below=[CraftedKey("..\\.."), CraftedKey("a\\b"), CraftedKey("a]\r\n[HKLM"), CraftedKey("")]
            )
        ).data
    ),
)
_hive(
    "values with line breaks",
    "path escapes",
    lambda: craft(CraftedKey("ROOT", [CraftedValue('x"=dword:1\r\n[-HKEY_LOCAL_MACHINE]', 1, b"y\0")])).data,
)
_hive("bins of 4 GiB", "huge claims", lambda: base_block(0xFFFFF000) + bytes(4096))
_hive("a base block alone", "huge claims", lambda: base_block(4096))
_hive("dirty without logs", "F20", lambda: dirty(_A.data))
_hive("a log that claims 256 MiB", "F20", lambda: dirty_pair()[0], logs=lambda: [_log(256 << 20)])
_hive("a log that claims 2 GiB", "F20", lambda: dirty_pair()[0], logs=lambda: [_log((2 << 30) - 4096)])
_hive("a log of rubbish", "F20, sibling", lambda: dirty_pair()[0], logs=lambda: [b"HvLE" * 5000])
_hive(
    "a log with a page far out",
    "F20, sibling",
    lambda: dirty_pair()[0],
    logs=lambda: [new_log(dirty_pair()[0], 1, [((1 << 31) - 4096, bytes(4096))], 1 << 31)],
)


def _log(bins_size: int) -> bytes:
    before = dirty_pair()[0]
    return new_log(before, 1, [(0, before[4096:8192])], bins_size)


# `.reg` texts.

_HEAD = "Windows Registry Editor Version 5.00\r\n\r\n"
_KEY = "[HKEY_LOCAL_MACHINE\\SOFTWARE\\x]\r\n"
_NO_PLACE = frozenset({2, 5, 6})
_TEXTS: dict[str, tuple[bytes, frozenset[int]]] = {
    "nothing": (b"", REFUSED),
    "another version": (b"REGEDIT4\r\n", REFUSED | TAKEN),
    "rubbish": (b"\xff\xfe" + b"\xd8\x00" * 100, REFUSED),
    "NUL": ((_HEAD + _KEY + '"a\0b"="c"\r\n').encode("utf-16"), REFUSED | TAKEN),
    "an unended value": ((_HEAD + _KEY + '"a"="').encode("utf-16"), REFUSED),
    "a line without an end": ((_HEAD + _KEY + '"a"=hex:' + "00,\\\r\n" * 50_000).encode("utf-16"), REFUSED | TAKEN),
    "backslashes": (
        (_HEAD + _KEY + '"' + "\\\\" * 20_000 + '"="x"\r\n').encode("utf-16"),
        REFUSED | LIMITED | _NO_PLACE,
    ),
    "a key without an end": ((_HEAD + "[" + "HKLM\\a" * 20_000).encode("utf-16"), REFUSED | LIMITED | _NO_PLACE),
    "a key of another root": ((_HEAD + "[HKEY_NOBODY\\x]\r\n").encode("utf-16"), _NO_PLACE),
    "a root alone": ((_HEAD + "[-HKEY_LOCAL_MACHINE]\r\n").encode("utf-16"), _NO_PLACE | frozenset({10})),
    "600 levels": (
        (_HEAD + "[HKEY_LOCAL_MACHINE\\SOFTWARE" + "\\k" * 600 + "]\r\n").encode("utf-16"),
        REFUSED | LIMITED | _NO_PLACE,
    ),
    "300 letters": (
        (_HEAD + "[HKEY_LOCAL_MACHINE\\SOFTWARE\\" + "k" * 300 + "]\r\n").encode("utf-16"),
        REFUSED | LIMITED | _NO_PLACE,
    ),
    "a climbing key": (
        (_HEAD + "[HKEY_LOCAL_MACHINE\\SOFTWARE\\..\\..\\SYSTEM]\r\n").encode("utf-16"),
        TAKEN | _NO_PLACE,
    ),
    "an empty key": ((_HEAD + "[HKEY_LOCAL_MACHINE\\SOFTWARE\\\\\\x]\r\n").encode("utf-16"), TAKEN | _NO_PLACE),
    "a number too large": ((_HEAD + _KEY + '"a"=dword:fffffffff\r\n').encode("utf-16"), REFUSED),
    "hex of another kind": ((_HEAD + _KEY + '"a"=hex(fffffffff):00\r\n').encode("utf-16"), REFUSED),
    "hex that is none": ((_HEAD + _KEY + '"a"=hex:0g,zz\r\n').encode("utf-16"), REFUSED),
    "an odd byte": ((_HEAD + _KEY).encode("utf-16") + b"x", REFUSED),
    "many keys": (
        (_HEAD + "".join(f"[HKEY_LOCAL_MACHINE\\SOFTWARE\\{n}]\r\n" for n in range(3000))).encode("utf-16"),
        TAKEN,
    ),
    "a mark in the middle": ((_HEAD + "\ufeff" + _KEY).encode("utf-16"), REFUSED | TAKEN),
}
for _name, (_data, _outcome) in _TEXTS.items():
    add("reg", _name, "texts", _outcome, lambda place, world, data=_data: place.write_bytes(data) and None)  # type: ignore[misc]


def _huge_text(place: Path, world: World) -> None:
    with place.open("wb") as file:
        file.write((_HEAD + _KEY).encode("utf-16"))
        file.truncate(1 << 40)


add("reg", "a text of 2 to the 40 bytes", "huge claims", LIMITED, _huge_text)
