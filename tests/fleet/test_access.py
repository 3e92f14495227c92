"""How workers reach registries: with the credentials and certificates of the client, over shared connections."""

from __future__ import annotations

import base64
import json
import os
import pickle
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.images import samples
from tests.images.forms import put_into_registry
from tests.images.registry import Access, DebianRegistry, FakeRegistry
from tests.images.registry.debian import make_certificates
from wclayer.errors import InvalidDataError, PathNotFoundError
from wclayer.fleet.access import ImageAccess
from wclayer.fleet.model import ImageStatus, Listed
from wclayer.fleet.resolve import resolve_images
from wclayer.fleet.sources import list_images
from wclayer.images.manifest import Manifest, parse_manifest
from wclayer.images.registry import Credentials, RegistryOptions

_PASSWORD = "rabbit: hole"
_OTHER = "another secret"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without credentials."""
    for name in ("DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    return tmp_path


def _keep(home: Path, users: dict[str, tuple[str, str]], **more: object) -> Path:
    """Writes the credentials of keys as Docker does."""
    auths = {key: {"auth": base64.b64encode(f"{user}:{text}".encode()).decode()} for key, (user, text) in users.items()}
    file = home / ".docker" / "config.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"auths": auths, **more}))
    return file


def _fill(registry: FakeRegistry, *repositories: str) -> list[Listed]:
    image = samples.small("oci")
    for repository in repositories:
        for data in image.blobs.values():
            registry.contents.put_blob(repository, data)
        registry.contents.put_manifest(repository, image.manifest, image.media_type, "1")
    texts = [f"{registry.host}/{repository}:1" for repository in repositories]
    return [Listed(text, text, repository, "1") for text, repository in zip(texts, repositories, strict=True)]


_ON_A_WORKER = """
import pickle, sys
from wclayer.fleet.resolve import resolve_images
access, listed = pickle.load(sys.stdin.buffer)
with access:
    found = resolve_images(listed, access)
sys.stdout.buffer.write(pickle.dumps(found))
"""


def _resolved_elsewhere(access: ImageAccess, listed: list[Listed], folder: Path) -> list[str]:
    """Resolves in another process, which has another home, and returns the errors."""
    environment = {**os.environ, "HOME": str(folder / "nobody"), "USERPROFILE": str(folder / "nobody")}
    data = pickle.dumps((access, listed))
    done = subprocess.run(
        [sys.executable, "-c", _ON_A_WORKER], input=data, stdout=subprocess.PIPE, env=environment, check=True
    )
    return [image.error for image in pickle.loads(done.stdout)]


def test_workers_get_the_credentials_and_certificates_of_the_client(home: Path, tmp_path: Path) -> None:
    ca, server, key = make_certificates(tmp_path / "certificates")
    users = {"alice": _PASSWORD}
    with DebianRegistry(tmp_path / "registry", users=users, certificate=(server, key)) as registry:
        listed = [Listed(f"{registry.host}/app:1", f"{registry.host}/app:1", "app", "1")]
        file = _keep(home, {registry.host: ("alice", _PASSWORD)})
        access = ImageAccess(RegistryOptions(ca=ca))
        access.collect(listed)
        file.unlink()
        ca.unlink()
        (error,) = _resolved_elsewhere(access, listed, tmp_path)
        assert "does not have the tag 1" in error
        with access:
            assert list(list_images(registry.host, access)) == []
        (error,) = _resolved_elsewhere(ImageAccess(RegistryOptions(ca=ca)), listed, tmp_path)
        assert f"{ca}" in error
        (error,) = _resolved_elsewhere(ImageAccess(RegistryOptions(insecure=True)), listed, tmp_path)
        assert "asks for a log-in" in error


def test_each_namespace_has_its_own_user(home: Path, tmp_path: Path) -> None:
    users = {"alice": _PASSWORD, "bob": _OTHER, "carol": "third"}
    with FakeRegistry(access=Access("token", users=users)) as registry:
        listed = _fill(registry, "app", "team/app", "team/sub/app", "teams/app")
        wanted = {"": "alice", "/team": "bob", "/team/sub/app": "carol"}
        _keep(home, {f"{registry.host}{key}": (user, users[user]) for key, user in wanted.items()})
        access = ImageAccess()
        access.collect(listed)
        assert _resolved_elsewhere(access, listed, tmp_path) == [""] * 4
        asked = {request.scopes[0]: request.query["account"] for request in registry.asked("token")}
        assert asked == {
            "repository:app:pull": "alice", "repository:team/app:pull": "bob",
            "repository:team/sub/app:pull": "carol", "repository:teams/app:pull": "alice",
        }  # fmt: skip


def test_no_secret_is_shown(home: Path) -> None:
    _keep(home, {"a.test": ("alice", _PASSWORD), "a.test/team": ("bob", _OTHER)})
    access = ImageAccess(RegistryOptions(credentials=None))
    access.collect(["a.test", "b.test"])
    access.use_pace(_NoPace())
    for text in (repr(access), str(access), f"{access.client('a.test').authorizer.found!r}"):
        assert _PASSWORD not in text
        assert _OTHER not in text
    assert "a.test, b.test" in repr(access)
    again = pickle.loads(pickle.dumps(access))
    assert repr(again) == repr(access)
    assert _PASSWORD in str(pickle.dumps(access))  # the only place


class _NoPace:
    def wait(self, host: str) -> None: ...
    def refused(self, host: str, seconds: float | None) -> None: ...


_HELPER = """#!{python}
import json, sys
server = sys.stdin.read()
with open({calls!r}, "a") as file:
    file.write(server + "\\n")
print(json.dumps({{"ServerURL": server, "Username": "alice", "Secret": {secret!r}}}))
"""


def test_a_program_that_keeps_credentials_is_asked_once(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, program = tmp_path / "calls", tmp_path / "bin" / "docker-credential-tests"
    program.parent.mkdir()
    program.write_text(_HELPER.format(python=sys.executable, calls=str(calls), secret=_PASSWORD))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    with FakeRegistry(access=Access("basic", users={"alice": _PASSWORD})) as registry:
        _keep(home, {}, credHelpers={registry.host: "tests"})
        listed = _fill(registry, *(f"app-{number}" for number in range(20)))
        access = ImageAccess()
        with access:
            assert len(list(list_images(registry.host, access))) == 20
        access.collect(listed)
        program.unlink()
        assert _resolved_elsewhere(access, listed, tmp_path) == [""] * 20
        assert calls.read_text().split() == [registry.host]


def test_what_is_wrong_with_credentials_is_told_before_anything_is_sent(home: Path) -> None:
    _keep(home, {}, credHelpers={"a.test": "missing"})
    with pytest.raises(PathNotFoundError, match="docker-credential-missing: the program"):
        ImageAccess().collect(["a.test"])
    ImageAccess().collect(["b.test"])
    (home / ".docker" / "config.json").write_text('{"auths":{"a.test/team":{"auth":"%%%"}}}')
    with pytest.raises(InvalidDataError, match="auth is not base64"):
        ImageAccess().collect(["a.test"])
    with pytest.raises(PathNotFoundError):
        ImageAccess(RegistryOptions(ca="/no/such/file")).collect(["b.test"])


def test_stated_credentials_go_to_one_registry_alone() -> None:
    users = {"alice": _PASSWORD}
    with FakeRegistry(access=Access("basic", users=users)) as one, FakeRegistry(access=Access("basic")) as two:
        listed = [*_fill(one, "app"), *_fill(two, "app")]
        with ImageAccess(RegistryOptions(credentials=Credentials("alice", _PASSWORD))) as access:
            found = resolve_images(listed, access)
        assert found[0].error == ""
        assert f"the credentials that were stated are given to {one.host} alone" in found[1].error
        assert not two.requests


@pytest.fixture
def anonymous() -> Iterator[FakeRegistry]:
    with FakeRegistry(access=Access("token", anonymous_pull=True)) as registry:
        yield registry


def test_connections_and_challenges_are_shared_and_tokens_are_of_one_repository(anonymous: FakeRegistry) -> None:
    listed = _fill(anonymous, *(f"app-{number}" for number in range(30)))
    most = 0
    with ImageAccess(RegistryOptions(credentials=Credentials())) as access:
        for item in [*listed, *listed]:
            (image,) = resolve_images([item], access)
            assert image.status is ImageStatus.OK
            most = max(most, anonymous.connections)
    # The first one asked whether the registry speaks TLS.
    assert most <= 2
    scopes = [request.scopes for request in anonymous.asked("token")]
    assert scopes == [[f"repository:app-{number}:pull"] for number in range(30)]
    refused = [request for request in anonymous.asked("manifest") if request.status == 401]
    assert len(refused) == 1


def test_tokens_that_are_kept_are_bounded(anonymous: FakeRegistry) -> None:
    listed = _fill(anonymous, *(f"app-{number}" for number in range(300)))
    with ImageAccess(RegistryOptions(credentials=Credentials())) as access:
        assert {image.error for image in resolve_images(listed, access)} == {""}
        service = access.client(anonymous.host).authorizer._service
        assert len(service._tokens) <= 256


def test_a_blob_is_opened_by_its_location(tmp_path: Path) -> None:
    with DebianRegistry(tmp_path / "registry") as registry:
        image = samples.small()
        put_into_registry(registry.base, "app", "1", image)
        listed = [Listed(f"{registry.host}/app:1", f"{registry.host}/app:1", "app", "1")]
        with ImageAccess() as access:
            (found,) = resolve_images(listed, access)
            manifest = parse_manifest(found.manifest, found.media_type)
            assert isinstance(manifest, Manifest)
            with access.open(found.listed.location) as source, source.open_blob(manifest.layers[0]) as stream:
                assert stream.read() == image.layers[0].data
