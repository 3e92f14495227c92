"""What is inventoried: an image, a layer over its parents, a scratch, or a disk, as files, a registry and documents."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from types import TracebackType
from typing import Self

from wclayer._types import StrPath
from wclayer.errors import InvalidDataError, boundary
from wclayer.images.config import ImageConfig
from wclayer.images.manifest import Manifest
from wclayer.inventory.item import SubjectLayer
from wclayer.inventory.subject.disk_files import DiskFiles
from wclayer.inventory.subject.files import SubjectFiles
from wclayer.inventory.subject.layer_files import LayerFiles
from wclayer.inventory.subject.layers import subject_layers
from wclayer.inventory.subject.registry import DiskHives, SubjectRegistry
from wclayer.layers.directory import LayerDirectory, open_layer
from wclayer.view.machine_environment import FIXED, expanded, machine_variables
from wclayer.view.merged import MergedTree
from wclayer.view.registry import LayerHives, Registry


@boundary
class Subject:
    """What is inventoried, a context manager. Use `of_layers` or `of_disk`.

    Attributes:
        name: what the user calls it.
        layers: its layers, base layer first.
        files: its files below C:.
        registry: its registry.
        manifest: the manifest of the image; None if it is no image.
        config: the configuration of the image; None if it is no image.
    """

    operation = "take inventory"

    def __init__(
        self,
        name: str,
        layers: tuple[SubjectLayer, ...],
        files: SubjectFiles,
        registry: SubjectRegistry,
        held: ExitStack,
        manifest: Manifest | None = None,
        config: ImageConfig | None = None,
    ) -> None:
        self.name = name
        self.layers = layers
        self.files = files
        self.registry = registry
        self.manifest = manifest
        self.config = config
        self._held = held

    @classmethod
    def of_layers(
        cls,
        paths: Sequence[StrPath],
        name: str,
        manifest: Manifest | None = None,
        config: ImageConfig | None = None,
    ) -> Self:
        """Returns a chain of layers as a subject.

        Args:
            paths: the layer directories, nearest first. One path means that layer without its parents.
            name: what the user calls it.
            manifest, config: the documents of the image, if it is one.

        Raises:
            PathNotFoundError, NotALayerError, CorruptLayerError: a layer cannot be opened.
        """
        with ExitStack() as stack:
            directories = [stack.enter_context(open_layer(path)) for path in reversed(paths)]
            tree = stack.enter_context(MergedTree(list(paths), remember=False))
            registry = stack.enter_context(Registry(paths[0], alone=len(paths) == 1))
            layers = subject_layers(list(reversed(paths)), manifest, config)
            files = LayerFiles(tree, layers)
            return cls(
                name, layers, files, SubjectRegistry(registry, files, layers, directories), stack.pop_all(),
                manifest, config,
            )  # fmt: skip

    @classmethod
    def of_open_layer(cls, layer: LayerDirectory, name: str) -> Self:
        """Returns an open layer, without its parents, as a subject. The caller closes the layer.

        Args:
            layer: the layer.
            name: what the user calls it.
        """
        layers = subject_layers([layer.path], None, None)
        files = LayerFiles(MergedTree([layer], remember=False), layers)
        return cls(name, layers, files, SubjectRegistry(LayerHives([layer]), files, layers, [layer]), ExitStack())

    @classmethod
    def of_disk(cls, path: StrPath) -> Self:
        """Returns the volume in a disk file as a subject.

        Raises:
            PathNotFoundError: the file does not exist.
            InvalidDataError, NotSupportedError: it holds no intact NTFS volume.
        """
        name = os.fspath(path)
        layers = (SubjectLayer(number=1, digest="", diff_id="", created_by="", is_base=True, path=name),)
        with ExitStack() as stack:
            files = DiskFiles(path, layers[0])
            stack.callback(files.close)
            return cls(name, layers, files, SubjectRegistry(DiskHives(files, name), files, layers), stack.pop_all())

    @cached_property
    def variables(self) -> Mapping[str, str]:
        """The values of the machine's environment variables, and of those that Windows always sets, by their folded
        names; of these alone if the others cannot be read. A value that its references make too long stays as it is."""
        try:
            stored = machine_variables(self.registry.find)
        except InvalidDataError:
            stored = []
        return {folded: value for folded, (_, value) in expanded(stored, FIXED, strict=False).items()}

    def close(self) -> None:
        """Closes the layers or the disk."""
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
