"""Layer directories: contents as plain files, and `layer.db` for what a POSIX file cannot hold."""

from wclayer.layers.directory.layer import LayerDirectory, is_layer
from wclayer.layers.directory.reader import DirectoryLayerReader
from wclayer.layers.directory.writer import DirectoryLayerWriter

__all__ = ["DirectoryLayerReader", "DirectoryLayerWriter", "LayerDirectory", "is_layer"]
