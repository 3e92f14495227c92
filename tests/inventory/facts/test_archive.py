"""A facts file may be damaged or hostile: it is refused, named, and leaves nothing behind."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

import wclayer
from tests.inventory.facts.support import blob_of, facts_file
from tests.support import zstd
from wclayer.inventory.facts.archive import read_summary, unpack_facts
from wclayer.inventory.facts.contents import Contents
from wclayer.model import Limits, use_limits

Members = list[tuple[str, bytes]]
_ADVICE = "delete the file: the next scan makes it anew"


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A facts file with a hive."""
    blob = blob_of({"a/package.json": b"{}", "Windows/System32/config/SAM": b"no hive"})
    return facts_file(blob, tmp_path_factory.mktemp("good") / "facts.tar.zst")


def members(file: Path) -> Members:
    with tarfile.open(fileobj=BytesIO(zstd.decompress(file.read_bytes()))) as archive:
        return [(info.name, archive.extractfile(info).read()) for info in archive]  # type: ignore[union-attr]


def packed(files: Iterable[tuple[str, bytes]], kind: bytes = tarfile.REGTYPE) -> bytes:
    raw = BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            if name.startswith("!"):
                info.name, info.type, info.linkname, info.size = name[1:], tarfile.SYMTYPE, "/etc/passwd", 0
            archive.addfile(info, BytesIO(data))
    return zstd.compress(raw.getvalue())


def test_a_foreign_tar_reads_it_and_it_has_no_times(good: Path) -> None:
    with tarfile.open(fileobj=BytesIO(zstd.decompress(good.read_bytes()))) as archive:
        found = list(archive)
    assert [info.name for info in found] == [
        "facts.json", "layer.db", "contents.db", "Files/Windows/System32/config/SAM",
    ]  # fmt: skip
    assert {(info.mtime, info.uid, info.mode, info.type) for info in found} == {(0, 0, 0o644, tarfile.REGTYPE)}
    summary = json.loads(members(good)[0][1])
    assert summary["version"] == 1
    assert summary["hives"] == ["Files/Windows/System32/config/SAM"]


def _refused(data: bytes, folder: Path, error: type[wclayer.LayerError] = wclayer.InvalidDataError) -> str:
    """The message with which a facts file is refused, which names it and says what to do."""
    file = folder / "hostile.tar.zst"
    file.write_bytes(data)
    with pytest.raises(error) as found:
        unpack_facts(file, folder / "unpacked")
    assert found.value.path == str(file)
    assert found.value.operation == "unpack facts"
    assert _ADVICE in str(found.value) or error is wclayer.LimitExceededError
    assert [path.name for path in folder.iterdir()] == ["hostile.tar.zst"]
    return str(found.value)


Change = Callable[[Members], Members]


def _with(name: str, data: bytes) -> Change:
    return lambda files: [*files, (name, data)]


def _without(name: str) -> Change:
    return lambda files: [each for each in files if each[0] != name]


def _summary(**changes: Any) -> Change:
    def change(files: Members) -> Members:
        return [("facts.json", json.dumps(json.loads(files[0][1]) | changes).encode()), *files[1:]]

    return change


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (_with("Files/Windows/notepad.exe", b"x"), "which a facts file does not have"),
        (_with("../x", b"x"), "which a facts file does not have"),
        (_with("/etc/passwd", b"x"), "which a facts file does not have"),
        (_with("Files/../Files/Windows/System32/config/SAM", b"x"), "which a facts file does not have"),
        (_with("files/windows/system32/config/sam", b"x"), "is there twice"),
        (_with("layer.db", b"x"), "is there twice"),
        (_with("LAYER.DB", b"x"), "which a facts file does not have"),
        (_with("!Hives/Sam_Delta", b""), "is not a file"),
        (_with("!Hives", b""), "which a facts file does not have"),
        (_with("layer.db-journal", b"x"), "which a facts file does not have"),
        (_without("facts.json"), "does not begin with facts.json"),
        (_without("layer.db"), "'layer.db' is missing"),
        (_without("contents.db"), "'contents.db' is missing"),
        (lambda files: files[1:] + files[:1], "does not begin with facts.json"),
        (lambda files: [("facts.json", b"{"), *files[1:]], "not JSON"),
        (lambda files: [("facts.json", b"[]"), *files[1:]], "not a JSON object"),
        (_summary(version=0), "version 0, which no wclayer has written"),
        (_summary(version="1"), "not an integer"),
        (_summary(digest="sha256:x"), "not a digest"),
        (_summary(entries=-1), "entries"),
        (_summary(entries=None), "entries"),
        (_summary(size=1 << 70), "size"),
        (_summary(hives=[1]), "hives"),
        (_summary(media_type=""), "media_type"),
    ],
)
def test_what_is_no_facts_file_is_refused(change: Change, problem: str, good: Path, tmp_path: Path) -> None:
    assert problem in _refused(packed(change(members(good))), tmp_path)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda files: [*files[:1], ("layer.db", b"x" * 5000), *files[2:]], "layer.db is not a database"),
        (lambda files: [*files[:1], ("layer.db", files[2][1]), *files[2:]], "application id"),
        (lambda files: [*files[:2], ("contents.db", files[1][1]), *files[3:]], "is not a database of contents"),
        (lambda files: [*files[:2], ("contents.db", b""), *files[3:]], "contents.db is not a database"),
        (lambda files: [*files[:2], ("contents.db", files[2][1][:-4096]), *files[3:]], "malformed"),
    ],
)
def test_facts_with_a_damaged_database_are_refused(change: Change, problem: str, good: Path, tmp_path: Path) -> None:
    assert problem in _refused(packed(change(members(good))), tmp_path, wclayer.CorruptLayerError)


def test_facts_with_the_database_of_a_scratch_are_refused(good: Path, tmp_path: Path) -> None:
    """Whoever opens a scratch writes a log into its folder."""
    with tempfile.TemporaryDirectory() as folder:
        base, place = Path(folder, "base"), Path(folder, "scratch")
        wclayer.import_layer_from_tar(BytesIO(blob_of({"a": b""})), base)
        wclayer.create_scratch_layer(place, [base])
        data = (place / "layer.db").read_bytes()
    hostile = packed([(name, data if name == "layer.db" else more) for name, more in members(good)])
    assert "database of a scratch" in _refused(hostile, tmp_path, wclayer.CorruptLayerError)


def _says_the_same(damaged: bytes, data: bytes) -> bool:
    """Whether the flipped bit is one of those that zstd does not look at: behind the last symbol of a block."""
    try:
        return zstd.decompress(damaged) == zstd.decompress(data)
    except zstd.ZstdError:
        return False


def test_damage_is_found(good: Path, tmp_path: Path) -> None:
    data = good.read_bytes()
    for place in range(8, len(data), max(1, len(data) // 60)):
        damaged = data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :]
        if not _says_the_same(damaged, data):
            _refused(damaged, tmp_path)
    for size in (0, 3, len(data) // 2, len(data) - 1):
        _refused(data[:size], tmp_path)
    assert "zstd" in _refused(data + b"rest", tmp_path)


def test_facts_of_a_newer_wclayer_are_not_read(good: Path, tmp_path: Path) -> None:
    data = packed(_summary(version=2, more="x")(members(good)))
    assert "version 2 of the format" in _refused(data, tmp_path, wclayer.NotSupportedError)
    with pytest.raises(wclayer.NotSupportedError, match="use the wclayer that made it, or delete the file"):
        read_summary(tmp_path / "hostile.tar.zst")


@pytest.mark.parametrize(
    ("limits", "name", "size"),
    [
        (Limits(facts_size=100_000), "Hives/Sam_Delta", 100_000),
        (Limits(hive_size=4999), "Hives/Sam_Delta", 5000),
        (Limits(json_size=10), None, 0),
    ],
)
def test_members_are_bounded(limits: Limits, name: str | None, size: int, good: Path, tmp_path: Path) -> None:
    data = packed(members(good) if name is None else _with(name, bytes(size))(members(good)))
    use_limits(limits)
    try:
        _refused(data, tmp_path, wclayer.LimitExceededError)
    finally:
        use_limits(Limits())


def test_a_bomb_is_refused_before_it_is_written(good: Path, tmp_path: Path) -> None:
    head = zstd.decompress(packed(members(good)))
    end = head.rstrip(b"\0")
    info = tarfile.TarInfo("Hives/Sam_Delta")
    info.size = 1 << 40
    bomb = end + bytes(-len(end) % 512) + info.tobuf() + bytes(1 << 20)
    _refused(zstd.compress(bomb), tmp_path, wclayer.LimitExceededError)


def test_the_folder_must_be_free(good: Path, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "y").write_text("taken")
    with pytest.raises(wclayer.AlreadyExistsError):
        unpack_facts(good, tmp_path / "x")
    with pytest.raises(wclayer.PathNotFoundError):
        unpack_facts(tmp_path / "missing", tmp_path / "y")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


# Contents.


@pytest.fixture
def unpacked(good: Path, tmp_path: Path) -> Path:
    unpack_facts(good, tmp_path / "unpacked")
    return tmp_path / "unpacked"


@pytest.mark.parametrize(
    ("sql", "use"),
    [
        ("INSERT INTO contents VALUES (zeroblob(32), 0, x'00')", lambda contents: contents.data(bytes(32))),
        ("INSERT INTO contents VALUES (zeroblob(32), 1, x'00')", lambda contents: contents.data(bytes(32))),
        ("INSERT INTO readings VALUES ('r', zeroblob(32), '[]')", lambda contents: contents.reading("r", bytes(32))),
        ("INSERT INTO readings VALUES ('r', zeroblob(32), '{')", lambda contents: contents.reading("r", bytes(32))),
        ("INSERT INTO wanted (path) VALUES ('Files/../x')", lambda contents: list(contents.wanted())),
        ("INSERT INTO wanted (path) VALUES (x'ff')", lambda contents: list(contents.wanted())),
    ],
)
def test_hostile_contents_are_refused(sql: str, use: Callable[[Contents], object], unpacked: Path) -> None:
    with closing(sqlite3.connect(unpacked / "contents.db", isolation_level=None)) as connection:
        connection.execute(sql)
    with Contents(unpacked) as contents, pytest.raises(wclayer.CorruptLayerError) as found:
        use(contents)
    assert found.value.path == str(unpacked / "contents.db")


@pytest.fixture
def small_hives() -> Iterator[None]:
    use_limits(Limits(hive_size=4999))
    yield
    use_limits(Limits())


@pytest.mark.usefixtures("small_hives")
def test_contents_are_no_larger_than_they_can_be(unpacked: Path) -> None:
    data = bytes(5000)
    digest = hashlib.sha256(data).digest()
    with closing(sqlite3.connect(unpacked / "contents.db", isolation_level=None)) as connection:
        for number in (0, 1):
            connection.execute("INSERT INTO contents VALUES (?, ?, ?)", (digest, number, data[:2500]))
    with Contents(unpacked) as contents, pytest.raises(wclayer.CorruptLayerError, match="limit hive_size"):
        contents.data(digest)


@pytest.mark.parametrize(
    "sql",
    ["DROP TABLE wanted", "CREATE VIEW v AS SELECT 1", "CREATE TRIGGER t AFTER INSERT ON wanted BEGIN SELECT 1; END"],
)
def test_another_schema_is_refused(sql: str, unpacked: Path) -> None:
    with closing(sqlite3.connect(unpacked / "contents.db", isolation_level=None)) as connection:
        connection.execute(sql)
    with pytest.raises(wclayer.CorruptLayerError, match="is not what a database of contents has"):
        Contents(unpacked)


def test_contents_that_are_missing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(wclayer.PathNotFoundError):
        Contents(tmp_path)
    (tmp_path / "contents.db").symlink_to("/dev/zero")
    with pytest.raises(wclayer.CorruptLayerError, match="not a regular file"):
        Contents(tmp_path)
