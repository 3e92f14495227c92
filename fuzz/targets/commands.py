"""Targets: the languages of cmd.exe and of PowerShell, and the arguments of programs such as icacls."""

from __future__ import annotations

import base64

from fuzz.target import Target
from wclayer.builder.commands.icacls_words import WordError, parse_icacls
from wclayer.builder.commands.powershell.name_patterns import NamePattern, PatternError, has_wildcards, unescaped
from wclayer.builder.commands.run import parse_run
from wclayer.builder.commands.state import Environment, PlannedState, absolute_path
from wclayer.builder.commands.wildcards import renamed
from wclayer.builder.commands.words import join_arguments, split_arguments
from wclayer.errors import InvalidParameterError, NotSupportedError
from wclayer.win32.wildcards import matches

_VARIABLES = {"VAR": "qwerty", "PATH": r"C:\Windows;C:\a b", "Q": '"', "AMP": "a&b"}


def _line(data: bytes) -> None:
    """A line in the shell form: it is understood or refused, each time in the same way."""
    text = data.decode("utf-8", "replace")
    state = PlannedState("Dockerfile:1", Environment(_VARIABLES), directory=r"C:\app")
    other = state.copy()
    (action,) = parse_run(text, state=state)
    action.check(other)
    assert (state.environment, state.machine, state.directory) == (other.environment, other.machine, other.directory)


def _script(data: bytes) -> None:
    """A script of PowerShell: it is understood or refused, each time in the same way."""
    text = data.decode("utf-8", "replace")
    encoded = base64.b64encode(text.encode("utf-16-le")).decode()
    state = PlannedState("Dockerfile:1", Environment(_VARIABLES), directory=r"C:\app")
    other = state.copy()
    (action,) = parse_run(["powershell", "-EncodedCommand", encoded], state=state)
    action.check(other)
    assert (state.environment, state.machine, state.directory) == (other.environment, other.machine, other.directory)
    assert state.environment == Environment(_VARIABLES)


def _start(data: bytes) -> None:
    """The command line of PowerShell."""
    text = data.decode("utf-8", "replace")
    parse_run(text, ("powershell",), PlannedState("Dockerfile:1", Environment(_VARIABLES)))


def _arguments(data: bytes) -> None:
    arguments = list(split_arguments(data.decode("utf-8", "replace")))
    assert list(split_arguments(join_arguments(arguments))) == arguments


def _wildcards(data: bytes) -> None:
    name, _, pattern = data.decode("utf-8", "replace").partition("\0")
    made = renamed(name, pattern)
    assert len(made) <= (len(pattern) + 1) * (len(name) + 1)
    assert matches(name, "*")
    if matches(name, pattern):
        assert matches(name.swapcase() if name.isascii() else name, pattern)
    path = absolute_path(pattern, "C:\\a") if pattern else "C:\\"
    assert path.startswith("C:\\")
    assert ".." not in path.split("\\")


def _name_patterns(data: bytes) -> None:
    """A name and a pattern of PowerShell: a pattern that is escaped matches its name alone, one with `*` more."""
    name, _, text = data.decode("utf-8", "replace").partition("\0")
    escaped = "".join(f"`{character}" for character in name)
    assert unescaped(escaped) == name
    assert not has_wildcards(escaped)
    assert NamePattern(escaped).matches(name)
    pattern = NamePattern(text)
    if pattern.matches(name):
        assert NamePattern(text + "*").matches(name + "x")
    if not has_wildcards(text) and not text.endswith("`"):
        assert pattern.matches(unescaped(text))


def _icacls(data: bytes) -> None:
    """The arguments of icacls, one a line: they are understood or refused, the name of each account with them."""
    words = parse_icacls(data.decode("utf-8", "replace").split("\n"))
    assert words.operations


_LINES = [
    b'if exist a (mkdir b && copy /y c+d e) else (rd /s/q "f g" & exit /b 3)',
    b'@echo off & set "A=%VAR:~1,2%" & cmd /c "echo %A%" >> x 2>&1',
    b"if not defined X if /i a==A echo %PATH:;=,%^& > nul || rem c",
    b"pushd C:\\a & popd & cd /d .. & ren *.txt ?.* & del /q /a:-r x, y;z & attrib +r *.t /s",
    b"xcopy a b /s/e/y & robocopy a b *.x /mir /xf y & mklink /d l t & move a b & type a 1>&2 <nul",
]

_SCRIPTS = [
    b"$ErrorActionPreference = 'Stop'; if (!(Test-Path a)) { exit 3 } elseif ($env:VAR -eq 'x') { throw \"a$env:Q\" }",
    b"$p = ('{0};C:\\x' -f $env:PATH); [Environment]::SetEnvironmentVariable('PATH', $p, 'Machine') | Out-Null",
    b"Set-ItemProperty -Path 'HKLM:\\SOFTWARE\\A' -Na b -Value 1, 0x2 -Type Binary -ea 0; cmd /c echo a,b > $null",
    b"& { $x = @(1; 2) + @'\na\n'@; $env:A += $x; Write-Host $(1 + 2) `\n ${env:A}b # c\n }; [void](cd C:\\)",
]

_GRANTS = [
    b"a\n/grant:r\nUsers:(OI)(CI)F\n*S-1-5-32-545:(RX,W)\n/t\n/deny\nNT SERVICE\\W3SVC:N",
    b"C:\\a b\n/setowner\nIIS AppPool\\Site\n/c\n/q",
    b"a\n/inheritance:r\n/remove:g\nEveryone\nNT VIRTUAL MACHINE\\00000000-0000-0000-0000-000000000001\n/l",
]

TARGETS = {
    "powershell": Target(
        _script, lambda: _SCRIPTS, (NotSupportedError, InvalidParameterError),
        words=(b"if (", b"Test-Path ", b"} else { ", b"$env:PATH", b" | Out-Null", b"@'\n", b"$(", b" -f ",
               b"[Environment]::", b"& {", b" -ErrorAction ", b"Write-Host ", b"HKLM:\\", b"'", b'"', b"`", b"\n"),
        max_size=1024, weight=2,
    ),
    "powershell_start": Target(
        _start, lambda: [b" -NoProfile -ex Bypass -Command \"Write-Host \\\"a\\\"\"", b" -EncodedCommand MQA="],
        (NotSupportedError, InvalidParameterError), max_size=512,
    ),
    "cmd_line": Target(
        _line, lambda: _LINES, (NotSupportedError, InvalidParameterError),
        words=(b"%VAR:", b"%PATH%", b" && ", b" || ", b"if exist ", b") else (", b"2>&1", b"cmd /c ", b"^", b'"'),
        max_size=1024, weight=2,
    ),
    "arguments": Target(_arguments, lambda: [b'add "HKLM\\a b" /d "C:\\\\" \\"x', b'a"b""c" ""'], max_size=256),
    "icacls": Target(
        _icacls, lambda: _GRANTS, (WordError,),
        words=(b"\n/grant\n", b"\n/deny\n", b"/inheritance:", b":(OI)(CI)(IO)(NP)", b"(GR,DC)", b"NT SERVICE\\"),
        max_size=512,
    ),
    "powershell_patterns": Target(
        _name_patterns, lambda: [b"a[b].txt\0a`[b`]*.t?t", b"x9\0[a-z]?[]]", b"ab\0a`*b"], (PatternError,),
        max_size=256,
    ),
    "cmd_wildcards": Target(
        _wildcards, lambda: [b"abc.txt\0*.b?k", b"a.b.c\0?x*c", b"x\0C:\\a\\..\\b. "], (NotSupportedError,),
        max_size=256,
    ),
}  # fmt: skip
