"""OCI Windows layers as tar streams."""

from wclayer.layers.tar.reader import TarLayerReader
from wclayer.layers.tar.writer import TarLayerWriter

__all__ = ["TarLayerReader", "TarLayerWriter"]
