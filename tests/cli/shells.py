"""Interactive shells on a terminal of their own: a line is typed, a key completes it, and it is read back."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import subprocess
import termios
import time
from pathlib import Path

_PATIENCE = 60.0
_TAB, _SHOW, _CLEAR = b"\t", b"\x18\x10", b"\x15"
_BASH = """
PS1='> '
bind 'set bell-style none'
bind 'set enable-bracketed-paste off'
bind -x '"\\C-x\\C-p": printf %s "$READLINE_LINE" >line.new; mv line.new line'
"""
_ZSH = """
PS1='> '
unsetopt beep
unset zle_bracketed_paste
autoload -Uz compinit && compinit -D -u
show() { print -rn -- "$BUFFER" >line.new; mv line.new line }
zle -N show
bindkey -e
bindkey '^X^P' show
"""
_FISH = """
function fish_prompt; echo '> '; end
function fish_greeting; end
function show; commandline | string collect -N >line.new; mv line.new line; end
bind \\cx\\cp show
"""
_KINDS = {
    "bash": (["--norc", "--noprofile", "-i"], _BASH, "source ./setup"),
    "zsh": (["-f", "-i"], _ZSH, "source ./setup"),
    "fish": (["--no-config", "-i"], _FISH, "source ./setup"),
}


class Shell:
    """A shell with the completion of the command, a context manager.

    Args:
        program: the path of the shell.
        folder: an empty folder, for what the shell and this class tell each other.
        script: the completion script.
        environment: the variables of the shell.
    """

    def __init__(self, program: str, folder: Path, script: str, environment: dict[str, str]) -> None:
        self.program = program
        self.kind = Path(program).name
        self._folder = folder
        options, setup, self._source = _KINDS[self.kind]
        (folder / "setup").write_text(setup + script + "\necho ready >ready\n")
        self._environment = {**environment, "TERM": "xterm", "HOME": str(folder), "HISTFILE": "", "LC_ALL": "C.UTF-8"}
        self._terminal, child = pty.openpty()
        self._process = subprocess.Popen(
            [program, *options], stdin=child, stdout=child, stderr=child, cwd=folder, env=self._environment,
            start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(child)
        try:
            self._send(f"{self._source}\r".encode())
            self._wait("ready")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Shell:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the shell."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._terminal)

    def completed(self, typed: str) -> str:
        """Returns what becomes of a line when it is typed, and completed with one key."""
        self._send(typed.encode() + _TAB + _SHOW)
        line = self._wait("line")
        self._send(_CLEAR)
        return line

    def words(self, line: str) -> list[str]:
        """Returns the words of a line as the shell understands it, without the first; an open quote is closed."""
        rest = line.partition(" ")[2]
        for end in ("", "'", '"'):
            command = [self.program, "-c", f"printf '%s\\n' {rest}{end}"]
            if self.kind == "zsh":
                command.insert(1, "-f")
            done = subprocess.run(command, capture_output=True, check=False, env=self._environment, cwd=self._folder)
            if done.returncode == 0 and not done.stderr:
                return done.stdout.decode().splitlines()
        raise AssertionError(f"{self.kind} does not understand {line!r}: {done.stderr!r}")

    def _send(self, data: bytes) -> None:
        os.write(self._terminal, data)

    def _wait(self, name: str) -> str:
        """Returns the contents of a file that the shell writes, and removes it."""
        deadline = time.monotonic() + _PATIENCE
        said = b""
        while not (self._folder / name).exists():
            # What it prints is read, or it would wait for that.
            if select.select([self._terminal], [], [], 0.02)[0]:
                said += os.read(self._terminal, 65536)
            assert time.monotonic() < deadline, said[-4000:]
        text = (self._folder / name).read_text(encoding="utf-8").rstrip("\n")
        (self._folder / name).unlink()
        return text
