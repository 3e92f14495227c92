"""Runs the yardstick: `python -m benchmarks` is `python -m benchmarks.image`."""

from __future__ import annotations

from benchmarks.image import main

if __name__ == "__main__":
    main()
