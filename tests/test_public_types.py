"""Every type that a public function or method takes or returns is public, too."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator
from typing import Any

import wclayer
from wclayer.engines.engine import Engine

# What constructors take that readers and writers of this package alone give each other.
OWN = {
    "wclayer.errors.during",
    "wclayer.images.archive.opened.ImageArchive",
    "wclayer.images.registry.client.RegistryClient",
    "wclayer.images.store.folder.StoreFolder",
    "wclayer.images.store.ingest.FollowedBlob",  # an io.BufferedReader
    "wclayer.layers.base.LayerReaderBase",
    "wclayer.layers.base.LayerWriterBase",
    "wclayer.layers.directory.database.EntryRow",
    "wclayer.layers.directory.layer.LayerDirectory",
    "wclayer.layers.names.Kind",
    "wclayer.layers.names.NameChecker",
    "wclayer.layers.names.Names",
    "wclayer.layers.volume.writer.Copier",
    "wclayer.view.open_files.OpenFile",
    "wclayer.view.open_files.StreamBuffer",
    "wclayer.view.registry.LayerHives",  # a Registry
}
_NAMED_FOR_CHECKERS = {
    "Engine": Engine, "ImageFacts": wclayer.ImageFacts, "ImageLayers": wclayer.ImageLayers,
    "RegistryOptions": wclayer.RegistryOptions, "ReadableBuffer": bytes, "WriteableBuffer": bytearray,
}  # fmt: skip
"""What modules import for type checkers only."""
_DUNDERS = ("__init__", "__iter__", "__next__", "__enter__")


def _annotated(value: object) -> Iterator[Any]:
    """A function, or a class and its public methods and properties."""
    if inspect.isfunction(value):
        yield inspect.unwrap(value)
    elif isinstance(value, type):
        yield value
        for name, member in vars(value).items():
            if name.startswith("_") and name not in _DUNDERS:
                continue
            if isinstance(member, property):
                member = member.fget
            elif isinstance(member, (classmethod, staticmethod)):
                member = member.__func__
            if inspect.isfunction(member):
                yield inspect.unwrap(member)


def _classes(annotation: object) -> Iterator[type]:
    for argument in typing.get_args(annotation):
        for part in argument if isinstance(argument, list) else [argument]:
            yield from _classes(part)
    origin = typing.get_origin(annotation) or annotation
    if isinstance(origin, type):
        yield origin


def test_types_of_the_public_names_are_public() -> None:
    public = {value for name in wclayer.__all__ if isinstance(value := getattr(wclayer, name), type)}
    found = set()
    for name in wclayer.__all__:
        for annotated in _annotated(getattr(wclayer, name)):
            hints = typing.get_type_hints(annotated, localns=_NAMED_FOR_CHECKERS)
            for parameter, annotation in hints.items():
                if not parameter.startswith("_"):
                    found |= {kind for kind in _classes(annotation) if kind.__module__.startswith("wclayer")}
    assert len(found & public) > 40
    hidden = {f"{kind.__module__}.{kind.__qualname__}" for kind in found - public if not kind.__name__.startswith("_")}
    assert hidden == OWN
