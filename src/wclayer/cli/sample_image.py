"""Makes the archive of an image that the demo loads: the sample layers, as `docker save` writes them."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from wclayer.images.descriptor import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, Descriptor
from wclayer.images.docker_archive import DockerArchiveTarget
from wclayer.images.transfer import copy_image

OS_VERSION = "10.0.20348.1"
_CREATED = "2024-02-10T00:56:14Z"


@dataclass(frozen=True, slots=True)
class SampleLayer:
    """A layer of the sample image.

    Attributes:
        tar: the tar, which may be compressed with gzip.
        digest: the digest of the file.
        diff_id: the digest of the tar, uncompressed.
        step: the command that made the layer, for the history.
    """

    tar: Path
    digest: str
    diff_id: str
    step: str

    @property
    def descriptor(self) -> Descriptor:
        """The descriptor of the file."""
        compression = "" if self.digest == self.diff_id else "+gzip"
        return Descriptor(f"{OCI_LAYER}{compression}", self.digest, self.tar.stat().st_size)


def write_sample_image(file: Path, name: str, layers: Sequence[SampleLayer]) -> None:
    """Writes a docker-archive with one image.

    Args:
        file: the archive.
        name: the name of the image in it.
        layers: base layer first.
    """
    with _SampleSource(layers) as source, DockerArchiveTarget(file, name) as target:
        copy_image(source, target)


def sha256_of(file: Path) -> str:
    """Returns the digest of a file."""
    with file.open("rb") as stream:
        return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"


class _SampleSource:
    """The image of layers that are files (see `ImageSource`)."""

    name = "the sample"

    def __init__(self, layers: Sequence[SampleLayer]) -> None:
        self._files = {layer.digest: layer.tar for layer in layers}
        config = _encoded(
            {
                "architecture": "amd64",
                "os": "windows",
                "os.version": OS_VERSION,
                "created": _CREATED,
                "config": {"User": "ContainerUser", "Cmd": [r"C:\app\app.exe"], "WorkingDir": r"C:\app"},
                "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
                "history": [{"created": _CREATED, "created_by": layer.step} for layer in layers],
            }
        )
        self._config = Descriptor.of(config, OCI_CONFIG)
        manifest = _encoded(
            {
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "config": self._config.to_json(),
                "layers": [layer.descriptor.to_json() for layer in layers],
            }
        )
        self._root = Descriptor.of(manifest, OCI_MANIFEST)
        self._documents = {self._config.digest: config, self._root.digest: manifest}

    def resolve(self) -> Descriptor:
        return self._root

    def manifest(self, descriptor: Descriptor) -> bytes:
        return self._documents[descriptor.digest]

    def open_blob(self, descriptor: Descriptor, offset: int = 0) -> BinaryIO:
        if descriptor.digest in self._documents:
            return io.BytesIO(self._documents[descriptor.digest][offset:])
        stream = self._files[descriptor.digest].open("rb")
        stream.seek(offset)
        return stream

    def referrers(self, descriptor: Descriptor) -> list[Descriptor]:
        return []

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _encoded(record: dict[str, Any]) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode()
