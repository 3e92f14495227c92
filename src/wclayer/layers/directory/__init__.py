"""Layer directories: contents as plain files, and `layer.db` for what a POSIX file cannot hold.

`reader` and `writer` have the reader and the writer. They are not loaded with the package: a program that looks into a
layer needs neither of them.
"""

from wclayer.layers.directory.folder import is_layer
from wclayer.layers.directory.layer import LayerDirectory
from wclayer.layers.directory.opening import open_layer

__all__ = ["LayerDirectory", "is_layer", "open_layer"]
