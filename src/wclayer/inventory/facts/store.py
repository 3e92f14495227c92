"""`FactsStore`: the facts of layers by the digests of their blobs, in a folder or at a URL of fsspec."""

from __future__ import annotations

import re
import shutil
from typing import BinaryIO

from wclayer._types import StrPath
from wclayer.errors import boundary
from wclayer.images.descriptor import check_digest
from wclayer.layers.inputs import open_stream
from wclayer.layers.object_folder import ObjectFolder

_ALGORITHM, _SUFFIX = "sha256", ".tar.zst"
_NAME = re.compile(rf"{_ALGORITHM}/[0-9a-f]{{2}}/(?P<hex>[0-9a-f]{{64}}){re.escape(_SUFFIX)}\Z")
_PIECE = 1 << 20


@boundary
class FactsStore:
    """Facts of layers, each in a file `sha256/AB/HEX.tar.zst`, where ABHEX… is the digest of the layer's blob.

    It can be pickled: the unpickled one is the same place. Several processes may use it at the same time.

    Args:
        place: the path of a folder, which is made when it is needed, or a URL that fsspec knows (`s3://bucket/facts`).

    Raises:
        NotSupportedError: fsspec does not know the URL, or is not installed.
    """

    operation = "use facts"

    def __init__(self, place: StrPath) -> None:
        self.folder = ObjectFolder(place)
        self.path = self.folder.url

    def __reduce__(self) -> tuple[object, ...]:
        return FactsStore, (self.path,)

    def has(self, digest: str) -> bool:
        """Returns whether there are facts of a layer."""
        return self.folder.exists(_object_name(digest))

    def digests(self) -> set[str]:
        """Returns the digests of all layers of which there are facts. The store is listed once."""
        found = map(_NAME.match, self.folder.names(_ALGORITHM))
        return {f"{_ALGORITHM}:{match['hex']}" for match in found if match}

    def put(self, digest: str, file: StrPath) -> None:
        """Copies a facts file into the store. It appears as a whole, and replaces another one of the same layer.

        Args:
            digest: the digest of the layer's blob.
            file: the facts file (see `make_facts`).
        """
        with open_stream(file) as source, self.folder.new_file(_object_name(digest)) as target:
            shutil.copyfileobj(source, target, _PIECE)

    def open(self, digest: str) -> BinaryIO:
        """Opens the facts file of a layer for reading.

        Raises:
            PathNotFoundError: there are no facts of that layer.
        """
        return self.folder.open(_object_name(digest))

    def place(self, digest: str) -> str:
        """Returns the path or the URL of the facts of a layer, whether they are there or not."""
        return self.folder.place(_object_name(digest))

    def remove(self, digest: str) -> None:
        """Removes the facts of a layer, if they are there."""
        self.folder.remove(_object_name(digest))


def _object_name(digest: str) -> str:
    hexadecimal = check_digest(digest, "the digest of a layer").partition(":")[2]
    return f"{_ALGORITHM}/{hexadecimal[:2]}/{hexadecimal}{_SUFFIX}"
