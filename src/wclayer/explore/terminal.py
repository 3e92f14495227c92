"""The driver of a terminal of POSIX: as Textual's own, but Esc alone is told as soon as nothing may follow it."""

from __future__ import annotations

import os
import select
from codecs import getincrementaldecoder

from textual import constants
from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver

_LOOK = 0.1
"""Seconds between two looks whether the program ends, while nothing is pressed."""
_MOST = 4096
"""Bytes that are read at a time."""


class TerminalDriver(LinuxDriver):
    """Reads the keys of a terminal.

    Esc is also the first byte of what other keys send. The driver of Textual looks only ten times a second whether the
    time in which the rest may come is over. This one looks at the end of that time, and as seldom otherwise.
    """

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
