"""The language of cmd.exe: expansion, quotes, carets, operators, blocks, conditions, redirections, refusals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builder.scratches import Console, scratch_view
from wclayer.builder.commands.expansion import expand_variables
from wclayer.builder.commands.run import parse_run
from wclayer.builder.commands.state import Environment, PlannedState, Shell, process_environment
from wclayer.errors import LayerError, NotSupportedError


@pytest.fixture
def console(tmp_path: Path, bases: Path) -> Iterator[Console]:
    with scratch_view(tmp_path, bases) as view:
        yield Console(view, variables={"VAR": "qwerty", "PATHS": r"C:\a;C:\b", "Amp": "a&b"})


EXPANSIONS = {
    "%VAR%": "qwerty",
    "%var%": "qwerty",
    "%VAR:~0,1%": "q",
    "%VAR:~0,3%": "qwe",
    "%VAR:~2,2%": "er",
    "'%VAR:~-2,3%'": "'ty'",
    "'%VAR:~-2,1%'": "'t'",
    "%VAR:~2,-1%": "ert",
    "%VAR:~2,-3%": "e",
    "'%VAR:~-2,-4%'": "''",
    "%VAR:~-3,-2%": "r",
    "%VAR:~2%": "erty",
    "%VAR:~-2%": "ty",
    "%VAR:w=W%": "qWerty",
    "%VAR:WER=-%": "q-ty",
    "%VAR:wer=%": "qty",
    "%VAR:*r=x%": "xty",
    "%VAR:*zz=x%": "qwerty",
    "%VAR:zz=x%": "qwerty",
    "%PATHS:;=,%": r"C:\a,C:\b",
    "%UNKNOWN%S": "%UNKNOWN%S",
    "P%VAR": "P%VAR",
    "%%": "%%",
    "%%VAR%%": "%qwerty%",
    "%hello%%VAR%": "%hello%qwerty",
    "100%% %VAR%": "100%% qwerty",
    "^%VAR^%": "^%VAR^%",
    "%ERRORLEVEL%": "0",
    "%CD%": r"C:\app",
}


@pytest.mark.parametrize(("text", "expected"), EXPANSIONS.items())
def test_variables_are_replaced_as_on_a_command_line(text: str, expected: str) -> None:
    environment = Environment({"VAR": "qwerty", "PATHS": r"C:\a;C:\b"})
    state = PlannedState(environment=environment, directory=r"C:\app")
    assert expand_variables(text, state, "RUN") == expected


SAID = {
    "echo word": "word\r\n",
    "echo word ": "word \r\n",
    "echo  word": " word\r\n",
    'echo "a & b"': '"a & b"\r\n',
    "echo.": "\r\n",
    "echo.word": "word\r\n",
    "echo:word": "word\r\n",
    "echo(word)": "word)\r\n",
    "@echo word": "word\r\n",
    "@echo off & echo word": "word\r\n",
    "echo": "ECHO is on.\r\n",
    "echo hell^o": "hello\r\n",
    "echo a^&b": "a&b\r\n",
    "echo a^^b": "a^b\r\n",
    'echo "a^&b"': '"a^&b"\r\n',
    'echo ^"a & echo b^"': '"a \r\nb"\r\n',
    "echo a& echo b": "a\r\nb\r\n",
    "echo a && echo b": "a \r\nb\r\n",
    "echo a || echo b": "a \r\n",
    "(echo a& echo b)": "a\r\nb\r\n",
    "(echo a)&& (echo b)": "a\r\nb\r\n",
    "mkdir base.txt 2>nul || echo b": "b\r\n",
    "mkdir base.txt 2>nul && echo a || echo b": "b\r\n",
    "mkdir base.txt 2>nul & echo c": "c\r\n",
    "if 1==1 echo a": "a\r\n",
    "if 1==0 echo a & echo b": "",
    "if 1==1 (echo a) else echo b": "a\r\n",
    "if 1==0 (echo a) else echo b": "b\r\n",
    "if 1==0 (echo a) else (echo b)": "b\r\n",
    "if not 1==0 echo a": "a\r\n",
    "if a==A echo a": "",
    "if /i a==A echo a": "a\r\n",
    "if /i not a==A (echo a) else echo b": "b\r\n",
    'if "a b"=="a b" echo a': "a\r\n",
    "if 1 EQU 1 echo a": "a\r\n",
    "if 2 gtr 10 (echo a) else echo b": "b\r\n",
    "if exist base.txt echo a": "a\r\n",
    "if exist *.txt echo a": "a\r\n",
    "if not exist nothing echo a": "a\r\n",
    "if exist C:\\t\\ echo a": "a\r\n",
    "if exist C:\\t\\base.txt\\ (echo a) else echo b": "b\r\n",
    'if exist "base.txt" echo a': "a\r\n",
    "if defined var echo a": "a\r\n",
    "if defined nothing (echo a) else echo b": "b\r\n",
    "if errorlevel 1 (echo a) else echo b": "b\r\n",
    "mkdir base.txt 2>nul & if errorlevel 1 echo a": "a\r\n",
    "if 1==1 if 1==1 echo a": "a\r\n",
    "rem echo a & echo b": "",
    "rem & echo b": "b\r\n",
    "echo a 2>&1": "a \r\n",
    "echo a 1>&2": "",
    "echo a>nul": "",
    "echo a>nul b": "",
    "echo %VAR%%Amp:&=^&%": "qwertya&b\r\n",
    "set X=1& echo %X%": "%X%\r\n",
    'set "X=1" & cmd /c echo %X%': "1\r\n",
    "set X=1 & cmd /c echo [%X%]": "[1 ]\r\n",
    'set "X=1" & cmd /c "echo %X%& echo b"': "1\r\nb\r\n",
    "cmd /c set X=1& cmd /c echo %X%": "%X%\r\n",
    "cd C:\\ & cd": "C:\\\r\n",
    "cd..& cd": "C:\\\r\n",
    "cd Nothing 2>nul & cd": "C:\\t\r\n",
    "pushd C:\\Windows & cd & popd & cd": "C:\\Windows\r\nC:\\t\r\n",
    "cmd /c cd C:\\& cd": "C:\\t\r\n",
    "exit 0 & echo a": "",
    "type base.txt": "base\r\n",
    "type nul": "",
    "c:& cd": "C:\\t\r\n",
}


@pytest.mark.parametrize(("line", "expected"), SAID.items())
def test_a_line_says_what_it_says_on_windows(console: Console, line: str, expected: str) -> None:
    assert console.say(line) == expected


CODES = {
    "echo a": 0,
    "exit 3": 3,
    "exit /b 4": 4,
    "exit/b 5": 5,
    "cmd /c exit 6": 6,
    "cmd /c exit 6 & echo a": 0,
    "cmd /c exit 6 && echo a": 6,
    "cd nothing": 1,
    "cd nothing & exit": 1,
    "popd": 1,
    "type nothing": 1,
    "if 1==0 echo a": 0,
    "if 1==1 cd nothing": 1,
    "(cd nothing)": 1,
    "echo a > nowhere\\b": 1,
    "echo a > nowhere\\b & exit": 0,
    "echo a > nowhere\\b || exit": 1,
    "rem a": 0,
    "@": 0,
}


@pytest.mark.parametrize(("line", "code"), CODES.items())
def test_a_line_ends_with_the_code_of_its_last_command(console: Console, line: str, code: int) -> None:
    assert console.run(line) == code


def test_redirections_write_exactly_what_is_said(console: Console) -> None:
    for line, name, data in (
        ("echo foo>a", "a", b"foo\r\n"),
        ("echo foo >a", "a", b"foo \r\n"),
        ("echo foo 1> a", "a", b"foo \r\n"),
        ("echo foo1> a", "a", b"foo1\r\n"),
        ("echo b >> a", "a", b"foo1\r\nb \r\n"),
        (">b echo x", "b", b"x\r\n"),
        ("echo x>b y", "b", b"x y\r\n"),
        ("(echo 1& echo 2)>c", "c", b"1\r\n2\r\n"),
        ('echo q>"d e"', "d e", b"q\r\n"),
        ("type nul > e", "e", b""),
        ("type base.txt >> e & type base.txt>>e", "e", b"base\r\nbase\r\n"),
        ("cd nothing 2> f", "f", b"The system cannot find the path specified.\r\n"),
        ("(echo o& cd nothing) > g 2>&1", "g", b"o\r\nThe system cannot find the path specified.\r\n"),
        ("echo \u00e9\u2502> h", "h", b"\x82\xb3\r\n"),
    ):
        console.run(line)
        assert console.view.read_bytes(f"C:\\t\\{name}") == data, line


@pytest.mark.parametrize(
    "line",
    [
        "del base.txt > base.txt", "copy base.txt b > b", "move base.txt b >> base.txt", "mkdir d & (rd /s /q d)> d\\f",
        "(echo a> b)> b", "cd nothing > b 2> b", "ren base.txt b >> base.txt", "(echo a& del b)> b",
    ],
)  # fmt: skip
def test_a_file_that_takes_output_is_in_use(console: Console, line: str) -> None:
    with pytest.raises(NotSupportedError, match="takes the output of a command") as caught:
        console.run(line)
    assert caught.value.path == "Dockerfile:3"


REFUSED = {
    "msiexec /i a.msi": "msiexec",
    "echo a & C:\\setup.exe /q": "C:\\setup.exe",
    "if 1==0 foo": "foo",
    "echo a | more": "|",
    "for %i in (a b) do echo %i": "for",
    "goto end": "goto",
    ":label": ":label",
    "call x.cmd": "call",
    "echo a < b": "0<b",
    "echo a >": "the end of the line",
    "echo a &&": "the end of the line",
    "&& echo a": "&",
    "(echo a": "the end of the line",
    "echo a)&(": "the end of the line",
    "(echo a) b": "b",
    "echo %RANDOM%": "%RANDOM%",
    "echo %TIME%": "%TIME%",
    "echo %COMPUTERNAME%": "%COMPUTERNAME%",
    "echo \u4e2d": "\u4e2d",
    "cmd /v:on /c echo a": "/v:on",
    "cmd": "cmd",
    "set /a X=1": "/a",
    "set /p X=": "/p",
    "echo a > D:\\x": "D:\\x",
    "cd \\\\server\\share": "\\\\server\\share",
    "d:": "d:",
    "echo a 3>x": "3>x",
    "ver": "ver",
    "if 1 x 2 echo a": "x",
    'if a LSS "b" echo a': "LSS",
    "if errorlevel x echo a": "x",
    "exit now": "now",
    "a" * 9000: "a" * 40 + "…",
    "(" * 100 + "echo a" + ")" * 100: "(",
    "cmd /c " * 500 + "echo a": "cmd /c cmd /c cmd /c",
}


@pytest.mark.parametrize(("line", "word"), REFUSED.items())
def test_what_is_not_supported_is_refused_with_the_line_and_the_word(line: str, word: str) -> None:
    state = PlannedState("Dockerfile:3", process_environment(Environment()))
    with pytest.raises(NotSupportedError) as caught:
        parse_run(line, state=state)
    assert caught.value.path == "Dockerfile:3"
    assert repr(word) in caught.value.detail or word in caught.value.detail


def test_the_exec_form_runs_programs_and_not_commands_of_cmd(console: Console) -> None:
    assert console.run(["cmd", "/c", "echo a b>x y"]) == 0
    assert console.view.read_bytes("C:\\t\\x") == b"a b y\r\n"
    assert console.run(["C:\\Windows\\System32\\CMD.EXE", "/S", "/C", 'echo "q"']) == 0
    assert console.output == b'\\"q\\"\r\n'
    with pytest.raises(NotSupportedError, match=r"'echo': echo is a command of cmd; write RUN echo"):
        console.run(["echo", "a"])
    with pytest.raises(NotSupportedError, match=r"python\.exe"):
        console.run(["python.exe", "a"])


def test_the_first_and_last_quote_of_a_line_are_removed_by_cmd(console: Console) -> None:
    assert console.run('"echo a" b"') == 0
    assert console.output == b'a" b\r\n'


def test_a_value_that_only_the_run_decides_is_refused_where_it_is_used(console: Console) -> None:
    line = 'if exist base.txt (set "X=1") else (set "X=2")'
    assert console.run(f"{line} & cmd /c echo y") == 0
    with pytest.raises(NotSupportedError, match=r"%X%.*decided only when it runs"):
        console.run(f"({line}) & cmd /c echo %X%")


@given(st.text(st.sampled_from('echo set if() &|<>^"%=:~/\\.;,@nul12ABC\u00e9'), max_size=60))
def test_any_line_is_parsed_or_refused(line: str) -> None:
    try:
        parse_run(line, state=PlannedState(environment=Environment({"A": "x", "B": '"&'})))
    except LayerError:
        pass


@given(st.text(st.characters(codec="ascii", min_codepoint=32, exclude_characters="%"), min_size=1, max_size=30))
def test_carets_make_every_character_plain(text: str) -> None:
    escaped = "".join(f"^{character}" for character in text)
    state = PlannedState(environment=Environment())
    (action,) = parse_run(f"echo.{escaped}", state=state)
    said: list[bytes] = []
    action.run(Shell(None, stdout=said.append))  # type: ignore[arg-type]
    assert b"".join(said) == text.encode() + b"\r\n"
