"""`RegistryTarget`: an image in a registry, to be written."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from wclayer.errors import InvalidParameterError, boundary
from wclayer.images.descriptor import Descriptor
from wclayer.images.manifest import Index, Manifest, check_contents, parse_manifest, referrer_of
from wclayer.images.reference import Reference
from wclayer.images.registry import documents
from wclayer.images.registry.client import RegistryClient
from wclayer.images.registry.exchange import Answer
from wclayer.images.registry.options import RegistryOptions
from wclayer.images.registry.referrers import ReferrersTags
from wclayer.images.registry.uploads import upload_blob
from wclayer.images.transport import BytesDone, ImageSource, RepositorySource


@boundary
class RegistryTarget:
    """An image in a registry that is being written. Nothing is asked of the registry before a method is called.

    Args:
        reference: the name that the image will have.
        options: how the registry is reached.
    """

    operation = "write to registry"

    def __init__(self, reference: Reference, options: RegistryOptions | None = None) -> None:
        self.reference = reference
        self._client = RegistryClient(str(reference), reference.registry, reference.repository, "pull,push", options)
        self._referrers = ReferrersTags(self._client)
        self._last: tuple[Descriptor, bytes] | None = None

    @property
    def name(self) -> str:
        """The reference in its usual form."""
        return str(self.reference)

    def has(self, descriptor: Descriptor) -> bool:
        """Returns whether the registry has the blob or the manifest in the repository.

        Raises:
            AccessDeniedError: the registry refuses the credentials, or asks for some.
            RegistryError: the registry cannot be reached, or fails.
        """
        return documents.exists(self._client, descriptor)

    def put_blob(self, descriptor: Descriptor, source: ImageSource, done: BytesDone | None = None) -> None:
        """Copies a blob from a source. The registry gives it its name when all bytes are there and have the digest.

        A blob of another repository of the same registry is mounted if the registry does that. Otherwise the bytes are
        sent in one request; after a failure, the upload continues in parts from where the registry has it.

        Raises:
            InvalidDataError: the source's bytes have another digest or size.
            AccessDeniedError, RegistryError: see `has`.
        """
        if documents.exists(self._client, descriptor):
            if done is not None:
                done(descriptor.size)
            return
        known = source.repositories_of(descriptor) if isinstance(source, RepositorySource) else ()
        here = [each.name for each in known if each.host == self._client.host]
        others = [name for name in here if name != self.reference.repository]
        upload_blob(self._client, descriptor, source, done, mount_from=others[0] if others else "")

    def put_manifest(self, descriptor: Descriptor, data: bytes) -> None:
        """Stores a manifest or an index under its digest.

        A manifest that refers to another one (`subject`) is added to the tag of referrers of that one, if the registry
        has no API of referrers.

        Raises:
            InvalidDataError: the bytes have another digest or size, or are not a manifest.
            AccessDeniedError, RegistryError: see `has`.
        """
        check_contents(data, descriptor)
        view = parse_manifest(data, descriptor.media_type)
        answer = self._put(descriptor.digest, descriptor, data, view)
        # OCI-Subject says that the registry has noted to which manifest the new one refers.
        if "subject" in view.view and not answer.header("OCI-Subject"):
            self._referrers.add(Descriptor.from_json(view.view.view("subject")), referrer_of(view))
        self._last = descriptor, data

    def finish(self, root: Descriptor) -> None:
        """Gives the image its tag. A reference without a tag keeps the image by its digest.

        What was added to a tag of referrers is looked for first, and added again if another client took it out.

        Raises:
            InvalidParameterError: the reference has another digest than the image.
            AccessDeniedError, RegistryError: see `has`.
        """
        if self.reference.digest not in ("", root.digest):
            raise InvalidParameterError(
                self.name, f"the image has the digest {root.digest}; name it by a tag, or by this digest"
            )
        self._referrers.confirm()
        if self.reference.tag:
            self.put_tag(self.reference.tag, root)

    def put_tag(self, tag: str, root: Descriptor) -> None:
        """Gives a manifest that was put a further tag of the repository.

        Raises:
            InvalidParameterError: it is not a tag.
            PathNotFoundError: the manifest was not put.
            AccessDeniedError, RegistryError: see `has`.
        """
        self.reference.with_tag(tag)
        last = self._last
        is_last = last is not None and last[0].digest == root.digest
        data = last[1] if last is not None and is_last else documents.get_described(self._client, root)
        self._put(tag, root, data, parse_manifest(data, root.media_type))

    def delete(self, descriptor: Descriptor) -> None:
        """Deletes a manifest, with all its tags. The registry removes blobs that nothing needs when it wants.

        Raises:
            PathNotFoundError: the registry does not have it.
            NotSupportedError: the registry does not delete.
            AccessDeniedError, RegistryError: see `has`.
        """
        documents.delete_manifest(self._client, descriptor)

    def _put(self, wanted: str, descriptor: Descriptor, data: bytes, view: Manifest | Index) -> Answer:
        parts = view.layers if isinstance(view, Manifest) else view.manifests
        has_urls = any(part.urls for part in parts)
        return documents.put_manifest(self._client, wanted, descriptor, data, has_urls=has_urls)

    def close(self) -> None:
        """Closes the connections to the registry."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
