"""The capacity of a scratch's disk."""

from __future__ import annotations

from pathlib import Path

from wclayer.errors import FormatError
from wclayer.formats.gpt.table import read_table
from wclayer.layers.directory.scratch import DISK
from wclayer.layers.volume.disk_file import DiskFile

_FOR_CONTENTS = 15, 16
"""The part of a volume that is available for contents. The rest holds NTFS's own files and the records of entries."""


def scratch_capacity(scratch: Path) -> int | None:
    """Returns how many bytes of contents fit on the volume of a scratch's disk; None if it has no readable disk."""
    try:
        with DiskFile(scratch / DISK) as opened:
            size = read_table(opened.disk).data_partition.size
    except (OSError, FormatError):
        return None
    part, whole = _FOR_CONTENTS
    return size * part // whole
