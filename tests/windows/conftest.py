"""What is in `guest/` runs in the Windows Python, and nowhere else."""

import sys

collect_ignore = [] if sys.platform == "win32" else ["guest"]
