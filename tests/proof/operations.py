"""The operations that are tried under faults, power cuts and kills: each one call of the library on a small `World`,
with what it finds, what it leaves, and the command that does the same."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import wclayer
from tests.images.reading import contents as read_image
from tests.old_layers import make_old_chain
from tests.proof.world import KEY, MIB, VOLUME, World, copy_scratch
from tests.support import contents, info, tree_listing
from wclayer.builder.commit import note_image
from wclayer.comparison.html import page
from wclayer.engines.portable.activation import ACTIVE
from wclayer.engines.portable.base_processing import BLANK_BASE
from wclayer.engines.relinking import relink_layer
from wclayer.errors import NotReadyError, during
from wclayer.formats.regf.model import walk
from wclayer.formats.regf.text import parse_reg
from wclayer.images.descriptor import OCI_LAYER, Descriptor
from wclayer.images.json_view import JsonView
from wclayer.images.opening import open_image
from wclayer.images.pull import store_image
from wclayer.images.transfer import copy_image
from wclayer.inventory.facts.archive import unpack_facts
from wclayer.inventory.facts.contents import Contents
from wclayer.inventory.facts.reading import make_facts
from wclayer.layers.atomic import OutputFile
from wclayer.layers.directory import open_layer
from wclayer.layers.directory.chain_file import read_chain
from wclayer.layers.directory.file_security import file_security
from wclayer.layers.directory.scratch import DISK, has_unsaved_changes, is_scratch
from wclayer.layers.inputs import open_stream
from wclayer.layers.volume.disk_file import DiskFile
from wclayer.layers.volume.reader import VolumeLayerReader
from wclayer.view.transfer import copy_between, copy_into, copy_out, move

Step = Callable[[World], object]
_HIVE = re.compile(r"Hives/|Files/Windows/System32/config/", re.IGNORECASE)
"""Files with times of their own in them."""
VM = "11111111-2222-3333-4444-555555555555"
_ATTACH = "attach --type application/xml"


@dataclass(frozen=True)
class Operation:
    """One thing that a user does.

    `place` of the world holds what `prepare` put there. `call` is the operation as a call of the library, `command` as
    that of the command, where it has a verb. `result` returns what is there, as a value that is equal for
    equal results, whoever made them and when; it raises a `LayerError` for what is not sound.

    - `is_whole`: a failure leaves `place` as it was, byte for byte: the operation makes one thing, or nothing.
    - `is_one_step`: a failure leaves what `result` tells as it was before, or as it is after a success.
    """

    call: Step
    result: Step
    prepare: Step = lambda world: None
    command: str | None = None
    is_whole: bool = False
    is_one_step: bool = True

    def __call__(self, world: World) -> object:
        return self.call(world)

    def arguments(self, world: World) -> list[str]:
        """The arguments of the command, if there is one."""
        assert self.command is not None
        places = {"sources": world.sources, "place": world.place, "base": world.base, "layer": world.layer,
                  "scratch": world.scratch, "out": world.out}  # fmt: skip
        return [part.format(**places) for part in self.command.split()]


# What operations leave.


def layer_at(path: Path) -> object:
    """A finished layer with everything that is in it; None if there is nothing."""
    if not os.path.lexists(path):
        return None
    assert [str(problem) for problem in wclayer.check_layer(path)] == []
    beside = sorted(name for name in os.listdir(path) if name != "layer.db" and not name.startswith(".wclayer-"))
    return beside, contents(wclayer.DirectoryLayerReader(path)), _registry(path)


def scratch_at(path: Path) -> object:
    """What a scratch, or a layer, changes, without times; None if there is nothing."""
    if not os.path.lexists(path):
        return None
    assert [str(problem) for problem in wclayer.check_layer(path)] == []
    found: list[tuple[object, ...]] = []
    with wclayer.DirectoryLayerReader(path) as reader:
        for item in reader:
            entry = item.entry
            if entry.info is None:
                found.append((entry.name, None))
                continue
            is_hive = bool(_HIVE.match(entry.name))
            streams = [
                (stream.name, hashlib.sha256(stream.read_all()).hexdigest() if not is_hive else "a hive")
                for stream in item.streams()
            ]
            found.append((
                entry.name, entry.info.attributes, entry.link_target, entry.security, entry.eas, entry.reparse, streams,
            ))  # fmt: skip
    return is_scratch(path), sorted(found, key=lambda entry: str(entry[0])), _registry(path)


def _registry(path: Path) -> list[object]:
    with wclayer.Registry(path) as registry, registry.reading():
        known = registry.find(KEY)
        return [] if known is None else [(name, list(key.values())) for name, key in walk(known)]


def file_at(path: Path) -> object:
    """A file or folder of the host; None if there is nothing."""
    if path.is_dir():
        return tree_listing(path)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None


def _disk_at(path: Path) -> object:
    """What is on a disk, whose GUIDs are always new ones; None if there is nothing."""
    if not path.exists():
        return None
    assert list(wclayer.check_disk(path)) == []
    with DiskFile(path) as opened:
        return hashlib.sha256(opened.disk.read(0, opened.disk.size)).hexdigest()


def _volume_at(path: Path) -> object:
    if not path.exists():
        return None
    return contents(VolumeLayerReader(path))


def _made_layer(world: World) -> object:
    return layer_at(world.layer)


def _base_or_folder(world: World) -> object:
    return scratch_at(world.layer) if (world.layer / "layer.db").exists() else "a folder"


def _made_scratch(world: World) -> object:
    return scratch_at(world.layer)


def _scratch(world: World) -> object:
    return scratch_at(world.scratch)


def _out(world: World) -> object:
    return file_at(world.out)


def _use(world: World) -> object:
    """How far a scratch is on its way: active, mounted, its changes in its disk."""
    try:
        place = wclayer.get_layer_mount_path(world.scratch)
        mounted: object = tree_listing(Path(place) / "app")
    except NotReadyError as error:
        mounted = error.detail
    with wclayer.LayerView([world.scratch]) as view:
        assert view.read_bytes("C:\\app\\data") == b"x" * 300_000
    with DiskFile(world.scratch / DISK) as opened:
        size = opened.disk.size
    with open_layer(world.scratch) as layer:
        is_active = layer.record(ACTIVE) is not None
    return is_active, mounted, has_unsaved_changes(world.scratch), size


def _granted(world: World) -> object:
    with open_layer(world.scratch) as layer:
        return file_security(layer, DISK)


def _store(world: World) -> object:
    """The names in the store, and what they mean, all of it sound."""
    store = wclayer.ImageStore(world.place / "store")
    if not (store.path / "store.db").exists():
        return []
    assert [str(problem) for problem in store.check()] == []
    return [(image.name, image.manifest.digest) for image in store.images()]


def _made_disk(world: World) -> object:
    return _disk_at(world.out)


def _made_volume(world: World) -> object:
    return _volume_at(world.out)


# What operations do, where it takes more than one line.


def _import(name: str, *parents: str) -> Step:
    def call(world: World) -> None:
        with open_stream(world.sources / name) as stream:
            chain = [world.sources / parent for parent in parents]
            wclayer.import_layer_from_tar(stream, world.layer, chain, source=world.sources / name)

    return call


class _Stream(io.RawIOBase):
    """Bytes that come as from a pipe: in pieces, and forward only."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        piece = self._data[self._at : self._at + min(len(view), 60_000)]
        view[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


def _import_stream(world: World) -> None:
    with open_stream(world.sources / "base.tar.gz") as file:
        data = file.read()
    wclayer.import_layer_from_tar(io.BufferedReader(_Stream(data)), world.layer, source="<stdin>")


def _import_disk(name: str) -> Step:
    return lambda world: wclayer.import_layer_from_disk(world.sources / name, world.layer)


def _write_backup(world: World) -> None:
    with wclayer.new_layer_writer(world.layer) as writer:
        writer.add("Files", info(0x10))
        writer.add("Files/f", info())
        writer.write(b"\1\0\0\0\0\0\0\0" + (2 * MIB).to_bytes(8, "little") + bytes(4) + b"x" * 2 * MIB)


def _copy_base(world: World) -> None:
    shutil.copytree(world.base, world.layer, symlinks=True)


def _copy_unprocessed(world: World) -> None:
    _copy_base(world)
    for name in ("blank.vhdx", "blank-base.vhdx", "layout"):
        (world.layer / name).unlink()


def _copy_plain(world: World) -> None:
    shutil.copytree(world.sources / "plain", world.layer)


def _export(compression: str) -> Step:
    return lambda world: wclayer.export_layer_to_file(world.base, world.out, compression=compression)


def _set(world: World) -> None:
    with wclayer.RegistryEditor(world.scratch) as editor:
        editor.set_value(f"{KEY}\\New", "a", 1, b"b\0\0\0")


def _delete(world: World) -> None:
    with wclayer.RegistryEditor(world.scratch) as editor:
        editor.delete_key(f"{KEY}\\Old")


def _set_of_layer(world: World) -> None:
    with wclayer.RegistryEditor(world.layer) as editor:
        editor.set_value(KEY, "Level", 4, b"\2\0\0\0")


def _in_view(step: Callable[[wclayer.LayerView, World], object]) -> Step:
    """A step in the view of the scratch."""

    def call(world: World) -> None:
        with wclayer.LayerView(scratch=world.scratch) as view:
            step(view, world)

    return call


def _copy_out(source: str) -> Step:
    def call(world: World) -> None:
        with wclayer.LayerView([world.base]) as view:
            copy_out(view, source, world.out, recursive=True)

    return call


def _copy_between(world: World) -> None:
    with wclayer.LayerView([world.base]) as view, wclayer.LayerView(scratch=world.scratch) as target:
        copy_between(view, "C:\\docs", target, "C:\\copy", recursive=True)


def _change(view: wclayer.LayerView, _: World) -> None:
    view.mkdir("C:\\new")
    view.write_bytes("C:\\new\\file", b"x" * 500_000)
    view.write_bytes("C:\\docs\\empty.txt", b"changed")
    view.unlink("C:\\new\\file")


def _commit(world: World) -> None:
    tar = io.BytesIO()
    wclayer.export_layer_to_tar(tar, world.scratch)
    tar.seek(0)
    wclayer.import_layer_from_tar(tar, world.scratch, [world.base], source="<stdin>")


def _export_scratch(world: World) -> None:
    copy_scratch(world)
    wclayer.export_layer_to_file(world.scratch, world.place / "changes.tar")


def _activate(world: World) -> None:
    wclayer.activate_layer(world.scratch)


def _copy_active(world: World) -> None:
    copy_scratch(world)
    wclayer.activate_layer(world.scratch)


def _mount(world: World) -> None:
    wclayer.prepare_layer(world.scratch)


def _copy_mounted(world: World) -> None:
    _copy_active(world)
    wclayer.prepare_layer(world.scratch)


def _unmount(world: World) -> None:
    wclayer.unprepare_layer(world.scratch)
    wclayer.deactivate_layer(world.scratch)


def _cycle(world: World) -> None:
    wclayer.activate_layer(world.scratch)
    wclayer.deactivate_layer(world.scratch)


def _make_old_child(world: World) -> None:
    wclayer.create_layer(world.layer, world.base)
    make_old_chain(world.layer)


def _chain_of(path: Path) -> object:
    return scratch_at(path), read_chain(path)


def _store_image(world: World) -> None:
    store = wclayer.ImageStore(world.place / "store")
    with wclayer.DockerArchiveSource(world.sources / "image.tar") as source, store.target("image:1") as target:
        copy_image(source, target, jobs=1)


def _tag(world: World) -> None:
    store = wclayer.ImageStore(world.place / "store")
    store.tag("other:1", store.find("image:1"))


def _open_archive(world: World) -> None:
    with open_image(str(world.sources / "image.tar"), wclayer.ImageStore(world.place / "store")) as image:
        assert len(image.layers) > 0


def _cached(world: World) -> object:
    """The layers that are unpacked in the store, all of them sound."""
    store = wclayer.ImageStore(world.place / "store")
    if not (store.path / "store.db").exists():
        return []
    assert [str(problem) for problem in store.check()] == []
    return sorted(path.name for path in store.path.glob("layers/*") if not path.name.startswith("."))


def _names_in_store(world: World) -> object:
    """The names in the store, whose blobs are sound, with layers that no name keeps or without."""
    store = wclayer.ImageStore(world.place / "store")
    assert [str(problem) for problem in store.check() if not problem.path.startswith("layers/")] == []
    return [(image.name, image.manifest.digest) for image in store.images()]


def _store_garbage(world: World) -> None:
    """A store with an image that has a name, with parts of others that have none."""
    _store_image(world)
    store = wclayer.ImageStore(world.place / "store")
    for data in (b"a blob", b"another blob"):
        with store.ingest(Descriptor.of(data, "application/octet-stream")) as ingest:
            ingest.write(data)
            ingest.commit()
    with store.ingest(Descriptor.of(b"a third blob", "application/octet-stream")) as ingest:
        ingest.write(b"a third")
    wclayer.create_layer(store.layer_path("sha256:" + "1" * 64))


def unpacked_image(world: World) -> wclayer.UnpackedImage:
    """Puts an image into the store, and unpacks its layer."""
    with wclayer.DockerArchiveSource(world.sources / "image.tar") as source:
        (image,) = store_image(source, wclayer.ImageStore(world.place / "store"), "image:1").images
    return image


def scratch_of_image(world: World) -> None:
    """Makes a store with an image that is unpacked, and a scratch that was made of it and changed."""
    image = unpacked_image(world)
    wclayer.create_scratch_layer(world.place / "run", image.layers[::-1])
    note_image(world.place / "run", image.manifest.descriptor.digest)
    with wclayer.LayerView(scratch=world.place / "run") as view:
        copy_into(view, world.sources / "tree", "C:\\tree", recursive=True)


def _commit_scratch(world: World) -> None:
    wclayer.commit_image(world.place / "run", "app:1", wclayer.ImageStore(world.place / "store"), reproducible=True)


def _build(world: World) -> None:
    store = wclayer.ImageStore(world.place / "store")
    wclayer.build_image(world.sources / "context", "app:1", store, reproducible=True)


def _append(world: World) -> None:
    added = wclayer.Additions(
        copies=[(world.sources / "tree", "C:\\tree")], reg_files=[world.sources / "edits.reg"]
    )  # fmt: skip
    wclayer.append_image("image:1", added, "app:1", wclayer.ImageStore(world.place / "store"), reproducible=True)


def image_and_child(world: World) -> None:
    """Makes a store with `image:1`, `child:1` that was built on it, and `image:2` that may be its base."""
    shutil.rmtree(world.place / "store", ignore_errors=True)
    shutil.copytree(world.sources / "images", world.place / "store", symlinks=True)


def _squash(world: World) -> None:
    store = wclayer.ImageStore(world.place / "store")
    wclayer.squash_image("child:1", "app:1", store, base="image:1", reproducible=True)


def _rebase(world: World) -> None:
    store = wclayer.ImageStore(world.place / "store")
    wclayer.rebase_image("child:1", "image:2", "app:1", store, old_base="image:1")


def _prune(world: World) -> None:
    store = wclayer.ImageStore(world.place / "store")
    store.prune(keep_hours=0)
    assert not store.prune(keep_hours=0, dry_run=True).freed


def _damaged_store(world: World) -> None:
    """A store with an image that is unpacked, of which a file in the base layer and a blob that has no name are
    damaged; and beside it a copy of the base layer's disk."""
    store = wclayer.ImageStore(world.place / "store")
    with wclayer.DockerArchiveSource(world.sources / "image.tar") as source:
        (image,) = store_image(source, store, "image:1").images
    base = image.layers[0]
    shutil.copy(base / BLANK_BASE, world.place / BLANK_BASE)
    damaged = base / "Files/docs/read me.txt"
    damaged.chmod(0o600)
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    (store.path / "blobs/sha256" / ("1" * 64)).write_bytes(b"not what its name says")


def _repair(world: World) -> None:
    """What cannot be repaired is part of the answer, and no error: `_kept_by_repair` looks at what is left.

    What the host cannot do is raised, so that the table of hosts (`hosts/test_hosts.py`) sees it.
    """
    for problem in wclayer.repair_store(wclayer.ImageStore(world.place / "store")).problems:
        if "this host cannot" in problem.text:
            raise wclayer.NotSupportedError(problem.path, problem.text)


def _kept_by_repair(world: World) -> object:
    """The names in the store, the layers, which are there at every moment, and whether the base has its old disk."""
    store = wclayer.ImageStore(world.place / "store")
    layers = sorted(path for path in store.path.glob("layers/*") if not path.name.startswith("."))
    blank = (world.place / BLANK_BASE).read_bytes()
    assert [(path / BLANK_BASE).read_bytes() for path in layers if (path / BLANK_BASE).exists()] == [blank]
    return [(image.name, image.manifest.digest) for image in store.images()], [path.name for path in layers]


def _reg_import(world: World) -> None:
    with wclayer.RegistryEditor(world.scratch) as editor:
        with during("reg import", world.sources):
            edits = list(parse_reg((world.sources / "edits.reg").read_bytes()))
        editor.apply(edits)


def _import_over(world: World) -> None:
    with open_stream(world.place / "changes.tar") as stream:
        wclayer.import_layer_from_tar(stream, world.scratch, [world.base], source=world.place / "changes.tar")


def _images_at(path: Path) -> object:
    """The images of a layout with everything in them, by their names; none if there is no layout."""
    if not (path / "oci-layout").exists():
        return []
    with wclayer.LayoutSource(path) as source:
        names = sorted(name for image in source.images() for name in image.names)
    found = []
    for name in names:
        with wclayer.LayoutSource(path, name) as source:
            found.append((name, read_image(source)))
    return found


def _copy_into_layout(world: World) -> None:
    with (
        wclayer.DockerArchiveSource(world.sources / "image.tar") as source,
        wclayer.LayoutTarget(world.place / "layout", "new") as target,
    ):
        copy_image(source, target, jobs=1)


def _copy_layout(world: World) -> None:
    shutil.copytree(world.sources / "layout", world.place / "layout")


def _save(world: World) -> None:
    with (
        wclayer.LayoutSource(world.sources / "layout") as source,
        wclayer.DockerArchiveTarget(world.out, "image:1") as target,
    ):
        copy_image(source, target, jobs=1)


def _attach(world: World, image: str) -> None:
    store = wclayer.ImageStore(world.place / "store")
    wclayer.attach_file(image, world.sources / "advisories.xml", store, media_type="application/xml")


def _attached_to_layout(world: World) -> object:
    """The images of a layout, and what is attached to one of them."""
    with wclayer.LayoutSource(world.place / "layout", "1") as source:
        return _images_at(world.place / "layout"), _attached(source)


def _attached_in_store(world: World) -> object:
    """The names in the store, and what is attached to an image."""
    with wclayer.ImageStore(world.place / "store").source("image:1") as source:
        return _store(world), _attached(source)


def _attached(source: wclayer.ImageSource) -> object:
    """What is attached to an image, with everything in it."""
    found = []
    for manifest in source.referrers(source.resolve()):
        record = json.loads(source.manifest(manifest))
        parts = []
        for item in (record["config"], *record["layers"]):
            with source.open_blob(Descriptor.from_json(JsonView(item, "descriptor"))) as stream:
                parts.append(stream.read())
        found.append((manifest.digest, manifest.artifact_type, parts))
    return found


def _write_bill(world: World) -> None:
    inventory = wclayer.take_inventory(world.base)
    with OutputFile(world.out, sources=[world.base]) as output:
        wclayer.write_cyclonedx(inventory, output.stream)


def _bill(world: World) -> object:
    """A bill of materials without what is new each time; None if there is none."""
    if not world.out.exists():
        return None
    bill = json.loads(world.out.read_bytes())
    del bill["serialNumber"], bill["metadata"]["timestamp"]
    return bill


def _write_page(world: World) -> None:
    found = wclayer.diff_images(world.base, world.base)
    with OutputFile(world.out, sources=[world.base]) as output:
        for part in page(found):
            output.stream.write(part.encode())


def _page(world: World) -> object:
    """A page without the place of what it is about; None if there is none."""
    return world.out.read_text().replace(str(world.sources), "SOURCES") if world.out.exists() else None


def _make_facts(world: World) -> object:
    blob = world.sources / "base.tar.gz"
    data = blob.read_bytes()
    return make_facts(lambda: open_stream(blob), Descriptor.of(data, OCI_LAYER), world.out)


def _facts(world: World) -> object:
    """What is in unpacked facts; None if there are none."""
    if not world.layer.exists():
        return None
    with open_layer(world.layer) as layer, Contents(world.layer) as kept:
        return [layer.name_of(row) for row in layer.own_entries()], list(kept.wanted()), file_at(world.layer)


def _making(call: Step, result: Step, command: str | None = None) -> Operation:
    return Operation(call, result, command=command, is_whole=True)


def _steps(step: Callable[[wclayer.LayerView, World], object], command: str | None = None) -> Operation:
    """Several changes of the scratch, one after the other."""
    return Operation(_in_view(step), _scratch, copy_scratch, command, is_one_step=False)


def _one_step(step: Callable[[wclayer.LayerView, World], object], command: str | None = None) -> Operation:
    return Operation(_in_view(step), _scratch, copy_scratch, command)


MAKING: dict[str, Operation] = {
    "import tar": _making(_import("base.tar"), _made_layer, "import -i {sources}/base.tar {layer}"),
    "import gzip": _making(_import("base.tar.gz"), _made_layer, "import -i {sources}/base.tar.gz {layer}"),
    "import zstd": _making(_import("base.tar.zst"), _made_layer, "import -i {sources}/base.tar.zst {layer}"),
    "import stream": _making(_import_stream, _made_layer),
    "import child": _making(
        _import("child.tar", "base"), _made_layer, "import -i {sources}/child.tar -l {base} {layer}"
    ),
    "import many": _making(_import("many.tar"), _made_layer, "import -i {sources}/many.tar {layer}"),
    "import folder": _making(
        lambda w: wclayer.import_layer(w.layer, w.sources / "transport"),
        _made_layer,
        "import -i {sources}/transport {layer}",
    ),
    "import raw disk": _making(_import_disk("base.img"), _made_layer, "import -i {sources}/base.img {layer}"),
    "import vhdx": _making(_import_disk("base.vhdx"), _made_layer, "import -i {sources}/base.vhdx {layer}"),
    "import vhd": _making(_import_disk("base.vhd"), _made_layer, "import -i {sources}/base.vhd {layer}"),
    "import backup streams": _making(_write_backup, _made_layer),
    "create layer": _making(
        lambda w: wclayer.create_layer(w.layer, w.base), _made_layer, "create --read-only -l {base} {layer}"
    ),
    "create scratch": _making(
        lambda w: wclayer.create_scratch_layer(w.layer, [w.base]), _made_scratch, "create -l {base} {layer}"
    ),
    "export tar": _making(_export("none"), _out, "export -o {out} {base}"),
    "export gzip": _making(_export("gzip"), _out, "export -z -o {out} {base}"),
    "export zstd": _making(_export("zstd"), _out, "export --zstd -o {out} {base}"),
    "export folder": _making(lambda w: wclayer.export_layer(w.base, w.out), _out, "export --transport {out} {base}"),
    "export rootfs": _making(lambda w: wclayer.export_rootfs(w.base, w.out), _out, "export-rootfs -o {out} {base}"),
    "write bill": _making(_write_bill, _bill, "inventory --cyclonedx {out} {base}"),
    "write page": _making(_write_page, _page, "diff --html {out} {base} {base}"),
    "convert to vhdx": _making(
        lambda w: wclayer.convert_layer(w.base, w.out, size=2 * VOLUME),
        _made_volume,
        f"convert --size {2 * VOLUME} -o {{out}} {{base}}",
    ),
    "convert many": _making(
        lambda w: wclayer.convert_layer(w.sources / "many", w.out, size=2 * VOLUME),
        _made_volume,
        f"convert --size {2 * VOLUME} -o {{out}} {{sources}}/many",
    ),
    "convert tar": _making(
        lambda w: wclayer.convert_layer(w.sources / "base.tar.gz", w.out, size=2 * VOLUME),
        _made_volume,
        f"convert --size {2 * VOLUME} -o {{out}} {{sources}}/base.tar.gz",
    ),
    "convert to ntfs": _making(
        lambda w: wclayer.convert_layer(w.base, w.out, to="ntfs", size=VOLUME),
        _made_volume,
        f"convert --to ntfs --size {VOLUME} -o {{out}} {{base}}",
    ),
    "disk to vhdx": _making(
        lambda w: wclayer.convert_disk(w.sources / "base.img", w.out),
        _made_disk,
        "disk convert {sources}/base.img {out}",
    ),
    "disk to raw": _making(
        lambda w: wclayer.convert_disk(w.sources / "base.vhdx", w.out, to="raw"),
        _made_disk,
        "disk convert --to raw {sources}/base.vhdx {out}",
    ),
    "save image": _making(_save, _out),
    "make facts": _making(_make_facts, _out),
    "unpack facts": Operation(lambda w: unpack_facts(w.out, w.layer), _facts, _make_facts, is_whole=True),
    "copy out": _making(_copy_out("C:\\Windows\\large.dll"), _out, "cp {base}:C:\\Windows\\large.dll {out}"),
}
"""Operations that make one thing in `place`, which must be as it was if they fail."""
CHANGING: dict[str, Operation] = {
    "remove": Operation(lambda w: wclayer.destroy_layer(w.layer), _made_layer, _copy_base, "remove {layer}"),
    "make base layer": Operation(
        lambda w: wclayer.make_base_layer(w.layer), _base_or_folder, _copy_plain, "makebaselayer {layer}"
    ),
    "process": Operation(
        lambda w: wclayer.process_base_layer(w.layer),
        _made_layer,
        _copy_unprocessed,
        "process {layer}",
        is_one_step=False,
    ),
    "open image": Operation(
        _open_archive, _cached, command="ls --store {place}/store {sources}/image.tar", is_one_step=False
    ),
    "relink": Operation(
        lambda w: relink_layer(w.layer), lambda w: _chain_of(w.layer), _make_old_child, "relink {layer}"
    ),
    "relink scratch": Operation(
        lambda w: relink_layer(w.scratch, w.base),
        lambda w: _chain_of(w.scratch),
        copy_scratch,
        "relink -l {base} {scratch}",
    ),
    "store image": Operation(_store_image, _store),
    "tag image": Operation(_tag, _store, _store_image, "tag --store {place}/store image:1 other:1"),
    "untag image": Operation(
        lambda w: wclayer.ImageStore(w.place / "store").untag("image:1"),
        _store,
        _store_image,
        "untag --store {place}/store image:1",
    ),
    "commit scratch": Operation(
        _commit_scratch,
        _names_in_store,
        scratch_of_image,
        "commit --reproducible --store {place}/store -t app:1 {place}/run",
    ),
    "build image": Operation(
        _build,
        _names_in_store,
        unpacked_image,
        "build -q --reproducible --store {place}/store -t app:1 {sources}/context",
    ),
    "append image": Operation(
        _append,
        _names_in_store,
        unpacked_image,
        "append --reproducible --store {place}/store --copy {sources}/tree=C:\\tree --reg {sources}/edits.reg -t app:1"
        " image:1",
    ),
    "squash image": Operation(
        _squash,
        _names_in_store,
        image_and_child,
        "squash --base image:1 --reproducible --store {place}/store -t app:1 child:1",
    ),
    "rebase image": Operation(
        _rebase,
        _names_in_store,
        image_and_child,
        "rebase --onto image:2 --old-base image:1 --store {place}/store -t app:1 child:1",
    ),
    "prune store": Operation(_prune, _names_in_store, _store_garbage, "prune --all --store {place}/store"),
    "repair store": Operation(_repair, _kept_by_repair, _damaged_store, "prune --repair --store {place}/store"),
    "make layout": Operation(_copy_into_layout, lambda w: _images_at(w.place / "layout")),
    "add to layout": Operation(_copy_into_layout, lambda w: _images_at(w.place / "layout"), _copy_layout),
    "attach to layout": Operation(
        lambda w: _attach(w, f"oci:{w.place / 'layout'}:1"),
        _attached_to_layout,
        _copy_layout,
        f"{_ATTACH} oci:{{place}}/layout:1 {{sources}}/advisories.xml",
    ),
    "attach in the store": Operation(
        lambda w: _attach(w, "image:1"),
        _attached_in_store,
        _store_image,
        f"{_ATTACH} --store {{place}}/store image:1 {{sources}}/advisories.xml",
    ),
    "copy tree out": Operation(_copy_out("C:\\docs"), _out, command="cp -r {base}:C:\\docs {out}", is_one_step=False),
    "copy in": _steps(
        lambda view, w: copy_into(view, w.sources / "tree" / "one", "C:\\one"),
        "cp {sources}/tree/one {scratch}:C:\\one",
    ),
    "copy tree in": _steps(
        lambda view, w: copy_into(view, w.sources / "tree", "C:\\tree", recursive=True),
        "cp -r {sources}/tree {scratch}:C:\\tree",
    ),
    "copy between": Operation(
        _copy_between, _scratch, copy_scratch, "cp -r {base}:C:\\docs {scratch}:C:\\copy", is_one_step=False
    ),
    "write": _one_step(lambda view, _: view.write_bytes("C:\\docs\\with eas.txt", b"y" * 90_000)),
    "rm": _one_step(lambda view, _: view.unlink("C:\\docs\\empty.txt"), "rm {scratch} C:\\docs\\empty.txt"),
    "rm tree": _steps(lambda view, _: view.rmtree("C:\\app"), "rm -r {scratch} C:\\app"),
    "mv": _one_step(lambda view, _: move(view, "C:\\docs", "C:\\moved"), "mv {scratch} C:\\docs C:\\moved"),
    "mkdir": _steps(lambda view, _: view.makedirs("C:\\a\\b"), "mkdir -p {scratch} C:\\a\\b"),
    "attrib": _one_step(
        lambda view, _: view.set_attributes("C:\\docs\\empty.txt", 0x23), "attrib {scratch} C:\\docs\\empty.txt +R +H"
    ),
    "change scratch": _steps(_change),
    "reg set": Operation(_set, _scratch, copy_scratch, f"reg set {{scratch}} {KEY}\\New a b"),
    "reg set of a layer": Operation(
        _set_of_layer, lambda w: scratch_at(w.layer), _copy_base, f"reg set {{layer}} {KEY} Level 2 -t REG_DWORD"
    ),
    "reg delete": Operation(_delete, _scratch, copy_scratch, f"reg delete {{scratch}} {KEY}\\Old"),
    "reg import": Operation(_reg_import, _scratch, copy_scratch, "reg import {scratch} {sources}/edits.reg"),
    "expand": Operation(
        lambda w: wclayer.expand_scratch_size(w.scratch, 30 << 30), _use, copy_scratch, "expand {scratch} 30GiB"
    ),
    "grant": Operation(
        lambda w: wclayer.grant_vm_access(VM, w.scratch / DISK),
        _granted,
        copy_scratch,
        f"grant {VM} {{scratch}}/{DISK}",
    ),
    "commit": Operation(_commit, _scratch, copy_scratch),
    "import over scratch": Operation(
        _import_over,
        _scratch,
        _export_scratch,
        "import --over-scratch -i {place}/changes.tar -l {base} {scratch}",
    ),
    "activate": Operation(_activate, _use, copy_scratch),
    "deactivate": Operation(lambda w: wclayer.deactivate_layer(w.scratch), _use, _copy_active, is_one_step=False),
    "activate, deactivate": Operation(_cycle, _use, copy_scratch, is_one_step=False),
}
"""Operations that change something that is there already, or make more than one thing."""
MOUNTING: dict[str, Operation] = {
    "mount": Operation(_mount, _use, _copy_active, "mount {scratch}"),
    "unmount": Operation(_unmount, _use, _copy_mounted, "unmount {scratch}", is_one_step=False),
}
"""Operations with the server of a mount, which not every user can make."""
EVERY = MAKING | CHANGING
"""Those that every user of Linux can do."""
