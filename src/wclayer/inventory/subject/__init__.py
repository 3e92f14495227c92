"""What is inventoried, as collectors see it: files, a registry and documents, each with the layer that brought it."""
