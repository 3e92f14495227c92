r"""The five registry hives of a layer: their names in it, and the keys under which Windows mounts them."""

from __future__ import annotations

from dataclasses import dataclass

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
