"""Windows images to test with, made as real ones are, without any code of `wclayer.images`: they are a witness.

The layers are the vectors of `tests/data` and the layers of `wclayer.sample`; configurations and histories follow those
of Microsoft's images and of what Docker and BuildKit build. The bytes are always the same. `tests/images/forms.py`
writes the images as layouts and archives, and puts them into a registry.
"""

from __future__ import annotations

import base64
import functools
import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from tests.support import layer_tar, vector_bytes, zstd
from wclayer import sample

Kind = Literal["docker", "oci"]
"""Docker's image manifest, version 2, schema 2, or OCI's image manifest."""

MANIFEST = {
    "docker": "application/vnd.docker.distribution.manifest.v2+json",
    "oci": "application/vnd.oci.image.manifest.v1+json",
}
INDEX = {
    "docker": "application/vnd.docker.distribution.manifest.list.v2+json",
    "oci": "application/vnd.oci.image.index.v1+json",
}
CONFIG = {
    "docker": "application/vnd.docker.container.image.v1+json",
    "oci": "application/vnd.oci.image.config.v1+json",
}
LAYER = {
    "docker": "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "oci": "application/vnd.oci.image.layer.v1.tar+gzip",
}
FOREIGN_LAYER = {
    "docker": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    "oci": "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
}
OCI_ZSTD_LAYER = "application/vnd.oci.image.layer.v1.tar+zstd"
OCI_PLAIN_LAYER = "application/vnd.oci.image.layer.v1.tar"


def sha256(data: bytes) -> str:
    """The digest of bytes, as a descriptor has it."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def dump(record: object, *, indent: int | None = None) -> bytes:
    """JSON as Go writes it (compact), or with an indent as Docker's manifests have it."""
    separators = (",", ":") if indent is None else None
    return json.dumps(record, indent=indent, separators=separators, ensure_ascii=False).encode()


@dataclass(frozen=True)
class Layer:
    """A layer: its tar, and the blob that is distributed."""

    tar: bytes
    data: bytes
    media_type: str
    urls: tuple[str, ...] = ()

    @functools.cached_property
    def diff_id(self) -> str:
        return sha256(self.tar)

    @functools.cached_property
    def digest(self) -> str:
        return sha256(self.data)

    @property
    def is_foreign(self) -> bool:
        return self.media_type in FOREIGN_LAYER.values()

    @property
    def descriptor(self) -> dict[str, Any]:
        record: dict[str, Any] = {"mediaType": self.media_type, "size": len(self.data), "digest": self.digest}
        return record | {"urls": list(self.urls)} if self.urls else record


@dataclass(frozen=True)
class Image:
    """An image: the bytes of its manifest and configuration, and its layers, base layer first."""

    kind: Kind
    manifest: bytes
    config: bytes
    layers: tuple[Layer, ...]

    @property
    def media_type(self) -> str:
        return MANIFEST[self.kind]

    @functools.cached_property
    def digest(self) -> str:
        return sha256(self.manifest)

    @functools.cached_property
    def record(self) -> dict[str, Any]:
        """The configuration as an object."""
        record: dict[str, Any] = json.loads(self.config)
        return record

    @property
    def platform(self) -> dict[str, Any]:
        return {key: self.record[key] for key in ("architecture", "os", "os.version") if self.record.get(key)}

    @property
    def descriptor(self) -> dict[str, Any]:
        """The descriptor of the manifest, as an index has it."""
        return {**self.bare_descriptor, "platform": self.platform}

    @property
    def bare_descriptor(self) -> dict[str, Any]:
        return {"mediaType": self.media_type, "size": len(self.manifest), "digest": self.digest}

    @property
    def diff_ids(self) -> list[str]:
        return [layer.diff_id for layer in self.layers]

    @property
    def chain_ids(self) -> list[str]:
        """The chainID of each layer (OCI image-spec, config.md)."""
        chain: list[str] = []
        for diff_id in self.diff_ids:
            chain.append(sha256(f"{chain[-1]} {diff_id}".encode()) if chain else diff_id)
        return chain

    @property
    def images(self) -> tuple[Image, ...]:
        return (self,)

    @property
    def documents(self) -> dict[str, tuple[str, bytes]]:
        """The manifests by digest, each with its media type; what others name is first."""
        return {self.digest: (self.media_type, self.manifest)}

    @property
    def blobs(self) -> dict[str, bytes]:
        """The configuration and the layers by digest."""
        return {sha256(self.config): self.config} | {layer.digest: layer.data for layer in self.layers}

    @property
    def foreign(self) -> set[str]:
        """The digests of the foreign layers."""
        return {layer.digest for layer in self.layers if layer.is_foreign}


@dataclass(frozen=True)
class Index:
    """A list of images, one for each platform."""

    kind: Kind
    manifest: bytes
    images: tuple[Image, ...]

    @property
    def media_type(self) -> str:
        return INDEX[self.kind]

    @functools.cached_property
    def digest(self) -> str:
        return sha256(self.manifest)

    @property
    def bare_descriptor(self) -> dict[str, Any]:
        return {"mediaType": self.media_type, "size": len(self.manifest), "digest": self.digest}

    @property
    def documents(self) -> dict[str, tuple[str, bytes]]:
        inner = {image.digest: (image.media_type, image.manifest) for image in self.images}
        return inner | {self.digest: (self.media_type, self.manifest)}

    @property
    def blobs(self) -> dict[str, bytes]:
        return {digest: data for image in self.images for digest, data in image.blobs.items()}

    @property
    def foreign(self) -> set[str]:
        return {digest for image in self.images for digest in image.foreign}


# Layers


@functools.cache
def base_tar() -> bytes:
    """A base layer that Go's archive/tar wrote (tests/data): 6 MB."""
    return vector_bytes("base.tar.gz")


@functools.cache
def update_tar() -> bytes:
    """A child of it, with two tombstones."""
    return vector_bytes("child.tar")


@functools.cache
def sample_base_tar() -> bytes:
    """The sample's base layer: 8.7 MB, with hives and a utility VM."""
    return layer_tar(sample.write_base)


@functools.cache
def sample_child_tar() -> bytes:
    """The sample's application: a child of `sample_base_tar`, with a hive's delta."""
    return layer_tar(sample.write_child)


_SECURITY = base64.b64encode(bytes.fromhex(
    # O:SYG:SYD:(A;;FA;;;SY)
    "010004801400000020000000000000002c000000010100000000000512000000010100000000000512000000"
    "02001c000100000000001400ff011f00010100000000000512000000"
)).decode()  # fmt: skip


def small_tar(files: Mapping[str, bytes], step: int = 0) -> bytes:
    """A layer of a few files, written by Python's tarfile as Microsoft's backuptar would.

    Args:
        files: the contents by names such as "Files/app/a.txt". Directories above are made; a name that ends in "/" is a
            directory, too.
        step: another number gives other times, so another digest.
    """
    names = {"Files/": b""}
    for name, data in files.items():
        parts = name.rstrip("/").split("/")
        names |= {"/".join(parts[:depth]) + "/": b"" for depth in range(1, len(parts))}
        names[name] = data
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in names.items():
            member = tarfile.TarInfo(name.rstrip("/"))
            member.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            member.size = len(data)
            member.mode = 0
            time = f"{1_700_000_000 + step}.1234567"
            member.pax_headers = {
                "atime": time, "ctime": time, "mtime": time, "LIBARCHIVE.creationtime": time,
                "MSWINDOWS.fileattr": "16" if name.endswith("/") else "32",
                "MSWINDOWS.rawsd": _SECURITY,
            }  # fmt: skip
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


@functools.cache
def small_base_tar() -> bytes:
    """A base layer of a few kilobytes: five empty hives and a file."""
    hives = ("DEFAULT", "SAM", "SECURITY", "SOFTWARE", "SYSTEM")
    files = {f"Files/Windows/System32/config/{name}": b"" for name in hives}
    return small_tar(files | {"Files/Windows/win.ini": b"[fonts]\r\n", "Files/Users/Public/": b""})


@functools.cache
def gzipped(tar: bytes) -> bytes:
    return gzip.compress(tar, 1, mtime=0)


def layer(tar: bytes, kind: Kind = "docker") -> Layer:
    """An ordinary layer, compressed with gzip."""
    return Layer(tar, gzipped(tar), LAYER[kind])


def foreign_layer(tar: bytes, kind: Kind, urls: Iterable[str]) -> Layer:
    """A layer that its maker did not want to be distributed."""
    return Layer(tar, gzipped(tar), FOREIGN_LAYER[kind], tuple(urls))


def zstd_layer(tar: bytes) -> Layer:
    return Layer(tar, zstd.compress(tar), OCI_ZSTD_LAYER)


def plain_layer(tar: bytes) -> Layer:
    """A layer that is not compressed: its digest is its diffID."""
    return Layer(tar, tar, OCI_PLAIN_LAYER)


# Images


def step(command: str, created: str = "2026-08-09T02:33:18.1185716Z", *, empty: bool = False) -> dict[str, Any]:
    """An entry of a history."""
    return {"created": created, "created_by": command} | ({"empty_layer": True} if empty else {})


def image(
    kind: Kind,
    layers: Sequence[Layer],
    history: Sequence[Mapping[str, Any]],
    container: Mapping[str, Any],
    *,
    os_version: str = "10.0.20348.5499",
    architecture: str = "amd64",
    os: str = "windows",
    created: str = "2026-08-09T02:33:18.1185716Z",
    extra: Mapping[str, Any] | None = None,
) -> Image:
    """Makes an image.

    Args:
        kind: of the manifest and the media types.
        layers: base layer first.
        history: the entries of the history, the oldest first.
        container: the "config" of the configuration.
        os_version: the version of Windows; "" leaves the key out.
        architecture: the processor.
        os: the operating system.
        created: when it was made.
        extra: more keys of the configuration, which stand before those that the specification names.
    """
    record: dict[str, Any] = {
        **(extra or {}),
        "architecture": architecture,
        "config": container,
        "created": created,
        "history": list(history),
        "os": os,
        **({"os.version": os_version} if os_version else {}),
        "rootfs": {"type": "layers", "diff_ids": [item.diff_id for item in layers]},
    }
    config = dump(record)
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST[kind],
        "config": {"mediaType": CONFIG[kind], "size": len(config), "digest": sha256(config)},
        "layers": [item.descriptor for item in layers],
    }
    return Image(kind, dump(manifest, indent=3 if kind == "docker" else None), config, tuple(layers))


def index(kind: Kind, images: Sequence[Image], *, indent: int | None = 3) -> Index:
    """Makes a list of images."""
    record = {"schemaVersion": 2, "mediaType": INDEX[kind], "manifests": [item.descriptor for item in images]}
    return Index(kind, dump(record, indent=indent), tuple(images))


_DOCKER_CONTAINER: dict[str, Any] = {
    "Hostname": "", "Domainname": "", "User": "", "AttachStdin": False, "AttachStdout": False, "AttachStderr": False,
    "Tty": False, "OpenStdin": False, "StdinOnce": False, "Env": None, "Cmd": ["c:\\windows\\system32\\cmd.exe"],
    "Image": "", "Volumes": None, "WorkingDir": "", "Entrypoint": None, "OnBuild": None, "Labels": None,
}  # fmt: skip


SERVERCORE_HISTORY = [
    step("Apply image 10.0.20348.4294", "2025-10-09T07:53:31.1234567Z"),
    step("Install update 10.0.20348.5499"),
]


def servercore(kind: Kind = "docker") -> Image:
    """Windows Server Core as Microsoft's registry has it: an image and an update, so two layers."""
    return image(kind, [layer(base_tar(), kind), layer(update_tar(), kind)], SERVERCORE_HISTORY, _DOCKER_CONTAINER)


def nanoserver(kind: Kind = "docker", os_version: str = "10.0.26100.33438") -> Image:
    """Nano Server: one layer, new every month, for an ordinary user."""
    container = {**_DOCKER_CONTAINER, "User": "ContainerUser"}
    return image(
        kind, [layer(sample_base_tar(), kind)], [step(f"Apply image {os_version}")], container, os_version=os_version
    )


def small(kind: Kind = "docker", *, os_version: str = "10.0.20348.5499", architecture: str = "amd64") -> Image:
    """An image of one layer of a few kilobytes, for tests of many images."""
    tar = small_tar({"Files/Windows/System32/config/SYSTEM": b"", "Files/version.txt": os_version.encode()})
    history = [step(f"Apply image {os_version}")]
    container = {"User": "ContainerUser", "Cmd": ["c:\\windows\\system32\\cmd.exe"]}
    return image(kind, [layer(tar, kind)], history, container, os_version=os_version, architecture=architecture)


def small_child(kind: Kind = "docker", parent: Image | None = None) -> Image:
    """A child of `small`, or of another image, with one more layer of a few bytes."""
    below = parent or small(kind)
    top = layer(small_tar({"Files/app/a.txt": b"an application\r\n"}, 1), kind)
    history = [*below.record["history"], step("COPY a.txt C:\\app\\")]
    return image(kind, [*below.layers, top], history, below.record["config"], os_version=below.record["os.version"])


def several(kind: Kind = "docker") -> Index:
    """One name for three versions and two processors: the newest is first, as Microsoft's registry lists them."""
    newest = small(kind, os_version="10.0.26100.33296")
    arm = small(kind, os_version="10.0.26100.33296", architecture="arm64")
    return index(kind, [newest, small(kind), arm])


def with_foreign_layer(kind: Kind = "docker", urls: Sequence[str] = ()) -> Image:
    """An image from before June 2023: its base layer is foreign, and lies at an address of its own.

    Args:
        kind: of the manifest and the media types.
        urls: the addresses; without any, one that leads nowhere.
    """
    base = foreign_layer(small_base_tar(), kind, urls or ["http://127.0.0.1:9/layer.tar.gz"])
    top = layer(small_tar({"Files/app/a.txt": b"an application\r\n"}), kind)
    history = [step("Apply image 1809-RTM-amd64", "2018-10-05T07:53:31Z"), step("cmd /S /C echo x> C:\\app\\a.txt")]
    return image(kind, [base, top], history, _DOCKER_CONTAINER, os_version="10.0.17763.4377")


def classic(kind: Kind = "docker") -> Image:
    """What Docker's classic builder makes of a Dockerfile: a real, tiny layer for each ENV, WORKDIR and CMD."""
    nop = "cmd /S /C #(nop) "
    tiny = [layer(small_tar({"Files/": b"", "Hives/": b""}, number), kind) for number in range(1, 5)]
    app = layer(small_tar({"Files/app/": b"", "Files/app/app.exe": b"MZ an application", "Hives/": b""}, 5), kind)
    history = [
        step("Apply image 10.0.20348.4294", "2025-10-09T07:53:31.1234567Z"),
        step("Install update 10.0.20348.5499"),
        step("powershell -Command #(nop)  SHELL [powershell -Command $ErrorActionPreference = 'Stop';]"),
        step(f"{nop} ENV APP_VERSION=1.2"),
        step(f"{nop} WORKDIR C:\\app"),
        step(f"{nop} COPY file:{'1' * 64} in C:\\app\\ "),
        step(f'{nop} CMD ["app.exe"]'),
    ]
    container = {
        **_DOCKER_CONTAINER,
        "Env": ["APP_VERSION=1.2"],
        "Cmd": ["app.exe"],
        "WorkingDir": "C:\\app",
        "Shell": ["powershell", "-Command", "$ErrorActionPreference = 'Stop';"],
    }
    layers = [layer(base_tar(), kind), layer(update_tar(), kind), *tiny[:3], app, tiny[3]]
    # Docker keeps the container in which it made the last layer.
    extra = {"container": "5" * 64, "container_config": {**container, "Hostname": "5e1f2a3b4c5d"}}
    return image(kind, layers, history, container, extra={**extra, "docker_version": "20.10.24"})


def buildkit(kind: Kind = "oci") -> Image:
    """What BuildKit makes: steps without a layer are marked, and keys that no specification names are there."""
    history = [
        step("Apply image 10.0.20348.5499"),
        {**step("ENV APP_VERSION=1.2", empty=True), "comment": "buildkit.dockerfile.v0"},
        {**step("WORKDIR C:\\app"), "comment": "buildkit.dockerfile.v0"},
        {**step("COPY . C:\\app # buildkit"), "comment": "buildkit.dockerfile.v0"},
        {**step('CMD ["app.exe --all"]', empty=True), "comment": "buildkit.dockerfile.v0"},
    ]
    container = {
        "User": "ContainerUser",
        "Env": ["APP_VERSION=1.2", "Path=C:\\app;C:\\Windows\\system32;C:\\Windows"],
        "Cmd": ["app.exe --all"],
        "ArgsEscaped": True,
        "WorkingDir": "C:\\app",
        "Labels": {"org.opencontainers.image.title": "Größe"},
        "Shell": ["cmd", "/S", "/C"],
        "com.example.unknown": {"b": 1, "a": [None, 1.50, "<&>"]},
    }
    layers = [
        layer(sample_base_tar(), kind),
        layer(small_tar({"Files/app/": b"", "Hives/": b""}, 7), kind),
        layer(sample_child_tar(), kind),
    ]
    return image(kind, layers, history, container, extra={"moby.buildkit.cache.v0": "bm90aGluZw=="})


def zstd_compressed() -> Image:
    """An OCI image whose layers are compressed with Zstandard, and not at all."""
    layers = [zstd_layer(small_base_tar()), plain_layer(small_tar({"Files/a.txt": b"a"}, 2))]
    return image("oci", layers, [step("Apply image 10.0.20348.5499"), step("COPY a.txt C:\\")], _DOCKER_CONTAINER)


def repeated_layer(kind: Kind = "docker") -> Image:
    """An image that has one layer twice, as two equal steps make it."""
    again = layer(small_tar({"Files/app/": b""}, 3), kind)
    history = [step("Apply image 10.0.20348.5499"), step("RUN mkdir C:\\app"), step("RUN mkdir C:\\app")]
    return image(kind, [layer(small_base_tar(), kind), again, again], history, _DOCKER_CONTAINER)


def with_attestation() -> tuple[Index, Image]:
    """An index as BuildKit pushes it: an image, and a manifest of the platform unknown/unknown that attests to it.

    Returns the index and the attestation.
    """
    built = small("oci")
    statement = b'{"_type":"https://in-toto.io/Statement/v0.1"}'
    attached = Layer(statement, statement, "application/vnd.in-toto+json")
    attestation = image("oci", [attached], [], {}, os="unknown", architecture="unknown", os_version="")
    annotations = {
        "vnd.docker.reference.digest": built.digest,
        "vnd.docker.reference.type": "attestation-manifest",
    }
    entries = [built.descriptor, {**attestation.descriptor, "annotations": annotations}]
    record = {"schemaVersion": 2, "mediaType": INDEX["oci"], "manifests": entries}
    return Index("oci", dump(record), (built, attestation)), attestation


def referrer(subject: Image | Index, text: bytes = b"an SBOM") -> Image:
    """An artifact that refers to an image: its subject is the image's manifest."""
    attached = Layer(text, text, "text/spdx")
    empty = b"{}"
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST["oci"],
        "artifactType": "text/spdx",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "size": len(empty), "digest": sha256(empty)},
        "layers": [attached.descriptor],
        "subject": subject.bare_descriptor,
    }
    return Image("oci", dump(manifest), empty, (attached,))


def cosign_tag(subject: Image | Index) -> str:
    """The tag under which cosign keeps the signatures of an image."""
    return f"{subject.digest.replace(':', '-')}.sig"


def with_manifest_changed(original: Image, change: Mapping[str, Any]) -> Image:
    """The image with other keys in its manifest."""
    return replace(original, manifest=dump({**json.loads(original.manifest), **change}))
