r"""`LayerPath`: a path in a view, with the methods of `pathlib.Path`."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from typing import IO, Any

from wclayer.errors import LayerError
from wclayer.view.layer_view import FileStatus, LayerView
from wclayer.view.spelling import layer_path
from wclayer.win32.names import path_key, split_path


class LayerPath:
    r"""A path in a view. As with `pathlib.Path`, the entry need not exist.

        >>> root = LayerPath(view, "C:\\")
        >>> for path in (root / "Windows").glob("*.ini"):
        ...     print(path, path.stat().size)

    Paths that differ only in case are equal. The methods raise the same errors as those of `LayerView`.
    """

    __slots__ = ("_path", "view")

    def __init__(self, view: LayerView, path: str = "C:\\") -> None:
        self.view = view
        self._path = layer_path(path)

    def _with(self, path: str) -> LayerPath:
        made = LayerPath.__new__(LayerPath)
        made.view, made._path = self.view, path
        return made

    def __str__(self) -> str:
        return self._path

    def __repr__(self) -> str:
        return f"LayerPath({self.view.name!r}, {self._path!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LayerPath):
            return NotImplemented
        return self.view is other.view and path_key(self._path) == path_key(other._path)

    def __hash__(self) -> int:
        return hash(path_key(self._path))

    def __truediv__(self, other: str) -> LayerPath:
        return self.joinpath(other)

    def joinpath(self, *others: str) -> LayerPath:
        """Returns this path with further components."""
        parts = [part for other in others for part in split_path(other)]
        return self._with("/".join([self._path, *parts] if self._path else parts))

    @property
    def parts(self) -> tuple[str, ...]:
        """The components; the first one is a root directory of the layer, such as `Files`."""
        return tuple(split_path(self._path))

    @property
    def name(self) -> str:
        """The last component."""
        return self._path.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """The extension of the last component, with its dot; empty if there is none."""
        stem, dot, extension = self.name.rpartition(".")
        return dot + extension if stem and extension else ""

    @property
    def stem(self) -> str:
        """The last component without its extension."""
        return self.name.removesuffix(self.suffix)

    @property
    def parent(self) -> LayerPath:
        """The directory that contains this entry."""
        return self._with(self._path.rpartition("/")[0])

    def exists(self) -> bool:
        """Returns whether the entry exists. A link is followed."""
        return self.view.exists(self._path)

    def is_dir(self) -> bool:
        """Returns whether the entry is a directory. A link is followed."""
        return self._is(lambda status: status.is_directory)

    def is_file(self) -> bool:
        """Returns whether the entry is a file. A link is followed."""
        return self._is(lambda status: not status.is_directory)

    def is_symlink(self) -> bool:
        """Returns whether the entry is a symbolic link or a mount point."""
        try:
            return self.lstat().is_link
        except LayerError:
            return False

    def _is(self, test: Any) -> bool:
        try:
            return bool(test(self.stat()))
        except LayerError:
            return False

    def stat(self) -> FileStatus:
        """Returns the metadata of the entry. A link is followed."""
        return self.view.stat(self._path)

    def lstat(self) -> FileStatus:
        """Returns the metadata of the entry itself. A link is not followed."""
        return self.view.stat(self._path, follow=False)

    def iterdir(self) -> Iterator[LayerPath]:
        """Yields the paths of the entries of the directory."""
        for name in self.view.listdir(self._path):
            yield self._with(f"{self._path}/{name}" if self._path else name)

    def glob(self, pattern: str) -> Iterator[LayerPath]:
        """Yields the matching paths below this one, without regard to case; `**` means any number of directories."""
        yield from self._glob(split_path(pattern))

    def rglob(self, pattern: str) -> Iterator[LayerPath]:
        """Yields the paths at any depth below this one that match, as `glob` does."""
        yield from self._glob(["**", *split_path(pattern)])

    def _glob(self, parts: list[str]) -> Iterator[LayerPath]:
        if not parts:
            yield self
            return
        first, rest = parts[0], parts[1:]
        if first == "**":
            yield from self._glob(rest)
        for child in self.iterdir():
            # Links are not followed: they may lead back up.
            is_directory = child.lstat().is_directory and not child.is_symlink()
            if first == "**":
                if is_directory:
                    yield from child._glob(parts)
            elif fnmatch.fnmatchcase(path_key(child.name), path_key(first)) and (not rest or is_directory):
                yield from child._glob(rest)

    def open(self, mode: str = "r", **options: Any) -> IO[Any]:
        """Opens the file, as `LayerView.open` does."""
        return self.view.open(self._path, mode, **options)

    def read_bytes(self) -> bytes:
        """Returns the contents of the file."""
        return self.view.read_bytes(self._path)

    def read_text(self, encoding: str = "utf-8") -> str:
        """Returns the contents of the file as text."""
        return self.read_bytes().decode(encoding)

    def write_bytes(self, data: bytes) -> None:
        """Replaces the contents of the file, which is created if it does not exist."""
        self.view.write_bytes(self._path, data)

    def write_text(self, text: str, encoding: str = "utf-8") -> None:
        """Replaces the contents of the file by text. The file is created if it does not exist."""
        self.write_bytes(text.encode(encoding))

    def mkdir(self, *, parents: bool = False, exist_ok: bool = False) -> None:
        """Creates the directory.

        Args:
            parents: the directories above it are created, too, where they do not exist.
            exist_ok: an existing directory is not an error.
        """
        if parents:
            self.parent.mkdir(parents=True, exist_ok=True) if not self.parent.exists() else None
        if not (exist_ok and self.is_dir()):
            self.view.mkdir(self._path)

    def unlink(self, *, missing_ok: bool = False) -> None:
        """Removes the file or link."""
        try:
            self.view.unlink(self._path)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def rmdir(self) -> None:
        """Removes the directory, which must be empty."""
        self.view.rmdir(self._path)

    def rename(self, target: LayerPath | str) -> LayerPath:
        """Renames the entry, replacing an existing target as `LayerView.rename` does.

        Returns:
            The new path.
        """
        path = target._path if isinstance(target, LayerPath) else layer_path(target)
        self.view.rename(self._path, path)
        return self._with(path)

    def symlink_to(self, target: str) -> None:
        """Creates a symbolic link at this path."""
        self.view.symlink(self._path, target)

    def hardlink_to(self, target: LayerPath) -> None:
        """Creates a further name of the file `target` (a hard link) at this path."""
        self.view.link(self._path, target._path)

    def readlink(self) -> str:
        """Returns the target of the link, in its print form."""
        return self.view.read_link(self._path).print_name
