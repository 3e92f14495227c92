"""`wclayer rebase` with registries: the base is found, and the layers of bases are mounted, not sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from tests.images import samples
from tests.images.forms import put_into_registry
from tests.images.registry import DebianRegistry, skopeo
from tests.support import parsed, run, text
from wclayer.errors import InvalidParameterError
from wclayer.images.history import BASE_DIGEST, BASE_NAME
from wclayer.images.store import ImageStore

OLD, NEW = "10.0.20348.4294", "10.0.20348.5499"
HIVES = {f"Files/Windows/System32/config/{name}": b"" for name in ("DEFAULT", "SAM", "SECURITY", "SOFTWARE", "SYSTEM")}


def _base(version: str, history: str = "Apply image") -> samples.Image:
    tar = samples.small_tar({**HIVES, "Files/version.txt": version.encode()})
    container = {"Env": [f"BASE={version}"]}
    return samples.image(
        "oci", [samples.layer(tar, "oci")], [samples.step(f"{history} {version}")], container, os_version=version
    )


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DebianRegistry]:
    """Debian's registry, which logs each request, with two bases."""
    with DebianRegistry(tmp_path_factory.mktemp("registry") / "it", logs_requests=True) as running:
        put_into_registry(running.base, "windows/core", "old", _base(OLD))
        put_into_registry(running.base, "windows/core", "new", _base(NEW))
        put_into_registry(running.base, "plain/core", "old", _base(OLD, "own step"))
        put_into_registry(running.base, "plain/core", "new", _base(NEW, "own step"))
        yield running


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, and an empty store."""
    monkeypatch.setenv("WCLAYER_STORE", str(tmp_path / "store"))
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def app(registry: DebianRegistry, repository: str) -> str:
    """An image on the old base, pushed from another store."""
    return _app(registry, "windows/core", repository)


def _app(registry: DebianRegistry, base: str, repository: str, *, annotations: bool = True) -> str:
    name = f"{registry.host}/{repository}/app:1"
    store = ("--store", "other")
    run("pull", "-q", *store, f"{registry.host}/{base}:old")
    run("create", *store, "--from", f"{registry.host}/{base}:old", "scratch")
    Path("own.txt").write_bytes(b"own")
    run("cp", "own.txt", "scratch:C:\\own.txt")
    run("commit", *store, "scratch", "-t", name, "--label", "own=1", "--reproducible")
    if not annotations:
        run("config", *store, name, "--unset-annotation", BASE_NAME, "--unset-annotation", BASE_DIGEST, "-t", name)
    run("push", "-q", *store, name)
    return name


def _layers(name: str) -> list[str]:
    raw = skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{name}").stdout
    return [layer["digest"] for layer in json.loads(raw)["layers"]]


def _config(name: str) -> dict[str, Any]:
    command = ("--override-os", "windows", "inspect", "--config", "--tls-verify=false", f"docker://{name}")
    record: dict[str, Any] = json.loads(skopeo(*command).stdout)
    return record


def _rebased(registry: DebianRegistry, *arguments: str) -> str:
    """What the registry has logged of a rebase."""
    before = len(registry.log)
    run("rebase", *arguments)
    return unquote(registry.log[before:])


@pytest.mark.parametrize("looks", [[], ["--no-report"]])
def test_the_layers_of_the_new_base_are_mounted(
    looks: list[str], registry: DebianRegistry, app: str, repository: str
) -> None:
    new = f"{registry.host}/{repository}/app:2"
    onto = f"docker://{registry.host}/windows/core:new"
    log = _rebased(registry, f"docker://{app}", "--onto", onto, "-t", f"docker://{new}", *looks)
    (own,) = _layers(app)[1:]
    (base,) = [layer.digest for layer in _base(NEW).layers]
    assert _layers(new) == [base, own]
    assert f"mount={base}&from=windows/core" in log or f"from=windows/core&mount={base}" in log
    assert f"digest={base}" not in log
    assert f"={own}" not in log
    # Without a report, nobody reads the layers of the bases; the own ones are looked through for servicing state.
    fetched = {digest for digest in (*_layers(app), base) if f'"GET /v2/windows/core/blobs/{digest}' in log}
    assert fetched == ({base} if not looks else set())
    config = _config(new)
    assert config["os.version"] == NEW
    assert config["config"]["Env"] == [f"BASE={NEW}"]
    assert config["config"]["Labels"] == {"own": "1"}
    run("pull", "-q", "--store", "fresh", new)
    with_store = ("--store", "fresh")
    assert text("cat", *with_store, new, "C:\\own.txt") == "own"
    assert text("cat", *with_store, new, "C:\\version.txt") == NEW


def test_into_another_repository_the_own_layers_are_mounted_too(
    registry: DebianRegistry, app: str, repository: str
) -> None:
    new = f"{registry.host}/{repository}/other:1"
    log = _rebased(
        registry, f"docker://{app}", "--onto", f"docker://{registry.host}/windows/core:new", "-t", f"docker://{new}"
    )
    for digest in _layers(new):
        assert f"mount={digest}" in log
        assert f"digest={digest}" not in log.replace(f"mount={digest}", "")


def test_a_pulled_image_is_rebased_in_the_store_and_pushed(registry: DebianRegistry, app: str, repository: str) -> None:
    run("pull", "-q", app)
    run("pull", "-q", f"{registry.host}/windows/core:new")
    new = f"{registry.host}/{repository}/pushed:1"
    log = _rebased(registry, app, "--onto", f"{registry.host}/windows/core:new", "-t", new, "--push")
    for digest in _layers(new):
        assert f"mount={digest}" in log
        assert f"digest={digest}" not in log.replace(f"mount={digest}", "")
    assert ImageStore("store").find(new).digest == parsed("inspect", f"docker://{new}")["digest"]  # type: ignore[index]


def test_the_base_of_the_annotations_is_found_in_the_registry_of_the_image(
    registry: DebianRegistry, repository: str
) -> None:
    """Its history tells nothing. The settings of the old base are known, so those of the new one are taken over."""
    app = _app(registry, "plain/core", repository)
    told: Any = parsed(
        "rebase", f"docker://{app}", "--onto", f"docker://{registry.host}/plain/core:new", "--dry-run", "--json"
    )
    assert told["old_base"] == _base(OLD, "own step").digest
    assert told["warnings"] == []
    assert told["os.version"] == NEW


def test_the_base_is_the_image_of_the_store_that_has_the_first_layers(
    registry: DebianRegistry, repository: str
) -> None:
    app = _app(registry, "plain/core", repository, annotations=False)
    options = [f"docker://{app}", "--onto", f"docker://{registry.host}/plain/core:new", "--dry-run", "--json"]
    done = run("rebase", *options, status=InvalidParameterError.exit_status)
    assert b"no image of the store has its first layers; name the base image (--old-base" in done.stderr
    run("pull", "-q", f"{registry.host}/plain/core:old")
    told: Any = parsed("rebase", *options[:-1])
    assert told["old_base"] == _base(OLD, "own step").digest
    run("config", f"{registry.host}/plain/core:old", "--label", "x=1", "-t", "other:1")
    done = run("rebase", *options, status=InvalidParameterError.exit_status)
    assert b"several images of the store may be its base" in done.stderr
    told = parsed("rebase", *options[:-1], "--old-base", f"docker://{registry.host}/plain/core:old")
    assert told["old_base"] == _base(OLD, "own step").digest
