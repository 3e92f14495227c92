"""A scan from end to end, on the client: what it gives to the workers, and what becomes of that.

list references ── resolve (tasks) ── plan ─┬─ read a layer (a task for each digest) ── facts, rows of its entries
                                            └─ make the rows of a bucket (a task for each, when its layers are read)
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime

from distributed import Client
from distributed.scheduler import KilledWorker

from wclayer._types import StrPath
from wclayer.errors import LayerError, RegistryError
from wclayer.fleet.access import ImageAccess
from wclayer.fleet.model import ImageStatus, Listed, ResolvedImage
from wclayer.fleet.newest import in_batches, newest_of
from wclayer.fleet.pace.budget import local_pace
from wclayer.fleet.pace.rate import parse_rate
from wclayer.fleet.scan.bucket import BucketOutcome, make_bucket
from wclayer.fleet.scan.cluster import dashboard_of, died_text, open_cluster, versions
from wclayer.fleet.scan.environment import ScanSettings, environments, facts_place
from wclayer.fleet.scan.found import FoundImage, FoundLayer
from wclayer.fleet.scan.layer import LayerOutcome, read_layer
from wclayer.fleet.scan.layers_table import update_layers
from wclayer.fleet.scan.options import ScanOptions
from wclayer.fleet.scan.plan import BucketJob, KnownImages, LayerJob, Plan, make_plan
from wclayer.fleet.scan.progress import ScanCallback, ScanProgress
from wclayer.fleet.scan.resolution import resolve
from wclayer.fleet.scan.results import ScanError, ScanResult
from wclayer.fleet.scan.tracking import TaskStream
from wclayer.fleet.sources.filters import Filters
from wclayer.fleet.sources.listing import list_images
from wclayer.fleet.tables.dataset import Dataset
from wclayer.host import durability
from wclayer.inventory.facts.store import FactsStore
from wclayer.model import limits_in_use

_FIRST = 1 << 20
"""A priority above that of all layers."""
_MOST_UNREACHABLE = 16
_GOES_ON = "the next scan goes on from here"
_MOST_ATTEMPTS = 2
"""How often the task of a bucket is begun: at the second time without the images that are new."""


_Running = TaskStream[LayerJob | BucketJob]


def scan(source: str, out: StrPath, options: ScanOptions, progress: ScanCallback | None) -> ScanResult:
    """Does what `scan_fleet` says. The caller names the operation in its errors."""
    options.check()
    rate = parse_rate(options.max_requests)
    with ImageAccess(options.registry, options.store) as access:
        access.use_pace(local_pace(rate))
        listed = list(list_images(source, access, names=options.names, tags=options.tags))
        access.collect(item for item in listed if not item.error)
        dataset = _dataset(out)
        settings = ScanSettings(
            scan=secrets.token_hex(4),
            source=source,
            out=dataset.path,
            time=datetime.now(UTC),
            rate=rate,
            limits=limits_in_use(),
            is_synced=durability.is_wanted(),
            cache_size=options.cache,
            versions=versions(),
        )
        with (
            open_cluster(options) as client,
            dataset.locked(),
            environments(client, settings, access),
        ):
            return _Scan(client, settings, options, dataset, progress).run(listed)


def _dataset(out: StrPath) -> Dataset:
    """Returns the tables at a path or URL. Workers may have another current directory."""
    dataset = Dataset(out)
    return dataset if dataset.folder.path is None else Dataset(dataset.folder.path.absolute())


class _Scan:
    """A scan on a cluster.

    Args:
        client: the client of the cluster.
        settings: the settings, which the workers have, too.
        options: what is read.
        dataset: the tables.
        progress: called when something has been done.
    """

    def __init__(
        self,
        client: Client,
        settings: ScanSettings,
        options: ScanOptions,
        dataset: Dataset,
        progress: ScanCallback | None,
    ) -> None:
        self._client = client
        self._settings = settings
        self._options = options
        self._dataset = dataset
        self._progress = progress
        self._state = ScanProgress(dashboard=dashboard_of(client))
        self._errors: list[ScanError] = []
        self._failed: dict[str, str] = {}
        """The layers that cannot be read, with the reasons."""
        self._bytes_read = 0
        self._unreachable = 0
        """How many layers, one after the other, could not be had from the registry."""

    def run(self, listed: Sequence[Listed]) -> ScanResult:
        """Carries out the scan."""
        self._dataset.create(len(listed))
        self._dataset.settle()
        known = KnownImages(self._dataset.read_images(), self._settings.source)
        self._state.listed = len(listed)
        found = self._resolve(listed, known)
        wanted = set(map(id, newest_of([each.image for each in found], self._options.newest)))
        found = [each for each in found if id(each.image) in wanted]
        filters = Filters(self._options.names, self._options.tags)
        found += known.kept(filters, {item.repository for item in listed if item.error and item.repository})
        plan = make_plan(found, known, self._known_layers(), self._dataset.bucket_of)
        self._work(plan)
        layers = update_layers(self._dataset, plan.layers, self._failed)
        self._errors += [ScanError(each.image.listed.reference, each.image.error) for each in found if each.is_error]
        return ScanResult(
            listed=len(listed),
            references=len(found),
            images=len({each.image.digest for each in found if each.image.digest}),
            new_images=self._state.images_done,
            removed=plan.removed,
            layers=layers,
            new_layers=len(plan.layers) - len(self._failed),
            bytes_read=self._bytes_read,
            errors=tuple(sorted(self._errors)),
        )

    def _known_layers(self) -> set[str]:
        """Returns the layers that need not be read: their facts and the rows of their entries are there."""
        return FactsStore(facts_place(self._dataset)).digests() & self._dataset.file_layers()

    def _resolve(self, listed: Sequence[Listed], known: KnownImages) -> list[FoundImage]:
        running = TaskStream[list[Listed]](self._client, self._settings.scan)
        for number, batch in enumerate(in_batches(listed)):
            images = known.images_of(item.reference for item in batch)
            running.start(batch, "resolve", str(number), resolve, batch, images)
        found: list[FoundImage] = []
        shared: dict[FoundLayer, FoundLayer] = {}
        for batch, outcome in running.ended():
            if isinstance(outcome, Exception):
                text = _reason(outcome)
                outcome = [FoundImage(ResolvedImage(item, ImageStatus.ERROR, text)) for item in batch]
            found += [each.sharing(shared) for each in outcome]
            self._state.resolved += len(batch)
            self._report()
        return found

    def _work(self, plan: Plan) -> None:
        """Reads the layers, and makes the rows of each bucket as soon as its layers are read."""
        running: _Running = TaskStream(self._client, self._settings.scan)
        self._state.layers = len(plan.layers)
        self._state.bytes = sum(job.size for job in plan.layers)
        self._state.images = sum(bucket.new_images for bucket in plan.buckets)
        for job in plan.layers:
            running.start(job, "layer", job.digest, read_layer, job.places, priority=job.waiting)
        for bucket in plan.buckets:
            self._begin(bucket, running)
        killed = self._await(running)
        for job, error in killed:
            if len(killed) > 1:
                # Dask blames all layers that a worker had when it ended. Each is tried alone to find the guilty one.
                running.start(job, "layer-alone", job.digest, read_layer, job.places)
                self._await(running, is_alone=True)
            else:
                self._end_layer(job, error, running)
        self._await(running)

    def _await(self, running: _Running, *, is_alone: bool = False) -> list[tuple[LayerJob, KilledWorker]]:
        """Waits for all tasks, and returns the layers whose workers ended again and again, unless they were alone."""
        killed = []
        for item, outcome in running.ended():
            if isinstance(item, BucketJob):
                self._end_bucket(item, outcome, running)
            elif isinstance(outcome, KilledWorker) and not is_alone:
                killed.append((item, outcome))
            else:
                self._end_layer(item, outcome, running)
            self._report()
        return killed

    def _begin(self, bucket: BucketJob, running: _Running) -> None:
        """Starts the task of a bucket if it is needed, and waits for no layer any more.

        The client waits for the layers, not Dask: the rows are made also if a layer cannot be read.
        """
        if bucket.is_changed and not bucket.missing:
            failed = {digest: self._failed[digest] for digest in bucket.layers if digest in self._failed}
            name = f"{bucket.number:03x}" + "-again" * bucket.attempts
            running.start(bucket, "bucket", name, make_bucket, bucket.number, bucket.images, failed, priority=_FIRST)
            bucket.attempts += 1

    def _end_layer(self, job: LayerJob, outcome: LayerOutcome | Exception, running: _Running) -> None:
        if isinstance(outcome, Exception):
            outcome = LayerOutcome(_reason(outcome), 0)
        self._unreachable = self._unreachable + 1 if outcome.is_unreachable else 0
        if self._unreachable == _MOST_UNREACHABLE:
            raise RegistryError(
                job.places[0][0], f"{outcome.error}; so it is with one layer after the other: {_GOES_ON}"
            )
        if outcome.error:
            self._failed[job.digest] = outcome.error
            self._errors.append(ScanError(job.digest, outcome.error))
        self._bytes_read += outcome.bytes_read
        self._state.layers_done += 1
        self._state.bytes_done += job.size
        for bucket in job.buckets:
            bucket.missing.remove(job.digest)
            self._begin(bucket, running)

    def _end_bucket(self, bucket: BucketJob, outcome: BucketOutcome | Exception, running: _Running) -> None:
        if isinstance(outcome, Exception):
            reason = _reason(outcome)
            if bucket.attempts == _MOST_ATTEMPTS:
                raise LayerError(self._dataset.path, f"the rows of bucket {bucket.number} cannot be made: {reason}")
            bucket.give_up(reason)
            self._begin(bucket, running)
            return
        self._errors += [ScanError(reference, error) for reference, error in outcome.errors]
        self._state.images_done += outcome.images

    def _report(self) -> None:
        self._state.errors = len(self._errors)
        if self._progress is not None:
            self._progress(self._state)


def _reason(error: Exception) -> str:
    """Returns why a task failed, if that concerns what it was for.

    Raises:
        LayerError: it concerns the host on which it ran.
    """
    if isinstance(error, LayerError):
        # The operation of the caller is what the user asked for, not that of the object that failed on a worker.
        error.operation = ""
        raise error
    if isinstance(error, KilledWorker):
        return died_text(error)
    return f"a defect of wclayer: {type(error).__name__}: {error}"
