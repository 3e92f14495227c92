"""Facts files: a tar, compressed with zstd, of the summary of a layer, its `layer.db`, its contents and its hives.

`facts.json` comes first, then `layer.db`, `contents.db`, and the hives with their logs in the order of their names. The
same files make the same bytes: no member has a time or an owner.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from wclayer._types import StrPath
from wclayer.errors import (
    CorruptLayerError,
    FormatError,
    FormatLimitError,
    InvalidDataError,
    LimitExceededError,
    NotSupportedError,
    during,
    errors_at,
    limit_hint,
)
from wclayer.formats.compression import Compression, HashedInput
from wclayer.formats.hashed_output import HashedOutput
from wclayer.formats.tar import structs
from wclayer.formats.tar.reader import TarMember, TarStream
from wclayer.formats.tar.writer import TarHeader, encode_header
from wclayer.host.root import HostRoot
from wclayer.inventory.facts.contents import CONTENTS_FILE, Contents
from wclayer.inventory.facts.summary import LayerSummary, NewerFactsError, decode_summary, encode_summary
from wclayer.layers.atomic import DATABASE, StagedDirectory, StagedFile
from wclayer.layers.directory import open_layer
from wclayer.layers.directory.database import read_kind
from wclayer.layers.directory.schema import LayerKind
from wclayer.layers.guarded_database import DatabaseError
from wclayer.layers.hives import MAX_LOG, is_hive, is_log
from wclayer.layers.inputs import open_stream
from wclayer.model import limits_in_use
from wclayer.win32.names import decode_name, encode_name, path_key

SUMMARY_FILE = "facts.json"
_FIXED = (SUMMARY_FILE, DATABASE, CONTENTS_FILE)
_MODE = 0o644
_PIECE = 1 << 20
_ADVICE = "delete the file: the next scan makes it anew"


def write_facts(folder: Path, summary: LayerSummary, target: Path) -> None:
    """Packs a folder of facts into a file, which appears as a whole and replaces an existing one.

    Args:
        folder: the folder, with `layer.db`, `contents.db` and the hives.
        summary: what is known of the layer as a whole.
        target: the file.

    Raises:
        LimitExceededError: the facts are larger than the limit `facts_size`.
        LayerError: the host refuses.
    """
    budget = _Budget()
    # Several scans share a machine: each takes the memory of one thread.
    with (
        StagedFile(target) as staged,
        errors_at(target),
        HashedOutput(staged.stream, Compression.ZSTD, threads=1) as out,
    ):
        text = encode_summary(summary)
        out.write(_header(SUMMARY_FILE.encode(), len(text)) + text + bytes(structs.padding(len(text))))
        with HostRoot(folder) as root:
            for path in (DATABASE.encode(), CONTENTS_FILE.encode(), *sorted(_below(root))):
                with os.fdopen(root.open(path), "rb") as file:
                    size = os.fstat(file.fileno()).st_size
                    budget.spend(size)
                    out.write(_header(path, size))
                    while piece := file.read(_PIECE):
                        out.write(piece)
                    out.write(bytes(structs.padding(size)))
        out.write(structs.TRAILER)
        out.finish()


class _Budget:
    """Counts the bytes of a facts file, uncompressed."""

    def __init__(self) -> None:
        self._left = self._most = limits_in_use().facts_size

    def spend(self, size: int) -> None:
        """Counts the bytes of a member.

        Raises:
            FormatLimitError: they are more than is accepted.
        """
        self._left -= size
        if self._left < 0:
            raise FormatLimitError(f"the facts have more than {self._most} bytes {limit_hint('facts_size')}")


def _header(name: bytes, size: int) -> bytes:
    return encode_header(TarHeader(name, mode=_MODE, size=size))


def _below(root: HostRoot) -> Iterator[bytes]:
    """Yields the paths of the files in the directories of a folder of facts, which are its hives and their logs."""
    pending = [b""]
    while pending:
        directory = pending.pop()
        for name in root.names(directory):
            path = b"/".join(filter(None, (directory, name.encode("utf-8", "surrogateescape"))))
            if root.is_directory(path):
                pending.append(path)
            elif directory:
                yield path


@during("read facts", takes_over=True)
def read_summary(file: StrPath) -> LayerSummary:
    """Returns what a facts file says of its layer as a whole. Nothing else of the file is read.

    Raises:
        PathNotFoundError: there is no such file.
        InvalidDataError: it is damaged.
        NotSupportedError: a newer wclayer wrote it.
    """
    with _whole(file), open_stream(file) as stream, _Archive(stream) as archive:
        return archive.summary


@during("unpack facts", takes_over=True)
def unpack_facts(file: StrPath, folder: StrPath) -> LayerSummary:
    """Unpacks a facts file into a folder, which `open_layer` and `Contents` open.

    Args:
        file: the facts file, which may come from elsewhere.
        folder: the folder that is made. Nothing, or an empty folder, may be there.

    Returns:
        What is known of the layer as a whole.

    Raises:
        PathNotFoundError: there is no such file.
        AlreadyExistsError: something is at `folder`.
        InvalidDataError, CorruptLayerError: the file, or a database in it, is damaged. There is no folder then.
        LimitExceededError: it is larger than a limit.
        NotSupportedError: a newer wclayer wrote it.
    """
    with open_stream(file) as stream:
        return unpack_stream(stream, file, folder)


def unpack_stream(stream: BinaryIO, name: StrPath, folder: StrPath, *, digest: str | None = None) -> LayerSummary:
    """Unpacks facts from a stream (see `unpack_facts`).

    Args:
        stream: the facts file.
        name: its name in messages.
        folder: the folder that is made.
        digest: the digest of the layer's blob, if only the facts of that layer are accepted.
    """
    staged = StagedDirectory(Path(os.path.abspath(folder)))
    try:
        with _whole(name), _Archive(stream) as archive:
            if digest not in (None, archive.summary.digest):
                raise FormatError(f"has the facts of another layer, {archive.summary.digest}")
            with HostRoot(staged.path) as root:
                archive.unpack(root)
            _check(staged.path)
            summary = archive.summary
        with errors_at(staged.target):
            staged.commit()
    except BaseException:
        staged.discard()
        raise
    return summary


class _Archive:
    """The members of a facts file: a context manager. The file may be hostile.

    Args:
        stream: the file.

    Raises:
        FormatError: it is damaged.
        NewerFactsError: a newer wclayer wrote it.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._input = HashedInput(stream)
        self._tar: TarStream[TarMember] = TarStream(self._input)
        self._names: set[str] = set()
        self._budget = _Budget()
        try:
            if self._next() != SUMMARY_FILE:
                raise FormatError(f"does not begin with {SUMMARY_FILE}: it is no facts file")
            self.summary = decode_summary(self._tar.read_all())
        except BaseException:
            self.close()
            raise

    def _next(self) -> str | None:
        """Moves to the next member and returns its name, which is one that a facts file may have; None at the end."""
        member = self._tar.next()
        if member is None:
            return None
        try:
            name = decode_name(member.name)
        except UnicodeDecodeError:
            name = repr(member.name)
        key = path_key(name)
        if name not in _FIXED and not is_hive(key) and not is_log(key):
            raise FormatError(f"member {name[:300]!r}, which a facts file does not have")
        if key in self._names or member.type != structs.REGULAR:
            raise FormatError(f"member {name[:300]!r} is there twice, or is not a file")
        if is_log(key) and member.size > MAX_LOG:
            raise FormatError(f"member {name!r} has {member.size} bytes; no log has more than {MAX_LOG}")
        limit = "hive_size" if is_hive(key) else "json_size" if name == SUMMARY_FILE else "facts_size"
        if member.size > (most := getattr(limits_in_use(), limit)):
            raise FormatLimitError(f"member {name!r} has more than {most} bytes {limit_hint(limit)}")
        self._budget.spend(member.size)
        self._names.add(key)
        return name

    def unpack(self, root: HostRoot) -> None:
        """Writes all other members below a folder, and verifies that nothing is missing.

        Raises:
            FormatError: the archive is damaged.
        """
        while (name := self._next()) is not None:
            path = encode_name(name)
            root.make_directories(path.rpartition(b"/")[0])
            root.write_chunks(path, self._tar.data())
        self._tar.trailer(limits_in_use().trailer_size)
        for _ in self._input:
            # The last bytes of the stream are its checksum.
            pass
        if missing := {path_key(name) for name in _FIXED} - self._names:
            raise FormatError(f"member {min(missing).lower()!r} is missing")

    def close(self) -> None:
        """Ends the thread that reads ahead."""
        self._input.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _check(folder: Path) -> None:
    """Checks that both databases of an unpacked facts file open, and that the layer is a finished one.

    Raises:
        CorruptLayerError, NotSupportedError: it is not so.
    """
    with errors_at(folder, damage=CorruptLayerError), HostRoot(folder) as root:
        if read_kind(root) is not LayerKind.FINISHED:
            # Even whoever reads a scratch writes into its folder.
            raise DatabaseError(f"{DATABASE} is the database of a scratch")
    open_layer(folder).close()
    Contents(folder).close()


@contextmanager
def _whole(name: StrPath) -> Iterator[None]:
    """Names the facts file in the errors of its body, and says what to do."""
    try:
        yield
    except NewerFactsError as error:
        raise NotSupportedError(name, f"{error}: use the wclayer that made it, or {_ADVICE}") from None
    except FormatLimitError as error:
        raise LimitExceededError(name, str(error)) from None
    except FormatError as error:
        raise InvalidDataError(name, f"{error}; {_ADVICE}") from None
    except CorruptLayerError as error:
        raise CorruptLayerError(name, f"{error.detail}; {_ADVICE}") from None
