"""How PowerShell is started: the options of `powershell` and `pwsh`, and the exit code of the process.

Sources: "about_PowerShell_exe", "about_Pwsh" (Microsoft Learn), `CommandLineParameterParser` of PowerShell. The words
of a command line are put together again with blanks after the quotes are gone: so double quotes of a script need a
backslash before them (`\\"`), as in any RUN of Docker.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass

from wclayer.builder.commands.command import Action, Command, Invocation
from wclayer.builder.commands.flow import ExitShell
from wclayer.builder.commands.powershell.language import parse_script
from wclayer.builder.commands.powershell.scope import (
    Edition,
    ErrorAction,
    PlannedScope,
    RunningScope,
    StoppedError,
)
from wclayer.builder.commands.powershell.statements import Statements
from wclayer.builder.commands.powershell.values import Value
from wclayer.builder.commands.state import Environment, PlannedState, Shell

_MODULES = "PSModulePath"
_POLICY = "PSExecutionPolicyPreference"
_POLICIES = ("bypass", "unrestricted", "remotesigned", "allsigned", "restricted", "default", "undefined")


@dataclass(frozen=True)
class Option:
    """An option of the programs.

    Attributes:
        name: the name.
        shortest: the shortest beginning of it that is understood.
        has_value: a value follows.
        refused: if it is not supported: what can be done.
    """

    name: str
    shortest: str
    has_value: bool = False
    refused: str = ""


_OPTIONS = (
    Option("noprofile", "nop"),
    Option("nologo", "nol"),
    Option("noninteractive", "noni"),
    Option("sta", "sta"),
    Option("mta", "mta"),
    Option("login", "l"),
    Option("executionpolicy", "ex", has_value=True),
    Option("ep", "ep", has_value=True),
    Option("inputformat", "inp", has_value=True),
    Option("outputformat", "o", has_value=True),
    Option("windowstyle", "w", has_value=True),
    Option("noexit", "noe", refused="waits for input, which nobody gives in a build; leave it out"),
    Option("file", "f", refused="scripts do not run here; write the commands after -Command"),
    Option("version", "v", refused="is not supported; leave it out"),
    Option("workingdirectory", "wo", refused="is not supported; use WORKDIR, or cd in the script"),
    Option("configurationname", "config", refused="is not supported; leave it out"),
    Option("encodedarguments", "encodeda", refused="is not supported; write the script after -Command"),
    Option("help", "h", refused="prints a help; leave it out"),
    Option("command", "c", has_value=True),
    Option("encodedcommand", "e", has_value=True),
    Option("ec", "e", has_value=True),
)
_DEFAULTS: dict[str, Value] = {
    "erroractionpreference": ErrorAction.CONTINUE.value,
    "progresspreference": "Continue",
    "verbosepreference": "SilentlyContinue",
    "debugpreference": "SilentlyContinue",
    "warningpreference": "Continue",
    "informationpreference": "SilentlyContinue",
    "confirmpreference": "High",
}
"""The variables of preferences, with which a script begins."""


@dataclass
class Start:
    """How a process is started: the script, and the variables that the options set."""

    script: str = ""
    policy: str = ""


class _Arguments:
    """The arguments of the program, read from the left."""

    def __init__(self, invocation: Invocation, edition: Edition) -> None:
        self._invocation = invocation
        self._edition = edition
        self._rest = list(invocation.arguments)

    def start(self) -> Start:
        """Returns how the process is started."""
        made = Start()
        while self._rest:
            word = self._rest.pop(0)
            option = self._option(word)
            if option is None:
                self._rest.insert(0, word)
                made.script = self._script()
                break
            if option.refused:
                raise self._invocation.refuse(word, option.refused)
            if not option.has_value:
                continue
            if not self._rest:
                raise self._invocation.refuse(word, "needs a value after it")
            if option.name == "command":
                made.script = self._script()
                break
            value = self._rest.pop(0)
            if option.name in ("encodedcommand", "ec"):
                made.script = self._decoded(value)
            elif option.name in ("executionpolicy", "ep"):
                if value.lower() not in _POLICIES:
                    raise self._invocation.refuse(value, "is no execution policy")
                made.policy = value
        if not made.script.strip():
            raise self._invocation.refuse(
                self._invocation.name, "waits for input without a script; write -Command and a script"
            )
        return made

    def _option(self, word: str) -> Option | None:
        if word[:1] not in ("-", "/"):
            if self._edition is Edition.CORE:
                raise self._invocation.refuse(
                    word, "pwsh takes this for the name of a script; write -Command before it"
                )
            return None
        key = word[1:].lower()
        for option in _OPTIONS:
            if option.name.startswith(key) and key.startswith(option.shortest):
                return option
        raise self._invocation.refuse(word, "there is no such option; write -Command and the script")

    def _script(self) -> str:
        if self._rest == ["-"]:
            raise self._invocation.refuse("-", "reads the script from the input, which a build does not have")
        text, self._rest = " ".join(self._rest), []
        return text

    def _decoded(self, text: str) -> str:
        try:
            return base64.b64decode(text, validate=True).decode("utf-16-le")
        except (binascii.Error, ValueError):
            raise self._invocation.refuse(text[:40], "is no text in UTF-16LE and Base64") from None


@dataclass
class PowerShellProcess:
    """`powershell`, `pwsh`: a script in a process of its own."""

    invocation: Invocation
    edition: Edition
    commands: Mapping[str, Command]

    def __post_init__(self) -> None:
        self._start = _Arguments(self.invocation, self.edition).start()
        self._statements: Statements = parse_script(
            self._start.script, self.commands, self.invocation.where, self.invocation.depth + 1
        )

    def _begin(self, environment: Environment) -> None:
        """Sets the variables that PowerShell itself sets for its process."""
        environment.set_unknown(_MODULES, "PowerShell makes it when it starts")
        if self.edition is Edition.CORE:
            environment.set_unknown("PATH", "pwsh puts its own directory before it")
        if self._start.policy:
            environment.set(_POLICY, self._start.policy)

    def check(self, state: PlannedState) -> None:
        """See `Action`."""
        inner = state.copy()
        # Its statements do not tell which files they change.
        inner.files = None
        self._begin(inner.environment)
        scope = PlannedScope(
            self.invocation.where, self.edition, self.commands, dict(_DEFAULTS), ErrorAction.CONTINUE, inner
        )
        goes_on = self._statements.check(scope)
        ends = [*scope.exits, *([scope.end] if goes_on else [])]
        if ends:
            after = ends[0]
            for end in ends[1:]:
                after.take_either(after, end)
            # The machine's variables are those of all processes.
            state.machine = after.machine

    def run(self, shell: Shell) -> int:
        """See `Action`.

        Returns:
            The code of `exit`; 1 after an error that stopped the script, or if the last statement had an error; 0.
        """
        inner = shell.child()
        self._begin(inner.environment)
        scope = RunningScope(
            self.invocation.where, self.edition, self.commands, dict(_DEFAULTS), ErrorAction.CONTINUE, inner
        )
        try:
            self._statements.run(scope)
        except ExitShell as end:
            return end.code
        except StoppedError:
            return 1
        return 0 if scope.is_ok else 1


def parse_powershell(invocation: Invocation, edition: Edition, commands: Mapping[str, Command]) -> Action:
    """Returns the action of a process of PowerShell.

    Args:
        invocation: the call of the program.
        edition: which of the two it is.
        commands: the programs that a script may call.

    Raises:
        NotSupportedError: an option or a word of the script is not supported.
    """
    return PowerShellProcess(invocation, edition, commands)
