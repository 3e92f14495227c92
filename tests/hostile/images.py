"""Archives of images and layouts that attack whoever copies, loads or lists them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.hostile.forms import LIMITED, REFUSED, TAKEN, UNSUPPORTED, World, add
from tests.hostile.layers import SPECIAL, put_special
from tests.images import samples
from tests.support import zstd

GONE = frozenset({2})
"""A part is not there."""
_IMAGE = samples.small_child("oci")
_BOMB = 200 << 20

Files = dict[str, bytes | str | tarfile.TarInfo]
"""The members of an archive by name; a text is the target of a symbolic link."""


def _hex(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _blobs(*more: bytes) -> Files:
    held = [layer.data for layer in _IMAGE.layers] + [_IMAGE.config, _IMAGE.manifest, *more]
    return {f"blobs/sha256/{_hex(data)}": data for data in held}


def _descriptor(data: bytes, media_type: str, **more: object) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": f"sha256:{_hex(data)}", "size": len(data), **more}


_INDEX_TYPE = samples.INDEX["oci"]
_MANIFEST_TYPE = samples.MANIFEST["oci"]


def _index(*entries: Mapping[str, Any]) -> bytes:
    return samples.dump({"schemaVersion": 2, "mediaType": _INDEX_TYPE, "manifests": entries})


def _files(*entries: Mapping[str, Any], **item: object) -> Files:
    """The files of an archive that is a layout and one of Docker: a sound one, or with other entries or items."""
    saved = {
        "Config": f"blobs/sha256/{_hex(_IMAGE.config)}",
        "RepoTags": ["app:1"],
        "Layers": [f"blobs/sha256/{_hex(layer.data)}" for layer in _IMAGE.layers],
    }
    found = _blobs()
    found["oci-layout"] = b'{"imageLayoutVersion":"1.0.0"}'
    found["index.json"] = _index(*(entries or [_descriptor(_IMAGE.manifest, _MANIFEST_TYPE)]))
    found["manifest.json"] = samples.dump([saved | item])
    return found


def _tar(files: Files) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in files.items():
            member = data if isinstance(data, tarfile.TarInfo) else tarfile.TarInfo(name)
            if isinstance(data, str):
                member.type, member.linkname = tarfile.SYMTYPE, data
            if isinstance(data, bytes):
                member.size = len(data)
            archive.addfile(member, io.BytesIO(data) if isinstance(data, bytes) else None)
    return stream.getvalue()


def _archive(
    name: str, finding: str, outcome: frozenset[int], make: Callable[[World], Files | bytes] | Files | bytes
) -> None:
    def build(place: Path, world: World) -> None:
        made = make if isinstance(make, (dict, bytes)) else make(world)
        place.write_bytes(made if isinstance(made, bytes) else _tar(made))

    add("image", name, finding, outcome, build)


def _member(kind: bytes, target: str = "", name: str = "x") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


_archive("untouched", "a sound archive", TAKEN, lambda world: _files())
_archive("compressed", "a sound archive", TAKEN, lambda world: gzip.compress(_tar(_files()), mtime=0))
_NAMES = {
    "an absolute name": "/etc/passwd", "a name that climbs": "../../outside/secret.txt",
    "a name that climbs in the middle": "blobs/../../../outside/secret.txt", "an empty part": "a//b",
    "the same document twice": "./index.json", "the same document in capitals": "INDEX.JSON",
    "the same blob in capitals": f"BLOBS/sha256/{_hex(_IMAGE.config)}",
}  # fmt: skip
for _title, _name in _NAMES.items():
    _archive(_title, "names that lead out, or are one", REFUSED, _files() | {_name: b"{}"})
_LINKS: dict[str, Callable[[World], tarfile.TarInfo]] = {
    "a link to a canary": lambda world: _member(tarfile.SYMTYPE, str(world.secret)),
    "a link that climbs": lambda world: _member(tarfile.SYMTYPE, "../../../../../../outside/secret.txt"),
    "a hard link to a canary": lambda world: _member(tarfile.LNKTYPE, str(world.secret)),
    "a character device": lambda world: _member(tarfile.CHRTYPE),
    "a FIFO": lambda world: _member(tarfile.FIFOTYPE),
    "a sparse file": lambda world: _member(b"S"),
    "a member of no kind": lambda world: _member(b"Q"),
}


def _with_member(make: Callable[[World], tarfile.TarInfo]) -> Callable[[World], Files]:
    return lambda world: _files() | {"x": make(world)}


for _title, _make in _LINKS.items():
    _archive(_title, "members that are no files", REFUSED, _with_member(_make))
for _title, _target in {
    "a layer that is a link to itself": "x", "a layer that is a link to nothing": "nothing",
    "a layer that is a link to a folder": "blobs", "a layer that is a link to its manifest": "manifest.json",
}.items():  # fmt: skip
    _archive(
        _title, "layers that are links", REFUSED,
        {
            "x": _target, "blobs": _member(tarfile.DIRTYPE, name="blobs"), "c.json": _IMAGE.config,
            "l.tar": _IMAGE.layers[0].tar,
            "manifest.json": samples.dump([{"Config": "c.json", "Layers": ["l.tar", "x"]}]),
        },
    )  # fmt: skip
_ITEMS: dict[str, tuple[dict[str, object], frozenset[int]]] = {
    "a configuration that climbs": ({"Config": "../../outside/secret.txt"}, REFUSED),
    "a configuration of the host": ({"Config": "/etc/passwd"}, REFUSED),
    "a configuration that is a layer": ({"Config": f"blobs/sha256/{_hex(_IMAGE.layers[0].data)}"}, REFUSED),
    "layers that climb": ({"Layers": ["../../outside/secret.txt"] * 2}, REFUSED),
    "a thousand layers": ({"Layers": ["x"] * 1000}, LIMITED),
    "no layers": ({"Layers": []}, REFUSED),
    "layers in another order": (
        {"Layers": [f"blobs/sha256/{_hex(layer.data)}" for layer in reversed(_IMAGE.layers)]}, TAKEN,
    ),
    "names that are none": ({"RepoTags": ["\0", "A B", "x" * 100_000, "../..", ":", ""]}, TAKEN),
    "sources that are none": ({"LayerSources": {"sha256:x": {}}}, REFUSED),
}  # fmt: skip
for _title, (_item, _outcome) in _ITEMS.items():
    _archive(_title, "manifest.json", _outcome, _files(**_item))
_ENTRIES: dict[str, tuple[dict[str, object], frozenset[int]]] = {
    "a digest that is a path": ({"digest": "sha256:../../../outside/secret.txt"}, REFUSED),
    "a digest of no algorithm": ({"digest": "../x"}, REFUSED),
    "a size below zero": ({"size": -1}, REFUSED),
    "a size of exabytes": ({"size": 1 << 62}, REFUSED),
    "a manifest of schema 1": ({"mediaType": "application/vnd.docker.distribution.manifest.v1+json"}, TAKEN),
    "a manifest that is called an index": ({"mediaType": _INDEX_TYPE}, REFUSED),
}
for _title, (_change, _outcome) in _ENTRIES.items():
    _archive(
        _title, "index.json", _outcome,
        _files(_descriptor(_IMAGE.manifest, _MANIFEST_TYPE) | _change),
    )  # fmt: skip


def _with(name: str, data: bytes) -> Callable[[World], Files]:
    return lambda world: _files() | {name: data}


for _title, _text in {
    "no JSON": b"\xff\xfe{", "deep JSON": b"[" * 500_000, "a number without end": b"[" + b"9" * 1_000_000 + b"]",
    "a key twice": b'[{"Config":"a","Config":"b"}]', "an object for a list": b"{}", "a list of numbers": b"[1,2]",
}.items():  # fmt: skip
    _archive(f"manifest.json that is {_title}", "manifest.json", REFUSED, _with("manifest.json", _text))
_archive(
    "a manifest.json of 5 MiB", "sizes", LIMITED, _with("manifest.json", b"[" + b" " * (5 << 20) + b"]"),
)  # fmt: skip
_archive("another blob by the name of a layer", "digests", REFUSED, lambda world: _files() | {
    f"blobs/sha256/{_hex(_IMAGE.layers[1].data)}": bytes(len(_IMAGE.layers[1].data)),
})  # fmt: skip
_archive("a configuration by a wrong name", "digests", REFUSED, lambda world: _files() | {
    f"blobs/sha256/{_hex(_IMAGE.config)}": _IMAGE.config.replace(b"windows", b"winnows"),
})  # fmt: skip
_archive("a layer that is not there", "absent parts", GONE, lambda world: {
    name: data for name, data in _files().items() if _hex(_IMAGE.layers[1].data) not in name
})  # fmt: skip
_archive("an archive of Docker before 1.10", "old forms", UNSUPPORTED, lambda world: {"repositories": b"{}"})
_archive("no archive of images", "other archives", REFUSED, lambda world: {"Files/a": b"x"})
_archive("xz", "other compressions", UNSUPPORTED, lambda world: b"\xfd7zXZ\0" + bytes(600))
_archive("cut off", "cut off", REFUSED, lambda world: _tar(_files())[:3000])
_archive("an archive that says exabytes", "sizes", REFUSED, lambda world: _huge())
_archive("a bomb of gzip", "bombs", REFUSED, lambda world: gzip.compress(bytes(_BOMB), 9, mtime=0))
_archive("a bomb of zstd", "bombs", LIMITED, lambda world: zstd.compress(bytes(_BOMB)))
_archive(
    "more members than are allowed", "counts", LIMITED,
    lambda world: b"".join(tarfile.TarInfo(str(number)).tobuf() for number in range(100_001)) + bytes(1024),
)  # fmt: skip
_archive(
    "names without end", "counts", LIMITED,
    lambda world: b"".join(
        tarfile.TarInfo(f"{number}" + "n" * 900_000).tobuf(tarfile.GNU_FORMAT) for number in range(80)
    ) + bytes(1024),
)  # fmt: skip


def _huge() -> bytes:
    member = tarfile.TarInfo("manifest.json")
    member.size = 1 << 58
    return member.tobuf(tarfile.PAX_FORMAT) + bytes(4096)


def _doubling(world: World) -> Files:
    """Indexes that list the next one a hundred times: a walk of all ways would not end."""
    files, entry = _files(), _descriptor(_IMAGE.manifest, _MANIFEST_TYPE)
    for _ in range(7):
        data = _index(*([entry] * 100))
        files[f"blobs/sha256/{_hex(data)}"] = data
        entry = _descriptor(data, _INDEX_TYPE)
    return files | {"index.json": _index(*([entry] * 100))}


_archive("indexes that list each other many times", "nested indexes", TAKEN | REFUSED | LIMITED, _doubling)


def _deep(world: World) -> Files:
    files, entry = _files(), _descriptor(_IMAGE.manifest, _MANIFEST_TYPE)
    for _ in range(50):
        data = _index(entry)
        files[f"blobs/sha256/{_hex(data)}"] = data
        entry = _descriptor(data, _INDEX_TYPE)
    return files | {"index.json": _index(entry)}


_archive("indexes without end", "nested indexes", REFUSED, _deep)


def _layout(place: Path) -> Path:
    for name, data in _files().items():
        assert isinstance(data, bytes)
        if name != "manifest.json":
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(data)
    return place


_PARTS = ("index.json", "oci-layout", "blobs", "blobs/sha256", f"blobs/sha256/{_hex(_IMAGE.layers[1].data)}",
          f"blobs/sha256/{_hex(_IMAGE.manifest)}")  # fmt: skip
_ENDS = frozenset({2, 4, 6, 12})


def _put(place: Path, world: World, part: str, kind: str) -> None:
    _layout(place)
    put_special(place / part, kind, world)
    was = place / f"{part}.was"
    if os.path.lexists(was):
        os.rename(was, world.folder / f"{len(os.listdir(world.folder))}.was")


def _special(part: str, kind: str) -> None:
    what = part if len(part) < 20 else ("a layer" if _hex(_IMAGE.layers[1].data) in part else "a manifest")
    add(
        "layout", f"{kind} at {what}", "files that are none", _ENDS, lambda place, world: _put(place, world, part, kind)
    )


for _part in _PARTS:
    for _kind in SPECIAL:
        _special(_part, _kind)
add("layout", "untouched", "a sound layout", TAKEN, lambda place, world: _layout(place))


def _long(place: Path, world: World) -> None:
    (_layout(place) / "index.json").write_text(json.dumps({"manifests": [], "x": "x" * (5 << 20)}))


add("layout", "an index of 5 MiB", "sizes", LIMITED, _long)
