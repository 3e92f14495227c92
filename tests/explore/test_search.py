"""Searches by name, mark and kind of contents."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.explore.chains import base, update
from tests.explore.made import explored
from wclayer.errors import InvalidParameterError
from wclayer.explore.model.explored import View
from wclayer.explore.model.files import FileItem
from wclayer.explore.model.search import MOST_FOUND, Search, parse_query
from wclayer.explore.model.tree import find_path
from wclayer.win32.wildcards import FilePattern


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ADDED", ["Files/new/added.txt"]),
        ("*.txt", ["Files/a/changed.txt", "Files/a/deep/same.txt", "Files/b/removed.txt", "Files/new/added.txt"]),
        ("*.TX", []),
        ("d .txt", ["Files/a/changed.txt", "Files/b/removed.txt", "Files/new/added.txt"]),
        ("a\\deep", ["Files/a/deep", "Files/a/deep/same.txt"]),
        ("C:/a/*.txt", ["Files/a/changed.txt"]),
        ("mark:removed", ["Files/b", "Files/b/removed.txt", "Files/becomes-directory"]),
        ("mark:~,+ txt", ["Files/a/changed.txt", "Files/new/added.txt"]),
        ("type:text same", ["Files/a/deep/same.txt"]),
        ("type:pe", []),
        ("c:\\*\\*.txt", ["Files/a/changed.txt", "Files/b/removed.txt", "Files/new/added.txt"]),
        ("*p\\sa?e", ["Files/a/deep/same.txt"]),
        ("?\\deep", ["Files/a/deep", "Files/a/deep/same.txt"]),
    ],
)
def test_what_is_searched_is_found(tmp_path: Path, text: str, found: list[str]) -> None:
    with explored(tmp_path, base, update).session() as session:
        tree, query, search = session.files(View(2)), parse_query(text), Search[FileItem]()
        search.run(tree, lambda item: query.matches_file(tree, item), lambda: False)
        assert [item.path for item in search.found] == found
        assert search.is_done
        assert search.is_whole
        for item in search.found:
            level = tree.roots()
            for children in find_path(tree, item).values():
                level = children
            assert item.identity in {each.identity for each in level}


@pytest.mark.parametrize("pattern", ["a[1]*", "*.*", "READM??", "*.", "a?1?.*", "r*e*", "*x"])
@pytest.mark.parametrize("name", ["a[1].txt", "README", "a1.txt", "x"])
def test_a_pattern_of_names_means_what_it_means_to_other_verbs(pattern: str, name: str) -> None:
    assert parse_query(pattern).matches_name(name, f"C:\\{name}") == FilePattern(pattern).matches(name)


def test_a_part_of_a_path_with_many_stars_is_looked_for_in_few_steps() -> None:
    # With an expression that goes back for each star, this does not end.
    query = parse_query("/" + "a*" * 30 + "b")
    assert not query.matches_name("x", "C:\\" + "a" * 10_000)


def test_a_search_stops(tmp_path: Path) -> None:
    with explored(tmp_path, base, update).session() as session:
        search = Search[FileItem]()
        search.run(session.files(View(2)), lambda item: True, lambda: len(search.found) == 3)
        assert len(search.found) == 3
        assert not search.is_whole


def test_a_search_that_finds_too_much_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_FOUND > 1000
    monkeypatch.setattr("wclayer.explore.model.search.MOST_FOUND", 2)
    with explored(tmp_path, base, update).session() as session:
        search = Search[FileItem]()
        search.run(session.files(View(2)), lambda item: True, lambda: False)
        assert len(search.found) == 2
        assert not search.is_whole


@pytest.mark.parametrize("text", ["type:nothing", "mark:blue", "type:"])
def test_what_does_not_exist_is_told(text: str) -> None:
    with pytest.raises(InvalidParameterError, match="there are"):
        parse_query(text)


def test_a_damaged_file_does_not_end_a_search(tmp_path: Path) -> None:
    made = explored(tmp_path, base)
    (made.paths[0] / "Files" / "a" / "changed.txt").unlink()
    with made.session() as session:
        tree, query, search = session.files(View(1)), parse_query("type:text"), Search[FileItem]()
        search.run(tree, lambda item: query.matches_file(tree, item), lambda: False)
        assert search.failed == 1
        assert len(search.found) > 2
