"""`python -m tests.proof.hosts.core PLACE SOURCES OPERATION…`: runs operations in a process, each in a folder of PLACE.

It prints as JSON what each left, or what it was refused with. SOURCES is a folder with what they read; it is made if it
is not there. The environment variable `TAKEN_AWAY` says what the host lacks (see `taken_away`).
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
from pathlib import Path

from tests.proof import operations
from tests.proof.operations import Operation, layer_at
from tests.proof.world import World, make_sources
from tests.support import layer_tar, put_directories, put_file
from wclayer import LayerError, export_layer_to_tar, import_layer_from_tar
from wclayer.model import LayerWriter

_NAMES = ("n" * 150, "n" * 255, "日" * 80, "日" * 85, "\udc80 unpaired", "e\u0301", "\u00e9", "trailing.", "CON")
_MANY = 520
"""More small files than there are before worker processes make them."""


def _write_names(writer: LayerWriter) -> None:
    put_directories(writer, "Files", "Files/many")
    for number in range(_MANY):
        put_file(writer, f"Files/many/{number}", b"x" * (number % 3))
    for name in _NAMES:
        put_file(writer, f"Files/{name}", name.encode("utf-16-le", "surrogatepass"))
        put_directories(writer, f"Files/many/{name}")


def _import_names(world: World) -> None:
    """Imports names that hosts do not have, and exports the same bytes again."""
    tar = layer_tar(_write_names)
    import_layer_from_tar(io.BytesIO(tar), world.layer, source="names.tar")
    again = io.BytesIO()
    export_layer_to_tar(again, world.layer)
    assert again.getvalue() == tar


OWN: dict[str, Operation] = {
    "names": Operation(_import_names, lambda world: bool(layer_at(world.layer))),
}
"""Operations that only hosts are tried with."""
ALL = operations.EVERY | {"unmount": operations.MOUNTING["unmount"]} | OWN


def _without_case(value: object) -> object:
    """What an operation left, as it is told where names are listed in another case, and so in another order."""
    if isinstance(value, str):
        return value.casefold()
    if isinstance(value, list):
        return sorted(map(_without_case, value), key=repr)
    return tuple(map(_without_case, value)) if isinstance(value, tuple) else value


def run(sources: Path, place: Path, name: str) -> dict[str, object]:
    """Runs an operation; returns the digest of what it left, or the error, and the names that are there after it."""
    place.mkdir()
    world = World(sources, place)
    operation = ALL[name]
    before: list[str] = []
    try:
        try:
            operation.prepare(world)
        finally:
            before = os.listdir(place)
        operation(world)
    except LayerError as error:
        return {"error": type(error).__name__, "text": str(error), "new": sorted(set(os.listdir(place)) - set(before))}
    told = repr(_without_case(operation.result(world))).replace(str(place).casefold(), "PLACE")
    return {"left": hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()}


def main() -> None:
    """Runs what the command line says."""
    place, sources = Path(sys.argv[1]), Path(sys.argv[2])
    if not sources.exists():
        sources.mkdir()
        make_sources(sources)
    print(json.dumps({name: run(sources, place / str(number), name) for number, name in enumerate(sys.argv[3:])}))


if __name__ == "__main__":
    main()
