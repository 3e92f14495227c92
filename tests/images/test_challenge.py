"""What registries ask for is read as RFC 9110 has it, in one header or several."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wclayer.images.registry.challenge import Challenge, parse_challenges

_TOKEN = st.text(string.ascii_letters + string.digits + "!#$%&'*+.^_`|~-", min_size=1, max_size=12)
_VALUE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)
_CHALLENGE = st.builds(
    lambda scheme, values: Challenge(scheme.lower(), {name.lower(): value for name, value in values.items()}),
    _TOKEN,
    st.dictionaries(_TOKEN.map(str.lower), _VALUE, min_size=1, max_size=4),
)


def _written(challenge: Challenge) -> str:
    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    return f"{challenge.scheme} " + ",".join(f"{name}={quoted(value)}" for name, value in challenge.parameters.items())


@given(st.lists(st.lists(_CHALLENGE, max_size=3), max_size=3))
def test_challenges_in_several_headers_are_read_as_they_were_written(headers: list[list[Challenge]]) -> None:
    texts = [", ".join(map(_written, challenges)) for challenges in headers]
    assert parse_challenges(texts) == [challenge for challenges in headers for challenge in challenges]


@given(st.lists(st.text(max_size=200), max_size=3))
def test_any_text_is_read_without_an_error(headers: list[str]) -> None:
    for challenge in parse_challenges(headers):
        assert challenge.scheme == challenge.scheme.lower()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"',
            [("bearer", {"realm": "https://auth.docker.io/token", "service": "registry.docker.io",
                         "scope": "repository:a/b:pull,push"})],
        ),
        ('Basic realm="a, Bearer b=\\"c\\""', [("basic", {"realm": 'a, Bearer b="c"'})]),
        ("Negotiate, NTLM , Basic realm=x", [("negotiate", {}), ("ntlm", {}), ("basic", {"realm": "x"})]),
        ("Negotiate YWJj==, Basic realm=x", [("negotiate", {}), ("basic", {"realm": "x"})]),
        ("bearer realm=https://host:5000/token , service = s", [("bearer", {"realm": "https://host:5000/token",
                                                                            "service": "s"})]),
        ('Basic realm="never ends', [("basic", {})]),
        ("", []),
    ],
)  # fmt: skip
def test_challenges_of_registries(text: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    assert [(item.scheme, dict(item.parameters)) for item in parse_challenges([text])] == expected


def test_a_long_header_takes_no_time() -> None:
    for text in ('"\\' * 100_000, "a " * 100_000, "a=" * 100_000, "Basic " + "x=y," * 50_000, "a " + " ," * 100_000):
        parse_challenges([text])
