"""`Retries`: how often, and after which pauses, a request is tried again."""

from __future__ import annotations

import math
import random
import time

from wclayer.images.registry.failures import TemporaryError
from wclayer.images.registry.options import RegistryOptions

_MAX_PAUSE = 30.0


class Retries:
    """Counts the tries of one request.

    Args:
        options: the number of tries, the pauses, and the time for all of them.
    """

    def __init__(self, options: RegistryOptions) -> None:
        self._tries = 1
        self._options = options
        self._ends = math.inf

    def wait(self, failure: TemporaryError) -> None:
        """Waits until the next try after a failure.

        Raises:
            LayerError: the error of the failure: there is no further try.
        """
        if not failure.is_worth_a_try:
            raise failure.error from None
        if self._tries == 1:
            # The first try may have waited for others (`Pace`).
            self._ends = time.monotonic() + self._options.patience
        pause = min(self._options.backoff * 2 ** (self._tries - 1), _MAX_PAUSE)
        # Many clients that were cut off together do not come back together.
        pause *= random.uniform(0.75, 1.25)
        if failure.wait is not None:
            pause = failure.wait
        if self._tries > self._options.retries or time.monotonic() + pause > self._ends:
            if self._tries > 1:
                failure.error.detail += f"; tried {self._tries} times"
            raise failure.error from None
        self._tries += 1
        time.sleep(pause)
