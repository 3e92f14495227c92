"""The verb `acl audit`: who can write what they should not."""

from __future__ import annotations

from contextlib import ExitStack

import click

from wclayer.cli.acl_table import audit_lines
from wclayer.cli.facts_option import FactsOption, facts_option
from wclayer.cli.group import FOUND
from wclayer.cli.layer_argument import LayerArgument, layer_argument
from wclayer.cli.output import count_bar, echo, json_option, print_json
from wclayer.rights.audit.api import audit_rights
from wclayer.rights.audit.model import AuditedPlace


@click.command("audit")
@click.option("--own", is_flag=True, help="Show only what the image's own layers brought, not its base.")
@click.option(
    "--place",
    "places",
    type=click.Choice([str(place) for place in AuditedPlace]),
    metavar="PLACE",
    multiple=True,
    help=f"Show only findings of this kind. May be repeated. Kinds: {', '.join(AuditedPlace)}.",
)
@click.option(
    "--account",
    "accounts",
    metavar="NAME",
    multiple=True,
    help="Ask for this account, too: NETWORK SERVICE, BUILTIN\\IIS_IUSRS, S-1-5-21-... May be repeated.",
)
@click.option("--all", "show_all", is_flag=True, help="Show what is expected in every Windows, too, and why.")
@facts_option
@json_option
@layer_argument("layer")
@click.pass_context
def audit_command(
    ctx: click.Context,
    own: bool,
    places: tuple[str, ...],
    accounts: tuple[str, ...],
    show_all: bool,
    facts: FactsOption,
    as_json: bool,
    layer: LayerArgument,
) -> None:
    """Show who can write what they should not in LAYER: an image, a layer over its parents, a scratch, or a disk file.

    Asked for are Everyone, Users, Authenticated Users, INTERACTIVE, Guests, anonymous users and others who are no
    administrators. Looked at are the programs and keys of services, what Windows runs by itself, startup folders,
    scheduled tasks, the program that the image runs, the directories of Path, the root of C:, Windows, Program Files,
    ProgramData, and programs elsewhere. docs/acl.md says what exactly, and what is expected in every Windows.

    Each line ends with the number of the layer that brought the file or key. The exit status is 21 if there are
    findings.

    \b
    Example:
      wclayer acl audit myapp:1.0
      wclayer acl audit --own --place service --place path --json myapp:1.0
      wclayer acl audit --account 'NETWORK SERVICE' --facts facts docker://registry.example.org/myapp:1.0
    """
    with count_bar("judging") as bar, ExitStack() as held:
        subject = held.enter_context(facts.open(layer, bar)) if facts else layer.image or layer.text
        audit = audit_rights(subject, accounts=accounts, progress=bar)
    wanted = frozenset(map(AuditedPlace, places or AuditedPlace))
    shown = audit.with_findings(
        lambda finding: finding.place in wanted and not (own and finding.is_base), expected=show_all
    )
    if as_json:
        print_json(shown.to_json())
    else:
        for line in audit_lines(shown):
            echo(line)
    if shown.findings:
        ctx.exit(FOUND)
