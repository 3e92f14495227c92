"""`BuildCache`: what the steps of builds have made, in a store, by the digest of all that they depend on.

A record is a small JSON file; what it refers to are a blob and an unpacked layer of the store. It is written when both
are safe on the disk, so a build that was killed continues after its last finished step.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from wclayer._types import StrPath
from wclayer.errors import CorruptLayerError, FormatError, LayerError, errors_at
from wclayer.host import system
from wclayer.host.root import HostRoot
from wclayer.images.descriptor import Descriptor, check_digest
from wclayer.images.json_view import parse_json
from wclayer.images.store.folder import CACHE, StoreFolder, cache_name
from wclayer.layers.atomic import StagedFile, remove_leftovers

_VERSION = 1
MAX_RECORD = 64 << 10
"""The most bytes of a record."""


@dataclass(frozen=True, slots=True)
class CachedStep:
    """What a step of a build has made.

    Attributes:
        step: the instruction, for people.
        created: when it was made, as RFC 3339 writes it: the history of a later image has the same time.
        layer: the blob; None if the step changed no file and no key.
        diff_id: the digest of the uncompressed layer; "" without a layer.
        chain_id: the chainID of the layer; "" without a layer.
    """

    step: str
    created: str
    layer: Descriptor | None = None
    diff_id: str = ""
    chain_id: str = ""

    def encode(self) -> bytes:
        """Returns the contents of the record."""
        layer = None if self.layer is None else self.layer.to_json()
        record = {"version": _VERSION, "step": self.step[:1000], "created": self.created}
        made = {"layer": layer, "diffID": self.diff_id, "chainID": self.chain_id} if layer else {}
        return json.dumps(record | made, indent=1).encode() + b"\n"

    @classmethod
    def decode(cls, data: bytes) -> CachedStep:
        """Returns the step of a record.

        Raises:
            FormatError: it is no record, or one of another version.
        """
        view = parse_json(data, "the record")
        if (version := view.number("version")) != _VERSION:
            raise FormatError(f"the record has version {version}; known is {_VERSION}")
        if "layer" not in view.record:
            return cls(view.text("step"), view.text("created"))
        found = Descriptor.from_json(view.view("layer"))
        layer = Descriptor(found.media_type, found.digest, found.size)
        diff_id, chain_id = view.text("diffID"), view.text("chainID")
        for digest, what in ((layer.digest, "layer"), (diff_id, "diffID"), (chain_id, "chainID")):
            check_digest(digest, f"the record: {what}")
        return cls(view.text("step"), view.text("created"), layer, diff_id, chain_id)


class BuildCache:
    """The records of the steps in a store.

    Args:
        store: the path of the store.
    """

    def __init__(self, store: StrPath) -> None:
        self._folder = StoreFolder(store)
        self._is_swept = False

    def get(self, key: str) -> CachedStep | None:
        """Returns what a step has made, which is in the store, and notes that it was used; None if nobody knows.

        The caller holds `in_use`. A record that is damaged, or whose layer is gone, counts as none.

        Args:
            key: the digest of all that the step depends on.
        """
        try:
            with self._folder.root() as root:
                step = _read(root, cache_name(key))
                if not self._is_there(step):
                    return None
                now = time.time_ns()
                root.set_times(cache_name(key), now, now)
                return step
        except (OSError, FormatError):
            return None

    def put(self, key: str, step: CachedStep) -> None:
        """Records what a step has made, safe on the disk.

        Args:
            key: the digest of all that the step depends on.
            step: what it has made, which is in the store.
        """
        self._folder.make()
        path = self._folder.path / cache_name(key).decode()
        if not self._is_swept:
            # Once: to list the folder for each record takes longer, the more records there are.
            with errors_at(path):
                remove_leftovers(path.parent)
            self._is_swept = True
        with errors_at(path, damage=CorruptLayerError), StagedFile(path, sweep=False) as staged:
            staged.stream.write(step.encode())

    def used_since(self, moment: float) -> Iterator[CachedStep]:
        """Yields the steps of the records that were used since a time, in seconds since 1970."""
        with suppress(LayerError), self._folder.root() as root:
            for path, used in _records(root):
                if used > moment:
                    with suppress(OSError, FormatError):
                        yield _read(root, path)

    def dangling(self, root: HostRoot) -> list[str]:
        """Returns the keys of the files that are no records, and of the records whose layer is not in the store.

        Args:
            root: the folder of the store.
        """
        return [_key(path) for path, _ in _records(root) if not self._is_whole(root, path)]

    def remove(self, root: HostRoot, key: str) -> None:
        """Removes a record.

        Args:
            root: the folder of the store, which nobody else uses.
            key: the digest of all that the step depends on.
        """
        root.remove_file(cache_name(key))

    def _is_whole(self, root: HostRoot, path: bytes) -> bool:
        try:
            return self._is_there(_read(root, path))
        except FileNotFoundError:
            # Removed meanwhile.
            return True
        except (LayerError, FormatError):
            return False

    def _is_there(self, step: CachedStep) -> bool:
        """Returns whether what a step has made is in the store."""
        return step.layer is None or (self._folder.has_blob(step.layer) and self._folder.has_layer(step.chain_id))

    def prune(self, root: HostRoot, moment: float, *, dry_run: bool) -> list[str]:
        """Removes the records that were not used since a time, and returns their keys.

        Args:
            root: the folder of the store, which nobody else uses.
            moment: the time, in seconds since 1970.
            dry_run: remove nothing.
        """
        removed = []
        for path, used in list(_records(root)):
            if used <= moment:
                if not dry_run:
                    root.remove_file(path)
                removed.append(_key(path))
        return removed


def _records(root: HostRoot) -> Iterator[tuple[bytes, float]]:
    """Yields the path of each record, and when it was used last."""
    with suppress(FileNotFoundError):
        for name, is_directory in sorted(system.list_directory(root.directory(CACHE))):
            with suppress(LayerError, FileNotFoundError):
                if not is_directory and not name.startswith("."):
                    path = cache_name(f"sha256:{name}")
                    yield path, root.stat(path).st_mtime


def _key(path: bytes) -> str:
    """Returns the key of the record at a path."""
    return f"sha256:{path.decode().rpartition('/')[2]}"


def _read(root: HostRoot, path: bytes) -> CachedStep:
    return CachedStep.decode(root.read_bytes(path, MAX_RECORD))
