"""The process that serves a mount: `python -m wclayer.view.fuse.server JSON FD`, started by `mount.start`.

It writes to the pipe FD when the mount can be used, or the error if it cannot be mounted.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import sys
from typing import Any

from wclayer.errors import LayerError
from wclayer.view.fuse.mount import serve

assert sys.platform != "win32"

_MADE_SINCE = 100_000
"""How many objects are made, beyond those that were freed, before Python looks for unreachable cycles. A mount keeps
many entries in memory and makes no cycles for each request, so frequent searches (every 700 objects) find nothing."""


def main(arguments: str, pipe: str) -> None:
    """Serves the mount that `arguments` describes, in a child process.

    Args:
        arguments: the arguments of `serve` as JSON.
        pipe: the number of the pipe's descriptor.
    """
    wanted = json.loads(arguments)
    answer = os.fdopen(int(pipe), "w")
    os.set_inheritable(answer.fileno(), False)
    if os.fork():
        # The parent exits, so that the process that started it can continue.
        os._exit(0)

    def say(what: dict[str, Any]) -> None:
        with answer:
            json.dump(what, answer)

    gc.freeze()
    gc.set_threshold(_MADE_SINCE)
    try:
        serve(
            wanted["target"], wanted["layers"], wanted["scratch"], allow_other=wanted["allow_other"],
            make_target=wanted["make_target"], needed=wanted["needed"], hold=wanted["hold"],
            ready=lambda: say({"pid": os.getpid()}),
        )  # fmt: skip
    except LayerError as error:
        # An error of the end of the mount comes after the answer, and nobody waits for it.
        if not answer.closed:
            with contextlib.suppress(OSError):
                say(
                    {
                        "error": type(error).__name__, "operation": error.operation, "path": error.path,
                        "detail": error.detail, "code": error.code,
                    }
                )  # fmt: skip
        sys.exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:3])
