"""A page for a browser: one file, which needs no network.

What it tells may be hostile. Text gets into the page in two ways only: escaped (`html_text`), or as a string of JSON in
which no character can end the element around it (`json_text`). The page forbids itself to run, to load or to send
anything else.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from html import escape
from importlib import resources

from wclayer.win32.shown import escaped, shown

_SURROGATE = re.compile("[\ud800-\udfff]")
_FIELD = re.compile(r"\{\{(\w+)\}\}")


def _resource(package: str, name: str) -> str:
    return resources.files(package).joinpath(name).read_text("utf-8")


_TEMPLATE = _resource("wclayer.pages", "page.html")


class PageForm:
    """A kind of page: its style and its script. It is made when a module is loaded: a process that becomes another user
    later may not be able to read the files.

    Args:
        packages: the packages that have them (`page.css`, `page.js`), in this order. They come after those that all
            pages share.
        is_report: whether the page looks as reports do (`report.css`), and has lists to search and to sort (`list.js`).
    """

    def __init__(self, *packages: str, is_report: bool = False) -> None:
        shared = "wclayer.pages"
        style, script = [_resource(shared, "page.css")], [_resource(shared, "page.js")]
        if is_report:
            style.append(_resource(shared, "report.css"))
            script.append(_resource(shared, "list.js"))
        self._style = "".join([*style, *(_resource(package, "page.css") for package in packages)])
        self._script = "".join([*script, *(_resource(package, "page.js") for package in packages)])

    def page(self, title: str, *, header: Iterable[str], main: Iterable[str], data: Iterable[str]) -> Iterator[str]:
        """Yields a page, in pieces.

        Args:
            title: its title, a plain text.
            header, main: HTML, in pieces.
            data: JSON, in pieces, which the script reads (`json_text`).
        """
        parts: dict[str, Iterable[str]] = {
            "policy": [
                f"default-src 'none'; style-src '{_hash(self._style)}'; script-src '{_hash(self._script)}';"
                " base-uri 'none'; form-action 'none'"
            ],
            "title": [html_text(title)],
            "style": [self._style],
            "header": header,
            "main": main,
            "data": data,
            "script": [self._script],
        }
        for number, piece in enumerate(_FIELD.split(_TEMPLATE)):
            yield from parts[piece] if number % 2 else [piece]


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def visible(text: str) -> str:
    """Returns a text with `<U+…>` for each character that a browser would obey, or that no file can hold."""
    return _SURROGATE.sub(lambda found: escaped(found[0]), shown(text))


def html_text(text: str) -> str:
    """Returns the HTML that shows a text."""
    return escape(visible(text))


def json_text(value: object) -> str:
    """Returns JSON in which no character can end the element around it."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
