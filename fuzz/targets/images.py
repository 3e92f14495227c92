"""What describes images: manifests, indexes, configurations, and the names that users and archives give."""

from __future__ import annotations

import json

from fuzz.mutators.json_text import mutate_json
from fuzz.target import Target
from wclayer.errors import FormatError, InvalidParameterError, PathNotFoundError
from wclayer.images.choice import choose
from wclayer.images.config import parse_config
from wclayer.images.descriptor import DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Descriptor
from wclayer.images.json_view import JsonView
from wclayer.images.manifest import Index, Manifest, check_contents, parse_manifest
from wclayer.images.platform import Platform, parse_platform
from wclayer.images.reference import parse_reference
from wclayer.images.windows_version import WindowsVersion

_TYPES = ("", OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_INDEX, f"{OCI_MANIFEST}; charset=utf-8")
_DIGEST = "sha256:" + "5" * 64


def _manifest(data: bytes) -> None:
    """The first byte is the type that a registry states. What is read once is read so again, and says what it is."""
    stated, data = _TYPES[data[0] % len(_TYPES)] if data else "", data[1:]
    found = parse_manifest(data, stated)
    again = parse_manifest(data, found.media_type)
    assert type(again) is type(found)
    assert check_contents(found.data, found.descriptor) == data
    if isinstance(found, Manifest):
        descriptors = [found.config, *found.layers, *filter(None, [found.subject])]
    else:
        descriptors = [*found.manifests]
        _choose(found)
    for descriptor in descriptors:
        assert Descriptor.from_json(JsonView(descriptor.to_json(), "the same")) == descriptor
        assert descriptor.size >= 0
        assert str(descriptor) == descriptor.digest
        assert descriptor.is_index + descriptor.is_manifest + descriptor.is_foreign_layer <= 1


def _choose(index: Index) -> None:
    """What is chosen is in the index, whatever the platform."""
    for wanted in (None, *(item.platform for item in index.manifests[:4])):
        try:
            assert choose(index.manifests, wanted) in index.manifests
        except (InvalidParameterError, PathNotFoundError):
            continue


def _manifest_seeds() -> list[bytes]:
    layer = {"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "size": 7, "digest": _DIGEST}
    config = {"mediaType": "application/vnd.docker.container.image.v1+json", "size": 2, "digest": _DIGEST}
    plain = {"schemaVersion": 2, "config": config, "layers": [layer, {**layer, "urls": ["https://example.com/a"]}]}
    subject = {"mediaType": OCI_MANIFEST, "size": 3, "digest": _DIGEST, "annotations": {"a": "b"}}
    windows = {"os": "windows", "architecture": "amd64"}
    entries = [
        {**subject, "platform": {**windows, "os.version": f"10.0.20348.{revision}", "os.features": ["win32k"]}}
        for revision in (999, 1000)
    ]
    attestation = {"annotations": {"vnd.docker.reference.type": "attestation-manifest"}}
    entries += [{**subject, "platform": {"os": "unknown", "architecture": "unknown"}, **attestation}]
    return [
        bytes([number]) + json.dumps(record).encode()
        for number, record in (
            (0, plain),
            (1, {**plain, "mediaType": OCI_MANIFEST, "subject": subject, "artifactType": "text/spdx"}),
            (3, {**plain, "mediaType": DOCKER_MANIFEST}),
            (0, {"schemaVersion": 2, "manifests": entries}),
            (4, {"schemaVersion": 2, "mediaType": DOCKER_INDEX, "manifests": entries}),
            (5, {"schemaVersion": 1, "fsLayers": [], "signatures": []}),
        )
    ]


def _mutate_manifest(data: bytes, chance: object, most: int) -> bytes:
    return data[:1] + mutate_json(data[1:], chance, most - 1)  # type: ignore[arg-type]


def _config(data: bytes) -> None:
    """A configuration: as many chainIDs as layers, and a platform that can be written and read again."""
    found = parse_config(data)
    assert len(found.chain_ids) == len(found.diff_ids)
    assert Platform.from_json(found.platform.to_json(), "the same") == found.platform
    version = found.platform.windows_version
    if version is not None:
        assert WindowsVersion.parse(str(version)) == version
        assert version.shares_kernel_with(version)


def _config_seeds() -> list[bytes]:
    record = {
        "architecture": "amd64", "os": "windows", "os.version": "10.0.20348.5499", "os.features": ["win32k"],
        "created": "2026-08-09T02:33:18.1185716Z",
        "config": {"User": "ContainerUser", "Env": None, "Cmd": ["a"], "ArgsEscaped": True, "Shell": ["cmd", "/S"]},
        "history": [
            {"created": "2026-08-09T02:33:18Z", "created_by": "Apply image 10.0.20348.5499"},
            {"created_by": "ENV A=1", "comment": "buildkit.dockerfile.v0", "empty_layer": True},
        ],
        "rootfs": {"type": "layers", "diff_ids": [_DIGEST, _DIGEST]},
    }  # fmt: skip
    return [json.dumps(record).encode(), b'{"rootfs":{}}']


def _reference(data: bytes) -> None:
    """The name of an image: what is shown of it means the same."""
    found = parse_reference(data.decode("utf-8", "surrogateescape"))
    assert parse_reference(str(found)) == found
    assert found.registry
    assert found.wanted
    parts = found.repository.split("/")
    assert not {"", ".", ".."} & set(parts)


def _platform(data: bytes) -> None:
    """A platform as a user writes it: what is shown of it means the same."""
    found = parse_platform(data.decode("utf-8", "surrogateescape"))
    assert parse_platform(str(found)) == found


_JSON_WORDS = (
    b'"schemaVersion":2', b'"mediaType":', b'"manifests":[', b'"layers":[', b'"digest":"sha256:', b'"size":',
    b'"platform":{', b'"os.version":"10.0.20348.', b'"urls":["', b'"annotations":{', b'"rootfs":', b'"diff_ids":[',
    b'"history":[', b'"empty_layer":true', b'"subject":{', b"\\ud800", b"NaN", b"1e999", b"null",
)  # fmt: skip

TARGETS = {
    "image_manifest": Target(
        _manifest, _manifest_seeds, (FormatError,), mutator=_mutate_manifest, words=_JSON_WORDS, max_size=8192,
    ),
    "image_config": Target(
        _config, _config_seeds, (FormatError,), mutator=mutate_json, words=_JSON_WORDS, max_size=8192,
    ),
    "image_reference": Target(
        _reference,
        lambda: [b"nanoserver:ltsc2022", b"mcr.microsoft.com/windows/servercore@" + _DIGEST.encode(),
                 b"localhost:5000/a_b/c--d:1.0", b"[::1]:5000/x", b"docker.io/library/x", b"HOST/x"],
        (InvalidParameterError,), words=(b"docker.io/", b"library/", b"@sha256:", b"localhost/", b"[::1]", b"__"),
        max_size=512,
    ),
    "image_platform": Target(
        _platform,
        lambda: [b"windows/amd64:10.0.20348", b"windows(10.0.20348.999+win32k)/arm64/v8",
                 b"windows/amd64,osver=10.0.20348", b"amd64", b"linux/arm/v7", b"windows(%20+%2b)"],
        (InvalidParameterError,), words=(b"windows", b",osver=", b"(10.0.", b"+win32k", b"%2F", b"x86_64"),
        max_size=256,
    ),
}  # fmt: skip
