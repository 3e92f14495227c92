"""`push_image`: an image of the store into a registry."""

from __future__ import annotations

from wclayer.errors import InvalidParameterError, PathNotFoundError, during
from wclayer.images.descriptor import Descriptor
from wclayer.images.foreign import Foreign
from wclayer.images.location import parse_registry_location
from wclayer.images.plan import make_plan
from wclayer.images.platform import Platform
from wclayer.images.reference import Reference, parse_reference
from wclayer.images.registry import RegistryOptions, RegistryTarget
from wclayer.images.store import ImageStore
from wclayer.images.transfer import JOBS, CopyResult, carry_out
from wclayer.images.transfer_progress import TransferCallback


def push_image(
    image: str,
    reference: str = "",
    store: ImageStore | None = None,
    *,
    registry: RegistryOptions | None = None,
    platform: Platform | None = None,
    foreign: Foreign | str = Foreign.PUSH,
    jobs: int = JOBS,
    progress: TransferCallback | None = None,
) -> CopyResult:
    """Copies an image of the store into a registry. An index goes with all its images.

    Args:
        image: the image in the store: a name, the end of one, or a digest.
        reference: its name in the registry; by default its name in the store.
        store: the store; by default the user's.
        registry: how the registry is reached.
        platform: copy one image of an index.
        foreign, jobs, progress: see `copy_image`.

    Raises:
        InvalidParameterError: the image was named by its digest, and no reference was given.
        LayerError: see `copy_image`.
    """
    with during("push image", image, takes_over=True):
        store = store or ImageStore()
        with (
            store.source(image) as source,
            RegistryTarget(_target_of(image, source.resolve(), reference, store), registry) as target,
        ):
            choice = Foreign.of(foreign)
            plan = make_plan(source, platform=platform, all_platforms=platform is None, foreign=choice)
            return carry_out(plan, source, target, jobs=jobs, progress=progress)


def _target_of(image: str, descriptor: Descriptor, reference: str, store: ImageStore) -> Reference:
    """Returns where an image goes: the reference, or the image's own name."""
    if reference:
        return parse_registry_location(reference)
    try:
        name = store.full_name(image)
    except PathNotFoundError:
        name = descriptor.digest
    if name == descriptor.digest:
        raise InvalidParameterError(image, "has no name in the store; write where it goes: push IMAGE REFERENCE")
    return parse_reference(name)
