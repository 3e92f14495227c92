"""Whole images: references, manifests, archives, registries and the local store."""
