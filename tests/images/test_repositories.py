"""The store knows the repositories from which its blobs came: a push mounts them instead of sending them."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.images import samples, stores
from tests.images.forms import get_blob, put_into_registry
from tests.images.registry import DebianRegistry, FakeRegistry
from tests.support import run
from wclayer.errors import CorruptLayerError
from wclayer.images.store import ImageStore
from wclayer.images.store.folder import StoreFolder
from wclayer.images.store.repositories import Repositories
from wclayer.images.transfer import copy_image
from wclayer.images.transport import Repository

BASE = samples.servercore("oci")
LAYERS = {layer.digest for layer in BASE.layers}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImageStore:
    """An empty store, the user's."""
    monkeypatch.setenv("WCLAYER_STORE", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    return ImageStore(tmp_path / "store")


def _pull(base: str, host: str, repository: str = "windows/core") -> str:
    """Pulls the base image from a repository, and returns its name."""
    put_into_registry(base, repository, "1", BASE)
    run("pull", "-q", f"{host}/{repository}:1")
    return f"{host}/{repository}:1"


def _commit(base: str, name: str) -> None:
    """Makes an image on a base, with one layer of its own."""
    run("create", "--from", base, "scratch")
    Path("own.txt").write_bytes(b"own")
    run("cp", "own.txt", "scratch:C:\\own.txt")
    run("commit", "scratch", "-t", name)


def _mounted(fake: FakeRegistry) -> dict[str, str]:
    """The blobs that were mounted, and from which repositories."""
    asked = [request for request in fake.asked("upload", "POST") if "mount" in request.query]
    return {request.query["mount"]: request.query["from"] for request in asked if request.status == 201}


def test_the_layers_of_a_pulled_base_are_mounted(store: ImageStore, tmp_path: Path) -> None:
    """Debian's registry logs each request: no byte of the base goes there."""
    with DebianRegistry(tmp_path / "registry", logs_requests=True) as registry:
        base = _pull(registry.base, registry.host)
        name = f"{registry.host}/team/app:1"
        _commit(base, name)
        before = len(registry.log)
        run("push", "-q", name)
        log = unquote(registry.log[before:])
        (own,) = {layer["digest"] for layer in _manifest(store, name)["layers"]} - LAYERS
        for digest in LAYERS:
            assert f"mount={digest}" in log
            assert f"digest={digest}" not in log.replace(f"mount={digest}", "")
            data = get_blob(registry.base, "team/app", digest)
            assert data == BASE.blobs[digest]
        assert f"mount={own}" not in log
        assert f"digest={own}" in log


def _manifest(store: ImageStore, name: str) -> dict[str, list[dict[str, str]]]:
    record: dict[str, list[dict[str, str]]] = json.loads(store.read_blob(store.find(name)))
    return record


def test_blobs_are_mounted_from_where_they_came_last(store: ImageStore, fake: FakeRegistry) -> None:
    base = _pull(fake.base, fake.host)
    _commit(base, f"{fake.host}/app:1")
    fake.forget()
    run("push", "-q", f"{fake.host}/app:1")
    assert _mounted(fake) == dict.fromkeys(LAYERS, "windows/core")
    assert fake.received() < 20_000
    _pull(fake.base, fake.host, "mirror/core")
    fake.forget()
    run("push", "-q", f"{fake.host}/app:1", f"{fake.host}/other:1")
    assert _mounted(fake) == dict.fromkeys(LAYERS, "mirror/core")


def test_a_copy_into_a_store_remembers_too(store: ImageStore, fake: FakeRegistry) -> None:
    """Also a copy from one store into another one."""
    put_into_registry(fake.base, "windows/core", "1", BASE)
    run("copy", f"docker://{fake.host}/windows/core:1", "store:core:1")
    second = ImageStore(store.path.parent / "second")
    with store.source("core:1") as source, second.target("core:1") as target:
        copy_image(source, target)
    for each in (store, second):
        fake.forget()
        run("push", "-q", "--store", each.path, "core:1", f"{fake.host}/{each.path.name}:1")
        assert set(_mounted(fake)) >= LAYERS


def test_another_registry_gets_the_bytes(store: ImageStore, fake: FakeRegistry) -> None:
    base = _pull(fake.base, fake.host)
    with FakeRegistry() as other:
        run("push", "-q", base, f"{other.host}/core:1")
        assert _mounted(other) == {}
        assert other.received() > sum(len(layer.data) for layer in BASE.layers)


def test_what_the_repository_does_not_have_any_more_is_sent(store: ImageStore, fake: FakeRegistry) -> None:
    base = _pull(fake.base, fake.host)
    fake.contents.repositories.pop("windows/core")
    fake.forget()
    run("push", "-q", base, f"{fake.host}/app:1")
    assert _mounted(fake) == {}
    assert fake.received() > sum(len(layer.data) for layer in BASE.layers)


def test_a_blob_with_addresses_of_its_own_is_not_remembered(store: ImageStore) -> None:
    """It may have come from there, not from the repository."""
    image = samples.with_foreign_layer("oci")
    with FakeRegistry(urls=True) as fake:
        put_into_registry(fake.base, "old", "1", image, with_foreign=True)
        run("pull", "-q", f"{fake.host}/old:1")
    known = {layer.digest: Repositories(StoreFolder(store.path)).of(layer.digest) for layer in image.layers}
    assert known == {layer.digest: [] if layer.is_foreign else [Repository(fake.host, "old")] for layer in image.layers}


def test_prune_forgets_what_is_gone(store: ImageStore, fake: FakeRegistry) -> None:
    base = _pull(fake.base, fake.host)
    known = Repositories(StoreFolder(store.path))
    assert known.of(BASE.layers[0].digest) == [Repository(fake.host, "windows/core")]
    run("untag", base)
    run("prune", "--all", "--dry-run")
    assert known.of(BASE.layers[0].digest) != []
    run("prune", "--all")
    assert _rows(store) == []


def _rows(store: ImageStore) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(store.path / "store.db")) as connection:
        return connection.execute("SELECT * FROM repositories").fetchall()


VERSION_1 = """
CREATE TABLE names (
    name TEXT PRIMARY KEY,
    media_type TEXT NOT NULL,
    digest TEXT NOT NULL,
    size INTEGER NOT NULL,
    tagged INTEGER NOT NULL
) WITHOUT ROWID
"""
"""What earlier versions have made."""


def _made_by_an_earlier_version(store: ImageStore) -> ImageStore:
    store.path.mkdir()
    with closing(sqlite3.connect(store.path / "store.db", isolation_level=None)) as connection:
        for statement in (f"application_id = {0x57434C53}", "user_version = 1", "journal_mode = WAL"):
            connection.execute(f"PRAGMA {statement}")
        connection.executescript(VERSION_1)
    return store


def _version(store: ImageStore) -> int:
    with closing(sqlite3.connect(store.path / "store.db")) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        return int(version)


def test_a_store_of_an_earlier_version_is_used_and_gets_the_table_when_it_is_needed(
    store: ImageStore, fake: FakeRegistry
) -> None:
    _made_by_an_earlier_version(store)
    stores.fill(store, "local:1", samples.small("oci"))
    assert [image.name for image in store.images()] == ["local:1"]
    run("push", "-q", "local:1", f"{fake.host}/local:1")
    run("prune", "--all")
    assert _version(store) == 1
    base = _pull(fake.base, fake.host)
    assert _version(store) == 2
    assert sorted(image.name for image in store.images()) == [base, "local:1"]
    assert len(_rows(store)) == len(BASE.blobs)
    assert list(store.check()) == []
    new = ImageStore(store.path.parent / "new")
    stores.fill(new, "local:1", samples.small("oci"))
    assert _schema(store) == _schema(new)


def _schema(store: ImageStore) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(store.path / "store.db")) as connection:
        return connection.execute("SELECT * FROM sqlite_master ORDER BY name").fetchall()


@pytest.mark.parametrize("version", [0, -1])
def test_a_version_that_no_store_has_is_refused(store: ImageStore, version: int) -> None:
    _made_by_an_earlier_version(store)
    with closing(sqlite3.connect(store.path / "store.db")) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    with pytest.raises(CorruptLayerError, match="version"):
        store.images()


@pytest.mark.parametrize(
    "change",
    [
        "host = 'localhost:1/../'", "host = ''", "host = x'ff'", "host = 'a b'", "repository = '../../x'",
        "repository = 'A'", "repository = ''", "host = 'docker'", "repository = 'x?from=y'",
    ],
)  # fmt: skip
def test_a_hostile_row_is_refused(store: ImageStore, fake: FakeRegistry, change: str) -> None:
    base = _pull(fake.base, fake.host)
    with closing(sqlite3.connect(store.path / "store.db", isolation_level=None)) as connection:
        connection.execute(f"UPDATE repositories SET {change}")
    fake.forget()
    found = run("push", "-q", base, f"{fake.host}/app:1", status=CorruptLayerError.exit_status)
    assert b"store.db" in found.stderr
    assert fake.received() < 10_000
