"""`setx`: variables of the machine and of the user.

Source: the reference of `setx` in "Windows commands".
"""

from __future__ import annotations

from dataclasses import dataclass

from wclayer.builder.commands.command import Action, Command, Invocation
from wclayer.builder.commands.registry_keys import check_keys, edited_registry, registry_key
from wclayer.builder.commands.state import PlannedState, Shell
from wclayer.errors import InvalidParameterError
from wclayer.formats.regf.model import fold
from wclayer.view.machine_environment import (
    MACHINE_KEY,
    PATH,
    check_variable,
    has_reference,
    set_variable,
)
from wclayer.win32.names import utf16_length

USER_KEY = r"HKEY_CURRENT_USER\Environment"
_MOST = 1024


@dataclass(frozen=True)
class SetVariable:
    """`setx NAME VALUE`: sets a variable of the machine or of the user in the registry.

    The environment of running processes stays as it is; the next RUN has the variable.
    """

    name: str
    value: str
    is_machine: bool

    def check(self, state: PlannedState) -> None:
        if not self.is_machine:
            check_keys(state, [USER_KEY])
        value, expands = self.value, has_reference(self.value) or state.machine.expands(self.name)
        if not self.is_machine and fold(self.name) == fold(PATH):
            # Windows puts the Path of the user behind that of the machine.
            value = ";".join(part for part in (state.machine.get(PATH), value) if part)
        state.machine.set(self.name, value, expands=expands)

    def run(self, shell: Shell) -> int:
        key = registry_key(MACHINE_KEY) if self.is_machine else USER_KEY
        with edited_registry(shell, [key]) as registry:
            set_variable(registry, self.name, self.value, key)
        shell.say("")
        shell.say("SUCCESS: Specified value was saved.")
        return 0


def _parse_setx(invocation: Invocation) -> Action:
    words = [word for word in invocation.arguments if word.lower() not in ("/m", "-m")]
    unknown = next(
        (word for word in words if word.lower() in ("/s", "/u", "/p", "/k", "/f", "/a", "/r", "/d", "/x")), None
    )
    if unknown is not None:
        raise invocation.refuse(unknown, "is not supported; possible is setx NAME VALUE [/M]")
    if len(words) != 2:
        raise invocation.refuse(invocation.tail.strip(), "expected a name and a value, in quotes if it has blanks")
    name, value = words
    if utf16_length(value) > _MOST:
        raise invocation.refuse(
            name, f"the value has {utf16_length(value)} characters; setx cuts off what is beyond {_MOST}. Use reg add, "
            "or wclayer append --path-append",
        )  # fmt: skip
    try:
        check_variable(name, value)
    except InvalidParameterError as error:
        raise invocation.refuse(name, error.detail) from None
    return SetVariable(name, value, len(words) < len(invocation.arguments))


SETX = Command(
    names=("setx",),
    usage="setx NAME VALUE [/M]",
    summary=(
        "Sets a variable in the registry, of the machine with `/M`, else of the user (in `NTUSER.DAT`). The next RUN "
        "has it, this one does not. An existing value keeps its type, so that references in `Path` still work; Windows "
        f"would make it REG_SZ. Where Windows would cut off a value after {_MOST} characters, the command is refused. "
        "`/s`, `/u`, `/p`, `/k`, `/f` are refused."
    ),
    parse=_parse_setx,
    group="Registry and environment",
    never_fails=True,
    keeps_files=True,
)
