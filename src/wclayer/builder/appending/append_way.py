r"""Whether a layer can be made without the layers of the base, whose manifest and configuration alone are read then.

Every entry of a layer states all of its metadata. So the layer of a new file has entries for the directories above it,
and they hide those of the base: their descriptors, attributes and times must be known. Nothing of the base is needed
where everything above a new entry is new, too, and lies directly below `C:\`, whose descriptor is that of the root of
every system volume.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from wclayer.builder.scratch_base import FROM_SCRATCH
from wclayer.images.config import ImageConfig
from wclayer.images.history import find_base
from wclayer.win32.names import name_key

_NAMES_OF_WINDOWS = (
    "Boot", "BOOTNXT", "bootmgr", "BOOTSECT.BAK", "bootTel.dat", "Config.Msi", "Documents and Settings",
    "DumpStack.log", "DumpStack.log.tmp", "EFI", "ESD", "hiberfil.sys", "inetpub", "License.txt", "MSOCache",
    "pagefile.sys", "PerfLogs", "Program Files", "Program Files (Arm)", "Program Files (x86)", "ProgramData",
    "Recovery", "swapfile.sys", "System Volume Information", "Users", "WcSandboxState", "Windows", "Windows.old",
    "WindowsAzure",
)  # fmt: skip
r"""The names directly below `C:\` that images of Windows have, or may get from Windows. Those with a "$" at their
beginning are Windows' own, too."""
_OF_WINDOWS = frozenset(map(name_key, _NAMES_OF_WINDOWS))


@dataclass(frozen=True, slots=True)
class Way:
    """How a layer on top of an image is made.

    Attributes:
        needs_base: True if the layers of the base are needed.
        reason: the reason, as a sentence without a full stop.
    """

    needs_base: bool
    reason: str


def choose_way(
    config: ImageConfig,
    *,
    changes_registry: bool,
    made: Mapping[str, str],
    stated: Mapping[str, str],
    brought: Iterable[Mapping[str, str]],
    assume_new: bool = False,
) -> Way:
    r"""Returns whether the layers of the base are needed for what is to be added to an image.

    Names are those directly below `C:\`, by their keys.

    Args:
        config: the configuration of the image.
        changes_registry: the registry is to be changed.
        made: what the additions make or change: names by keys.
        stated: the names on which, or below which, a descriptor is stated; "" is `C:\` itself.
        brought: for each layer tar, the names that it has.
        assume_new: the user states that the layers above Windows' own have none of the names.
    """
    if changes_registry:
        return Way(True, "a change of the registry is merged into the hives of the base")
    tars = list(brought)
    for key, name in made.items():
        place = f"C:\\{name}"
        if key in _OF_WINDOWS or key.startswith("$"):
            return Way(True, f"{place} is in the base, and what it has there must stay in its entry of the new layer")
        if "~" in name:
            return Way(True, f"{place} may be the short name of something in the base")
        if any(key in names for names in tars):
            return Way(True, f"{place} is in a layer tar, too, and goes over what is there")
    for key, name in stated.items():
        if key not in made:
            return Way(True, f"C:\\{name} is not made here, and keeps its other metadata")
    if not made:
        return Way(False, "a layer tar has the metadata of its directories in it")
    names = _listed(made.values())
    if _is_windows_alone(config):
        return Way(False, f"all layers of the image are Windows' own, which do not have {names}")
    if assume_new:
        return Way(False, f"--assume-new states that the image does not have {names}")
    is_from_scratch = bool(config.history) and config.history[0].created_by == FROM_SCRATCH
    if is_from_scratch and len(config.diff_ids) == 1:
        return Way(True, "the new layer has an entry for C:\\, which stays as it is in the base from scratch")
    base = "the base from scratch" if is_from_scratch else "Windows' own"
    return Way(
        True, f"a layer above {base} may have {names}; --assume-new states that none has, and nothing is fetched then"
    )


def _is_windows_alone(config: ImageConfig) -> bool:
    """Returns whether all layers of an image are those of Microsoft's base image, by its history."""
    base = find_base(config)
    return base is not None and bool(base.layers) and base.layers == len(config.diff_ids)


def _listed(names: Iterable[str]) -> str:
    places: Sequence[str] = [f"C:\\{name}" for name in names]
    if len(places) > 3:
        places = [*places[:2], f"{len(places) - 2} more"]
    return " and ".join(filter(None, (", ".join(places[:-1]), *places[-1:])))
