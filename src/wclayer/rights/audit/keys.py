"""Looks at the keys of services, and at those that name programs which Windows runs by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from wclayer._walk import Walk
from wclayer.errors import FormatError, FormatLimitError
from wclayer.formats.regf.model import Key, check_depth, fold
from wclayer.formats.regf.structs import KeyFlags
from wclayer.inventory.collectors.guarding import attempt
from wclayer.inventory.collectors.services import SERVICES
from wclayer.inventory.item import Finding, FindingKind
from wclayer.inventory.subject.registry import SubjectRegistry
from wclayer.inventory.subject.subject import Subject
from wclayer.rights.audit.findings import Findings, Found, new_finding, restricted
from wclayer.rights.audit.judge import WRITING, Grant, Judge
from wclayer.rights.audit.model import AuditedPlace
from wclayer.rights.audit.places import AUTOSTART_KEYS
from wclayer.rights.kinds import ObjectKind
from wclayer.view.machine_environment import control_set_of

MAX_KEYS = 500_000
"""Keys that are looked at. A Windows Server has about 30,000 of them below its services."""


@dataclass(slots=True)
class _Above:
    """A key that is walked: its path, its descriptor, and the finding of it, or of the key from which it inherits."""

    path: str
    descriptor: bytes | None
    found: Found | None


class KeyAudit:
    """Looks at keys of a subject.

    Args:
        subject: the subject.
        judge: judges their descriptors.
        findings: where findings are put.

    Attributes:
        checked: how many were looked at.
    """

    def __init__(self, subject: Subject, judge: Judge, findings: Findings) -> None:
        self.checked = 0
        self._registry: SubjectRegistry = subject.registry
        self._judge = judge
        self._findings = findings

    def run(self, tell: Callable[[str], None]) -> None:
        """Walks over the keys.

        Args:
            tell: called with the path of each key.
        """
        find = self._registry.find
        for place, text in (
            (AuditedPlace.SERVICE_KEY, SERVICES),
            *((AuditedPlace.AUTOSTART_KEY, path) for path in AUTOSTART_KEYS),
        ):

            def look(place: AuditedPlace = place, text: str = text) -> None:
                path = control_set_of(find, text)
                key = find(path)
                if key is not None:
                    self._below(place, path, key, tell)

            _, problems = attempt(text, look)
            for problem in problems:
                self._findings.add_problem(problem)

    def _below(self, place: AuditedPlace, path: str, top: Key, tell: Callable[[str], None]) -> None:
        """Looks at a key and all keys below it; links between keys are not followed."""
        above = self._look(place, path, top, _Above("", None, None), "")
        walk = Walk(top.subkeys(), above)
        for above, key in walk:
            check_depth(walk.depth, key)
            if self.checked >= MAX_KEYS:
                raise FormatLimitError(f"more than {MAX_KEYS} keys; the others were not looked at")
            below = f"{above.path}\\{key.name}"
            tell(below)
            relative = below[len(path) + 1 :] if place is AuditedPlace.SERVICE_KEY else ""
            here = self._look(place, below, key, above, relative)
            if not key.metadata.flags & KeyFlags.SYM_LINK:
                walk.enter(key.subkeys(), here)

    def _look(self, place: AuditedPlace, path: str, key: Key, above: _Above, relative: str) -> _Above:
        self.checked += 1
        descriptor = key.metadata.security
        is_stored = descriptor is not None
        if descriptor is None:
            descriptor = above.descriptor
        here = _Above(path, descriptor, None)
        if descriptor is None:
            return here
        try:
            grants = self._judge.grants(descriptor, ObjectKind.KEY)
        except FormatError as error:
            self._findings.add_problem(Finding(FindingKind.DAMAGED, path, f"security descriptor: {error}"))
            return here
        if grants:
            here.found = self._report(place, path, relative, grants, above.found, is_stored=is_stored)
        return here

    def _report(
        self,
        place: AuditedPlace,
        path: str,
        relative: str,
        grants: tuple[Grant, ...],
        above: Found | None,
        *,
        is_stored: bool,
    ) -> Found:
        if above is not None and above.covers(grants):
            above.below += 1
            return above
        layer = self._registry.origin(path).layer
        service = relative.partition("\\")[0]
        finding = new_finding(place, service, path, ObjectKind.KEY, layer, has_descriptor=is_stored)
        return self._findings.add(fold(relative), finding, restricted(grants, WRITING[ObjectKind.KEY]), grants)
