"""Transport folder to layer, and to a transport folder and a tar again: the same entries.

An input describes a folder: a byte that says whether the layer has a parent, then files. A file is a byte for its kind,
its path with its length (1 byte) before it, and its contents with their length (2 bytes).
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from random import Random

from fuzz.mutators.plain import is_rare, mutate_bytes, overwrite
from fuzz.operations.choices import Choices
from fuzz.operations.ground import (
    Content,
    RefusedError,
    base_layer,
    build_base,
    contents,
    expect,
    expect_equal,
    expect_sound,
    fresh,
    layer_contents,
    refusing_cleanly,
    tar_of,
)
from fuzz.operations.tars import build_child, build_rich
from wclayer.engines.portable.engine import export_layer, export_layer_to_tar, import_layer, import_layer_from_tar
from wclayer.errors import InvalidDataError, NotALayerError, NotSupportedError
from wclayer.layers.transport.layout import DIRECTORY_SUFFIX, TOMBSTONES
from wclayer.layers.transport.reader import TransportLayerReader
from wclayer.win32.names import name_key

_FILE, _DIRECTORY, _HARD_LINK, _LINK, _FIFO = range(5)
_NAMES = (
    b"Files", b"Files/a", b"Files/A", b"Files/d", b"Files/d/b", b"Files/D", b"Hives", b"Hives/x", b"UtilityVM",
    b"UtilityVM/Files", b"UtilityVM/Files/x", b"Files/$Recycle.Bin", b"files", b"Files/\xff", b"Files/\xed\xb2\x80",
    b"Files/n" + b"n" * 239, b"Files/x:y", b"Files/x.", b"tombstones.txt", b"Files/\xc3\x84", b"Files/\xc3\xa4",
)  # fmt: skip
_TOMBSTONES = (b"\\a", b"\\d\\b", b"\\D\\B", b"\\l", b"\\..\\x", b"\\x", b"", b"\\d\\", b"a", b"\\\xc3\x84")
_LONGEST = 12 << 10
_BIN = name_key("Files/$Recycle.Bin")
_LINK_LENGTH = 3
"""Of the content of a hard link, which has its name, its facts and its target."""
_MOST = 64


def transport(data: bytes) -> None:
    """The data describes a transport folder."""
    choices = Choices(data)
    parents = [base_layer()] if choices.byte() & 1 else []
    with fresh() as folder:
        source, layer = folder / "source", folder / "layer"
        source.mkdir()
        _unpack(choices, source)
        before = _listing(source)
        with refusing_cleanly(folder, documented=(InvalidDataError, NotALayerError)):
            import_layer(layer, source, parents)
        expect(_listing(source) == before, "the source was changed")
        expect_sound(layer)
        known = layer_contents(layer)
        _as_tar(folder, layer, parents, known)
        _as_folder(folder, layer, parents, known)


def _as_tar(folder: Path, layer: Path, parents: list[Path], known: list[Content]) -> None:
    raw = io.BytesIO()
    export_layer_to_tar(raw, layer)
    again = folder / "from-tar"
    try:
        with refusing_cleanly(folder):
            import_layer_from_tar(io.BytesIO(raw.getvalue()), again, parents)
    except RefusedError as refusal:
        raise AssertionError(f"the tar of an imported layer is refused: {refusal.__cause__}") from refusal
    expect_equal(layer_contents(again), known, "as a tar, the layer holds other entries")


def _as_folder(folder: Path, layer: Path, parents: list[Path], known: list[Content]) -> None:
    target, again = folder / "target", folder / "again"
    with refusing_cleanly(folder, documented=(NotSupportedError,)):
        export_layer(layer, target)
    try:
        with refusing_cleanly(folder):
            import_layer(again, target, parents)
    except RefusedError as refusal:
        raise AssertionError(f"the transport folder of an imported layer is refused: {refusal.__cause__}") from refusal
    expect_equal(_comparable(again), _comparable(layer), "as a transport folder, the layer holds other entries")


def _comparable(layer: Path) -> list[Content]:
    """What both have in common: the host has no place for all of the times, the order is that of the folder, which
    always has `Files` and `Hives`, and which of a file's names is the first is the order's, too."""
    # The bin, of which a folder has what a file says that is a directory, is left out where it is one.
    found = [content for content in layer_contents(layer, times=False) if name_key(str(content[0])) != _BIN]
    by_name = {str(content[0]): content for content in found if len(content) != _LINK_LENGTH}
    names: dict[str, list[str]] = {}
    plain = []
    for content in found:
        if len(content) == _LINK_LENGTH:
            names.setdefault(str(content[2]), [str(content[2])]).append(str(content[0]))
    for content in found:
        name = str(content[0])
        if len(content) != _LINK_LENGTH and name not in names and name not in ("Files", "Hives"):
            plain.append(content)
    plain += [(tuple(sorted(all_names)), *by_name.get(first, (first,))[1:]) for first, all_names in names.items()]
    return sorted(plain, key=repr)


def _unpack(choices: Choices, folder: Path) -> None:
    """Makes the folder; what the host cannot make is left out."""
    for _ in range(_MOST):
        if not choices:
            break
        kind, path, data = choices.below(5), choices.block(), choices.block(wide=True)
        # A NUL ends an input's path for the host, and nothing is made outside of the folder.
        if b"\0" in path or path.startswith(b"/") or b".." in path.split(b"/"):
            continue
        place = os.fsencode(folder) + b"/" + path
        try:
            if kind == _FILE:
                with open(place, "xb") as file:
                    file.write(data)
            elif kind == _DIRECTORY:
                os.mkdir(place)
            elif kind == _HARD_LINK and b".." not in data.split(b"/") and not data.startswith(b"/"):
                os.link(os.fsencode(folder) + b"/" + data, place, follow_symlinks=False)
            elif kind == _LINK:
                os.symlink(data, place)
            elif kind == _FIFO:
                os.mkfifo(place)
        except (OSError, ValueError):
            continue


def pack_folder(folder: Path, *, has_parent: bool) -> bytes:
    """The input that describes a folder."""
    out = [bytes([has_parent])]
    known: dict[int, bytes] = {}
    for place in sorted(folder.rglob("*"), key=lambda path: (not path.is_dir(), os.fsencode(path))):
        status = place.stat()
        kind, data = _DIRECTORY, b""
        if place.is_file():
            kind, data = _FILE, place.read_bytes()
            if status.st_nlink > 1:
                if (first := known.get(status.st_ino)) is not None:
                    kind, data = _HARD_LINK, first
                else:
                    known[status.st_ino] = os.fsencode(place.relative_to(folder))
        out.append(_file(kind, os.fsencode(place.relative_to(folder)), data))
    return b"".join(out)


def _file(kind: int, path: bytes, data: bytes) -> bytes:
    path, data = path[:255], data[:_LONGEST]
    return bytes([kind, len(path)]) + path + len(data).to_bytes(2, "little") + data


def _listing(folder: Path) -> list[tuple[str, int, int, int]]:
    found = []
    for place, _, names in os.walk(folder):
        for name in names:
            status = os.lstat(os.path.join(place, name))
            found.append((os.path.join(place, name), status.st_mode, status.st_size, status.st_mtime_ns))
    return sorted(found)


def mutate_transport(data: bytes, chance: Random, most: int) -> bytes:
    """The description of a folder with one file changed, renamed, added, removed, or of another kind."""
    if is_rare(chance) or len(data) < 2:
        return mutate_bytes(data, chance, most)
    choices = Choices(data[1:])
    files: list[tuple[int, bytes, bytes]] = []
    while choices and len(files) < _MOST:
        files.append((choices.below(5), choices.block(), choices.block(wide=True)))
    at = chance.randrange(len(files))
    kind, path, content = files[at]
    action = chance.randrange(8)
    if action == 0:
        files.insert(chance.randrange(len(files)), files.pop(at))
    elif action == 1:
        files.insert(at, (kind, chance.choice(_NAMES), content))
    elif action == 2:
        del files[at]
    elif action == 3:
        files[at] = (chance.randrange(5), path, chance.choice(files)[1])
    elif action == 4:
        suffix = DIRECTORY_SUFFIX.encode()
        files[at] = (kind, path.removesuffix(suffix) if path.endswith(suffix) else path + suffix, content)
    elif path == TOMBSTONES.encode() and action < 7:
        lines = content.split(b"\r\n")
        lines.insert(chance.randrange(1, len(lines) + 1), chance.choice(_TOMBSTONES))
        files[at] = (kind, path, b"\r\n".join(lines))
    elif action < 7:
        files[at] = (kind, path, overwrite(content, chance))
    else:
        files[at] = (kind, path, mutate_bytes(content, chance, _LONGEST))
    return (data[:1] + b"".join(_file(*file) for file in files))[:most]


def transport_seeds() -> list[bytes]:
    """Folders that were exported of layers."""
    seeds = []
    with fresh() as folder:
        for number, (build, parents) in enumerate(((build_rich, []), (build_base, []), (build_child, [base_layer()]))):
            layer, target = folder / f"layer{number}", folder / f"transport{number}"
            import_layer_from_tar(io.BytesIO(tar_of(build)), layer, parents)
            export_layer(layer, target)
            seeds.append(pack_folder(target, has_parent=bool(parents)))
            expect(bool(contents(TransportLayerReader(target))), "a seed that is empty")
    return seeds
