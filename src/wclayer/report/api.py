"""`report_image`: writes a page about an image."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from datetime import datetime

from wclayer._types import StrPath
from wclayer.comparison.image_diff import diff_images
from wclayer.errors import InvalidParameterError, during
from wclayer.images.opening import ImageLayers, open_image
from wclayer.images.platform import Platform
from wclayer.images.store import ImageStore
from wclayer.inventory.collecting import take_inventory
from wclayer.inventory.cve.checking import find_vulnerabilities
from wclayer.inventory.facts.chain import ImageFacts
from wclayer.layers.atomic import OutputFile
from wclayer.layers.progress import ProgressCallback
from wclayer.report.html import page
from wclayer.report.model import Comparison, Examined, ImageReport
from wclayer.rights.audit.api import audit_rights
from wclayer.survey.api import survey_image

Image = ImageLayers | ImageFacts | StrPath
"""What is reported: see `report_image`."""


@during("report image", takes_over=True)
def report_image(
    image: Image,
    target: StrPath,
    *,
    before: Image | None = None,
    at: datetime | None = None,
    advisories: Iterable[StrPath] = (),
    store: ImageStore | None = None,
    platform: Platform | None = None,
    progress: ProgressCallback | None = None,
) -> None:
    """Writes a page about an image: what it is, its age and patch level, what takes its space, what its own layers
    brought and what its base did, programs, services, open rights, certificates, what is wrong, and what is wasted.

    The page is one file. It loads nothing, and can be read without JavaScript. The same image, and the same `at`, give
    the same bytes. Of lists that would be too long it says what is left out.

    Args:
        image: an open image (`open_image`, or `open_image_facts`), or what `open_image` takes, which may be the path of
            a layer directory, too: it is taken over its parents.
        target: the file of the page; `-` is the standard output.
        before: an earlier image, in the same forms. The page also tells what differs from it.
        at: the time for which ages are told, with a time zone; None for the time at which the page is opened.
        advisories: documents of the Microsoft Security Response Center (`find_vulnerabilities`). Without any, the page
            tells nothing of known vulnerabilities. Nothing is downloaded.
        store: the store in which names are looked up; by default the user's.
        platform: which image of an index is meant.
        progress: called for each file and key.

    Raises:
        PathNotFoundError, NotSupportedError, NotALayerError: see `open_image`.
        InvalidParameterError: the target is, or is in, what is read; or `at` has no time zone.
        CorruptLayerError, InvalidDataError: a layer, or a document of advisories, is damaged.
        LimitExceededError: there is more in the image than the limits allow.
        AccessDeniedError, DiskFullError, …: the host refuses to read, or to write the page.
    """
    if at is not None and at.tzinfo is None:
        raise InvalidParameterError(at.isoformat(), "has no time zone")
    documents = list(advisories)
    with ExitStack() as held:
        images = [
            each
            if isinstance(each, (ImageLayers, ImageFacts))
            else held.enter_context(open_image(str(each), store, platform=platform))
            for each in (image, *([] if before is None else [before]))
        ]
        read = [path for each in images for path in _paths(each)]
        with OutputFile(target, sources=[*read, *documents]) as output:
            for part in page(_report(images, at, documents, progress)):
                output.stream.write(part.encode())


def _paths(image: ImageLayers | ImageFacts) -> Iterable[StrPath]:
    if isinstance(image, ImageFacts):
        return (*image.folders, *image.places)
    return image.layers if image.place is None else (*image.layers, image.place)


def _report(
    images: list[ImageLayers | ImageFacts],
    at: datetime | None,
    documents: list[StrPath],
    progress: ProgressCallback | None,
) -> ImageReport:
    """Returns what the page tells of the first image, and of what differs from the second one, if there is one."""
    examined, *others = [_examined(image, progress) for image in images]
    comparison = Comparison(others[0], diff_images(images[1], images[0])) if others else None
    vulnerabilities = find_vulnerabilities(examined.inventory, documents) if documents else None
    return ImageReport(examined, vulnerabilities, comparison, at)


def _examined(image: ImageLayers | ImageFacts, progress: ProgressCallback | None) -> Examined:
    return Examined(
        image.name,
        image.manifest,
        image.config,
        survey_image(image, progress=progress),
        take_inventory(image, progress=progress),
        audit_rights(image, progress=progress),
    )
