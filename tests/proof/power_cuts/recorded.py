"""The program whose calls are recorded: does operations as it is told, and says when each begins and ends.

A line of its input is JSON: the name of the operation, and whether it syncs. It answers with the line `begin` when all
is prepared, waits for a line, does the operation, answers with `end` or an error, and waits for a line again.
"""

import json
import sys
from contextlib import nullcontext
from pathlib import Path

import wclayer
from tests.proof.power_cuts.operations import OPERATIONS
from tests.proof.world import World


def main() -> None:
    """Works until its input ends."""
    world = World(Path(sys.argv[1]), Path(sys.argv[2]))
    for line in sys.stdin:
        name, is_synced = json.loads(line)
        world.place.mkdir()
        OPERATIONS[name].prepare(world)
        print("begin", flush=True)
        sys.stdin.readline()
        with nullcontext() if is_synced else wclayer.unsynced():
            OPERATIONS[name](world)
        print("end", flush=True)


if __name__ == "__main__":
    main()
