"""Layers and configurations that do not arrive from a registry, or are others than it says."""

from __future__ import annotations

import functools
import json
import random

import pytest

from tests.images import samples
from tests.images.registry import FakeRegistry, Fault, Reply, faults
from tests.images.registry_bench import CONFIG, ELSEWHERE, IMAGE, LOWER, UPPER, Bench, fill
from wclayer.errors import (
    AccessDeniedError,
    InvalidDataError,
    LayerError,
    PathNotFoundError,
    RegistryError,
)
from wclayer.images.store import ImageStore

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
