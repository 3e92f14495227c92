r"""The cmdlets for keys and values of the registry (`HKLM:\…`, `HKCU:\…`, `Registry::HKEY_…`).

Source: "about_Registry_Provider", the references of the cmdlets (Microsoft Learn), and `RegistryProvider` of
PowerShell.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from wclayer.builder.commands.command import Action
from wclayer.builder.commands.powershell.cmdlet import (
    LITERAL_PATH,
    PATH,
    Bound,
    Cmdlet,
    Kind,
    Parameter,
    switch,
    unsupported,
)
from wclayer.builder.commands.powershell.paths import literal_keys, paths_of, paths_word, registry_path_of
from wclayer.builder.commands.powershell.registry_values import KINDS, converted, kind_of_value
from wclayer.builder.commands.powershell.values import Value
from wclayer.builder.commands.registry import DeleteFromKey
from wclayer.builder.commands.registry_keys import EditedRegistry, edited_registry, is_machine_environment, plan_value
from wclayer.builder.commands.state import PlannedState, Shell
from wclayer.formats.regf import model
from wclayer.formats.regf.model import fold
from wclayer.formats.regf.values import ValueType

_GROUP = "PowerShell: registry"
_DEFAULT = "(default)"
_NO_PATH = "Cannot find path '{0}' because it does not exist."


@dataclass(frozen=True)
class Stated:
    """The data of a value as a script states it.

    Attributes:
        value: the value of PowerShell.
        kind: the type; None if it is that of the existing value, or follows from the value.
    """

    value: Value
    kind: ValueType | None

    def encoded(self, existing: int | None) -> tuple[ValueType, bytes]:
        """Returns the type and the stored form.

        Args:
            existing: the type of the existing value, or None.

        Raises:
            ValueError: the value does not fit the type.
        """
        if self.kind is None and existing in KINDS.values():
            try:
                kind = ValueType(existing or 0)
                return kind, converted(self.value, kind)
            except ValueError:
                # The existing type does not fit, so it is as if there was none.
                pass
        kind = kind_of_value(self.value) if self.kind is None else self.kind
        return kind, converted(self.value, kind)


@dataclass(frozen=True)
class _KeyAction(ABC):
    """What a cmdlet does to a key.

    Attributes:
        bound: the call.
        key: the full path of the key.
    """

    bound: Bound
    key: str

    @abstractmethod
    def check(self, state: PlannedState) -> None:
        """See `Action`."""

    def run(self, shell: Shell) -> int:
        """See `Action`."""
        with edited_registry(shell, [self.key]) as registry:
            message = self._change(registry)
        return self.bound.fail(shell, message) if message else 0

    @abstractmethod
    def _change(self, registry: EditedRegistry) -> str:
        """Changes the registry. Returns the message of the error that kept it from that; "" without one."""


@dataclass(frozen=True)
class NewKey(_KeyAction):
    """`New-Item` of a key."""

    default: Stated | None

    def check(self, state: PlannedState) -> None:
        if self.bound.flag("Force"):
            DeleteFromKey(self.key, None, False).check(state)

    def _change(self, registry: EditedRegistry) -> str:
        is_forced = self.bound.flag("Force")
        exists = registry.find(self.key) is not None
        if exists and not is_forced:
            return "A key in this path already exists."
        if not is_forced and registry.find(self.key.rpartition("\\")[0]) is None:
            return "The registry key at the specified path does not exist."
        if exists:
            registry.delete_key(self.key)
        registry.create_key(self.key)
        if self.default is not None:
            registry.set_value(self.key, "", *self.default.encoded(None))
        return ""


@dataclass(frozen=True)
class RemoveKey(_KeyAction):
    """`Remove-Item` of a key, with everything below it."""

    path: str

    def check(self, state: PlannedState) -> None:
        DeleteFromKey(self.key, None, False).check(state)

    def _change(self, registry: EditedRegistry) -> str:
        key = registry.find(self.key)
        if key is None:
            return _NO_PATH.format(self.path)
        if not self.bound.flag("Recurse") and any(True for _ in key.subkeys()):
            return (
                f"The item at {self.path} has children and the Recurse parameter was not specified; Windows asks "
                "whether it is meant, and nobody can answer."
            )
        registry.delete_key(self.key)
        return ""


@dataclass(frozen=True)
class SetProperty(_KeyAction):
    """`New-ItemProperty`, `Set-ItemProperty`: sets a value of a key."""

    path: str
    name: str
    stated: Stated
    is_new: bool

    def check(self, state: PlannedState) -> None:
        existing = None
        if is_machine_environment(self.key) and self.name in state.machine:
            existing = ValueType.REG_EXPAND_SZ if state.machine.expands(self.name) else ValueType.REG_SZ
        kind, data = self.stated.encoded(existing)
        plan_value(state, self.key, model.Value(self.name, kind, data))

    def _change(self, registry: EditedRegistry) -> str:
        if registry.find(self.key) is None:
            return _NO_PATH.format(self.path)
        existing = registry.value(self.key, self.name)
        if self.is_new and existing is not None and not self.bound.flag("Force"):
            return "The property already exists."
        kind, data = self.stated.encoded(None if existing is None else existing.type)
        registry.set_value(self.key, self.name, kind, data)
        return ""


@dataclass(frozen=True)
class RemoveProperty(_KeyAction):
    """`Remove-ItemProperty`: deletes a value of a key."""

    path: str
    name: str

    def check(self, state: PlannedState) -> None:
        DeleteFromKey(self.key, self.name, False).check(state)

    def _change(self, registry: EditedRegistry) -> str:
        if registry.find(self.key) is None:
            return _NO_PATH.format(self.path)
        if registry.value(self.key, self.name) is None:
            return f"Property {self.name or _DEFAULT} does not exist at path {self.key}."
        registry.delete_value(self.key, self.name)
        return ""


@dataclass(frozen=True)
class Each:
    """Several actions of one call, of which each is carried out."""

    actions: Sequence[Action]

    def check(self, state: PlannedState) -> None:
        for action in self.actions:
            action.check(state)

    def run(self, shell: Shell) -> int:
        codes = [action.run(shell) for action in self.actions]
        return max(codes, default=0)


def parse_new_key(bound: Bound) -> Action:
    """Returns the action of `New-Item` for keys of the registry."""
    name = bound.text("Name")
    default = None
    if "Value" in bound:
        default = Stated(bound.value("Value"), _kind(bound, "ItemType"))
        _check_fits(bound, default)
    actions: list[Action] = []
    for text in paths_of(bound):
        key = registry_path_of(bound, text if name is None else f"{text}\\{name}", paths_word(bound)) or ""
        _check_below_root(bound, key)
        actions.append(NewKey(bound, key, default))
    return Each(actions)


def parse_remove_key(bound: Bound) -> Action:
    """Returns the action of `Remove-Item` for keys of the registry."""
    actions: list[Action] = []
    for key, path in literal_keys(bound):
        _check_below_root(bound, key)
        actions.append(RemoveKey(bound, key, path))
    return Each(actions)


def _check_below_root(bound: Bound, key: str) -> None:
    if key.count("\\") < (1 if key.startswith("HKEY_CURRENT_USER") else 2):
        raise bound.refuse(paths_word(bound), "is the root of a hive, which is neither made nor deleted")


def _name(name: str) -> str:
    return "" if fold(name) == fold(_DEFAULT) else name


def _kind(bound: Bound, parameter: str) -> ValueType | None:
    text = bound.text(parameter)
    if text is None or text.lower() == "unknown":
        return None
    kind = KINDS.get(text.lower())
    if kind is None:
        names = "String, ExpandString, MultiString, DWord, QWord, Binary"
        raise bound.refuse(bound.word(parameter), f"is no type of a value; possible are {names}")
    return kind


def _check_fits(bound: Bound, stated: Stated) -> None:
    try:
        stated.encoded(None)
    except ValueError as error:
        raise bound.refuse(bound.word("Value"), str(error)) from None


def _parse_set(bound: Bound, *, is_new: bool) -> Action:
    name = bound.text("Name")
    if name is None:
        raise bound.refuse(bound.name, "write -Name and the name of the value")
    if not is_new and "Value" not in bound:
        raise bound.refuse(bound.name, "write -Value and the value")
    keys = literal_keys(bound)
    stated = Stated(bound.value("Value"), _kind(bound, "PropertyType" if is_new else "Type"))
    _check_fits(bound, stated)
    return Each([SetProperty(bound, key, path, _name(name), stated, is_new) for key, path in keys])


def _parse_new_property(bound: Bound) -> Action:
    return _parse_set(bound, is_new=True)


def _parse_set_property(bound: Bound) -> Action:
    return _parse_set(bound, is_new=False)


def _parse_remove_property(bound: Bound) -> Action:
    names = bound.texts("Name")
    if not names:
        raise bound.refuse(bound.name, "write -Name and the name of the value")
    for name in names:
        if any(character in name for character in "*?[`"):
            raise bound.refuse(bound.word("Name"), "wildcards are not supported; write the name")
    return Each([RemoveProperty(bound, key, path, _name(name)) for key, path in literal_keys(bound) for name in names])


_OTHERS = unsupported("Filter", "Include", "Exclude", "Credential", "UseTransaction")

CMDLETS = (
    Cmdlet(
        ("New-ItemProperty",),
        "New-ItemProperty [-Path] KEY[, …] [-Name] NAME [-Value VALUE] [-PropertyType TYPE] [-Force]",
        "Makes a value of a key, which has to exist. Types: String, ExpandString, MultiString, DWord, QWord, Binary; "
        "without one, a text is a String, an integer a DWord or QWord. A value that exists is an error without "
        "`-Force`. `(Default)` is the value without a name.",
        (
            PATH,
            Parameter("Name", position=1, aliases=("PSProperty",)),
            Parameter("Value", Kind.VALUE),
            Parameter("PropertyType", aliases=("Type",)),
            switch("Force"),
            LITERAL_PATH,
            *_OTHERS,
        ),
        _parse_new_property,
        _GROUP,
        has_confirmation=True,
    ),
    Cmdlet(
        ("Set-ItemProperty", "sp"),
        "Set-ItemProperty [-Path] KEY[, …] [-Name] NAME [-Value] VALUE [-Type TYPE] [-Force]",
        "Sets a value of a key, which has to exist. Without `-Type`, an existing value keeps its type if the new one "
        "fits it. Properties of files are refused: use `attrib`.",
        (
            PATH,
            Parameter("Name", position=1, aliases=("PSProperty",)),
            Parameter("Value", Kind.VALUE, 2),
            Parameter("Type"),
            switch("Force"),
            switch("PassThru"),
            LITERAL_PATH,
            *unsupported("InputObject"),
            *_OTHERS,
        ),
        _parse_set_property,
        _GROUP,
        has_confirmation=True,
    ),
    Cmdlet(
        ("Remove-ItemProperty", "rp"),
        "Remove-ItemProperty [-Path] KEY[, …] [-Name] NAME[, …] [-Force]",
        "Deletes values of a key. One that does not exist is an error.",
        (
            PATH,
            Parameter("Name", Kind.TEXTS, 1, ("PSProperty",)),
            switch("Force"),
            LITERAL_PATH,
            *_OTHERS,
        ),
        _parse_remove_property,
        _GROUP,
        has_confirmation=True,
    ),
)
"""The rows of the table."""
