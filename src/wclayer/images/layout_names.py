"""The names of the files of an OCI image layout (OCI image-spec, image-layout.md)."""

from __future__ import annotations

INDEX_FILE = "index.json"
MARKER_FILE = "oci-layout"
BLOBS = "blobs"


def blob_name(digest: str) -> str:
    """Returns the name of a blob in a layout."""
    return f"{BLOBS}/sha256/{digest.removeprefix('sha256:')}"
