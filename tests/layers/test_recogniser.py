"""The recogniser of canonical headers gives what the general decoder gives, or leaves the header to it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wclayer.formats.tar.reader import TarFormatError, TarMember, TarStream
from wclayer.layers.tar.members import decode_entry, encode_entry
from wclayer.layers.tar.recogniser import CanonicalMembers
from wclayer.model import Entry
from wclayer.win32 import filetime
from wclayer.win32.attributes import FileBasicInfo
from wclayer.win32.ea import ExtendedAttribute, encode_eas
from wclayer.win32.inherit import volume_root

_MOMENT = filetime.UNIX_EPOCH + 1_600_000_000 * filetime.TICKS_PER_SECOND
_TIMES = [_MOMENT, _MOMENT + 1, _MOMENT + 1_234_567, _MOMENT + 5_000_000]
_SECURITY = volume_root().encode()
_HINT = encode_eas([ExtendedAttribute(b"$CI.CATALOGHINT", b"\x01\x00\x02\x00ab")])
_TWO_EAS = encode_eas([ExtendedAttribute(b"A", b""), ExtendedAttribute(b"B", b"x" * 300)])
_COMPONENT = (
    "Files/Windows/WinSxS/amd64_microsoft-windows-some-component_31bf3856ad364e35_10.0.1.1_none_0123456789abcdef"
)
_INFO = FileBasicInfo(0x20, *_TIMES)


def _read(header: bytes, recognise: CanonicalMembers | None) -> TarMember | Entry | None:
    stream: TarStream[Entry] = TarStream(iter([header, bytes(2048)]), recognise=recognise)
    return stream.next()


def _decoded(header: bytes) -> Entry | None:
    """What the general decoder makes of a header; None if it refuses it, or the header is not canonical."""
    try:
        member = _read(header, None)
        assert isinstance(member, TarMember)
        entry = decode_entry(member)
        return entry if encode_entry(entry) == member.header else None
    except ValueError:
        return None


def _recognised(header: bytes) -> Entry | None:
    try:
        found = _read(header, CanonicalMembers())
    except TarFormatError:
        return None
    return found if isinstance(found, Entry) else None


_USUAL = {
    "file": Entry("Files/a", _INFO, 5, _SECURITY),
    "file without descriptor": Entry("Files/a", _INFO, 5),
    "times without fractions": Entry("Files/a", FileBasicInfo(0x20, *[_MOMENT] * 4), 5, _SECURITY),
    "directory": Entry("Files/d", replace(_INFO, attributes=0x10), 0, _SECURITY),
    "long name": Entry(f"{_COMPONENT}/some.dll", _INFO, 1 << 32, _SECURITY),
    "long directory": Entry(_COMPONENT, replace(_INFO, attributes=0x2010), 0, _SECURITY),
    "name of 100 bytes": Entry("Files/".ljust(100, "n"), _INFO, 5, _SECURITY),
    "slash at the cut": Entry("Files/".ljust(99, "d") + "/file", _INFO, 5, _SECURITY),
    "EA": Entry("Files/a.dll", _INFO, 5, _SECURITY, _HINT),
    "EA of a long name": Entry(f"{_COMPONENT}/some.dll", _INFO, 5, _SECURITY, _HINT),
    "two EAs": Entry("Files/a.dll", _INFO, 5, None, _TWO_EAS),
    "link": Entry("Files/l", _INFO, link_target="Files/a"),
    "link to a long name": Entry("Files/l", _INFO, link_target=f"{_COMPONENT}/some.dll"),
    "long link to a long name": Entry(f"{_COMPONENT}/l", _INFO, link_target=f"{_COMPONENT}/some.dll"),
}


@pytest.mark.parametrize("name", _USUAL)
def test_usual_entries_are_recognised(name: str) -> None:
    header = encode_entry(_USUAL[name])
    found = _recognised(header)
    assert found == replace(_USUAL[name], place="offset 0")
    assert found == _decoded(header)


@pytest.mark.parametrize("name", _USUAL)
def test_any_changed_byte_is_noticed(name: str) -> None:
    header = encode_entry(_USUAL[name])
    for at in range(len(header)):
        for bit in (1, 0x10, 0x80):
            changed = bytearray(header)
            changed[at] ^= bit
            found = _recognised(bytes(changed))
            if found is not None:
                # A record may have another value. The blocks around the records have checksums.
                assert 512 <= at < len(header) - 512
                assert found == _decoded(bytes(changed)), (at, bit)


_UNUSUAL = {
    "name that is not ASCII": Entry("Files/ä", _INFO, 5, _SECURITY),
    "time before 2001": Entry("Files/a", replace(_INFO, creation_time=filetime.UNIX_EPOCH), 5),
    "reparse point": Entry("Files/a", replace(_INFO, attributes=0x400), 0, reparse=b"\x01\0\0\x80\0\0\0\0"),
    "tombstone": Entry("Files/a", None),
    "size of 8 GiB": Entry("Files/a", _INFO, 8 << 30),
    "EA with an equals sign": Entry("Files/a", _INFO, 0, None, encode_eas([ExtendedAttribute(b"A=B", b"")])),
}


@pytest.mark.parametrize("name", _UNUSUAL)
def test_other_entries_are_left_to_the_general_decoder(name: str) -> None:
    header = encode_entry(_UNUSUAL[name])
    assert _recognised(header) is None
    assert _decoded(header) == replace(_UNUSUAL[name], place="offset 0")


_path = st.lists(
    st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="/:\\"), min_size=1, max_size=90),
    min_size=1, max_size=4,
).map(lambda parts: "/".join(["Files", *parts]))  # fmt: skip
_time = st.one_of(st.sampled_from(_TIMES), st.integers(0, (1 << 63) - 1))
_ea = st.builds(
    ExtendedAttribute,
    st.binary(min_size=1, max_size=20).map(lambda b: b.hex().upper().encode()),
    st.binary(max_size=99),
)


@given(
    _path,
    st.integers(0, 0xFFFFFFFF),
    st.tuples(_time, _time, _time, _time),
    st.sampled_from([0, 1, 100_000]),
    st.sampled_from([None, _SECURITY, b"descriptor"]),
    st.lists(_ea, max_size=2, unique_by=lambda ea: ea.name),
    st.one_of(st.none(), _path),
    st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=2),
)  # fmt: skip
@settings(max_examples=400)
def test_what_is_recognised_is_what_is_decoded(
    name: str,
    attributes: int,
    times: tuple[int, int, int, int],
    size: int,
    security: bytes | None,
    eas: list[ExtendedAttribute],
    target: str | None,
    changes: list[tuple[int, int]],
) -> None:
    entry = Entry(name, FileBasicInfo(attributes, *times), size, security, encode_eas(eas), link_target=target)
    if target is not None or attributes & 0x10:
        entry.size = 0
    header = bytearray(encode_entry(entry))
    for at, value in changes:
        header[at % len(header)] = value
    found = _recognised(bytes(header))
    assert found is None or found == _decoded(bytes(header))
