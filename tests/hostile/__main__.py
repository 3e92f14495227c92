"""`python -m tests.hostile FOLDER [KIND]…`: writes the corpus, or its forms of some kinds, into a folder, with
`manifest.json`."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from tests.hostile.forms import World, forms


def main(folder: Path, kinds: list[str]) -> None:
    """Writes forms to FOLDER/KIND/NAME; links in them lead to FOLDER/outside, which is made, too.

    Args:
        folder: where they go.
        kinds: which forms; none means all.
    """
    (folder / "outside").mkdir(parents=True)
    (folder / "outside" / "secret.txt").write_bytes(b"outside of every target\n")
    manifest = []
    # Beside what is written: files are moved there.
    with tempfile.TemporaryDirectory(dir=folder) as work:
        world = World(Path(work), (folder / "outside").resolve())
        for form in forms():
            if kinds and form.kind not in kinds:
                continue
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
    main(Path(sys.argv[1]), sys.argv[2:])
