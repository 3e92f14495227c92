"""What the lists of a report have: programs, services, open rights, certificates, findings, waste."""

from __future__ import annotations

from collections.abc import Iterator

from wclayer.inventory.cve.report import VulnerabilityReport, VulnerabilityState
from wclayer.inventory.item import Inventory, Item, ItemKind, SubjectLayer
from wclayer.report.lists import Column, ColumnKind, ReportList, Value
from wclayer.report.model import Examined
from wclayer.rights.audit.model import RightsAudit, RightsFinding
from wclayer.survey.model import Survey

PACKAGES = (
    ItemKind.PYTHON_PACKAGE, ItemKind.NODE_PACKAGE, ItemKind.JAVA_PACKAGE, ItemKind.NUGET_PACKAGE, ItemKind.GO_MODULE,
    ItemKind.RUST_CRATE,
)  # fmt: skip
PROGRAMS = (
    ItemKind.PROGRAM, ItemKind.MSI_PRODUCT, ItemKind.MSI_PATCH, ItemKind.APPX_PACKAGE, ItemKind.DOTNET, *PACKAGES,
)  # fmt: skip
SERVICES = (ItemKind.SERVICE, ItemKind.DRIVER, ItemKind.TASK)
_ORIGIN = Column("from", is_filter=True)


def updates(inventory: Inventory) -> ReportList:
    """Returns the list of updates, those that were installed last first."""
    items = sorted(inventory.of_kind(ItemKind.UPDATE), key=lambda item: _text(item, "installed"), reverse=True)
    rows = [
        (item.name, item.version, _text(item, "state"), _text(item, "installed")[:10], _origin(item)) for item in items
    ]
    columns = (
        Column("update"), Column("version"), Column("state", is_filter=True), Column("installed"), _ORIGIN,
    )  # fmt: skip
    return ReportList("updates", "Updates and parts of them, as the image lists them", "updates", columns, rows)


def programs(inventory: Inventory) -> ReportList:
    """Returns the list of installed programs and packages."""
    rows = [
        (item.name, item.version, item.publisher, str(item.kind), _origin(item), item.origin.place)
        for kind in PROGRAMS
        for item in inventory.of_kind(kind)
    ]
    columns = (
        Column("name"), Column("version"), Column("publisher"), Column("kind", is_filter=True), _ORIGIN,
        Column("place"),
    )  # fmt: skip
    return ReportList("programs", "Programs and packages", "programs and packages", columns, rows)


def services(inventory: Inventory) -> ReportList:
    """Returns the list of services, drivers and scheduled tasks: what Windows runs by itself."""
    rows = [
        (
            item.name, str(item.kind), _text(item, "start") or _triggers(item), _text(item, "account"),
            _text(item, "command") or _text(item, "binary"), _origin(item),
        )
        for kind in SERVICES
        for item in inventory.of_kind(kind)
    ]  # fmt: skip
    columns = (
        Column("name"), Column("kind", is_filter=True), Column("starts", is_filter=True), Column("account"),
        Column("command"), _ORIGIN,
    )  # fmt: skip
    return ReportList("services", "Services, drivers and scheduled tasks", "services", columns, rows)


def rights(audit: RightsAudit) -> ReportList:
    """Returns the list of what people can write who should not, what matters most first."""
    rows = [
        (finding.path, str(finding.place), finding.about, grants_text(finding), finding.below,
         _layer(finding.layer, is_base=finding.is_base))
        for finding in audit.findings
    ]  # fmt: skip
    columns = (
        Column("path"), Column("place", is_filter=True), Column("of"), Column("who may do what"),
        Column("the same below", ColumnKind.NUMBER), _ORIGIN,
    )  # fmt: skip
    return ReportList("rights", "What users can write", "findings", columns, rows)


def grants_text(finding: RightsFinding) -> str:
    """Returns who may do what."""
    return "; ".join(map(str, finding.grants))


def expected_rights(audit: RightsAudit) -> ReportList:
    """Returns the list of what users can write in every Windows."""
    rows = [(finding.path, finding.expected) for finding in audit.expected]
    columns = (Column("path"), Column("why"))
    return ReportList("expected", "Expected in every Windows", "places of this kind", columns, rows)


def certificates(inventory: Inventory) -> ReportList:
    """Returns the list of certificates, those that expire first at the top."""
    items = sorted(inventory.of_kind(ItemKind.CERTIFICATE), key=lambda item: _text(item, "expires") or "~")
    rows = [
        (
            item.name, _text(item, "expires") or None, " ".join((_text(item, "location"), _text(item, "store"))),
            _text(item, "issuer"), _origin(item),
        )
        for item in items
    ]  # fmt: skip
    columns = (
        Column("certificate"), Column("expires", ColumnKind.EXPIRY, is_filter=True), Column("store", is_filter=True),
        Column("issuer"), _ORIGIN,
    )  # fmt: skip
    return ReportList("certificates", "Certificates, those that expire first at the top", "certificates", columns, rows)


def expiries(inventory: Inventory) -> list[tuple[str, bool]]:
    """Returns of each certificate whose end is known when it expires, and whether the image's own layers brought it."""
    return [
        (expires, not item.origin.is_base)
        for item in inventory.of_kind(ItemKind.CERTIFICATE)
        if (expires := _text(item, "expires"))
    ]


def vulnerabilities(report: VulnerabilityReport) -> ReportList:
    """Returns the list of what the image is vulnerable to, or may be, the most severe first."""
    rows: list[tuple[Value, ...]] = [
        (
            found.cve, found.severity.word, found.score, str(state),
            f"{found.product.name} {found.product.version}" if found.product else "", found.fixed_in, found.kb,
            f"{'exploited: ' if found.is_exploited else ''}{found.title}",
        )
        for state in (VulnerabilityState.VULNERABLE, VulnerabilityState.UNKNOWN)
        for found in report.of_state(state)
    ]  # fmt: skip
    columns = (
        Column("CVE"), Column("severity", is_filter=True), Column("CVSS", ColumnKind.NUMBER),
        Column("state", is_filter=True), Column("product", is_filter=True), Column("fixed in"), Column("KB"),
        Column("title"),
    )  # fmt: skip
    label = "Vulnerable, or not known"
    return ReportList("vulnerabilities", label, "open vulnerabilities", columns, rows)


def findings(image: Examined, checked: VulnerabilityReport | None) -> ReportList:
    """Returns the list of what is damaged or contradictory, or could not be looked at, each told once."""
    told = dict.fromkeys([
        *image.inventory.findings, *image.rights.problems, *(checked.findings if checked is not None else ()),
    ])  # fmt: skip
    rows = [(finding.place, str(finding.kind), finding.text) for finding in told]
    columns = (Column("place"), Column("kind", is_filter=True), Column("what was found"))
    return ReportList("findings", "Damage, contradictions, and what was not looked at", "findings", columns, rows)


def hidden(survey: Survey) -> ReportList:
    """Returns the list of the largest files that no name shows."""
    rows = [
        (file.path, file.size, file.layer, file.hidden_by, str(file.reason), "yes" if file.is_same else "no")
        for file in survey.hidden
    ]
    columns = (
        Column("file"), Column("size", ColumnKind.SIZE), Column("layer", ColumnKind.NUMBER),
        Column("hidden by layer", ColumnKind.NUMBER), Column("reason", is_filter=True),
        Column("stored again the same", is_filter=True),
    )  # fmt: skip
    return ReportList("hidden", "The largest files that are stored and not visible", "such files", columns, rows)


def duplicates(survey: Survey) -> ReportList:
    """Returns the list of contents that several files have, those that waste most first."""
    rows = [(" = ".join(each.paths[:2]), each.count, each.size, each.extra_bytes) for each in survey.duplicates]
    columns = (
        Column("files"), Column("how many", ColumnKind.NUMBER), Column("size of one", ColumnKind.SIZE),
        Column("wasted", ColumnKind.SIZE),
    )  # fmt: skip
    return ReportList("duplicates", "Contents that several files have", "such contents", columns, rows)


def _text(item: Item, name: str) -> str:
    value = item.properties.get(name, "")
    return ", ".join(value) if isinstance(value, list) else str(value)


def _triggers(item: Item) -> str:
    return _text(item, "triggers") if item.properties.get("is_enabled", True) else "disabled"


def _origin(item: Item) -> str:
    return _layer(item.origin.layer, is_base=item.origin.is_base)


def _layer(layer: SubjectLayer | None, *, is_base: bool) -> str:
    if layer is None:
        return "configuration"
    return "base" if is_base else "own"


def all_lists(image: Examined, checked: VulnerabilityReport | None) -> Iterator[ReportList]:
    """Yields all lists of a report."""
    inventory, survey = image.inventory, image.survey
    yield from (updates(inventory), programs(inventory), services(inventory), rights(image.rights))
    yield from (expected_rights(image.rights), certificates(inventory), findings(image, checked))
    yield from (hidden(survey), duplicates(survey))
    if checked is not None:
        yield vulnerabilities(checked)
