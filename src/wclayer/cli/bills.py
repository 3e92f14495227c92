"""The options of `inventory` for bills of materials: files in two forms, and what is attached to the image."""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, Protocol, TypeVar, cast

import click

from wclayer.builder.clock import Clock
from wclayer.cli.attach import attached_text
from wclayer.cli.layer_argument import LayerArgument
from wclayer.cli.output import results_beside
from wclayer.errors import InvalidParameterError, PathNotFoundError, during
from wclayer.images.attaching import attach_stream
from wclayer.images.location import Location, Transport
from wclayer.images.opening import find_place
from wclayer.inventory.item import Inventory
from wclayer.inventory.sbom.cyclonedx import write_cyclonedx
from wclayer.inventory.sbom.forms import components
from wclayer.inventory.sbom.spdx import write_spdx
from wclayer.layers.atomic import OutputFile, is_standard_output
from wclayer.win32.shown import count_text

_Command = TypeVar("_Command", bound=Callable[..., Any])


class _Write(Protocol):
    def __call__(self, inventory: Inventory, stream: BinaryIO, *, epoch: int | None = None) -> None: ...


@dataclass(frozen=True, slots=True)
class _Form:
    """A form of bills: its name, its media type, what files of it are called, and how it is written."""

    name: str
    media_type: str
    title: str
    write: _Write


_CYCLONEDX = _Form("CycloneDX 1.6", "application/vnd.cyclonedx+json", "sbom.cdx.json", write_cyclonedx)
_SPDX = _Form("SPDX 2.3", "application/spdx+json", "sbom.spdx.json", write_spdx)


@dataclass(frozen=True, slots=True)
class Bills:
    """The bills that a user wants.

    Attributes:
        cyclonedx, spdx: the files; "" for none.
        attach: whether the bills are attached to the image.
    """

    cyclonedx: str
    spdx: str
    attach: bool

    def __bool__(self) -> bool:
        return bool(self.cyclonedx or self.spdx or self.attach)

    @contextmanager
    def told_beside(self, layer: LayerArgument) -> Iterator[None]:
        """Checks what is wanted before the work, and prints results on the error stream inside the context if a bill is
        written to the standard output.

        Raises:
            InvalidParameterError: both bills have one file, or nothing can be attached to what is inventoried.
            click.UsageError: the standard output is a terminal.
        """
        if self.cyclonedx and self.cyclonedx == self.spdx:
            raise InvalidParameterError(self.spdx, "is named for both --cyclonedx and --spdx")
        if self.attach:
            _place_of(layer)
        Clock.of(reproducible=False)
        with ExitStack() as held:
            for file in filter(None, (self.cyclonedx, self.spdx)):
                held.enter_context(results_beside(file, "a bill of materials"))
            yield

    def deliver(self, inventory: Inventory, layer: LayerArgument) -> Iterator[str]:
        """Writes and attaches the bills, and yields what was done."""
        inventory = _with_whole_name(inventory, layer)
        files = {form: file for form, file in ((_CYCLONEDX, self.cyclonedx), (_SPDX, self.spdx)) if file}
        epoch = Clock.of(reproducible=False).epoch
        count = count_text(sum(1 for _ in components(inventory)), "component")
        for form, file in files.items():
            with OutputFile(file, sources=[each.path for each in inventory.layers]) as output:
                form.write(inventory, output.stream, epoch=epoch)
            yield f"wrote {file}: {form.name}, {count}"
        if self.attach:
            for form in files or [_CYCLONEDX]:
                title = os.path.basename(files.get(form, ""))
                is_title = title and not is_standard_output(files[form])
                yield _attached(form, title if is_title else form.title, inventory, layer, epoch)


def _attached(form: _Form, title: str, inventory: Inventory, layer: LayerArgument, epoch: int | None) -> str:
    """Attaches a bill to the image that it is about, and returns what was done."""
    image = str(replace(_place_of(layer), name=inventory.digest))
    with during("attach file", image, takes_over=True), cast(BinaryIO, tempfile.TemporaryFile()) as stream:
        form.write(inventory, stream, epoch=epoch)
        result = attach_stream(image, stream, title, layer.store, media_type=form.media_type)
    return attached_text(str(layer), title, result)


def _with_whole_name(inventory: Inventory, layer: LayerArgument) -> Inventory:
    """Returns an inventory of an image of the store with the whole name of the image: the user may write its end."""
    # An image that is named by its digest, in a registry, or that has several such names, keeps what the user wrote.
    with suppress(PathNotFoundError, InvalidParameterError):
        place = find_place(layer.text, layer.store) if layer.is_image else None
        if isinstance(place, Location) and place.transport is Transport.STORE:
            return replace(inventory, name=layer.store.full_name(place.name))
    return inventory


def _place_of(layer: LayerArgument) -> Location:
    """Returns where the image is to which a bill is attached.

    Raises:
        InvalidParameterError: it is no image, or in an archive.
    """
    place = find_place(layer.text, layer.store) if layer.is_image else None
    if not isinstance(place, Location) or place.transport not in (Transport.STORE, Transport.LAYOUT):
        raise InvalidParameterError(layer.text, "--attach needs an image in the store or in a layout")
    return place


def bill_options(function: _Command) -> _Command:
    """Adds the options to a verb, which gets them as one argument, `bills` (`Bills`)."""

    @functools.wraps(function)
    def call(*arguments: Any, cyclonedx: str, spdx: str, attach: bool, **more: Any) -> Any:
        return function(*arguments, bills=Bills(cyclonedx, spdx, attach), **more)

    decorated: Any = call
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


_OPTIONS = (
    click.option("--cyclonedx", metavar="FILE", default="", help="Write a CycloneDX 1.6 bill (JSON); - is the output."),
    click.option("--spdx", metavar="FILE", default="", help="Write an SPDX 2.3 bill (JSON); - is the output."),
    click.option("--attach", is_flag=True, help="Attach the bills to the image; by default, one in CycloneDX."),
)
