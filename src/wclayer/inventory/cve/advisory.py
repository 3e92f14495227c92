"""What advisories say, whichever format they came in: all parsers of this package make an `AdvisoryDocument`."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from wclayer.errors import FormatError

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,63}", re.ASCII)
"""The id of a vulnerability. MSRC also writes ids that are not of the CVE program."""
_TIME = re.compile(r"\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d)?)?", re.ASCII)
_KB = re.compile(r"(?:KB|help/|^)(\d{6,8})(?!\d)", re.ASCII | re.IGNORECASE)


class Severity(enum.IntEnum):
    """How severe Microsoft rates a vulnerability on a product: MSRC's Security Update Severity Rating System."""

    UNKNOWN = 0
    LOW = 1
    MODERATE = 2
    IMPORTANT = 3
    CRITICAL = 4

    @classmethod
    def of(cls, text: str) -> Self:
        """Returns the severity that MSRC's word states, or a word of CVSS ("HIGH" is important, "MEDIUM" moderate)."""
        word = text.strip().upper()
        return cls.__members__.get(_OF_CVSS.get(word, word), cls(0))

    @property
    def word(self) -> str:
        """The word that MSRC writes; "" if the severity is unknown."""
        return self.name.capitalize() if self else ""


_OF_CVSS = {"HIGH": "IMPORTANT", "MEDIUM": "MODERATE"}


@dataclass(frozen=True, slots=True)
class Score:
    """A score of CVSS.

    Attributes:
        base: the base score, 0 to 10.
        vector: the vector ("CVSS:3.1/AV:L/…"); "" if none is stated.
    """

    base: float
    vector: str = ""


@dataclass(frozen=True, slots=True)
class Rating:
    """How bad a vulnerability is on one product."""

    severity: Severity = Severity.UNKNOWN
    impact: str = ""
    score: Score | None = None


@dataclass(frozen=True, slots=True)
class Remediation:
    """A fix of the vendor.

    Attributes:
        products: the ids of the products that it fixes.
        kb: the number of the update's article, without "KB"; "" if it has none.
        fixed_version: the first version that is not vulnerable, as the document writes it; "" if it states none.
        is_hotpatch: the version is that of a hotpatch. A system with a higher one need not have the fix.
        url: where it is.
    """

    products: frozenset[str]
    kb: str = ""
    fixed_version: str = ""
    is_hotpatch: bool = False
    url: str = ""


@dataclass(frozen=True, slots=True)
class Advisory:
    """What one document says about one vulnerability.

    Attributes:
        cve: its id.
        title: its title.
        source: the document, as the user named it.
        released: when it was published first, as ISO 8601 without a zone; "" if that is not stated.
        revised: when it was revised last, in the same form.
        products: the names of the document's products by their ids.
        affected: the ids of the products that are known to be affected.
        ratings: the rating for each product id; that of "" is for all others.
        remediations: the fixes.
        is_exploited: whether the document says that it was exploited.
    """

    cve: str
    title: str
    source: str
    released: str
    revised: str
    products: Mapping[str, str]
    affected: frozenset[str]
    ratings: Mapping[str, Rating] = field(default_factory=dict)
    remediations: tuple[Remediation, ...] = ()
    is_exploited: bool = False

    def rating(self, product: str) -> Rating:
        """Returns the rating for a product."""
        return self.ratings.get(product) or self.ratings.get("") or Rating()


@dataclass(frozen=True, slots=True)
class AdvisoryDocument:
    """A document that the user handed over.

    Attributes:
        source: its file, as the user named it; for a member of an archive, the name of the member follows.
        title: its title.
        products: the names of all products that it knows, by their ids.
        advisories: what it says about each vulnerability.
    """

    source: str
    title: str
    products: Mapping[str, str]
    advisories: tuple[Advisory, ...]


def checked_id(text: str, place: str) -> str:
    """Returns the id of a vulnerability.

    Raises:
        FormatError: the text is none.
    """
    if not _ID.fullmatch(text.strip()):
        raise FormatError(f"{place} is {text[:60]!r}, not the id of a vulnerability")
    return text.strip()


def time_of(text: str) -> str:
    """Returns a time of ISO 8601 without zone and fraction, so that texts are ordered as times; "" if it is none."""
    found = _TIME.match(text.strip())
    return found[0] if found else ""


def kb_of(text: str) -> str:
    """Returns the number of the article that a text names ("5041160", "KB5041160", an address with it), or ""."""
    found = _KB.search(text.strip())
    return found[1] if found else ""


def is_exploited(status: str) -> bool:
    """Returns whether an exploit status says so ("Publicly Disclosed:No;Exploited:Yes;…")."""
    return "exploited:yes" in status.replace(" ", "").lower()


def is_hotpatch(kind: str) -> bool:
    """Returns whether an update of this kind (`SubType`) is a hotpatch. MSRC spells it in four ways."""
    return "hotpatch" in kind.replace(" ", "").lower()
