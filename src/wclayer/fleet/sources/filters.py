"""`Filters`: which references of a source are meant, by their repositories and tags."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import translate

from wclayer.errors import InvalidParameterError

_LONGEST = 1024


class Filters:
    """Which references are meant: those whose repository fits a pattern, and whose tag fits one.

    Patterns are those of a shell: `*`, `?` and `[…]`; `*` also stands for parts with a `/`. The case counts.

    Args:
        names: patterns of repositories, without the registry ("team/*"); none of them means all repositories.
        tags: patterns of tags; none of them means all tags. With one, a reference without a tag is not meant.

    Raises:
        InvalidParameterError: a pattern is empty, or longer than 1024 characters.
    """

    def __init__(self, names: Sequence[str] = (), tags: Sequence[str] = ()) -> None:
        self._names = [_compiled(pattern) for pattern in names]
        self._tags = [_compiled(pattern) for pattern in tags]

    def has_repository(self, repository: str) -> bool:
        """Returns whether a repository is meant."""
        return not self._names or any(pattern.match(repository) for pattern in self._names)

    def has_tag(self, tag: str) -> bool:
        """Returns whether a tag is meant."""
        return not self._tags or any(pattern.match(tag) for pattern in self._tags)

    def has(self, repository: str, tag: str) -> bool:
        """Returns whether a reference is meant."""
        return self.has_repository(repository) and self.has_tag(tag)


def _compiled(pattern: str) -> re.Pattern[str]:
    if not 0 < len(pattern) <= _LONGEST:
        raise InvalidParameterError(pattern[:80] or "''", f"a pattern has 1 to {_LONGEST} characters, such as team/*")
    return re.compile(translate(pattern))
