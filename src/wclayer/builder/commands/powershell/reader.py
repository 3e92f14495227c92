"""Reads the characters of a PowerShell script: blanks, comments, quoted texts, words.

Source: "about_Parsing", "about_Quoting_Rules", "about_Special_Characters", "about_Comments" (Microsoft Learn). What
PowerShell takes for a quote or a dash besides those of ASCII is refused.
"""

from __future__ import annotations

import re

from wclayer.builder.commands.command import refused
from wclayer.errors import NotSupportedError

BLANKS = " \t\f\v\u00a0\u0085"
LINE_ENDS = "\r\n"
ENDS_WORD = BLANKS + LINE_ENDS + "{}();,|&"
"""The characters that end a word, unless a backtick precedes them."""
_QUOTES = {"\u2018": "'", "\u2019": "'", "\u201a": "'", "\u201b": "'", "\u201c": '"', "\u201d": '"', "\u201e": '"'}
_DASHES = "\u2013\u2014\u2015"
_ESCAPES = {"0": "\0", "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_NEW_ESCAPES = {"e": "\x1b", "u": "u"}
_VARIABLE = re.compile(r"\$(?:\{([^{}`]+)\}|((?:[A-Za-z]+:(?!:))?[A-Za-z0-9_]+|[?^$]))")
_WHERE_MEMBERS_BEGIN = re.compile(r"\.[A-Za-z_]|\[")


class Reader:
    """The text of a script, and the place up to which it was read.

    Args:
        text: the script.
        where: the file and the line of the instruction, for messages.
    """

    def __init__(self, text: str, where: str) -> None:
        self.text = text
        self.at = 0
        self.where = where
        for character in text:
            if character in _QUOTES or character in _DASHES:
                name = "a quote" if character in _QUOTES else "a dash"
                raise self.refuse(character, f"PowerShell takes this character for {name}; write {name} of ASCII")
        if "\0" in text:
            raise self.refuse("\\0", "a NUL character ends the text on Windows; remove it")

    def refuse(self, word: str, detail: str) -> NotSupportedError:
        """Returns the error for a word that is not supported."""
        return refused(self.where, word, detail)

    def unexpected(self, expected: str) -> NotSupportedError:
        """Returns the error for what stands at this place."""
        rest = self.text[self.at :].split(None, 1)
        return self.refuse(rest[0][:40] if rest else "the end of the text", f"PowerShell expects {expected} here")

    # Single characters.

    def peek(self, text: str) -> bool:
        """Returns whether a text is next."""
        return self.text.startswith(text, self.at)

    def takes(self, text: str) -> bool:
        """Takes a text if it is next."""
        if not self.peek(text):
            return False
        self.at += len(text)
        return True

    def is_at_end(self) -> bool:
        """Returns whether all is read."""
        return self.at >= len(self.text)

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Takes what a pattern matches at this place."""
        found = pattern.match(self.text, self.at)
        if found is not None:
            self.at = found.end()
        return found

    def look(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Returns what a pattern matches at this place, without taking it."""
        return pattern.match(self.text, self.at)

    def is_at_word_end(self) -> bool:
        """Returns whether a word that was read ends here."""
        return self.is_at_end() or self.text[self.at] in ENDS_WORD

    # Blanks.

    def skip_blanks(self) -> None:
        """Skips blanks, comments, and line ends after a backtick."""
        while not self.is_at_end():
            if self.text[self.at] in BLANKS:
                self.at += 1
            elif self.peek("`\r\n"):
                self.at += 3
            elif self.peek("`\n") or self.peek("`\r"):
                self.at += 2
            elif self.peek("<#"):
                end = self.text.find("#>", self.at)
                if end < 0:
                    raise self.refuse("<#", "this comment has no end; write #>")
                self.at = end + 2
            elif self.peek("#"):
                while not self.is_at_end() and self.text[self.at] not in LINE_ENDS:
                    self.at += 1
            else:
                return

    def skip_lines(self) -> None:
        """Skips blanks, comments and line ends."""
        self.skip_blanks()
        while not self.is_at_end() and self.text[self.at] in LINE_ENDS:
            self.at += 1
            self.skip_blanks()

    def skip_separators(self) -> None:
        """Skips blanks, comments, line ends and semicolons."""
        self.skip_lines()
        while self.takes(";"):
            self.skip_lines()

    # Quoted texts.

    def single_quoted(self) -> str:
        """Reads `'…'`, in which two quotes mean one."""
        start = self.at
        self.at += 1
        parts: list[str] = []
        while True:
            end = self.text.find("'", self.at)
            if end < 0:
                raise self._unclosed(start, "'")
            parts.append(self.text[self.at : end])
            self.at = end + 1
            if not self.takes("'"):
                return "".join(parts)
            parts.append("'")

    def escaped(self) -> str:
        """Reads what follows a backtick: the character itself, or the one that the letter means."""
        self.at += 1
        if self.is_at_end():
            raise self.refuse("`", "a backtick at the end escapes nothing; remove it")
        character = self.text[self.at]
        if character in _NEW_ESCAPES:
            raise self.refuse(f"`{character}", "means different things in powershell and pwsh; write the character")
        if character == "0":
            raise self.refuse("`0", "a NUL character ends the text on Windows; remove it")
        self.at += 1
        return _ESCAPES.get(character, character)

    def variable(self) -> str | None:
        """Reads `$NAME` or `${NAME}`, and returns the name; None if no variable is here."""
        found = self.match(_VARIABLE)
        if found is None:
            return None
        if found[2] is not None and self.peek(":") and not self.peek("::"):
            raise self.refuse(f"{found[0]}:", f"PowerShell takes this for a drive; write ${{{found[2]}}}:")
        return found[1] or found[2]

    def check_no_member(self, word: str) -> None:
        """Refuses a member or an element of a value that was read."""
        if self.look(_WHERE_MEMBERS_BEGIN):
            rest = re.match(r"[.\[][A-Za-z0-9_]*\]?", self.text[self.at :])
            assert rest is not None
            raise self.refuse(
                word + rest[0], "members and elements of values are not supported; write the value, or the text in "
                "double quotes",
            )  # fmt: skip

    def here_string(self) -> str:
        """Reads the lines of a here-string, up to its closing quote; `at` is behind `@'` or `@"`.

        Returns:
            The text between the quotes, with its escapes.
        """
        quote = self.text[self.at - 1]
        first = re.compile(r"[ \t]*(\r\n|\n|\r)").match(self.text, self.at)
        end = re.compile(rf"(\r\n|\n|\r){quote}@").search(self.text, first.end() - len(first[1])) if first else None
        if first is None or end is None:
            raise self.refuse(f"@{quote}", f"a here-string has its text in lines of its own, and ends with {quote}@")
        text = self.text[first.end() : end.start()] if end.start() >= first.end() else ""
        self.at = end.end()
        return text

    def _unclosed(self, start: int, quote: str) -> NotSupportedError:
        return self.refuse(self.text[start : start + 40], f"this text has no closing {quote}")
