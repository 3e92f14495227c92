"""`prune`: removes from a store what no name keeps."""

from __future__ import annotations

import re
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from wclayer.errors import (
    CorruptLayerError,
    DiskFullError,
    FormatError,
    InvalidDataError,
    LayerBusyError,
    LayerError,
    NotSupportedError,
    PathNotFoundError,
    detail_of,
    errors_at,
)
from wclayer.host import durability, system
from wclayer.host.root import HostRoot, mounts_below
from wclayer.images.store.build_cache import BuildCache
from wclayer.images.store.folder import BLOBS, CACHE, INGEST, LAYERS, PART, StoreFolder
from wclayer.images.store.graph import reached_from
from wclayer.images.store.names import Names
from wclayer.images.store.repositories import Repositories
from wclayer.layers.atomic import lock_place, remove_leftovers, remove_whole, wait_for_place
from wclayer.layers.directory.chain_file import read_chain

_HEX = re.compile(r"[0-9a-f]{64}\Z")
KEEP_HOURS = 24.0
"""For how many hours a begun download is kept, and a build step that is not used."""


@dataclass(slots=True)
class PruneResult:
    """What `prune` removed from a store, or would remove.

    Attributes:
        blobs: the digests of blobs, manifests and configurations.
        layers: the chainIDs of unpacked layers.
        downloads: the digests of begun downloads.
        steps: the keys of build steps in the cache.
        freed: their bytes.
        busy: the paths of layers that no name keeps, and that were left because they are mounted or open.
    """

    blobs: list[str] = field(default_factory=list)
    layers: list[str] = field(default_factory=list)
    downloads: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    freed: int = 0
    busy: list[Path] = field(default_factory=list)


def prune_store(folder: StoreFolder, *, keep_hours: float, dry_run: bool) -> PruneResult:
    """Removes what no name keeps. See `ImageStore.prune`."""
    result = PruneResult()
    if not folder.exists:
        if not dry_run and folder.path.is_dir():
            # A process that was killed while it made the store.
            remove_leftovers(folder.path)
        return result
    lock = wait_for_place(
        folder.path, busy="a pull, a copy or another program uses the store; try again when it has ended"
    )
    try:
        before = time.time() - keep_hours * 3600
        try:
            blobs, chain_ids = _kept(folder)
        except DiskFullError as error:
            # Even a reader of the database needs some room, and a begun download is what fills a disk most often.
            with errors_at(folder.path, damage=CorruptLayerError), folder.root() as root:
                _prune_downloads(root, before, result, dry_run)
            if dry_run or not result.downloads:
                raise DiskFullError(
                    folder.path, f"{error.detail}; make room, or remove begun downloads: `wclayer prune --all`"
                ) from error
            blobs, chain_ids = _kept(folder)
        cache = BuildCache(folder.path)
        _keep_cached(folder, cache, before, blobs, chain_ids)
        with errors_at(folder.path, damage=CorruptLayerError), folder.root() as root:
            if not dry_run:
                for name in (".", *(_text(part) for part in (BLOBS, INGEST, LAYERS, CACHE))):
                    # A process that was killed while it made the store has not made every folder.
                    with suppress(FileNotFoundError):
                        root.directory(b"" if name == "." else name.encode())
                        remove_leftovers(folder.path / name)
            # First what refers to the layers.
            result.steps = cache.prune(root, before, dry_run=dry_run)
            _prune_layers(folder, root, chain_ids, result, dry_run)
            _prune_downloads(root, before, result, dry_run)
            _prune_blobs(root, blobs, result, dry_run)
        if not dry_run:
            Repositories(folder).forget_missing()
    finally:
        lock.close()
    return result


def _text(path: bytes) -> str:
    return path.decode()


def _kept(folder: StoreFolder) -> tuple[set[str], set[str]]:
    """Returns the digests and the chainIDs that the names keep.

    Raises:
        CorruptLayerError: an image cannot be read, so that nobody knows what it keeps.
    """
    blobs: set[str] = set()
    chain_ids: set[str] = set()
    for name in Names(folder).all():
        try:
            reached = reached_from(folder, name.descriptor)
        except (PathNotFoundError, InvalidDataError, CorruptLayerError, NotSupportedError, FormatError) as error:
            raise CorruptLayerError(
                folder.path,
                f"nothing was removed: what the image {name.text} keeps is unknown: {detail_of(error)};"
                " pull it again, or untag it",
            ) from error
        blobs.update(reached.blobs)
        chain_ids.update(reached.chain_ids)
    return blobs, chain_ids


def _keep_cached(folder: StoreFolder, cache: BuildCache, before: float, blobs: set[str], chain_ids: set[str]) -> None:
    """Adds what the steps in the cache keep that were used since a time: their layers, and those below them."""
    for step in cache.used_since(before):
        if step.layer is not None:
            blobs.add(step.layer.digest)
            chain_ids.add(step.chain_id)
            chain_ids.update(_parents(folder.layer_path(step.chain_id)))


def _listed(root: HostRoot, path: bytes, suffix: str = "") -> Iterator[tuple[str, bytes, bool]]:
    """Yields what has the name of a blob, a layer or a download in a folder: the digits, the path, "is a directory"."""
    with suppress(FileNotFoundError):
        for name, is_directory in sorted(system.list_directory(root.directory(path))):
            digits = name.removesuffix(suffix)
            if name.endswith(suffix) and _HEX.match(digits):
                yield digits, path + b"/" + name.encode(), is_directory


def _prune_layers(folder: StoreFolder, root: HostRoot, kept: set[str], result: PruneResult, dry_run: bool) -> None:
    layers = {f"sha256:{digits}" for digits, _, is_directory in _listed(root, LAYERS) if is_directory} - kept
    busy = {chain_id for chain_id in layers if _is_busy(folder.layer_path(chain_id))}
    parents = {chain_id: _parents(folder.layer_path(chain_id)) for chain_id in layers}
    for chain_id in list(busy):
        # Who uses a layer uses its parents.
        busy.update(parents[chain_id])
    # Children first: who opens a layer while others are removed finds its parents.
    for chain_id in sorted(layers - busy, key=lambda each: (-len(parents[each]), each)):
        if chain_id in busy:
            continue
        path = folder.layer_path(chain_id)
        size = folder.layer_size(chain_id)
        if not dry_run:
            try:
                remove_whole(path)
            except LayerBusyError:
                busy.update((chain_id, *parents[chain_id]))
                continue
        result.layers.append(chain_id)
        result.freed += size
    result.busy = sorted(folder.layer_path(chain_id) for chain_id in busy & layers)


def _parents(path: Path) -> list[str]:
    """Returns the chainIDs of the parents of a layer; none if they cannot be read."""
    try:
        return [f"sha256:{parent.name}" for parent in read_chain(path)]
    except LayerError:
        return []


def _is_busy(path: Path) -> bool:
    """Returns whether a layer is open or mounted."""
    try:
        lock_place(path, follow=False).close()
    except BlockingIOError:
        return True
    return bool(mounts_below(path))


def _prune_downloads(root: HostRoot, before: float, result: PruneResult, dry_run: bool) -> None:
    for digits, path, _ in _listed(root, INGEST, PART):
        status = root.stat(path)
        if stat.S_ISREG(status.st_mode) and status.st_mtime <= before:
            if not dry_run:
                root.remove_file(path)
            result.downloads.append(f"sha256:{digits}")
            result.freed += status.st_size


def _prune_blobs(root: HostRoot, kept: set[str], result: PruneResult, dry_run: bool) -> None:
    for digits, path, _ in _listed(root, BLOBS):
        digest = f"sha256:{digits}"
        status = root.stat(path)
        if digest not in kept and stat.S_ISREG(status.st_mode):
            if not dry_run:
                root.remove_file(path)
            result.blobs.append(digest)
            result.freed += status.st_size
    if result.blobs and not dry_run and durability.is_wanted():
        system.sync_directory(root.directory(BLOBS))
