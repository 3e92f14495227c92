"""What facts keep of a file is what a collector says that it reads."""

from __future__ import annotations

import io
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.formats.pe.craft import Pe
from tests.inventory.trees import METADATA, NUSPEC
from wclayer.errors import FormatError, FormatLimitError
from wclayer.inventory.collecting import FILE_COLLECTORS
from wclayer.inventory.collectors import pe_files
from wclayer.inventory.collectors.file_collector import folded
from wclayer.inventory.facts.wanted import CONTENTS, KNOWN_FILES, READERS, _expression, is_looked_at, wanted
from wclayer.inventory.subject.readings import reading_of, record_of
from wclayer.win32.names import path_key

SITE = "Files/p/site-packages"


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("Files/a.exe", ("pe",)), ("Files/none", ("pe",)), ("Files/a.txt", ()), ("Hives/Software_Delta", ()),
        ("UtilityVM/Files/a.exe", ()),
        (f"{SITE}/a-1.dist-info/METADATA", ("python-metadata",)),
        (f"{SITE}/a-1.dist-info/INSTALLER", ("python-installer",)),
        (f"{SITE}/a-1.dist-info/direct_url.json", ("python-direct-url",)), ("Files/p/direct_url.json", ()),
        ("Files/p/METADATA", ()), (f"{SITE}/EGG-INFO/PKG-INFO", ("python-metadata",)),
        ("Files/a/node_modules/b/package.json", ("node-package",)), ("Files/a/package.json", ("node-package",)),
        ("Files/a/node_modules/b/x/package.json", ()), ("Files/a/package-lock.json", ("node-lock",)),
        ("Files/a.jar", ("java-archive",)), ("Files/a.nupkg", ("nuget-archive",)),
        ("Files/a.NuSpec", ("nuget-manifest",)),
        ("Files/a.deps.json", ("nuget-libraries",)), ("Files/a.json", ()),
        ("Files/Program Files/PowerShell/7/pwsh.dll", ("powershell", "pe")),
        ("Files/Program Files/PowerShell/7/a/pwsh.dll", ("pe",)),
        ("Files/Windows/System32/Tasks/Microsoft/Windows/Defrag/ScheduledDefrag", (CONTENTS, "pe")),
        ("Files/Windows/System32/Tasks.xml", ()),
        ("Files/Program Files/WindowsApps/x/AppxManifest.xml", (CONTENTS,)),
        ("Files/Users/me/NTUSER.DAT", (CONTENTS,)), ("Files/Users/me/NTUSER.DAT.LOG1", (CONTENTS, "pe")),
        ("Files/Users/me/a/NTUSER.DAT", ()),
        ("Files/Windows/ServiceProfiles/x/AppData/Local/Microsoft/Windows/UsrClass.dat", (CONTENTS,)),
        ("Files/Users/me/AppData/Roaming/Microsoft/SystemCertificates/My/Certificates/0A", (CONTENTS, "pe")),
    ],
)  # fmt: skip
def test_the_path_tells_what_is_kept(path: str, what: tuple[str, ...]) -> None:
    assert wanted(path_key(path), 1000) == what


def test_what_is_too_large_or_too_small_is_not_kept() -> None:
    assert wanted("FILES/A.EXE", 63) == ()
    assert wanted("FILES/WINDOWS/SYSTEM32/TASKS/A", 5 << 20) == ("pe",)
    assert wanted("FILES/USERS/A/NTUSER.DAT", 5 << 20) == (CONTENTS,)


@given(
    st.lists(st.text(st.characters(exclude_characters="/"), min_size=1), min_size=1, max_size=3), st.integers(0, 100)
)
def test_a_reader_is_chosen_by_the_key_of_a_path_alone(names: list[str], size: int) -> None:
    for path in ("/".join(names), *("/".join([*names, name]) for each in FILE_COLLECTORS for name in each.names)):
        for collector in FILE_COLLECTORS:
            reader = collector.reader(folded(path), size)
            assert collector.reader(folded(path_key(path)), size) is reader
            assert reader is None or reader in collector.readers


def test_no_path_has_the_form_of_two_known_places() -> None:
    """`wanted` finds one of them only."""
    for files in KNOWN_FILES:
        path = path_key(files.pattern.replace("**", "x/x").replace("*", "x"))
        matching = [each.pattern for each in KNOWN_FILES if re.fullmatch(_expression(each.pattern), path)]
        assert matching == [files.pattern]


@pytest.mark.parametrize("name", sorted(READERS))
@pytest.mark.parametrize("data", [b"", b"MZ", METADATA, NUSPEC, b"{}", Pe().encode(), b"PK\5\6" + bytes(18)])
def test_a_record_becomes_the_reading_again_after_json(name: str, data: bytes) -> None:
    (reader,) = {
        reader.name: reader
        for reader in (*(one for each in FILE_COLLECTORS for one in each.readers), *(one.reader for one in KNOWN_FILES))
        if reader is not None and reader.name == name
    }.values()
    record = READERS[name](io.BytesIO(data), len(data))
    kept = json.loads(json.dumps(record))
    try:
        expected = reader.read(io.BytesIO(data), len(data))
    except FormatError as error:
        with pytest.raises(FormatError) as raised:
            reading_of(reader, kept)
        assert str(raised.value) == str(error)
        assert isinstance(raised.value, FormatLimitError) == isinstance(error, FormatLimitError)
    else:
        assert reading_of(reader, kept) == expected


@pytest.mark.parametrize(
    "record",
    [None, 5, [], {}, {"found": 1}, {"found": {}}, {"found": {"pe": {}}}, {"problem": {"text": 1, "is_limit": True}},
     {"found": {"pe": None, "more": 1}}, {"problem": None}, {"found": {"pe": {
         "version": "", "publisher": "", "properties": {"a": 1.5}, "packages": [], "problems": []}}}],
)  # fmt: skip
def test_what_is_no_record_is_none(record: object) -> None:
    assert reading_of(pe_files.READER, record) is None


def test_a_pe_file_is_looked_at_for_its_packages_and_damage_only() -> None:
    plain, damaged, other = (
        record_of(pe_files.READER, io.BytesIO(data), len(data))
        for data in (Pe().encode(), Pe().encode()[:200], b"text")
    )
    assert [is_looked_at("pe", record) for record in (plain, damaged, other)] == [False, True, False]
    assert is_looked_at("java-archive", {"found": {}})
