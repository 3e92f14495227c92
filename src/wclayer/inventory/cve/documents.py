"""Reads the documents that a user hands over: files, folders and zip archives of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from wclayer._types import StrPath
from wclayer.errors import (
    FormatLimitError,
    InvalidParameterError,
    LimitExceededError,
    errors_at,
    limit_hint,
)
from wclayer.formats.zip import ZipMember, ZipReader
from wclayer.inventory.cve.advisory import AdvisoryDocument
from wclayer.inventory.cve.parsing import parse_document
from wclayer.layers.inputs import open_any_place, open_stream
from wclayer.model import limits_in_use

_DOCUMENTS = (".json", ".xml")
_ARCHIVES = (".zip",)
_ZIP_MAGIC = b"PK\3\4"


def read_documents(paths: Iterable[StrPath]) -> Iterator[AdvisoryDocument]:
    """Yields the documents in files, zip archives and folders, one at a time.

    Of a folder and all that it has in it, and of an archive, what ends in .json, .xml and .zip is read.

    Raises:
        PathNotFoundError, AccessDeniedError: a file cannot be read.
        InvalidDataError: a file is no document of advisories. The message names the place in it.
        LimitExceededError: it is larger than the limit `advisory_size`, or an archive has more members than
            `archive_members`.
        InvalidParameterError: there is no document in a folder or an archive.
    """
    for path in paths:
        found = False
        for document in _documents_at(path):
            found = True
            yield document
        if not found:
            raise InvalidParameterError(path, "has no document: nothing in it ends in .json or .xml")


def _documents_at(path: StrPath) -> Iterator[AdvisoryDocument]:
    if not os.path.isdir(path):
        yield from _documents_of(path)
        return
    with errors_at(path):
        for folder, folders, files in os.walk(path, onerror=_raise):
            folders.sort()
            for name in sorted(files):
                if name.lower().endswith(_DOCUMENTS + _ARCHIVES):
                    yield from _documents_of(os.path.join(os.fspath(folder), name))


def _raise(error: OSError) -> None:
    raise error


def _documents_of(path: StrPath) -> Iterator[AdvisoryDocument]:
    name = os.fspath(path)
    most = limits_in_use().advisory_size
    with open_stream(path) as stream, errors_at(path):
        data = stream.read(most + 1)
    if data.startswith(_ZIP_MAGIC):
        del data
        yield from _members_of(name)
        return
    if len(data) > most:
        raise LimitExceededError(path, f"more than {most} bytes {limit_hint('advisory_size')}")
    with errors_at(path):
        document = parse_document(data, name)
    yield document


def _members_of(path: str) -> Iterator[AdvisoryDocument]:
    limits = limits_in_use()
    with open_any_place(path) as file, errors_at(path):
        archive = ZipReader(file)
        if archive.count > limits.archive_members:
            raise FormatLimitError(f"more than {limits.archive_members} members {limit_hint('archive_members')}")
        for member in archive.members():
            name = member.name.decode("utf-8", "backslashreplace")
            if name.lower().endswith(_DOCUMENTS):
                yield _document_of(archive, member, f"{path}: {name}", limits.advisory_size)


def _document_of(archive: ZipReader, member: ZipMember, name: str, most: int) -> AdvisoryDocument:
    with errors_at(name):
        if member.size > most:
            raise FormatLimitError(f"more than {most} bytes {limit_hint('advisory_size')}")
        return parse_document(b"".join(archive.data(member)), name)
