"""Windows metadata as extended attributes: what can be set can be exported, imported, and read again."""

from __future__ import annotations

import contextlib
import shutil
import struct
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import wclayer
from tests.support import put_directories, put_file
from wclayer.errors import InvalidParameterError
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.view.fuse.xattr import get_xattr, set_xattr
from wclayer.view.layer_view import LayerView
from wclayer.win32.ea import ExtendedAttribute, encode_eas
from wclayer.win32.inherit import volume_root
from wclayer.win32.reparse import LinkTarget, ReparsePoint, ReparseTag

SECURITY = volume_root().encode()
EAS = encode_eas([ExtendedAttribute(b"NAME", b"value"), ExtendedAttribute(b"OTHER", b"\0\xff")])
EMPTY_NAME = struct.pack("<IBBH", 0, 0, 0, 1) + b"\0v"
NUL_IN_NAME = struct.pack("<IBBH", 0, 0, 3, 1) + b"a\0b\0v"
LINK = LinkTarget.from_path(r"C:\a", is_mount_point=False).encode()


def _changed(data: bytes) -> st.SearchStrategy[bytes]:
    """Some bytes with one of them changed, or cut off."""
    return st.one_of(
        st.just(data),
        st.builds(
            lambda at, byte: data[:at] + bytes([byte]) + data[at + 1 :],
            st.integers(0, len(data) - 1), st.integers(0, 255),
        ),
        st.integers(0, len(data)).map(lambda end: data[:end]),
    )  # fmt: skip


_REPARSE = st.one_of(
    _changed(LINK),
    _changed(LinkTarget.from_path(r"C:\a", is_mount_point=True).encode()),
    st.builds(
        lambda tag, data: ReparsePoint(tag, data).encode(),
        st.sampled_from([*map(int, ReparseTag), 0x80000099, 0xA0000099, 0x42]), st.binary(max_size=40),
    ),
)  # fmt: skip
_ATTRIBUTES = st.one_of(
    st.tuples(st.just("system.ntfs_acl"), _changed(SECURITY)),
    st.tuples(st.just("system.ntfs_attrib"), st.binary(max_size=5)),
    st.tuples(
        st.sampled_from(["system.ntfs_times", "system.ntfs_times_be"]),
        st.lists(st.one_of(st.integers(0, 2**64 - 1), st.just(2**63)), max_size=5).map(
            lambda times: struct.pack(f"={len(times)}Q", *times)
        ),
    ),
    st.tuples(st.just("system.ntfs_crtime"), st.binary(max_size=9)),
    st.tuples(st.just("system.ntfs_reparse_data"), _REPARSE),
    st.tuples(
        st.just("system.ntfs_ea"),
        st.one_of(
            _changed(EAS),
            st.lists(
                st.builds(ExtendedAttribute, st.binary(min_size=1, max_size=6), st.binary(max_size=6)), max_size=3
            ).map(lambda eas: encode_eas(ea for ea in eas if 0 not in ea.name)),
        ),
    ),
    st.tuples(st.text(max_size=8).map("user.{}".format), st.binary(max_size=40)),
)  # fmt: skip


_ALWAYS = [
    ("system.ntfs_ea", EMPTY_NAME), ("system.ntfs_ea", NUL_IN_NAME),
    ("system.ntfs_times", struct.pack("=Q", 2**64 - 1)),
    ("system.ntfs_ea", encode_eas([ExtendedAttribute(b"a=b", b"v")])), ("system.ntfs_ea", EAS),
    ("system.ntfs_ea", encode_eas([ExtendedAttribute(b"A", b"v"), ExtendedAttribute(b"a", b"w")])),
    ("system.ntfs_reparse_data", LINK), ("system.ntfs_acl", SECURITY),
]  # fmt: skip
_KEPT = ("system.ntfs_acl", "system.ntfs_ea")


@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(st.lists(_ATTRIBUTES, min_size=60, max_size=100))
def test_what_can_be_set_can_be_exported(wanted: list[tuple[str, bytes]]) -> None:
    folder = Path(tempfile.mkdtemp(prefix="wclayer-xattr-"))
    try:
        with DirectoryLayerWriter(folder / "base") as writer:
            put_directories(writer, "Files")
        wclayer.create_scratch_layer(folder / "run", [folder / "base"])
        before: dict[str, list[bytes | None]] = {}
        with LayerView(scratch=folder / "run") as view, view.volume.changing():
            for number, (name, value) in enumerate(_ALWAYS + wanted):
                path = f"{number}"
                view.mkdir(path) if number % 5 == 0 else view.create_file(path)
                # One that is refused changes nothing.
                with contextlib.suppress(OSError):
                    set_xattr(view.volume, view.volume.find(path, follow=False), name, value)
                before[path] = _values(view, path)
        assert list(wclayer.check_layer(folder / "run")) == []
        wclayer.export_layer_to_file(folder / "run", folder / "changes.tar")
        with (folder / "changes.tar").open("rb") as stream:
            wclayer.import_layer_from_tar(stream, folder / "copy", [folder / "base"])
        with LayerView([folder / "copy"]) as view:
            assert {path: _values(view, path) for path in before} == before
    finally:
        shutil.rmtree(folder)


def _values(view: LayerView, path: str) -> list[bytes | None]:
    """What a tar keeps of an entry's metadata as it is."""
    found: list[bytes | None] = []
    for name in _KEPT:
        try:
            found.append(get_xattr(view.volume, view.volume.find(path, follow=False), name))
        except OSError:
            found.append(None)
    return found


@pytest.fixture
def view(tmp_path: Path) -> LayerView:
    with DirectoryLayerWriter(tmp_path / "base") as writer:
        put_directories(writer, "Files")
        put_file(writer, "Files/file", b"data")
    wclayer.create_scratch_layer(tmp_path / "run", [tmp_path / "base"])
    return LayerView(scratch=tmp_path / "run")


def test_values_that_windows_does_not_take_are_refused(view: LayerView) -> None:
    lists = [encode_eas([ExtendedAttribute(b"E%d" % number, bytes(60_000))]) for number in range(2)]
    # Each begins with the distance to the next.
    too_long = struct.pack("<I", len(lists[0])) + lists[0][4:] + lists[1]
    with view:
        for name, value in (
            ("system.ntfs_ea", EMPTY_NAME), ("system.ntfs_ea", NUL_IN_NAME), ("system.ntfs_ea", too_long),
            ("system.ntfs_times", struct.pack("=Q", 2**64 - 1)), ("system.ntfs_times", struct.pack("=2Q", 1, 2**63)),
            ("system.ntfs_crtime", struct.pack("=Q", 2**63)), ("system.ntfs_reparse_data", LINK[:-3]),
            ("system.ntfs_reparse_data", ReparsePoint(ReparseTag.SYMLINK, b"x").encode()), ("user.", b""),
            ("user.a:b", b""), ("user." + "x" * 256, b""), ("system.ntfs_acl", SECURITY[:40]),
        ):  # fmt: skip
            with pytest.raises(InvalidParameterError):
                set_xattr(view.volume, view.volume.find("file"), name, value)
        with pytest.raises(InvalidParameterError, match="root directory"):
            set_xattr(view.volume, view.volume.find("C:\\"), "system.ntfs_reparse_data", LINK)
