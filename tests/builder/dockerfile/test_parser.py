"""Lines, stages and instructions of Dockerfiles."""

from __future__ import annotations

import pickle
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wclayer.builder.dockerfile.errors import DockerfileError, Problem
from wclayer.builder.dockerfile.forms import Assignment
from wclayer.builder.dockerfile.instructions import (
    Cmd,
    CommandLine,
    Copy,
    Instruction,
    Onbuild,
    Run,
)
from wclayer.builder.dockerfile.lines import MAX_LINE, MAX_SIZE, decode_dockerfile
from wclayer.builder.dockerfile.parser import MAX_INSTRUCTIONS, Dockerfile, parse_dockerfile, parse_trigger
from wclayer.builder.dockerfile.words import Expander
from wclayer.errors import FormatError

_BACKTICK = "# escape=`\n"


def _parsed(text: str) -> Dockerfile:
    return parse_dockerfile(text, "Dockerfile")


def _one(text: str, escape: str = "\\") -> Instruction:
    """The instruction that a text means, on line 2."""
    file = _parsed(f"# escape={escape}\nFROM base\n{text}\n")
    (instruction,) = file.stages[0].instructions
    assert (instruction.line, instruction.text) == (3, instruction.text)
    return instruction


def _refusal(text: str) -> str:
    with pytest.raises(DockerfileError) as caught:
        _parsed(text)
    return str(caught.value)


# Lines


def test_lines_are_continued_and_numbered() -> None:
    file = _parsed(
        "\ufeff# escape=`\r\n\r\nFROM a `\r\n  AS b\r\n# c\r\nRUN x `\r\n  # inside\r\n  && y` \r\n z\r\n\r\nCMD q"
    )
    start, run, cmd = file.instructions
    assert (start.line, start.last_line, start.text) == (3, 4, "FROM a   AS b")
    assert (run.line, run.last_line, run.text) == (6, 9, "RUN x   && y z")
    assert run.raw == "RUN x `\r\n  # inside\r\n  && y` \r\n z\r"
    assert (cmd.line, cmd.text) == (11, "CMD q")
    assert file.escape == "`"


def test_a_backslash_continues_a_line_without_the_directive() -> None:
    file = _parsed("FROM a\nCOPY x C:\\dst\\\nRUN dir\nCOPY y C:\\dst\\\\\nRUN dir\n")
    texts = [each.text for each in file.stages[0].instructions]
    assert texts == ["COPY x C:\\dstRUN dir", "COPY y C:\\dst\\\\", "RUN dir"]
    (advice,) = file.advice
    assert advice.line == 3
    assert "escape=`" in advice.detail


def test_with_the_directive_a_backslash_is_the_end_of_a_path() -> None:
    file = _parsed(_BACKTICK + "FROM a\nCOPY x C:\\dst\\\nRUN dir\n")
    assert [each.text for each in file.stages[0].instructions] == ["COPY x C:\\dst\\", "RUN dir"]
    assert file.advice == ()


def test_a_file_that_ends_within_a_line_is_told() -> None:
    file = _parsed("FROM a\nVOLUME C:\\\n")
    assert file.stages[0].instructions[0].text == "VOLUME C:"
    assert [(each.line, "the file ends with" in each.detail) for each in file.advice] == [(2, True)]


@pytest.mark.parametrize("text", ["STOPSIGNAL foo", "STOPSIGNAL $x", "STOPSIGNAL 0", "ENV $x=1", "LABEL ''=1"])
def test_words_that_stand_for_nothing_possible_are_refused(text: str) -> None:
    with pytest.raises(FormatError, match=r"STOPSIGNAL|empty name"):
        _one(text).expanded(Expander({}))


def test_an_empty_line_between_continued_lines_is_told() -> None:
    file = _parsed("FROM a\nRUN x \\\n\n  y\n")
    assert file.stages[0].instructions[0].text == "RUN x   y"
    assert [each.line for each in file.advice] == [3]


@pytest.mark.parametrize(
    ("text", "escape", "syntax"),
    [
        ("#escape=`\nFROM a", "`", ""),
        ("# Syntax = docker/dockerfile:1 \n#  ESCAPE=`\n# check=skip=all\nFROM a", "`", "docker/dockerfile:1"),
        ("# comment\n# escape=`\nFROM a", "\\", ""),
        ("\n# escape=`\nFROM a", "\\", ""),
        ("# other=1\n# escape=`\nFROM a", "\\", ""),
        ("FROM a\n# escape=`", "\\", ""),
        ("# escape=\\\nFROM a", "\\", ""),
    ],
)
def test_directives_are_at_the_top(text: str, escape: str, syntax: str) -> None:
    file = _parsed(text)
    assert (file.escape, file.syntax) == (escape, syntax)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("# escape=^\nFROM a", "Dockerfile:1: '^' is not an escape character"),
        ("# escape=`\n# escape=`\nFROM a", "Dockerfile:2: the directive 'escape' is here for the second time"),
        ("", "Dockerfile: has no instructions"),
        ("# only\n\n", "Dockerfile: has no instructions"),
        ("ARG A\n", "Dockerfile:1: the file has no FROM"),
        ("RUN a\nFROM b", "Dockerfile:1: RUN is before the first FROM"),
        ("FROM a\nRUN <<EOF\nx\n", "Dockerfile:2: the heredoc 'EOF' has no line 'EOF'"),
        ("FROM a\nRUN x\0", "Dockerfile:2: the line has a NUL"),
        ("FROM a\nRUN " + "x" * MAX_LINE, f"more than {MAX_LINE}"),
        ("FROM a\n" + "#\n" * MAX_SIZE, "which is no Dockerfile"),
        ("FROM a\n" + "USER x\n" * MAX_INSTRUCTIONS, f"Dockerfile:{MAX_INSTRUCTIONS + 1}: the file has more than"),
    ],
)
def test_a_wrong_file_is_refused(text: str, told: str) -> None:
    assert told in _refusal(text)


def test_all_wrong_lines_are_told_at_once() -> None:
    lines = _refusal("ENV A=1\nFROM a\nCOYP a b\nRUN ok\nCMD\n").splitlines()
    assert [line.split(": ")[0] for line in lines] == ["Dockerfile:1", "Dockerfile:3", "Dockerfile:5"]
    assert "'COYP' is no instruction: is COPY meant?" in lines[1]


def test_only_so_many_wrong_lines_are_told() -> None:
    lines = _refusal("FROM a\n" + "NONSENSE\n" * 30).splitlines()
    assert len(lines) == 21
    assert lines[-1] == "and 10 more problems"


def test_an_error_names_its_place_and_is_pickled() -> None:
    error = DockerfileError.of("D", [Problem(3, "x"), Problem(4, "y")])
    assert (error.path, error.detail, error.exit_status) == ("D:3", "x\nD:4: y", 6)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_the_bytes_of_a_dockerfile_are_utf_8() -> None:
    assert decode_dockerfile("\ufeffFROM ä".encode(), "D") == "\ufeffFROM ä"
    for data, told in (
        (b"\xff\xfeF\0", "UTF-16"),
        (b"FROM a\nRUN \xe4", "D:2: byte 0xe4 is not UTF-8"),
        (b"#" * (MAX_SIZE + 1), "larger"),
    ):
        with pytest.raises(DockerfileError, match=told):
            decode_dockerfile(data, "D")


# Stages


def test_stages_are_found_by_name_and_number() -> None:
    file = _parsed("ARG V=1\nARG W\nFROM a AS One\nFROM --platform=windows/amd64 b\nFROM scratch as two\nUSER x\n")
    assert [each.arguments for each in file.arguments] == [(Assignment("V", "1"),), (Assignment("W", None),)]
    starts = [stage.start for stage in file.stages]
    assert [(each.image, each.platform, each.alias) for each in starts] == [
        ("a", "", "one"), ("b", "windows/amd64", ""), ("scratch", "", "two"),
    ]  # fmt: skip
    assert [len(stage.instructions) for stage in file.stages] == [0, 0, 1]
    assert file.find_stage("ONE") is file.stages[0]
    assert file.find_stage("1") is file.stages[1]
    for text, before in (("two", 2), ("2", 2), ("3", None), ("none", None), ("", None), ("²", None), ("-1", None)):
        assert file.find_stage(text, before) is None


def test_the_last_stage_of_a_name_is_meant_and_told() -> None:
    file = _parsed("FROM a AS x\nFROM b AS x\n")
    assert file.find_stage("x") is file.stages[1]
    assert [each.line for each in file.advice] == [2]


# Instructions


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("COPY a b C:/x/", {"sources": ("a", "b"), "destination": "C:/x/"}),
        ('COPY ["a b", "C:\\\\x y"]', {"sources": ("a b",), "destination": "C:\\x y"}),
        (
            "COPY --from=build --chown=app --acl=D:(A;;FA;;;SY) --link --exclude=*.pdb --exclude=obj x y",
            {
                "origin": "build",
                "chown": "app",
                "acl": "D:(A;;FA;;;SY)",
                "link": True,
                "exclude": ("*.pdb", "obj"),
                "sources": ("x",),
                "destination": "y",
            },
        ),
        ('COPY --acl="O:BA D:" -- --x y', {"acl": "O:BA D:", "sources": ("--x",), "destination": "y"}),
        (
            "ADD --checksum=sha256:00 --unpack=false https://a/b c",
            {"checksum": "sha256:00", "unpack": False, "sources": ("https://a/b",)},
        ),
        ("ADD a.tar c", {"unpack": None, "link": False}),
        (
            'ENV A=1 B="two words" c=C:\\\\x',
            {"variables": (Assignment("A", "1"), Assignment("B", '"two words"'), Assignment("c", "C:\\\\x"))},
        ),
        ("ENV A  b c=d ", {"variables": (Assignment("A", "b c=d"),)}),
        ("LABEL a.b=\"x y\" 'c d'=1", {"labels": (Assignment("a.b", '"x y"'), Assignment("'c d'", "1"))}),
        ("ARG A B=1 C=", {"arguments": (Assignment("A", None), Assignment("B", "1"), Assignment("C", ""))}),
        ("WORKDIR C:/a b", {"path": "C:/a b"}),
        ("USER ContainerUser", {"user": "ContainerUser"}),
        ("EXPOSE 80 443/tcp", {"ports": ("80", "443/tcp")}),
        ("VOLUME C:/a C:/b", {"paths": ("C:/a", "C:/b")}),
        ('VOLUME ["C:\\\\a"]', {"paths": ("C:\\a",)}),
        ("STOPSIGNAL SIGTERM", {"signal": "SIGTERM"}),
        ("MAINTAINER A B <a@b>", {"author": "A B <a@b>"}),
        ('SHELL ["cmd", "/S", "/C"]', {"words": ("cmd", "/S", "/C")}),
        ("RUN a && b", {"command": CommandLine(("a && b",), True)}),
        ('RUN ["a", "b"]', {"command": CommandLine(("a", "b"), False)}),
        ("RUN --network=none a", {"command": CommandLine(("a",), True)}),
        ("CMD []", {"command": CommandLine((), False)}),
        ("cmd x", {"command": CommandLine(("x",), True)}),
        ('ENTRYPOINT [ "a" , "\\ud800" ]', {"command": CommandLine(("a", "\ufffd"), False)}),
        ("HEALTHCHECK NONE", {"command": None}),
        (
            "HEALTHCHECK --interval=1m30s --timeout=1.5s --start-period=0 --start-interval=100ms --retries=5 CMD x y",
            {
                "command": CommandLine(("x y",), True),
                "interval": 90 * 10**9,
                "timeout": 1500 * 10**6,
                "start_period": 0,
                "start_interval": 10**8,
                "retries": 5,
            },
        ),
        ('HEALTHCHECK cmd ["x"]', {"command": CommandLine(("x",), False)}),
        ("ONBUILD COPY . C:/src", {"trigger": "COPY . C:/src"}),
    ],
)
def test_an_instruction_is_read(text: str, expected: dict[str, object]) -> None:
    instruction = _one(text)
    assert instruction.name == text.split()[0].upper()
    assert {name: getattr(instruction, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("FROM", "write FROM IMAGE"),
        ("FROM a b", "write FROM IMAGE"),
        ("FROM a AS 1x", "is no name of a stage"),
        ("FROM a OF b", "write FROM IMAGE"),
        ("ENV", "ENV names nothing"),
        ("ENV A", "ENV A has no value"),
        ("ENV A=1 B", "'B' without '='"),
        ("ENV =1", "no name before '=1'"),
        ("LABEL A", "LABEL A has no value"),
        ("ARG", "ARG names nothing"),
        ("ARG =1", "no name before"),
        ("COPY a", "needs a source and a destination"),
        ("COPY", "needs a source and a destination"),
        ("COPY []", "needs a source"),
        ("COPY [1]", "more than strings"),
        ("COPY --chmod=755 a b", "--acl takes a security descriptor"),
        ("COPY --parents a b", "COPY --parents is not supported"),
        ("COPY --frm=x a b", "has no flag --frm: is --from meant?"),
        ("COPY --from a b", "--from has no value"),
        ("COPY --from=a --from=b c d", "--from is given twice"),
        ("COPY --link=maybe a b", "possible are true and false"),
        ("COPY --from=$x a b", "has a variable"),
        ('COPY --from="a b', "without a second one"),
        ("ADD --keep-git-dir=true a b", "repositories are not fetched"),
        ("RUN", "RUN has no command; an empty one is RUN []"),
        ("RUN --mount=type=cache,target=C:/x y", "RUN --mount is not supported"),
        ("RUN --network=x y", "possible are default"),
        ("RUN --security=insecure y", "possible are sandbox"),
        ("RUN [1]", "more than strings"),
        ("CMD --x y", "it has no flags"),
        ("SHELL cmd /S", "is no JSON array of strings"),
        ("SHELL []", "is no JSON array of strings"),
        ("SHELL", "has no argument"),
        ("WORKDIR", "WORKDIR has no argument"),
        ("USER", "USER has no argument"),
        ("EXPOSE", "EXPOSE has no argument"),
        ("VOLUME", "VOLUME has no argument"),
        ('VOLUME [""]', "empty path"),
        ("VOLUME []", "empty path"),
        ("HEALTHCHECK", "write HEALTHCHECK"),
        ("HEALTHCHECK x", "HEALTHCHECK x: write"),
        ("HEALTHCHECK CMD", "has no command"),
        ("HEALTHCHECK CMD []", "has no command"),
        ("HEALTHCHECK NONE x", "neither flags"),
        ("HEALTHCHECK --interval=5 CMD x", "is no duration"),
        ("HEALTHCHECK --interval=5us CMD x", "shorter than 1ms"),
        ("HEALTHCHECK --interval=999999999h CMD x", "292 years"),
        ("HEALTHCHECK --retries=-1 CMD x", "is no number"),
        ("ONBUILD", "ONBUILD has no argument"),
        ("ONBUILD FROM x", "ONBUILD FROM is not possible"),
        ("ONBUILD ONBUILD RUN x", "not possible"),
        ("ONBUILD CPOY", "is COPY meant?"),
        ("ONBUILD COPY a", "needs a source"),
        ("RUN echo x > <<EOF\nEOF", "has a heredoc inside a command"),
        ("RUN <<A <<B\nA\nB", "has a heredoc inside a command"),
        ("COPY a <<EOF\nEOF", "as its destination"),
    ],
)
def test_a_wrong_instruction_is_refused(text: str, told: str) -> None:
    message = _refusal(f"FROM base\n{text}\n")
    assert message.startswith("Dockerfile:2: ")
    assert told in message


@pytest.mark.parametrize("text", ["['a', 'b']", r'["C:\app\x.exe"]', '["a", "b"', "[" * 2000])
def test_what_looks_like_json_but_is_none_is_the_shell_form(text: str) -> None:
    assert cast("Cmd", _one(f"CMD {text}")).command == CommandLine((text,), True)


def test_broken_json_is_told() -> None:
    file = _parsed('FROM a\nENTRYPOINT ["C:\\app\\x.exe"]\nRUN [ -f x ] \n')
    assert [each.line for each in file.advice] == [2]
    assert "a backslash is written twice" in file.advice[0].detail


# Heredocs


def test_a_heredoc_is_a_command() -> None:
    run = cast("Run", _one("RUN <<EOF\nmkdir a\n# no comment\\\n\nEOF"))
    assert run.command == CommandLine(("mkdir a\n# no comment\\\n\n",), True)
    assert run.heredoc is not None
    assert (run.heredoc.line, run.last_line) == (4, 7)


def test_heredocs_are_files() -> None:
    copy = cast("Copy", _one("COPY x <<a.txt <<-'b.txt' C:/dst/\n$V 'q'\na.txt\n\t\t$V\n\tb.txt"))
    assert copy.sources == ("x",)
    assert [(each.name, each.content, each.expands) for each in copy.heredocs] == [
        ("a.txt", "$V 'q'\n", True), ("b.txt", "$V\n", False),
    ]  # fmt: skip
    assert [each.content for each in copy.expanded(Expander({"V": "1"})).heredocs] == ["1 'q'\n", "$V\n"]


def test_a_backslash_that_goes_away_in_a_heredoc_is_told() -> None:
    file = _parsed(_BACKTICK + "FROM a\nCOPY <<x C:\\y\nC:\\z\nx\nCOPY <<'x' C:\\y\nC:\\z\nx\n")
    assert [each.line for each in file.advice] == [3]


@pytest.mark.parametrize(
    "text", ['RUN ["a", "<<EOF"]', "CMD x <<EOF", "RUN echo '<<EOF", 'RUN echo "<<EOF"', "RUN x << 1"]
)
def test_what_is_no_heredoc(text: str) -> None:
    _one(text)


def test_onbuild_keeps_its_heredoc() -> None:
    onbuild = cast("Onbuild", _one("ONBUILD COPY <<x C:/y\nz\nx"))
    assert onbuild.trigger == "COPY <<x C:/y\nz\nx"
    trigger = cast("Copy", parse_trigger(onbuild.trigger, "base"))
    assert trigger.heredocs[0].content == "z\n"


def test_triggers_of_a_base_are_read() -> None:
    copy = cast("Copy", parse_trigger("COPY . C:\\src\\", "base", "`"))
    assert copy.destination == "C:\\src\\"
    for text in ("", "RUN a\nRUN b", "FROM x", "ONBUILD RUN x", "NONSENSE", "COPY a"):
        with pytest.raises(DockerfileError, match=r"^base"):
            parse_trigger(text, "base")


# Which instructions are expanded, as Docker documents it


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ENV $V=$V", {"variables": (Assignment("1 2", "1 2"),)}),
        ("LABEL a=$V", {"labels": (Assignment("a", "1 2"),)}),
        (
            "COPY --chown=$V --acl=$V --exclude=$V $V $V",
            {"sources": ("1 2",), "destination": "1 2", "chown": "1 2", "acl": "1 2", "exclude": ("$V",)},
        ),
        ('COPY ["$V", "x"]', {"sources": ("1 2",)}),
        ("ADD --checksum=$V a b", {"checksum": "1 2"}),
        ("WORKDIR $V", {"path": "1 2"}),
        ("USER $V", {"user": "1 2"}),
        ("EXPOSE $V", {"ports": ("1/tcp", "2/tcp")}),
        ("EXPOSE 8001-8002/UDP 8001/udp", {"ports": ("8001/udp", "8002/udp")}),
        ("VOLUME $V", {"paths": ("1 2",)}),
        ("STOPSIGNAL ${V% 2}", {"signal": "1"}),
        ("RUN $V", {"command": CommandLine(("$V",), True)}),
        ("CMD $V", {"command": CommandLine(("$V",), True)}),
        ("ENTRYPOINT $V", {"command": CommandLine(("$V",), True)}),
        ('SHELL ["$V"]', {"words": ("$V",)}),
        ("HEALTHCHECK CMD $V", {"command": CommandLine(("$V",), True)}),
        ("ONBUILD USER $V", {"trigger": "USER $V"}),
        ("MAINTAINER $V", {"author": "$V"}),
        ("ARG A=$V", {"arguments": (Assignment("A", "$V"),)}),
    ],
)
def test_docker_s_instructions_are_expanded(text: str, expected: dict[str, object]) -> None:
    expanded = _one(text).expanded(Expander({"v": "1 2"}))
    assert {name: getattr(expanded, name) for name in expected} == expected


def test_from_is_expanded() -> None:
    start = _parsed("FROM --platform=$P i:${T:-x}").stages[0].start.expanded(Expander({"P": "windows/arm64"}))
    assert (start.platform, start.image) == ("windows/arm64", "i:x")


@pytest.mark.parametrize("port", ["0", "65536", "x", "80/x", "9-8", "80-", "-1", "1-2-3", "123456"])
def test_what_is_no_port_is_refused(port: str) -> None:
    with pytest.raises(FormatError, match="is no port"):
        _one(f"EXPOSE {port}").expanded(Expander({}))


@given(st.text(st.sampled_from("FROM RUN COPY ENV <<EOF\n\\`\"'[]$={}#-a ")))
def test_any_text_gives_instructions_or_an_error(text: str) -> None:
    try:
        file = _parsed(text)
    except DockerfileError:
        return
    for instruction in file.instructions:
        assert instruction.raw in text
        try:
            instruction.expanded(Expander({"a": "b"}, file.escape))
        except FormatError:
            pass
