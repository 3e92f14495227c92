"""The store: blobs, names, layers, and what prune and check say of them."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from tests.images import samples
from tests.images.memory import MemorySource, MemoryTarget
from tests.images.stores import fill, unpack
from wclayer.errors import (
    AccessDeniedError,
    CorruptLayerError,
    DiskFullError,
    InvalidDataError,
    InvalidParameterError,
    InvalidStateError,
    LayerBusyError,
    LimitExceededError,
    NotSupportedError,
    PathNotFoundError,
)
from wclayer.images.descriptor import Descriptor
from wclayer.images.pull import store_image
from wclayer.images.store import ImageStore
from wclayer.images.store.names import Name, Names
from wclayer.images.transfer import copy_image


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "store")


def blob(data: bytes) -> Descriptor:
    return Descriptor.of(data, "application/octet-stream")


def put(store: ImageStore, data: bytes) -> Descriptor:
    with store.ingest(blob(data)) as ingest:
        ingest.write(data)
        ingest.commit()
    return blob(data)


def listing(store: ImageStore) -> set[str]:
    """The files of a store, without the log of its database, which an open connection has."""
    files = {os.path.join(at, name) for at, _, names in os.walk(store.path) for name in names}
    return {os.path.relpath(file, store.path) for file in files} - {"store.db-wal", "store.db-shm"}


def problems(store: ImageStore) -> list[tuple[str, str]]:
    return [(problem.path, problem.text) for problem in store.check()]


# Names


@pytest.mark.parametrize("kind", ["docker", "oci"])
def test_what_goes_in_comes_out(store: ImageStore, kind: samples.Kind) -> None:
    item = samples.several(kind)
    root = fill(store, "localhost:5000/x", item)
    assert root.digest == item.digest
    target = MemoryTarget()
    with store.source("x") as source:
        copy_image(source, target, all_platforms=True)
    assert target.root is not None
    assert target.root.digest == item.digest
    assert target.blobs == item.blobs
    assert problems(store) == []


def test_a_name_is_found_by_its_end_and_by_its_digest(store: ImageStore) -> None:
    one, other = samples.small(), samples.small_child()
    fill(store, "mcr.microsoft.com/windows/nanoserver:ltsc2022", one)
    fill(store, "localhost:5000/x", other)
    for text in (
        "nanoserver:ltsc2022", "windows/nanoserver:ltsc2022", "mcr.microsoft.com/windows/nanoserver:ltsc2022",
        one.digest, one.digest[7:19], f"nanoserver@{one.digest}", f"nanoserver:ltsc2022@{one.digest}",
    ):  # fmt: skip
        assert store.find(text).digest == one.digest, text
    assert store.find("x").digest == other.digest
    for text in ("nanoserver", "server:ltsc2022", "x:2", f"x@{one.digest}", "0123456789ab", one.digest[7:18]):
        with pytest.raises(PathNotFoundError):
            store.find(text)
    with pytest.raises(InvalidParameterError):
        store.find("a name")


def test_an_end_that_several_names_have_is_refused(store: ImageStore) -> None:
    fill(store, "one.example/app", samples.small())
    fill(store, "two.example/app", samples.small())
    assert store.find("app").digest == samples.small().digest
    with pytest.raises(InvalidParameterError, match=r"one\.example/app:latest, two\.example/app:latest"):
        store.untag("app")
    fill(store, "two.example/app", samples.small_child())
    with pytest.raises(InvalidParameterError, match="several images"):
        store.find("app")
    fill(store, "app", samples.small_child())
    assert store.find("app").digest == samples.small_child().digest


def test_tag_and_untag(store: ImageStore) -> None:
    root = fill(store, "app:1", samples.small())
    store.tag("registry.example/app:2", root)
    assert [image.name for image in store.images()] == ["app:1", "registry.example/app:2"]
    assert store.untag("app:2") == "registry.example/app:2"
    assert store.untag("app:1") == "app:1"
    assert store.images() == []
    with pytest.raises(PathNotFoundError):
        store.untag("app:1")
    with pytest.raises(InvalidParameterError):
        store.tag("App", root)
    with pytest.raises(PathNotFoundError):
        store.tag("app", Descriptor(root.media_type, "sha256:" + "0" * 64, 3))


def test_an_image_without_a_name_is_kept_by_its_digest(store: ImageStore) -> None:
    with MemorySource(samples.small()) as source, store.target("") as target:
        copy_image(source, target)
    store.prune()
    digest = samples.small().digest
    assert [image.name for image in store.images()] == [digest]
    assert store.find(digest[7:25]).digest == digest
    store.untag(digest)
    assert store.images() == []


def test_an_image_has_no_name_before_everything_is_there(store: ImageStore) -> None:
    image = samples.small_child()

    def fail(digest: str) -> None:
        if digest == image.layers[1].digest:
            raise PathNotFoundError("memory", "gone")

    with MemorySource(image) as source, store.target("app") as target:
        source.before = fail
        with pytest.raises(PathNotFoundError):
            copy_image(source, target)
    assert store.images() == []
    store.prune(keep_hours=0)
    assert listing(store) == {"store.db"}


# Ingest


def test_an_ingest_continues_where_the_last_one_ended(store: ImageStore) -> None:
    data = os.urandom(3 << 20)
    with pytest.raises(OSError, match="lost"), store.ingest(blob(data)) as ingest:
        ingest.write(data[: 1 << 20])
        ingest.write(data[1 << 20 : 1 << 21])
        raise OSError("lost")
    with store.ingest(blob(data)) as ingest:
        assert ingest.offset == 1 << 21
        ingest.write(data[1 << 21 :])
        ingest.commit()
    assert store.blob_path(blob(data).digest).read_bytes() == data
    assert not list((store.path / "ingest").iterdir())
    with store.ingest(blob(data)) as ingest:
        assert (ingest.is_whole, ingest.offset) == (True, len(data))
        ingest.commit()


def test_wrong_bytes_are_removed_and_few_bytes_are_kept(store: ImageStore) -> None:
    data = b"the blob"
    with store.ingest(blob(data)) as ingest:
        ingest.write(b"the")
        with pytest.raises(InvalidDataError, match="ended after 3 of 8 bytes"):
            ingest.commit()
    with store.ingest(blob(data)) as ingest:
        assert ingest.offset == 3
        ingest.write(b" clob")
        with pytest.raises(InvalidDataError, match="have the digest sha256:"):
            ingest.commit()
    assert not store.has_blob(blob(data))
    with store.ingest(blob(data)) as ingest:
        assert ingest.offset == 0
        with pytest.raises(InvalidDataError, match="more than the 8 bytes"):
            ingest.write(b"the blob!")
    assert listing(store) == {"store.db"}


def test_a_begun_copy_that_is_damaged_is_made_anew(store: ImageStore) -> None:
    """A power cut may leave zeros where bytes were written."""
    image = samples.small()
    layer = image.layers[0]
    descriptor = Descriptor(layer.media_type, layer.digest, len(layer.data))
    with store.ingest(descriptor) as ingest:
        ingest.write(bytes(10))
    assert fill(store, "app", image).digest == image.digest
    assert problems(store) == []


def test_a_follower_reads_while_the_blob_is_written(store: ImageStore) -> None:
    data = os.urandom(5 << 20)
    read: list[bytes] = []
    with store.ingest(blob(data)) as ingest:
        ingest.write(data[:100])
        stream = ingest.follow()
        assert stream.read(100) == data[:100]
        reader = threading.Thread(target=lambda: read.append(stream.read()))
        reader.start()
        for start in range(100, len(data), 1 << 20):
            ingest.write(data[start : start + (1 << 20)])
        reader.join(0.1)
        # All bytes are there, and are not verified.
        assert reader.is_alive()
        ingest.commit()
        reader.join()
        with ingest.follow() as again:
            assert again.read() == data
    stream.close()
    assert read == [data[100:]]


@pytest.mark.parametrize("end", ["digest", "error", "nothing"])
def test_a_follower_gets_the_error_of_the_writer(store: ImageStore, end: str) -> None:
    data = b"x" * 1000
    found: list[BaseException] = []

    def follow() -> None:
        with stream:
            try:
                stream.read()
            except (OSError, RuntimeError) as error:
                found.append(error)

    with pytest.raises((InvalidDataError, ConnectionResetError, InvalidStateError)), store.ingest(blob(data)) as ingest:
        stream = ingest.follow()
        reader = threading.Thread(target=follow)
        reader.start()
        ingest.write(b"y" * (1000 if end == "digest" else 10))
        if end == "digest":
            ingest.commit()
        if end == "error":
            raise ConnectionResetError(104, "reset by peer")
        # The end without a commit is no error of the writer.
        ingest.__exit__(None, None, None)
        raise InvalidStateError("", "")
    reader.join()
    expected = {"digest": "have the digest", "error": "reset by peer", "nothing": "was not committed"}[end]
    assert expected in str(found[0])


def test_after_a_failed_write_only_the_next_ingest_continues(
    store: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk takes a part of the bytes: they are in the file, and were not hashed."""
    data = b"0123456789" * 10

    def take_a_part(fd: int, view: memoryview) -> None:
        os.write(fd, view[:5])
        raise OSError(errno.ENOSPC, "no space")

    with store.ingest(blob(data)) as ingest:
        ingest.write(data[:10])
        with monkeypatch.context() as patched:
            patched.setattr("wclayer.images.store.ingest.write_all", take_a_part)
            with pytest.raises(DiskFullError):
                ingest.write(data[10:])
        with pytest.raises(InvalidStateError):
            ingest.write(data[10:])
    with store.ingest(blob(data)) as ingest:
        assert ingest.offset == 15
        ingest.write(data[15:])
        ingest.commit()
    assert store.blob_path(blob(data).digest).read_bytes() == data


def test_a_second_ingest_waits_and_finds_the_blob_whole(store: ImageStore) -> None:
    data = b"x" * 100_000
    found: list[bool] = []

    def second() -> None:
        with store.ingest(blob(data)) as ingest:
            found.append(ingest.is_whole)

    with store.ingest(blob(data)) as ingest:
        waiter = threading.Thread(target=second)
        waiter.start()
        ingest.write(data)
        waiter.join(0.3)
        assert waiter.is_alive()
        ingest.commit()
        waiter.join()
    assert found == [True]


# Prune


def test_prune_removes_what_no_name_keeps(store: ImageStore) -> None:
    base, child = samples.small(), samples.small_child()
    fill(store, "base", base)
    fill(store, "child", child)
    unpack(store, base)
    unpack(store, child)
    stray = put(store, b"stray")
    assert not store.prune().layers
    assert not store.has_blob(stray)
    store.untag("child")
    dry = store.prune(dry_run=True)
    assert store.has_layer(child.chain_ids[1])
    result = store.prune()
    assert result == dry
    assert result.layers == [child.chain_ids[1]]
    assert set(result.blobs) == {child.digest, samples.sha256(child.config), child.layers[1].digest}
    assert result.freed > 0
    assert store.has_layer(base.chain_ids[0])
    assert problems(store) == []


def test_prune_keeps_young_downloads(store: ImageStore) -> None:
    with store.ingest(blob(b"12345678")) as ingest:
        ingest.write(b"1234")
    assert store.prune().downloads == []
    part = next((store.path / "ingest").iterdir())
    os.utime(part, (0, 0))
    assert store.prune().downloads == [blob(b"12345678").digest]
    assert not part.exists()


def test_prune_leaves_layers_that_are_open_with_their_parents(store: ImageStore) -> None:
    image = samples.small_child()
    fill(store, "app", image)
    paths = unpack(store, image)
    store.untag("app")
    with store.hold_layers(image.chain_ids[1:]):
        result = store.prune()
        assert sorted(result.busy) == sorted(paths)
        assert result.layers == []
    assert sorted(store.prune().layers) == sorted(image.chain_ids)


def test_prune_waits_for_nobody(store: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wclayer.layers.atomic.PATIENCE", 0.1)
    fill(store, "app", samples.small())
    with store.in_use(), pytest.raises(LayerBusyError, match="uses the store"):
        store.prune()
    with store.ingest(blob(b"x")), pytest.raises(LayerBusyError):
        store.prune()
    store.prune()


@pytest.mark.parametrize("what", ["manifest", "config", "index"])
def test_prune_removes_nothing_if_an_image_cannot_be_read(store: ImageStore, what: str) -> None:
    fill(store, "other", samples.small_child())
    index = samples.several()
    fill(store, "app", index)
    image = index.images[0]
    digest = {"manifest": image.digest, "config": samples.sha256(image.config), "index": index.digest}[what]
    path = store.blob_path(digest)
    store.untag("other")
    before = listing(store)
    path.write_bytes(path.read_bytes().replace(b"sha256", b"sha257", 1))
    with pytest.raises(CorruptLayerError, match="nothing was removed: what the image app:latest keeps is unknown"):
        store.prune()
    assert listing(store) == before
    assert any("app" in place for place, _ in problems(store))
    store.untag("app")
    store.prune()
    assert listing(store) == {"store.db"}


# Listing


def test_sizes_are_shared_or_own(store: ImageStore) -> None:
    base, child = samples.small(), samples.small_child()
    fill(store, "base", base)
    fill(store, "child", child)
    one, two = store.images()
    shared = len(base.layers[0].data)
    assert (one.shared_size, two.shared_size) == (shared, shared)
    assert one.own_size == len(base.manifest) + len(base.config)
    assert two.own_size == len(child.manifest) + len(child.config) + len(child.layers[1].data)
    assert (one.base, two.base) == ("Windows 10.0.20348.5499", "base:latest")
    assert two.platform is not None
    assert two.platform.os_version == "10.0.20348.5499"
    assert not two.is_unpacked
    unpack(store, child)
    one, two = store.images()
    assert (one.is_unpacked, two.is_unpacked) == (True, True)
    assert one.shared_size == two.shared_size > shared
    # Another name of the same image shares nothing.
    store.untag("base")
    store.tag("again", two.manifest)
    assert [image.shared_size for image in store.images()] == [0, 0]


def test_an_index_is_listed_by_platform(store: ImageStore) -> None:
    fill(store, "app", samples.several())
    images = store.images()
    assert {image.name for image in images} == {"app:latest"}
    assert len({image.manifest.digest for image in images}) == len(samples.several().images)


def test_an_image_that_cannot_be_read_is_listed_with_its_problem(store: ImageStore) -> None:
    fill(store, "app", samples.small())
    store.blob_path(samples.small().digest).write_bytes(b"{}")
    (image,) = store.images()
    assert image.platform is None
    assert "2 bytes, where" in image.problem


# The folder


def test_a_moved_store_works(store: ImageStore, tmp_path: Path) -> None:
    image = samples.small_child()
    fill(store, "app", image)
    shutil.move(store.path, tmp_path / "moved")
    moved = ImageStore(tmp_path / "moved")
    assert moved.find("app").digest == image.digest
    assert problems(moved) == []
    assert not moved.prune().blobs


def test_there_is_nothing_in_a_store_that_is_not_there(store: ImageStore) -> None:
    assert store.images() == []
    assert not store.has_blob(blob(b"x"))
    assert not store.prune().blobs
    for call in (lambda: store.find("app"), lambda: store.untag("app"), lambda: list(store.check())):
        with pytest.raises(PathNotFoundError):
            call()
    assert not store.path.exists()


def test_a_folder_with_other_files_becomes_no_store(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InvalidParameterError, match="is not a store: it has files"):
        put(ImageStore(tmp_path), b"x")
    assert os.listdir(tmp_path) == ["notes.txt"]


def test_check_finds_damage(store: ImageStore) -> None:
    image = samples.small_child()
    fill(store, "app", image)
    paths = unpack(store, image)
    assert problems(store) == []
    (store.path / "blobs/sha256/README").write_text("")
    (store.path / "stranger").mkdir()
    layer = store.blob_path(image.layers[0].digest)
    layer.write_bytes(layer.read_bytes()[:-1] + b"?")
    store.blob_path(image.layers[1].digest).unlink()
    (paths[1] / "Files/app/a.txt").write_bytes(b"an APPLICATION\r\n")
    found = dict(problems(store))
    assert set(found) == {
        "blobs/sha256/README", "stranger", f"blobs/sha256/{layer.name}", "app:latest",
        f"layers/{paths[1].name}: Files/app/a.txt",
    }  # fmt: skip
    assert "layer 2 of 2" in found["app:latest"]


def test_check_knows_the_chain_of_a_layer(store: ImageStore) -> None:
    image = samples.small_child()
    fill(store, "app", image)
    paths = unpack(store, image)
    paths[1].rename(store.layer_path("sha256:" + "1" * 64))
    assert [text for _, text in problems(store)] == [
        f"its tar ({image.diff_ids[1]}) over its parents has another chainID"
    ]


# Hostile stores


def _change(store: ImageStore, *statements: str) -> None:
    with closing(sqlite3.connect(store.path / "store.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        for statement in statements:
            connection.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE names SET name = '../../etc/passwd'",
        "UPDATE names SET name = 'docker.io/library/app:latest'",
        "UPDATE names SET name = x'ff'",
        "UPDATE names SET digest = 'sha256:../../../../etc/passwd'",
        "UPDATE names SET digest = 'sha512:' || digest",
        "UPDATE names SET size = -1",
        "UPDATE names SET size = 'many'",
        "UPDATE names SET tagged = 'now'",
        "UPDATE names SET media_type = 'text/plain'",
        "UPDATE names SET name = CAST(x'ff' AS TEXT)",
        "CREATE TABLE more (a)",
        "CREATE TRIGGER t AFTER DELETE ON names BEGIN DELETE FROM names; END",
        "PRAGMA application_id = 1",
        "PRAGMA journal_mode = DELETE",
    ],
)
def test_a_hostile_database_is_refused(store: ImageStore, statement: str) -> None:
    fill(store, "app", samples.small())
    _change(store, statement)
    before = listing(store)
    for call in (store.images, store.prune, lambda: list(store.check()), lambda: store.find("app")):
        with pytest.raises(CorruptLayerError) as caught:
            call()
        assert str(store.path / "store.db") in str(caught.value)
    assert listing(store) == before


def test_a_newer_database_is_refused_by_name(store: ImageStore) -> None:
    fill(store, "app", samples.small())
    _change(store, "PRAGMA user_version = 99")
    with pytest.raises(NotSupportedError, match="has version 99 of the schema"):
        store.images()


def test_a_journal_beside_the_database_is_refused(store: ImageStore) -> None:
    fill(store, "app", samples.small())
    (store.path / "store.db-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(504))
    with pytest.raises(CorruptLayerError, match="journal"):
        store.images()


@pytest.mark.parametrize("name", ["blobs", "blobs/sha256", "ingest", "layers"])
def test_a_link_in_the_folder_is_refused(store: ImageStore, tmp_path: Path, name: str) -> None:
    fill(store, "app", samples.small())
    unpack(store, samples.small())
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / ("0" * 64)).write_text("not to be removed")
    (outside / ("0" * 64 + ".part")).write_text("not to be removed")
    (outside / ("1" * 64)).mkdir()
    shutil.rmtree(store.path / name)
    (store.path / name).symlink_to(outside)
    store.untag("app")
    with pytest.raises(CorruptLayerError):
        store.prune(keep_hours=0)
    if name != "layers":
        with pytest.raises(CorruptLayerError):
            put(store, b"a blob")
    else:
        with pytest.raises(CorruptLayerError):
            store.has_layer(samples.small().chain_ids[0])
    assert len(list(outside.iterdir())) == 3
    with pytest.raises(CorruptLayerError):
        list(store.check())


@pytest.mark.parametrize("make", ["link", "hard link", "folder", "fifo"])
@pytest.mark.parametrize("place", ["blobs/sha256/{}", "ingest/{}.part"])
def test_something_else_at_the_place_of_a_blob_is_refused(
    store: ImageStore, tmp_path: Path, place: str, make: str
) -> None:
    put(store, b"other")
    data = b"a blob"
    secret = tmp_path / "secret"
    secret.write_bytes(b"a BLO")
    path = store.path / place.format(hashlib.sha256(data).hexdigest())
    if make == "link":
        path.symlink_to(secret)
    elif make == "hard link":
        path.hardlink_to(secret)
    elif make == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    if make == "hard link" and "blobs" in place:
        # A file of another size is not the blob, and is replaced.
        put(store, data)
    else:
        # Windows does not let a folder be opened as a file.
        with pytest.raises(
            (CorruptLayerError, AccessDeniedError) if make == "folder" and os.name == "nt" else CorruptLayerError
        ):
            put(store, data)
    assert secret.read_bytes() == b"a BLO"


def test_a_blob_with_other_contents_is_never_read_as_a_manifest(store: ImageStore) -> None:
    root = fill(store, "app", samples.small())
    path = store.blob_path(root.digest)
    path.write_bytes(path.read_bytes()[:-1] + b" ")
    with pytest.raises(CorruptLayerError, match="the contents have the digest"):
        store.read_blob(root)
    with pytest.raises(LimitExceededError, match="manifest_size"):
        store.read_blob(Descriptor(root.media_type, root.digest, 1 << 40))


@pytest.mark.parametrize("what", ["manifest", "configuration"])
def test_what_the_disk_has_damaged_is_fetched_anew(store: ImageStore, what: str) -> None:
    image = samples.small()
    root = fill(store, "app", image)
    digest = {
        "manifest": root.digest,
        "configuration": samples.sha256(image.config),
    }[what]
    path = store.blob_path(digest)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert problems(store)
    with MemorySource(image) as source:
        store_image(source, store, "app")
    assert path.read_bytes() == whole
    assert problems(store) == []


def test_prune_makes_room_on_a_full_disk(store: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(store, "app", samples.small())
    begun = blob(b"a large layer")
    with store.ingest(begun) as ingest:
        ingest.write(b"a large")
    part = store.path / "ingest" / f"{begun.digest.removeprefix('sha256:')}.part"
    read = Names.all

    def full(self: Names) -> list[Name]:
        # A reader of the database needs room for the index of the log.
        if part.exists():
            raise DiskFullError(store.path, "no room")
        return read(self)

    monkeypatch.setattr(Names, "all", full)
    with pytest.raises(DiskFullError, match="no room; make room, or remove begun downloads: `wclayer prune --all`"):
        store.prune()
    with pytest.raises(DiskFullError):
        store.prune(keep_hours=0, dry_run=True)
    assert part.exists()
    result = store.prune(keep_hours=0)
    assert (result.downloads, result.freed, result.blobs) == ([begun.digest], 7, [])
    assert problems(store) == []
