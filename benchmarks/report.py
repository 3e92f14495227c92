"""Times the page of `wclayer report` about an image of 100,000 files: how long it takes to write, and to open.

    python -m benchmarks.report [--image FOLDER] [--runs N] [--document FILE]

The image is made in FOLDER, unless it is there; without FOLDER, it is made anew and removed. With --document, the
table is put into that file, between its marks.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.document import machine, write_part
from benchmarks.explore_image import NAME, make_image
from benchmarks.inventory_image import run
from tests.pages.browser import Browser, Page, started

_OPENED = "performance.getEntriesByType('navigation')[0].loadEventEnd"
_MAP = """(async () => {
  const start = performance.now();
  document.querySelector('.tiled > button').click();
  await new Promise(done => requestAnimationFrame(() => setTimeout(done)));
  return performance.now() - start;
})()"""
_SORT = """(async () => {
  const start = performance.now();
  document.querySelector('#list-hidden thead th:nth-child(2) button').click();
  await new Promise(done => requestAnimationFrame(() => setTimeout(done)));
  return performance.now() - start;
})()"""


def write_page(store: Path, page: Path, runs: int, *images: str) -> tuple[str, str, str]:
    """Writes the page by the command, and returns the cells of its row: seconds, memory, size."""
    command = [sys.executable, "-m", "wclayer", "report", "--store", str(store), "-o", str(page), *images]
    measured = [run(command, Path(os.devnull)) for _ in range(runs)]
    seconds = statistics.median(each.wall for each in measured)
    memory = max(each.memory for each in measured)
    return f"{seconds:.1f} s", f"{memory:.0f} MiB", f"{page.stat().st_size / 1e6:.2f} MB"


def look(browser: Browser, page: Path, runs: int) -> tuple[str, ...]:
    """Opens the page several times, and returns the medians of opening it, opening a directory of the map, sorting."""
    times: list[list[float]] = [[], [], []]
    for _ in range(runs):
        shown = Page(browser, page)
        for found, expression in zip(times, (_OPENED, _MAP, _SORT), strict=True):
            found.append(shown.value(expression))
        shown.close()
    return tuple(f"{statistics.median(found):.0f} ms" for found in times)


def measured(folder: Path, image_folder: Path, runs: int) -> str:
    """Returns the table of what was measured."""
    store = make_image(image_folder)
    rows = []
    (folder / "profile").mkdir()
    with started(folder / "profile") as browser:
        for what, images in (("the image", (NAME,)), ("the image beside itself", (NAME, NAME))):
            page = folder / "page.html"
            rows.append((what, *write_page(store, page, runs, *images), *look(browser, page, runs)))
    heads = ("page about", "write", "memory", "size", "open", "open a directory", "sort")
    lines = [f"| {' | '.join(cells)} |" for cells in (heads, ("---",) * len(heads), *rows)]
    return "\n".join([f"{machine()} Medians of {runs} runs; the memory is the peak of the process.", "", *lines])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("--image", type=Path, help="the folder of the image")
    parser.add_argument("--runs", type=int, default=5, help="how often each is done (default: 5)")
    parser.add_argument("--document", type=Path, help="the file into which the table is put")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        text = measured(Path(temporary), options.image or Path(temporary, "image"), options.runs)
    print(text)
    if options.document is not None:
        write_part(options.document, "report", text)


if __name__ == "__main__":
    main()
