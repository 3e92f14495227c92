"""Imports the package so that a search sees which way each run takes.

Not used: atheris' hooks of `re` and `str`. The former replaces patterns by objects whose `match` takes no position, the
latter reads the argument of `startswith` as a regular expression. Targets name their words instead.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
from types import ModuleType


def load() -> ModuleType:
    """Imports all targets, with the package instrumented; returns the module `atheris`.

    Raises:
        SystemExit: atheris is not installed.
    """
    try:
        import atheris
    except ImportError:
        raise SystemExit("fuzz: the search needs atheris: pip install -e '.[fuzz]'") from None
    if "wclayer" in sys.modules:
        raise AssertionError("the package is imported before it is instrumented")
    # atheris tells each module's name on its way.
    with contextlib.redirect_stderr(io.StringIO()), atheris.instrument_imports(include=["wclayer"]):
        importlib.import_module("fuzz.targets")
    module: ModuleType = atheris
    return module
