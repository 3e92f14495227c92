"""The words of an instruction: quotes, escapes, and `$NAME` and `${NAME…}` replaced by values.

Reference: Docker's "Dockerfile reference", section "Environment replacement"; BuildKit, frontend/dockerfile/shell.
Names compare without case, as environment variables do on Windows.
"""

from __future__ import annotations

from collections.abc import Mapping

from wclayer.builder.dockerfile.patterns import replaced, too_long, without_prefix, without_suffix
from wclayer.errors import FormatError
from wclayer.win32.names import name_key

MAX_EXPANDED = 1 << 20
"""The most characters to which the words of one instruction may grow."""
_MAX_DEPTH = 32
_SPECIAL = "@*#?-$!"
_Piece = tuple[str, bool]
"""A text, and whether white space in it separates words."""


class Expander:
    """Replaces the variables in the words of one instruction, and takes quotes and escapes away.

    Attributes:
        unset: the names that had no value where they were used. They stand for "".
    """

    def __init__(self, variables: Mapping[str, str], escape: str = "\\") -> None:
        """Takes the values.

        Args:
            variables: values by name. Of names that differ in case alone, the last one counts.
            escape: the escape character of the Dockerfile: a backslash or a backtick.
        """
        self.unset: set[str] = set()
        self._values = {name_key(name): value for name, value in variables.items()}
        self._escape = escape
        self._left = MAX_EXPANDED

    def word(self, text: str) -> str:
        """Returns a text with its variables replaced, without its quotes and escapes. White space stays.

        Raises:
            FormatError: a quote or a brace has no end, an operator is unknown, `${NAME:?MESSAGE}` has no value, or the
                result is too long.
        """
        return "".join(piece for piece, _ in self._lexer(text).all())

    def words(self, text: str) -> list[str]:
        """Returns the words of a text: it is separated at white space after the variables are replaced.

        Raises:
            FormatError: as of `word`.
        """
        return _separated(self._lexer(text).all())

    def heredoc(self, text: str) -> str:
        """Returns the content of a heredoc with its variables replaced. Quotes stay. The escape is always a backslash.

        Raises:
            FormatError: as of `word`.
        """
        return "".join(piece for piece, _ in _Lexer(self, text, "\\", quotes=False).all())

    def _lexer(self, text: str) -> _Lexer:
        return _Lexer(self, text, self._escape)

    def value_of(self, name: str) -> str | None:
        """Returns the value of a variable; None, which is noted, if it has none."""
        value = self._values.get(name_key(name))
        if value is None:
            self.unset.add(name)
        return value

    def count(self, text: str) -> str:
        """Returns a text of which the result is made, after its length is counted."""
        self._left -= len(text)
        if self._left < 0:
            raise too_long(MAX_EXPANDED)
        return text


class _Unexpanded(Expander):
    """Has no variables: what refers to one stays as it is written."""

    def value_of(self, name: str) -> None:
        return None


def raw_words(text: str) -> list[str]:
    """Returns the words of a text with quotes, escapes and variables as they are written: for finding heredocs.

    Raises:
        FormatError: a quote or a brace has no end.
    """
    return _separated(_Lexer(_Unexpanded({}), text, "\\", keep_quotes=True, raw=True, keep_unset=True).all())


def plain_word(text: str) -> tuple[str, bool] | None:
    """Returns the one word of a text without quotes and escapes, and whether it has quotes; None if it is not one word.

    Raises:
        FormatError: a quote or a brace has no end.
    """
    words = _separated(_Lexer(_Unexpanded({}), text, "\\", keep_unset=True).all())
    quoted = _separated(_Lexer(_Unexpanded({}), text, "\\", keep_quotes=True, keep_unset=True).all())
    return (words[0], words != quoted) if len(words) == 1 else None


def _separated(pieces: list[_Piece]) -> list[str]:
    words: list[str] = []
    word: list[str] = []

    def end() -> None:
        if any(word):
            words.append("".join(word))
        word.clear()

    for text, separable in pieces:
        if not separable:
            word.append(text)
            continue
        for char in text:
            if char.isspace():
                end()
            else:
                word.append(char)
    end()
    return words


class _Lexer:
    """Walks over a text once."""

    def __init__(
        self,
        expander: Expander,
        text: str,
        escape: str,
        *,
        quotes: bool = True,
        keep_quotes: bool = False,
        raw: bool = False,
        keep_unset: bool = False,
    ) -> None:
        self._expander = expander
        self._text = text
        self._at = 0
        self._escape = escape
        self._quotes = "'\"" if quotes else ""
        self._keep_quotes = keep_quotes
        self._raw = raw
        self._keep_unset = keep_unset
        self._depth = 0

    def all(self) -> list[_Piece]:
        """Returns the pieces of the whole text."""
        return self._until("", raw=self._raw)

    def _next(self) -> str:
        """Returns the next character and steps over it; "" at the end."""
        char = self._text[self._at : self._at + 1]
        self._at += 1
        return char

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _until(self, stop: str, *, raw: bool) -> list[_Piece]:
        """Returns the pieces up to a character, which is stepped over; up to the end for "".

        Args:
            stop: the character.
            raw: whether escape characters stay.
        """
        before, self._raw = self._raw, raw
        pieces: list[_Piece] = []
        while char := self._peek():
            if char == stop:
                break
            if char == "$":
                pieces.append((self._dollar(), True))
            elif char in self._quotes:
                pieces.append((self._single() if char == "'" else self._double(), False))
            else:
                self._at += 1
                if char == self._escape:
                    if self._raw:
                        pieces.append((char, False))
                    pieces.append((self._next(), False))
                else:
                    pieces.append((char, True))
            if char != "$":
                self._expander.count(pieces[-1][0])
        if stop and self._next() != stop:
            raise FormatError(f"{self._text!r} has no {stop!r} that ends its '${{'")
        self._raw = before
        return pieces

    def _plain(self, stop: str, *, raw: bool) -> str:
        return "".join(piece for piece, _ in self._until(stop, raw=raw))

    def _single(self) -> str:
        end = self._text.find("'", self._at + 1)
        if end < 0:
            raise self._open("'")
        begin, self._at = self._at, end + 1
        return self._text[begin : end + 1] if self._keep_quotes else self._text[begin + 1 : end]

    def _double(self) -> str:
        quote = self._next() if self._keep_quotes else self._next()[:0]
        pieces = [quote]
        while char := self._peek():
            if char == "$":
                pieces.append(self._dollar())
                continue
            self._at += 1
            if char == '"':
                return "".join([*pieces, quote])
            if char == self._escape:
                if self._raw:
                    pieces.append(char)
                following = self._peek()
                if not following:
                    break
                if following in ('"', "$", self._escape):
                    char = self._next()
            pieces.append(char)
        raise self._open('"')

    def _open(self, quote: str) -> FormatError:
        return FormatError(f"{self._text!r} has a {quote} without a second one; a {quote} as a character is escaped")

    def _dollar(self) -> str:
        begin = self._at
        self._at += 1
        if self._peek() != "{":
            name = self._name()
            if not name:
                return "$"
            value = self._expander.value_of(name)
            return self._unset(begin) if value is None else self._expander.count(value)
        self._at += 1
        if self._depth == _MAX_DEPTH:
            raise FormatError(f"more than {_MAX_DEPTH} '${{' are inside one another")
        self._depth += 1
        value = self._braces(begin)
        self._depth -= 1
        return self._expander.count(value)

    def _unset(self, begin: int) -> str:
        return self._text[begin : self._at] if self._keep_unset else ""

    def _braces(self, begin: int) -> str:
        """Returns the value of `${…}`, of which the brace is stepped over."""
        name = self._name()
        if not name:
            raise FormatError(f"{self._text[begin : begin + 40]!r} names no variable after '${{'")
        operator = self._next()
        if operator == "}":
            value = self._expander.value_of(name)
            return self._unset(begin) if value is None else value
        if operator == "/":
            return self._replacement(name, begin)
        counts_empty = operator == ":"
        if counts_empty:
            operator = self._next()
        if not operator or operator not in ("+-?" if counts_empty else "+-?#%"):
            raise FormatError(
                f"{self._text[begin : self._at]!r} is followed by no operator that is known: possible are ${{NAME}}, "
                "and :- :+ :? - + ? # ## % %% / // after the name"
            )
        argument = self._plain("}", raw=operator in "#%")
        value = self._expander.value_of(name)
        if value is None and self._keep_unset:
            return self._unset(begin)
        is_set = value is not None and not (counts_empty and not value)
        text = value or ""
        match operator:
            case "-":
                return text if is_set else argument
            case "+":
                return argument if is_set else ""
            case "?":
                if not is_set:
                    raise FormatError(f"{name}: {argument or ('is empty' if value == '' else 'is not set')}")
                return text
        longest = argument.startswith(operator)
        trimmed = without_prefix if operator == "#" else without_suffix
        return trimmed(text, argument[1:] if longest else argument, longest=longest)

    def _replacement(self, name: str, begin: int) -> str:
        every = self._peek() == "/"
        if every:
            self._at += 1
        pattern = self._plain("/", raw=True)
        new = self._plain("}", raw=True)
        value = self._expander.value_of(name)
        if value is None and self._keep_unset:
            return self._unset(begin)
        return replaced(value or "", pattern, new, every=every, most=MAX_EXPANDED)

    def _name(self) -> str:
        """Returns the name at this place: letters, digits and "_"; digits alone; one special character; "" if none."""
        first = self._peek()
        if first and first in _SPECIAL:
            return self._next()
        begin = self._at
        while (char := self._peek()) and (
            char.isdecimal() if first.isdecimal() else char.isalpha() or char.isdecimal() or char == "_"
        ):
            self._at += 1
        return self._text[begin : self._at]
