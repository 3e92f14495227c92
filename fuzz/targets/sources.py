"""What a user says that a fleet is: files of references, patterns, rates, one text for a source."""

from __future__ import annotations

import os

from fuzz import place
from fuzz.target import Target
from wclayer.errors import InvalidDataError, InvalidParameterError, LayerError
from wclayer.fleet.pace.rate import parse_rate
from wclayer.fleet.sources.file import list_file
from wclayer.fleet.sources.filters import Filters
from wclayer.fleet.sources.locations import listed_at


def _references(data: bytes) -> None:
    """What is listed means itself again; what is not is told by its line."""
    file = place.own() / "references"
    file.write_bytes(data)
    for item in list_file(os.fspath(file), Filters()):
        if item.error:
            assert item.reference.startswith(f"{file}:")
        else:
            assert listed_at(item.location) == item


def _patterns(data: bytes) -> None:
    """The first line is the pattern, the second the repository."""
    pattern, _, repository = os.fsdecode(data).partition("\n")
    filters = Filters([pattern], ["*"])
    assert filters.has(repository, "1") == filters.has_repository(repository)


def _rate(data: bytes) -> None:
    """A rate is at most one request in an hour apart."""
    assert 0 < parse_rate(os.fsdecode(data)).interval <= 3600


TARGETS = {
    "fleet_references": Target(
        _references,
        lambda: [b"# ours\nlocalhost:5000/app:1 # old\n\nnanoserver\r\noci:dir:1\nstore:app\ndocker-archive:a.tar",
                 "app:1\n\u00e4\n".encode("utf-16"), b"\xef\xbb\xbfapp@sha256:" + b"5" * 64],
        (InvalidDataError,),
        words=(b"oci:", b"store:", b"docker://", b"oci-archive:", b"@sha256:", b" #", b"\xff\xfe", b"C:\\", b"\n"),
        max_size=2048,
    ),
    "fleet_patterns": Target(
        _patterns, lambda: [b"team/*\nteam/app", b"a?[!b-c]*\nabd"], (InvalidParameterError,),
        words=(b"*", b"?", b"[!", b"]", b"[^", b"/"), max_size=256,
    ),
    "fleet_rate": Target(
        _rate, lambda: [b"20", b"500/m", b"0.5/s"], (LayerError,), words=(b"/h", b"/m", b"/s", b"."), max_size=64,
    ),
}  # fmt: skip
