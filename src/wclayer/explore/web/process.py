"""The process of a page: an explorer whose terminal is a WebSocket."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence

from aiohttp.web import WebSocketResponse
from textual_serve.app_service import AppService
from textual_serve.download_manager import DownloadManager

_GRACE = 3.0
"""Seconds in which an explorer may end by itself."""


class ExplorerProcess(AppService):
    """An explorer, which writes to a WebSocket.

    Args:
        command: the words of the command.
        socket: the WebSocket. It is closed when the explorer has ended.
    """

    def __init__(self, command: Sequence[str], socket: WebSocketResponse) -> None:
        super().__init__(
            command[0], write_bytes=socket.send_bytes, write_str=socket.send_str, close=self._close_socket,
            download_manager=DownloadManager(),
        )  # fmt: skip
        self._words = command
        self._socket = socket
        self._started: Process | None = None

    async def _close_socket(self) -> None:
        await self._socket.close()

    async def _open_app_process(self, width: int = 80, height: int = 24) -> Process:
        """Starts the explorer, without the shell that the library would start."""
        self._process = self._started = process = await asyncio.create_subprocess_exec(
            *self._words, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=self._build_environment(width, height)
        )
        self._stdin = process.stdin
        return process

    async def run(self) -> None:
        """Passes on what the explorer writes until it ends."""
        try:
            await super().run()
        finally:
            # It may have ended without a word.
            await self._socket.close()

    async def stop(self) -> None:
        """Asks the explorer to end, and waits until it has; by force if it does not."""
        process, self._started = self._started, None
        if process is None:
            return
        ending = asyncio.create_task(self._end(process))
        try:
            await asyncio.wait({ending}, timeout=_GRACE)
        finally:
            ending.cancel()
            if process.returncode is None:
                process.kill()
        await process.wait()

    async def _end(self, process: Process) -> None:
        await super().stop()
        # What it still writes is read, for it would wait for that.
        await process.communicate()
