"""The driver of a terminal of POSIX: as Textual's own, but Esc alone is told as soon as nothing may follow it, and the
terminal is what it was after each stop and each end."""

from __future__ import annotations

import os
import select
import sys
from codecs import getincrementaldecoder
from typing import Any

from textual import constants
from textual._xterm_parser import XTermParser
from textual.app import App
from textual.drivers.linux_driver import LinuxDriver

_LOOK = 0.1
"""Seconds between two looks whether the program ends, while nothing is pressed."""
_MOST = 4096
"""Bytes that are read at a time."""


class TerminalDriver(LinuxDriver):
    """Reads the keys of a terminal, and draws on it.

    Esc is also the first byte of what other keys send. The driver of Textual looks only ten times a second whether the
    time in which the rest may come is over. This one looks at the end of that time, and as seldom otherwise.

    It draws on the standard output, which is a terminal; that of Textual draws on the standard error, which may be a
    file.

    A process that is stopped without being told (SIGSTOP) and goes on again finds the terminal as the shell has left
    it. The driver of Textual begins a second time then: two threads would read the keys.
    """

    def __init__(self, app: App[Any], *, debug: bool = False, mouse: bool = True, size: Any = None) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        out = sys.__stdout__
        if out is not None:
            # As the standard error does: what the terminal has no character for ends nothing.
            self._file = os.fdopen(out.fileno(), "w", encoding=out.encoding, errors="backslashreplace", closefd=False)

    # The handler of a signal may have interrupted the driver in the middle of its work: the loop does what it asks for.

    def _sigtstp_application(self, *arguments: Any) -> None:
        self._loop.call_soon_threadsafe(super()._sigtstp_application)

    def _sigcont_application(self, *arguments: Any) -> None:
        self._loop.call_soon_threadsafe(self._go_on)

    def _go_on(self) -> None:
        """Takes the terminal again, after the process was stopped."""
        if not self._must_signal_resume:
            thread = self._key_thread
            if thread is None or not thread.is_alive() or not os.isatty(self.fileno):
                return
            self.suspend_application_mode()
            self._must_signal_resume = True
        self.resume_application_mode()

    def run_input_thread(self) -> None:
        """Tells what is pressed, until the input is disabled."""
        parser = XTermParser(self._debug)
        decoder = getincrementaldecoder("utf-8")("replace")
        wait = _LOOK
        while not self.exit_event.is_set():
            if select.select([self.fileno], [], [], wait)[0]:
                if not (data := os.read(self.fileno, _MOST)):
                    # What stands for a terminal has ended, and says so at once whenever it is asked.
                    self.exit_event.wait(_LOOK)
                # The parser takes an empty text for the end; there is none after a part of a character.
                elif text := decoder.decode(data):
                    for message in parser.feed(text):
                        self.process_message(message)
                wait = constants.ESCAPE_DELAY
            else:
                wait = _LOOK
            for message in parser.tick():
                self.process_message(message)
