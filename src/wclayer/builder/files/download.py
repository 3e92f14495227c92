"""ADD of a URL: a file that is fetched only if its digest is stated, and taken only if it has it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import IO, Self
from urllib.parse import unquote, urljoin, urlsplit

import urllib3

from wclayer.builder.files.copying import Target, check_file_name, path_of_file
from wclayer.builder.files.placing import Ownership, Placer
from wclayer.builder.plan import MadeStages, Output, located
from wclayer.builder.workspace import Workspace
from wclayer.errors import (
    FormatError,
    InvalidDataError,
    InvalidParameterError,
    LimitExceededError,
    NotSupportedError,
    RegistryError,
    limit_hint,
)
from wclayer.images.descriptor import check_digest
from wclayer.images.registry.options import RegistryOptions
from wclayer.images.registry.wire import Wire
from wclayer.model import limits_in_use
from wclayer.win32.filetime import UNIX_EPOCH

_PIECE = 1 << 20
_MOST_REDIRECTS = 10


@dataclass(frozen=True, slots=True)
class Download:
    """ADD of a URL. The step is not carried out, and nothing is fetched, if the cache knows the digest.

    The file has the time of 1970-01-01: what a server says of it is not verified by the digest.
    """

    where: str
    url: str
    checksum: str
    name: str
    target: Target
    ownership: Ownership

    @classmethod
    def of(cls, where: str, url: str, checksum: str, target: Target, ownership: Ownership, *, unpack: bool) -> Self:
        """Returns the step.

        Args:
            where: the file and the line.
            url: the URL.
            checksum: the digest ("sha256:…").
            target: where the file goes.
            ownership: the owner and the access of the file.
            unpack: whether it was to be unpacked.

        Raises:
            InvalidParameterError: the digest is none; the URL has no name for the file, and the target is a directory.
            NotSupportedError: the URL is not one of HTTP; or the file was to be unpacked.
        """
        try:
            check_digest(checksum, "--checksum")
        except FormatError as error:
            raise InvalidParameterError(where, str(error)) from None
        parts = urlsplit(url)
        if parts.scheme.lower() not in ("http", "https") or not parts.hostname:
            raise NotSupportedError(where, f"{url!r} is not a URL of http or https")
        if unpack:
            raise NotSupportedError(where, "ADD --unpack of a URL is not supported; fetch the archive into the context")
        name = unquote(parts.path.rpartition("/")[2])
        if target.is_directory:
            try:
                check_file_name(name)
            except InvalidParameterError as error:
                problem = f"{url!r} has no name for a file ({error.detail}); name it in the target"
                raise InvalidParameterError(where, problem) from None
        return cls(where, url, checksum, name, target, ownership)

    def inputs(self, made: MadeStages) -> list[object]:
        """See `Work`."""
        owner = [str(self.ownership.owner), str(self.ownership.group), repr(self.ownership.descriptor)]
        return ["download", self.checksum, self.name, self.target.path, self.target.is_directory, owner]

    def carry_out(self, workspace: Workspace, made: MadeStages, output: Output) -> None:
        """See `Work`.

        Raises:
            RegistryError: the file cannot be fetched.
            InvalidDataError: it has another digest.
        """
        with located(self.where), Placer(workspace.view, self.ownership) as placer:
            path = path_of_file(placer, self.target, self.name)
            placer.file(path, UNIX_EPOCH, partial(self._fetch, output))
            output.entries(1)

    def _fetch(self, output: Output, file: IO[bytes]) -> None:
        digest = hashlib.sha256()
        size = 0
        most = limits_in_use().total_size
        try:
            with _opened(self.url) as answer:
                for piece in answer.stream(_PIECE):
                    size += len(piece)
                    if size > most:
                        raise LimitExceededError(self.url, f"is larger than {most} bytes {limit_hint('total_size')}")
                    digest.update(piece)
                    file.write(piece)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            if isinstance(error, LimitExceededError | RegistryError):
                raise
            raise RegistryError(self.url, f"cannot be fetched: {error}") from error
        found = f"sha256:{digest.hexdigest()}"
        if found != self.checksum:
            raise InvalidDataError(self.url, f"has the digest {found}, and --checksum says {self.checksum}")


@contextmanager
def _opened(url: str) -> Iterator[urllib3.BaseHTTPResponse]:
    """Opens what is at a URL; redirects are followed, but not from https to http."""
    for _ in range(_MOST_REDIRECTS):
        wire = Wire(urlsplit(url).netloc.rpartition("@")[2], RegistryOptions())
        try:
            answer = wire.send("GET", url, {})
            goes_on = answer.headers.get("Location") if answer.status in (301, 302, 303, 307, 308) else None
            if goes_on is None:
                if answer.status != 200:
                    raise RegistryError(url, f"the server answers {answer.status} {os.fspath(answer.reason or '')}")
                yield answer
                return
            new = urljoin(url, goes_on)
            if not new.startswith("https://") and not (url.startswith("http://") and new.startswith("http://")):
                raise RegistryError(url, f"leads to {new}, which is not https")
            url = new
        finally:
            wire.close()
    raise RegistryError(url, f"more than {_MOST_REDIRECTS} redirects")
