"""`check`: compares everything in a store with its name. `repair` asks the same questions."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from wclayer.engines.portable.base_processing import disk_problems
from wclayer.errors import CorruptLayerError, FormatError, LayerError, PathNotFoundError, detail_of, errors_at
from wclayer.host import system
from wclayer.host.root import HostRoot
from wclayer.images.config import chain_ids
from wclayer.images.store.build_cache import BuildCache
from wclayer.images.store.folder import (
    BLOBS,
    CACHE,
    DATABASE,
    INGEST,
    LAYERS,
    PART,
    StoreFolder,
    blob_name,
    cache_name,
    layer_name,
)
from wclayer.images.store.graph import ImageInStore, images_of
from wclayer.images.store.names import Names
from wclayer.layers.directory import open_layer
from wclayer.layers.directory.check import check_layer
from wclayer.layers.directory.problem import Problem
from wclayer.layers.progress import Progress, ProgressCallback, report

_PIECE = 1 << 20
_DIGITS = r"[0-9a-f]{64}"
_LEFTOVER = r"\.wclayer-.*\.(?:partial|gone)"
_EXPECTED = {
    b"": rf"{re.escape(DATABASE)}(?:-wal|-shm)?|blobs/|ingest/|layers/|cache/",
    b"blobs": r"sha256/",
    BLOBS: _DIGITS,
    INGEST: _DIGITS + re.escape(PART),
    LAYERS: _DIGITS + "/",
    CACHE: _DIGITS,
}
"""The names that each folder may have; a "/" marks a directory."""


def check_store(folder: StoreFolder, progress: ProgressCallback | None) -> Iterator[Problem]:
    """Yields the problems of a store. See `ImageStore.check`."""
    if not folder.exists:
        raise PathNotFoundError(folder.path, "there is no store here; `wclayer pull` makes one")
    state = Progress()
    with folder.in_use(), errors_at(folder.path, damage=CorruptLayerError), folder.root() as root:
        yield from check_places(root)
        yield from check_names(folder)
        for blob in damaged_blobs(root, state, progress):
            yield blob.problem
        for chain_id in unpacked_layers(root):
            for problem in layer_problems(folder, chain_id, state, progress):
                yield of_layer(chain_id, problem)
        for key in BuildCache(folder.path).dangling(root):
            yield Problem(os.fsdecode(cache_name(key)), "is no record of a build step whose layer is in the store")
    report(state, progress)


def of_layer(chain_id: str, problem: Problem) -> Problem:
    """Returns a problem of a layer as one of the store."""
    place = os.fsdecode(layer_name(chain_id))
    return Problem(f"{place}: {problem.path}" if problem.path else place, problem.text)


def _names(root: HostRoot, path: bytes) -> list[tuple[str, bool]]:
    try:
        return sorted(system.list_directory(root.directory(path)))
    except FileNotFoundError:
        return []


def check_places(root: HostRoot) -> Iterator[Problem]:
    """Yields what does not belong in a store, by its name or its kind."""
    for path, expected in _EXPECTED.items():
        for name, is_directory in _names(root, path):
            place = f"{os.fsdecode(path)}/{name}" if path else name
            if re.fullmatch(_LEFTOVER, name, re.DOTALL):
                # What an interrupted call left: the next one that builds something there removes it.
                continue
            if not re.fullmatch(expected, f"{name}/" if is_directory else name):
                yield Problem(place, "does not belong in a store")
            elif not is_directory and not _is_file(root, os.fsencode(place)):
                yield Problem(place, "is not a regular file")


def _is_file(root: HostRoot, path: bytes) -> bool:
    """Returns whether a file is a regular one. One that is gone by now, as a finished download is, was one."""
    try:
        return stat.S_ISREG(root.stat(path).st_mode)
    except FileNotFoundError:
        return True


def check_names(folder: StoreFolder) -> Iterator[Problem]:
    """Yields the images that cannot be read or are not complete."""
    for name in Names(folder).all():
        try:
            for image in images_of(folder, name.descriptor):
                yield from _check_image(folder, name.text, image)
        except (LayerError, FormatError) as error:
            yield Problem(name.text, detail_of(error))


def _check_image(folder: StoreFolder, name: str, image: ImageInStore) -> Iterator[Problem]:
    manifest = image.manifest
    layers = manifest.layers
    if not folder.has_blob(manifest.config):
        yield Problem(name, f"the configuration {manifest.config.digest} is not in the store, or has another size")
    for number, layer in enumerate(layers, 1):
        # A foreign layer is not always there: some programs copy images without them.
        if not folder.has_blob(layer) and not layer.is_foreign_layer:
            yield Problem(
                name, f"layer {number} of {len(layers)} ({layer.digest}) is not in the store, or has another size"
            )
    if image.config is not None and len(image.config.diff_ids) != len(layers):
        yield Problem(name, f"the configuration has {len(image.config.diff_ids)} layers, the manifest {len(layers)}")


@dataclass(frozen=True, slots=True)
class DamagedBlob:
    """A blob with other contents than its name says, or one that cannot be read.

    Attributes:
        digest: what its name says.
        text: what is wrong.
        is_readable: True if it has other contents; False if the host may still have the right ones.
    """

    digest: str
    text: str
    is_readable: bool = True

    @property
    def problem(self) -> Problem:
        """The problem of the store."""
        return Problem(os.fsdecode(blob_name(self.digest)), self.text)


def damaged_blobs(root: HostRoot, state: Progress, progress: ProgressCallback | None) -> Iterator[DamagedBlob]:
    """Yields the blobs that have other contents, or that cannot be read."""
    for name, is_directory in _names(root, BLOBS):
        path = BLOBS + b"/" + os.fsencode(name)
        if is_directory or not re.fullmatch(_DIGITS, name) or not stat.S_ISREG(root.stat(path).st_mode):
            continue
        state.name = f"sha256:{name}"
        digest = hashlib.sha256()
        try:
            with os.fdopen(root.open(path), "rb") as stream:
                while chunk := stream.read(_PIECE):
                    digest.update(chunk)
                    state.bytes += len(chunk)
                    report(state, progress)
        except OSError as error:
            yield DamagedBlob(state.name, f"cannot be read: {error.strerror}", is_readable=False)
            continue
        if digest.hexdigest() != name:
            yield DamagedBlob(state.name, f"its contents have the digest sha256:{digest.hexdigest()}")


def unpacked_layers(root: HostRoot) -> list[str]:
    """Returns the chainIDs of the unpacked layers of a store."""
    return [
        f"sha256:{name}" for name, is_directory in _names(root, LAYERS) if is_directory and re.fullmatch(_DIGITS, name)
    ]


def layer_problems(
    folder: StoreFolder, chain_id: str, state: Progress, progress: ProgressCallback | None
) -> Iterator[Problem]:
    """Yields what is wrong with an unpacked layer; the path of a problem of the layer as a whole is ""."""
    done = state.entries

    def count(below: Progress) -> None:
        state.entries = done + below.entries
        report(state, progress)

    state.name = chain_id
    path = folder.layer_path(chain_id)
    try:
        with check_layer(path, progress=count) as problems:
            yield from problems
        yield from disk_problems(path)
        yield from _check_chain(folder, chain_id)
    except LayerError as error:
        yield Problem("", error.detail)


def _check_chain(folder: StoreFolder, chain_id: str) -> Iterator[Problem]:
    """Compares the chainID of a layer with its own digest and its parents."""
    with open_layer(folder.layer_path(chain_id)) as layer:
        parents, diff_id = layer.parents(), layer.text("diff_id")
    for parent in parents:
        if os.path.realpath(parent.parent) != os.path.realpath(folder.layer_path(chain_id).parent):
            yield Problem("", f"its parent {parent} is not in the store")
            return
    if diff_id is None:
        yield Problem("", "has no record of the digest of its tar")
        return
    below = [f"sha256:{parents[0].name}"] if parents else []
    if chain_ids([*below, diff_id])[-1] != chain_id:
        yield Problem("", f"its tar ({diff_id}) over its parents has another chainID")
