"""`python -m tests.hostile FOLDER`: writes the whole corpus into a folder, with `manifest.json`."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from tests.hostile.forms import World, forms


def main(folder: Path) -> None:
    """Writes every form to FOLDER/KIND/NAME; links in them lead to FOLDER/outside, which is made, too."""
    (folder / "outside").mkdir(parents=True)
    (folder / "outside" / "secret.txt").write_bytes(b"outside of every target\n")
    manifest = []
    with tempfile.TemporaryDirectory() as work:
        world = World(Path(work), (folder / "outside").resolve())
        for form in forms():
            place = folder / form.kind / form.file_name
            place.parent.mkdir(exist_ok=True)
            form.build(place, world)
            manifest.append(
                {
                    "file": str(place.relative_to(folder)),
                    "name": form.name,
                    "kind": form.kind,
                    "finding": form.finding,
                    "exit statuses": sorted(form.outcome),
                }
            )
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    print(f"{len(manifest)} forms in {folder}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
