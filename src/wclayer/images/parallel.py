"""Work in several threads: bounded in number, all stopped by the first error."""

from __future__ import annotations

import errno
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from contextvars import copy_context
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from wclayer.errors import InvalidParameterError, OperationCancelledError

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

MAX_JOBS = 64
_PAUSE = 1.0
_AHEAD = 8
"""The items of each thread that are begun before the first one is needed."""


class _StoppedError(OperationCancelledError):
    """A thread was stopped because something else has failed."""


class Crew:
    """Threads that work until the first error.

    Leaving the context waits for what was begun. If the body, or a task, raised an error, what was not begun is dropped
    and what runs is asked to stop (`check`). An interrupt (Ctrl-C) waits for nothing: a thread may hang for minutes in
    a connection, and stops when it next has something to do.

    Args:
        jobs: the number of threads.
        name: what the user named, for the message of a task that is stopped.

    Raises:
        InvalidParameterError: `jobs` is not a number from 1 to `MAX_JOBS`.
    """

    def __init__(self, jobs: int, name: str) -> None:
        if not 1 <= jobs <= MAX_JOBS:
            raise InvalidParameterError(name, f"{jobs} jobs at the same time; choose a number from 1 to {MAX_JOBS}")
        self._jobs = jobs
        self._name = name
        self._stopped = threading.Event()
        self._error: BaseException | None = None
        """What was raised first."""
        self._lock = threading.Lock()
        self._tasks: queue.SimpleQueue[tuple[Future[Any], Callable[[], object]] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._futures: set[Future[Any]] = set()

    def start(self, work: Callable[[_Item], _Result], item: _Item) -> Future[_Result]:
        """Lets a thread do work as soon as one is free. It has the settings of the caller (`contextvars`)."""
        future: Future[_Result] = Future()
        self._futures.add(future)
        self._tasks.put((future, partial(copy_context().run, work, item)))
        if len(self._threads) < self._jobs:
            # A process that is interrupted does not wait at its end for what hangs.
            thread = threading.Thread(target=self._work, name="wclayer-transfer", daemon=True)
            # Before it starts: memory can run out when it runs, and before `start` returns.
            self._threads.append(thread)
            try:
                thread.start()
            except RuntimeError as error:
                raise OSError(errno.ENOMEM, f"too many threads, or no memory for one ({error})") from error
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
        pending = self._futures
        while pending and self._error is None:
            # Not for ever: Windows interrupts no such wait.
            _, pending = wait(pending, _PAUSE, FIRST_EXCEPTION)
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        is_interrupted = error is not None and not isinstance(error, Exception)
        try:
            if kind is None:
                self.wait()
        except KeyboardInterrupt:
            is_interrupted = True
            raise
        finally:
            self._stopped.set()
            try:
                for future in self._futures:
                    future.cancel()
            finally:
                self._dismiss()
            if not is_interrupted:
                for thread in self._threads:
                    if thread.ident is not None:
                        thread.join()
        # The body often fails because a thread is failing: that is the cause.
        if self._error is not None and isinstance(error, Exception):
            raise self._error

    def _dismiss(self) -> None:
        """Lets each thread end when nothing is left to do."""
        for _ in self._threads:
            try:
                self._tasks.put(None)
            except MemoryError:
                # Without it, the thread would wait for ever.
                self._tasks.put(None)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            future, work = task
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001 (raised again by `wait`)
                if not isinstance(error, _StoppedError):
                    with self._lock:
                        self._error = self._error or error
                    self._stopped.set()
                future.set_exception(error)
            else:
                future.set_result(result)


def in_order(work: Callable[[_Item], _Result], items: Iterable[_Item], *, jobs: int, name: str) -> Iterator[_Result]:
    """Yields what work returns for each item, in the order of the items; threads work on those that come next.

    Args:
        work: the work. What it raises ends everything.
        items: the items. They are taken a little before they are needed.
        jobs, name: see `Crew`.
    """
    with Crew(jobs, name) as crew:
        waiting: deque[Future[_Result]] = deque()
        for item in items:
            waiting.append(crew.start(work, item))
            if len(waiting) > _AHEAD * jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
