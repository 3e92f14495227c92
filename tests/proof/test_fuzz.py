"""The inputs that fuzzing left in the repository go through their targets again, with neither search nor atheris."""

from __future__ import annotations

import ast
import functools
import sys
import threading
from pathlib import Path
from types import FrameType

import pytest

import wclayer
from fuzz import bounds, corpus
from fuzz.targets import TARGETS


def test_a_run_that_never_ends_is_ended() -> None:
    with pytest.raises(bounds.OutOfTimeError), bounds.bounded(seconds=1):
        while True:
            pass


def test_a_run_that_takes_more_memory_than_it_may_is_told_so() -> None:
    with pytest.raises(MemoryError), bounds.bounded():
        bytearray(2 * bounds.MEMORY)


def test_no_folder_of_inputs_is_without_a_target() -> None:
    folders = {
        folder.name for each in (corpus.kept(""), corpus.kept_finds("")) if each.is_dir() for folder in each.iterdir()
    }
    assert folders <= set(TARGETS)


PACKAGE = Path(wclayer.__file__).parent
# Modules outside of `formats/` and `win32/` that read what others wrote.
PARSERS = (
    "builder/commands/cmd_language.py", "builder/commands/expansion.py", "builder/commands/icacls_words.py",
    "builder/commands/powershell/binding.py", "builder/commands/powershell/command_line.py",
    "builder/commands/powershell/expression_parser.py", "builder/commands/powershell/expressions.py",
    "builder/commands/powershell/language.py", "builder/commands/powershell/name_patterns.py",
    "builder/commands/powershell/programs.py",
    "builder/commands/powershell/reader.py", "builder/commands/powershell/registry_values.py",
    "builder/commands/powershell/values.py", "builder/commands/powershell/word_parser.py", "builder/commands/words.py",
    "builder/dockerfile/forms.py", "builder/dockerfile/ignore.py", "builder/dockerfile/ignore_patterns.py",
    "builder/dockerfile/instructions.py", "builder/dockerfile/lines.py", "builder/dockerfile/parser.py",
    "builder/dockerfile/patterns.py", "builder/dockerfile/reading.py", "builder/dockerfile/values.py",
    "builder/dockerfile/words.py",
    "engines/descriptor.py", "fleet/pace/rate.py", "fleet/sources/file.py", "fleet/sources/filters.py",
    "fleet/sources/locations.py", "images/archive/members.py", "images/choice.py", "images/config.py",
    "images/descriptor.py", "images/docker_archive/made.py", "images/docker_archive/original.py",
    "images/docker_archive/saved.py", "images/json_edit.py", "images/json_view.py", "images/layout/index.py",
    "images/layout/named.py", "images/manifest.py", "images/platform.py", "images/reference.py",
    "images/registry/challenge.py", "images/registry/credentials.py", "images/windows_version.py",
    "inventory/cve/advisory.py", "inventory/cve/csaf.py", "inventory/cve/cve_json.py", "inventory/cve/cvrf_json.py",
    "inventory/cve/cvrf_xml.py", "inventory/cve/json_fields.py", "inventory/cve/matching.py",
    "inventory/cve/parsing.py", "inventory/cve/versions.py",
    "inventory/collectors/packages/archives.py", "inventory/collectors/packages/documents.py",
    "inventory/collectors/packages/embedded.py",
    "inventory/collectors/packages/java.py", "inventory/collectors/packages/node.py",
    "inventory/collectors/packages/nuget.py",
    "inventory/collectors/packages/python.py", "inventory/collectors/pe_files.py",
    "inventory/facts/archive.py", "inventory/facts/contents.py", "inventory/facts/summary.py",
    "inventory/collectors/appx_name.py", "inventory/collectors/task_document.py", "inventory/collectors/x509.py",
    "rights/access.py", "rights/audit/judge.py", "rights/explain.py", "rights/kinds.py", "rights/principals.py",
    "layers/directory/rows.py", "layers/json_file.py", "layers/tar/header_delta.py", "layers/tar/members.py",
    "layers/tar/reader.py", "layers/transport/reader.py", "layers/volume/kinds.py", "view/fuse/operations.py",
    "search/contents.py", "search/pattern.py", "view/resolve.py",
)  # fmt: skip
NO_PARSERS = {
    "formats/disk.py": "a protocol",
    "formats/regf/composition.py": "puts deltas together that others have read",
    "formats/regf/empty.py": "makes a hive",
    "formats/vhdx/create.py": "makes a disk",
    "formats/ntfs/builder.py": "makes a volume",
    "formats/ntfs/index.py": "makes an index",
    "formats/ntfs/plain_files.py": "makes records",
    "formats/ntfs/records.py": "makes records",
    "formats/tar/writer.py": "makes a tar",
    "win32/shown.py": "makes text for people",
    "win32/upcase.py": "a table",
}
"""Modules of `formats/` and `win32/` that read nothing, each with what it is."""


def test_the_corpus_and_the_finds_give_nothing_that_is_not_allowed_and_every_parser_is_run() -> None:
    called: set[tuple[str, str]] = set()
    _forget_what_is_cached()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            called.add((frame.f_code.co_filename, frame.f_code.co_qualname))

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        for name in TARGETS:
            for place, data in corpus.inputs(name):
                corpus.run(name, place, data)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    files = [PACKAGE / name for name in PARSERS]
    for folder in ("formats", "win32"):
        files += (file for file in (PACKAGE / folder).rglob("*.py") if _name(file) not in NO_PARSERS)
    missed = {}
    for file in files:
        functions = _functions(file)
        here = {function for function in functions if (str(file), function) not in called}
        if len(here) > len(functions) * 0.4:
            missed[_name(file)] = sorted(here)
    assert missed == {}


def _forget_what_is_cached() -> None:
    """Empty the caches of the package's functions: one whose answers earlier tests left there would not be called."""
    for name, module in list(sys.modules.items()):
        if name.startswith("wclayer."):
            for value in list(vars(module).values()):
                if isinstance(value, functools._lru_cache_wrapper):
                    value.cache_clear()


def _name(file: Path) -> str:
    return file.relative_to(PACKAGE).as_posix()


def _functions(file: Path) -> list[str]:
    """The qualified names of a module's functions and methods, without those of protocols."""
    found = []
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            found.append(node.name)
        elif isinstance(node, ast.ClassDef) and not any("Protocol" in ast.unparse(base) for base in node.bases):
            found += [f"{node.name}.{part.name}" for part in node.body if isinstance(part, ast.FunctionDef)]
    return found
