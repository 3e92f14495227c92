r"""Text as a terminal can show it, and paths as a command line can spell them: `<U+D800>` stands for a character.

A layer's names may have characters that a terminal cannot show, control characters that it would obey, and unpaired
surrogates, which UTF-8 cannot encode. No Windows name has `<` or `>`, so every verb accepts a name as it is printed.
"""

from __future__ import annotations

import codecs
import io
import os
import re
import sys
from typing import TYPE_CHECKING, Any

import click

from wclayer.cli.word_kind import WordKind, completed_as
from wclayer.errors import ERROR_INVALID_NAME, InvalidParameterError
from wclayer.win32.names import decode_name
from wclayer.win32.shown import escaped

_HANDLER = "wclayer.escape"
_ESCAPE = re.compile(r"<U\+([0-9A-Fa-f]{1,8})>")


def _escape_unencodable(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return escaped(error.object[error.start : error.end]), error.end


codecs.register_error(_HANDLER, _escape_unencodable)


def escape_what_cannot_be_shown() -> None:
    """Makes the standard streams write `<U+…>` for a character that their encoding lacks, not raise an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_HANDLER)


def can_show(text: str) -> bool:
    """Returns whether the encoding of standard output has every character of `text`."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def text_of_argument(argument: str) -> str:
    """Returns the text that an argument spells: UTF-8 in any locale.

    A byte that is not UTF-8 stands for a surrogate, U+DC80 to U+DCFF, as in Python's names of the host's files.
    """
    data = os.fsencode(argument) if os.name != "nt" else argument.encode("utf-8", "surrogatepass")
    try:
        return decode_name(data)
    except UnicodeDecodeError:
        return data.decode("utf-8", "surrogateescape")


def path_of_argument(argument: str) -> str:
    """Returns the path in a layer that an argument spells: as text (see `text_of_argument`), or as listings print it,
    with `<U+…>`."""
    path = text_of_argument(argument)
    if "<U+" not in path:
        return path
    path = _ESCAPE.sub(lambda found: _character(argument, found[1]), path)
    # A pair of surrogates is one character of a name.
    return path.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def _character(argument: str, digits: str) -> str:
    try:
        return chr(int(digits, 16))
    except (ValueError, OverflowError):
        raise InvalidParameterError(
            argument, f"there is no character U+{digits}", code=ERROR_INVALID_NAME, operation="find entry"
        ) from None


if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    _TextParameter = click.ParamType[str]
else:
    _TextParameter = click.ParamType  # no generic class before click 8.4


class _LayerPath(_TextParameter):
    """The click type of a path in a layer, which `path_of_argument` converts."""

    name = "path"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return path_of_argument(str(value))

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[Any]]:
        return completed_as(WordKind.PATH)(ctx, param, incomplete)


LAYER_PATH = _LayerPath()
