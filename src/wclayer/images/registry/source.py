"""`RegistrySource`: an image in a registry, to be read."""

from __future__ import annotations

from types import TracebackType
from typing import BinaryIO, Self

from wclayer.errors import boundary
from wclayer.images.descriptor import Descriptor
from wclayer.images.reference import Reference
from wclayer.images.registry.blobs import open_blob, places_left
from wclayer.images.registry.client import RegistryClient
from wclayer.images.registry.documents import get_described, get_manifest, get_tags
from wclayer.images.registry.options import RegistryOptions
from wclayer.images.registry.referrers import get_digest_tags, get_referrers
from wclayer.images.transport import Repository


@boundary
class RegistrySource:
    """An image in a registry. Nothing is asked of the registry before a method is called.

    Args:
        reference: the image.
        options: how the registry is reached.
        client: other requests to the same registry, whose connections are used; whoever opened them closes them.
    """

    operation = "read from registry"

    def __init__(
        self, reference: Reference, options: RegistryOptions | None = None, *, client: RegistryClient | None = None
    ) -> None:
        self.reference = reference
        name = str(reference)
        self._owns_client = client is None
        if client is None:
            self._client = RegistryClient(name, reference.registry, reference.repository, "pull", options)
        else:
            self._client = client.sibling(name, reference.repository, options or client.options)
        self._resolved: tuple[Descriptor, bytes] | None = None

    @property
    def name(self) -> str:
        """The reference in its usual form."""
        return str(self.reference)

    @property
    def host(self) -> str:
        """The host of the registry's API, with its port if one is stated."""
        return self._client.host

    def resolve(self) -> Descriptor:
        """Returns the descriptor of the manifest or the index that the reference means.

        Raises:
            PathNotFoundError: the registry has no such repository, tag or digest.
            AccessDeniedError: the registry refuses the credentials, or asks for some.
            InvalidDataError: the manifest has another digest than the reference or the registry states.
            RegistryError: the registry cannot be reached, or fails.
        """
        self._resolved = get_manifest(self._client, self.reference.wanted)
        return self._resolved[0]

    def manifest(self, descriptor: Descriptor) -> bytes:
        """Returns the bytes of a manifest or an index. Their size and digest are those of the descriptor.

        Raises:
            PathNotFoundError: the registry does not have it.
            InvalidDataError: the bytes have another digest or size.
            LimitExceededError: it is larger than the limit `manifest_size`.
            AccessDeniedError, RegistryError: see `resolve`.
        """
        known = self._resolved
        if known is not None and (known[0].digest, known[0].size) == (descriptor.digest, descriptor.size):
            return known[1]
        return get_described(self._client, descriptor)

    def open_blob(self, descriptor: Descriptor, offset: int = 0) -> BinaryIO:
        """Opens a blob for reading from a byte offset to its end. The caller closes the stream.

        The stream continues by itself after a cut connection. The bytes are not verified. If the registry does not have
        the blob, the addresses of the descriptor (`urls`) are asked, those of other servers without credentials. A
        place that gave bytes with another digest is not asked again while others are left.

        Raises:
            PathNotFoundError: the registry does not have the blob.
            InvalidDataError: its blob has another size.
            AccessDeniedError, RegistryError: see `resolve`.
        """
        return open_blob(self._client, descriptor, offset)

    def places_left(self, descriptor: Descriptor) -> int:
        """Returns how many places of a blob (the registry, `urls`) have not given bytes with another digest yet."""
        return places_left(self._client, descriptor)

    def repositories_of(self, descriptor: Descriptor) -> list[Repository]:
        """Returns its own repository, from which another one of the registry can mount a blob."""
        return [Repository(self.host, self.reference.repository)]

    def referrers(self, descriptor: Descriptor) -> list[Descriptor]:
        """Returns the manifests that refer to a manifest (signatures, SBOMs); an empty list if there are none."""
        return get_referrers(self._client, descriptor)

    def digest_tags(self, descriptor: Descriptor) -> dict[str, Descriptor]:
        """Returns the tags that cosign makes for a manifest, with the manifests that they mean.

        Their names are `sha256-HEX.sig`, `.att` and `.sbom`.
        """
        return get_digest_tags(self._client, descriptor)

    def tags(self) -> list[str]:
        """Returns the tags of the repository.

        Raises:
            PathNotFoundError: the registry has no such repository.
            LimitExceededError: there are more tags than the limit `archive_members`.
        """
        return get_tags(self._client)

    def close(self) -> None:
        """Closes the connections to the registry, unless they are those of others."""
        if self._owns_client:
            self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
