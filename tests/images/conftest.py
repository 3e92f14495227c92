"""What the tests of images share: registries, and clients of others."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.images.registry import Containerd, DebianRegistry, FakeRegistry
from tests.images.registry.debian import make_certificates
from tests.images.registry_bench import Bench
from wclayer.cli import remote
from wclayer.images.registry import RegistryOptions


@dataclass(frozen=True)
class Certificates:
    """An authority of our own, and a certificate for localhost and 127.0.0.1."""

    ca: Path
    server: Path
    key: Path

    @property
    def pair(self) -> tuple[Path, Path]:
        """The certificate and its key, as a registry wants them."""
        return self.server, self.key


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority of our own, and a certificate that it has signed."""
    return Certificates(*make_certificates(tmp_path_factory.mktemp("certificates")))


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    """A registry of our own without faults; a test adds them to `fake.faults`."""
    with FakeRegistry() as registry:
        yield registry


@pytest.fixture(scope="session")
def debian_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DebianRegistry]:
    """Debian's registry, for all tests of a process: each uses repositories of its own (see `repository`)."""
    with DebianRegistry(tmp_path_factory.mktemp("registry") / "plain") as registry:
        yield registry


@pytest.fixture(scope="session")
def debian_registry_with_users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DebianRegistry]:
    """Debian's registry that asks for the name and the password of a user: see its `users`."""
    users = {"alice": "rabbit: hole ä"}
    with DebianRegistry(tmp_path_factory.mktemp("registry") / "users", users=users) as registry:
        yield registry


@pytest.fixture(scope="session")
def debian_registry_with_tls(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[DebianRegistry]:
    """Debian's registry that speaks TLS, with the certificate of `certificates`."""
    folder = tmp_path_factory.mktemp("registry") / "tls"
    with DebianRegistry(folder, certificate=certificates.pair) as registry:
        yield registry


@pytest.fixture(scope="session")
def debian_registry_with_urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DebianRegistry]:
    """Debian's registry that lets manifests have `urls`: foreign layers."""
    with DebianRegistry(tmp_path_factory.mktemp("registry") / "urls", urls=True) as registry:
        yield registry


@pytest.fixture
def repository(request: pytest.FixtureRequest) -> str:
    """The name of a repository that no other test uses."""
    # Names are lower case, and brackets of parameters are not allowed in them.
    name = "".join(letter if letter.isalnum() else "-" for letter in request.node.nodeid.lower() if letter.isascii())
    return "-".join(part for part in name.split("-") if part)[-100:].strip("-")


@pytest.fixture(scope="session")
def containerd() -> Iterator[Containerd]:
    """A containerd of its own, for all tests of a process: each uses names of its own."""
    with Containerd() as running:
        yield running


@pytest.fixture
def impatience(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The command does not wait for what never comes, and finds nobody's credentials."""
    quick = functools.partial(RegistryOptions, backoff=0.001, timeout=0.5)
    monkeypatch.setattr(remote, "RegistryOptions", quick)
    monkeypatch.delenv("REGISTRY_AUTH_FILE", raising=False)
    for name in ("HOME", "DOCKER_CONFIG", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "nobody"))


@pytest.fixture
def bench(tmp_path: Path, impatience: None) -> Iterator[Bench]:
    found = Bench(tmp_path / "bench")
    found.folder.mkdir()
    yield found
    found.check()
