"""The distribution spec, version 1.1, over `Contents`: what a fake registry answers if it has no faults."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from tests.images.registry.contents import Contents, digest_of
from tests.images.registry.exchange import Reply, Request, pieces

_RANGE = re.compile(r"bytes=(\d+)-(\d*)\Z")
_CONTENT_RANGE = re.compile(r"(\d+)-(\d+)\Z")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")


class Service:
    """Answers requests.

    Args:
        contents: what there is.
        referrers: whether there is the API of referrers; without it, 404 as Debian's registry has.
        mounts: whether blobs are mounted; without, each such request begins an upload.
        urls: whether manifests may have `urls`; without, 500 as Debian's registry has.
        least_chunk: the `OCI-Chunk-Min-Length` that uploads state; 0 for none.
        page: how many repositories a page of the catalogue has at most; 0 for any number.
    """

    def __init__(
        self, contents: Contents, *, referrers: bool, mounts: bool, urls: bool, least_chunk: int = 0, page: int = 0
    ) -> None:
        self._contents = contents
        self._referrers = referrers
        self._mounts = mounts
        self._urls = urls
        self._least_chunk = least_chunk
        self._page = page

    def answer(self, request: Request, body: Iterator[bytes]) -> Reply:
        """The answer to a request. The body is read as far as it is needed."""
        method = "get" if request.method == "HEAD" else request.method.lower()
        answer = getattr(self, f"_{method}_{request.kind}", None)
        if answer is None:
            return Reply.error(405, "UNSUPPORTED", "there is no such method")
        reply: Reply = answer(request, body)
        return reply

    def _get_ping(self, request: Request, body: Iterator[bytes]) -> Reply:
        return Reply.of(b"{}", "application/json")

    # Manifests and tags.

    def _get_manifest(self, request: Request, body: Iterator[bytes]) -> Reply:
        found = self._contents.find_manifest(request.repository, request.reference)
        if found is None:
            return Reply.error(404, "MANIFEST_UNKNOWN", f"manifest unknown: {request.reference}")
        media_type, data = found
        return Reply.of(data, media_type, Docker_Content_Digest=digest_of(data))

    def _put_manifest(self, request: Request, body: Iterator[bytes]) -> Reply:
        data = b"".join(body)
        digest = digest_of(data)
        by_digest = request.reference.startswith("sha256:")
        if by_digest and digest != request.reference:
            return Reply.error(400, "DIGEST_INVALID", "the manifest has another digest")
        try:
            manifest = json.loads(data)
        except ValueError:
            return Reply.error(400, "MANIFEST_INVALID", "this is no JSON")
        with self._contents.lock:
            refusal = self._missing(request.repository, manifest)
            if refusal is not None:
                return refusal
            media_type = request.headers.get("content-type", "")
            tag = "" if by_digest else request.reference
            self._contents.put_manifest(request.repository, data, media_type, tag)
        reply = Reply(201, [("Location", request.path), ("Docker-Content-Digest", digest)])
        if self._referrers and "subject" in manifest:
            reply.headers.append(("OCI-Subject", manifest["subject"]["digest"]))
        return reply

    def _missing(self, name: str, manifest: dict[str, Any]) -> Reply | None:
        """The refusal of a manifest that refers to what there is not."""
        repository = self._contents.repository(name)
        for item in manifest.get("manifests", []):
            if item["digest"] not in repository.manifests:
                return Reply.error(404, "MANIFEST_UNKNOWN", f"manifest unknown: {item['digest']}")
        for item in [*manifest.get("layers", []), *([manifest["config"]] if "config" in manifest else [])]:
            if item.get("urls") and not self._urls:
                return Reply.error(500, "UNKNOWN", "unknown error")
            if not item.get("urls") and item["digest"] not in repository.blobs:
                return Reply.error(400, "MANIFEST_BLOB_UNKNOWN", f"blob unknown: {item['digest']}")
        return None

    def _delete_manifest(self, request: Request, body: Iterator[bytes]) -> Reply:
        with self._contents.lock:
            repository = self._contents.repository(request.repository)
            if repository.tags.pop(request.reference, None) or repository.manifests.pop(request.reference, None):
                return Reply(202)
        return Reply.error(404, "MANIFEST_UNKNOWN", "manifest unknown")

    def _get_tags(self, request: Request, body: Iterator[bytes]) -> Reply:
        with self._contents.lock:
            tags = sorted(self._contents.repository(request.repository).tags)
        last = request.query.get("last", "")
        rest = [tag for tag in tags if tag > last]
        shown = rest[: int(request.query.get("n", 1000))]
        found = json.dumps({"name": request.repository, "tags": shown}, separators=(",", ":")) + "\n"
        reply = Reply.of(found.encode(), "application/json")
        if len(shown) < len(rest):
            reply.headers.append(("Link", f'<{request.path}?n={len(shown)}&last={shown[-1]}>; rel="next"'))
        return reply

    def _get_catalogue(self, request: Request, body: Iterator[bytes]) -> Reply:
        if self._page and int(request.query.get("n", 0)) > self._page:
            return Reply.error(400, "PAGINATION_NUMBER_INVALID", "invalid number of results requested")
        with self._contents.lock:
            names = sorted(self._contents.repositories)
        rest = [name for name in names if name > request.query.get("last", "")]
        shown = rest[: int(request.query.get("n", self._page or len(rest)))]
        reply = Reply.of(json.dumps({"repositories": shown}).encode(), "application/json")
        if len(shown) < len(rest):
            reply.headers.append(("Link", f'</v2/_catalog?last={quote(shown[-1])}&n={len(shown)}>; rel="next"'))
        return reply

    def _get_referrers(self, request: Request, body: Iterator[bytes]) -> Reply:
        if not self._referrers:
            return Reply.of(b"404 page not found\n", "text/plain", 404)
        with self._contents.lock:
            every = list(self._contents.repository(request.repository).manifests.items())
        found = []
        for digest, (media_type, data) in every:
            manifest = json.loads(data)
            if manifest.get("subject", {}).get("digest") != request.reference:
                continue
            kind = manifest.get("artifactType") or manifest.get("config", {}).get("mediaType", "")
            item = {"mediaType": media_type, "digest": digest, "size": len(data), "artifactType": kind}
            found.append(item | ({"annotations": manifest["annotations"]} if "annotations" in manifest else {}))
        wanted = request.query.get("artifactType")
        shown = [item for item in found if wanted in (None, item["artifactType"])]
        index_type = "application/vnd.oci.image.index.v1+json"
        index = {"schemaVersion": 2, "mediaType": index_type, "manifests": shown}
        reply = Reply.of(json.dumps(index).encode(), index_type)
        return reply if wanted is None else reply.with_header("OCI-Filters-Applied", "artifactType")

    # Blobs.

    def _get_blob(self, request: Request, body: Iterator[bytes]) -> Reply:
        with self._contents.lock:
            data = self._contents.repository(request.repository).blobs.get(request.reference)
        if data is None:
            return Reply.error(404, "BLOB_UNKNOWN", f"blob unknown to registry: {request.reference}")
        headers = [
            ("Content-Type", "application/octet-stream"),
            ("Docker-Content-Digest", request.reference),
            ("Accept-Ranges", "bytes"),
        ]
        wanted = _RANGE.match(request.headers.get("range", ""))
        if wanted is None:
            return Reply(200, headers, pieces(data), len(data))
        start, end = int(wanted[1]), min(int(wanted[2] or len(data)), len(data) - 1)
        if start > end:
            # As Debian's registry: it states the length of the blob, sends this, and closes the connection.
            headers = [("Content-Range", f"bytes */{len(data)}")]
            return Reply(416, headers, (b"invalid range: failed to overlap\n",), len(data))
        headers.append(("Content-Range", f"bytes {start}-{end}/{len(data)}"))
        part = data[start : end + 1]
        return Reply(206, headers, pieces(part), len(part))

    def _delete_blob(self, request: Request, body: Iterator[bytes]) -> Reply:
        with self._contents.lock:
            gone = self._contents.repository(request.repository).blobs.pop(request.reference, None)
        return Reply(202) if gone is not None else Reply.error(404, "BLOB_UNKNOWN", "blob unknown to registry")

    # Uploads.

    def _post_upload(self, request: Request, body: Iterator[bytes]) -> Reply:
        digest = request.query.get("mount", "")
        if digest and self._mounts:
            with self._contents.lock:
                others = self._contents.repositories
                if "from" in request.query:
                    others = {name: others[name] for name in others if name == request.query["from"]}
                data = next((other.blobs[digest] for other in others.values() if digest in other.blobs), None)
                if data is not None:
                    self._contents.put_blob(request.repository, data)
                    return self._created(request, digest)
        upload = secrets.token_hex(8)
        self._contents.uploads[upload] = bytearray()
        if "digest" in request.query:
            request.reference = upload
            return self._put_upload(request, body)
        return self._going_on(request, upload, 202)

    def _patch_upload(self, request: Request, body: Iterator[bytes]) -> Reply:
        refusal = self._out_of_order(request)
        if refusal is not None:
            return refusal
        for piece in body:
            self._contents.append(request.reference, piece)
        return self._going_on(request, request.reference, 202)

    def _put_upload(self, request: Request, body: Iterator[bytes]) -> Reply:
        refusal = self._out_of_order(request)
        if refusal is not None:
            return refusal
        for piece in body:
            self._contents.append(request.reference, piece)
        with self._contents.lock:
            data = bytes(self._contents.uploads.pop(request.reference))
        digest = request.query.get("digest", "")
        if not _DIGEST.match(digest) or digest_of(data) != digest:
            return Reply.error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        self._contents.put_blob(request.repository, data)
        return self._created(request, digest)

    def _get_upload(self, request: Request, body: Iterator[bytes]) -> Reply:
        if request.reference not in self._contents.uploads:
            return Reply.error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        return self._going_on(request, request.reference, 204)

    def _delete_upload(self, request: Request, body: Iterator[bytes]) -> Reply:
        if self._contents.uploads.pop(request.reference, None) is None:
            return Reply.error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        return Reply(204)

    def _out_of_order(self, request: Request) -> Reply | None:
        """The refusal of bytes that do not follow those that are there."""
        have = self._contents.uploads.get(request.reference)
        if have is None:
            return Reply.error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        stated = request.headers.get("content-range")
        if stated is None:
            return None
        found = _CONTENT_RANGE.match(stated)
        if found is not None and int(found[1]) == len(have):
            return None
        return self._going_on(request, request.reference, 416)

    def _going_on(self, request: Request, upload: str, status: int) -> Reply:
        have = len(self._contents.uploads.get(upload, b""))
        # As Debian's registry: the state is in the address, and is another one after each request.
        location = f"/v2/{request.repository}/blobs/uploads/{upload}?_state={secrets.token_urlsafe(6)}"
        headers = [("Location", location), ("Range", f"0-{max(have - 1, 0)}"), ("Docker-Upload-UUID", upload)]
        if self._least_chunk and status == 202:
            headers.append(("OCI-Chunk-Min-Length", str(self._least_chunk)))
        return Reply(status, headers)

    def _created(self, request: Request, digest: str) -> Reply:
        location = f"/v2/{request.repository}/blobs/{digest}"
        return Reply(201, [("Location", location), ("Docker-Content-Digest", digest)], (), 0)
