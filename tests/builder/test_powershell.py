r"""PowerShell in RUN: the language, the start of the process, exit codes, refusals.

No PowerShell runs where the tests do, so the expectations come from Microsoft's documents and PowerShell's sources.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builder.scratches import Console, scratch_view
from wclayer.builder.commands.run import parse_run
from wclayer.builder.commands.state import Environment, PlannedState, process_environment
from wclayer.errors import NotSupportedError

SHELL = ("powershell", "-Command")
CORE = ("pwsh", "-NoLogo", "-Command")
STOP = ("powershell", "-Command", "$ErrorActionPreference = 'Stop'; $ProgressPreference = 'SilentlyContinue';")


@pytest.fixture
def console(tmp_path: Path, bases: Path) -> Iterator[Console]:
    with scratch_view(tmp_path, bases) as view:
        yield Console(view, variables={"VAR": "qwerty", "Apps": r"C:\a b", "EMPTY": ""})


# The double quotes of a script need a backslash: the command line of the process is divided first.
SAID = {
    "Write-Host word": "word\r\n",
    "write-host WORD": "WORD\r\n",
    "Write-Host 'a b' c": "a b c\r\n",
    "Write-Host a, b": "a b\r\n",
    "Write-Host 'it''s'": "it's\r\n",
    'Write-Host \\"it\'s\\"': "it's\r\n",
    'Write-Host \\"a `\\"b`\\"\\"': 'a "b"\r\n',
    'Write-Host \\"a \\"\\"b\\"\\"\\"': 'a "b"\r\n',
    'Write-Host "lost"': "lost\r\n",
    "Write-Host '  a   b'": " a b\r\n",
    "Write-Host \"'  a   b'\"": "  a   b\r\n",
    "Write-Host $env:VAR": "qwerty\r\n",
    "Write-Host $ENV:var\\x": "qwerty\\x\r\n",
    "Write-Host ${env:VAR}x": "qwertyx\r\n",
    'Write-Host \\"$env:VAR;`$env:VAR\\"': "qwerty;$env:VAR\r\n",
    "Write-Host '$env:VAR'": "$env:VAR\r\n",
    "Write-Host $env:NOTHING.": ".\r\n",
    "Write-Host $env:NOTHING": "\r\n",
    "Write-Host a$env:VAR.txt": "aqwerty.txt\r\n",
    "Write-Host ($env:VAR + ';x')": "qwerty;x\r\n",
    "Write-Host ('{0}-{1}{{}}' -f $env:VAR, 7)": "qwerty-7{}\r\n",
    "Write-Host $('a' + 'b')": "ab\r\n",
    "Write-Host \\\"<$('a' + 'b')>\\\"": "<ab>\r\n",
    "$x = 'a'; Write-Host $x $X": "a a\r\n",
    "$x = 'a'; $x += 'b'; Write-Host $x": "ab\r\n",
    "$x = 1; $x += 2; Write-Host $x": "3\r\n",
    "$x = 'a', 'b'; $x += 'c'; Write-Host $x": "a b c\r\n",
    "$x = @('a'; 'b'); Write-Host $x": "a b\r\n",
    "$x = @(); Write-Host $x a": "a\r\n",
    "$env:NEW = 'n'; Write-Host $env:NEW": "n\r\n",
    "$env:VAR += ';z'; Write-Host $env:VAR": "qwerty;z\r\n",
    "$env:VAR = ''; Write-Host $env:VAR.": ".\r\n",
    "$env:VAR = $null; Write-Host $env:VAR.": ".\r\n",
    "Write-Host 007 0x10 1KB": "007 0x10 1KB\r\n",
    "Write-Host (0x10) (1KB) (-5)": "16 1024 -5\r\n",
    "Write-Host $true $false $null x": "True False  x\r\n",
    "Write-Host -NoNewline a; Write-Host b": "ab\r\n",
    "Write-Host -NoN a -ForegroundColor Green; Write-Host b -Fore:Red": "ab\r\n",
    "Write-Host -Separator - a b": "a-b\r\n",
    "Write-Host a # comment; Write-Host b": "a\r\n",
    "Write-Host a <# in # between #> b": "a b\r\n",
    "Write-Host a#b": "a#b\r\n",
    "Write-Output a b": "a\r\nb\r\n",
    "echo a": "a\r\n",
    "'a'": "a\r\n",
    "1": "1\r\n",
    "$null; $env:NOTHING; 'a', $null": "a\r\n",
    "'a', 'b'": "a\r\nb\r\n",
    "'a' | Out-Null": "",
    "Write-Output a | Out-Null": "",
    "Write-Output a > $null": "",
    "Write-Output a *> $null; Write-Output b": "b\r\n",
    "[void](Write-Output a)": "",
    "$null = Write-Output a": "",
    "'a' | Write-Output": "a\r\n",
    ";;Write-Host a;;": "a\r\n",
    "& Write-Host a": "a\r\n",
    "& 'Write-Host' a": "a\r\n",
    "& { Write-Host a; Write-Host b }": "a\r\nb\r\n",
    "$x = 1; & { $x = 2 }; Write-Host $x": "1\r\n",
    "if (Test-Path C:\\t\\base.txt) { Write-Host a } else { Write-Host b }": "a\r\n",
    "if (!(Test-Path C:\\nothing)) { Write-Host a }": "a\r\n",
    "if (-not (Test-Path C:\\nothing)) { Write-Host a }": "a\r\n",
    "if (Test-Path *.txt) { Write-Host a }": "a\r\n",
    "if (Test-Path C:\\t -PathType Leaf) {'a'} elseif (Test-Path C:\\T -Type Container) {'b'} else {'c'}": "b\r\n",
    "if ((Test-Path C:\\t) -and -not (Test-Path C:\\u)) { 'a' }": "a\r\n",
    "if ((Test-Path C:\\u) -or (Test-Path C:\\t)) { 'a' }": "a\r\n",
    "if ($env:VAR -eq 'QWERTY') { 'a' }": "a\r\n",
    "if ($env:VAR -ceq 'QWERTY') { 'a' } else { 'b' }": "b\r\n",
    "if ($env:VAR -ne 'x') { 'a' }": "a\r\n",
    "if ($env:EMPTY) { 'a' } else { 'b' }": "b\r\n",
    "if (1 -lt 2) { 'a' }": "a\r\n",
    "Test-Path C:\\t, C:\\u": "True\r\nFalse\r\n",
    "$x = Test-Path C:\\t; if ($x) { 'a' }": "a\r\n",
    "cmd /c exit 3; if ($LASTEXITCODE -ne 0) { if ($?) { 'a' } }": "a\r\n",
    "cmd /c exit 3; if (-not $?) { 'failed' }": "failed\r\n",
    "Write-Host 'a'; Write-Warning 'w'; Write-Verbose 'v'": "a\r\nWARNING: w\r\n",
    "cd C:\\ -ErrorAction Stop; Write-Host $PWD; cmd /c cd": "C:\\\r\nC:\\\r\n",
    "Set-Location C:\\t; if (Test-Path base.txt) { 'a' }": "a\r\n",
    "cmd /c echo a b": "a b\r\n",
    "cmd /c echo $env:VAR": "qwerty\r\n",
    "cmd /c 'echo a&& echo b'": "a\r\nb\r\n",
    "cmd /c echo a,b": "a,b\r\n",
    "cmd /c echo -x:y -z": "-x:y -z\r\n",
    "[Environment]::SetEnvironmentVariable('P', 'v'); Write-Host $env:P": "v\r\n",
    "[System.Environment]::GetEnvironmentVariable('VAR')": "qwerty\r\n",
    "Write-Host ([Environment]::GetEnvironmentVariable('VAR', 'Process') + '!')": "qwerty!\r\n",
    "powershell -Command Write-Host inner": "inner\r\n",
    "pwsh -c Write-Host inner": "inner\r\n",
}


@pytest.mark.parametrize(("script", "expected"), SAID.items())
def test_a_script_says_what_it_says_on_windows(console: Console, script: str, expected: str) -> None:
    console.run(script, SHELL)
    assert console.output.decode("cp437") == expected
    assert not console.errors


MANY_LINES = {
    "Write-Host a\r\nWrite-Host b\n": "a\r\nb\r\n",
    "Write-Host a `\r\n  b": "a b\r\n",
    "Write-Host a,\n b": "a b\r\n",
    "if (\n1 -eq 1\n)\n{\nWrite-Host a\n}\nelse\n{\n}\n": "a\r\n",
    "$x = @'\na 'b' $env:VAR\nc\n'@\nWrite-Host $x": "a 'b' $env:VAR\nc\r\n",
    '$x = @"\r\na "b" $env:VAR\r\n"@\r\nWrite-Host $x': 'a "b" qwerty\r\n',
    '"a`tb`nc"': "a\tb\nc\r\n",
    "# comment\nWrite-Host a # b\nWrite-Host c": "a\r\nc\r\n",
    "$x = 'a' +\n'b'\nWrite-Host $x": "ab\r\n",
}


@pytest.mark.parametrize(("script", "expected"), MANY_LINES.items())
def test_a_script_in_base64_may_have_several_lines(console: Console, script: str, expected: str) -> None:
    encoded = base64.b64encode(script.encode("utf-16-le")).decode()
    assert console.run(["powershell", "-NoProfile", "-EncodedCommand", encoded]) == 0
    assert console.output.decode("cp437") == expected


STARTS = (
    "powershell Write-Host a",
    "PowerShell.exe -NoLogo -NonI -nop -ExecutionPolicy Bypass -c Write-Host a",
    "powershell /command Write-Host a",
    "C:\\Windows\\System32\\WindowsPowerShell\\v1.0\\powershell.exe -Command Write-Host a",
    'powershell -Command "Write-Host a"',
    'powershell "& { Write-Host a }"',
    "powershell -Command \"& {Write-Host 'a'}\"",
    'cmd /c powershell -Command "Write-Host \\"a\\""',
    "powershell -ep bypass -command \"if ('a' -eq 'a') { Write-Host \\\"a\\\" }\"",
    "pwsh -NoProfile -Command Write-Host a",
)


@pytest.mark.parametrize("line", STARTS)
def test_the_options_of_the_programs_are_those_of_windows(console: Console, line: str) -> None:
    assert console.run(line) == 0
    assert console.output == b"a\r\n"


def test_the_exec_form_starts_powershell(console: Console) -> None:
    assert console.run(["powershell", "-Command", 'Write-Host "a  b"; Write-Host $env:VAR']) == 0
    assert console.output == b"a  b\r\nqwerty\r\n"


CODES = {
    "Write-Host a": 0,
    "exit 3": 3,
    "exit": 0,
    "exit 0; Write-Host a": 0,
    "cmd /c exit 3": 1,
    "cmd /c exit 3; Write-Host a": 0,
    "cmd /c exit 3; exit $LASTEXITCODE": 3,
    "cmd /c exit 3; if ($LASTEXITCODE -ne 0) { exit 4 }": 4,
    "cmd /c exit 0; if ($LASTEXITCODE) { exit 4 }": 0,
    "cd C:\\nothing": 1,
    "cd C:\\nothing; Write-Host a": 0,
    "cd C:\\nothing -ErrorAction Stop; Write-Host a": 1,
    "cd C:\\nothing -ea SilentlyContinue": 1,
    "cd C:\\nothing -ErrorAction Ignore": 1,
    "cd C:\\nothing -ea 0; Write-Host a": 0,
    "$ErrorActionPreference = 'Stop'; cd C:\\nothing; exit 0": 1,
    "$ErrorActionPreference = 'Stop'; cd C:\\nothing -ErrorAction Continue; exit 0": 0,
    "$ErrorActionPreference = 'Stop'; cmd /c exit 3; Write-Host a": 0,
    "Write-Error a": 1,
    "throw 'a'": 1,
    "& { cd C:\\nothing }": 0,
    "& { cd C:\\nothing -ErrorAction Stop }": 1,
    "& { exit 5 }": 5,
    "if (Test-Path C:\\nothing) { exit 5 }": 0,
    "if (Test-Path C:\\t) { exit 5 } else { exit 6 }": 5,
    "if ($false) { exit 0 }; cd C:\\nothing": 1,
    "cd C:\\nothing; $x = 1": 0,
    "cd C:\\nothing | Out-Null": 1,
    "powershell -Command exit 7": 1,
    "powershell -Command exit 7; exit $LASTEXITCODE": 7,
}


@pytest.mark.parametrize(("script", "code"), CODES.items())
def test_the_exit_code_is_that_of_powershell(console: Console, script: str, code: int) -> None:
    assert console.run(script, SHELL) == code


def test_errors_are_told_unless_they_are_silent(console: Console) -> None:
    console.run("cd C:\\nothing", SHELL)
    assert console.errors == b"cd : Cannot find path 'C:\\nothing' because it does not exist.\r\n"
    console.run("cd C:\\nothing -ErrorAction SilentlyContinue", SHELL)
    assert not console.errors
    console.run("cd C:\\nothing 2> $null", SHELL)
    assert not console.errors


REFUSED = {
    "Invoke-WebRequest https://a.example/b.zip -OutFile b.zip": ("Invoke-WebRequest", "ADD --checksum"),
    "iwr -Uri x -OutFile y": ("iwr", "ADD --checksum"),
    "Install-WindowsFeature Web-Server": ("Install-WindowsFeature", "Windows features"),
    "Start-Process msiexec.exe -ArgumentList '/i', 'a.msi' -Wait": ("Start-Process", "programs do not run"),
    "Set-ExecutionPolicy Bypass -Scope Process -Force": ("Set-ExecutionPolicy", "leave it out"),
    "iex ((New-Object Net.WebClient).DownloadString('https://a.example'))": ("iex", "scripts"),
    "(New-Object Net.WebClient).DownloadFile('a', 'b')": ("New-Object", "ADD --checksum"),
    "Write-Host a; C:\\setup.exe /q": ("C:\\setup.exe", "without Windows"),
    "& 'C:\\Program Files\\a.exe' /q": ("C:\\Program Files\\a.exe", "without Windows"),
    "Get-ChildItem C:\\": ("Get-ChildItem", "listings"),
    "mklink /d a b": ("mklink", "write cmd /c mklink"),
    "Write-Host a | Select-String b": ("Select-String", "pipelines"),
    "'a', 'b' | ForEach-Object { Write-Host $_ }": ("ForEach-Object", "loops"),
    "foreach ($x in 1, 2) { }": ("foreach", "loops"),
    "try { Write-Host a } catch { }": ("try", "ErrorAction"),
    "function f { }": ("function", "definitions"),
    "Write-Host a && Write-Host b": ("&&", "write ;"),
    "Write-Host a > b.txt": (">", "Set-Content"),
    "Write-Host a 2>&1": ("2>&1", "2> $null"),
    "Write-Host $undefined": ("$undefined", "gives it a value"),
    "Write-Host $x; $x = 1": ("$x", "gives it a value"),
    "Write-Host $env:VAR.Length": ("$env:VAR.Length", "members"),
    "Write-Host $x[0]": ("$x[0]", "members"),
    "'a'.ToUpper()": ("'a'.ToUpper", "members"),
    "Write-Host 'a": ("'a", "no closing '"),
    "Write-Host (": ("the end of the text", "a value"),
    "Write-Host a)": (")", "expects"),
    "if (Test-Path C:\\t) { Write-Host a": ("the end of the text", "expects }"),
    "if Test-Path C:\\t { }": ("Test-Path", "expects ("),
    "Write-Host {a}": ("{a}", "blocks"),
    "Write-Host @{a=1}": ("@{a=1}", "tables"),
    "Write-Host (1 - 2)": ("-", "calculations"),
    "Write-Host ('a' -replace 'b', 'c')": ("-replace", "write the result"),
    "if ($env:VAR -like 'q*') { }": ("-like", "-eq"),
    "[IO.File]::WriteAllText('a', 'b')": ("[IO.File]::WriteAllText", "SetEnvironmentVariable"),
    "[Net.ServicePointManager]::SecurityProtocol = 'Tls12'": (
        "[Net.ServicePointManager]::SecurityProtocol",
        "possible",
    ),
    "if ('a' -gt 'b') { }": ("-gt", "integers only"),
    "Write-Host -- -a": ("--", "in quotes"),
    "icacls C:\\t --% /grant Users:(F)": ("--%", "in quotes"),
    "del /q C:\\t": ("C:\\t", "cmd /c del"),
    "set X=1": ("set", "$env:NAME"),
    "[Net.WebRequest]::Create('a')": ("[Net.WebRequest]::Create", "ADD --checksum"),
    "$env:NOTHING | Write-Output": ("$env:NOTHING", "has no value"),
    "cmd /c echo a 2> $null": ("cmd", "write cmd /c '… 2>nul'"),
    "[int]'5'": ("[int]", "conversions"),
    "Test-Path C:\\t -Filter *.txt": ("-Filter", "not supported"),
    "Test-Path C:\\t -Nothing": ("-Nothing", "no such parameter; possible are -Path, -LiteralPath, -PathType"),
    "Test-Path C:\\t -P Leaf": ("-P", "may mean -Path, -LiteralPath, -PathType, -PipelineVariable"),
    "Test-Path C:\\t -PathType": ("-PathType", "needs a value"),
    "Test-Path C:\\t C:\\u": ("C:\\u", "no parameter takes"),
    "Test-Path C:\\t -PathType File": ("File", "Any, Container and Leaf"),
    "Test-Path -Path C:\\t -Path C:\\u": ("C:\\u", "twice"),
    "Test-Path D:\\x": ("D:\\x", "only C:"),
    "Test-Path \\\\server\\share": ("\\\\server\\share", "another machine"),
    "Test-Path Env:\\VAR": ("Env:\\VAR", "no such drive"),
    "Test-Path ~\\x": ("~\\x", "USERPROFILE"),
    "cd C:\\t -OutVariable x": ("-OutVariable", "variable"),
    "cd C:\\t -ErrorAction Inquire": ("Inquire", "possible are"),
    "$ErrorActionPreference = Stop": ("Stop", "without Windows"),
    "$ErrorActionPreference = 'Never'": ("'Never'", "possible are"),
    "$true = 1": ("$true", "PowerShell itself"),
    "$x = Test-Path C:\\t; Write-Host $x": ("$x", "not known before"),
    "if (Test-Path C:\\t) { $x = 1 } else { $x = 2 }; Write-Host $x": ("$x", "decided only when it runs"),
    "exit 'a'": ("'a'", "integer"),
    "Write-Host $env:COMPUTERNAME": ("$env:COMPUTERNAME", "each container"),
    "Write-Host $env:PSModulePath": ("$env:PSModulePath", "PowerShell makes it"),
    "icacls C:\\t /grant Users:(OI)(CI)F": ("Users:(", "in quotes"),
    "cmd /c echo ''": ("''", "empty word"),
    "cmd /c foo": ("foo", "without Windows"),
    "reg add": ("add", "expected 1 key"),
    "Write-Host \u2018a\u2019": ("\u2018", "a quote of ASCII"),
    "Write-Host a \u2013b": ("\u2013", "a dash of ASCII"),
    "Write-Host ('a' + $env:VAR.x)": ("$env:VAR.x", "members"),
    "Write-Host ('{1}' -f 'a')": ("'{1}'", "{0} to {0}"),
    "return": ("return", "exit CODE"),
    ". C:\\a.ps1": (".", "scripts do not run"),
    "& C:\\a.ps1": ("C:\\a.ps1", "without Windows"),
    "Write-Host " + "a" * 33_000: ("a" * 10, "32767"),
    "(" * 100 + "1" + ")" * 100: ("(", "parentheses and shells"),
    "if ($true) { " * 100 + "}" * 100: ("", "parentheses and shells"),
    "! " * 100 + "$true": ("", "parentheses and shells"),
    "powershell -c " * 500 + "1": ("", "parentheses and shells"),
    "$x = 'a'; " + "$x = $x + $x; " * 20: ("$x + $x", "65536"),
    "$x = 1; " + "$x = $x + $x; " * 70: ("$x + $x", "64 bits"),
    "$x = @(1); " + "$x = $x + $x; " * 20: ("$x + $x", "4096"),
}


@pytest.mark.parametrize(("script", "expected"), REFUSED.items())
def test_what_is_not_supported_is_refused_with_the_line_and_the_word(script: str, expected: tuple[str, str]) -> None:
    word, advice = expected
    state = PlannedState("Dockerfile:3", process_environment(Environment(), {"VAR": "qwerty"}))
    with pytest.raises(NotSupportedError) as caught:
        parse_run(script, SHELL, state)
    assert caught.value.path == "Dockerfile:3"
    assert repr(word) in caught.value.detail or word in caught.value.detail
    assert advice in caught.value.detail
    assert len(caught.value.detail) < 600


STARTS_REFUSED = {
    "powershell": "waits for input",
    "powershell -Command": "needs a value",
    "powershell -Command -": "reads the script from the input",
    "powershell -File C:\\a.ps1": "scripts do not run here",
    "powershell -NoExit -Command 1": "waits for input",
    "powershell -Foo 1": "no such option",
    "powershell -ExecutionPolicy Maybe -Command 1": "no execution policy",
    "powershell -EncodedCommand !!": "Base64",
    "pwsh Write-Host a": "write -Command before it",
    "powershell -Version 2 -Command 1": "leave it out",
}


@pytest.mark.parametrize(("line", "advice"), STARTS_REFUSED.items())
def test_a_start_that_is_not_supported_is_refused(line: str, advice: str) -> None:
    with pytest.raises(NotSupportedError) as caught:
        parse_run(line, state=PlannedState("Dockerfile:3"))
    assert advice in caught.value.detail


def test_the_error_action_of_the_shell_stops_a_script(console: Console) -> None:
    assert console.run("cd C:\\nothing; Write-Host a", STOP) == 1
    assert console.output == b""
    assert console.run("Write-Host a", STOP) == 0


def test_names_that_only_windows_powershell_has_are_refused_in_pwsh() -> None:
    with pytest.raises(NotSupportedError, match=r"PATH.*its own directory"):
        parse_run("Write-Host $env:PATH", CORE, PlannedState(environment=Environment({"PATH": "C:\\"})))


def test_a_branch_that_cannot_run_is_checked_and_changes_nothing_that_is_known(console: Console) -> None:
    console.run("if ('a' -eq 'b') { cd C:\\; $x = 1 } else { $x = 2 }; Write-Host $x $PWD", SHELL)
    assert console.output == b"2 C:\\t\r\n"


def test_a_script_that_may_end_early_leaves_unknown_what_it_sets_afterwards(console: Console) -> None:
    environment = Environment({"A": "old"})
    state = PlannedState("Dockerfile:3", machine=environment)
    script = "if (Test-Path x) { exit 0 }; setx /M A new"
    parse_run(script, SHELL, state)
    assert state.machine.unknown_reason("A")
