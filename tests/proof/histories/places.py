"""One path at which layers come and go, and a store of images with a folder of layers."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import random
import shutil
from collections.abc import Hashable, Iterator
from pathlib import Path

import wclayer
from tests.images import samples
from tests.images.memory import MemorySource
from tests.proof.histories.checker import Event
from tests.proof.histories.stress import Recorder
from tests.proof.histories.tree import hidden
from tests.support import layer_tar, put_directories, put_file
from wclayer.images.store import ImageStore
from wclayer.images.transfer import copy_image
from wclayer.model import LayerWriter
from wclayer.view.transfer import copy_out

_MIB = 1 << 20
_VARIANTS = 3
_IMAGES = [samples.small(os_version=f"10.0.20348.{variant}") for variant in range(_VARIANTS)]


def _tar(variant: int) -> bytes:
    """The tar of a base layer that tells in each of its files which it is."""

    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files", f"Files/d{variant}")
        put_file(writer, "Files/who", str(variant).encode())
        for number in range(6):
            put_file(writer, f"Files/d{variant}/{number}", str(variant).encode() * 3000, stream=str(variant).encode())

    return layer_tar(build)


def child_tar(text: str) -> bytes:
    """The tar of a layer with a file `f` that holds a text."""

    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files")
        put_file(writer, "Files/f", text.encode())

    return layer_tar(build)


class _Sources:
    """What the scenes bring in, made once for all rounds in a folder."""

    def __init__(self, folder: Path) -> None:
        self.tars = [_tar(variant) for variant in range(_VARIANTS)]
        self.folders = [folder / f"transport-{variant}" for variant in range(_VARIANTS)]
        self.exports: dict[str, int] = {}
        self.disks: dict[str, int] = {}
        for variant, data in enumerate(self.tars):
            layer = folder / f"layer-{variant}"
            if not layer.exists():
                wclayer.import_layer_from_tar(io.BytesIO(data), layer)
                wclayer.export_layer(layer, self.folders[variant])
            again = folder / f"layer-{variant}-again"
            if not again.exists():
                wclayer.import_layer(again, self.folders[variant])
            for made in (layer, again):
                self.exports[_exported(made)] = variant
                self.disks[_converted(made, folder / "disk")] = variant


_sources: dict[Path, _Sources] = {}


def _exported(layer: Path) -> str:
    stream = io.BytesIO()
    wclayer.export_layer_to_tar(stream, layer)
    return hashlib.sha256(stream.getvalue()).hexdigest()


def _converted(layer: Path, target: Path) -> str:
    wclayer.convert_layer(layer, target, to="ntfs", size=16 * _MIB, reproducible=True)
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    target.unlink()
    return digest


def sources(place: Path) -> _Sources:
    """What is brought in, in the folder of all rounds."""
    folder = place.parent
    if folder not in _sources:
        _sources[folder] = _Sources(folder)
    return _sources[folder]


_LAYER_HOLDERS = {"remove", "import", "check", "build on"}
"""Steps that hold the lock of a layer for some time."""


def _whole(view: wclayer.LayerView) -> Hashable:
    """Which variant a view shows, if it is one, whole."""
    who = int(view.read_bytes("who"))
    found = {}
    for node in view.volume.tree.walk(view.volume.find("C:\\")):
        if not node.is_directory:
            found[node.path] = b"".join(view.volume.tree.layers[0].data_chunks(node.row))
    wanted = {f"Files/d{who}/{number}": str(who).encode() * 3000 for number in range(6)}
    wanted["Files/who"] = str(who).encode()
    return who if found == wanted else f"a mixture: {sorted(found)}"


class LayerScene:
    """Processes that bring in, remove, read, export and build on the layer at one path."""

    name = "layer"
    processes = 3
    length = 9

    @staticmethod
    def step(state: Hashable, event: Event) -> Iterator[Hashable]:
        """The state is which variant is there, or None."""
        is_there = state is not None
        if event.failed == "LayerBusyError" and event.kind == "remove" and event.during & _LAYER_HOLDERS:
            yield state
        elif event.kind == "import":
            if event.result == ("!AlreadyExistsError" if is_there else "ok"):
                yield state if is_there else event.arguments[0]
        elif not is_there:
            if event.failed == "PathNotFoundError":
                yield state
        elif event.kind == "remove":
            if event.result == "ok":
                yield None
        elif event.result == {"build on": "ok", "check": ()}.get(event.kind, state):
            yield state

    def prepare(self, place: Path, rng: random.Random) -> None:
        self.place, self.path = place, place / "layer"
        self.sources = sources(place)

    def start(self) -> Hashable:
        return None

    def part(self, event: Event) -> Hashable:
        return None

    def act(self, process: int, rng: random.Random, recorder: Recorder) -> None:
        for number in range(self.length):
            kind = rng.choice(
                ("import", "import", "import", "import", "remove", "remove", "read", "read", "walk", "export", "check",
                 "convert", "copy", "scratch", "child", "transport")
            )  # fmt: skip
            with wclayer.unsynced():
                self._take(kind, process, number, rng, recorder)

    def _take(self, kind: str, process: int, number: int, rng: random.Random, recorder: Recorder) -> None:
        take, do, path = recorder.take, recorder.do, self.path
        own = self.place / f"own-{process}-{number}"
        if kind == "import":
            variant = rng.randrange(_VARIANTS)
            if rng.random() < 0.5:
                data = io.BytesIO(self.sources.tars[variant])
                do(kind, (variant,), wclayer.import_layer_from_tar, data, path)
            else:
                do(kind, (variant,), wclayer.import_layer, path, self.sources.folders[variant])
        elif kind == "remove":
            do(kind, (), wclayer.destroy_layer, path)
        elif kind in ("read", "walk"):

            def look() -> Hashable:
                with wclayer.LayerView([path]) as view:
                    return int(view.read_bytes("who")) if kind == "read" else _whole(view)

            take(kind, (), look)
        elif kind == "export":
            take(kind, (), lambda: self._variant(self.sources.exports, _exported(path)))
        elif kind == "transport":
            take("walk", (), lambda: self._through_folder(path, own))
        elif kind == "check":
            take(kind, (), lambda: tuple((p.path, p.text) for p in wclayer.check_layer(path)))
        elif kind == "convert":
            take(kind, (), lambda: self._variant(self.sources.disks, _converted(path, own)))
        elif kind == "copy":

            def copied() -> Hashable:
                with wclayer.LayerView([path]) as view:
                    copy_out(view, "who", own)
                return int(own.read_bytes())

            take(kind, (), copied)
        elif kind == "scratch":
            made = do("build on", (), wclayer.create_scratch_layer, own, [path])
            if made == "ok":

                def through() -> Hashable:
                    with wclayer.LayerView(scratch=own) as view:
                        return int(view.read_bytes("who"))

                take("read", (), through)
                wclayer.destroy_layer(own)
        else:
            data = io.BytesIO(child_tar("x"))
            if do("build on", (), wclayer.import_layer_from_tar, data, own, [path]) == "ok":
                wclayer.destroy_layer(own)

    @staticmethod
    def _through_folder(path: Path, own: Path) -> Hashable:
        wclayer.export_layer(path, own)
        back = own.with_name(own.name + "-back")
        wclayer.import_layer(back, own)
        with wclayer.LayerView([back]) as view:
            found = _whole(view)
        wclayer.destroy_layer(back)
        shutil.rmtree(own)
        return found

    @staticmethod
    def _variant(known: dict[str, int], digest: str) -> Hashable:
        return known.get(digest, f"none of the layers: {digest}")

    def finish(self, recorder: Recorder) -> list[str]:
        recorder.take("check", (), lambda: tuple((p.path, p.text) for p in wclayer.check_layer(self.path)))
        found = hidden(self.place)
        found += [f"left: {name}" for name in os.listdir(self.place) if name.startswith("own-") and "-back" in name]
        return found


class StoreScene:
    """Processes that store, tag, untag and prune images of one store, and others that build layers in one folder."""

    name = "store"
    processes = 4
    length = 12
    _KEYS = ("one:1", "one:2", "two:1")
    _LAYERS = ("x", "y")

    @staticmethod
    def step(state: Hashable, event: Event) -> Iterator[Hashable]:
        """Of one image or layer: the state is which layer or variant it is, or None."""
        is_there = state is not None
        if event.failed == "LayerBusyError" and event.kind == "remove" and event.during & _LAYER_HOLDERS:
            yield state
        elif event.kind == "store":
            if event.result == "ok":
                yield event.arguments[1]
        elif event.kind == "import":
            if event.result == ("!AlreadyExistsError" if is_there else "ok"):
                yield state if is_there else event.arguments[1]
        elif event.kind in ("untag", "remove"):
            if event.result == ("ok" if is_there else "!PathNotFoundError"):
                yield None
        elif event.result == state or (event.kind == "read" and not is_there and event.failed == "PathNotFoundError"):
            yield state

    def prepare(self, place: Path, rng: random.Random) -> None:
        self.place, self.folder = place, place / "layers"
        self.folder.mkdir()
        self.sources = sources(place)
        self.store = place / "store"

    def start(self) -> Hashable:
        return None

    def part(self, event: Event) -> Hashable:
        return event.arguments[0]

    def act(self, process: int, rng: random.Random, recorder: Recorder) -> None:
        store = ImageStore(self.store)
        for _ in range(self.length):
            key, name = rng.choice(self._KEYS), rng.choice(self._LAYERS)
            variant = rng.randrange(_VARIANTS)
            kind = rng.choice(("store", "store", "untag", "images", "images", "prune", "import", "remove", "read"))
            path = self.folder / name
            with wclayer.unsynced():
                if kind == "store":
                    recorder.do(kind, (key, variant), self._store, store, key, variant)
                elif kind == "untag":
                    recorder.do(kind, (key,), store.untag, key)
                elif kind == "prune":
                    # Where others use the store, nothing is removed.
                    with contextlib.suppress(wclayer.LayerBusyError):
                        store.prune(keep_hours=0)
                elif kind == "images":
                    recorder.take_parts(self._each, self._images, "images")
                elif kind == "import":
                    data = io.BytesIO(self.sources.tars[variant])
                    recorder.do(kind, (name, variant), wclayer.import_layer_from_tar, data, path)
                elif kind == "remove":
                    recorder.do(kind, (name,), wclayer.destroy_layer, path)
                else:
                    recorder.take("read", (name,), self._read, path)

    def _images(self) -> Hashable:
        """Name and variant of each image."""
        variants = {image.digest: variant for variant, image in enumerate(_IMAGES)}
        found = ImageStore(self.store).images()
        return tuple((image.name, variants[image.descriptor.digest]) for image in found)

    @staticmethod
    def _store(store: ImageStore, key: str, variant: int) -> None:
        with MemorySource(_IMAGES[variant]) as source, store.target(key) as target:
            copy_image(source, target, jobs=1)

    def _each(self, result: Hashable) -> list[tuple[str, tuple[Hashable, ...], Hashable]]:
        """What a listing says of each image."""
        if not isinstance(result, tuple):
            return [("image", (key,), result) for key in self._KEYS]
        found = dict(result)
        return [("image", (key,), found.get(key)) for key in self._KEYS]

    @staticmethod
    def _read(path: Path) -> Hashable:
        with wclayer.LayerView([path]) as view:
            return _whole(view)

    def finish(self, recorder: Recorder) -> list[str]:
        recorder.take_parts(self._each, self._images, "images")
        for name in self._LAYERS:
            recorder.take("read", (name,), self._read, self.folder / name)
        found = [problem.text for problem in ImageStore(self.store).check()] if self.store.exists() else []
        return hidden(self.folder) + found
