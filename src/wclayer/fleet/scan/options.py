"""`ScanOptions`: what a scan reads, and who carries it out."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from wclayer._types import StrPath
from wclayer.errors import InvalidParameterError
from wclayer.images.registry import RegistryOptions

LEAST_MEMORY = 256 << 20
"""The bytes without which a worker does not even start: its programs take two thirds of that."""


@dataclass(frozen=True, slots=True)
class ScanOptions:
    """What a scan reads, and who carries it out.

    Attributes:
        names: patterns of the repositories that are read ("apps/*"); none means all.
        tags: patterns of the tags that are read.
        newest: how many tags of each repository are read, those whose images were made last; None reads all.
        registry: how registries are reached.
        store: the folder of the store; by default the user's.
        dask: the address of the scheduler of a Dask cluster ("tcp://host:8786"); "" starts processes of this machine.
        jobs: the number of these processes; 0 means one for each processor.
        memory: the bytes of memory that each of them may use; None divides those of the machine among them.
        cache: the bytes of unpacked facts that each worker keeps in its temporary folder.
        max_requests: how many requests all workers together send to each registry: "20" or "20/s", "500/m", "5000/h".
            None sends any number. In any case, they wait as long as a registry asks them to.
    """

    names: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    newest: int | None = None
    registry: RegistryOptions = field(default_factory=RegistryOptions)
    store: StrPath | None = None
    dask: str = ""
    jobs: int = 0
    memory: int | None = None
    cache: int = 4 << 30
    max_requests: str | None = None

    def check(self) -> None:
        """Checks what no other part of a scan does.

        Raises:
            InvalidParameterError: there are too few jobs, or bytes.
        """
        for name, value, least in (
            ("jobs", self.jobs, 0),
            ("cache", self.cache, 0),
            ("memory", self.memory, LEAST_MEMORY),
        ):
            if value is not None and value < least:
                raise InvalidParameterError(name, f"is {value}; at least {least} is needed")

    @property
    def workers(self) -> int:
        """The number of processes that are started."""
        return self.jobs or os.cpu_count() or 1
