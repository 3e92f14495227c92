"""`python -m wclayer.engines.hcs.selftest`: shows, on a real Windows host, that the hcs engine works with this Windows.

It makes a base layer, a child and a scratch from the sample in a folder of its own, step by step. It reports the result
of each step, and removes everything at the end. It needs an elevated administrator, and the Windows feature
"Containers". See docs/windows.md.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from wclayer import sample
from wclayer.engines import hcs
from wclayer.engines.hcs import vmcompute
from wclayer.engines.hcs.filter import open_export
from wclayer.engines.hcs.privileges import privileges
from wclayer.errors import LayerError, NotSupportedError
from wclayer.host.root import remove_tree
from wclayer.layers.tar import TarLayerReader, TarLayerWriter
from wclayer.model import Entry, LayerReader, LayerWriter
from wclayer.win32.names import path_key

_GIB = 1 << 30
_VM = "1e3a4c5b-0000-4000-8000-000000000001"
_DATA = b"written in the scratch"


class SelfTest:
    """The steps of the test. Each raises an error if Windows does not do what is expected, and returns a report."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.base = folder / "base"
        self.child = folder / "child"
        self.scratch = folder / "scratch"
        self._volume = ""

    def exports(self) -> str:
        """Checks that this build has the required exports."""
        missing = []
        for name in vmcompute.EXPORTS | vmcompute.STREAMING_EXPORTS:
            try:
                vmcompute.export(name)
            except NotSupportedError:
                missing.append(name)
        required = sorted(set(missing) & set(vmcompute.EXPORTS))
        if required:
            raise AssertionError(f"missing: {', '.join(required)}")
        return f"all of {len(vmcompute.EXPORTS)}; streaming: {'no' if missing else 'yes'}"

    def guids(self) -> str:
        """Reports the GUIDs that Windows has for some names."""
        return ", ".join(f"{name} {hcs.name_to_guid(name)}" for name in ("base", "Base", "ü"))

    def images(self) -> str:
        """Reads the central image store."""
        return f"{len(hcs.system_base_images())} images"

    def import_base(self) -> str:
        """Imports a base layer from a tar, and checks the files that Windows makes for it."""
        tar = _tar(sample.write_base)
        result = hcs.import_layer_from_tar(io.BytesIO(tar), self.base)
        made = [name for name in ("blank-base.vhdx", "blank.vhdx", "layout") if (self.base / name).exists()]
        _require(len(made) == 3 and (self.base / "Hives" / "System_Base").exists(), f"processing made only {made}")
        _require(hcs.layer_exists(self.base), "LayerExists does not know it")
        return f"{result.entries} entries"

    def export_base(self) -> str:
        """Exports the base layer, and checks that its entries are the same, with every time, stream and descriptor."""
        return _compare(_tar(sample.write_base), hcs.new_layer_reader(self.base), is_base=True)

    def import_child(self) -> str:
        """Imports a child layer from a tar."""
        result = hcs.import_layer_from_tar(io.BytesIO(_tar(sample.write_child)), self.child, [self.base])
        return f"{result.entries} entries"

    def export_child(self) -> str:
        """Exports the child layer, and checks that its entries are the same."""
        out = io.BytesIO()
        hcs.export_layer_to_tar(out, self.child, [self.base])
        out.seek(0)
        return _compare(_tar(sample.write_child), TarLayerReader(out), is_base=False)

    def stream_child(self) -> str:
        """Reads the child layer through the streaming exports, if the build has them."""
        try:
            stream = open_export(self.child, [self.base])
        except NotSupportedError:
            return "this build does not have it"
        count = 0
        try:
            while stream.next() is not None:
                count += 1
                while stream.read(1 << 20):
                    pass
        finally:
            stream.close()
        return f"{count} entries"

    def make_scratch(self) -> str:
        """Makes a scratch with its disk."""
        hcs.create_scratch_layer(self.scratch, [self.child, self.base])
        return f"sandbox.vhdx of {(self.scratch / 'sandbox.vhdx').stat().st_size} bytes"

    def expand_scratch(self) -> str:
        """Expands the disk of the scratch, and its volume."""
        hcs.expand_scratch_size(self.scratch, 30 * _GIB)
        return "30 GiB"

    def grant(self) -> str:
        """Grants a virtual machine access to the disk."""
        hcs.grant_vm_access(_VM, self.scratch / "sandbox.vhdx")
        return _VM

    def mount_scratch(self) -> str:
        """Activates and prepares the scratch, and checks that it shows the layers below it."""
        hcs.activate_layer(self.scratch)
        hcs.prepare_layer(self.scratch, [self.child, self.base])
        self._volume = hcs.get_layer_mount_path(self.scratch)
        _require(bool(self._volume), "it has no mount path")
        _require(os.path.isdir(os.path.join(self._volume, "Windows")), f"{self._volume} shows no Windows")
        size = shutil.disk_usage(self._volume).total
        _require(size > 29 * _GIB, f"its volume has only {size} bytes")
        return f"{self._volume}, {size / _GIB:.1f} GiB"

    def write_scratch(self) -> str:
        """Writes a file in the scratch."""
        _require(bool(self._volume), "the scratch is not mounted")
        Path(self._volume, "selftest.txt").write_bytes(_DATA)
        return "selftest.txt"

    def unmount_scratch(self) -> str:
        """Unprepares and deactivates the scratch."""
        hcs.unprepare_layer(self.scratch)
        hcs.deactivate_layer(self.scratch)
        return ""

    def export_scratch(self) -> str:
        """Exports the scratch as a layer, and checks that it contains the file."""
        out = io.BytesIO()
        hcs.export_layer_to_tar(out, self.scratch, [self.child, self.base])
        out.seek(0)
        with TarLayerReader(out) as reader:
            found = {item.entry.name: item.entry.size for item in reader}
        _require(found.get("Files/selftest.txt") == len(_DATA), f"selftest.txt is not among {len(found)} entries")
        return f"{len(found)} entries"

    def destroy(self) -> str:
        """Removes all three layers."""
        for layer in (self.scratch, self.child, self.base):
            hcs.destroy_layer(layer)
            _require(not layer.exists(), f"{layer} is still there")
        return ""

    def steps(self) -> list[Callable[[], str]]:
        """Returns all steps, in order."""
        return [
            self.exports, self.guids, self.images, self.import_base, self.export_base, self.import_child,
            self.export_child, self.stream_child, self.make_scratch, self.expand_scratch, self.grant,
            self.mount_scratch, self.write_scratch, self.unmount_scratch, self.export_scratch, self.destroy,
        ]  # fmt: skip

    def clean_up(self) -> None:
        """Removes the remains of a failure, as far as Windows permits."""
        for undo in (hcs.unprepare_layer, hcs.deactivate_layer, hcs.destroy_layer):
            _try(undo, self.scratch)
        for layer in (self.child, self.base):
            _try(hcs.destroy_layer, layer)
        try:
            with privileges(str(self.folder)):
                remove_tree(self.folder)
        except OSError as error:
            print(f"      cleaning up: {error}")


def _try(undo: Callable[[Path], None], layer: Path) -> None:
    if layer.exists():
        try:
            undo(layer)
        except LayerError as error:
            print(f"      cleaning up: {error}")


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise AssertionError(otherwise)


def _tar(write: Callable[[LayerWriter], None]) -> bytes:
    out = io.BytesIO()
    with TarLayerWriter(out) as writer:
        write(writer)
    return out.getvalue()


def _compare(tar: bytes, found: LayerReader, *, is_base: bool) -> str:
    """Checks that a layer has the entries of a tar, in any order, and returns a report.

    Raises:
        AssertionError: an entry is missing or differs.
    """
    with TarLayerReader(io.BytesIO(tar), is_base=is_base) as reader:
        wanted = dict(_facts(reader))
    with found:
        there = dict(_facts(found))
    missing = sorted(wanted.keys() - there.keys())
    _require(not missing, f"{len(missing)} entries are missing, {missing[0] if missing else ''} first")
    # One name of a file with several names is the file, and the others are links. The order decides which.
    different = [name for name, facts in wanted.items() if None not in (facts, there[name]) and facts != there[name]]
    _require(not different, f"{len(different)} entries differ, {different[0] if different else ''} first")
    return f"{len(wanted)} entries are the same, {len(there) - len(wanted)} are new"


def _facts(reader: LayerReader) -> list[tuple[str, tuple[object, ...] | None]]:
    """Returns each entry's path key, and the values of the entry that must be the same; None for a link."""
    found = []
    for item in reader:
        entry = item.entry
        streams = [(stream.name, stream.read_all()) for stream in item.streams()]
        found.append((path_key(entry.name), None if entry.link_target is not None else _plain(entry, streams)))
    return found


def _plain(entry: Entry, streams: list[tuple[str, bytes]]) -> tuple[object, ...]:
    if entry.info is None:
        return ("tombstone",)
    # The file system sets the change time itself, and possibly the access time.
    times = entry.info.creation_time, entry.info.last_write_time
    return (*times, entry.info.attributes, entry.security, entry.eas, entry.reparse, streams)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the steps.

    Returns:
        0 if every step succeeded, otherwise 1.
    """
    parser = argparse.ArgumentParser(prog="python -m wclayer.engines.hcs.selftest", description=__doc__)
    parser.add_argument("--folder", help="an NTFS folder to work in (default: one below the user's temporary folder)")
    options = parser.parse_args(arguments)
    test = SelfTest(Path(tempfile.mkdtemp(prefix="wclayer-selftest-", dir=options.folder)))
    failures = 0
    print(f"Windows {'.'.join(map(str, sys.getwindowsversion()[:3]))}, in {test.folder}")
    try:
        for step in test.steps():
            start = time.monotonic()
            try:
                said = step()
                verdict = "ok  "
            except (LayerError, OSError, AssertionError, ValueError, KeyError) as error:
                said, verdict = str(error), "FAIL"
                failures += 1
            print(f"{verdict}  {step.__name__:<16} {time.monotonic() - start:7.2f} s  {said}", flush=True)
    finally:
        test.clean_up()
    print("everything went well" if not failures else f"{failures} of {len(test.steps())} steps failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
