r"""Makes an image of the size and the shape of Windows Server Core: a base layer and an update on top of it.

At scale 1 the two layers have more than 100,000 entries and 4 GB of files. As in Microsoft's image, most files of the
base have a further name in the component store (`Windows\WinSxS`), a third of the files is less than 4 KiB long,
programs have EAs with hints for their catalogues, descriptors repeat, and the base has hives, junctions, alternate
streams and a utility VM. The update brings new versions with component folders of their own, deletes names, and changes
the registry. Entries come in the order in which a walk of the directories finds them, so the first name of a file has
the data and the later ones are links, as hcsshim exports them.

The tars are written by this project's own writer, which lays headers out as Go's `archive/tar` does. gzip is one stream
of zlib at level 6 with blocks of as many symbols as those of Go's `compress/flate`, and the header of Go's
`compress/gzip`, as Docker writes it. Nothing depends on the time or on the machine.
"""

from __future__ import annotations

import hashlib
import json
import random
import zlib
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import BinaryIO, cast

from benchmarks.material import LARGE, Material, Piece, forget_pools, made_material, public_material
from wclayer.formats.regf.delta import delta_of
from wclayer.formats.regf.empty import empty_root
from wclayer.formats.regf.model import TreeKey, Value
from wclayer.formats.regf.writer import write_hive
from wclayer.layers.hives import LAYER_HIVES
from wclayer.layers.tar import TarLayerWriter
from wclayer.model import DataStream, Entry
from wclayer.win32.attributes import FileBasicInfo
from wclayer.win32.ea import ExtendedAttribute, encode_eas
from wclayer.win32.filetime import UNIX_EPOCH
from wclayer.win32.inherit import inherited, volume_root
from wclayer.win32.reparse import LinkTarget
from wclayer.win32.sddl import from_sddl
from wclayer.win32.sid import TRUSTED_INSTALLER

VERSION = 1
"""Counts the changes of what is written: another version is another image."""
_TIME = 133_000_000_000_000_000
_SECOND = 10_000_000
_GO_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_GO_SYMBOLS = 8
"""zlib's memory level with which a block ends after as many symbols as a block of Go's `compress/flate`."""
_WINDOWS = "Files/Windows"
_STORE = f"{_WINDOWS}/WinSxS"


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much a layer holds at scale 1."""

    files: int
    bytes: int
    keys: int
    """Keys of its hive SOFTWARE, or those that change."""


BASE = Sizes(files=46_000, bytes=3_700_000_000, keys=120_000)
UPDATE = Sizes(files=10_500, bytes=900_000_000, keys=6_000)


@dataclass(slots=True)
class _Planned:
    """An entry of the plan. Of file, directory, link and tombstone it is what its fields say."""

    name: str
    piece: Piece | None = None
    use: int = 0
    link: str | None = None
    data: bytes | None = None
    reparse: bytes | None = None
    security: int = 0
    component: int = 0
    streams: tuple[tuple[str, bytes], ...] = ()
    has_hint: bool = False
    is_directory: bool = False
    is_tombstone: bool = False


@dataclass(slots=True)
class Layer:
    """A layer of the image as it is on disk, and what is known of it."""

    name: str
    folder: Path
    entries: int = 0
    files: int = 0
    links: int = 0
    directories: int = 0
    content: int = 0
    tar_size: int = 0
    tar_sha256: str = ""
    gzip_size: int = 0
    gzip_sha256: str = ""

    @property
    def tar(self) -> Path:
        return self.folder / f"{self.name}.tar"

    @property
    def gzip(self) -> Path:
        return self.folder / f"{self.name}.tar.gz"


@dataclass(slots=True)
class Image:
    """The image: its layers, the base first."""

    layers: list[Layer] = field(default_factory=list)

    @property
    def base(self) -> Layer:
        return self.layers[0]

    @property
    def update(self) -> Layer:
        return self.layers[1]


NOTHING_MADE = Image([Layer("base", Path()), Layer("update", Path())])
"""An image of which nothing is made yet, to name what could be done with one."""


# A name of a file: the folder where it is, with the part of all files that are there, of a hundred.
_PLACES = (
    (f"{_WINDOWS}/System32", 16),
    (f"{_WINDOWS}/System32/drivers", 3),
    (f"{_WINDOWS}/System32/en-US", 8),
    (f"{_WINDOWS}/System32/wbem", 3),
    (f"{_WINDOWS}/System32/DriverStore/FileRepository/#.inf_amd64_#", 9),
    (f"{_WINDOWS}/System32/WindowsPowerShell/v1.0/Modules/#", 5),
    (f"{_WINDOWS}/SysWOW64", 11),
    (f"{_WINDOWS}/Microsoft.NET/Framework64/v4.0.30319", 5),
    (f"{_WINDOWS}/Microsoft.NET/assembly/GAC_MSIL/#/v4.0_4.0.0.0__31bf3856ad364e35", 8),
    (f"{_WINDOWS}/assembly/NativeImages_v4.0.30319_64/#", 5),
    (f"{_WINDOWS}/servicing/Packages", 9),
    (f"{_WINDOWS}/INF", 3),
    (f"{_WINDOWS}/Fonts", 1),
    ("Files/Program Files/Common Files/microsoft shared/#", 3),
    ("Files/Program Files (x86)/#", 2),
    (f"{_STORE}/Manifests", 9),
)
_UNLINKED = (f"{_STORE}/Manifests", f"{_WINDOWS}/servicing/Packages", f"{_WINDOWS}/assembly")
"""Places whose files have no further name in the component store."""
_COMPONENT_FILES = 3
"""The files of a component folder, on average."""
_SECOND_LINK = 0.12
"""The part of linked files that have a third name, for another language."""
_JUNCTIONS = (
    ("Files/Documents and Settings", "C:\\Users"),
    ("Files/ProgramData/Application Data", "C:\\ProgramData"),
    ("Files/ProgramData/Desktop", "C:\\Users\\Public\\Desktop"),
    ("Files/ProgramData/Documents", "C:\\Users\\Public\\Documents"),
    ("Files/ProgramData/Start Menu", "C:\\ProgramData\\Microsoft\\Windows\\Start Menu"),
    ("Files/ProgramData/Templates", "C:\\ProgramData\\Microsoft\\Windows\\Templates"),
    ("Files/Users/Default User", "C:\\Users\\Default"),
    ("Files/Users/Default/Application Data", "C:\\Users\\Default\\AppData\\Roaming"),
    ("Files/Users/Default/Cookies", "C:\\Users\\Default\\AppData\\Local\\Microsoft\\Windows\\INetCookies"),
    ("Files/Users/Default/Local Settings", "C:\\Users\\Default\\AppData\\Local"),
    ("Files/Users/Default/My Documents", "C:\\Users\\Default\\Documents"),
    ("Files/Users/Default/NetHood", "C:\\Users\\Default\\AppData\\Roaming\\Microsoft\\Windows\\Network Shortcuts"),
    ("Files/Users/Default/Recent", "C:\\Users\\Default\\AppData\\Roaming\\Microsoft\\Windows\\Recent"),
    ("Files/Users/Default/SendTo", "C:\\Users\\Default\\AppData\\Roaming\\Microsoft\\Windows\\SendTo"),
)
_SYMBOLIC_LINKS = (("Files/Users/All Users", "C:\\ProgramData"),)


@lru_cache(maxsize=1024)
def _security(number: int, is_directory: bool) -> bytes:
    """One of some hundred descriptors. Most entries have one of the first, which are those of `C:\\` and of Windows."""
    if number == 0:
        return inherited(volume_root().encode(), is_directory)
    rights = "(A;;FA;;;SY)(A;;FA;;;BA)" if number % 3 == 0 else "(A;;0x1200a9;;;SY)(A;;0x1200a9;;;BA)"
    own = f"(A;;0x1200a9;;;S-1-5-80-{number * 7919}-{number}-3-4-{number % 11})" if number > 2 else ""
    text = (
        f"O:{TRUSTED_INSTALLER}G:{TRUSTED_INSTALLER}D:PAI(A;;FA;;;{TRUSTED_INSTALLER}){rights}{own}"
        "(A;;0x1200a9;;;BU)(A;;0x1200a9;;;AC)(A;;0x1200a9;;;S-1-15-2-2)S:AI(AU;SAFA;DCLCRPCRSDWDWO;;;WD)"
    )
    return from_sddl(text).encode()


def _info(attributes: int, component: int, use: int) -> FileBasicInfo:
    """Times: files of one component were made at one moment, and written when they were built."""
    made = _TIME + component * 37 * _SECOND + component % 9973 * 1009
    written = made - 400 * 86_400 * _SECOND - use * 3_600 * _SECOND - (component * 7907) % 864_000 * _SECOND
    return FileBasicInfo(attributes, made, made + 86_400 * _SECOND + 7, written, made + 2_345_678)


class _Plan:
    """The entries of one layer.

    Args:
        material: what files are made of.
        sizes: how much the layer holds.
        scale: the part of it that is wanted.
        seed: another one gives other files.
        parent: the plan of the base, for an update.
    """

    def __init__(self, material: Material, sizes: Sizes, scale: float, seed: int, parent: _Plan | None = None) -> None:
        self._chance = random.Random(seed)
        self._seed = seed
        self._uses: dict[Piece, int] = {}
        self._by_name: dict[str, _Planned] = {}
        self.hives: list[tuple[str, bytes]] = []
        self._parent = parent
        self._files(material, max(int(sizes.files * scale), 40), int(sizes.bytes * scale))
        keys = max(int(sizes.keys * scale), 50)
        if parent is None:
            self._links_of_users()
            self._base_hives(keys)
            self._utility_vm()
        else:
            self._tombstones(parent, max(int(600 * scale), 5))
            self._delta_hives(keys)
        for name in list(self._by_name):
            self._directories(name)

    def _files(self, material: Material, files: int, size: int) -> None:
        """Files, their folders and links. Large and small pieces alternate so that both sums are met."""
        large = [piece for piece in material.pieces if piece.size >= LARGE]
        small = [piece for piece in material.pieces if piece.size < LARGE]
        # An update begins elsewhere in the material than the base.
        counts = {True: self._seed * 997, False: self._seed * 997}
        done = component = left = 0
        for number in range(files):
            # The small ones that are still to come take their bytes, too.
            is_large = bool(large) and done * files < size * number
            pool = large if is_large else small
            piece = pool[counts[is_large] % len(pool)]
            use = counts[is_large] // len(pool)
            counts[is_large] += 1
            done += piece.size
            if not left:
                component += 1
                left = 1 + int(self._chance.random() * (2 * _COMPONENT_FILES - 1))
            left -= 1
            self._file(number, piece, use, component)

    def _file(self, number: int, piece: Piece, use: int, component: int) -> None:
        random_ = self._chance.random
        where = self._place(component)
        stem, dot, ending = piece.name.rpartition(".")
        name = f"{stem}{number % 997 or ''}{dot}{ending}"
        if f"{where}/{name}" in self._by_name:
            name = f"{stem}-{number}{dot}{ending}"
        names = [f"{where}/{name}"]
        if not where.startswith(_UNLINKED) and random_() < 0.85:
            names.append(f"{_STORE}/{self._component_folder(component)}/{name}")
            if random_() < _SECOND_LINK:
                names.append(f"{_WINDOWS}/SystemResources/{component % 40:02d}/{name}")
        names.sort(key=_walk_order)
        first = names[0]
        security = int(3 * random_()) if random_() < 0.8 else 3 + int(300 * random_() ** 2)
        planned = _Planned(first, piece, use, security=security, component=component)
        planned.has_hint = piece.is_program and random_() < 0.4
        if random_() < 0.004:
            planned.streams = (("Zone.Identifier", b"[ZoneTransfer]\r\nZoneId=3\r\n"),)
        self._by_name[first] = planned
        for other in names[1:]:
            self._by_name[other] = _Planned(other, link=first, security=security, component=component)

    def _place(self, component: int) -> str:
        chosen = self._chance.random() * 100
        found = _PLACES[-1][0]
        for place, share in _PLACES:
            chosen -= share
            if chosen < 0:
                found = place
                break
        # Components with one number modulo a prime share a folder.
        return found.replace("#", f"microsoft.windows.{component % 1499:04x}")

    def _component_folder(self, component: int) -> str:
        digest = hashlib.sha256(f"{component} {self._seed}".encode()).hexdigest()[:16]
        processor = "wow64" if component % 5 == 0 else "amd64"
        build = f"10.0.20348.{1 + self._seed * 2031}"
        name = f"{processor}_microsoft-windows-{component % 1499:04x}-{component:05d}"
        return f"{name}_31bf3856ad364e35_{build}_none_{digest}"

    def _links_of_users(self) -> None:
        """The junctions and the symbolic link of every Windows. Their targets are directories of the layer."""
        for links, is_mount_point in ((_JUNCTIONS, True), (_SYMBOLIC_LINKS, False)):
            for name, target in links:
                reparse = LinkTarget.from_path(target, is_mount_point=is_mount_point).encode()
                self._by_name[name] = _Planned(name, reparse=reparse, is_directory=True)
                self._add_directory("Files/" + target[3:].replace("\\", "/"))

    def _utility_vm(self) -> None:
        boot = "UtilityVM/Files/EFI/Microsoft/Boot"
        self._by_name[f"{boot}/BCD"] = _Planned(f"{boot}/BCD", data=write_hive(empty_root(UNIX_EPOCH)))
        # Each twentieth file is in the utility VM, too.
        for index, planned in enumerate(list(self._by_name.values())):
            if planned.piece is not None and index % 20 == 0 and planned.name.startswith(f"{_WINDOWS}/System32"):
                name = f"UtilityVM/{planned.name}"
                self._by_name[name] = _Planned(
                    name, planned.piece, planned.use, security=planned.security, component=planned.component
                )

    def _base_hives(self, keys: int) -> None:
        for hive in LAYER_HIVES:
            # SOFTWARE is by far the largest; SYSTEM is a sixth of it; the others are small.
            count = {"SOFTWARE": keys, "SYSTEM": keys // 6}.get(hive.config_name, min(keys, 200))
            data = write_hive(_keys(count, 0), file_name=hive.config_name)
            self._by_name[hive.config] = _Planned(hive.config, data=data)

    def _delta_hives(self, keys: int) -> None:
        for hive in LAYER_HIVES:
            count = keys if hive.config_name in ("SOFTWARE", "SYSTEM") else 10
            delta = delta_of(_keys(count, 0), _keys(count, 1))
            assert delta is not None
            self._by_name[hive.delta] = _Planned(hive.delta, data=write_hive(delta, has_layered_keys=True))

    def _tombstones(self, parent: _Plan, count: int) -> None:
        """Old component folders that the update removes."""
        found = sorted(name for name in parent.directories() if name.startswith(f"{_STORE}/amd64"))
        for name in found[:: max(1, len(found) // count)][:count]:
            self._by_name[name] = _Planned(name, is_tombstone=True)

    def _directories(self, name: str) -> None:
        above = name.rpartition("/")[0]
        while above and above not in self._by_name:
            self._add_directory(above)
            above = above.rpartition("/")[0]

    def _add_directory(self, name: str) -> None:
        if name not in self._by_name:
            component = int(hashlib.sha256(name.encode()).hexdigest()[:6], 16) % 12_000
            self._by_name[name] = _Planned(name, is_directory=True, security=component % 3, component=component)

    def directories(self) -> list[str]:
        return [name for name, planned in self._by_name.items() if planned.is_directory]

    def in_order(self) -> list[_Planned]:
        """The entries in the order of a walk."""
        return sorted(self._by_name.values(), key=lambda planned: _walk_order(planned.name))


def _walk_order(name: str) -> list[str]:
    return name.split("/")


def _keys(count: int, state: int) -> TreeKey:
    """A hive with `count` keys like those of classes; another state has other values in each third of them."""
    root = empty_root(UNIX_EPOCH)
    for number in range(0, count, 40):
        group = TreeKey(f"Group{number:06d}")
        root.add(group)
        for inner in range(number, min(number + 40, count)):
            key = TreeKey(f"{{{inner * 2_654_435_761 % (1 << 32):08X}-A1B2-4C3D-9E8F-{inner:012X}}}")
            text = f"C:\\Windows\\System32\\component{inner}.dll" if inner % 3 else f"state {state} of {inner}"
            key.set(Value("", 1, text.encode("utf-16-le") + b"\0\0"))
            key.set(Value("ThreadingModel", 1, "Both".encode("utf-16-le") + b"\0\0"))
            group.add(key)
    return root


@lru_cache(maxsize=4096)
def _hint(component: int) -> bytes:
    """The EA by which Windows finds the catalogue of a program."""
    name = f"Microsoft-Windows-Component-{component % 900}-Package~31bf3856ad364e35~amd64~~10.0.20348.1.cat"
    value = b"\x01\x00" + len(name).to_bytes(2, "little") + name.encode()
    return encode_eas([ExtendedAttribute(b"$CI.CATALOGHINT", value)])


class _Output:
    """Takes the bytes of a tar: writes them, compressed too, and hashes both."""

    def __init__(self, tar: BinaryIO, packed: BinaryIO) -> None:
        self._tar, self._packed = tar, packed
        self._deflate = zlib.compressobj(6, zlib.DEFLATED, -15, _GO_SYMBOLS)
        self._hashes = hashlib.sha256(), hashlib.sha256()
        self._crc = 0
        self.sizes = [0, 0]
        self._put(_GO_GZIP_HEADER)

    def _put(self, data: bytes) -> None:
        self._packed.write(data)
        self._hashes[1].update(data)
        self.sizes[1] += len(data)

    def write(self, data: bytes) -> int:
        self._tar.write(data)
        self._hashes[0].update(data)
        self.sizes[0] += len(data)
        self._crc = zlib.crc32(data, self._crc)
        self._put(self._deflate.compress(data))
        return len(data)

    def flush(self) -> None:
        """For the writer of tars, which asks for it."""

    def finish(self) -> list[str]:
        """Ends the stream; returns both digests."""
        self._put(self._deflate.flush())
        self._put(self._crc.to_bytes(4, "little") + (self.sizes[0] & 0xFFFFFFFF).to_bytes(4, "little"))
        return [one.hexdigest() for one in self._hashes]


def _write(layer: Layer, plan: _Plan, material: Material) -> Layer:
    """Writes the tar and the compressed tar of a plan; returns the layer with what is known of it."""
    with layer.tar.open("wb") as tar, layer.gzip.open("wb") as packed:
        output = _Output(tar, packed)
        with TarLayerWriter(cast("BinaryIO", output), layer.tar) as writer:
            for planned in plan.in_order():
                entry, data = _entry(planned, material)
                streams = [DataStream("", len(data), (data,))] if entry.has_data else []
                streams += [DataStream(name, len(more), (more,)) for name, more in planned.streams]
                writer.put(entry, iter(streams))
                layer.entries += 1
                layer.files += entry.has_data
                layer.links += entry.link_target is not None
                layer.directories += entry.is_directory
                layer.content += len(data)
        layer.tar_sha256, layer.gzip_sha256 = output.finish()
        layer.tar_size, layer.gzip_size = output.sizes
    return layer


def _entry(planned: _Planned, material: Material) -> tuple[Entry, bytes]:
    if planned.is_tombstone:
        return Entry(planned.name, None), b""
    security = _security(planned.security, planned.is_directory)
    if planned.is_directory:
        attributes = 0x2416 if planned.reparse is not None else 0x10
        info = _info(attributes, planned.component, 0)
        return Entry(planned.name, info, security=security, reparse=planned.reparse), b""
    info = _info(0x20, planned.component, planned.use)
    if planned.link is not None:
        return Entry(planned.name, info, security=security, link_target=planned.link), b""
    data = planned.data
    if data is None:
        assert planned.piece is not None
        data = material.data(planned.piece, planned.use)
    eas = _hint(planned.component) if planned.has_hint else b""
    return Entry(planned.name, info, len(data), security=security, eas=eas), data


def _make_layer(number: int, folder: Path, scale: float, is_made: bool) -> Layer:
    """One layer, in a process of its own."""
    material = (made_material if is_made else public_material)(folder)
    base = _Plan(material, BASE, scale, 0)
    if number == 0:
        return _write(Layer("base", folder), base, material)
    return _write(Layer("update", folder), _Plan(material, UPDATE, scale, 1, base), material)


_FIELDS = ("entries", "files", "links", "directories", "content", "tar_size", "tar_sha256", "gzip_size", "gzip_sha256")


def image(folder: Path, scale: float = 1, *, is_made: bool = False, say: Callable[[str], object] = print) -> Image:
    """Returns the image in the folder, which is made there if it is not there yet; its digests are checked.

    Args:
        folder: takes the layers, and what is downloaded.
        scale: the part of the image that is wanted, 1 for all.
        is_made: True for material that needs no network.
        say: takes a line about what takes long.
    """
    stamp = folder / "image.json"
    wanted = {"version": VERSION, "scale": scale, "made": is_made}
    if stamp.exists() and (known := json.loads(stamp.read_text()))["of"] == wanted:
        found = Image([Layer(name, folder, **fields) for name, fields in known["layers"].items()])
        _check(found)
        return found
    stamp.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    say(f"making the image in {folder}: this takes minutes")
    (made_material if is_made else public_material)(folder)
    # In processes of their own: two cores compress, and the memory of this one stays small.
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        made = Image(list(pool.map(_make_layer, (0, 1), (folder,) * 2, (scale,) * 2, (is_made,) * 2)))
    known = {layer.name: {name: getattr(layer, name) for name in _FIELDS} for layer in made.layers}
    stamp.write_text(json.dumps({"of": wanted, "layers": known}, indent=1))
    forget_pools(folder)
    return made


def _check(found: Image) -> None:
    for layer in found.layers:
        for path, digest in ((layer.tar, layer.tar_sha256), (layer.gzip, layer.gzip_sha256)):
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                    raise SystemExit(f"{path} is not what was made; remove {path.parent / 'image.json'} and try again")
