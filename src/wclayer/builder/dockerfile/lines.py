"""The lines of a Dockerfile: directives, comments, continued lines and heredocs, each with its numbers.

Reference: BuildKit, frontend/dockerfile/parser; Docker's "Dockerfile reference", sections "Format", "Parser directives"
and "Here-Documents".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from wclayer.builder.dockerfile.errors import DockerfileError, Problem
from wclayer.builder.dockerfile.forms import json_words, split_first, take_flags
from wclayer.builder.dockerfile.words import plain_word, raw_words
from wclayer.errors import FormatError

MAX_SIZE = 1 << 20
"""The most bytes of a Dockerfile."""
MAX_LINE = 65_535
"""The most characters of a line of the file (Docker's own bound)."""
_BACKSLASH = "\\"
_DIRECTIVE = re.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*")
_DIRECTIVES = ("syntax", "escape", "check")
_HEREDOC = re.compile(r"\d*<<(-?)\s*([^<]+)")
_WITH_HEREDOC = ("RUN", "COPY", "ADD")


@dataclass(frozen=True, slots=True)
class Heredoc:
    """Lines of a Dockerfile that are the content of a file, or a command.

    Attributes:
        name: the word that begins and ends it.
        content: the lines, each with its line end as in the file.
        expands: whether variables in it are replaced: its word has no quotes where it begins.
        line: the number of the first line of the content.
    """

    name: str
    content: str
    expands: bool
    line: int


@dataclass(frozen=True, slots=True)
class Line:
    """A line with those that continue it.

    Attributes:
        number: the number of the first line in the file, from 1.
        last: the number of the last line, with heredocs.
        text: the line without the characters that continue it and without comments inside.
        raw: the lines as in the file.
        heredocs: the heredocs that begin in it, by their order.
    """

    number: int
    last: int
    text: str
    raw: str
    heredocs: tuple[Heredoc, ...] = ()


@dataclass(frozen=True, slots=True)
class Advice:
    """What in a Dockerfile is taken as Docker takes it, but probably not meant so.

    Attributes:
        line: the number of the line, from 1.
        detail: what is taken how, and what to write instead.
    """

    line: int
    detail: str


@dataclass(slots=True)
class Lines:
    """The lines of a file, and what its directives say.

    Attributes:
        escape: the escape character.
        syntax: the value of the directive `syntax`, which has no effect here; "" if there is none.
        lines: the lines, without empty ones and comments.
        advice: what is probably not meant so.
    """

    escape: str = _BACKSLASH
    syntax: str = ""
    lines: list[Line] = field(default_factory=list)
    advice: list[Advice] = field(default_factory=list)


def decode_dockerfile(data: bytes, name: str) -> str:
    """Returns the text of a Dockerfile: UTF-8, with or without a byte order mark.

    Raises:
        DockerfileError: it is too large, or not UTF-8.
    """
    if len(data) > MAX_SIZE:
        raise DockerfileError(name, f"is larger than {MAX_SIZE} bytes, which is no Dockerfile")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DockerfileError(name, "is UTF-16; a Dockerfile is UTF-8: save it again in that encoding")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DockerfileError.at(name, line, f"byte {data[error.start]:#04x} is not UTF-8") from None
    return text


def read_lines(text: str, name: str, is_instruction: Callable[[str], bool]) -> Lines:
    """Returns the lines of a Dockerfile.

    Args:
        text: the file.
        name: its name, for errors.
        is_instruction: whether a word is the name of an instruction.

    Raises:
        DockerfileError: a directive is wrong, a heredoc has no end, or the file or a line is too long.
    """
    # The end of the last line is not the beginning of another one.
    physical = text.removeprefix("\ufeff").removesuffix("\n").split("\n")
    if len(text) > MAX_SIZE:
        raise DockerfileError(name, f"has more than {MAX_SIZE} characters, which is no Dockerfile")
    for number, line in enumerate(physical, 1):
        if len(line) > MAX_LINE:
            raise DockerfileError.at(name, number, f"the line has {len(line)} characters, more than {MAX_LINE}")
        if "\0" in line:
            raise DockerfileError.at(name, number, "the line has a NUL character, which no Dockerfile has")
    return _Reader(physical, name, is_instruction).read()


class _Reader:
    def __init__(self, physical: list[str], name: str, is_instruction: Callable[[str], bool]) -> None:
        self._physical = physical
        self._name = name
        self._is_instruction = is_instruction
        self._at = 0
        self._lines = Lines()

    def read(self) -> Lines:
        self._directives()
        while self._at < len(self._physical):
            begin = self._at
            if self._line().strip() and not _is_comment(self._line()):
                self._logical()
            else:
                self._at += 1
            assert self._at > begin
        return self._lines

    def _line(self) -> str:
        return self._physical[self._at].rstrip("\r")

    def _directives(self) -> None:
        seen: set[str] = set()
        for number, line in enumerate(self._physical, 1):
            found = _DIRECTIVE.fullmatch(line.strip())
            if found is None or (key := found[1].lower()) not in _DIRECTIVES:
                return
            if key in seen:
                raise DockerfileError.at(self._name, number, f"the directive {key!r} is here for the second time")
            seen.add(key)
            if key == "escape":
                if found[2] not in (_BACKSLASH, "`"):
                    raise DockerfileError.at(
                        self._name, number, f"{found[2][:20]!r} is not an escape character; possible are ` and \\"
                    )
                self._lines.escape = found[2]
            elif key == "syntax":
                self._lines.syntax = found[2]

    def _logical(self) -> None:
        """Reads the line at this place, those that continue it, and its heredocs."""
        begin = self._at
        text, goes_on = self._without_escape(self._line().lstrip())
        pieces = [text]
        self._at += 1
        empty = 0
        while goes_on and self._at < len(self._physical):
            line = self._line()
            if _is_comment(line):
                pass
            elif not line.strip():
                empty = empty or self._at + 1
            else:
                self._look_for_swallowed(pieces[-1], line)
                text, goes_on = self._without_escape(line)
                pieces.append(text)
            self._at += 1
        text = "".join(pieces).strip()
        if empty:
            self._advise(empty, "an empty line is between continued lines; Docker will refuse that in the future")
        if goes_on:
            self._advise(
                self._at,
                f"the file ends with {self._lines.escape!r}, which continues a line and goes away; if it ends a path, "
                "write '# escape=`' as the first line of the file, or / in the path",
            )
        if not text:
            return
        try:
            heredocs = self._heredocs(text, begin + 1)
        except FormatError as error:
            raise DockerfileError.at(self._name, begin + 1, str(error)) from None
        raw = "\n".join(self._physical[begin : self._at])
        self._lines.lines.append(Line(begin + 1, self._at, text, raw, heredocs))

    def _without_escape(self, line: str) -> tuple[str, bool]:
        """Returns a line without the character that continues it, and whether it has one."""
        escape = self._lines.escape
        trimmed = line.rstrip(" \t")
        if trimmed.endswith(escape) and not trimmed.endswith(escape * 2):
            return trimmed[:-1], True
        return line, False

    def _look_for_swallowed(self, before: str, line: str) -> None:
        """Advises if a path that ends with a backslash has probably made the next instruction a part of its line."""
        word = line.split(maxsplit=1)[0]
        glued = before and not before[-1].isspace() and line[:1].strip()
        if glued and self._lines.escape == _BACKSLASH and word.isupper() and self._is_instruction(word):
            self._advise(
                self._at + 1,
                f"{word} continues the line before, which ends with a backslash; if that is the end of a path, write "
                "'# escape=`' as the first line of the file, or / in the path",
            )

    def _advise(self, line: int, detail: str) -> None:
        self._lines.advice.append(Advice(line, detail))

    def _heredocs(self, text: str, number: int) -> tuple[Heredoc, ...]:
        if "<<" not in text or not _may_have_heredocs(text, self._lines.escape):
            return ()
        try:
            words = raw_words(text)
        except FormatError:
            return ()
        heredocs = []
        for word in words:
            found = _HEREDOC.fullmatch(word)
            if found is not None and (named := plain_word(found[2])) is not None:
                heredocs.append(self._heredoc(*named, number=number, without_tabs=bool(found[1])))
        return tuple(heredocs)

    def _heredoc(self, name: str, quoted: bool, *, number: int, without_tabs: bool) -> Heredoc:
        begin = self._at
        content: list[str] = []
        while self._at < len(self._physical):
            line = self._line()
            self._at += 1
            if (line.lstrip("\t") if without_tabs else line) == name:
                return Heredoc(name, "".join(content), not quoted, begin + 1)
            whole = self._physical[self._at - 1] + "\n"
            content.append(whole.lstrip("\t") if without_tabs else whole)
        raise DockerfileError.of(
            self._name, [Problem(number, f"the heredoc {name!r} has no line {name!r} that ends it")]
        )


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith("#")


def _may_have_heredocs(text: str, escape: str) -> bool:
    name, rest = split_first(text)
    if name.upper() == "ONBUILD":
        name, rest = split_first(rest)
    return name.upper() in _WITH_HEREDOC and json_words(take_flags(rest, escape)[1]) is None
