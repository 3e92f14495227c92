"""The examples of the help texts, as docs/commands.py finds them."""

from __future__ import annotations

import re
import runpy
from typing import NamedTuple

from tests.source import ROOT


class HelpExample(NamedTuple):
    """A line of a shell that the help of a verb shows.

    Attributes:
        verb: the words of the verb, such as "wclayer reg query".
        line: the command; what continues on further lines of the help is one line here.
    """

    verb: str
    line: str


def help_examples() -> list[HelpExample]:
    """Returns all examples, in the order of the verbs."""
    found = []
    for verb in runpy.run_path(str(ROOT / "docs" / "commands.py"))["verbs"]():
        for paragraph in verb.paragraphs:
            _, _, block = paragraph.partition("Example:\n")
            lines = re.sub(r"\\\n\s*", "", block).splitlines()
            found += [HelpExample(verb.path, line.strip()) for line in lines]
    return found
