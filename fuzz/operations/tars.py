"""Tar to layer, to tar: what is accepted is whole, checks clean, and comes back as the same bytes."""

from __future__ import annotations

import io
from pathlib import Path

from fuzz.operations.ground import (
    LIMITS,
    RefusedError,
    base_layer,
    build_base,
    contents,
    expect,
    expect_equal,
    expect_sound,
    fresh,
    info,
    layer_contents,
    put_directories,
    put_file,
    refusing_cleanly,
    tar_of,
)
from wclayer.engines.portable.engine import export_layer_to_tar, import_layer_from_tar
from wclayer.formats.regf.empty import empty_root
from wclayer.formats.regf.model import TreeKey, Value
from wclayer.formats.regf.writer import write_hive
from wclayer.layers.directory.reader import DirectoryLayerReader
from wclayer.layers.tar import TarLayerReader, TarLayerWriter
from wclayer.model import DataStream, Entry, LayerWriter
from wclayer.win32.ea import ExtendedAttribute, encode_eas
from wclayer.win32.inherit import inherit, volume_root
from wclayer.win32.reparse import LinkTarget

_COMPRESSED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd")
"""How gzip and zstd begin: what comes out is not the input."""


def base_tar(data: bytes) -> None:
    """The data is the tar of a base layer."""
    with fresh() as folder:
        _round(folder, data, [])


def child_tar(data: bytes) -> None:
    """The data is the tar of a layer on a base."""
    parent = base_layer()
    with fresh() as folder:
        _round(folder, data, [parent])


def _round(folder: Path, data: bytes, parents: list[Path]) -> None:
    layer, again = folder / "layer", folder / "again"
    with refusing_cleanly(folder):
        import_layer_from_tar(io.BytesIO(data), layer, parents, limits=LIMITS)
    expect_sound(layer)
    raw = io.BytesIO()
    done = export_layer_to_tar(raw, layer)
    expect(done.unchanged, "the export is not what was imported")
    exported = raw.getvalue()
    if not data.startswith(_COMPRESSED):
        expect(exported == data, "the export has other bytes than the tar that was imported")
    with TarLayerReader(io.BytesIO(exported), is_base=not parents, limits=LIMITS) as reader:
        in_tar = contents(reader)
    in_layer = layer_contents(layer)
    expect_equal(in_layer, in_tar, "the layer holds other entries than its tar")
    _canonical(folder, layer, again, parents)


def _canonical(folder: Path, layer: Path, again: Path, parents: list[Path]) -> None:
    """What the layer says in our own words is a fixed point: imported and exported, it is the same."""
    raw = io.BytesIO()
    with DirectoryLayerReader(layer) as reader, TarLayerWriter(raw) as writer:
        for item in reader:
            entry = item.entry
            entry.header_delta = None
            writer.put(entry, (_without_header_delta(stream) for stream in item.streams()))
    canonical = raw.getvalue()
    try:
        with refusing_cleanly(folder):
            import_layer_from_tar(io.BytesIO(canonical), again, parents, limits=LIMITS)
    except RefusedError as refusal:
        raise AssertionError(f"our own tar of an imported layer is refused: {refusal.__cause__}") from refusal
    second = io.BytesIO()
    export_layer_to_tar(second, again)
    expect(second.getvalue() == canonical, "our own tar, imported and exported, is another one")
    expect_equal(layer_contents(again), layer_contents(layer), "our own tar holds other entries than the layer")


def _without_header_delta(stream: DataStream) -> DataStream:
    stream.header_delta = None
    return stream


def _software() -> TreeKey:
    root = empty_root(1)
    key = TreeKey("Key", root.metadata)
    key.set(Value("v", 1, b"x\0\0\0"))
    root.add(key)
    return root


def build_rich(writer: LayerWriter) -> None:
    """A base layer with one of everything."""
    root = volume_root()
    security = inherit(root, is_directory=False).encode()
    writer.put(Entry("Files", info(0x10), security=root.encode()))
    put_directories(writer, ("Files/d", "Files/Ä"))
    put_file(writer, "Files/a", b"contents", s=b"stream", t=b"")
    eas = encode_eas([ExtendedAttribute(b"NAME", b"value")])
    writer.put(Entry("Files/d/ea", info(), 0, security, eas))
    writer.put(Entry("Files/l", info(), link_target="Files/a"))
    for name, is_junction, attributes in (("j", True, 0x410), ("s", False, 0x420)):
        reparse = LinkTarget.from_path("C:\\d" if is_junction else "d\\x", is_mount_point=is_junction).encode()
        writer.put(Entry(f"Files/d/{name}", info(attributes), reparse=reparse))


def build_hive(writer: LayerWriter) -> None:
    """A base layer with a hive."""
    put_directories(writer, ("Files", *("/".join(("Files", *_CONFIG[:n])) for n in range(1, 4))))
    put_file(writer, "/".join(("Files", *_CONFIG, "SOFTWARE")), write_hive(_software()))


_CONFIG = ("Windows", "System32", "config")


def build_child(writer: LayerWriter) -> None:
    """A layer on the base, with what only such a layer has."""
    put_directories(writer, ("Files", "Files/d"))
    writer.put(Entry("Files/d/b", None))
    writer.put(Entry("Files/l", None))
    put_file(writer, "Files/new", b"new", more=b"m")
    writer.put(Entry("Files/from-parent", info(), link_target="Files/a"))
    put_directories(writer, ("Hives",))
    put_file(writer, "Hives/Software_Delta", write_hive(_software(), has_layered_keys=True))


def base_seeds() -> list[bytes]:
    return [tar_of(build_rich), tar_of(build_base), tar_of(build_hive)]


def child_seeds() -> list[bytes]:
    return [tar_of(build_child), tar_of(build_base)]
