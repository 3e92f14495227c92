r"""What kind a tar is, and which names its files have directly below `C:\`.

A plain tar is one of files: `app/bin/x.exe` becomes `C:\app\bin\x.exe`. A layer tar is one of Windows' layers, with the
paths `Files/…`, `Hives/…` and `UtilityVM/…`.
"""

from __future__ import annotations

from dataclasses import dataclass

from wclayer._types import StrPath
from wclayer.builder.files.unpacking import open_archive
from wclayer.errors import InvalidDataError, LimitExceededError, errors_at, limit_hint
from wclayer.formats.tar.reader import TarMember, TarStream
from wclayer.layers.inputs import open_any_place
from wclayer.layers.names import ROOTS
from wclayer.model import limits_in_use
from wclayer.win32.names import decode_name, name_key

_LAYER_ROOTS = frozenset(ROOTS[:3])


@dataclass(frozen=True, slots=True)
class TarContents:
    r"""What a tar has in it, without its data.

    Attributes:
        is_layer: True for a layer tar.
        top_names: the names directly below `C:\` (below `Files` of a layer tar), by their keys, in the spelling of the
            tar.
    """

    is_layer: bool
    top_names: dict[str, str]


def read_contents(path: StrPath) -> TarContents:
    """Reads the names of a tar.

    It is a layer tar if everything in it is below `Files`, `Hives` or `UtilityVM`.

    Args:
        path: the tar, compressed or not. It is read to its end.

    Raises:
        InvalidDataError: it is no tar, is damaged, or is empty.
        LimitExceededError: it is larger than the limits in use.
        PathNotFoundError, AccessDeniedError, EntryIsDirectoryError: the file cannot be read.
    """
    limits = limits_in_use()
    top: dict[str, str] = {}
    below_files: dict[str, str] = {}
    archive = open_archive(open_any_place(path), str(path))
    if archive is None:
        raise InvalidDataError(path, "is no tar; make one with `tar -cf`, or name a folder to be copied")
    try:
        with errors_at(path):
            tar: TarStream[TarMember] = TarStream(
                archive.pieces, max_header=limits.pax_size, max_global=limits.global_pax_size
            )
            while (member := tar.next()) is not None:
                parts = _split(member.name, path)
                for known, position in ((top, 0), (below_files, 1)):
                    if len(parts) > position:
                        known.setdefault(name_key(parts[position]), parts[position])
                if len(top) + len(below_files) > limits.archive_members:
                    raise LimitExceededError(
                        path,
                        f"more than {limits.archive_members} names in its upper directories"
                        f" {limit_hint('archive_members')}",
                    )
    finally:
        archive.close()
    if not top:
        raise InvalidDataError(path, "the tar is empty; nothing would be added")
    is_layer = {*top.values()} <= _LAYER_ROOTS
    return TarContents(is_layer, below_files if is_layer else top)


def _split(name: bytes, path: StrPath) -> list[str]:
    try:
        return [part for part in decode_name(name).split("/") if part not in ("", ".")]
    except UnicodeDecodeError:
        shown = name[:300].decode("utf-8", "backslashreplace")
        raise InvalidDataError(path, f"member {shown!r}: its name is not UTF-8") from None
