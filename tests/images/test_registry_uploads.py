"""Layers and manifests that a registry does not take."""

from __future__ import annotations

import pytest

from tests.images import samples
from tests.images.registry import FakeRegistry, Fault, faults
from tests.images.registry_bench import ELSEWHERE, IMAGE, LOWER, Bench, fill
from wclayer.errors import (
    AccessDeniedError,
    InvalidDataError,
    LayerError,
    RegistryError,
)
from wclayer.images.store import ImageStore

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
