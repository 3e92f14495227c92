"""The world in which operations are tried under faults, power cuts and kills: small layers with one of everything."""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import wclayer
from tests.images import forms, samples
from tests.support import copy_layer, directory, info, layer_tar, put_directories, put_file, put_files
from wclayer.formats.regf.empty import empty_root
from wclayer.formats.regf.model import KeyMetadata, TreeKey, Value
from wclayer.formats.regf.writer import write_hive
from wclayer.formats.vhd import structs as vhd
from wclayer.layers.directory import open_layer
from wclayer.layers.directory.scratch_layer import ScratchLayer
from wclayer.model import Entry, LayerWriter
from wclayer.win32.ea import ExtendedAttribute, encode_eas
from wclayer.win32.inherit import volume_root
from wclayer.win32.reparse import LinkTarget

MIB = 1 << 20
VOLUME = 16 * MIB
"""The size of the raw disks that are made."""
MANY = 600
"""So many small files that worker processes make them."""
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Where syncing costs nothing."""
KEY = "HKLM\\SOFTWARE\\Known"
"""A key that the base has, with the value `Level`."""
_DOCKERFILE = f"""\
# escape=`
ARG BASE=image:1
FROM $BASE
COPY app C:\\app
RUN reg add {KEY} /v Built /d yes && mkdir C:\\made
ENV BUILT=yes
"""
_TRIES = 100
_TIME = 133_500_000_000_000_000


@dataclass
class World:
    """Layers and files to work with; `place` is where results go, and what may be changed."""

    sources: Path
    place: Path

    @property
    def base(self) -> Path:
        return self.sources / "base"

    @property
    def scratch(self) -> Path:
        """A scratch on `base`, which may be changed: see `copy_scratch`."""
        return self.place / "scratch"

    @property
    def layer(self) -> Path:
        """Where an operation makes a layer."""
        return self.place / "layer"

    @property
    def out(self) -> Path:
        """Where an operation makes a file or folder that is no layer."""
        return self.place / "out"

    def remove(self) -> None:
        """Removes `place` with all that is in it, also what is mounted there."""
        mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        for at in reversed(mounts):
            if at.startswith(f"{os.path.realpath(self.place)}/"):
                subprocess.run(["umount", "-l", at], check=False)
        # A server whose mount was taken away closes its files meanwhile.
        for _ in range(_TRIES):
            shutil.rmtree(self.place, ignore_errors=True)
            if not self.place.exists():
                return
            time.sleep(0.05)
        shutil.rmtree(self.place)


def copy_scratch(world: World) -> None:
    """Gives the world a scratch of its own, which operations may change."""
    copy_layer(world.sources / "scratch", world.scratch)


def pool_is_clean(scratch: Path) -> None:
    """Checks that a scratch has no contents that no entry refers to."""
    with open_layer(scratch) as opened:
        assert isinstance(opened, ScratchLayer)
        kept = {row[0] for row in opened.query("SELECT host_name FROM entries WHERE host_name IS NOT NULL")}
        assert {f"/{path.decode()}" for path in opened.pool()} == kept


def make_sources(place: Path) -> None:
    """Puts what the operations read into a folder: a base layer in each of its forms, a child, a scratch, files."""
    (place / "base.tar").write_bytes(layer_tar(write_base))
    (place / "many.tar").write_bytes(layer_tar(write_many))
    (place / "child.tar").write_bytes(layer_tar(write_child))
    with (place / "base.tar").open("rb") as stream:
        wclayer.import_layer_from_tar(stream, place / "base")
    with (place / "many.tar").open("rb") as stream:
        wclayer.import_layer_from_tar(stream, place / "many")
    base = place / "base"
    for compression, ending in (("gzip", "gz"), ("zstd", "zst")):
        wclayer.export_layer_to_file(base, place / f"base.tar.{ending}", compression=compression)
    wclayer.export_layer(base, place / "transport")
    wclayer.convert_layer(base, place / "base.img", to="ntfs", size=VOLUME)
    wclayer.convert_disk(place / "base.img", place / "base.vhdx")
    (place / "base.vhd").write_bytes((place / "base.img").read_bytes() + _vhd_footer(VOLUME))
    wclayer.create_scratch_layer(place / "scratch", [base])
    with wclayer.LayerView(scratch=place / "scratch") as view:
        view.mkdir("C:\\app")
        view.write_bytes("C:\\app\\data", b"x" * 300_000)
        view.write_bytes("C:\\app\\data:stream", b"of the file")
        view.unlink("C:\\docs\\removed.txt")
        view.write_bytes("C:\\docs\\read me.txt", b"changed")
    (place / "plain" / "Files" / "docs").mkdir(parents=True)
    (place / "plain" / "Files" / "docs" / "a.txt").write_bytes(b"a" * 70_000)
    (place / "attached.txt").write_text("a file to attach")
    (place / "tree" / "below").mkdir(parents=True)
    for name in ("one", "two", "below/three"):
        (place / "tree" / name).write_bytes(name.encode() * 9_000)
    (place / "context" / "app").mkdir(parents=True)
    (place / "context" / "app" / "program.exe").write_bytes(b"MZ" * 20_000)
    (place / "context" / "Dockerfile").write_text(_DOCKERFILE)
    image = samples.image(
        "oci", [samples.layer(layer_tar(write_base), "oci")], [samples.step("Apply image 10.0.20348.1")], {"User": ""}
    )
    forms.write_layout(place / "layout", {"1": image})
    forms.write_layout_archive(place / "layout.tar", {"1": image})
    forms.write_docker_archive(place / "image.tar", {"image:1": image})
    _make_images(place / "images", place)
    (place / "auth.json").write_text('{"auths": {"localhost:5000": {"auth": "dXNlcjpwYXNzd29yZA=="}}}')
    text = f'Windows Registry Editor Version 5.00\r\n\r\n[{KEY}\\New]\r\n"a"="b"\r\n\r\n[-{KEY}\\Old]\r\n'
    (place / "advisories.xml").write_bytes(b"<cvrfdoc><DocumentTitle>Of a month</DocumentTitle></cvrfdoc>")
    (place / "edits.reg").write_bytes(b"\xff\xfe" + text.replace("HKLM", "HKEY_LOCAL_MACHINE").encode("utf-16-le"))


def _make_images(folder: Path, place: Path) -> None:
    """Makes a store with `image:1`, `child:1` that was built on it, and `image:2` that may be its base."""
    store = wclayer.ImageStore(folder)
    with wclayer.DockerArchiveSource(place / "image.tar") as source:
        wclayer.store_image(source, store, "image:1")
    wclayer.build_image(place / "context", "child:1", store, reproducible=True)
    added = wclayer.Additions(copies=[(place / "tree", "C:\\tree")])
    wclayer.append_image("image:1", added, "image:2", store, reproducible=True)


def write_base(writer: LayerWriter) -> None:
    """A base layer: hives, security, EAs, streams, links of each kind, a utility VM, contents of several sizes,
    a package of Node."""
    noise = random.Random(3)
    writer.put(Entry("Files", info(0x10), security=volume_root().encode()))
    config = "Files/Windows/System32/config"
    put_directories(writer, "Files/docs", "Files/Windows", "Files/Windows/System32", config)
    for name in ("DEFAULT", "SAM", "SECURITY", "SYSTEM"):
        put_file(writer, f"{config}/{name}")
    put_file(writer, f"{config}/SOFTWARE", _hive("Known"))
    put_file(writer, "Files/docs/read me.txt", b"text\r\n" * 2_000, stream=b"[ZoneTransfer]\r\n")
    put_files(writer, "Files/docs/removed.txt", "Files/docs/empty.txt")
    data = encode_eas([ExtendedAttribute(b"$KERNEL.PURGE.ESBCACHE", bytes(36))])
    writer.put(Entry("Files/docs/with eas.txt", info(), security=volume_root().encode(), eas=data), [])
    package = "Files/node_modules/known"
    put_directories(writer, "Files/node_modules", package)
    put_file(writer, f"{package}/package.json", b'{"name": "known", "version": "1.0.0"}')
    put_file(writer, "Files/Windows/large.dll", noise.randbytes(400_000))
    writer.put(Entry("Files/docs/linked.dll", info(), link_target="Files/Windows/large.dll"))
    for name, target, attributes in (("junction", "C:\\docs", 0x410), ("symbolic", "docs\\empty.txt", 0x420)):
        reparse = LinkTarget.from_path(target, is_mount_point=name == "junction").encode()
        writer.put(Entry(f"Files/{name}", info(attributes), reparse=reparse))
    for name in ("UtilityVM", "UtilityVM/Files"):
        writer.put(directory(name))
    path = "UtilityVM/Files"
    for name in ("EFI", "Microsoft", "Boot"):
        path = f"{path}/{name}"
        writer.put(directory(path))
    put_file(writer, f"{path}/BCD", _hive("Objects"))


def write_child(writer: LayerWriter) -> None:
    """A layer on the base: a file more, one changed, one removed, a link to one of the base."""
    writer.put(Entry("Files", info(0x10), security=volume_root().encode()))
    put_directories(writer, "Files/docs", "Files/app")
    put_file(writer, "Files/app/program.exe", b"MZ" * 20_000)
    put_file(writer, "Files/docs/read me.txt", b"of the child")
    writer.put(Entry("Files/app/linked.dll", info(), link_target="Files/Windows/large.dll"))
    writer.put(Entry("Files/docs/removed.txt", None))


def write_many(writer: LayerWriter) -> None:
    """A base layer of so many files that worker processes make them, and a stream that takes many rows."""
    put_directories(writer, "Files")
    put_file(writer, "Files/stream", b"x", stream=b"s" * 3_000_000)
    for number in range(MANY):
        put_file(writer, f"Files/{number}", b"x" * 900)


def _hive(name: str) -> bytes:
    """A hive with a key that has the value `Level` and a subkey `Old`."""
    root = empty_root(_TIME)
    key = TreeKey(name, KeyMetadata(_TIME, root.metadata.security))
    key.set(Value("Level", 4, b"\1\0\0\0"))
    key.add(TreeKey("Old", KeyMetadata(_TIME, root.metadata.security)))
    root.add(key)
    return write_hive(root)


def _vhd_footer(size: int) -> bytes:
    """Of a fixed VHD: what follows its data."""
    footer = vhd.Footer(
        b"conectix", 2, 0x10000, 0xFFFFFFFFFFFFFFFF, 0, b"test", 0x10000, b"Wi2k", size, size, 100, 4, 17, vhd.FIXED,
        0, bytes(range(16)), 0,
    )  # fmt: skip
    data, place = vhd.FOOTER.pack(*footer), vhd.FOOTER_CHECKSUM_OFFSET
    return data[:place] + struct.pack(">I", vhd.checksum(data, place)) + data[place + 4 :]
