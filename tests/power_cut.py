"""What a power cut would leave: a witness of the order in which the host is asked to write, sync and rename."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from wclayer.host import system


class PowerCutWitness:
    """Follows the host calls of the package below a folder, and knows what of it is safe on the disk: at first, all.

    A file is safe with the contents that it had when it was last synced, a directory with the names that it had then.
    What is wrong is collected in `faults`: a rename to a name of the caller's whose source was not safe, contents of a
    scratch that were removed before the records that forget them were safe.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.faults: list[str] = []
        self.calls: list[str] = []
        self._safe: dict[int, object] = {}
        self._renamed: set[Path] = set()
        self._note_all()
        for name in ("sync_file", "sync_directory", "sync_file_system", "rename_directory", "replace_file",
                     "remove_file_at"):  # fmt: skip
            monkeypatch.setattr(system, name, self._followed(name, getattr(system, name)))

    def _followed(self, name: str, call: Any) -> Any:
        def follow(*arguments: Any) -> Any:
            before = getattr(self, f"_before_{name}", None)
            if before is not None:
                before(*arguments)
            answer = call(*arguments)
            self.calls.append(name)
            after = getattr(self, f"_after_{name}", None)
            if after is not None:
                after(*arguments)
            return answer

        return follow

    def is_safe(self, path: Path) -> bool:
        """Whether a power cut now would leave this file or directory as it is."""
        return self._safe.get(path.lstat().st_ino) == _state(path)

    def lost_below(self, path: Path) -> list[str]:
        """What of a file or directory a power cut now would not leave as it is."""
        places = [path, *sorted(path.rglob("*"))] if path.is_dir() else [path]
        return [str(place.relative_to(self.folder)) for place in places if not self.is_safe(place)]

    def unsafe_names(self) -> list[str]:
        """The names given by renames that a power cut now could take back."""
        there = (path for path in sorted(self._renamed) if path.exists())
        return [str(path.relative_to(self.folder)) for path in there if not self.is_safe(path.parent)]

    def _note(self, path: Path) -> None:
        self._safe[path.lstat().st_ino] = _state(path)

    def _after_sync_file(self, fd: int) -> None:
        self._note(_path_of(fd))

    def _after_sync_directory(self, directory: int) -> None:
        self._note(_path_of(directory))

    def _after_sync_file_system(self, directory: int) -> None:
        self._note_all()

    def _note_all(self) -> None:
        for place in (self.folder, *self.folder.rglob("*")):
            self._note(place)

    def _before_rename_directory(self, source: Path, target: Path) -> None:
        self._renames(Path(source), Path(target))

    def _before_replace_file(self, source: Path, target: Path) -> None:
        self._renames(Path(source), Path(target))

    def _renames(self, source: Path, target: Path) -> None:
        if target.name.startswith(".wclayer-"):
            return
        self._renamed.add(target)
        self.faults += [f"renamed to {target.name}, and not safe: {lost}" for lost in self.lost_below(source)]

    def _before_remove_file_at(self, directory: int, name: bytes | str) -> None:
        place = _path_of(directory)
        log = place.parents[1] / "layer.db-wal"
        if place.parent.name == "Data" and log.exists() and not self.is_safe(log):
            self.faults.append(f"removed {os.fsdecode(name)} before the records were safe")


def _path_of(descriptor: int) -> Path:
    return Path(os.readlink(f"/proc/self/fd/{descriptor}"))


def _state(path: Path) -> object:
    if path.is_symlink():
        return os.readlink(path)
    if path.is_dir():
        # What is staged beside a result is no part of it.
        return sorted((entry.name, entry.inode()) for entry in os.scandir(path) if not entry.name.endswith(".partial"))
    return hashlib.sha256(path.read_bytes()).hexdigest()
