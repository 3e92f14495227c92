"""Which engine does the functions: Windows itself (`hcs`) where it can, this project (`portable`) elsewhere.

The choice is made once, at the first call that needs it, by `use_engine`, the variable `WCLAYER_ENGINE`, or what the
host has, in this order.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from types import ModuleType

from wclayer.errors import InvalidParameterError, NotSupportedError, during

ENGINES = ("hcs", "portable")
VARIABLE = "WCLAYER_ENGINE"

_choosing = threading.Lock()
_chosen: ModuleType | None = None


@during("choose engine")
def use_engine(name: str | None) -> None:
    """Has all functions done by the engine `name` ("hcs" or "portable"); None: by the one that fits this host.

    Raises:
        InvalidParameterError: there is no such engine.
        NotSupportedError: it cannot run here.
    """
    global _chosen
    engine = _load(name or _fitting())
    with _choosing:
        _chosen = engine


@during("choose engine")
def engine_name() -> str:
    """The name of the engine that does the functions.

    Raises:
        InvalidParameterError, NotSupportedError: `WCLAYER_ENGINE` names one that does not exist, or cannot run here.
    """
    return engine().__name__.rpartition(".")[2]


@during("choose engine")
def engine() -> ModuleType:
    """The package of the engine that does the functions; it has them under their public names.

    Raises:
        InvalidParameterError, NotSupportedError: see `engine_name`.
    """
    global _chosen
    if _chosen is None:
        wanted = _load(os.environ.get(VARIABLE) or _fitting())
        with _choosing:
            _chosen = _chosen or wanted
    return _chosen


def _load(name: str) -> ModuleType:
    if name not in ENGINES:
        raise InvalidParameterError(name, f"no such engine; there are {' and '.join(ENGINES)}")
    if name == "hcs" and sys.platform != "win32":
        raise NotSupportedError(name, "it calls Windows, and this is another system")
    return importlib.import_module(f"wclayer.engines.{name}")


def _fitting() -> str:
    if sys.platform == "win32":
        from wclayer.engines.hcs import vmcompute

        try:
            vmcompute.export("LayerExists")
        except NotSupportedError:
            return "portable"
        return "hcs"
    return "portable"
