"""The verb `acl`: shows, explains, sets and audits security descriptors."""

from __future__ import annotations

import click

import wclayer
from wclayer.cli.group import Verbs
from wclayer.cli.layer_argument import LayerArgument, layer_argument
from wclayer.cli.output import echo, json_option, print_json, warn
from wclayer.cli.preparing import prepare
from wclayer.cli.text import LAYER_PATH
from wclayer.errors import InvalidParameterError
from wclayer.rights.explain import explain_security
from wclayer.rights.kinds import ObjectKind
from wclayer.rights.principals import AccountNames
from wclayer.view.layer_view import LayerView
from wclayer.view.registry import is_key_path
from wclayer.win32.sddl import from_sddl, security_text

_AUDIT = "audit"


class _AclVerbs(Verbs):
    """The verbs below `acl`. That of audits needs much that the others do not, and is loaded when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), _AUDIT})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == _AUDIT and _AUDIT not in self.commands:
            from wclayer.cli.acl_audit import audit_command

            prepare(audit_command, f"{self.name} {_AUDIT}")
            self.add_command(audit_command)
        return super().get_command(ctx, cmd_name)


@click.group("acl", cls=_AclVerbs)
def acl_group() -> None:
    """Show, explain or set the security descriptor of an entry, or find out who can write what they should not.

    \b
    Example:
      wclayer acl get --explain nanoserver:ltsc2022 'C:\\Windows\\Temp'
      wclayer acl set /layers/run 'C:\\app' 'O:BAG:SYD:(A;OICI;FA;;;BA)'
      wclayer acl audit myapp:1.0
    """


@acl_group.command("get")
@click.option("--explain", is_flag=True, help="Say in plain words who may do what, and what that means in the end.")
@json_option
@layer_argument("layer")
@click.argument("path", type=LAYER_PATH)
def acl_get(explain: bool, as_json: bool, layer: LayerArgument, path: str) -> None:
    """Print the security descriptor of PATH in LAYER over its parents, or in an image.

    PATH is that of a file or a directory, or of a key of the registry, spelled as in reg.exe: HKLM\\SYSTEM\\...

    With --explain, accounts have the names that LAYER gives them, as far as it has them.

    \b
    Example:
      wclayer acl get /layers/run 'C:\\app'
      wclayer acl get --explain myapp:1.0 'HKLM\\SYSTEM\\CurrentControlSet\\Services\\W3SVC'
    """
    security, kind = _security_of(layer.path, path)
    if not explain:
        text = security_text(security)
        print_json({"path": path, "security": text}) if as_json else echo(text or "-")
        return
    told = explain_security(security, kind, _names(layer.path))
    if as_json:
        print_json({"path": path, **told.to_json()})
    else:
        for line in told.lines():
            echo(line)


def _security_of(layer: str, path: str) -> tuple[bytes | None, ObjectKind]:
    if is_key_path(path):
        with wclayer.Registry(layer) as registry, registry.reading():
            return registry.key(path).metadata.security, ObjectKind.KEY
    with LayerView.for_layer(layer, writable=False) as view:
        kind = ObjectKind.DIRECTORY if view.stat(path).is_directory else ObjectKind.FILE
        return view.security(path), kind


def _names(layer: str) -> AccountNames:
    from wclayer.rights.names_of_image import names_of_image

    with wclayer.Registry(layer) as registry:
        names, problem = names_of_image(registry.find)
    if problem:
        warn(problem)
    return names


@acl_group.command("set")
@layer_argument("layer")
@click.argument("path", type=LAYER_PATH)
@click.argument("sddl")
def acl_set(layer: LayerArgument, path: str, sddl: str) -> None:
    """Set the security descriptor of PATH in the scratch LAYER to SDDL."""
    try:
        descriptor = from_sddl(sddl).encode()
    except ValueError as error:
        raise InvalidParameterError(sddl, str(error)) from None
    with LayerView(scratch=layer.path_to_change()) as view:
        view.set_security(path, descriptor)


COMMANDS = (acl_group,)
