"""Archives of images and layouts: their members, their names, and everything that can be read of their images."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import shutil
import tarfile

from fuzz import place
from fuzz.mutators.image_tar import Files, mutate_image_tar, read_tar, write_tar
from fuzz.mutators.json_text import mutate_json
from fuzz.mutators.tar import mutate_tar
from fuzz.target import Target
from wclayer.errors import FormatError, LayerError
from wclayer.images.archive.members import Kind, find_members
from wclayer.images.descriptor import OCI_INDEX, Descriptor
from wclayer.images.docker_archive import DockerArchiveSource
from wclayer.images.json_view import JsonView
from wclayer.images.layout import LayoutSource
from wclayer.images.layout.entries import entry_of, with_entries
from wclayer.images.layout.index import entries_of
from wclayer.images.layout.named import names_of
from wclayer.images.manifest import Manifest, check_contents, parse_manifest
from wclayer.images.transport import ImageSource

_READ = 1 << 20
_NAME = "docker.io/library/app:1"


def _members(data: bytes) -> None:
    """The members of an archive lie in it, one behind the other, and links lead to names that may be in it."""
    found = find_members(lambda size, offset: data[offset : offset + size], len(data))
    end = 0
    for member in sorted(found, key=lambda member: member.offset):
        assert end < member.offset <= member.offset + member.size <= len(data), member
        end = member.offset + member.size
        for name in (member.name, *([member.target] if member.kind is Kind.LINK else [])):
            assert not {"", ".", ".."} & set(name.split("/")), name
        try:
            file = found.linked_file(member.name)
        except FormatError:
            assert member.kind is not Kind.FILE
            continue
        assert file is not None
        assert file.kind is Kind.FILE


def _read_all(source: ImageSource, root: Descriptor) -> None:
    """Reads an image. A manifest has the digest by which it was asked for; a blob has at most the bytes it should."""
    pending, seen = [root], set[str]()
    while pending and len(seen) < 50:
        descriptor = pending.pop()
        if descriptor.digest in seen:
            continue
        seen.add(descriptor.digest)
        try:
            if descriptor.is_index or descriptor.is_manifest:
                data = check_contents(source.manifest(descriptor), descriptor)
                item = parse_manifest(data, descriptor.media_type)
                pending += [item.config, *item.layers] if isinstance(item, Manifest) else item.manifests
                source.referrers(descriptor)
            else:
                with source.open_blob(descriptor) as stream:
                    assert len(stream.read(_READ)) == min(descriptor.size, _READ)
        except (FormatError, LayerError):
            continue


def _docker_archive(data: bytes) -> None:
    """What an archive lists can be resolved, by digest and number."""
    file = place.own() / "image.tar"
    file.write_bytes(data)
    with DockerArchiveSource(file) as source:
        images = source.images()
    for number, image in enumerate(images[:8]):
        for wanted in (image.descriptor.digest, f"@{number}"):
            with DockerArchiveSource(file, wanted) as source:
                assert source.resolve().digest == image.descriptor.digest
                _read_all(source, image.descriptor)


def _layout(data: bytes) -> None:
    """The same of a layout; a tar of one and a directory of one say the same."""
    file, folder = place.own() / "layout.tar", place.own() / "layout"
    file.write_bytes(data)
    with LayoutSource(file) as source:
        images = source.images()
        for image in images[:8]:
            _read_all(source, image.descriptor)
    for name, contents in read_tar(data).items():
        path = folder / name
        if isinstance(contents, bytes) and ".." not in path.parts and folder in path.parents:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(contents)
            except OSError:
                return
    with LayoutSource(folder) as source:
        assert source.images() == images


def _layout_alone(data: bytes) -> None:
    try:
        _layout(data)
    finally:
        shutil.rmtree(place.own() / "layout", ignore_errors=True)


def _entries(data: bytes) -> None:
    """A new image in an index has its name, and all else stays; the same one once more changes nothing."""
    root = Descriptor(OCI_INDEX, "sha256:" + "7" * 64, 7)
    made = with_entries(data, [entry_of(root, "1", _NAME)], "1")
    assert with_entries(made, [entry_of(root, "1", _NAME)], "1") == made
    before, after = json.loads(data), json.loads(made)
    kept, now = before.pop("manifests", None) or [], after.pop("manifests")
    assert after == before
    others = [entry for entry in kept if entry in now]
    assert len(others) >= len(kept) - len([entry for entry in kept if _gives_way(entry, root)])
    found = [entry for entry in entries_of(made) if "1" in names_of(entry)]
    assert [entry.digest for entry in found if entry.digest == root.digest] == [root.digest]


def _gives_way(entry: object, root: Descriptor) -> bool:
    try:
        known = Descriptor.from_json(JsonView(entry, "an entry"))
    except FormatError:
        return True
    return "1" in names_of(known) or known.digest == root.digest


@functools.cache
def _image() -> dict[str, bytes]:
    """The configuration, the layers and the manifest of an image by their names in a layout, the manifest last."""
    layers = [write_tar({"Files/a": letter}) for letter in (b"a", b"b")]
    hexes = [hashlib.sha256(layer).hexdigest() for layer in layers]
    rootfs = {"type": "layers", "diff_ids": [f"sha256:{each}" for each in hexes]}
    config = json.dumps({"os": "windows", "architecture": "amd64", "rootfs": rootfs}).encode()
    kind = "application/vnd.oci.image."
    described = [
        {"mediaType": f"{kind}layer.v1.tar", "digest": f"sha256:{each}", "size": len(layer)}
        for each, layer in zip(hexes, layers, strict=True)
    ]
    manifest = json.dumps(
        {"schemaVersion": 2, "config": _described(f"{kind}config.v1+json", config), "layers": described}
    ).encode()
    blobs = dict(zip(hexes, layers, strict=True))
    return blobs | {hashlib.sha256(data).hexdigest(): data for data in (config, manifest)}


def _described(media_type: str, data: bytes) -> dict[str, str | int]:
    return {"mediaType": media_type, "digest": f"sha256:{hashlib.sha256(data).hexdigest()}", "size": len(data)}


def _layout_files() -> Files:
    image = _image()
    entry = _described("application/vnd.oci.image.manifest.v1+json", list(image.values())[-1])
    named = {"io.containerd.image.name": _NAME, "org.opencontainers.image.ref.name": "1"}
    index = {"schemaVersion": 2, "manifests": [{**entry, "annotations": named}]}
    inner = json.dumps(index).encode()
    outer = {"schemaVersion": 2, "manifests": [_described(OCI_INDEX, inner), entry]}
    files: Files = {f"blobs/sha256/{name}": data for name, data in image.items()}
    files[f"blobs/sha256/{hashlib.sha256(inner).hexdigest()}"] = inner
    return files | {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": json.dumps(outer).encode()}


def _docker_files(*, classic: bool) -> Files:
    *layers, config, _ = _image()
    data = _image()
    if not classic:
        item = {"Config": f"blobs/sha256/{config}", "Layers": [f"blobs/sha256/{layer}" for layer in layers]}
        return _layout_files() | {"manifest.json": json.dumps([{**item, "RepoTags": ["app:1"]}]).encode()}
    absent = {**_described("application/vnd.docker.image.rootfs.foreign.diff.tar", b"x"), "urls": ["https://x/y"]}
    item = {"Config": f"{config}.json", "Layers": ["1/layer.tar", "2/layer.tar"], "RepoTags": ["app:1", "app:2"]}
    sources = {"LayerSources": {f"sha256:{layers[1]}": absent}}
    return {
        f"{config}.json": data[config], "1/layer.tar": data[layers[0]], "2/layer.tar": "../3/layer.tar",
        "3/layer.tar": data[layers[1]], "manifest.json": json.dumps([{**item, **sources}]).encode(),
    }  # fmt: skip


def _member_seeds() -> list[bytes]:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, kind, target in (
            ("./", tarfile.DIRTYPE, ""), ("./" + "n" * 120, tarfile.REGTYPE, ""), ("a/b", tarfile.SYMTYPE, "../c"),
            ("c", tarfile.LNKTYPE, "a/b"),
        ):  # fmt: skip
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            archive.addfile(member)
    return [write_tar(_docker_files(classic=True)), stream.getvalue()]


def _entry_seeds() -> list[bytes]:
    index = _layout_files()["index.json"]
    assert isinstance(index, bytes)
    named = {"digest": "sha256:" + "7" * 64, "size": 1, "annotations": {"org.opencontainers.image.ref.name": "1"}}
    return [index, b"{}", json.dumps({"manifests": [named, named, {**named, "annotations": None}], "x": 1}).encode()]


_WORDS = (b"manifest.json", b"index.json", b"oci-layout", b"blobs/sha256/", b"layer.tar", b"../", b"/", b"sha256:")

TARGETS = {
    "image_members": Target(
        _members, _member_seeds, (FormatError,), mutator=mutate_tar, words=_WORDS, max_size=32 << 10,
    ),
    "image_docker_archive": Target(
        _docker_archive, lambda: [write_tar(_docker_files(classic=classic)) for classic in (True, False)],
        (LayerError,), mutator=mutate_image_tar, words=_WORDS, max_size=64 << 10, weight=2,
    ),
    "image_layout": Target(
        _layout_alone, lambda: [write_tar(_layout_files())], (LayerError,), mutator=mutate_image_tar, words=_WORDS,
        max_size=64 << 10,
    ),
    "image_layout_entries": Target(
        _entries, _entry_seeds, (FormatError,), mutator=mutate_json, words=_WORDS, max_size=8192,
    ),
}  # fmt: skip
