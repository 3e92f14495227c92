"""The files of a mount that programs have written and closed, but whose writes are not recorded yet.

A record is a transaction, which takes longer than all other requests around a small file. So the writes to many files
are recorded together, when the kernel has no request, and before anything depends on the record. Until then, the row of
such a file says that it is being written to: the size and the time of the host's file count, for other processes, and
after the server was killed.
"""

from __future__ import annotations

from wclayer.view.open_files import OpenFile
from wclayer.view.volume import Volume

_MOST = 64
"""The maximal number of files, each of which keeps a descriptor open."""


class Unrecorded:
    """The written and closed files of a volume whose writes are not recorded yet. Each of them is kept open."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._files: dict[OpenFile, None] = {}
        self._has_failed = False

    @property
    def is_waiting(self) -> bool:
        """Whether there are writes to record. After a failure, they wait for the next file."""
        return bool(self._files) and not self._has_failed

    def add(self, file: OpenFile) -> None:
        """Adds a file that was written to, and whose name is still there."""
        if file not in self._files:
            if len(self._files) >= _MOST:
                self.record()
            file.users += 1
            self._files[file] = None
        file.keep_time()
        self._has_failed = False

    def holds(self, file: OpenFile) -> bool:
        """Returns whether a file is kept open here."""
        return file in self._files

    def drop(self, file: OpenFile) -> None:
        """Removes a file from here, because its last name was removed."""
        if file in self._files:
            del self._files[file]
            file.close()

    def record(self) -> None:
        """Records all writes, in one transaction, and closes the files.

        Raises:
            LayerError: they cannot be recorded. They stay here.
        """
        if not self._files:
            return
        try:
            with self._volume.changing():
                for file in self._files:
                    file.record()
        except BaseException:
            self._has_failed = True
            raise
        for file in list(self._files):
            self.drop(file)
