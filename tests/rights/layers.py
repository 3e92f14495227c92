"""Layers whose files, directories and keys have stated security descriptors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.inventory.subjects import Keys, tree
from tests.support import info
from wclayer.formats.regf.model import TreeKey
from wclayer.formats.regf.writer import write_hive
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.layers.hives import CONFIG
from wclayer.model import DataStream, Entry, LayerWriter
from wclayer.rights.audit.api import audit_rights
from wclayer.rights.audit.model import RightsAudit, RightsFinding
from wclayer.win32.sddl import from_sddl

CLOSED = "O:BAG:SYD:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1200a9;;;BU)"
"""What nobody but administrators may write."""
OPEN = "O:BAG:SYD:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1301bf;;;BU)"
"""What users may modify."""
INHERITED = "O:BAG:SYD:AI(A;OICIID;FA;;;SY)(A;OICIID;FA;;;BA)(A;OICIID;0x1301bf;;;BU)"
"""What lies in a directory with `OPEN`."""
CLOSED_KEY, OPEN_KEY = "O:BAG:SYD:P(A;CI;KA;;;BA)(A;CI;KR;;;BU)", "O:BAG:SYD:P(A;CI;KA;;;BA)(A;CI;KA;;;BU)"

Security = str | bytes | None
"""SDDL, the bytes of a descriptor, or none."""


def descriptor(security: Security) -> bytes | None:
    """The self-relative descriptor."""
    return from_sddl(security).encode() if isinstance(security, str) else security


def make_layer(
    place: Path,
    files: Mapping[str, Security],
    hives: Mapping[str, bytes] | None = None,
    *,
    root: Security = CLOSED,
    parents: Sequence[Path] = (),
) -> Path:
    """Makes a layer of files and directories by their paths below C:; the paths of directories end with a slash. A
    directory above one of them that is not stated is closed.

    Args:
        place: the path of the layer.
        files: their descriptors.
        hives: the hives in its config.
        root: the descriptor of C:.
        parents: the layers below it, nearest first.
    """
    stated = {path.rstrip("/"): security for path, security in files.items() if path.endswith("/")}
    contents = {f"Files/{path}": b"x" for path in files if not path.endswith("/")}
    contents |= {f"{CONFIG}/{name}": data for name, data in (hives or {}).items()}
    above = {
        "/".join(path.split("/")[1:depth])
        for path in [*contents, *(f"Files/{path}/x" for path in stated)]
        for depth in range(2, path.count("/") + 1)
    }
    with DirectoryLayerWriter(place, parents=list(parents)) as writer:
        _put(writer, "Files", root, None)
        for path in sorted(above | stated.keys()):
            _put(writer, f"Files/{path}", stated.get(path, CLOSED), None)
        for path, data in contents.items():
            _put(writer, path, files.get(path.removeprefix("Files/"), CLOSED), data)
    return place


def _put(writer: LayerWriter, path: str, security: Security, data: bytes | None) -> None:
    entry = Entry(path, info(0x10 if data is None else 0x20), len(data or b""), descriptor(security))
    writer.put(entry, () if data is None else [DataStream("", len(data), (data,))])


def hive(keys: Keys, security: Mapping[str, Security] | None = None) -> bytes:
    """A hive with those keys, whose paths begin below its root; those whose descriptor is not stated are closed."""
    root = tree({**{path: {} for path in security or {}}, **keys})
    _secure(root, "", security or {})
    return write_hive(root)


def _secure(key: TreeKey, path: str, security: Mapping[str, Security]) -> None:
    key.metadata = key.metadata._replace(security=descriptor(security.get(path, CLOSED_KEY)))
    for below in key.subkeys():
        assert isinstance(below, TreeKey)
        _secure(below, f"{path}\\{below.name}".lstrip("\\"), security)


def audit(place: Path, files: Mapping[str, Security], *, root: Security = CLOSED, **hives: bytes) -> RightsAudit:
    """The audit of a layer with those files and hives."""
    return audit_rights(make_layer(place / "layer", files, hives, root=root))


def told(audit: RightsAudit) -> list[tuple[str, str, str, str]]:
    """The place, the path, who and what of each grant of the findings."""
    return [
        (str(finding.place), finding.path, grant.who.name, ", ".join(grant.rights))
        for finding in audit.findings
        for grant in finding.grants
    ]


def places(audit: RightsAudit) -> dict[str, str]:
    """The place of each finding by its path."""
    return {finding.path: str(finding.place) for finding in audit.findings}


def finding(audit: RightsAudit, path: str) -> RightsFinding:
    """The finding of a path, expected or not."""
    return next(each for each in [*audit.findings, *audit.expected] if each.path == path)
