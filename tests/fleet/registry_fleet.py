"""A registry full of Windows images: 200 of them over 60 layers, in a real docker-registry.

`make_fleet` makes the images (`windows_layers.py` makes their layers), `FleetRegistry` serves them and tells what it
served, and `Expected` has the inventory of each image as a user gets it who looks at one image after the other.
"""

from __future__ import annotations

import functools
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import wclayer
from tests.fleet import windows_layers as windows
from tests.images import samples, stores
from tests.images.registry import DebianRegistry
from wclayer.host.durability import unsynced
from wclayer.images.store import ImageStore

LAYERS, IMAGES = 60, 200
_RUNTIME_BASES = 5
"""How many bases each runtime is built on."""
_APPLICATIONS_WITH_FIVE = 10
"""Applications that are built on five bases; the others are built on four."""


@dataclass(frozen=True)
class Tagged:
    """What a tag of a repository names."""

    repository: str
    tag: str
    item: samples.Image | samples.Index

    @property
    def name(self) -> str:
        """The reference without the registry."""
        return f"{self.repository}:{self.tag}"


@dataclass(frozen=True)
class Fleet:
    """What a registry holds.

    Attributes:
        tagged: all tags.
        layers: the layers of the Windows images.
        linux: an image of Linux; nobody needs to read its layer.
        artifact: a manifest that is no image: what cosign puts beside an image.
        twice: an image that has two tags.
        index: two images under one tag, for two versions of Windows; they have no other name.
    """

    tagged: tuple[Tagged, ...]
    layers: windows.Layers
    linux: samples.Image
    artifact: samples.Image
    twice: samples.Image
    index: samples.Index

    @functools.cached_property
    def images(self) -> dict[str, samples.Image]:
        """The Windows images by the digests of their manifests."""
        others = (self.linux, self.artifact)
        return {image.digest: image for each in self.tagged if each.item not in others for image in each.item.images}

    @property
    def windows_bytes(self) -> int:
        """The bytes of the distinct layers of the Windows images, as they are stored."""
        return sum(len(layer.data) for layer in self.layers.all)

    def tag(self, name: str) -> samples.Image | samples.Index:
        """What a name such as "apps/app00:1.0.0-ltsc2022-2031" names."""
        (found,) = (each.item for each in self.tagged if each.name == name)
        return found

    def with_layer(self, digest: str) -> list[samples.Image]:
        """The Windows images that a layer is in."""
        return [image for image in self.images.values() if digest in {layer.digest for layer in image.layers}]


@dataclass(frozen=True)
class _Base:
    """A base image: its layers and their history."""

    tag: str
    os_version: str
    date: str
    layers: tuple[samples.Layer, ...]
    history: tuple[Mapping[str, Any], ...]

    @property
    def suffix(self) -> str:
        """What the tags of images on it end with: "ltsc2022-2031"."""
        return f"{self.tag}-{self.os_version.rpartition('.')[2]}"


def _server_cores(layers: windows.Layers) -> Iterator[_Base]:
    for version in windows.VERSIONS:
        first = version.revisions[0]
        for number, revision in enumerate(version.revisions[1:], 1):
            os_version = f"10.0.{version.build}.{revision.number}"
            yield _Base(
                version.tag, os_version, revision.date,
                (layers.bases[version.tag], layers.updates[version.tag, number]),
                (
                    samples.step(f"Apply image 10.0.{version.build}.{first.number}", f"{first.date}T07:53:31Z"),
                    samples.step(f"Install update {os_version}", f"{revision.date}T07:53:31Z"),
                ),
            )  # fmt: skip


def _nano_servers(layers: windows.Layers) -> Iterator[_Base]:
    for version, number in windows.NANO_SERVERS:
        revision = version.revisions[number]
        os_version = f"10.0.{version.build}.{revision.number}"
        step = samples.step(f"Apply image {os_version}", f"{revision.date}T07:53:31Z")
        yield _Base(version.tag, os_version, revision.date, (layers.nano_servers[version.tag, number],), (step,))


def _image(
    base: _Base, above: Sequence[tuple[str, samples.Layer]], container: Mapping[str, Any], kind: samples.Kind = "docker"
) -> samples.Image:
    """An image on a base, with further layers and the steps that made them."""
    made = f"{base.date}T12:00:00Z"
    layers = [*base.layers, *(layer for _, layer in above)]
    # Docker's manifests know no layers that are compressed with Zstandard.
    kind = "oci" if any(layer.media_type == samples.OCI_ZSTD_LAYER for layer in layers) else kind
    typed = [
        layer if layer.media_type == samples.OCI_ZSTD_LAYER else replace(layer, media_type=samples.LAYER[kind])
        for layer in layers
    ]
    history = [*base.history, *(samples.step(step, made) for step, _ in above)]
    if above:
        history.append(samples.step('CMD ["run"]', made, empty=True))
    return samples.image(kind, typed, history, container, os_version=base.os_version, created=made)


def _spread(bases: Sequence[_Base], first: int, count: int) -> list[_Base]:
    """Some bases of all versions, others for each `first`."""
    return [bases[(first + 3 * number) % len(bases)] for number in range(count)]


def _tagged_images(layers: windows.Layers) -> Iterator[Tagged]:
    cores, nano_servers = list(_server_cores(layers)), list(_nano_servers(layers))
    for repository, bases, user in (
        ("windows/servercore", cores, "ContainerAdministrator"), ("windows/nanoserver", nano_servers, "ContainerUser")
    ):  # fmt: skip
        for base in bases:
            container = {"User": user, "Cmd": ["c:\\windows\\system32\\cmd.exe"]}
            yield Tagged(repository, base.os_version, _image(base, (), container))
    for base in cores:
        name = f"iis-{base.tag}"
        step = "RUN powershell Install-WindowsFeature Web-Server"
        image = _image(base, [(step, layers.runtimes[name])], {"ExposedPorts": {"80/tcp": {}}})
        yield Tagged("runtimes/iis", base.suffix, image)
    for number, name in enumerate(windows.RUNTIMES):
        for base in _spread(cores, number, _RUNTIME_BASES):
            image = _image(base, [(f"RUN install {name}", layers.runtimes[name])], {"Env": [f"RUNTIME={name}"]})
            yield Tagged(f"runtimes/{name.partition('-')[0]}", f"{name}-{base.suffix}", image)
    for number in range(windows.APPLICATIONS):
        on_nano = number >= windows.APPLICATIONS - 3
        count = 5 if number < _APPLICATIONS_WITH_FIVE else 4
        for base in _spread(nano_servers if on_nano else cores, number, count):
            yield Tagged(f"apps/app{number:02}", f"1.{number}.0-{base.suffix}", _application(number, base, layers))


def _application(number: int, base: _Base, layers: windows.Layers) -> samples.Image:
    runtime, name = windows.runtime_of(number), f"app{number:02}"
    container = {
        "User": "ContainerUser", "Env": ["MODE=production", f"RUNTIME={runtime}"], "WorkingDir": rf"C:\{name}",
        "Cmd": [rf"C:\{name}\{name}.exe"], "ExposedPorts": {f"{8000 + number}/tcp": {}},
        "Labels": {"com.example.team": f"team-{number % 4}"},
    }  # fmt: skip
    above = [(f"RUN install {runtime}", layers.runtimes[runtime]), (f"COPY {name} C:\\", layers.applications[number])]
    return _image(base, above, container, "oci")


@functools.cache
def make_fleet() -> Fleet:
    """Makes the fleet: 200 Windows images over 60 layers, an image of Linux, and an artifact."""
    layers = windows.make_layers()
    tagged = list(_tagged_images(layers))
    # The first application has an index of two versions; its images have no tags of their own.
    two = [each for each in tagged if each.repository == "apps/app00"][:2]
    index = samples.index("oci", [each.item for each in two if isinstance(each.item, samples.Image)])
    tagged = [each for each in tagged if each not in two]
    tagged.append(Tagged("apps/app00", "latest", index))
    (newest,) = (each.item for each in tagged if each.name == "windows/servercore:10.0.20348.2322")
    assert isinstance(newest, samples.Image)
    linux = samples.image(
        "oci", [samples.layer(samples.small_tar({"etc/os-release": b"ID=linux\n"}), "oci")],
        [samples.step("ADD rootfs.tar /")], {}, os_version="", os="linux",
    )  # fmt: skip
    artifact = samples.referrer(newest)
    tagged += [
        Tagged("windows/servercore", "ltsc2022", newest),
        Tagged("windows/servercore", samples.cosign_tag(newest), artifact),
        Tagged("linux/base", "1", linux),
    ]
    return Fleet(tuple(tagged), layers, linux, artifact, newest, index)


class Storage:
    """The files in which a registry keeps what it holds: to write them is faster than to push images.

    Args:
        folder: the folder that the registry's configuration names.
    """

    def __init__(self, folder: Path) -> None:
        self._root = folder / "docker" / "registry" / "v2"
        self._written: set[Path] = set()

    def blob(self, digest: str) -> Path:
        """The file of a blob or a manifest."""
        return self._root / "blobs" / "sha256" / digest[7:9] / digest[7:] / "data"

    def put_layer(self, repository: str, digest: str, data: bytes | Path) -> None:
        """Puts a layer or a configuration into a repository. A file gets a further name."""
        self._put_blob(digest, data)
        self._link(self._repository(repository) / "_layers" / "sha256" / digest[7:], digest)

    def put_manifest(self, repository: str, digest: str, data: bytes, tag: str = "") -> None:
        """Puts a manifest into a repository, perhaps under a tag."""
        manifests = self._repository(repository) / "_manifests"
        self._put_blob(digest, data)
        self._link(manifests / "revisions" / "sha256" / digest[7:], digest)
        if tag:
            self._link(manifests / "tags" / tag / "current", digest)
            self._link(manifests / "tags" / tag / "index" / "sha256" / digest[7:], digest)

    def put(self, tagged: Tagged) -> None:
        """Puts everything that a tag names."""
        for digest, data in tagged.item.blobs.items():
            self.put_layer(tagged.repository, digest, data)
        for digest, (_, data) in tagged.item.documents.items():
            tag = tagged.tag if digest == tagged.item.digest else ""
            self.put_manifest(tagged.repository, digest, data, tag)

    def _repository(self, name: str) -> Path:
        return self._root / "repositories" / name

    def _put_blob(self, digest: str, data: bytes | Path) -> None:
        file = self.blob(digest)
        if file in self._written:
            return
        self._written.add(file)
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(data, bytes):
            file.write_bytes(data)
        else:
            file.hardlink_to(data)

    def _link(self, folder: Path, digest: str) -> None:
        if folder not in self._written:
            self._written.add(folder)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "link").write_text(digest)


class FleetRegistry:
    """A docker-registry with a fleet, until the context ends.

    Args:
        folder: where it keeps everything; it is made.
        tagged: what it holds. More can be put into its `storage`.
        users: the password of each user; without users everybody may read.
    """

    def __init__(self, folder: Path, tagged: Iterable[Tagged] = (), *, users: dict[str, str] | None = None) -> None:
        self._server = DebianRegistry(folder, users=users, logs_requests=True)
        self._tagged = tuple(tagged)
        self.storage = Storage(folder / "data")
        self._read = 0

    @property
    def host(self) -> str:
        """Its address and port, as a reference has them."""
        return self._server.host

    @property
    def references(self) -> list[str]:
        """The references of all tags."""
        return [f"{self.host}/{each.name}" for each in self._tagged]

    def __enter__(self) -> Self:
        self._server.__enter__()
        for each in self._tagged:
            self.storage.put(each)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._server.__exit__(kind, error, tb)

    def damage(self, digest: str) -> None:
        """Changes one byte in the midst of a blob: it does not have its digest any more."""
        file = self.storage.blob(digest)
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 0xFF
        file.write_bytes(data)

    def repair(self, digest: str, data: bytes) -> None:
        """Puts the right bytes of a blob back."""
        self.storage.blob(digest).write_bytes(data)

    def forget(self) -> None:
        """Counts what is served from now on."""
        self._read = len(self._settled_log())

    def served(self) -> Counter[str]:
        """The bytes that were served of each blob."""
        counted: Counter[str] = Counter()
        for digest, size in _GET_BLOB.findall(self._settled_log()[self._read :]):
            counted[digest] += int(size)
        return counted

    def downloads(self) -> Counter[str]:
        """How often each blob was asked for."""
        return Counter(digest for digest, _ in _GET_BLOB.findall(self._settled_log()[self._read :]))

    def requests(self) -> list[str]:
        """The method and the address of each request."""
        return _REQUEST.findall(self._settled_log()[self._read :])

    def _settled_log(self) -> str:
        """The log, when no more is written to it: the server logs a request after it has answered it."""
        log = self._server.log
        while True:
            time.sleep(0.05)
            now = self._server.log
            if len(now) == len(log):
                return now
            log = now


_REQUEST = re.compile(r'"([A-Z]+ /v2/\S*) HTTP/1\.1" ')
_GET_BLOB = re.compile(r'"GET /v2/\S+/blobs/(sha256:[0-9a-f]{64}) HTTP/1\.1" 20[06] (\d+) ')


class Expected:
    """The inventories of the images of a fleet, each taken alone from a store; made when first asked for.

    Args:
        folder: for the store; it is made.
        fleet: the images.
    """

    def __init__(self, folder: Path, fleet: Fleet) -> None:
        self._store = ImageStore(folder)
        self._fleet = fleet
        self._known: dict[str, wclayer.Inventory] = {}

    def inventory(self, digest: str) -> wclayer.Inventory:
        """The inventory of the image with that manifest."""
        if digest not in self._known:
            image = self._fleet.images[digest]
            name = f"expected:{digest[7:19]}"
            with unsynced():
                stores.fill(self._store, name, image)
                stores.unpack(self._store, image)
            with wclayer.open_image(name, self._store) as opened:
                self._known[digest] = wclayer.take_inventory(opened)
        return self._known[digest]

    def all(self) -> dict[str, wclayer.Inventory]:
        """The inventories of all Windows images by the digests of their manifests."""
        return {digest: self.inventory(digest) for digest in self._fleet.images}

    def by_reference(self) -> dict[str, list[wclayer.Inventory]]:
        """The inventories of the Windows images that each tag names, by the references without the registry."""
        return {
            each.name: [self.inventory(image.digest) for image in each.item.images]
            for each in self._fleet.tagged
            if each.item not in (self._fleet.linux, self._fleet.artifact)
        }
