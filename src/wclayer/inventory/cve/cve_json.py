"""Reads records of the CVE program, format 5, whose CNA is Microsoft: what https://github.com/CVEProject/cvelistV5 has.

Source: the CVE JSON record format 5.1. Products have no ids: here, the id of a product is its name as MSRC writes it in
other documents ("Windows 10 Version 1809 for x64-based Systems"), made of the fields `product` and `platforms`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from wclayer.images.json_view import JsonView
from wclayer.inventory.cve.advisory import (
    Advisory,
    AdvisoryDocument,
    Rating,
    Remediation,
    Severity,
    checked_id,
    time_of,
)
from wclayer.inventory.cve.json_fields import score_of
from wclayer.inventory.cve.versions import numbers_of

_CORE = " (Server Core installation)"
_METRICS = ("cvssV3_1", "cvssV3_0")


def read_cve(view: JsonView, source: str) -> AdvisoryDocument:
    """Returns what a record says. A rejected record says nothing.

    Raises:
        FormatError: a field has another type than the format states. The message names its place.
    """
    metadata, cna = view.view("cveMetadata"), view.view("containers").view("cna")
    cve, title = checked_id(metadata.text("cveId"), f"{metadata.what}: cveId"), cna.text("title")
    if metadata.text("state") == "REJECTED":
        return AdvisoryDocument(source, title or cve, {}, ())
    bounds = _with_core(dict(_bounds(cna)))
    names = {name: name for name in bounds}
    advisory = Advisory(
        cve=cve,
        title=title,
        source=source,
        released=time_of(metadata.text("datePublished")),
        revised=time_of(metadata.text("dateUpdated")),
        products=names,
        affected=frozenset(names),
        ratings=_ratings(cna),
        remediations=tuple(
            Remediation(frozenset([name]), fixed_version=bound) for name, ends in bounds.items() for bound in ends
        ),
    )
    return AdvisoryDocument(source, title or cve, names, (advisory,))


def _bounds(cna: JsonView) -> Iterator[tuple[str, list[str]]]:
    """Yields the full name of each affected product with the versions at which its ranges end.

    A product whose ranges overlap is only fixed behind the last of them; so of several ends of one release, the last
    one counts.
    """
    for item in cna.views("affected"):
        ends: dict[tuple[int, ...], str] = {}
        for version in item.views("versions"):
            end = version.text("lessThan").strip()
            if version.text("status", "affected") != "affected" or not end:
                continue
            numbers = numbers_of(end)
            release = numbers[:3] if len(numbers) > 3 else numbers[:2]
            if release not in ends or numbers_of(ends[release]) < numbers:
                ends[release] = end
        if item.text("vendor").casefold() == "microsoft":
            yield from ((name, [*ends.values()]) for name in _names(item.text("product"), item.texts("platforms")))


def _names(product: str, platforms: tuple[str, ...]) -> Iterator[str]:
    """Yields the full names of a product on its platforms."""
    name = product.strip()
    on = [platform for platform in platforms if platform.startswith("Windows ")]
    systems = [
        platform for platform in platforms if platform.endswith("-based Systems") or platform == "32-bit Systems"
    ]
    if on:
        yield from (f"{name} on {platform}" for platform in on)
    elif systems and name.startswith("Windows 1"):
        yield from (f"{name} for {platform}" for platform in systems)
    else:
        yield name


def _with_core(bounds: dict[str, list[str]]) -> dict[str, list[str]]:
    """Returns the products with the Server Core installations that a record leaves out.

    Records name some releases of Windows Server only once where MSRC's other documents name both installations. If a
    record names any Server Core installation, the vulnerability is in Server Core, and so in that of all releases.
    """
    if not any(name.endswith(_CORE) for name in bounds):
        return bounds
    servers = {name: ends for name, ends in bounds.items() if name.startswith("Windows Server") and "(" not in name}
    return {f"{name}{_CORE}": ends for name, ends in servers.items()} | bounds


def _ratings(cna: JsonView) -> Mapping[str, Rating]:
    """Returns the rating for all products. Records have no severity of MSRC: that of CVSS is taken instead."""
    for metric in cna.views("metrics"):
        for key in _METRICS:
            if key in metric:
                view = metric.view(key)
                score = score_of(view, "baseScore", "vectorString")
                return {"": Rating(Severity.of(view.text("baseSeverity")), "", score)}
    return {}
