"""What a path of the host is to images: a layout, an archive of one or of `docker save`, a layer in a store."""

from __future__ import annotations

import os
import re
from pathlib import Path

from wclayer._types import StrPath
from wclayer.errors import errors_at
from wclayer.formats.compression import Compression, HashedInput, detect
from wclayer.formats.tar import structs
from wclayer.images.layout_names import MARKER_FILE
from wclayer.images.store.folder import DATABASE, LAYERS
from wclayer.layers.directory.database import FILE_NAME
from wclayer.layers.inputs import has_any_place, open_any_place
from wclayer.layers.names import ROOTS
from wclayer.model import limits_in_use

_DIGITS = re.compile(r"[0-9a-f]{64}\Z")
_LAYER_ROOTS = frozenset(root.split("/")[0].lower().encode() for root in ROOTS)


def holds_images(path: StrPath) -> bool:
    """Returns whether a path leads to a layout, or to a tar (plain, gzip or zstd) that is not a layer's.

    A folder with a `layer.db` is a layer directory, and no layout. A layer's tar is known by its first name. Nothing
    else of the file is checked: whoever opens it does that.

    Raises:
        AccessDeniedError, …: the host refuses to read the file.
        InvalidDataError, LimitExceededError: it is compressed, and damaged or larger than a limit at its beginning.
    """
    if os.path.isdir(path):
        return os.path.lexists(os.path.join(path, MARKER_FILE)) and not os.path.lexists(os.path.join(path, FILE_NAME))
    if not has_any_place(path):
        return False
    header = _first_header(path)
    if header[structs.MAGIC][:5] != structs.USTAR_MAGIC[:5]:
        return False
    # The member with the PAX records of `Files` is called `PaxHeaders.0/Files`.
    names = header[structs.NAME].partition(b"\0")[0].removeprefix(b"./").lower().split(b"/")[:2]
    is_pax = header[structs.TYPEFLAG] == structs.PAX
    return not _LAYER_ROOTS & set(names if is_pax else names[:1])


def _first_header(path: StrPath) -> bytes:
    """Returns the first block of a file, decompressed."""
    with errors_at(path), open_any_place(path) as file:
        head = file.read(structs.BLOCK)
        if detect(head) is Compression.NONE:
            return head
        file.seek(0)
        limits = limits_in_use()
        source = HashedInput(file, max_size=limits.total_size, max_ratio=limits.ratio, unrated_size=limits.unrated_size)
        try:
            return next(source, b"")[: structs.BLOCK]
        finally:
            source.close()


def layer_in_store(path: StrPath) -> Path | None:
    """Returns the layer directory in a store in which a path lies, or which it is; None if it does not."""
    place = Path(os.path.realpath(path))
    for layer in (place, *place.parents):
        if (
            _DIGITS.match(layer.name)
            and os.fsencode(layer.parent.name) == LAYERS
            and (layer.parent.parent / DATABASE).is_file()
        ):
            return layer
    return None
