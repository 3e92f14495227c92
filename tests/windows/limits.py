"""What of the suite cannot run in the Windows Python under Wine, and why.

docs/windows.md says what this leaves open.
"""

from __future__ import annotations

import re

NEEDS_WITNESS = re.compile(r"needs [a-z][a-z0-9._-]*\Z")
"""What a test says that needs a program of Linux (`tests.support.witness`); it runs with that program on the host."""

_TIMES = "Wine does not keep a file's creation and change time, which a transport folder has on NTFS"
_HOLES = "Wine does not tell how much space a file takes"
_SURROGATES = "Wine cannot store a name with an unpaired surrogate"
_LINKS = "Wine makes no symbolic links that programs see"
_CUT_OFF = "Wine cuts a name off at 255 bytes of UTF-8"
_CONTRACT = "tests/layers/test_contract.py::"

LIMITS: dict[str, str] = {
    "tests/cli/test_cli.py::test_a_closed_pipe_is_no_traceback": "needs the shell's pipes and head",
    "tests/cli/test_cli.py::test_a_terminal_gets_a_progress_bar": "needs a pseudo-terminal",
    "tests/engines/test_activation.py::test_where_fuse_is_missing": "the message for Linux; Windows has its own test",
    "tests/engines/test_functions.py::test_destroy_layer_removes_only_layers": _LINKS,
    "tests/engines/test_functions.py::test_make_base_layer_refuses_what_has_no_place": _LINKS,
    "tests/engines/test_functions.py::test_host_names_that_are_no_text": "names on Windows are text",
    "tests/engines/test_functions.py::test_transport_folders_compare_without_case": "Wine does not respell a name",
    "tests/engines/test_scratch.py::test_imports_process_base_layers": _HOLES,
    "tests/formats/vhdx/test_vhdx.py::test_holes_stay_holes": _HOLES,
    _CONTRACT + "test_everything_comes_back[Transport]": _SURROGATES,
    _CONTRACT + "test_backup_streams_carry_everything[Transport]": _SURROGATES,
    _CONTRACT + "test_parents_come_before_their_children[Transport]": _SURROGATES,
    _CONTRACT + "test_random_layers_come_back[Transport]": _TIMES,
    "tests/layers/test_directory.py::test_names_that_the_host_cannot_hold": _CUT_OFF,
    "tests/layers/test_directory.py::test_many_small_files_go_through_workers": _CUT_OFF,
    "tests/layers/test_directory.py::test_sparse_files_take_no_space": _HOLES,
    "tests/layers/test_directory.py::test_check_finds[<lambda>-Files/Windows/win.ini-a file, but not on": _LINKS,
    "tests/layers/test_directory.py::test_deep_trees": "takes minutes: Wine looks names up from the host's root",
    "tests/layers/test_update.py::test_killed_at_every_step": "needs fork",
    "tests/layers/test_vectors.py::test_our_transport_folder_to_tar_keeps_times_too": _TIMES,
    "tests/layers/test_volume.py::test_sizes_and_what_has_no_place": _HOLES,
}
"""Node ids, or what they start with, and the reason."""


def reason(nodeid: str) -> str | None:
    """Why a test cannot run there; None if it can."""
    return next((why for start, why in LIMITS.items() if nodeid.startswith(start)), None)
