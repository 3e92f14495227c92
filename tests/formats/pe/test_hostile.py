"""PE files that claim more than they hold, or refer to themselves, are refused or read in little memory."""

from __future__ import annotations

import contextlib
import random
import struct
import tracemalloc
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.formats.pe import craft
from tests.formats.pe.craft import FIRST_RVA, Pe, Section
from wclayer.formats.pe import structs
from wclayer.formats.pe.checksum import computed_checksum
from wclayer.formats.pe.errors import PeError
from wclayer.formats.pe.facts import PeFacts, read_facts
from wclayer.formats.pe.image import PeImage
from wclayer.formats.pe.imports import delayed_dlls, imported_dlls
from wclayer.formats.pe.resources import walk_resources
from wclayer.formats.pe.signature import authenticode_hash
from wclayer.formats.pe.source import BufferSource
from wclayer.formats.pe.version import parse_version

_MEMORY = 16 << 20
_ENTRIES = 16
"""The offset of the first entry of a resource directory."""


@pytest.fixture(autouse=True)
def _in_little_memory() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < _MEMORY
    finally:
        tracemalloc.stop()


def _facts(data: bytes) -> PeFacts:
    return read_facts(PeImage(BufferSource(data)))


def _problems(pe: Pe) -> list[str]:
    return [problem.partition(":")[0] for problem in _facts(pe.encode()).problems]


def _rsrc(data: bytes, *, size: int | None = None) -> Pe:
    return Pe(
        sections=[Section(FIRST_RVA, data, b".rsrc", virtual_size=size)],
        directories={craft.RESOURCE: (FIRST_RVA, len(data))},
    )


def _directory(*entries: tuple[int, int], count: int | None = None) -> bytes:
    count = len(entries) if count is None else count
    return struct.pack("<IIHHHH", 0, 0, 0, 0, 0, count) + b"".join(struct.pack("<II", *entry) for entry in entries)


def _everything(data: bytes) -> None:
    """Reads all that can be read, whatever is damaged."""
    with contextlib.suppress(PeError):
        image = PeImage(BufferSource(data))
        read_facts(image)
        readers: list[Callable[[PeImage], object]] = [
            imported_dlls, delayed_dlls, authenticode_hash, computed_checksum, lambda each: list(walk_resources(each)),
        ]  # fmt: skip
        for reader in readers:
            with contextlib.suppress(PeError):
                reader(image)


def _full() -> bytes:
    """A file that has a little of everything."""
    version = craft.version_info(((1, 2, 3, 4),) * 2, {"040904b0": [("ProductName", "x")]}, [(1033, 1200)])
    tree: craft.Tree = {"A": {"B": {1: b"c"}}, 16: {1: {1033: version}}}
    return Pe(
        subsystem=1,
        sections=[
            Section(FIRST_RVA, craft.resources(tree), b".rsrc"),
            Section(FIRST_RVA + 0x1000, craft.imports(["a.dll"])),
            Section(FIRST_RVA + 0x2000, craft.clr_header(FIRST_RVA + 0x2000)),
        ],
        directories={
            craft.RESOURCE: (FIRST_RVA, 0x1000),
            craft.IMPORT: (FIRST_RVA + 0x1000, 40),
            craft.CLR: (FIRST_RVA + 0x2000, 72),
        },
    ).encode()


def test_a_file_that_is_cut_anywhere_is_read_or_refused() -> None:
    data = _full()
    for end in range(0, len(data), 7):
        _everything(data[:end])


def test_each_changed_byte_is_read_or_refused() -> None:
    data = bytearray(_full())
    random_bytes = random.Random(1)
    for at in range(len(data)):
        before, data[at] = data[at], random_bytes.randrange(256)
        _everything(bytes(data))
        data[at] = before


@given(data=st.binary(max_size=600), start=st.sampled_from([0, 64, craft.PE_OFFSET, craft.PE_OFFSET + 24, 0x400]))
def test_any_bytes_are_read_or_refused(data: bytes, start: int) -> None:
    _everything(_full()[:start] + data)


@given(data=st.binary(max_size=300))
def test_any_bytes_are_a_version_or_refused(data: bytes) -> None:
    for start in (b"", craft.version_info(None, {})[:38]):
        with contextlib.suppress(PeError):
            parse_version(start + data)


def test_headers_beyond_the_file_are_refused() -> None:
    for data in (Pe().encode()[:0x100], Pe(section_count=500).encode()):
        with pytest.raises(PeError, match="the file ends at"):
            PeImage(BufferSource(data))


def test_too_many_sections_are_refused() -> None:
    with pytest.raises(PeError, match="2049 sections"):
        PeImage(BufferSource(Pe(section_count=structs.MAX_SECTIONS + 1).encode()))


def test_a_header_that_names_more_directories_than_there_are_is_read() -> None:
    data = bytearray(Pe().encode())
    struct.pack_into("<I", data, Pe().directories_offset - 4, 0xFFFFFFFF)
    assert _facts(bytes(data)).problems == ()


def test_a_header_without_directories_has_nothing() -> None:
    facts = _facts(Pe(directory_count=0, overlay=b"x" * 8).encode())
    assert (facts.versions, facts.certificates, facts.clr, facts.problems) == ((), (), None, ())
    assert authenticode_hash(PeImage(BufferSource(Pe(directory_count=0).encode())))


def test_an_object_file_is_no_image() -> None:
    data = bytearray(Pe().encode())
    struct.pack_into("<H", data, craft.PE_OFFSET + 4 + 16, 0)
    with pytest.raises(PeError, match="object file"):
        PeImage(BufferSource(bytes(data)))


def test_of_sections_that_overlap_the_last_one_counts() -> None:
    sections = [Section(FIRST_RVA, b"a" * 0x2000), Section(FIRST_RVA + 0x1000, b"b" * 0x200)]
    image = PeImage(BufferSource(Pe(sections=sections).encode()))
    assert image.read(FIRST_RVA + 0x1000, 2) == b"bb"
    assert image.read(FIRST_RVA, 2) == b"aa"


@pytest.mark.parametrize(
    "section",
    [
        Section(FIRST_RVA, b"x", raw_offset=0xFFFFFE00, raw_size=0x1000),
        Section(0xFFFFF000, b"x"),
        Section(FIRST_RVA, b"x", virtual_size=0xFFFFFFFF, raw_size=0xFFFFFFFF),
        Section(FIRST_RVA, b"", virtual_size=0, raw_size=0),
        Section(0, b"x", raw_offset=1),
    ],
    ids=["file", "address", "size", "empty", "zero"],
)
def test_sections_beyond_all_bounds_are_no_harm(section: Section) -> None:
    directories = dict.fromkeys(range(craft.DIRECTORIES), (FIRST_RVA, 4294967295))
    _everything(Pe(sections=[section], directories=directories).encode())
    _everything(Pe(sections=[section] * structs.MAX_SECTIONS, directories=directories).encode())


# Resources.


def test_a_resource_directory_that_is_below_itself_ends_at_the_third_level() -> None:
    root = 0x80000000
    assert _problems(_rsrc(_directory((16, root)))) == ["version"]
    walk = walk_resources(PeImage(BufferSource(_rsrc(_directory((3, root))).encode())))
    with pytest.raises(PeError, match="below a type, a name and a language"):
        list(walk)


def test_a_resource_that_is_not_at_the_third_level_is_refused() -> None:
    for data in (_directory((16, 24)), _directory((16, 0x80000018)) + _directory((1, 24))):
        assert _problems(_rsrc(data)) == ["version"]


def test_many_entries_that_name_the_same_directory_are_refused() -> None:
    """A tree of 24 KB that says it has 1,000³ resources."""
    second, third = _ENTRIES + 8 * 1000, 2 * (_ENTRIES + 8 * 1000)
    data = _directory(*((number, 0x80000000 | second) for number in range(1000)))
    data += _directory(*((number, 0x80000000 | third) for number in range(1000)))
    data += _directory(*((number, 0) for number in range(1000)))
    walk = walk_resources(PeImage(BufferSource(_rsrc(data).encode())))
    with pytest.raises(PeError, match="more than 65536 entries"):
        for _ in walk:
            pass
    assert _problems(_rsrc(data)) == ["version"]


def test_a_resource_directory_that_states_more_entries_than_the_file_has_is_refused() -> None:
    assert _problems(_rsrc(_directory((16, 24), count=0xFFFF))) == ["version"]
    # The memory after the file is zeros: entries of the type 0, none of a version.
    assert _problems(_rsrc(_directory(count=0xFFFF), size=0x100000)) == []


def test_long_names_of_resources_are_refused() -> None:
    tree: craft.Tree = {"x" * (structs.MAX_RESOURCE_NAME + 1): {1: {1: b""}}}
    with pytest.raises(PeError, match="name of 1025 characters"):
        list(walk_resources(PeImage(BufferSource(craft.with_resources(tree).encode()))))


def test_a_resource_outside_of_the_sections_is_refused() -> None:
    data = bytearray(craft.resources({16: {1: {1: b"x" * 64}}}))
    struct.pack_into("<I", data, 72, 0xFFFFFFF0)
    assert _problems(_rsrc(bytes(data))) == ["version"]


# Versions.


def test_versions_that_share_their_bytes_are_bounded() -> None:
    """Each of 1,000 languages has the same version resource of 64 KB, which has 8,000 texts."""
    block = craft.version_block("VS_VERSION_INFO", children=[
        craft.version_block("StringFileInfo", children=[
            craft.version_block("040904b0", children=[struct.pack("<HHHH", 8, 1, 1, 0)] * 8000)
        ])
    ])  # fmt: skip
    second, third = 24, 48
    leaf = third + _ENTRIES + 8 * 1000
    data = _directory((16, 0x80000000 | second)) + _directory((1, 0x80000000 | third))
    data += _directory(*((number, leaf) for number in range(1000)))
    data += struct.pack("<IIII", FIRST_RVA + leaf + 16, len(block), 0, 0) + block
    assert _problems(_rsrc(data)) == ["version"]


def test_of_a_damaged_tree_the_versions_before_the_damage_are_kept() -> None:
    data = craft.resources({16: {1: {1: craft.version_info(None, {}), 2: b"no version"}}})
    facts = _facts(_rsrc(data).encode())
    assert [version.language for version in facts.versions] == [1]
    assert len(facts.problems) == 1


def test_blocks_of_a_version_that_state_wrong_lengths_end_with_what_is_around_them() -> None:
    good = craft.version_info(((1, 2, 3, 4),) * 2, {"040904b0": [("A", "b"), ("C", "d")]})
    for length in (0, 5, 6, 7, 0x7FFF, 0xFFFF):
        for at in (0, good.find(b"S\0t\0r") - 6, good.find(b"0\x004\0") - 6, good.find(b"A\0\0\0") - 6):
            data = bytearray(good)
            struct.pack_into("<H", data, at, length)
            with contextlib.suppress(PeError):
                texts = [pair for table in parse_version(bytes(data)).tables for pair in table.strings]
                assert len(texts) <= 2
    data = bytearray(good)
    struct.pack_into("<H", data, 0, 0xFFFF)
    assert parse_version(bytes(data)).get("C") == "d"


def test_texts_without_an_end_are_read_to_the_end_of_their_block() -> None:
    endless = craft.version_block("A", "bc".encode("utf-16-le"), text=2)
    data = craft.version_block("VS_VERSION_INFO", children=[
        craft.version_block("StringFileInfo", children=[craft.version_block("040904b0", children=[endless])])
    ])  # fmt: skip
    assert parse_version(data).get("A") == "bc"


def test_what_is_no_version_is_refused() -> None:
    for data in (b"", b"\0" * 40, craft.version_block("VS_VERSION_INF0"), craft.version_info(None, {})[:20]):
        with pytest.raises(PeError):
            parse_version(data)


# Tables of other kinds.


def test_imports_without_an_end_are_refused() -> None:
    """The table is where each descriptor names the same DLL, up to the end of the section."""
    data = struct.pack("<IIIII", 1, 0, 0, FIRST_RVA, 1) * (structs.MAX_DLLS + 1) + b"\0"
    pe = Pe(subsystem=1, sections=[Section(FIRST_RVA, data)], directories={craft.IMPORT: (FIRST_RVA, 20)})
    with pytest.raises(PeError, match="more than 1024"):
        imported_dlls(PeImage(BufferSource(pe.encode())))
    assert _problems(pe) == ["imports"]


def test_a_name_of_a_dll_without_an_end_is_refused() -> None:
    data = struct.pack("<IIIII", 1, 0, 0, FIRST_RVA + 40, 1) + bytes(20) + b"x" * 1000
    pe = Pe(sections=[Section(FIRST_RVA, data)], directories={craft.IMPORT: (FIRST_RVA, 20)})
    with pytest.raises(PeError, match="does not end"):
        imported_dlls(PeImage(BufferSource(pe.encode())))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (struct.pack("<IHH", 7, 0x200, 2) + bytes(8), "a certificate of 7 bytes"),
        (struct.pack("<IHH", 0, 0x200, 2) + bytes(8), "a certificate of 0 bytes"),
        (struct.pack("<IHH", 17, 0x200, 2) + bytes(8), "where there is room for 16"),
        (struct.pack("<IHH", 16, 0x300, 2) + bytes(8), "unknown revision"),
        ((struct.pack("<IHH", 16, 0x200, 2) + bytes(8)) * (structs.MAX_CERTIFICATES + 1), "more than 64"),
    ],
    ids=["short", "zero", "long", "revision", "many"],
)
def test_certificates_that_are_not_well_formed_are_refused(table: bytes, message: str) -> None:
    pe = Pe(overlay=table, directories={craft.SECURITY: (len(Pe().encode()), len(table))})
    facts = _facts(pe.encode())
    assert not facts.is_signed
    assert message in facts.problems[0]


def test_certificates_within_the_headers_have_no_hash() -> None:
    pe = Pe(directories={craft.SECURITY: (16, 64)})
    with pytest.raises(PeError):
        authenticode_hash(PeImage(BufferSource(pe.encode())))


@pytest.mark.parametrize(
    "header",
    [
        struct.pack("<I", 71) + bytes(200),
        struct.pack("<IHHI", 72, 2, 5, 0xFFFFFFFF) + bytes(200),
        craft.clr_header(FIRST_RVA).replace(b"BSJB", b"BSJA"),
        craft.clr_header(FIRST_RVA, b"v" * 300),
        craft.clr_header(FIRST_RVA)[:60],
    ],
    ids=["size", "address", "signature", "version", "cut"],
)
def test_clr_headers_that_are_not_well_formed_are_refused(header: bytes) -> None:
    pe = Pe(sections=[Section(FIRST_RVA, header)], directories={craft.CLR: (FIRST_RVA, 72)})
    assert _problems(pe) == ["CLR header"]


def test_a_debug_directory_of_many_entries_is_refused() -> None:
    pe = Pe(sections=[Section(FIRST_RVA, b"x")], directories={craft.DEBUG: (FIRST_RVA, 28 * 65)})
    assert _problems(pe) == ["debug directory"]
