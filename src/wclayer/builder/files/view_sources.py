"""COPY --from: files and directories of another stage or image, with everything that Windows stores of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from wclayer.builder.dockerfile.ignore import IgnoreRules
from wclayer.builder.files.copying import Counter, Target, check_target, directories_above, is_directory, path_of_file
from wclayer.builder.files.placing import Ownership, Placer
from wclayer.builder.files.wildcards import Pattern, WildcardError, has_wildcards, matches, parse_wildcards
from wclayer.errors import EntryNotDirectoryError, InvalidParameterError, PathNotFoundError, during
from wclayer.view.layer_view import FileStatus, LayerView
from wclayer.view.spelling import has_drive
from wclayer.view.transfer import copy_contents, copy_metadata
from wclayer.win32.names import last_component, name_key, path_key

_TOP = "C:"


@dataclass(frozen=True, slots=True)
class ViewSource:
    """A source of COPY --from.

    Attributes:
        name: the last component of its path, as it was found.
        path: the path in the layer, without links on the way.
        is_directory: whether it is a directory.
    """

    name: str
    path: str
    is_directory: bool


def patterns_of(source: str) -> list[Pattern | str]:
    r"""Returns the names on the way to a source of COPY --from, those with wildcards as patterns.

    Args:
        source: a path below `C:\`, with or without the drive.

    Raises:
        InvalidParameterError: it is on another drive, or its wildcards are wrong.
    """
    text = source.replace("\\", "/")
    if (has_drive(text) and text[0] not in "cC") or text.startswith("//"):
        raise InvalidParameterError(source, "is on another drive or a server; an image has the drive C: alone")
    parts: list[str] = []
    for part in (text[2:] if has_drive(text) else text).split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    try:
        return [parse_wildcards(name_key(part)) if has_wildcards(part) else part for part in parts]
    except WildcardError as error:
        raise InvalidParameterError(source, str(error)) from None


def missing(source: str) -> str:
    """Returns what is told of a source that is not there."""
    return f"there is no {source!r} in the stage or image"


def find_in_view(view: LayerView, source: str) -> list[ViewSource]:
    r"""Returns what a source of COPY --from names: one file or directory, or several with wildcards, in the order in
    which Windows lists them. Names compare without case, also with wildcards.

    Args:
        view: the other image.
        source: a path below `C:\`, with or without the drive.

    Raises:
        PathNotFoundError: nothing has that name.
        EntryNotDirectoryError: the source ends in a separator and is a file.
        InvalidParameterError: it is on another drive, or its wildcards are wrong.
        UnresolvedLinkError: links lead in a circle, or out of the layers.
    """
    found = [ViewSource(last_component(path), *_real(view, path)) for path in _expand(view, patterns_of(source))]
    if not found:
        raise PathNotFoundError(view.name, missing(source))
    if source.endswith(("/", "\\")):
        for each in found:
            if not each.is_directory:
                raise EntryNotDirectoryError(each.path, "is not a directory, as the separator at its end says")
    return found


def _real(view: LayerView, path: str) -> tuple[str, bool]:
    status = view.stat(path + "/" if path == _TOP else path)
    return status.path, status.is_directory


def _expand(view: LayerView, parts: Sequence[Pattern | str]) -> list[str]:
    found = [_TOP]
    for part in parts:
        several: list[str] = []
        for directory in found:
            if isinstance(part, str):
                if view.exists(f"{directory}/{part}"):
                    several.append(f"{directory}/{part}")
            elif is_directory(view, directory):
                several += [f"{directory}/{name}" for name in view.listdir(directory + "/") if _fits(part, name)]
        # A link that leads to nothing has no contents.
        found = [path for path in several if view.exists(path)]
    return found


def _fits(pattern: Pattern, name: str) -> bool:
    return matches(pattern, name_key(name))


def _walk(view: LayerView, source: ViewSource, exclude: IgnoreRules | None) -> Iterator[tuple[str, FileStatus]]:
    """Yields what a source has, parents before children: the path below the source, and the entry."""
    pending = [("", view.stat(source.path, follow=False))]
    while pending:
        below, status = pending.pop()
        yield below, status
        if not status.is_directory or status.is_link:
            continue
        inside = []
        for child in view.scan(status.path):
            path = f"{below}/{last_component(child.path)}" if below else last_component(child.path)
            if exclude is None or not exclude.is_ignored(path):
                inside.append((path, child))
        pending += reversed(inside)


@during("copy from another image")
def copy_from_view(
    view: LayerView,
    other: LayerView,
    sources: Sequence[ViewSource],
    target: Target,
    ownership: Ownership | None = None,
    *,
    exclude: IgnoreRules | None = None,
    on_entry: Callable[[int], None] | None = None,
) -> int:
    """Copies files and directories of another view, with descriptors, alternate streams, EAs, attributes and times.

    Links and mount points are copied as they are, and several names of one file stay names of one file. A directory
    that exists stays as it is; a file that exists is replaced.

    Args:
        view: the writable view.
        other: where the sources were found.
        sources: what `find_in_view` has found.
        target: where they go.
        ownership: the owner and the access that take the place of those of the sources.
        exclude: what is left out.
        on_entry: called after each entry.

    Returns:
        The number of entries that were made.

    Raises:
        InvalidParameterError: several sources need a target that is a directory.
        EntryIsDirectoryError, EntryNotDirectoryError: a directory is in the place of a file, or the other way round.
        DiskFullError: the scratch has no space left.
    """
    check_target(target, len(sources))
    names: dict[int, str] = {}
    counter = Counter(on_entry)
    with Placer(view, ownership or Ownership()) as placer:
        for source in sources:
            path = target.path
            if source.is_directory:
                directories_above(placer, path)
            else:
                path = path_of_file(placer, target, source.name)
            for below, status in _walk(other, source, exclude):
                _copy(placer, other, status, f"{path}/{below}" if below else path, names)
                counter.one()
    return counter.number


def _copy(placer: Placer, other: LayerView, status: FileStatus, path: str, names: dict[int, str]) -> None:
    view = placer.view
    is_tree = status.is_directory and not status.is_link
    if is_tree:
        info = status.info
        if not placer.directory(path, info.last_write_time, change=info.change_time, is_asked_for=False):
            return
        if status.reparse is not None:
            view.set_reparse(path, status.reparse)
    elif status.file_id in names:
        if path_key(names[status.file_id]) != path_key(path):
            placer.hard_link(path, names[status.file_id])
            # The new name has changed this time of the file.
            view.set_times(path, change=status.info.change_time, follow=False)
        return
    else:
        placer.clear(path)
        copy_contents(other, status, view, path)
        if status.links > 1:
            names[status.file_id] = path
    copy_metadata(other, status, view, path)
    placer.own_copy(path, is_directory=status.is_directory)


def digest_of_sources(
    view: LayerView, sources: Sequence[ViewSource], *, exclude: IgnoreRules | None = None, latest: int | None = None
) -> bytes:
    """Returns the SHA-256 of all that COPY --from takes from its sources.

    Args:
        view: where the sources were found: finished layers, which record the digests of their contents.
        sources: the sources.
        exclude: what is left out.
        latest: the FILETIME that replaces every later time of the last write; None leaves times out, as the cache of
            Docker does.
    """
    digest = hashlib.sha256()
    names: dict[int, str] = {}

    def take(*values: object) -> None:
        for value in values:
            data = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "big"))
            digest.update(data)

    for number, source in enumerate(sources):
        for below, status in _walk(view, source, exclude):
            node = view.volume.find(status.path, follow=False)
            row = node.row
            take(number, source.name, below, status.info.attributes, row.size, row.sha256 or b"", row.reparse or b"")
            take(row.eas or b"", view.security(status.path, follow=False) or b"")
            take(names.setdefault(status.file_id, f"{number}/{path_key(below)}") if status.links > 1 else "")
            if latest is not None:
                take(min(status.info.last_write_time, latest), min(status.info.creation_time, latest))
            with view.volume.reading() as tree:
                for name, size, sha256 in tree.stream_digests(node):
                    take(name, size, sha256)
    return digest.digest()
