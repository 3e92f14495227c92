r"""`wclayer://`: a view as a file system of `fsspec`.

>>> fs = fsspec.filesystem("wclayer", fo="/layers/run")
>>> fs.ls("/Windows")
>>> with fsspec.open("wclayer://Windows/win.ini::file:///layers/base") as file: ...
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import IO, Any, Self

from fsspec.spec import AbstractFileSystem, make_instance
from fsspec.utils import infer_storage_options

from wclayer._types import StrPath
from wclayer.errors import EntryIsDirectoryError, NotSupportedError, during
from wclayer.layers.directory.chain import as_chain
from wclayer.layers.directory.scratch import is_scratch
from wclayer.view.layer_view import FileStatus, LayerView

_FILETIME_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)


class LayerFileSystem(AbstractFileSystem):  # type: ignore[misc]
    """A layer, a chain or a scratch as a file system of `fsspec`. Paths start at its root (`/Windows/win.ini`).

    Returned names have no leading `/`, as in the archive file systems of `fsspec`. An instance can be pickled: the
    unpickled one opens the same layers. `close`, or the end of its context, closes the layers.

    Args:
        fo: the layer directory, or several, nearest first. If the first one is a scratch, it can be written to.
        view: an open view to use instead of `fo`; `close` does not close it.
        target_protocol: the protocol of `fo` in a chained URL; only `file` and `local` are possible.
        target_options: options for `target_protocol`; none are possible.

    Raises:
        NotSupportedError: `fo` is not on a file system of this machine, or `target_options` were given.
        PathNotFoundError, NotALayerError, CorruptLayerError: a layer or a parent cannot be opened.
    """

    protocol = "wclayer"
    root_marker = ""
    cachable = False

    @during("open file system")
    def __init__(
        self,
        fo: StrPath | Sequence[StrPath] = (),
        *,
        view: LayerView | None = None,
        target_protocol: str | None = None,
        target_options: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if target_protocol not in (None, "file", "local") or target_options:
            raise NotSupportedError(
                str(fo), f"a layer directory must be on this machine, not at {target_protocol}, which takes"
                f" the options {target_options or {}}: copy it here first"
            )  # fmt: skip
        layers = as_chain(fo)
        self._owns_view = view is None
        if view is None:
            view = LayerView(layers[1:], layers[0]) if layers and is_scratch(layers[0]) else LayerView(layers)
        self.view = view

    def close(self) -> None:
        """Closes the view, unless it was passed by the caller."""
        if self._owns_view:
            self.view.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        layers = [str(layer.path) for layer in self.view.volume.tree.layers]
        return make_instance, (type(self), (), {"fo": layers})

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(one) for one in path]
        text: str = os.fspath(path)
        return text.removeprefix("wclayer://").removeprefix("wclayer:").strip("/")

    @staticmethod
    def _get_kwargs_from_urls(path: str) -> dict[str, Any]:
        options = infer_storage_options(path)
        return {"fo": options["fo"]} if "fo" in options else {}

    @staticmethod
    def _inner(path: str) -> str:
        return "Files/" + path if path else "Files"

    def _facts(self, status: FileStatus) -> dict[str, Any]:
        is_directory = status.is_directory
        return {
            "name": status.path.removeprefix("Files").strip("/"),
            "size": 0 if is_directory else status.size,
            "type": "directory" if is_directory else "file",
            "islink": status.is_link,
            "created": _time(status.info.creation_time),
            "mtime": _time(status.info.last_write_time),
            "attributes": status.info.attributes,
            "ino": status.file_id,
            "nlink": status.links,
        }

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        """Returns the metadata of an entry. A link is followed."""
        path = self._strip_protocol(path)
        facts = self._facts(self.view.stat(self._inner(path)))
        facts["name"] = path
        return facts

    def ls(self, path: str, detail: bool = True, **options: Any) -> list[Any]:
        """Returns the entries of a directory, or the file itself if the path is one.

        Args:
            detail: the metadata of the entries are returned, otherwise only their names.
        """
        path = self._strip_protocol(path)
        status = self.view.stat(self._inner(path))
        found = [self.info(path)] if not status.is_directory else []
        if status.is_directory:
            for child in self.view.scan(self._inner(path)):
                name = child.path.rpartition("/")[2]
                below = f"{path}/{name}" if path else name
                # For a link, the metadata of its target are returned.
                facts = self.info(below) if child.is_link and self.exists(below) else self._facts(child)
                found.append({**facts, "name": below})
        return found if detail else [facts["name"] for facts in found]

    def mkdir(self, path: str, create_parents: bool = True, **options: Any) -> None:
        """Creates a directory, and with `create_parents` those above it."""
        path = self._inner(self._strip_protocol(path))
        if create_parents:
            self._make_parent(path)
        self.view.mkdir(path)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Creates a directory and those above it."""
        path = self._inner(self._strip_protocol(path))
        if not exist_ok and self.view.exists(path):
            raise FileExistsError(path)
        self.view.makedirs(path)

    def rmdir(self, path: str) -> None:
        """Removes an empty directory."""
        self.view.rmdir(self._inner(self._strip_protocol(path)))

    def rm_file(self, path: str) -> None:
        """Removes a file."""
        self.view.unlink(self._inner(self._strip_protocol(path)))

    _rm = rm_file

    @during("remove")
    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:
        """Removes files, or with `recursive` directories with all their contents."""
        paths = path if isinstance(path, list) else [path]
        for one in self.expand_path(paths, recursive=False):
            inner = self._inner(self._strip_protocol(one))
            if not self.view.stat(inner, follow=False).is_directory:
                self.view.unlink(inner)
            elif recursive:
                self.view.rmtree(inner)
            else:
                raise EntryIsDirectoryError(one, "is a directory; recursive=True removes it")

    def mv(self, path1: str, path2: str, recursive: bool = False, maxdepth: int | None = None, **options: Any) -> None:
        """Renames an entry with everything below it. If the target is a directory, the entry is moved into it."""
        source, target = (self._inner(self._strip_protocol(path)) for path in (path1, path2))
        if self.view.exists(target) and self.view.stat(target).is_directory:
            target = f"{target}/{source.rpartition('/')[2]}"
        self.view.rename(source, target)

    def cp_file(self, path1: str, path2: str, **options: Any) -> None:
        """Copies a file. For a directory, only the directory is created, without its contents."""
        source, target = (self._inner(self._strip_protocol(path)) for path in (path1, path2))
        if self.view.stat(source).is_directory:
            self.view.makedirs(target)
            return
        self._make_parent(target)
        with self.view.open(source, "rb") as file, self.view.open(target, "wb") as copy:
            while piece := file.read(1 << 20):
                copy.write(piece)

    def _open(
        self, path: str, mode: str = "rb", block_size: int | None = None, autocommit: bool = True,
        cache_options: Any = None, **options: Any,
    ) -> IO[bytes]:  # fmt: skip
        inner = self._inner(path)
        if mode[0] in "wxa":
            self._make_parent(inner)
        return self.view.open(inner, mode)

    def _make_parent(self, inner: str) -> None:
        """Creates the directory of a new file: as in an object store, a file can be written without `mkdir` before."""
        parent = inner.rpartition("/")[0]
        if parent and not self.view.exists(parent):
            self.view.makedirs(parent)

    def created(self, path: str) -> datetime:
        """Returns the creation time of an entry."""
        made: datetime = self.info(path)["created"]
        return made

    def modified(self, path: str) -> datetime:
        """Returns the last write time of an entry."""
        changed: datetime = self.info(path)["mtime"]
        return changed


def _time(filetime: int) -> datetime:
    """Returns a FILETIME as a `datetime`, in microseconds; `datetime.max` for a time after the year 9999."""
    try:
        return _FILETIME_EPOCH + timedelta(microseconds=filetime // 10)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)
