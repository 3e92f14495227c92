"""Work in several threads: bounded in number, all stopped by the first error."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextvars import copy_context
from types import TracebackType
from typing import Any, Self, TypeVar

from wclayer.errors import InvalidParameterError, OperationCancelledError

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

MAX_JOBS = 64


class _StoppedError(OperationCancelledError):
    """A thread was stopped because something else has failed."""


class Crew:
    """Threads that work until the first error.

    Leaving the context waits for what was begun. If the body, or a task, raised an error, what was not begun is dropped
    and what runs is asked to stop (`check`).

    Args:
        jobs: the number of threads.
        name: what the user named, for the message of a task that is stopped.

    Raises:
        InvalidParameterError: `jobs` is not a number from 1 to `MAX_JOBS`.
    """

    def __init__(self, jobs: int, name: str) -> None:
        if not 1 <= jobs <= MAX_JOBS:
            raise InvalidParameterError(name, f"{jobs} jobs at the same time; choose a number from 1 to {MAX_JOBS}")
        self._name = name
        self._stopped = threading.Event()
        self._error: BaseException | None = None
        """What was raised first."""
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(jobs, "wclayer-transfer")
        self._futures: list[Future[Any]] = []

    def start(self, work: Callable[[_Item], _Result], item: _Item) -> Future[_Result]:
        """Lets a thread do work as soon as one is free. It has the settings of the caller (`contextvars`)."""
        try:
            future = self._pool.submit(copy_context().run, self._do, work, item)
        except RuntimeError as error:
            raise OSError(errno.ENOMEM, f"too many threads, or no memory for one ({error})") from error
        self._futures.append(future)
        return future

    def check(self) -> None:
        """Ends the work of a thread if another one has failed.

        Raises:
            OperationCancelledError: another one has failed.
        """
        if self._stopped.is_set():
            raise _StoppedError(self._name, "stopped, because another part of the image failed")

    def wait(self) -> None:
        """Waits until everything is done.

        Raises:
            Exception: what the first thread that failed raised.
        """
        for future in as_completed(self._futures):
            if future.exception() is not None and self._error is not None:
                raise self._error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            if kind is None:
                self.wait()
        finally:
            self._stopped.set()
            for future in self._futures:
                future.cancel()
            self._pool.shutdown(wait=True)
        # The body often fails because a thread is failing: that is the cause.
        if self._error is not None and isinstance(error, Exception):
            raise self._error

    def _do(self, work: Callable[[_Item], _Result], item: _Item) -> _Result:
        try:
            return work(item)
        except _StoppedError:
            raise
        except BaseException as error:
            with self._lock:
                self._error = self._error or error
            self._stopped.set()
            raise
