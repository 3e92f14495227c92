"""The registry of one layer, finished or a scratch, that several processes change and read."""

from __future__ import annotations

import io
import random
from collections.abc import Hashable, Iterator
from pathlib import Path

import wclayer
from tests.proof.histories.checker import Event
from tests.proof.histories.stress import Recorder
from tests.proof.histories.tree import hidden
from tests.support import put_directories, put_file
from wclayer.formats.regf.empty import empty_root
from wclayer.formats.regf.hive import Hive
from wclayer.formats.regf.writer import write_hive
from wclayer.layers.hives import LAYER_HIVES
from wclayer.layers.tar import TarLayerReader

_KEY = "HKLM\\SOFTWARE\\Shared"
_NAMES = ("x", "y")
_HIVE = next(hive for hive in LAYER_HIVES if hive.config_name == "SOFTWARE")
_CHANGES = {"set", "delete", "write"}


def _make_base(place: Path) -> None:
    with wclayer.new_layer_writer(place) as writer:
        put_directories(writer, "Files", "Files/Windows", "Files/Windows/System32", "Files/Windows/System32/config")
        for hive in LAYER_HIVES[:2]:
            put_file(writer, hive.config, write_hive(empty_root(), file_name=hive.config_name))
        put_file(writer, _HIVE.config, write_hive(empty_root(), file_name="SOFTWARE"))


class RegistryScene:
    """Processes that set and read values of one layer's registry, read its hives and export it."""

    name = "registry"
    processes = 3
    length = 7

    @staticmethod
    def step(state: Hashable, event: Event) -> Iterator[Hashable]:
        """The state is the values by name, sorted, and the text of a file in a scratch."""
        assert isinstance(state, tuple)
        values, text = dict(state[0]), state[1]
        if event.failed == "LayerBusyError" and event.during & (_CHANGES | {"check", "get"}):
            yield state
        elif event.kind == "set" and event.result == "ok":
            name, data = event.arguments
            yield tuple(sorted((values | {name: data}).items())), text
        elif event.kind == "delete":
            (name,) = event.arguments
            if name in values and event.result == "ok":
                del values[name]
                yield tuple(sorted(values.items())), text
            elif name not in values and event.failed == "PathNotFoundError":
                yield state
        elif event.kind == "write" and event.result == "ok":
            yield state[0], event.arguments[0]
        else:
            wanted = {"get": state[0], "check": (), "read": "!PathNotFoundError" if text is None else text}
            if event.kind in wanted and event.result == wanted[event.kind]:
                yield state

    def prepare(self, place: Path, rng: random.Random) -> None:
        self.place, self.path = place, place / "layer"
        base = place.parent / "registry-base"
        if not base.exists():
            _make_base(base)
        self.kind = rng.choice(("base", "child", "scratch", "scratch"))
        if self.kind == "base":
            _make_base(self.path)
        elif self.kind == "child":
            with wclayer.new_layer_writer(self.path, [base]) as writer:
                put_directories(writer, "Files")
        else:
            wclayer.create_scratch_layer(self.path, [base])

    def start(self) -> Hashable:
        return (), None

    def part(self, event: Event) -> Hashable:
        return None

    def act(self, process: int, rng: random.Random, recorder: Recorder) -> None:
        for number in range(self.length):
            name, text = rng.choice(_NAMES), f"{process}.{number}"
            kinds = ["set", "set", "delete", "get", "get", "check", "hive", "export"]
            if self.kind == "scratch":
                kinds = ["set", "set", "delete", "get", "get", "check", "write", "read"]
            kind = rng.choice(kinds)
            with wclayer.unsynced():
                if kind == "set":
                    recorder.do(kind, (name, text), self._set, name, text)
                elif kind == "delete":
                    recorder.do(kind, (name,), self._delete, name)
                elif kind == "check":
                    recorder.take(kind, (), self._check)
                elif kind == "write":
                    recorder.do(kind, (text,), self._write, text)
                elif kind == "read":
                    recorder.take(kind, (), self._read)
                else:
                    calls = {"get": self._get, "hive": self._in_hive, "export": self._exported}
                    recorder.take("get", (), calls[kind])

    def _set(self, name: str, text: str) -> None:
        with wclayer.RegistryEditor(self.path) as editor:
            editor.set_value(_KEY, name, 3, text.encode())

    def _delete(self, name: str) -> None:
        with wclayer.RegistryEditor(self.path) as editor:
            # A key that is not there has no such value either.
            editor.delete_value(_KEY, name)

    def _get(self) -> Hashable:
        with wclayer.Registry(self.path) as registry, registry.reading():
            key = registry.find(_KEY)
            return tuple(sorted((v.name, v.data.decode()) for v in key.values())) if key is not None else ()

    def _in_hive(self) -> Hashable:
        """The values in the hive with what the layers below have, as a container would be given it."""
        with wclayer.LayerView([self.path]) as view:
            return self._values(view.read_bytes(f"/{_HIVE.base}"))

    def _exported(self) -> Hashable:
        """The values in the hive that an export has."""
        stream = io.BytesIO()
        wclayer.export_layer_to_tar(stream, self.path)
        stream.seek(0)
        wanted = _HIVE.config if self.kind == "base" else _HIVE.delta
        with TarLayerReader(stream, is_base=self.kind == "base") as reader:
            for item in reader:
                if item.entry.name == wanted:
                    return self._values(b"".join(part for data in item.streams() for part in data.chunks))
        return ()

    @staticmethod
    def _values(data: bytes) -> Hashable:
        key = Hive(data).root().subkey("Shared")
        found = () if key is None else tuple((v.name, v.data.decode()) for v in key.values() if not v.is_tombstone)
        return tuple(sorted(found))

    def _check(self) -> Hashable:
        return tuple((problem.path, problem.text) for problem in wclayer.check_layer(self.path))

    def _write(self, text: str) -> None:
        with wclayer.LayerView(scratch=self.path) as view:
            view.write_bytes("f", text.encode())

    def _read(self) -> Hashable:
        with wclayer.LayerView([self.path]) as view:
            return view.read_bytes("f").decode()

    def finish(self, recorder: Recorder) -> list[str]:
        recorder.take("get", (), self._get)
        recorder.take("check", (), self._check)
        return hidden(self.place)
