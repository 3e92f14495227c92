"""What tests read of a view."""

from __future__ import annotations

from wclayer.view.layer_view import LayerView
from wclayer.win32.sddl import to_sddl
from wclayer.win32.security import SecurityDescriptor


def tree(view: LayerView, path: str) -> dict[str, bytes | None]:
    """The files below a directory with their contents, and the directories with None."""
    found: dict[str, bytes | None] = {}
    for status in view.scan(path):
        name = status.path.removeprefix("Files/")
        if status.is_directory and not status.is_link:
            found[name] = None
            found |= tree(view, status.path)
        elif status.is_link:
            found[name] = view.read_link(status.path).print_name.encode()
        else:
            found[name] = view.read_bytes(status.path)
    return found


def sddl(view: LayerView, path: str) -> str:
    descriptor = view.security(path, follow=False)
    assert descriptor is not None
    return to_sddl(SecurityDescriptor.decode(descriptor))
