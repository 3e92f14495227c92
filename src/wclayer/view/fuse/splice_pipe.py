"""A pipe through which bytes of files go to the kernel's end of a mount without being copied into this process."""

from __future__ import annotations

import errno
import os
import stat
import sys
from typing import Self

from wclayer.view.open_files import FileRange

_WANTED = 1 << 20
"""The size of the pipe in bytes, as far as the host allows it (/proc/sys/fs/pipe-max-size)."""
_OTHER_PAGES = 2
"""How many pages of a pipe the data cannot have: that of the header, and one since data may begin inside of a page."""


class SplicePipe:
    """A pipe to splice from files to a device. It is made when it is needed.

    Args:
        device: the descriptor of the device.
    """

    def __init__(self, device: int) -> None:
        self._device = device
        self._ends: tuple[int, int] | None = None
        self._room = 0

    @classmethod
    def for_device(cls, device: int) -> Self | None:
        """Returns a pipe to a FUSE device, or None if that is no device or the host does not splice."""
        is_device = stat.S_ISCHR(os.fstat(device).st_mode)
        return cls(device) if sys.platform == "linux" and is_device else None

    def _open(self) -> tuple[int, int]:
        if sys.platform != "linux":
            raise OSError(errno.ENOSYS, "the host does not splice")
        import fcntl

        self._ends = ends = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            size = fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, _WANTED)
        except OSError:
            # The user has too many large pipes already.
            size = fcntl.fcntl(ends[1], fcntl.F_GETPIPE_SZ)
        self._room = size - _OTHER_PAGES * os.sysconf("SC_PAGE_SIZE")
        return ends

    def send(self, header: bytes, data: FileRange) -> bool:
        """Sends a message of a header and bytes of a file.

        Returns:
            Whether it was sent. False if the host has no pipe or no room in it, the file has fewer bytes, its file
            system does not splice, or the device does not take the message.
        """
        if sys.platform != "linux":
            return False
        try:
            reader, writer = self._ends or self._open()
            if data.size > self._room:
                return False
            os.write(writer, header)
            done = 0
            while done < data.size and (moved := os.splice(data.fd, writer, data.size - done, data.offset + done)):
                done += moved
            # Not SPLICE_F_MOVE: it would take the pages out of the host's cache of the file.
            if done == data.size and os.splice(reader, self._device, len(header) + done) == len(header) + done:
                return True
        except OSError:
            # The caller sends the message in another way, which shows what is wrong.
            pass
        # What is in the pipe would become a part of the next message.
        self.close()
        return False

    def close(self) -> None:
        """Closes the pipe. The next message gets another one."""
        if self._ends is not None:
            for end in self._ends:
                os.close(end)
            self._ends = None
