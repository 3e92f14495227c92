"""Zip archives that packages are kept in: how many members are looked at, and how much of one is read."""

from __future__ import annotations

from collections.abc import Iterator

from wclayer.errors import FormatLimitError
from wclayer.formats.zip import ZipMember, ZipReader

_MAX_MEMBERS = 200_000
"""Members of an archive that are looked at. The class libraries of whole platforms have some ten thousand."""


def each_member(reader: ZipReader) -> Iterator[ZipMember]:
    """Yields the members of an archive.

    Raises:
        ZipError: the archive is damaged.
        FormatLimitError: there are more than 200,000, after the first 200,000.
    """
    for count, member in enumerate(reader.members()):
        if count == _MAX_MEMBERS:
            raise FormatLimitError(f"has {reader.count} members; the first {_MAX_MEMBERS} are looked at")
        yield member


def member_name(member: ZipMember) -> str:
    """Returns the name of a member as text."""
    return member.name.decode("utf-8", "replace")


def read_member(reader: ZipReader, member: ZipMember, limit: int) -> bytes:
    """Returns the contents of a member.

    Raises:
        ZipError: it is damaged.
        FormatLimitError: it is larger than `limit` bytes.
    """
    if member.size > limit:
        raise FormatLimitError(f"{member_name(member)[:100]} has {member.size} bytes; at most {limit} are read")
    return b"".join(reader.data(member))
