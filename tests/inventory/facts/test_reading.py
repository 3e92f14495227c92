"""The facts of a layer say what the unpacked layer says."""

from __future__ import annotations

import gzip
import hashlib
import io
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from hypothesis import given, settings

import wclayer
from tests.inventory.facts.support import blob_of, facts_file, facts_of
from tests.layers.random_layers import RandomLayer, layers, put_all
from tests.support import (
    VECTORS,
    archive,
    info,
    layer_tar,
    member,
    put_directories,
    put_file,
    vector_bytes,
    zstd,
)
from wclayer import sample
from wclayer.formats.regf.empty import empty_root
from wclayer.formats.regf.writer import write_hive
from wclayer.images.descriptor import OCI_LAYER, Descriptor, digest_of
from wclayer.inventory.facts import reading, writer
from wclayer.inventory.facts.archive import read_summary, unpack_facts
from wclayer.inventory.facts.contents import Contents
from wclayer.inventory.facts.reading import make_facts
from wclayer.inventory.facts.summary import LayerSummary
from wclayer.inventory.facts.wanted import CONTENTS
from wclayer.layers.directory import open_layer
from wclayer.layers.directory.hives import open_hive
from wclayer.layers.directory.layer import LayerDirectory
from wclayer.layers.hives import LAYER_HIVES
from wclayer.model import Entry, LayerWriter, Limits, use_limits

TARS: dict[str, Callable[[], bytes]] = {
    **{name: partial(vector_bytes, name) for name in VECTORS},
    "sample base": lambda: layer_tar(sample.write_base),
    "sample child": lambda: layer_tar(sample.write_child),
}


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def rows_of(layer: LayerDirectory) -> list[tuple[object, ...]]:
    """All entries of a layer with all metadata, sizes and digests; of a link to a parent's file what its layer says."""
    found: list[tuple[object, ...]] = []
    for row in layer.own_entries():
        if row.link_target is not None and row.link is None:
            found.append((layer.name_of(row), row.info, row.link_target))
            continue
        streams = [
            (each.stream_id, each.attributes, each.name, each.size, each.sha256) for each in layer.stream_rows(row)
        ]
        first = layer.name_of(layer.first_name(row))
        found.append(
            (
                layer.name_of(row), row.info, row.size, row.sha256, layer.security(row), row.eas, row.reparse,
                row.link_target, first, streams,
            )
        )  # fmt: skip
    return [*found, *((row.path,) for row in layer.tombstones())]


def assert_same(blob: bytes, parents: list[Path], folder: Path) -> None:
    """The facts of a layer have the entries and the hives of the layer."""
    wclayer.import_layer_from_tar(io.BytesIO(blob), folder / "layer", parents)
    with open_layer(folder / "layer") as layer, open_layer(facts_of(blob, folder / "facts")) as facts:
        assert rows_of(facts) == rows_of(layer)
        for hive in LAYER_HIVES:
            for path in (hive.config, hive.delta):
                whole, known = open_hive(layer, path), open_hive(facts, path)
                assert (whole and bytes(whole.buffer)) == (known and bytes(known.buffer)), path


@pytest.mark.parametrize("name", TARS)
def test_facts_have_all_entries_and_hives_of_the_layer(name: str, tmp_path: Path) -> None:
    parents = []
    if "child" in name:
        parents = [tmp_path / "base"]
        base = TARS["sample base" if name == "sample child" else "base.tar.gz"]()
        wclayer.import_layer_from_tar(io.BytesIO(base), parents[0])
    assert_same(TARS[name](), parents, tmp_path)


@given(layers())
@settings(max_examples=30)
def test_facts_have_all_entries_of_a_random_layer(layer: RandomLayer) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert_same(layer_tar(lambda writer: put_all(writer, layer)), [], Path(folder))


def test_a_layer_is_summed_up(tmp_path: Path) -> None:
    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/a")
        put_file(writer, "Files/a/b", b"12345", s=b"stream")
        writer.put(Entry("Files/c", info(), link_target="Files/a/b"))
        writer.put(Entry("Files/gone", None))
        put_file(writer, "Files/large", bytes(200_000))

    tar = layer_tar(build)
    blob = gzip.compress(tar, mtime=0)
    made = read_summary(facts_file(blob, tmp_path / "facts"))
    assert made == LayerSummary(
        digest=digest_of(blob), diff_id=digest_of(tar), media_type=OCI_LAYER, compression="gzip",
        stored_size=len(blob), size=len(tar), entries=6, files=2, directories=2, links=1, tombstones=1, bytes=200_005,
        streams=1,
    )  # fmt: skip
    with open_layer(facts_of(blob, tmp_path / "again")) as layer:
        assert layer.text("diff_id") == digest_of(tar)
        assert layer.number("size") == len(tar)


@pytest.mark.parametrize("compress", [bytes, partial(gzip.compress, mtime=0), zstd.compress])
def test_equal_blobs_have_equal_facts(compress: Callable[[bytes], bytes], tmp_path: Path) -> None:
    blob = compress(TARS["sample base"]())
    first, second = (facts_file(blob, tmp_path / name) for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_an_old_facts_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "facts").write_bytes(b"old")
    facts_of(TARS["child.tar"](), tmp_path)


# What an inventory looks into.


@pytest.fixture
def wants(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of `*.doc`, contents are wanted; of `*.exe`, what the reader `head` finds."""

    def wanted(key: str, size: int) -> tuple[str, ...]:
        return (CONTENTS,) if key.endswith(".DOC") else ("head",) if key.endswith(".EXE") else ()

    def head(file: BinaryIO, size: int) -> dict[str, Any]:
        data = file.read()
        assert len(data) == size
        return {"head": data[:4].hex(), "size": size}

    for module in (writer, reading):
        monkeypatch.setattr(module, "wanted", wanted, raising=False)
    monkeypatch.setattr(writer, "READERS", {"head": head})
    monkeypatch.setattr(writer, "is_looked_at", lambda name, record: record["head"] != b"skip".hex())


LARGE = b"large" + bytes(9 << 20)
"""More than is held in memory, for a reader."""


@pytest.mark.usefixtures("wants")
def test_contents_and_readings_of_chosen_files_are_kept(tmp_path: Path) -> None:
    files = {
        "a.doc": b"text", "b.exe": b"MZ..rest", "c.exe": b"skip", "d.txt": b"other", "empty.doc": b"", "empty.exe": b"",
        "large.doc": LARGE, "large.exe": LARGE, "same.exe": b"MZ..rest", "same.doc": b"text",
    }  # fmt: skip
    with Contents(facts_of(blob_of(files), tmp_path)) as found:
        for name, data in files.items():
            digest = sha256(data)
            if name.endswith(".doc"):
                assert found.data(digest) == data
            if name.endswith(".exe"):
                assert found.reading("head", digest) == {"head": data[:4].hex(), "size": len(data)}
        assert found.data(sha256(b"other")) is None
        assert found.reading("head", sha256(b"other")) is None
        assert found.reading("tail", sha256(b"MZ..rest")) is None
        assert list(found.wanted()) == ["Files/b.exe", "Files/empty.exe", "Files/large.exe", "Files/same.exe"]


class _Blob:
    """Opens a blob, and counts how often."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.opened = 0

    def __call__(self) -> BinaryIO:
        self.opened += 1
        return io.BytesIO(self.data)

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor.of(self.data, OCI_LAYER)


@pytest.mark.usefixtures("wants")
def test_a_file_that_only_a_later_name_calls_for_is_read_from_the_blob_again(tmp_path: Path) -> None:
    files = {
        "1.txt": b"one",
        "2.txt": b"2nd",
        "3.txt": b"skip",
        "large.txt": LARGE,
        "known.doc": b"known",
        "x.txt": b"x",
    }
    hive = write_hive(empty_root(0), file_name="SYSTEM")
    files["hive.bin"] = hive
    links = {
        "a.doc": "1.txt", "b.exe": "2.txt", "b2.exe": "2.txt", "c.exe": "3.txt", "large.exe": "large.txt",
        "known2.doc": "known.doc", "Windows/System32/config/SYSTEM": "hive.bin", "y.txt": "x.txt",
    }  # fmt: skip
    blob = _Blob(blob_of(files, links))
    make_facts(blob, blob.descriptor, tmp_path / "facts")
    assert blob.opened == 2
    unpack_facts(tmp_path / "facts", tmp_path / "unpacked")
    with Contents(tmp_path / "unpacked") as found, open_layer(tmp_path / "unpacked") as layer:
        assert found.data(sha256(b"one")) == b"one"
        assert found.reading("head", sha256(b"2nd")) == {"head": b"2nd".hex(), "size": 3}
        assert found.reading("head", sha256(LARGE)) == {"head": b"larg".hex(), "size": len(LARGE)}
        assert set(found.wanted()) == {"Files/b.exe", "Files/b2.exe", "Files/large.exe"}
        assert found.data(sha256(b"x")) is None
        opened = open_hive(layer, LAYER_HIVES[4].config)
        assert opened is not None
        assert bytes(opened.buffer) == hive


@pytest.mark.usefixtures("wants")
@pytest.mark.parametrize(
    "links", [{}, {"b.doc": "a.doc"}, {"b.txt": "a.doc"}, {"Windows/System32/config/SAM": "empty"}]
)
def test_one_reading_is_enough_where_the_first_name_says_it(links: dict[str, str], tmp_path: Path) -> None:
    blob = _Blob(blob_of({"a.doc": b"text", "empty": b""}, links))
    make_facts(blob, blob.descriptor, tmp_path / "facts")
    assert blob.opened == 1


@pytest.mark.usefixtures("wants")
def test_a_blob_that_changes_between_the_readings_is_refused(tmp_path: Path) -> None:
    blobs = [blob_of({"a.txt": data}, {"a.doc": "a.txt"}) for data in (b"first", b"other")]
    descriptor = Descriptor.of(blobs[0], OCI_LAYER)
    with pytest.raises(wclayer.InvalidDataError, match="digest"):
        make_facts(lambda: io.BytesIO(blobs.pop(0)), descriptor, tmp_path / "facts")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("wants")
def test_a_link_into_another_layer_is_recorded_as_it_is(tmp_path: Path) -> None:
    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files")
        writer.put(Entry("Files/here.exe", info(), link_target="Files/below.exe"))

    with open_layer(facts_of(layer_tar(build), tmp_path)) as layer:
        (row,) = layer.links_to_parents()
        assert (row.link_target, row.link, row.sha256, row.size) == ("Files/below.exe", None, None, 0)
        assert row.info == info()
    with Contents(tmp_path / "unpacked") as found:
        assert list(found.wanted()) == ["Files/here.exe"]


def test_what_only_the_parents_utility_vm_has_is_implied(tmp_path: Path) -> None:
    def build(writer: LayerWriter) -> None:
        put_directories(writer, "UtilityVM", "UtilityVM/Files")
        put_file(writer, "UtilityVM/Files/Windows/deep/new")
        writer.put(Entry("UtilityVM/Files/Windows/gone", None))
        put_directories(writer, "UtilityVM/Files/Windows")
        put_file(writer, "UtilityVM/Files/Windows/deep/other")

    with open_layer(facts_of(layer_tar(build), tmp_path)) as layer:
        assert [layer.name_of(row) for row in layer.own_entries()] == [
            "UtilityVM", "UtilityVM/Files", "UtilityVM/Files/Windows/deep/new", "UtilityVM/Files/Windows",
            "UtilityVM/Files/Windows/deep/other",
        ]  # fmt: skip
        assert layer.lookup("UtilityVM/Files/Windows/deep/new") is not None


# Damage.


def _flip(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda data: _flip(data, len(data) // 2), None),
        (lambda data: _flip(data, len(data) - 600), None),
        (lambda data: data[: len(data) // 2], "ends after"),
        (lambda data: data[:-1], "ends after"),
        (lambda data: data + b"\0", "has more"),
        (lambda data: b"", "ends after 0 of"),
    ],
)
@pytest.mark.parametrize("compress", [bytes, partial(gzip.compress, mtime=0), zstd.compress])
def test_a_damaged_blob_has_no_facts(
    damage: Callable[[bytes], bytes], problem: str | None, compress: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    blob = compress(TARS["sample base"]())
    with pytest.raises(wclayer.InvalidDataError, match=problem) as found:
        make_facts(lambda: io.BytesIO(damage(blob)), Descriptor.of(blob, OCI_LAYER), tmp_path / "facts")
    assert found.value.path == digest_of(blob)
    assert found.value.operation in ("make facts", "read layer tar")
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_size_or_digest_is_refused(tmp_path: Path) -> None:
    blob = TARS["child.tar"]()
    right = Descriptor.of(blob, OCI_LAYER)
    for wrong in (replace(right, size=right.size - 1), replace(right, size=right.size + 1),
                  replace(right, digest=digest_of(b"x"))):  # fmt: skip
        with pytest.raises(wclayer.InvalidDataError, match=wrong.digest):
            make_facts(lambda: io.BytesIO(blob), wrong, tmp_path / "facts")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_layer_has_no_facts(tmp_path: Path) -> None:
    blob = archive(member(b"etc/passwd", b"x"))
    with pytest.raises(wclayer.InvalidDataError, match="lies outside Files, Hives and UtilityVM"):
        facts_file(blob, tmp_path / "facts")
    assert list(tmp_path.iterdir()) == []


def test_a_stream_that_fails_has_no_facts(tmp_path: Path) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise wclayer.LayerError("https://registry", "the connection broke")

    with pytest.raises(wclayer.LayerError, match="https://registry: the connection broke"):
        make_facts(Broken, Descriptor.of(b"x", OCI_LAYER), tmp_path / "facts")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("wants")
@pytest.mark.parametrize(
    ("limits", "hint"),
    [(Limits(facts_size=4000), "facts_size"), (Limits(hive_size=5), "hive_size"), (Limits(entries=2), "entries")],
)
def test_limits_hold(limits: Limits, hint: str, tmp_path: Path) -> None:
    blob = blob_of({"a.doc": bytes(5000), "Windows/System32/config/SAM": b"123456"})
    use_limits(limits)
    try:
        with pytest.raises(wclayer.LimitExceededError, match=f"limit {hint};"):
            facts_file(blob, tmp_path / "facts")
    finally:
        use_limits(Limits())
    assert list(tmp_path.iterdir()) == []


def test_the_work_can_be_cancelled(tmp_path: Path) -> None:
    blob = TARS["sample base"]()
    with pytest.raises(wclayer.OperationCancelledError):
        make_facts(
            lambda: io.BytesIO(blob), Descriptor.of(blob, OCI_LAYER), tmp_path / "facts", cancelled=lambda: True
        )  # fmt: skip
    assert list(tmp_path.iterdir()) == []
