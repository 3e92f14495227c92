"""Which files of a build context count: the rules of a `.dockerignore` file.

The last rule that matches a path, or a directory above it, decides: a rule leaves out, a rule with `!` takes in again.
Case counts, as in Docker on every machine.

Reference: Docker's "Build context", section ".dockerignore files"; moby/patternmatcher.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass

from wclayer.builder.dockerfile.errors import DockerfileError
from wclayer.builder.dockerfile.ignore_patterns import IgnorePattern, parse_ignore_pattern
from wclayer.builder.dockerfile.lines import Advice
from wclayer.errors import FormatError

MAX_SIZE = 1 << 20
"""The most characters of the file."""
MAX_RULES = 5_000
"""The most rules of the file."""
_MAX_KNOWN = 4096
"""The directories whose results are kept for what is in them."""
_Flags = tuple[bool, ...]
"""For each rule, whether it matches a directory, or one above it."""


@dataclass(frozen=True, slots=True)
class _Rule:
    pattern: IgnorePattern
    keeps: bool


class IgnoreRules:
    """The rules of a `.dockerignore` file, or of the flags `--exclude` of COPY and ADD.

    Attributes:
        name: the name of the file; "" for flags.
        advice: what in the file is probably not meant so.
    """

    def __init__(self, rules: Iterable[_Rule], name: str = "", advice: Iterable[Advice] = ()) -> None:
        self.name = name
        self.advice = tuple(advice)
        self._rules = tuple(rules)
        self._known: dict[str, _Flags] = {}

    def is_ignored(self, path: str) -> bool:
        """Returns whether a file or directory is left out.

        Args:
            path: its path in the context, `/`-separated.
        """
        last = self._last(path)
        return last is not None and not self._rules[last].keeps

    def keeps_below(self, directory: str) -> bool:
        """Returns whether something below a directory that is left out can count. If not, nobody needs to look into it.

        Args:
            directory: its path in the context, `/`-separated.
        """
        last = self._last(directory)
        later = self._rules[0 if last is None else last + 1 :]
        return any(rule.keeps and rule.pattern.may_match_below(directory) for rule in later)

    def _last(self, path: str) -> int | None:
        """Returns the index of the last rule that matches a path, or a directory above it."""
        above = self._flags(path.rpartition("/")[0])
        for index in range(len(self._rules) - 1, -1, -1):
            if above[index] or self._rules[index].pattern.matches(path):
                return index
        return None

    def _flags(self, directory: str) -> _Flags:
        """Returns which rules match a directory. Those of the directories above it are asked for first."""
        pending = []
        while directory and directory not in self._known:
            pending.append(directory)
            directory = directory.rpartition("/")[0]
        flags = self._known[directory] if directory else (False,) * len(self._rules)
        if len(self._known) + len(pending) > _MAX_KNOWN:
            self._known.clear()
        for path in reversed(pending):
            flags = tuple(flag or rule.pattern.matches(path) for flag, rule in zip(flags, self._rules, strict=True))
            self._known[path] = flags
        return flags


def parse_ignore(text: str, name: str) -> IgnoreRules:
    """Returns the rules of a `.dockerignore` file.

    Args:
        text: the file.
        name: its name, for errors.

    Raises:
        DockerfileError: a line is no rule, or the file is too large.
    """
    if len(text) > MAX_SIZE:
        raise DockerfileError(name, f"has more than {MAX_SIZE} characters")
    rules: list[_Rule] = []
    advice: list[Advice] = []
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        if line.startswith("#") or not line.strip():
            continue
        if len(rules) == MAX_RULES:
            raise DockerfileError.at(name, number, f"the file has more than {MAX_RULES} rules")
        try:
            rules.append(_parse_rule(line))
        except FormatError as error:
            raise DockerfileError.at(name, number, str(error)) from None
        if re.search(r"\\[A-Za-z0-9_.]", line):
            advice.append(
                Advice(number, f"in {line.strip()[:60]!r}, a '\\' means the next character; a path is written with /")
            )
    return IgnoreRules(rules, name, advice)


def exclude_rules(patterns: Iterable[str]) -> IgnoreRules:
    """Returns the rules of the flags `--exclude` of one COPY or ADD.

    Raises:
        FormatError: one is no pattern.
    """
    rules = [_parse_rule(pattern) for pattern in patterns if pattern.strip()]
    if any(rule.keeps for rule in rules):
        raise FormatError("--exclude=!PATTERN is not supported; what takes in again is possible in .dockerignore only")
    return IgnoreRules(rules)


def _parse_rule(line: str) -> _Rule:
    text = line.strip()
    keeps = text.startswith("!")
    if keeps:
        text = text[1:].strip()
        if not text:
            raise FormatError("'!' names nothing: write !PATTERN")
    # A directory may have a / behind it; one before it means the top of the context, which every path means.
    cleaned = posixpath.normpath(text).lstrip("/")
    return _Rule(parse_ignore_pattern(cleaned), keeps)
