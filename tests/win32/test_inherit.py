"""ACL inheritance: what a new file or directory gets from its parent directory."""

from __future__ import annotations

import pytest

from wclayer.win32.inherit import inherit, map_generic, volume_root
from wclayer.win32.sddl import from_sddl, to_sddl


def _below(parent: str, *, is_directory: bool) -> str:
    text = to_sddl(inherit(from_sddl(parent), is_directory=is_directory))
    return text.partition("D:")[2]


@pytest.mark.parametrize(
    ("parent", "file", "directory"),
    [
        # A plain inheritable entry.
        ("D:(A;OICI;FA;;;BA)", "AI(A;ID;FA;;;BA)", "AI(A;OICIID;FA;;;BA)"),
        # Only for files: a directory hands it down.
        ("D:(A;OI;FA;;;BA)", "AI(A;ID;FA;;;BA)", "AI(A;OIIOID;FA;;;BA)"),
        # Not propagated further.
        ("D:(A;OICINP;FA;;;BA)", "AI(A;ID;FA;;;BA)", "AI(A;ID;FA;;;BA)"),
        # CREATOR OWNER and generic rights: resolved, and for a directory handed down as they are.
        ("D:(A;OICIIO;GA;;;CO)", "AI(A;ID;FA;;;BA)", "AI(A;ID;FA;;;BA)(A;OICIIOID;GA;;;CO)"),
        ("D:(A;OICI;GRGX;;;BU)", "AI(A;ID;0x1200a9;;;BU)", "AI(A;ID;0x1200a9;;;BU)(A;OICIIOID;GXGR;;;BU)"),
        # Nothing inheritable: the token's default.
        ("D:(A;;FA;;;WD)", "(A;;FA;;;BA)(A;;FA;;;SY)", "(A;;FA;;;BA)(A;;FA;;;SY)"),
        # Only for directories.
        ("D:(A;CI;FA;;;BA)(A;OICI;FR;;;BU)", "AI(A;ID;FR;;;BU)", "AI(A;CIID;FA;;;BA)(A;OICIID;FR;;;BU)"),
        # Denials keep their place.
        ("D:(D;OICI;SD;;;BU)(A;OICI;FA;;;BA)", "AI(D;ID;SD;;;BU)(A;ID;FA;;;BA)",
         "AI(D;OICIID;SD;;;BU)(A;OICIID;FA;;;BA)"),
    ],
)  # fmt: skip
def test_dacl(parent: str, file: str, directory: str) -> None:
    assert _below(parent, is_directory=False) == file
    assert _below(parent, is_directory=True) == directory


def test_sacl_is_inherited_with_its_audit_flags() -> None:
    child = inherit(from_sddl("D:(A;OICI;FA;;;BA)S:(AU;OICISA;FA;;;WD)"), is_directory=False)
    assert to_sddl(child).partition("S:")[2] == "AI(AU;IDSA;FA;;;WD)"


def test_two_levels_below_a_volume_s_root() -> None:
    """What Windows gives `C:\\folder` and `C:\\folder\\file`, administrators creating both."""
    folder = inherit(volume_root(), is_directory=True)
    file = inherit(folder, is_directory=False)
    assert to_sddl(folder) == (
        "O:BAG:SYD:AI(A;OICIID;FA;;;SY)(A;OICIID;FA;;;BA)(A;OICIID;0x1200a9;;;BU)(A;CIID;LC;;;BU)(A;CIID;DC;;;BU)"
        "(A;ID;FA;;;BA)(A;OICIIOID;GA;;;CO)"
    )
    assert to_sddl(file) == "O:BAG:SYD:AI(A;ID;FA;;;SY)(A;ID;FA;;;BA)(A;ID;0x1200a9;;;BU)(A;ID;FA;;;BA)"


def test_generic_rights_of_files() -> None:
    assert map_generic(0x80000000) == 0x120089
    assert map_generic(0x40000000) == 0x120116
    assert map_generic(0x20000000) == 0x1200A0
    assert map_generic(0x10000000) == 0x1F01FF
    assert map_generic(0x80000001) == 0x120089 | 1
