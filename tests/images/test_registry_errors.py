"""Every error way of a registry ends in a sentence: which reference, which layer, what happened, what to do.

And nothing is left behind, no secret is anywhere, and no credentials go to another host.
"""

from __future__ import annotations

import functools
import json
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.images import samples
from tests.images.registry import Access, FakeRegistry, Fault, Reply, faults
from tests.support import run
from wclayer.cli import remote
from wclayer.errors import (
    AccessDeniedError,
    InvalidDataError,
    LayerError,
    LimitExceededError,
    NotSupportedError,
    PathNotFoundError,
    RegistryError,
)
from wclayer.images.registry import RegistryOptions
from wclayer.images.store import ImageStore

IMAGE = samples.small_child("oci")
LOWER, UPPER = IMAGE.layers
CONFIG = samples.sha256(IMAGE.config)
OCI = samples.MANIFEST["oci"]
_WHAT_TO_DO = re.compile(
    r"try again|try later|check (that|the name)|log in|login|take (it|the image) from elsewhere|raises it"
    r"|raise the limit|push the image anew|--foreign|ask (the|its) administrator|pull it from its maker again"
    r"|neither an image nor an index"
)
_BASIC = "dXNlcjpwYXNzd29yZA=="
ELSEWHERE = "http://127.0.0.2:1"


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The command does not wait for what never comes, and finds nobody's credentials."""
    quick = functools.partial(RegistryOptions, backoff=0.001, timeout=0.5)
    monkeypatch.setattr(remote, "RegistryOptions", quick)
    monkeypatch.delenv("REGISTRY_AUTH_FILE", raising=False)
    for name in ("HOME", "DOCKER_CONFIG", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "nobody"))


def fill(registry: FakeRegistry, image: samples.Image = IMAGE, repository: str = "app", tag: str = "1") -> None:
    """Puts an image into a fake registry."""
    for data in image.blobs.values():
        registry.contents.put_blob(repository, data)
    for media_type, data in image.documents.values():
        registry.contents.put_manifest(repository, data, media_type, tag)


@dataclass
class Ended:
    """How a command ended."""

    status: int
    said: str


@dataclass
class Bench:
    """A folder with a store, a file of credentials, and the command."""

    folder: Path
    secrets: set[str] = field(default_factory=set)

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def call(self, verb: str, *arguments: str, registry: FakeRegistry, retries: int = 1) -> Ended:
        """Runs a verb with the user's credentials for a registry, if it asks for some."""
        asks = registry.guard.access.kind != "none"
        auths = {"auths": {registry.host: {"auth": _BASIC}}} if asks else {}
        authfile = self.folder / "auth.json"
        authfile.write_text(json.dumps(auths))
        more = () if verb == "copy" else ("--store", str(self.store))
        done = run(verb, *arguments, *more, "--retries", str(retries), "--authfile", str(authfile), status=None)
        self.secrets |= registry.secrets | {"password", _BASIC}
        return Ended(done.returncode, (done.stdout + done.stderr).decode())

    def pull(self, registry: FakeRegistry, *more: str, retries: int = 1) -> Ended:
        return self.call("pull", f"{registry.host}/app:1", *more, registry=registry, retries=retries)

    def copy(self, registry: FakeRegistry) -> Ended:
        return self.call("copy", f"{registry.host}/app:1", f"oci:{self.folder / 'layout'}:1", registry=registry)

    def push(self, registry: FakeRegistry, image: samples.Image = IMAGE, *more: str) -> Ended:
        """Pushes an image that was pulled before from a registry without faults."""
        with FakeRegistry() as origin:
            fill(origin, image)
            assert self.call("pull", f"{origin.host}/app:1", "--no-unpack", registry=origin).status == 0
            name = f"{origin.host}/app:1"
        return self.call("push", name, f"{registry.host}/app:1", *more, registry=registry)

    def check(self) -> None:
        """Nothing that has no name is in the store but downloads that have begun; no secret is anywhere."""
        if self.store.exists():
            assert list(ImageStore(self.store).check()) == []
            assert not [file for file in self.store.rglob(".wclayer-*") if file.suffix in (".partial", ".gone")]
        for file in self.folder.rglob("*"):
            if file.is_file() and file.name != "auth.json":
                data = file.read_bytes()
                assert not [secret for secret in self.secrets if secret.encode() in data], file

    def check_layout(self) -> None:
        """A layout that was begun names no image, and has no blob that is not whole: the next copy takes these."""
        folder = self.folder / "layout"
        assert json.loads((folder / "index.json").read_bytes())["manifests"] == []
        for file in (folder / "blobs").rglob("*"):
            assert file.is_dir() or samples.sha256(file.read_bytes()) == f"sha256:{file.name}"

    def check_sentence(self, ended: Ended, error: type[LayerError], *expected: str) -> None:
        """One line says everything that a user needs, and no secret."""
        assert ended.status == error.exit_status, ended.said
        (line,) = ended.said.splitlines()
        assert line.startswith("wclayer: ")
        for text in expected:
            assert re.search(text, line), f"no {text!r} in: {line}"
        assert _WHAT_TO_DO.search(line), line
        assert not [secret for secret in self.secrets if secret in line.replace("'user'", "")], line
        self.check()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    found = Bench(tmp_path / "bench")
    found.folder.mkdir()
    yield found
    found.check()


# A layer.

LAYER_FAULTS: dict[str, tuple[Fault, type[LayerError], str]] = {
    "cut": (faults.cut("blob", 50), RegistryError, "was cut.*50 bytes came, and 296 are missing.*tried 2 times"),
    "cut before the headers": (faults.hang("blob"), RegistryError, "sent nothing for too long"),
    "hangs in the body": (faults.hang("blob", 20), RegistryError, "sent nothing for too long.*tried 2 times"),
    "shorter": (faults.short("blob", 5), InvalidDataError, "has 391 bytes"),
    "longer": (faults.longer("blob", 5), InvalidDataError, "has 401 bytes"),
    "other bytes": (faults.corrupt("blob"), InvalidDataError, "contents have the digest sha256:eb5ca9b6"),
    "endless": (faults.endless("blob"), InvalidDataError, "contents have the digest"),
    "endless, of a stated length": (faults.endless("blob", stated=1 << 50), InvalidDataError, "has 1125899906842624"),
    "a page for people": (faults.html("blob"), InvalidDataError, "has 7075 bytes"),
    "status 500": (faults.error(500, "blob"), RegistryError, r"status 500.*\(a fault of 500\).*tried 2 times"),
    "status 503": (faults.error(503, "blob", Retry_After="0"), RegistryError, "status 503"),
    "status 400": (faults.error(400, "blob"), RegistryError, "status 400"),
    "status 429": (faults.error(429, "blob", Retry_After="0"), RegistryError, "too many.*tried 2 times"),
    "denied": (faults.error(403, "blob"), AccessDeniedError, "denies the blob"),
    "missing": (faults.error(404, "blob"), PathNotFoundError, "does not have the blob"),
    "unauthorized": (faults.error(401, "blob"), AccessDeniedError, "asks for a log-in"),
    "a circle": (faults.redirect_loop("blob"), RegistryError, "redirects more than 8 times"),
    "nobody there": (faults.redirect("blob", ELSEWHERE), RegistryError, "cannot connect to 127.0.0.2:1"),
    "another protocol": (faults.redirect_to("blob", "ftp://x/"), RegistryError, "not an address of HTTP"),
    "a file": (faults.redirect_to("blob", "file:///etc/passwd"), RegistryError, "not an address of HTTP"),
    "no place": (faults.error(302, "blob"), RegistryError, "does not say where to"),
}


@pytest.mark.parametrize("name", LAYER_FAULTS)
def test_a_layer_that_does_not_arrive(bench: Bench, fake: FakeRegistry, name: str) -> None:
    fault, error, expected = LAYER_FAULTS[name]
    fill(fake)
    about = (f"{fake.host}/app:1: layer 2 of 2", UPPER.digest, expected)
    fake.faults.append(fault.only(reference=UPPER.digest))
    bench.check_sentence(bench.copy(fake), error, "^wclayer: copy image: ", *about)
    bench.check_layout()
    bench.check_sentence(bench.pull(fake), error, "^wclayer: pull image: ", *about)
    assert ImageStore(bench.store).images() == []
    # When the registry is in order, the pull ends, and fetches nothing that was whole.
    whole = [blob for blob in (LOWER.digest, CONFIG) if (bench.store / "blobs/sha256" / blob[7:]).exists()]
    fake.forget()
    assert bench.pull(fake).status == 0
    assert [blob for blob in whole if fake.sent(blob)] == []
    assert len(ImageStore(bench.store).images()) == 1


def test_a_part_that_is_another_one(bench: Bench, fake: FakeRegistry) -> None:
    fill(fake)
    fake.faults += [faults.cut("blob", 50).only(reference=UPPER.digest), faults.wrong_content_range()]
    bench.check_sentence(
        bench.pull(fake), InvalidDataError, "layer 2 of 2", UPPER.digest, "bytes 57 to 395.*asked for those from 50 on"
    )
    fake.faults[1] = faults.header("blob", "Content-Range", "x").only(reference=UPPER.digest)
    bench.check_sentence(bench.pull(fake), InvalidDataError, "layer 2 of 2", "does not say which part")


@functools.cache
def large() -> samples.Image:
    """An image whose second layer has 3 MB."""
    top = samples.small_tar({"Files/random.bin": random.Random(16).randbytes(3 << 20)})
    layers = [LOWER, samples.layer(top, "oci")]
    return samples.image("oci", layers, [samples.step("Apply image"), samples.step("COPY random.bin")], {})


def begin(bench: Bench, registry: FakeRegistry, fault: Fault) -> str:
    """Pulls `large`, whose second layer is cut after 2 MB; gives the digest of the layer."""
    digest = large().layers[1].digest
    fill(registry, large())
    registry.faults.append(fault.only(reference=digest))
    assert bench.pull(registry, retries=0).status == RegistryError.exit_status
    assert (bench.store / "ingest" / f"{digest[7:]}.part").stat().st_size >= 1 << 20
    registry.forget()
    return digest


def test_a_part_that_is_not_there_any_more(bench: Bench, fake: FakeRegistry) -> None:
    digest = begin(bench, fake, faults.cut("blob", 2 << 20))
    refusal = Reply(416, [("Content-Range", "bytes */9")], (b"no",), 396)
    fake.faults.append(Fault("blob", ("GET",), instead=lambda _: refusal, reference=digest, times=1))
    assert bench.pull(fake).status == 0
    assert [request.headers.get("range", "")[:6] for request in fake.asked("blob", reference=digest)] == ["bytes=", ""]


def test_a_download_that_was_begun_is_continued(bench: Bench, fake: FakeRegistry) -> None:
    digest = begin(bench, fake, faults.cut("blob", 2 << 20))
    assert bench.pull(fake).status == 0
    assert fake.sent(digest) <= len(large().layers[1].data) - (1 << 20)
    assert fake.sent(LOWER.digest) == 0


def test_a_download_that_was_begun_with_other_bytes_is_fetched_anew(bench: Bench, fake: FakeRegistry) -> None:
    """A registry that sends other bytes, and cuts the connection, cannot keep the user from the right ones."""
    other = bytes(len(large().layers[1].data))
    lie = Fault("blob", ("GET",), instead=lambda _: Reply(200, [], (other[: 2 << 20],), len(other)))
    digest = begin(bench, fake, lie)
    assert bench.pull(fake).status == 0
    assert fake.sent(digest) > len(other)


@pytest.mark.parametrize(
    ("fault", "error", "expected"),
    [
        (faults.corrupt("blob"), InvalidDataError, "contents have the digest"),
        (faults.error(404, "blob"), PathNotFoundError, "does not have the blob"),
        (faults.html("blob"), InvalidDataError, "has 7075 bytes"),
    ],
)
def test_a_configuration_that_does_not_arrive(
    bench: Bench, fake: FakeRegistry, fault: Fault, error: type[LayerError], expected: str
) -> None:
    fill(fake)
    fake.faults.append(fault.only(reference=CONFIG))
    about = (f"{fake.host}/app:1: the configuration", CONFIG, expected)
    bench.check_sentence(bench.pull(fake), error, *about)
    assert not fake.asked("blob", reference=UPPER.digest)


def test_a_layer_with_another_diff_id(bench: Bench, fake: FakeRegistry) -> None:
    """The digest of the blob is right, and so is nothing else."""
    wrong = json.loads(IMAGE.config)
    wrong["rootfs"]["diff_ids"][1] = f"sha256:{'1' * 64}"
    config = samples.dump(wrong)
    manifest = json.loads(IMAGE.manifest)
    manifest["config"] |= {"digest": samples.sha256(config), "size": len(config)}
    fill(fake, samples.Image("oci", samples.dump(manifest), config, IMAGE.layers))
    about = ("layer 2 of 2", UPPER.digest, f"diffID {UPPER.diff_id}.*configuration says sha256:111")
    bench.check_sentence(bench.pull(fake), InvalidDataError, *about)
    assert ImageStore(bench.store).images() == []


# The manifest.

MANIFEST_FAULTS: dict[str, tuple[Fault, type[LayerError], str]] = {
    "missing": (faults.error(404, "manifest"), PathNotFoundError, "does not have the tag 1 of the repository app"),
    "status 500": (faults.error(500, "manifest"), RegistryError, "status 500.*the tag 1.*tried 2 times"),
    "a page for people": (faults.html("manifest"), InvalidDataError, "sends a page for people"),
    "cut": (faults.cut("manifest", 20), RegistryError, "was cut.*the tag 1"),
    "other bytes": (faults.corrupt("manifest"), InvalidDataError, "a manifest with the digest.*is expected"),
    "another digest": (faults.wrong_digest_header(), InvalidDataError, f"{IMAGE.digest}, where sha256:000"),
    "endless": (faults.endless("manifest"), LimitExceededError, "more bytes, where at most 4194304"),
    "endless, of a stated length": (faults.endless("manifest", stated=1 << 50), LimitExceededError, "1125899906842624"),
    "huge": (faults.body("manifest", b" " * (5 << 20), OCI), LimitExceededError, "5242880 bytes.*at most 4194304"),
    "schema 1": (
        faults.body("manifest", b'{"schemaVersion":1}', "application/vnd.docker.distribution.manifest.v1+prettyjws"),
        NotSupportedError,
        "Docker's schema 1",
    ),
    "another kind": (
        faults.body("manifest", b'{"schemaVersion":2,"mediaType":"application/x"}', "application/x"),
        NotSupportedError,
        "'application/x'",
    ),
    "not JSON": (faults.body("manifest", b'{"schema', OCI), InvalidDataError, "not a manifest.*not JSON"),
    "deep": (faults.body("manifest", b"[" * 100_000, OCI), InvalidDataError, "nested more than 64 deep"),
    "two kinds": (
        faults.body("manifest", b'{"schemaVersion":2,"layers":[],"config":{},"manifests":[]}', OCI),
        InvalidDataError,
        "fields of an image and of an index",
    ),
    "hangs": (faults.hang("manifest"), RegistryError, "sent nothing for too long"),
    "hangs in the body": (faults.hang("manifest", 10), RegistryError, "sent nothing for too long"),
    "a circle": (faults.redirect_loop("manifest"), RegistryError, "redirects more than 8 times"),
    "unauthorized": (faults.error(401, "manifest"), AccessDeniedError, "asks for a log-in"),
}


@pytest.mark.parametrize("name", MANIFEST_FAULTS)
def test_a_manifest_that_does_not_arrive(bench: Bench, fake: FakeRegistry, name: str) -> None:
    fault, error, expected = MANIFEST_FAULTS[name]
    fill(fake)
    fake.faults.append(fault)
    bench.check_sentence(bench.pull(fake), error, f"{fake.host}/app:1: ", expected)
    bench.check_sentence(bench.copy(fake), error, f"{fake.host}/app:1: ", expected)
    assert not fake.asked("blob")
    assert not (bench.folder / "layout").exists()


def test_a_manifest_of_an_index_that_is_another_one(bench: Bench, fake: FakeRegistry) -> None:
    index = samples.several("oci")
    for image in index.images:
        fill(fake, image, tag="")
    fake.contents.put_manifest("app", index.manifest, index.media_type, "1")
    chosen = index.images[1]
    for fault, expected in ((faults.corrupt("manifest"), "digest"), (faults.longer("manifest", 1), "more than the")):
        fake.faults[:] = [fault.only(reference=chosen.digest)]
        ended = bench.pull(fake, "--platform", "windows/amd64:10.0.20348")
        bench.check_sentence(ended, InvalidDataError, f"{fake.host}/app:1: ", chosen.digest, expected)


# Who asks.

TOKEN_FAULTS: dict[str, tuple[Fault, type[LayerError], str]] = {
    "status 500": (faults.error(500, "token"), RegistryError, "status 500.*an access token"),
    "refused": (faults.error(401, "token"), AccessDeniedError, "does not accept the credentials of the user 'user'"),
    "a page for people": (faults.html("token"), RegistryError, "token service .* not its JSON"),
    "endless": (faults.endless("token"), RegistryError, "token service .* more than 1048576 bytes"),
    "hangs": (faults.hang("token"), RegistryError, "sent nothing for too long"),
    "cut": (faults.cut("token", 3), RegistryError, "was cut"),
    "no token": (faults.body("token", b"{}", "application/json"), RegistryError, "gives no token"),
    "two lines": (
        faults.body("token", b'{"token":"a\\r\\nX: y"}', "application/json"),
        RegistryError,
        "gives no token",
    ),
    "repeats the secret": (
        Fault("token", instead=lambda request: Reply.error(500, "X", f"not {request.authorization} nor password")),
        RegistryError,
        "status 500",
    ),
    "a long life": (
        faults.body("token", b'{"token":"x","expires_in":1' + b"0" * 400 + b"}", "application/json"),
        AccessDeniedError,
        "does not accept the credentials",
    ),
}


@pytest.mark.parametrize("name", TOKEN_FAULTS)
def test_a_token_service_that_gives_no_token(bench: Bench, name: str) -> None:
    fault, error, expected = TOKEN_FAULTS[name]
    with FakeRegistry(fault, access=Access("token")) as registry:
        fill(registry)
        bench.check_sentence(bench.pull(registry), error, f"{registry.host}/app:1: ", expected)


@pytest.mark.parametrize(
    ("access", "error", "expected"),
    [
        (Access("token", users={"user": "another"}), AccessDeniedError, "token service .* does not accept"),
        (Access("basic", users={"user": "another"}), AccessDeniedError, "does not accept the credentials of the user"),
        (Access("token", uses=0), AccessDeniedError, "does not accept the credentials of the user"),
        (Access("token", challenges=("Digest realm=x",)), AccessDeniedError, "asks for a log-in"),
        (Access("token", challenges=('Bearer realm="ftp://x"',)), RegistryError, "cannot be asked"),
        (Access("token", challenges=('Bearer realm="',)), AccessDeniedError, "asks for a log-in"),
    ],
)
def test_a_registry_that_lets_nobody_in(bench: Bench, access: Access, error: type[LayerError], expected: str) -> None:
    with FakeRegistry(access=access) as registry:
        fill(registry)
        bench.check_sentence(bench.pull(registry), error, f"{registry.host}/app:1: ", expected)


def test_a_token_that_ends_in_the_middle_is_renewed(bench: Bench) -> None:
    with FakeRegistry(access=Access("token", uses=1)) as registry:
        fill(registry)
        assert bench.pull(registry, "--jobs", "1").status == 0
        assert len(registry.asked("token")) >= 4


def test_a_token_service_of_another_host_without_tls_is_given_nothing(bench: Bench) -> None:
    with FakeRegistry(address="127.0.0.2", access=Access("token")) as other:
        with FakeRegistry(access=Access("token", realm=f"{other.base}/token")) as registry:
            fill(registry)
            bench.check_sentence(bench.pull(registry), RegistryError, "without TLS on another host.*no credentials")
        assert not other.authorizations


@pytest.mark.parametrize("kind", ["manifest", "blob"])
@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2"], ids=["another port", "another host"])
def test_credentials_stay_at_home_when_a_registry_redirects(bench: Bench, kind: str, address: str) -> None:
    with FakeRegistry(address=address) as other, FakeRegistry(access=Access("basic")) as registry:
        fill(other)
        fill(registry)
        registry.faults.append(faults.redirect(kind, other.base))
        assert bench.pull(registry).status == 0
        assert other.asked(kind)
        assert registry.authorizations
        assert not other.authorizations


def test_credentials_stay_at_home_when_a_detour_leads_back(bench: Bench) -> None:
    """What another host wants to be asked is not asked in the user's name."""
    with FakeRegistry(address="127.0.0.2") as other, FakeRegistry(access=Access("basic")) as registry:
        fill(registry)
        back = Reply(307, [("Location", f"{registry.base}/v2/app/blobs/{UPPER.digest}")])
        other.faults.append(Fault("blob", instead=lambda _: back))
        registry.faults.append(faults.redirect("blob", other.base).only(reference=LOWER.digest))
        bench.check_sentence(
            bench.pull(registry), AccessDeniedError, "layer 1 of 2", "does not accept|asks for a log-in"
        )
        assert other.asked("blob")
        returned = [
            request for request in registry.asked("blob", "GET", reference=UPPER.digest) if request.status == 401
        ]
        assert returned
        assert not [request for request in returned if request.authorization]


def test_an_upload_at_another_host_is_given_no_credentials(bench: Bench) -> None:
    with FakeRegistry(address="127.0.0.2") as other, FakeRegistry(access=Access("basic")) as registry:
        registry.faults.append(faults.upload_elsewhere(other.base))
        bench.check_sentence(bench.push(registry), PathNotFoundError, "does not have the upload of the blob")
        assert registry.authorizations
        assert other.asked("upload")
        assert not other.authorizations


# Uploads.

UPLOAD_FAULTS: dict[str, tuple[Fault, type[LayerError], str]] = {
    "status 500": (faults.error(500, "upload", ("POST",)), RegistryError, "status 500.*upload of the blob.*2 times"),
    "denied": (faults.error(403, "upload", ("POST",)), AccessDeniedError, "denies the upload of the blob"),
    "refused": (faults.error(400, "upload", ("PUT",)), RegistryError, "status 400.*upload of the blob"),
    "too large": (faults.error(413, "upload", ("PUT",)), RegistryError, "refuses a request of this size"),
    "busy": (faults.error(429, "upload", Retry_After="0"), RegistryError, "too many"),
    "cut": (faults.upload_cut(30), RegistryError, "was cut.*upload of the blob.*2 times"),
    "hangs": (faults.hang("upload", None, ("PUT",)), RegistryError, "sent nothing for too long"),
    "no place": (faults.header("upload", "Location", None, ("POST",)), RegistryError, "does not say where it takes"),
    "nobody there": (faults.upload_elsewhere(ELSEWHERE), RegistryError, "cannot connect to 127.0.0.2:1"),
    "another protocol": (faults.header("upload", "Location", "ftp://x/"), RegistryError, "not an address of HTTP"),
    "unknown presence": (faults.error(500, "blob", ("HEAD",)), RegistryError, "status 500.*the presence of"),
}


@pytest.mark.parametrize("name", UPLOAD_FAULTS)
def test_a_layer_that_is_not_taken(bench: Bench, fake: FakeRegistry, name: str) -> None:
    fault, error, expected = UPLOAD_FAULTS[name]
    fake.faults.append(fault)
    ended = bench.push(fake, IMAGE, "--jobs", "1")
    about = (f"{fake.host}/app:1: (layer [12] of 2|the configuration)", "sha256:[0-9a-f]{64}", expected)
    bench.check_sentence(ended, error, *about)
    assert not fake.contents.repository("app").manifests
    fake.forget()
    name = ImageStore(bench.store).images()[0].name
    assert bench.call("push", name, f"{fake.host}/app:1", registry=fake).status == 0


def test_a_registry_that_loses_what_it_was_sent(bench: Bench, fake: FakeRegistry) -> None:
    fake.faults += [faults.upload_loses(5), faults.error(413, "upload", ("PUT",), times=1)]
    ended = bench.push(fake, IMAGE, "--jobs", "1")
    bench.check_sentence(ended, RegistryError, "(layer . of 2|the configuration)", r"took \d+ bytes of \d+")


def test_a_registry_that_mounts_nothing_gets_the_bytes(bench: Bench) -> None:
    with FakeRegistry(mounts=False) as registry:
        fill(registry)
        assert bench.call("copy", f"{registry.host}/app:1", f"{registry.host}/other:1", registry=registry).status == 0
        assert registry.received() == sum(map(len, IMAGE.blobs.values()))
        assert registry.contents.find_manifest("other", IMAGE.digest)


def test_a_registry_that_forbids_foreign_layers(bench: Bench, fake: FakeRegistry) -> None:
    with FakeRegistry() as origin:
        fill(origin)
        urls = [f"{origin.base}/v2/app/blobs/{LOWER.digest}"]
        foreign = samples.with_foreign_layer("oci", urls)
        ended = bench.push(fake, foreign)
    bench.check_sentence(ended, RegistryError, f"{fake.host}/app:1: ", "status 500", "`urls`", "--foreign convert")
    assert len(fake.asked("manifest", "PUT")) == 1


@pytest.mark.parametrize(
    ("fault", "error", "expected"),
    [
        (faults.error(500, "manifest", ("PUT",)), RegistryError, "status 500.*upload of the manifest.*2 times"),
        (faults.error(400, "manifest", ("PUT",)), RegistryError, "status 400"),
        (
            faults.header("manifest", "Docker-Content-Digest", f"sha256:{'0' * 64}", ("PUT",)),
            InvalidDataError,
            f"has stored the manifest as sha256:000.*{IMAGE.digest} is expected",
        ),
    ],
)
def test_a_manifest_that_is_not_taken(
    bench: Bench, fake: FakeRegistry, fault: Fault, error: type[LayerError], expected: str
) -> None:
    fake.faults.append(fault)
    bench.check_sentence(bench.push(fake), error, f"{fake.host}/app:1: ", IMAGE.digest, expected)
    assert "1" not in fake.contents.repository("app").tags


# What a registry says.


def test_what_a_registry_says_cannot_command_a_terminal(bench: Bench, fake: FakeRegistry) -> None:
    said = "\x1b[31mred\x07 \x9b0m \u202eback " + "long " * 1000
    fake.faults.append(Fault("manifest", instead=lambda _: Reply.error(404, "X", said)))
    ended = bench.pull(fake)
    bench.check_sentence(ended, PathNotFoundError, "red", "back")
    assert ended.said.strip().isprintable()
    assert len(ended.said) < 1000


@pytest.mark.parametrize("secret", ["Basic", "Bearer"])
def test_what_a_registry_says_of_a_secret_is_not_shown(bench: Bench, secret: str) -> None:
    access = Access("basic" if secret == "Basic" else "token")
    with FakeRegistry(access=access) as registry:
        echo = Fault("manifest", instead=lambda request: Reply.error(403, "X", f"no, {request.authorization}"), skip=1)
        registry.faults.append(echo)
        bench.check_sentence(bench.pull(registry), AccessDeniedError, "denies the tag 1")
        assert registry.requests[-1].authorization.startswith(secret)


# Memory.

_MEASURED = """
import resource, sys
from wclayer.cli.main import main
try:
    main(sys.argv[1:])
finally:
    print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def _peak(store: Path, *problems: Fault) -> int:
    """The most memory, in MiB, that a pull needs in a process of its own."""
    with FakeRegistry(*problems, access=Access("token", anonymous_pull=True)) as registry:
        fill(registry)
        arguments = ["pull", f"{registry.host}/app:1", "--store", str(store), "--retries", "0", "--no-sync"]
        done = subprocess.run(
            [sys.executable, "-c", _MEASURED, *arguments], capture_output=True, text=True, timeout=60, check=False
        )
    assert "Traceback" not in done.stderr
    return int(done.stdout.split()[-1]) // 1024


@pytest.fixture(scope="module")
def usual_peak(tmp_path_factory: pytest.TempPathFactory) -> int:
    """The memory that a pull needs from a registry without faults."""
    return _peak(tmp_path_factory.mktemp("usual") / "store")


@pytest.mark.parametrize(
    "make",
    [
        lambda: faults.endless("manifest"),
        lambda: faults.endless("token"),
        lambda: faults.endless("blob"),
        lambda: faults.endless("manifest", status=500),
        lambda: Fault("manifest", instead=lambda _: Reply(404, [(f"X-{n}", "x" * 60_000) for n in range(99)])),
    ],
    ids=["manifest", "token", "blob", "error", "headers"],
)
def test_what_never_ends_needs_no_memory(bench: Bench, usual_peak: int, make: Callable[[], Fault]) -> None:
    # A manifest may be 4 MiB large, and is read and parsed.
    assert _peak(bench.store, make()) < usual_peak + 24
