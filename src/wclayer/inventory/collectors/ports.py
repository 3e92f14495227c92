"""The ports that an image says it listens on: `ExposedPorts` of its configuration."""

from __future__ import annotations

from collections.abc import Iterable

from wclayer.errors import FormatError
from wclayer.inventory.collectors.guarding import Found, guarded
from wclayer.inventory.item import Finding, Item, ItemKind, config_origin
from wclayer.inventory.subject.subject import Subject

_FIELD = "ExposedPorts"
_PROTOCOLS = ("tcp", "udp", "sctp")
_LARGEST = 0xFFFF


def collect(subject: Subject) -> Found:
    """Yields the ports. The name of an item is as the configuration has it: `443/tcp`."""
    if subject.config is None:
        return
    origin = config_origin(_FIELD)

    def port(text: str) -> Iterable[Item | Finding]:
        number, protocol = parse_port(text)
        yield Item(ItemKind.PORT, f"{number}/{protocol}", "", origin, "", {"port": number, "protocol": protocol})

    for text in subject.config.view.view("config").view(_FIELD).record:
        yield from guarded(origin.place, port, text)


def parse_port(text: str) -> tuple[int, str]:
    """Returns the number and the protocol of a port: `443/tcp`, or `443` for TCP.

    Raises:
        FormatError: it is none.
    """
    number, slash, protocol = text.partition("/")
    protocol = protocol.lower() if slash else _PROTOCOLS[0]
    is_number = number.isascii() and number.isdigit() and len(number) <= 5
    if not is_number or not 0 < int(number) <= _LARGEST or protocol not in _PROTOCOLS:
        raise FormatError(f"{text[:60]!r} is not a port, such as 443/tcp")
    return int(number), protocol
