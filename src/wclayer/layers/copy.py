"""Every conversion of layers: a reader's entries into a writer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from wclayer.errors import during
from wclayer.layers.base import StoredStream
from wclayer.layers.progress import Cancelled, Progress, ProgressCallback, report
from wclayer.model import DataStream, LayerItem, LayerWriter

_REPORT_BYTES = 4 << 20
_REPORT_ENTRIES = 256


@during("copy layer")
def copy_layer(
    reader: Iterable[LayerItem],
    writer: LayerWriter,
    *,
    progress: ProgressCallback | None = None,
    cancelled: Cancelled | None = None,
) -> Progress:
    """Puts every entry of `reader` into `writer`; neither is closed.

    Args:
        progress: called from time to time, and at the end, with the same `Progress` each time.
        cancelled: called as often; the copy stops if it returns True.

    Returns:
        The number of entries and of bytes of their data streams.

    Raises:
        OperationCancelledError: `cancelled` returned True; leaving the writer's context then discards the layer.
        LayerError: the reader or the writer has failed.
    """
    state = Progress()
    next_bytes = _REPORT_BYTES

    def report_now() -> None:
        nonlocal next_bytes
        next_bytes = state.bytes + _REPORT_BYTES
        report(state, progress, cancelled)

    def counted(chunks: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
        for chunk in chunks:
            yield chunk
            state.bytes += len(chunk)
            if state.bytes >= next_bytes:
                report_now()

    def watched(streams: Iterator[DataStream]) -> Iterator[DataStream]:
        for stream in streams:
            stream.chunks = counted(stream.chunks)
            before = state.bytes
            yield stream
            if isinstance(stream, StoredStream) and state.bytes == before:
                # The writer has it copied, and did not read it.
                state.bytes += stream.size
                if state.bytes >= next_bytes:
                    report_now()

    watching = progress is not None or cancelled is not None
    for item in reader:
        entry = item.entry
        state.name = entry.name
        streams = item.streams()
        writer.put(entry, watched(streams) if watching else streams)
        state.entries += 1
        if watching:
            if not state.entries % _REPORT_ENTRIES:
                report_now()
        else:
            state.bytes += entry.size
    if watching:
        report_now()
    return state
