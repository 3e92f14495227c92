"""Changes to an archive of images that keep it one: documents are changed, and what is named by digest is renamed."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from collections.abc import Iterable, Mapping
from random import Random

from fuzz.mutators.json_text import mutate_json
from fuzz.mutators.plain import mutate_bytes
from fuzz.mutators.tar import mutate_tar

_BY_DIGEST = re.compile(r"(.*?)([0-9a-f]{64})(\.json)?\Z", re.DOTALL)
_NAMES = (
    "index.json",
    "manifest.json",
    "oci-layout",
    "repositories",
    "blobs",
    "INDEX.JSON",
    "../x",
    "/x",
    "a/layer.tar",
)
_TARGETS = ("../../x", "/x", "manifest.json", "layer.tar", "../a/layer.tar", ".", "")

Files = dict[str, bytes | str]
"""The members of an archive by name; a text is the target of a link."""


def read_tar(data: bytes) -> Files:
    """The files and links of a tar that is not compressed; of one that is damaged, those before the damage."""
    found: Files = {}
    try:
        # Of a compressed one, a few bytes may be more than the memory.
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for member in archive:
                if member.issym():
                    found[member.name] = member.linkname
                elif member.isreg() and member.size <= len(data) and (file := archive.extractfile(member)) is not None:
                    found[member.name] = file.read()
    except (tarfile.TarError, ValueError, OSError, OverflowError):
        # The last one is for a size that no index can be.
        pass
    return found


def write_tar(files: Mapping[str, bytes | str], folders: Iterable[str] = ()) -> bytes:
    """A tar of folders, and then of files and links."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in folders:
            member = tarfile.TarInfo(name)
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(member)
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            if isinstance(data, str):
                member.type, member.linkname = tarfile.SYMTYPE, data
                archive.addfile(member)
            else:
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def mutate_image_tar(data: bytes, chance: Random, most: int) -> bytes:
    """Another archive of images: a document is changed, a member is renamed, gone or a link, or bytes are changed."""
    files = read_tar(data)
    if not files or chance.randrange(6) == 0:
        return mutate_tar(data, chance, most)
    for _ in range(chance.choice((1, 1, 2))):
        files = _changed(files, chance) or files
    return write_tar(files)[:most]


def _changed(files: Files, chance: Random) -> Files:
    name = chance.choice(list(files))
    kind = chance.randrange(10)
    if kind == 0:
        return {other: data for other, data in files.items() if other != name}
    if kind == 1:
        return {(chance.choice(_NAMES) if other == name else other): data for other, data in files.items()}
    if kind == 2:
        return files | {name: chance.choice((*_TARGETS, *(other for other in files)))}
    data = files[name]
    if isinstance(data, str):
        return files
    is_document = data[:1] in (b"{", b"[")
    new = mutate_json(data, chance, 1 << 16) if is_document else mutate_bytes(data, chance, 1 << 16)
    return _replaced(files, name, new) if chance.randrange(5) else files | {name: new}


def _replaced(files: Files, name: str, new: bytes) -> Files:
    """Other contents of a file. If its name is its digest, it gets a new one, and so does what names it."""
    pending = [(name, new)]
    for _ in range(16):
        if not pending:
            break
        name, new = pending.pop()
        found = _BY_DIGEST.match(name)
        if found is None:
            files = files | {name: new}
            continue
        old, hexadecimal = found[2], hashlib.sha256(new).hexdigest()
        files = {
            (found[1] + hexadecimal + (found[3] or "") if other == name else other): (new if other == name else data)
            for other, data in files.items()
        }
        for other, data in list(files.items()):
            if isinstance(data, bytes) and data[:1] in (b"{", b"[") and old.encode() in data:
                pending.append((other, data.replace(old.encode(), hexadecimal.encode())))
    return files
