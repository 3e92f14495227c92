"""What the verbs that make images share: how their sources are opened, and what is told of the result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from wclayer.builder.delivery import deliver
from wclayer.builder.results import MadeImage
from wclayer.builder.workspace import NewLayer
from wclayer.cli.output import echo, print_json, results_beside
from wclayer.cli.transfer_bars import transfer_bars
from wclayer.images.location import Location, Transport, image_location, open_source
from wclayer.images.registry import RegistryOptions
from wclayer.images.store import ImageStore
from wclayer.images.transport import ImageSource


def opened_image(opened: ExitStack, place: Location, store: ImageStore, registry: RegistryOptions) -> ImageSource:
    """Opens an image that is closed with a context."""
    return opened.enter_context(open_source(place, store=store, registry=registry))


def make_image(
    image: ImageSource,
    places: Sequence[Location],
    new: str,
    store: ImageStore,
    registry: RegistryOptions,
    *,
    as_json: bool,
) -> None:
    """Copies what was composed to the place that the user names, and tells what was made."""
    with told_beside([new]):
        with transfer_bars(quiet=False) as transfer:
            root = deliver(image, places, [image_location(new)], store, registry, transfer)
        if as_json:
            print_json({"name": new, "digest": root.digest, "media_type": root.media_type})
        else:
            echo(f"made {new}: {root.digest}")


@contextmanager
def told_beside(names: Sequence[str]) -> Iterator[None]:
    """Prints results on the error stream inside the context if an image is written to the standard output.

    Args:
        names: the names and places of the image.

    Raises:
        InvalidParameterError: one is no name and no place.
        click.UsageError: see `results_beside`.
    """
    with ExitStack() as held:
        for name in names:
            held.enter_context(results_beside(image_location(name).archive_file, "an archive"))
        yield


def pushed_too(names: Sequence[str], *, push: bool) -> list[str]:
    """Returns the names of an image, and with --push the places in the registries of those that are in the store."""
    places = [image_location(name) for name in names] if push else []
    stored = [f"docker://{place.name}" for place in places if place.transport is Transport.STORE]
    return [*names, *stored]


def names_text(names: Sequence[str]) -> str:
    """Returns the names of an image after what was done (" as app:1, app:latest"); "" for none."""
    return f" as {', '.join(names)}" if names else ""


def made_record(made: MadeImage) -> dict[str, Any]:
    """Returns what JSON says of an image that was made."""
    return {"digest": made.digest, "media_type": made.descriptor.media_type}


def layer_record(layer: NewLayer | None) -> dict[str, Any] | None:
    """Returns what JSON says of a layer that was made; None for none."""
    if layer is None:
        return None
    return {
        "digest": layer.descriptor.digest,
        "size": layer.descriptor.size,
        "diff_id": layer.diff_id,
        "chain_id": layer.chain_id,
    }
