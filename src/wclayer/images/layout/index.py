"""The index of a layout (`index.json`), the indexes in it, and what refers to an image of the layout."""

from __future__ import annotations

import threading

from wclayer.errors import FormatError, FormatLimitError, limit_hint
from wclayer.images.descriptor import Descriptor
from wclayer.images.json_view import parse_json
from wclayer.images.layout.files import LayoutFiles
from wclayer.images.layout.named import names_of
from wclayer.images.layout_names import INDEX_FILE, MARKER_FILE
from wclayer.images.manifest import Index, Manifest, check_contents, check_manifest_size, parse_manifest, referrer_of
from wclayer.model import limits_in_use

_VERSION = "1.0."
_MAX_DEPTH = 8


class LayoutIndex:
    """What a layout says that it holds.

    Args:
        files: the files of the layout.

    Raises:
        FormatError: it is no layout, or one of another version.
        FormatLimitError: the index is larger than `manifest_size`.
    """

    def __init__(self, files: LayoutFiles) -> None:
        self._files = files
        check_marker(files)
        data = files.document(INDEX_FILE)
        if data is None:
            raise FormatError(f"there is no {INDEX_FILE!r}, so it is not an OCI image layout")
        self.entries = entries_of(data)
        self._by_name: dict[str, list[Descriptor]] = {}
        for entry in self.entries:
            for name in names_of(entry):
                self._by_name.setdefault(name, []).append(entry)
        self._lock = threading.Lock()
        self._subjects: dict[str, dict[str, Descriptor]] | None = None

    def nested(self) -> list[Descriptor]:
        """Returns the entries of all indexes in the layout that are there, at any depth. Each index is read once.

        Raises:
            FormatError: an index is damaged, or indexes are nested too deeply.
            FormatLimitError: there are more entries than the limit `archive_members`.
        """
        most = limits_in_use().archive_members
        found: list[Descriptor] = []
        seen: set[str] = set()
        level = [entry for entry in self.entries if entry.is_index]
        for _ in range(_MAX_DEPTH):
            below: list[Descriptor] = []
            for descriptor in level:
                if descriptor.digest in seen or self._files.blob_size(descriptor.digest) is None:
                    continue
                seen.add(descriptor.digest)
                index = parse_manifest(self.read(descriptor), descriptor.media_type)
                assert isinstance(index, Index)
                below += index.manifests
                if len(found) + len(below) > most:
                    raise FormatLimitError(f"the indexes have more than {most} entries {limit_hint('archive_members')}")
            if not below:
                return found
            found += below
            level = [entry for entry in below if entry.is_index]
        raise FormatError(f"indexes are nested more than {_MAX_DEPTH} deep")

    def read(self, descriptor: Descriptor) -> bytes:
        """Returns the bytes of a manifest or an index of the layout, verified.

        Raises:
            FileNotFoundError: the layout does not have it.
            FormatError: the bytes have another size or digest.
            FormatLimitError: it is larger than the limit `manifest_size`.
        """
        return read_document(self._files, descriptor)

    def referrers(self, descriptor: Descriptor) -> list[Descriptor]:
        """Returns the manifests of the layout whose subject is a manifest.

        They are entries of the index, or of an index that is called by the digest of the subject ("sha256-HEX", the
        referrers tag schema of the distribution-spec).
        """
        with self._lock:
            if self._subjects is None:
                self._subjects = {}
                for entry in {each.digest: each for each in self.entries}.values():
                    self._note_referrer(entry, self._subjects)
            found = dict(self._subjects.get(descriptor.digest, {}))
        for entry in self._by_name.get(descriptor.digest.replace(":", "-"), []):
            listed: dict[str, dict[str, Descriptor]] = {}
            for item in self._listed(entry):
                self._note_referrer(item, listed)
            found |= listed.get(descriptor.digest, {})
        return list(found.values())

    def _listed(self, entry: Descriptor) -> tuple[Descriptor, ...]:
        """Returns the entries of an index of the layout."""
        if not entry.is_index or self._files.blob_size(entry.digest) is None:
            return ()
        index = parse_manifest(self.read(entry), entry.media_type)
        assert isinstance(index, Index)
        return index.manifests

    def _note_referrer(self, entry: Descriptor, subjects: dict[str, dict[str, Descriptor]]) -> None:
        """Notes a manifest under the digest of its subject, if it has one."""
        if not entry.is_manifest or self._files.blob_size(entry.digest) is None:
            return
        manifest = parse_manifest(self.read(entry), entry.media_type)
        if isinstance(manifest, Manifest) and manifest.subject is not None:
            subjects.setdefault(manifest.subject.digest, {})[entry.digest] = referrer_of(manifest)


def entries_of(data: bytes) -> tuple[Descriptor, ...]:
    """Returns the entries of an `index.json`.

    Raises:
        FormatError: it is not an index.
        FormatLimitError: it is larger than the limit `manifest_size`.
    """
    check_manifest_size(len(data))
    view = parse_json(data, INDEX_FILE)
    if view.record.get("schemaVersion", 2) != 2:
        raise FormatError(f"{INDEX_FILE}: schemaVersion is {str(view.record['schemaVersion'])[:20]}, not 2")
    return tuple(Descriptor.from_json(item) for item in view.views("manifests"))


def check_marker(files: LayoutFiles) -> None:
    """Checks the file that makes a directory a layout.

    Raises:
        FormatError: it is missing, or names another version than 1.0.
    """
    data = files.document(MARKER_FILE)
    if data is None:
        raise FormatError(f"there is no {MARKER_FILE!r}, so it is not an OCI image layout")
    version = parse_json(data, MARKER_FILE).text("imageLayoutVersion")
    if not version.startswith(_VERSION):
        raise FormatError(f"{MARKER_FILE}: the version of the layout is {version[:20]!r}; only 1.0 is known")


def read_document(files: LayoutFiles, descriptor: Descriptor) -> bytes:
    """Returns the bytes of a manifest, an index or a configuration, verified (see `LayoutIndex.read`)."""
    size = files.blob_size(descriptor.digest)
    if size is None:
        raise FileNotFoundError(2, f"{descriptor.digest} is not there")
    check_manifest_size(size)
    with files.open_blob(descriptor.digest) as stream:
        return check_contents(stream.read(size + 1), descriptor)
