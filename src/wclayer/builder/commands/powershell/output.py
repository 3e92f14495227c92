"""The cmdlets that print: `Write-Host`, `Write-Output` and their relatives."""

from __future__ import annotations

from dataclasses import dataclass

from wclayer.builder.commands.command import Action
from wclayer.builder.commands.powershell.cmdlet import Bound, Cmdlet, Kind, Parameter, switch, unsupported
from wclayer.builder.commands.shell_commands import NoEffect
from wclayer.builder.commands.state import PlannedState, Shell

_GROUP = "PowerShell"
_COLOURS = (Parameter("ForegroundColor"), Parameter("BackgroundColor"))


@dataclass(frozen=True)
class Print:
    """Prints lines."""

    lines: tuple[str, ...]
    end: str = "\r\n"

    def check(self, state: PlannedState) -> None:
        """Printing changes nothing."""

    def run(self, shell: Shell) -> int:
        for line in self.lines:
            shell.write(line + self.end)
        return 0


def _parse_write_host(bound: Bound) -> Action:
    separator = bound.text("Separator") if "Separator" in bound else " "
    text = (separator or "").join(bound.texts("Object"))
    return Print((text,), "" if bound.flag("NoNewline") else "\r\n")


def _parse_write_output(bound: Bound) -> Action:
    return Print(bound.texts("InputObject"))


def _parse_write_warning(bound: Bound) -> Action:
    return Print((f"WARNING: {bound.text('Message') or ''}",))


def _parse_quiet(_: Bound) -> Action:
    return NoEffect()


@dataclass(frozen=True)
class WriteError:
    """`Write-Error`: an error of the script."""

    bound: Bound
    message: str

    def check(self, state: PlannedState) -> None:
        """An error changes nothing."""

    def run(self, shell: Shell) -> int:
        return self.bound.fail(shell, self.message)


def _parse_write_error(bound: Bound) -> Action:
    return WriteError(bound, bound.text("Message") or "")


CMDLETS = (
    Cmdlet(
        ("Write-Host",),
        "Write-Host [-Object] VALUE… [-NoNewline] [-Separator TEXT]",
        "Prints its values with blanks between them. Colours have no effect.",
        (Parameter("Object", Kind.REST, 0, ("Msg", "Message")), switch("NoNewline"), Parameter("Separator"), *_COLOURS),
        _parse_write_host,
        _GROUP,
        "Object",
        never_fails=True,
    ),
    Cmdlet(
        ("Write-Output", "echo", "write"),
        "Write-Output [-InputObject] VALUE…",
        "Prints each value on a line of its own.",
        (Parameter("InputObject", Kind.REST, 0), switch("NoEnumerate")),
        _parse_write_output,
        _GROUP,
        "InputObject",
        never_fails=True,
    ),
    Cmdlet(
        ("Write-Warning",),
        "Write-Warning [-Message] TEXT",
        "Prints the text after `WARNING:`.",
        (Parameter("Message", position=0, aliases=("Msg",)),),
        _parse_write_warning,
        _GROUP,
        never_fails=True,
    ),
    Cmdlet(
        ("Write-Error",),
        "Write-Error [-Message] TEXT",
        "Prints the text, and is an error of the script.",
        (
            Parameter("Message", position=0, aliases=("Msg",)),
            *unsupported("Exception", "ErrorRecord", "Category", "ErrorId", "TargetObject", "RecommendedAction"),
            *unsupported("CategoryActivity", "CategoryReason", "CategoryTargetName", "CategoryTargetType"),
        ),
        _parse_write_error,
        _GROUP,
    ),
    Cmdlet(
        ("Write-Verbose", "Write-Debug", "Write-Information"),
        "Write-Verbose [-Message] TEXT",
        "Has no effect, as it has none in PowerShell unless a preference asks for it.",
        (Parameter("Message", Kind.VALUE, 0, ("Msg", "MessageData")), Parameter("Tags", Kind.TEXTS, 1)),
        _parse_quiet,
        _GROUP,
        never_fails=True,
    ),
)
"""The rows of the table."""
