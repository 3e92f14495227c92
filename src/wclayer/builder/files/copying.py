r"""COPY and ADD: where their sources go in the image, and the copies from the context and from other images.

Rules (Docker's reference of COPY and ADD): the contents of a directory are copied, and not the directory itself;
several sources need a target that ends in a separator; a target that does not exist is made, with the directories above
it. `docs/build.md` states what is done on Windows' side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import IO

from wclayer.builder.commands.state import absolute_path
from wclayer.builder.files.context import BuildContext, ContextItem, ContextSource, Kind
from wclayer.builder.files.placing import Ownership, Placer
from wclayer.builder.files.unpacking import Unpacker, open_archive
from wclayer.errors import InvalidDataError, InvalidParameterError, during, errors_at
from wclayer.layers.budget import Budget
from wclayer.layers.tar.members import unusable_in_tar_reason
from wclayer.model import limits_in_use
from wclayer.view.layer_view import LayerView
from wclayer.win32.names import split_path, unusable_reason

_PIECE = 1 << 20
EntryCallback = Callable[[int], None]
"""Is called with the number of entries that are made so far."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where COPY or ADD puts its sources."""

    path: str
    """Absolute, `/`-separated, with the drive: "C:/app"."""
    is_directory: bool
    """Whether it was spelled as a directory, with a separator at its end."""

    @classmethod
    def of(cls, text: str, workdir: str) -> Target:
        r"""Returns the target that an instruction names.

        Args:
            text: the target as it is written, expanded: absolute or relative to the working directory.
            workdir: the absolute working directory (`C:\app`).

        Raises:
            NotSupportedError, InvalidParameterError: see `image_path`.
        """
        path = image_path(text, workdir)
        last = text.replace("\\", "/").rpartition("/")[2]
        return cls(path, last in ("", ".", ".."))

    def below(self, name: str) -> str:
        """Returns the path of an entry in the target."""
        return f"{self.path}/{name}" if name else self.path


def image_path(text: str, workdir: str) -> str:
    r"""Returns an absolute path in the form "C:/app/x" for a path in an instruction.

    Args:
        text: a path of Windows, or one with `/`: `app`, `\app`, `C:\app`, `..\x`.
        workdir: the absolute working directory.

    Raises:
        NotSupportedError: it is on another drive or a server.
        InvalidParameterError: it is empty, or Windows does not accept a name in it.
    """
    path = absolute_path(text, workdir)
    parts = split_path(path[2:])
    for part in parts:
        if reason := unusable_reason(part) or unusable_in_tar_reason(part):
            raise InvalidParameterError(text, f"an image cannot have a name in it: {reason}")
    return "/".join(["C:", *parts])


def check_target(target: Target, sources: int) -> None:
    """Checks that a target takes as many sources as there are.

    Raises:
        InvalidParameterError: there are several, and the target does not end in a separator.
    """
    if sources > 1 and not target.is_directory:
        raise InvalidParameterError(
            target.path.replace("/", "\\"), f"gets {sources} sources, so it is a directory; end it with / or \\"
        )


@dataclass(frozen=True, slots=True)
class TextSource:
    """A file whose contents are in the Dockerfile (a heredoc).

    Attributes:
        name: its name.
        data: its contents.
        time: the time of its last write (FILETIME).
    """

    name: str
    data: bytes
    time: int


@during("copy into the image")
def copy_from_context(
    view: LayerView,
    context: BuildContext,
    sources: Iterable[ContextSource],
    target: Target,
    ownership: Ownership | None = None,
    *,
    texts: Sequence[TextSource] = (),
    unpack: bool = False,
    on_entry: EntryCallback | None = None,
) -> int:
    """Copies files and directories of the context into a view.

    New entries get inherited descriptors, and their files' time of the last write. Existing directories stay as they
    are; an existing file is replaced.

    Args:
        view: the writable view.
        context: where the sources were found.
        sources: what `BuildContext.find` has found.
        target: where they go.
        ownership: the owner and the access of new entries.
        texts: files whose contents are in the Dockerfile.
        unpack: True for ADD: an archive is unpacked into the target.
        on_entry: called after each entry.

    Returns:
        The number of entries that were made.

    Raises:
        InvalidParameterError: several sources need a target that is a directory.
        EntryIsDirectoryError, EntryNotDirectoryError: a directory is in the place of a file, or the other way round.
        InvalidDataError: a file has changed since it was found; an archive is damaged or leads out of the target.
        DiskFullError: the scratch has no space left.
    """
    found = list(sources)
    check_target(target, len(found) + len(texts))
    budget = Budget(str(context.path), limits_in_use())
    with Placer(view, ownership or Ownership()) as placer:
        placed = Counter(on_entry)
        for source in found:
            top = source.items[0]
            if source.is_directory:
                placer.directories(target.path)
                for item in source.items[1:]:
                    _place(placer, context, item, target.below(item.below), budget)
                    placed.one()
                continue
            archive = open_archive(context.open(top), context.place(top.path)) if unpack else None
            if archive is not None:
                placer.directories(target.path)
                Unpacker(placer, target.path).unpack(archive, placed.one)
                continue
            path = path_of_file(placer, target, source.name)
            _place(placer, context, top, path, budget)
            placed.one()
        for text in texts:
            path = path_of_file(placer, target, text.name)
            placer.file(path, text.time, partial(_write, text.data))
            placed.one()
    return placed.number


def check_file_name(name: str) -> None:
    """Checks the name of a file that does not come from a folder.

    Raises:
        InvalidParameterError: an image cannot have it.
    """
    if reason := unusable_reason(name) or unusable_in_tar_reason(name):
        raise InvalidParameterError(name, f"an image cannot have a file of this name: {reason}")


def path_of_file(placer: Placer, target: Target, name: str) -> str:
    """Returns where a file goes, after the directories above it were made.

    Raises:
        InvalidParameterError: the file gets its own name in a directory, and an image cannot have that.
    """
    path = target.path
    if target.is_directory or is_directory(placer.view, path):
        check_file_name(name)
        placer.directories(path)
        return target.below(name)
    directories_above(placer, path)
    return path


def _write(data: bytes, file: IO[bytes]) -> None:
    file.write(data)


class Counter:
    """Counts the entries that a copy has made, and passes the number on."""

    def __init__(self, on_entry: EntryCallback | None) -> None:
        self.number = 0
        self._on_entry = on_entry

    def one(self) -> None:
        """Counts one more."""
        self.number += 1
        if self._on_entry is not None:
            self._on_entry(self.number)


def directories_above(placer: Placer, path: str) -> None:
    """Makes the directories above a path, where they do not exist."""
    parts = path.split("/")
    for count in range(2, len(parts)):
        placer.directory("/".join(parts[:count]), is_asked_for=False)


def is_directory(view: LayerView, path: str) -> bool:
    """Returns whether a path leads to a directory."""
    return view.exists(path + "/") and view.stat(path + "/").is_directory


def _place(placer: Placer, context: BuildContext, item: ContextItem, path: str, budget: Budget) -> None:
    if item.kind is Kind.DIRECTORY:
        placer.directory(path, item.time)
        return
    if item.kind is Kind.LINK:
        assert item.link is not None
        placer.link(path, item.link, item.time, is_directory=item.leads_to_directory)
        return
    place = context.place(item.path)
    size = 0

    def write(target: IO[bytes]) -> None:
        nonlocal size
        with errors_at(place), context.open(item) as file:
            budget.store(item.size)
            while piece := file.read(_PIECE):
                budget.spend(len(piece), item.path[:300])
                size += len(piece)
                target.write(piece)

    digest = placer.file(path, item.time, write)
    if size != item.size or (item.sha256 is not None and item.sha256 != digest):
        raise InvalidDataError(place, "has changed during the build; build again")
