"""What a fake registry holds."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field

from tests.images.registry.exchange import CutConnectionError


def digest_of(data: bytes | bytearray) -> str:
    """The digest of bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass
class Repository:
    """The blobs, manifests and tags of one name."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


class Contents:
    """The repositories and the uploads that have begun."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.repositories: dict[str, Repository] = {}
        self.uploads: dict[str, bytearray] = {}

    def repository(self, name: str) -> Repository:
        """The repository of a name; an empty one is made if there is none."""
        with self.lock:
            return self.repositories.setdefault(name, Repository())

    def put_blob(self, repository: str, data: bytes) -> str:
        """Puts a blob, and gives its digest."""
        digest = digest_of(data)
        with self.lock:
            self.repository(repository).blobs[digest] = data
        return digest

    def put_manifest(self, repository: str, data: bytes, media_type: str, tag: str = "") -> str:
        """Puts a manifest, perhaps under a tag, and gives its digest."""
        digest = digest_of(data)
        with self.lock:
            found = self.repository(repository)
            found.manifests[digest] = (media_type, data)
            if tag:
                found.tags[tag] = digest
        return digest

    def find_manifest(self, repository: str, reference: str) -> tuple[str, bytes] | None:
        """The type and the bytes of the manifest of a tag or digest."""
        with self.lock:
            found = self.repositories.get(repository, Repository())
            return found.manifests.get(found.tags.get(reference, reference))

    def append(self, upload: str, data: bytes) -> None:
        """Adds bytes to an upload.

        Raises:
            CutConnectionError: the upload was cancelled meanwhile.
        """
        with self.lock:
            if upload not in self.uploads:
                raise CutConnectionError
            self.uploads[upload] += data
