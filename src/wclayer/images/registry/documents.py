"""What a registry says about images: manifests and tags (distribution spec, "Pull", "Content Discovery")."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import parse_qsl, urlsplit

from wclayer.errors import (
    FormatError,
    FormatLimitError,
    InvalidDataError,
    LimitExceededError,
    NotRepresentableError,
    RegistryError,
    errors_at,
    limit_hint,
)
from wclayer.images.descriptor import INDEX_TYPES, MANIFEST_TYPES, Descriptor, digest_of
from wclayer.images.json_view import JsonView, parse_json
from wclayer.images.manifest import check_contents, check_manifest_size, parse_manifest
from wclayer.images.registry.client import RegistryClient
from wclayer.images.registry.exchange import Answer, Request
from wclayer.images.registry.failures import AT_FAULT, CHECK_HOST, TemporaryError
from wclayer.images.registry.retries import Retries
from wclayer.model import limits_in_use

_ACCEPT = {"Accept": ", ".join([*sorted(MANIFEST_TYPES | INDEX_TYPES), "*/*;q=0.5"])}
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_MAX_PAGES = 1000
LONGEST_NAME = 256
"""The characters of a name in a list that are kept: neither a repository nor a tag has more."""
# Other parameters may stand before `rel`. Nothing is tried twice: the header is that of a server.
_LINK = re.compile(r'<([^<>]*+)>(?:\s*+;\s*+(?!rel=)[^;,<>]*+)*+\s*+;\s*+rel="?next"?', re.ASCII | re.IGNORECASE)


def get_manifest(client: RegistryClient, wanted: str) -> tuple[Descriptor, bytes]:
    """Returns the manifest or the index of a tag or a digest, with its descriptor.

    Raises:
        PathNotFoundError: the registry has none.
        InvalidDataError: its digest is not the one that was asked for, or not the one that the registry states.
        LimitExceededError: it is larger than the limit `manifest_size`.
        NotSupportedError: it is a manifest of another kind.
    """
    answer, data = _get_manifest(client, wanted, limits_in_use().manifest_size)
    digest = digest_of(data)
    for expected in (wanted if ":" in wanted else "", _stated_digest(answer)):
        if expected and expected != digest:
            raise InvalidDataError(
                client.name,
                f"{answer.origin} sends a manifest with the digest {digest}, where {expected} is expected; {AT_FAULT}",
            )
    media_type = answer.header("Content-Type").partition(";")[0].strip()
    with errors_at(client.name):
        if media_type.startswith("text/html"):
            detail = f"{answer.origin} sends a page for people; it may not be a registry: {CHECK_HOST}"
            raise InvalidDataError(client.name, detail)
        try:
            view = parse_manifest(data, media_type if media_type.startswith("application/vnd.") else "")
        except (FormatLimitError, NotRepresentableError):
            raise
        except FormatError as error:
            detail = f"{answer.origin} sends something that is not a manifest: {error}; check the name"
            raise InvalidDataError(client.name, detail) from None
    return Descriptor(view.media_type, digest, len(data)), data


def get_described(client: RegistryClient, descriptor: Descriptor) -> bytes:
    """Returns the manifest or the index of a descriptor.

    Raises:
        PathNotFoundError: the registry has none.
        InvalidDataError: the bytes have another size or digest.
        LimitExceededError: it is larger than the limit `manifest_size`.
    """
    with errors_at(client.name):
        check_manifest_size(descriptor.size)
        try:
            _, data = _get_manifest(client, descriptor.digest, descriptor.size)
            return check_contents(data, descriptor)
        except LimitExceededError:
            told = (
                f"{descriptor.digest}: more than the {descriptor.size} bytes that were expected; take it from elsewhere"
            )
        except FormatError as error:
            told = str(error)
        raise InvalidDataError(client.name, f"{client.host} sends another manifest: {told}")


def _get_manifest(client: RegistryClient, wanted: str, most: int) -> tuple[Answer, bytes]:
    what = f"the {'manifest' if ':' in wanted else 'tag'} {wanted} of the repository {client.repository}"
    request = client.request("GET", f"manifests/{wanted}", what, headers=_ACCEPT)
    return client.exchange.fetch(client.sender(request), most)


def _stated_digest(answer: Answer) -> str:
    """Returns the digest that an answer states; "" if it states none of SHA-256."""
    stated = answer.header("Docker-Content-Digest")
    return stated if _DIGEST.fullmatch(stated) else ""


def exists(client: RegistryClient, descriptor: Descriptor) -> bool:
    """Returns whether the registry has a blob or a manifest, whole."""
    kind = "manifests" if descriptor.is_manifest or descriptor.is_index else "blobs"
    what = f"the presence of {descriptor.digest}"
    request = client.request("HEAD", f"{kind}/{descriptor.digest}", what, headers=_ACCEPT, accepted=(200, 404, 405))
    answer, _ = client.exchange.fetch(client.sender(request), 0)
    return answer.status == 200 and answer.length in (descriptor.size, None)


def get_tags(client: RegistryClient) -> list[str]:
    """Returns what the registry lists as the tags of the repository. Of each, the first 256 characters are returned.

    Raises:
        PathNotFoundError: the registry has no such repository.
        InvalidDataError: the list is not one of tags.
        LimitExceededError: it has more tags than the limit `archive_members`.
    """
    found: list[str] = []
    most = limits_in_use().archive_members
    for _, view in pages(client, "tags/list", "the list of tags", (200,)):
        with errors_at(client.name):
            found += [tag[:LONGEST_NAME] for tag in view.texts("tags")]
        if len(found) > most:
            raise LimitExceededError(client.name, f"more than {most} tags {limit_hint('archive_members')}")
    return found


def pages(
    client: RegistryClient,
    path: str,
    what: str,
    accepted: Sequence[int],
    *,
    query: Mapping[str, str] | None = None,
    scopes: Sequence[str] = (),
) -> Iterator[tuple[Answer, JsonView]]:
    """Yields the pages of a list. The header `Link` of each one names the next one (RFC 8288).

    Only the query of `Link` is used, so that no registry leads elsewhere.

    Args:
        client: the registry.
        path: the path of the list.
        what: what it is, for messages.
        accepted: the status of an answer that is none of an error. One that is not 200 is the last page.
        query: the query of the first page.
        scopes: what the token must permit besides the actions in the repository.
    """
    query = dict(query or {})
    for _ in range(_MAX_PAGES):
        request = client.request("GET", path, what, query=query, accepted=accepted)
        answer, data = client.exchange.fetch(client.sender(request, scopes), limits_in_use().manifest_size)
        view = JsonView({}, "nothing")
        if answer.status == 200:
            with errors_at(client.name):
                view = parse_json(data, f"the answer of {answer.origin}")
        yield answer, view
        link = _LINK.search(answer.header("Link")[: 8 << 10])
        if answer.status != 200 or link is None:
            return
        try:
            following = dict(parse_qsl(urlsplit(link[1]).query, max_num_fields=20))
        except ValueError:
            following = {}
        if not following or following == query:
            raise RegistryError(client.name, f"{answer.origin} does not name the next page of {what}; {AT_FAULT}")
        query = following
    raise LimitExceededError(client.name, f"{what} has more than {_MAX_PAGES} pages")


def put_manifest(client: RegistryClient, wanted: str, descriptor: Descriptor, data: bytes, *, has_urls: bool) -> Answer:
    """Stores a manifest or an index under its digest or a tag.

    Args:
        client: the registry.
        wanted: the digest or the tag.
        descriptor: the manifest.
        data: its bytes.
        has_urls: whether layers in it have addresses of their own (`urls`), which some registries refuse.

    Raises:
        InvalidDataError: the registry states another digest.
        NotSupportedError, RegistryError, …: it refuses the manifest.
    """
    what = f"the upload of the manifest {wanted}"
    headers = {"Content-Type": descriptor.media_type}
    request = client.request("PUT", f"manifests/{wanted}", what, headers=headers, body=data, accepted=(200, 201, 202))
    try:
        answer = _put(client, request, is_patient=not has_urls)
    except RegistryError as error:
        if has_urls:
            error.detail += (
                "; a layer in it has `urls`, which a registry (distribution) forbids unless its setting"
                " validation.manifests.urls.allow permits them: --foreign convert pushes the image without them"
            )
        raise
    stated = _stated_digest(answer)
    if stated and stated != descriptor.digest:
        raise InvalidDataError(
            client.name,
            f"{answer.origin} has stored the manifest as {stated}, where {descriptor.digest} is expected; {AT_FAULT}",
        )
    return answer


def _put(client: RegistryClient, request: Request, *, is_patient: bool) -> Answer:
    send = client.sender(request)
    if is_patient:
        return client.exchange.fetch(send, limits_in_use().manifest_size)[0]
    # A registry that forbids `urls` answers with status 500, as often as it is asked.
    retries = Retries(client.options)
    while True:
        try:
            with send() as answer:
                client.exchange.discard(answer)
                return answer
        except TemporaryError as failure:
            if failure.is_answer and failure.wait is None:
                raise failure.error from None
            retries.wait(failure)


def delete_manifest(client: RegistryClient, descriptor: Descriptor) -> None:
    """Deletes a manifest with all its tags. Many registries do not permit that.

    Raises:
        PathNotFoundError: the registry does not have it.
        NotSupportedError: the registry does not delete.
    """
    what = f"the deletion of the manifest {descriptor.digest}"
    request = client.request("DELETE", f"manifests/{descriptor.digest}", what, accepted=(200, 202, 204))
    client.exchange.fetch(client.sender(request), limits_in_use().manifest_size)
