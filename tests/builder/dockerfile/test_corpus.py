"""Dockerfiles for Windows in the style of public ones: each is parsed, or refused at the right lines."""

from __future__ import annotations

import re

import pytest

from tests.builder.dockerfile.corpus import EXPECTED, FOLDER, Expected
from wclayer.builder.dockerfile.errors import DockerfileError
from wclayer.builder.dockerfile.lines import decode_dockerfile
from wclayer.builder.dockerfile.parser import Dockerfile, parse_dockerfile


def _parsed(name: str) -> Dockerfile:
    return parse_dockerfile(decode_dockerfile((FOLDER / f"{name}.Dockerfile").read_bytes(), name), name)


def test_there_are_forty_and_each_has_its_expectation() -> None:
    assert {file.name.removesuffix(".Dockerfile") for file in FOLDER.iterdir()} == EXPECTED.keys()
    assert len(EXPECTED) >= 40


@pytest.mark.parametrize(("name", "expected"), EXPECTED.items(), ids=EXPECTED)
def test_a_dockerfile_is_parsed_or_refused(name: str, expected: Expected) -> None:
    if not expected.by_parser:
        assert tuple(each.line for each in _parsed(name).advice) == expected.advice
        return
    with pytest.raises(DockerfileError) as caught:
        _parsed(name)
    told = re.findall(rf"^{name}:(\d+): (.*)$", str(caught.value), re.MULTILINE)
    assert [int(line) for line, _ in told] == [line for line, _ in expected.refusals]
    for (_, message), (_, part) in zip(told, expected.refusals, strict=True):
        assert part in message


def test_instructions_of_one_dockerfile_in_detail() -> None:
    file = _parsed("flannel-agent")
    assert [(each.line, each.name) for each in file.instructions] == [
        (2, "FROM"), (3, "RUN"), (4, "COPY"), (5, "FROM"), (6, "COPY"), (7, "COPY"), (8, "COPY"), (14, "USER"),
        (15, "ENTRYPOINT"),
    ]  # fmt: skip
    assert file.find_stage("prep", before=1) is file.stages[0]
