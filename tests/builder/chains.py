"""Random chains of layers, made through the public functions, and what they show."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

import wclayer
from tests.support import TIME, directory, info, layer_tar, put_directories, put_file
from wclayer.formats.regf.empty import empty_root
from wclayer.formats.regf.model import KeyMetadata, TreeKey, Value, walk
from wclayer.formats.regf.structs import KeyFlags
from wclayer.formats.regf.values import ValueType, encode_string
from wclayer.formats.regf.writer import write_hive
from wclayer.layers.hives import CONFIG, LAYER_HIVES
from wclayer.model import Entry, LayerWriter
from wclayer.view.merged import MergedTree
from wclayer.view.registry import Registry, diff_registries
from wclayer.view.resolve import names_by_short_name
from wclayer.win32.ea import ExtendedAttribute, encode_eas
from wclayer.win32.names import path_key
from wclayer.win32.reparse import LinkTarget, ReparsePoint, ReparseTag
from wclayer.win32.sddl import from_sddl

SECURITY = [from_sddl(text).encode() for text in ("O:SYG:SYD:(A;;FA;;;SY)", "O:BAG:BAD:(A;OICI;FA;;;BA)")]
EAS = encode_eas([ExtendedAttribute(b"WCLAYER.TEST", b"value", 0)])
REPARSE = ReparsePoint(ReparseTag.APPEXECLINK, b"an application").encode()
NAMES = ["a", "B", "Long file name.text", "Long file other.text", "ä"]
KEYS = ["App", "app 2", "Déjà"]


def hive(*keys: str, name: str = "ROOT") -> bytes:
    """A hive with some keys, each with a value."""
    root = empty_root(TIME)
    root = TreeKey(name, root.metadata)
    for path in keys:
        key = root
        for part in path.split("\\"):
            below = key.subkey(part)
            if not isinstance(below, TreeKey):
                below = TreeKey(part, KeyMetadata(TIME, root.metadata.security))
                key.add(below)
            key = below
        key.set(Value("Version", ValueType.REG_SZ, encode_string("1")))
    return write_hive(root)


def put_base(writer: LayerWriter) -> None:
    """A base layer with hives, a utility VM, and files."""
    put_directories(writer, "Files", "Files/Windows", "Files/Windows/System32", CONFIG, "Files/a", "Files/a/B")
    for layer_hive in LAYER_HIVES:
        put_file(writer, layer_hive.config, hive("App\\Old", "Déjà", name=layer_hive.config_name))
    put_file(writer, "Files/a/a", b"one", s=b"stream")
    put_file(writer, "Files/a/B/ä", b"two")
    put_file(writer, "Files/Long file name.text", b"shared")
    writer.put(Entry("Files/a/Long file name.text", info(), link_target="Files/Long file name.text"))
    put_directories(writer, "UtilityVM", "UtilityVM/Files", "UtilityVM/Files/a", "UtilityVM/Files/a/B")
    put_file(writer, "UtilityVM/Files/a/a", b"vm")
    put_file(writer, "UtilityVM/Files/a/B/a", b"vm 2")


paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)
_files = st.one_of(
    st.tuples(st.just("write"), paths, st.binary(max_size=30)),
    st.tuples(st.just("mkdir"), paths),
    st.tuples(st.just("remove"), paths),
    st.tuples(st.just("remove"), paths),
    st.tuples(st.just("rename"), paths, paths),
    st.tuples(st.just("link"), paths, paths),
    st.tuples(st.just("symlink"), paths, paths),
    st.tuples(st.just("junction"), paths),
    st.tuples(st.just("stream"), paths, st.binary(max_size=9)),
    st.tuples(st.just("security"), paths, st.sampled_from(SECURITY)),
    st.tuples(st.just("eas"), paths),
    st.tuples(st.just("attributes"), paths),
    st.tuples(st.just("case"), paths),
    st.tuples(st.just("reparse"), paths),
    st.tuples(st.just("anew"), paths),
    st.tuples(st.just("unstream"), paths),
)
_key_paths = st.tuples(
    st.sampled_from([r"HKLM\SOFTWARE", r"HKLM\SYSTEM", r"HKU\.DEFAULT"]),
    st.lists(st.sampled_from([*KEYS, "Old"]), min_size=1, max_size=3),
).map(lambda found: "\\".join((found[0], *found[1])))
_registry = st.one_of(
    st.tuples(st.just("set"), _key_paths, st.sampled_from(["Version", "", "n"]), st.binary(max_size=6)),
    st.tuples(st.just("create"), _key_paths),
    st.tuples(st.just("unset"), _key_paths, st.sampled_from(["Version", "", "n"])),
    st.tuples(st.just("delete"), _key_paths),
    st.tuples(st.just("delete"), _key_paths),
)
Steps = tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]
"""What a container does: to files, then to the registry."""
steps = st.tuples(st.lists(_files, max_size=12), st.lists(_registry, max_size=6))


def do_files(view: wclayer.LayerView, wanted: Sequence[tuple[Any, ...]]) -> None:
    """Does what is possible of some steps."""
    for what, *arguments in wanted:
        with contextlib.suppress(wclayer.LayerError):
            path = arguments[0]
            match what:
                case "write":
                    view.write_bytes(path, arguments[1])
                case "mkdir":
                    view.mkdir(path)
                case "remove":
                    if view.stat(path, follow=False).is_directory:
                        view.rmtree(path)
                    else:
                        view.unlink(path)
                case "rename":
                    view.rename(path, arguments[1])
                case "link":
                    view.link(path, arguments[1])
                case "symlink":
                    view.symlink(path, f"C:\\{arguments[1]}", is_directory=False)
                case "junction":
                    view.mount_point(path, "C:\\a")
                case "stream":
                    view.write_bytes(f"{path}:s2", arguments[1])
                case "security":
                    view.set_security(path, arguments[1], follow=False)
                case "eas":
                    view.set_eas(path, EAS, follow=False)
                case "attributes":
                    view.set_attributes(path, 0x22, follow=False)
                case "case":
                    view.rename(path, path.rpartition("/")[0] + "/" + path.rpartition("/")[2].swapcase())
                case "reparse":
                    view.set_reparse(path, REPARSE)
                case "anew":
                    # What the parents have in the directory is hidden: it is opaque.
                    view.rmtree(path)
                    view.mkdir(path)
                case "unstream":
                    view.remove_stream(path, "s2", follow=False)


def do_registry(editor: wclayer.RegistryEditor, wanted: Sequence[tuple[Any, ...]]) -> None:
    """Does what is possible of some steps."""
    for what, key, *arguments in wanted:
        with contextlib.suppress(wclayer.LayerError):
            match what:
                case "set":
                    editor.set_value(key, arguments[0], 3, arguments[1])
                case "create":
                    editor.create_key(key)
                case "unset":
                    editor.delete_value(key, arguments[0])
                case "delete":
                    editor.delete_key(key)


def import_layer(tar: bytes, place: Path, parents: Sequence[Path]) -> Path:
    """Imports a layer; parents nearest first."""
    wclayer.import_layer_from_tar(io.BytesIO(tar), place, parents)
    return place


def layer_of(folder: Path, parents: Sequence[Path], wanted: Steps) -> bytes:
    """The tar of the layer that some steps make over parents, nearest first."""
    scratch = folder / f"scratch{len(parents)}"
    wclayer.create_scratch_layer(scratch, parents)
    with wclayer.LayerView(scratch=scratch) as view:
        do_files(view, wanted[0])
    if wanted[1]:
        with wclayer.RegistryEditor(scratch) as editor:
            do_registry(editor, wanted[1])
    out = io.BytesIO()
    wclayer.export_layer_to_tar(out, scratch, parents)
    wclayer.destroy_layer(scratch)
    return out.getvalue()


@contextlib.contextmanager
def made_chain(layers: Sequence[Steps]) -> Iterator[list[Path]]:
    """A chain of a base layer and what containers have made over it; nearest first."""
    with tempfile.TemporaryDirectory(prefix="wclayer-chain-") as name:
        folder = Path(name)
        chain = [import_layer(layer_tar(put_base), folder / "layer0", [])]
        for number, wanted in enumerate(layers, 1):
            chain.insert(0, import_layer(layer_of(folder, chain, wanted), folder / f"layer{number}", chain))
        yield chain


Member = tuple[str, str, str]
"""Kind, path, and what else: a member of a layer that some other program made."""
_members = st.lists(
    st.tuples(st.sampled_from(["dir", "dir", "file", "file", "gone", "junction", "link"]), paths, paths),
    max_size=10,
)
foreign_layers = st.lists(_members, min_size=2, max_size=4)


def put_foreign(writer: LayerWriter, members: Sequence[Member], *, parents: Sequence[Path], root: str) -> None:
    """Puts a layer that no container has made: links to files of parents, files in the place of directories."""
    put: dict[str, str] = {"": "dir"}
    gone: set[str] = set()
    with contextlib.ExitStack() as stack:
        below = stack.enter_context(MergedTree(parents)) if parents else None
        for number, (kind, path, other) in enumerate(members):
            name, key = f"{root}/{path}", path_key(path)
            hidden = None if below is None else below.lookup(name)
            if root != "Files" and (hidden is not None or kind == "gone"):
                # What lies in the place of another kind of a utility VM replaces the parent's clone: no order is free.
                same = hidden is not None and (kind == "file" or kind == "dir") == (hidden.row.reparse is None)
                if not same or hidden is None or hidden.is_directory != (kind == "dir"):
                    continue
            if kind == "gone":
                if key not in gone and below is not None:
                    gone.add(key)
                    writer.put(Entry(name, None))
                continue
            if key in put or put.get(path_key(path.rpartition("/")[0])) != "dir":
                continue
            if kind == "link":
                own = put.get(path_key(other))
                found = [node for node in (_raw(layer, f"{root}/{other}") for layer in parents) if node is not None]
                if own == "file" or (own is None and found and not found[0]):
                    writer.put(Entry(name, info(time=TIME + number), link_target=f"{root}/{other}"))
                    put[key] = "file"
                continue
            put[key] = kind
            if kind == "dir":
                writer.put(directory(name))
            elif kind == "junction":
                reparse = LinkTarget.from_path("C:\\a", is_mount_point=True).encode()
                writer.put(Entry(name, info(0x410), reparse=reparse))
            else:
                put_file(writer, name, f"{number} {path}".encode())


def _raw(layer: Path, path: str) -> bool | None:
    """Whether the layer alone has a directory at a path; None if it has nothing there."""
    with wclayer.MergedTree(layer) as tree:
        row = tree.layers[0].lookup(path)
        return None if row is None else bool(row.attributes & 0x10)


def shown(tree: MergedTree, *, without: frozenset[str] = frozenset()) -> dict[str, object]:
    """Everything that a chain shows, by path: metadata, contents, names of the same file, short name."""
    found: dict[str, object] = {}
    files: dict[object, list[str]] = {}
    for node in tree.walk(tree.root()):
        if node.key.startswith("HIVES") or node.key in without or node.row.origin == 3:
            continue
        entry = tree.entry(node)
        streams = [(stream.name, stream.read_all()) for stream in tree.streams(node)]
        # A child's utility VM begins as a clone, whose names come in another order.
        has_short_names = node.is_directory and not node.key.startswith("UTILITYVM")
        names = names_by_short_name(tree, node) if has_short_names else {}
        metadata = None if node.row.origin == 1 else (entry.info, entry.security, entry.eas, entry.reparse)
        found[node.path] = (metadata, streams, sorted(names.items()))
        if not node.is_directory:
            files.setdefault(node.file, []).append(node.path)
    found["links"] = sorted(sorted(names) for names in files.values() if len(names) > 1)
    return found


def registry_of(layer: Path) -> dict[str, object]:
    """All keys and values that a layer shows over its parents."""
    found: dict[str, object] = {}
    with Registry(layer) as registry:
        for layer_hive in LAYER_HIVES:
            root = registry.root(layer_hive)
            for path, key in walk(root) if root is not None else ():
                metadata = key.metadata._replace(access_bits=0, flags=key.metadata.flags & ~KeyFlags.HIVE_ENTRY)
                found[f"{layer_hive.stem}\\{path}"] = (metadata, sorted(key.values()))
    return found


def differences(a: Path, b: Path) -> list[object]:
    """What `wclayer diff` finds between two layers, but for the files of the delta hives."""
    with Registry(a) as first, Registry(b) as second:
        files = [found for found in wclayer.diff_trees(a, b) if not found.path.startswith("Hives/")]
        return [*files, *diff_registries(first, second)]
