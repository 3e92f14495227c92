"""What a form of the corpus is, and the list of them all."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.hostile_layers import Layers, make_layers
from tests.old_layers import make_old_chain
from tests.support import copy_layer

TAKEN = frozenset({0})
"""It is odd, and sound."""
REFUSED = frozenset({6})
"""It is damaged, or breaks a rule."""
LIMITED = frozenset({7})
"""It is larger than a limit."""
DAMAGED = frozenset({1, 8})
"""A layer directory: `check` tells it."""
UNSUPPORTED = frozenset({10})
UNUSABLE = frozenset({5})
"""It is not what the command can read: a FIFO, a directory."""
KINDS = (
    "tar",
    "transport",
    "folder",
    "layer",
    "parent",
    "scratch",
    "hive",
    "reg",
    "disk",
    "target",
    "image",
    "layout",
)
"""A tar; a transport folder; a plain folder; the directory of a finished layer; one with a parent of its own beside
it; the directory of a scratch; a tar with a hive in it; a `.reg` text; a disk file; a place for a result; an archive of
images; the directory of an OCI layout."""


class World:
    """What forms are made of: sound layers, and a folder that nothing may touch.

    Args:
        folder: where the layers are built, each when it is first asked for.
        outside: the folder with the canaries; it need not exist yet.
    """

    def __init__(self, folder: Path, outside: Path) -> None:
        self.folder = folder
        self.outside = outside

    @property
    def secret(self) -> Path:
        """The canary that is a regular file."""
        return self.outside / "secret.txt"

    @functools.cached_property
    def layers(self) -> Layers:
        """A base layer, a child of it, and a scratch over both. Copies of them find the same parents."""
        place = self.folder / "layers"
        place.mkdir(parents=True)
        layers = make_layers(place)
        for layer in layers:
            make_old_chain(layer)
        return layers

    def copy(self, layer: Path, place: Path) -> Path:
        """A copy of one of the layers, to tamper with."""
        return copy_layer(layer, place)


Build = Callable[[Path, World], object]
"""Puts a form at a place; what it gives is of no use."""


@dataclass(frozen=True)
class Form:
    """One form of the corpus.

    `finding` is the attack of the list of findings that it is, or is like ("F14"), or the class of attack where none of
    them is; `outcome` has the exit statuses that the first command of its kind may end with, `more` those that the
    others may besides 0, these and what their kind allows. What a form with a `chain` is read over is a base layer.
    """

    kind: str
    name: str
    finding: str
    outcome: frozenset[int]
    build: Build = field(repr=False)
    more: frozenset[int] = frozenset()
    has_parents: bool = False

    @property
    def file_name(self) -> str:
        """What the form's file or folder is called."""
        return "-".join("".join(c if c.isalnum() else " " for c in self.name).split()).lower()


FORMS: dict[tuple[str, str], Form] = {}


def add(
    kind: str,
    name: str,
    finding: str,
    outcome: frozenset[int],
    build: Build,
    *,
    more: frozenset[int] = frozenset(),
    has_parents: bool = False,
) -> None:
    """Puts a form into the list: see `Form`."""
    made = Form(kind, name, finding, outcome, build, more, has_parents)
    assert kind in KINDS
    assert not any(other.file_name == made.file_name for other in FORMS.values() if other.kind == kind), name
    FORMS[kind, name] = made


def form(
    kind: str, finding: str, outcome: frozenset[int], *, more: frozenset[int] = frozenset(), has_parents: bool = False
) -> Callable[[Build], Build]:
    """Registers a function as a form, whose name is the function's."""

    def register(build: Build) -> Build:
        add(
            kind,
            build.__name__.strip("_").replace("_", " "),
            finding,
            outcome,
            build,
            more=more,
            has_parents=has_parents,
        )
        return build

    return register


def forms(kind: str | None = None) -> Iterator[Form]:
    """All forms, or those of a kind."""
    from tests.hostile import corpus  # noqa: F401  (its modules register their forms)

    yield from (form for form in FORMS.values() if kind in (None, form.kind))


def holding(data: bytes) -> Build:
    """A form that is a file with these bytes."""

    def build(place: Path, world: World) -> None:
        place.write_bytes(data)

    return build


def made_of(data: Callable[[], bytes]) -> Build:
    """A form that is a file with the bytes that a function gives."""

    def build(place: Path, world: World) -> None:
        place.write_bytes(data())

    return build
