"""Transport folders: the on-disk form that ExportLayer writes and ImportLayer reads."""

from wclayer.layers.transport.reader import TransportLayerReader
from wclayer.layers.transport.writer import TransportLayerWriter

__all__ = ["TransportLayerReader", "TransportLayerWriter"]
