"""The sample images as layouts, as archives of Docker's three generations, and in a registry, written by hand.

Like `tests/images/samples.py` a witness: nothing here uses `wclayer.images`.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urljoin, urlsplit

from fuzz.mutators import image_tar
from tests.images.samples import Image, Index, dump, sha256

Generation = Literal["classic", "engine25", "containerd"]
"""Who wrote a docker-archive: Docker up to 24, from 25, or from 29 with the store of containerd."""


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")


def _blob(digest: str) -> str:
    return f"blobs/sha256/{_hex(digest)}"


def index_json(images: Mapping[str, Image | Index]) -> bytes:
    """The index.json of a layout. An image whose name starts with "-" has no name in it."""
    entries = []
    for name, item in images.items():
        named = {} if name.startswith("-") else {"annotations": {"org.opencontainers.image.ref.name": name}}
        entries.append((item.descriptor if isinstance(item, Image) else item.bare_descriptor) | named)
    return dump({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries})


def layout_files(images: Mapping[str, Image | Index], *, with_foreign: bool = True) -> dict[str, bytes]:
    """The files of an OCI layout by their names.

    Args:
        images: the images by their tags.
        with_foreign: False leaves the blobs of foreign layers out, as most tools do.
    """
    files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": index_json(images)}
    for item in images.values():
        files |= {_blob(digest): data for digest, (_, data) in item.documents.items()}
        files |= {
            _blob(digest): data for digest, data in item.blobs.items() if with_foreign or digest not in item.foreign
        }
    return files


def write_layout(
    folder: Path, images: Mapping[str, Image | Index], *, with_foreign: bool = True, shared: Path | None = None
) -> Path:
    """Writes an OCI layout into a folder, and returns the folder.

    Args:
        folder: is made.
        images: the images by their tags.
        with_foreign: False leaves the blobs of foreign layers out.
        shared: a folder in which several layouts have their blobs.
    """
    for name, data in layout_files(images, with_foreign=with_foreign).items():
        path = shared / name.removeprefix("blobs/") if shared and name.startswith("blobs/") else folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def write_tar(file: Path, files: Mapping[str, bytes | str]) -> Path:
    """Writes a tar of files, and returns its path. A text is the target of a symbolic link."""
    folders = {"/".join(name.split("/")[:depth]): None for name in files for depth in range(1, name.count("/") + 1)}
    file.write_bytes(image_tar.write_tar(files, folders))
    return file


def write_layout_archive(file: Path, images: Mapping[str, Image | Index], *, with_foreign: bool = True) -> Path:
    """Writes an OCI layout as a tar, and returns its path."""
    return write_tar(file, layout_files(images, with_foreign=with_foreign))


def write_docker_archive(file: Path, images: Mapping[str, Image], generation: Generation = "engine25") -> Path:
    """Writes what `docker save` writes, and returns its path.

    Args:
        file: the tar.
        images: the images by their references, such as "app:1".
        generation: of Docker.
    """
    make = {"classic": _classic, "engine25": _engine25, "containerd": _containerd}[generation]
    files: dict[str, bytes | str] = {}
    items: list[dict[str, Any]] = []
    repositories: dict[str, dict[str, str]] = {}
    for reference, image in images.items():
        more, item, top = make(image)
        files |= {name: data for name, data in more.items() if name not in files}
        items.append({"Config": item["Config"], "RepoTags": [reference], **item})
        repository, _, tag = reference.rpartition(":")
        repositories.setdefault(repository, {})[tag] = top
    if generation != "classic":
        files |= {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}'}
        files["index.json"] = _archive_index(images, generation)
    files["manifest.json"] = dump(items) + b"\n"
    files["repositories"] = dump(repositories) + b"\n"
    return write_tar(file, files)


_Made = tuple[dict[str, bytes | str], dict[str, Any], str]
"""The files of an image in an archive, its item of manifest.json, and what `repositories` says of it."""


def _sources(image: Image) -> dict[str, Any]:
    """The LayerSources of an item: where the foreign layers come from."""
    foreign = {layer.diff_id: layer.descriptor for layer in image.layers if layer.is_foreign}
    return {"LayerSources": foreign} if foreign else {}


def _classic(image: Image) -> _Made:
    """Docker up to 24: a folder for each layer; a layer that was written already is a symbolic link to it."""
    files: dict[str, bytes | str] = {}
    names: list[str] = []
    written: dict[str, str] = {}
    parent = ""
    for layer, chain_id in zip(image.layers, image.chain_ids, strict=True):
        folder = _hex(sha256(f"{chain_id} {parent}".encode()))
        name = f"{folder}/layer.tar"
        before = written.setdefault(layer.diff_id, name)
        files[f"{folder}/VERSION"] = b"1.0"
        files[f"{folder}/json"] = dump({"id": folder, **({"parent": parent} if parent else {}), "os": "windows"})
        files[name] = layer.tar if before == name else f"../{before}"
        names.append(name)
        parent = folder
    config = f"{_hex(sha256(image.config))}.json"
    return files | {config: image.config}, {"Config": config, "Layers": names, **_sources(image)}, parent


def _engine25(image: Image) -> _Made:
    """Docker from 25: a layout, too; the layers are not compressed."""
    files: dict[str, bytes | str] = {_blob(layer.diff_id): layer.tar for layer in image.layers}
    manifest = _engine25_manifest(image)
    files |= {_blob(sha256(image.config)): image.config, _blob(sha256(manifest)): manifest}
    item = {
        "Config": _blob(sha256(image.config)),
        "Layers": [_blob(diff_id) for diff_id in image.diff_ids],
        "LayerSources": {layer.diff_id: _source25(layer) for layer in image.layers},
    }
    return files, item, _hex(image.diff_ids[-1])


def _source25(layer: Any) -> dict[str, Any]:
    # The blob of a foreign layer's descriptor is not in the archive: its tar is there under its diffID.
    plain = {
        "mediaType": "application/vnd.oci.image.layer.v1.tar",
        "size": len(layer.tar),
        "digest": layer.diff_id,
    }
    return layer.descriptor if layer.is_foreign else plain


def _engine25_manifest(image: Image) -> bytes:
    config = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": sha256(image.config)}
    return dump(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {**config, "size": len(image.config)},
            "layers": [_source25(layer) for layer in image.layers],
        }
    )


def _containerd(image: Image) -> _Made:
    """The store of containerd: a layout of the blobs as they were pulled, without foreign layers."""
    files: dict[str, bytes | str] = {
        _blob(digest): data for digest, data in image.blobs.items() if digest not in image.foreign
    }
    files[_blob(image.digest)] = image.manifest
    layers = [_blob(layer.digest) for layer in image.layers]
    return files, {"Config": _blob(sha256(image.config)), "Layers": layers}, _hex(image.layers[-1].digest)


def _archive_index(images: Mapping[str, Image], generation: Generation) -> bytes:
    entries = []
    for reference, image in images.items():
        manifest = image.manifest if generation == "containerd" else _engine25_manifest(image)
        kind = image.media_type if generation == "containerd" else "application/vnd.oci.image.manifest.v1+json"
        full = reference if "/" in reference else f"docker.io/library/{reference}"
        entries.append(
            {
                "mediaType": kind,
                "digest": sha256(manifest),
                "size": len(manifest),
                "annotations": {
                    "io.containerd.image.name": full,
                    "org.opencontainers.image.ref.name": reference.rpartition(":")[2],
                },
            }
        )
    return dump({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries})


def put_into_registry(url: str, repository: str, tag: str, item: Image | Index, *, with_foreign: bool = False) -> str:
    """Puts an image into a registry with plain requests, and returns the digest of its manifest.

    Args:
        url: of the registry, such as "http://127.0.0.1:5000".
        repository: the image's repository.
        tag: its tag; "" stores it by its digest only.
        item: the image or the index.
        with_foreign: True puts the blobs of foreign layers, too.
    """
    for digest, data in item.blobs.items():
        if with_foreign or digest not in item.foreign:
            status, headers, _ = request(url, "POST", f"/v2/{repository}/blobs/uploads/")
            assert status == 202, status
            place = urljoin(url, headers["location"])
            status, _, body = request(place, "PUT", f"{_path(place)}{_joint(place)}digest={digest}", data)
            assert status == 201, body
    for digest, (media_type, data) in item.documents.items():
        name = tag if tag and digest == item.digest else digest
        path = f"/v2/{repository}/manifests/{name}"
        status, _, body = request(url, "PUT", path, data, {"Content-Type": media_type})
        assert status == 201, body
    return item.digest


def get_manifest(url: str, repository: str, reference: str, media_type: str) -> bytes:
    """The bytes of a manifest in a registry."""
    status, _, body = request(url, "GET", f"/v2/{repository}/manifests/{reference}", headers={"Accept": media_type})
    assert status == 200, body
    return body


def get_blob(url: str, repository: str, digest: str) -> bytes | None:
    """The bytes of a blob in a registry; None if it is not there."""
    status, _, body = request(url, "GET", f"/v2/{repository}/blobs/{digest}")
    assert status in (200, 404), status
    return body if status == 200 else None


def request(
    url: str, method: str, path: str, data: bytes | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    """Sends one request to the host of a URL, and returns its status, headers (in lower case) and body."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    try:
        connection.request(method, path, data, dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def _path(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def _joint(url: str) -> str:
    return "&" if urlsplit(url).query else "?"


def read_layout(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The tag ("" for none) and the descriptor of each image of a layout."""
    for entry in json.loads((folder / "index.json").read_bytes())["manifests"]:
        yield entry.get("annotations", {}).get("org.opencontainers.image.ref.name", ""), entry
