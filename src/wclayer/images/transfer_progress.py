"""`TransferProgress`: the progress of one blob, of which a copy does several at the same time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from wclayer.images.descriptor import Descriptor


class TransferStep(Enum):
    """What happens to a blob."""

    COPY = "copy"
    PRESENT = "present"
    UNPACK = "unpack"


@dataclass(frozen=True, slots=True)
class TransferProgress:
    """The progress of one blob.

    Attributes:
        what: the blob in words ("layer 1 of 2").
        descriptor: its descriptor.
        step: what happens to it; PRESENT if the target has it already, so that nothing happens.
        done: how many of its `descriptor.size` bytes are done.
    """

    what: str
    descriptor: Descriptor
    step: TransferStep
    done: int

    @property
    def is_done(self) -> bool:
        """True if the step is complete."""
        return self.done >= self.descriptor.size


TransferCallback = Callable[[TransferProgress], None]
"""A callback for the progress of a transfer. Several threads call it at the same time."""
