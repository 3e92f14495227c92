"""Layer directories that somebody has tampered with, and everything that one can do with one.

`make_layers` builds small layers; tests change their databases and files; `use` runs every verb over the result and
gives what ended in anything but the error family. Nothing here is foreign data.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import signal
import sqlite3
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import click

from tests.support import copy_layer, directory, info, put_directories, put_file
from wclayer.cli.verbs import cli
from wclayer.engines.portable.scratch import create_scratch_layer
from wclayer.errors import LayerError
from wclayer.host.durability import unsynced
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.model import DataStream, Entry
from wclayer.view.layer_view import LayerView
from wclayer.win32.ea import ExtendedAttribute, encode_eas
from wclayer.win32.inherit import inherit, volume_root
from wclayer.win32.reparse import LinkTarget

ENDLESS_SECONDS = 30
"""Longer than any verb needs for these small layers, even on a busy machine."""
_UNTOUCHED = b"what lies outside stays as it is"


class Layers(NamedTuple):
    """A base layer, a child of it, and a scratch over both, each with something of everything."""

    base: Path
    child: Path
    scratch: Path


def make_layers(folder: Path) -> Layers:
    """Builds the layers; they are a few files each."""
    base, child, scratch = folder / "base", folder / "child", folder / "scratch"
    security = volume_root().encode()
    with DirectoryLayerWriter(base) as writer:
        writer.put(directory("Files", security=security))
        put_directories(writer, "Files/dir", "Files/dir/deep", "Files/Größe")
        put_file(writer, "Files/a.txt", b"the contents of a", stream=b"of a stream")
        put_file(writer, "Files/dir/b.bin", bytes(range(256)) * 8)
        put_file(writer, "Files/dir/deep/c", b"c")
        put_file(writer, "Files/dir/odd\udc80name", b"odd")
        put_file(writer, "Files/empty")
        writer.put(Entry("Files/link", info(), link_target="Files/a.txt"))
        writer.put(Entry("FILES/DIR/spelled", info(), 1), [DataStream("", 1, (b"s",))])
        eas = encode_eas([ExtendedAttribute(b"NAME", b"value")])
        kept = inherit(volume_root(), is_directory=False).encode()
        writer.put(Entry("Files/ea", info(), 2, kept, eas), [DataStream("", 2, (b"ea",))])
        target = LinkTarget.from_path(r"\??\C:\dir", is_mount_point=True)
        writer.put(Entry("Files/junction", info(0x410), reparse=target.encode()))
    with DirectoryLayerWriter(child, [base]) as writer:
        writer.put(directory("Files", security=security))
        put_directories(writer, "Files/dir")
        writer.put(Entry("Files/dir/deep", None))
        put_file(writer, "Files/dir/b.bin", b"another b")
        put_file(writer, "Files/new", b"new", more=b"stream of new")
        writer.put(Entry("Files/from-parent", info(), link_target="Files/a.txt"))
    create_scratch_layer(scratch, [child, base])
    with LayerView(scratch=scratch) as view:
        view.write_bytes("Files/dir/b.bin", b"changed in the scratch")
        view.write_bytes("Files/own", b"of the scratch alone")
        view.link("Files/own-too", "Files/own")
        view.write_bytes("Files/own:stream", b"s" * 100)
        view.unlink("Files/empty")
        view.mkdir("Files/made")
    # Nobody looks into the disk here, and tests copy the layer again and again.
    os.truncate(scratch / "sandbox.vhdx", 0)
    return Layers(base, child, scratch)


def copy_of(layer: Path, place: Path) -> Path:
    """A copy of a layer, to tamper with."""
    return copy_layer(layer, place)


def change(layer: Path, *statements: str | tuple[str, Sequence[object]]) -> None:
    """Runs SQL on a layer's database as somebody would who is up to no good."""
    connection = sqlite3.connect(layer / "layer.db", isolation_level=None)
    try:
        # A file can hold what the schema's checks refuse.
        connection.execute("PRAGMA ignore_check_constraints = ON")
        for statement in statements:
            sql, arguments = (statement, ()) if isinstance(statement, str) else statement
            connection.execute(sql, arguments)
    finally:
        connection.close()


def damage(layer: Path, chance: random.Random) -> None:
    """Changes 1 to 20 bytes of a database anywhere behind its header, which says that it is one."""
    place = layer / "layer.db"
    data = bytearray(place.read_bytes())
    for _ in range(chance.randint(1, 20)):
        data[chance.randrange(100, len(data))] = chance.randrange(256)
    place.write_bytes(data)


class Canary:
    """A folder outside of every layer, with a file that nothing may read, write, link or remove."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.file = folder / "secret.txt"
        self.file.write_bytes(_UNTOUCHED)
        self._status = self.file.stat()

    def assert_untouched(self) -> None:
        assert [path.name for path in self.folder.iterdir()] == [self.file.name]
        status = self.file.stat()
        assert self.file.read_bytes() == _UNTOUCHED
        assert (status.st_ino, status.st_nlink, status.st_mode) == (
            self._status.st_ino, 1, self._status.st_mode,
        )  # fmt: skip
        assert status.st_mtime_ns == self._status.st_mtime_ns

    def assert_unread(self, *places: Path) -> None:
        """Its contents are in none of these files and folders."""
        for place in places:
            for path in [place, *place.rglob("*")] if place.is_dir() else [place]:
                if path.is_file() and not path.is_symlink():
                    assert _UNTOUCHED not in path.read_bytes(), path


def reading_verbs(layer: Path, other: Path, out: Path) -> Iterator[list[str]]:
    """Commands that only read `layer`; what they make goes to `out`."""
    for verb in ("check", "ls", "tree", "info"):
        yield [verb, str(layer)]
    yield ["ls", "-m", str(layer), "C:\\dir"]
    yield ["tree", "-m", str(layer)]
    yield ["stat", str(layer), "Files/a.txt"]
    yield ["stat", "-m", str(layer), "C:\\dir\\b.bin"]
    yield ["cat", str(layer), "Files/dir/b.bin"]
    yield ["acl", "get", str(layer), "C:\\ea"]
    yield ["diff", str(layer), str(other)]
    yield ["export", "-o", str(out / "layer.tar"), str(layer)]
    yield ["export", "--transport", str(out / "transport"), str(layer)]
    yield ["cp", "-r", f"{layer}:C:\\dir", str(out / "copied")]
    yield ["cp", f"{layer}:C:\\a.txt", str(out / "a.txt")]
    yield ["reg", "query", str(layer), "HKLM\\SOFTWARE"]
    yield ["create", "-l", str(layer), str(out / "made")]
    yield ["convert", "--to", "vhdx", "-o", str(out / "disk.vhdx"), str(layer)]


def looking_verbs(layer: Path) -> Iterator[list[str]]:
    """The few of them by which nearly everything of a layer is read."""
    yield ["ls", str(layer), "Files/dir"]
    yield ["tree", "-m", str(layer)]
    yield ["export", "-o", str(layer.parent / "looked.tar"), str(layer)]


def changing_verbs(layer: Path) -> Iterator[list[str]]:
    """Commands that change a scratch."""
    yield ["mkdir", str(layer), "C:\\dir\\new-directory"]
    yield ["attrib", str(layer), "C:\\a.txt", "+H"]
    yield ["cp", __file__, f"{layer}:C:\\dir\\b.bin"]
    yield ["cp", __file__, f"{layer}:C:\\own"]
    yield ["mv", str(layer), "C:\\own", "C:\\dir\\moved"]
    yield ["rm", "-r", str(layer), "C:\\dir"]
    yield ["rm", "-r", str(layer), "C:\\a.txt"]
    yield ["reg", "set", str(layer), "HKLM\\SOFTWARE\\Key", "Value", "text"]


def use(commands: Iterator[list[str]]) -> list[str]:
    """Runs commands; gives what is wrong with how they ended: a traceback, or no end at all."""
    with unsynced():
        return [problem for command in commands if (problem := _run(command))]


class Endless(BaseException):
    """A command does not end."""


@contextlib.contextmanager
def _ended() -> Iterator[None]:
    """Ends with `Endless` what takes too long, on hosts with alarms; elsewhere the whole file of tests has a limit."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Endless

    if not hasattr(signal, "SIGALRM"):
        yield
        return
    old = signal.signal(signal.SIGALRM, stop)
    signal.alarm(ENDLESS_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)


def _run(command: list[str]) -> str | None:
    output = io.TextIOWrapper(io.BytesIO(), "utf-8", "surrogateescape")
    try:
        with _ended(), contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            cli.main(args=command, prog_name="wclayer", standalone_mode=False)
    except (LayerError, click.ClickException, click.exceptions.Exit, SystemExit):
        return None
    except Endless:
        return f"{command[0]} does not end: {' '.join(command)}"
    except Exception as error:  # noqa: BLE001 - whatever is not of the family is what is looked for
        frames = reversed(traceback.extract_tb(error.__traceback__))
        places = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
        return f"{command[0]} ends in {type(error).__name__}: {error} at {places}"
    return None
