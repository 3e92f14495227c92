"""Random images in a store: of what containers have made, and of layers that some other program has made."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

import wclayer
from tests.builder import meaning
from tests.builder.chains import EAS, KEYS, REPARSE, SECURITY, Steps, do_files, do_registry, paths, put_base, steps
from tests.images import samples, stores
from tests.support import TIME, info, layer_tar, put_directories, put_file, run
from wclayer.formats.regf.model import KeyMetadata, TreeKey, Value
from wclayer.formats.regf.structs import LayerSemantics
from wclayer.formats.regf.writer import write_hive
from wclayer.host.durability import unsynced
from wclayer.images.opening import open_image
from wclayer.images.store import ImageStore
from wclayer.layers.hives import LAYER_HIVES
from wclayer.model import DataStream, Entry, LayerWriter
from wclayer.view.merged import MergedTree
from wclayer.win32.attributes import FileBasicInfo
from wclayer.win32.names import path_key
from wclayer.win32.reparse import LinkTarget

BASE = layer_tar(put_base)
CONFIGS = frozenset(path_key(hive.config) for hive in LAYER_HIVES)
"""What lies in the place of the hives of a base layer."""
CONTAINER = {"User": "ContainerUser", "Env": ["A=1", "Path=C:\\Windows"], "Cmd": ["cmd.exe"]}

_EXAMPLES = 600 if os.environ.get("HYPOTHESIS_PROFILE") == "thorough" else 20
SLOW = settings(
    max_examples=_EXAMPLES, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate]
)
"""For a test of random images, each of which takes a part of a second. A failing example is not made smaller."""

# Layers of other programs.

_members = st.lists(
    st.tuples(
        st.sampled_from(["dir", "dir", "file", "file", "gone", "gone", "junction", "symlink", "reparse", "link"]),
        paths, paths, st.sampled_from([None, 0, 1]), st.booleans(), st.booleans(),
    ),
    max_size=10,
)  # fmt: skip
_values = st.dictionaries(st.sampled_from(["Version", "", "n"]), st.none() | st.binary(max_size=5), max_size=2)
_semantics = st.sampled_from([0, 0, 0, 0, 1, 2, 3])
_times = st.integers(-2, 2).map(lambda step: TIME + step)


def _keys(depth: int) -> st.SearchStrategy[dict[str, Any]]:
    """Subkeys of a delta."""
    below = _keys(depth - 1) if depth else st.just({})
    key = st.tuples(_semantics, st.integers(0, 1), st.none() | st.sampled_from(["", "C"]), _times, _values, below)
    return st.dictionaries(st.sampled_from([*KEYS, "Old"]), key, max_size=2)


crafted = st.tuples(_members, st.dictionaries(st.sampled_from(["Software", "System"]), _keys(2), max_size=1))
Crafted = tuple[list[tuple[Any, ...]], dict[str, dict[str, Any]]]
layers = st.lists(
    st.one_of(st.tuples(st.just("container"), steps), st.tuples(st.just("crafted"), crafted)), min_size=1, max_size=4
)
Wanted = Sequence[tuple[str, Any]]


def crafted_tar(wanted: Crafted, below: Sequence[meaning.Layer]) -> bytes:
    """A layer of members and deltas, as far as they are possible over the layers below."""

    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files")
        _put_members(writer, wanted[0], meaning.files_of(below))
        if wanted[1]:
            put_directories(writer, "Hives")
        for stem, keys in wanted[1].items():
            root = TreeKey("ROOT", KeyMetadata(TIME, SECURITY[0], inherits_class=True))
            _add_keys(root, keys)
            put_file(writer, f"Hives/{stem}_Delta", write_hive(root, has_layered_keys=True))

    return layer_tar(build)


def _put_members(writer: LayerWriter, members: Sequence[tuple[Any, ...]], shown: meaning.Node) -> None:
    kinds, gone = {"FILES": "dir"}, set[str]()
    infos: dict[str, FileBasicInfo] = {}
    for number, (kind, path, other, security, has_eas, has_stream) in enumerate(members):
        name, target = f"Files/{path}", f"Files/{other}"
        key = name.upper()
        if kind == "gone":
            if key not in gone:
                gone.add(key)
                writer.put(Entry(name, None))
            continue
        if key in kinds or kinds.get(key.rpartition("/")[0]) != "dir":
            continue
        if kind == "link":
            there = meaning.find(shown, target)
            own = kinds.get(target.upper())
            if own == "file" or (own is None and there is not None and "" in there.streams):
                infos[key] = infos[target.upper()] if there is None or own else _info_of(there)
                writer.put(Entry(name, infos[key], link_target=target))
                kinds[key] = "file"
            continue
        eas = EAS if has_eas and kind in ("dir", "file") else b""
        reparse = {
            "junction": LinkTarget.from_path("C:\\a", is_mount_point=True).encode(),
            "symlink": LinkTarget.from_path(f"C:\\{other}", is_mount_point=False).encode(),
            "reparse": REPARSE,
        }.get(kind)
        attributes = {"dir": 0x10, "file": 0x20, "junction": 0x410, "symlink": 0x420, "reparse": 0x420}[kind]
        data = f"{number} {path}".encode() if kind in ("file", "reparse") else b""
        streams = [DataStream("", len(data), (data,))] if data else []
        if has_stream and kind in ("dir", "file"):
            streams.append(DataStream("s2", 3, (b"own",)))
        infos[key] = info(attributes, TIME + number)
        entry = Entry(
            name, infos[key], len(data), None if security is None else SECURITY[security], eas=eas, reparse=reparse
        )
        writer.put(entry, streams)
        kinds[key] = kind


def _info_of(node: meaning.Node) -> FileBasicInfo:
    return FileBasicInfo(*meaning.basic_info(node.metadata))


def _add_keys(above: TreeKey, keys: dict[str, Any]) -> None:
    for name, (semantics, security, class_name, time, values, below) in keys.items():
        inherits = class_name is None
        metadata = KeyMetadata(
            time, SECURITY[security], (class_name or "").encode("utf-16-le"), semantics=LayerSemantics(semantics),
            inherits_class=inherits,
        )  # fmt: skip
        key = TreeKey(name, metadata)
        above.add(key)
        if semantics != LayerSemantics.TOMBSTONE:
            for value, data in values.items():
                key.set(Value(value, 0 if data is None else 3, data or b"", data is None))
            _add_keys(key, below)


# Images.


def layers_of(store: ImageStore, name: str) -> list[meaning.Layer]:
    """The layers of an image of the store, base layer first."""
    return [meaning.Layer.read(tar) for tar in tars_of(store, name)]


def tars_of(store: ImageStore, name: str) -> list[bytes]:
    """The layers of an image of the store, uncompressed, base layer first."""
    manifest = json.loads(store.read_blob(store.find(name)))
    return [gzip.decompress(store.blob_path(layer["digest"]).read_bytes()) for layer in manifest["layers"]]


def image_of(tars: Sequence[bytes], os_version: str) -> samples.Image:
    """An image of layers."""
    history = [samples.step(f"step {number}") for number, _ in enumerate(tars)]
    return samples.image("oci", [samples.layer(tar, "oci") for tar in tars], history, CONTAINER, os_version=os_version)


def put_image(store: ImageStore, name: str, below: Sequence[bytes], wanted: Wanted, os_version: str) -> list[bytes]:
    """Puts an image into a store, whose layers are some tars, and what is wanted above them; returns all layers."""
    tars = list(below)
    for number, (kind, what) in enumerate(wanted):
        if kind == "crafted":
            tars.append(crafted_tar(what, [meaning.Layer.read(tar) for tar in tars]))
            continue
        before, after, scratch = f"before{number}", f"after{number}", store.path.parent / f"{name[0]}{number}"
        stores.fill(store, before, image_of(tars, os_version))
        run("create", "--from", before, scratch)
        _change(scratch, what)
        run("commit", scratch, "--from", before, "-t", after)
        tars += tars_of(store, after)[len(tars) :]
    stores.fill(store, name, image_of(tars, os_version))
    return tars


def _change(scratch: Path, wanted: Steps) -> None:
    with wclayer.LayerView(scratch=scratch) as view:
        do_files(view, wanted[0])
    if wanted[1]:
        with wclayer.RegistryEditor(scratch) as editor:
            do_registry(editor, wanted[1])


def check_view(store: ImageStore, name: str, *, without: frozenset[str] = frozenset()) -> None:
    """Checks that the view of an image shows what other programs read in its layers.

    Args:
        store: the store.
        name: the image.
        without: the paths in upper case of names of which only the contents are compared.
    """
    expected, found = {}, {}
    for path, file in meaning.walk(meaning.files_of(layers_of(store, name))):
        # No data is the same as none, but for a stream that has a name.
        data = {stream: data for stream, data in file.streams.items() if stream or data}
        expected[path] = (*meaning.basic_info(file.metadata), meaning.security(file.metadata)), data
    with open_image(name, store) as image, MergedTree(image.layers) as tree:
        for node in tree.walk(tree.root()):
            if node.key.startswith("HIVES"):
                continue
            entry = tree.entry(node)
            assert entry.info is not None
            streams = {stream.name: stream.read_all() for stream in tree.streams(node) if stream.name or stream.size}
            if node.key in CONFIGS:
                streams.pop("", None)
            times = (
                getattr(entry.info, f"{time}_time") for time in ("creation", "last_access", "last_write", "change")
            )
            found[node.path] = (entry.info.attributes, *times, entry.security), streams
    for path in found.keys() & expected.keys():
        if path.upper() in without:
            expected[path] = found[path][0], expected[path][1]
    assert found == expected


@contextmanager
def random_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[ImageStore]:
    """A store, which the command uses, too. Nothing in it waits for the disk."""
    with TemporaryDirectory(prefix="wclayer-random-") as name, unsynced():
        store = ImageStore(Path(name, "store"))
        monkeypatch.setenv("WCLAYER_STORE", str(store.path))
        yield store


# Chains in which each thing that can be lost matters.

MADE_BY_CONTAINERS: Wanted = [
    ("container", (
        [("write", "a/new", b"new"), ("stream", "a/a", b"own"), ("security", "a/B", SECURITY[1]), ("eas", "a/B/ä"),
         ("write", "B", b"an alias"), ("reparse", "B"), ("symlink", "ä", "a"), ("junction", "a/to"),
         ("write", "a/Long file two.text", b"2"), ("write", "a/Long file three.text", b"3"),
         ("link", "a/third name", "Long file name.text"), ("mkdir", "temp"), ("write", "temp/x", b"gone"),
         ("write", "kept", b"1"), ("link", "kept too", "kept"), ("case", "a/B/ä")],
        [("set", r"HKLM\SOFTWARE\App", "n", b"1"), ("delete", r"HKLM\SOFTWARE\Déjà"),
         ("create", r"HKLM\SYSTEM\App\New"),
         ("set", r"HKLM\SYSTEM\App\Old", "Version", b"2"), ("set", r"HKU\.DEFAULT\App\Old", "n", b"3")],
    )),
    ("container", (
        [("anew", "a/B"), ("write", "a/B/again", b"again"), ("remove", "temp"), ("remove", "a/a"), ("case", "a/new"),
         ("write", "a/Long file one.text", b"1"), ("security", "kept", SECURITY[0]), ("link", "kept 3", "kept")],
        [("create", r"HKLM\SOFTWARE\Déjà"), ("unset", r"HKLM\SOFTWARE\App", "n"),
         ("set", r"HKLM\SOFTWARE\App", "more", b"5"),
         ("unset", r"HKLM\SOFTWARE\App\Old", "Version"), ("delete", r"HKLM\SYSTEM\App\New"),
         ("delete", r"HKLM\SYSTEM\Déjà"), ("set", r"HKLM\SYSTEM\App\Old", "n", b"4")],
    )),
]  # fmt: skip


def _member(kind: str, path: str, other: str = "", *, eas: bool = False, stream: bool = False) -> tuple[Any, ...]:
    return kind, path, other, 1, eas, stream


MADE_BY_OTHERS: Wanted = [
    ("crafted", (
        [_member("file", "a", stream=True), _member("gone", "never there"), _member("gone", "ä"),
         _member("link", "of the base", "Long file name.text"), _member("dir", "B", eas=True),
         _member("file", "B/x", eas=True)],
        {"Software": {
            "App": (2, 1, "C", TIME + 9, {"Version": None, "n": b"1"}, {
                "Old": (0, 1, None, TIME + 1, {"Version": None}, {}),
            }),
            "Déjà": (1, 0, None, TIME, {}, {}),
            "New": (0, 1, "C", TIME, {"n": b"2"}, {"Old": (0, 0, "", TIME, {}, {})}),
        }},
    )),
    ("crafted", (
        [_member("dir", "a"), _member("gone", "B"), _member("reparse", "a/alias"), _member("junction", "a/to")],
        {"Software": {
            "App": (0, 0, None, TIME - 1, {"x": b"2"}, {"Old": (0, 0, None, TIME, {"n": None}, {})}),
            "Déjà": (0, 1, None, TIME + 3, {"n": b"3"}, {}),
            "New": (2, 0, "", TIME - 3, {"x": b"1"}, {"Old": (1, 0, None, TIME, {}, {})}),
        }, "System": {
            "App": (0, 0, None, TIME, {"never there": None}, {"Old": (0, 0, None, TIME + 4, {"Version": None}, {})}),
        }},
    )),
]  # fmt: skip
