r"""Scheduled tasks: the documents in `Windows\System32\Tasks`, and what the scheduler has registered of them.

Windows runs the tasks that its registry has (`Schedule\TaskCache`). What they do is in both places, but only the
document has a form that is documented.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from wclayer.errors import FormatLimitError
from wclayer.formats.regf.model import Key, fold, sort_key
from wclayer.formats.safe_xml import MAX_SIZE
from wclayer.inventory.collectors.guarding import Found, each_file, guarded
from wclayer.inventory.collectors.key_values import KeyValues
from wclayer.inventory.collectors.task_document import author_and_version, parse_task, task_properties
from wclayer.inventory.item import Finding, Item, ItemKind, Property
from wclayer.inventory.subject.files import SubjectFile
from wclayer.inventory.subject.readings import KnownFiles
from wclayer.inventory.subject.registry import SubjectRegistry, subkeys_of
from wclayer.inventory.subject.subject import Subject
from wclayer.win32.names import name_key

_FOLDER = "Windows/System32/Tasks"
READS = (KnownFiles(f"{_FOLDER}/**", MAX_SIZE),)
_CACHE = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Schedule\TaskCache"
_TREE = rf"{_CACHE}\Tree"
_MOST = 20_000
_DEPTH = 32
"""Folders of tasks that may lie in each other. Windows' own are three deep."""


def collect(subject: Subject) -> Found:
    r"""Yields the tasks. The name of an item is the path of the task: `\Microsoft\Windows\Defrag\ScheduledDefrag`.

    `is_registered` is False for a document that the scheduler does not know; `has_document` is False for a task that
    has none.
    """
    registered: dict[str, tuple[str, str]] = {}
    yield from guarded(_TREE, _add_registered, subject.registry, registered)
    folder = subject.files.find(_FOLDER)
    if folder is not None:
        documents = (file for file in subject.files.walk(folder) if not file.is_directory and not file.is_link)
        yield from guarded(folder.windows_path, each_file, documents, partial(_documented, subject, registered))
    for task, path in registered.values():
        yield from guarded(path, _registered, subject.registry, task, path)


def _add_registered(registry: SubjectRegistry, registered: dict[str, tuple[str, str]]) -> Found:
    """Adds the tasks of the registry: the name of each, and its key. Links between keys are not followed: they could
    lead in a circle."""
    waiting: list[tuple[str, Key]] = []
    yield from guarded(_TREE, _add_below, waiting, _TREE, registry.find(_TREE))
    count = 0
    while waiting:
        path, key = waiting.pop()
        task = path[len(_TREE) :]
        count += 1
        if count > _MOST or task.count("\\") > _DEPTH:
            raise FormatLimitError(f"more than {_MOST} tasks are registered, or folders are more than {_DEPTH} deep")
        yield from guarded(path, _add_key, registered, task, path, key)
        yield from guarded(path, _add_below, waiting, path, key)


def _add_key(registered: dict[str, tuple[str, str]], task: str, path: str, key: Key) -> Iterable[Finding]:
    """Adds a key to the tasks, if it is one."""
    if "Id" in KeyValues(key):
        registered[name_key(task)] = task, path
    return ()


def _add_below(waiting: list[tuple[str, Key]], path: str, key: Key | None) -> Iterable[Finding]:
    """Adds the subkeys of a key to those that are waiting, the first one last."""
    waiting += sorted(subkeys_of(key, path), key=lambda each: sort_key(fold(each[1].name)), reverse=True)
    return ()


def _documented(subject: Subject, registered: dict[str, tuple[str, str]], file: SubjectFile) -> Iterator[Item]:
    name = file.path[len(_FOLDER) :].replace("/", "\\")
    is_registered = registered.pop(name_key(name), None) is not None
    task = parse_task(subject.files.read(file, MAX_SIZE))
    author, version = author_and_version(task)
    properties = {**task_properties(task), "is_registered": is_registered, "has_document": True}
    yield Item(ItemKind.TASK, name, version, file.origin, author, properties)


def _registered(registry: SubjectRegistry, task: str, path: str) -> Iterator[Item]:
    number = KeyValues(registry.find(path)).text("Id")
    values = KeyValues(registry.find(rf"{_CACHE}\Tasks\{number}"))
    properties: dict[str, Property] = {"is_registered": True, "has_document": False}
    yield Item(ItemKind.TASK, task, values.text("Version"), registry.origin(path), values.text("Author"), properties)
