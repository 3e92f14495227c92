"""The figures of a report: what belongs to the base and what to the image itself, and which patches there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from wclayer.images.config import FIRST_YEAR, ImageConfig, seconds_of
from wclayer.inventory.collectors.updates import INSTALLED
from wclayer.inventory.item import KIND_WORDS, Inventory, Item, ItemKind
from wclayer.report.model import Examined
from wclayer.survey.model import LayerUsage


@dataclass(frozen=True, slots=True)
class Share:
    """How much of something the image's own layers brought, and how much its base.

    Attributes:
        what: what it is.
        own, base: the two numbers.
        is_size: whether they are bytes.
    """

    what: str
    own: int
    base: int
    is_size: bool = False


VISIBLE_BYTES = "bytes of visible files"


def shares(image: Examined) -> Iterator[Share]:
    """Yields what the image's own layers brought, and its base: files, bytes, and the things of the inventory that
    there are. What the configuration says is the image's own."""
    base = {layer.number for layer in image.survey.layers if layer.is_base}
    usages = image.survey.total.layers

    def share(what: str, number: Callable[[LayerUsage], int], *, is_size: bool = False) -> Share:
        own, of_base = (sum(number(each) for each in usages if (each.layer in base) is side) for side in (False, True))
        return Share(what, own, of_base, is_size)

    yield share("visible files", lambda usage: usage.shown_files)
    yield share(VISIBLE_BYTES, lambda usage: usage.bytes - usage.hidden_bytes, is_size=True)
    yield share("bytes that no name shows", lambda usage: usage.hidden_bytes, is_size=True)
    for kind in ItemKind:
        items = list(image.inventory.of_kind(kind))
        # An image has one operating system.
        if items and kind is not ItemKind.OPERATING_SYSTEM:
            in_base = sum(item.origin.is_base for item in items)
            yield Share(KIND_WORDS[kind], len(items) - in_base, in_base)
    findings = image.rights.findings
    in_base = sum(finding.is_base for finding in findings)
    yield Share("places that users can write", len(findings) - in_base, in_base)


def made(config: ImageConfig | None) -> datetime | None:
    """Returns when an image was made; None if it does not say so, or states a time at which it cannot have been."""
    if config is None:
        return None
    moment = datetime.fromtimestamp(seconds_of(config.created), UTC)
    return moment if moment.year >= FIRST_YEAR else None


@dataclass(frozen=True, slots=True)
class Patches:
    """The patch level of an image.

    Attributes:
        installed: the updates that are installed, without the parts of others.
        newest_kb: the highest number of an article (KB) among them; "" if none has one. Numbers rise with time.
        last_installed: when the last of them was installed, as `installed` of the inventory has it; "" if none says so.
    """

    installed: int
    newest_kb: str
    last_installed: str


def patches(inventory: Inventory) -> Patches:
    """Returns the patch level of an image."""
    installed = [item for item in inventory.of_kind(ItemKind.UPDATE) if _is_installed(item)]
    articles = [str(item.properties["kb"]) for item in installed if "kb" in item.properties]
    times = [str(item.properties["installed"]) for item in installed if "installed" in item.properties]
    return Patches(
        len(installed),
        max(articles, key=lambda article: int(article.removeprefix("KB")), default=""),
        max(times, default=""),
    )


def _is_installed(item: Item) -> bool:
    return item.properties.get("state") == INSTALLED and not item.properties.get("is_part")
