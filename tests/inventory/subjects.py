r"""Subjects that tests put together: a base layer with keys and files, and a scratch that changes them.

Keys are stated as `{path: {name: value}}`, by the paths of `reg.exe`. A value is a text (REG_SZ, or REG_EXPAND_SZ if it
has a %), a number (REG_DWORD), bytes (REG_BINARY), several texts (REG_MULTI_SZ), or a pair of type and data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import wclayer
from tests.layers.hive_layers import CONFIG, import_tar
from tests.support import put_directories, put_file
from wclayer.engines.portable.registry import RegistryEditor
from wclayer.formats.regf.empty import empty_root
from wclayer.formats.regf.model import KeyMetadata, TreeKey, Value
from wclayer.formats.regf.structs import KeyFlags
from wclayer.formats.regf.values import ValueType, encode_string
from wclayer.formats.regf.writer import write_hive
from wclayer.model import LayerWriter

Data = str | int | bytes | Sequence[str] | tuple[int, bytes]
Keys = Mapping[str, Mapping[str, Data]]

_HIVES = {
    r"HKLM\SOFTWARE": "SOFTWARE", r"HKLM\SYSTEM": "SYSTEM", r"HKLM\SAM": "SAM", r"HKU\.DEFAULT": "DEFAULT",
}  # fmt: skip


def value(name: str, data: Data) -> Value:
    """A value of a key."""
    match data:
        case str():
            kind = ValueType.REG_EXPAND_SZ if "%" in data else ValueType.REG_SZ
            return Value(name, kind, encode_string(data))
        case int():
            return Value(name, ValueType.REG_DWORD, data.to_bytes(4, "little"))
        case bytes():
            return Value(name, ValueType.REG_BINARY, data)
        case (int(kind), bytes(raw)):
            return Value(name, kind, raw)
        case _:
            return Value(name, ValueType.REG_MULTI_SZ, b"".join(map(encode_string, map(str, data))) + b"\0\0")


def tree(keys: Keys, time: int = 10) -> TreeKey:
    """The root of a hive with those keys, whose paths begin below it. A key with a `SymbolicLinkValue` is a link."""
    root = empty_root(time)
    for path, values in keys.items():
        key = root
        for name in path.split("\\"):
            below = key.subkey(name)
            if not isinstance(below, TreeKey):
                below = TreeKey(name, KeyMetadata(time, root.metadata.security))
                key.add(below)
            key = below
        for name, data in values.items():
            key.set(value(name, data))
            if name == "SymbolicLinkValue":
                key.metadata = key.metadata._replace(flags=int(KeyFlags.SYM_LINK))
    return root


def hive(keys: Keys) -> bytes:
    """A hive with those keys, whose paths begin below its root."""
    return write_hive(tree(keys))


def base(folder: Path, keys: Keys, files: Mapping[str, bytes] | None = None) -> Path:
    r"""A base layer.

    Args:
        folder: where it is put.
        keys: its registry: `HKLM\SOFTWARE\…`, `HKLM\SYSTEM\…`, `HKLM\SAM\…`, `HKU\.DEFAULT\…`.
        files: its other files by their paths below C:, with slashes.
    """
    contents = {f"Files/{name}": data for name, data in (files or {}).items()}
    for prefix, name in _HIVES.items():
        below = {path[len(prefix) + 1 :]: values for path, values in keys.items() if path.startswith(prefix + "\\")}
        if below or name in ("SOFTWARE", "SYSTEM"):
            contents[f"{CONFIG}/{name}"] = hive(below)
    return import_tar(folder, "base", lambda writer: _write(writer, contents))


def child(folder: Path, parent: Path, keys: Keys, files: Mapping[str, bytes] | None = None) -> Path:
    """A scratch over a base layer, with more keys and values, and more files."""
    scratch = folder / "run"
    wclayer.create_scratch_layer(scratch, [parent])
    with RegistryEditor(scratch) as editor:
        for path, values in keys.items():
            editor.create_key(path)
            for name, data in values.items():
                editor.set_value(path, *value(name, data)[:3])
    with wclayer.LayerView(scratch=scratch) as view:
        for name, data in (files or {}).items():
            if "/" in name:
                view.makedirs(name.rpartition("/")[0])
            view.write_bytes(name, data)
    return scratch


def _write(writer: LayerWriter, contents: Mapping[str, bytes]) -> None:
    folders: set[str] = {"Files", "Files/Windows", "Files/Windows/System32", CONFIG}
    for name in contents:
        parts = name.split("/")[:-1]
        folders |= {"/".join(parts[:depth]) for depth in range(1, len(parts) + 1)}
    put_directories(writer, *sorted(folders))
    for name, data in contents.items():
        put_file(writer, name, data)


def items(inventory: wclayer.Inventory, kind: str) -> list[wclayer.Item]:
    """The items of a kind."""
    return list(inventory.of_kind(wclayer.ItemKind(kind)))


def rows(inventory: wclayer.Inventory, kind: str, *properties: str) -> list[tuple[object, ...]]:
    """Name, version, number of the layer and some properties of each item of a kind."""
    return [
        (
            item.name,
            item.version,
            None if item.origin.layer is None else item.origin.layer.number,
            *(item.properties.get(name) for name in properties),
        )
        for item in items(inventory, kind)
    ]
