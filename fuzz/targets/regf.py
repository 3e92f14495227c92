"""What is read of registry hives: the file, its logs, its layers, its text, its values, and boot stores in it."""

from __future__ import annotations

from functools import cache

from fuzz.target import Target
from wclayer.errors import LayerError
from wclayer.formats.bcd import read_store
from wclayer.formats.regf import structs
from wclayer.formats.regf.delta import delta_of, merge
from wclayer.formats.regf.empty import empty_root
from wclayer.formats.regf.hive import Hive
from wclayer.formats.regf.model import Key, TreeKey, Value, copy_key, walk
from wclayer.formats.regf.recovery import is_dirty, marvin32, recover
from wclayer.formats.regf.text import encode_reg, format_reg, parse_reg
from wclayer.formats.regf.values import ValueType, from_text, integer, parse_type, to_text, type_name
from wclayer.formats.regf.writer import write_hive
from wclayer.view.registry import registry_path

_MOST_PATHS = 4 << 20
"""Bytes of paths that a walk may make."""


def _sealed(data: bytes) -> bytes:
    """The data with the right checksum in its base block, so that the search gets past it."""
    out = bytearray(data)
    if len(out) >= structs.BASE_CHECKSUM_OFFSET + 4:
        checksum = structs.checksum(out[: structs.BASE_CHECKSUM_OFFSET])
        structs.BASE_CHECKSUM.pack_into(out, structs.BASE_CHECKSUM_OFFSET, checksum)
    return bytes(out)


def _shape(key: Key | None) -> list[tuple[str, str, int, bytes, list[Value]]]:
    """All that a tree of keys says."""
    if key is None:
        return []
    return [
        (path, each.name, each.metadata.flags, each.metadata.class_name, each.values())
        for path, each in walk(key, max_paths=_MOST_PATHS)
    ]


def _hive(data: bytes) -> None:
    """What a hive says is the same after it was written and read again."""
    hive = Hive(_sealed(data))
    root = hive.root()
    keys = list(walk(root, max_paths=_MOST_PATHS))
    for path, key in keys[:50]:
        # Where a list is out of order, or a hash is wrong, a key is listed and not found.
        found = hive.find(path)
        for value in key.values()[:20]:
            if found is not None:
                found.value(value.name)
    again = Hive(write_hive(root)).root()
    # A list that was out of order is in order then.
    assert sorted(_shape(again)) == sorted(_shape(root))


@cache
def _small_hive() -> bytes:
    root = empty_root(1)
    for name in ("Objects", "b\u20ac"):
        child = TreeKey(name, root.metadata._replace(class_name=b"c\0"))
        child.set(Value("", 1, b"x\0\0\0"))
        child.set(Value("number", 4, b"\1\0\0\0"))
        child.add(TreeKey("Elements", child.metadata))
        root.add(child)
    return write_hive(root)


@cache
def _large_hive() -> bytes:
    """A hive with a value in segments and a list of lists."""
    root = empty_root(1)
    root.set(Value("large", 3, bytes(structs.BIG_DATA_SEGMENT + 5)))
    for number in range(8):
        root.add(TreeKey(f"k{number}", root.metadata))
    return write_hive(root)


@cache
def _delta_hive() -> bytes:
    """The delta that makes another hive of the small one."""
    base = Hive(_small_hive()).root()
    changed = copy_key(base)
    changed.set(Value("new", 1, b"y\0\0\0"))
    objects = changed.below.pop("OBJECTS")
    changed.add(TreeKey("Added", objects.metadata))
    delta = delta_of(base, changed)
    assert delta is not None
    return write_hive(delta)


def _delta(data: bytes) -> None:
    """What is merged of two hives is what the delta between them makes."""
    base = Hive(_small_hive()).root()
    merged = merge(base, Hive(_sealed(data)).root())
    shape = _shape(merged)
    if merged is None or len(shape) > 200:
        return
    delta = delta_of(base, merged)
    made = base if delta is None else merge(base, Hive(write_hive(delta)).root())
    assert _shape(made) == shape


def _log(data: bytes) -> None:
    """The data is a hive and its log."""
    hive, log = _sealed(data[: len(_small_hive())]), _sealed_log(data[len(_small_hive()) :])
    if not is_dirty(hive):
        hive = _with_number(hive, 4, 7)
    recovered = bytes(recover(hive, [log]))
    assert not is_dirty(recovered)
    assert bytes(recover(recovered, [log])) == recovered


def _sealed_log(data: bytes) -> bytes:
    """A log with the right checksum in its base block, and the right hashes in the entries of the new format."""
    out = bytearray(_sealed(data))
    head = structs.LOG_ENTRY
    for place in range(structs.LOG_SECTOR, len(out) - head.size, structs.LOG_SECTOR):
        signature, size, *fields, _, _ = head.unpack_from(out, place)
        if signature == structs.LOG_ENTRY_SIGNATURE and head.size <= size <= len(out) - place:
            pages = marvin32(bytes(out[place + head.size : place + size]))
            head.pack_into(out, place, signature, size, *fields, pages, 0)
            start = bytes(out[place : place + structs.LOG_ENTRY_HASHED])
            head.pack_into(out, place, signature, size, *fields, pages, marvin32(start))
    return bytes(out)


def _new_log_seed() -> bytes:
    """A hive whose write was not finished, followed by a log of the new format with two entries."""
    hive = _small_hive()
    bins = len(hive) - structs.BASE_BLOCK_SIZE
    log = hive[: structs.LOG_SECTOR]
    for offset, number in ((28, structs.FILE_TYPE_NEW_LOG), (4, 7), (8, 7)):
        log = _with_number(log, offset, number)
    for sequence, offset in ((7, 0), (8, bins - 512)):
        page = hive[structs.BASE_BLOCK_SIZE + offset :][:512]
        size = 2 * structs.LOG_SECTOR
        entry = structs.LOG_ENTRY.pack(structs.LOG_ENTRY_SIGNATURE, size, 0, sequence, bins, 1, 0, 0)
        log += (entry + structs.PAGE_REFERENCE.pack(offset, len(page)) + page).ljust(size, b"\0")
    return _with_number(_with_number(hive, 4, 7), 8, 6) + log


def _with_number(hive: bytes, offset: int, number: int) -> bytes:
    """The hive with another number in its base block."""
    head = bytearray(hive)
    structs.OFFSET_ELEMENT.pack_into(head, offset, number)
    return _sealed(bytes(head))


def _old_log_seed() -> bytes:
    """A hive whose write was not finished, followed by a log of the old format with all of its pages."""
    hive = _small_hive()
    bitmap = b"\xff" * -(-(len(hive) - structs.BASE_BLOCK_SIZE) // structs.DIRTY_PAGE // 8)
    vector = (structs.DIRTY_VECTOR_SIGNATURE + bitmap).ljust(structs.LOG_SECTOR, b"\0")
    log = _with_number(hive, 28, structs.FILE_TYPE_OLD_LOGS[0])[: structs.LOG_SECTOR] + vector
    return _with_number(hive, 4, 7) + log + hive[structs.BASE_BLOCK_SIZE :]


def _reg_text(data: bytes) -> None:
    for edit in parse_reg(data):
        registry_path(edit.key)


def _reg_seeds() -> list[bytes]:
    text = b"".join(encode_reg(format_reg([("HKEY_LOCAL_MACHINE\\A", Hive(_small_hive()).root())])))
    plain = (
        "Windows Registry Editor Version 5.00\r\n\r\n[-HKLM\\Software\\A]\r\n"
        '[HKU\\.DEFAULT]\r\n@="x\\\\\\""\r\n"b"=-\r\n'
        '"c"=dword:0000000f\r\n"d"=hex(7):61,00,\\\r\n  00,00\r\n; comment\r\n"e"=hex:01\r\n'
    )
    return [text, plain.encode(), b"\xff\xfe" + plain.encode("utf-16-le")]


def _reg_round_trip(data: bytes) -> None:
    """A tree of keys comes back from its text."""
    root = Hive(_sealed(data)).root()
    text = b"".join(encode_reg(format_reg([("HKEY_LOCAL_MACHINE\\A", root)], max_paths=_MOST_PATHS)))
    keys = {edit.key for edit in parse_reg(text)}
    if any(key.metadata.semantics for _, key in walk(root, max_paths=_MOST_PATHS)):
        # A key of a delta may be one that deletes.
        return
    assert all(f"HKEY_LOCAL_MACHINE\\A{chr(92) if path else ''}{path}" in keys for path, _ in walk(root))


def _value(data: bytes) -> None:
    """A value's text, where it is one that reg.exe takes, is the value."""
    kind, contents = int.from_bytes(data[:1], "little"), data[1:]
    value = Value("", kind, contents)
    text = to_text(value)
    assert parse_type(type_name(kind)) == kind
    if integer(value) is not None or kind == ValueType.REG_BINARY:
        assert from_text(kind, text) == contents
    from_text(kind, contents.decode("latin-1"))


def _bcd(data: bytes) -> None:
    for _ in read_store(Hive(_sealed(data)).root()):
        pass


@cache
def _boot_store() -> bytes:
    root = empty_root(1)
    objects = TreeKey("Objects", root.metadata)
    entry = TreeKey("{9dea862c-5cdd-4e70-acc1-f32b344d4795}", root.metadata)
    description = TreeKey("Description", root.metadata)
    description.set(Value("Type", 4, (0x10100002).to_bytes(4, "little")))
    entry.add(description)
    elements = TreeKey("Elements", root.metadata)
    for name, kind, contents in (
        ("11000001", 3, bytes(16) + b"\6\0\0\0\0\0\0\0\x48\0\0\0" + bytes(60)),
        ("12000004", 1, "Windows\0".encode("utf-16-le")),
        ("14000006", 7, "{7ea2e1ac-2e61-4728-aaa3-896d9d0a9f0e}\0\0".encode("utf-16-le")),
        ("15000007", 3, bytes(8)),
        ("16000009", 3, b"\1"),
    ):
        element = TreeKey(name, root.metadata)
        element.set(Value("Element", kind, contents))
        elements.add(element)
    entry.add(elements)
    objects.add(entry)
    root.add(objects)
    return write_hive(root)


_WORDS = (b"hbin", b"nk", b"vk", b"sk", b"lf", b"lh", b"li", b"ri", b"db", b"regf", b"\xff\xff\xff\xff")

TARGETS = {
    "bcd": Target(_bcd, lambda: [_boot_store()], words=_WORDS, max_size=16 << 10),
    "delta": Target(_delta, lambda: [_delta_hive(), _small_hive()], words=_WORDS, max_size=16 << 10),
    "hive": Target(_hive, lambda: [_small_hive(), _large_hive()], words=_WORDS, max_size=44 << 10, weight=2),
    "hive_log": Target(
        _log, lambda: [_old_log_seed(), _new_log_seed()], words=(b"HvLE", b"DIRT", *_WORDS), max_size=32 << 10
    ),
    "reg_path": Target(
        lambda data: registry_path(data.decode("utf-8", "surrogateescape")),
        lambda: [b"HKLM\\SOFTWARE\\x", b"HKU\\S-1-5-18", b"HKCR\\.txt", b"HKCC"],
        (LayerError,),
        max_size=256,
    ),
    "reg_text": Target(
        _reg_text,
        _reg_seeds,
        words=(
            b"hex(",
            b"dword:",
            b"hex:",
            b"\\\r\n",
            b"[-",
            b"=-",
            b"@=",
            b"REGEDIT4",
            b"Windows Registry Editor Version 5.00",
        ),
        max_size=2048,
    ),
    "reg_text_of_hive": Target(_reg_round_trip, lambda: [_small_hive()], words=_WORDS, max_size=16 << 10),
    "reg_value": Target(
        _value,
        lambda: [b"\1x\0\0\0", b"\4\1\0\0\0", b"\7a\0\0\0b\0\0\0\0\0", b"\3abc", b"\x0b12345678", b"\4 0x12"],
        max_size=256,
    ),
}
