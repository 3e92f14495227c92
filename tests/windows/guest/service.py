"""A stand-in for the Host Compute Service that does on the disk what Windows does."""

from __future__ import annotations

import os
from pathlib import Path

from wclayer.engines.hcs.files import BackupFile
from wclayer.engines.portable import engine as portable
from wclayer.host.root import HostRoot
from wclayer.layers.backup_stream import backup_stream
from wclayer.layers.transport import TransportLayerReader
from wclayer.layers.transport.layout import TOMBSTONES, TOMBSTONES_HEADER
from wclayer.model import LayerItem


class Service:
    """What the Host Compute Service does on the disk: imports, and exports of layers made by the portable engine."""

    def __init__(self) -> None:
        self.exported: Path | None = None
        self.seen: list[tuple[str, object]] = []

    def __call__(self, name: str, layer: str, other: str, data: bytes) -> int:
        if name == "ImportLayer":
            Path(other, TOMBSTONES).write_bytes(TOMBSTONES_HEADER + b"\r\n")
            with TransportLayerReader(other) as source, HostRoot(layer) as root:
                for item in source:
                    _restore(root, item)
                self.seen.append(("imported", sorted(os.listdir(other))))
        elif name == "ExportLayer":
            assert self.exported is not None
            portable.export_layer(self.exported, other)
        return 0


def _restore(root: HostRoot, item: LayerItem) -> None:
    entry = item.entry
    assert entry.info is not None
    path = entry.name.encode()
    try:
        is_there = root.stat(path) is not None
    except FileNotFoundError:
        is_there = False
    with BackupFile(root, path, create=not is_there, is_directory=entry.is_directory, writable=True) as file:
        file.set_info(entry.info)
        for piece in backup_stream(entry, item.streams()):
            file.write(piece)
