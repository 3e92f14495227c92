"""What a report tells of packages: which ones most images bring, and which ones are there in many versions.

The table of packages is by far the largest one, so it is asked for a part of the images at a time.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from typing import Any

from wclayer.fleet.query.session import FleetSession
from wclayer.fleet.report.figures import Package

_MOST = 12
"""How many packages are told."""
_VERSIONS = 4
"""How many versions of a package are named."""
_AT_ONCE = 4_000_000
"""How many rows of the table are counted at once: DuckDB needs about 100 bytes for each."""

_NAMES_AT_ONCE = 500_000
"""How many names are counted at once: Python needs about 300 bytes for each."""

_Name = tuple[str, str]
"""The kind and the name of a package."""


class PackageReader:
    """Counts the packages of a fleet: for some of the images and some of the names at a time, so that memory grows with
    neither.

    Args:
        session: the fleet.
    """

    def __init__(self, session: FleetSession) -> None:
        self._session = session
        ((rows, names),) = session.ask("SELECT count(*), approx_count_distinct(name) FROM packages")
        self._groups = 1 + names // _NAMES_AT_ONCE
        digits = 0
        while rows > _AT_ONCE << (4 * digits):
            digits += 1
        self._parts = [f"{number:0{digits}x}" if digits else "" for number in range(16**digits)]

    def frequent(self) -> tuple[Package, ...]:
        """Returns the packages that most images bring beyond their base."""
        first: list[tuple[int, _Name]] = []
        for group in range(self._groups):
            images: Counter[_Name] = Counter()
            for kind, name, count in self._by_parts(
                "SELECT kind, name, count(DISTINCT image) FROM packages"
                " WHERE NOT is_base AND hash(name) % $groups = $group AND {part} GROUP BY kind, name",
                {"groups": self._groups, "group": group},
            ):
                images[kind, name] += count
            first = heapq.nsmallest(_MOST, [*first, *((-count, name) for name, count in images.items())])
        chosen = [name for _, name in first]
        return self._packages(chosen, "NOT is_base")

    def in_many_versions(self) -> tuple[Package, ...]:
        """Returns the packages, those of bases too, of which there are most versions."""
        rows = self._session.ask(
            "SELECT kind, name FROM packages WHERE version IS NOT NULL GROUP BY kind, name"
            f" HAVING count(DISTINCT version) > 1 ORDER BY count(DISTINCT version) DESC, kind, name LIMIT {_MOST}"
        )
        return self._packages([(kind, name) for kind, name in rows], "true")

    def _packages(self, names: list[_Name], condition: str) -> tuple[Package, ...]:
        """Returns packages with the numbers of their images and versions."""
        wanted = {"kinds": [kind for kind, _ in names], "names": [name for _, name in names]}
        images: Counter[_Name] = Counter()
        versions: dict[_Name, Counter[str]] = {name: Counter() for name in names}
        for kind, name, version, is_of_all, count in self._by_parts(
            "SELECT kind, name, version, grouping(version) = 1, count(DISTINCT image) FROM packages"
            " SEMI JOIN (SELECT unnest($kinds) AS kind, unnest($names) AS name) USING (kind, name)"
            f" WHERE {condition} AND {{part}} GROUP BY GROUPING SETS ((kind, name), (kind, name, version))",
            wanted,
        ):
            if is_of_all:
                images[kind, name] += count
            elif version is not None:
                versions[kind, name][version] += count
        return tuple(Package(*name, images[name], len(versions[name]), _first(versions[name])) for name in names)

    def _by_parts(self, sql: str, parameters: dict[str, Any] | None = None) -> Iterator[tuple[Any, ...]]:
        """Yields the rows of an answer for a part of the images after the other. An image is in one part."""
        for part in self._parts:
            yield from self._session.ask(
                sql.format(part="image BETWEEN $first AND $last"),
                {"first": f"sha256:{part}", "last": f"sha256:{part}g", **(parameters or {})},
            )


def _first(counts: Counter[str]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(counts.items(), key=lambda each: (-each[1], each[0]))[:_VERSIONS])
