r"""Descriptors that a user states as SDDL for entries of a new layer, and what the layer's entries below inherit."""

from __future__ import annotations

from dataclasses import replace

from wclayer.errors import InvalidParameterError, errors_at
from wclayer.view.layer_view import LayerView
from wclayer.win32.inherit import inherited, volume_root
from wclayer.win32.names import path_key
from wclayer.win32.sddl import from_sddl
from wclayer.win32.security import Control, SecurityDescriptor

_OF_DACL = Control.DACL_PRESENT | Control.DACL_PROTECTED | Control.DACL_AUTO_INHERIT_REQ | Control.DACL_AUTO_INHERITED
_OF_SACL = Control.SACL_PRESENT | Control.SACL_PROTECTED | Control.SACL_AUTO_INHERIT_REQ | Control.SACL_AUTO_INHERITED


def parse_stated(sddl: str) -> SecurityDescriptor:
    """Returns the descriptor that an SDDL text states; parts that it does not name are missing.

    Raises:
        InvalidParameterError: it is not SDDL, or states nothing.
    """
    try:
        stated = from_sddl(sddl)
    except ValueError as error:
        raise InvalidParameterError(sddl[:100] or "''", f"is not a security descriptor in SDDL: {error}") from None
    if stated.owner is None and stated.group is None and not stated.control & (_OF_DACL | _OF_SACL):
        raise InvalidParameterError(sddl[:100] or "''", "states no part of a security descriptor")
    return stated


def with_stated(own: SecurityDescriptor, stated: SecurityDescriptor) -> SecurityDescriptor:
    """Returns a descriptor with the parts that another one states: owner, group, DACL, SACL."""
    control, dacl, sacl = own.control, own.dacl, own.sacl
    if stated.control & Control.DACL_PRESENT:
        control, dacl = control & ~_OF_DACL | stated.control & _OF_DACL, stated.dacl
    if stated.control & Control.SACL_PRESENT:
        control, sacl = control & ~_OF_SACL | stated.control & _OF_SACL, stated.sacl
    return replace(
        own,
        owner=stated.owner or own.owner, group=stated.group or own.group, dacl=dacl, sacl=sacl, control=control,
    )  # fmt: skip


def set_stated(view: LayerView, path: str, stated: SecurityDescriptor, others: frozenset[str] = frozenset()) -> None:
    """Sets the descriptor of an entry in a scratch.

    What the scratch has below a directory, and has only inherited its descriptor, inherits anew. Entries of the layers
    below keep theirs.

    Args:
        view: the view, whose scratch takes the changes.
        path: the entry; a link is not followed.
        stated: the parts to set.
        others: the path keys of entries whose descriptors are stated, too, and are not changed here.

    Raises:
        PathNotFoundError: there is no such entry.
        InvalidDataError: the descriptor that it has is damaged.
    """
    found = view.stat(path, follow=False)
    before = view.security(path, follow=False)
    with errors_at(path):
        own = volume_root() if before is None else SecurityDescriptor.decode(before)
    after = with_stated(own, stated).encode()
    view.set_security(path, after, follow=False)
    if not found.is_directory or found.is_link:
        return
    scratch = view.volume.writable_scratch().path
    pending = [(found.path, before, after)]
    while pending:
        directory, before, after = pending.pop()
        for child in view.scan(directory):
            if child.layer != scratch or path_key(child.path) in others:
                continue
            has = view.security(child.path, follow=False)
            if before is not None and has == inherited(before, child.is_directory):
                gets = inherited(after, child.is_directory)
                view.set_security(child.path, gets, follow=False)
                if child.is_directory and not child.is_link:
                    pending.append((child.path, has, gets))
