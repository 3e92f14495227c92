"""Looks at the files and directories of C:, in one walk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from wclayer._walk import Walk
from wclayer.errors import CorruptLayerError, FormatError, InvalidDataError, detail_of
from wclayer.inventory.item import Finding, FindingKind
from wclayer.inventory.subject.files import SubjectFile
from wclayer.inventory.subject.subject import Subject
from wclayer.rights.audit.findings import Findings, Found, new_finding, restricted
from wclayer.rights.audit.judge import Grant, Judge
from wclayer.rights.audit.model import AuditedPlace
from wclayer.rights.audit.places import AREAS, NamedPaths, is_program, rights_that_matter
from wclayer.rights.kinds import ObjectKind
from wclayer.win32.inherit import inherited, volume_root
from wclayer.win32.names import path_key

_DAMAGE = (FormatError, InvalidDataError, CorruptLayerError)


@dataclass(slots=True)
class _Directory:
    """A directory that is walked.

    Attributes:
        file: the directory.
        area: where it is; None in a part of C: that is not looked at as a whole.
        descriptor: its descriptor, or the one that Windows would give it.
        is_stored: False if the layers have no descriptor of it.
        grants: who may write it.
        found: its finding, or that of the directory above it from which it inherits.
        is_told: whether there is a finding that speaks of it.
        has_programs: whether a program was seen in it.
    """

    file: SubjectFile
    area: AuditedPlace | None
    descriptor: bytes
    is_stored: bool
    grants: tuple[Grant, ...]
    found: Found | None = None
    is_told: bool = False
    has_programs: bool = False


class FileAudit:
    """Looks at the files and directories of a subject.

    Args:
        subject: the subject.
        judge: judges their descriptors.
        named: the paths that something names.
        findings: where findings are put.

    Attributes:
        checked: how many were looked at.
    """

    def __init__(self, subject: Subject, judge: Judge, named: NamedPaths, findings: Findings) -> None:
        self.checked = 0
        self._files = subject.files
        self._judge = judge
        self._named = named
        self._findings = findings

    def run(self, tell: Callable[[str], None]) -> None:
        """Walks over C:.

        Args:
            tell: called with the path of each file and directory below C:.
        """
        top = self._files.root()
        if top is None:
            return
        root = self._directory(top, None, AuditedPlace.ROOT)
        walk = Walk(self._files.children(top), root)
        for above, file in walk:
            tell(file.path)
            area = above.area if above is not root else self._area(file)
            if file.is_directory:
                directory = self._directory(file, above, area)
                if not file.is_link:
                    walk.enter(self._files.children(file), directory)
            else:
                self._file(file, above, area)

    @staticmethod
    def _area(file: SubjectFile) -> AuditedPlace | None:
        """Returns where a file or directory that lies in the root directory belongs to."""
        if not file.is_directory:
            return AuditedPlace.ROOT
        return AREAS.get(path_key(file.name), AuditedPlace.APPLICATION)

    def _directory(self, file: SubjectFile, above: _Directory | None, area: AuditedPlace | None) -> _Directory:
        descriptor, is_stored, grants = self._look(file, above)
        directory = _Directory(file, area, descriptor, is_stored, grants)
        if above is not None and grants:
            # Without rights of its own, it passes on none.
            directory.found = above.found
        self._tell(directory)
        return directory

    def _tell(self, directory: _Directory) -> None:
        """Adds the finding of a directory, if there is one."""
        found = self._report(
            directory.file, directory.area, directory.grants, directory.found, directory.has_programs,
            is_stored=directory.is_stored,
        )  # fmt: skip
        if found is not None:
            directory.found, directory.is_told = found, True

    def _file(self, file: SubjectFile, above: _Directory, area: AuditedPlace | None) -> None:
        has_programs = is_program(file.name)
        if has_programs and not above.has_programs:
            above.has_programs = True
            if not above.is_told:
                self._tell(above)
        _, is_stored, grants = self._look(file, above)
        self._report(file, area, grants, above.found, has_programs, is_stored=is_stored)

    def _look(self, file: SubjectFile, above: _Directory | None) -> tuple[bytes, bool, tuple[Grant, ...]]:
        """Returns the descriptor of a file or a directory, whether it is stored, and who may write by it. If there is
        none, or it is damaged, it is the one that Windows would give."""
        self.checked += 1
        kind = _kind(file)
        try:
            stored = self._files.security(file)
            if stored is not None:
                return stored, True, self._judge.grants(stored, kind)
        except _DAMAGE as error:
            problem = Finding(FindingKind.DAMAGED, file.windows_path, f"security descriptor: {detail_of(error)}")
            self._findings.add_problem(problem)
        descriptor = volume_root().encode() if above is None else inherited(above.descriptor, file.is_directory)
        return descriptor, False, self._judge.grants(descriptor, kind)

    def _report(
        self,
        file: SubjectFile,
        area: AuditedPlace | None,
        grants: tuple[Grant, ...],
        above: Found | None,
        has_programs: bool,
        *,
        is_stored: bool,
    ) -> Found | None:
        """Adds a finding, or counts it with the one from which the rights are inherited.

        Returns:
            That finding; None if nobody has a right that matters.
        """
        if not grants:
            return None
        key, kind = path_key(file.path), _kind(file)
        named = self._named.find(key)
        place = area if named is None else named.place
        if place is None:
            return None
        mattering = restricted(grants, rights_that_matter(place, kind, has_programs=has_programs))
        if not mattering:
            return None
        if above is not None and (named is None or not named.is_exact) and above.covers(grants):
            above.below += 1
            return above
        finding = new_finding(
            place, "" if named is None else named.about, file.windows_path, kind, file.layer, has_descriptor=is_stored
        )
        return self._findings.add(key, finding, mattering, grants)


def _kind(file: SubjectFile) -> ObjectKind:
    return ObjectKind.DIRECTORY if file.is_directory else ObjectKind.FILE
