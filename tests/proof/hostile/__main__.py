"""`python -m tests.proof.hostile [KIND[/NAME]]…`: runs every command over the forms, and prints what is wrong."""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.hostile.forms import KINDS, Form, forms
from tests.images import samples
from tests.images.forms import write_layout
from tests.proof.hostile.runner import Outcome, Room, Runner, prepare
from tests.proof.hostile.steps import steps_of
from tests.proof.world import MEMORY
from tests.support import archive, member
from wclayer.host.durability import unsynced

_ALWAYS = 1
"""So many steps of each form are run in any sample."""
_TIMES = os.environ.get("HOSTILE_TIMES")


def chosen(names: list[str]) -> list[Form]:
    """The forms of kinds, or by kind and name."""
    return [form for form in forms() if not names or form.kind in names or f"{form.kind}/{form.file_name}" in names]


def run(names: list[str], users: list[str], *, every: int, tell: Callable[[Outcome], None]) -> int:
    """Runs the steps over forms.

    Args:
        names: of the kinds or forms; none is all.
        users: "root" and "nobody".
        every: 1 for all; else the first steps of each form, of the others every so-many-th, and as the other user the
            steps of every so-many-th form.
        tell: is given each outcome with problems.

    Returns:
        how many commands ran.
    """
    count = 0
    prepare()
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder, unsynced():
        Path(folder).chmod(0o755)
        room = Room(Path(folder))
        _ = room.world.layers
        links = archive(member(b"Files", kind=b"5"), member(b"Files/l", kind=b"1", link=b"Files/dir/b.bin"))
        (room.world.folder / "link.tar").write_bytes(links)
        (room.world.folder / "small.img").write_bytes(bytes(1 << 20))
        write_layout(room.world.folder / "image", {"1": samples.small("oci")})
        for number, form in enumerate(chosen(names)):
            place = room.input / form.file_name
            form.build(place, room.world)
            room.canaries.accept()
            for user in users:
                if user != "root" and number % every:
                    continue
                steps = [
                    step
                    for index, step in enumerate(steps_of(form, place, room, user))
                    if index < _ALWAYS or (index + number) % every == 0
                ]
                for outcome in Runner(room, user).run(form, place, iter(steps), every=every):
                    count += 1
                    if outcome.problems:
                        tell(outcome)
                    if _TIMES:
                        print("T", f"{outcome.seconds:.3f}", outcome.step, "|", form.kind, form.name)
            room.clear(room.input)
        room.canaries.assert_whole()
        room.canaries.close()
    return count


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.proof.hostile", description=__doc__)
    parser.add_argument("forms", nargs="*", metavar="KIND[/NAME]", help=f"which forms (default: all of {KINDS})")
    parser.add_argument("--user", action="append", choices=["root", "nobody"], help="default: both")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="a sample: of each N, one")
    arguments = parser.parse_args()
    failed: list[Outcome] = []

    def tell(outcome: Outcome) -> None:
        failed.append(outcome)
        print(outcome, flush=True)

    start, cpu = time.monotonic(), os.times()
    count = run(arguments.forms, arguments.user or ["root", "nobody"], every=arguments.every, tell=tell)
    spent = os.times()
    seconds = sum(spent[:4]) - sum(cpu[:4])
    print(f"{count} commands, {len(failed)} with problems; {time.monotonic() - start:.1f} s, {seconds:.1f} s of CPU")
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
