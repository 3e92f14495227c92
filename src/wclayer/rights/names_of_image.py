"""The names of the SIDs of one image: of its accounts, its groups and its services."""

from __future__ import annotations

from collections.abc import Callable

from wclayer.errors import FormatError, InvalidDataError, detail_of
from wclayer.formats.regf.model import Key
from wclayer.inventory.collectors.services import SERVICES
from wclayer.inventory.collectors.users import account_names
from wclayer.rights.principals import AccountNames
from wclayer.view.machine_environment import control_set_of
from wclayer.win32.sid import Sid


def names_of_image(find: Callable[[str], Key | None]) -> tuple[AccountNames, str]:
    """Returns the names of the SIDs of an image, and why some of them are missing; "" if none are.

    Args:
        find: returns the key of its registry at a path, or None.
    """
    accounts: dict[Sid, str] = {}
    services: list[str] = []
    problems: list[str] = []
    try:
        key = find(control_set_of(find, SERVICES))
        services += [] if key is None else [subkey.name for subkey in key.subkeys()]
    except (FormatError, InvalidDataError) as error:
        problems.append(f"the names of services are missing: {detail_of(error)}")
    try:
        accounts = account_names(find)
    except (FormatError, InvalidDataError) as error:
        problems.append(f"the names of accounts are missing: {detail_of(error)}")
    return AccountNames(accounts, services), "; ".join(problems)
