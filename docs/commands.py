"""Writes docs/commands.md and the manual pages in docs/man/: every verb of the command, as its `--help` tells it.

    python docs/commands.py

Both are made of the help texts alone. tests/docs/test_commands.py fails while they differ.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click

from wclayer.cli.verbs import cli

DOCUMENT = Path(__file__).with_name("commands.md")
MANUAL = Path(__file__).with_name("man")
_HEAD = """\
# Commands

<!-- Made by `python docs/commands.py` from the help texts: change those, not this document. -->

Every verb of `wclayer`, as `wclayer VERB --help` tells it. The same texts are manual pages: `man wclayer-ls`, after
`pip install wclayer` or with pipx. [errors.md](errors.md) lists the exit statuses.
"""
_LITERAL = "\b"
"""The first line of a paragraph that click does not wrap."""


class Verb(NamedTuple):
    """A verb, or a verb of a group of verbs.

    Attributes:
        path: what is typed: `wclayer reg query`.
        line: its line in the list of verbs.
        usage: its arguments.
        paragraphs: its help. A paragraph of several lines that begins with the mark of a literal one is kept as it is.
        options: each option with its text.
        below: its own verbs, each with its line.
    """

    path: str
    line: str
    usage: str
    paragraphs: list[str]
    options: list[tuple[str, str]]
    below: list[tuple[str, str]]

    @property
    def page(self) -> str:
        """The name of its manual page."""
        return self.path.replace(" ", "-")


def verbs() -> Iterator[Verb]:
    """Yields the command itself, and then every verb in the order of the names, each group before its own verbs."""
    context = click.Context(cli, info_name="wclayer", **cli.context_settings)
    yield from _of(cli, context, "Windows container images and layers on any machine.")


def _of(command: click.Command, context: click.Context, line: str) -> Iterator[Verb]:
    below = dict(_lines(command, context))
    options = [each for each in command.get_params(context) if isinstance(each, click.Option)]
    records = [option.get_help_record(context) for option in options]
    yield Verb(
        path=context.command_path,
        line=line,
        usage=" ".join(command.collect_usage_pieces(context)),
        paragraphs=inspect.cleandoc(command.help or "").split("\n\n"),
        options=[record for record in records if record is not None],
        below=list(below.items()),
    )
    if isinstance(command, click.Group):
        for name, its_line in below.items():
            each = command.get_command(context, name)
            assert each is not None
            yield from _of(each, click.Context(each, info_name=name, parent=context, **each.context_settings), its_line)


def _lines(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    """Yields the verbs of a group, each with its line in the list."""
    if not isinstance(command, click.Group):
        return
    formatter = click.HelpFormatter(width=10_000, max_width=10_000)
    command.format_commands(context, formatter)
    for found in re.finditer(r"^  (\S+) +(.*)$", formatter.getvalue(), re.MULTILINE):
        yield found[1], found[2]


def document() -> str:
    """Returns the text of docs/commands.md."""
    return "\n".join([_HEAD, *(line for verb in verbs() for line in _section(verb))])


def _section(verb: Verb) -> Iterator[str]:
    level = "##" if verb.path.count(" ") < 2 else "###"
    yield from (f"{level} {verb.path}", "", "```text", f"{verb.path} {verb.usage}", "```", "")
    for paragraph in verb.paragraphs:
        if paragraph.startswith(_LITERAL):
            yield from ("```text", *paragraph.split("\n")[1:], "```", "")
        else:
            yield from (_markdown(" ".join(paragraph.split())), "")
    if verb.options:
        yield from ("| option | meaning |", "|---|---|")
        for option, meaning in verb.options:
            yield f"| `{option.replace('|', chr(92) + '|')}` | {_markdown(meaning)} |"
        yield ""
    if verb.below:
        yield from ("| verb | what it does |", "|---|---|")
        for name, line in verb.below:
            path = f"{verb.path} {name}"
            yield f"| [`{path}`](#{path.replace(' ', '-')}) | {_markdown(line)} |"
        yield ""


def _markdown(text: str) -> str:
    """Returns a text in which Markdown and HTML see no marks of theirs but those for code."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([\\*_\[\]<>|#$])", r"\\\1", part) for part in parts)


def manual() -> dict[str, str]:
    """Returns the manual pages by the names of their files (man(7), macros of man-db and groff)."""
    return {f"{verb.page}.1": "\n".join([*_page(verb), ""]) for verb in verbs()}


def _page(verb: Verb) -> Iterator[str]:
    yield f'.TH "{verb.page.upper()}" "1" "" "wclayer" "wclayer"'
    yield from (".SH NAME", f"{_roff(verb.page)} \\- {_roff(verb.line.rstrip('.'))}")
    yield from (".SH SYNOPSIS", f".B {_roff(verb.path)}", _roff(verb.usage))
    yield ".SH DESCRIPTION"
    for paragraph in verb.paragraphs:
        lines = paragraph.split("\n")
        if lines[0] == _LITERAL:
            yield from (".PP", ".nf", *map(_roff, lines[1:]), ".fi")
        else:
            yield from (".PP", _roff(" ".join(paragraph.split())))
    if verb.options:
        yield ".SH OPTIONS"
        for option, meaning in verb.options:
            yield from (".TP", f"\\fB{_roff(option)}\\fP", _roff(meaning))
    if verb.below:
        yield ".SH COMMANDS"
        for name, line in verb.below:
            yield from (".TP", f"\\fB{_roff(verb.page)}\\-{_roff(name)}\\fP(1)", _roff(line))
    elif verb.path.count(" ") > 1:
        above = verb.page.rpartition("-")[0]
        yield from (".SH SEE ALSO", f"\\fB{_roff(above)}\\fP(1)")


def _roff(text: str) -> str:
    """Returns a text in which roff sees no escapes, no hyphens to break at, no requests and nothing but ASCII."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    escaped = re.sub(r"[^\x00-\x7f]", lambda found: f"\\[u{ord(found[0]):04X}]", escaped)
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


def write() -> None:
    """Writes the document and the pages, and removes the pages of verbs that are no more."""
    DOCUMENT.write_text(document(), encoding="utf-8")
    pages = manual()
    MANUAL.mkdir(exist_ok=True)
    for old in MANUAL.glob("*.1"):
        if old.name not in pages:
            old.unlink()
    for name, text in pages.items():
        (MANUAL / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
