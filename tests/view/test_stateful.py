"""Random operations on the view and on a plain model in memory: both stay equal, also when the scratch is opened anew,
seen by another process' eyes, exported, and imported elsewhere on the same parents."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from pathlib import Path
from typing import IO

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import wclayer
from tests.support import info, put_directories, put_file
from tests.view import model
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.model import Entry
from wclayer.view.layer_view import LayerView

NAMES = ["a", "B", "b", "cc", "Long file name.text", "ß", "Ä", "ä"]
paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map(tuple)
contents = st.binary(max_size=40)


def base_layers(folder: Path) -> tuple[list[Path], model.Model]:
    """Two layers with something of everything, and the model of what they show."""
    with DirectoryLayerWriter(folder / "base") as writer:
        put_directories(writer, "Files", "Files/a", "Files/a/b", "Files/cc", "Files/ä")
        put_file(writer, "Files/a/cc", b"one", s=b"stream")
        put_file(writer, "Files/a/b/cc", b"two")
        put_file(writer, "Files/b", b"shared")
        writer.put(Entry("Files/cc/a", info(), link_target="Files/b"))
        put_file(writer, "Files/cc/b", b"hidden")
        put_file(writer, "Files/ä/a", b"hidden, too")
    with DirectoryLayerWriter(folder / "middle", [folder / "base"]) as writer:
        put_directories(writer, "Files", "Files/cc", "Files/ä")
        writer.put(Entry("Files/cc/b", None))
        writer.put(Entry("Files/ä", None))
        put_file(writer, "Files/ä/b", b"opaque")
    plain = model.Model()
    for path in (("a",), ("a", "b"), ("cc",), ("ä",)):
        plain.mkdir(path)
    plain.create(("a", "cc"), b"one")
    plain.set_stream(("a", "cc"), "s", b"stream")
    plain.create(("a", "b", "cc"), b"two")
    plain.create(("b",), b"shared")
    plain.link(("cc", "a"), ("b",))
    plain.create(("ä", "b"), b"opaque")
    return [folder / "middle", folder / "base"], plain


class Operations(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="wclayer-model-"))
        self.layers, self.model = base_layers(self.folder)
        wclayer.create_scratch_layer(self.folder / "scratch", self.layers)
        self.view = LayerView(scratch=self.folder / "scratch")
        self.other: LayerView | None = None
        self.held: tuple[model.File, IO[bytes]] | None = None

    def both(self, operation: str, *arguments: object) -> None:
        """Does it to both; they agree on whether it is possible, and why not."""
        refused: list[int | None] = []
        for target in (self.model, self):
            try:
                getattr(target, operation if target is self.model else f"_{operation}")(*arguments)
                refused.append(None)
            except model.ModelError as error:
                refused.append(error.args[0])
            except wclayer.LayerError as error:
                refused.append(error.errno)
        assert refused[0] == refused[1], (operation, arguments)

    @staticmethod
    def spelled(path: model.Path) -> str:
        return "C:\\" + "\\".join(path)

    def _mkdir(self, path: model.Path) -> None:
        self.view.mkdir(self.spelled(path))

    def _create(self, path: model.Path, data: bytes) -> None:
        with self.view.open(self.spelled(path), "xb") as file:
            file.write(data)

    def _write(self, path: model.Path, offset: int, data: bytes) -> None:
        with self.view.open(self.spelled(path), "r+b") as file:
            file.seek(offset)
            file.write(data)

    def _truncate(self, path: model.Path, size: int) -> None:
        self.view.truncate(self.spelled(path), size)

    def _link(self, path: model.Path, target: model.Path) -> None:
        self.view.link(self.spelled(path), self.spelled(target))

    def _unlink(self, path: model.Path) -> None:
        self.view.unlink(self.spelled(path))

    def _rmdir(self, path: model.Path) -> None:
        self.view.rmdir(self.spelled(path))

    def _rename(self, source: model.Path, target: model.Path) -> None:
        self.view.rename(self.spelled(source), self.spelled(target))

    def _set_stream(self, path: model.Path, name: str, data: bytes) -> None:
        self.view.write_bytes(f"{self.spelled(path)}:{name}", data)

    @rule(path=paths)
    def mkdir(self, path: model.Path) -> None:
        self.both("mkdir", path)

    @rule(path=paths, data=contents)
    def create(self, path: model.Path, data: bytes) -> None:
        self.both("create", path, data)

    @rule(path=paths, offset=st.integers(0, 50), data=st.binary(min_size=1, max_size=40))
    def write(self, path: model.Path, offset: int, data: bytes) -> None:
        self.both("write", path, offset, data)

    @rule(path=paths, size=st.integers(0, 50))
    def truncate(self, path: model.Path, size: int) -> None:
        self.both("truncate", path, size)

    @rule(path=paths, of=paths)
    def link(self, path: model.Path, of: model.Path) -> None:
        # Which of two mistakes is told first is nobody's business.
        with contextlib.suppress(model.ModelError):
            self.model.find_file(of)
            self.both("link", path, of)

    @rule(path=paths)
    def unlink(self, path: model.Path) -> None:
        self.both("unlink", path)

    @rule(path=paths)
    def rmdir(self, path: model.Path) -> None:
        self.both("rmdir", path)

    @rule(source=paths, to=paths)
    def rename(self, source: model.Path, to: model.Path) -> None:
        self.both("rename", source, to)

    @rule(path=paths, name=st.sampled_from(["s", "T"]), data=contents)
    def set_stream(self, path: model.Path, name: str, data: bytes) -> None:
        self.both("set_stream", path, name, data)

    @rule(path=paths)
    def hold(self, path: model.Path) -> None:
        """Keeps a file open, whatever becomes of its names."""
        self.let_go()
        with contextlib.suppress(model.ModelError):
            file = self.model.find_file(path)
            self.held = file, self.view.open(self.spelled(path), "r+b", buffering=0)

    @rule(offset=st.integers(0, 50), data=st.binary(min_size=1, max_size=40))
    def write_held(self, offset: int, data: bytes) -> None:
        if self.held is not None:
            plain, file = self.held
            plain.data.extend(bytes(max(0, offset - len(plain.data))))
            plain.data[offset : offset + len(data)] = data
            file.seek(offset)
            file.write(data)
            file.flush()
            file.seek(0)
            assert file.read() == plain.data

    @rule()
    def let_go(self) -> None:
        if self.held is not None:
            plain, file = self.held
            self.held = None
            file.seek(0)
            assert file.read() == plain.data
            file.close()

    @rule()
    def open_again(self) -> None:
        self.let_go()
        self.view.close()
        self.view = LayerView(scratch=self.folder / "scratch")

    @rule()
    def swap_with_another(self) -> None:
        """From here on another view, with its own memory of the tree, makes the changes."""
        other = self.other or LayerView(scratch=self.folder / "scratch")
        self.view, self.other = other, self.view

    @invariant()
    def the_same(self) -> None:
        if hasattr(self, "view"):
            assert model.listing_of(self.view) == self.model.listing()

    def teardown(self) -> None:
        if not hasattr(self, "view"):
            return
        try:
            self.let_go()
            if self.other is not None:
                assert model.listing_of(self.other) == self.model.listing()
                self.other.close()
            self.view.close()
            assert list(wclayer.check_layer(self.folder / "scratch")) == []
            # Exported, and imported on the same parents: the same merged view.
            wclayer.export_layer_to_file(self.folder / "scratch", self.folder / "changes.tar")
            with open(self.folder / "changes.tar", "rb") as stream:
                wclayer.import_layer_from_tar(stream, self.folder / "copy", self.layers)
            with LayerView([self.folder / "copy"]) as copy:
                assert model.listing_of(copy) == self.model.listing()
        finally:
            shutil.rmtree(self.folder)


TestOperations = Operations.TestCase
# On Windows the same code runs as here: it is the host that is looked at.
TestOperations.settings = settings(
    max_examples=15 if sys.platform == "win32" else 60, stateful_step_count=25, deadline=None
)
