"""The life of a scratch: made, activated, mounted, unmounted, deactivated, grown, committed and removed."""

from __future__ import annotations

import io
import os
import random
import shutil
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path

import wclayer
from tests.proof.histories.checker import Event
from tests.proof.histories.places import child_tar
from tests.proof.histories.stress import Recorder
from tests.proof.histories.tree import hidden, left, make_base
from wclayer.view.fuse import mount

_LIFE_HOLDERS = {
    "create", "activate", "prepare", "unprepare", "deactivate", "expand", "commit", "remove", "write",
}  # fmt: skip


_LOOKS = {
    "read": "PathNotFoundError", "prepare": "NotReadyError", "path": "NotReadyError", "unprepare": "NotReadyError",
    "deactivate": "NotReadyError",
}  # fmt: skip
"""What is said of a scratch that is not active and has nothing in it."""


class LifeScene:
    """Processes that make, activate, mount, unmount, deactivate, grow, commit and remove a scratch at one path."""

    name = "life"
    processes = 3
    length = 6

    @staticmethod
    def step(state: Hashable, event: Event) -> Iterator[Hashable]:
        """The state is what is there (None, "foreign", "scratch", "layer"), whether it is active, whether it is
        mounted, and the text of a file in it."""
        assert isinstance(state, tuple)
        holders = _LIFE_HOLDERS | ({"path"} if event.kind == "unprepare" else set())
        if event.failed == "LayerBusyError" and event.during & holders:
            yield state
        elif state[0] == "foreign" and "activate" in event.during and event.kind in _LOOKS:
            # While it is activated, it is a scratch whose disk was not read yet.
            if event.failed in ("NotALayerError", _LOOKS[event.kind]):
                yield state
        else:
            for wanted, after in LifeScene._ways(event, *state):
                if event.result == wanted:
                    yield after

    @staticmethod
    def _ways(
        event: Event, what: str | None, active: bool, mounted: bool, text: str | None
    ) -> list[tuple[Hashable, Hashable]]:
        """The results that an event can have, with the states after them."""
        kind, state = event.kind, (what, active, mounted, text)
        layer = ("layer", False, False, event.arguments[0] if kind == "commit" else None)
        if kind == "create":
            return [("ok", ("scratch", False, False, None)) if what is None else ("!AlreadyExistsError", state)]
        if kind == "commit":
            if what == "layer":
                return [("!AlreadyExistsError", state)]
            return [("!LayerBusyError", state) if mounted else ("ok", layer)]
        if what is None:
            return [("!PathNotFoundError", state)]
        if kind == "remove":
            return [("!LayerBusyError", state) if mounted else ("ok", (None, False, False, None))]
        if kind == "read":
            if what == "foreign":
                return [("!NotALayerError", state)]
            return [("!PathNotFoundError" if text is None else text, state)]
        if what == "layer":
            found = {"expand": "!PathNotFoundError", "write": "!InvalidParameterError", "path": "at"}
            return [(found.get(kind, "ok"), state)]
        if kind == "expand":
            return [("!LayerBusyError" if mounted else "ok", state)]
        if kind == "activate":
            return [("!LayerBusyError", state) if active else ("ok", ("scratch", True, False, text))]
        if what == "foreign":
            return [("!NotALayerError", state)]
        if kind == "write":
            written = (what, active, mounted, event.arguments[0])
            return [("!LayerBusyError", state) if mounted else ("ok", written)]
        if kind == "prepare":
            if mounted:
                return [("!AlreadyExistsError", state)]
            return [("ok", (what, True, True, text)) if active else ("!NotReadyError", state)]
        if kind == "path":
            return [("at" if mounted else "!NotReadyError", state)]
        if kind == "unprepare":
            return [("ok", (what, active, False, text)) if mounted else ("!NotReadyError", state)]
        if kind == "deactivate":
            if mounted:
                return [("!LayerBusyError", state)]
            return [("ok", (what, False, False, text)) if active else ("!NotReadyError", state)]
        raise AssertionError(kind)

    def prepare(self, place: Path, rng: random.Random) -> None:
        self.place, self.path = place, place / "scratch"
        self.base = place.parent / "base"
        if not self.base.exists():
            make_base(self.base)
        self._start: tuple[str | None, bool, bool, str | None] = (None, False, False, None)
        first = rng.choice(("nothing", "scratch", "scratch", "foreign", "active", "active", "mounted"))
        if first == "nothing":
            return
        wclayer.create_scratch_layer(self.path, [self.base])
        self._start = ("scratch", False, False, None)
        if first == "foreign":
            for name in set(os.listdir(self.path)) - {"sandbox.vhdx", "layerchain.json"}:
                target = self.path / name
                shutil.rmtree(target) if target.is_dir() else target.unlink()
            self._start = ("foreign", False, False, None)
        elif first != "scratch":
            wclayer.activate_layer(self.path)
            if first == "mounted":
                wclayer.prepare_layer(self.path)
            self._start = ("scratch", True, first == "mounted", None)

    def start(self) -> Hashable:
        return self._start

    def part(self, event: Event) -> Hashable:
        return None

    def act(self, process: int, rng: random.Random, recorder: Recorder) -> None:
        for number in range(self.length):
            kind = rng.choice(
                ("create", "activate", "activate", "prepare", "path", "unprepare", "unprepare", "deactivate",
                 "deactivate", "expand", "commit", "remove", "write", "write", "read", "read")
            )  # fmt: skip
            with wclayer.unsynced():
                self._take(kind, f"{process}.{number}", rng, recorder)

    def _take(self, kind: str, text: str, rng: random.Random, recorder: Recorder) -> None:
        path = self.path
        calls: dict[str, Callable[[], object]] = {
            "create": lambda: wclayer.create_scratch_layer(path, [self.base]),
            "activate": lambda: wclayer.activate_layer(path),
            "prepare": lambda: wclayer.prepare_layer(path),
            "unprepare": lambda: wclayer.unprepare_layer(path),
            "deactivate": lambda: wclayer.deactivate_layer(path),
            "expand": lambda: wclayer.expand_scratch_size(path, (21 + rng.randrange(4)) << 30),
            "remove": lambda: wclayer.destroy_layer(path),
        }
        if kind in calls:
            recorder.do(kind, (), calls[kind])
        elif kind == "path":
            recorder.take(kind, (), lambda: "at" if wclayer.get_layer_mount_path(path) else "nowhere")
        elif kind == "commit":
            tar = io.BytesIO(child_tar(text))
            recorder.do(kind, (text,), wclayer.import_layer_from_tar, tar, path, [self.base])
        elif kind == "write":

            def write() -> Hashable:
                with wclayer.LayerView(scratch=path) as view:
                    view.write_bytes("f", text.encode())
                return "ok"

            recorder.take(kind, (text,), write)
        else:

            def read() -> Hashable:
                with wclayer.LayerView([path, self.base]) as view:
                    return view.read_bytes("f").decode()

            recorder.take(kind, (), read)

    def finish(self, recorder: Recorder) -> list[str]:
        self._take("path", "", random.Random(0), recorder)
        self._take("read", "", random.Random(0), recorder)
        found = []
        at = self.path / "mount"
        if os.path.ismount(at):
            recorder.do("unprepare", (), wclayer.unprepare_layer, self.path)
        if os.path.ismount(at):
            mount.unmount(at)
            found.append("left: a mount that is not known")
        if (self.path / "layer.db").exists():
            found += left(self.path)
        self._take("remove", "", random.Random(0), recorder)
        return found + hidden(self.place)
