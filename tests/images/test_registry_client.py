"""The client of registries: what it asks, what it sends to whom, and how it goes on after failures."""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import random
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.images.blob_source import BlobSource, blob_source
from tests.images.conftest import Certificates
from tests.images.registry import Access, DebianRegistry, FakeRegistry, Fault, faults
from tests.images.registry.exchange import Reply, Request
from wclayer.errors import (
    AccessDeniedError,
    InvalidDataError,
    InvalidParameterError,
    LayerError,
    LimitExceededError,
    NotSupportedError,
    PathNotFoundError,
    RegistryError,
)
from wclayer.images.descriptor import DOCKER_CONFIG, DOCKER_LAYER, DOCKER_MANIFEST, OCI_MANIFEST, Descriptor
from wclayer.images.reference import parse_reference
from wclayer.images.registry import Credentials, RegistryOptions, RegistrySource, RegistryTarget, blobs
from wclayer.images.registry.origin import Origin
from wclayer.images.registry.proxies import proxy_for
from wclayer.model import limits_in_use, use_limits

BLOB = random.Random(1).randbytes(10 << 20)
LAYER = Descriptor.of(BLOB, f"{DOCKER_LAYER}.gzip")
SMALL = random.Random(2).randbytes(3000)
FAST = RegistryOptions(credentials=Credentials(), backoff=0.001, timeout=5.0)
USER = RegistryOptions(credentials=Credentials("user", "password"), backoff=0.001, timeout=5.0)


_opened: list[RegistrySource | RegistryTarget] = []


@pytest.fixture(autouse=True)
def close_what_was_opened() -> Iterator[None]:
    """Closes the sources and targets of a test."""
    yield
    while _opened:
        _opened.pop().close()


def _source(
    registry: FakeRegistry | DebianRegistry, name: str = "app:1", options: RegistryOptions = FAST
) -> RegistrySource:
    source = RegistrySource(parse_reference(f"{registry.host}/{name}"), options)
    _opened.append(source)
    return source


def _target(
    registry: FakeRegistry | DebianRegistry, name: str = "app:1", options: RegistryOptions = FAST
) -> RegistryTarget:
    target = RegistryTarget(parse_reference(f"{registry.host}/{name}"), options)
    _opened.append(target)
    return target


CONFIG = b'{"os":"windows","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}}'
MANIFEST = json.dumps(
    {"schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "config": Descriptor.of(CONFIG, DOCKER_CONFIG).to_json(),
     "layers": [Descriptor.of(SMALL, DOCKER_LAYER).to_json()]}
).encode()  # fmt: skip
ROOT = Descriptor.of(MANIFEST, DOCKER_MANIFEST)


def _fill(registry: FakeRegistry, repository: str = "app") -> None:
    for blob in (BLOB, SMALL, CONFIG):
        registry.contents.put_blob(repository, blob)
    registry.contents.put_manifest(repository, MANIFEST, DOCKER_MANIFEST, "1")


def _push(target: RegistryTarget, *blobs: bytes) -> None:
    with target:
        for blob in (CONFIG, SMALL, *blobs):
            target.put_blob(Descriptor.of(blob, DOCKER_LAYER), blob_source(blob))
        target.put_manifest(ROOT, MANIFEST)
        target.finish(ROOT)


def _check_pull(source: RegistrySource, *blobs: bytes) -> None:
    with source:
        assert source.resolve() == ROOT
        assert source.manifest(ROOT) == MANIFEST
        for blob in (CONFIG, SMALL, *blobs):
            with source.open_blob(Descriptor.of(blob, DOCKER_LAYER)) as stream:
                assert stream.read() == blob


# Real registries.


def test_an_image_goes_to_a_real_registry_and_back(debian_registry: DebianRegistry, repository: str) -> None:
    for number, size in enumerate((0, 3 << 20)):
        options = RegistryOptions(chunk_size=size)
        name = f"{repository}-{number}:1"
        assert not _target(debian_registry, name).has(ROOT)
        _push(_target(debian_registry, name, options), BLOB, b"")
        assert _target(debian_registry, name).has(ROOT)
        assert _target(debian_registry, name).has(LAYER)
        _check_pull(_source(debian_registry, name), BLOB, b"")
    source = _source(debian_registry, name)
    assert source.tags() == ["1"]
    with source.open_blob(LAYER, 9_000_000) as stream:
        assert stream.read() == BLOB[9_000_000:]
    with source.open_blob(LAYER, LAYER.size) as stream:
        assert stream.read() == b""


def test_a_real_registry_mounts_a_blob(debian_registry: DebianRegistry, repository: str) -> None:
    _push(_target(debian_registry, f"{repository}/a:1"), BLOB)
    source = _source(debian_registry, f"{repository}/a:1")
    source.open_blob = None  # type: ignore[method-assign, assignment]
    target = _target(debian_registry, f"{repository}/b:1")
    for blob in (BLOB, SMALL, CONFIG):
        target.put_blob(Descriptor.of(blob, DOCKER_LAYER), source)
    target.put_manifest(ROOT, MANIFEST)
    target.finish(ROOT)
    _check_pull(_source(debian_registry, f"{repository}/b:1"), BLOB)


def test_a_real_registry_asks_for_a_log_in(debian_registry_with_users: DebianRegistry, repository: str) -> None:
    registry = debian_registry_with_users
    user, password = next(iter(registry.users.items()))
    right = RegistryOptions(credentials=Credentials(user, password))
    _push(_target(registry, f"{repository}:1", right), BLOB)
    _check_pull(_source(registry, f"{repository}:1", right))
    with pytest.raises(AccessDeniedError, match=f"log in with 'wclayer login {registry.host}'"):
        _source(registry, f"{repository}:1").resolve()
    wrong = RegistryOptions(credentials=Credentials(user, "not the password"))
    with pytest.raises(AccessDeniedError, match="does not accept the credentials of the user 'alice'") as error:
        _source(registry, f"{repository}:1", wrong).resolve()
    assert "not the password" not in str(error.value)


def test_a_real_registry_with_tls(
    debian_registry_with_tls: DebianRegistry, certificates: Certificates, repository: str
) -> None:
    registry = debian_registry_with_tls
    with pytest.raises(RegistryError, match="--ca FILE trusts"):
        _source(registry, f"{repository}:1").resolve()
    for options in (RegistryOptions(ca=certificates.ca), RegistryOptions(insecure=True)):
        _push(_target(registry, f"{repository}:1", options), BLOB)
        _check_pull(_source(registry, f"{repository}:1", options), BLOB)
    with pytest.raises(PathNotFoundError):
        _source(registry, f"{repository}:1", RegistryOptions(ca="/not/there.pem")).resolve()
    with pytest.raises(InvalidDataError, match="PEM"):
        _source(registry, f"{repository}:1", RegistryOptions(ca=certificates.key)).resolve()


def test_a_real_registry_that_forbids_urls(
    debian_registry: DebianRegistry, debian_registry_with_urls: DebianRegistry, repository: str
) -> None:
    layer = Descriptor.of(SMALL, "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")
    record = json.loads(MANIFEST)
    record["layers"] = [layer.to_json() | {"urls": [f"http://{debian_registry.host}/v2/x/blobs/{layer.digest}"]}]
    data = json.dumps(record).encode()
    root = Descriptor.of(data, DOCKER_MANIFEST)
    for registry in (debian_registry, debian_registry_with_urls):
        with _target(registry, f"{repository}:1") as target:
            target.put_blob(Descriptor.of(CONFIG, DOCKER_CONFIG), blob_source(CONFIG))
            if registry is debian_registry_with_urls:
                target.put_manifest(root, data)
                continue
            began = time.monotonic()
            with pytest.raises(RegistryError, match=r"validation\.manifests\.urls\.allow .* --foreign convert"):
                target.put_manifest(root, data)
            assert time.monotonic() - began < 5


def test_a_manifest_is_deleted(debian_registry: DebianRegistry, repository: str) -> None:
    target = _target(debian_registry, f"{repository}:1")
    _push(target)
    target.delete(ROOT)
    assert not target.has(ROOT)
    with pytest.raises(PathNotFoundError):
        target.delete(ROOT)


# Reading.


def test_a_cut_blob_is_read_on_from_where_it_was_cut(fake: FakeRegistry) -> None:
    _fill(fake)
    fake.faults.append(faults.cut("blob", 3_000_000, times=3))
    with _source(fake).open_blob(LAYER) as stream:
        assert stream.read() == BLOB
    ranges = [request.headers.get("range", "") for request in fake.asked("blob", "GET")]
    assert ranges[0] == ""
    assert len(ranges) == 4
    assert [int(text.removeprefix("bytes=").partition("-")[0]) for text in ranges[1:]] == [
        3_000_000,
        6_000_000,
        9_000_000,
    ]
    assert fake.sent(LAYER.digest) == LAYER.size


def test_a_registry_without_ranges_sends_the_blob_anew(fake: FakeRegistry) -> None:
    _fill(fake)
    fake.faults += [faults.no_range(), faults.cut("blob", 3_000_000, times=1)]
    with _source(fake).open_blob(LAYER) as stream:
        assert stream.read() == BLOB
    with _source(fake).open_blob(LAYER, 9_999_999) as stream:
        assert stream.read() == BLOB[9_999_999:]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (faults.wrong_content_range(), "sends the bytes"),
        (faults.header("blob", "Content-Range", "rubbish"), "does not say which part"),
        (faults.header("blob", "Content-Range", f"bytes 100-{LAYER.size}/{LAYER.size + 1}"), "sends the bytes"),
    ],
)
def test_another_part_than_the_one_asked_for_is_refused(fake: FakeRegistry, fault: Fault, expected: str) -> None:
    _fill(fake)
    fake.faults.append(fault)
    with pytest.raises(InvalidDataError, match=expected):
        _source(fake).open_blob(LAYER, 100)


def test_a_blob_of_another_size_is_refused(fake: FakeRegistry) -> None:
    fake.contents.put_blob("app", SMALL)
    digest = Descriptor.of(SMALL, "").digest
    for size, offset in ((2999, 0), (3001, 0), (4000, 3500), (2999, 10)):
        with pytest.raises(InvalidDataError, match="bytes"):
            _source(fake).open_blob(Descriptor("", digest, size), offset)


def test_a_blob_that_never_goes_on_is_given_up(fake: FakeRegistry) -> None:
    _fill(fake)
    fake.faults.append(faults.cut("blob", 100))
    options = RegistryOptions(credentials=Credentials(), backoff=0.001, retries=3)
    with _source(fake, options=options).open_blob(LAYER) as stream, pytest.raises(RegistryError, match="tried 4 times"):
        stream.read()
    assert len(fake.asked("blob")) == 4


def test_a_hanging_registry_is_given_up(fake: FakeRegistry) -> None:
    _fill(fake)
    fake.faults.append(faults.hang("blob", 100))
    options = RegistryOptions(credentials=Credentials(), backoff=0.001, retries=1, timeout=0.2)
    with _source(fake, options=options).open_blob(LAYER) as stream, pytest.raises(RegistryError, match="sent nothing"):
        stream.read()


def test_a_reader_that_pauses_is_no_slow_registry(fake: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blobs, "_SLOW_TIME", 0.3)
    _fill(fake)
    with _source(fake).open_blob(LAYER) as stream:
        data = stream.read(100)
        time.sleep(0.5)
        data += stream.read(100)
        assert data + stream.read() == BLOB
    assert len(fake.asked("blob")) == 1


def test_a_registry_that_sends_almost_nothing_is_given_up(fake: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blobs, "_SLOW_TIME", 0.2)
    _fill(fake)
    fake.faults.append(faults.trickle("blob", 1, 0.05))
    options = RegistryOptions(credentials=Credentials(), backoff=0.001, retries=1)
    with _source(fake, options=options).open_blob(LAYER) as stream, pytest.raises(RegistryError, match="sends almost"):
        stream.read()


def test_foreign_layers_are_fetched_from_their_addresses_without_credentials(fake: FakeRegistry) -> None:
    access = Access("basic")
    foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    with FakeRegistry(access=access) as registry:
        fake.contents.put_blob("other", SMALL)
        digest = Descriptor.of(SMALL, "").digest
        urls = (f"{fake.base}/v2/none/blobs/{digest}", f"{fake.base}/v2/other/blobs/{digest}")
        layer = Descriptor(foreign, digest, len(SMALL), urls)
        with _source(registry, options=USER).open_blob(layer, 1000) as stream:
            assert stream.read() == SMALL[1000:]
        assert registry.authorizations
        assert not fake.authorizations
        with pytest.raises(PathNotFoundError, match="neither the registry nor the addresses"):
            _source(registry, options=USER).open_blob(Descriptor(foreign, digest, len(SMALL), urls[:1]))
        with pytest.raises(RegistryError, match="not an address of HTTP"):
            _source(registry, options=USER).open_blob(Descriptor(foreign, digest, len(SMALL), ("file:///etc/passwd",)))
        registry.faults.append(faults.error(403, "blob", times=1))
        with _source(registry, options=USER).open_blob(layer) as stream:
            assert stream.read() == SMALL
        registry.contents.put_blob("app", SMALL)
        fake.forget()
        with _source(registry, options=USER).open_blob(layer) as stream:
            assert stream.read() == SMALL
        assert not fake.requests


@pytest.mark.parametrize(
    ("fault", "error", "expected"),
    [
        (faults.wrong_digest_header(), InvalidDataError, "where sha256:0000"),
        (faults.endless("manifest"), LimitExceededError, "more bytes, where at most 4194304"),
        (faults.endless("manifest", stated=1 << 40), LimitExceededError, "1099511627776 bytes"),
        (faults.body("manifest", b"{}", "application/vnd.docker.distribution.manifest.v1+json"), NotSupportedError,
         "schema 1"),
        (faults.html("manifest"), InvalidDataError, "may not be a registry"),
        (faults.error(403, "manifest"), AccessDeniedError, "denies the tag 1 of the repository app"),
        (faults.error(404, "manifest"), PathNotFoundError, "does not have the tag 1"),
        (faults.error(418, "manifest"), RegistryError, "status 418"),
        (faults.redirect_loop("manifest"), RegistryError, "redirects more than"),
        (faults.redirect_to("manifest", "file:///etc/passwd"), RegistryError, "not an address of HTTP"),
        (faults.redirect_to("manifest", "http://user:secret@localhost/"), RegistryError, "not an address of HTTP"),
    ],
)  # fmt: skip
def test_a_bad_manifest_is_refused(fake: FakeRegistry, fault: Fault, error: type[LayerError], expected: str) -> None:
    _fill(fake)
    fake.faults.append(fault)
    with pytest.raises(error, match=expected) as failed:
        _source(fake).resolve()
    assert failed.value.path == f"{fake.host}/app:1"


def test_a_manifest_of_a_digest_is_the_one(fake: FakeRegistry) -> None:
    _fill(fake)
    fake.faults.append(faults.corrupt("manifest"))
    with pytest.raises(InvalidDataError):
        _source(fake, f"app@{ROOT.digest}").resolve()
    with pytest.raises(InvalidDataError, match="sends another manifest"):
        _source(fake).manifest(ROOT)


def test_pages_of_tags_are_put_together(fake: FakeRegistry) -> None:
    tags = [f"v{number:03}" for number in range(25)]
    for tag in tags:
        fake.contents.put_manifest("app", MANIFEST, DOCKER_MANIFEST, tag)

    def in_tens(request: Request) -> None:
        request.query.setdefault("n", "10")

    fake.faults.append(Fault("tags", before=in_tens))
    assert _source(fake).tags() == tags
    assert len(fake.asked("tags")) == 3


@pytest.mark.parametrize("has_api", [True, False])
def test_referrers_are_found_with_the_api_and_without(has_api: bool) -> None:
    with FakeRegistry(referrers=has_api) as registry:
        _fill(registry)
        empty = Descriptor.of(b"{}", "application/vnd.oci.empty.v1+json")
        target = _target(registry)
        target.put_blob(empty, blob_source(b"{}"))
        found = []
        for kind in ("application/x", "application/y"):
            record = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": kind, "config": empty.to_json(),
                      "layers": [], "subject": ROOT.to_json(), "annotations": {"a": "b"}}  # fmt: skip
            data = json.dumps(record).encode()
            found.append(Descriptor.of(data, OCI_MANIFEST))
            for _ in range(2):
                target.put_manifest(found[-1], data)
        source = _source(registry)
        assert [item.digest for item in source.referrers(ROOT)] == [item.digest for item in found]
        assert [item.artifact_type for item in source.referrers(ROOT)] == ["application/x", "application/y"]
        assert source.referrers(Descriptor.of(b"other", OCI_MANIFEST)) == []
        if has_api:
            before = limits_in_use()
            use_limits(replace(before, archive_members=1))
            try:
                with pytest.raises(LimitExceededError, match="more than 1 manifests that refer to"):
                    source.referrers(ROOT)
            finally:
                use_limits(before)
        assert bool(registry.contents.repository("app").tags.get(ROOT.digest.replace(":", "-"))) is not has_api
        target.put_tag(f"{ROOT.digest.replace(':', '-')}.sig", found[0])
        tags = source.digest_tags(ROOT)
        assert {tag: item.digest for tag, item in tags.items()} == {
            f"{ROOT.digest.replace(':', '-')}.sig": found[0].digest
        }


# Credentials.


def test_one_token_serves_many_requests_until_it_ends() -> None:
    with FakeRegistry(access=Access("token")) as registry:
        _fill(registry)
        source = _source(registry, options=USER)
        for _ in range(5):
            source.resolve()
        assert len(registry.asked("token")) == 1
        registry.guard.expire()
        source.resolve()
        assert len(registry.asked("token")) == 2
        assert [request.status for request in registry.asked("manifest")] == [401, 200, 200, 200, 200, 200, 401, 200][
            : len(registry.asked("manifest"))
        ]


def test_a_token_is_renewed_before_it_ends() -> None:
    with FakeRegistry(access=Access("token", expires_in=1)) as registry:
        _fill(registry)
        source = _source(registry, options=USER)
        source.resolve()
        time.sleep(0.6)
        source.resolve()
        assert [request.status for request in registry.asked("manifest")] == [401, 200, 200]
        assert len(registry.asked("token")) == 2


def test_many_threads_ask_for_one_token() -> None:
    with FakeRegistry(access=Access("token")) as registry:
        _fill(registry)
        source = _source(registry, options=USER)
        threads = [threading.Thread(target=source.manifest, args=(ROOT,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(registry.asked("token")) == 1
        assert len([request for request in registry.asked("manifest") if request.status == 200]) == 8


@pytest.mark.parametrize("token_name", ["token", "access_token"])
def test_identity_tokens_are_exchanged_by_post(token_name: str) -> None:
    with FakeRegistry(access=Access("token", identity="identity of tests", token_name=token_name)) as registry:
        options = RegistryOptions(credentials=Credentials(identity_token="identity of tests"), backoff=0.001)
        _push(_target(registry, options=options))
        _check_pull(_source(registry, options=options))
        assert {request.method for request in registry.asked("token")} == {"POST"}
        wrong = RegistryOptions(credentials=Credentials(identity_token="another one"))
        with pytest.raises(AccessDeniedError, match="log in anew") as error:
            _source(registry, options=wrong).resolve()
        assert "another one" not in str(error.value)


@pytest.mark.parametrize(
    "challenges",
    [
        ("{}",),
        ("Negotiate", "{}"),
        ('Basic realm="x", {}',),
        ('{}, Basic realm="y"',),
        ("Negotiate YWJj==, {}", "NTLM"),
    ],
)
def test_the_token_service_is_found_among_several_challenges(challenges: tuple[str, ...]) -> None:
    with FakeRegistry(access=Access("token", challenges=challenges)) as registry:
        _push(_target(registry, options=USER))
        _check_pull(_source(registry, options=USER))
        assert registry.asked("token")


def test_public_images_need_no_credentials_and_pushes_do() -> None:
    with FakeRegistry(access=Access("token", anonymous_pull=True)) as registry:
        _fill(registry)
        _check_pull(_source(registry))
        with pytest.raises(AccessDeniedError, match="log in with 'wclayer login"):
            _target(registry).put_blob(Descriptor.of(b"new", DOCKER_LAYER), blob_source(b"new"))


def test_a_mount_asks_for_both_repositories() -> None:
    with FakeRegistry(access=Access("token")) as registry:
        _fill(registry, "base")
        _target(registry, options=USER).put_blob(LAYER, _source(registry, "base:1", USER))
        assert registry.received() == 0
        assert any(
            {"repository:app:pull,push", "repository:base:pull"} <= set(request.scopes)
            for request in registry.asked("token")
        )


def test_credentials_stay_with_their_host() -> None:
    with FakeRegistry(address="127.0.0.2") as other, FakeRegistry(access=Access("token")) as registry:
        _fill(other)
        _fill(registry)
        registry.faults.append(faults.redirect("blob", other.base))
        registry.faults.append(faults.redirect("manifest", other.base).only(skip=1))
        _check_pull(_source(registry, options=USER), BLOB)
        assert other.asked("blob")
        assert other.asked("manifest")
        assert not other.authorizations
        other.faults.append(faults.error(401))
        with pytest.raises(AccessDeniedError, match=other.host):
            _source(registry, options=USER).open_blob(LAYER)


def test_a_token_service_elsewhere_without_tls_gets_no_credentials() -> None:
    with FakeRegistry(address="127.0.0.2", access=Access("token")) as other:
        access = Access("token", realm=f"{other.base}/token")
        with FakeRegistry(access=access) as registry:
            for credentials in (Credentials("user", "password"), Credentials(identity_token="x")):
                with pytest.raises(RegistryError, match="gets no credentials"):
                    _source(registry, options=RegistryOptions(credentials=credentials)).resolve()
            assert not other.requests


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_token_service_that_redirects_elsewhere_gets_no_credentials(status: int) -> None:
    access = Access("token", identity="identity of tests")
    for credentials in (Credentials("user", "password"), Credentials(identity_token="identity of tests")):
        with FakeRegistry(address="127.0.0.2") as other, FakeRegistry(access=access) as registry:
            registry.faults.append(faults.redirect("token", other.base, status, ("GET", "POST")))
            with pytest.raises(RegistryError, match="which is not given credentials"):
                _source(registry, options=RegistryOptions(credentials=credentials)).resolve()
            assert not other.requests


@pytest.mark.parametrize(
    ("realm", "expected"),
    [("http://localhost:1/token", "without TLS"), ("ftp://localhost/token", "cannot be asked"),
     ("/token", "cannot be asked"), ("https://user@localhost/token", "cannot be asked")],
)  # fmt: skip
def test_a_registry_with_tls_names_no_service_without(certificates: Certificates, realm: str, expected: str) -> None:
    with FakeRegistry(access=Access("token", realm=realm), certificate=certificates.pair) as registry:
        options = RegistryOptions(credentials=Credentials("user", "password"), ca=certificates.ca)
        with pytest.raises(RegistryError, match=expected):
            _source(registry, options=options).resolve()


def test_a_registry_with_tls_leads_to_no_host_without(certificates: Certificates, fake: FakeRegistry) -> None:
    _fill(fake)
    with FakeRegistry(faults.redirect("blob", fake.base), certificate=certificates.pair) as registry:
        _fill(registry)
        with pytest.raises(RegistryError, match="without TLS"):
            _source(registry, options=RegistryOptions(ca=certificates.ca)).open_blob(LAYER)
    assert not fake.requests


def test_a_registry_that_repeats_a_secret_is_not_quoted() -> None:
    def repeat(status: int, request: Request) -> Reply:
        return Reply.error(status, "DENIED", f"you sent {request.authorization} that is user:password")

    for access in (Access("basic"), Access("token")):
        with FakeRegistry(access=access) as registry:
            _fill(registry)
            source = _source(registry, options=USER)
            source.resolve()
            for status in (403, 404, 418, 500):
                registry.faults[:] = [Fault("blob", instead=functools.partial(repeat, status))]
                with pytest.raises(LayerError) as error:
                    source.open_blob(LAYER)
                assert not [secret for secret in registry.secrets if secret in str(error.value)]
            digest = f"sha256:{registry.authorizations[-1]}"
            registry.faults[:] = [faults.header("manifest", "Docker-Content-Digest", digest)]
            source.resolve()
    for identity in ("", "identity of tests"):
        with FakeRegistry(access=Access("token", identity=identity)) as registry:
            credentials = Credentials(identity_token=identity) if identity else Credentials("user", "password")
            options = RegistryOptions(credentials=credentials, backoff=0.001)

            def repeat_identity(request: Request) -> Reply:
                return Reply.error(418, "DENIED", f"you sent {request.authorization or 'identity of tests'}")

            registry.faults.append(Fault("token", instead=repeat_identity))
            with pytest.raises(RegistryError, match="418") as error:
                _source(registry, options=options).resolve()
            assert not [secret for secret in registry.secrets if secret in str(error.value)]


# Writing.


TOO_LARGE = faults.error(413, "upload", ("PUT",), times=1)


@pytest.mark.parametrize(
    "fault",
    [
        faults.upload_cut(4_000_000, times=1),
        faults.upload_cut(0, times=1),
        faults.upload_cut(4_000_000, times=2),
        faults.upload_loses(100_000, times=2),
        faults.upload_absolute(),
        faults.error(503, "upload", ("POST",), times=1),
        faults.error(503, "upload", ("PUT",), times=1),
        TOO_LARGE,
        faults.error(416, "upload", ("PATCH",), times=1),
        faults.error(404, "upload", ("PATCH", "PUT"), times=0),
    ],
)
@pytest.mark.parametrize("chunk_size", [0, 1 << 20])
def test_an_upload_goes_on_after_a_failure(fake: FakeRegistry, fault: Fault, chunk_size: int) -> None:
    if chunk_size and fault is TOO_LARGE:
        # A last request without a body is never too large.
        fault = fault.only(methods=("DELETE",))
    fake.faults.append(fault.only())
    done: list[int] = []
    options = RegistryOptions(credentials=Credentials(), backoff=0.001, chunk_size=chunk_size)
    memory = blob_source(BLOB)
    _target(fake, options=options).put_blob(LAYER, memory, done.append)
    assert fake.contents.repository("app").blobs == {LAYER.digest: BLOB}
    assert done[-1] == LAYER.size
    if fault.reads:
        assert fake.received() < LAYER.size + 2_000_000


def test_an_upload_that_the_registry_forgot_begins_anew(fake: FakeRegistry) -> None:
    fake.faults.append(faults.upload_cut(4_000_000, times=1))

    def forget(request: Request) -> Reply:
        fake.contents.uploads.clear()
        return Reply.error(404, "BLOB_UPLOAD_UNKNOWN", "upload unknown")

    fake.faults.append(Fault("upload", ("GET",), instead=forget, times=1))
    _target(fake).put_blob(LAYER, blob_source(BLOB))
    assert fake.contents.repository("app").blobs == {LAYER.digest: BLOB}


def test_a_registry_that_forgets_every_upload_is_given_up(fake: FakeRegistry) -> None:
    def forget(request: Request) -> Reply:
        fake.contents.uploads.clear()
        return Reply.error(404, "BLOB_UPLOAD_UNKNOWN", "upload unknown")

    fake.faults += [faults.error(503, "upload", ("PUT",)), Fault("upload", ("GET",), instead=forget)]
    options = RegistryOptions(credentials=Credentials(), backoff=0.001, retries=3)
    with pytest.raises(RegistryError, match="status 503"):
        _target(fake, options=options).put_blob(LAYER, blob_source(BLOB))
    assert len(fake.asked("upload", "POST")) < 8
    assert fake.asked("upload", "DELETE")


def test_an_upload_honours_the_least_size_of_parts() -> None:
    with FakeRegistry(least_chunk=4 << 20) as registry:
        options = RegistryOptions(credentials=Credentials(), chunk_size=1 << 20)
        _target(registry, options=options).put_blob(LAYER, blob_source(BLOB))
        assert [request.received for request in registry.asked("upload", "PATCH")] == [4 << 20, 4 << 20, 2 << 20]


def test_an_upload_to_another_host_has_no_credentials() -> None:
    with FakeRegistry(address="127.0.0.2") as other, FakeRegistry(access=Access("token")) as registry:
        other.contents = registry.contents
        other._service._contents = registry.contents
        registry.faults.append(faults.upload_elsewhere(other.base))
        _target(registry, options=USER).put_blob(LAYER, blob_source(BLOB))
        assert registry.contents.repository("app").blobs == {LAYER.digest: BLOB}
        assert other.received() == LAYER.size
        assert not other.authorizations


@pytest.mark.parametrize("mounts", [True, False])
def test_a_blob_of_the_same_registry_is_mounted_or_sent(mounts: bool) -> None:
    with FakeRegistry(mounts=mounts) as registry:
        _fill(registry, "base")
        _target(registry).put_blob(LAYER, _source(registry, "base:1"))
        assert registry.contents.repository("app").blobs == {LAYER.digest: BLOB}
        assert (registry.received() == 0) is mounts


def test_a_refused_mount_becomes_an_upload(fake: FakeRegistry) -> None:
    _fill(fake, "base")
    fake.faults.append(faults.error(403, "upload", ("POST",), times=1))
    _target(fake).put_blob(LAYER, _source(fake, "base:1"))
    assert fake.contents.repository("app").blobs == {LAYER.digest: BLOB}


@pytest.mark.parametrize("chunk_size", [0, 1 << 20])
@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data[:-1] + b"x", lambda data: b""])
def test_a_source_with_other_bytes_stores_nothing(
    fake: FakeRegistry, chunk_size: int, change: Callable[[bytes], bytes]
) -> None:
    options = RegistryOptions(credentials=Credentials(), chunk_size=chunk_size, backoff=0.001)
    memory = BlobSource({LAYER.digest: change(BLOB)})
    with pytest.raises(InvalidDataError, match=LAYER.digest) as error:
        _target(fake, options=options).put_blob(LAYER, memory)
    assert error.value.path == "memory"
    assert not fake.contents.repository("app").blobs
    assert len(fake.asked("upload", "POST")) == 1


def test_a_caller_that_stops_an_upload_stops_it(fake: FakeRegistry) -> None:
    def stop(done: int) -> None:
        raise LayerError("me", "stopped")

    with pytest.raises(LayerError, match="stopped"):
        _target(fake).put_blob(LAYER, blob_source(BLOB), stop)
    assert len(fake.asked("upload", "POST")) == 1


def test_the_digest_that_a_registry_states_is_compared(fake: FakeRegistry) -> None:
    fake.faults.append(faults.header("manifest", "Docker-Content-Digest", f"sha256:{'1' * 64}", ("PUT",)))
    with pytest.raises(InvalidDataError, match="has stored the manifest as"):
        _push(_target(fake))


def test_a_name_with_a_digest_is_for_that_image_only(fake: FakeRegistry) -> None:
    _push(_target(fake, f"app@{ROOT.digest}"))
    assert ROOT.digest in fake.contents.repository("app").manifests
    with pytest.raises(InvalidParameterError, match="name it by a tag"):
        _push(_target(fake, f"app@sha256:{'0' * 64}"))


# Trying again.


@pytest.mark.parametrize(
    "fault",
    [faults.error(429, times=2, Retry_After="0"), faults.error(503, times=2), faults.error(500, times=2),
     faults.error(429, times=2), faults.cut("", 0, times=2), faults.cut("manifest", 50, times=2)],
)  # fmt: skip
def test_a_busy_registry_is_asked_again(fake: FakeRegistry, fault: Fault) -> None:
    _fill(fake)
    source = _source(fake)
    source.manifest(ROOT)
    fake.faults.append(fault.only())
    assert source.resolve() == ROOT


def test_the_wait_that_a_registry_asks_for_is_kept(fake: FakeRegistry) -> None:
    _fill(fake)
    fake.faults.append(faults.error(429, "manifest", times=1, Retry_After="1"))
    began = time.monotonic()
    _source(fake).resolve()
    assert 1.0 <= time.monotonic() - began < 5.0
    fake.faults.append(faults.error(429, "manifest", Retry_After="99999"))
    options = RegistryOptions(credentials=Credentials(), patience=10)
    began = time.monotonic()
    with pytest.raises(RegistryError, match="refuses further requests"):
        _source(fake, options=options).resolve()
    assert time.monotonic() - began < 5.0


def test_tries_are_counted(fake: FakeRegistry) -> None:
    fake.faults.append(faults.error(502))
    options = RegistryOptions(credentials=Credentials(), backoff=0.001, retries=2)
    with pytest.raises(RegistryError, match=r"status 502.*tried 3 times"):
        _source(fake, options=options).resolve()
    assert len(fake.asked("manifest")) == 3


def test_nobody_at_the_port_is_told_at_once() -> None:
    began = time.monotonic()
    with pytest.raises(RegistryError, match="check that a registry runs there"):
        RegistrySource(parse_reference("localhost:1/app")).resolve()
    assert time.monotonic() - began < 2


def test_a_registry_without_tls_elsewhere_is_not_asked_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from wclayer.images.registry import client

    monkeypatch.setattr(client, "is_loopback", lambda host: False)
    with FakeRegistry() as registry:
        _fill(registry)
        options = RegistryOptions(credentials=Credentials(), retries=0)
        with pytest.raises(RegistryError, match="--insecure lets a registry use plain HTTP"):
            _source(registry, options=options).resolve()
        assert not [request for request in registry.requests if request.kind == "manifest"]
        _check_pull(_source(registry, options=RegistryOptions(credentials=Credentials(), insecure=True)))


# Proxies.


@pytest.mark.parametrize(
    ("excepted", "host", "is_direct"),
    [
        ("", "registry.example.com", False), ("*", "registry.example.com", True),
        ("example.com", "registry.example.com", True), (".example.com", "registry.example.com", True),
        ("*.example.com", "registry.example.com", True), ("ample.com", "registry.example.com", False),
        ("registry.example.com:443", "registry.example.com", True),
        ("registry.example.com:444", "registry.example.com", False),
        ("10.0.0.0/8, x", "10.1.2.3", True), ("10.0.0.0/8", "11.1.2.3", False), ("10.1.2.3", "10.1.2.3", True),
        ("fd00::/8", "fd00::1", True), ("[fd00::1]:443", "fd00::1", True), ("", "localhost", True),
        ("", "127.0.0.1", True), ("a,,b", "registry.example.com", False),
    ],
)  # fmt: skip
def test_proxies_of_the_environment(monkeypatch: pytest.MonkeyPatch, excepted: str, host: str, is_direct: bool) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example.com:3128")
    monkeypatch.setenv("NO_PROXY", excepted)
    expected = "" if is_direct else "http://proxy.example.com:3128"
    assert proxy_for(Origin("https", host, 443)) == expected
    assert proxy_for(Origin("http", host, 80)) == ""


class _Proxy(socketserver.StreamRequestHandler):
    """A proxy for TLS that leads everybody to one server."""

    def handle(self) -> None:
        lines = list(iter(self.rfile.readline, b"\r\n"))
        server: Any = self.server
        server.lines += lines
        if server.leads_to is None:
            self.wfile.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return
        with socket.create_connection(server.leads_to) as connection:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=_pass, args=(connection, self.connection))
            back.start()
            _pass(self.connection, connection)
            back.join()


def _pass(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A proxy that the environment names, with a user's name and password."""
    for name in ("HTTP_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Proxy) as server:
        found: Any = server
        found.lines, found.leads_to, server.daemon_threads = [], None, True
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:hid%3Aden@127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_registry_is_reached_through_a_proxy(proxy: Any, certificates: Certificates) -> None:
    with FakeRegistry(certificate=certificates.pair) as registry:
        _fill(registry)
        proxy.leads_to = ("127.0.0.1", int(registry.host.rpartition(":")[2]))
        options = RegistryOptions(credentials=Credentials(), insecure=True)
        source = RegistrySource(parse_reference("registry.example.com:5443/app:1"), options)
        _opened.append(source)
        _check_pull(source, BLOB)
    assert proxy.lines[0].startswith(b"CONNECT registry.example.com:5443 ")
    sent = base64.b64encode(b"me:hid:den")
    assert b"proxy-authorization: Basic " + sent + b"\r\n" in proxy.lines


def test_a_proxy_that_refuses_is_told_without_its_password(proxy: Any) -> None:
    options = RegistryOptions(credentials=Credentials(), retries=0)
    source = RegistrySource(parse_reference("registry.example.com/app:1"), options)
    _opened.append(source)
    with pytest.raises(RegistryError, match=r"the proxy for registry\.example\.com .*407") as error:
        source.resolve()
    assert "hid" not in str(error.value)


def _wait_for_connections(fake: FakeRegistry, count: int) -> None:
    end = time.monotonic() + 10
    while fake.connections != count:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_the_end_of_its_use_ends_every_connection(fake: FakeRegistry) -> None:
    """Also if something still refers to them, such as the traceback of an error."""
    _fill(fake)
    source = _source(fake)
    assert source.resolve() == ROOT
    (manager,) = source._client.wire._managers.values()
    pools = [manager.pools[key] for key in manager.pools.keys()]  # noqa: SIM118 (it is no dict)
    # The one that asked for TLS may have an end that the registry has not noticed yet.
    _wait_for_connections(fake, 1)
    source.close()
    _wait_for_connections(fake, 0)
    assert pools
