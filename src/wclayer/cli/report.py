"""The verb `report`: a page about an image."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime

import click

from wclayer.builder.clock import Clock
from wclayer.cli.facts_option import FactsOption, facts_option
from wclayer.cli.layer_argument import LayerArgument, layer_argument
from wclayer.cli.output import count_bar, echo, results_beside
from wclayer.images.opening import ImageLayers
from wclayer.inventory.facts.chain import ImageFacts
from wclayer.report.api import report_image

_FORMS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"]


@click.command("report")
@click.option("-o", "--output", "target", metavar="FILE", required=True, help="The page; - is the standard output.")
@click.option(
    "--at",
    type=click.DateTime(_FORMS),
    metavar="DATE",
    help="Tell ages for this date, in UTC, such as 2026-01-31 (default: SOURCE_DATE_EPOCH, or the time at which the"
    " page is opened).",
)
@click.option(
    "--msrc", metavar="FILE", multiple=True, help="A document of MSRC, or a folder or a zip of them. May be repeated."
)
@facts_option
@layer_argument("image")
@layer_argument("before", required=False)
def report_command(
    target: str,
    at: datetime | None,
    msrc: tuple[str, ...],
    facts: FactsOption,
    image: LayerArgument,
    before: LayerArgument | None,
) -> None:
    """Write a page about IMAGE, an image or a layer over its parents: what it is, its age and patch level, what takes
    its space, what is its own and what its base's, programs, services, open rights, certificates, damage, and waste.

    With BEFORE, an earlier image, the page also shows what differs from it: files, registry, programs, services,
    rights, sizes.

    The page is one file for a browser. It needs no network, and can be read without JavaScript, and printed. The same
    image, and the same DATE, give the same page. With --msrc, it has the known vulnerabilities, as `wclayer cve` shows
    them.

    With --facts, the layers are read once and not unpacked.

    \b
    Example:
      wclayer report myapp:2.0 -o myapp.html
      wclayer report myapp:2.0 myapp:1.0 --at 2026-01-31 --msrc 2026-Jan.json -o myapp.html
      wclayer report --facts facts docker://registry.example.org/myapp:2.0 -o myapp.html
    """
    with results_beside(target, "a page"), ExitStack() as held:
        named = [each for each in (image, before) if each is not None]
        images: Sequence[ImageLayers | ImageFacts | str] = (
            _with_facts(named, facts, held) if facts else [each.image or each.text for each in named]
        )
        with count_bar("looking") as bar:
            report_image(
                images[0],
                target,
                before=images[1] if before is not None else None,
                at=_time(at),
                advisories=msrc,
                progress=bar,
            )
        echo(target)


def _with_facts(images: Sequence[LayerArgument], facts: FactsOption, held: ExitStack) -> list[ImageFacts]:
    with count_bar("reading layers") as bar:
        return [held.enter_context(facts.open(each, bar)) for each in images]


def _time(at: datetime | None) -> datetime | None:
    """Returns the time for which ages are told: what the user says, or SOURCE_DATE_EPOCH."""
    if at is not None:
        return at.replace(tzinfo=UTC)
    epoch = Clock.of(reproducible=False).epoch
    return None if epoch is None else datetime.fromtimestamp(epoch, UTC)


COMMANDS = (report_command,)
