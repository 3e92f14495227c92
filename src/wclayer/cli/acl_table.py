"""An audit of rights as text."""

from __future__ import annotations

from collections.abc import Iterator

from wclayer.cli.text_table import aligned
from wclayer.rights.audit.model import AuditedPlace, GrantReason, RightsAudit, RightsFinding, RightsGrant
from wclayer.rights.kinds import ObjectKind
from wclayer.win32.shown import count_text

_TITLES = {
    AuditedPlace.SERVICE: "programs of services and drivers, and their directories",
    AuditedPlace.SERVICE_KEY: "keys of services and drivers",
    AuditedPlace.AUTOSTART_KEY: "keys that name what Windows runs by itself",
    AuditedPlace.STARTUP: "startup folders",
    AuditedPlace.TASK: "scheduled tasks, their programs and directories",
    AuditedPlace.ENTRY_POINT: "the program that the image runs, and its directory",
    AuditedPlace.PATH: "directories of Path",
    AuditedPlace.ROOT: "the root of C:",
    AuditedPlace.WINDOWS: "in Windows",
    AuditedPlace.PROGRAM_FILES: "in Program Files",
    AuditedPlace.PROGRAM_DATA: "in ProgramData",
    AuditedPlace.APPLICATION: "programs elsewhere, and their directories",
}


def audit_lines(audit: RightsAudit) -> Iterator[str]:
    """Yields an audit as lines of text."""
    yield audit.name
    for problem in audit.problems:
        yield f"! {problem.kind}: {problem.place}: {problem.text}"
    for place in AuditedPlace:
        found = list(audit.of_place(place))
        if found:
            yield ""
            yield f"{place.upper()} ({len(found)}): {_TITLES[place]}"
            yield from (f"  {line}" for line in aligned(_rows(found), whole=True))
    if audit.expected:
        yield ""
        yield f"EXPECTED ({len(audit.expected)}): so in every Windows"
        yield from (f"  {line}" for line in aligned(_expected_rows(audit.expected), whole=True))
    if audit.left_out:
        yield f"! limited: {count_text(audit.left_out, 'more finding')} did not fit into memory"
    yield ""
    yield (
        f"{count_text(len(audit.findings), 'finding')}"
        f" (looked at {audit.checked} files and keys with"
        f" {count_text(audit.descriptors, 'different descriptor')})"
    )


def _rows(found: list[RightsFinding]) -> Iterator[tuple[str, ...]]:
    yield "PATH", "WHO", "MAY", "BY", "LAYER"
    for finding in found:
        path = _path(finding)
        for grant in finding.grants:
            yield path, grant.who.name, ", ".join(grant.rights), _reason(finding, grant), _layer(finding)
            path = ""


def _expected_rows(found: tuple[RightsFinding, ...]) -> Iterator[tuple[str, ...]]:
    yield "PATH", "WHO", "WHY"
    for finding in found:
        yield _path(finding), ", ".join(grant.who.name for grant in finding.grants), finding.expected


def _path(finding: RightsFinding) -> str:
    text = finding.path
    if finding.below:
        text += f" and {finding.below} more below it"
    return f"{text} ({finding.about})" if finding.about and finding.kind is not ObjectKind.KEY else text


def _reason(finding: RightsFinding, grant: RightsGrant) -> str:
    if grant.reason is GrantReason.NO_DACL:
        return "there is no DACL"
    if grant.reason is GrantReason.OWNER:
        return "is the owner"
    text = "".join(grant.entries)
    if not finding.has_descriptor:
        return f"{text}, as Windows gives it: the layers have no descriptor"
    return f"{text}, inherited" if grant.is_inherited else text


def _layer(finding: RightsFinding) -> str:
    if finding.layer is None:
        return "-"
    return f"{finding.layer.number} (base)" if finding.layer.is_base else str(finding.layer.number)
