"""Attributes, basic info, EAs, GUIDs: both ways, and nothing but ValueError for bad bytes."""

from __future__ import annotations

import struct
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wclayer.win32.attributes import FileBasicInfo, attribute_letters, attribute_names
from wclayer.win32.ea import MAX_LIST_SIZE, EaError, ExtendedAttribute, decode_eas, encode_eas, with_last_marked
from wclayer.win32.guid import parse_guid
from wclayer.win32.sid import Sid, vm_sid

_time = st.integers(0, (1 << 63) - 1)
_eas = st.lists(
    st.builds(
        ExtendedAttribute,
        st.binary(min_size=1, max_size=254).filter(lambda name: 0 not in name),
        st.binary(max_size=300),
        st.sampled_from([0, 0x80]),
    ),
    max_size=5,
)


@given(st.integers(0, 0xFFFFFFFF), _time, _time, _time, _time)
def test_basic_info_is_40_bytes_both_ways(attributes: int, a: int, b: int, c: int, d: int) -> None:
    info = FileBasicInfo(attributes, a, b, c, d)
    assert len(info.pack()) == 40
    assert FileBasicInfo.unpack(info.pack()) == info


def test_basic_info_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="40 bytes, not 39"):
        FileBasicInfo.unpack(bytes(39))


def test_attributes_have_names_and_letters() -> None:
    assert attribute_names(0x10 | 0x400 | 0x800000) == ["DIRECTORY", "REPARSE_POINT", "0x800000"]
    assert attribute_letters(0x16) == "D-HS----------"


@given(_eas)
def test_eas_both_ways(eas: list[ExtendedAttribute]) -> None:
    assert decode_eas(encode_eas(eas)) == eas


@given(st.binary(max_size=100))
def test_arbitrary_bytes_give_eas_or_a_value_error(data: bytes) -> None:
    try:
        decode_eas(data)
    except ValueError as error:
        assert "EA list" in str(error)


def test_ea_layout_is_file_full_ea_information() -> None:
    data = encode_eas([ExtendedAttribute(b"A", b"xyz"), ExtendedAttribute(b"BC", b"")])
    assert (
        data == struct.pack("<IBBH", 16, 0, 1, 3) + b"A\0xyz" + bytes(3) + struct.pack("<IBBH", 0, 0, 2, 0) + b"BC\0\0"
    )


@pytest.mark.parametrize("name", [b"", b"a\0b", b"x" * 255])
def test_impossible_ea_names_are_refused(name: bytes) -> None:
    with pytest.raises(ValueError, match="EA name"):
        encode_eas([ExtendedAttribute(name, b"")])


@pytest.mark.parametrize("name", [b"", b"a\0b", b"x" * 255])
def test_lists_with_impossible_ea_names_are_refused(name: bytes) -> None:
    with pytest.raises(EaError, match="EA name"):
        decode_eas(struct.pack("<IBBH", 0, 0, len(name), 0) + name + b"\0")


@given(_eas.filter(bool))
def test_a_list_whose_last_entry_leads_to_its_end_is_the_same(eas: list[ExtendedAttribute]) -> None:
    plain = encode_eas(eas)
    last = len(encode_eas(eas[:-1]))
    led = plain[:last] + (len(plain) - last).to_bytes(4, "little") + plain[last + 4 :]
    assert decode_eas(led) == eas
    assert with_last_marked(led) == with_last_marked(plain) == plain
    with pytest.raises(EaError, match="past the end"):
        decode_eas(plain[:last] + (len(plain) - last + 1).to_bytes(4, "little") + plain[last + 4 :])


def test_a_file_has_64_kib_of_eas() -> None:
    half = ExtendedAttribute(b"A", bytes(MAX_LIST_SIZE // 2 - 10))
    assert decode_eas(encode_eas([half, half])) == [half, half]
    with pytest.raises(EaError, match="more than 65536 bytes"):
        encode_eas([half, half, ExtendedAttribute(b"B", b"")])
    with pytest.raises(EaError, match="at most 65536"):
        decode_eas(encode_eas([half, half]) + bytes(4))


def test_guid_spellings() -> None:
    guid = parse_guid("{1532B584-8431-5b5a-8735-5e1b4fe9c2a9}")
    assert str(guid) == "1532b584-8431-5b5a-8735-5e1b4fe9c2a9"
    with pytest.raises(ValueError, match=r"GUID|UUID"):
        parse_guid("1532b58484315b5a87355e1b4fe9c2a9")


def test_a_virtual_machine_s_sid_embeds_its_guid() -> None:
    guid = UUID("00010203-0405-0607-0809-0a0b0c0d0e0f")
    assert str(vm_sid(guid)) == f"S-1-5-83-1-{0x00010203}-{0x06070405}-{0x0B0A0908}-{0x0F0E0D0C}"
    assert vm_sid(f"{{{guid}}}") == vm_sid(guid)


@given(st.integers(0, (1 << 48) - 1), st.lists(st.integers(0, 0xFFFFFFFF), max_size=15))
def test_sids_both_ways(authority: int, subs: list[int]) -> None:
    sid = Sid(authority, tuple(subs))
    assert Sid.decode(sid.encode()) == sid
    assert Sid.parse(str(sid)) == sid
    assert Sid.parse(sid.to_sddl()) == sid


@given(st.binary(max_size=80))
def test_arbitrary_bytes_give_a_sid_or_a_value_error(data: bytes) -> None:
    try:
        Sid.decode(data)
    except ValueError as error:
        assert "SID" in str(error)
