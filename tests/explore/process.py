"""The explorer, or another verb, as a process on a terminal of its own."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import IO

SECONDS = 60.0


class Terminal:
    """The explorer, or another verb, on a terminal of its own.

    Args:
        arguments: of the verb.
        controlling: the terminal is that of the process, which gets SIGHUP when it goes away.
        most_files: how many files the process may have open; 0 for the usual number.
        verb: another verb than `explore`.
        folder: the working directory of the process.
        environment: variables that it gets beside those of this process.
        errors: where its standard error goes; None for the terminal.
    """

    def __init__(
        self, *arguments: Path | str, controlling: bool, most_files: int = 0, verb: str = "explore",
        folder: Path | None = None, environment: Mapping[str, str] = MappingProxyType({}),
        errors: IO[bytes] | None = None,
    ) -> None:  # fmt: skip
        self.parent, child = pty.openpty()
        fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.before = termios.tcgetattr(self.parent)
        # A program that is started so gets the terminal as its own, and SIGHUP when that goes away.
        start = (
            "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
            "import resource as r; most, hard = int(sys.argv[1]), r.getrlimit(r.RLIMIT_NOFILE)[1];"
            "most and r.setrlimit(r.RLIMIT_NOFILE, (most, hard)); os.execv(sys.argv[2], sys.argv[2:])"
        )
        command = [sys.executable, "-m", "wclayer", verb, *map(str, arguments)]
        self.process = subprocess.Popen(
            [sys.executable, "-c", start, str(most_files), *command] if controlling else command,
            stdin=child, stdout=child, stderr=child if errors is None else errors, start_new_session=True, cwd=folder,
            env=os.environ | {"TERM": "xterm-256color"} | dict(environment),
        )  # fmt: skip
        os.close(child)
        self.seen = b""

    def read_until(self, text: bytes) -> None:
        end = time.monotonic() + SECONDS
        while text not in self.seen:
            assert time.monotonic() < end, self.seen[-2000:]
            self.read(1.0)

    def read(self, seconds: float) -> bool:
        if not select.select([self.parent], [], [], seconds)[0]:
            return False
        try:
            piece = os.read(self.parent, 1 << 16)
        except OSError:
            return False
        self.seen += piece
        return bool(piece)
