"""`export_rootfs`: writes the merged file system of a chain as a plain tar, for tools that know nothing of layers."""

from __future__ import annotations

from dataclasses import dataclass

from wclayer._types import Chain, StrPath
from wclayer.errors import FormatError, InvalidDataError, during
from wclayer.layers.atomic import OutputFile
from wclayer.layers.directory.chain import with_parents
from wclayer.layers.names import NameChecker
from wclayer.layers.progress import Cancelled, Progress, ProgressCallback, report
from wclayer.model import DataStream, Entry, LayerItem
from wclayer.view.rootfs.links import LinkTargets
from wclayer.view.rootfs.plain_tar import PlainTar
from wclayer.view.rootfs.reader import LeftOut, RootfsReader
from wclayer.win32.attributes import FileAttributes
from wclayer.win32.names import path_key
from wclayer.win32.reparse import ReparseError, decode_reparse

_TOP_KEY = "FILES"
_REPORT_ENTRIES = 256


@dataclass(frozen=True, slots=True)
class RootfsResult:
    """What `export_rootfs` wrote."""

    entries: int
    """The number of members."""
    size: int
    """The bytes of the tar."""
    left_out: int
    """How often something that the tar cannot hold, or not as it is, was told."""


@during("export root file system")
def export_rootfs(
    layers: Chain,
    target: StrPath,
    *,
    left_out: LeftOut | None = None,
    progress: ProgressCallback | None = None,
    cancelled: Cancelled | None = None,
) -> RootfsResult:
    r"""Writes the file system that a container of the layers sees as a plain tar, which tools for other systems read.

    C: is the root: names begin with `Windows/…`. Deleted names are left out, and the registry hives in
    `Windows/System32/config` are the effective ones. Hard links stay hard links. Symbolic links and junctions become
    symbolic links with relative targets, in the spelling of the names that they lead to; none leads out of the unpacked
    tree. Files have the mode 644, or 444 if they are read-only, and directories 755; all belong to root. The same
    layers make the same bytes.

    The tar has no security descriptors, EAs, short names, attributes, and no other times than that of the last write.
    What else it cannot hold is told to `left_out`: alternate streams; the kind of reparse points that are no links,
    whose data is written; links out of C:, which then lead nowhere; names that are not Unicode, whose lone surrogates
    are written as three bytes each; changes of a hive that is damaged.

    The file appears, or replaces an existing one, when it is complete. A link is followed. A device, a FIFO and the
    standard output ("-") are written to directly.

    Args:
        layers: the layer, or the chain, nearest first. For a single layer, the chain that it records is used.
        target: the tar to write.
        left_out: called with the path of an entry or stream, and what is not in the tar, or not as it is.
        progress, cancelled: see `copy_layer`.

    Raises:
        PathNotFoundError: the folder of `target`, or a layer, does not exist.
        NotALayerError, CorruptLayerError: a layer cannot be opened.
        InvalidParameterError: the chain is in the wrong order; `target` lies in a layer.
        EntryIsDirectoryError: `target` is a directory.
        AccessDeniedError, DiskFullError: the host refuses to make the file, or has no space for it.
    """
    chain = with_parents(layers)
    losses = _Losses(left_out)
    state = Progress()
    with OutputFile(target, sources=chain) as output, RootfsReader(chain, losses) as reader:
        tar = PlainTar(output.stream)
        writer = _Writer(reader, tar, losses)
        for item in reader:
            state.name = item.entry.name
            writer.put(item)
            state.entries += 1
            state.bytes = tar.size
            if not state.entries % _REPORT_ENTRIES:
                report(state, progress, cancelled)
        tar.finish()
        report(state, progress, cancelled)
    return RootfsResult(writer.members, tar.size, losses.count)


class _Losses:
    """Counts what is left out, and tells the caller."""

    def __init__(self, tell: LeftOut | None) -> None:
        self._tell = tell
        self.count = 0

    def __call__(self, path: str, what: str) -> None:
        self.count += 1
        if self._tell is not None:
            self._tell(_inside(path), what)


def _inside(path: str) -> str:
    """Returns a path of the layer as one from the root of C:; a path that is not below that stays as it is."""
    top, _, rest = path.partition("/")
    return rest if path_key(top) == _TOP_KEY else path


class _Writer:
    """Turns the items of a merged tree into the members of a plain tar.

    Names are checked: no member may lie outside of the folder in which the tar is unpacked, or behind a link.
    """

    def __init__(self, reader: RootfsReader, tar: PlainTar, left_out: LeftOut) -> None:
        self._tar = tar
        self._left_out = left_out
        self._source = reader.source
        self._names = NameChecker(reader.source, is_base=True)
        self._targets = LinkTargets(reader.tree)
        self.members = 0
        """The number of members."""

    def put(self, item: LayerItem) -> None:
        """Adds a member for an item, unless it is the root itself."""
        entry = item.entry
        self._names.add(entry)
        if "/" in entry.name:
            self._add(entry, item)
            self.members += 1

    def _add(self, entry: Entry, item: LayerItem) -> None:
        assert entry.info is not None
        name, time = self._name(entry.name), entry.info.last_write_time
        if entry.link_target is not None:
            self._tar.add_hard_link(name, time, _encoded(_inside(entry.link_target)))
            return
        streams = item.streams()
        first = next(streams, None)
        target = None if entry.reparse is None else self._target(entry.name, entry.reparse)
        if target is not None:
            self._tar.add_symbolic_link(name, time, target)
        elif entry.info.is_directory:
            self._tar.add_directory(name, time)
        else:
            main = DataStream("", 0, ()) if first is None or first.name else first
            is_read_only = bool(entry.info.attributes & FileAttributes.READONLY)
            try:
                self._tar.add_file(name, time, main.size, main.chunks, is_read_only=is_read_only)
            except FormatError as error:
                raise InvalidDataError(self._source, f"entry {entry.name!r}: {error}") from None
            if main is first:
                first = None
        for stream in (*(() if first is None else (first,)), *streams):
            what = f"alternate stream {stream.name!r}" if stream.name else "data of the link"
            self._left_out(entry.name, f"the {what} ({stream.size} bytes) is left out")

    def _name(self, path: str) -> bytes:
        try:
            return _inside(path).encode()
        except UnicodeEncodeError:
            self._left_out(path, "the name is not Unicode; each of its lone surrogates is written as three bytes")
            return _encoded(_inside(path))

    def _target(self, path: str, reparse: bytes) -> bytes | None:
        """Returns the target of a symbolic link; None for an entry that becomes none."""
        target = self._targets.of(path, reparse)
        if target is None:
            self._left_out(path, f"the reparse point {_tag_name(reparse)} is left out")
            return None
        if target.leaves:
            self._left_out(
                path, f"leads out of C:, to {target.text.decode('utf-8', 'replace')}, and nowhere in the tar"
            )
        return target.text


def _tag_name(reparse: bytes) -> str:
    try:
        return decode_reparse(reparse).tag_name
    except ReparseError:
        return "(damaged)"


def _encoded(path: str) -> bytes:
    return path.encode("utf-8", "surrogatepass")
