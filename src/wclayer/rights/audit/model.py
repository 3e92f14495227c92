"""What an audit of rights consists of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from wclayer.inventory.item import Finding, SubjectLayer
from wclayer.rights.kinds import ObjectKind
from wclayer.rights.principals import Principal


class AuditedPlace(StrEnum):
    """Why it matters who can write something. The first ones matter most."""

    SERVICE = "service"
    """The program of a service or a driver, or the directory in which it lies."""
    SERVICE_KEY = "service-key"
    """The key of a service or a driver, which says what is run, and as whom."""
    AUTOSTART_KEY = "autostart-key"
    """A key that names programs which Windows runs by itself."""
    STARTUP = "startup"
    """A folder whose programs are run when somebody logs on."""
    TASK = "task"
    """A scheduled task, its program, or the directory in which that lies."""
    ENTRY_POINT = "entry-point"
    """The program that the image runs, or the directory in which it lies."""
    PATH = "path"
    """A directory of `Path`, in which programs and libraries are looked for."""
    ROOT = "root"
    """The root directory of C:, and the files in it."""
    WINDOWS = "windows"
    """What lies in `Windows`."""
    PROGRAM_FILES = "program-files"
    """What lies in `Program Files` or `Program Files (x86)`."""
    PROGRAM_DATA = "program-data"
    """What lies in `ProgramData`."""
    APPLICATION = "application"
    """Programs elsewhere on C:, outside of the users' profiles, and the directories in which they lie."""


class GrantReason(StrEnum):
    """Why somebody has a right."""

    ENTRY = "entry"
    """An entry of the DACL allows it."""
    OWNER = "owner"
    """Somebody in the group is the owner, who may always change permissions."""
    NO_DACL = "no-dacl"
    """There is no DACL, so that everyone has all rights."""


@dataclass(frozen=True, slots=True)
class RightsGrant:
    """The rights to write that somebody has.

    Attributes:
        who: whom they belong to.
        mask: the rights as an access mask.
        rights: the same in words.
        reason: why.
        entries: the entries of the DACL that give them, as SDDL.
        is_inherited: True if all of these entries come from above.
    """

    who: Principal
    mask: int
    rights: tuple[str, ...]
    reason: GrantReason
    entries: tuple[str, ...]
    is_inherited: bool

    def __str__(self) -> str:
        return f"{self.who.name} may {', '.join(self.rights)}"

    def to_json(self) -> dict[str, Any]:
        """Returns the grant for JSON."""
        return {
            "sid": self.who.sid, "name": self.who.name, "mask": self.mask, "rights": list(self.rights),
            "reason": str(self.reason), "entries": list(self.entries), "is_inherited": self.is_inherited,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class RightsFinding:
    r"""Something that people can write who should not.

    Attributes:
        place: why it matters.
        about: what makes it matter: the name of the service or the task; "" if the place says all.
        path: its path as Windows writes it (`C:\Program Files\x`), or the path of the key.
        kind: what it is.
        layer: the layer that brought it; None if that is unknown.
        grants: who has which rights.
        below: how many files, directories or keys below it have the same rights by inheritance.
        has_descriptor: False if the layers have none, so that it is the one that Windows would give it.
        expected: why this is so in every Windows; "" for what nobody expects.
    """

    place: AuditedPlace
    about: str
    path: str
    kind: ObjectKind
    layer: SubjectLayer | None
    grants: tuple[RightsGrant, ...]
    below: int
    has_descriptor: bool
    expected: str = ""

    @property
    def is_base(self) -> bool:
        """True if the base image brought it, False if it is the image's own."""
        return self.layer is not None and self.layer.is_base

    def to_json(self) -> dict[str, Any]:
        """Returns the finding for JSON."""
        return {
            "place": str(self.place), "about": self.about or None, "path": self.path, "kind": str(self.kind),
            "layer": None if self.layer is None else self.layer.number, "is_base": self.is_base,
            "grants": [grant.to_json() for grant in self.grants], "below": self.below,
            "has_descriptor": self.has_descriptor, "expected": self.expected or None,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class RightsAudit:
    """Who can write what they should not.

    Attributes:
        name: what the user calls the image.
        layers: its layers, base layer first.
        findings: what people can write who should not, what matters most first.
        expected: what they can write in every Windows.
        left_out: how many findings are missing because there are too many.
        checked: how many files, directories and keys were looked at.
        descriptors: how many different descriptors they have.
        problems: what could not be looked at.
    """

    name: str
    layers: tuple[SubjectLayer, ...]
    findings: tuple[RightsFinding, ...]
    expected: tuple[RightsFinding, ...]
    left_out: int
    checked: int
    descriptors: int
    problems: tuple[Finding, ...]

    def of_place(self, place: AuditedPlace) -> Iterator[RightsFinding]:
        """Yields the findings of one place, without the expected ones."""
        return (finding for finding in self.findings if finding.place is place)

    def with_findings(self, accepts: Callable[[RightsFinding], bool], *, expected: bool) -> RightsAudit:
        """Returns the audit with the findings that a function accepts.

        Args:
            accepts: the function.
            expected: whether the expected ones that it accepts stay; otherwise all of them are left out.
        """
        return replace(
            self,
            findings=tuple(filter(accepts, self.findings)),
            expected=tuple(filter(accepts, self.expected)) if expected else (),
        )

    def to_json(self) -> dict[str, Any]:
        """Returns the audit for JSON."""
        return {
            "name": self.name,
            "layers": [layer.to_json() for layer in self.layers],
            "findings": [finding.to_json() for finding in self.findings],
            "expected": [finding.to_json() for finding in self.expected],
            "left_out": self.left_out, "checked": self.checked, "descriptors": self.descriptors,
            "problems": [problem.to_json() for problem in self.problems],
        }  # fmt: skip
