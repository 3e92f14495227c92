r"""Scheduled tasks: the documents in `Windows\System32\Tasks`, and what the scheduler has registered of them.

Windows runs the tasks that its registry has (`Schedule\TaskCache`). What they do is in both places, but only the
document has a form that is documented: "Task Scheduler Schema" ([MS-TSCH] section 2.5).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from wclayer.errors import FormatError, FormatLimitError
from wclayer.formats.regf.model import Key
from wclayer.formats.safe_xml import MAX_SIZE, XmlElement, parse_xml
from wclayer.inventory.files import SubjectFile
from wclayer.inventory.guarding import Found, each_file, each_subkey, guarded
from wclayer.inventory.item import Item, ItemKind, Property
from wclayer.inventory.key_values import KeyValues
from wclayer.inventory.registry import SubjectRegistry
from wclayer.inventory.subject import Subject
from wclayer.win32.names import name_key

_FOLDER = "Windows/System32/Tasks"
_CACHE = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Schedule\TaskCache"
_TREE = rf"{_CACHE}\Tree"
_MOST = 20_000
_DEPTH = 32
"""Folders of tasks that may lie in each other. Windows' own are three deep."""
_MAX_LIST = 50
_TRIGGER = "Trigger"


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
    """Adds the tasks of the registry: the name of each, and its key."""

    def add(path: str, key: Key) -> Found:
        task = path[len(_TREE) :]
        if "Id" in KeyValues(key):
            registered[name_key(task)] = task, path
        if len(registered) > _MOST or task.count("\\") > _DEPTH:
            raise FormatLimitError(f"more than {_MOST} tasks are registered, or folders are more than {_DEPTH} deep")
        yield from each_subkey(registry, path, add)

    yield from each_subkey(registry, _TREE, add)


def _documented(subject: Subject, registered: dict[str, tuple[str, str]], file: SubjectFile) -> Iterator[Item]:
    name = file.path[len(_FOLDER) :].replace("/", "\\")
    is_registered = registered.pop(name_key(name), None) is not None
    task = parse_task(subject.files.read(file, MAX_SIZE))
    about = _child(task, "RegistrationInfo")
    properties = {**task_properties(task), "is_registered": is_registered, "has_document": True}
    yield Item(ItemKind.TASK, name, about.text_of("Version"), file.origin, about.text_of("Author"), properties)


def _registered(registry: SubjectRegistry, task: str, path: str) -> Iterator[Item]:
    number = KeyValues(registry.find(path)).text("Id")
    values = KeyValues(registry.find(rf"{_CACHE}\Tasks\{number}"))
    properties: dict[str, Property] = {"is_registered": True, "has_document": False}
    yield Item(ItemKind.TASK, task, values.text("Version"), registry.origin(path), values.text("Author"), properties)


def parse_task(data: bytes) -> XmlElement:
    """Returns the root of the document of a task.

    Raises:
        FormatError: it is not XML, or no task.
    """
    root = parse_xml(data)
    if root.name != "Task":
        raise FormatError(f"is the document of a {root.name[:60]!r}, not of a task")
    return root


def task_properties(task: XmlElement) -> dict[str, Property]:
    """Returns what a task does, when, and as whom."""
    about, settings, actions = _child(task, "RegistrationInfo"), _child(task, "Settings"), _child(task, "Actions")
    properties: dict[str, Property] = {"is_enabled": _is(settings, "Enabled", True)}
    first = next(iter(actions.children), None)
    if first is not None:
        properties["command"] = _command(first)
        if first.text_of("Arguments"):
            properties["arguments"] = first.text_of("Arguments")
        if first.text_of("WorkingDirectory"):
            properties["working_directory"] = first.text_of("WorkingDirectory")
    if len(actions.children) > 1:
        properties["further_commands"] = [
            " ".join(filter(None, (_command(action), action.text_of("Arguments"))))
            for action in actions.children[1:_MAX_LIST]
        ]
    properties["triggers"] = [
        each.name.removesuffix(_TRIGGER).lower() for each in _child(task, "Triggers").children[:_MAX_LIST]
    ]
    principal = _principal(task, actions.attributes.get("Context", ""))
    texts = {
        "user": principal.text_of("UserId") or principal.text_of("GroupId"),
        "run_level": principal.text_of("RunLevel"),
        "description": about.text_of("Description"),
    }
    properties |= {name: text for name, text in texts.items() if text}
    properties["is_hidden"] = _is(settings, "Hidden", False)
    return properties


def _command(action: XmlElement) -> str:
    """Returns the program of an action, or the class that it calls; the kind of any other action."""
    if action.name == "ComHandler":
        return f"COM {action.text_of('ClassId')}"
    return action.text_of("Command") or action.name


def _principal(task: XmlElement, context: str) -> XmlElement:
    principals = _child(task, "Principals").children
    named = (each for each in principals if each.attributes.get("id") == context)
    return next(named, principals[0] if principals else XmlElement("", {}))


def _child(element: XmlElement, name: str) -> XmlElement:
    """Returns a child, or an empty element."""
    return element.child(name) or XmlElement("", {})


def _is(element: XmlElement, name: str, default: bool) -> bool:
    text = element.text_of(name).lower()
    return text in ("true", "1") if text else default
