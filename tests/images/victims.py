"""A process that pulls and pushes in children of its own, and kills them: it has one thread, so that it may fork.

It reads lines of JSON: the verb, its arguments, and the seconds after which the child is killed (null: never). It
answers each with a line: the exit status of the child, and its seconds. A verb is "pull", "push", or a function of a
module of tests ("tests.builder.making:make").
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from types import TracebackType
from typing import Self

from wclayer.images.pull import pull_image
from wclayer.images.push import push_image
from wclayer.images.registry import RegistryOptions
from wclayer.images.store import ImageStore

KILLED = -signal.SIGKILL


class Victims:
    """The process, as a context manager."""

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.images.victims"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        # Closes its input, which ends it, and waits.
        self._process.__exit__(kind, error, tb)

    def run(self, verb: str, *arguments: str, after: float | None = None) -> tuple[int, float]:
        """Runs a verb in a child, which is killed after some seconds, and returns its exit status and its seconds."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([verb, arguments, after]) + "\n")
        self._process.stdin.flush()
        status, seconds = json.loads(self._process.stdout.readline())
        return status, seconds


def _do(verb: str, arguments: list[str]) -> None:
    options = RegistryOptions(insecure=True)
    if ":" in verb:
        module, _, function = verb.partition(":")
        getattr(importlib.import_module(module), function)(*arguments)
    elif verb == "pull":
        reference, store = arguments
        pull_image(reference, ImageStore(store), registry=options)
    else:
        image, reference, store = arguments
        push_image(image, reference, ImageStore(store), registry=options)


def _child(verb: str, arguments: list[str]) -> int:
    try:
        _do(verb, arguments)
    except BaseException:  # noqa: BLE001 (the process ends)
        traceback.print_exc()
        return 1
    return 0


def main() -> None:
    for line in sys.stdin:
        verb, arguments, after = json.loads(line)
        start = time.monotonic()
        child = os.fork()
        if not child:
            os._exit(_child(verb, arguments))
        status = None
        while status is None:
            ended, code = os.waitpid(child, 0 if after is None else os.WNOHANG)
            if ended:
                status = os.waitstatus_to_exitcode(code)
            elif after is not None and time.monotonic() - start >= after:
                os.kill(child, signal.SIGKILL)
                after = None
            else:
                time.sleep(0.001)
        print(json.dumps([status, time.monotonic() - start]), flush=True)


if __name__ == "__main__":
    main()
