"""`login` and `logout`: the credentials of registries."""

from __future__ import annotations

import sys

import click

from wclayer.cli.output import echo, json_option, print_json
from wclayer.cli.remote import registry_options
from wclayer.errors import InvalidParameterError, during
from wclayer.images.registry import Credentials, RegistryOptions, log_in, log_out
from wclayer.images.registry.helpers import IDENTITY_USER

_MAX_PASSWORD = 64 << 10


@click.command("login")
@click.option("-u", "--username", default=None, help="The name of the user; '<token>' for an identity token.")
@click.option("--password-stdin", is_flag=True, help="Read the password from the standard input.")
@registry_options
@json_option
@click.argument("host")
@during("log in")
def login_command(
    username: str | None, password_stdin: bool, registry: RegistryOptions, as_json: bool, host: str
) -> None:
    """Log in to the registry HOST (localhost:5000, docker.io, ...).

    The registry verifies the name and the password. They are kept where Docker and Podman keep theirs: by the program
    that the file of credentials names (credHelpers, credsStore), else in the file. On a terminal, the command asks for
    what is not given.

    \b
    Example:
      wclayer login localhost:5000
      wclayer login -u alice --password-stdin registry.example.com < password.txt
    """
    if password_stdin and username is None:
        raise click.UsageError("--password-stdin needs --username")
    if not password_stdin and not sys.stdin.isatty():
        raise click.UsageError("the standard input is not a terminal: give --username and --password-stdin")
    if username is None:
        username = click.prompt("Username", err=True)
    password = _password_of_stdin(host) if password_stdin else click.prompt("Password", hide_input=True, err=True)
    is_token = username == IDENTITY_USER
    credentials = Credentials(identity_token=password) if is_token else Credentials(username, password)
    where = log_in(host, credentials, registry)
    if as_json:
        print_json({"registry": host, "username": username, "kept_in": where})
        return
    echo(f"logged in to {host} as {username}; the credentials are kept in {where}")


def _password_of_stdin(host: str) -> str:
    """Returns the standard input without the line break at its end."""
    data = sys.stdin.buffer.read(_MAX_PASSWORD + 1)
    if len(data) > _MAX_PASSWORD:
        raise InvalidParameterError(host, f"the password has more than {_MAX_PASSWORD} bytes")
    try:
        return data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise InvalidParameterError(host, "the password on the standard input is not UTF-8") from None


@click.command("logout")
@click.option(
    "--authfile",
    metavar="FILE",
    default=None,
    help="The file of credentials (default: all in which they are looked for).",
)
@json_option
@click.argument("host")
@during("log out")
def logout_command(authfile: str | None, as_json: bool, host: str) -> None:
    """Remove the credentials of the registry HOST.

    \b
    Example:
      wclayer logout localhost:5000
    """
    places = log_out(host, RegistryOptions(authfile=authfile))
    if as_json:
        print_json({"registry": host, "removed_from": places})
        return
    echo(f"removed the credentials of {host} from {', '.join(places)}")


COMMANDS = (login_command, logout_command)
