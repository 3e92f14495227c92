"""Runs the command on a terminal of its own, and returns what it writes there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

_ON_A_TERMINAL = """
import fcntl, os, pty, signal, struct, sys, termios
columns, until, *arguments = sys.argv[1:]
parent, child = pty.openpty()
fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, int(columns), 0, 0))
process = os.fork()
if not process:
    os.close(parent)
    os.dup2(child, 2)
    os.execv(sys.executable, [sys.executable, "-m", "wclayer", *arguments])
os.close(child)
seen = b""
try:
    while piece := os.read(parent, 65536):
        seen += piece
        if until and until.encode() in seen:
            until = ""
            os.kill(process, signal.SIGINT)
except OSError:
    pass
sys.stderr.buffer.write(seen)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
"""
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Told(NamedTuple):
    """What a command has written on its terminal, and its exit status."""

    text: str
    status: int

    @property
    def lines(self) -> list[str]:
        """Everything that was a line of the terminal at some time, without colours."""
        return [line.rstrip() for line in re.split(r"[\r\n]+", _CONTROL.sub("", self.text))]


def on_a_terminal(*arguments: str | Path, columns: int = 120, interrupt_after: str = "") -> Told:
    """Runs the command with a terminal as its error stream.

    Args:
        arguments: the verb and its arguments.
        columns: the width of the terminal.
        interrupt_after: the command gets what Ctrl-C sends as soon as it has written this.
    """
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
    done = subprocess.run(
        [sys.executable, "-c", _ON_A_TERMINAL, str(columns), interrupt_after, *map(str, arguments)],
        capture_output=True, text=True, check=False, env=environment | {"TERM": "xterm"}, timeout=120,
    )  # fmt: skip
    return Told(done.stderr, done.returncode)
