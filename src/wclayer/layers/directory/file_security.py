"""The security descriptors of files that lie in a layer directory and are no entries of it, as its disks are."""

from __future__ import annotations

from wclayer.layers.directory.layer import LayerDirectory

_FILE_SECURITY = "security:"


def file_security(layer: LayerDirectory, name: str) -> bytes | None:
    """Returns the descriptor of a file that is no entry, as `grant_vm_access` left it, or None."""
    kept = layer.record(security_record(name))
    return kept if isinstance(kept, bytes) else None


def security_record(name: str) -> str:
    r"""Returns the key of the record that keeps a file's descriptor.

    SQLite's text has no unpaired surrogates, and no name has a `\`.
    """
    return _FILE_SECURITY + name.encode("utf-8", "backslashreplace").decode()
