"""The security descriptors of files in a layer directory that are not entries of the layer, such as its disks."""

from __future__ import annotations

from wclayer.layers.directory.layer import LayerDirectory

_FILE_SECURITY = "security:"


def file_security(layer: LayerDirectory, name: str) -> bytes | None:
    """Returns the descriptor that `grant_vm_access` set on a file that is not an entry, or None."""
    kept = layer.record(security_record(name))
    return kept if isinstance(kept, bytes) else None


def security_record(name: str) -> str:
    r"""Returns the key of the record that keeps a file's descriptor.

    SQLite's text has no unpaired surrogates, and no name has a `\`.
    """
    return _FILE_SECURITY + name.encode("utf-8", "backslashreplace").decode()
