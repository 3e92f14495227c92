"""`pull` from registries: what a user sees, how much memory it takes, foreign layers, platforms."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.images import forms, samples
from tests.images.registry import DebianRegistry, FakeRegistry, faults
from tests.support import member, parsed, run, text
from tests.terminal import on_a_terminal
from wclayer.formats.tar.structs import TRAILER
from wclayer.images.store import ImageStore

_MIB = 1 << 20


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def _put(
    registry: DebianRegistry, repository: str, item: samples.Image | samples.Index, *, foreign: bool = False
) -> str:
    forms.put_into_registry(registry.base, repository, "1", item, with_foreign=foreign)
    return f"{registry.host}/{repository}:1"


def test_platforms(debian_registry: DebianRegistry, repository: str, store: Path) -> None:
    index = samples.several()
    reference = _put(debian_registry, repository, index)
    err = run("pull", "--store", store, reference, status=5).stderr
    assert b"--platform" in err
    assert b"10.0.26100.33296" in err
    one = text("pull", "-q", "--store", store, "--platform", "windows/amd64:10.0.20348", reference).strip()
    assert one == index.images[1].digest
    record = parsed("pull", "--store", store, "--all", reference)
    assert isinstance(record, dict)
    assert (record["digest"], len(record["images"])) == (index.digest, 3)
    # And all of it goes to another place as it is.
    assert text("push", "-q", "--store", store, reference, f"{reference}-again").strip() == index.digest


def test_by_digest(debian_registry: DebianRegistry, repository: str, store: Path) -> None:
    image = samples.small_child()
    reference = _put(debian_registry, repository, image).removesuffix(":1")
    assert f"digest {image.digest}" in text("pull", "--store", store, f"docker://{reference}@{image.digest}")
    assert ImageStore(store).find(image.digest).digest == image.digest


def test_the_store_of_the_environment(
    debian_registry: DebianRegistry, repository: str, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WCLAYER_STORE", str(store))
    text("pull", _put(debian_registry, repository, samples.small()))
    assert (store / "store.db").exists()


def test_nothing_is_unpacked(debian_registry: DebianRegistry, repository: str, store: Path) -> None:
    image = samples.small_child()
    record = parsed("pull", "--no-unpack", "--store", store, _put(debian_registry, repository, image))
    assert isinstance(record, dict)
    assert (record["images"], record["blobs"], record["digest"]) == ([], 3, image.digest)
    assert os.listdir(store / "layers") == []


@pytest.mark.parametrize("place", ["oci:folder:1", "docker-archive:app.tar", "store:app:1"])
def test_what_is_in_no_registry(store: Path, place: str) -> None:
    for arguments in (["pull", place], ["push", "app:1", place]):
        layout = forms.write_layout(store.parent / arguments[0], {"x": samples.small()})
        text("load", "-i", layout, "-t", "app:1", "--store", store)
        err = run(*arguments, "--store", store, status=5).stderr.decode()
        assert f"{place}: is not in a registry; `wclayer copy`" in err


def test_what_is_not_there_leaves_no_store(debian_registry: DebianRegistry, repository: str, store: Path) -> None:
    err = run("pull", "--store", store, f"{debian_registry.host}/{repository}:1", status=2).stderr
    assert f"{debian_registry.host}/{repository}:1".encode() in err
    assert not store.exists()


# Foreign layers.


def test_a_foreign_layer_comes_from_its_address(
    debian_registry_with_urls: DebianRegistry, fake: FakeRegistry, repository: str, store: Path, tmp_path: Path
) -> None:
    original = samples.with_foreign_layer()
    base = original.layers[0]
    digest = fake.contents.put_blob("files", base.data)
    nowhere, there = "http://127.0.0.1:9/nothing", f"{fake.base}/v2/files/blobs/{digest}"
    image = samples.with_foreign_layer(urls=[nowhere, there])
    reference = _put(debian_registry_with_urls, repository, image)
    record = parsed("pull", "--store", store, "--retries", "0", reference)
    assert isinstance(record, dict)
    assert fake.sent(digest) == len(base.data)
    assert [layer["diff_id"] for layer in record["images"][0]["layers"]] == image.diff_ids
    assert fake.authorizations == []
    # Also where the image in the store will not have the address.
    more = parsed("pull", "--store", tmp_path / "converted", "--retries", "0", "--foreign", "convert", reference)
    assert isinstance(more, dict)
    assert [layer["diff_id"] for layer in more["images"][0]["layers"]] == image.diff_ids


def _with_two_addresses(fake: FakeRegistry, other: FakeRegistry) -> samples.Image:
    """An image in a registry that has other bytes for its foreign layer, and so has the first address."""
    base = samples.with_foreign_layer("oci").layers[0]
    urls = [f"{origin.base}/v2/files/blobs/{base.digest}" for origin in (fake, other)]
    image = samples.with_foreign_layer("oci", urls)
    for data in image.blobs.values():
        fake.contents.put_blob("app", data)
    fake.contents.put_manifest("app", image.manifest, image.media_type, "1")
    fake.contents.put_blob("files", base.data)
    other.contents.put_blob("files", base.data)
    fake.faults.append(faults.corrupt("blob").only(reference=base.digest))
    return image


@pytest.mark.parametrize("verb", ["pull", "pull --no-unpack", "layout", "archive", "registry", "converted"])
def test_a_place_with_wrong_bytes_is_followed_by_the_next(
    debian_registry: DebianRegistry, fake: FakeRegistry, repository: str, tmp_path: Path, verb: str
) -> None:
    with FakeRegistry() as other:
        image = _with_two_addresses(fake, other)
        base, reference = image.layers[0], f"{fake.host}/app:1"
        target = {
            "layout": f"oci:{tmp_path / 'layout'}:1", "archive": f"oci-archive:{tmp_path / 'x.tar'}:1",
            "registry": f"{debian_registry.host}/{repository}:1",
        }.get(verb, "store:app:1")  # fmt: skip
        if verb.startswith("pull"):
            text(*verb.split(), "--store", tmp_path / "store", reference)
        else:
            convert = ["--foreign", "convert"] if verb in ("registry", "converted") else []
            text("copy", *convert, "--store", tmp_path / "store", reference, target)
        asked = [len(registry.asked("blob", "GET", reference=base.digest)) for registry in (fake, other)]
    assert asked == [2, 1]
    if verb.startswith("pull"):
        assert list(ImageStore(tmp_path / "store").check()) == []
        assert os.listdir(tmp_path / "store" / "ingest") == []
        assert sorted(os.listdir(tmp_path / "store" / "layers")) == sorted(
            [] if "--no-unpack" in verb else [digest[7:] for digest in image.chain_ids]
        )
    else:
        text("copy", "--store", tmp_path / "store", target, f"oci:{tmp_path / 'again'}")


def test_all_places_with_wrong_bytes(fake: FakeRegistry, store: Path) -> None:
    with FakeRegistry() as other:
        base = _with_two_addresses(fake, other).layers[0]
        other.faults.append(faults.corrupt("blob"))
        err = run("pull", "--store", store, f"{fake.host}/app:1", status=6).stderr.decode()
        assert len(other.asked("blob", "GET")) == 1
        assert "layer 1 of 2" in err
        assert f"{base.digest}: the contents have the digest" in err
        other.faults[:] = [faults.error(404, "blob")]
        err = run("pull", "--store", store, f"{fake.host}/app:1", status=6).stderr.decode()
    assert f"{fake.host} gives bytes with another digest" in err
    assert "does not have the blob" in err
    assert os.listdir(store / "layers") == []


def test_an_address_with_other_contents(
    debian_registry_with_urls: DebianRegistry, fake: FakeRegistry, repository: str, store: Path
) -> None:
    base = samples.with_foreign_layer().layers[0]
    other = fake.contents.put_blob("files", bytes(len(base.data)))
    image = samples.with_foreign_layer(urls=[f"{fake.base}/v2/files/blobs/{other}"])
    reference = _put(debian_registry_with_urls, repository, image)
    err = run("pull", "--store", store, reference, status=6).stderr.decode()
    assert f"pull image: {reference}: layer 1 of 2" in err
    assert base.digest in err
    assert os.listdir(store / "layers") == []


def test_a_registry_that_forbids_addresses(
    debian_registry: DebianRegistry, debian_registry_with_urls: DebianRegistry, repository: str, store: Path
) -> None:
    image = samples.with_foreign_layer()
    reference = _put(debian_registry_with_urls, repository, image, foreign=True)
    text("pull", "--store", store, reference)
    target = f"{debian_registry.host}/{repository}:1"
    done = run("push", "--store", store, reference, target, status=None)
    assert done.returncode
    assert b"--foreign convert" in done.stderr
    digest = text("push", "-q", "--store", store, "--foreign", "convert", reference, target).strip()
    pushed = json.loads(forms.get_manifest(debian_registry.base, repository, "1", image.media_type))
    assert [layer["mediaType"] for layer in pushed["layers"]] == [samples.LAYER["docker"]] * 2
    assert not any("urls" in layer for layer in pushed["layers"])
    assert digest != image.digest
    second = parsed("pull", "--store", store, target)
    assert isinstance(second, dict)
    assert [layer["chain_id"] for layer in second["images"][0]["layers"]] == image.chain_ids


# What a user sees.


@pytest.mark.skipif(sys.platform == "win32", reason="a terminal of POSIX")
def test_a_bar_for_each_layer(debian_registry: DebianRegistry, repository: str, store: Path) -> None:
    reference = _put(debian_registry, repository, samples.servercore())
    for quiet, expected in (([], True), (["-q"], False)):
        told = on_a_terminal("pull", *quiet, "--store", store, reference).text
        for number in (1, 2):
            assert (f"layer {number} of 2: " in told) == expected
    # Neither a bar nor anything else where nobody looks.
    assert run("pull", "--store", store, reference).stderr == b""


@pytest.mark.skipif(sys.platform == "win32", reason="a terminal of POSIX")
@pytest.mark.parametrize("verb", [("config",), ("index", "create")])
def test_a_bar_for_each_layer_of_what_is_composed(
    verb: tuple[str, ...], debian_registry: DebianRegistry, repository: str, tmp_path: Path
) -> None:
    image = f"docker://{_put(debian_registry, repository, samples.servercore())}"
    told = on_a_terminal(*verb, image, "-t", f"oci:{tmp_path / 'layout'}:1").text
    for number in (1, 2):
        assert f"layer {number} of 2: " in told


# Memory.

_WITH_PEAK = """
import sys
from tests.memory import peak_memory
from wclayer.cli.verbs import run
status = run(sys.argv[1:])
print(peak_memory())
sys.exit(status)
"""


def _peak(*arguments: str | Path) -> int:
    """The most memory of a command, in bytes."""
    command = [sys.executable, "-c", _WITH_PEAK, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    return int(done.stdout.splitlines()[-1])


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is asked of Linux")
def test_memory_is_bounded(debian_registry: DebianRegistry, repository: str, store: Path, tmp_path: Path) -> None:
    """A layer of 240 MiB that is not compressed is pushed and pulled with far less."""
    size = 240 * _MIB
    layout, blob = tmp_path / "layout", tmp_path / "blob"
    names = (b"Files/part%02d.bin" % number for number in range(60))
    with blob.open("wb") as file:
        file.write(member(b"Files", kind=b"5"))
        for name in names:
            file.write(member(name, bytes(size // 60)))
        file.write(TRAILER)
    digest = hashlib.sha256()
    with blob.open("rb") as file:
        while piece := file.read(_MIB):
            digest.update(piece)
    found = f"sha256:{digest.hexdigest()}"
    config = samples.dump({"architecture": "amd64", "os": "windows", "rootfs": {"type": "layers", "diff_ids": [found]}})
    layer = {"mediaType": samples.OCI_PLAIN_LAYER, "digest": found, "size": blob.stat().st_size}
    manifest = samples.dump(
        {
            "schemaVersion": 2,
            "mediaType": samples.MANIFEST["oci"],
            "config": {"mediaType": samples.CONFIG["oci"], "digest": samples.sha256(config), "size": len(config)},
            "layers": [layer],
        }
    )
    image = samples.Image("oci", manifest, config, ())
    forms.write_layout(layout, {"x": image})
    blob.rename(layout / "blobs" / "sha256" / digest.hexdigest())
    reference = f"{debian_registry.host}/{repository}:1"
    assert _peak("copy", "--no-sync", f"oci:{layout}", reference) < 120 * _MIB
    assert _peak("pull", "--no-sync", "--store", store, reference) < 200 * _MIB
    (stored,) = ImageStore(store).images()
    assert stored.is_unpacked
