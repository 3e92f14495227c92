"""The verb `cve`: the known vulnerabilities of an image, by documents that the user hands over."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click

import wclayer
from wclayer.cli.group import FOUND
from wclayer.cli.layer_argument import LayerArgument, layer_argument
from wclayer.cli.output import count_bar, echo, json_option, print_json, results_beside
from wclayer.cli.text_table import aligned
from wclayer.errors import InvalidParameterError
from wclayer.inventory.cve.advisory import Severity
from wclayer.inventory.cve.report import Vulnerability, VulnerabilityReport, VulnerabilityState
from wclayer.inventory.cve.sarif import to_sarif
from wclayer.inventory.cve.vex import to_vex
from wclayer.layers.atomic import OutputFile
from wclayer.win32.shown import count_text

_THRESHOLDS = {severity.word.lower(): severity for severity in Severity if severity} | {"any": Severity.UNKNOWN}


@click.command("cve")
@click.option(
    "--msrc", metavar="FILE", multiple=True, help="A document of MSRC, or a folder or a zip of them. May be repeated."
)
@click.option(
    "--fail-on",
    type=click.Choice([*_THRESHOLDS]),
    help=f"Exit with {FOUND} if the image is vulnerable to something this severe, or more.",
)
@click.option("--all", "show_all", is_flag=True, help="Show what is fixed and what does not affect the image, too.")
@click.option("--vex", metavar="FILE", default="", help="Write a VEX document (CycloneDX 1.6); - is the output.")
@click.option("--sarif", metavar="FILE", default="", help="Write the results as SARIF 2.1.0; - is the output.")
@json_option
@layer_argument("layer")
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.pass_context
def cve_command(
    ctx: click.Context,
    msrc: tuple[str, ...],
    fail_on: str | None,
    show_all: bool,
    vex: str,
    sarif: str,
    as_json: bool,
    layer: LayerArgument,
    files: tuple[str, ...],
) -> None:
    """Show the known vulnerabilities of LAYER: an image, a layer over its parents, a scratch, or a disk file.

    FILE, here and after --msrc, is a document of the Microsoft Security Response Center: CVRF as XML or JSON, CSAF, a
    record of the CVE program; or a folder or a zip of them. Nothing is downloaded:
    https://api.msrc.microsoft.com/cvrf/v3.0/cvrf/2026-Sep answers with the CVRF document of that month.

    Windows, .NET Framework, .NET, ASP.NET Core and PowerShell are looked for in the documents. "vulnerable" means that
    the fix is not installed, "unknown" that what is installed cannot be compared. Lines with "!" at the top say what
    was not checked, such as a product that no document mentions.

    \b
    Example:
      wclayer cve myapp:1.0 --msrc 2026-Sep.json
      wclayer cve myapp:1.0 --fail-on critical --sarif cve.sarif --vex cve.vex.json --msrc documents.zip
    """
    documents = [*msrc, *files]
    if not documents:
        raise click.UsageError("name the documents of MSRC: --msrc FILE; `wclayer cve --help` says where they are")
    if vex and vex == sarif:
        raise InvalidParameterError(vex, "is named for both --vex and --sarif")
    with results_beside(vex, "the VEX document"), results_beside(sarif, "the SARIF document"):
        with count_bar("taking inventory") as bar:
            inventory = wclayer.take_inventory(layer.image or layer.text, files=False, progress=bar)
        report = wclayer.find_vulnerabilities(inventory, documents)
        sources = [*documents, *(each.path for each in inventory.layers)]
        if vex:
            _write(vex, to_vex(report, wclayer.__version__), sources)
        if sarif:
            _write(sarif, to_sarif(report, wclayer.__version__), sources)
        if as_json:
            print_json(report.to_json())
        else:
            _print(report, show_all)
    if fail_on is not None and any(report.vulnerable(_THRESHOLDS[fail_on])):
        ctx.exit(FOUND)


def _write(path: str, document: dict[str, Any], sources: list[str]) -> None:
    with OutputFile(path, sources=sources) as output:
        output.stream.write(json.dumps(document, indent=2).encode() + b"\n")


def _print(report: VulnerabilityReport, show_all: bool) -> None:
    echo(report.name)
    for product in report.products:
        echo(f"  {product.name}  {product.version}")
    for finding in report.findings:
        echo(f"! {finding.kind}: {finding.place}: {finding.text}")
    counts = report.counts
    for state in VulnerabilityState:
        shown = list(report.of_state(state))
        is_listed = show_all or state in (VulnerabilityState.VULNERABLE, VulnerabilityState.UNKNOWN)
        if shown and is_listed:
            echo(f"\n{state.upper()} ({counts[state]})")
            for line in aligned(_rows(shown)):
                echo(f"  {line}")
    total = ", ".join(f"{count} {state}" for state, count in counts.items())
    echo(f"\n{total} ({count_text(report.documents, 'document')})")


def _rows(shown: list[Vulnerability]) -> Iterator[tuple[str, ...]]:
    yield "CVE", "SEVERITY", "CVSS", "PRODUCT", "INSTALLED", "FIXED IN", "KB", "TITLE"
    for found in shown:
        product = found.product
        yield (
            found.cve,
            found.severity.word or "-",
            "-" if found.score is None else f"{found.score:.1f}",
            product.name if product else "-",
            product.version if product else "-",
            found.fixed_in or "-",
            found.kb or "-",
            _title(found),
        )


def _title(found: Vulnerability) -> str:
    reason = f" ({found.reason})" if found.state is VulnerabilityState.UNKNOWN else ""
    return f"{'exploited: ' if found.is_exploited else ''}{found.title}{reason}"


COMMANDS = (cve_command,)
