"""Files that are attached to images: in registries with and without the API of referrers, in layouts, in the store."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import wclayer
from tests.images import samples
from tests.images.forms import write_layout
from tests.images.registry import Access, DebianRegistry, FakeRegistry, faults, skopeo
from tests.images.registry.exchange import Reply, Request
from tests.images.registry_bench import IMAGE, Bench, fill
from tests.support import parsed, run, text
from wclayer.errors import AccessDeniedError, InvalidDataError, NotALayerError, RegistryError
from wclayer.images.platform import parse_platform
from wclayer.images.registry import RegistryOptions
from wclayer.model import Limits, use_limits

_OCI = "application/vnd.oci.image.manifest.v1+json"
_CYCLONEDX = "application/vnd.cyclonedx+json"
_BOM = b'{"bomFormat": "CycloneDX", "specVersion": "1.6", "components": []}'
_TAG = IMAGE.digest.replace(":", "-")
_QUICK = RegistryOptions(backoff=0.001, retries=1)


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _manifest(subject: dict[str, Any], data: bytes, media_type: str, title: str, **annotations: str) -> dict[str, Any]:
    """The manifest of an attached file (OCI image-spec 1.1, manifest.md), written by hand."""
    return {
        "schemaVersion": 2,
        "mediaType": _OCI,
        "artifactType": media_type,
        "config": {
            "mediaType": "application/vnd.oci.empty.v1+json",
            "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
            "size": 2,
        },
        "layers": [
            {
                "mediaType": media_type,
                "digest": _digest(data),
                "size": len(data),
                "annotations": {"org.opencontainers.image.title": title},
            }
        ],
        "subject": subject,
        "annotations": {"org.opencontainers.image.title": title, **annotations},
    }


@pytest.fixture
def bom(tmp_path: Path) -> Path:
    """A file that is a CycloneDX document."""
    file = tmp_path / "app.cdx.json"
    file.write_bytes(_BOM)
    return file


@pytest.fixture
def old(impatience: None) -> Iterator[FakeRegistry]:
    """A registry without the API of referrers, with an image app:1."""
    with FakeRegistry(referrers=False) as registry:
        fill(registry)
        yield registry


def _tagged(registry: FakeRegistry) -> list[str]:
    """The digests in the index of the tag of referrers."""
    found = registry.contents.find_manifest("app", _TAG)
    assert found is not None
    return [item["digest"] for item in json.loads(found[1])["manifests"]]


def test_a_file_is_a_manifest_of_its_own_that_the_api_of_referrers_lists(
    fake: FakeRegistry, bom: Path, impatience: None
) -> None:
    fill(fake)
    result = wclayer.attach_file(f"docker://{fake.host}/app:1", bom, annotations={"run": "42"})
    found = fake.contents.find_manifest("app", result.descriptor.digest)
    assert found is not None
    assert json.loads(found[1]) == _manifest(IMAGE.bare_descriptor, _BOM, _CYCLONEDX, "app.cdx.json", run="42")
    assert fake.contents.repository("app").blobs[_digest(_BOM)] == _BOM
    (listed,) = wclayer.attached_files(f"docker://{fake.host}/app:1")
    assert (listed.digest, listed.artifact_type) == (result.descriptor.digest, _CYCLONEDX)
    assert listed.annotations == {"org.opencontainers.image.title": "app.cdx.json", "run": "42"}
    assert fake.contents.repository("app").tags == {"1": IMAGE.digest}


def test_without_the_api_the_manifest_is_in_the_index_of_the_tag(old: FakeRegistry, bom: Path) -> None:
    result = wclayer.attach_file(f"docker://{old.host}/app:1", bom)
    found = old.contents.find_manifest("app", _TAG)
    assert found is not None
    assert json.loads(found[1]) == {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            {
                "mediaType": _OCI,
                "digest": result.descriptor.digest,
                "size": result.descriptor.size,
                "artifactType": _CYCLONEDX,
                "annotations": {"org.opencontainers.image.title": "app.cdx.json"},
            }
        ],
    }
    assert [item.digest for item in wclayer.attached_files(f"docker://{old.host}/app:1")] == [result.descriptor.digest]


def test_a_registry_that_does_not_note_the_subject_gets_the_tag(
    fake: FakeRegistry, bom: Path, impatience: None
) -> None:
    fill(fake)
    fake.faults.append(faults.header("manifest", "OCI-Subject", None))
    result = wclayer.attach_file(f"docker://{fake.host}/app:1", bom)
    assert _tagged(fake) == [result.descriptor.digest]


def test_skopeo_reads_from_debian_s_registry_what_was_attached(
    debian_registry: DebianRegistry, repository: str, bom: Path, tmp_path: Path
) -> None:
    layout = write_layout(tmp_path / "images", {"core": samples.small_child("oci")})
    name = f"{debian_registry.host}/{repository}"
    run("copy", f"oci:{layout}:core", f"{name}:1")
    result = wclayer.attach_file(f"docker://{name}:1", bom)
    second = wclayer.attach_file(f"docker://{name}:1", bom, media_type="text/x-report")
    again = wclayer.attach_file(f"docker://{name}:1", bom)
    assert (result.was_attached, second.was_attached, again.was_attached) == (False, False, True)
    assert again.descriptor == result.descriptor
    subject = json.loads(skopeo("inspect", "--tls-verify=false", "--raw", f"docker://{name}:1").stdout)
    raw = skopeo("inspect", "--tls-verify=false", "--raw", f"docker://{name}@{result.descriptor.digest}").stdout
    manifest = json.loads(raw)
    assert manifest["subject"]["digest"] == samples.small_child("oci").digest
    assert manifest["layers"][0]["digest"] == _digest(_BOM)
    assert subject["layers"]
    tag = manifest["subject"]["digest"].replace(":", "-")
    index = json.loads(skopeo("inspect", "--tls-verify=false", "--raw", f"docker://{name}:{tag}").stdout)
    assert [item["digest"] for item in index["manifests"]] == [result.descriptor.digest, second.descriptor.digest]
    skopeo("copy", "--src-tls-verify=false", f"docker://{name}@{result.descriptor.digest}", f"dir:{tmp_path / 'dir'}")
    assert (tmp_path / "dir" / _digest(_BOM).removeprefix("sha256:")).read_bytes() == _BOM


def test_what_is_attached_travels_with_its_image(
    debian_registry: DebianRegistry, repository: str, bom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WCLAYER_STORE", str(tmp_path / "store"))
    image = samples.several("oci")
    layout = write_layout(tmp_path / "images", {"app": image})
    run("attach", str(layout), bom)
    run("attach", f"oci:{layout}:app", bom, "--platform", "windows/arm64")
    run("copy", "--all", "--referrers", f"oci:{layout}:app", "store:app:1")
    assert text("attach", "--list", "app:1") == text("attach", "--list", f"oci:{layout}:app")
    run("attach", "app:1", bom, "--type", "text/x-more")
    name = f"{debian_registry.host}/{repository}:1"
    run("copy", "--all", "--referrers", "store:app:1", name)
    of_index = wclayer.attached_files(f"docker://{name}")
    assert [item.artifact_type for item in of_index] == [_CYCLONEDX, "text/x-more"]
    (of_image,) = wclayer.attached_files(f"docker://{name}", platform=parse_platform("windows/arm64"))
    (here,) = wclayer.attached_files(f"oci:{layout}:app", platform=parse_platform("windows/arm64"))
    assert of_image.digest == here.digest


def test_the_layout_keeps_its_images_and_their_bytes(bom: Path, tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "images", {"app": IMAGE})
    before = json.loads((layout / "index.json").read_bytes())
    result = wclayer.attach_file(str(layout), bom)
    after = json.loads((layout / "index.json").read_bytes())
    assert after["manifests"][:1] == before["manifests"]
    assert after["manifests"][1:] == [
        {
            "mediaType": _OCI,
            "digest": result.descriptor.digest,
            "size": result.descriptor.size,
            "artifactType": _CYCLONEDX,
            "annotations": {"org.opencontainers.image.title": "app.cdx.json"},
        }
    ]
    state = {file: file.read_bytes() for file in layout.rglob("*") if file.is_file()}
    assert wclayer.attach_file(str(layout), bom).was_attached
    assert {file: file.read_bytes() for file in layout.rglob("*") if file.is_file()} == state
    # Still the only image, for us and for skopeo.
    assert wclayer.inspect_image(wclayer.open_source(f"oci:{layout}")).descriptor.digest == IMAGE.digest
    skopeo("inspect", "--raw", f"oci:{layout}:app")


def test_a_file_can_be_attached_to_an_attached_file(bom: Path, tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "images", {"app": IMAGE})
    first = wclayer.attach_file(str(layout), bom)
    second = wclayer.attach_file(f"oci:{layout}:{first.descriptor.digest}", bom, media_type="text/x-signature")
    assert second.subject == first.descriptor
    listed = wclayer.attached_files(f"oci:{layout}:{first.descriptor.digest}")
    assert [item.digest for item in listed] == [second.descriptor.digest]
    assert [item.digest for item in wclayer.attached_files(f"oci:{layout}:app")] == [first.descriptor.digest]


def test_an_annotation_gives_no_entry_of_a_layout_a_name(bom: Path, tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "images", {"app": IMAGE})
    name = "org.opencontainers.image.ref.name"
    refused = run("attach", str(layout), bom, "--annotation", f"{name}=app", status=5)
    assert "by which a layout names images" in refused.stderr.decode()
    # What another program made with it keeps its bytes, and is no image of that name.
    hostile = samples.with_manifest_changed(samples.referrer(IMAGE), {"annotations": {name: "app"}})
    with FakeRegistry() as registry:
        fill(registry)
        fill(registry, hostile, tag="")
        run("copy", "--referrers", f"{registry.host}/app:1", f"oci:{tmp_path / 'new'}:app")
    record = parsed("inspect", f"oci:{tmp_path / 'new'}:app", "--json")
    assert isinstance(record, dict)
    assert record["digest"] == IMAGE.digest


# Many at once.


def test_files_that_many_attach_at_once_are_all_listed(
    debian_registry: DebianRegistry, repository: str, tmp_path: Path
) -> None:
    layout = write_layout(tmp_path / "images", {"app": IMAGE})
    name = f"docker://{debian_registry.host}/{repository}:1"
    run("copy", f"oci:{layout}:app", name)
    made: list[str] = []

    def attach(number: int) -> None:
        file = tmp_path / f"{number}.txt"
        file.write_text(str(number))
        made.append(wclayer.attach_file(name, file, media_type="text/plain").descriptor.digest)

    threads = [threading.Thread(target=attach, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(item.digest for item in wclayer.attached_files(name)) == sorted(made)
    assert len(made) == len(threads)


def _taken_out(registry: FakeRegistry, times: int | None) -> faults.Fault:
    """Another client read the tag before, and writes it after every addition."""
    other = json.dumps({"schemaVersion": 2, "mediaType": samples.INDEX["oci"], "manifests": []}).encode()

    def change(request: Request, reply: Reply) -> Reply:
        registry.contents.put_manifest("app", other, samples.INDEX["oci"], _TAG)
        return reply

    return faults.Fault("manifest", ("PUT",), change=change, times=times, reference=_TAG)


def test_what_another_client_took_out_of_the_tag_is_entered_again(old: FakeRegistry, bom: Path) -> None:
    old.faults.append(_taken_out(old, 3))
    result = wclayer.attach_file(f"docker://{old.host}/app:1", bom, registry=_QUICK)
    assert _tagged(old) == [result.descriptor.digest]
    assert len(old.asked("manifest", "PUT", reference=_TAG)) == 4


def test_a_file_that_is_always_taken_out_is_not_told_to_be_attached(old: FakeRegistry, bom: Path) -> None:
    old.faults.append(_taken_out(old, None))
    with pytest.raises(RegistryError, match=r"other clients change the tag sha256-.*try again later"):
        wclayer.attach_file(f"docker://{old.host}/app:1", bom, registry=_QUICK)


# Faults.


def test_who_may_not_write_is_told_so(bench: Bench, bom: Path) -> None:
    with FakeRegistry(access=Access("token")) as registry:
        fill(registry)
        bench.secrets |= registry.secrets
        refused = run("attach", f"docker://{registry.host}/app:1", bom, "--authfile", "nothing", status=2)
        assert b"nothing" in refused.stderr
        done = bench.call("attach", f"docker://{registry.host}/app:1", str(bom), registry=registry)
        assert done.status == 0, done.said
        registry.faults.append(faults.error(403, "upload"))
        bom.write_bytes(_BOM + b" ")
        denied = bench.call("attach", f"docker://{registry.host}/app:1", str(bom), registry=registry)
        bench.check_sentence(denied, AccessDeniedError, "denies the upload", "attach file")


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (faults.error(500, "referrers"), RegistryError),
        (faults.body("referrers", b"[]", "application/json"), InvalidDataError),
        (faults.body("referrers", b'{"manifests": [{"digest": 1}]}', "application/json"), InvalidDataError),
        (faults.error(400, "manifest", ("PUT",)), RegistryError),
        (faults.error(500, "upload", ("POST",)), RegistryError),
        (faults.cut("referrers", 3), RegistryError),
    ],
    ids=["500", "no object", "no descriptor", "refused", "upload", "cut"],
)
def test_a_failure_of_the_registry_is_an_error_and_nothing_is_listed(
    fake: FakeRegistry, bom: Path, impatience: None, fault: faults.Fault, error: type[Exception]
) -> None:
    fill(fake)
    fake.faults.append(fault)
    with pytest.raises(error):
        wclayer.attach_file(f"docker://{fake.host}/app:1", bom, registry=_QUICK)
    fake.faults.clear()
    assert wclayer.attached_files(f"docker://{fake.host}/app:1") == []


def test_an_index_of_the_tag_that_would_be_too_large_is_refused(old: FakeRegistry, bom: Path) -> None:
    use_limits(Limits(manifest_size=1000))
    try:
        for number in range(2):
            wclayer.attach_file(f"docker://{old.host}/app:1", bom, media_type=f"text/x-{'a' * 90}{number}")
        with pytest.raises(wclayer.LimitExceededError, match="manifest_size"):
            wclayer.attach_file(f"docker://{old.host}/app:1", bom, media_type=f"text/x-{'a' * 90}-more")
    finally:
        use_limits(Limits())
    assert len(_tagged(old)) == 2


# The verb.


def test_the_verb_tells_what_it_did(bom: Path, tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "images", {"app": IMAGE})
    image = f"oci:{layout}:app"
    first = text("attach", image, bom)
    digest = first.split()[-1]
    assert first == f"{bom} attached to {image} as {_CYCLONEDX}: {digest}\n"
    assert text("attach", image, bom) == f"{bom} is attached to {image} already as {_CYCLONEDX}: {digest}\n"
    assert text("attach", "-q", image, bom) == f"{digest}\n"
    assert parsed("attach", "--json", image, bom) == {
        "image": image, "subject": IMAGE.digest, "digest": digest, "artifact_type": _CYCLONEDX,
        "file_digest": _digest(_BOM), "size": len(_BOM), "was_attached": True,
    }  # fmt: skip
    assert text("attach", "--list", image) == f"{_CYCLONEDX}  {digest}  app.cdx.json\n"
    assert text("attach", "--list", "-q", image) == f"{digest}\n"
    ((listed),) = [parsed("attach", "--list", "--json", image)]
    assert isinstance(listed, list)
    assert listed[0]["digest"] == digest
    assert listed[0]["annotations"] == {"org.opencontainers.image.title": "app.cdx.json"}


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["{image}"], 64, "name the FILE"),
        (["--list", "{image}", "{bom}"], 64, "--list attaches nothing"),
        (["{image}", "{text}"], 5, "do not tell what it is; name its media type"),
        (["{image}", "{bom}", "--type", "json"], 5, "is not a media type"),
        (["{image}", "{bom}", "--annotation", "a"], 64, "has no '='"),
        (["{image}", "{folder}"], 12, "is a directory"),
        (["{image}", "{fifo}"], 5, "write it to a file first"),
        (["{image}", "{folder}/none"], 2, "No such file"),
        (["oci-archive:x.tar", "{bom}"], 10, "is an archive, which is not changed"),
        (["{folder}", "{bom}"], 5, ""),
        (["localhost:5000/app:1", "{bom}"], 2, "docker://localhost:5000/app:1 is the image in its registry"),
        (["{image}", "{bom}", "--platform", "windows/arm64"], 2, "arm64"),
        (["oci:{folder}/none", "{bom}"], 2, ""),
    ],
)
def test_what_cannot_be_attached_is_refused_in_one_sentence(
    bom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], status: int, said: str
) -> None:
    monkeypatch.setenv("WCLAYER_STORE", str(tmp_path / "store"))
    layout = write_layout(tmp_path / "images", {"app": IMAGE})
    (tmp_path / "text").write_bytes(b"hello")
    os.mkfifo(tmp_path / "fifo")
    names = {"image": f"oci:{layout}:app", "bom": bom, "text": tmp_path / "text", "folder": tmp_path,
             "fifo": tmp_path / "fifo"}  # fmt: skip
    ended = run("attach", *(each.format(**names) for each in arguments), status=status)
    assert said in ended.stderr.decode()
    assert len(ended.stderr.splitlines()) == 1
    assert wclayer.attached_files(f"oci:{layout}:app") == []


def test_a_name_that_is_no_utf_8_becomes_a_title_that_is(tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "images", {"app": IMAGE})
    file = Path(os.fsdecode(os.fsencode(tmp_path) + b"/bad-\xff.json"))
    file.write_bytes(_BOM)
    result = wclayer.attach_file(str(layout), file)
    blob = (layout / "blobs/sha256" / result.descriptor.digest.removeprefix("sha256:")).read_bytes()
    assert json.loads(blob)["annotations"] == {"org.opencontainers.image.title": "bad-\N{REPLACEMENT CHARACTER}.json"}
    refused = run("attach", str(layout), file, "--annotation", os.fsdecode(b"a=\xff"), status=5)
    assert b"an annotation is text in UTF-8" in refused.stderr


def test_a_damaged_layout_is_refused(bom: Path, tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "images", {"app": IMAGE})
    (layout / "oci-layout").write_bytes(b"{}")
    with pytest.raises((InvalidDataError, NotALayerError)):
        wclayer.attach_file(f"oci:{layout}:app", bom)
