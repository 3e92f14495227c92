"""`wclayer.toml`: the file with a user's defaults for options. It is found, read and checked here.

The working directory is not searched. A folder that came from elsewhere, a clone or an unpacked archive, would
otherwise decide which store, which authorities and which engine its user works with.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import click
import platformdirs

from wclayer._nearest import nearest
from wclayer.cli.unsettable import reason_against
from wclayer.errors import AccessDeniedError, InvalidDataError, PathNotFoundError
from wclayer.layers.inputs import open_any_place
from wclayer.model import Limits

FILE_NAME = "wclayer.toml"
VARIABLE = "WCLAYER_CONFIG"
"""The variable that names the file; empty: there is none."""
SHARED = "defaults"
"""The table of the options that several verbs have."""
SHARED_OPTIONS = (
    "engine", "store", "platform", "jobs", "foreign", "ca", "authfile", "retries", "quiet",
    *(f"max-{limit.name.replace('_', '-')}" for limit in fields(Limits)),
)  # fmt: skip
"""The options that the table `defaults` may have. A verb without one of them does not look at it."""
VARIABLES = {"engine": "WCLAYER_ENGINE", "store": "WCLAYER_STORE", "authfile": "REGISTRY_AUTH_FILE"}
"""The variables of the environment that come before the file, by the option that they stand for."""
_MAX_SIZE = 1 << 20


@dataclass(frozen=True, slots=True)
class Setting:
    """A default of the file.

    Attributes:
        table: the names of its table.
        option: the long name of the option, without hyphens before it.
        value: the value, of the type that the option needs.
        line: its line in the file; 0 if that is not known.
    """

    table: tuple[str, ...]
    option: str
    value: Any
    line: int


class Settings:
    """The defaults of a file.

    Args:
        path: the file; None if there is none.
        tables: what it holds.
        text: its text.
    """

    def __init__(self, path: Path | None = None, tables: Mapping[str, Any] | None = None, text: str = "") -> None:
        self.path = path
        self._tables = tables or {}
        self._text = text

    def of(self, verb: Sequence[str], command: click.Command) -> dict[str, Setting]:
        """Returns the defaults of a verb, by the names of the parameters that get them.

        Args:
            verb: its words: ("fleet", "scan"); () for the command itself.
            command: the verb.

        Raises:
            InvalidDataError: the file sets an option that the verb does not have, one that cannot have a default in a
                file, or to a value that the option does not take.
        """
        options = settable_options(verb, command)
        found: dict[str, Setting] = {}
        for table in ((SHARED,), tuple(verb)):
            if not table:
                continue
            below = set(command.list_commands(click.Context(command))) if isinstance(command, click.Group) else set()
            for name, value in self._table(table).items():
                if table == (SHARED,):
                    self._check_shared(name)
                elif isinstance(value, dict) and name not in options:
                    self._check_table(name, table, below)
                    continue
                elif name not in options:
                    raise self._unknown(table, name, verb, command, options)
                if (option := options.get(name)) is not None and not (name in VARIABLES and _is_set(name)):
                    found[option.name or ""] = self._setting(table, name, value, option)
        return found

    def check_tables(self, verbs: Sequence[str]) -> None:
        """Checks the names of the tables.

        Args:
            verbs: the verbs that there are.
        """
        for name, value in self._tables.items():
            if _is_list_of_tables(value):
                raise self._error((name,), f"[[{name}]] is a list of tables: write [{name}]")
            if not isinstance(value, dict):
                raise self._error((name,), f"{name} stands before the first table: put it into [{SHARED}] or [VERB]")
            self._check_table(name, (), {SHARED, *verbs})
            if name == SHARED:
                for option in value:
                    self._check_shared(option)

    def _table(self, names: Sequence[str]) -> dict[str, Any]:
        table: Any = self._tables
        for name in names:
            table = table.get(name, {}) if isinstance(table, dict) else {}
        return table if isinstance(table, dict) else {}

    def _check_table(self, name: str, above: tuple[str, ...], known: set[str]) -> None:
        if name not in known:
            meant = nearest(name, sorted(known))
            end = f"did you mean [{'.'.join([*above, meant])}]?" if meant else "`wclayer --help` lists the verbs"
            raise self._error((*above, name), f"[{'.'.join([*above, name])}] is no verb: {end}")

    def _check_shared(self, name: str) -> None:
        if name not in SHARED_OPTIONS:
            if (reason := reason_against((), name)) is not None:
                raise self._error((SHARED, name), f"{name} cannot have a default: {reason}")
            meant = nearest(name, SHARED_OPTIONS)
            end = f"did you mean {meant}?" if meant else f"[{SHARED}] has {', '.join(SHARED_OPTIONS[:10])} and max-…"
            raise self._error((SHARED, name), f"{name} is no option of several verbs: {end}")

    def _unknown(
        self, table: tuple[str, ...], name: str, verb: Sequence[str], command: click.Command, options: Mapping[str, Any]
    ) -> InvalidDataError:
        spelled = " ".join(verb)
        if name in long_options(command) and (reason := reason_against(verb, name)) is not None:
            return self._error((*table, name), f"{name} cannot have a default: {reason}")
        for option in options.values():
            if f"--{name}" in option.secondary_opts:
                return self._error((*table, name), f"{name} is written {long_name(option)} = false")
        meant = nearest(name.replace("_", "-").lstrip("-"), options)
        end = f"did you mean {meant}?" if meant else f"`wclayer {spelled} --help` lists its options"
        return self._error((*table, name), f"{name} is no option of `{spelled}`: {end}")

    def _setting(self, table: tuple[str, ...], name: str, value: Any, option: click.Option) -> Setting:
        return Setting(table, name, self._converted((*table, name), value, option), self._line((*table, name)))

    def _converted(self, place: tuple[str, ...], value: Any, option: click.Option) -> Any:
        """Returns the value for click, if it has the type that the option needs."""
        if isinstance(value, dict):
            raise self._error(place, f"a table is not {_wanted(option)}")
        if option.is_flag:
            if not isinstance(value, bool):
                raise self._error(place, f"{value!r} is not true or false")
            return value
        items = value if option.multiple and isinstance(value, list) else [value]
        if option.multiple and not isinstance(value, list):
            raise self._error(place, f"{value!r} is not a list, such as [{value!r}]")
        for each in items:
            is_number = isinstance(each, (int, float)) and not isinstance(each, bool)
            if not (isinstance(each, str) or (is_number and not isinstance(option.type, click.types.StringParamType))):
                raise self._error(place, f"{each!r} is not {_wanted(option)}")
            try:
                option.type.convert(str(each), option, click.Context(click.Command("")))
            except click.BadParameter as error:
                raise self._error(place, error.message) from None
        return [str(each) for each in items] if option.multiple else str(value)

    def _error(self, place: tuple[str, ...], problem: str) -> InvalidDataError:
        line = self._line(place)
        where = f"line {line}: " if line else ""
        return InvalidDataError(self.path or FILE_NAME, f"{where}{problem}")

    def _line(self, place: tuple[str, ...]) -> int:
        """Returns the line in which a key or the header of a table stands; 0 if it is not found."""
        return next((line for line, key in _keys(self._text) if key[: len(place)] == place), 0)


def _is_list_of_tables(value: object) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _is_set(option: str) -> bool:
    return bool(os.environ.get(VARIABLES[option]))


def _wanted(option: click.Option) -> str:
    if isinstance(option.type, click.types.StringParamType):
        return "a text in quotes"
    return f"a value for --{long_name(option)} ({option.type.name})"


def _keys(text: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yields the lines of a TOML document that have a key, each with the names of its tables and the key."""
    import tomllib

    table: tuple[str, ...] = ()
    for number, line in enumerate(text.split("\n"), 1):
        is_header = line.lstrip().startswith("[")
        try:
            found = tomllib.loads(line if is_header else f"{line.partition('=')[0]} = 0")
        except tomllib.TOMLDecodeError:
            continue
        names = _names(found)
        if is_header:
            table = names
        if names:
            yield number, names if is_header else (*table, *names)


def _names(found: Mapping[str, Any]) -> tuple[str, ...]:
    names: list[str] = []
    value: Any = found
    while isinstance(value, dict) and value:
        name, value = next(iter(value.items()))
        names.append(name)
    return tuple(names)


def long_name(option: click.Option) -> str:
    """Returns the long name of an option, without the hyphens before it; "" if it has none."""
    return next((name[2:] for name in option.opts if name.startswith("--")), "")


def long_options(command: click.Command) -> dict[str, click.Option]:
    """Returns the options of a command by each of their long names."""
    options = (each for each in command.params if isinstance(each, click.Option))
    return {name[2:]: option for option in options for name in option.opts if name.startswith("--")}


def settable_options(verb: Sequence[str], command: click.Command) -> dict[str, click.Option]:
    """Returns the options of a verb that a file may give a default, by each of their long names."""
    return {name: option for name, option in long_options(command).items() if reason_against(verb, name) is None}


def places() -> list[Path]:
    """Returns where the file is looked for: at the path that `WCLAYER_CONFIG` has, or in the user's configuration
    directory. An empty variable: nowhere."""
    named = os.environ.get(VARIABLE)
    if named is not None:
        return [Path(named)] if named else []
    return [platformdirs.user_config_path("wclayer", appauthor=False, roaming=True) / FILE_NAME]


def read_settings() -> Settings:
    """Returns the defaults of the user's file; none if there is no file.

    Raises:
        PathNotFoundError: the file that `WCLAYER_CONFIG` names does not exist.
        InvalidDataError: it is not UTF-8 or not TOML, or is too large.
        InvalidParameterError, EntryIsDirectoryError: it is no file.
        AccessDeniedError: it cannot be read; or, in the user's directory, it belongs to another user, or all users may
            write it.
    """
    is_named = VARIABLE in os.environ
    for place in places():
        try:
            with open_any_place(place) as file:
                if not is_named:
                    _check_owner(place, os.fstat(file.fileno()))
                data = file.read(_MAX_SIZE + 1)
        except PathNotFoundError:
            if is_named:
                raise PathNotFoundError(place, f"does not exist, and {VARIABLE} names it") from None
            continue
        if len(data) > _MAX_SIZE:
            raise InvalidDataError(place, f"is larger than {_MAX_SIZE} bytes, which no file of defaults is")
        return _parsed(place, data)
    return Settings()


def _check_owner(place: Path, status: os.stat_result) -> None:
    if sys.platform == "win32":
        # The user's directory has a security descriptor that lets others not write.
        return
    is_own = status.st_uid in (0, os.geteuid())
    if not is_own or status.st_mode & stat.S_IWOTH:
        who = "all users may write it" if is_own else "it belongs to another user"
        raise AccessDeniedError(
            place, f"{who}, who could decide what your commands do; it is only read with {VARIABLE}={place}"
        )


def _parsed(place: Path, data: bytes) -> Settings:
    import tomllib

    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
        tables = tomllib.loads(text)
        if _has_large_number(tables):
            # Python refuses to print one of thousands of digits.
            raise InvalidDataError(place, "is not TOML: a number has more than 64 bits")
        return Settings(place, tables, text)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidDataError(place, f"line {line}: is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise InvalidDataError(place, f"is not TOML: {error}") from None
    except ValueError as error:
        # Python refuses numbers of thousands of digits.
        raise InvalidDataError(place, f"is not TOML: {error}") from None
    except RecursionError:
        raise InvalidDataError(place, "is not TOML: nested too deep") from None


def _has_large_number(tables: Mapping[str, Any]) -> bool:
    values: list[Any] = [tables]
    while values:
        value = values.pop()
        if isinstance(value, dict):
            values += value.values()
        elif isinstance(value, list):
            values += value
        elif isinstance(value, int) and abs(value) >> 64:
            return True
    return False


def settings_of(context: click.Context) -> Settings:
    """Returns the defaults of the user's file for the command that runs. The file is read once, and its tables checked.

    Raises:
        LayerError: see `read_settings` and `Settings.check_tables`.
    """
    root = context.find_root()
    if root.obj is None:
        settings = read_settings()
        if isinstance(root.command, click.Group):
            settings.check_tables(root.command.list_commands(root))
        root.obj = settings
    assert isinstance(root.obj, Settings)
    return root.obj


def format_defaults(command: click.Command, context: click.Context, formatter: click.HelpFormatter) -> None:
    """Writes the defaults that the user's file sets for a command, as the end of its help."""
    settings = settings_of(context)
    found = settings.of(words_of(context), command)
    if found:
        with formatter.section(f"Defaults of {settings.path}"):
            formatter.write_dl([(f"--{each.option}", text_of(each.value)) for each in found.values()])


def text_of(value: object) -> str:
    """Returns a default as a text for people; "-" for one that the verb finds itself."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(value) if isinstance(value, list) else str(value)


def words_of(context: click.Context) -> tuple[str, ...]:
    """Returns the words of the verb of a context, without the name of the program."""
    words: list[str] = []
    while context.parent is not None:
        words.insert(0, context.info_name or "")
        context = context.parent
    return tuple(words)
