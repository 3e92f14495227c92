"""How much a scratch's disk has room for."""

from __future__ import annotations

from pathlib import Path

from wclayer.errors import FormatError
from wclayer.formats.gpt.table import read_table
from wclayer.layers.directory.scratch import DISK
from wclayer.layers.volume.disk_file import DiskFile

_FOR_CONTENTS = 15, 16
"""The part of a volume that is left for contents; the rest is for NTFS's own files and the records of entries."""


def scratch_capacity(scratch: Path) -> int | None:
    """Bytes of contents that fit on the volume of the scratch's disk; None if it has no disk that can be read."""
    try:
        with DiskFile(scratch / DISK) as opened:
            size = read_table(opened.disk).data_partition.size
    except (OSError, FormatError):
        return None
    part, whole = _FOR_CONTENTS
    return size * part // whole
