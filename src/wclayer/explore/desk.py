"""What the panes share: what is explored, the view, and the threads that read."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from wclayer.errors import FormatError, LayerError, detail_of, during
from wclayer.explore.model.explored import Explorable, Session, View
from wclayer.explore.model.preview import PreviewKind

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """The result of a read, or what is wrong.

    Attributes:
        value: the result; None after an error.
        error: the text of the error; "" if there is none.
    """

    value: T | None
    error: str = ""


def answer_of(name: str, work: Callable[[], T]) -> Answer[T]:
    """Does some work, and returns the result, or what is wrong: with what is read, or with wclayer itself.

    Args:
        name: the name of what is explored.
        work: the work.
    """
    try:
        with during("explore", name):
            return Answer(work())
    except LayerError as error:
        return Answer(None, str(error))
    except FormatError as error:
        return Answer(None, detail_of(error))
    except Exception as error:  # noqa: BLE001 (one read that fails is no reason to end the explorer)
        return Answer(None, _defect(error))


class Reader:
    """A thread with a session of its own. Reads follow one another.

    Args:
        explored: what is read.
        name: the name of the thread.
    """

    def __init__(self, explored: Explorable, name: str) -> None:
        self._explored = explored
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"explore-{name}")
        self._session: Session | None = None

    async def read(self, work: Callable[[Session], T]) -> Answer[T]:
        """Does some work in the thread. If the task is cancelled before the work begins, it is not done.

        Returns:
            The result, or what is wrong: with what is read, or with wclayer itself.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._do, work)

    def _do(self, work: Callable[[Session], T]) -> Answer[T]:
        def with_session() -> T:
            if self._session is None:
                self._session = self._explored.session()
            return work(self._session)

        return answer_of(self._explored.name, with_session)

    def close(self) -> None:
        """Closes the session, after the current read. Reads that have not begun are not done."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        if self._session is not None:
            self._session.close()


def _defect(error: Exception) -> str:
    """Returns a defect of wclayer in words, with the place in the program. Unlike a traceback with the values of
    variables, it has nothing of what the layers hold."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(place.filename).name}, line {place.lineno}"
    return f"a defect of wclayer ({where}): {type(error).__name__}: {error}; please report it"


class Desk:
    """What the panes share.

    Args:
        explored: what is explored.
        tell: shows the text of an error.

    Attributes:
        view: what of the layers is shown.
        preview: how contents are shown.
        reader: the thread for what the user asks for.
        counter: the thread for the sums of directories.
        seeker: the thread that searches.
        collector: the thread for what takes long: inventory and waste.
    """

    def __init__(self, explored: Explorable, tell: Callable[[str], None]) -> None:
        self.explored = explored
        self.tell = tell
        self.view: View = explored.first_view
        self.preview = PreviewKind.AUTO
        self.reader = Reader(explored, "reader")
        self.counter = Reader(explored, "counter")
        self.seeker = Reader(explored, "seeker")
        self.collector = Reader(explored, "collector")

    def close(self) -> None:
        """Ends the threads, after their current work."""
        for reader in (self.reader, self.counter, self.seeker, self.collector):
            reader.close()
