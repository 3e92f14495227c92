"""`Dataset`: the tables of a fleet at a path or a URL.

    fleet.json                          the version of the tables, and how many buckets there are
    images/bucket=00f/HASH.parquet      the images of a bucket; packages/, updates/, registry/, findings/ likewise
    files/HEX.parquet                   the entries of a layer, HEX being the digest of its blob
    layers/layers.parquet               all layers

The images whose digests begin with the same bits are in one bucket. A bucket is replaced as a whole: HASH is the hash
of its rows in all tables, and the file in `images/` is written last. So the rows of a bucket are those whose HASH is in
`images/`; what a killed writer left has another one, and no reader of this package sees it. `settle` removes it.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, groupby
from typing import Any, NamedTuple

from wclayer._types import StrPath
from wclayer.errors import InvalidDataError, InvalidParameterError, PathNotFoundError, boundary
from wclayer.fleet.tables import parquet
from wclayer.fleet.tables.schema import (
    BUCKETED,
    FILES,
    IMAGES,
    LAYERS,
    OF_IMAGES,
    SCHEMA_VERSION,
    TABLES,
    FileRow,
    FindingRow,
    ImageRow,
    LayerRow,
    PackageRow,
    RegistryRow,
    Table,
    UpdateRow,
)
from wclayer.fleet.tables.writing import sole_writer
from wclayer.images.descriptor import check_digest
from wclayer.images.json_view import parse_json
from wclayer.layers.object_folder import ObjectFolder

FLEET = "fleet.json"
_FORMAT = "wclayer-fleet"
_LAYERS = "layers/layers.parquet"
_FEWEST, _MOST, _IMAGES_OF_BUCKET = 16, 4096, 128
"""Of buckets, and about how many images one gets: a query opens the file of each bucket, a change writes all of one."""
_MOST_JSON = 1 << 20
_BUCKET_FILE = re.compile(r"[a-z]+/bucket=([0-9a-f]{3})/([0-9a-f]{16})\.parquet")
_FILES_FILE = re.compile(r"files/([0-9a-f]{64})\.parquet")


class _Document(NamedTuple):
    """What `fleet.json` says."""

    version: int
    buckets: int


@dataclass
class BucketRows:
    """The rows of a bucket: its images, and what they hold. The order of the rows does not matter."""

    images: list[ImageRow] = field(default_factory=list)
    packages: list[PackageRow] = field(default_factory=list)
    updates: list[UpdateRow] = field(default_factory=list)
    registry: list[RegistryRow] = field(default_factory=list)
    findings: list[FindingRow] = field(default_factory=list)

    def of(self, table: Table) -> list[Any]:
        """Returns the rows of a table."""
        rows: list[Any] = getattr(self, table.name)
        return rows


@boundary
class Dataset:
    """The tables of a fleet. It can be pickled: the unpickled one is the same place.

    One scan at a time may change them (`locked`); any number of processes may read, and the processes of one scan may
    write different buckets and layers at the same time.

    Args:
        url: a path, or a URL that fsspec knows.

    Raises:
        NotSupportedError: fsspec does not know the URL.
    """

    operation = "use fleet"

    def __init__(self, url: StrPath) -> None:
        self.folder = ObjectFolder(url)
        self.path = self.folder.url
        self._buckets: int | None = None

    def __reduce__(self) -> tuple[object, ...]:
        return Dataset, (self.path,)

    # The place as a whole.

    def create(self, images: int) -> None:
        """Makes the tables if there are none. Tables of an older version are removed, and made anew.

        Args:
            images: about how many images there are: the number of buckets, which never changes, is chosen by it.

        Raises:
            NotSupportedError: a newer wclayer made the tables.
            InvalidDataError: `fleet.json` is damaged.
        """
        document = self._document()
        if document is not None and document.version < SCHEMA_VERSION:
            for table in TABLES:
                for name in self.folder.names(table.name):
                    self.folder.remove(name)
            document = None
        if document is None:
            buckets = bucket_count(images)
            with self.folder.new_file(FLEET) as stream:
                text = json.dumps({"format": _FORMAT, "version": SCHEMA_VERSION, "buckets": buckets}, indent=2)
                stream.write(f"{text}\n".encode())
        self._buckets = None

    def exists(self) -> bool:
        """Returns whether there are tables.

        Raises:
            InvalidDataError: `fleet.json` is damaged.
            NotSupportedError: a newer wclayer made the tables.
        """
        return self._document() is not None

    @property
    def buckets(self) -> int:
        """How many buckets there are.

        Raises:
            PathNotFoundError: there are no tables.
            NotSupportedError: another version of wclayer made them.
            InvalidDataError: `fleet.json` is damaged.
        """
        if self._buckets is None:
            document = self._document()
            if document is None:
                raise PathNotFoundError(self.path, f"there is no {FLEET}: it holds no fleet; scan into it first")
            parquet.check_version(str(document.version), self.folder.place(FLEET))
            self._buckets = document.buckets
        return self._buckets

    @contextmanager
    def locked(self) -> Iterator[None]:
        """A context manager: no other scan changes the tables meanwhile.

        Raises:
            LayerBusyError: another scan does.
        """
        with sole_writer(self.folder):
            yield

    # Buckets.

    def bucket_of(self, image: str) -> int:
        """Returns the bucket of an image.

        Args:
            image: the digest of its manifest; for a reference without one, the reference.
        """
        head = image.removeprefix("sha256:")[:3]
        if not image.startswith("sha256:") or not re.fullmatch("[0-9a-f]{3}", head):
            head = hashlib.sha256(image.encode("utf-8", "surrogatepass")).hexdigest()[:3]
        return int(head, 16) * self.buckets // _MOST

    def hashes(self) -> dict[int, str]:
        """Returns the buckets that there are, each with the hash of its rows, by one listing."""
        found: dict[int, str] = {}
        for name in self.folder.names(IMAGES.name):
            if match := _BUCKET_FILE.fullmatch(name):
                # There are two after a kill: both are complete.
                found.setdefault(int(match[1], 16), match[2])
        return found

    def read_bucket(self, bucket: int) -> BucketRows:
        """Returns the rows of a bucket; none if there is no such bucket."""
        rows = BucketRows()
        for hash_ in self._hashes_of(bucket)[:1]:
            for table in BUCKETED:
                rows.of(table).extend(self._rows(table, _bucket_file(table, bucket, hash_)))
        return rows

    def read_images(self) -> Iterator[ImageRow]:
        """Yields the rows of all images, bucket by bucket."""
        for bucket, hash_ in self.hashes().items():
            yield from self._rows(IMAGES, _bucket_file(IMAGES, bucket, hash_))

    def replace_bucket(self, bucket: int, rows: BucketRows) -> None:
        """Replaces all rows of a bucket in one step; a bucket without images is removed.

        If the bucket has these rows already, nothing is written. When they were made (`scanned`) does not count.

        Args:
            bucket: the number of the bucket.
            rows: all that it shall have.

        Raises:
            InvalidParameterError: an image is not one of the bucket, or a row is of an image that is not there.
        """
        self._check_rows(bucket, rows)
        before = self._hashes_of(bucket)
        if not rows.images:
            self._remove_bucket(bucket, before)
            return
        contents = {table: _parquet(table, rows.of(table)) for table in BUCKETED}
        hash_ = _hash_of_rows(contents, rows.images)
        names = {table: _bucket_file(table, bucket, hash_) for table in BUCKETED}
        if before == [hash_] and all(map(self.folder.exists, names.values())):
            return
        for table, data in contents.items():
            with self.folder.new_file(names[table]) as stream:
                stream.write(data)
        self._remove_bucket(bucket, [old for old in before if old != hash_])

    # Layers.

    def file_layers(self) -> set[str]:
        """Returns the digests of the layers whose entries are there, by one listing."""
        return {
            f"sha256:{found[1]}" for name in self.folder.names(FILES.name) if (found := _FILES_FILE.fullmatch(name))
        }

    def write_files(self, layer: str, rows: Iterable[FileRow], summary: Mapping[str, object]) -> None:
        """Writes the entries of a layer. They appear at the end; until then, not more than a row group is in memory.

        Args:
            layer: the digest of its blob.
            rows: its entries, in the order in which they are kept.
            summary: what `layer_summary` returns.
        """
        more = {parquet.LAYER_KEY: json.dumps(dict(summary), sort_keys=True).encode()}
        with self.folder.new_file(_files_file(layer)) as stream:
            parquet.write_rows(FILES, rows, stream, more)

    def read_files(self, layer: str) -> Iterator[FileRow]:
        """Yields the entries of a layer.

        Raises:
            PathNotFoundError: they are not there.
        """
        yield from self._rows(FILES, _files_file(layer))

    def layer_summary(self, layer: str) -> dict[str, Any]:
        """Returns the summary that was written with the entries of a layer.

        Raises:
            PathNotFoundError: they are not there.
            InvalidDataError: the file is damaged.
        """
        name = _files_file(layer)
        with self.folder.open(name) as stream:
            footer = parquet.read_footer(stream, self.folder.place(name))
        return parse_json(footer.get(parquet.LAYER_KEY, b""), "the layer's summary").record

    def remove_files(self, layer: str) -> None:
        """Removes the entries of a layer, if they are there."""
        self.folder.remove(_files_file(layer))

    def read_layers(self) -> list[LayerRow]:
        """Returns the rows of all layers; none before the first scan has ended."""
        return list(self._rows(LAYERS, _LAYERS)) if self.folder.exists(_LAYERS) else []

    def write_layers(self, rows: Iterable[LayerRow]) -> None:
        """Replaces the rows of all layers in one step. Their order does not matter."""
        with self.folder.new_file(_LAYERS) as stream:
            parquet.write_rows(LAYERS, _in_order(LAYERS, rows), stream)

    # What is there, for other readers and for the next scan.

    def places(self, table: Table) -> list[str]:
        """Returns the paths or URLs of the Parquet files that are a table, in order, by one listing for each folder."""
        hashes = self.hashes() if table in BUCKETED else {}
        return [self.folder.place(name) for name in _names_of(table, self.folder.names(table.name), hashes)]

    def parquet_files(self) -> dict[Table, dict[str, int]]:
        """Returns the Parquet files of all tables: their names in `folder`, in order, with their sizes in bytes.

        Each table is listed once.

        Raises:
            PathNotFoundError: there are no tables, no scan has ended, or a file is missing.
            NotSupportedError: another version of wclayer made the tables.
            InvalidDataError: `fleet.json` is damaged.
        """
        if self.buckets and not self.folder.exists(_LAYERS):
            raise PathNotFoundError(self.folder.place(_LAYERS), "is not there: no scan has ended; scan again")
        hashes = self.hashes()
        found: dict[Table, dict[str, int]] = {}
        for table in TABLES:
            sizes = self.folder.names(table.name)
            names = _names_of(table, sizes, hashes)
            for name in names:
                if name not in sizes:
                    raise PathNotFoundError(
                        self.folder.place(name),
                        "is not there: a scan replaces it now, or it was removed; ask again, or scan again",
                    )
            found[table] = {name: sizes[name] for name in names}
        return found

    def settle(self) -> None:
        """Removes what killed writers left, and buckets of which somebody else has removed a file.

        No other scan may be running (`locked`).
        """
        self.folder.remove_leftovers("")
        hashes = self.hashes()
        names = {table: self.folder.names(table.name) for table in reversed(BUCKETED)}
        whole = {
            bucket: hash_
            for bucket, hash_ in hashes.items()
            if all(_bucket_file(table, bucket, hash_) in names[table] for table in BUCKETED)
        }
        # Those of images go first: until then, the others may be theirs.
        for name in chain.from_iterable(names.values()):
            found = _BUCKET_FILE.fullmatch(name)
            if found and whole.get(int(found[1], 16)) != found[2]:
                self.folder.remove(name)

    def _document(self) -> _Document | None:
        """Returns what `fleet.json` says; None if it is not there."""
        place = self.folder.place(FLEET)
        try:
            with self.folder.open(FLEET) as stream:
                data = stream.read(_MOST_JSON)
        except FileNotFoundError:
            return None
        document = parse_json(data, place)
        version = document.number("version")
        if document.text("format") != _FORMAT or version < 1:
            raise InvalidDataError(place, f"is not the {FLEET} of a fleet; choose another place, or remove it")
        if version > SCHEMA_VERSION:
            parquet.check_version(str(version), place)
        buckets = document.number("buckets")
        if not (0 < buckets <= _MOST and _MOST % buckets == 0):
            raise InvalidDataError(place, f"states {buckets} buckets; a power of 2 up to {_MOST} is needed")
        return _Document(version, buckets)

    def _rows(self, table: Table, name: str) -> Iterator[Any]:
        with self.folder.open(name) as stream:
            yield from parquet.read_rows(table, stream, self.folder.place(name))

    def _hashes_of(self, bucket: int) -> list[str]:
        names = self.folder.names(_bucket_folder(IMAGES, bucket))
        return [found[2] for name in names if (found := _BUCKET_FILE.fullmatch(name))]

    def _remove_bucket(self, bucket: int, hashes: Iterable[str]) -> None:
        for hash_ in hashes:
            for table in reversed(BUCKETED):
                self.folder.remove(_bucket_file(table, bucket, hash_))

    def _check_rows(self, bucket: int, rows: BucketRows) -> None:
        if not 0 <= bucket < self.buckets:
            raise InvalidParameterError(self.path, f"there is no bucket {bucket}; there are {self.buckets}")
        for image in rows.images:
            if self.bucket_of(image.image or image.reference) != bucket:
                raise InvalidParameterError(self.path, f"{image.reference} is not an image of bucket {bucket}")
        known = {image.image for image in rows.images}
        for table in OF_IMAGES:
            for row in rows.of(table):
                if row.image not in known:
                    raise InvalidParameterError(self.path, f"{table.name}: {row.image} is not among the images")


def bucket_count(images: int) -> int:
    """Returns how many buckets a fleet gets, for about how many images it has."""
    wanted = max(_FEWEST, -(-images // _IMAGES_OF_BUCKET))
    return min(_MOST, 1 << (wanted - 1).bit_length())


def _bucket_folder(table: Table, bucket: int) -> str:
    return f"{table.name}/bucket={bucket:03x}"


def _bucket_file(table: Table, bucket: int, hash_: str) -> str:
    return f"{_bucket_folder(table, bucket)}/{hash_}.parquet"


def _names_of(table: Table, names: Iterable[str], hashes: Mapping[int, str]) -> list[str]:
    """Returns the names of the files that a table is.

    Args:
        table: the table.
        names: the names of the files in its folder.
        hashes: the buckets that there are.
    """
    if table in BUCKETED:
        return [_bucket_file(table, bucket, hash_) for bucket, hash_ in hashes.items()]
    return [name for name in names if name == _LAYERS or _FILES_FILE.fullmatch(name)]


def _files_file(layer: str) -> str:
    return f"{FILES.name}/{check_digest(layer, 'the layer').removeprefix('sha256:')}.parquet"


def _in_order(table: Table, rows: Iterable[Any]) -> list[Any]:
    """Returns rows in an order that does not depend on the one they had."""
    order = [table.row._fields.index(name) for name in table.order]

    def key(row: Any) -> list[str]:
        return [row[number] or "" for number in order]

    found: list[Any] = []
    for _, group in groupby(sorted(rows, key=key), key):
        equal = list(group)
        found += sorted(equal, key=repr) if len(equal) > 1 else equal
    return found


def _parquet(table: Table, rows: Iterable[Any]) -> bytes:
    stream = io.BytesIO()
    parquet.write_rows(table, _in_order(table, rows), stream)
    return stream.getvalue()


def _hash_of_rows(contents: Mapping[Table, bytes], images: Iterable[ImageRow]) -> str:
    """Returns the hash of a bucket, which does not depend on when its rows were made."""
    digest = hashlib.sha256(_parquet(IMAGES, [image._replace(scanned=None) for image in images]))
    for table in OF_IMAGES:
        digest.update(contents[table])
    return digest.hexdigest()[:16]
