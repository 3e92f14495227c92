"""Every conversion of layers: a reader's entries into a writer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from wclayer.errors import OperationCancelledError, during
from wclayer.model import DataStream, LayerReader, LayerWriter

ProgressCallback = Callable[["CopyProgress"], None]
_REPORT_BYTES = 4 << 20
_REPORT_ENTRIES = 256


@dataclass(slots=True)
class CopyProgress:
    """How far a copy has come: entries and bytes of data streams done, and the entry it is at."""

    entries: int = 0
    bytes: int = 0
    name: str = ""


@during("copy layer")
def copy_layer(
    reader: LayerReader,
    writer: LayerWriter,
    *,
    progress: ProgressCallback | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> CopyProgress:
    """Puts every entry of `reader` into `writer`; neither is closed.

    `progress` is called now and then, and at the end, with the same object each time. `cancelled` is asked as often.

    Raises:
        OperationCancelledError: `cancelled` said so; leaving the writer's context then discards the layer.
        LayerError: what the reader or the writer raises.
    """
    state = CopyProgress()
    next_bytes = _REPORT_BYTES

    def report() -> None:
        nonlocal next_bytes
        next_bytes = state.bytes + _REPORT_BYTES
        if progress is not None:
            progress(state)
        if cancelled is not None and cancelled():
            raise OperationCancelledError(state.name, "cancelled")

    def counted(chunks: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
        for chunk in chunks:
            yield chunk
            state.bytes += len(chunk)
            if state.bytes >= next_bytes:
                report()

    def watched(streams: Iterator[DataStream]) -> Iterator[DataStream]:
        for stream in streams:
            stream.chunks = counted(stream.chunks)
            yield stream

    watching = progress is not None or cancelled is not None
    while (entry := reader.next()) is not None:
        state.name = entry.name
        streams = reader.streams()
        writer.put(entry, watched(streams) if watching else streams)
        state.entries += 1
        if watching:
            if not state.entries % _REPORT_ENTRIES:
                report()
        else:
            state.bytes += entry.size
    if watching:
        report()
    return state
