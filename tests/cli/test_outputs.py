"""Where results and inputs go that a user names: files, links to them, FIFOs, devices, open files."""

from __future__ import annotations

import os
import select
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import wclayer
from tests.support import DATA, layer_tar, nothing_left_in, run, run_process, vector_bytes, witness
from wclayer import sample
from wclayer.cli.group import USAGE_ERROR
from wclayer.cli.output import echo_lines
from wclayer.errors import (
    DiskFullError,
    EntryIsDirectoryError,
    InvalidParameterError,
    LayerError,
    NotSupportedError,
    PathNotFoundError,
    UnresolvedLinkError,
)
from wclayer.layers.directory import open_layer
from wclayer.view.transfer import copy_out

MIB = 1 << 20


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("layers")
    (folder / "base.tar").write_bytes(layer_tar(sample.write_base))
    with (folder / "base.tar").open("rb") as stream:
        wclayer.import_layer_from_tar(stream, folder / "base")
    return folder / "base"


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("disks") / "disk.img"
    path.write_bytes(bytes(3 * MIB) + b"x" * MIB + bytes(2 * MIB))
    return path


def _export(target: Path, layer: Path, raw: Path) -> None:
    wclayer.export_layer_to_file(layer, target)


def _export_rootfs(target: Path, layer: Path, raw: Path) -> None:
    wclayer.export_rootfs(layer, target)


def _convert(target: Path, layer: Path, raw: Path) -> None:
    wclayer.convert_layer(layer, target, to="ntfs", size=64 * MIB, reproducible=True)


def _convert_disk(target: Path, layer: Path, raw: Path) -> None:
    wclayer.convert_disk(raw, target, to="raw")


def _reg_export(target: Path, layer: Path, raw: Path) -> None:
    from wclayer.cli.verbs import cli

    cli.main(["reg", "export", str(layer), "HKLM\\SYSTEM", str(target)], standalone_mode=False)


def _copy_out(target: Path, layer: Path, raw: Path) -> None:
    with wclayer.LayerView([layer]) as view:
        copy_out(view, "C:\\Windows\\win.ini", target)


Make = Callable[[Path, Path, Path], None]
STREAMS = {"export": _export, "export-rootfs": _export_rootfs, "reg export": _reg_export, "cp": _copy_out}
DISKS = {"convert": _convert, "disk convert": _convert_disk}
EVERY = STREAMS | DISKS
every_verb = pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
every_stream = pytest.mark.parametrize("make", STREAMS.values(), ids=STREAMS)
every_disk = pytest.mark.parametrize("make", DISKS.values(), ids=DISKS)


def _expected(make: Make, tmp_path: Path, layer: Path, raw: Path) -> bytes:
    folder = tmp_path / "expected"
    folder.mkdir()
    make(folder / "file", layer, raw)
    assert sorted(os.listdir(folder)) == ["file"]
    return (folder / "file").read_bytes()


@every_verb
def test_an_existing_file_keeps_its_mode_and_owner(make: Make, tmp_path: Path, layer: Path, raw: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"old")
    target.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(target, 65534, 65533)
    before = target.stat()
    make(target, layer, raw)
    after = target.stat()
    assert target.read_bytes() == _expected(make, tmp_path, layer, raw)
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)


@every_verb
def test_a_link_is_followed(make: Make, tmp_path: Path, layer: Path, raw: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "there").write_bytes(b"old")
    (tmp_path / "link").symlink_to("elsewhere/there")
    (tmp_path / "dangling").symlink_to("elsewhere/new")
    (tmp_path / "twice").symlink_to("link")
    expected = _expected(make, tmp_path, layer, raw)
    for name, there in (("link", "there"), ("dangling", "new"), ("twice", "there")):
        make(tmp_path / name, layer, raw)
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / "elsewhere" / there).read_bytes() == expected
        (tmp_path / "elsewhere" / "there").write_bytes(b"old")
    assert sorted(os.listdir(tmp_path / "elsewhere")) == ["new", "there"]
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(UnresolvedLinkError):
        make(tmp_path / "round", layer, raw)
    (tmp_path / "nowhere").symlink_to("no/such")
    with pytest.raises(PathNotFoundError):
        make(tmp_path / "nowhere", layer, raw)


@every_stream
def test_a_fifo_is_written_to(make: Make, tmp_path: Path, layer: Path, raw: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append(fifo.read_bytes()), daemon=True)
    reader.start()
    make(fifo, layer, raw)
    reader.join(30)
    assert found == [_expected(make, tmp_path, layer, raw)]
    assert stat.S_ISFIFO(fifo.stat().st_mode)


@every_stream
@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root makes devices")
def test_a_device_is_written_to(make: Make, tmp_path: Path, layer: Path, raw: Path) -> None:
    for name, number in (("null", 3), ("full", 7)):
        os.mknod(tmp_path / name, stat.S_IFCHR | 0o666, os.makedev(1, number))
    with nothing_left_in(tmp_path):
        make(tmp_path / "null", layer, raw)
        with pytest.raises(DiskFullError) as caught:
            make(tmp_path / "full", layer, raw)
        assert caught.value.path == str(tmp_path / "full")
    assert stat.S_ISCHR((tmp_path / "null").stat().st_mode)


@every_stream
def test_an_open_file_is_written_to_where_it_is(make: Make, tmp_path: Path, layer: Path, raw: Path) -> None:
    expected = _expected(make, tmp_path, layer, raw)
    (tmp_path / "log").write_bytes(b"before ")
    with (tmp_path / "log").open("ab") as file:
        (tmp_path / "link").symlink_to(f"/dev/fd/{file.fileno()}")
        for place in (Path(f"/dev/fd/{file.fileno()}"), tmp_path / "link"):
            make(place, layer, raw)
        file.write(b" after")
    assert (tmp_path / "log").read_bytes() == b"before " + expected + expected + b" after"
    assert (tmp_path / "link").is_symlink()


@every_disk
def test_a_disk_is_not_written_to_a_stream(make: Make, tmp_path: Path, layer: Path, raw: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with (tmp_path / "log").open("w+b") as file, nothing_left_in(tmp_path):
        for place in (fifo, Path("/dev/null"), Path(f"/dev/fd/{file.fileno()}")):
            with pytest.raises(InvalidParameterError, match="can only be written on") as caught:
                make(place, layer, raw)
            assert caught.value.path == str(place)
    assert (tmp_path / "log").read_bytes() == b""


@every_verb
def test_a_folder_is_refused_by_its_name(make: Make, tmp_path: Path, layer: Path, raw: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "win.ini").mkdir(parents=True)
    with nothing_left_in(tmp_path), pytest.raises(EntryIsDirectoryError) as caught:
        make(folder, layer, raw)
    assert caught.value.path in (str(folder), str(folder / "win.ini"))
    assert ".partial" not in str(caught.value)


def test_a_result_never_goes_into_what_is_read(tmp_path: Path, layer: Path, raw: Path) -> None:
    (tmp_path / "link").symlink_to(layer)
    kept = (layer / "layer.db").read_bytes()
    makes = [make for make in EVERY.values() if make is not _convert_disk]
    for make in makes:
        for target in (layer / "layer.db", layer / "new", tmp_path / "link" / "Files" / "new"):
            with nothing_left_in(layer), pytest.raises(InvalidParameterError, match="what is read"):
                make(target, layer, raw)
    os.link(layer / "layer.db", tmp_path / "hard")
    assert (layer / "layer.db").read_bytes() == kept


def test_a_disk_is_not_converted_onto_what_it_is_made_of(tmp_path: Path, raw: Path) -> None:
    base, middle = tmp_path / "base.vhdx", tmp_path / "middle.vhdx"
    wclayer.convert_disk(raw, base)
    (tmp_path / "changed.img").write_bytes(raw.read_bytes()[:-1] + b"!")
    wclayer.convert_disk(tmp_path / "changed.img", middle, parent=base)
    os.link(base, tmp_path / "hard.vhdx")
    (tmp_path / "soft.vhdx").symlink_to(base)
    before = {path: path.read_bytes() for path in (base, middle)}
    names = [base, tmp_path / "hard.vhdx", tmp_path / "soft.vhdx"]
    for target in names:
        for source, parent in ((base, None), (base, base), (middle, None), (raw, base), (raw, middle)):
            with nothing_left_in(tmp_path), pytest.raises(InvalidParameterError, match="also what is read"):
                wclayer.convert_disk(source, target, parent=parent)
    assert before == {path: path.read_bytes() for path in (base, middle)}


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Path]:
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root makes block devices")
    (tmp_path / "storage").write_bytes(b"\xee" * 64 * MIB)
    command = [witness("losetup"), "-f", "--show", str(tmp_path / "storage")]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"no loop device: {done.stderr.decode().strip()}")
    path = Path(done.stdout.decode().strip())
    try:
        yield path
    finally:
        subprocess.run([witness("losetup"), "-d", str(path)], check=True)


def test_a_block_device_is_written_to_where_it_is_large_enough(
    tmp_path: Path, device: Path, layer: Path, raw: Path
) -> None:
    wclayer.convert_disk(raw, device, to="raw")
    data = raw.read_bytes()
    with device.open("rb") as file:
        assert file.read(len(data)) == data
    # What it holds already is not taken for zeros, and its size is the disk's.
    result = wclayer.convert_layer(layer, device, to="raw")
    assert result.disk_size == 64 * MIB
    wclayer.import_layer_from_disk(device, tmp_path / "again")
    with wclayer.LayerView([tmp_path / "again"]) as view, wclayer.LayerView([layer]) as original:
        for path in ("C:\\Windows\\win.ini", "C:\\License.txt:zone.identifier"):
            assert view.read_bytes(path) == original.read_bytes(path)
    assert list(wclayer.check_layer(tmp_path / "again")) == []
    with pytest.raises(DiskFullError, match="the device has"):
        wclayer.convert_layer(layer, device, to="ntfs", size=65 * MIB)
    with pytest.raises(NotSupportedError, match="a block device does not"):
        wclayer.convert_disk(raw, device)
    assert stat.S_ISBLK(device.stat().st_mode)


# What is read.


def _imported(layer: Path) -> str:
    with open_layer(layer) as opened:
        return str(opened.record("diff_id"))


def test_a_stream_is_imported_whole(tmp_path: Path) -> None:
    data = vector_bytes("base.tar.gz")
    (tmp_path / "base.tar").write_bytes(data)
    run("import", "-i", tmp_path / "base.tar", tmp_path / "expected")
    expected = _imported(tmp_path / "expected")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = threading.Thread(target=lambda: fifo.write_bytes(data), daemon=True)
    writer.start()
    run("import", "-i", fifo, tmp_path / "of a fifo")
    run_process("import", "-i", "/dev/stdin", tmp_path / "of a pipe", stdin=data)
    for name in ("of a fifo", "of a pipe"):
        assert _imported(tmp_path / name) == expected
    with nothing_left_in(tmp_path):
        shown = run_process("import", "-i", "/dev/stdin", tmp_path / "x", stdin=b"vhdxfile" + bytes(4096), status=5)
        assert b"a disk" in shown.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["disk", "info", "FIFO"],
        ["disk", "check", "FIFO"],
        ["disk", "convert", "FIFO", "out.vhdx"],
        ["disk", "convert", "--parent", "FIFO", "disk.img", "out.vhdx"],
        ["cp", "FIFO", "layer:C:\\x"],
    ],
)
def test_a_fifo_where_a_file_is_needed_is_refused_without_waiting(
    arguments: list[str], tmp_path: Path, raw: Path, layer: Path
) -> None:
    os.mkfifo(tmp_path / "fifo")
    places = {"FIFO": tmp_path / "fifo", "disk.img": raw, "out.vhdx": tmp_path / "out.vhdx"}
    done = subprocess.run(
        [sys.executable, "-m", "wclayer", *(str(places.get(word, word)) for word in arguments)],
        capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode != 0
    assert b"Traceback" not in done.stderr
    assert not (tmp_path / "out.vhdx").exists()


def test_a_reg_file_may_be_a_stream(tmp_path: Path) -> None:
    run("import", "-i", DATA / "base.tar.gz", tmp_path / "layer")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    content = b'Windows Registry Editor Version 5.00\r\n\r\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\New]\r\n"a"="b"\r\n'
    threading.Thread(target=lambda: fifo.write_bytes(content), daemon=True).start()
    assert b"2 steps" in run("reg", "import", tmp_path / "layer", fifo).stdout


def test_no_message_has_a_name_that_is_only_for_a_while(tmp_path: Path, layer: Path) -> None:
    with pytest.raises(LayerError) as caught:
        wclayer.export_layer_to_file(layer, tmp_path / ("n" * 250) / "file")
    assert caught.value.exit_status == 2
    long = tmp_path / ("n" * 254)
    wclayer.export_layer_to_file(layer, long)
    assert long.is_file()


@pytest.mark.parametrize("target", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
@pytest.mark.parametrize("arguments", [(), ("--json",)], ids=["text", "json"])
def test_nothing_but_the_tar_is_in_the_standard_output(arguments: tuple[str, ...], target: str, layer: Path) -> None:
    done = run("export", *arguments, "-o", target, layer)
    assert done.stdout == layer_tar(sample.write_base)
    assert b"diff" in done.stderr


def test_a_dash_is_the_standard_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layer: Path, raw: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with nothing_left_in(tmp_path):
        assert run("export", "-o", "-", layer).stdout == layer_tar(sample.write_base)
        assert run("reg", "export", layer, "HKLM\\SYSTEM", "-").stdout.startswith(b"\xff\xfe")
        for arguments in (("convert", layer, "-o", "-"), ("disk", "convert", raw, "-")):
            done = run(*arguments, status=InvalidParameterError.exit_status)
            assert b"a disk needs a file" in done.stderr
        assert (
            b"a transport folder is not written" in run("export", "--transport", "-", layer, status=USAGE_ERROR).stderr
        )
    run("export", "-o", "./-", layer)
    assert Path("-").read_bytes() == layer_tar(sample.write_base)


def test_a_reg_file_in_the_standard_output_has_no_other_line(layer: Path) -> None:
    expected = run("reg", "export", layer, "HKLM\\SYSTEM").stdout
    done = run("reg", "export", layer, "HKLM\\SYSTEM", "/dev/stdout")
    assert (done.stdout, done.stderr.decode()) == (
        expected,
        f"exported HKEY_LOCAL_MACHINE\\SYSTEM to /dev/stdout{os.linesep}",
    )


def test_a_tar_is_not_written_to_a_terminal(layer: Path) -> None:
    leader, terminal = os.openpty()
    try:
        with os.fdopen(terminal, "wb") as stdout:
            for target in ("-", "/dev/stdout"):
                done = run("export", "-o", target, layer, status=USAGE_ERROR, stdout=stdout)
                assert b"a tar is not written to a terminal" in done.stderr
    finally:
        os.close(leader)


def test_the_lines_before_a_failure_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    def lines() -> Iterator[str]:
        for number in range(5_000):
            yield f"line {number}"
        raise LayerError("layer", "is damaged")

    with pytest.raises(LayerError):
        echo_lines(lines())
    assert capsys.readouterr().out == "".join(f"line {number}\n" for number in range(5_000))


def test_on_a_terminal_what_is_found_is_printed_before_the_next_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    leader, terminal = os.openpty()
    seen = []

    def lines() -> Iterator[str]:
        for line in ("Files", "", "Files/a\x1bb"):
            yield line
            has_come, _, _ = select.select([leader], [], [], 10)
            seen.append(os.read(leader, 100) if has_come else None)

    try:
        with os.fdopen(terminal, "w") as stdout:
            monkeypatch.setattr(sys, "stdout", stdout)
            echo_lines(lines(), as_they_come=True)
            monkeypatch.undo()
    finally:
        os.close(leader)
    assert seen == [b"Files\r\n", b"\r\n", b"Files/a<U+001B>b\r\n"]
