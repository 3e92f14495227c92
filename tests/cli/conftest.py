"""The layers that the command is tried on: nobody changes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import layer_tar, run
from wclayer import sample


@pytest.fixture(scope="session")
def layers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the layers `base` and `child`, and the tars that they were imported from."""
    folder = tmp_path_factory.mktemp("layers")
    (folder / "base.tar").write_bytes(layer_tar(sample.write_base))
    (folder / "child.tar").write_bytes(layer_tar(sample.write_child))
    run("import", "-i", folder / "base.tar", folder / "base")
    run("import", "-i", folder / "child.tar", "-l", folder / "base", folder / "child")
    return folder
