"""Threads that compute: compression and hashing release the interpreter's lock, so they run on other cores.

Python's own pool waits for ever for the result of a thread that has died without memory, and names no error of the host
where a thread cannot be started.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

_PATIENCE = 1.0
"""Seconds after which a wait for a thread looks whether it is still alive."""
_Result = TypeVar("_Result")


@contextmanager
def starting_threads(error_of_library: type[Exception] = RuntimeError) -> Iterator[None]:
    """Raises `OSError` where a thread cannot be started.

    Python raises `RuntimeError` for this.

    Args:
        error_of_library: what a library raises for it whose threads start in the context.
    """
    try:
        yield
    except (RuntimeError, error_of_library) as error:
        raise OSError(errno.ENOMEM, f"too many threads, or no memory for one ({error})") from error


class Workers:
    """Threads that call functions, in the order in which they are submitted.

    Args:
        count: how many threads there are at most; each starts when it is needed.
        name: what their names begin with.
    """

    def __init__(self, count: int, name: str) -> None:
        self._threads: list[threading.Thread] = []
        self._pool = ThreadPoolExecutor(count, name, initializer=self._begin)

    def _begin(self) -> None:
        self._threads.append(threading.current_thread())

    def submit(self, function: Callable[..., _Result], *arguments: object) -> Future[_Result]:
        """Has a thread call a function. Raises `OSError` where a thread cannot be started."""
        with starting_threads():
            return self._pool.submit(function, *arguments)

    def result(self, future: Future[_Result]) -> _Result:
        """Waits for a result. Raises what the function raised, or `MemoryError` if a thread has died."""
        while True:
            is_whole = all(thread.is_alive() for thread in self._threads)
            try:
                return future.result(_PATIENCE)
            except BrokenExecutor as error:
                raise MemoryError(str(error)) from error
            except TimeoutError:
                if not is_whole:
                    raise MemoryError("a thread has died before its result was there") from None

    def close(self) -> None:
        """Ends the threads, when they are done with what they have begun."""
        self._pool.shutdown(wait=True, cancel_futures=True)
