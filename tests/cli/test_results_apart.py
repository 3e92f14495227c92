"""A result never replaces a file of what it is made of: neither of the layer that is named nor of a parent."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.inventory.cve.forms import Case, cvrf_json
from tests.inventory.subjects import base, child
from tests.support import run

_VERBS = {
    "reg export": ["reg", "export", "LAYER", r"HKLM\SOFTWARE", "FILE"],
    "inventory --cyclonedx": ["inventory", "LAYER", "--cyclonedx", "FILE"],
    "inventory --spdx": ["inventory", "LAYER", "--spdx", "FILE"],
    "export-rootfs": ["export-rootfs", "LAYER", "-o", "FILE"],
    "diff --html": ["diff", "LAYER", "LAYER", "--html", "FILE"],
    "report": ["report", "LAYER", "LAYER", "-o", "FILE"],
    "cve --sarif": ["cve", "LAYER", "DOCUMENT", "--sarif", "FILE"],
    "cve --vex": ["cve", "LAYER", "DOCUMENT", "--vex", "FILE"],
}


@pytest.mark.parametrize("verb", _VERBS)
def test_a_file_of_the_layer_or_of_its_parent_is_no_place_for_a_result(tmp_path: Path, verb: str) -> None:
    parent = base(tmp_path, {})
    layer = child(tmp_path, parent, {})
    document = tmp_path / "document.json"
    document.write_bytes(cvrf_json(Case()))
    for folder in (layer, parent):
        file = folder / "layer.db"
        before = file.read_bytes()
        words = {"LAYER": layer, "FILE": file, "DOCUMENT": document}
        run(*(words.get(word, word) for word in _VERBS[verb]), status=5)
        assert file.read_bytes() == before
