"""Which requests the server of the explorer answers: those of its own page, in a browser of this machine."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence

ADDRESS = "127.0.0.1"
"""Where the server listens: no other machine reaches it."""
_HTTP_PORT = 80
"""The port that browsers leave out."""


class Guard:
    """Knows the secret path of the page, and refuses what does not come from it.

    Other users and other programs of the machine can reach the server, too, and so can the pages of other sites in the
    same browser. They do not know the token. It is part of each address, and no cookie: a browser would send a cookie
    to the servers at all other ports of the machine.

    A page of another site whose name leads to this machine (DNS rebinding) is refused by the name, in `Host`; a script
    that opens a WebSocket from elsewhere by `Origin`, which no script can set.

    Args:
        port: the port of the server.

    Attributes:
        token: 256 random bits as text, the first component of each path.
    """

    def __init__(self, port: int) -> None:
        self.token = secrets.token_urlsafe(32)
        ends = ("", f":{port}") if port == _HTTP_PORT else (f":{port}",)
        self._hosts = frozenset(f"{name}{end}" for name in (ADDRESS, "localhost") for end in ends)
        self.address = f"http://{ADDRESS}:{port}/{self.token}/"

    def refusal(self, path: str, hosts: Sequence[str], origins: Sequence[str], *, is_socket: bool) -> str:
        """Returns why a request is refused; "" if it is not.

        Args:
            path: its path.
            hosts: the values of its headers `Host`.
            origins: those of its headers `Origin`, which a browser may leave out where nothing is changed.
            is_socket: whether it opens a WebSocket.
        """
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            return "the name of the host is another one"
        if len(origins) > 1 or (is_socket and not origins):
            return "the origin is missing"
        if origins and origins[0].lower() != f"http://{hosts[0].lower()}":
            return "the origin is another one"
        first = path.removeprefix("/").partition("/")[0]
        if not hmac.compare_digest(first.encode("utf-8", "replace"), self.token.encode()):
            return "the token is wrong"
        return ""
