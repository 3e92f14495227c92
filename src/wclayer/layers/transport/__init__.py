"""Transport folders, which ExportLayer writes and ImportLayer reads."""

from wclayer.layers.transport.reader import TransportLayerReader
from wclayer.layers.transport.writer import TransportLayerWriter

__all__ = ["TransportLayerReader", "TransportLayerWriter"]
