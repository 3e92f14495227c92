"""What the layers of an image mean together, read with Python's tarfile and dissect: no code of the package is in it.

It is the measure for squash and rebase: two images are equal if their layers mean the same files and the same registry.
"""

from __future__ import annotations

import base64
import io
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TypeVar

from dissect.regf import RegistryHive
from dissect.regf.regf import KeyNode

CONFIG = "Files/Windows/System32/config"
HIVES = {"DefaultUser": "DEFAULT", "Sam": "SAM", "Security": "SECURITY", "Software": "SOFTWARE", "System": "SYSTEM"}
"""The hives: what the name of a delta begins with, and the name in a base layer."""
_WHITEOUT = ".wh."
_Item = TypeVar("_Item")
_TIMES = ("LIBARCHIVE.creationtime", "atime", "ctime")
_UNIX = 116_444_736_000_000_000
"""The FILETIME of 1970."""
_SURROGATE = 0x20000000
"""The bit of a reparse tag: the entry stands for another one, as a link does."""

# Files.

Metadata = tuple[tuple[str, str], ...]


@dataclass(eq=False)
class Node:
    """A file or a directory. Two names with the same node are hard links."""

    metadata: Metadata
    streams: dict[str, bytes] = field(default_factory=dict)
    children: dict[str, tuple[str, Node]] | None = None
    """What lies in a directory, by the name in upper case; None for a file and a link."""


@dataclass(frozen=True)
class Layer:
    """The members of a layer's tar."""

    deleted: tuple[str, ...]
    """The paths of the whiteouts."""
    members: tuple[tuple[tarfile.TarInfo, bytes], ...]
    hives: dict[str, RegistryKey]
    """The deltas, or the hives of a base layer, by the name of the delta without its ending."""

    @classmethod
    def read(cls, tar: bytes) -> Layer:
        """Reads the tar, uncompressed."""
        deleted: list[str] = []
        members: list[tuple[tarfile.TarInfo, bytes]] = []
        hives: dict[str, RegistryKey] = {}
        places = {f"Hives/{stem}_Delta": stem for stem in HIVES} | {
            f"{CONFIG}/{name}": stem for stem, name in HIVES.items()
        }
        with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
            for member in opened:
                file = opened.extractfile(member) if member.isreg() else None
                data = b"" if file is None else file.read()
                parent, _, name = member.name.rstrip("/").rpartition("/")
                if name.startswith(_WHITEOUT):
                    deleted.append(f"{parent}/{name.removeprefix(_WHITEOUT)}")
                    continue
                if (stem := places.get(member.name)) is not None and data:
                    hives[stem] = RegistryKey.read(data)
                if member.name in places:
                    # What the hives hold is compared by itself.
                    data = b""
                if not (member.name + "/").startswith("Hives/"):
                    members.append((member, data))
        return cls(tuple(deleted), tuple(members), hives)


def files_of(layers: Sequence[Layer]) -> Node:
    """Returns what layers show together, base layer first."""
    root = Node((), children={})
    for layer in layers:
        _apply(root, layer)
    return root


def _apply(root: Node, layer: Layer) -> None:
    # A link may lead to a file that the same layer deletes: that is how a file is renamed.
    targets = {member.linkname: find(root, member.linkname) for member, _ in layer.members if member.islnk()}
    for path in layer.deleted:
        directory = find(root, path.rpartition("/")[0])
        if directory is not None and directory.children is not None:
            directory.children.pop(path.rpartition("/")[2].upper(), None)
    own: dict[str, Node] = {}
    for member, data in layer.members:
        parent, _, name = member.name.rstrip("/").rpartition("/")
        if ":" in name:
            name, _, stream = name.partition(":")
            own[f"{parent}/{name}".upper()].streams[stream] = data
            continue
        directory = find(root, parent)
        assert directory is not None, member.name
        assert directory.children is not None, member.name
        if member.islnk():
            node = own.get(member.linkname.upper()) or targets[member.linkname]
            assert node is not None, member.name
        else:
            node = Node(_metadata(member), {"": data} if member.isreg() else {})
            if member.isdir() and not _is_link(member):
                there = directory.children.get(name.upper())
                node.children = {} if there is None or there[1].children is None else there[1].children
        own[member.name.rstrip("/").upper()] = node
        directory.children[name.upper()] = name, node


def targets_stay(layers: Sequence[Layer]) -> bool:
    """Returns whether each hard link is a name of the file that its target means in the end."""
    root = Node((), children={})
    made: list[tuple[str, Node]] = []
    for layer in layers:
        _apply(root, layer)
        links = (member for member, _ in layer.members if member.islnk())
        made += [(member.linkname, node) for member in links if (node := find(root, member.name)) is not None]
    return all(find(root, target) is node for target, node in made)


def linked_names(layers: Sequence[Layer]) -> set[str]:
    """Returns the paths of the hard links of layers, in upper case.

    The tar of a link repeats the metadata of its file. After a rebase, they may be those of an earlier file.
    """
    return {member.name.upper() for layer in layers for member, _ in layer.members if member.islnk()}


def lost_links(below: Sequence[Layer], layers: Sequence[Layer]) -> set[str]:
    """Returns the hard links of layers to files that the layers below do not show: those of the lowest layer with such
    links."""
    for number, layer in enumerate(layers):
        shown = files_of([*below, *layers[:number]])
        made, lost = set[str](), set[str]()
        for member, _ in layer.members:
            if member.islnk() and member.linkname.upper() not in made:
                target = find(shown, member.linkname)
                if target is None or is_directory(target):
                    lost.add(member.name)
            made.add(member.name.upper())
        if lost:
            return lost
    return set()


def find(root: Node, path: str) -> Node | None:
    node = root
    for name in filter(None, path.split("/")):
        if node.children is None or name.upper() not in node.children:
            return None
        node = node.children[name.upper()][1]
    return node


def _is_link(member: tarfile.TarInfo) -> bool:
    """Whether an entry stands for another one, so that nothing lies in it."""
    reparse = base64.b64decode(member.pax_headers.get("WCLAYER.reparse", ""))
    return member.issym() or bool(int.from_bytes(reparse[:4], "little") & _SURROGATE)


def _metadata(member: tarfile.TarInfo) -> Metadata:
    """What the tar says of an entry: kind, times, and the records of Windows."""
    records = {key: value for key, value in member.pax_headers.items() if key.startswith(("MSWINDOWS.", "WCLAYER."))}
    records |= {key: member.pax_headers.get(key, "") for key in _TIMES}
    records["mtime"] = member.pax_headers.get("mtime", str(int(member.mtime)))
    kind = "directory" if member.isdir() else "link" if member.issym() else "file"
    return (("kind", kind), ("target", member.linkname if member.issym() else ""), *sorted(records.items()))


def basic_info(metadata: Metadata) -> tuple[int, ...]:
    """Returns the attributes of an entry, and when it was made, read, written and changed, as FILETIMEs."""
    records = dict(metadata)
    times = (Decimal(records[name]) for name in ("LIBARCHIVE.creationtime", "atime", "mtime", "ctime"))
    return int(records["MSWINDOWS.fileattr"]), *(int(time * 10**7) + _UNIX for time in times)


def security(metadata: Metadata) -> bytes | None:
    """Returns the security descriptor of an entry."""
    descriptor = dict(metadata).get("MSWINDOWS.rawsd")
    return None if descriptor is None else base64.b64decode(descriptor)


def described(root: Node, *, links: bool = True) -> dict[str, object]:
    """Returns everything below a directory as plain values by path; with `links` also which names are of one file."""
    found: dict[str, object] = {}
    names: dict[int, list[str]] = {}
    for path, node in walk(root):
        found[path] = node.metadata, tuple(sorted(node.streams.items()))
        if node.children is None:
            names.setdefault(id(node), []).append(path)
    if links:
        found["links"] = sorted(sorted(each) for each in names.values() if len(each) > 1)
    return found


def walk(node: Node, path: str = "") -> Iterator[tuple[str, Node]]:
    """Yields everything below a directory with its path."""
    for name, child in (node.children or {}).values():
        below = f"{path}/{name}" if path else name
        yield below, child
        yield from walk(child, below)


# The registry.


@dataclass(frozen=True)
class RegistryKey:
    """A key of a hive, as it is stored: `semantics` and `inherits_class` are those of a delta."""

    name: str
    security: bytes
    class_name: str
    flags: int
    written: int
    semantics: int
    inherits_class: bool
    values: dict[str, tuple[str, int, bytes] | None]
    """Name, type and data by the name in upper case; None for a tombstone."""
    below: dict[str, RegistryKey]

    @classmethod
    def read(cls, data: bytes) -> RegistryKey:
        """Reads a hive."""
        hive = RegistryHive(io.BytesIO(data))
        return cls._of(hive, hive.root())

    @classmethod
    def _of(cls, hive: RegistryHive, key: KeyNode) -> RegistryKey:
        cell = key.cell
        descriptor = b""
        if cell.Security != -1:
            # "Key security": 20 bytes, whose last four are the size of the descriptor that follows.
            stored = hive.cell_data(cell.Security)
            descriptor = stored[20 : 20 + int.from_bytes(stored[16:20], "little")]
        layered = cell.Spare >> 8 & 0xFF
        values = {
            value.name.upper(): None if value.cell.Flags & 2 else (value.name, int(value.type), value.data)
            for value in key.values()
        }
        below = {child.name.upper(): cls._of(hive, child) for child in key.subkeys()}
        # Without "how the node is stored": the compressed name, the root.
        flags = int(cell.Flags) & ~0x24
        return cls(
            key.name, descriptor, key.class_name or "", flags, cell.LastWriteTime, layered & 3, bool(layered & 0x80),
            values, below,
        )  # fmt: skip


NORMAL, TOMBSTONE, SUPERSEDE_LOCAL, SUPERSEDE_TREE = range(4)


def over(base: RegistryKey | None, delta: RegistryKey | None) -> RegistryKey | None:
    """Returns a key with what a delta does to it (docs/formats/registry.md, "Merging")."""
    if delta is None:
        return base
    if delta.semantics == TOMBSTONE:
        return None
    above = None if delta.semantics == SUPERSEDE_TREE else base
    shown = None if delta.semantics == SUPERSEDE_LOCAL else above
    values = {} if shown is None else dict(shown.values)
    values |= delta.values
    below = {} if above is None else dict(above.below)
    for name, child in delta.below.items():
        made = over(below.get(name), child)
        below.pop(name, None)
        if made is not None:
            below[name] = made
    return replace(
        delta,
        class_name="" if delta.inherits_class and shown is None else shown.class_name if delta.inherits_class and shown
        else delta.class_name,
        written=delta.written if shown is None else max(delta.written, shown.written),
        semantics=NORMAL, inherits_class=False,
        values={name: value for name, value in values.items() if value is not None}, below=below,
    )  # fmt: skip


def registry_of(layers: Sequence[Layer]) -> dict[str, RegistryKey | None]:
    """Returns the hives that layers have together, base layer first."""
    found: dict[str, RegistryKey | None] = dict.fromkeys(HIVES)
    for layer in layers:
        for stem, hive in layer.hives.items():
            made = over(found[stem], hive)
            # What the root of a hive is called says nothing.
            found[stem] = None if made is None else replace(made, name="")
    return found


# Which tombstones something needs.


def needless_whiteouts(below: Sequence[Layer], top: Layer) -> list[str]:
    """Returns the whiteouts of a layer without which everything would be the same.

    A whiteout beside an entry of another kind (a file in the place of a directory) is not among them: programs that
    unpack a layer over another one may need it. Nor is that of a directory that is made anew and hides something: the
    layer may happen to have all those names itself.
    """
    before, after = files_of(below), files_of([*below, top])
    expected, found = described(after), []
    for number, path in enumerate(top.deleted):
        less = replace(top, deleted=top.deleted[:number] + top.deleted[number + 1 :])
        hidden, shown = find(before, path), find(after, path)
        if (
            hidden is not None
            and shown is not None
            and (is_directory(hidden) != is_directory(shown) or hidden.children)
        ):
            continue
        if described(files_of([*below, less])) == expected:
            found.append(path)
    return found


def is_directory(node: Node) -> bool:
    """Returns whether an entry has the attribute of a directory. A link to one has it, too."""
    return bool(basic_info(node.metadata)[0] & 0x10)


def needless_tombstones(below: Sequence[Layer], top: Layer) -> list[str]:
    """Returns the tombstones of a layer's deltas without which the registry would be the same."""
    bases, found = registry_of(below), []
    for stem, delta in top.hives.items():
        expected = over(bases[stem], delta)
        found += [f"{stem}{path}" for path, less in _without_one(delta, "") if over(bases[stem], less) == expected]
    return found


def _without_one(key: RegistryKey, path: str) -> Iterator[tuple[str, RegistryKey]]:
    """Yields a delta without one of its tombstones, for each of them."""
    for name, value in key.values.items():
        if value is None:
            yield f"{path}, value {name}", replace(key, values=_less(key.values, name))
    for name, child in key.below.items():
        if child.semantics == TOMBSTONE:
            yield f"{path}\\{name}", replace(key, below=_less(key.below, name))
        for deeper, less in _without_one(child, f"{path}\\{name}"):
            yield deeper, replace(key, below={**key.below, name: less})


def _less(items: dict[str, _Item], name: str) -> dict[str, _Item]:
    return {key: item for key, item in items.items() if key != name}
