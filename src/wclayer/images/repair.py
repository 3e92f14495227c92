"""`repair_store`: removes from a store what is damaged, and unpacks damaged layers again from their blobs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from wclayer.errors import (
    CorruptLayerError,
    FormatError,
    InvalidDataError,
    LayerBusyError,
    LayerError,
    NotSupportedError,
    PathNotFoundError,
    during,
    errors_at,
)
from wclayer.host import durability, system
from wclayer.host.root import HostRoot, mounts_below
from wclayer.images.blobs import Blob
from wclayer.images.config import chain_ids
from wclayer.images.descriptor import Descriptor
from wclayer.images.store import ImageStore
from wclayer.images.store.build_cache import BuildCache
from wclayer.images.store.checking import (
    check_names,
    check_places,
    damaged_blobs,
    layer_problems,
    of_layer,
    unpacked_layers,
)
from wclayer.images.store.folder import BLOBS, StoreFolder, blob_name
from wclayer.images.store.graph import images_of
from wclayer.images.store.names import Names
from wclayer.images.unpack import LayerStream, unpack_layer
from wclayer.layers.atomic import remove_leftovers, wait_for_place
from wclayer.layers.directory import open_layer
from wclayer.layers.directory.problem import Problem
from wclayer.layers.progress import Progress, ProgressCallback, report


@dataclass(slots=True)
class RepairResult:
    """What `repair_store` did.

    Attributes:
        blobs: the digests of the damaged blobs, manifests and configurations that were removed.
        layers: the chainIDs of the layers that were unpacked again.
        steps: the keys of the records of build steps that were removed: they were damaged, or their layer is gone.
        problems: what is wrong with the store still: images that lack something, damaged layers whose blob is not
            there, files that do not belong in a store.
    """

    blobs: list[str] = field(default_factory=list)
    layers: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def repair_store(store: ImageStore | None = None, *, progress: ProgressCallback | None = None) -> RepairResult:
    """Removes from a store what is damaged, and makes again what can be made of what is whole.

    - A blob, manifest or configuration with other contents than its digest says is removed, so that the next pull
      fetches it.
    - A damaged unpacked layer is unpacked again, if its blob is in the store and sound, and takes the place of the
      damaged one in one step. The disks in it stay if they are sound: those of scratches are made on them. Without the
      blob, it stays as it is.
    - A record of a build step that is damaged, or whose layer is gone, is removed.

    Nothing that is whole is removed, whether a name keeps it or not. A call that is killed leaves each part as it was,
    or repaired.

    Args:
        store: the store; by default the user's.
        progress: called from time to time with the bytes of blobs and the entries of layers that are checked.

    Raises:
        PathNotFoundError: there is no store.
        LayerBusyError: another process pulls, copies or unpacks.
        CorruptLayerError: the database of the names is damaged. Nothing was changed.
    """
    folder = StoreFolder((store or ImageStore()).path)
    with during("repair store", folder.path):
        if not folder.exists:
            raise PathNotFoundError(folder.path, "there is no store here; `wclayer pull` makes one")
        folder.check_writable()
        lock = wait_for_place(
            folder.path, busy="a pull, a copy or another program uses the store; try again when it has ended"
        )
        try:
            with errors_at(folder.path, damage=CorruptLayerError), folder.root() as root:
                return _Repair(folder, root, progress).run()
        finally:
            lock.close()


@dataclass(frozen=True, slots=True)
class _Source:
    """What a layer is unpacked from.

    Attributes:
        blob: its blob.
        diff_id: its diffID.
        parents: the chainIDs of its parents, nearest first.
    """

    blob: Descriptor
    diff_id: str
    parents: tuple[str, ...]


class _Repair:
    """The repair of a store that nobody else uses."""

    def __init__(self, folder: StoreFolder, root: HostRoot, progress: ProgressCallback | None) -> None:
        self._folder = folder
        self._root = root
        self._progress = progress
        self._state = Progress()
        self._result = RepairResult()
        self._unread: set[str] = set()
        """The blobs that cannot be read."""
        self._left: set[str] = set()
        """The damaged layers that stay."""

    def run(self) -> RepairResult:
        # Before anything is removed: a damaged database is refused.
        sources = dict(_sources(self._folder))
        remove_leftovers(self._folder.layer_path("sha256:" + "0" * 64).parent)
        self._remove_blobs()
        self._repair_layers(sources)
        cache = BuildCache(self._folder.path)
        for key in cache.dangling(self._root):
            cache.remove(self._root, key)
            self._result.steps.append(key)
        told = [*check_places(self._root), *check_names(self._folder), *self._result.problems]
        self._result.problems = list(dict.fromkeys(told))
        report(self._state, self._progress)
        return self._result

    def _remove_blobs(self) -> None:
        for blob in damaged_blobs(self._root, self._state, self._progress):
            if blob.is_readable:
                self._root.remove_file(blob_name(blob.digest))
                self._result.blobs.append(blob.digest)
            else:
                self._unread.add(blob.digest)
                self._result.problems.append(blob.problem)
        if self._result.blobs and durability.is_wanted():
            system.sync_directory(self._root.directory(BLOBS))

    def _repair_layers(self, sources: dict[str, _Source]) -> None:
        unpacked = unpacked_layers(self._root)
        damaged = {chain_id: found for chain_id in unpacked if (found := self._problems(chain_id))}
        # A layer that is whole needs its parents.
        missing = {
            parent
            for chain_id in unpacked
            if chain_id in sources
            for parent in sources[chain_id].parents
            if not self._folder.has_layer(parent)
        }

        def depth(chain_id: str) -> int:
            return len(sources[chain_id].parents) if chain_id in sources else 0

        for chain_id in sorted(damaged.keys() | missing, key=lambda each: (depth(each), each)):
            problems = damaged.get(chain_id, [])
            parents = sources[chain_id].parents if chain_id in sources else ()
            if problems and any(parent in self._result.layers for parent in parents):
                # Perhaps only a parent was missing.
                problems = self._problems(chain_id)
                if not problems:
                    continue
            if why := self._unpack(chain_id, sources):
                self._left.add(chain_id)
                self._result.problems += [of_layer(chain_id, problem) for problem in problems]
                self._result.problems.append(of_layer(chain_id, Problem("", f"cannot be unpacked again: {why}")))
            else:
                self._result.layers.append(chain_id)

    def _problems(self, chain_id: str) -> list[Problem]:
        """Returns what the disk has damaged in a layer."""
        found = list(layer_problems(self._folder, chain_id, self._state, self._progress))
        own = _own_problems(self._folder, chain_id) if found else set()
        self._result.problems += [of_layer(chain_id, problem) for problem in found if problem in own]
        return [problem for problem in found if problem not in own]

    def _unpack(self, chain_id: str, sources: dict[str, _Source]) -> str:
        """Unpacks a layer again. Returns why that is not possible; "" if it was done."""
        source = sources.get(chain_id)
        if source is None:
            return "no image in the store that can be read has it; pull its image again, and repair then"
        if source.blob.digest in self._unread or not self._folder.has_blob(source.blob):
            return f"its blob {source.blob.digest} is not in the store; pull its image again, and repair then"
        if chain_ids([*source.parents[:1], source.diff_id])[-1] != chain_id:
            return "its own records of its parents are damaged"
        if any(parent in self._left or not self._folder.has_layer(parent) for parent in source.parents):
            return "a layer below it is damaged or missing"
        path = self._folder.layer_path(chain_id)
        if mounts_below(path):
            return "it is mounted; unmount it, and repair then"
        try:
            unpack_layer(
                Blob(source.blob, f"layer {len(source.parents) + 1}"), source.diff_id, path,
                [self._folder.layer_path(parent) for parent in source.parents],
                lambda blob: LayerStream(self._folder.open_blob(blob.descriptor)), chain_id, over_damaged=True,
            )  # fmt: skip
        except LayerBusyError:
            return "it is mounted or open; repair when it is not"
        except NotSupportedError:
            return "this host cannot replace a folder in one step; docs/images.md says how it is done by hand"
        except (CorruptLayerError, InvalidDataError) as error:
            return error.detail
        return ""


def _sources(folder: StoreFolder) -> Iterator[tuple[str, _Source]]:
    """Yields the chainIDs of the layers of all images that can be read, and of build steps, with what they are from."""
    for step in BuildCache(folder.path).used_since(0):
        if step.layer is not None:
            yield step.chain_id, _Source(step.layer, step.diff_id, tuple(_recorded_parents(folder, step.chain_id)))
    for name in Names(folder).all():
        try:
            for image in images_of(folder, name.descriptor):
                config, layers = image.config, image.manifest.layers
                if config is None or len(config.chain_ids) != len(layers):
                    continue
                for number, chain_id in enumerate(config.chain_ids):
                    parents = tuple(config.chain_ids[:number][::-1])
                    yield chain_id, _Source(layers[number], config.diff_ids[number], parents)
        except (LayerError, FormatError):
            # `check_names` tells it.
            continue


def _recorded_parents(folder: StoreFolder, chain_id: str) -> list[str]:
    """Returns the chainIDs of the parents that a layer records; none if it cannot be read."""
    try:
        with open_layer(folder.layer_path(chain_id)) as layer:
            return [f"sha256:{parent.name}" for parent in layer.parents()]
    except LayerError:
        return []


def _own_problems(folder: StoreFolder, chain_id: str) -> set[Problem]:
    """Returns the problems that a layer had when it was unpacked: its image has them, and no disk."""
    try:
        with open_layer(folder.layer_path(chain_id)) as layer:
            lines = [line.partition(": ") for line in layer.hive_problems()]
    except LayerError:
        return set()
    return {Problem(name, text) for name, _, text in lines}
