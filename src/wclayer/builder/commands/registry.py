r"""`reg add`, `copy`, `delete`, `export`, `import` and `query`, and `regedit /s`: the registry without Windows.

Sources: the references of `reg` in "Windows commands", and the behaviour of Wine's reg.exe, with which tests compare.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from wclayer.builder.commands.command import Action, Command, Invocation
from wclayer.builder.commands.registry_data import DATA_TYPES, parse_data
from wclayer.builder.commands.registry_files import ExportKey, ImportFile
from wclayer.builder.commands.registry_keys import (
    EditedRegistry,
    check_keys,
    edited_registry,
    holds_machine_environment,
    is_machine_environment,
    plan_value,
    registry_key,
)
from wclayer.builder.commands.state import PlannedState, Shell
from wclayer.errors import LayerError
from wclayer.formats.regf.model import Key, Value, fold, walk
from wclayer.formats.regf.values import ValueType, to_text, type_name
from wclayer.model import limits_in_use

SUCCESS = "The operation completed successfully."
MISSING = "ERROR: The system was unable to find the specified registry key or value."
_NO_ANSWER = "ERROR: {0} exists, and nobody can answer whether it is overwritten; add /f."


@dataclass(frozen=True)
class AddValue:
    """`reg add`: makes a key, and sets a value of it."""

    key: str
    value: Value | None
    is_forced: bool

    def check(self, state: PlannedState) -> None:
        check_keys(state, [self.key])
        if self.value is not None:
            plan_value(state, self.key, self.value)

    def run(self, shell: Shell) -> int:
        with edited_registry(shell, [self.key]) as registry:
            if self.value is None:
                registry.create_key(self.key)
            elif not self.is_forced and registry.value(self.key, self.value.name) is not None:
                shell.complain(_NO_ANSWER.format(f"Value {self.value.name or '(Default)'}"))
                return 1
            else:
                registry.set_value(self.key, self.value.name, self.value.type, self.value.data)
        shell.say(SUCCESS)
        return 0


@dataclass(frozen=True)
class DeleteFromKey:
    """`reg delete`: deletes a key, one value of it, or all of its values."""

    key: str
    name: str | None
    is_all_values: bool

    def check(self, state: PlannedState) -> None:
        check_keys(state, [self.key])
        if is_machine_environment(self.key) and self.name is not None:
            state.machine.delete(self.name)
        elif holds_machine_environment(self.key) and (self.name is None or self.is_all_values):
            for name in list(state.machine):
                state.machine.delete(name)

    def run(self, shell: Shell) -> int:
        with edited_registry(shell, [self.key]) as registry:
            key = registry.find(self.key)
            if key is None or (self.name is not None and registry.value(self.key, self.name) is None):
                shell.complain(MISSING)
                return 1
            if self.name is not None:
                registry.delete_value(self.key, self.name)
            elif self.is_all_values:
                for value in key.values():
                    registry.delete_value(self.key, value.name)
            else:
                registry.delete_key(self.key)
        shell.say(SUCCESS)
        return 0


@dataclass(frozen=True)
class CopyKey:
    """`reg copy`: copies the values of a key, and with `/s` everything below it."""

    source: str
    target: str
    is_recursive: bool
    is_forced: bool

    def check(self, state: PlannedState) -> None:
        check_keys(state, [self.source, self.target])
        if holds_machine_environment(self.target):
            for name in list(state.machine):
                state.machine.set_unknown(name, "reg copy changes it")

    def run(self, shell: Shell) -> int:
        with edited_registry(shell, [self.source, self.target]) as registry:
            source = registry.find(self.source)
            if source is None:
                shell.complain(MISSING)
                return 1
            copied = self._copied(source)
            if not self.is_forced:
                for key, value in copied:
                    if value is not None and registry.value(key, value.name) is not None:
                        shell.complain(_NO_ANSWER.format(f"Value {key}\\{value.name}"))
                        return 1
            for key, value in copied:
                if value is None:
                    registry.create_key(key)
                else:
                    registry.set_value(key, value.name, value.type, value.data)
        shell.say(SUCCESS)
        return 0

    def _copied(self, source: Key) -> list[tuple[str, Value | None]]:
        """Returns the keys and values to make, before anything is changed: the target may be below the source."""
        keys = walk(source, self.target, max_paths=limits_in_use().key_paths)
        found: list[tuple[str, Value | None]] = []
        for path, key in keys if self.is_recursive else [(self.target, source)]:
            found.append((path, None))
            found += [(path, value) for value in key.values()]
        return found


@dataclass(frozen=True)
class QueryKey:
    """`reg query`: prints the values of a key and the names of its subkeys; 1 if it does not exist."""

    key: str
    name: str | None
    is_recursive: bool

    def check(self, state: PlannedState) -> None:
        check_keys(state, [self.key])

    def run(self, shell: Shell) -> int:
        with edited_registry(shell, [self.key]) as registry:
            key = registry.find(self.key)
            lines = [] if key is None else list(self._lines(registry, key))
        if key is None or (self.name is not None and not lines):
            shell.complain(MISSING)
            return 1
        for line in lines:
            shell.say(line)
        return 0

    def _lines(self, registry: EditedRegistry, key: Key) -> list[str]:
        lines: list[str] = []
        keys = walk(key, self.key, max_paths=limits_in_use().key_paths) if self.is_recursive else [(self.key, key)]
        for path, current in keys:
            values = [one for one in current.values() if self.name is None or fold(one.name) == fold(self.name)]
            if values:
                lines += ["", path]
                lines += [f"    {one.name or '(Default)'}    {type_name(one.type)}    {to_text(one)}" for one in values]
        if self.name is None and not self.is_recursive:
            lines += ["", *(f"{self.key}\\{below.name}" for below in key.subkeys())]
        return lines


@dataclass
class _Options:
    """The words of an invocation of reg.exe: operands, and options with or without a value."""

    invocation: Invocation
    operands: list[str] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, invocation: Invocation, words: Sequence[str], with_value: str, flags: str) -> _Options:
        """Reads the words.

        Args:
            with_value: the options that are followed by a value, separated by blanks.
            flags: the options that stand alone.
        """
        made = cls(invocation)
        rest = list(words)
        while rest:
            word = rest.pop(0)
            name = word.lower().replace("-", "/", 1) if word[:1] in ("/", "-") else ""
            if not name:
                made.operands.append(word)
            elif name in made.values:
                raise invocation.refuse(word, "is given twice")
            elif name in with_value.split():
                if not rest:
                    raise invocation.refuse(word, "needs a value after it")
                made.values[name] = rest.pop(0)
            elif name in flags.split():
                made.values[name] = ""
            else:
                raise invocation.refuse(word, f"is not supported here; possible are {with_value} {flags}")
        if "/reg:32" in made.values and "/reg:64" in made.values:
            raise invocation.refuse("/reg:32", "/reg:64 is given, too")
        return made

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def keys(self, count: int = 1) -> list[str]:
        """Returns the full paths of the keys that the operands name."""
        if len(self.operands) != count:
            word = self.operands[count] if len(self.operands) > count else self.invocation.tail.strip()
            raise self.invocation.refuse(
                word, f"expected {count} key{'s' if count > 1 else ''}, such as HKLM\\SOFTWARE\\App"
            )
        return [self.key(text) for text in self.operands]

    def key(self, text: str) -> str:
        """Returns the full path of a key."""
        try:
            return registry_key(text, is_32="/reg:32" in self)
        except LayerError as error:
            raise self.invocation.refuse(text, error.detail) from None

    def value_name(self) -> str | None:
        """Returns the name of the value that `/v` or `/ve` gives, or None."""
        if "/v" in self and "/ve" in self:
            raise self.invocation.refuse("/ve", "/v is given, too")
        return "" if "/ve" in self else self.values.get("/v")


_VIEWS = "/reg:32 /reg:64"


def _parse_add(invocation: Invocation, words: Sequence[str]) -> Action:
    options = _Options.of(invocation, words, "/v /t /s /d", f"/ve /f {_VIEWS}")
    (key,) = options.keys()
    name = options.value_name()
    if name is None and options.values.keys() & {"/t", "/d"}:
        name = ""
    if name is None:
        return AddValue(key, None, True)
    kind = DATA_TYPES.get(options.values.get("/t", "REG_SZ").upper())
    if kind is None:
        raise invocation.refuse(options.values["/t"], f"is no type of reg add; possible are {', '.join(DATA_TYPES)}")
    if "/s" in options and (len(options.values["/s"]) != 1 or kind != ValueType.REG_MULTI_SZ):
        raise invocation.refuse("/s", "gives one character, between the strings of a REG_MULTI_SZ")
    try:
        data = parse_data(kind, options.values.get("/d"), options.values.get("/s", "\\0"))
    except ValueError as error:
        raise invocation.refuse(options.values.get("/d", "/t"), str(error)) from None
    return AddValue(key, Value(name, kind, data), "/f" in options)


def _parse_delete(invocation: Invocation, words: Sequence[str]) -> Action:
    options = _Options.of(invocation, words, "/v", f"/ve /va /f {_VIEWS}")
    (key,) = options.keys()
    name = options.value_name()
    if "/f" not in options:
        raise invocation.refuse(words[0], "asks whether it is meant, and nobody can answer in a build; add /f")
    if "/va" in options and name is not None:
        raise invocation.refuse("/va", "/v or /ve is given, too")
    if name is None and "/va" not in options and key.count("\\") < (1 if key.startswith("HKEY_CURRENT_USER") else 2):
        raise invocation.refuse(options.operands[0], "is the root of a hive, which cannot be deleted")
    return DeleteFromKey(key, name, "/va" in options)


def _parse_copy(invocation: Invocation, words: Sequence[str]) -> Action:
    options = _Options.of(invocation, words, "", f"/s /f {_VIEWS}")
    source, target = options.keys(2)
    if fold(source) == fold(target):
        raise invocation.refuse(options.operands[1], "is the same key as the source")
    return CopyKey(source, target, "/s" in options, "/f" in options)


def _parse_query(invocation: Invocation, words: Sequence[str]) -> Action:
    options = _Options.of(invocation, words, "/v", f"/ve /s {_VIEWS}")
    (key,) = options.keys()
    return QueryKey(key, options.value_name(), "/s" in options)


def _parse_import(invocation: Invocation, words: Sequence[str]) -> Action:
    options = _Options.of(invocation, words, "", _VIEWS)
    if len(options.operands) != 1:
        raise invocation.refuse(invocation.tail.strip(), "expected one file, such as C:\\app.reg")
    return ImportFile(options.operands[0], "/reg:32" in options)


def _parse_export(invocation: Invocation, words: Sequence[str]) -> Action:
    options = _Options.of(invocation, words, "", f"/y {_VIEWS}")
    if len(options.operands) != 2:
        raise invocation.refuse(invocation.tail.strip(), "expected a key and a file")
    return ExportKey(options.key(options.operands[0]), options.operands[1], "/y" in options)


_OPERATIONS: dict[str, Callable[[Invocation, Sequence[str]], Action]] = {
    "add": _parse_add,
    "copy": _parse_copy,
    "delete": _parse_delete,
    "export": _parse_export,
    "import": _parse_import,
    "query": _parse_query,
}


def _parse_reg(invocation: Invocation) -> Action:
    words = invocation.arguments
    parse = _OPERATIONS.get(words[0].lower()) if words else None
    if parse is None:
        word = words[0] if words else invocation.name
        raise invocation.refuse(word, f"is not supported; possible are {', '.join(_OPERATIONS)}")
    return parse(invocation, words[1:])


def _parse_regedit(invocation: Invocation) -> Action:
    words = [word for word in invocation.arguments if word.lower() not in ("/s", "-s")]
    if len(words) == len(invocation.arguments):
        raise invocation.refuse(invocation.name, "opens a window without /s; possible is regedit /s FILE.reg")
    if len(words) != 1 or words[0].startswith("/"):
        raise invocation.refuse(invocation.tail.strip(), "expected one file; possible is regedit /s FILE.reg")
    return ImportFile(words[0], is_silent=True)


REG = Command(
    names=("reg",),
    usage=(
        r"reg add KEY [/v NAME | /ve] [/t TYPE] [/s SEPARATOR] [/d DATA] [/f]"
        "\n"
        r"reg delete KEY [/v NAME | /ve | /va] /f"
        "\n"
        r"reg copy KEY KEY [/s] [/f]"
        "\n"
        r"reg import FILE"
        "\n"
        r"reg export KEY FILE [/y]"
        "\n"
        r"reg query KEY [/v NAME | /ve] [/s]"
    ),
    summary=(
        "Changes the hives of the machine (HKLM, HKCR, HKCC, HKU\\.DEFAULT) and of the user (HKCU); `/reg:32` and "
        "`/reg:64` choose the view of the registry. Types: " + ", ".join(DATA_TYPES) + ". Where Windows would ask "
        "whether a value is overwritten, the command fails: add `/f`. Keys of other machines, and `reg save`, "
        "`restore`, `load`, `unload`, `compare`, `flags` are refused."
    ),
    parse=_parse_reg,
    group="Registry and environment",
    keeps_files=True,
)
REGEDIT = Command(
    names=("regedit", "regedt32"),
    usage="regedit /s FILE.reg",
    summary="Imports a file, as `reg import` does.",
    parse=_parse_regedit,
    group="Registry and environment",
    keeps_files=True,
)
