"""Changes of the DACL of an entry and of what its children inherit, as SetNamedSecurityInfo makes them.

Sources: "Automatic Propagation of Inheritable ACEs" and "Order of ACEs in a DACL" (Win32), [MS-DTYP] 2.5.3.4.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from wclayer.errors import errors_at
from wclayer.view.layer_view import FileStatus, LayerView
from wclayer.win32.inherit import inherit, inherit_acl, volume_root
from wclayer.win32.security import Ace, AceFlags, AceType, Acl, Control, SecurityDescriptor

_DENIES = (
    AceType.ACCESS_DENIED, AceType.ACCESS_DENIED_OBJECT, AceType.ACCESS_DENIED_CALLBACK,
    AceType.ACCESS_DENIED_CALLBACK_OBJECT,
)  # fmt: skip

Change = Callable[[SecurityDescriptor, FileStatus], SecurityDescriptor]
"""Returns the descriptor that an entry gets; what the entry inherits is determined anew afterwards."""


def is_inherited(ace: Ace) -> bool:
    """Returns whether an ACE comes from the parent."""
    return bool(ace.flags & AceFlags.INHERITED)


def explicit_aces(descriptor: SecurityDescriptor) -> list[Ace]:
    """Returns the ACEs of the DACL that do not come from the parent."""
    return [] if descriptor.dacl is None else [ace for ace in descriptor.dacl.aces if not is_inherited(ace)]


def in_order(explicit: Sequence[Ace], inherited: Sequence[Ace]) -> Acl:
    """Returns a DACL in the canonical order: explicit denials, explicit grants, then what is inherited."""
    denials = [ace for ace in explicit if ace.type in _DENIES]
    grants = [ace for ace in explicit if ace.type not in _DENIES]
    return Acl.of([*denials, *grants, *inherited])


def descriptor_of(view: LayerView, path: str, *, follow: bool = True) -> SecurityDescriptor:
    """Returns the descriptor of an entry; if the layers have none, the one that a new entry would have.

    Raises:
        InvalidDataError: the descriptor is damaged.
    """
    data = view.security(path, follow=follow)
    if data is not None:
        with errors_at(path):
            return SecurityDescriptor.decode(data)
    above = _parent(path)
    if above is None:
        return volume_root()
    return inherit(descriptor_of(view, above), is_directory=view.stat(path, follow=follow).is_directory)


def change_security(
    view: LayerView, path: str, change: Change, *, follow: bool = True, keeps_dacl: bool = False
) -> None:
    """Changes the descriptor of an entry, and what everything below it inherits.

    Below the entry, the ACEs that are inherited are made anew, explicit ones stay, and a DACL that is protected stays
    with everything below it. An entry whose descriptor is not affected is not changed.

    Args:
        view: the files; its scratch takes the changes.
        path: the entry.
        change: makes the new descriptor of the entry.
        follow: a link is followed; otherwise the link itself is changed.
        keeps_dacl: only the owner is changed: the DACL stays as it is.

    Raises:
        PathNotFoundError: the entry does not exist.
        InvalidDataError: a descriptor is damaged.
        NotRepresentableError: the DACL would be too long.
    """
    status = view.stat(path, follow=follow)
    before = descriptor_of(view, path, follow=follow)
    after = change(before, status)
    above = _parent("C:\\" + status.path.partition("/")[2].replace("/", "\\"))
    if not keeps_dacl and above is not None and not after.control & Control.DACL_PROTECTED:
        after = _with_inherited(after, descriptor_of(view, above), status.is_directory)
    if after == before:
        return
    _set(view, path, after, follow=follow)
    if status.is_directory and not status.is_link and after.dacl != before.dacl:
        _propagate(view, path, after)


def _propagate(view: LayerView, path: str, descriptor: SecurityDescriptor) -> None:
    pending = [(path, descriptor)]
    while pending:
        directory, above = pending.pop()
        for child in view.scan(directory):
            at = directory.rstrip("\\") + "\\" + child.path.rpartition("/")[2]
            before = descriptor_of(view, at, follow=False)
            if before.control & Control.DACL_PROTECTED or (
                before.dacl is None and before.control & Control.DACL_PRESENT
            ):
                continue
            after = _with_inherited(before, above, child.is_directory)
            if after.dacl == before.dacl:
                continue
            _set(view, at, after, follow=False)
            if child.is_directory and not child.is_link:
                pending.append((at, after))


def _with_inherited(own: SecurityDescriptor, above: SecurityDescriptor, is_directory: bool) -> SecurityDescriptor:
    """Returns a descriptor whose inherited ACEs are those that the one above hands down."""
    handed = inherit_acl(above.dacl, is_directory=is_directory, owner=own.owner, group=own.group)
    inherited = () if handed is None else handed.aces
    return replace(
        own,
        dacl=in_order(explicit_aces(own), inherited),
        control=own.control | Control.DACL_PRESENT | Control.DACL_AUTO_INHERITED,
    )


def _set(view: LayerView, path: str, descriptor: SecurityDescriptor, *, follow: bool) -> None:
    with errors_at(path):
        view.set_security(path, descriptor.encode(), follow=follow)


def _parent(path: str) -> str | None:
    r"""Returns the directory of an absolute path `C:\…`, or None for the root."""
    above, _, _name = path.rstrip("\\").rpartition("\\")
    if not above:
        return None
    return above + "\\" if above == "C:" else above
