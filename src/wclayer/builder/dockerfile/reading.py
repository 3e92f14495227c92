"""Reads a line of a Dockerfile as an instruction.

Reference: Docker's "Dockerfile reference"; BuildKit, frontend/dockerfile/instructions.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypedDict

from wclayer.builder.dockerfile.forms import (
    Assignment,
    Flags,
    assignments,
    json_words,
    possible,
    quoted_words,
    split_at_space,
    split_first,
    take_flags,
)
from wclayer.builder.dockerfile.instructions import (
    Add,
    Arg,
    Cmd,
    CommandLine,
    Copy,
    Entrypoint,
    Env,
    Expose,
    From,
    Healthcheck,
    Instruction,
    Label,
    Maintainer,
    Onbuild,
    Run,
    Shell,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from wclayer.builder.dockerfile.lines import Line
from wclayer.builder.dockerfile.values import parse_duration, parse_retries, parse_stage_name
from wclayer.builder.dockerfile.words import Expander
from wclayer.errors import FormatError

_NO_MODE = "files of Windows have no mode; --acl takes a security descriptor as SDDL"
_NO_PROCESS = "wclayer runs no process; its effect is made from the command alone"
_HEREDOC_WORD = re.compile(r"\d*<<-?\s*[^<]+")


class _Place(TypedDict):
    line: int
    last_line: int
    text: str
    raw: str


@dataclass(slots=True)
class _Statement:
    """A line, taken apart into flags and arguments.

    `rest` is the text after the flags. `advice` collects what is probably not meant so.
    """

    line: Line
    name: str
    given: list[str]
    rest: str
    escape: str
    advice: list[str] = field(default_factory=list)

    @property
    def place(self) -> _Place:
        return {"line": self.line.number, "last_line": self.line.last, "text": self.line.text, "raw": self.line.raw}

    def flags(self, *texts: str) -> Flags:
        return Flags(self.name, self.given, texts=texts)

    def one(self, what: str) -> str:
        """Returns the rest, which is the one argument; the instruction has no flags."""
        self.flags()
        if not self.rest:
            raise FormatError(f"{self.name} has no argument: write {self.name} {what}")
        return self.rest

    def command(self) -> CommandLine:
        """Returns the rest as a command: in exec form if it is a JSON array of strings."""
        text = self.rest
        words = json_words(text)
        if words is not None:
            return CommandLine(words, in_shell=False)
        if not text:
            raise FormatError(f"{self.name} has no command; an empty one is {self.name} []")
        if re.match(r'\[\s*["\']', text):
            self.advice.append(
                f"{self.name} begins with '[', but is no JSON array, so it is the shell form: in JSON, strings are in "
                "double quotes and a backslash is written twice"
            )
        return CommandLine((text,), in_shell=True)

    def list(self) -> tuple[str, ...]:
        """Returns the rest as a list: a JSON array of strings, or words between white space."""
        words = json_words(self.rest)
        return tuple(split_at_space(self.rest)) if words is None else words


def read_instruction(line: Line, escape: str) -> tuple[Instruction, list[str]]:
    """Returns the instruction of a line, and what in it is probably not meant so.

    Args:
        line: the line.
        escape: the escape character of the file.

    Raises:
        FormatError: it is no instruction, or a word of it is wrong.
    """
    name, rest = split_first(line.text)
    read = _READERS.get(name.upper())
    if read is None:
        raise FormatError(f"{name[:60]!r} is no instruction: {possible(name.upper(), _READERS)}")
    given, rest = take_flags(rest, escape)
    statement = _Statement(line, name.upper(), given, rest, escape)
    return read(statement), statement.advice


def is_instruction(word: str) -> bool:
    """Tells whether a word is the name of an instruction, in any case."""
    return word.upper() in _READERS


def _from(it: _Statement) -> From:
    flags = it.flags("platform")
    words = split_at_space(it.rest)
    if len(words) not in (1, 3) or (len(words) == 3 and words[1].upper() != "AS"):
        raise FormatError(f"FROM {it.rest[:60]}: write FROM IMAGE, or FROM IMAGE AS STAGE")
    alias = parse_stage_name(words[2]) if len(words) == 3 else ""
    return From(**it.place, image=words[0], platform=flags.text("platform"), alias=alias)


def _arg(it: _Statement) -> Arg:
    it.flags()
    arguments = []
    for word in quoted_words(it.rest, it.escape):
        name, equals, value = word.partition("=")
        if not name:
            raise FormatError(f"ARG has no name before {word[:60]!r}: write ARG NAME=VALUE")
        arguments.append(Assignment(name, value if equals else None))
    if not arguments:
        raise FormatError("ARG names nothing: write ARG NAME, or ARG NAME=VALUE")
    return Arg(**it.place, arguments=tuple(arguments))


def _env(it: _Statement) -> Env:
    it.flags()
    return Env(**it.place, variables=assignments(it.rest, it.escape, "ENV"))


def _label(it: _Statement) -> Label:
    it.flags()
    return Label(**it.place, labels=assignments(it.rest, it.escape, "LABEL"))


def _sources(it: _Statement) -> tuple[list[str], str]:
    """Returns the sources that are no heredocs, and the destination, of COPY and ADD."""
    *sources, destination = it.list() or ("",)
    if not sources:
        raise FormatError(f"{it.name} needs a source and a destination: write {it.name} SOURCE… DESTINATION")
    if it.line.heredocs:
        if _HEREDOC_WORD.fullmatch(destination):
            raise FormatError(
                f"{it.name} has the heredoc {destination[:60]} as its destination: the last word is a path"
            )
        sources = [source for source in sources if not _HEREDOC_WORD.fullmatch(source)]
        if any(each.expands and it.escape != "\\" and "\\" in each.content for each in it.line.heredocs):
            it.advice.append(
                "in a heredoc whose word has no quotes, a backslash escapes the next character and goes away, as with "
                "Docker; put the word in single quotes to keep the lines as they are"
            )
    return sources, destination


def _copy(it: _Statement) -> Copy:
    flags = Flags(
        "COPY", it.given, texts=("from", "chown", "acl"), lists=("exclude",), switches=("link",),
        refused={"chmod": _NO_MODE, "parents": "copy each directory to its own destination"},
    )  # fmt: skip
    origin = flags.text("from")
    if Expander({}, it.escape).word(origin) != origin:
        raise FormatError(
            f"COPY --from={origin[:60]} has a variable, which Docker does not replace there: write FROM "
            f"{origin[:60]} AS NAME with an ARG before the first FROM, and COPY --from=NAME"
        )
    sources, destination = _sources(it)
    return Copy(
        **it.place, sources=tuple(sources), heredocs=it.line.heredocs, destination=destination, origin=origin,
        chown=flags.text("chown"), acl=flags.text("acl"), link=bool(flags.switch("link")), exclude=flags.all("exclude"),
    )  # fmt: skip


def _add(it: _Statement) -> Add:
    flags = Flags(
        "ADD", it.given, texts=("chown", "acl", "checksum"), lists=("exclude",), switches=("link", "unpack"),
        refused={"chmod": _NO_MODE, "keep-git-dir": "repositories are not fetched; COPY a checked-out one"},
    )  # fmt: skip
    sources, destination = _sources(it)
    return Add(
        **it.place, sources=tuple(sources), heredocs=it.line.heredocs, destination=destination,
        chown=flags.text("chown"), acl=flags.text("acl"), link=bool(flags.switch("link")), exclude=flags.all("exclude"),
        checksum=flags.text("checksum"), unpack=flags.switch("unpack"),
    )  # fmt: skip


def _run(it: _Statement) -> Run:
    flags = Flags(
        "RUN", it.given, texts=("network", "security"),
        refused={"mount": f"{_NO_PROCESS}; use COPY, or COPY --from", "device": _NO_PROCESS},
    )  # fmt: skip
    for name, values in (("network", ("default", "none", "host")), ("security", ("sandbox",))):
        value = flags.text(name)
        if value not in ("", *values):
            raise FormatError(f"RUN --{name}={value[:60]} is not supported: possible are {', '.join(values)}")
    if not it.line.heredocs:
        return Run(**it.place, command=it.command())
    if len(it.line.heredocs) > 1 or not _HEREDOC_WORD.fullmatch(it.rest):
        raise FormatError(
            f"RUN {it.rest[:60]} has a heredoc inside a command, which Unix shells have, not cmd or PowerShell. "
            "Write RUN <<EOF with the whole command in the lines, or COPY <<EOF FILE"
        )
    heredoc = it.line.heredocs[0]
    return Run(**it.place, command=CommandLine((heredoc.content,), in_shell=True), heredoc=heredoc)


def _cmd(it: _Statement) -> Cmd:
    it.flags()
    return Cmd(**it.place, command=it.command())


def _entrypoint(it: _Statement) -> Entrypoint:
    it.flags()
    return Entrypoint(**it.place, command=it.command())


def _shell(it: _Statement) -> Shell:
    words = json_words(it.one('["PROGRAM", "ARGUMENT"]'))
    if not words:
        raise FormatError(f'SHELL {it.rest[:60]} is no JSON array of strings: write SHELL ["PROGRAM", "ARGUMENT"]')
    return Shell(**it.place, words=words)


def _workdir(it: _Statement) -> Workdir:
    return Workdir(**it.place, path=it.one("PATH"))


def _user(it: _Statement) -> User:
    return User(**it.place, user=it.one("NAME"))


def _stop_signal(it: _Statement) -> StopSignal:
    return StopSignal(**it.place, signal=it.one("SIGNAL"))


def _maintainer(it: _Statement) -> Maintainer:
    return Maintainer(**it.place, author=it.one("NAME"))


def _expose(it: _Statement) -> Expose:
    return Expose(**it.place, ports=tuple(split_at_space(it.one("PORT"))))


def _volume(it: _Statement) -> Volume:
    it.one("PATH")
    paths = tuple(path.strip() for path in it.list())
    if not paths or not all(paths):
        raise FormatError("VOLUME has an empty path: write VOLUME PATH")
    return Volume(**it.place, paths=paths)


def _healthcheck(it: _Statement) -> Healthcheck:
    durations = ("interval", "timeout", "start-period", "start-interval")
    flags = it.flags(*durations, "retries")
    kind, rest = split_first(it.rest)
    if kind.upper() == "NONE":
        if rest or it.given:
            raise FormatError("HEALTHCHECK NONE has neither flags nor arguments")
        return Healthcheck(**it.place, command=None)
    if kind.upper() != "CMD":
        raise FormatError(f"HEALTHCHECK {kind[:60]}: write HEALTHCHECK [FLAGS] CMD COMMAND, or HEALTHCHECK NONE")
    it.rest = rest
    if rest in ("", "[]"):
        raise FormatError("HEALTHCHECK CMD has no command: write HEALTHCHECK CMD COMMAND")
    command = it.command()
    interval, timeout, start_period, start_interval = (parse_duration(name, flags.text(name)) for name in durations)
    return Healthcheck(
        **it.place, command=command, interval=interval, timeout=timeout, start_period=start_period,
        start_interval=start_interval, retries=parse_retries(flags.text("retries")),
    )  # fmt: skip


def _onbuild(it: _Statement) -> Onbuild:
    trigger = it.one("INSTRUCTION")
    name = split_first(trigger)[0].upper()
    if name in ("ONBUILD", "FROM", "MAINTAINER"):
        raise FormatError(f"ONBUILD {name} is not possible: every other instruction is")
    line = Line(it.line.number, it.line.last, trigger, it.line.raw, it.line.heredocs)
    it.advice += read_instruction(line, it.escape)[1]
    for heredoc in it.line.heredocs:
        trigger += f"\n{heredoc.content}{heredoc.name}"
    return Onbuild(**it.place, trigger=trigger)


_READERS: dict[str, Callable[[_Statement], Instruction]] = {
    "ADD": _add,
    "ARG": _arg,
    "CMD": _cmd,
    "COPY": _copy,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "FROM": _from,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "MAINTAINER": _maintainer,
    "ONBUILD": _onbuild,
    "RUN": _run,
    "SHELL": _shell,
    "STOPSIGNAL": _stop_signal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
