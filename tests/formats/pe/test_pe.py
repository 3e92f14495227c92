"""PE files that are made field by field are read as they were made."""

from __future__ import annotations

import hashlib
import io
import mmap
import struct
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.formats.pe import craft
from tests.formats.pe.craft import FIRST_RVA, Pe, Section
from wclayer.formats.pe.checksum import computed_checksum
from wclayer.formats.pe.errors import NotPeError, PeError
from wclayer.formats.pe.facts import PeFacts, read_facts
from wclayer.formats.pe.image import PeImage
from wclayer.formats.pe.imports import delayed_dlls, imported_dlls
from wclayer.formats.pe.resources import walk_resources
from wclayer.formats.pe.signature import authenticode_hash, read_certificates
from wclayer.formats.pe.source import BufferSource, FileSource
from wclayer.formats.pe.structs import Machine
from wclayer.formats.pe.version import parse_version

_word = st.integers(0, 0xFFFF)
_long = st.integers(0, 0xFFFFFFFF)
_text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
_key = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12)
_version = st.tuples(_word, _word, _word, _word)
_name = st.one_of(_word, _key)
_tables = st.dictionaries(st.from_regex(r"\A[0-9a-f]{8}\Z"), st.lists(st.tuples(_key, _text), max_size=5), max_size=3)
_languages = st.dictionaries(_word, st.binary(max_size=9), min_size=1, max_size=3)
_trees = st.dictionaries(_name, st.dictionaries(_name, _languages, min_size=1, max_size=3), max_size=4)


def image_of(pe: Pe | bytes) -> PeImage:
    return PeImage(BufferSource(pe if isinstance(pe, bytes) else pe.encode()))


def facts_of(pe: Pe | bytes) -> PeFacts:
    return read_facts(image_of(pe))


@given(
    plus=st.booleans(), machine=_word, timestamp=_long, characteristics=_word, dll_characteristics=_word,
    subsystem=_word, checksum=_long, place=st.integers(4, 5000),
)  # fmt: skip
def test_headers_are_read_as_they_are(
    plus: bool,
    machine: int,
    timestamp: int,
    characteristics: int,
    dll_characteristics: int,
    subsystem: int,
    checksum: int,
    place: int,
) -> None:
    pe = Pe(
        plus, machine, timestamp, characteristics, dll_characteristics, subsystem, checksum=checksum,
        pe_offset=64 + place,
    )  # fmt: skip
    facts = facts_of(pe)
    assert facts.is_pe32_plus is plus
    assert (facts.machine, facts.timestamp, facts.checksum) == (machine, timestamp, checksum)
    assert (facts.characteristics, facts.dll_characteristics) == (characteristics, dll_characteristics)
    assert (facts.subsystem, facts.is_dll) == (subsystem, bool(characteristics & 0x2000))
    assert (facts.is_signed, facts.is_reproducible, facts.clr) == (False, False, None)
    assert (facts.versions, facts.problems) == ((), ())


@pytest.mark.parametrize(
    ("machine", "name"),
    [(0x14C, "x86"), (0x8664, "amd64"), (0x1C4, "arm"), (0xAA64, "arm64"), (0x200, "ia64"), (0x1234, "0x1234")],
)
def test_machines_have_names(machine: int, name: str) -> None:
    assert facts_of(Pe(machine=machine)).processor == name


@given(tree=_trees)
def test_resources_are_found_by_type_name_and_language(tree: craft.Tree) -> None:
    image = image_of(craft.with_resources(tree))
    found = {(each.type, each.name, each.language): image.read(each.rva, each.size) for each in walk_resources(image)}
    assert found == {
        (kind, name, language): data
        for kind, names in tree.items()
        for name, languages in names.items()
        for language, data in languages.items()
    }
    for kind in tree:
        if isinstance(kind, int):
            assert {each.name for each in walk_resources(image, kind)} == set(tree[kind])


@given(
    fixed=st.none() | st.tuples(_version, _version),
    tables=_tables,
    translations=st.lists(st.tuples(_word, _word), max_size=3),
    in_bytes=st.booleans(),
    after=st.binary(max_size=7),
)
def test_versions_are_read_as_they_are(
    fixed: craft.Fixed | None,
    tables: dict[str, list[tuple[str, str]]],
    translations: list[tuple[int, int]],
    in_bytes: bool,
    after: bytes,
) -> None:
    info = parse_version(craft.version_info(fixed, tables, translations, in_bytes=in_bytes) + after)
    if fixed is None:
        assert info.fixed is None
    else:
        assert info.fixed is not None
        assert (info.fixed.file_version, info.fixed.product_version) == fixed
    assert {table.key: list(table.strings) for table in info.tables} == tables
    assert list(info.translations) == translations


def test_a_text_is_found_in_any_case_and_the_first_one_counts() -> None:
    texts = [("ProductName", "one"), ("productname", "two"), ("Comments", "")]
    info = parse_version(craft.version_info(None, {"040904b0": texts, "040704b0": [("Other", "drei")]}))
    assert info.get("PRODUCTNAME") == "one"
    assert info.get("comments") == ""
    assert info.get("other") == "drei"
    assert info.get("nothing") is None


def test_each_language_has_its_version() -> None:
    versions: dict[craft.Name, bytes] = {
        language: craft.version_info(((language, 0, 0, 0),) * 2, {}) for language in (1031, 1033)
    }
    facts = facts_of(craft.with_resources({16: {1: versions}}))
    assert [(each.name, each.language) for each in facts.versions] == [(1, 1031), (1, 1033)]
    assert [each.info.fixed.file_version[0] for each in facts.versions if each.info.fixed] == [1031, 1033]
    assert facts.version is facts.versions[0].info


@given(names=st.lists(st.from_regex(r"\A[a-zA-Z0-9._-]{1,40}\Z"), max_size=8))
def test_imports_are_read_as_they_are(names: list[str]) -> None:
    data = craft.imports(names)
    pe = Pe(sections=[Section(FIRST_RVA, data)], directories={craft.IMPORT: (FIRST_RVA, len(data))})
    assert imported_dlls(image_of(pe)) == names


@pytest.mark.parametrize("uses_rvas", [True, False])
def test_delayed_imports_are_found_by_either_kind_of_address(uses_rvas: bool) -> None:
    name = FIRST_RVA + 64
    address = name if uses_rvas else 0x400000 + name
    data = struct.pack("<IIIIIIII", uses_rvas, address, 0, 0, 0, 0, 0, 0) + bytes(32) + b"later.dll\0"
    pe = Pe(
        plus=False, sections=[Section(FIRST_RVA, data)], directories={craft.DELAY_IMPORT: (FIRST_RVA, 64)},
    )  # fmt: skip
    assert delayed_dlls(image_of(pe)) == ["later.dll"]


@pytest.mark.parametrize(
    ("subsystem", "dll", "is_kernel_mode"),
    [(1, "ntoskrnl.exe", True), (1, "NTDLL.dll", False), (3, "ntoskrnl.exe", False)],
)
def test_a_driver_is_native_and_no_native_program(subsystem: int, dll: str, is_kernel_mode: bool) -> None:
    data = craft.imports([dll])
    pe = Pe(
        subsystem=subsystem,
        sections=[Section(FIRST_RVA, data)],
        directories={craft.IMPORT: (FIRST_RVA, len(data))},
    )
    assert facts_of(pe).is_kernel_mode is is_kernel_mode


@pytest.mark.parametrize(("flags", "native"), [(1, 0), (0, 0x5000), (0x20003, 0)])
def test_managed_files_say_for_which_runtime_they_are(flags: int, native: int) -> None:
    data = craft.clr_header(FIRST_RVA, flags=flags, native=native)
    clr = facts_of(Pe(sections=[Section(FIRST_RVA, data)], directories={craft.CLR: (FIRST_RVA, 72)})).clr
    assert clr is not None
    assert (clr.header_version, clr.metadata_version, clr.flags) == ((2, 5), "v4.0.30319", flags)
    assert (clr.is_il_only, clr.has_native_image) == (bool(flags & 1), bool(native))


@pytest.mark.parametrize(
    ("machine", "size", "address", "expected"),
    [
        (Machine.AMD64, 320, 0x140001000, Machine.ARM64EC),
        (Machine.ARM64, 320, 0x140001000, Machine.ARM64X),
        (Machine.ARM64, 320, 0, Machine.ARM64),
        # Of an older linker, whose structure ends before the field.
        (Machine.AMD64, 148, 0x140001000, Machine.AMD64),
        (Machine.IA64, 320, 0x140001000, Machine.IA64),
    ],
)
def test_hybrid_images_are_told_apart(machine: int, size: int, address: int, expected: int) -> None:
    data = struct.pack("<I", size).ljust(200, b"\0") + struct.pack("<Q", address).ljust(120, b"\0")
    pe = Pe(
        machine=machine, sections=[Section(FIRST_RVA, data)], directories={craft.LOAD_CONFIG: (FIRST_RVA, size)}
    )  # fmt: skip
    assert facts_of(pe).machine == expected


@pytest.mark.parametrize(("types", "expected"), [([2, 16], True), ([2, 13], False), ([], False)])
def test_a_reproducible_build_is_told(types: list[int], expected: bool) -> None:
    data = b"".join(struct.pack("<IIHHIIII", 0, 0, 0, 0, kind, 0, 0, 0) for kind in types)
    pe = Pe(
        sections=[Section(FIRST_RVA, data.ljust(8, b"\0"))], directories={craft.DEBUG: (FIRST_RVA, len(data))}
    )  # fmt: skip
    assert facts_of(pe).is_reproducible is expected


def _signed(*certificates: bytes, overlay: bytes = b"") -> Pe:
    head = Pe(overlay=overlay)
    table = b"".join(certificates)
    return Pe(overlay=overlay + table, directories={craft.SECURITY: (len(head.encode()), len(table))})


def test_an_embedded_signature_is_told_from_other_certificates() -> None:
    signature = craft.signed_data()
    assert facts_of(_signed(craft.certificate(signature))).is_signed
    assert facts_of(_signed(craft.certificate(b"x" * 40, kind=1), craft.certificate(signature))).is_signed
    for other in (
        craft.certificate(signature, kind=1),
        craft.certificate(b"x" * 40),
        craft.certificate(signature[:-1]),
        craft.certificate(signature[:8]),
    ):
        facts = facts_of(_signed(other))
        assert (facts.is_signed, len(facts.certificates), facts.problems) == (False, 1, ())


@given(
    signature=st.binary(min_size=8, max_size=60),
    overlay=st.binary(max_size=40),
    checksum=_long,
    at=st.integers(0, 1023),
)
def test_the_hash_leaves_out_what_a_signature_changes(signature: bytes, overlay: bytes, checksum: int, at: int) -> None:
    overlay += bytes(-len(overlay) % 8)
    unsigned, signed = Pe(overlay=overlay), _signed(craft.certificate(signature), overlay=overlay)
    before, after = unsigned.encode(), bytearray(signed.encode())
    struct.pack_into("<I", after, signed.checksum_offset, checksum)
    security = signed.directories_offset + 8 * craft.SECURITY
    hashed = before[: signed.checksum_offset] + before[signed.checksum_offset + 4 : security] + before[security + 8 :]
    expected = hashlib.sha256(hashed).hexdigest()
    assert authenticode_hash(image_of(before)) == authenticode_hash(image_of(bytes(after))) == expected
    assert authenticode_hash(image_of(before), "sha1") == hashlib.sha1(hashed).hexdigest()
    skipped = {*range(signed.checksum_offset, signed.checksum_offset + 4), *range(security, security + 8)}
    changed = bytearray(before)
    place = at % len(before)
    if place not in skipped and place >= signed.directories_offset:
        changed[place] ^= 1
        with_change = PeImage(BufferSource(bytes(changed)))
        assert authenticode_hash(with_change) != expected


def test_a_file_without_signature_is_hashed_with_the_zeros_that_a_signer_adds() -> None:
    for length in range(1, 8):
        plain, padded = Pe(overlay=b"x" * length), Pe(overlay=(b"x" * length).ljust(8, b"\0"))
        assert authenticode_hash(image_of(plain)) == authenticode_hash(image_of(padded))


@given(overlay=st.binary(max_size=50), checksum=_long)
def test_the_checksum_is_the_sum_of_all_words(overlay: bytes, checksum: int) -> None:
    pe = Pe(overlay=overlay, checksum=checksum)
    data = bytearray(pe.encode())
    struct.pack_into("<I", data, pe.checksum_offset, 0)
    total = 0
    for (word,) in struct.iter_unpack("<H", data + bytes(len(data) % 2)):
        total += word
        total = (total & 0xFFFF) + (total >> 16)
    assert computed_checksum(image_of(pe)) == total + len(data)


def test_a_section_is_continued_with_zeros_up_to_its_size_in_memory() -> None:
    pe = Pe(sections=[Section(FIRST_RVA, b"x" * 16, virtual_size=0x1800, raw_size=0x200)])
    image = image_of(pe)
    assert image.read(FIRST_RVA + 8, 16) == b"x" * 8 + bytes(8)
    assert image.read(FIRST_RVA + 0x1FF0, 16) == bytes(16)
    with pytest.raises(PeError, match="are mapped"):
        image.read(FIRST_RVA + 0x1FF0, 17)
    with pytest.raises(PeError, match="no section"):
        image.read(FIRST_RVA + 0x2000, 1)


def test_what_is_read_in_part_ends_where_the_file_does() -> None:
    pe = Pe(sections=[Section(FIRST_RVA, b"x" * 16, virtual_size=0x1800, raw_size=0x200)])
    image = image_of(pe)
    assert image.read_some(FIRST_RVA + 0x1F8, 100) == bytes(8)
    assert image.read_some(FIRST_RVA + 0x200, 100) == b""
    assert image_of(pe.encode()[:-0x1F8]).read_some(FIRST_RVA, 100) == b"x" * 8


def test_the_place_of_a_section_is_rounded_down_as_windows_does() -> None:
    pe = Pe(sections=[Section(FIRST_RVA, b"y" * 0x200, raw_offset=0x3FF)])
    data = pe.encode()
    assert data.find(b"y") == 0x200
    assert image_of(data).read(FIRST_RVA, 4) == b"yyyy"


def test_an_image_with_small_alignment_is_mapped_as_its_file_is() -> None:
    pe = Pe(section_alignment=0x20, sections=[Section(0x40, b"z" * 32, raw_offset=0)])
    data = pe.encode()
    assert image_of(data).read(len(data) - 8, 8) == data[-8:]


def test_headers_are_in_the_image_too() -> None:
    data = Pe(sections=[Section(FIRST_RVA, b"x")]).encode()
    assert image_of(data).read(0, 0x40) == data[:0x40]


def test_all_sources_say_the_same() -> None:
    version = craft.version_info(((1, 2, 3, 4),) * 2, {"00000000": [("a", "b")]})
    tree: craft.Tree = {3: {1: {0: b"i" * 70_000}}, 16: {1: {0: version}}}
    data = craft.with_resources(tree).encode()
    expected = facts_of(data)
    assert expected.versions
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        assert read_facts(PeImage(FileSource(file))) == expected
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            assert read_facts(PeImage(BufferSource(mapped))) == expected
    for buffer in (bytearray(data), memoryview(data)):
        assert read_facts(PeImage(BufferSource(buffer))) == expected
    assert read_facts(PeImage(FileSource(io.BytesIO(data)))) == expected


class _Counted:
    """A source that counts the bytes that are read of it."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)
        self.count = 0

    def read(self, offset: int, length: int) -> bytes:
        self.count += length
        return self._data[offset : offset + length]


def test_only_a_small_part_of_a_large_file_is_read() -> None:
    tree: craft.Tree = {3: {1: {0: bytes(8 << 20)}}, 16: {1: {0: craft.version_info(((1, 2, 3, 4),) * 2, {})}}}
    source = _Counted(craft.with_resources(tree).encode())
    assert read_facts(PeImage(source)).versions
    assert source.count < 16 << 10


def test_a_file_that_is_cut_while_it_is_read_is_refused() -> None:
    data = craft.with_version(craft.version_info(None, {})).encode()
    source = _Counted(data)
    source.size += 1 << 20
    image = PeImage(source)
    with pytest.raises(PeError, match="could be read"):
        authenticode_hash(image)


@pytest.mark.parametrize(
    "data",
    [b"", b"MZ", b"\x7fELF" + bytes(100), b"MZ" + bytes(100), b"MZ".ljust(60, b"\0") + b"\x40\0\0\0NE" + bytes(64)],
)
def test_what_is_no_pe_file_is_told_apart(data: bytes) -> None:
    with pytest.raises(NotPeError):
        PeImage(BufferSource(data))


def test_certificates_that_are_not_in_the_file_have_a_problem_and_no_hash() -> None:
    image = image_of(Pe(directories={craft.SECURITY: (0x10000, 64)}))
    with pytest.raises(PeError):
        read_certificates(image)
    with pytest.raises(PeError):
        authenticode_hash(image)
    assert [problem.partition(":")[0] for problem in read_facts(image).problems] == ["certificates"]


@pytest.mark.parametrize(
    "text", ["\U0001f600", "a\U0001f600b", "half \ud83d", "\ude00 half", "\ud83d\ud83d\ude00", "日本語 ©"]
)
def test_texts_of_versions_keep_pairs_and_halves_of_pairs(text: str) -> None:
    tables = {"040904b0": [(f"Key {text}", text), ("After", "it")]}
    wanted = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    info = parse_version(craft.version_info(None, tables))
    assert info.tables[0].strings == ((f"Key {wanted}", wanted), ("After", "it"))
