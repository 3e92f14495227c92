r"""`CodePages`: the code pages of an image, which its registry states: of its console (OEM) and of its programs (ANSI).

Sources: "Code Page Identifiers" (Win32); the values `OEMCP` and `ACP` of
`HKLM\SYSTEM\CurrentControlSet\Control\Nls\CodePage`, of which Windows makes the code pages of a process.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from wclayer.formats.regf.model import Key, fold
from wclayer.formats.regf.values import ValueType, decode_string
from wclayer.view.machine_environment import control_set_of

_KEY = r"HKLM\SYSTEM\CurrentControlSet\Control\Nls\CodePage"
_NUMBER = re.compile(r"0*([0-9]{1,5})\Z")
# Those that a system locale of Windows can have and Python knows on every host.
_KNOWN = frozenset(
    (437, 720, 737, 775, 850, 852, 855, 857, 858, 860, 861, 862, 863, 864, 865, 866, 869, 874, 932, 936, 949, 950)
) | frozenset((*range(1250, 1259), 65001))


class CodePageError(ValueError):
    """A text that a code page does not have.

    Attributes:
        word: the characters.
        detail: why it does not have them.
    """

    def __init__(self, word: str, detail: str) -> None:
        self.word = word
        self.detail = detail
        super().__init__(f"{word!r}: {detail}")


@dataclass(frozen=True, slots=True)
class CodePage:
    """A code page.

    Attributes:
        name: its number, as the registry states it.
    """

    name: str

    @property
    def _codec(self) -> str | None:
        number = _NUMBER.match(self.name)
        return f"cp{number[1]}" if number is not None and int(number[1]) in _KNOWN else None

    def encode(self, text: str) -> bytes:
        """Returns the bytes of a text. Those of ASCII are the same in every code page of a system locale.

        Raises:
            CodePageError: the code page lacks a character, or it is not known here.
        """
        if text.isascii():
            return text.encode("ascii")
        codec = self._codec
        if codec is None:
            raise CodePageError(text, f"the image has the code page {self.name[:20]!r}, which is not known here")
        try:
            return text.encode(codec)
        except UnicodeEncodeError as error:
            raise CodePageError(
                text[error.start : error.end], f"the image has the code page {self.name}, which lacks this character"
            ) from None

    def decode(self, data: bytes) -> str:
        """Returns the text of bytes.

        Raises:
            CodePageError: the bytes mean nothing in the code page, or it is not known here.
        """
        if data.isascii():
            return data.decode("ascii")
        codec = self._codec
        if codec is None:
            raise CodePageError("", f"the image has the code page {self.name[:20]!r}, which is not known here")
        try:
            return data.decode(codec)
        except UnicodeDecodeError as error:
            raise CodePageError(
                f"{data[error.start]:#04x}", f"the image has the code page {self.name}, which lacks this byte"
            ) from None

    def printed(self, text: str) -> bytes:
        """Returns what a program prints of a text: what the code page lacks becomes `?`."""
        return text.encode(self._codec or "ascii", "replace")

    def shown(self, data: bytes) -> str:
        """Returns what people see of the output of a program."""
        return data.decode(self._codec or "ascii", "replace")


@dataclass(frozen=True, slots=True)
class CodePages:
    """The code pages of an image. The defaults are those of Microsoft's images, whose system locale is en-US.

    Attributes:
        oem: that of the console.
        ansi: that of files whose text has no mark of its encoding.
    """

    oem: CodePage = CodePage("437")
    ansi: CodePage = CodePage("1252")


def code_pages(find: Callable[[str], Key | None]) -> CodePages:
    """Returns the code pages that a registry states; the defaults for what it does not state.

    Args:
        find: returns the key at a path, or None: the method of a `Registry`.

    Raises:
        InvalidDataError: a hive is damaged.
    """
    key = find(control_set_of(find, _KEY))
    values = [] if key is None else key.values()
    stated = {fold(value.name): decode_string(value.data) for value in values if value.type == ValueType.REG_SZ}
    default = CodePages()
    return CodePages(
        *(
            CodePage(text) if (text := stated.get(name, "").strip()) else page
            for name, page in (("OEMCP", default.oem), ("ACP", default.ansi))
        )
    )
