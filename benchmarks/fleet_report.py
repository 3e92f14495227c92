"""Times the page of `wclayer fleet report`: how long it takes to write, to open, to search and to sort in Chromium."""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.fleet.made_fleet import add_image, by_bucket, layer_rows
from tests.pages.browser import Browser, Page, started
from wclayer.fleet.tables.dataset import BucketRows, Dataset
from wclayer.fleet.tables.schema import LayerRow
from wclayer.host.durability import unsynced

_OPENED = "performance.getEntriesByType('navigation')[0].loadEventEnd"
_TIMED = """(async () => {{
  const start = performance.now();
  {action};
  await new Promise(done => requestAnimationFrame(() => setTimeout(done)));
  return performance.now() - start;
}})()"""
_SORT = "document.querySelectorAll('#images thead button')[4].click()"
_SEARCH = """{
  const changed = new Promise(done => new MutationObserver(done)
    .observe(document.querySelector('#images [role=status]'), {childList: true}));
  const field = document.querySelector('#images input');
  field.value = 'app7';
  field.dispatchEvent(new Event('input'));
  await changed;
}"""


def write_fleet(folder: Path, images: int) -> None:
    """Writes a fleet with so many images into few files."""
    rows = BucketRows()
    layers: dict[str, LayerRow] = {}
    for number in range(images):
        add_image(rows, number)
        layers.update((row.layer, row) for row in layer_rows(number))
    with unsynced():
        dataset = Dataset(folder)
        dataset.create(1)
        for bucket, part in by_bucket(dataset, rows).items():
            dataset.replace_bucket(bucket, part)
        dataset.write_layers(layers.values())


def report(fleet: Path, page: Path) -> None:
    """Writes the page by the command, and prints its time, its memory and its size."""
    command = [sys.executable, "-m", "wclayer", "fleet", "report", str(fleet), "-o", str(page)]
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    size = page.stat().st_size / 1e6
    print(f"write the page       {seconds:8.1f} s   {memory:.0f} MiB of memory, a page of {size:.1f} MB")


def look(browser: Browser, page: Path, runs: int) -> None:
    """Opens the page several times, and prints the medians."""
    times: dict[str, list[float]] = {"open it": [], "sort by size": [], "search, 120 ms wait": []}
    for _ in range(runs):
        shown = Page(browser, page)
        times["open it"].append(shown.value(_OPENED))
        times["sort by size"].append(shown.value(_TIMED.format(action=_SORT)))
        times["search, 120 ms wait"].append(shown.value(_TIMED.format(action=_SEARCH)))
        shown.close()
    for what, found in times.items():
        print(f"{what:<20} {statistics.median(found):8.0f} ms  ({min(found):.0f} to {max(found):.0f})")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet_report", description=__doc__)
    parser.add_argument("--images", type=int, default=10_000, help="how many images (default: 10,000)")
    parser.add_argument("--runs", type=int, default=7, help="how often the page is opened (default: 7)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        fleet, page = Path(folder, "fleet"), Path(folder, "fleet.html")
        write_fleet(fleet, options.images)
        print(f"{options.images:,} images")
        report(fleet, page)
        Path(folder, "profile").mkdir()
        with started(Path(folder, "profile")) as browser:
            look(browser, page, options.runs)


if __name__ == "__main__":
    main()
