"""The OCI image layout: a directory, or a tar of one, that holds images (OCI image-spec, image-layout.md)."""

from wclayer.images.layout.archive_target import LayoutArchiveTarget
from wclayer.images.layout.named import NamedImage
from wclayer.images.layout.source import LayoutSource
from wclayer.images.layout.target import LayoutTarget

__all__ = ["LayoutArchiveTarget", "LayoutSource", "LayoutTarget", "NamedImage"]
