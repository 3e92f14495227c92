"""`Crew`: when its context has ended with an error, no thread of it works any more."""

from __future__ import annotations

import threading
import time

import pytest

from wclayer.images.parallel import Crew


@pytest.mark.parametrize("waits_in_the_body", [False, True])
def test_a_failure_waits_for_what_was_begun(waits_in_the_body: bool) -> None:
    begun, ended = threading.Event(), threading.Event()

    def slow(_: int) -> None:
        begun.set()
        time.sleep(0.2)
        ended.set()

    def fail(_: int) -> None:
        begun.wait(10)
        raise ValueError("the first error")

    with pytest.raises(ValueError, match="the first error"), Crew(2, "name") as crew:
        crew.start(slow, 0)
        crew.start(fail, 1)
        if waits_in_the_body:
            crew.wait()
    assert ended.is_set()
