"""The operating system below a layer: files relative to an open directory, locks, file times.

`system` is the module for the running system: POSIX and Windows have one each, with the same functions. `root` builds
on it.
"""

import sys

if sys.platform == "win32":
    from wclayer.host import windows as system
else:
    from wclayer.host import posix as system

__all__ = ["system"]
