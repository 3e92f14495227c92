"""A worker process copies contents into a disk: the disk is the same as without it, and what is wrong is told."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import resource
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import wclayer
from tests.support import directory, info, put_file
from wclayer.errors import CorruptLayerError, InvalidDataError, LayerError, OperationCancelledError
from wclayer.formats.disk import UnbufferedFile
from wclayer.formats.vhdx.create import create_vhdx
from wclayer.formats.vhdx.errors import VhdxError
from wclayer.formats.vhdx.headers import ParentLocator
from wclayer.layers.directory.database import EntryRow
from wclayer.layers.directory.layer import LayerDirectory
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.layers.progress import Progress
from wclayer.layers.volume import content_copier, copy_worker
from wclayer.layers.volume.content_copier import ContentCopier
from wclayer.layers.volume.reader import VolumeLayerReader
from wclayer.model import Entry

MIB = 1 << 20
LARGE = random.Random(1).randbytes(5 * MIB + 100)
ZEROS = 24 * MIB


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    chance = random.Random(2)
    with DirectoryLayerWriter(tmp_path / "layer") as writer:
        writer.put(directory("Files"))
        for number in range(60):
            writer.put(directory(f"Files/d{number}"))
            size = chance.choice([0, 1, 640, 641, 4096, 5000, 70_000, 140_000, MIB])
            put_file(writer, f"Files/d{number}/f", chance.randbytes(size))
        put_file(writer, "Files/large", LARGE)
        put_file(writer, "Files/named", b"main" * 2000, note=b"alternate contents" * 100)
        put_file(writer, "Files/zeros", bytes(2 * MIB))
        put_file(writer, "Files/small", b"small contents" * 1000)
        writer.put(Entry("Files/link", info(), link_target="Files/large"))
    return tmp_path / "layer"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[subprocess.Popen[bytes]]]:
    """The worker processes, which copy from the first file on; at the end all of them have ended."""
    found: list[subprocess.Popen[bytes]] = []
    start = ContentCopier._start

    def watched(self: ContentCopier) -> None:
        start(self)
        assert self._process is not None
        found.append(self._process)

    monkeypatch.setattr(content_copier, "_START_AFTER", 0)
    monkeypatch.setattr(ContentCopier, "_start", watched)
    open_files = len(os.listdir("/proc/self/fd"))
    yield found
    assert all(process.returncode is not None for process in found)
    assert len(os.listdir("/proc/self/fd")) == open_files


def _without_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content_copier, "_START_AFTER", 1 << 30)
    monkeypatch.setattr(content_copier, "_START_AFTER_BYTES", 1 << 60)


@pytest.mark.parametrize("to", ["raw", "ntfs"])
@pytest.mark.parametrize("cluster_size", [512, 4096, 65_536])
@pytest.mark.parametrize("alone", [False, True])
def test_the_disk_is_the_same(
    to: str, cluster_size: int, alone: bool, layer: Path, tmp_path: Path,
    started: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def convert(name: str) -> bytes:
        wclayer.convert_layer(
            layer, tmp_path / name, to=to, size=96 * MIB, cluster_size=cluster_size, alone=alone, reproducible=True
        )
        return (tmp_path / name).read_bytes()

    with_worker = convert("with")
    assert len(started) == 1
    _without_worker(monkeypatch)
    assert convert("without") == with_worker
    assert len(started) == 1


def _contents(disk: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with VolumeLayerReader(disk) as reader:
        for item in reader:
            found |= {f"{item.entry.name}:{stream.name}": stream.read_all() for stream in item.streams()}
    return found


def test_a_vhdx_disk_has_the_same_contents(
    layer: Path, tmp_path: Path, started: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    wclayer.convert_layer(layer, tmp_path / "with.vhdx")
    assert len(started) == 1
    wclayer.convert_layer(layer, tmp_path / "same.vhdx", reproducible=True)
    # The order of its blocks would be another one on hosts without a worker.
    assert len(started) == 1
    _without_worker(monkeypatch)
    wclayer.convert_layer(layer, tmp_path / "without.vhdx")
    found = _contents(tmp_path / "with.vhdx")
    assert found["Files/large:"] == LARGE
    assert found == _contents(tmp_path / "without.vhdx") == _contents(tmp_path / "same.vhdx")


def test_holes_of_a_file_take_no_space_in_a_vhdx(tmp_path: Path, started: list[subprocess.Popen[bytes]]) -> None:
    with DirectoryLayerWriter(tmp_path / "layer") as writer:
        writer.put(directory("Files"))
        put_file(writer, "Files/first", b"x" * 1000)
        put_file(writer, "Files/hollow", bytes(ZEROS))
    os.truncate(tmp_path / "layer/Files/hollow", 0)
    os.truncate(tmp_path / "layer/Files/hollow", ZEROS)
    wclayer.convert_layer(tmp_path / "layer", tmp_path / "disk.vhdx")
    assert len(started) == 1
    assert (tmp_path / "disk.vhdx").stat().st_size < ZEROS


def test_progress_counts_what_is_copied(
    layer: Path, tmp_path: Path, started: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def count(name: str) -> list[int]:
        seen: list[int] = []
        wclayer.convert_layer(layer, tmp_path / name, progress=lambda state: seen.append(state.bytes))
        return seen

    with_worker = count("with")
    _without_worker(monkeypatch)
    assert len(started) == 1
    assert with_worker[-1] == count("without")[-1]
    assert len(with_worker) > 2


def test_a_cancelled_conversion_leaves_nothing(
    layer: Path, tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    def cancelled() -> bool:
        return bool(started)

    with pytest.raises(OperationCancelledError):
        wclayer.convert_layer(layer, tmp_path / "disk.vhdx", cancelled=cancelled)
    assert len(started) == 1
    assert os.listdir(tmp_path) == ["layer"]


def test_an_interrupt_leaves_nothing(layer: Path, tmp_path: Path, started: list[subprocess.Popen[bytes]]) -> None:
    def interrupt(state: Progress) -> None:
        if started:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        wclayer.convert_layer(layer, tmp_path / "disk.vhdx", progress=interrupt)
    assert len(started) == 1
    assert os.listdir(tmp_path) == ["layer"]


@pytest.mark.parametrize("name", ["small", "large", "named", "d59/f"])
def test_other_contents_are_an_error_that_names_the_file(
    name: str, layer: Path, tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    place = layer / "Files" / name
    data = bytearray(place.read_bytes())
    data[-1] ^= 1
    place.write_bytes(data)
    with pytest.raises(CorruptLayerError, match=rf"Files/{name}: .*SHA-256"):
        wclayer.convert_layer(layer, tmp_path / "disk.vhdx")
    assert len(started) == 1
    assert os.listdir(tmp_path) == ["layer"]


@pytest.mark.parametrize("name", ["small", "large"])
@pytest.mark.parametrize("more", [-1, 1, MIB])
def test_another_size_is_an_error_that_names_the_file(
    name: str, more: int, layer: Path, tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    place = layer / "Files" / name
    size = max(0, place.stat().st_size + more)
    os.truncate(place, size)
    with pytest.raises(CorruptLayerError, match=rf"Files/{name}: .*is {size} bytes long"):
        wclayer.convert_layer(layer, tmp_path / "disk.vhdx")
    assert len(started) == 1
    assert os.listdir(tmp_path) == ["layer"]


def test_a_missing_file_is_an_error_that_names_it(
    layer: Path, tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    (layer / "Files/large").unlink()
    (layer / "Files/large").symlink_to(layer / "Files/small")
    with pytest.raises(CorruptLayerError, match=r"Files/large: .*cannot be opened"):
        wclayer.convert_layer(layer, tmp_path / "disk.vhdx")
    assert len(started) == 1


def _change_contents(file: Path, _: pytest.MonkeyPatch) -> None:
    file.write_bytes(file.read_bytes()[:-1] + b"!")


def _shorten(file: Path, _: pytest.MonkeyPatch) -> None:
    os.truncate(file, 700)


def _lengthen(file: Path, _: pytest.MonkeyPatch) -> None:
    os.truncate(file, file.stat().st_size + 1)


def _remove(file: Path, _: pytest.MonkeyPatch) -> None:
    file.unlink()


def _replace_by_folder(file: Path, _: pytest.MonkeyPatch) -> None:
    file.unlink()
    file.mkdir()


def _refuse_to_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = LayerDirectory.open_file

    def open_file(layer: LayerDirectory, row: EntryRow, *, writable: bool = False) -> int:
        if layer.host_path(row).endswith(os.fsencode(file.name)):
            return os.open(file, os.O_WRONLY)
        return usual(layer, row, writable=writable)

    monkeypatch.setattr(LayerDirectory, "open_file", open_file)


@pytest.mark.parametrize(("name", "alone"), [("small", False), ("large", True)])
@pytest.mark.parametrize(
    "damage", [_change_contents, _shorten, _lengthen, _remove, _replace_by_folder, _refuse_to_read]
)
def test_an_error_of_a_file_is_one_of_reading_the_layer_as_without_a_worker(
    damage: Callable[[Path, pytest.MonkeyPatch], None], name: str, alone: bool, layer: Path, tmp_path: Path,
    started: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def failure() -> tuple[type[LayerError], str, str, str, int]:
        with pytest.raises(LayerError) as failed:
            wclayer.convert_layer(layer, tmp_path / "disk.vhdx", alone=alone)
        error = failed.value
        return type(error), error.operation, error.path, error.detail, error.code

    damage(layer / "Files" / name, monkeypatch)
    with_worker = failure()
    assert len(started) == 1
    _without_worker(monkeypatch)
    assert failure() == with_worker
    assert len(started) == 1
    assert with_worker[1] in ("read layer", "read merged layers")


def test_a_host_that_starts_no_process_makes_the_same_disk(
    layer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EAGAIN, "no process")

    wclayer.convert_layer(layer, tmp_path / "with", to="ntfs", reproducible=True, size=96 * MIB)
    monkeypatch.setattr(content_copier, "_START_AFTER", 0)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    open_files = len(os.listdir("/proc/self/fd"))
    wclayer.convert_layer(layer, tmp_path / "without", to="ntfs", reproducible=True, size=96 * MIB)
    assert len(os.listdir("/proc/self/fd")) == open_files
    assert (tmp_path / "with").read_bytes() == (tmp_path / "without").read_bytes()


@dataclass
class _File:
    """A `StoredFile` with any path and record."""

    path: Path
    size: int
    sha256: bytes = bytes(32)

    def open(self) -> int | None:
        return os.open(self.path, os.O_RDONLY)

    def cannot_read(self, error: OSError) -> LayerError:
        return LayerError(self.path, f"not read: {error.errno}")

    def wrong_size(self, size: int) -> LayerError:
        return InvalidDataError(self.path, f"size {size}")

    def wrong_contents(self) -> LayerError:
        return InvalidDataError(self.path, "contents")


def _file(path: Path, data: bytes) -> _File:
    path.write_bytes(data)
    return _File(path, len(data), hashlib.sha256(data).digest())


def _same(offset: int, size: int) -> list[tuple[int, int]]:
    return [(offset, size)]


def _copy(copier: ContentCopier, file: _File, offset: int = 0) -> None:
    assert copier.take(file)
    copier.place(offset)


def test_contents_go_to_their_places(tmp_path: Path, started: list[subprocess.Popen[bytes]]) -> None:
    def reserve(offset: int, size: int) -> list[tuple[int, int]]:
        # In pieces, the last one first.
        half = size // 2
        return [(offset + size - half, half), (offset, size - half)] if size > 1 else [(offset, size)]

    chance = random.Random(3)
    with (tmp_path / "disk").open("w+b") as disk, ContentCopier(disk.fileno(), reserve) as copier:
        expected, at = {}, 0
        # More files than a message has, and more than the worker may have waiting.
        for number in range(400):
            data = chance.randbytes(chance.choice([1, 2, 5000, 300_000]))
            _copy(copier, _file(tmp_path / f"f{number}", data), at)
            expected[at] = data
            at += len(data)
        large = bytes(3 * MIB) + LARGE
        _copy(copier, _file(tmp_path / "large", large), at)
        expected[at] = large
        copier.finish()
        found = (tmp_path / "disk").read_bytes()
    for offset, data in expected.items():
        half = len(data) // 2
        got = found[offset : offset + len(data)]
        assert got[len(data) - half :] + got[: len(data) - half] == data


def test_an_error_of_the_disk_is_told(tmp_path: Path, started: list[subprocess.Popen[bytes]]) -> None:
    with Path("/dev/full").open("r+b", 0) as disk, ContentCopier(disk.fileno(), _same) as copier:
        with pytest.raises(OSError, match="No space left") as failed:
            for number in range(300):
                _copy(copier, _file(tmp_path / f"f{number}", b"x" * 100_000))
            copier.finish()
        assert failed.value.errno == errno.ENOSPC


def test_the_file_that_cannot_be_read_is_named(tmp_path: Path, started: list[subprocess.Popen[bytes]]) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with (tmp_path / "disk").open("w+b") as disk, ContentCopier(disk.fileno(), _same) as copier:
        for number in range(3):
            _copy(copier, _file(tmp_path / f"f{number}", b"x"))
        _copy(copier, _File(folder, folder.stat().st_size))
        _copy(copier, _file(tmp_path / "after", b"x"))
        with pytest.raises(LayerError, match=rf"folder: not read: {errno.EISDIR}"):
            copier.finish()


def test_a_worker_that_dies_is_noticed(tmp_path: Path, started: list[subprocess.Popen[bytes]]) -> None:
    with (tmp_path / "disk").open("w+b") as disk, ContentCopier(disk.fileno(), _same) as copier:
        file = _file(tmp_path / "f", b"x" * 1000)
        _copy(copier, file)
        started[0].kill()
        with pytest.raises(OSError, match="the process that copies contents has died"):
            for _ in range(1000):
                _copy(copier, file)
            copier.finish()


def test_descriptors_of_other_processes_on_their_way_are_waited_for(
    tmp_path: Path, started: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    send, calls = socket.send_fds, []

    def now_and_then(*arguments: object) -> int:
        calls.append(arguments)
        if len(calls) % 2 == 0:
            raise OSError(errno.ETOOMANYREFS, "too many")
        return send(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "send_fds", now_and_then)
    with (tmp_path / "disk").open("w+b") as disk, ContentCopier(disk.fileno(), _same) as copier:
        for number in range(100):
            _copy(copier, _file(tmp_path / f"f{number}", b"%03d" % number), 3 * number)
        copier.finish()
    assert len(calls) > 8
    assert (tmp_path / "disk").read_bytes() == b"".join(b"%03d" % number for number in range(100))


def test_a_worker_that_may_not_have_the_descriptors_says_so(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        answer = copy_worker.Copier(theirs, -1).carry_out(b"", [], 1)
    assert copy_worker.ANSWER.unpack(answer) == (copy_worker.CANNOT_READ, 0, errno.EMFILE, 0)


def test_a_host_with_few_descriptors_has_few_files_waiting(
    tmp_path: Path, started: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    lower = resource.prlimit

    def limited(process: int, kind: int, limits: tuple[int, int]) -> None:
        lower(process, kind, (512, 512))
        raise PermissionError(errno.EPERM, "it may not have more")

    monkeypatch.setattr(resource, "prlimit", limited)
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (512, 1 << 20))
    with (tmp_path / "disk").open("w+b") as disk, ContentCopier(disk.fileno(), _same) as copier:
        file = _file(tmp_path / "f", b"x" * 100_000)
        for number in range(300):
            _copy(copier, file, 100_000 * number)
        copier.finish()
    assert (tmp_path / "disk").read_bytes() == b"x" * 30_000_000


def test_a_process_that_may_open_few_files_copies_them_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content_copier, "_START_AFTER", 0)
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (64, 1 << 20))
    with (tmp_path / "disk").open("w+b") as disk, ContentCopier(disk.fileno(), _same) as copier:
        assert not any(copier.take(_file(tmp_path / "f", b"x" * 1000)) for _ in range(3))


def test_a_copy_ends_when_nobody_waits_for_it(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(LARGE)
    ours, theirs = socket.socketpair()
    with theirs, (tmp_path / "f").open("rb") as file, (tmp_path / "disk").open("w+b") as disk:
        copier = copy_worker.Copier(theirs, disk.fileno())
        ours.close()
        with pytest.raises(copy_worker.CallerGoneError):
            copier.copy(file.fileno(), len(LARGE), bytes(32), [(0, len(LARGE))])
    assert (tmp_path / "disk").stat().st_size < len(LARGE)


def test_room_is_reserved_in_blocks_of_a_vhdx(tmp_path: Path) -> None:
    with (tmp_path / "disk").open("w+b") as file, (tmp_path / "child").open("w+b") as other:
        disk = create_vhdx(file, 64 * MIB)
        disk.write(10 * MIB, b"written")
        places = disk.reserve(9 * MIB + 5, 3 * MIB)
        assert [length for _, length in places] == [MIB - 5, MIB, MIB + 5]
        data = random.Random(4).randbytes(3 * MIB)
        file.flush()
        at = 0
        for place, length in places:
            os.pwrite(file.fileno(), data[at : at + length], place)
            at += length
        assert disk.read(9 * MIB + 5, len(data)) == data
        assert disk.reserve(20 * MIB, 3 * MIB)[0][1] == 3 * MIB
        for offset, length in ((-1, 1), (64 * MIB, 1), (63 * MIB, 2 * MIB)):
            with pytest.raises(VhdxError):
                disk.reserve(offset, length)
        disk.flush()
        locator = ParentLocator(disk.linkage, {"relative_path": ".\\disk"})
        child = create_vhdx(other, 64 * MIB, parent=disk, locator=locator)
        with pytest.raises(VhdxError, match="parent"):
            child.reserve(0, MIB)


def test_a_file_without_a_buffer_reads_and_writes_all(tmp_path: Path) -> None:
    with (tmp_path / "f").open("w+b") as file:
        plain = UnbufferedFile(file.fileno())
        assert plain.write(memoryview(LARGE)) == len(LARGE)
        plain.seek(5 * MIB)
        assert plain.read(MIB) == LARGE[5 * MIB :]
        assert plain.read(MIB) == b""
        plain.seek(28)
        assert plain.read() == LARGE[28:]
        plain.close()
        # The descriptor is still open.
        os.fstat(file.fileno())


def test_what_another_process_writes_meanwhile_stays(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(8192))
    with (tmp_path / "f").open("r+b") as file:
        plain = UnbufferedFile(file.fileno())
        assert plain.read(10) == bytes(10)
        os.pwrite(file.fileno(), b"of another process", 100)
        for offset in (50, 200):
            plain.seek(offset)
            plain.write(b"own")
        plain.flush()
    assert (tmp_path / "f").read_bytes()[50:203] == b"own".ljust(50, b"\0") + b"of another process".ljust(
        100, b"\0"
    ) + b"own"
