"""What the document of a scheduled task says ([MS-TSCH] section 2.5, "Task Scheduler Schema")."""

from __future__ import annotations

from wclayer.errors import FormatError
from wclayer.formats.safe_xml import XmlElement, parse_xml
from wclayer.inventory.item import Property

_MAX_LIST = 50
"""Actions and triggers of a task that are shown."""
_MAX_TEXT = 1 << 13
"""Characters of a text that are shown: as many as a command line may have."""
_TRIGGER = "Trigger"
_ABOUT = "RegistrationInfo"
_NOTHING = XmlElement("", {})


def parse_task(data: bytes) -> XmlElement:
    """Returns the root of the document of a task.

    Raises:
        FormatError: it is not XML, or no task.
    """
    root = parse_xml(data)
    if root.name != "Task":
        raise FormatError(f"is the document of a {root.name[:60]!r}, not of a task")
    return root


def author_and_version(task: XmlElement) -> tuple[str, str]:
    """Returns who made a task, and its version, as it states them."""
    about = _child(task, _ABOUT)
    return _text(about, "Author"), _text(about, "Version")


def task_properties(task: XmlElement) -> dict[str, Property]:
    """Returns what a task does, when, and as whom."""
    about, settings, actions = _child(task, _ABOUT), _child(task, "Settings"), _child(task, "Actions")
    first = next(iter(actions.children), _NOTHING)
    principal = _principal(task, actions.attributes.get("Context", ""))
    texts = {
        "command": _command(first),
        "arguments": _text(first, "Arguments"),
        "working_directory": _text(first, "WorkingDirectory"),
        "user": _text(principal, "UserId") or _text(principal, "GroupId"),
        "run_level": _text(principal, "RunLevel"),
        "description": _text(about, "Description"),
    }
    properties: dict[str, Property] = {name: text for name, text in texts.items() if text}
    further = [f"{_command(action)} {_text(action, 'Arguments')}".strip() for action in actions.children[1:_MAX_LIST]]
    if further:
        properties["further_commands"] = further
    triggers = _child(task, "Triggers").children[:_MAX_LIST]
    properties["triggers"] = [each.name[:_MAX_TEXT].removesuffix(_TRIGGER).lower() for each in triggers]
    properties["is_enabled"] = _is(settings, "Enabled", True)
    properties["is_hidden"] = _is(settings, "Hidden", False)
    return properties


def _command(action: XmlElement) -> str:
    """Returns the program of an action, or the class that it calls; the kind of any other action."""
    if action.name == "ComHandler":
        return f"COM {_text(action, 'ClassId')}"
    return _text(action, "Command") or action.name[:_MAX_TEXT]


def _principal(task: XmlElement, context: str) -> XmlElement:
    principals = _child(task, "Principals").children
    named = (each for each in principals if each.attributes.get("id") == context)
    return next(named, principals[0] if principals else _NOTHING)


def _child(element: XmlElement, name: str) -> XmlElement:
    """Returns a child, or an empty element."""
    return element.child(name) or _NOTHING


def _is(element: XmlElement, name: str, default: bool) -> bool:
    text = _text(element, name).lower()
    return text in ("true", "1") if text else default


def _text(element: XmlElement, name: str) -> str:
    return element.text_of(name)[:_MAX_TEXT]
