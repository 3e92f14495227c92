"""Options that the verbs for images share: the store, the platform, the foreign layers."""

from __future__ import annotations

import click

from wclayer.images.foreign import Foreign
from wclayer.images.parallel import MAX_JOBS
from wclayer.images.platform import Platform, parse_platform
from wclayer.images.store import ImageStore
from wclayer.images.transfer import JOBS


def _platform(context: click.Context, option: click.Parameter, value: str | None) -> Platform | None:
    return None if value is None else parse_platform(value)


def _releases(context: click.Context, option: click.Parameter, value: str | None) -> tuple[str, ...]:
    return () if value is None else tuple(value.split(","))


def _store(context: click.Context, option: click.Parameter, value: str | None) -> ImageStore:
    return ImageStore(value)


store_option = click.option(
    "--store",
    metavar="FOLDER",
    callback=_store,
    help="The store (default: $WCLAYER_STORE, or the folder of the user's data).",
)
platform_option = click.option(
    "--platform",
    metavar="PLATFORM",
    callback=_platform,
    help="The image of an index that is meant: windows/amd64:10.0.20348, windows(10.0.20348)/amd64 or"
    " windows/amd64,osver=10.0.20348.",
)
for_option = click.option(
    "--for",
    "releases",
    metavar="RELEASES",
    callback=_releases,
    help="Make an image for each of these releases of Windows, and an index over them: ltsc2019,ltsc2022,ltsc2025, or"
    " builds (20348). Each has a base of its release; {release} in the name of a base, or the release in its tag, is"
    " replaced.",
)
"""The option of verbs that make images; its value is a tuple of their names, empty without the option."""
all_option = click.option("--all", "all_platforms", is_flag=True, help="The index, and the images of all platforms.")
foreign_option = click.option(
    "--foreign",
    type=click.Choice([choice.value for choice in Foreign]),
    default=Foreign.PUSH.value,
    show_default=True,
    help="Foreign layers: keep copies only their addresses, push copies their bytes, convert makes ordinary layers of"
    " them.",
)
jobs_option = click.option(
    "--jobs",
    type=click.IntRange(1, MAX_JOBS),
    default=JOBS,
    show_default=True,
    help="How many blobs are copied at the same time.",
)
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Print only the digest, and no progress.")
