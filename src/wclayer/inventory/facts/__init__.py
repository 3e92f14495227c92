"""The facts of a layer: what its inventory needs of it, in one small file, so that the layer is read only once."""
