"""The texts of symbolic links in a mount, relative to the directory of the link.

In a mount, the host's kernel follows the links, and it does not stop at the root of the mount. So a text has `..` only
at its beginning, and not more often than there are directories above the link. Then the link leads to a path in the
mount, even if there are other links on the way.
"""

from __future__ import annotations

import errno

from wclayer.view.fuse.abi import MAX_LINK_TEXT
from wclayer.view.merged import Node
from wclayer.view.resolve import link_path
from wclayer.win32.names import encode_name


def link_text(node: Node) -> bytes:
    """Returns the text of the symbolic link that represents a reparse point.

    A reparse point that leads out of the volume, or that is not a link on Windows, gets a text that leads nowhere: it
    contains a colon, so that no entry has this name, and none can be created with it.

    Raises:
        OSError: ENAMETOOLONG, the text is longer than a page.
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
            # The path starts at the volume's root, where `..` leads to the root itself.
            up = depth
        text = encode_name("../" * up + "/".join(below))
        if up <= depth and b"\0" not in text:
            if len(text) > MAX_LINK_TEXT:
                raise OSError(errno.ENAMETOOLONG, "the target is too long", node.path)
            return text or b"."
    return b"unsupported reparse tag: %#010x" % int.from_bytes(reparse[:4], "little")
