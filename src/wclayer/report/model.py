"""What a report tells of: all that was found in one image, and what differs from an earlier one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from wclayer.comparison.image_diff import ImageDifference
from wclayer.images.config import ImageConfig
from wclayer.images.manifest import Manifest
from wclayer.inventory.cve.report import VulnerabilityReport
from wclayer.inventory.item import Inventory
from wclayer.rights.audit.model import RightsAudit
from wclayer.survey.model import Survey


@dataclass(frozen=True, slots=True)
class Examined:
    """All that was found in one image.

    Attributes:
        name: what the user calls it.
        manifest, config: its documents; None for layers that are no image.
        survey: what its layers take and waste.
        inventory: what it holds.
        rights: who can write what they should not.
    """

    name: str
    manifest: Manifest | None
    config: ImageConfig | None
    survey: Survey
    inventory: Inventory
    rights: RightsAudit


@dataclass(frozen=True, slots=True)
class Comparison:
    """What differs from an earlier image.

    Attributes:
        before: the earlier image.
        difference: what differs from it.
    """

    before: Examined
    difference: ImageDifference


@dataclass(frozen=True, slots=True)
class ImageReport:
    """What a page tells.

    Attributes:
        image: the image.
        vulnerabilities: its known vulnerabilities; None if the user handed over no documents of them.
        comparison: what differs from an earlier image; None if the user named none.
        at: the time for which ages are told; None for the time at which the page is opened.
    """

    image: Examined
    vulnerabilities: VulnerabilityReport | None
    comparison: Comparison | None
    at: datetime | None
