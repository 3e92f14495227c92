"""Every public function and class that looks at the host, as one call each: for the test of what they raise.

`CALLS` is the table: a public name, and how it is called on a small `World` whose sources may be changed. A name that
asks nothing of the host is in `ASK_NOTHING`, with the reason.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from types import MappingProxyType

import duckdb  # noqa: F401 (another user could not load it later)

import wclayer
from tests.fleet.made_fleet import made_fleet, write_fleet
from tests.images import samples
from tests.images.forms import put_into_registry
from tests.images.registry import Access, FakeRegistry
from tests.proof.operations import VM, image_and_child, scratch_of_image
from tests.proof.world import KEY, MIB, VOLUME, World
from tests.support import copy_layer, info, put_directories, put_file
from wclayer.errors import (
    AccessDeniedError,
    CorruptLayerError,
    DiskFullError,
    InvalidDataError,
    LayerBusyError,
    LayerError,
    NotALayerError,
    NotReadyError,
    PathNotFoundError,
)
from wclayer.images.layout import LayoutArchiveTarget, LayoutSource
from wclayer.images.transfer import copy_image
from wclayer.layers.directory.scratch import DISK
from wclayer.layers.volume.raw import RawDisk


class Condition(Enum):
    """What is wrong with what a function needs."""

    MISSING = auto()
    """What it is given is not there."""
    UNREADABLE = auto()
    """A file of it may not be read."""
    DAMAGED = auto()
    """A file of it has other bytes."""
    FULL = auto()
    """The disk has no room."""
    READ_ONLY = auto()
    """The disk is mounted so."""
    BUSY = auto()
    """Another process has what it changes."""


Outcome = type[LayerError] | str
"""The class that is raised, or why the condition says nothing of the function."""
READS = "it only reads"
ANY = "any bytes are a file"
WRITES = "it only writes"
STREAM = "the file is the caller's, who opens it"
MOUNTS = "tried with a mount: tests/proof/test_kills_mount.py"
_USUAL: Mapping[Condition, Outcome] = MappingProxyType({
    Condition.MISSING: PathNotFoundError, Condition.UNREADABLE: AccessDeniedError,
    Condition.DAMAGED: InvalidDataError, Condition.FULL: DiskFullError, Condition.READ_ONLY: AccessDeniedError,
    Condition.BUSY: LayerBusyError,
})  # fmt: skip
READS_ONLY: dict[Condition, Outcome] = {Condition.FULL: READS, Condition.READ_ONLY: READS, Condition.BUSY: READS}


@dataclass(frozen=True)
class Call:
    """One call of a public function.

    Args:
        call: what is done in the world, in whose `place` everything is that it needs.
        needs: what the function is given, below `place`; it is renamed away where it is to be missing.
        file: the file, below `needs`, that may not be read, or is damaged; empty: `needs` itself.
        more: the outcomes that are not the usual ones.
        first: what is done before anything is wrong.
    """

    call: Callable[[World], object]
    needs: str
    file: str = ""
    more: Mapping[Condition, Outcome] = field(default_factory=dict)
    first: Callable[[World], object] = lambda world: None

    def outcome(self, condition: Condition) -> Outcome:
        """What the function does under a condition."""
        return self.more.get(condition, _USUAL[condition])

    def file_in(self, world: World) -> Path:
        """The file that may not be read, or is damaged."""
        path = world.place / self.needs
        return next(path.glob(self.file)) if self.file else path

    @property
    def given(self) -> str:
        """What the caller names, in `place`."""
        return self.needs.partition("/")[0]

    def prepare(self, sources: Path, place: Path) -> World:
        """Makes a world in whose `place` is what the call needs, to be changed."""
        place.mkdir()
        if (sources / self.given).is_dir():
            copy_layer(sources / self.given, place / self.given)
        else:
            shutil.copy(sources / self.given, place)
        world = World(sources, place)
        self.first(world)
        return world


def _all(reader: wclayer.LayerReader) -> None:
    with reader:
        for item in reader:
            for stream in item.streams():
                stream.read_all()


def _view(world: World) -> None:
    with wclayer.LayerView([world.place / "base"]) as view:
        view.read_bytes("C:\\docs\\read me.txt")


def _fleet(world: World) -> None:
    write_fleet(str(world.place / "tree/fleet"), made_fleet(3))


def _references(world: World) -> None:
    (world.place / "tree/references").write_text(f"docker-archive:{world.sources / 'image.tar'}\n")


def _find_vulnerabilities(world: World) -> None:
    inventory = wclayer.Inventory("image", "", "", (), (), ())
    wclayer.find_vulnerabilities(inventory, [world.place / "advisories.xml"])


def _path(world: World) -> None:
    with wclayer.LayerView([world.place / "base"]) as view:
        wclayer.LayerPath(view, "C:\\docs\\read me.txt").read_bytes()


def _tree(world: World) -> None:
    with wclayer.MergedTree(world.place / "base") as tree:
        top = tree.lookup("Files")
        assert top is not None
        list(tree.walk(top))


def _registry(world: World) -> None:
    with wclayer.Registry(world.place / "base") as registry:
        key = registry.find(KEY)
        assert key is not None
        list(key.values())


def _edit(world: World) -> None:
    with wclayer.RegistryEditor(world.place / "base") as editor:
        editor.set_value(f"{KEY}\\New", "a", 1, b"b\0\0\0")


def _writing(make: Callable[[World], wclayer.LayerWriter]) -> Callable[[World], None]:
    def call(world: World) -> None:
        with make(world) as writer:
            put_directories(writer, "Files")
            for number in range(8):
                put_file(writer, f"Files/{number}", b"x" * MIB)

    return call


def _filter_write(world: World) -> None:
    with wclayer.FilterLayerWriter(world.layer, [world.place / "base"]) as writer:
        writer.add("Files", info(0x10))
        writer.add("Files\\x", info())
        writer.write(b"\1\0\0\0\0\0\0\0" + (2 * MIB).to_bytes(8, "little") + bytes(4) + b"x" * 2 * MIB)


def _tar_reader(path: Path) -> wclayer.LayerReader:
    return wclayer.TarLayerReader(io.BytesIO(path.read_bytes()), path)


def _filter_read(world: World) -> None:
    with wclayer.FilterLayerReader(world.place / "base") as reader:
        while reader.next() is not None:
            pass


def _mount_path(world: World) -> None:
    with contextlib.suppress(NotReadyError):
        wclayer.get_layer_mount_path(world.scratch)


def _tar_writer(world: World) -> None:
    with (world.place / "tree/tar").open("wb", buffering=0) as raw:
        _writing(lambda w: wclayer.TarLayerWriter(raw, w.place / "tree/tar"))(world)


def _volume_writer(world: World) -> None:
    path = world.place / "tree/volume"
    with path.open("w+b", buffering=0) as raw:
        raw.truncate(VOLUME)
        disk = RawDisk(raw)
        _writing(lambda w: wclayer.VolumeLayerWriter(disk, str(path), serial=7, time=0))(world)


def _copy(world: World) -> None:
    with (
        wclayer.DirectoryLayerReader(world.place / "base") as reader,
        wclayer.TransportLayerWriter(world.place / "copy") as writer,
    ):
        wclayer.copy_layer(reader, writer)


def _export_into_stream(world: World) -> None:
    path = world.place / "tar"
    with path.open("wb", buffering=0) as raw:
        wclayer.export_layer_to_tar(raw, world.place / "base", target=path)


def _import_child(world: World) -> None:
    with (world.sources / "child.tar").open("rb") as stream:
        wclayer.import_layer_from_tar(stream, world.layer, [world.place / "base"])


def _diff_registries(world: World) -> None:
    with wclayer.Registry(world.place / "base") as one, wclayer.Registry(world.base) as other:
        list(wclayer.diff_registries(one, other))


def _activate(world: World) -> None:
    wclayer.activate_layer(world.scratch)


def _activate_changed(world: World) -> None:
    wclayer.activate_layer(world.scratch)
    with wclayer.LayerView(scratch=world.scratch) as view:
        view.write_bytes("C:\\app\\more", b"x" * 300_000)


def _unprocess(world: World) -> None:
    for name in ("blank.vhdx", "blank-base.vhdx", "layout"):
        (world.place / "base" / name).unlink()
    for name in ("SystemTemplate.vhdx", "SystemTemplateBase.vhdx"):
        (world.place / "base/UtilityVM" / name).unlink(missing_ok=True)


def _read_image(source: wclayer.ImageSource) -> None:
    """Reads all of an image, with its digests compared."""
    with source, LayoutArchiveTarget(os.devnull) as target:
        copy_image(source, target)


def _write_image(world: World, target: wclayer.ImageTarget) -> None:
    with LayoutSource(world.sources / "layout") as source, target:
        copy_image(source, target)


def _changed_image(world: World) -> None:
    changes = wclayer.ConfigChanges(user="ContainerUser")
    with wclayer.LayoutSource(world.place / "layout") as source:
        _read_image(wclayer.edit_image(source, changes)[0])


def _index_of_images(world: World) -> None:
    with wclayer.LayoutSource(world.place / "layout") as source:
        wclayer.compose_index([source])


def _inspect(world: World) -> None:
    with wclayer.LayoutSource(world.place / "layout") as source:
        wclayer.inspect_image(source)


def _pull(world: World) -> None:
    image = samples.small()
    with FakeRegistry() as registry:
        put_into_registry(registry.base, "app", "1", image)
        wclayer.pull_image(f"{registry.host}/app:1", wclayer.ImageStore(world.place / "tree/store"))


def _push(world: World) -> None:
    with FakeRegistry() as registry:
        wclayer.push_image("image:1", f"{registry.host}/app:1", wclayer.ImageStore(world.place / "store"))


def _store(world: World) -> None:
    with LayoutSource(world.sources / "layout") as source:
        wclayer.store_image(source, wclayer.ImageStore(world.place / "tree/store"), "app:1")


def _log_in(world: World) -> None:
    with FakeRegistry(access=Access("basic")) as registry:
        options = wclayer.RegistryOptions(authfile=world.place / "auth.json")
        wclayer.log_in(registry.host, wclayer.Credentials("user", "password"), options)


def _log_out(world: World) -> None:
    wclayer.log_out("localhost:5000", wclayer.RegistryOptions(authfile=world.place / "auth.json"))


def _list_repositories(world: World) -> None:
    with FakeRegistry(access=Access("basic")) as registry:
        wclayer.list_repositories(registry.host, wclayer.RegistryOptions(authfile=world.place / "auth.json"))


def _unpack(world: World) -> None:
    store = wclayer.ImageStore(world.place / "store")
    wclayer.unpack_image(store, store.find("image:1"))


def _base_of(world: World) -> str:
    return f"docker-archive:{world.sources / 'image.tar'}"


def _build(world: World) -> None:
    wclayer.build_image(
        world.place / "context", "app:1", wclayer.ImageStore(world.place / "new"),
        arguments={"BASE": _base_of(world)},
    )  # fmt: skip


def _append(world: World) -> None:
    added = wclayer.Additions(copies=[(world.place / "tree/one", "C:\\tree\\")])
    wclayer.append_image(_base_of(world), added, "app:1", wclayer.ImageStore(world.place / "new"))


LAYER = "Files/docs/read me.txt"
HIVE = "Hives/Software_Base"
STORE = "store.db"
BCD = "UtilityVM/Files/EFI/Microsoft/Boot/BCD"
CORRUPT: Mapping[Condition, Outcome] = {Condition.DAMAGED: CorruptLayerError}
UNLOCKED: Mapping[Condition, Outcome] = {
    Condition.BUSY: "a finished layer is read, and other files are, without a lock"
}
LAYER_READ = {**READS_ONLY, **CORRUPT}
FROM_LAYER = {**CORRUPT, **UNLOCKED}
INDEX = "index.json"
MANY: Mapping[Condition, Outcome] = {Condition.BUSY: "any number of processes use a store, and an archive is read"}
OF_A_STORE: Mapping[Condition, Outcome] = {
    **MANY,
    **CORRUPT,
    Condition.MISSING: "the error names the image, which is not in a store that is not there",
}
INTO_A_STORE: Mapping[Condition, Outcome] = {
    Condition.MISSING: "a store is made",
    Condition.UNREADABLE: WRITES,
    Condition.DAMAGED: WRITES,
}
IN_LAYOUT = {**READS_ONLY, Condition.MISSING: "the source is opened before"}
WAITS: Mapping[Condition, Outcome] = {Condition.BUSY: "the file has a lock of its own"}
ALWAYS_TELLS = "it tells what there is, and that may be nothing"
PREDICATE = {**READS_ONLY, Condition.MISSING: ALWAYS_TELLS, Condition.UNREADABLE: ALWAYS_TELLS,
             Condition.DAMAGED: ALWAYS_TELLS}  # fmt: skip


def _reads(kind: Callable[[Path], wclayer.LayerReader], given: str, file: str = "", **more: Outcome) -> Call:
    """A reader of what is at `given`."""
    found = READS_ONLY | {Condition[name.upper()]: outcome for name, outcome in more.items()}
    return Call(lambda world: _all(kind(world.place / given)), given, file, found)


CALLS: dict[str, Call] = {
    "DirectoryLayerReader": _reads(wclayer.DirectoryLayerReader, "base", LAYER, damaged=CorruptLayerError),
    "FolderLayerReader": _reads(
        wclayer.FolderLayerReader, "plain", "Files/docs/a.txt", missing=NotALayerError, damaged=ANY,
    ),
    "TransportLayerReader": _reads(wclayer.TransportLayerReader, "transport", LAYER),
    "VolumeLayerReader": _reads(wclayer.VolumeLayerReader, "base.img"),
    "ScratchLayerReader": Call(
        lambda w: _all(wclayer.ScratchLayerReader(w.scratch / DISK, [w.base])), f"scratch/{DISK}", "", READS_ONLY,
    ),
    "MergedLayerReader": _reads(
        lambda path: wclayer.MergedLayerReader([path]), "base", LAYER, damaged=CorruptLayerError,
    ),
    "TarLayerReader": _reads(_tar_reader, "base.tar", missing=STREAM, unreadable=STREAM),
    "FilterLayerReader": Call(
        _filter_read, "base", "layer.db", LAYER_READ,
    ),
    "new_layer_reader": _reads(wclayer.new_layer_reader, "base", LAYER, damaged=CorruptLayerError),
    "MergedTree": Call(_tree, "base", "layer.db", LAYER_READ),
    "LayerView": Call(
        _view, "base", LAYER, {**READS_ONLY, Condition.DAMAGED: "contents of the right size are not compared"},
    ),
    "LayerPath": Call(_path, "base", "layer.db", LAYER_READ),
    # What a hive, or a boot store, holds came with the layer: that it is damaged is no fault of the directory.
    "Registry": Call(_registry, "base", HIVE, READS_ONLY),
    "RegistryEditor": Call(_edit, "base", HIVE),
    "DirectoryLayerWriter": Call(
        _writing(lambda w: wclayer.DirectoryLayerWriter(w.layer, [w.place / "base"])), "base", "layer.db", FROM_LAYER,
    ),
    "new_layer_writer": Call(
        _writing(lambda w: wclayer.new_layer_writer(w.layer, [w.place / "base"])), "base", "layer.db", FROM_LAYER,
    ),
    "TransportLayerWriter": Call(
        _writing(lambda w: wclayer.TransportLayerWriter(w.place / "tree/layer")), "tree", "",
        {**UNLOCKED, Condition.DAMAGED: WRITES, Condition.UNREADABLE: WRITES},
    ),
    "TarLayerWriter": Call(
        _tar_writer, "tree", "",
        {**UNLOCKED, Condition.MISSING: STREAM, Condition.DAMAGED: WRITES, Condition.UNREADABLE: WRITES,
         Condition.READ_ONLY: STREAM},
    ),
    "VolumeLayerWriter": Call(
        _volume_writer, "tree", "",
        {**UNLOCKED, Condition.MISSING: STREAM, Condition.DAMAGED: WRITES, Condition.UNREADABLE: WRITES,
         Condition.READ_ONLY: STREAM},
    ),
    "FilterLayerWriter": Call(_filter_write, "base", "layer.db", FROM_LAYER),
    "copy_layer": Call(
        lambda w: _copy(w), "base", LAYER, FROM_LAYER,
    ),
    "activate_layer": Call(lambda w: wclayer.activate_layer(w.scratch), "scratch", "layer.db", CORRUPT),
    "check_disk": Call(lambda w: list(wclayer.check_disk(w.place / "base.vhdx")), "base.vhdx", "", READS_ONLY),
    "check_layer": Call(lambda w: list(wclayer.check_layer(w.place / "base")), "base", "layer.db", LAYER_READ),
    "convert_disk": Call(lambda w: wclayer.convert_disk(w.place / "base.vhdx", w.out), "base.vhdx", "", UNLOCKED),
    "convert_layer": Call(
        lambda w: wclayer.convert_layer(w.place / "base", w.out, size=64 * MIB), "base", LAYER, FROM_LAYER,
    ),
    "create_layer": Call(lambda w: wclayer.create_layer(w.layer, w.place / "base"), "base", "layer.db", FROM_LAYER),
    "create_scratch_layer": Call(
        lambda w: wclayer.create_scratch_layer(w.layer, [w.place / "base"]), "base", "blank.vhdx",
    ),
    "deactivate_layer": Call(
        lambda w: wclayer.deactivate_layer(w.scratch), "scratch", DISK, first=_activate_changed,
    ),
    "destroy_layer": Call(
        lambda w: wclayer.destroy_layer(w.scratch), "scratch", "layer.db",
        {Condition.DAMAGED: "damage must not keep a layer", Condition.UNREADABLE: "nothing of it is read",
         Condition.FULL: "to remove needs no room"},
    ),
    "diff_registries": Call(_diff_registries, "base", HIVE, READS_ONLY),
    "find_vulnerabilities": Call(_find_vulnerabilities, "advisories.xml", "", READS_ONLY),
    "search_files": Call(
        lambda w: list(wclayer.search_files(w.place / "base", wclayer.ContentPattern("x"))), "base", LAYER, LAYER_READ,
    ),
    "find_entries": Call(
        lambda w: list(wclayer.find_entries(w.place / "base")), "base", "layer.db", LAYER_READ,
    ),
    "directory_usage": Call(
        lambda w: list(wclayer.directory_usage(w.place / "base")), "base", "layer.db", LAYER_READ,
    ),
    "survey_image": Call(lambda w: wclayer.survey_image(w.place / "base"), "base", "layer.db", LAYER_READ),
    "audit_rights": Call(lambda w: wclayer.audit_rights(w.place / "base"), "base", "layer.db", LAYER_READ),
    "take_inventory": Call(lambda w: wclayer.take_inventory(w.place / "base"), "base", "layer.db", LAYER_READ),
    "diff_trees": Call(
        lambda w: list(wclayer.diff_trees(w.place / "base", w.base)), "base", "layer.db", LAYER_READ,
    ),
    "disk_info": Call(lambda w: wclayer.disk_info(w.place / "base.vhdx"), "base.vhdx", "", READS_ONLY),
    "expand_scratch_size": Call(lambda w: wclayer.expand_scratch_size(w.scratch, 30 << 30), "scratch", DISK),
    "export_layer": Call(lambda w: wclayer.export_layer(w.place / "base", w.out), "base", LAYER, FROM_LAYER),
    "export_layer_to_file": Call(
        lambda w: wclayer.export_layer_to_file(w.place / "base", w.out), "base", LAYER, FROM_LAYER,
    ),
    "export_layer_to_tar": Call(
        _export_into_stream, "base", LAYER, {**FROM_LAYER, Condition.READ_ONLY: STREAM},
    ),
    "export_rootfs": Call(lambda w: wclayer.export_rootfs(w.place / "base", w.out), "base", LAYER, FROM_LAYER),
    "get_layer_mount_path": Call(
        _mount_path, "scratch", "layer.db",
        {**LAYER_READ, Condition.FULL: "SQLite makes the index of a scratch's log to read it"},
    ),
    "get_shared_base_images": Call(
        lambda w: wclayer.get_shared_base_images(w.place / "store"), "store", STORE,
        {**READS_ONLY, Condition.MISSING: ALWAYS_TELLS, Condition.UNREADABLE: AccessDeniedError,
         Condition.DAMAGED: CorruptLayerError, Condition.FULL: "SQLite makes the index of its log to read it"},
    ),
    "ImageStore": Call(
        lambda w: wclayer.ImageStore(w.place / "store").untag("image:1"), "store", STORE,
        {Condition.DAMAGED: CorruptLayerError, Condition.BUSY: "any number of processes use a store"},
    ),
    "grant_vm_access": Call(
        lambda w: wclayer.grant_vm_access(VM, w.scratch / DISK), f"scratch/{DISK}", "",
        {Condition.DAMAGED: "nothing of it is read", Condition.UNREADABLE: "nothing of it is read"},
    ),
    "import_layer": Call(
        lambda w: wclayer.import_layer(w.layer, w.place / "transport"), "transport", LAYER, UNLOCKED,
    ),
    "import_layer_from_disk": Call(
        lambda w: wclayer.import_layer_from_disk(w.place / "base.img", w.layer), "base.img", "", UNLOCKED,
    ),
    "import_layer_from_tar": Call(_import_child, "base", "layer.db", FROM_LAYER),
    "LayoutSource": Call(
        lambda w: _read_image(wclayer.LayoutSource(w.place / "layout.tar")), "layout.tar", "", READS_ONLY,
    ),
    "DockerArchiveSource": Call(
        lambda w: _read_image(wclayer.DockerArchiveSource(w.place / "image.tar")), "image.tar", "", READS_ONLY,
    ),
    "copy_image": Call(
        lambda w: _read_image(LayoutSource(w.place / "layout.tar")), "layout.tar", "", READS_ONLY,
    ),
    "copy_between": Call(
        lambda w: wclayer.copy_between(f"oci-archive:{w.place / 'layout.tar'}", f"oci-archive:{w.out}"),
        "layout.tar", "", UNLOCKED,
    ),
    "open_source": Call(
        lambda w: _read_image(wclayer.open_source(f"docker-archive:{w.place / 'image.tar'}")), "image.tar", "",
        READS_ONLY,
    ),
    "open_target": Call(
        lambda w: _write_image(w, wclayer.open_target(f"oci-archive:{w.place / 'tree/out'}")), "tree", "",
        {**UNLOCKED, Condition.DAMAGED: WRITES, Condition.UNREADABLE: WRITES},
    ),
    "open_image": Call(
        lambda w: wclayer.open_image(
            f"docker-archive:{w.place / 'image.tar'}", wclayer.ImageStore(w.place / "new")
        ).close(),
        "image.tar", "", MANY,
    ),
    "open_image_facts": Call(
        lambda w: wclayer.open_image_facts(f"docker-archive:{w.place / 'image.tar'}", w.out).__enter__(),
        "image.tar", "", MANY,
    ),
    "diff_images": Call(
        lambda w: wclayer.diff_images(
            *[f"docker-archive:{w.place / 'image.tar'}"] * 2, store=wclayer.ImageStore(w.place / "new")
        ),
        "image.tar", "", MANY,
    ),
    "query_fleet": Call(
        lambda w: list(wclayer.query_fleet(w.place / "tree/fleet", "FROM images")), "tree/fleet", "images/*/*.parquet",
        READS_ONLY, first=_fleet,
    ),
    "diff_fleets": Call(
        lambda w: list(wclayer.diff_fleets(*[w.place / "tree/fleet"] * 2).images()), "tree/fleet", "images/*/*.parquet",
        READS_ONLY, first=_fleet,
    ),
    "FleetDifference": Call(
        lambda w: list(wclayer.FleetDifference(*[w.place / "tree/fleet"] * 2).images()), "tree/fleet",
        "images/*/*.parquet", READS_ONLY, first=_fleet,
    ),
    "report_image": Call(
        lambda w: wclayer.report_image(w.place / "base", w.out), "base", "layer.db",
        {Condition.DAMAGED: CorruptLayerError, Condition.BUSY: WRITES},
    ),
    "write_fleet_report": Call(
        lambda w: wclayer.write_fleet_report(w.place / "tree/fleet", w.out), "tree/fleet", "images/*/*.parquet",
        {Condition.BUSY: WRITES}, first=_fleet,
    ),
    "scan_fleet": Call(
        lambda w: wclayer.scan_fleet(str(w.place / "tree/references"), w.place / "tree", wclayer.ScanOptions(jobs=1)),
        "tree/references", "", {Condition.MISSING: "a text that names no file may be the host of a registry"},
        first=_references,
    ),
    "load_images": Call(
        lambda w: wclayer.load_images(w.place / "image.tar", wclayer.ImageStore(w.place / "new")), "image.tar", "",
        MANY,
    ),
    "save_images": Call(
        lambda w: wclayer.save_images(["image:1"], w.out, wclayer.ImageStore(w.place / "store")), "store", STORE,
        OF_A_STORE,
    ),
    "unpack_image": Call(_unpack, "store", STORE, OF_A_STORE),
    "repair_store": Call(
        lambda w: wclayer.repair_store(wclayer.ImageStore(w.place / "store")), "store", STORE, CORRUPT,
    ),
    "pull_image": Call(_pull, "tree", "", {**MANY, **INTO_A_STORE}),
    "store_image": Call(_store, "tree", "", {**MANY, **INTO_A_STORE}),
    "push_image": Call(
        _push, "store", STORE,
        {**READS_ONLY, **OF_A_STORE, Condition.FULL: "SQLite makes the index of its log to read it"},
    ),
    "log_in": Call(_log_in, "auth.json", "", {**WAITS, Condition.MISSING: "it is made"}),
    "log_out": Call(
        _log_out, "auth.json", "", {**WAITS, Condition.MISSING: "the error names the registry: nothing is logged in"},
    ),
    "list_repositories": Call(
        _list_repositories, "auth.json", "", dict.fromkeys(READS_ONLY, "it reads one file"),
    ),
    "build_image": Call(_build, "context", "app/program.exe", {**MANY, Condition.DAMAGED: ANY}),
    "append_image": Call(_append, "tree/one", "", {**MANY, Condition.DAMAGED: ANY}),
    "commit_image": Call(
        lambda w: wclayer.commit_image(w.place / "run", "app:1", wclayer.ImageStore(w.place / "store")), "store", STORE,
        OF_A_STORE, first=scratch_of_image,
    ),
    "squash_image": Call(
        lambda w: wclayer.squash_image("child:1", "app:1", wclayer.ImageStore(w.place / "store"), base="image:1"),
        "store", STORE, OF_A_STORE, first=image_and_child,
    ),
    "rebase_image": Call(
        lambda w: wclayer.rebase_image(
            "child:1", "image:2", "app:1", wclayer.ImageStore(w.place / "store"), old_base="image:1"
        ),
        "store", STORE, OF_A_STORE, first=image_and_child,
    ),
    "edit_image": Call(_changed_image, "layout", INDEX, IN_LAYOUT),
    "compose_index": Call(_index_of_images, "layout", INDEX, IN_LAYOUT),
    "inspect_image": Call(_inspect, "layout", INDEX, IN_LAYOUT),
    "attach_file": Call(
        lambda w: wclayer.attach_file(f"oci:{w.place / 'layout'}", w.sources / "attached.txt", media_type="text/plain"),
        "layout",
        INDEX, {Condition.MISSING: "the source is opened before"},
    ),
    "attached_files": Call(
        lambda w: wclayer.attached_files(f"oci:{w.place / 'layout'}"), "layout", INDEX, IN_LAYOUT,
    ),
    "LayoutTarget": Call(
        lambda w: _write_image(w, wclayer.LayoutTarget(w.place / "layout", "new")), "layout", INDEX,
        {Condition.MISSING: "it is made", Condition.DAMAGED: NotALayerError},
    ),
    "LayoutArchiveTarget": Call(
        lambda w: _write_image(w, wclayer.LayoutArchiveTarget(w.place / "tree/out")), "tree", "",
        {**UNLOCKED, Condition.DAMAGED: WRITES, Condition.UNREADABLE: WRITES},
    ),
    "DockerArchiveTarget": Call(
        lambda w: _write_image(w, wclayer.DockerArchiveTarget(w.place / "tree/out")), "tree", "",
        {**UNLOCKED, Condition.DAMAGED: WRITES, Condition.UNREADABLE: WRITES},
    ),
    "is_disk": Call(lambda w: wclayer.is_disk(w.place / "base.vhdx"), "base.vhdx", "", PREDICATE),
    "layer_exists": Call(lambda w: wclayer.layer_exists(w.place / "base"), "base", "layer.db", PREDICATE),
    "make_base_layer": Call(
        lambda w: wclayer.make_base_layer(w.place / "plain"), "plain", "Files/docs/a.txt",
        {Condition.DAMAGED: ANY},
    ),
    "mount_layer": Call(
        lambda w: wclayer.mount_layer(w.scratch), "scratch", "layer.db",
        {**CORRUPT, Condition.FULL: MOUNTS, Condition.READ_ONLY: MOUNTS},
    ),
    "prepare_layer": Call(
        lambda w: wclayer.prepare_layer(w.scratch), "scratch", "layer.db",
        {**CORRUPT, Condition.FULL: MOUNTS, Condition.READ_ONLY: MOUNTS}, first=_activate,
    ),
    "process_base_layer": Call(
        lambda w: wclayer.process_base_layer(w.place / "base"), "base", "layer.db", CORRUPT, first=_unprocess,
    ),
    "process_utility_vm_image": Call(
        lambda w: wclayer.process_utility_vm_image(w.place / "base/UtilityVM"), "base", BCD, first=_unprocess,
    ),
    "read_boot_store": Call(lambda w: list(wclayer.read_boot_store(w.place / "base")), "base", BCD, READS_ONLY),
    "relink_layer": Call(lambda w: wclayer.relink_layer(w.scratch), "scratch", "layer.db", CORRUPT),
    "unprepare_layer": Call(
        lambda w: wclayer.unprepare_layer(w.scratch), "scratch", "layer.db",
        {**CORRUPT, Condition.FULL: MOUNTS, Condition.READ_ONLY: MOUNTS, Condition.BUSY: MOUNTS}, first=_activate,
    ),
    "unmount_layer": Call(
        lambda w: wclayer.unmount_layer(w.scratch), "scratch", "layer.db",
        {**CORRUPT, Condition.MISSING: wclayer.NotReadyError, Condition.FULL: MOUNTS, Condition.READ_ONLY: MOUNTS,
         Condition.BUSY: MOUNTS}, first=_activate,
    ),
}  # fmt: skip
"""The table."""
ASK_NOTHING = {
    "engine": "it loads an engine", "engine_name": "it loads an engine", "use_engine": "it loads an engine",
    "layer_id": "it is made of the path", "name_to_guid": "it is made of the name",
    "RegistryOptions": "options for what asks", "ScanOptions": "options for what asks",
    "Additions": "what is given to what asks",
    "parse_reference": "it is made of the text", "parse_platform": "it is made of the text",
    "parse_location": "it is made of the text", "runs_on": "versions are compared",
    "explain_security": "it is made of the bytes",
    "limits_in_use": "a setting of the process", "use_limits": "a setting of the process",
    "unsynced": "a setting of the process",
    "fleet_question": "it looks into a table",
    "write_cyclonedx": "the stream is the caller's", "write_spdx": "the stream is the caller's",
}  # fmt: skip
"""Public functions that ask nothing of the host, and why."""
