r"""Environment variables: those of the machine and of users in the registry, and those of the configuration.

A process of a container gets those of the machine, then those of its user, and those of the configuration hide both.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from wclayer.formats.regf.model import fold
from wclayer.inventory.collectors.guarding import Found, attempt, guarded
from wclayer.inventory.collectors.paths import path_exists, resolve_path
from wclayer.inventory.collectors.user_keys import UserKeys, each_user
from wclayer.inventory.item import Item, ItemKind, Origin, Property, config_origin
from wclayer.inventory.subject.subject import Subject
from wclayer.view.machine_environment import (
    MACHINE_KEY,
    MAX_UNITS,
    PATH,
    control_set_of,
    machine_variables,
    path_entries,
)

_ENV = "Env"


def collect(subject: Subject) -> Found:
    """Yields the variables. The property `scope` is "machine", "user" or "config".

    `missing_directories` of a `Path` are the directories on C: that it names and the image does not have.
    """
    read, damage = attempt(config_origin(_ENV).place, partial(_stated, subject))
    yield from damage
    stated = read or {}
    yield from guarded(MACHINE_KEY, _of_machine, subject, frozenset(fold(name) for name in stated))
    yield from each_user(subject, partial(_of_user, subject))
    for name, value in stated.items():
        yield _item(subject, name, value, {"scope": "config"}, config_origin(_ENV))


def _stated(subject: Subject) -> Mapping[str, str]:
    """Returns the variables of the configuration: of several with one name, the last one."""
    if subject.config is None:
        return {}
    found: dict[str, tuple[str, str]] = {}
    for text in subject.config.view.view("config").texts(_ENV):
        name, _, value = text.partition("=")
        found[fold(name)] = name, value
    return dict(found.values())


def _of_machine(subject: Subject, hidden: frozenset[str]) -> Found:
    key = control_set_of(subject.registry.find, MACHINE_KEY)
    for variable in machine_variables(subject.registry.find, key):
        about: dict[str, Property] = {"scope": "machine", "is_hidden": fold(variable.name) in hidden}
        yield _item(subject, variable.name, variable.value, about, subject.registry.origin(key, variable.name))


def _of_user(subject: Subject, user: UserKeys) -> Found:
    key = rf"{user.root}\Environment"
    for variable in machine_variables(user.keys.find, key):
        about: dict[str, Property] = {"scope": "user", "user": user.user}
        yield _item(subject, variable.name, variable.value, about, user.keys.origin(key, variable.name))


def _item(subject: Subject, name: str, value: str, about: Mapping[str, Property], origin: Origin) -> Item:
    value = value[:MAX_UNITS]
    properties = {"value": value, **about}
    if fold(name) == fold(PATH):
        properties["missing_directories"] = _missing(subject, value)
    return Item(ItemKind.ENVIRONMENT_VARIABLE, name, "", origin, "", properties)


def _missing(subject: Subject, value: str) -> list[str]:
    variables = subject.variables
    entries = (entry.strip('"') for entry in path_entries(value))
    resolved = ((entry, resolve_path(entry, variables)) for entry in entries)
    return [entry for entry, path in resolved if path is not None and not path_exists(subject.files, path)]
