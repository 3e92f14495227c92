"""`parse_challenges`: what a registry asks for in the header `WWW-Authenticate` (RFC 9110, section 11.6.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_MAX_LENGTH = 16 << 10
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_SCHEME = re.compile(rf"[\s,]*({_TOKEN})(?=\s|,|\Z)")
_PARAMETER = re.compile(rf"[\s,]*({_TOKEN})\s*=\s*({_QUOTED}|[^\s,\"=][^\s,\"]*)(?=\s|,|\Z)")
"""A value without quotes may have more characters than RFC 9110 allows: some registries send addresses so."""
_TOKEN68 = re.compile(r"\s+[A-Za-z0-9._~+/-]+=*\s*(?=,|\Z)")
_ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to authenticate that a registry offers.

    Attributes:
        scheme: the scheme, in lower case ("basic", "bearer").
        parameters: the parameters, their names in lower case.
    """

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict, hash=False)


def parse_challenges(headers: Iterable[str]) -> list[Challenge]:
    """Returns the challenges in the headers `WWW-Authenticate` of an answer, in their order.

    One header may hold several challenges. What is not well-formed ends its header: the challenges before it count.

    Args:
        headers: the values of the headers. Of each, the first 16 KiB count.
    """
    return [challenge for text in headers for challenge in _parse(text[:_MAX_LENGTH])]


def _parse(text: str) -> list[Challenge]:
    found = []
    place = 0
    while (scheme := _SCHEME.match(text, place)) is not None:
        place = scheme.end()
        parameters: dict[str, str] = {}
        while (parameter := _PARAMETER.match(text, place)) is not None:
            place = parameter.end()
            parameters.setdefault(parameter[1].lower(), _unquoted(parameter[2]))
        if not parameters and (token := _TOKEN68.match(text, place)) is not None:
            place = token.end()
        found.append(Challenge(scheme[1].lower(), parameters))
    return found


def _unquoted(value: str) -> str:
    return _ESCAPED.sub(r"\1", value[1:-1]) if value.startswith('"') else value
