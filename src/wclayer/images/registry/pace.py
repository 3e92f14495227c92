"""`Pace`: what several programs agree on before they send requests to one server."""

from __future__ import annotations

from typing import Protocol


class Pace(Protocol):
    """Lets requests pass. Several threads may call the methods."""

    def wait(self, host: str) -> None:
        """Returns when a request may be sent.

        Args:
            host: the server, with its port if that is not the usual one.
        """

    def refused(self, host: str, seconds: float | None) -> None:
        """Notes that a server refuses requests for now: it has had too many.

        Args:
            host: the server.
            seconds: how long it asks to wait; None if it does not say.
        """
