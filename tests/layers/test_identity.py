"""The bytes come back whatever tar they were, and what has no original is canonical and deterministic."""

from __future__ import annotations

import hashlib
import io
import sqlite3
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wclayer
from tests.support import TRAILER_BYTES, archive, global_header, layer_tar, member, read_tar, witness
from wclayer import sample
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.layers.tar.canonical import CanonicalEncoder
from wclayer.layers.tar.members import encode_entry
from wclayer.model import Entry, LayerWriter
from wclayer.win32 import filetime
from wclayer.win32.attributes import FileBasicInfo
from wclayer.win32.ea import ExtendedAttribute, encode_eas
from wclayer.win32.inherit import volume_root


def _round_trip(data: bytes, folder: Path) -> bytes:
    wclayer.import_layer_from_tar(io.BytesIO(data), folder / "layer")
    raw = io.BytesIO()
    result = wclayer.export_layer_to_tar(raw, folder / "layer")
    assert result.unchanged
    assert result.diff_id == f"sha256:{hashlib.sha256(data).hexdigest()}"
    return raw.getvalue()


def _sources(folder: Path) -> Path:
    root = folder / "source"
    (root / "Files/sub" / ("deep" * 20) / ("deeper" * 12)).mkdir(parents=True)
    (root / "Files/a").write_bytes(b"x" * 1000)
    (root / "Files/empty").touch()
    (root / "Files/sub/grüße").write_bytes(b"utf-8")
    (root / "Files/sub" / ("deep" * 20) / ("deeper" * 12) / "file").write_bytes(b"long path")
    (root / "Files/link").hardlink_to(root / "Files/a")
    return root


@pytest.mark.parametrize("form", ["pax", "gnu", "ustar", "v7"])
def test_gnu_tar(form: str, tmp_path: Path) -> None:
    root = _sources(tmp_path)
    if form == "v7":
        (root / "Files/sub" / ("deep" * 20) / ("deeper" * 12) / "file").unlink()
        (root / "Files/sub" / ("deep" * 20) / ("deeper" * 12)).rmdir()
    command = [witness("tar"), "-C", str(root), f"--format={form}", "--sort=name", "-cf", "-", "Files"]
    data = subprocess.run(command, check=True, capture_output=True).stdout
    assert _round_trip(data, tmp_path) == data


@pytest.mark.parametrize("form", ["pax", "gnutar", "ustar"])
def test_bsdtar(form: str, tmp_path: Path) -> None:
    root = _sources(tmp_path)
    command = [witness("bsdtar"), "-C", str(root), f"--format={form}", "-cf", "-", "Files"]
    data = subprocess.run(command, check=True, capture_output=True).stdout
    assert _round_trip(data, tmp_path) == data


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_python(form: int, tmp_path: Path) -> None:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=form) as archive_:
        archive_.add(_sources(tmp_path) / "Files", "Files")
    assert _round_trip(raw.getvalue(), tmp_path) == raw.getvalue()


_FILES = member(b"Files", kind=b"5")
_ODD = {
    "one zero block": _FILES + bytes(512),
    "padded to 10 KiB": archive(_FILES) + bytes(10240 - 1536),
    "short trailer": _FILES + bytes(700),
    "bytes after the end": archive(_FILES) + b"signature",
    "padding that is not zero": archive(_FILES, member(b"Files/a", b"abc")[:-1] + b"!", member(b"Files/b", b"d")),
    "padding at the end": _FILES + member(b"Files/a", b"abc")[:-1] + b"!" + TRAILER_BYTES,
    "padding before a tombstone": archive(member(b"Hives", kind=b"5"), _FILES, member(b"Files/a", b"x")[:-1] + b"?"),
    "records in another order": archive(_FILES, member(b"Files/a", b"x", comment=b"1", MSWINDOWS_fileattr=b"032")),
    "unknown records": archive(_FILES, member(b"Files/a", SCHILY_dev=b"9", vendor_note=b"a=b\nc")),
    "time with more digits": archive(_FILES, member(b"Files/a", mtime=b"1600000000.123456789")),
    "old SDDL": archive(_FILES, member(b"Files/a", MSWINDOWS_sd=b"D:(A;;FA;;;WD)")),
    "base64 with odd padding bits": archive(_FILES, member(b"Files/a", MSWINDOWS_rawsd=b"")),
    "base64 broken into lines": archive(
        _FILES, member(b"Files/a", MSWINDOWS_rawsd=b"AQAEgA\r\nAAAAAAAAAA\nAAAAAAAAAAA=\n")
    ),
    "attributes with many zeros": archive(_FILES, member(b"Files/a", MSWINDOWS_fileattr=b"0" * 5000 + b"32")),
    "times taken back": archive(_FILES, global_header(atime=b"7"), member(b"Files/a", atime=b"", ctime=b"", mtime=b"")),
    "a contiguous file": archive(_FILES, member(b"Files/a", b"data", kind=b"7")),
    "a time before 1970 with many digits": archive(_FILES, member(b"Files/a", mtime=b"-1.00000005")),
    "global records": archive(_FILES, global_header(comment=b"1", mtime=b"8.5"), member(b"Files/a", b"data")),
    "directory with a slash": archive(member(b"Files/", kind=b"5"), member(b"Files/a")),
    "dot slash": archive(member(b"./Files/", kind=b"5"), member(b"./Files/a")),
    "stream in an odd form": archive(_FILES, member(b"Files/a", b"1"), member(b"Files/a:s", b"2", comment=b"x")),
    "file in place of a directory's type": archive(_FILES, member(b"Files/a", MSWINDOWS_fileattr=b"16")),
}


@pytest.mark.parametrize("name", _ODD)
def test_odd_forms(name: str, tmp_path: Path) -> None:
    assert _round_trip(_ODD[name], tmp_path) == _ODD[name]


def test_what_is_kept_is_small(tmp_path: Path) -> None:
    """A foreign header costs some bytes; a canonical one costs none."""
    data = archive(_FILES, *(member(b"Files/%d" % n, b"x", comment=b"c") for n in range(500)))
    _round_trip(data, tmp_path)
    connection = sqlite3.connect(tmp_path / "layer/layer.db")
    (size,) = connection.execute("SELECT AVG(LENGTH(form)) FROM entries WHERE form NOT NULL").fetchone()
    connection.close()
    assert size < 200
    wclayer.import_layer_from_tar(io.BytesIO(layer_tar(sample.write_base)), tmp_path / "own")
    connection = sqlite3.connect(tmp_path / "own/layer.db")
    (count,) = connection.execute("SELECT COUNT(form) FROM entries").fetchone()
    connection.close()
    assert count == 0


def test_new_layers_are_deterministic(tmp_path: Path) -> None:
    tars = []
    for name in ("one", "two"):
        with DirectoryLayerWriter(tmp_path / name) as writer:
            sample.write_base(writer)
        raw = io.BytesIO()
        wclayer.export_layer_to_tar(raw, tmp_path / name, compression="gzip")
        tars.append(raw.getvalue())
    assert tars[0] == tars[1]
    raw = io.BytesIO()
    wclayer.export_layer_to_tar(raw, tmp_path / "one")
    assert raw.getvalue() == layer_tar(sample.write_base)


@pytest.mark.parametrize("build", [sample.write_base, sample.write_child])
def test_gnu_tar_and_bsdtar_list_what_we_write(build: Callable[[object], None], tmp_path: Path) -> None:
    file = tmp_path / "layer.tar"
    file.write_bytes(layer_tar(build))
    with tarfile.open(file) as reference:
        names = [info.name for info in reference.getmembers()]
    assert len(names) > 10
    gnu = subprocess.run(
        [witness("tar"), "--warning=no-unknown-keyword", "--quoting-style=literal", "-tf", str(file)],
        check=True, capture_output=True,
    )  # fmt: skip
    assert [line.rstrip("/") for line in gnu.stdout.decode().splitlines()] == names
    bsd = subprocess.run(
        [witness("bsdtar"), "-tf", str(file)], check=True, capture_output=True, env={"LC_ALL": "C.UTF-8"}
    )
    assert [line.rstrip("/") for line in bsd.stdout.decode().splitlines()] == names


_path = st.lists(st.text("abcXYZ09._- ", min_size=1, max_size=130), min_size=1, max_size=3).map(
    lambda parts: "/".join(("Files", *parts))
)
_ea = st.builds(ExtendedAttribute, st.sampled_from([b"A", b"$CI.CATALOGHINT", b"X=Y", b"b"]), st.binary(max_size=99))
_time = st.one_of(st.integers(0, (1 << 63) - 1), st.integers(116_444_736_000_000_000, 140_000_000_000_000_000))


@given(
    _path,
    st.integers(0, 0xFFFFFFFF),
    st.tuples(_time, _time, _time, _time),
    st.one_of(st.just(0), st.integers(0, 1 << 40)),
    st.sampled_from([None, b"", b"descriptor", bytes(range(200))]),
    st.lists(_ea, max_size=2, unique_by=lambda ea: ea.name),
    st.one_of(st.none(), _path, st.just("Files/\xe4")),
)  # fmt: skip
@settings(max_examples=400)
def test_the_short_way_gives_what_the_long_way_gives(
    name: str,
    attributes: int,
    times: tuple[int, int, int, int],
    size: int,
    security: bytes | None,
    eas: list[ExtendedAttribute],
    target: str | None,
) -> None:
    entry = Entry(name, FileBasicInfo(attributes, *times), size, security, encode_eas(eas), link_target=target)
    encode = CanonicalEncoder()
    # The second time from what it remembers.
    assert encode(entry) == encode(entry) == encode_entry(entry)


def test_a_descriptor_with_the_bytes_of_eas_is_told_from_them() -> None:
    eas = encode_eas([ExtendedAttribute(b"A", b"value")])
    entry = Entry("Files/a", FileBasicInfo(0x20, *[130_000_000_000_000_000] * 4), 5, eas, eas)
    assert CanonicalEncoder()(entry) == encode_entry(entry)


def test_the_short_way_recognises_only_what_is_canonical(tmp_path: Path) -> None:
    """Any byte of an ordinary header changed: the reading is what it is without the short way."""

    def build(writer: LayerWriter) -> None:
        security = volume_root().encode()
        writer.put(Entry("Files", FileBasicInfo(0x10, *[133_500_000_123_456_700] * 4), 0, security))
        writer.put(Entry("Files/a", FileBasicInfo(0x20, *[133_500_000_123_456_789] * 4), 0, security))

    data = layer_tar(build)
    refused = same = 0
    for at in range(1536, 3072):
        changed = bytearray(data)
        changed[at] ^= 1
        folder = tmp_path / str(at)
        folder.mkdir()
        try:
            assert _round_trip(bytes(changed), folder) == bytes(changed)
            same += 1
        except wclayer.InvalidDataError:
            refused += 1
        else:
            wclayer.destroy_layer(folder / "layer")
    assert refused > 300
    assert same > 300


def test_what_go_s_reader_takes_means_the_same_here() -> None:
    def only_file(*members: bytes) -> tuple[Entry, bytes]:
        return read_tar(archive(_FILES, *members))[-1]

    assert only_file(member(b"Files/a", MSWINDOWS_fileattr=b"00000000000032"))[0].info == FileBasicInfo(
        32, *[filetime.UNIX_EPOCH + 16 * 10**15] * 4
    )
    assert only_file(member(b"Files/a", MSWINDOWS_rawsd=b"YWJj\r\nZGVm\n"))[0].security == b"abcdef"
    # POSIX: an empty value takes a record back, of the member or of all.
    entry, _ = only_file(global_header(atime=b"7", mtime=b"8"), member(b"Files/a", atime=b"", mtime=b""))
    assert entry.info is not None
    assert entry.info.last_access_time == entry.info.last_write_time == filetime.UNIX_EPOCH + 16 * 10**15
    # POSIX: a contiguous file is a regular one.
    assert only_file(member(b"Files/a", b"data", kind=b"7"))[1].endswith(b"data")
    entry, _ = only_file(member(b"Files/a", mtime=b"-1.00000005"))
    assert entry.info is not None
    assert entry.info.last_write_time == filetime.UNIX_EPOCH - 10**7


def test_an_ea_with_an_equals_sign_in_its_name_comes_back(tmp_path: Path) -> None:
    eas = encode_eas([ExtendedAttribute(b"A=B", b"value"), ExtendedAttribute(b"C", b"")])

    def build(writer: LayerWriter) -> None:
        writer.put(Entry("Files", FileBasicInfo(0x10)))
        writer.put(Entry("Files/a", FileBasicInfo(0x20), eas=eas))

    data = layer_tar(build)
    assert read_tar(data)[-1][0].eas == eas
    assert _round_trip(data, tmp_path) == data
