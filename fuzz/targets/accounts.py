"""The binary values of the hive SAM."""

from __future__ import annotations

from contextlib import suppress

from fuzz.target import Target
from tests.inventory.test_users import facts, group, texts
from wclayer.errors import FormatError
from wclayer.formats.sam import parse_account_facts, parse_account_texts, parse_domain_sid, parse_group
from wclayer.win32.sid import Sid


def _sam(data: bytes) -> None:
    """No text and no list of members is longer than the value."""
    with suppress(FormatError):
        assert parse_account_facts(data).rid < 1 << 32
    with suppress(FormatError):
        assert all(len(text) * 2 <= len(data) for text in parse_account_texts(data))
    with suppress(FormatError):
        found = parse_group(data)
        assert len(found.name) * 2 <= len(data)
        assert sum(member.size for member in found.members) <= len(data)
    with suppress(FormatError):
        assert parse_domain_sid(data).size <= 68


TARGETS = {
    "sam": Target(
        _sam,
        lambda: [
            facts(500, 0x211),
            texts("app", "The application", "comment"),
            group(544, "Administrators", "S-1-5-18", "S-1-5-21-1-2-3-500"),
            bytes(64) + Sid.parse("S-1-5-21-1-2-3").encode(),
        ],
        max_size=1024,
    ),
}
