"""What describes images: manifests, indexes, configurations, and the names that users and archives give."""

from __future__ import annotations

import io
import json
import os
from unittest import mock

from fuzz import place
from fuzz.mutators.json_text import mutate_json
from fuzz.target import Target
from wclayer.errors import FormatError, InvalidParameterError, LayerError, PathNotFoundError, RegistryError
from wclayer.images.choice import choose
from wclayer.images.config import parse_config
from wclayer.images.descriptor import DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Descriptor
from wclayer.images.document_types import media_type_of
from wclayer.images.edit import ConfigChanges, edit_config
from wclayer.images.json_view import JsonView
from wclayer.images.manifest import Index, Manifest, check_contents, parse_manifest
from wclayer.images.platform import Platform, parse_platform
from wclayer.images.reference import parse_reference
from wclayer.images.registry.challenge import parse_challenges
from wclayer.images.registry.credentials import find_credentials
from wclayer.images.registry.options import RegistryOptions
from wclayer.images.registry.origin import origin_of
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


_CHANGES = ConfigChanges(
    env={"Path": "C:\\app", "NEW": "ä"},
    without_env=("GONE",),
    labels={"a": "b"},
    cmd=("x.exe", "/q"),
    user="ContainerUser",
)


def _edit(data: bytes) -> None:
    """A change of a configuration: what it names has the new value, everything else has the value that it had."""
    edited, _ = edit_config(data, _CHANGES)
    before, after = json.loads(data), json.loads(edited)
    config = after.pop("config")
    assert all(entry in config["Env"] for entry in ("Path=C:\\app", "NEW=ä"))
    assert (config.pop("Cmd"), config.pop("User")) == (["x.exe", "/q"], "ContainerUser")
    assert config.pop("Labels")["a"] == "b"
    old = before.pop("config", None) or {}
    # A new command is no raw command line.
    assert config.pop("ArgsEscaped", None) is not True
    del config["Env"]
    assert after == before
    for name, value in config.items():
        assert old[name] == value
    assert edit_config(edited, _CHANGES)[0] == edited


def _challenges(data: bytes) -> None:
    """The headers by which a registry asks for credentials, one a line."""
    for challenge in parse_challenges(data.decode("latin-1").split("\n")):
        assert challenge.scheme == challenge.scheme.lower()
        try:
            origin = origin_of(challenge.parameters.get("realm", ""))
        except RegistryError:
            continue
        assert origin.scheme in ("http", "https")
        assert origin.host


_SECRET = "c2VjcmV0OnNlY3JldA=="


def _credentials(data: bytes) -> None:
    """A file of credentials. No message shows what is secret in it; no program is there that it could name."""
    file = place.own() / "auth.json"
    file.write_bytes(data)
    with mock.patch.dict(os.environ, {"PATH": ""}):
        try:
            found = find_credentials("localhost:5000", "team/app", RegistryOptions(authfile=file))
        except LayerError as error:
            _check_hidden(error)
            raise
    assert _SECRET not in repr(found)


def _check_hidden(error: LayerError) -> None:
    assert _SECRET not in str(error)
    assert "secret" not in error.detail


def _credentials_seeds() -> list[bytes]:
    entry = {"auth": _SECRET}
    return [
        json.dumps(record).encode()
        for record in (
            {"auths": {"localhost:5000": entry, "https://index.docker.io/v1/": entry}},
            {"auths": {"localhost:5000/team": {"username": "a", "password": _SECRET}}, "credsStore": ""},
            {"auths": {"https://localhost:5000/v2/": {"identitytoken": _SECRET}, "x": {}}, "HttpHeaders": {"a": "b"}},
            {"credHelpers": {"localhost:5000": "gone"}, "credsStore": "desktop"},
        )
    ]


_JSON_WORDS = (
    b'"schemaVersion":2', b'"mediaType":', b'"manifests":[', b'"layers":[', b'"digest":"sha256:', b'"size":',
    b'"platform":{', b'"os.version":"10.0.20348.', b'"urls":["', b'"annotations":{', b'"rootfs":', b'"diff_ids":[',
    b'"history":[', b'"empty_layer":true', b'"subject":{', b"\\ud800", b"NaN", b"1e999", b"null",
)  # fmt: skip


def _document_type(data: bytes) -> None:
    """A document in JSON with a type is an object; where the pieces of the text end does not matter."""
    found = media_type_of(io.BytesIO(data))
    assert media_type_of(_InSmallPieces(data)) == found
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return
    assert isinstance(value, dict) or not found


class _InSmallPieces(io.BytesIO):
    """A stream of a head, and of few bytes at a time after it."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(size if self.tell() == 0 else 3)


TARGETS = {
    "image_manifest": Target(
        _manifest, _manifest_seeds, (FormatError,), mutator=_mutate_manifest, words=_JSON_WORDS, max_size=8192,
    ),
    "image_config": Target(
        _config, _config_seeds, (FormatError,), mutator=mutate_json, words=_JSON_WORDS, max_size=8192,
    ),
    "image_document_type": Target(
        _document_type,
        lambda: [b'{"bomFormat":"CycloneDX"}', b'{"a":[{}],"spdxVersion":"SPDX-2.3"}',
                 b'{"document":{"csaf_version":"2.0"}}', b"SPDXVersion: SPDX-2.3\n"],
        (), mutator=mutate_json,
        words=(b'"bomFormat":', b'"CycloneDX"', b'"@context":"https://openvex.dev/ns"', b'\\"', b"{", b"["),
        max_size=8192,
    ),
    "image_edit": Target(
        _edit, _config_seeds, (FormatError, InvalidParameterError), mutator=mutate_json,
        words=(*_JSON_WORDS, b'"Env":["PATH=', b'"Labels":{"a":"', b'"GONE='), max_size=8192,
    ),
    "image_challenge": Target(
        _challenges,
        lambda: [b'Bearer realm="https://auth.example.com/token",service="r",scope="repository:a:pull"',
                 b'Basic realm="x\\"y"\nNegotiate dG9rZW4=, Bearer realm=http://[::1]:5000/t, error="invalid_token"'],
        words=(b"Bearer ", b"Basic ", b"realm=", b'"', b", ", b"\\", b"https://", b"@", b"[::1]"), max_size=2048,
    ),
    "image_credentials": Target(
        _credentials, _credentials_seeds, (LayerError,), mutator=mutate_json,
        words=(b'"auths":{', b'"credHelpers":{', b'"credsStore":"', b'"auth":"', b'"identitytoken":"', b"<token>",
               b"localhost:5000", b"https://", b"/v1/", b"PHRva2VuPjp4"),
        max_size=4096,
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
