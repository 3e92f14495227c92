"""Links of a view as POSIX follows them: their text, from the directory that they are in.

In a mount, the host's kernel follows the links, and the kernel does not stop at the mount's root. So a
text has `..` only at its beginning, and not more often than there are directories above the link: then it leads,
whatever is on the way, to a place in the mount.
"""

from __future__ import annotations

import errno

from wclayer.view.fuse.abi import MAX_LINK_TEXT
from wclayer.view.merged import Node
from wclayer.view.resolve import link_path
from wclayer.win32.names import encode_name


def link_text(node: Node) -> bytes:
    """The text of a symbolic link that stands for a reparse point.

    One that leads out of the volume, or that is no link to Windows, gets a text that leads nowhere: it has a colon, so
    that there is nothing of that name, and nothing can be made under it.

    Raises:
        OSError: ENAMETOOLONG.
    """
    reparse = node.row.reparse or b""
    target = link_path(reparse)
    depth = node.path.count("/") - 1
    if target is not None and target.parts:
        names = [part for part in target.parts if part != "."]
        up = 0
        while up < len(names) and names[up] == "..":
            up += 1
        below = names[up:]
        if not target.is_relative:
            # `..` at a volume's root leads to the root, which is where the path begins.
            up = depth
        text = encode_name("../" * up + "/".join(below))
        if up <= depth and b"\0" not in text:
            if len(text) > MAX_LINK_TEXT:
                raise OSError(errno.ENAMETOOLONG, "the target is too long", node.path)
            return text or b"."
    return b"unsupported reparse tag: %#010x" % int.from_bytes(reparse[:4], "little")
