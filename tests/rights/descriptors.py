"""Random security descriptors and tokens, and what Samba says of them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import strategies as st

from wclayer.rights.access import OWNER_RIGHTS, Token
from wclayer.rights.kinds import ObjectKind
from wclayer.win32.security import Ace, AceType, Acl, Control, SecurityDescriptor
from wclayer.win32.sid import ADMINISTRATORS, ALIASES, LOCAL_SYSTEM, USERS, Sid

SIDS = [ALIASES["WD"], ALIASES["AU"], USERS, ADMINISTRATORS, LOCAL_SYSTEM, Sid(5, (21, 1, 2, 3, 1001))]
BITS = [1 << bit for bit in (*range(9), *range(16, 21))]
_MASKS = st.one_of(
    st.sampled_from([0x1F01FF, 0x1301BF, 0x1200A9, 0x120116, 0x10000000, 0x80000000, 0x40000000, 0xE0000000]),
    st.sets(st.sampled_from(BITS), min_size=1).map(sum),
)
_FLAGS = st.sampled_from([0, 0x3, 0xB, 0x10, 0x13, 0x1B, 0x8])
_ACES = st.builds(
    Ace,
    type=st.sampled_from([int(AceType.ACCESS_ALLOWED), int(AceType.ACCESS_DENIED)]),
    flags=_FLAGS,
    mask=_MASKS,
    sid=st.sampled_from([*SIDS, OWNER_RIGHTS]),
)
descriptors = st.builds(
    SecurityDescriptor,
    owner=st.sampled_from(SIDS),
    group=st.just(LOCAL_SYSTEM),
    dacl=st.one_of(st.lists(_ACES, max_size=6).map(Acl.of), st.none()),
    control=st.just(int(Control.SELF_RELATIVE | Control.DACL_PRESENT)),
)
"""Descriptors with a DACL, which may be null or empty."""
tokens = st.sets(st.sampled_from(SIDS), min_size=1, max_size=4).map(lambda sids: Token.of(*sids))

_SAMBA = """
import json, sys
from samba.dcerpc import security
from samba.ndr import ndr_unpack
from samba.security import access_check
from samba import NTSTATUSError
for line in sys.stdin:
    raw, sids, bits = json.loads(line)
    descriptor = ndr_unpack(security.descriptor, bytes.fromhex(raw))
    token = security.token()
    token.sids = [security.dom_sid(sid) for sid in sids]
    token.num_sids = len(sids)
    granted = 0
    for bit in bits:
        try:
            access_check(descriptor, token, bit)
            granted |= bit
        except NTSTATUSError:
            pass
    print(granted)
"""


def samba_grants(questions: Sequence[tuple[SecurityDescriptor, Token]]) -> list[int]:
    """What Samba's access check grants: for each question, the bits that it gives when it is asked for one alone."""
    python = ["/usr/bin/python3", "-c", "import samba.security"]
    if sys.platform == "win32" or subprocess.run(python, capture_output=True, check=False).returncode:
        pytest.skip("needs python3-samba")
    lines = "\n".join(
        json.dumps([_mapped(descriptor).encode().hex(), sorted(map(str, token.sids)), BITS])
        for descriptor, token in questions
    )
    answer = subprocess.run(
        ["/usr/bin/python3", "-c", _SAMBA], input=lines, capture_output=True, text=True, check=True
    ).stdout.split()
    return list(map(int, answer))


def _mapped(descriptor: SecurityDescriptor) -> SecurityDescriptor:
    """The descriptor without generic rights, which Samba replaces elsewhere."""
    if descriptor.dacl is None:
        return descriptor
    aces = [replace(ace, mask=ObjectKind.FILE.mapped(ace.mask)) for ace in descriptor.dacl.aces]
    return descriptor.with_dacl(Acl.of(aces))
