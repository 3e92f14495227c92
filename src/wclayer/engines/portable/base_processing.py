"""`process_base_layer`, `process_utility_vm_image`: the files that a base layer needs before containers run on it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from wclayer._types import StrPath
from wclayer.engines.portable.blank_disks import make_blank_pair
from wclayer.engines.portable.boot_store import read_boot_store
from wclayer.engines.portable.vm_access import grant_access, new_file_access
from wclayer.errors import (
    CorruptLayerError,
    FormatError,
    InvalidDataError,
    InvalidParameterError,
    InvalidStateError,
    LayerError,
    LimitExceededError,
    NotSupportedError,
    PathNotFoundError,
    boundary,
    during,
    errors_at,
)
from wclayer.formats.bcd import read_store
from wclayer.formats.regf.hive import Hive
from wclayer.layers.atomic import Stage, StagedDirectory, StagedFile, wait_for_place
from wclayer.layers.directory import open_layer
from wclayer.layers.directory.file_security import security_record
from wclayer.layers.directory.in_place import InPlaceLayerWriter
from wclayer.layers.directory.problem import Problem
from wclayer.layers.directory.utility_vm import BOOT_STORE
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.layers.hives import LAYER_HIVES
from wclayer.layers.inputs import open_any_place
from wclayer.layers.volume.disk_file import DiskFile
from wclayer.model import limits_in_use
from wclayer.win32.names import path_key
from wclayer.win32.sid import VIRTUAL_MACHINES

LAYOUT_FILE, LAYOUT = "layout", b"vhd-with-hives\n"
BLANK_BASE, BLANK = "blank-base.vhdx", "blank.vhdx"
UTILITY_VM = "UtilityVM"
TEMPLATE_BASE, TEMPLATE = "SystemTemplateBase.vhdx", "SystemTemplate.vhdx"
BASE_SIZE = 20 << 30
TEMPLATE_SIZE = 10 << 30
_DAMAGES = (
    CorruptLayerError,
    InvalidDataError,
    InvalidParameterError,
    InvalidStateError,
    LimitExceededError,
    NotSupportedError,
    PathNotFoundError,
)
"""What a disk that is damaged, or whose parent is missing or another one, raises."""
_PAIRS = (("", BLANK_BASE, BLANK), (UTILITY_VM, TEMPLATE_BASE, TEMPLATE))
"""Each pair of disks of a base layer: the folder, the disk, and its differencing child."""


@during("process base layer")
def process_base_layer(path: StrPath) -> None:
    """Makes `layout` and the two blank disks, and grants all virtual machines access to the disks."""
    with open_layer(path) as layer:
        place = layer.path
        for hive in LAYER_HIVES:
            if layer.lookup(hive.config) is None:
                raise PathNotFoundError(place, f"the layer has no {hive.config}", code=2)
    make_disks(place)


def make_disks(layer: Path) -> None:
    """Makes the files of `process_base_layer`, even in a layer that lacks a hive: scratches do not need the hives."""
    with closing(wait_for_place(layer)):
        _make_base_files(layer, None)
    with errors_at(layer):
        for disk in (BLANK_BASE, BLANK):
            grant_access(VIRTUAL_MACHINES, layer / disk)


@during("process utility VM image")
def process_utility_vm_image(path: StrPath) -> None:
    """Makes the two template disks, and grants all virtual machines access to them."""
    place = Path(os.path.abspath(path))
    with open_layer(place.parent) as layer:
        if layer.lookup(BOOT_STORE) is None:
            raise PathNotFoundError(layer.path, f"the layer has no {BOOT_STORE}", code=2)
    for _ in read_boot_store(place.parent):
        pass
    with closing(wait_for_place(place.parent)):
        _make_template_files(place, None)
    with errors_at(place):
        for disk in (TEMPLATE_BASE, TEMPLATE):
            grant_access(VIRTUAL_MACHINES, place / disk)


def _make_base_files(layer: Path, final: Path | None) -> None:
    with errors_at(layer):
        make_blank_pair(layer / BLANK_BASE, layer / BLANK, BASE_SIZE, final=final)
        if not (layer / LAYOUT_FILE).is_file():
            with StagedFile(layer / LAYOUT_FILE) as staged:
                staged.stream.write(LAYOUT)


def _make_template_files(folder: Path, final: Path | None) -> None:
    with errors_at(folder):
        make_blank_pair(folder / TEMPLATE_BASE, folder / TEMPLATE, TEMPLATE_SIZE, final=final)


@boundary
class ProcessingLayerWriter(DirectoryLayerWriter):
    """A writer of layer directories that also processes base layers, as Windows does: it makes the disks of the layer.

    It does not process a layer that lacks a hive, as image builders on other systems make them, or a utility VM whose
    boot store is damaged.
    """

    def _before_commit(self) -> None:
        if self.chain:
            return
        folder, final = self._staged.path, Path(self.target)
        made = []
        if all(self._records.locate(path_key(hive.config)) is not None for hive in LAYER_HIVES):
            _make_base_files(folder, final)
            made += [BLANK_BASE, BLANK]
        if self._has_sound_boot_store():
            _make_template_files(folder / UTILITY_VM, final / UTILITY_VM)
            made += [f"{UTILITY_VM}/{TEMPLATE_BASE}", f"{UTILITY_VM}/{TEMPLATE}"]
        for name in made:
            self.record(security_record(name), new_file_access(VIRTUAL_MACHINES))

    def _has_sound_boot_store(self) -> bool:
        row = self._records.locate(path_key(BOOT_STORE))
        if row is None or not 0 < row.size <= limits_in_use().hive_size:
            return False
        directory = self._records.directory(path_key(BOOT_STORE.rpartition("/")[0]))
        assert directory is not None
        path = directory.host_child(BOOT_STORE.rpartition("/")[2].encode())
        try:
            for _ in read_store(Hive(self._files.root.read_bytes(path, limits_in_use().hive_size)).root()):
                pass
        except (FormatError, OSError):
            return False
        return True


def disk_problems(layer: Path) -> Iterator[Problem]:
    """Yields the disks of a layer that are damaged, that are not made for each other, or that cannot be read."""
    for folder, base, child in _PAIRS:
        for name, parent in ((base, ""), (child, base)):
            path = layer / folder / name
            if os.path.lexists(path):
                try:
                    text = _damage_of(path, parent)
                except LayerError as error:
                    text = error.detail
                if text:
                    yield Problem(f"{folder}/{name}".lstrip("/"), text)


def _damage_of(disk: Path, parent: str) -> str:
    """Returns what is wrong with a disk; "" if it is sound.

    Args:
        disk: the disk.
        parent: the name of its parent beside it; "" for none.

    Raises:
        LayerError: the host refuses to read it: nobody can say whether it is sound.
    """
    if disk.is_symlink() or not disk.is_file():
        return "is not a regular file"
    try:
        with DiskFile(disk, parent=disk.parent / parent if parent else None) as opened:
            opened.vhdx()
    except _DAMAGES as error:
        return error.detail
    return ""


@boundary
class ReplacingLayerWriter(ProcessingLayerWriter):
    """A writer of a layer that takes the place of a damaged one with the same contents, in one step.

    The disks of the damaged layer stay, if they are sound: the disks of scratches are children of them, and those of
    another base disk fit no scratch that exists.
    """

    def _stage(self, place: Path) -> Stage:
        return StagedDirectory(place, may_replace=lambda: place.is_dir() and not place.is_symlink())

    def _before_commit(self) -> None:
        if not self.chain:
            self._keep_disks(Path(self.target))
        super()._before_commit()

    def _keep_disks(self, damaged: Path) -> None:
        kept = []
        for folder, base, child in _PAIRS:
            for name, parent in ((base, ""), (child, base)):
                source, target = damaged / folder / name, self._staged.path / folder / name
                if not source.is_file() or not target.parent.is_dir() or _damage_of(source, parent):
                    continue
                place = f"{folder}/{name}".lstrip("/")
                with StagedFile(target) as copy, open_any_place(source) as stream:
                    shutil.copyfileobj(stream, copy.stream, 1 << 20)
                self.record(security_record(place), new_file_access(VIRTUAL_MACHINES))
                kept.append(name)
        if BLANK_BASE in kept:
            # Also in a layer that lacks a hive: the disks were made for a scratch.
            _make_base_files(self._staged.path, damaged)


@boundary
class ProcessingInPlaceWriter(ProcessingLayerWriter, InPlaceLayerWriter):
    """A writer that processes a folder that becomes a base layer in place."""
