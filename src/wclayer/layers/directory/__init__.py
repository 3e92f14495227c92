"""Layer directories: contents as plain files, and `layer.db` for what a POSIX file cannot hold."""

from wclayer.layers.directory.folder import is_layer
from wclayer.layers.directory.layer import LayerDirectory
from wclayer.layers.directory.opening import open_layer
from wclayer.layers.directory.reader import DirectoryLayerReader
from wclayer.layers.directory.writer import DirectoryLayerWriter

__all__ = ["DirectoryLayerReader", "DirectoryLayerWriter", "LayerDirectory", "is_layer", "open_layer"]
