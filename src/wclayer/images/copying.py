"""`copy_between`: an image from one location to another."""

from __future__ import annotations

from wclayer.errors import during
from wclayer.images.foreign import Foreign
from wclayer.images.location import open_source, open_target, parse_location
from wclayer.images.platform import Platform
from wclayer.images.registry import RegistryOptions
from wclayer.images.store import ImageStore
from wclayer.images.transfer import JOBS, CopyResult, copy_image
from wclayer.images.transfer_progress import TransferCallback


def copy_between(
    source: str,
    target: str,
    store: ImageStore | None = None,
    *,
    registry: RegistryOptions | None = None,
    platform: Platform | None = None,
    all_platforms: bool = False,
    referrers: bool = False,
    foreign: Foreign | str = Foreign.PUSH,
    jobs: int = JOBS,
    progress: TransferCallback | None = None,
) -> CopyResult:
    """Copies an image from one location to another (see `parse_location` and `copy_image`).

    Args:
        source: where the image is.
        target: where it will be.
        store: the store of `store:`; by default the user's.
        registry: how registries are reached.
        platform, all_platforms, referrers, foreign, jobs, progress: see `copy_image`.

    Raises:
        LayerError: see `open_source`, `open_target` and `copy_image`.
    """
    with during("copy image", source, takes_over=True):
        origin, place = parse_location(source), parse_location(target)
        read = [origin.path] if origin.is_on_disk else []
        with (
            open_source(origin, store=store, registry=registry) as opened,
            open_target(place, store=store, registry=registry, sources=read) as made,
        ):
            return copy_image(
                opened, made, platform=platform, all_platforms=all_platforms, referrers=referrers, foreign=foreign,
                jobs=jobs, progress=progress,
            )  # fmt: skip
