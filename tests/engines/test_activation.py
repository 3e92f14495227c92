"""The order of calls around a scratch in use, its errors, and its disk."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

import wclayer
from tests.support import info, verify_large_volume, volume_of, witness
from wclayer import sample
from wclayer.errors import (
    ERROR_INVALID_PARAMETER,
    ERROR_NOT_READY,
    ERROR_SHARING_VIOLATION,
    AlreadyExistsError,
    InvalidParameterError,
    InvalidStateError,
    LayerBusyError,
    NotReadyError,
    NotSupportedError,
    PathNotFoundError,
)
from wclayer.layers.directory.scratch import ScratchDirectory
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.layers.volume.disk_file import DiskFile
from wclayer.model import DataStream, Entry, LayerWriter
from wclayer.view.fuse import session
from wclayer.view.layer_view import LayerView
from wclayer.win32.inherit import inherited, volume_root
from wclayer.win32.reparse import LinkTarget


def _directories(writer: LayerWriter, *names: str) -> None:
    for name in names:
        writer.put(Entry(name, info(0x10), security=inherited(volume_root().encode(), True)))


def _file(writer: LayerWriter, name: str, data: bytes, **streams: bytes) -> None:
    writer.put(
        Entry(name, info(), len(data), security=inherited(volume_root().encode(), False)),
        [DataStream("", len(data), (data,)), *(DataStream(n, len(d), (d,)) for n, d in streams.items())],
    )


@pytest.fixture
def layers(tmp_path: Path) -> list[Path]:
    with DirectoryLayerWriter(tmp_path / "base") as writer:
        _directories(writer, "Files", "Files/Windows", "Files/Windows/Temp", "Files/Users")
        _file(writer, "Files/Windows/a", b"a")
        _file(writer, "Files/Windows/b", b"b" * 5000, s=b"stream")
        _file(writer, "Files/Windows/Temp/x", b"x")
        _file(writer, "Files/Users/u", b"u")
    with DirectoryLayerWriter(tmp_path / "app", [tmp_path / "base"]) as writer:
        _directories(writer, "Files", "Files/app")
        _file(writer, "Files/app/program", b"program")
    return [tmp_path / "app", tmp_path / "base"]


@pytest.fixture
def scratch(layers: list[Path], tmp_path: Path) -> Path:
    wclayer.create_scratch_layer(tmp_path / "run", layers)
    return tmp_path / "run"


def _change(scratch: Path) -> dict[str, object]:
    """A change of every kind; gives what is to be seen after it."""
    with LayerView(scratch=scratch) as view:
        view.write_bytes(r"C:\new\..\new file", b"new" * 1000)
        view.rename("Windows/a", "moved")
        view.link("second", "moved")
        view.write_bytes("Windows/b:t", b"another stream")
        view.unlink("app/program")
        view.rmtree("Windows/Temp")
        view.mkdir("Windows/Temp")
        view.rmtree("Users")
        view.write_bytes("Users", b"a file")
        view.symlink("link", r"C:\Windows")
        view.mount_point("junction", r"C:\Windows")
        view.set_attributes("Windows", 0x2)
    return _seen(scratch)


def _seen(scratch: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    with LayerView(scratch=scratch) as view:
        pending = ["C:\\"]
        while pending:
            for status in view.scan(pending.pop()):
                path = status.path
                if status.is_directory and not status.is_link:
                    pending.append(path)
                streams = {name: view.read_bytes(f"{path}:{name}") for name, _ in view.streams(path, follow=False)}
                data = None if status.is_directory or status.is_link else view.read_bytes(path)
                found[path] = (
                    status.info.pack(), status.links, status.reparse, streams, data, view.security(path, follow=False)
                )  # fmt: skip
    return found


def test_a_scratch_is_used_in_order(scratch: Path, layers: list[Path]) -> None:
    witness("fusermount3")

    def refused(kind: type[BaseException], code: int, call: Callable[[], object]) -> None:
        with pytest.raises(kind) as caught:
            call()
        assert isinstance(caught.value, wclayer.LayerError)
        assert caught.value.code == code

    refused(NotReadyError, ERROR_NOT_READY, lambda: wclayer.prepare_layer(scratch, layers))
    refused(NotReadyError, ERROR_NOT_READY, lambda: wclayer.deactivate_layer(scratch))
    wclayer.activate_layer(scratch)
    refused(LayerBusyError, ERROR_SHARING_VIOLATION, lambda: wclayer.activate_layer(scratch))
    refused(NotReadyError, ERROR_NOT_READY, lambda: wclayer.get_layer_mount_path(scratch))
    refused(NotReadyError, ERROR_NOT_READY, lambda: wclayer.unprepare_layer(scratch))
    for wrong in (layers[::-1], [layers[1]], [layers[0], layers[0]]):
        refused(InvalidParameterError, ERROR_INVALID_PARAMETER, partial(wclayer.prepare_layer, scratch, wrong))
    wclayer.prepare_layer(scratch, layers)
    place = wclayer.get_layer_mount_path(scratch)
    assert sorted(os.listdir(place)) == ["Users", "Windows", "app"]
    refused(AlreadyExistsError, 183, lambda: wclayer.prepare_layer(scratch, layers))
    for call in (wclayer.activate_layer, wclayer.deactivate_layer, wclayer.destroy_layer):
        refused(LayerBusyError, ERROR_SHARING_VIOLATION, partial(call, scratch))
    with open(os.path.join(place, "Windows", "a"), "rb"):
        refused(LayerBusyError, ERROR_SHARING_VIOLATION, lambda: wclayer.unprepare_layer(scratch))
    wclayer.unprepare_layer(scratch)
    wclayer.deactivate_layer(scratch)
    refused(NotReadyError, ERROR_NOT_READY, lambda: wclayer.unprepare_layer(scratch))
    wclayer.destroy_layer(scratch)


def test_read_only_layers_need_none_of_it(layers: list[Path], tmp_path: Path) -> None:
    for layer in layers:
        wclayer.activate_layer(layer)
        wclayer.prepare_layer(layer)
        assert wclayer.get_layer_mount_path(layer) == str(layer)
        wclayer.unprepare_layer(layer)
        wclayer.deactivate_layer(layer)
    for call in (wclayer.activate_layer, wclayer.prepare_layer, wclayer.get_layer_mount_path, wclayer.unprepare_layer,
                 wclayer.deactivate_layer):  # fmt: skip
        with pytest.raises(PathNotFoundError):
            call(tmp_path / "unknown")


def test_where_fuse_is_missing_the_message_says_what_to_install(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_MOUNTER", "fusermount3.none")
    wclayer.activate_layer(scratch)
    with pytest.raises(NotSupportedError, match="install the package fuse3"):
        wclayer.prepare_layer(scratch)
    with LayerView(scratch=scratch) as view:
        view.mkdir("works all the same")
    wclayer.deactivate_layer(scratch)


def test_the_disk_has_what_the_scratch_has(scratch: Path, layers: list[Path], tmp_path: Path) -> None:
    wclayer.activate_layer(scratch)
    seen = _change(scratch)
    before = (scratch / "sandbox.vhdx").stat().st_ino
    wclayer.deactivate_layer(scratch)
    assert (scratch / "sandbox.vhdx").stat().st_ino != before
    assert list(wclayer.check_disk(scratch / "sandbox.vhdx")) == []
    # Nothing but the disk and the chain, as they come from a Windows host.
    (tmp_path / "foreign").mkdir()
    for name in ("sandbox.vhdx", "layerchain.json"):
        shutil.copy(scratch / name, tmp_path / "foreign" / name)
    wclayer.activate_layer(tmp_path / "foreign")
    assert _seen(tmp_path / "foreign") == seen
    wclayer.deactivate_layer(tmp_path / "foreign")
    assert list(wclayer.check_layer(tmp_path / "foreign")) == []
    # As an import of the disk sees it, too.
    wclayer.import_layer_from_disk(scratch / "sandbox.vhdx", tmp_path / "imported", layers)
    with LayerView([tmp_path / "imported"]) as view:
        assert view.listdir("Windows/Temp") == []
        assert view.read_bytes("second") == b"a"


def test_programs_read_the_disk(scratch: Path, tmp_path: Path) -> None:
    wclayer.activate_layer(scratch)
    _change(scratch)
    wclayer.deactivate_layer(scratch)
    volume = volume_of(scratch / "sandbox.vhdx", tmp_path)
    verify_large_volume(volume)
    listed = subprocess.run([witness("fls"), "-r", "-p", str(volume)], capture_output=True, text=True, check=True)
    for name in ("new file", "moved", "second", "link", "junction", "Windows/b:t", "Windows/Temp"):
        assert f"\t{name}\n" in listed.stdout, name
    shown = subprocess.run([witness("ntfscat"), str(volume), "moved"], capture_output=True, check=True)
    assert shown.stdout == b"a"


def test_a_disk_that_somebody_else_changed_is_read_in(scratch: Path, layers: list[Path], tmp_path: Path) -> None:
    wclayer.activate_layer(scratch)
    wclayer.deactivate_layer(scratch)
    # Somebody else uses a copy of it, and puts its disk here.
    wclayer.create_scratch_layer(tmp_path / "other", layers)
    wclayer.activate_layer(tmp_path / "other")
    seen = _change(tmp_path / "other")
    wclayer.deactivate_layer(tmp_path / "other")
    shutil.copy(tmp_path / "other" / "sandbox.vhdx", scratch / "sandbox.vhdx")
    wclayer.activate_layer(scratch)
    assert _seen(scratch) == seen
    with LayerView(scratch=scratch) as view:
        view.mkdir("only here")
    wclayer.deactivate_layer(scratch, write_sandbox=False)
    # Now both sides have changes of their own.
    shutil.copy(tmp_path / "other" / "sandbox.vhdx", scratch / "sandbox.vhdx")
    with DiskFile(scratch / "sandbox.vhdx", writable=True) as disk:
        disk.disk.write(100 << 20, b"\0" * 512)
    with pytest.raises(InvalidStateError, match="both"):
        wclayer.activate_layer(scratch)
    with LayerView(scratch=scratch) as view:
        assert view.exists("only here")
    wclayer.activate_layer(scratch, prefer="directory")
    wclayer.deactivate_layer(scratch)
    wclayer.activate_layer(scratch)
    with LayerView(scratch=scratch) as view:
        assert view.exists("only here")
    wclayer.deactivate_layer(scratch)
    shutil.copy(tmp_path / "other" / "sandbox.vhdx", scratch / "sandbox.vhdx")
    wclayer.activate_layer(scratch)
    assert _seen(scratch) == seen


def test_a_damaged_disk_changes_nothing(scratch: Path) -> None:
    wclayer.activate_layer(scratch)
    seen = _change(scratch)
    wclayer.deactivate_layer(scratch)
    with DiskFile(scratch / "sandbox.vhdx", writable=True) as disk:
        disk.disk.write(16 << 20, bytes(1 << 20))
    with pytest.raises(wclayer.InvalidDataError):
        wclayer.activate_layer(scratch)
    assert _seen(scratch) == seen


def test_a_setting_leaves_the_disk_alone(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (scratch / "sandbox.vhdx").read_bytes()
    monkeypatch.setenv("WCLAYER_SANDBOX_DISK", "0")
    wclayer.activate_layer(scratch)
    seen = _change(scratch)
    wclayer.deactivate_layer(scratch)
    assert (scratch / "sandbox.vhdx").read_bytes() == before
    wclayer.activate_layer(scratch)
    assert _seen(scratch) == seen


def test_a_grown_scratch_stays_grown(scratch: Path) -> None:
    wclayer.activate_layer(scratch)
    wclayer.deactivate_layer(scratch)
    with LayerView(scratch=scratch) as view:
        view.mkdir("before")
        with pytest.raises(LayerBusyError):
            wclayer.expand_scratch_size(scratch, 30 << 30)
    # Growing changes the disk, but not what it holds: nobody has to decide which counts.
    wclayer.expand_scratch_size(scratch, 30 << 30)
    wclayer.activate_layer(scratch)
    seen = _change(scratch)
    assert "Files/before" in seen
    wclayer.deactivate_layer(scratch)
    assert wclayer.disk_info(scratch / "sandbox.vhdx").size == 30 << 30
    wclayer.activate_layer(scratch)
    assert _seen(scratch) == seen
    with LayerView(scratch=scratch) as view:
        assert (view.capacity or 0) > 27 << 30


def test_the_registry_of_a_scratch(tmp_path: Path) -> None:
    with (tmp_path / "base.tar").open("wb") as raw, wclayer.TarLayerWriter(raw) as writer:
        sample.write_base(writer)
    with (tmp_path / "base.tar").open("rb") as stream:
        wclayer.import_layer_from_tar(stream, tmp_path / "base")
    scratch = tmp_path / "run"
    wclayer.create_scratch_layer(scratch, [tmp_path / "base"])
    wclayer.activate_layer(scratch)
    for number in (1, 2):
        with wclayer.RegistryEditor(scratch) as editor:
            editor.set_value(r"HKLM\SOFTWARE\New", "Value", 4, number.to_bytes(4, "little"))
        with wclayer.Registry(scratch) as registry:
            (value,) = registry.key(r"HKLM\SOFTWARE\New").values()
            assert value.data == number.to_bytes(4, "little")
    with wclayer.new_layer_reader(scratch) as reader:
        names = [item.entry.name for item in reader]
    assert names == ["Hives", "Hives/Software_Delta"]
    with LayerView(scratch=scratch), pytest.raises(LayerBusyError):
        wclayer.RegistryEditor(scratch)
    # The disk has the delta, too.
    wclayer.deactivate_layer(scratch)
    shutil.rmtree(scratch / "Data")
    os.unlink(scratch / "layer.db")
    wclayer.activate_layer(scratch)
    with wclayer.Registry(scratch) as registry:
        assert registry.find(r"HKLM\SOFTWARE\New") is not None


def test_what_a_crash_leaves_is_an_activation_of_another_start(scratch: Path) -> None:
    wclayer.activate_layer(scratch)
    with ScratchDirectory(scratch) as opened, opened.transaction():
        opened.set_record("active", "another start of the machine")
    with pytest.raises(NotReadyError):
        wclayer.prepare_layer(scratch)
    wclayer.activate_layer(scratch)
    wclayer.deactivate_layer(scratch)


KILLED = """
import os, sys
from wclayer.layers.directory import scratch
from wclayer.host.root import HostRoot
import wclayer
from wclayer.view.layer_view import LayerView

left = int(sys.argv[2])
def counted(kind, name):
    original = getattr(kind, name)
    def step(self, *arguments, **options):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), 9)
        return original(self, *arguments, **options)
    setattr(kind, name, step)
counted(scratch.ScratchDirectory, "_execute")
for name in ("create", "link", "copy", "remove", "open"):
    counted(HostRoot, name)

view = LayerView(scratch=sys.argv[1])
with view.open("synced", "wb") as file:
    file.write(b"synced")
    file.flush()
    view.sync()
print("synced", flush=True)
view.rename("Windows", "Renamed")
print("renamed", flush=True)
view.rmtree("Renamed/Temp")
with view.open("Renamed/b", "r+b") as file:
    file.write(b"B")
view.write_bytes("Renamed/a:s", b"stream")
view.link("again", "Renamed/b")
view.unlink("Renamed/b")
print("done", flush=True)
view.close()
"""


def _run_killed(*arguments: str) -> tuple[int, list[str]]:
    """Runs `KILLED` in a process of its own; gives its exit status, and what it said."""
    if sys.platform == "win32":
        command = [sys.executable, "-c", KILLED, *arguments]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        return done.returncode, done.stdout.split()
    # As good as an interpreter of its own, and ten times as fast.
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.dup2(writer, 1)
            sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
            sys.argv[1:] = arguments
            exec(KILLED, {})
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with open(reader, encoding="utf-8") as said:
        words = said.read().split()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), words


def test_killed_at_any_step_the_scratch_opens(layers: list[Path], tmp_path: Path) -> None:
    outcomes = set()
    step = 0
    while True:
        place = tmp_path / f"run{step}"
        wclayer.create_scratch_layer(place, layers)
        status, said = _run_killed(str(place), str(step))
        # Killed, or at its end: of Windows, the status of a process that is killed is the signal's number.
        assert status in (0, -9, 9)
        with LayerView(scratch=place) as view:
            names = view.listdir("C:\\")
            # A directory is under its old name or the new one, whole.
            where = "Renamed" if "Renamed" in names else "Windows"
            assert ("Windows" in names) != ("Renamed" in names)
            assert view.read_bytes(f"{where}/a") == b"a"
            if "synced" in said:
                assert view.read_bytes("synced") == b"synced"
            if "renamed" in said:
                assert where == "Renamed"
            if view.exists(f"{where}/b"):
                assert view.read_bytes(f"{where}/b") in (b"b" * 5000, b"B" + b"b" * 4999)
            else:
                assert view.read_bytes("again") == b"B" + b"b" * 4999
        assert list(wclayer.check_layer(place)) == []
        outcomes.add(tuple(said))
        wclayer.destroy_layer(place)
        if "done" in said and status == 0:
            break
        # A start of Python takes a second in the Windows of the tests.
        step += 23 if sys.platform == "win32" else 7
    assert len(outcomes) >= 3
    assert list(wclayer.check_layer(layers[1])) == []


def test_ten_processes_change_one_scratch(scratch: Path) -> None:
    program = (
        "import sys, wclayer\n"
        "name = sys.argv[2]\n"
        "with wclayer.LayerView(scratch=sys.argv[1]) as view:\n"
        "    for step in range(20):\n"
        "        view.write_bytes(f'p{name}-{step}', name.encode() * 100)\n"
        "        view.rename(f'p{name}-{step}', f'Windows/p{name}-{step}')\n"
        "        view.makedirs(f'shared/{step}')\n"
        "        view.write_bytes(f'shared/{step}/{name}', b'')\n"
        "        with view.open('Windows/b', 'r+b') as file:\n"
        "            file.seek(int(name) * 100 + step)\n"
        "            file.write(name.encode())\n"
    )
    workers = [subprocess.Popen([sys.executable, "-c", program, str(scratch), str(n)]) for n in range(10)]
    assert [worker.wait() for worker in workers] == [0] * 10
    with LayerView(scratch=scratch) as view:
        for name in range(10):
            for step in range(20):
                assert view.read_bytes(f"Windows/p{name}-{step}") == str(name).encode() * 100
                assert view.exists(f"shared/{step}/{name}")
        # A file of a parent that all of them wrote to.
        expected = bytearray(b"b" * 5000)
        for name in range(10):
            expected[name * 100 : name * 100 + 20] = str(name).encode() * 20
        assert view.read_bytes("Windows/b") == expected
    assert list(wclayer.check_layer(scratch)) == []


def test_open_files_follow_what_other_processes_do(scratch: Path) -> None:
    with LayerView(scratch=scratch) as one, LayerView(scratch=scratch) as other:
        with one.open("Windows/b", "r+b", buffering=0) as file, one.open("Windows/a", "r+b", buffering=0) as gone:
            number = one.stat("Windows/b").file_id
            with other.open("Windows/b", "r+b", buffering=0) as theirs:
                theirs.write(b"THEIRS")
                theirs.truncate(10)
            other.rename("Windows/b", "moved")
            other.unlink("Windows/a")
            file.seek(8)
            file.write(b"OURS")
            file.seek(0)
            assert file.read() == b"THEIRSbbOURS"
            gone.write(b"to nowhere")
            gone.seek(0)
            assert gone.read() == b"to nowhere"
        assert other.read_bytes("moved") == b"THEIRSbbOURS"
        assert one.stat("moved").file_id == other.stat("moved").file_id == number
        assert not other.exists("Windows/a")
    assert list(wclayer.check_layer(scratch)) == []


def test_hard_links_and_reparse_points_come_back_from_the_disk(scratch: Path) -> None:
    wclayer.activate_layer(scratch)
    with LayerView(scratch=scratch) as view:
        view.link("again", "Windows/b")
        view.set_reparse("app/program", LinkTarget.from_path("x", is_mount_point=False).encode())
    wclayer.deactivate_layer(scratch)
    shutil.rmtree(scratch / "Data")
    os.unlink(scratch / "layer.db")
    wclayer.activate_layer(scratch)
    with LayerView(scratch=scratch) as view:
        assert view.stat("again").links == 2
        assert view.read_bytes("again:s") == b"stream"
        assert view.read_link("app/program").print_name == "x"
