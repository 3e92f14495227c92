"""Hives: merged with a delta, written, read again, told as text, recovered from logs; each compared with a model in
dictionaries."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random

from fuzz.mutators.plain import is_rare, mutate_bytes
from fuzz.mutators.regf import mutate_hive
from fuzz.operations.ground import RefusedError, expect
from wclayer.errors import FormatError
from wclayer.formats.regf import structs
from wclayer.formats.regf.delta import delta_of, merge
from wclayer.formats.regf.empty import empty_root
from wclayer.formats.regf.hive import Hive
from wclayer.formats.regf.model import Key, KeyMetadata, TreeKey, Value, copy_key, fold
from wclayer.formats.regf.recovery import recover
from wclayer.formats.regf.structs import LayerSemantics
from wclayer.formats.regf.text import RegEdit, RegTextError, encode_reg, format_reg, parse_reg
from wclayer.formats.regf.writer import write_hive

_SIZE = 3
"""Bytes of the number that says how large the first of two hives is."""
_MAX_SIZE = 4 << 20
_MAX_PATHS = 1 << 20


@dataclass
class _Plain:
    """A key as it is seen, in dictionaries: its name, metadata, values and subkeys by folded names."""

    name: str
    metadata: KeyMetadata
    values: dict[str, Value] = field(default_factory=dict)
    below: dict[str, _Plain] = field(default_factory=dict)


def _plain(key: Key) -> _Plain:
    """What a key shows, to compare."""
    found = _Plain(key.name, key.metadata, {fold(value.name): value for value in key.values()})
    found.below = {fold(child.name): _plain(child) for child in key.subkeys()}
    return found


def _merged(above: _Plain | None, delta: _Plain) -> _Plain | None:
    """What is seen where one key lies over another, by the rules of layered keys, told once more and plainly."""
    own = delta.metadata
    if own.semantics == LayerSemantics.TOMBSTONE:
        return None
    hidden = None if own.semantics == LayerSemantics.SUPERSEDE_TREE else above
    shown = None if own.semantics == LayerSemantics.SUPERSEDE_LOCAL else hidden
    class_name = own.class_name
    if own.inherits_class:
        class_name = b"" if shown is None else shown.metadata.class_name
    written = own.last_written if shown is None else max(own.last_written, shown.metadata.last_written)
    metadata = own._replace(
        class_name=class_name, last_written=written, semantics=LayerSemantics.NORMAL, inherits_class=False
    )
    result = _Plain(delta.name, metadata, {} if shown is None else dict(shown.values))
    for name, value in delta.values.items():
        if value.is_tombstone:
            result.values.pop(name, None)
        else:
            result.values[name] = value
    if own.flags & structs.KeyFlags.PREDEF_HANDLE:
        result.values = {}
    below = {} if hidden is None else dict(hidden.below)
    for name, child in delta.below.items():
        merged = _merged(below.pop(name, None), child)
        if merged is not None:
            below[name] = merged
    result.below = below
    return result


def _expect_same(one: _Plain, other: _Plain, problem: str) -> None:
    """Two keys show the same; orders do not count."""
    pending = [("", one, other)]
    while pending:
        path, a, b = pending.pop()
        expect(a.name == b.name and a.metadata == b.metadata, problem, path, (a.name, a.metadata), (b.name, b.metadata))
        expect(a.values == b.values, problem, path, a.values, b.values)
        expect(a.below.keys() == b.below.keys(), problem, path, sorted(a.below), sorted(b.below))
        pending += [(f"{path}\\{name}", a.below[name], b.below[name]) for name in a.below]


def _read(data: bytes) -> TreeKey:
    """A hive in memory.

    Raises:
        RefusedError: it is no sound hive.
    """
    try:
        root = copy_key(Hive(data).root())
        write_hive(root, has_layered_keys=True, max_size=_MAX_SIZE)
    except FormatError as error:
        raise RefusedError from error
    return root


def two_hives(data: bytes) -> None:
    """The data is two hives: a base and a delta, and a base and what it became."""
    size = int.from_bytes(data[:_SIZE], "little")
    base, second = _read(data[_SIZE : _SIZE + size]), _read(data[_SIZE + size :])
    for key in _all(base):
        _as_base(key)
    _merge(base, second)
    for key in _all(second):
        _as_base(key)
    _become(base, second)


def _all(root: TreeKey) -> Iterable[TreeKey]:
    pending = [root]
    while pending:
        key = pending.pop()
        yield key
        pending += [child for child in key.below.values() if isinstance(child, TreeKey)]


def _as_base(key: TreeKey) -> None:
    """Makes a key one that is not layered."""
    key.metadata = key.metadata._replace(semantics=LayerSemantics.NORMAL, inherits_class=False)
    key.by_name = {name: value for name, value in key.by_name.items() if not value.is_tombstone}


def _merge(base: TreeKey, delta: TreeKey) -> None:
    """What is merged is what the rules say; written and read, it is the same."""
    seen = merge(base, delta)
    wanted = _merged(_plain(base), _plain(delta))
    if seen is None or wanted is None:
        expect(seen is None and wanted is None, "a root that is deleted", seen, wanted)
        return
    _expect_same(_plain(seen), wanted, "merged otherwise than the rules say:")
    for name, child in wanted.below.items():
        found = seen.subkey(child.name.swapcase())
        if fold(child.name.swapcase()) == name:
            expect(
                found is not None and found.metadata == child.metadata,
                "a merged key that is listed is not found:",
                name,
            )
    try:
        written = write_hive(seen, max_size=_MAX_SIZE)
    except FormatError as error:
        # Together they may be too deep or too large.
        raise RefusedError from error
    again = copy_key(Hive(written).root())
    _expect_same(_plain(again), wanted, "written and read, the merged hive is another:")


def _become(base: TreeKey, changed: TreeKey) -> None:
    """A delta of two hives, written, read and merged onto the first, makes the second."""
    delta = delta_of(base, changed)
    seen: Key | None = base
    if delta is not None:
        written = write_hive(delta, has_layered_keys=True, max_size=_MAX_SIZE)
        seen = merge(base, copy_key(Hive(written).root()))
    if seen is None:
        raise AssertionError("a delta that deletes the root")
    found, wanted = _plain(seen), _plain(changed)
    for plain in (found, wanted):
        _forget_access(plain)
    _expect_same(found, wanted, "the delta does not make the hive that it was made of:")


def _forget_access(key: _Plain) -> None:
    """Who looked at a key makes no difference."""
    key.metadata = key.metadata._replace(access_bits=0)
    for child in key.below.values():
        _forget_access(child)


def text(data: bytes) -> None:
    """The data is a hive; its text, carried out, makes the hive's keys and values."""
    root = _read(data)
    try:
        edits = list(parse_reg(b"".join(encode_reg(format_reg([("HKLM\\X", root)], max_paths=_MAX_PATHS)))))
    except RegTextError as error:
        # A name that has no form in the text: line breaks, halves of surrogates.
        if not any(_is_beyond_text(key) for key in _all(root)):
            raise AssertionError(f"a hive's own text is not read: {error}") from error
        raise RefusedError from error
    except FormatError as error:
        raise RefusedError from error
    if any("\\" in key.name or key.name.startswith("-") or not key.name for key in _all(root) if key is not root):
        # To the text, these are other paths.
        raise RefusedError
    seen: dict[str, dict[str, Value]] = {}
    for edit in edits:
        _carry_out(seen, edit)
    wanted = _shown(root, "HKLM\\X")
    expect(seen == wanted, "the text makes other keys:", _only(seen, wanted), _only(wanted, seen))


def _is_beyond_text(key: TreeKey) -> bool:
    names = [key.name, *(value.name for value in key.values())]
    return any(char in "\r\n" or "\ud800" <= char <= "\udfff" for name in names for char in name)


def _carry_out(seen: dict[str, dict[str, Value]], edit: RegEdit) -> None:
    key = fold(edit.key)
    if edit.is_deletion and edit.value is None:
        for name in [name for name in seen if name == key or name.startswith(key + "\\")]:
            del seen[name]
        return
    values = seen.setdefault(key, {})
    if edit.value is None:
        return
    if edit.is_deletion:
        values.pop(fold(edit.value.name), None)
    else:
        values[fold(edit.value.name)] = edit.value


def _shown(key: TreeKey, path: str) -> dict[str, dict[str, Value]]:
    """The values by paths, of all keys that are no tombstones."""
    if key.metadata.semantics is LayerSemantics.TOMBSTONE:
        return {}
    values = {name: value for name, value in key.by_name.items() if not value.is_tombstone}
    found = {fold(path): values}
    for child in key.below.values():
        if isinstance(child, TreeKey):
            found |= _shown(child, f"{path}\\{child.name}")
    return found


def _only(one: dict[str, dict[str, Value]], other: dict[str, dict[str, Value]]) -> list[object]:
    return [(key, values) for key, values in one.items() if other.get(key) != values]


def logs(data: bytes) -> None:
    """The data is a dirty hive and its log: what is recovered is a hive, or refused, and recovering it again changes
    nothing."""
    size = int.from_bytes(data[:_SIZE], "little")
    try:
        found = recover(data[_SIZE : _SIZE + size], [data[_SIZE + size :]], max_size=_MAX_SIZE)
    except FormatError as error:
        raise RefusedError from error
    expect(len(found) <= len(data) + (1 << 16), "a recovered hive that is larger than both:", len(found), len(data))
    again = recover(bytes(found), [data[_SIZE + size :]], max_size=_MAX_SIZE)
    expect(bytes(again) == bytes(found), "recovered twice, a hive changes")
    try:
        copy_key(Hive(found).root())
    except FormatError as error:
        raise RefusedError from error


# Inputs to start from.


def pair(first: bytes, second: bytes) -> bytes:
    """The input of two pieces."""
    return len(first).to_bytes(_SIZE, "little") + first + second


def mutate_pair(data: bytes, chance: Random, most: int) -> bytes:
    """Two hives with one of them changed, or with their places exchanged."""
    if is_rare(chance) or len(data) < _SIZE:
        return mutate_bytes(data, chance, most)
    size = int.from_bytes(data[:_SIZE], "little")
    first, second = data[_SIZE : _SIZE + size], data[_SIZE + size :]
    action = chance.randrange(8)
    if action == 0:
        first, second = second, first
    elif action < 4:
        first = mutate_hive(first, chance, most // 2)
    else:
        second = mutate_hive(second, chance, most // 2)
    return pair(first, second)[:most]


def mutate_log(data: bytes, chance: Random, most: int) -> bytes:
    """A dirty hive and its log with one of them changed."""
    if is_rare(chance) or len(data) < _SIZE:
        return mutate_bytes(data, chance, most)
    size = int.from_bytes(data[:_SIZE], "little")
    hive, log = data[_SIZE : _SIZE + size], data[_SIZE + size :]
    if chance.randrange(4):
        log = mutate_bytes(log, chance, most)
    else:
        hive = mutate_hive(hive, chance, most)
    return pair(hive, log)[:most]


def _tree(*, is_delta: bool) -> TreeKey:
    root = empty_root(5)
    kinds = (
        ("a", LayerSemantics.NORMAL, b""), ("b", LayerSemantics.SUPERSEDE_LOCAL, b"c\0"),
        ("C", LayerSemantics.SUPERSEDE_TREE, b""), ("d", LayerSemantics.TOMBSTONE, b""),
    )  # fmt: skip
    for number, (name, semantics, class_name) in enumerate(kinds):
        metadata = root.metadata._replace(class_name=class_name, last_written=10 - number if is_delta else number)
        if is_delta:
            metadata = metadata._replace(semantics=semantics, inherits_class=name == "a")
        key = TreeKey(name, metadata)
        if not is_delta or semantics is not LayerSemantics.TOMBSTONE:
            key.set(Value("", 1, b"x\0\0\0"))
            key.set(Value("n", 4, number.to_bytes(4, "little")))
            key.set(Value("gone", 3, b"" if is_delta else b"12345678", is_tombstone=is_delta))
            below = TreeKey("below", root.metadata._replace(last_written=3))
            below.set(Value("v" + name, 3, bytes(40)))
            key.add(below)
        root.add(key)
    return root


def pair_seeds() -> list[bytes]:
    base, delta = write_hive(_tree(is_delta=False)), write_hive(_tree(is_delta=True), has_layered_keys=True)
    return [pair(base, delta), pair(base, base), pair(delta, base)]


def text_seeds() -> list[bytes]:
    return [write_hive(_tree(is_delta=False)), write_hive(_tree(is_delta=True), has_layered_keys=True)]


def log_seeds() -> list[bytes]:
    """A hive whose write was not finished, with logs of the old format, of all of its pages and of one."""
    hive = write_hive(_tree(is_delta=False))
    pages = (len(hive) - structs.BASE_BLOCK_SIZE) // structs.DIRTY_PAGE
    seeds = []
    for bitmap, count in ((b"\xff" * (pages // 8), pages), (b"\x01".ljust(pages // 8, b"\0"), 1)):
        vector = (structs.DIRTY_VECTOR_SIGNATURE + bitmap).ljust(structs.LOG_SECTOR, b"\0")
        head = _with_number(hive, 28, structs.FILE_TYPE_OLD_LOGS[0])[: structs.LOG_SECTOR]
        dirty = hive[structs.BASE_BLOCK_SIZE :][: count * structs.DIRTY_PAGE]
        seeds.append(pair(_with_number(hive, 4, 7), head + vector + dirty))
    return seeds


def _with_number(hive: bytes, offset: int, number: int) -> bytes:
    """The hive with another number in its base block."""
    head = bytearray(hive[: structs.LOG_SECTOR])
    head[offset : offset + 4] = number.to_bytes(4, "little")
    structs.BASE_CHECKSUM.pack_into(head, structs.BASE_CHECKSUM_OFFSET, structs.checksum(head))
    return bytes(head) + hive[structs.LOG_SECTOR :]
