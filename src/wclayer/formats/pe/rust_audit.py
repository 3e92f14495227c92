"""Reads the list of crates that `cargo auditable` puts into a program of Rust.

Source: PARSING.md of cargo-auditable. The list is JSON, compressed with zlib, in a section of its own.
"""

from __future__ import annotations

import zlib

from wclayer.formats.pe import structs
from wclayer.formats.pe.errors import PeError
from wclayer.formats.pe.image import PeImage


def read_rust_audit(image: PeImage) -> bytes | None:
    """Returns the list of crates as JSON, or None for a program that has none.

    Raises:
        PeError: it is damaged, or larger than what is read.
    """
    section = next((each for each in image.sections if each.raw_name.rstrip(b"\0") == structs.RUST_SECTION), None)
    if section is None:
        return None
    stored = image.read_some(section.rva, structs.MAX_RUST_STORED)
    stream = zlib.decompressobj()
    try:
        data = stream.decompress(stored, structs.MAX_RUST_SIZE)
    except zlib.error as error:
        raise PeError(f"the list of crates is damaged: {error}") from None
    if not stream.eof:
        raise PeError(f"the list of crates is cut off, or has more than {structs.MAX_RUST_SIZE} bytes")
    return data
