r"""Services and drivers: what the service control manager of Windows starts, below `CurrentControlSet\Services`.

Sources: "CreateServiceW", "SERVICE_DELAYED_AUTO_START_INFO" and "Service Trigger Events" (Win32), "HKLM\SYSTEM\
CurrentControlSet\Services Registry Tree" (Windows drivers).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from wclayer.formats.regf.model import Key
from wclayer.inventory.collectors.guarding import Found, each_subkey, guarded
from wclayer.inventory.collectors.key_values import KeyValues
from wclayer.inventory.collectors.paths import SYSTEM_ROOT, path_exists, resolve_path
from wclayer.inventory.item import Item, ItemKind, Property
from wclayer.inventory.subject.subject import Subject
from wclayer.view.machine_environment import control_set_of

SERVICES = r"HKLM\SYSTEM\CurrentControlSet\Services"
_KERNEL, _FILE_SYSTEM, _RECOGNIZER, _OWN, _SHARED = 0x1, 0x2, 0x8, 0x10, 0x20
_USER, _INTERACTIVE = 0x40, 0x100
_TYPES = {
    _KERNEL: "kernel driver",
    _FILE_SYSTEM: "file system driver",
    _RECOGNIZER: "file system recognizer",
    _OWN: "own process",
    _SHARED: "shared process",
}
_DRIVERS = (_KERNEL, _FILE_SYSTEM, _RECOGNIZER)
_STARTS = {0: "boot", 1: "system", 2: "automatic", 3: "manual", 4: "disabled"}
_AUTOMATIC = 2
_ERRORS = {0: "ignore", 1: "normal", 2: "severe", 3: "critical"}
_TEXTS = {"display_name": "DisplayName", "description": "Description", "account": "ObjectName", "group": "Group"}
_PROGRAM_SUFFIX = ".exe"
_MAX_SPACES = 32
"""Spaces of a command line that are tried as the end of the path of its program."""


def collect(subject: Subject) -> Found:
    """Yields the services and drivers. The property `start` is "boot", "system", "automatic", "automatic (delayed)",
    "manual" or "disabled"."""
    yield from guarded(SERVICES, _services, subject)


def _services(subject: Subject) -> Found:
    path = control_set_of(subject.registry.find, SERVICES)
    yield from each_subkey(subject.registry, path, partial(_service, subject, subject.variables))


def _service(subject: Subject, variables: Mapping[str, str], path: str, key: Key) -> Iterator[Item]:
    values = KeyValues(key)
    kind, start = values.number("Type"), values.number("Start")
    # Keys without both are no services: performance counters, parameters of what is not installed.
    if kind is None or start is None:
        return
    process = kind & (_OWN | _SHARED)
    basic = kind if kind in _DRIVERS else process
    if basic not in _TYPES:
        return
    parameters = KeyValues(key.subkey("Parameters"))
    image, library = values.text("ImagePath"), parameters.text("ServiceDll") or values.text("ServiceDll")
    properties: dict[str, Property] = {"type": _TYPES[basic], "start": _start(values, start)}
    properties |= {label: text for label, value in _TEXTS.items() if (text := values.text(value))}
    if image:
        properties["command"] = image
    if library:
        properties["library"] = library
    error = values.number("ErrorControl")
    if error is not None:
        properties["error_control"] = _ERRORS.get(error, str(error))
    depends = [name for name in values.texts("DependOnService") if name]
    if depends:
        properties["depends_on"] = depends
    host = host_group(image)
    if host:
        properties["host_group"] = host
    if process:
        properties["has_triggers"] = key.subkey("TriggerInfo") is not None
        properties["is_user_service"] = bool(kind & _USER)
    properties |= _binary(subject, variables, key.name, basic in _DRIVERS, image, library)
    yield Item(
        ItemKind.DRIVER if basic in _DRIVERS else ItemKind.SERVICE, key.name, "", subject.registry.origin(path), "",
        properties,
    )  # fmt: skip


def _start(values: KeyValues, start: int) -> str:
    text = _STARTS.get(start, str(start))
    return f"{text} (delayed)" if start == _AUTOMATIC and values.number("DelayedAutostart") else text


def host_group(command: str) -> str:
    """Returns the group of services that run in one process of svchost.exe (`svchost.exe -k GROUP`), or ""."""
    _, found, arguments = command.lower().partition("svchost.exe")
    words = command[len(command) - len(arguments) :].split()
    return words[words.index("-k") + 1] if found and "-k" in words[:-1] else ""


def _binary(
    subject: Subject, variables: Mapping[str, str], name: str, is_driver: bool, image: str, library: str
) -> dict[str, Property]:
    """Returns the file that is run, and whether it is there; nothing if it is not on C:."""
    if library:
        candidates = [library]
    elif is_driver:
        candidates = [_driver_path(image or rf"System32\drivers\{name}.sys")]
    else:
        candidates = list(program_paths(image))
    paths = [path for text in candidates if (path := resolve_path(text, variables)) is not None]
    if not paths:
        return {}
    found = next((path for path in paths if path_exists(subject.files, path)), None)
    return {"binary": found or paths[-1], "binary_exists": found is not None}


def _driver_path(image: str) -> str:
    r"""Returns the path of a driver: the loader takes one without a drive as below `C:\Windows`."""
    plain = image.strip('"')
    is_relative = plain[:1] not in ("\\", "%") and plain[1:2] != ":"
    return rf"{SYSTEM_ROOT}\{plain}" if is_relative else plain


def program_paths(command: str) -> Iterator[str]:
    """Yields the programs that a command line may mean, as Windows tries them: the path ends at any space if it is not
    in quotes, and `.exe` may be missing where the name has no extension."""
    if command.startswith('"'):
        yield command[1:].partition('"')[0]
        return
    words = command.split(" ")
    for count in range(1, min(len(words), _MAX_SPACES) + 1):
        path = " ".join(words[:count])
        if path.lower().endswith(_PROGRAM_SUFFIX):
            yield path
            return
        yield path if "." in path.rpartition("\\")[2] else path + _PROGRAM_SUFFIX
