r"""The five registry hives of a layer: their names in it, and the keys under which Windows mounts them."""

from __future__ import annotations

from dataclasses import dataclass

from wclayer.win32.names import path_key

CONFIG = "Files/Windows/System32/config"
HIVES_ROOT = "Hives"
LOG_SUFFIXES = (".LOG", ".LOG1", ".LOG2")


@dataclass(frozen=True, slots=True)
class LayerHive:
    r"""A hive: the stem of its names in `Hives`, its name in `Windows\System32\config`, where it is mounted."""

    stem: str
    config_name: str
    mount: tuple[str, ...]

    @property
    def config(self) -> str:
        """The path of the hive in a base layer."""
        return f"{CONFIG}/{self.config_name}"

    @property
    def delta(self) -> str:
        """The path of its changes in a child layer."""
        return f"{HIVES_ROOT}/{self.stem}_Delta"

    @property
    def base(self) -> str:
        """The path of the layer's effective hive, which is made from the other hives and never exported."""
        return f"{HIVES_ROOT}/{self.stem}_Base"


LAYER_HIVES = (
    LayerHive("DefaultUser", "DEFAULT", ("HKEY_USERS", ".DEFAULT")),
    LayerHive("Sam", "SAM", ("HKEY_LOCAL_MACHINE", "SAM")),
    LayerHive("Security", "SECURITY", ("HKEY_LOCAL_MACHINE", "SECURITY")),
    LayerHive("Software", "SOFTWARE", ("HKEY_LOCAL_MACHINE", "SOFTWARE")),
    LayerHive("System", "SYSTEM", ("HKEY_LOCAL_MACHINE", "SYSTEM")),
)
HIVE_PATHS = tuple(path for hive in LAYER_HIVES for path in (hive.config, hive.delta, hive.base))
"""The paths of all hives that a layer may have."""
MAX_LOG = 1 << 27
"""The largest log in bytes that is read when a hive is opened."""
_HIVE_KEYS = frozenset(map(path_key, HIVE_PATHS))
_LOG_KEYS = frozenset(key + suffix for key in _HIVE_KEYS for suffix in LOG_SUFFIXES)


def is_hive(key: str) -> bool:
    """Returns whether a path key is that of a hive: a whole one, or one of changes."""
    return key in _HIVE_KEYS


def is_log(key: str) -> bool:
    """Returns whether a path key is that of a log of a hive."""
    return key in _LOG_KEYS
