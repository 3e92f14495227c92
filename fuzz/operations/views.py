"""A sequence of operations on a view, against the plainest file system in memory: each is possible in both or in
neither, for the same reason, and both show the same; opened again, exported and imported, too."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from fuzz.operations.choices import Choices
from fuzz.operations.ground import expect, fresh, info, made_once, put_directories, put_file
from tests.support import copy_layer
from tests.view.model import Model, ModelError, listing_of
from wclayer.engines.portable.engine import create_scratch_layer, export_layer_to_tar, import_layer_from_tar
from wclayer.errors import LayerError
from wclayer.host.durability import unsynced
from wclayer.layers.directory.check import check_layer
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.model import Entry
from wclayer.view.layer_view import LayerView
from wclayer.win32.names import name_key

_NAMES = ("a", "B", "b", "cc", "Long file name.text", "ß", "Ä", "ä")
_STREAMS = ("s", "T")
_MOST = 40
_LOOK_EVERY = 5
_FILE_BYTES = 40
Place = tuple[str, ...]


def changes(data: bytes) -> None:
    """The data is a byte that says what is done at the end, then operations on a scratch over two layers."""
    layers, source = _layers()
    with fresh() as folder:
        scratch = folder / "scratch"
        copy_layer(source, scratch)
        run = _Run(scratch, _model())
        try:
            choices = Choices(data)
            at_end = choices.byte()
            for step in range(_MOST):
                if not choices:
                    break
                run.step(choices)
                if step % _LOOK_EVERY == 0:
                    run.look()
            run.end()
        finally:
            run.close()
        if not at_end & 3:
            _export(folder, scratch, layers, run.model, is_committed=not at_end & 4)


def _export(folder: Path, scratch: Path, layers: list[Path], model: Model, *, is_committed: bool) -> None:
    """Checked, exported, imported on the same parents, and committed over the scratch: the same is seen."""
    problems = list(check_layer(scratch))
    expect(not problems, "check does not like the scratch:", problems)
    raw = io.BytesIO()
    export_layer_to_tar(raw, scratch)
    tar = raw.getvalue()
    import_layer_from_tar(io.BytesIO(tar), folder / "copy", layers)
    problems = list(check_layer(folder / "copy"))
    expect(not problems, "check does not like what was exported of the scratch:", problems)
    with LayerView([folder / "copy"]) as view:
        _expect_shown(view, model, "imported, the scratch shows something else:")
    again = io.BytesIO()
    export_layer_to_tar(again, folder / "copy")
    expect(again.getvalue() == tar, "exported again, the changes are another tar")
    if is_committed:
        # As hcsshim commits: onto the scratch's own place.
        import_layer_from_tar(io.BytesIO(tar), scratch, layers)
        with LayerView([scratch]) as view:
            _expect_shown(view, model, "committed, the scratch shows something else:")
        expect(sorted(os.listdir(folder)) == ["copy", "scratch"], "a commit left something:", os.listdir(folder))


class _Run:
    """A view and the model, and the operations on both."""

    def __init__(self, scratch: Path, model: Model) -> None:
        self._scratch = scratch
        self.model = model
        self._view = LayerView(scratch=scratch)
        self._other: LayerView | None = None
        self._held: tuple[object, io.RawIOBase] | None = None
        self._steps: tuple[Callable[[Choices], None], ...] = (
            self._mkdir, self._create, self._write, self._truncate, self._link, self._unlink, self._rmdir,
            self._rename, self._rename, self._set_stream, self._hold, self._write_held, self._let_go_step,
            self._reopen, self._swap, self._remove_stream,
        )  # fmt: skip

    def step(self, choices: Choices) -> None:
        """Does the next operation."""
        choices.pick(self._steps)(choices)

    def look(self) -> None:
        """Both show the same."""
        _expect_shown(self._view, self.model, "the view shows something else:")

    def end(self) -> None:
        """The last look, through the other view as well, and opened again."""
        self._let_go()
        self.look()
        if self._other is not None:
            self._view, self._other = self._other, self._view
            self.look()
        self._reopen(Choices(b""))
        self.look()

    def close(self) -> None:
        """Ends both views."""
        with contextlib.suppress(LayerError):
            self._release()
        for view in (self._view, self._other):
            if view is not None:
                view.close()

    # The operations.

    def _both(self, what: str, of_model: Callable[[], object], of_view: Callable[[], object]) -> None:
        refused: list[int | None] = []
        for operation in (of_model, of_view):
            try:
                operation()
                refused.append(None)
            except ModelError as error:
                refused.append(error.args[0])
            except LayerError as error:
                refused.append(error.errno)
        expect(refused[0] == refused[1], f"{what}: the model says {refused[0]}, the view {refused[1]}")

    def _mkdir(self, choices: Choices) -> None:
        path = _path(choices)
        self._both(f"mkdir {path}", lambda: self.model.mkdir(path), lambda: self._view.mkdir(_spelled(path)))

    def _create(self, choices: Choices) -> None:
        path, data = _path(choices), choices.take(choices.below(_FILE_BYTES))

        def make() -> None:
            with self._view.open(_spelled(path), "xb") as file:
                file.write(data)

        self._both(f"create {path}", lambda: self.model.create(path, data), make)

    def _write(self, choices: Choices) -> None:
        path, offset = _path(choices), choices.below(50)
        data = choices.take(1 + choices.below(_FILE_BYTES)) or b"x"

        def write() -> None:
            with self._view.open(_spelled(path), "r+b") as file:
                file.seek(offset)
                file.write(data)

        self._both(f"write {path}", lambda: self.model.write(path, offset, data), write)

    def _truncate(self, choices: Choices) -> None:
        path, size = _path(choices), choices.below(50)
        self._both(
            f"truncate {path}", lambda: self.model.truncate(path, size),
            lambda: self._view.truncate(_spelled(path), size),
        )  # fmt: skip

    def _link(self, choices: Choices) -> None:
        path, of = _path(choices), _path(choices)
        # Which of two mistakes is told first is nobody's business.
        with contextlib.suppress(ModelError):
            self.model.find_file(of)
            self._both(
                f"link {path} {of}", lambda: self.model.link(path, of),
                lambda: self._view.link(_spelled(path), _spelled(of)),
            )  # fmt: skip

    def _unlink(self, choices: Choices) -> None:
        path = _path(choices)
        self._both(f"unlink {path}", lambda: self.model.unlink(path), lambda: self._view.unlink(_spelled(path)))

    def _rmdir(self, choices: Choices) -> None:
        path = _path(choices)
        self._both(f"rmdir {path}", lambda: self.model.rmdir(path), lambda: self._view.rmdir(_spelled(path)))

    def _rename(self, choices: Choices) -> None:
        source, target = _path(choices), _path(choices)
        self._both(
            f"rename {source} {target}", lambda: self.model.rename(source, target),
            lambda: self._view.rename(_spelled(source), _spelled(target)),
        )  # fmt: skip

    def _set_stream(self, choices: Choices) -> None:
        path, name, data = _path(choices), choices.pick(_STREAMS), choices.take(choices.below(_FILE_BYTES))
        self._both(
            f"stream {path}:{name}", lambda: self.model.set_stream(path, name, data),
            lambda: self._view.write_bytes(f"{_spelled(path)}:{name}", data),
        )  # fmt: skip

    def _remove_stream(self, choices: Choices) -> None:
        path, name = _path(choices), choices.pick(_STREAMS)
        with contextlib.suppress(ModelError):
            if name_key(name) in self.model.find(path).streams:
                del self.model.find(path).streams[name_key(name)]
                self._view.unlink(f"{_spelled(path)}:{name}")

    def _hold(self, choices: Choices) -> None:
        """Keeps a file open, whatever becomes of its names."""
        self._let_go()
        path = _path(choices)
        with contextlib.suppress(ModelError):
            file = self.model.find_file(path)
            self._held = file, self._view.open(_spelled(path), "r+b", buffering=0)  # type: ignore[assignment]

    def _write_held(self, choices: Choices) -> None:
        offset, data = choices.below(50), choices.take(1 + choices.below(_FILE_BYTES)) or b"y"
        if self._held is None:
            return
        plain, file = self._held
        content: bytearray = plain.data  # type: ignore[attr-defined]
        content.extend(bytes(max(0, offset - len(content))))
        content[offset : offset + len(data)] = data
        file.seek(offset)
        file.write(data)
        file.flush()
        self._compare_held()

    def _compare_held(self) -> None:
        if self._held is not None:
            plain, file = self._held
            file.seek(0)
            expect(file.read() == bytes(plain.data), "an open file has other contents")  # type: ignore[attr-defined]

    def _let_go_step(self, choices: Choices) -> None:
        self._let_go()

    def _let_go(self) -> None:
        self._compare_held()
        self._release()

    def _release(self) -> None:
        if self._held is not None:
            held, self._held = self._held, None
            held[1].close()

    def _reopen(self, choices: Choices) -> None:
        self._let_go()
        self._view.close()
        self._view = LayerView(scratch=self._scratch)

    def _swap(self, choices: Choices) -> None:
        """From here on another view, with its own memory of the tree, makes the changes."""
        other = self._other or LayerView(scratch=self._scratch)
        self._view, self._other = other, self._view


def _path(choices: Choices) -> Place:
    return tuple(choices.pick(_NAMES) for _ in range(1 + choices.below(3)))


def _spelled(path: Place) -> str:
    return "C:\\" + "\\".join(path)


def _expect_shown(view: LayerView, model: Model, problem: str) -> None:
    """A view shows what the model does; the failure names what only one of them has."""
    seen, wanted = listing_of(view), model.listing()
    if seen != wanted:
        of_view = {path: what for path, what in seen.items() if wanted.get(path) != what}
        of_model = {path: what for path, what in wanted.items() if seen.get(path) != what}
        expect(False, problem, of_view, of_model)


@lru_cache(maxsize=1)
def _layers() -> tuple[list[Path], Path]:
    """Two layers with something of everything, and a scratch over them to copy; made once."""
    base, middle, scratch = (made_once(f"view-{name}") for name in ("base", "middle", "scratch"))
    with unsynced():
        with DirectoryLayerWriter(base) as writer:
            put_directories(writer, ("Files", "Files/a", "Files/a/b", "Files/cc", "Files/ä"))
            put_file(writer, "Files/a/cc", b"one", s=b"stream")
            put_file(writer, "Files/a/b/cc", b"two")
            put_file(writer, "Files/b", b"shared")
            writer.put(Entry("Files/cc/a", info(), link_target="Files/b"))
            put_file(writer, "Files/cc/b", b"hidden")
            put_file(writer, "Files/ä/a", b"hidden, too")
        with DirectoryLayerWriter(middle, [base]) as writer:
            put_directories(writer, ("Files", "Files/cc", "Files/ä"))
            writer.put(Entry("Files/cc/b", None))
            writer.put(Entry("Files/ä", None))
            put_file(writer, "Files/ä/b", b"opaque")
        create_scratch_layer(scratch, [middle, base])
    # With no disk in the file, nothing bounds what the scratch may hold, and nobody looks into it.
    os.truncate(scratch / "sandbox.vhdx", 0)
    return [middle, base], scratch


def _model() -> Model:
    """The model of what the layers show."""
    model = Model()
    for path in (("a",), ("a", "b"), ("cc",), ("ä",)):
        model.mkdir(path)
    model.create(("a", "cc"), b"one")
    model.set_stream(("a", "cc"), "s", b"stream")
    model.create(("a", "b", "cc"), b"two")
    model.create(("b",), b"shared")
    model.link(("cc", "a"), ("b",))
    model.create(("ä", "b"), b"opaque")
    return model


def change_seeds() -> list[bytes]:
    """Operations one by one, and some that follow each other."""
    path = {"a": b"\0\0", "a/cc": b"\1\0\3", "b": b"\0\2", "cc": b"\0\3", "cc/a": b"\1\3\0", "new": b"\0\4"}
    rename = b"\7" + path["cc"] + path["new"]
    sequences = [
        b"\0" + path["new"] + b"\1" + b"\1\4\2" + b"\3abc",
        b"\2" + path["a/cc"] + b"\1\3xyz" + b"\5" + path["a/cc"] + b"\x0d",
        rename + b"\7" + path["new"] + path["cc"] + b"\6" + path["a"],
        b"\4" + path["new"] + path["b"] + b"\5" + path["b"] + b"\2" + path["new"] + b"\0\4abcde",
        b"\x09" + path["b"] + b"\0\5abcde" + b"\x0f" + path["b"] + b"\0" + b"\x0e" + b"\3" + path["b"] + b"\2",
        b"\x0a" + path["b"] + b"\5" + path["b"] + b"\x0b\1\3abcd" + b"\x0c" + rename,
    ]
    return [bytes([4 * (number % 2)]) + sequence for number, sequence in enumerate(sequences)]
