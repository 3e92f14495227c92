"""Facts in a folder, in memory of fsspec, and unpacked in a folder that several processes share."""

from __future__ import annotations

import hashlib
import multiprocessing
import pickle
import random
import traceback
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import fsspec
import pytest

import wclayer
from tests.inventory.facts.support import blob_of, facts_file
from wclayer.inventory.facts.archive import read_summary
from wclayer.inventory.facts.cache import FactsCache
from wclayer.inventory.facts.store import FactsStore
from wclayer.layers.directory import open_layer


@pytest.fixture(params=["path", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FactsStore]:
    if request.param == "path":
        yield FactsStore(tmp_path / "facts")
        return
    yield FactsStore("memory://fleet/facts")
    fsspec.filesystem("memory").rm("/fleet", recursive=True)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Six facts files by the digests of their layers."""
    folder = tmp_path_factory.mktemp("files")
    made = (facts_file(blob_of({f"{number}/x.json": b"{}"}), folder / str(number)) for number in range(6))
    return {read_summary(file).digest: file for file in made}


def test_what_was_put_is_there(store: FactsStore, files: dict[str, Path], tmp_path: Path) -> None:
    assert store.digests() == set()
    first, second, *_ = files
    for digest in (first, second, second):
        store.put(digest, files[digest])
    store = pickle.loads(pickle.dumps(store))
    assert store.digests() == {first, second}
    assert store.has(first)
    with store.open(first) as stream:
        assert stream.read() == files[first].read_bytes()
    store.remove(first)
    store.remove(first)
    assert store.digests() == {second}
    assert not store.has(first)
    with pytest.raises(wclayer.PathNotFoundError, match=first.partition(":")[2]):
        store.open(first)


def test_no_other_name_is_taken_for_facts(tmp_path: Path) -> None:
    for name in ("sha256/ab/short.tar.zst", f"sha256/ab/{'a' * 64}.partial", f"sha256/{'a' * 64}.tar.zst"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert FactsStore(tmp_path).digests() == set()


@pytest.mark.parametrize("digest", ["", "sha256:x", "../../x", "sha512:" + "a" * 128])
def test_what_is_no_digest_is_refused(digest: str, tmp_path: Path) -> None:
    with pytest.raises(wclayer.InvalidDataError, match="digest"):
        FactsStore(tmp_path).has(digest)


def test_held_facts_are_open_layers(store: FactsStore, files: dict[str, Path], tmp_path: Path) -> None:
    for digest, file in files.items():
        store.put(digest, file)
    cache = FactsCache(store, tmp_path / "cache", 1 << 30)
    wanted = [*files, *files]
    with cache.hold(wanted) as folders:
        assert [path.name for path in folders] == [digest.partition(":")[2] for digest in wanted]
        for path in folders:
            with open_layer(path) as layer:
                assert layer.text("digest") == f"sha256:{path.name}"


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_what_was_not_used_for_longest_is_removed_and_what_is_held_stays(
    files: dict[str, Path], tmp_path: Path
) -> None:
    store = FactsStore(tmp_path / "facts")
    for digest, file in files.items():
        store.put(digest, file)
    digests = list(files)
    one = FactsCache(store, tmp_path / "one", 1 << 30)
    with one.hold(digests[:1]) as (path,):
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    cache = FactsCache(store, tmp_path / "cache", size * 3 + size // 2)
    with cache.hold(digests[:1]):
        for digest in digests[1:]:
            with cache.hold([digest]):
                pass
        assert _names(tmp_path / "cache") == {digest.partition(":")[2] for digest in (digests[0], *digests[-2:])}
    with cache.hold(digests):
        assert len(_names(tmp_path / "cache")) == 6
    with cache.hold(digests[:1]), cache.hold(digests[1:2]):
        pass


def test_damaged_facts_are_not_held(files: dict[str, Path], tmp_path: Path) -> None:
    store = FactsStore(tmp_path / "facts")
    first, second, third, *_ = files
    store.put(first, files[second])
    damaged = tmp_path / "damaged"
    data = bytearray(files[third].read_bytes())
    data[len(data) // 2] ^= 0xFF
    damaged.write_bytes(data)
    store.put(third, damaged)
    cache = FactsCache(store, tmp_path / "cache", 1 << 30)
    for digest in (first, third):
        with pytest.raises(wclayer.InvalidDataError, match="delete the file: the next scan makes it anew") as found:
            cache.hold([digest]).__enter__()
        assert found.value.path == store.place(digest)
    assert _names(tmp_path / "cache") == set()


def test_a_folder_of_which_a_file_is_open_elsewhere_may_stay(files: dict[str, Path], tmp_path: Path) -> None:
    store = FactsStore(tmp_path / "facts")
    for digest, file in files.items():
        store.put(digest, file)
    first, *others = files
    cache = FactsCache(store, tmp_path / "cache", 1)
    with cache.hold([first]) as folders:
        pass
    with (folders[0] / "layer.db").open("rb"):
        for digest in others:
            with cache.hold([digest]) as held:
                assert (held[0] / "layer.db").is_file()
    with cache.hold(others[:1]):
        assert first.partition(":")[2] not in _names(tmp_path / "cache")


def _use(place: Path, digests: list[str], seed: int, result: multiprocessing.Queue[str]) -> None:
    """Holds some facts again and again, in a cache that has room for few of them."""
    chance = random.Random(seed)
    cache = FactsCache(FactsStore(place / "facts"), place / "cache", 80_000)
    try:
        for _ in range(40):
            wanted = chance.sample(digests, 2)
            with cache.hold(wanted) as folders:
                for digest, path in zip(wanted, folders, strict=True):
                    with open_layer(path) as layer:
                        assert layer.text("digest") == digest
                        assert layer.lookup("Files") is not None
    except BaseException:
        result.put(traceback.format_exc())
        raise
    result.put("done")


def test_processes_share_a_cache(files: dict[str, Path], tmp_path: Path) -> None:
    store = FactsStore(tmp_path / "facts")
    for digest, file in files.items():
        store.put(digest, file)
    context = multiprocessing.get_context("spawn")
    result: multiprocessing.Queue[str] = context.Queue()
    users = [context.Process(target=_use, args=(tmp_path, list(files), seed, result)) for seed in range(3)]
    with ExitStack() as stack:
        for user in users:
            user.start()
            stack.callback(user.join)
        results = [result.get(timeout=120) for _ in users]
        assert results == ["done"] * 3, "\n".join(results)
    assert [user.exitcode for user in users] == [0, 0, 0]
    assert all(len(name) == 64 for name in _names(tmp_path / "cache"))


def test_the_name_is_that_of_the_blob(files: dict[str, Path], tmp_path: Path) -> None:
    store = FactsStore(tmp_path)
    digest = f"sha256:{hashlib.sha256(b'x').hexdigest()}"
    store.put(digest, next(iter(files.values())))
    assert Path(store.place(digest)) == tmp_path / "sha256" / digest[7:9] / f"{digest[7:]}.tar.zst"
    assert Path(store.place(digest)).is_file()
