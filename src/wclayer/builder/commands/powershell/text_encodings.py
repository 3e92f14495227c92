"""The encodings in which Set-Content and Add-Content write, and how a file that exists states its own.

Sources: "about_Character_Encoding"; EncodingConversion and FileSystemContentReaderWriter of PowerShell.
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from dataclasses import dataclass

from wclayer.builder.commands.powershell.scope import Edition
from wclayer.builder.machine.code_pages import CodePageError, CodePages


@dataclass(frozen=True)
class TextEncoding:
    """An encoding.

    Attributes:
        name: that of Python; `ansi` and `oem` are the code pages of the image.
        mark: the byte order mark at the beginning of a file.
    """

    name: str
    mark: bytes = b""

    def encode(self, text: str, pages: CodePages) -> bytes:
        """Returns the bytes of a text, without the byte order mark.

        Args:
            pages: the code pages of the image.

        Raises:
            CodePageError: the encoding lacks a character, in whose place PowerShell would write another one.
        """
        if self.name in ("ansi", "oem"):
            return (pages.ansi if self.name == "ansi" else pages.oem).encode(text)
        try:
            return text.encode(self.name)
        except UnicodeEncodeError as error:
            word = text[error.start : error.end]
            raise CodePageError(word, f"the encoding {self.name} lacks this character") from None


_ANSI, _OEM, _ASCII = TextEncoding("ansi"), TextEncoding("oem"), TextEncoding("ascii")
_UTF8, _UTF8_MARK = TextEncoding("utf-8"), TextEncoding("utf-8", codecs.BOM_UTF8)
_UTF16, _UTF16_BIG = TextEncoding("utf-16-le", codecs.BOM_UTF16_LE), TextEncoding("utf-16-be", codecs.BOM_UTF16_BE)
_UTF32, _UTF32_BIG = TextEncoding("utf-32-le", codecs.BOM_UTF32_LE), TextEncoding("utf-32-be", codecs.BOM_UTF32_BE)
_BOTH = {
    "ascii": _ASCII, "oem": _OEM, "unicode": _UTF16, "bigendianunicode": _UTF16_BIG, "string": _UTF16,
    "unknown": _UTF16, "utf32": _UTF32, "bigendianutf32": _UTF32_BIG,
}  # fmt: skip

ENCODINGS: Mapping[Edition, Mapping[str, TextEncoding]] = {
    Edition.WINDOWS: {"default": _ANSI, "utf8": _UTF8_MARK, **_BOTH},
    Edition.CORE: {
        "default": _UTF8, "utf8": _UTF8, "utf8nobom": _UTF8, "utf8bom": _UTF8_MARK, "ansi": _ANSI, **_BOTH
    },
}  # fmt: skip
"""The values of -Encoding in lower case; `default` is that of a call without it."""

# The mark of UTF-16 is the beginning of that of UTF-32.
_BY_MARK = (_UTF32, _UTF32_BIG, _UTF16, _UTF16_BIG, _UTF8_MARK)
MARK_SIZE = 4
"""The most bytes of a byte order mark."""


def stated_encoding(begin: bytes) -> TextEncoding | None:
    """Returns the encoding that a file states by its byte order mark, or None without one.

    Args:
        begin: the first `MARK_SIZE` bytes of the file.
    """
    return next((encoding for encoding in _BY_MARK if begin.startswith(encoding.mark)), None)
