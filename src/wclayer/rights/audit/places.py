r"""What an audit looks at: parts of C:, and the paths that the registry and the configuration name.

Sources: "Windows service isolation", "Run and RunOnce Registry Keys", "Dynamic-link library search order" (Win32);
the names of autostart keys are those that Windows itself reads at start and at logon.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from wclayer.errors import FormatError, InvalidDataError, detail_of
from wclayer.formats.regf.model import fold
from wclayer.inventory.collectors import services, tasks
from wclayer.inventory.collectors.paths import resolve_path
from wclayer.inventory.collectors.services import program_paths
from wclayer.inventory.item import Finding, FindingKind, Item, config_origin
from wclayer.inventory.subject.subject import Subject
from wclayer.rights.audit.model import AuditedPlace
from wclayer.rights.kinds import DELETE, DELETE_CHILD, WRITE_DAC, WRITE_DATA, WRITE_OWNER, ObjectKind
from wclayer.view.machine_environment import PATH, path_entries
from wclayer.win32.names import path_key

_DRIVE = 3
"""The length of `C:\\`."""
AREAS: dict[str, AuditedPlace | None] = {
    "WINDOWS": AuditedPlace.WINDOWS,
    "PROGRAM FILES": AuditedPlace.PROGRAM_FILES,
    "PROGRAM FILES (X86)": AuditedPlace.PROGRAM_FILES,
    "PROGRAMDATA": AuditedPlace.PROGRAM_DATA,
    "USERS": None,
    "DOCUMENTS AND SETTINGS": None,
    "$RECYCLE.BIN": None,
    "SYSTEM VOLUME INFORMATION": None,
}
"""The directories of C: whose names say what lies in them. Others are those of applications."""
_PROGRAMS = (
    ".exe", ".dll", ".sys", ".com", ".bat", ".cmd", ".ps1", ".psm1", ".psd1", ".vbs", ".vbe", ".js", ".jse", ".wsf",
    ".msi", ".msp", ".ocx", ".cpl", ".scr", ".drv", ".jar", ".py",
)  # fmt: skip
_STARTUP = (
    "ProgramData/Microsoft/Windows/Start Menu/Programs/StartUp",
    "Users/*/AppData/Roaming/Microsoft/Windows/Start Menu/Programs/Startup",
)
_TASKS = "Windows/System32/Tasks"
_MAX_ARGUMENTS = 64

_REPLACING = DELETE_CHILD | DELETE | WRITE_DAC | WRITE_OWNER
_ADDING = WRITE_DATA | _REPLACING
"""The rights by which a program can be put into a directory, or one in it replaced."""


def rights_that_matter(place: AuditedPlace, kind: ObjectKind, *, has_programs: bool) -> int:
    """Returns the rights to write by which somebody can do harm, as an access mask.

    Everybody may make directories in C:, and files in `ProgramData` and in directories below C: that nobody has
    protected. That is how Windows is made, and no harm where no programs lie.

    Args:
        place: where the object is.
        kind: what it is.
        has_programs: whether programs lie directly in the directory, or the file is one.
    """
    if kind is not ObjectKind.DIRECTORY:
        return 0 if place is AuditedPlace.APPLICATION and not has_programs else -1
    if place in (AuditedPlace.WINDOWS, AuditedPlace.PROGRAM_FILES):
        return -1
    if place in (AuditedPlace.PROGRAM_DATA, AuditedPlace.APPLICATION):
        nothing = 0 if place is AuditedPlace.APPLICATION else _REPLACING
        return _ADDING if has_programs else nothing
    return _ADDING


def is_program(name: str) -> bool:
    """Returns whether the name of a file is that of a program, a library or a script."""
    return name.lower().endswith(_PROGRAMS)


@dataclass(frozen=True, slots=True)
class NamedPath:
    """A path on C: that something names.

    Attributes:
        place: why it matters who can write it.
        about: what names it; "" if the place says all.
        is_exact: True if it is named itself, False if it only lies in a directory that is.
    """

    place: AuditedPlace
    about: str
    is_exact: bool = True


class NamedPaths:
    """The paths that the registry and the configuration of a subject name, and what could not be read of them.

    Args:
        subject: the subject.
    """

    def __init__(self, subject: Subject) -> None:
        self.problems: list[Finding] = []
        self._subject = subject
        self._found: dict[str, NamedPath] = {}
        # The first that names a path counts: those that matter most come first.
        for item in self._items(services.collect(subject)):
            self._add_program(str(item.properties.get("binary", "")), AuditedPlace.SERVICE, item.name)
        for pattern in _STARTUP:
            for folder in subject.files.matching(pattern):
                self._add(folder.path, AuditedPlace.STARTUP, "")
        for item in self._items(tasks.collect(subject)):
            for command in program_paths(str(item.properties.get("command", ""))):
                self._add_program(command, AuditedPlace.TASK, item.name)
        self._add(_TASKS, AuditedPlace.TASK, "")
        self._add_entry_point()
        self._add_search_path()

    def find(self, key: str) -> NamedPath | None:
        """Returns what names the path with that path key below C:, or None. All below the folder of tasks are tasks."""
        found = self._found.get(key)
        if found is None and key.startswith(_TASKS_KEY):
            return NamedPath(AuditedPlace.TASK, "", is_exact=False)
        return found

    def _items(self, found: Iterable[Item | Finding]) -> Iterator[Item]:
        for each in found:
            if isinstance(each, Item):
                yield each
            else:
                self.problems.append(each)

    def _add(self, path: str, place: AuditedPlace, about: str) -> None:
        self._found.setdefault(path_key(path), NamedPath(place, about))

    def _add_program(self, text: str, place: AuditedPlace, about: str) -> bool:
        """Adds a program and the directory in which it lies; returns whether it is on C:."""
        resolved = resolve_path(text, self._subject.variables)
        if resolved is None:
            return False
        path = resolved[_DRIVE:].replace("\\", "/")
        if self._subject.files.find(path) is None:
            return False
        self._add(path, place, about)
        self._add(path.rpartition("/")[0], place, about)
        return True

    def _add_entry_point(self) -> None:
        config = self._subject.config
        if config is None:
            return
        try:
            view = config.view.view("config")
            words = [*view.texts("Entrypoint"), *view.texts("Cmd")][:_MAX_ARGUMENTS]
            directory = view.text("WorkingDir") or "C:\\"
        except FormatError as error:
            self.problems.append(Finding(FindingKind.DAMAGED, config_origin("Entrypoint").place, str(error)))
            return
        # A program that is named without its directory is looked for in the working directory, and in those of Path.
        for word in words:
            tried = [word] if ":" in word else [f"{place}\\{word}" for place in (directory, *self._path_directories())]
            if any(
                self._add_program(f"{path}{end}", AuditedPlace.ENTRY_POINT, word) for path in tried for end in _ENDS
            ):
                return

    def _add_search_path(self) -> None:
        for entry in self._path_directories():
            self._add(entry[_DRIVE:].replace("\\", "/"), AuditedPlace.PATH, "")

    def _path_directories(self) -> Iterator[str]:
        """Yields the directories on C: of the machine's `Path`, and of that of the configuration."""
        texts = [self._subject.variables.get(fold(PATH), "")]
        config = self._subject.config
        try:
            stated = () if config is None else config.view.view("config").texts("Env")
            texts += [value for name, _, value in (each.partition("=") for each in stated) if fold(name) == fold(PATH)]
        except (FormatError, InvalidDataError) as error:
            self.problems.append(Finding(FindingKind.DAMAGED, config_origin("Env").place, detail_of(error)))
        for text in texts:
            for entry in path_entries(text):
                path = resolve_path(entry.strip('"'), self._subject.variables)
                if path is not None:
                    yield path.rstrip("\\")


_ENDS = ("", ".exe")
_TASKS_KEY = path_key(_TASKS) + "/"
_RUN = r"Microsoft\Windows\CurrentVersion"
_NT = r"Microsoft\Windows NT\CurrentVersion"
_CONTROL = r"HKLM\SYSTEM\CurrentControlSet\Control"
AUTOSTART_KEYS = (
    *(
        rf"HKLM\SOFTWARE\{view}{name}"
        for view in ("", "Wow6432Node\\")
        for name in (
            rf"{_RUN}\Run", rf"{_RUN}\RunOnce", rf"{_RUN}\RunOnceEx", rf"{_RUN}\RunServices",
            rf"{_RUN}\RunServicesOnce", rf"{_RUN}\Policies\Explorer\Run", rf"{_NT}\Winlogon",
            rf"{_NT}\Image File Execution Options", rf"{_NT}\SilentProcessExit", rf"{_NT}\Windows",
            r"Microsoft\Active Setup\Installed Components", r"Microsoft\Command Processor",
        )
    ),
    rf"{_CONTROL}\Session Manager", rf"{_CONTROL}\Lsa", rf"{_CONTROL}\SecurityProviders",
    rf"{_CONTROL}\Print\Monitors", rf"{_CONTROL}\Print\Providers", rf"{_CONTROL}\NetworkProvider",
    rf"{_CONTROL}\SafeBoot",
)  # fmt: skip
"""Keys that name programs and libraries which Windows loads by itself."""
