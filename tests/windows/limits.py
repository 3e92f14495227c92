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
_SPECIAL = "Windows has no FIFOs, sockets and devices as files, and no files for open files"
_NO_NAME = "no file there has such a name"
_DEEP = "takes minutes: Wine looks names up from the host's root"
_TEXT = "names on Windows are text"
_BEFORE_EXEC = "nothing of ours runs in a new process before its program does"
_OPEN_FOLDER = "Windows renames no folder in which files are open"
_EXCHANGE = "other hosts cannot exchange two folders"
_SWEEP = "takes minutes, and what reads changed bytes asks nothing of the host"
_POSIX = "links and FIFOs of POSIX"
_PROC = "the witness needs /proc"
_COPIES = "tests/cli/test_copies.py::"
_PROCESS = "tests/cli/test_process.py::"
_OUTPUTS = "tests/cli/test_outputs.py::"
_HOSTILE = "tests/layers/test_hostile_layers.py::"
_MIGRATION = "tests/layers/test_migration.py::"
_CONTRACT = "tests/layers/test_contract.py::"
_FUSE = "a view is mounted through FUSE"
_VERBS = "tests/images/test_verbs_take_images.py::"
_CREDENTIALS = "tests/images/test_credentials.py::"
_SCRIPTS = "the programs of the test are scripts of POSIX"

LIMITS: dict[str, str] = {
    "tests/inventory/cve/test_cve_verb.py::test_the_path_of_a_layer_need_not_be_text": _TEXT,
    "tests/inventory/facts/test_archive.py::test_contents_that_are_missing_are_refused": _LINKS,
    _CREDENTIALS + "test_programs_come_before_the_file": _SCRIPTS,
    _CREDENTIALS + "test_a_program_that_fails_is_named": _SCRIPTS,
    _CREDENTIALS + "test_a_login_keeps_the_other_keys_in_their_order": _LINKS,
    "tests/images/test_archive_members.py::test_an_archive_may_be_compressed_or_come_from_a_pipe": _SPECIAL,
    "tests/images/test_layout.py::test_an_archive_is_written_into_a_pipe": _SPECIAL,
    "tests/images/test_layout.py::test_no_link_in_a_layout_is_followed": _LINKS,
    "tests/images/test_store.py::test_a_link_in_the_folder_is_refused": _LINKS,
    "tests/images/test_store.py::test_something_else_at_the_place_of_a_blob_is_refused[blobs/sha256/{}-link": _LINKS,
    "tests/images/test_store.py::test_something_else_at_the_place_of_a_blob_is_refused[ingest/{}.part-link": _LINKS,
    "tests/images/test_store.py::test_something_else_at_the_place_of_a_blob_is_refused[blobs/sha256/{}-fifo": _SPECIAL,
    "tests/images/test_store.py::test_something_else_at_the_place_of_a_blob_is_refused[ingest/{}.part-fifo": _SPECIAL,
    "tests/images/test_layout.py::test_a_killed_write_leaves_a_layout": "kills by a signal",
    "tests/images/test_repair.py::": _EXCHANGE,
    "tests/cli/test_cli.py::test_a_closed_pipe_is_no_traceback": "needs the shell's pipes and head",
    "tests/cli/test_cli.py::test_a_terminal_gets_a_progress_bar": "needs a pseudo-terminal",
    _OUTPUTS + "test_on_a_terminal_what_is_found_is_printed_before_the_next_is_looked_for": "needs a pseudo-terminal",
    _COPIES + "test_a_file_onto_itself_is_refused[cp-": _LINKS,
    _COPIES + "test_a_name_that_windows_has_not_leaves_nothing": _NO_NAME,
    _COPIES + "test_what_cannot_be_copied_is_found_first[_fifo-": _SPECIAL,
    _COPIES + "test_what_cannot_be_copied_is_found_first[_socket-": _SPECIAL,
    _COPIES + "test_what_cannot_be_copied_is_found_first[_dangling-": _LINKS,
    _COPIES + "test_what_cannot_be_copied_is_found_first[_loop-": _LINKS,
    _COPIES + "test_what_cannot_be_copied_is_found_first[_bad_name-": _NO_NAME,
    _COPIES + "test_what_cannot_be_copied_is_found_first[_other_case-": "two names that differ in case are one there",
    _COPIES + "test_a_fifo_alone_is_refused": _SPECIAL,
    _COPIES + "test_links_go_to_the_host_or_are_told": _LINKS,
    _COPIES + "test_nothing_is_written_through_a_link_of_the_host": _LINKS,
    _COPIES + "test_a_deep_tree_is_copied": _DEEP,
    _COPIES + "test_names_of_the_host_come_back[gone": _TEXT,
    _COPIES + "test_names_of_the_host_come_back[\\xed": _SURROGATES,
    _PROCESS + "test_a_closed_stream_is_no_traceback": _BEFORE_EXEC,
    _PROCESS + "test_no_file_gets_the_descriptor_of_a_closed_stream": _BEFORE_EXEC,
    _PROCESS + "test_a_full_disk_below_the_output_is_told": "needs /dev/full, which Wine shows as a terminal",
    _PROCESS + "test_what_is_listed_can_be_given_back_in_any_locale[locale0]": _TEXT,
    _PROCESS + "test_every_verb_takes_any_name[gone": _TEXT,
    _PROCESS + "test_an_interrupt_of_work_is_one_line": "no process there can interrupt one other",
    _PROCESS + "test_a_process_that_ignores_interrupts_goes_on": _BEFORE_EXEC,
    _PROCESS + "test_a_signal_that_the_process_ignores_does_not_end_it": _BEFORE_EXEC,
    _OUTPUTS + "test_an_existing_file_keeps_its_mode_and_owner": "modes and owners are of POSIX",
    "tests/cli/test_several.py::test_what_can_go_wrong_is_found_before_anything_is_written": _NO_NAME,
    "tests/search/test_find.py::test_gnu_find_finds_the_same": "another program is called find there",
    "tests/cli/test_defaults.py::test_only_a_file_that_others_cannot_write_is_found": "modes and owners are of POSIX",
    _OUTPUTS + "test_a_link_is_followed": _LINKS,
    _OUTPUTS + "test_a_fifo_is_written_to": _SPECIAL,
    _OUTPUTS + "test_a_device_is_written_to": "only root makes devices",
    _OUTPUTS + "test_an_open_file_is_written_to_where_it_is": _SPECIAL,
    _OUTPUTS + "test_a_disk_is_not_written_to_a_stream": _SPECIAL,
    _OUTPUTS + "test_a_result_never_goes_into_what_is_read": _LINKS,
    _OUTPUTS + "test_a_disk_is_not_converted_onto_what_it_is_made_of": _LINKS,
    _OUTPUTS + "test_a_block_device_is_written_to_where_it_is_large_enough": _SPECIAL,
    _OUTPUTS + "test_a_stream_is_imported_whole": _SPECIAL,
    _OUTPUTS + "test_a_fifo_where_a_file_is_needed_is_refused": _SPECIAL,
    _OUTPUTS + "test_a_reg_file_may_be_a_stream": _SPECIAL,
    _OUTPUTS + "test_nothing_but_the_tar_is_in_the_standard_output": _SPECIAL,
    _OUTPUTS + "test_a_reg_file_in_the_standard_output_has_no_other_line": _SPECIAL,
    _OUTPUTS + "test_a_tar_is_not_written_to_a_terminal": "needs a pseudo-terminal",
    "tests/images/test_outputs.py::test_nothing_but_the_archive_is_in_the_standard_output[/dev/": _SPECIAL,
    "tests/engines/test_activation.py::test_where_fuse_is_missing": "the message for Linux; Windows has its own test",
    "tests/engines/test_containerd.py::test_a_scratch_of_a_copied_disk_is_mounted": _FUSE,
    _VERBS + "test_an_image_in_a_store_that_is_only_read_is_used_as_it_is": "another user of POSIX",
    _VERBS + "test_an_image_is_mounted_and_its_layers_stay_while_it_is": _FUSE,
    _VERBS + "test_a_shell_in_an_image_is_in_a_folder_that_goes": _FUSE,
    "tests/engines/test_relinking.py::test_a_layer_that_is_reached_by_a_link_finds_its_parents": _LINKS,
    "tests/engines/test_relinking.py::test_a_name_that_cannot_be_spelled_relative_is_recorded_absolute": _NO_NAME,
    "tests/engines/test_relinking.py::test_a_layer_replaces_a_scratch_that_was_moved_with_its_parents": _EXCHANGE,
    "tests/engines/test_containerd.py::test_a_scratch_is_committed_over_its_own_path": _EXCHANGE,
    "tests/engines/test_containerd.py::test_a_commit_that_fails_leaves_the_scratch": _EXCHANGE,
    "tests/engines/test_containerd.py::test_the_command_replaces_a_scratch_only_if_told_to": _EXCHANGE,
    "tests/engines/test_containerd.py::test_what_is_wrong_with_the_parents_of_a_scratch_is_told": _EXCHANGE,
    "tests/engines/test_destroy.py::test_a_link_to_a_layer_is_said_to_be_one": _LINKS,
    "tests/engines/test_destroy.py::test_a_file_system_mounted_in": "only root mounts, and only Linux has tmpfs",
    "tests/engines/test_destroy.py::test_a_scratch_whose_server_was_killed": "needs FUSE",
    "tests/engines/test_functions.py::test_destroy_layer_removes_only_layers": _LINKS,
    "tests/engines/test_open_iterators.py::test_a_layer_is_closed_however_its_check_ends": _PROC,
    _CONTRACT + "test_every_reader_and_writer_is_in_the_table": "loads the modules of POSIX",
    _MIGRATION + "test_a_process_that_is_killed_in_the_middle_leaves_the_old_layer": "kills by a signal",
    _MIGRATION + "test_old_layers_are_read_where_nothing_can_be_written": "only Linux has tmpfs",
    "tests/engines/test_functions.py::test_make_base_layer_refuses_what_has_no_place": _LINKS,
    "tests/engines/test_functions.py::test_host_names_that_are_no_text": _TEXT,
    "tests/engines/test_functions.py::test_transport_folders_compare_without_case": "Wine does not respell a name",
    "tests/engines/test_scratch.py::test_imports_process_base_layers": _HOLES,
    "tests/formats/vhdx/test_vhdx.py::test_holes_stay_holes": _HOLES,
    _CONTRACT + "test_everything_comes_back[Transport]": _SURROGATES,
    _CONTRACT + "test_backup_streams_carry_everything[Transport]": _SURROGATES,
    _CONTRACT + "test_damage_is_told_with_the_path[Folder]": _LINKS,
    _CONTRACT + "test_random_layers_come_back[Transport]": _TIMES,
    "tests/layers/test_directory.py::test_names_that_the_host_cannot_hold": _CUT_OFF,
    "tests/layers/test_directory.py::test_a_cloned_directory_keeps_its_name_on_the_host": _CUT_OFF,
    "tests/layers/test_directory.py::test_every_time_of_windows_is_kept": _TIMES,
    "tests/layers/test_directory.py::test_a_link_with_an_impossible_name_waits_for_its_target": _CUT_OFF,
    "tests/layers/test_directory.py::test_many_small_files_go_through_workers": _CUT_OFF,
    "tests/layers/test_directory.py::test_sparse_files_take_no_space": _HOLES,
    "tests/layers/test_directory.py::test_a_layer_that_is_replaced_while_it_stays_open": _OPEN_FOLDER,
    "tests/layers/test_directory.py::test_check_finds[<lambda>-Files/Windows/win.ini-a file, but not on": _LINKS,
    "tests/layers/test_directory.py::test_deep_trees": _DEEP,
    "tests/layers/test_durability.py": _PROC,
    _HOSTILE + "test_every_verb_ends_well_on_a_database_with_some_damaged_bytes": _SWEEP,
    _HOSTILE + "test_a_column_that_no_layer_has_is_told_by_entry_and_name": _SWEEP,
    _HOSTILE + "test_other_tables_are_checked_too": _SWEEP,
    _HOSTILE + "test_a_link_in_a_layer_is_not_followed": _POSIX,
    _HOSTILE + "test_what_is_no_file_in_the_place_of_one_hangs_nobody": _POSIX,
    _HOSTILE + "test_a_link_is_made_of_files_only": _POSIX,
    _HOSTILE + "test_a_chain_names_no_path_that_the_host_cannot_have": "Windows can have such paths",
    _HOSTILE + "test_a_file_that_is_one_hole_is_refused_before_it_comes_out": _POSIX,
    _HOSTILE + "test_what_lies_in_the_way_is_damage_of_the_layer": _POSIX,
    _HOSTILE + "test_many_roots_keep_few_directories_open": "descriptors are counted by POSIX",
    "tests/layers/test_identity.py::test_the_short_way_recognises_only_what_is_canonical": _SWEEP,
    "tests/layers/test_limits.py::test_a_plain_folder_with_holes_is_bounded": "Wine writes the zeros of a hole",
    "tests/layers/test_scratch_durability.py": _PROC,
    "tests/layers/test_tar_to_disk.py::test_a_tar_that_can_be_read_only_once_becomes_a_disk": _SPECIAL,
    "tests/layers/test_transport.py::test_tombstones_that_are_no_file_are_refused_by_name[link]": _POSIX,
    "tests/layers/test_transport.py::test_tombstones_that_are_no_file_are_refused_by_name[fifo]": _POSIX,
    "tests/layers/test_transport.py::test_what_is_no_file_in_a_transport_folder_is_refused_by_name": _POSIX,
    "tests/layers/test_transport.py::test_transport_folders_with_names": "this host holds the two names for one",
    "tests/layers/test_transport.py::test_a_transport_folder_says_what_it_cannot_hold_of_a_hive": _TIMES,
    "tests/inventory/collectors/test_python_packages.py::test_pip_and_importlib_say_the_same_of_this_environment": (
        "it has no pip"
    ),
    "tests/layers/test_transport.py::test_the_times_of_a_host_file_without_ours": _TIMES,
    "tests/layers/test_update.py::test_killed_at_every_step": "needs fork",
    "tests/layers/test_vectors.py::test_our_transport_folder_to_tar_keeps_times_too": _TIMES,
    "tests/view/test_session.py": "needs POSIX' sockets",
}
"""Node ids, or what they start with, and the reason."""


def reason(nodeid: str) -> str | None:
    """Why a test cannot run there; None if it can."""
    return next((why for start, why in LIMITS.items() if nodeid.startswith(start)), None)
