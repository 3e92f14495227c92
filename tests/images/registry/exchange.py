"""One request and its answer, as the fake registry sees them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit


class CutConnectionError(Exception):
    """Ends an answer, or the reading of a request, by closing the connection."""


@dataclass
class Request:
    """A request that arrived. Its body is not kept.

    Attributes:
        method: "GET" and so on.
        path: the path without the query, not decoded.
        query: the query's values; of several the last.
        scopes: the values of `scope`, of which there may be several.
        headers: the headers, their names in lower case; of several of one name the last.
        kind: what is asked for: "ping", "manifest", "blob", "upload", "tags", "catalogue", "referrers", "token", or
            "other".
        repository: the name of the repository, or "".
        reference: the tag, the digest, or the number of the upload.
        received: the bytes of its body that were read.
        status: the status of the answer; 0 before there is one.
        sent: the bytes of the answer's body that were written.
        stopped: set when the registry ends: what hangs ends, too.
    """

    method: str
    path: str
    query: dict[str, str]
    scopes: list[str]
    headers: dict[str, str]
    kind: str = "other"
    repository: str = ""
    reference: str = ""
    received: int = 0
    status: int = 0
    sent: int = 0
    stopped: threading.Event = field(default_factory=threading.Event, repr=False, compare=False)

    @classmethod
    def parse(cls, method: str, target: str, headers: Mapping[str, str]) -> Request:
        """The request of a request line and headers."""
        parts = urlsplit(target)
        query = parse_qs(parts.query, keep_blank_values=True)
        kind, repository, reference = _split(parts.path)
        return cls(
            method,
            parts.path,
            {name: values[-1] for name, values in query.items()},
            query.get("scope", []),
            {name.lower(): value for name, value in headers.items()},
            kind,
            repository,
            reference,
        )

    @property
    def authorization(self) -> str:
        """The header `Authorization`, or ""."""
        return self.headers.get("authorization", "")

    def __str__(self) -> str:
        return f"{self.method} {self.path} -> {self.status}, {self.received} bytes in, {self.sent} out"


def _split(path: str) -> tuple[str, str, str]:
    if path == "/token":
        return "token", "", ""
    if path in ("/v2", "/v2/"):
        return "ping", "", ""
    if path == "/v2/_catalog":
        return "catalogue", "", ""
    if not path.startswith("/v2/"):
        return "other", "", ""
    for word, kind in (("/blobs/uploads", "upload"), ("/manifests/", "manifest"), ("/blobs/", "blob"),
                       ("/referrers/", "referrers"), ("/tags/list", "tags")):  # fmt: skip
        repository, found, reference = path[len("/v2/") :].partition(word)
        if found:
            return kind, repository, reference.strip("/")
    return "other", "", ""


@dataclass
class Reply:
    """An answer.

    Attributes:
        status: its status.
        headers: its headers; several may have one name.
        body: its body, in pieces.
        length: the Content-Length that it states; -1 for none: it ends with the connection.
    """

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: Iterable[bytes] = ()
    length: int = 0

    @classmethod
    def of(cls, data: bytes, media_type: str, status: int = 200, **headers: str) -> Reply:
        """An answer with a body."""
        more = [(name.replace("_", "-"), value) for name, value in headers.items()]
        return cls(status, [("Content-Type", media_type), *more], (data,), len(data))

    @classmethod
    def error(cls, status: int, code: str, message: str, **headers: str) -> Reply:
        """An error as the distribution spec has them."""
        body = json.dumps({"errors": [{"code": code, "message": message, "detail": None}]}).encode()
        return cls.of(body, "application/json", status, **headers)

    def header(self, name: str) -> str:
        """The first header of that name, or ""."""
        return next((value for known, value in self.headers if known.lower() == name.lower()), "")

    def with_header(self, name: str, value: str | None) -> Reply:
        """The answer with a header in place of all of that name; None removes them."""
        kept = [item for item in self.headers if item[0].lower() != name.lower()]
        return Reply(self.status, kept if value is None else [*kept, (name, value)], self.body, self.length)

    def with_body(self, body: Iterable[bytes], length: int | None = None) -> Reply:
        """The answer with another body; without a length it states the one that it stated before."""
        return Reply(self.status, self.headers, body, self.length if length is None else length)


def pieces(data: bytes, size: int = 1 << 16) -> Iterator[bytes]:
    """The parts of bytes, in order."""
    for start in range(0, len(data), size):
        yield data[start : start + size]
