"""A registry in a base layer, and a layer that changes it."""

from __future__ import annotations

from tests.support import put_directories, put_file
from wclayer.formats.regf.delta import delta_of
from wclayer.formats.regf.empty import empty_root
from wclayer.formats.regf.model import TreeKey, Value, copy_key
from wclayer.formats.regf.values import ValueType, encode_string
from wclayer.formats.regf.writer import write_hive
from wclayer.layers.hives import LAYER_HIVES
from wclayer.model import LayerWriter

SOFTWARE = "HKEY_LOCAL_MACHINE\\SOFTWARE"


def text(name: str, value: str) -> Value:
    return Value(name, ValueType.REG_SZ, encode_string(value))


def _key(top: TreeKey, *names: str) -> TreeKey:
    for name in names:
        found = top.subkey(name)
        if not isinstance(found, TreeKey):
            found = TreeKey(name)
            top.add(found)
        top = found
    return top


def _old() -> TreeKey:
    root = copy_key(empty_root())
    _key(root, "Vendor", "Same").set(text("a", "1"))
    _key(root, "Vendor", "Changed").set(text("b", "1"))
    _key(root, "Vendor", "Changed").set(text("gone", "x"))
    _key(root, "Vendor", "Removed", "Below").set(text("c", "1"))
    _key(root, "Other", "Deep").set(text("", "default"))
    return root


def _new() -> TreeKey:
    root = _old()
    changed = _key(root, "Vendor", "Changed")
    changed.set(text("b", "2"))
    changed.by_name.pop("GONE")
    del _key(root, "Vendor").below["REMOVED"]
    _key(root, "Vendor", "Added", "Below").set(Value("d", ValueType.REG_DWORD, b"\1\0\0\0"))
    return root


def registry_base(writer: LayerWriter) -> None:
    put_directories(writer, "Files", *(f"Files/{path}" for path in _ABOVE))
    for hive in LAYER_HIVES:
        put_file(writer, hive.config, write_hive(_old()) if hive.stem == "Software" else b"")


_ABOVE = ("Windows", "Windows/System32", "Windows/System32/config")


def registry_update(writer: LayerWriter) -> None:
    put_directories(writer, "Files", "Hives")
    delta = delta_of(_old(), _new())
    assert delta is not None
    put_file(writer, "Hives/Software_Delta", write_hive(delta))
