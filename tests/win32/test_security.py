"""Security descriptors: real ones come back bit for bit, SDDL agrees with an independent implementation."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
from collections.abc import Iterator
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.packages import system_hive, windows_volume
from tests.support import VECTORS, read_tar, vector_bytes
from wclayer.win32.sddl import from_sddl, to_sddl
from wclayer.win32.security import Ace, AceType, Acl, Control, SecurityDescriptor
from wclayer.win32.sid import ALIASES, Sid

_sids = st.one_of(
    st.sampled_from(sorted(ALIASES.values(), key=str)),
    st.builds(Sid, st.integers(0, 20), st.lists(st.integers(0, 0xFFFFFFFF), min_size=1, max_size=6).map(tuple)),
)
_guids = st.none() | st.uuids()
_masks = st.one_of(st.sampled_from([0x1F01FF, 0x120089, 0x1, 0x80000000, 0]), st.integers(0, 0xFFFFFFFF))
_plain_types = st.sampled_from([0, 1, 2, 3, 0x9, 0xA, 0xD, 0x11, 0x12, 0x13, 0x14, 0x15])
_object_types = st.sampled_from([5, 6, 7, 8, 0xB])
_tails = st.binary(max_size=5).map(lambda data: (data * 4)[: len(data) * 4])
_aces = st.one_of(
    st.builds(Ace, _plain_types, st.integers(0, 0xFF), _masks, _sids, _tails),
    st.builds(Ace, _object_types, st.integers(0, 0xFF), _masks, _sids, _tails, _guids, _guids),
)
_acls = st.none() | st.lists(_aces, max_size=5).map(Acl.of)


@st.composite
def _descriptors(draw: st.DrawFn) -> SecurityDescriptor:
    control = draw(st.integers(0, 0x3FFF)) | Control.SELF_RELATIVE
    dacl = draw(_acls) if control & Control.DACL_PRESENT else None
    sacl = draw(_acls) if control & Control.SACL_PRESENT else None
    return SecurityDescriptor(draw(st.none() | _sids), draw(st.none() | _sids), dacl, sacl, control)


@given(_descriptors())
def test_binary_both_ways(descriptor: SecurityDescriptor) -> None:
    assert SecurityDescriptor.decode(descriptor.encode()) == descriptor


@given(_descriptors())
def test_sddl_both_ways(descriptor: SecurityDescriptor) -> None:
    text = to_sddl(descriptor)
    again = from_sddl(text)
    assert to_sddl(again) == text
    assert (again.owner, again.group, again.sacl) == (descriptor.owner, descriptor.group, descriptor.sacl)
    assert again.dacl == descriptor.dacl


@given(st.binary(max_size=200))
def test_arbitrary_bytes_give_a_descriptor_or_a_value_error(data: bytes) -> None:
    for prefix in (b"", b"\x01\x00\x04\x80"):
        try:
            SecurityDescriptor.decode(prefix + data)
        except ValueError as error:
            assert str(error)


@given(st.text('OGDS:();,AIPRFW0x1-9 "#', max_size=60))
def test_arbitrary_text_gives_a_descriptor_or_a_value_error(text: str) -> None:
    try:
        from_sddl(text)
    except ValueError as error:
        assert str(error)


def _real_descriptors() -> Iterator[bytes]:
    """Descriptors that Windows made: those of layers, of registry keys, and of a volume's $Secure."""
    for name in VECTORS:
        yield from {entry.security for entry, _ in read_tar(vector_bytes(name)) if entry.security}
    hive = system_hive()
    at = 0x1000
    while (at := hive.find(b"sk", at)) >= 0:
        # A key security cell: size (negative: in use), "sk", two bytes, two links, references, length, descriptor.
        (size,) = struct.unpack_from("<i", hive, at - 4)
        length = struct.unpack_from("<I", hive, at + 16)[0] if at + 20 <= len(hive) else 0
        if at % 8 == 4 and size < 0 and 20 < length <= -size - 24:
            yield hive[at + 20 : at + 20 + length]
        at += 2
    ntfs = pytest.importorskip("dissect.ntfs")
    volume = ntfs.NTFS(io.BytesIO(windows_volume()))
    stream = volume.mft.get("$Secure").open("$SDS").read()
    at = 0
    while at + 20 <= len(stream) and at < 0x40000:
        _hash, _id, offset, length = struct.unpack_from("<IIQI", stream, at)
        if not length or offset != at:
            break
        yield stream[at + 20 : at + length]
        at += (length + 15) & ~15


def test_real_descriptors_come_back_bit_for_bit() -> None:
    count = 0
    for raw in _real_descriptors():
        descriptor = SecurityDescriptor.decode(raw)
        # Windows lays out SACL, DACL, owner, group, or owner and group first; the parts are the same.
        assert SecurityDescriptor.decode(descriptor.encode()) == descriptor
        if struct.unpack_from("<I", raw, 4)[0] > struct.unpack_from("<I", raw, 16)[0]:
            assert descriptor.encode() == raw
        again = from_sddl(to_sddl(descriptor))
        assert (again.owner, again.group, again.dacl, again.sacl) == (
            descriptor.owner, descriptor.group, descriptor.dacl, descriptor.sacl,
        )  # fmt: skip
        count += 1
    assert count > 100


_SAMBA = """
import json, sys
from samba.dcerpc import security
from samba.ndr import ndr_pack, ndr_unpack
domain = security.dom_sid("S-1-5-21-1-2-3")
for line in sys.stdin:
    text = ndr_unpack(security.descriptor, bytes.fromhex(line)).as_sddl(domain)
    print(json.dumps([text, ndr_pack(security.descriptor.from_sddl(text, domain)).hex()]))
"""


def test_sddl_agrees_with_samba() -> None:
    python = ["/usr/bin/python3", "-c", "import samba.ndr"]
    if sys.platform == "win32" or subprocess.run(python, capture_output=True, check=False).returncode:
        pytest.skip("needs python3-samba")
    # Debian 12's Samba crashes on mandatory labels and process trust labels.
    texts = {raw: to_sddl(SecurityDescriptor.decode(raw)) for raw in _real_descriptors()}
    real = [raw for raw in sorted(texts) if ";NW;" not in texts[raw] and "(TL;" not in texts[raw]]
    lines = "\n".join(raw.hex() for raw in real)
    answer = subprocess.run(
        ["/usr/bin/python3", "-c", _SAMBA], input=lines, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert len(answer) == len(real) > 30
    for raw, line in zip(real, answer, strict=True):
        text, packed = json.loads(line)
        # Its text is read by us as it reads it itself, and means what the bytes mean.
        ours = from_sddl(text)
        theirs = SecurityDescriptor.decode(bytes.fromhex(packed))
        descriptor = SecurityDescriptor.decode(raw)
        assert (ours.owner, ours.group) == (theirs.owner, theirs.group) == (descriptor.owner, descriptor.group)
        for acl in ("dacl", "sacl"):
            # Samba gives every ACL revision 4.
            aces = [getattr(d, acl).aces if getattr(d, acl) is not None else None for d in (ours, theirs, descriptor)]
            assert aces[0] == aces[1] == aces[2]


@pytest.mark.parametrize(
    "text",
    [
        "O:BAG:SYD:PAI(A;OICI;FA;;;BA)(A;;0x1200a9;;;BU)",
        "D:NO_ACCESS_CONTROL",
        "D:",
        "D:PARAIS:AI(AU;SAFA;FA;;;WD)",
        "S:(ML;;NW;;;LW)",
        "D:(OA;CI;RPWP;00299570-246d-11d0-a768-00aa006e0529;bf967aba-0de6-11d0-a285-00aa003049e2;S-1-5-21-1-2-3-500)",
        "D:(XA;;FX;;;WD;(#61727478f8000000))",
        "S:(RA;;;;;WD;(#0000000001000000))",
        "O:S-1-15-2-1-2-3G:S-1-0x010203040506-7",
    ],
)
def test_sddl_text_survives(text: str) -> None:
    assert to_sddl(from_sddl(text)) == text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("X:BA", "expected O:, G:, D: or S: at offset 0"),
        ("O:BAO:SY", "a second O: at offset 4"),
        ("O:QQ", "not a SID"),
        ("D:(A;;FA;;;S-1-5-\uff11)", "not a SID"),
        ("D:(A;;FA;;;BA", "not closed"),
        ("D:(A;;FA)", "3 fields"),
        ("D:(QQ;;FA;;;BA)", "unknown ACE type"),
        ("D:(A;QQ;FA;;;BA)", "unknown ACE flag"),
        ("D:(A;;QQ;;;BA)", "unknown right"),
        ("D:(A;;0x1ffffffff;;;BA)|", "SDDL"),
        ('D:(XA;;FX;;;WD;(@User.Title=="PM"))', "not an octet string"),
    ],
)
def test_bad_sddl_is_named_with_its_offset(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        from_sddl(text)


def test_unknown_aces_are_kept_verbatim() -> None:
    compound = struct.pack("<BBH", 4, 0, 12) + bytes(range(8))
    acl = struct.pack("<BBHHH", 2, 0, 20, 1, 0) + compound
    raw = struct.pack("<BBHIIII", 1, 0, 0x8004, 0, 0, 0, 20) + acl
    descriptor = SecurityDescriptor.decode(raw)
    assert descriptor.dacl is not None
    assert descriptor.dacl.aces[0] == Ace(4, 0, 0, None, bytes(range(8)))
    assert descriptor.encode() == raw
    with pytest.raises(ValueError, match="no form for ACE type 0x04"):
        to_sddl(descriptor)


def test_an_odd_length_is_kept() -> None:
    """An ACE whose claim is no multiple of four bytes long, as it should be, comes back as it was."""
    ace = Ace(int(AceType.ACCESS_ALLOWED_CALLBACK), 0, 1, Sid(1, (0,)), b"abcde")
    assert Ace.decode(ace.encode(), 0, 25) == (ace, 25)
    (parsed,) = from_sddl("D:(XA;;CC;;;WD;(#6162636465))").dacl.aces  # type: ignore[union-attr]
    assert parsed.data == b"abcde\0\0\0"


def test_object_ace_layout() -> None:
    guid = UUID("00299570-246d-11d0-a768-00aa006e0529")
    ace = Ace(int(AceType.ACCESS_ALLOWED_OBJECT), 0, 0x30, Sid(1, (0,)), b"", None, guid)
    assert ace.encode() == struct.pack("<BBHII", 5, 0, 40, 0x30, 2) + guid.bytes_le + Sid(1, (0,)).encode()
    assert Acl.of([ace]).revision == 4
