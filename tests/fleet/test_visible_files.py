"""The view `image_files` shows what the merged tree shows."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.fleet.made_fleet import MadeFleet, write_fleet
from tests.support import info, put_file
from wclayer.fleet.model import ImageStatus
from wclayer.fleet.query.questions import fleet_question
from wclayer.fleet.query.session import FleetSession
from wclayer.fleet.tables.parquet import stored_text
from wclayer.fleet.tables.schema import FileKind, FileRow, ImageRow, LayerRow, unknown
from wclayer.images.descriptor import digest_of
from wclayer.layers.directory.database import Origin
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.model import Entry, LayerWriter
from wclayer.view.merged import MergedTree, Node
from wclayer.win32.names import path_key
from wclayer.win32.reparse import LinkTarget

_JUNCTION = LinkTarget.from_path("C:\\x", is_mount_point=True).encode()
_ROOT = "Files"
Layer = dict[str, str]
"""The kinds of a layer's entries by their paths. What is "deleted" may be replaced in the same layer."""
Shown = set[tuple[str, int, str]]
"""What an image shows: the key, the number of the layer from the base, and the kind of each entry."""

# Some names are the same for Windows, and lone surrogates are characters of names, too.
_names = st.sampled_from(["a", "A", "ü", "Ü", "b c", "𝔵", "\ud800"])
_kinds = st.sampled_from(["file", "directory", "directory", "link", "deleted", "deleted file", "deleted directory"])
_layers = st.lists(
    st.dictionaries(st.lists(_names, min_size=1, max_size=4).map("/".join), _kinds, max_size=8), min_size=1, max_size=5
)


class _LayerMaker:
    """Writes what a layer can have, and notes it as rows: no name twice, directories above each entry, nothing below a
    file or a link, and no tombstones in a base layer."""

    def __init__(self, writer: LayerWriter, layer: str, *, is_base: bool) -> None:
        self._writer = writer
        self._layer = layer
        self._is_base = is_base
        self._kinds: dict[str, FileKind] = {}
        self.rows: list[FileRow] = []

    def write(self, entries: Layer) -> None:
        for path in sorted(entries, key=lambda path: path.count("/")):
            for word in entries[path].split():
                if word == "deleted":
                    self._delete(f"{_ROOT}/{path}")
                else:
                    self._put(f"{_ROOT}/{path}", FileKind(word))

    def _delete(self, name: str) -> None:
        tombstones = {row.path for row in self.rows if row.kind == FileKind.TOMBSTONE}
        if not self._is_base and path_key(name) not in {path_key(path) for path in tombstones}:
            self._writer.put(Entry(name, None))
            self._note(name, FileKind.TOMBSTONE)

    def _put(self, name: str, kind: FileKind) -> None:
        parts = name.split("/")
        above = ["/".join(parts[:size]) for size in range(1, len(parts))]
        known = [self._kinds.get(path_key(each), FileKind.DIRECTORY) for each in above]
        if path_key(name) in self._kinds or set(known) != {FileKind.DIRECTORY}:
            return
        for each in above:
            if path_key(each) not in self._kinds:
                self._put_entry(each, FileKind.DIRECTORY)
        self._put_entry(name, kind)

    def _put_entry(self, name: str, kind: FileKind) -> None:
        self._kinds[path_key(name)] = kind
        data = name.encode("utf-8", "surrogatepass")
        if kind is FileKind.FILE:
            put_file(self._writer, name, data)
        else:
            reparse = _JUNCTION if kind is FileKind.LINK else None
            self._writer.put(Entry(name, info(0x410 if reparse else 0x10), reparse=reparse))
        self._note(name, kind, hashlib.sha256(data).hexdigest() if kind is FileKind.FILE else None)

    def _note(self, name: str, kind: FileKind, sha256: str | None = None) -> None:
        key = None if name.isascii() else stored_text(path_key(name))
        self.rows.append(
            FileRow(**unknown(FileRow) | {
                "layer": self._layer, "path": stored_text(name), "key": key, "kind": str(kind), "sha256": sha256
            })
        )  # fmt: skip


def _chains(folder: Path, layers: Sequence[Layer], fleet: MadeFleet) -> dict[str, list[Path]]:
    """Writes layers, and adds them and images of them to a fleet.

    Returns:
        The layer directories of each image, nearest first.
    """
    digests, paths = [digest_of(f"layer {number}".encode()) for number in range(len(layers))], []
    for digest, layer in zip(digests, layers, strict=True):
        paths.append(folder / digest[-8:])
        with DirectoryLayerWriter(paths[-1], paths[:-1][-1:]) as writer:
            maker = _LayerMaker(writer, digest, is_base=len(paths) == 1)
            maker.write(layer)
        fleet.files[digest] = maker.rows
        fleet.layers[digest] = LayerRow(**unknown(LayerRow) | {"layer": digest, "is_base": len(paths) == 1})
    # The layers in their order, the beginnings of this chain, without the second one, and with the last one twice.
    orders = {(*range(size),) for size in range(1, len(layers) + 1)}
    orders |= {(0, *range(2, len(layers))), (*range(len(layers)), len(layers) - 1)}
    found = {}
    for order in orders:
        image = digest_of(repr(order).encode())
        fleet.rows.images.append(
            ImageRow(**unknown(ImageRow) | {
                "reference": f"image{order}", "source": "made", "image": image, "layer_count": len(order),
                "layers": tuple(digests[number] for number in order), "diff_ids": (), "status": str(ImageStatus.OK),
            })
        )  # fmt: skip
        found[image] = [paths[number] for number in reversed(order)]
    return found


def _merged(chain: Sequence[Path]) -> Shown:
    with MergedTree(chain) as tree:

        def shown(node: Node) -> tuple[str, int, str]:
            kind = FileKind.LINK if node.row.reparse else FileKind.DIRECTORY if node.is_directory else FileKind.FILE
            return stored_text(node.key), tree.depth(node.layer), str(kind)

        return {shown(node) for node in tree.walk(tree.root()) if node.row.origin == Origin.OWN}


@settings(max_examples=15, deadline=None)
@given(layers=_layers)
@example(layers=[{"a/A/b c": "file"}, {"A": "deleted"}, {"a/A": "directory", "a/x": "file"}])
@example(layers=[{"a/b/c/d": "file", "a/b/e": "file"}, {"A/B": "deleted directory"}, {"a/b/c": "file"}])
@example(layers=[{"ü/a": "file"}, {"Ü": "link"}, {"ü": "deleted directory"}])
def test_an_image_shows_what_the_merged_tree_shows(layers: list[Layer]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        fleet = MadeFleet()
        chains = _chains(Path(folder), layers, fleet)
        write_fleet(f"{folder}/fleet", fleet)
        with FleetSession({"main": f"{folder}/fleet"}, threads=2) as session:
            found: dict[str, Shown] = {image: set() for image in chains}
            for image, *shown in session.ask("SELECT image, key, number, kind FROM image_files"):
                assert tuple(shown) not in found[image]
                found[image].add((shown[0], shown[1], shown[2]))
            for image, chain in chains.items():
                assert found[image] == _merged(chain)
                alone = session.ask("SELECT key, number, kind FROM files_of($image)", {"image": image})
                assert set(alone) == found[image]
            _check_contents(session, fleet, found)


def _check_contents(session: FleetSession, fleet: MadeFleet, found: dict[str, Shown]) -> None:
    """Checks the question after the images that show a file with the contents of a file of the lowest layer that has
    one: it is the most likely to be hidden."""
    asked = fleet_question("has-file")
    rows = [row for layer in fleet.layers for row in fleet.files[layer]]
    for sha256 in [row.sha256 for row in rows if row.sha256][:1]:
        places = {(row.layer, row.key or row.path.upper()): row.path for row in rows if row.sha256 == sha256}
        holders = {
            (image.reference, places[layer, key])
            for image in fleet.rows.images
            for key, number, _ in found[str(image.image)]
            for layer in [image.layers[number - 1]]
            if (layer, key) in places
        }
        answer = session.ask(asked.sql, asked.values({"sha256": sha256}))
        assert {(reference, path) for reference, path, _ in answer} == holders
