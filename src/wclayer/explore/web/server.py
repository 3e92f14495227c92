"""The server of the explorer: one page, what that loads, and a WebSocket with an explorer behind it."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any

import textual_serve
from aiohttp import WSMsgType, hdrs, web

from wclayer.errors import errors_at
from wclayer.explore.web.guard import ADDRESS, Guard
from wclayer.explore.web.process import ExplorerProcess
from wclayer.pages.page import html_text

_STATIC = Path(textual_serve.__file__).with_name("static")
_FILES = ("css/xterm.css", "fonts/RobotoMono-VariableFont_wght.ttf", "js/textual.js")
"""The files of the library that the page loads. No other one is sent."""
_PAGE = resources.files("wclayer.explore.web").joinpath("page.html").read_text("utf-8")
_FIELD = re.compile(r"\{\{(\w+)\}\}")
_MOST_PAGES = 8
"""Explorers at once. Each is a process with the memory of one."""
_MOST_CELLS = 1_000
_MOST_MESSAGE = 1 << 20
"""Bytes of a message of the page."""
_GRACE = 5.0
"""Seconds in which requests may end when the server ends."""
_POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; script-src 'self';"
    " style-src 'self' 'unsafe-inline'; font-src 'self'; img-src data:"
)
"""What the page may load. xterm.js makes elements `style`."""
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def serve(name: str, command: Sequence[str], port: int, tell: Callable[[str], None]) -> int:
    """Shows the explorer in browsers of this machine until the process is asked to end, and returns the exit status.

    Args:
        name: what is explored, for the title.
        command: the words of the command that runs an explorer: one for each page that is open.
        port: the port; 0 for one that is free.
        tell: is called with the address of the page.

    Raises:
        LayerError: the host refuses the port.
    """
    with errors_at(f"{ADDRESS}:{port}"):
        listening = socket.create_server((ADDRESS, port))
    with listening:
        return asyncio.run(_Server(name, command, listening).run(tell))


class _Server:
    """The server.

    Args:
        name: what is explored.
        command: the words of the command that runs an explorer.
        listening: the socket on which it listens.
    """

    def __init__(self, name: str, command: Sequence[str], listening: socket.socket) -> None:
        self._title = f"wclayer explore {name}"
        self._command = command
        self._listening = listening
        self._guard = Guard(listening.getsockname()[1])
        self._sockets: set[web.WebSocketResponse] = set()
        self._status = 0

    async def run(self, tell: Callable[[str], None]) -> int:
        """Answers until the process is asked to end."""
        ended = asyncio.Event()
        self._end_at_signals(ended)
        runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=_GRACE)
        await runner.setup()
        try:
            await web.SockSite(runner, self._listening).start()
            tell(self._guard.address)
            await ended.wait()
        finally:
            # The handlers of the pages end their explorers then.
            await asyncio.gather(*(each.close() for each in self._sockets), return_exceptions=True)
            await runner.cleanup()
        return self._status

    def _end_at_signals(self, ended: asyncio.Event) -> None:
        def end(status: int) -> None:
            self._status = status
            ended.set()

        # On Windows, an interrupt cancels the task instead.
        with suppress(NotImplementedError):
            loop = asyncio.get_running_loop()
            # Ctrl-C is how the server is meant to end.
            loop.add_signal_handler(signal.SIGINT, end, 0)
            for number in {signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)}:
                loop.add_signal_handler(number, end, 128 + number)

    def _application(self) -> web.Application:
        @web.middleware
        async def guarded(request: web.Request, handler: _Handler) -> web.StreamResponse:
            return await self._guarded(request, handler)

        application = web.Application(middlewares=[guarded])
        start = f"/{self._guard.token}"
        application.add_routes([web.get(f"{start}/", self._page), web.get(f"{start}/ws", self._terminal)])
        application.add_routes([web.get(f"{start}/static/{name}", self._file) for name in _FILES])
        return application

    async def _guarded(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Refuses what the guard refuses, and adds to each answer what a browser must not do with it."""
        refusal = self._guard.refusal(
            request.path, request.headers.getall(hdrs.HOST, []), request.headers.getall(hdrs.ORIGIN, []),
            is_socket=hdrs.UPGRADE in request.headers or request.path.endswith("/ws"),
        )  # fmt: skip
        if refusal:
            return self._closed(web.Response(status=403, text=f"403: {refusal}\n"), "")
        try:
            answer = await handler(request)
        except web.HTTPException as error:
            answer = web.Response(status=error.status, text=error.text)
        return answer if answer.prepared else self._closed(answer, request.host)

    @staticmethod
    def _closed(answer: web.StreamResponse, host: str) -> web.StreamResponse:
        answer.headers.update(_HEADERS)
        answer.headers["Content-Security-Policy"] = (
            f"{_POLICY}; connect-src ws://{host}" if host else "default-src 'none'"
        )
        return answer

    async def _page(self, request: web.Request) -> web.StreamResponse:
        parts = {"title": self._title, "socket": f"ws://{request.host}/{self._guard.token}/ws"}
        text = _FIELD.sub(lambda field: html_text(parts[field[1]]), _PAGE)
        return web.Response(text=text, content_type="text/html")

    async def _file(self, request: web.Request) -> web.StreamResponse:
        return web.FileResponse(_STATIC / request.path.partition("/static/")[2])

    async def _terminal(self, request: web.Request) -> web.StreamResponse:
        if len(self._sockets) >= _MOST_PAGES:
            raise web.HTTPServiceUnavailable(text=f"no more than {_MOST_PAGES} pages can be open at once\n")
        page = web.WebSocketResponse(timeout=_GRACE / 2, heartbeat=15, max_msg_size=_MOST_MESSAGE)
        self._sockets.add(page)
        explorer = ExplorerProcess(self._command, page)
        try:
            await page.prepare(request)
            await explorer.start(_cells(request.query.get("width"), 80), _cells(request.query.get("height"), 24))
            async for message in page:
                if message.type is WSMsgType.TEXT:
                    await _pass_on(message.data, explorer, page)
        finally:
            await explorer.stop()
            self._sockets.discard(page)
        return page


async def _pass_on(text: str, explorer: ExplorerProcess, page: web.WebSocketResponse) -> None:
    """Does what a message of the page asks for: the messages are those of the library's script."""
    # A text of many brackets is none either.
    with suppress(ValueError, RecursionError):
        match json.loads(text):
            case ["stdin", str(keys)]:
                await explorer.send_bytes(keys.encode("utf-8", "replace"))
            case ["resize", {"width": width, "height": height}]:
                await explorer.set_terminal_size(_cells(width, 80), _cells(height, 24))
            case ["ping", str(time)]:
                await page.send_json(["pong", time])
            case ["focus"]:
                await explorer.focus()
            case ["blur"]:
                await explorer.blur()


def _cells(value: Any, usual: int) -> int:
    """Returns a width or a height that the page has told, within bounds."""
    try:
        return max(1, min(int(value), _MOST_CELLS))
    except (TypeError, ValueError, OverflowError):
        return usual
