"""`take_inventory`: runs all collectors over an image, a layer, a scratch or a disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain

from wclayer._types import StrPath
from wclayer.errors import LimitExceededError, during, limit_hint
from wclayer.images.opening import ImageLayers
from wclayer.inventory.collectors import (
    appx,
    certificates,
    dotnet,
    environment,
    features,
    msi,
    operating_system,
    ports,
    programs,
    services,
    tasks,
    updates,
    users,
)
from wclayer.inventory.collectors.file_collector import Dispatch, FileCollector
from wclayer.inventory.collectors.guarding import Found, guarded, told_once
from wclayer.inventory.collectors.packages.java import JavaPackages
from wclayer.inventory.collectors.packages.node import NodePackages
from wclayer.inventory.collectors.packages.nuget import NugetPackages
from wclayer.inventory.collectors.packages.python import PythonPackages
from wclayer.inventory.collectors.pe_files import PeFiles
from wclayer.inventory.facts.chain import ImageFacts
from wclayer.inventory.item import KIND_ORDER, Finding, FindingKind, Inventory, Item
from wclayer.inventory.opening import open_subject
from wclayer.inventory.subject.files import SubjectFile, SubjectFiles
from wclayer.inventory.subject.readings import KnownFiles
from wclayer.inventory.subject.subject import Subject
from wclayer.layers.directory import LayerDirectory
from wclayer.layers.progress import Progress, ProgressCallback, report
from wclayer.model import limits_in_use
from wclayer.win32.names import path_key


@dataclass(frozen=True, slots=True)
class Collector:
    """What reads the registry, the configuration, or files at known places.

    Attributes:
        what: what a finding says of the place if the function does not.
        collect: the function.
        reads: the files that it reads beside the hives.
        uses_config: whether it reads the configuration of the image.
    """

    what: str
    collect: Callable[[Subject], Found]
    reads: tuple[KnownFiles, ...] = ()
    uses_config: bool = False


COLLECTORS = (
    Collector(operating_system.KEY, operating_system.collect, uses_config=True),
    Collector("updates", updates.collect),
    Collector("features", features.collect),
    Collector("programs", programs.collect),
    Collector("MSI products", msi.collect),
    Collector("AppX packages", appx.collect, appx.READS),
    Collector(".NET", dotnet.collect, dotnet.READS),
    Collector("services", services.collect),
    Collector("tasks", tasks.collect, tasks.READS),
    Collector("users", users.collect),
    Collector("environment", environment.collect, uses_config=True),
    Collector("ports", ports.collect, uses_config=True),
    Collector("certificates", certificates.collect, certificates.READS),
)

FILE_COLLECTORS: tuple[type[FileCollector], ...] = (PeFiles, PythonPackages, NodePackages, JavaPackages, NugetPackages)
"""What looks into files of C: in one walk over all of them. Each states the names of the files that it is asked for."""
_DISPATCH = Dispatch(FILE_COLLECTORS)

MAX_FOUND = 96 << 20
"""Bytes of items and findings that are kept in memory. The largest images of Windows have some ten thousand items."""
_OBJECT, _PROPERTY = 300, 80
"""About how many bytes an object takes without its texts, and a property of an item."""


@during("take inventory", takes_over=True)
def take_inventory(
    subject: ImageLayers | ImageFacts | StrPath,
    *,
    files: bool = True,
    paths: Iterable[str] | None = None,
    progress: ProgressCallback | None = None,
) -> Inventory:
    """Returns what an image, a layer, a scratch or a disk holds.

    Layers are read over their parents: the files and the registry are those that a container sees.

    Args:
        subject: an open image (`open_image`, or `open_image_facts`), the path of a layer directory, or that of a disk
            file.
        files: whether all files of C: are looked at, for packages and PE files. It takes most of the time.
        paths: the paths below C: (with slashes) of the files that are looked at, and beside which files are whose
            names say what a directory holds, such as `package.json`; None for all files.
        progress: called for each file that was looked at.

    Returns:
        The inventory. What is damaged is one of its findings.

    Raises:
        PathNotFoundError, NotALayerError, CorruptLayerError: the layer cannot be opened.
        InvalidDataError, NotSupportedError: the disk holds no intact NTFS volume.
        LayerError: the host refuses to read.
    """
    with closing(open_subject(subject)) as opened:
        chosen = opened.files.walk() if paths is None else _near(opened.files, paths)
        return _whole_inventory(opened, chosen if files else (), progress)


@during("take inventory")
def inventory_of_layer(layer: LayerDirectory, name: str, *, progress: ProgressCallback | None = None) -> Inventory:
    """Returns what an open layer holds, without its parents.

    Args:
        layer: the layer, which the caller closes.
        name: what the user calls it.
        progress: called for each file that was looked at.

    Raises:
        LayerError: the layer is damaged, or the host refuses to read.
    """
    subject = Subject.of_open_layer(layer, name)
    return _whole_inventory(subject, subject.files.walk(), progress)


def _whole_inventory(subject: Subject, files: Iterable[SubjectFile], progress: ProgressCallback | None) -> Inventory:
    return inventory_of(subject, chain(_of_known_places(subject), of_files(subject, files, progress) if files else ()))


def inventory_of(subject: Subject, found: Iterable[Item | Finding]) -> Inventory:
    """Returns the inventory of a subject.

    Args:
        subject: what was inventoried.
        found: what was found in it. Beyond the memory for that, the rest is left out, with a finding.
    """
    kept = list(_up_to_limit(found))
    config, manifest = subject.config, subject.manifest
    return Inventory(
        name=subject.name,
        digest="" if manifest is None else manifest.descriptor.digest,
        created="" if config is None else config.created,
        layers=subject.layers,
        items=tuple(sorted((each for each in kept if isinstance(each, Item)), key=lambda item: KIND_ORDER[item.kind])),
        findings=told_once(each for each in kept if isinstance(each, Finding)),
    )


def _of_known_places(subject: Subject) -> Found:
    for collector in COLLECTORS:
        yield from guarded(collector.what, collector.collect, subject)


def of_files(subject: Subject, files: Iterable[SubjectFile], progress: ProgressCallback | None = None) -> Found:
    """Yields what the collectors find that look into files.

    Args:
        subject: what is inventoried.
        files: the files that are looked at, and others.
        progress: called for each of them.
    """
    collectors = {kind: kind(subject) for kind in FILE_COLLECTORS}
    state = Progress()

    def walk() -> Found:
        most = limits_in_use().entries
        for count, file in enumerate(files, 1):
            if count > most:
                raise LimitExceededError(file.windows_path, f"more than {most} entries {limit_hint('entries')}")
            state.entries, state.name = count, file.path
            report(state, progress)
            if not file.is_directory and not file.is_link:
                for kind in _DISPATCH.asked_for(file.name):
                    yield from guarded(file.windows_path, collectors[kind].collect, file)

    yield from guarded("C:\\", walk)
    for collector in collectors.values():
        yield from guarded("C:\\", collector.finish)


def _up_to_limit(found: Iterable[Item | Finding]) -> Found:
    left = MAX_FOUND
    for each in found:
        left -= weight_of(each)
        if left < 0:
            yield Finding(
                FindingKind.LIMITED, "C:\\",
                f"holds more than {MAX_FOUND >> 20} MiB of items and findings; the others are left out",
            )  # fmt: skip
            return
        yield each


def weight_of(found: Item | Finding) -> int:
    """Returns about how many bytes of memory an item or a finding takes."""
    if isinstance(found, Finding):
        return _OBJECT + len(found.place) + len(found.text)
    texts = [found.name, found.version, found.publisher, found.origin.place]
    size = 2 * _OBJECT
    for value in found.properties.values():
        size += _PROPERTY
        if isinstance(value, str):
            texts.append(value)
        elif isinstance(value, list):
            texts += value
            size += _PROPERTY * len(value)
    return size + sum(map(len, texts))


def _near(files: SubjectFiles, paths: Iterable[str]) -> Iterator[SubjectFile]:
    """Yields the files at some paths, and those beside them that are asked for by name."""
    names: dict[str, set[str]] = {}
    for path in paths:
        directory, _, name = path_key(path).rpartition("/")
        names.setdefault(directory, set()).add(name)
    for directory, wanted in names.items():
        found = files.find(directory)
        for file in () if found is None else files.children(found):
            if path_key(file.name) in wanted or _DISPATCH.knows(file.name):
                yield file
