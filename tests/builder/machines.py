"""Scratches with hives, security descriptors and users, and shells over them, for tests of commands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import wclayer
from tests.layers.hive_layers import put_hives
from tests.support import put_directories, put_file
from wclayer.builder.commands.command import Action, Command, Invocation
from wclayer.builder.commands.state import PlannedState, Shell
from wclayer.engines.portable.registry import RegistryEditor
from wclayer.formats.regf.empty import empty_root
from wclayer.formats.regf.model import KeyMetadata, TreeKey, Value
from wclayer.formats.regf.values import ValueType, encode_string
from wclayer.formats.regf.writer import write_hive
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.view.layer_view import LayerView
from wclayer.win32.sddl import from_sddl, to_sddl
from wclayer.win32.security import SecurityDescriptor

PATH_VALUE = r"%SystemRoot%\system32;%SystemRoot%"


def key_below(above: TreeKey, *names: str) -> TreeKey:
    """Makes keys below another one; the last one is returned."""
    for name in names:
        found = above.subkey(name)
        if not isinstance(found, TreeKey):
            found = TreeKey(name, KeyMetadata(10, above.metadata.security))
            above.add(found)
        above = found
    return above


def _system() -> bytes:
    root = empty_root(10)
    environment = key_below(root, "ControlSet001", "Control", "Session Manager", "Environment")
    environment.set(Value("Path", ValueType.REG_EXPAND_SZ, encode_string(PATH_VALUE)))
    key_below(root, "Select").set(Value("Current", 4, b"\1\0\0\0"))
    return write_hive(root)


class Machine:
    """A workspace: a scratch whose view is closed while the registry is edited."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.time: int | None = None
        self.output = b""
        self.errors = b""
        self.planned = PlannedState("Dockerfile:7")
        self._view: LayerView | None = None

    @property
    def view(self) -> LayerView:
        if self._view is None:
            self._view = LayerView(scratch=self.scratch, exclusive=True)
        return self._view

    @contextmanager
    def registry(self) -> Iterator[RegistryEditor]:
        self.close()
        with RegistryEditor(self.scratch) as editor:
            yield editor

    def close(self) -> None:
        if self._view is not None:
            self._view.close()
            self._view = None

    def run(self, command: Command, tail: str, directory: str = "C:\\") -> int:
        """Checks and runs one invocation of a command; returns its exit code. What it prints is kept."""
        return self.act(command.parse(Invocation(command.names[0], " " + tail, "Dockerfile:7")), directory)

    def act(self, action: Action, directory: str = "C:\\") -> int:
        out, err = bytearray(), bytearray()
        self.planned.directory = directory
        environment = self.planned.environment.copy()
        action.check(self.planned)
        try:
            return action.run(Shell(self, environment, directory, stdout=out.extend, stderr=err.extend))
        finally:
            self.output, self.errors = bytes(out), bytes(err)

    def value(self, key: str, name: str) -> tuple[int, bytes] | None:
        """The type and data of a value of the machine's registry."""
        self.close()
        with wclayer.Registry(self.scratch) as registry:
            found = registry.find(key)
            values = [] if found is None else found.values()
            return next(((one.type, one.data) for one in values if one.name.upper() == name.upper()), None)

    def delta(self, stem: str) -> bytes:
        """The delta hive of the scratch."""
        return self.view.read_bytes(f"Hives/{stem}_Delta")

    def keys(self, key: str) -> list[str] | None:
        """The subkeys of a key of the machine's registry."""
        self.close()
        with wclayer.Registry(self.scratch) as registry:
            found = registry.find(key)
            return None if found is None else [below.name for below in found.subkeys()]

    def sddl(self, path: str) -> str:
        """The descriptor of an entry."""
        descriptor = self.view.security(path, follow=False)
        assert descriptor is not None
        return to_sddl(SecurityDescriptor.decode(descriptor))

    def set_sddl(self, path: str, sddl: str) -> None:
        self.view.set_security(path, from_sddl(sddl).encode(), follow=False)


@contextmanager
def machine(folder: Path, bases: Path, *users: str) -> Iterator[Machine]:
    """Yields a scratch on a base with the hives SYSTEM and SOFTWARE, `C:\\t`, and profiles of the users."""
    base = bases / "-".join(("machine", *users)) / "base"
    if not base.exists():
        base.parent.mkdir(exist_ok=True)
        with DirectoryLayerWriter(base) as writer:
            put_hives(writer, SYSTEM=_system(), SOFTWARE=write_hive(empty_root(10)), DEFAULT=write_hive(empty_root(10)))
            put_directories(writer, "Files/t", "Files/Users")
            put_file(writer, "Files/t/base.txt", b"base\r\n")
            for user in users:
                put_directories(writer, f"Files/Users/{user}")
                put_file(writer, f"Files/Users/{user}/NTUSER.DAT", write_hive(empty_root(10)))
    wclayer.create_scratch_layer(folder / "run", [base])
    made = Machine(folder / "run")
    try:
        yield made
    finally:
        made.close()
