"""The command line that PowerShell gives to a program.

Source: "about_Parsing" ("Passing arguments to native commands"), and `NativeCommandParameterBinder` of PowerShell:
words are put together with blanks, those with blanks in them in quotes; quotes inside of words are not escaped.
"""

from __future__ import annotations

from collections.abc import Sequence

from wclayer.builder.commands.powershell.binding import Argument
from wclayer.builder.commands.powershell.scope import Edition, Scope
from wclayer.builder.commands.powershell.values import to_text


def program_tail(arguments: Sequence[Argument], scope: Scope) -> str:
    """Returns what follows the name of a program on its command line.

    Args:
        arguments: the words after the name.
        scope: where the program is called.

    Raises:
        NotSupportedError: what the program gets depends on the version of PowerShell.
    """
    return "".join(f" {_word(argument, scope)}" for argument in arguments)


def _word(argument: Argument, scope: Scope) -> str:
    if not argument.has_value:
        return argument.word
    if isinstance(argument.value, tuple):
        if "," not in argument.word or any(blank in argument.word for blank in " \t\r\n@"):
            raise scope.refuse(
                argument.word, "how a program gets an array is not supported; write the words themselves"
            )
        text = ",".join(map(to_text, argument.value))
    else:
        text = to_text(argument.value)
    if argument.parameter:
        text = f"-{argument.parameter}:{text}"
    if not text:
        raise scope.refuse(argument.word, "PowerShell leaves an empty word out, or not, depending on its version")
    if '"' in text and scope.edition is Edition.CORE:
        raise scope.refuse(argument.word, "how a program gets a quote depends on the version of pwsh; leave it out")
    if not _needs_quotes(text):
        return text
    if text.endswith("\\"):
        raise scope.refuse(
            argument.word, "a backslash at the end of a word with blanks escapes the quote after it; leave it out"
        )
    return f'"{text}"'


def _needs_quotes(text: str) -> bool:
    """Returns whether a word has a blank that is not in quotes already."""
    is_quoted = False
    before = ""
    for character in text:
        if character == '"' and before != "\\":
            is_quoted = not is_quoted
        elif character.isspace() and not is_quoted:
            return True
        before = character
    return False
