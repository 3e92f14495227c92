"""Where inputs are kept, and how they are run again.

In the repository, `fuzz/corpus/TARGET` has the smallest inputs that together reach what was ever reached, and
`fuzz/finds/TARGET` those that once showed a fault. Beside it, ignored by git, `.fuzz/TARGET/corpus` has what the
searches on this machine came upon, and `.fuzz/TARGET/finds` the finds that nobody has mended yet, with tracebacks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from fuzz.bounds import bounded
from fuzz.targets import TARGETS

_FUZZ = Path(__file__).parent
_WORK = _FUZZ.parent / ".fuzz"


class FindError(Exception):
    """A run gave what is not allowed, or went beyond its bounds."""


def kept(name: str) -> Path:
    """The folder of a target's corpus in the repository."""
    return _FUZZ / "corpus" / name


def kept_finds(name: str) -> Path:
    """The folder of a target's finds in the repository."""
    return _FUZZ / "finds" / name


def found(name: str) -> Path:
    """The folder of the inputs that searches on this machine came upon."""
    return _WORK / name / "corpus"


def new_finds(name: str) -> Path:
    """The folder of the finds on this machine."""
    return _WORK / name / "finds"


def write(folder: Path, data: bytes) -> Path:
    """Puts an input into a folder, under a name that its bytes give; returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / hashlib.sha256(data).hexdigest()[:16]
    file.write_bytes(data)
    return file


def files(*folders: Path) -> Iterator[Path]:
    """The inputs in folders; the texts beside finds are none."""
    for folder in folders:
        if folder.is_dir():
            yield from sorted(file for file in folder.iterdir() if file.suffix != ".txt")


def inputs(name: str) -> Iterator[tuple[str, bytes]]:
    """All inputs that the repository has for a target: the place of each, and its bytes."""
    for number, data in enumerate(TARGETS[name].seeds()):
        yield f"seed {number}", data
    for file in files(kept(name), kept_finds(name)):
        yield str(file), file.read_bytes()


def run(name: str, place: str, data: bytes) -> None:
    """Runs a target on an input, within the bounds of time and memory.

    Args:
        name: the target's.
        place: where the input comes from, for the message.
        data: the input.

    Raises:
        FindError: the run gives what is not allowed; the message names the target and the place.
    """
    try:
        with bounded():
            TARGETS[name].one(data)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise FindError(f"{name}: {place}: {type(error).__name__}: {error}") from error
