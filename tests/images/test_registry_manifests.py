"""Manifests that do not arrive from a registry, or are others than it says."""

from __future__ import annotations

import pytest

from tests.images import samples
from tests.images.registry import FakeRegistry, Fault, faults
from tests.images.registry_bench import IMAGE, OCI, Bench, fill
from wclayer.errors import (
    AccessDeniedError,
    InvalidDataError,
    LayerError,
    LimitExceededError,
    NotSupportedError,
    PathNotFoundError,
    RegistryError,
)

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
