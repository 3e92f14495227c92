"""The selection of the engine: `hcs`, which calls Windows, if it is available, otherwise `portable`.

The engine is chosen once, at the first call that needs it: by `use_engine`, by the environment variable
`WCLAYER_ENGINE`, or by what the host supports, in this order.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING

from wclayer.errors import InvalidParameterError, NotSupportedError, during

if TYPE_CHECKING:
    # The command needs the engines' names before it needs an engine, whose types are in many modules.
    from wclayer.engines.engine import Engine

ENGINES = ("hcs", "portable")
VARIABLE = "WCLAYER_ENGINE"

_choosing = threading.Lock()
_chosen: Engine | None = None


@during("choose engine")
def use_engine(name: str | None) -> None:
    """Chooses the engine that carries out the functions of this package from now on.

    Args:
        name: "hcs" or "portable"; None chooses the default engine of this host.

    Raises:
        InvalidParameterError: there is no such engine.
        NotSupportedError: the engine is not available on this host.
    """
    global _chosen
    wanted = _load(name or _fitting())
    with _choosing:
        _chosen = wanted


@during("choose engine")
def engine(name: str | None = None) -> Engine:
    """Returns an engine, whose methods are the functions of this package.

    Args:
        name: "hcs" or "portable"; None means the chosen engine (see `use_engine`).

    Raises:
        InvalidParameterError: there is no such engine; `WCLAYER_ENGINE` may have named it.
        NotSupportedError: the engine is not available on this host.
    """
    global _chosen
    if name is not None:
        return _load(name)
    if _chosen is None:
        wanted = _load(os.environ.get(VARIABLE) or _fitting())
        with _choosing:
            _chosen = _chosen or wanted
    return _chosen


def engine_name() -> str:
    """Returns the name of the chosen engine.

    Raises:
        InvalidParameterError, NotSupportedError: see `engine`.
    """
    return engine().name


def _load(name: str) -> Engine:
    """Returns an engine. mypy checks here that each module has all functions of `Engine`, with their types."""
    if name == "portable":
        from wclayer.engines.portable import engine as portable

        return portable
    if name != "hcs":
        raise InvalidParameterError(name, f"no such engine; there are {' and '.join(ENGINES)}")
    if sys.platform == "win32":
        from wclayer.engines import hcs

        return hcs
    raise NotSupportedError(name, "the hcs engine is only available on Windows; use portable, or name none")


def _fitting() -> str:
    if sys.platform == "win32":
        from wclayer.engines.hcs import vmcompute

        try:
            vmcompute.export("LayerExists")
        except NotSupportedError:
            return "portable"
        return "hcs"
    return "portable"
